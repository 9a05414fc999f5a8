r"""Computes risks on new tasks for the adapted learner and for regressions on features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._load import core
from ._support import check
from ._support.numbers import with_error
from ._support.types import F64
from .config.devices import DEVICES
from .gradients import stacked_factors
from .held_out import Losses, losses_of_learners, split_batch
from .linear_methods import LinearAttention
from .methods import AverageRisk, Method, resolve
from .parameters import check_blocks, check_point, check_solvable, inner_loop
from .sharding.agreement import agreed, guarded, require_equal
from .tasks.batch import TaskBatch
from .tasks.linear import MAX_COUNT, LinearTasks
from .tasks.moments import moments
from .tasks.on_device import to_host
from .theory.risk import (
    ContextLayer,
    HeadMoments,
    InnerLoop,
    IsotropicRegression,
    Learner,
    NewTasks,
    best_penalty,
    check_coordinates,
    learned_regression,
)

if TYPE_CHECKING:
    from .runs.result import Result

NEW_TASKS = 2**62  # number of a round that no training reaches


@dataclass(frozen=True, kw_only=True)
class Risk:
    r"""Mean risk of one learner: an excess risk for a law, a held-out loss for a batch.

    Parameters
    ----------
    mean : float
        Mean of the risk over tasks and samples; infinite if the expected risk or a sampled
        risk is infinite.
    standard_error : float
        Standard error of the mean; 0 if the mean is exact, and infinite if sampled risks overflow.
        If the heads are fixed, the standard error is too large, because its formula treats the
        heads as drawn at random.
    exact : bool
        True if `mean` comes from a closed form, false if `mean` is an average over sampled tasks.
    """

    mean: float
    standard_error: float
    exact: bool

    def __str__(self) -> str:
        if self.exact:
            return f"{self.mean:.4g} exact"
        return with_error(self.mean, self.standard_error)


UNKNOWN = Risk(mean=math.nan, standard_error=math.nan, exact=False)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    r"""Risks of several learners on new tasks; an `Evaluation` prints as a table.

    The risks are excess risks for a law of tasks, and losses on held-out samples for a `TaskBatch`.

    Parameters
    ----------
    adapted : Risk
        Risk of the estimate that the method's inner loop computes from (B, w).
    least_squares, ridge : Risk
        Risks of least squares and of ridge regression on the learned features `X B`.
    oracle_least_squares, oracle_ridge : Risk
        Risks of least squares and of ridge regression on the true features `X B_star`; NaN for a
        batch whose `B_star` is unknown.
    single_task_ridge : Risk
        Risk of ridge regression on all d features, `X`.
    penalties : mapping of str to float
        The penalty :math:`\lambda` of each ridge regression; the keys are the names of the fields
        above.
    m : int or tuple of int
        Number of samples per task to adapt on; a tuple if the tasks of a batch have different
        numbers.
    n : int
        Number of tasks over which the risks without a closed form are averaged.
    pooled : Risk or None
        Risk of one ridge regression on `X` that is fitted to the samples of all tasks together, so
        that all tasks have the same coefficients; None for a law of tasks.
    held_out : bool
        Whether the risks are losses on held-out samples of a batch.
    """

    adapted: Risk
    least_squares: Risk
    ridge: Risk
    oracle_least_squares: Risk
    oracle_ridge: Risk
    single_task_ridge: Risk
    penalties: Mapping[str, float]
    m: int | tuple[int, ...]
    n: int
    pooled: Risk | None = None
    held_out: bool = False

    @property
    def mean(self) -> float:
        """Mean risk of the adapted learner."""
        return self.adapted.mean

    @property
    def standard_error(self) -> float:
        """Standard error of the adapted learner's mean risk; 0 if this mean is exact."""
        return self.adapted.standard_error

    def __str__(self) -> str:
        m = f"{min(self.m)}..{max(self.m)}" if isinstance(self.m, tuple) else self.m
        what = "loss on held-out samples" if self.held_out else "excess risk on new tasks"
        lines = [f"{what} with m = {m} samples (n = {self.n} tasks)"]
        for name, value in vars(self).items():
            if isinstance(value, Risk) and value is not UNKNOWN:
                lines.append(f"{name.replace('_', ' '):<21} {value}")
        return "\n".join(lines)


