r"""Risks of a representation and of baselines on held-out samples of the user's own tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._load import core
from ._support import check
from ._support.types import F64
from .config.devices import core_device
from .estimators.ridge import rounding_errors, squared_loo_errors
from .estimators.solvers import solve_by_cg
from .estimators.sources import open_arrays
from .estimators.transforms import scaled_rows
from .gradients import meta_gradient
from .linear_methods import LinearAttention
from .methods import AverageRisk, Method
from .tasks.batch import TaskBatch, core_data, split_at

BLOCK_BYTES = 2**26  # memory for the products of the tasks that are processed together
# Decimal logarithms of the penalties that are compared, relative to the mean eigenvalue of the
# Gram matrix.
DECADES = np.arange(-12, 9) / 2.0
MOST_STEPS = 50  # conjugate gradient steps of the pooled regression
TOLERANCE = 1e-6  # residual of the pooled regression, relative to its right-hand side


class Losses(NamedTuple):
    """The held-out loss of every task by one learner, and the learner's penalty."""

    values: F64  # (n,)
    penalty: float | None = None  # None for a learner without a penalty


def split_batch(batch: TaskBatch, m: int | None) -> TaskBatch:
    """Return a batch with m samples in each inner set, and held-out samples in the outer sets.

    If m is None, a batch with two data sets per task is returned unchanged.
    """
    if batch.n < 2:
        raise ValueError(f"tasks must hold at least 2 tasks, for standard errors; got {batch.n}")
    if batch.shared:
        if m is None:
            raise ValueError(
                "m must be the number of samples to adapt on, for a batch with one data set per "
                "task; got None"
            )
        pair = split_at(batch._inner, "m", m)
    elif m is None:
        return batch
    else:
        m = check.integer("m", m, 1)
        if m > batch.least_m_in:
            raise ValueError(
                f"m must be at most {batch.least_m_in}, the samples of the smallest inner set; "
                f"got {m}"
            )
        pair = batch._inner.samples(slice(m)), batch._outer
    return TaskBatch._of_sets(
        *pair, B_star=batch.B_star, weights=batch.weights, comm=batch._columns
    )


def losses_of_learners(
    point: tuple[NDArray[Any], ArrayLike],
    batch: TaskBatch,
    method: Method,
    ridge: float | None,
    threads: int,
    *,
    device: str = "cpu",
) -> dict[str, Losses]:
    """Compute the losses (1) on the outer sets of every learner, adapted to the inner sets.

    The keys are the fields of `Evaluation`. The tasks are processed in blocks, so that only the
    products of one block are in memory at a time.
    """
    losses = {"adapted": Losses(_losses_after(point, batch, method, threads, device))}
    features = np.asarray(point[int(isinstance(method, LinearAttention))])
    width, columns = features.shape[1], features
    if batch.B_star is not None:
        columns = np.concatenate([features, batch.B_star], axis=1)
    learned, oracle, alone = (_Ridge(batch.n, ridge) for _ in range(3))
    for part, block in _blocks(batch, columns.shape[1]):
        data = core_data(block, one_round=True)
        products = core.task_products(columns, data, threads, core_device(device))
        for tasks, group in _groups(block, products):
            at = part.start + np.array(tasks)
            learned.add(at, _of_features(group, slice(width)), group)
            alone.add(at, _of_gram(group), group)
            if batch.B_star is not None:
                oracle.add(at, _of_features(group, slice(width, None)), group)
    weights = np.ones(batch.n) if batch.weights is None else batch.weights
    losses["least_squares"] = Losses(learned.least_squares)
    losses["ridge"] = learned.best(weights)
    if batch.B_star is not None:
        losses["oracle_least_squares"] = Losses(oracle.least_squares)
        losses["oracle_ridge"] = oracle.best(weights)
    losses["single_task_ridge"] = alone.best(weights)
    penalty = losses["single_task_ridge"].penalty
    assert penalty is not None
    # A penalty is proportional to sigma^2 / (number of samples), and the pooled regression has n
    # times as many samples as one task.
    penalty /= batch.n
    theta = _pooled(batch, penalty, threads, device)
    pooled = _losses_after((theta, [1.0]), batch, AverageRisk(), threads, device)
    losses["pooled"] = Losses(pooled, penalty)
    return losses


def _losses_after(
    point: tuple[NDArray[Any], ArrayLike],
    batch: TaskBatch,
    method: Method,
    threads: int,
    device: str,
) -> F64:
    """Compute the outer losses after the inner loop of a method, in blocks of tasks."""
    losses = np.empty(batch.n)
    for part, block in _blocks(batch, point[0].shape[-1]):
        after = meta_gradient(*point, block, method, threads=threads, device=device).loss_out
        assert after is not None
        losses[part] = after
    return losses


