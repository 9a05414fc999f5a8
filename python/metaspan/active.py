r"""Chooses how many samples of each source task to take in order to learn one target task."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._load import core
from ._support import check
from ._support.blas import one_blas_thread
from ._support.types import F64, I64
from .estimators.configure import resolve_width
from .estimators.estimator import Estimator, Unrecorded
from .estimators.names import algorithm_of, resolve_estimator
from .estimators.on_arrays import ArraySamples
from .estimators.solvers import least_squares_heads
from .runs.outcome import Interrupted, NotConvergedWarning
from .solved_methods import AltGDmin
from .tasks.batch import TaskBatch, require_whole
from .tasks.linear import MAX_COUNT, LinearTasks

STRATEGIES = ("l2", "l1", "uniform")
FIRST_ROUND = 2**62 + 2  # round number in the key of the samples; no training run reaches it
MOST_HEAD = 1e100  # largest entry of a target's head, so that squares do not overflow
LASSO_SHARE = 0.01  # penalty of the LASSO, relative to the smallest one with nu = 0
LASSO_SWEEPS = 10_000  # most passes over the coordinates
LASSO_TOLERANCE = 1e-9  # largest change of a coordinate in the last pass, relative to the largest


@dataclass(frozen=True, kw_only=True, eq=False)
class Active:
    r"""The result of `active`: sample counts, risks, and the representation that was learned.

    Parameters
    ----------
    allocation : ndarray of shape (epochs, n), int64
        Number of samples that each epoch took from each source task.
    relevance : ndarray of shape (epochs, n)
        The relevance nu of the source tasks at the end of each epoch, (48).
    risk : ndarray of shape (epochs,)
        Risk of the target task at the end of each epoch. It is the excess risk if the target is a
        head, the loss on the outer set if the target is a batch with two data sets, and NaN for a
        batch with one data set.
    B : ndarray of shape (d, width)
        Representation at the end.
    heads : ndarray of shape (n, width)
        Heads of the source tasks at the end.
    target_head : ndarray of shape (width,)
        Head of the target task at the end.
    strategy : str
        The strategy that divided the samples among the source tasks: "l2", "l1" or "uniform".
    """

    allocation: I64
    relevance: F64
    risk: F64
    B: F64
    heads: F64
    target_head: F64
    strategy: str

    @property
    def samples(self) -> I64:
        """Total number of source samples after each epoch, (epochs,)."""
        totals: I64 = np.cumsum(self.allocation.sum(axis=1))
        return totals

    def __repr__(self) -> str:
        epochs, n = self.allocation.shape
        return (
            f"Active(strategy={self.strategy!r}, n={n}, epochs={epochs}, "
            f"samples={self.samples[-1]}, risk={self.risk[-1]:.4g})"
        )


def active(
    tasks: LinearTasks | TaskBatch,
    target: TaskBatch | ArrayLike,
    *,
    budget: int,
    epochs: int = 4,
    strategy: str = "l2",
    width: int | None = None,
    estimator: Estimator | AltGDmin | str = "altmin",
    m_target: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Active:
    r"""Take samples, epoch by epoch, from the source tasks that are relevant for a target task.

    The first epoch takes the same number of samples from every source task. At the end of an epoch,
    an estimator fits a representation `B` and heads :math:`W = [w_1, \ldots, w_n]` to all samples
    taken so far. Least squares on the features `X B` then gives the head :math:`w_T` of the target.
    The relevance :math:`\nu` of the source tasks is (48)

    .. math:: \nu = W^\top (W W^\top)^+ w_T \quad \text{or} \quad
              \nu = \operatorname{argmin}_\nu \tfrac12 \| W \nu - w_T \|^2 + \lambda \| \nu \|_1.

    The next epoch takes samples in proportion to :math:`\nu_i^2` for the first formula, and to
    :math:`|\nu_i|` for the second.

    Parameters
    ----------
    tasks : LinearTasks or TaskBatch
        The source tasks. A `LinearTasks` must have fixed heads, an array (n, k_star); it supplies
        any number of samples of each task. A batch must have one data set per task; each task
        supplies its samples in their order, and each sample once. The estimator uses the
        batch's weights.
    target : TaskBatch or array_like of shape (k_star,)
        The target task. A batch of one task: its head is fitted to the inner set, and a separate
        outer set serves only to measure the risk. An array: the true head of a target task from the
        same law as `tasks`, which must then be a `LinearTasks`.
    budget : int
        Total number of source samples, divided evenly among the epochs. Each epoch must have at
        least n samples, where n is the number of source tasks.
    epochs : int
        Number of epochs, >= 1.
    strategy : {"l2", "l1", "uniform"}
        "l2": samples are taken in proportion to the square of the relevance of least norm. "l1":
        samples are taken in proportion to the absolute value of a sparse relevance, the solution of
        the LASSO; its penalty is 0.01 times the smallest penalty for which the solution is 0.
        "uniform": every epoch takes the same number of samples from every task.
    width : int or None
        Number of columns of `B`. None: the rank of the ground truth, which a batch without a
        `B_star` does not have.
    estimator : AltMin, another estimator, or str
        The estimator of the representation, or a name that `fit` takes.
    m_target : int or None
        Number of samples of the target if it is given as a head; None: 10 times the width. Must be
        None if the target is a batch.
    seed : int
        Key of the random numbers. The samples of a source task are the same for every strategy.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.

    Returns
    -------
    Active
        Allocation, relevance and risk of every epoch, and the representation at the end.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, if a batch has fewer samples than `budget`, or
        if the estimator cannot run on the samples.
    MemoryError
        If samples of a law do not fit into memory.
    Interrupted
        On Ctrl-C after the first epoch; its attribute `result` holds the finished epochs.

    Warns
    -----
    NotConvergedWarning
        If the estimator did not converge in an epoch.

    Notes
    -----
    An epoch costs one fit to all samples taken so far. Samples from a `LinearTasks` are drawn as
    arrays with all d features.

    References
    ----------
    Chen, Jamieson, Du, "Active multi-task representation learning", ICML 2022. Wang, Chen,
    Jamieson, Du, "Improved active multi-task representation learning via Lasso", ICML 2023.

    Examples
    --------
    >>> import metaspan as ms
    >>> heads = np.eye(2)[[0, 1, 1, 1, 1, 1]]
    >>> tasks = ms.LinearTasks(d=20, k=2, noise=0.5, heads=heads)
    >>> a = active(tasks, [1.0, 0.0], budget=1200, epochs=3)
    >>> a.allocation.sum(axis=1).tolist(), int(a.allocation[-1].argmax())
    ([400, 400, 400], 0)
    """
    check.choice("strategy", strategy, STRATEGIES)
    epochs = check.integer("epochs", epochs, 1, MAX_COUNT)
    seed = check.integer("seed", seed, 0, 2**64 - 1)
    workers = check.threads(threads)
    source = _open_source(tasks, seed, workers)
    budget = check.integer("budget", budget, epochs * source.n, MAX_COUNT)
    if budget > source.room.sum():
        raise ValueError(
            f"budget must be at most {source.room.sum()}, the samples of the pool; got {budget}"
        )
    width = resolve_width(width, tasks)
    goal = _open_target(target, source, m_target, width)
    algorithm = algorithm_of(resolve_estimator(estimator, {}))
    taken, shares = np.zeros(source.n, np.int64), np.ones(source.n)
    finished: list[_Epoch] = []
    try:
        for epoch in range(epochs):
            count = budget * (epoch + 1) // epochs - budget * epoch // epochs
            allocation = apportion(shares, count, source.room - taken, taken)
            taken = taken + allocation
            B, heads = _fit(algorithm, source.take(taken), width, (seed, epoch), workers)
            head = goal.solve(B)
            relevance = relevance_of(heads, head, strategy)
            finished.append(_Epoch(allocation, relevance, goal.risk(B @ head), B, heads, head))
            if strategy != "uniform":
                shares = shares_of(relevance, strategy)
    except KeyboardInterrupt:
        if not finished:
            raise
        raise Interrupted(
            f"active was interrupted in epoch {len(finished)}; .result holds the epochs before it",
            _result_of(finished, strategy),
        ) from None
    return _result_of(finished, strategy)


def relevance_of(heads: F64, target_head: F64, strategy: str) -> F64:
    """Return the relevance (n,) of source tasks with heads (n, k), (48).

    For "l2", nu is the solution of ``heads.T @ nu = target_head`` with the least Euclidean norm;
    for "l1", it is the solution of the LASSO.
    """
    if strategy == "l1":
        return lasso(heads.T, target_head)
    return np.asarray(np.linalg.lstsq(heads.T, target_head, rcond=None)[0], np.float64)


def shares_of(nu: F64, strategy: str) -> F64:
    """Return the shares of the samples, (n,), scaled so that the largest one is 1."""
    shares = np.abs(nu) / (np.abs(nu).max() or 1.0)  # so that squares do not overflow
    return np.asarray(shares if strategy == "l1" else shares * shares)


def lasso(W: F64, target: F64, share: float = LASSO_SHARE) -> F64:
    """Minimise ``1/2 ||W nu - target||^2 + penalty ||nu||_1`` over nu (n,) by coordinate descent.

    `share` is the penalty divided by the smallest penalty for which the minimiser is 0.
    """
    penalty = share * float(np.abs(W.T @ target).max(initial=0.0))
    squares = np.square(W).sum(axis=0)
    nu, residual = np.zeros(W.shape[1]), target.copy()
    for _ in range(LASSO_SWEEPS):
        largest = 0.0
        for i in np.flatnonzero(squares):
            slope = W[:, i] @ residual + squares[i] * nu[i]
            new = np.sign(slope) * max(abs(slope) - penalty, 0.0) / squares[i]
            change, nu[i] = new - nu[i], new
            if change:
                residual -= change * W[:, i]
                largest = max(largest, abs(change))
        if largest <= LASSO_TOLERANCE * np.abs(nu).max(initial=0.0):
            break
    return nu


def apportion(shares: F64, count: int, room: I64, taken: I64) -> I64:
    """Divide `count` samples in proportion to `shares`; no task gets more than its `room`.

    Shares are rounded by the method of largest remainders. Among tasks with equal remainders, those
    with fewer samples `taken` so far come first. A task with share 0 gets samples only if the tasks
    with positive shares have no room left.
    """
    out = np.zeros(len(shares), np.int64)
    while (left := count - int(out.sum())) > 0:
        free = np.flatnonzero(room > out)
        if not shares[free].any():
            shares = np.ones(len(shares))
        exact = left * shares[free] / shares[free].sum()
        whole = np.floor(exact).astype(np.int64)
        rest = exact - whole
        order = np.lexsort((taken[free], -rest.round(9)))
        order = order[rest[order] > 0.0][: left - int(whole.sum())]
        whole[order] += 1
        out[free] += np.minimum(whole, (room - out)[free])
    return out


class _Epoch(NamedTuple):
    """What an epoch took and found; `Active` describes the arrays."""

    allocation: I64
    relevance: F64
    risk: float
    B: F64
    heads: F64
    target_head: F64


def _result_of(epochs: Sequence[_Epoch], strategy: str) -> Active:
    """Return the result after one epoch or more."""
    last = epochs[-1]
    return Active(
        allocation=np.stack([epoch.allocation for epoch in epochs]),
        relevance=np.stack([epoch.relevance for epoch in epochs]),
        risk=np.array([epoch.risk for epoch in epochs]),
        B=last.B,
        heads=last.heads,
        target_head=last.target_head,
        strategy=strategy,
    )


class _Fit(NamedTuple):
    """A representation (d, width), and the heads (n, width) of the source tasks."""

    B: F64
    heads: F64


class _Law:
    """Source tasks of a law with fixed heads; every sample is a function of the seed."""

    def __init__(self, tasks: LinearTasks, seed: int, threads: int) -> None:
        if not isinstance(tasks.heads, np.ndarray):
            raise ValueError(
                "tasks.heads must be an array (n, k) of the heads of the source tasks; got "
                f"{check.show(tasks.heads)}"
            )
        if tasks.spread:
            raise ValueError(f"tasks.spread must be 0 for active; got {tasks.spread:g}")
        self.heads, self.n = tasks.heads, len(tasks.heads)
        self.d, self.k, self.threads = tasks.d, tasks.k, threads
        self.room: I64 = np.full(self.n, MAX_COUNT, np.int64)
        self._tasks = replace(tasks, B_star=tasks.ground_truth(seed, 0, threads))
        self._seed = seed

    def draw(self, head: F64, number: int, m: int) -> TaskBatch:
        """Draw the first m samples of task `number`, whose true head is `head`."""
        return replace(self._tasks, heads=head[None]).sample(
            1,
            m,
            shared_samples=True,
            seed=core.derive_key(self._seed, number, FIRST_ROUND, core.STREAM_USER),
            threads=self.threads,
        )

    def take(self, counts: I64) -> TaskBatch:
        """Return the first samples of every source task."""
        parts = [
            self.draw(head, i, int(m))
            for i, (head, m) in enumerate(zip(self.heads, counts, strict=True))
        ]
        X = [np.asarray(part.X_in)[0] for part in parts]
        y = [np.asarray(part.y_in)[0] for part in parts]
        return TaskBatch(X, y, B_star=self._tasks.B_star, check_finite=False)

    def excess_risk(self, theta: F64, head: F64) -> float:
        """Return half the expected squared error of theta for the task with this head."""
        assert self._tasks.B_star is not None
        error = theta - self._tasks.B_star @ head
        roots = self._tasks.roots  # square roots of the eigenvalues of the covariance
        return 0.5 * float(np.square(error if roots is None else roots * error).sum())


class _Pool:
    """Source tasks of a batch; the samples of each task are taken in their order."""

    def __init__(self, batch: TaskBatch, threads: int) -> None:
        if not batch.shared:
            raise ValueError("tasks must have one data set per task, as TaskBatch(X, y); got two")
        self.n, self.d, self.k, self.threads = batch.n, batch.d, batch.k, threads
        self.room: I64 = np.array(batch._inner.X.lengths(), np.int64)
        self._batch = batch

    def take(self, counts: I64) -> TaskBatch:
        """Return the first `counts[i]` samples of every source task i, as views."""
        return TaskBatch._of_sets(
            self._batch._inner.rows([slice(int(m)) for m in counts]),
            None,
            B_star=self._batch.B_star,
            weights=self._batch.weights,
        )


def _open_source(tasks: object, seed: int, threads: int) -> _Law | _Pool:
    """Check the source tasks."""
    if isinstance(tasks, TaskBatch):
        require_whole(tasks, "active")
        return _Pool(tasks, threads)
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks or a TaskBatch; got {check.show(tasks)}")
    return _Law(tasks, seed, threads)


@dataclass(frozen=True)
class _Target:
    """The samples of the target task, and the data by which its risk is measured."""

    samples: ArraySamples
    head: F64 | None = None  # (k_star,) of the law
    law: _Law | None = None
    held_out: ArraySamples | None = None

    def solve(self, B: F64) -> F64:
        """Return the least-squares head (k,) on X B; if it is not unique, that of least norm."""
        samples = self.samples
        heads = least_squares_heads(samples.features(B), samples.y, samples.offsets)
        if not np.abs(heads).max() <= MOST_HEAD:
            raise ValueError(
                f"target must have a head with entries up to {MOST_HEAD:g}; got responses that "
                "are too large for the features"
            )
        return np.asarray(heads[0])

    def risk(self, theta: F64) -> float:
        """Return the risk of an estimate (d,), or NaN if it cannot be measured."""
        if self.law is not None and self.head is not None:
            return self.law.excess_risk(theta, self.head)
        if self.held_out is None:
            return float("nan")
        residuals = self.held_out.features(theta[:, None])[:, 0] - self.held_out.y
        return 0.5 * float(np.square(residuals).mean())


def _open_target(target: object, source: _Law | _Pool, m_target: int | None, width: int) -> _Target:
    """Check the target; if it is given as a head, draw its samples."""
    if isinstance(target, TaskBatch):
        require_whole(target, "active")
        if m_target is not None:
            raise ValueError(
                f"m_target must be None for a target with samples; got {check.show(m_target)}"
            )
        if target.n != 1 or target.d != source.d:
            raise ValueError(f"target must hold one task with {source.d} features; got {target!r}")
        samples, held_out = (
            ArraySamples(TaskBatch._of_sets(side, None), threads=source.threads)
            for side in (target._inner, target._outer)
        )
        return _Target(samples, held_out=None if target.shared else held_out)
    if not isinstance(source, _Law):
        raise TypeError(f"target must be a TaskBatch, as tasks is; got {check.show(target)}")
    head = check.small("target", target, (source.k,))  # type: ignore[arg-type]
    check.real("the largest entry of target", float(np.abs(head).max()), 0.0, MOST_HEAD)
    m = check.integer("m_target", 10 * width if m_target is None else m_target, 1, MAX_COUNT)
    drawn = source.draw(head, source.n, m)  # numbered after the source tasks
    return _Target(ArraySamples(drawn, threads=source.threads), head, source)


@one_blas_thread()
def _fit(
    algorithm: Estimator, batch: TaskBatch, width: int, key: tuple[int, int], threads: int
) -> _Fit:
    """Fit a representation and the heads of all tasks; `key` holds the seed and the epoch."""
    seed, epoch = key
    samples = ArraySamples(batch, seed, epoch, threads)
    algorithm.check(samples, width)
    estimate = algorithm.estimate(samples, width, Unrecorded())
    if not estimate.converged:
        warnings.warn(
            f"epoch {epoch} did not converge: {estimate.reason}", NotConvergedWarning, stacklevel=3
        )
    heads = estimate.heads
    if heads is None:
        heads = least_squares_heads(samples.features(estimate.B), samples.y, samples.offsets)
    if not (np.isfinite(estimate.B).all() and np.isfinite(heads).all()):
        raise ValueError(f"the estimator must not diverge; {algorithm!r} did in epoch {epoch}")
    return _Fit(estimate.B, heads)