def evaluate(
    B: NDArray[Any] | tuple[ArrayLike, ArrayLike],
    w: ArrayLike,
    tasks: LinearTasks | TaskBatch,
    method: Method | str,
    *,
    m: int | None = None,
    n: int | None = None,
    seed: int = 0,
    ridge: float | None = None,
    threads: int | None = None,
    device: str = "cpu",
    **steps: float,
) -> Evaluation:
    r"""Compute the risks of a representation and of baselines on new tasks with m samples each.

    The argument `tasks` is either a law from which new tasks are drawn (`LinearTasks`) or a batch
    of the user's own held-out tasks (`TaskBatch`). For a law, the excess risk of an estimate
    :math:`\hat\theta` from m samples of a task is

    .. math:: \tfrac12 \, E \, \| \hat\theta(X, y) - \theta \|^2, \qquad y = X \theta + z,

    that is, the population loss (1) of the estimate minus the smallest possible loss, which is half
    the noise variance. Features are Gaussian with :math:`E x x^\top = I`, both in the m samples and
    in the population loss. There are six learners. The adapted learner is the method's inner loop
    (2) from (B, w), with the estimate :math:`\hat\theta = B_J w_J`. Least squares (of minimum norm)
    and ridge regression are applied to the features `X B` and to `X B_star`. The sixth learner is
    ridge regression on `X`.

    For a batch, the learners adapt to m samples of every task, and the risk is the loss (1) on the
    held-out samples of that task: half the mean squared residual, which includes the noise.
    Regressions on `X B_star` need a batch with a `B_star`. A seventh learner, `pooled`, is one
    ridge regression on `X` that is fitted to the m samples of every task together. Means over tasks
    are weighted by the weights of the batch (47).

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64, or pair of array_like (M, R)
        Representation. A C-contiguous array (d, k) requires that `tasks.B_star` is an array too. A
        pair (M, R) holds the coordinates (13) of the representation, of shapes (k_star, k) and (e,
        k), such as ``state[:2]`` of a `Result`.
    w : array_like of shape (k,)
        Head. `LinearAttention` takes its factors A and B in place of `B` and `w`, both as arrays or
        both as pairs of coordinates, such as ``r.state_A`` and ``r.state[:2]`` of a `Result`. A
        batch needs arrays. For a batch with a `comm`, all ranks make the call, and `B` has the rows
        of this rank.
    tasks : LinearTasks or TaskBatch
        The distribution of the new tasks, with Gaussian features and without a spectrum. If
        `spread` is positive, :math:`\theta` includes the part that a task does not share (33). Or a
        batch of at least two held-out tasks, such as the second result of
        ``batch.hold_out(tasks=...)``.
    method : ANIL, MAML, another method, or str
        The method, or its name. If the method has no inner steps, the adapted learner estimates `B
        w`.
    m : int or None
        Samples per task; None: 25 for a law. In a batch with one data set per task, the learners
        adapt to the first `m` samples of every task and are tested on the others. In a batch with
        inner and outer sets, they adapt to the first `m` samples of the inner sets, by default to
        all of them, and are tested on the outer sets.
    n : int or None
        Number of tasks to draw for learners without a closed form, at least 2; None: 1000. If
        `tasks` has N fixed heads, each of them is the head of floor(n / N) tasks. The remaining
        tasks have distinct heads, chosen at random from the N heads. Must be None for a batch, all
        of whose tasks are used.
    seed : int
        Key of the random numbers of the new tasks; training uses other random numbers. Not used
        for a batch.
    ridge : float or None
        Penalty :math:`\lambda` of all ridge regressions, which minimise :math:`\tfrac{1}{2m} \| X B
        v - y \|^2 + \tfrac{\lambda}{2} \|v\|^2`; the pooled regression takes :math:`\lambda / n`.
        If None for a batch, all tasks share the penalty with the smallest leave-one-out error on
        the m samples; see Notes. If None for a law, the penalty is the one that is optimal if all
        directions of :math:`v` are equally likely,

        .. math:: \lambda = \frac{\sigma^2 + E \|\theta_\perp\|^2}{m}
                            \frac{\|B\|_F^2}{E \|\theta_\parallel\|^2},

        where the expectations are over the distribution of the tasks, and :math:`\theta_\parallel`
        and :math:`\theta_\perp` are the parts of :math:`\theta` in the span of `B` and orthogonal
        to it. For regression on `X B_star` with heads from N(0, I), the default penalty is
        Bayes-optimal. If there is no noise and :math:`\theta_\perp = 0`, the default penalty is 0,
        and ridge regression is then least squares of minimum norm.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The results have the same bits
        for any number of threads.
    device : {"cpu", "cuda"}
        The device that computes the products with the features of a batch: see docs/cuda.md. Must
        be "cpu" for a law of tasks, whose risks need no array of size d.
    **steps : float
        Settings such as ``alpha``, ``beta`` and ``inner_steps``, if `method` is the name of a
        method.

    Returns
    -------
    Evaluation
        The mean risk of each learner, with its standard error; ``print`` shows a table.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape or a value does not fit, or if `B` is an array and `tasks.B_star` is None.
    MemoryError
        If the samples of a single task do not fit into memory, which can happen for MAML with a
        very large m.

    See Also
    --------
    metaspan.theory.few_shot_risk : Risks of ridge regressions in closed form, up to terms of order
        1 / m.
    metaspan.theory.optimal_shaping : The representation with the least such risk.
    metaspan.theory.after_least_squares : The closed form of least squares as a function of numbers.
    metaspan.theory.linear_maml_risk : The closed form of one step of linear MAML.

    Notes
    -----
    *A batch* is processed in blocks of tasks, and no d x d matrix is formed. The losses of the
    adapted learner cost one gradient. The features `X B` and the Gram matrices cost one pass over
    the data. The pooled regression takes at most 50 conjugate gradient steps, each of which reads
    the m samples of all tasks. Products take ``O(n m d (k + m + m_out))`` operations, and
    eigenvectors take ``O(n m^3)``. Let Z be the features of a regression. Its penalty is one of 21
    values from 1e-6 to 1e4 times the mean eigenvalue of :math:`\tfrac1m Z Z^\top` over the tasks of
    the first block that have as many samples as the first task. With
    :math:`S = Z Z^\top (Z Z^\top + m \lambda I)^{-1}`, the leave-one-out error of sample j is
    :math:`[(y - S y)_j / (1 - S_{jj})]^2`. The penalty minimises the mean (47) over tasks of the
    mean of these errors over the samples of a task; of equally good penalties, the largest is
    chosen.

    *Closed forms* exist unless the heads are drawn by a function. For regression on features of
    rank p, with :math:`\nu^2 = \sigma^2 + E \|\theta_\perp\|^2`, the mean excess risk is

    .. math:: \tfrac12 \Bigl[ E \|\theta_\perp\|^2 + \bigl(1 - \tfrac{\min(m, p)}{p}\bigr)
              E \|\theta_\parallel\|^2 + \nu^2 \tfrac{\min(m, p)}{|m - p| - 1} \Bigr]

    if :math:`\lambda = 0`; for the learned features, m >= p is also required. The mean excess risk
    is infinite for :math:`|m - p| \le 1` unless :math:`\nu = 0`. The risk of the adapted learner
    has a closed form for J = 0, and for J = 1 if the method is ANIL or w = 0. With :math:`H = B
    B^\top`, :math:`T = I - \alpha H` and :math:`A = E (B w - \theta)(B w - \theta)^\top`, the
    Wishart moment :math:`E[S A S] = (1 + \tfrac1m) A + \tfrac1m \operatorname{tr}(A) I` gives

    .. math:: \tfrac12 \operatorname{tr}(T A T) + \tfrac{\alpha^2}{2 m} \bigl[
              \operatorname{tr}(H A H) + (\operatorname{tr} A + \sigma^2) \|H\|_F^2 \bigr].

    *Sampling.* For ridge regression on `X B_star` and on `X`, the eigenvalues of the Gram matrix
    are drawn, and the risk is averaged over the eigenvectors exactly, in time ``O(n min(m, d))``.
    The estimates of all other learners are drawn from their exact law (16). Drawing these estimates
    takes time ``O(n (k_star + k)^3)`` for ANIL and the learned features, for any d and m, and ``O(n
    m (k_star + k + m) (k_star + k))`` for MAML. The memory is tens of MiB. For MAML, the memory is
    a few times ``m (k_star + k + m)`` numbers if these numbers need more than tens of MiB. If m is
    k - 2 or k - 3, the sampled risk of least squares has no finite variance. Parts of
    :math:`\theta` that are shorter than about 1e-14 times the length of :math:`\theta` count as 0.

    References
    ----------
    Collins, Mokhtari, Oh, Shakkottai, "MAML and ANIL provably learn representations", ICML 2022.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10**12, k=3, noise=0.1)
    >>> B = np.eye(3), np.zeros((3, 3))  # M and R: the truth itself
    >>> risk = ms.evaluate(B, np.zeros(3), tasks, "anil", alpha=0.9, n=10)
    >>> print(risk.adapted, "|", risk.least_squares)
    0.2099 exact | 0.0007143 exact

    The user's own tasks, of which four are held out:

    >>> batch = ms.LinearTasks(d=30, k=2, noise=0.1).sample(12, 10, 20)
    >>> train, held_out = batch.hold_out(tasks=4)
    >>> risk = ms.evaluate(batch.B_star, np.zeros(2), held_out, "anil", alpha=0.9)
    >>> risk.n, risk.least_squares.mean < risk.single_task_ridge.mean
    (4, True)
    """
    exchange = tasks._exchange if isinstance(tasks, TaskBatch) else None
    with agreed(exchange):
        fixed_penalty = None if ridge is None else check.real("ridge", ridge, 0.0, 1e100)
        chosen = resolve(method, steps, evaluate)
        B, w = to_host(B), to_host(w)
        check.choice("device", device, DEVICES)
        if isinstance(tasks, TaskBatch):
            if n is not None:
                raise ValueError(
                    f"n must be None for a batch, all of whose tasks are used; got {check.show(n)}"
                )
            split = split_batch(tasks, m)
            workers = check.threads(threads)
    if isinstance(tasks, TaskBatch):
        require_equal(exchange, {"m": str(m), "ridge": str(ridge)})
        with guarded(exchange):
            return _evaluate_batch(
                (B, w), split, chosen, fixed_penalty, workers=workers, device=device
            )
    if device != "cpu":
        raise ValueError(
            "device must be 'cpu' for a law of tasks, whose risks need no array of size d; "
            f"got {device!r}"
        )
    m, n = 25 if m is None else m, 1000 if n is None else n
    adapted, new = _prepare(B, w, tasks, chosen, m=m, n=n, seed=seed, threads=threads)
    law, m = new.law, new.m

    def penalty(size: float, signal: float, noise: float) -> float:
        if fixed_penalty is not None:
            return fixed_penalty
        return best_penalty(m, size, signal, noise)

    on_learned = learned_regression(adapted.C, law, m)
    size, noise = float((adapted.C * adapted.C).sum()), law.variance + on_learned.outside
    penalties = {"ridge": penalty(size, on_learned.inside, noise)}
    for name, p in (("oracle_ridge", tasks.k), ("single_task_ridge", tasks.d)):
        penalties[name] = penalty(p, law.inside(p), law.variance + law.xi_outside(p))
    return Evaluation(
        adapted=_compute_risk(adapted, new),
        least_squares=_compute_risk(on_learned, new),
        ridge=_compute_risk(replace(on_learned, penalty=penalties["ridge"]), new),
        oracle_least_squares=_compute_risk(IsotropicRegression(tasks.k, m), new),
        oracle_ridge=_compute_risk(IsotropicRegression(tasks.k, m, penalties["oracle_ridge"]), new),
        single_task_ridge=_compute_risk(
            IsotropicRegression(tasks.d, m, penalties["single_task_ridge"]), new
        ),
        penalties=penalties,
        m=m,
        n=len(new.heads),
    )


