r"""Excess risks on new tasks, of adapted learners and of regressions on features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._load import core
from ._support import check
from ._support.types import F64
from .methods import Method, check_point, check_solvable, core_method, resolve
from .tasks.linear import MAX_COUNT, LinearTasks
from .tasks.moments import moments
from .theory.risk import (
    HeadMoments,
    InnerLoop,
    IsotropicRegression,
    Learner,
    NewTasks,
    best_penalty,
    check_coordinates,
    learned_regression,
)

NEW_TASKS = 2**62  # number of a round that no training reaches


@dataclass(frozen=True, kw_only=True)
class Risk:
    r"""Mean excess risk of one learner.

    Parameters
    ----------
    mean : float
        Mean over tasks and samples; infinite if the expected risk or a sampled risk is infinite.
    standard_error : float
        Standard error of the mean; 0 if the mean is exact, and infinite if sampled risks overflow.
        For fixed heads this error is too large, since it treats the heads as drawn at random.
    exact : bool
        Whether the mean comes from a closed form; otherwise it is an average over sampled tasks.
    """

    mean: float
    standard_error: float
    exact: bool

    def __str__(self) -> str:
        return f"{self.mean:.4g} " + ("exact" if self.exact else f"+- {self.standard_error:.2g}")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    r"""Excess risks of several learners on new tasks; an `Evaluation` prints as a table.

    Parameters
    ----------
    adapted : Risk
        The estimate of the method's inner loop, started from (B, w).
    least_squares, ridge : Risk
        Regression on the learned features, `X B`.
    oracle_least_squares, oracle_ridge : Risk
        Regression on the true features, `X B_star`.
    single_task_ridge : Risk
        Ridge regression on `X` itself, with all d features.
    penalties : mapping of str to float
        The penalty :math:`\lambda` of every ridge regression, by the name of its field.
    m, n : int
        Number of samples per task, and number of tasks drawn for learners without a closed form.
    """

    adapted: Risk
    least_squares: Risk
    ridge: Risk
    oracle_least_squares: Risk
    oracle_ridge: Risk
    single_task_ridge: Risk
    penalties: Mapping[str, float]
    m: int
    n: int

    @property
    def mean(self) -> float:
        """Mean excess risk of the adapted learner."""
        return self.adapted.mean

    @property
    def standard_error(self) -> float:
        """Standard error of the adapted learner's mean; 0 if it is exact."""
        return self.adapted.standard_error

    def __str__(self) -> str:
        lines = [f"excess risk on new tasks with m = {self.m} samples (n = {self.n} tasks)"]
        for name, value in vars(self).items():
            if isinstance(value, Risk):
                lines.append(f"{name.replace('_', ' '):<21} {value}")
        return "\n".join(lines)