def _blocks(batch: TaskBatch, columns: int) -> Iterator[tuple[slice, TaskBatch]]:
    """Split the tasks of a batch into blocks whose products take about BLOCK_BYTES of memory."""
    most_in, most_out = (max(side.X.lengths()) for side in (batch._inner, batch._outer))
    rows = most_in + most_out
    of_task = 8 * (4 * most_in * rows + 2 * rows * columns + 4 * rows * len(DECADES))
    count = max(1, BLOCK_BYTES // of_task)
    if count >= batch.n:
        yield slice(0, batch.n), batch
        return
    for first in range(0, batch.n, count):
        part = slice(first, min(first + count, batch.n))
        yield part, batch.take(range(part.start, part.stop))


@dataclass(frozen=True)
class _Group:
    """Products of tasks with equal numbers of samples, and their responses."""

    Z: F64  # (tasks, m, columns)
    Z_out: F64  # (tasks, m_out, columns)
    K: F64  # (tasks, m, m)
    K_cross: F64  # (tasks, m_out, m)
    y: F64  # (tasks, m)
    y_out: F64  # (tasks, m_out)


def _groups(
    block: TaskBatch, products: list[tuple[F64, F64, F64, F64]]
) -> Iterator[tuple[list[int], _Group]]:
    """Stack the products of tasks that have equal numbers of samples; yield indices and stacks."""
    inner, outer = (
        [np.asarray(y, np.float64) for y in side.y.as_passed]
        for side in (block._inner, block._outer)
    )
    by_size: dict[tuple[int, int], list[int]] = {}
    for i in range(block.n):
        by_size.setdefault((len(inner[i]), len(outer[i])), []).append(i)
    for tasks in by_size.values():
        stacks = [np.stack([products[i][part] for i in tasks]) for part in range(4)]
        responses = (np.stack([side[i] for i in tasks]) for side in (inner, outer))
        yield tasks, _Group(*stacks, *responses)


class _Spectrum(NamedTuple):
    """A regression in the eigenvectors of its Gram matrix ``U diag(squares) U^T``.

    The predictions on the outer set for a penalty p are
    ``outer @ ((U^T y) / (squares + m p))``.
    """

    U: F64  # (tasks, m, r)
    squares: F64  # (tasks, r)
    outer: F64  # (tasks, m_out, r)


def _of_features(group: _Group, part: slice) -> _Spectrum:
    """Compute the spectra of regressions on some columns of the features, from their SVD."""
    U, s, V_t = np.linalg.svd(group.Z[:, :, part], full_matrices=False)
    s = np.where(s > rounding_errors(s, max(U.shape[1], V_t.shape[2])), s, 0.0)
    outer = group.Z_out[:, :, part] @ (V_t.transpose(0, 2, 1) * s[:, None, :])
    return _Spectrum(U, s * s, outer)


def _of_gram(group: _Group) -> _Spectrum:
    """Compute the spectra of regressions on all d features, from the Gram matrices."""
    squares, U = np.linalg.eigh(group.K)
    known = squares > rounding_errors(squares, squares.shape[1])
    outer = np.where(known[:, None, :], group.K_cross @ U, 0.0)
    return _Spectrum(U, np.where(known, squares, 0.0), outer)


class _Ridge:
    """Held-out losses of one ridge regression per task, for several penalties at once.

    If no penalty is given, all tasks share the penalty with the smallest mean leave-one-out error
    on the inner sets.
    """

    def __init__(self, n: int, penalty: float | None) -> None:
        self._penalties = None if penalty is None else np.array([penalty])
        count = len(DECADES) if penalty is None else 1
        self._left_out, self._losses = np.empty((n, count)), np.empty((n, count))
        self.least_squares = np.empty(n)

    def add(self, at: NDArray[np.int64], of: _Spectrum, group: _Group) -> None:
        """Compute the losses of some tasks; the first call fixes the scale of the penalties."""
        m = group.y.shape[1]
        if self._penalties is None:
            scale = float(of.squares.sum(axis=1).mean()) / m**2
            self._penalties = (scale if scale > 0.0 else 1.0) * 10.0**DECADES
        y, y_out, squares = group.y[:, :, None], group.y_out[:, :, None], of.squares[:, :, None]
        c = of.U.transpose(0, 2, 1) @ y
        left = squares + m * self._penalties  # (tasks, r, penalties)
        shrunk = np.divide(1.0, left, out=np.zeros_like(left), where=left > 0)
        left_out = squared_loo_errors(of.U, of.squares, group.y, self._penalties)
        self._left_out[at] = left_out / (2 * m)
        self._losses[at] = 0.5 * np.square(of.outer @ (c * shrunk) - y_out).mean(axis=1)
        inverse = np.divide(c, squares, out=np.zeros_like(c), where=squares > 0)
        self.least_squares[at] = 0.5 * np.square(of.outer @ inverse - y_out).mean(axis=(1, 2))

    def best(self, weights: F64) -> Losses:
        """Return the losses for the best penalty, or for the largest of equally good penalties."""
        assert self._penalties is not None
        errors = weights @ self._left_out
        chosen = len(errors) - 1 - int(np.argmin(errors[::-1]))
        return Losses(self._losses[:, chosen], float(self._penalties[chosen]))


def _pooled(batch: TaskBatch, penalty: float, threads: int, device: str) -> F64:
    r"""Return the ridge regression (d, 1) of the inner samples of all tasks together.

    It minimises the sum of the mean (47) over tasks of the inner losses of :math:`\theta` and
    ``penalty / 2 * ||theta||^2``. Conjugate gradients start at 0, and each step takes one pass over
    X.
    """
    inner = TaskBatch._of_sets(batch._inner, None, comm=batch._columns)
    samples = open_arrays(inner, 0, 0, threads, device)
    m = np.diff(samples.offsets)
    weights = np.ones(batch.n) if batch.weights is None else batch.weights
    share = np.repeat(weights / (batch.n * m), m)
    forms = scaled_rows(samples, share)
    theta, _ = solve_by_cg(
        lambda P: samples.combine_features(P, forms) + penalty * P,
        samples.space,
        samples.combine((share * samples.y)[:, None]),
        TOLERANCE,
        MOST_STEPS,
    )
    return theta