def _evaluate_batch(
    point: tuple[Any, ArrayLike],
    batch: TaskBatch,
    method: Method,
    ridge: float | None,
    *,
    workers: int,
    device: str,
) -> Evaluation:
    """Compute the losses of all learners on the outer sets of a batch."""
    with agreed(batch._exchange):
        if not isinstance(point[0], np.ndarray):
            raise TypeError(f"B must be an array (d, k) for a batch; got {check.show(point[0])}")
    losses = losses_of_learners(point, batch, method, ridge, workers, device=device)
    weights = np.ones(batch.n) if batch.weights is None else batch.weights
    risks = {name: _mean_loss(learner, weights) for name, learner in losses.items()}
    return Evaluation(
        adapted=risks["adapted"],
        least_squares=risks["least_squares"],
        ridge=risks["ridge"],
        oracle_least_squares=risks.get("oracle_least_squares", UNKNOWN),
        oracle_ridge=risks.get("oracle_ridge", UNKNOWN),
        single_task_ridge=risks["single_task_ridge"],
        penalties={
            name: learner.penalty for name, learner in losses.items() if learner.penalty is not None
        },
        m=batch.m_in,
        n=batch.n,
        pooled=risks["pooled"],
        held_out=True,
    )


def _mean_loss(losses: Losses, weights: F64) -> Risk:
    """Return the mean (47) of the losses of the tasks, and its standard error."""
    n = len(weights)
    with np.errstate(over="ignore", invalid="ignore"):  # losses overflow for too large a step
        mean = float(weights @ losses.values) / n
        deviations = weights * (losses.values - mean)
        error = math.sqrt(float(deviations @ deviations) / (n - 1) / n)
    if not math.isfinite(mean):
        mean = error = math.inf
    return Risk(mean=mean, standard_error=error, exact=False)