def evaluate(
    B: NDArray[Any] | tuple[ArrayLike, ArrayLike],
    w: ArrayLike,
    tasks: LinearTasks,
    method: Method | str,
    *,
    m: int = 25,
    n: int = 1000,
    seed: int = 0,
    ridge: float | None = None,
    threads: int | None = None,
    **steps: float,
) -> Evaluation:
    r"""Compute the excess risk of a representation on new tasks of m samples, and of baselines.

    The excess risk of an estimate :math:`\hat\theta` from m samples of a task is

    .. math:: \tfrac12 \, E \, \| \hat\theta(X, y) - \theta \|^2, \qquad y = X \theta + z,

    that is, the population loss (1) of the estimate minus the smallest possible loss, which is half
    the noise variance. Features are Gaussian with :math:`E x x^\top = I`, in the samples and in the
    risk. The learners are the method's inner loop (2) from (B, w), :math:`\hat\theta = B_J w_J`;
    least squares (of minimum norm) and ridge regression on the features `X B`; least squares and
    ridge regression on `X B_star`; and ridge regression on `X`.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64, or pair of array_like (M, R)
        Representation, C-contiguous, which requires that `tasks.B_star` is an array; or the
        coordinates (13) of a representation, of shapes (k_star, k) and (e, k), such as
        ``state[:2]`` of a `Result`.
    w : array_like of shape (k,)
        Head.
    tasks : LinearTasks
        The distribution of the new tasks, with Gaussian features and without a spectrum.
    method : ANIL, MAML, another method, or str
        The method, or its name. Without inner steps the adapted learner is `B w`.
    m : int
        Samples per task.
    n : int
        Number of tasks to draw for learners without a closed form, at least 2. Each of N fixed
        heads serves floor(n / N) tasks; the remaining tasks choose heads at random, without
        replacement.
    seed : int
        Key of the random numbers of the new tasks; training uses other random numbers.
    ridge : float or None
        Penalty :math:`\lambda` of all ridge regressions, which minimise
        :math:`\tfrac{1}{2m} \| X B v - y \|^2 + \tfrac{\lambda}{2} \|v\|^2`. None: for each
        regression the penalty that is optimal if all directions of :math:`v` are equally likely,

        .. math:: \lambda = \frac{\sigma^2 + E \|\theta_\perp\|^2}{m}
                            \frac{\|B\|_F^2}{E \|\theta_\parallel\|^2},

        where the expectations are over the distribution of the tasks, and :math:`\theta_\parallel`
        and :math:`\theta_\perp` are the parts of :math:`\theta` in the span of `B` and orthogonal
        to it. For `B_star` and heads from N(0, I) this penalty is Bayes-optimal. If there is no
        noise and :math:`\theta_\perp = 0`, the penalty is 0, that is, least squares of minimum
        norm.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    **steps : float
        Settings of a method given by name, such as ``alpha``, ``beta`` and ``inner_steps``.

    Returns
    -------
    Evaluation
        The mean excess risk of each learner and its standard error; prints as a table.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape or a value does not fit, or if `B` is an array and `tasks.B_star` is None.
    MemoryError
        If the samples of a single task do not fit into memory (MAML with a very large m).

    Notes
    -----
    *Closed forms* exist unless the heads are drawn by a function. For regression on features of
    rank p, with :math:`\nu^2 = \sigma^2 + E \|\theta_\perp\|^2`, the mean excess risk is

    .. math:: \tfrac12 \Bigl[ E \|\theta_\perp\|^2 + \bigl(1 - \tfrac{\min(m, p)}{p}\bigr)
              E \|\theta_\parallel\|^2 + \nu^2 \tfrac{\min(m, p)}{|m - p| - 1} \Bigr]

    if :math:`\lambda = 0` (and, for the learned features, m >= p); it is infinite for
    :math:`|m - p| \le 1` unless :math:`\nu = 0`. The adapted learner has a closed form for J = 0
    and, for ANIL or at w = 0, for J = 1. With :math:`H = B B^\top`, :math:`T = I - \alpha H` and
    :math:`A = E (B w - \theta)(B w - \theta)^\top`, the Wishart moment
    :math:`E[S A S] = (1 + \tfrac1m) A + \tfrac1m \operatorname{tr}(A) I` gives

    .. math:: \tfrac12 \operatorname{tr}(T A T) + \tfrac{\alpha^2}{2 m} \bigl[
              \operatorname{tr}(H A H) + (\operatorname{tr} A + \sigma^2) \|H\|_F^2 \bigr].

    *Sampling.* For ridge regression on `X B_star` and on `X`, the eigenvalues of the Gram matrix
    are drawn, and the risk is averaged over the eigenvectors exactly, in time ``O(n min(m, d))``.
    All other learners are sampled from their exact law (16). This takes time
    ``O(n (k_star + k)^3)`` for ANIL and the learned features, for any d and m, and
    ``O(n m (k_star + k + m) (k_star + k))`` for MAML. Sampling takes tens of MiB of memory, or for
    MAML a few times ``m (k_star + k + m)`` numbers if that is more. Sampled least squares has no
    finite variance if m is k - 2 or k - 3. Parts of :math:`\theta` that are shorter than about
    1e-14 times its length count as 0.

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
    """
    fixed_penalty = None if ridge is None else check.real("ridge", ridge, 0.0, 1e100)
    chosen = resolve(method, steps, evaluate)
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
        penalties[name] = penalty(p, law.signal, law.variance)
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


def adapted_risk(
    state: tuple[F64, F64, F64], tasks: LinearTasks, method: Method, *, m: int, seed: int
) -> Risk:
    """Compute only the `adapted` entry of `evaluate`, at the end of a run, on one thread."""
    M, R, w = state
    return _compute_risk(*_prepare((M, R), w, tasks, method, m=m, n=1000, seed=seed, threads=1))


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
) -> tuple[InnerLoop, NewTasks]:
    """Check the arguments of `evaluate`; return the adapted learner and the new tasks."""
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    if tasks.spectrum is not None:
        raise ValueError("tasks.spectrum must be None: risks are those of covariance I; got one")
    if tasks.features != "gaussian":
        raise ValueError(f"tasks.features must be 'gaussian'; got {tasks.features!r}")
    m = check.integer("m", m, 1, MAX_COUNT)
    n = check.integer("n", n, 2, MAX_COUNT)
    seed = check.integer("seed", seed, 0, 2**64 - 1)
    workers = check.threads(threads)
    C = check_coordinates(B, tasks, workers)
    start = check.small("w", w, (C.shape[1],))
    check_point(method, C.shape[1], start)
    heads = _draw_heads(tasks, n, seed)
    known = not callable(tasks.heads)
    mean, cov = moments(tasks.heads if known else heads, tasks.k)
    law = HeadMoments(mean, cov, tasks.noise * tasks.noise, known)
    check_solvable(method, m, C.shape[1])
    key = core.derive_key(seed, 0, NEW_TASKS, core.STREAM_FRAME)
    new = NewTasks(heads, law, m, tasks.d, tasks.noise, key, workers)
    return InnerLoop(core_method(method), C, start, m, workers), new


def _compute_risk(learner: Learner, new: NewTasks) -> Risk:
    """Compute a risk by its closed form if there is one, and otherwise from samples."""
    mean = learner.expected(new.law)
    if mean is not None:
        return Risk(mean=mean, standard_error=0.0, exact=True)
    with np.errstate(over="ignore", invalid="ignore"):  # too large a step size makes risks overflow
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