def learned_point(result: Result) -> tuple[tuple[F64, F64], Any]:
    """Return the arguments `B` and `w` of `evaluate` from the final state of a run of one trial."""
    M, R, w = result.state
    if isinstance(result.config.method, LinearAttention):
        return result.state_A, (M, R)
    return (M, R), w


def adapted_risk(
    point: tuple[tuple[F64, F64], Any], tasks: LinearTasks, method: Method, *, m: int, seed: int
) -> Risk:
    """Compute the field `adapted` of an `Evaluation` of a learned point, on one thread."""
    return _compute_risk(*_prepare(*point, tasks, method, m=m, n=1000, seed=seed, threads=1))


def regression_risk(
    point: tuple[F64, F64],
    tasks: LinearTasks,
    *,
    m: int,
    seed: int,
    ridge: float | None = None,
    n: int = 1000,
) -> Risk:
    """Compute the field `ridge` of an `Evaluation` at coordinates (M, R), on one thread."""
    w = np.zeros(point[0].shape[1])
    adapted, new = _prepare(point, w, tasks, AverageRisk(), m=m, n=n, seed=seed, threads=1)
    assert isinstance(adapted, InnerLoop)
    regression = learned_regression(adapted.C, new.law, m)
    size, noise = float((adapted.C * adapted.C).sum()), new.law.variance + regression.outside
    penalty = best_penalty(m, size, regression.inside, noise) if ridge is None else ridge
    return _compute_risk(replace(regression, penalty=penalty), new)


def _prepare(
    B: object,
    w: ArrayLike,
    tasks: LinearTasks,
    method: Method,
    *,
    m: int,
    n: int,
    seed: int,
    threads: int | None,
) -> tuple[InnerLoop | ContextLayer, NewTasks]:
    """Check the arguments of `evaluate`; return the adapted learner and the new tasks."""
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks or a TaskBatch; got {check.show(tasks)}")
    if tasks.spectrum is not None:
        raise ValueError("tasks.spectrum must be None: risks are those of covariance I; got one")
    if tasks.features != "gaussian":
        raise ValueError(f"tasks.features must be 'gaussian'; got {tasks.features!r}")
    m = check.integer("m", m, 1, MAX_COUNT)
    n = check.integer("n", n, 2, MAX_COUNT)
    seed = check.integer("seed", seed, 0, 2**64 - 1)
    workers = check.threads(threads)
    adapted: InnerLoop | ContextLayer
    if isinstance(method, LinearAttention):
        adapted = ContextLayer(method.alpha, *_check_factors(B, w, tasks, workers), m)
    else:
        C = check_coordinates(B, tasks, workers)
        start = check.small("w", w, (C.shape[1],))
        check_point(method, C.shape[1], start)
        check_solvable(method, m, C.shape[1])
        check_blocks(method, m)
        numbers, more = inner_loop(method, C.shape[1])
        adapted = InnerLoop(numbers, C, start, m, workers, more)
    heads = _draw_heads(tasks, n, seed)
    known = not callable(tasks.heads)
    mean, cov = moments(tasks.heads if known else heads, tasks.k)
    law = HeadMoments(mean, cov, tasks.noise * tasks.noise, known, tasks.xi_variance, tasks.d)
    key = core.derive_key(seed, 0, NEW_TASKS, core.STREAM_FRAME)
    new = NewTasks(heads, law, m, tasks.d, tasks.noise, key, workers)
    return adapted, new


def _check_factors(A: object, B: object, tasks: LinearTasks, workers: int) -> tuple[F64, F64]:
    """Check the factors of linear attention; return their coordinates in one basis (13)."""
    if isinstance(A, np.ndarray) and isinstance(B, np.ndarray):
        columns, _ = stacked_factors(A, B, tasks.d, workers)
        C = check_coordinates(columns, tasks, workers, factors=2)
        return C[:, : A.shape[1]], C[:, A.shape[1] :]
    first, second = (check_coordinates(factor, tasks, workers) for factor in (A, B))
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"A must have as many columns as B, {second.shape[1]}; got {first.shape[1]}"
        )
    D = max(len(first), len(second))
    first, second = (np.pad(factor, ((0, D - len(factor)), (0, 0))) for factor in (first, second))
    return first, second


def _compute_risk(learner: Learner, new: NewTasks) -> Risk:
    """Compute the risk of a learner by its closed form if it has one, and otherwise by sampling."""
    with np.errstate(over="ignore", invalid="ignore"):  # as below
        mean = learner.expected(new.law)
    if mean is not None:
        mean = mean if math.isfinite(mean) else math.inf
        return Risk(mean=mean, standard_error=0.0, exact=True)
    with np.errstate(over="ignore", invalid="ignore"):  # risks overflow if a step size is too large
        excess = new.excess(learner)
        mean, error = float(excess.mean()), float(excess.std(ddof=1)) / math.sqrt(excess.size)
    if not math.isfinite(mean):
        mean = error = math.inf
    return Risk(mean=mean, standard_error=error, exact=False)


def _draw_heads(tasks: LinearTasks, n: int, seed: int) -> F64:
    """Draw the heads (n, k_star) of the new tasks."""
    if not isinstance(tasks.heads, np.ndarray):
        return tasks.draw_heads(n, seed=seed, round=NEW_TASKS)
    copies, left = divmod(n, len(tasks.heads))
    rest = tasks.draw_heads(left, seed=seed, round=NEW_TASKS) if left else tasks.heads[:0]
    return np.concatenate([tasks.heads] * copies + [rest])
