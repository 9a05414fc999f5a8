r"""The rows of tasks in one table of features, in the form that estimators use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._support.types import F64
from ..estimators.averages import RowAverages
from ..estimators.on_arrays import ArraySamples, draw_normals
from ..estimators.samples import (
    I64,
    Samples,
    Transform,
    offsets_of,
    rows_of,
    rows_of_chosen,
    spread,
    task_sums,
)
from ..estimators.subset import take_tasks
from ..estimators.transforms import Curvature, HeadFit, RowForms
from ..tasks.batch import TaskBatch

_ENTRIES = 1 << 18  # entries of tasks that are transformed at a time
_BLOCK = 1 << 20  # features in float32 that are converted to float64 at a time


def multiply(X: Any, B: F64) -> F64:
    """Return ``X B`` in float64, for a table X (rows, d), without a copy of dense X in float32."""
    if not isinstance(X, np.ndarray) or X.dtype == np.float64:
        return np.asarray(X @ B)
    product = np.empty((len(X), *B.shape[1:]))
    step = max(_BLOCK // max(X.shape[1], 1), 1)
    for first in range(0, len(X), step):
        rows = slice(first, first + step)
        product[rows] = X[rows].astype(np.float64) @ B
    return product


@dataclass(frozen=True, eq=False)
class TaskRows:
    r"""The rows of n tasks in one table of features; a row may belong to several tasks.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (rows, d), float32 or float64
        The features, which are not copied.
    order : ndarray of shape (N,), int64
        Indices of the rows of all tasks, in the order of the tasks.
    offsets : ndarray of shape (n + 1,), int64
        Task i has the entries ``offsets[i]`` to ``offsets[i + 1] - 1`` of `order`, at least one.
    y : ndarray of shape (N,), float64
        The responses, in the order of `order`.
    """

    X: Any
    order: I64
    offsets: I64
    y: F64

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.offsets) - 1

    @cached_property
    def consecutive(self) -> bool:
        """Whether every row belongs to one task, and the rows of each task are consecutive."""
        return len(self.order) == self.X.shape[0] and bool(
            (self.order == np.arange(len(self.order))).all()
        )

    def take(self, tasks: I64) -> TaskRows:
        """Return the rows of some tasks, without copying features."""
        entries, offsets = rows_of_chosen(self.offsets, tasks)
        return TaskRows(self.X, self.order[entries], offsets, self.y[entries])

    def open(self, seed: int, threads: int) -> Samples:
        """Return the samples for estimators, whose random numbers are keyed by `seed`."""
        if not self.consecutive:
            return SharedRows(self, seed, threads)
        batch = TaskBatch.stacked(
            self.X, self.y.astype(self.X.dtype), self.offsets, check_finite=False
        )
        samples = ArraySamples(batch, seed, 0, threads)
        samples.y = self.y  # in float64 for features in float32 too
        return samples


class SharedRows:
    r"""Samples whose rows are any rows of one table, which is not copied.

    A row that several tasks use is multiplied only once: a product with all tasks is one product
    with the table, and sums over the entries of the tasks.

    Parameters
    ----------
    table : TaskRows
        The rows of the tasks.
    seed : int
        Key of the random numbers of `normals`.
    threads : int
        Number of threads.
    """

    def __init__(self, table: TaskRows, seed: int, threads: int) -> None:
        self.n, self.threads = table.n, threads
        self.offsets, self.y = table.offsets, table.y
        self.weights: F64 = np.ones(self.n)
        self.B_star = None
        self._table, self._seed = table, seed
        rows = int(table.X.shape[0])
        whole = TaskBatch.stacked(
            table.X, np.zeros(rows, table.X.dtype), [0, rows], check_finite=False
        )
        self._whole = ArraySamples(whole, seed, 0, threads)  # the table as one task
        self.dim, self.space = self._whole.dim, self._whole.space
        self.wants_few_passes = self._whole.wants_few_passes
        self._groups = list(_group_tasks(table.offsets))

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        return self._whole.features(B)[self._table.order]

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        return self._whole.combine(self._sum_entries(C, range(self.n)))

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), for B (dim, k); two passes over the table."""
        Z = self._whole.features(B)
        sums = np.zeros_like(Z)
        for tasks in self._groups:
            entries = self._table.order[rows_of(self, tasks)]
            sums += self._sum_entries(transform(Z[entries], tasks), tasks)
        return self._whole.combine(sums)

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        grams = []
        for i in tasks:
            X = self._table.X[self._table.order[rows_of(self, range(i, i + 1))]]
            gram = X.astype(np.float64) @ X.T.astype(np.float64)
            grams.append(gram if isinstance(gram, np.ndarray) else gram.toarray())
        return grams

    def shared(self) -> SharedRows | None:
        """Return the samples of task 0 if all tasks have the same rows; None otherwise."""
        order, m = self._table.order, int(self.offsets[1])
        if len(order) != self.n * m or (order.reshape(self.n, m) != order[:m]).any():
            return None
        return SharedRows(self._table.take(np.arange(1)), self._seed, self.threads)

    def take(self, tasks: I64) -> SharedRows:
        """Return the samples of some tasks, in rising order; X is not copied."""
        return SharedRows(self._table.take(tasks), self._seed, self.threads)

    def averages(self) -> RowAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows."""
        return RowAverages(self)

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers."""
        return draw_normals((self._seed, 0, stream), self.space, k)

    def _sum_entries(self, C: F64, tasks: range) -> F64:
        """Return the sums (rows, k) of the entries C (N, k) of tasks by their row of the table."""
        from scipy.sparse import csr_matrix  # noqa: PLC0415

        entries = self._table.order[rows_of(self, tasks)]
        shape = (len(entries), self._table.X.shape[0])
        where = csr_matrix((np.ones(len(entries)), entries, np.arange(len(entries) + 1)), shape)
        return np.ascontiguousarray(where.T @ C)


def _group_tasks(offsets: I64) -> Iterator[range]:
    """Yield consecutive ranges of tasks with about `_ENTRIES` entries, or of one larger task."""
    first = 0
    while first < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[first] + _ENTRIES, side="right")) - 1
        yield range(first, max(end, first + 1))
        first = max(end, first + 1)


class Contrasts:
    r"""The orthonormal contrasts of the rows of every task, which do not depend on intercepts.

    A reflection turns the constant vector of a task's m rows into the first unit vector; its other
    m - 1 rows, applied to X and y, are the contrasts. Responses ``y = X theta + c + noise`` with an
    unknown intercept c become ``y' = X' theta + noise'``. If the noise is normal, so is noise',
    with the same variance; rows of X that are independent and normal stay so. Least squares on the
    contrasts is least squares with an intercept. Every task needs two rows.

    Parameters
    ----------
    samples : Samples
        The samples of all tasks.
    """

    def __init__(self, samples: Samples) -> None:
        sizes = np.diff(samples.offsets)
        if sizes.min() < 2:
            raise ValueError(
                f"every task must have at least two rows; task {int(sizes.argmin())} has one"
            )
        self._samples = samples
        self.n, self.threads = samples.n, samples.threads
        self.dim, self.space = samples.dim, samples.space
        self.wants_few_passes = samples.wants_few_passes
        self.offsets: I64 = samples.offsets - np.arange(samples.n + 1)
        self.weights, self.B_star = samples.weights, None
        # The reflection of a task is I - 2 u u^T / (u^T u) with u = 1 / sqrt(m) - e_1.
        roots = np.sqrt(sizes)
        self._mirror: F64 = np.repeat(1 / roots, sizes)
        self._mirror[samples.offsets[:-1]] -= 1
        self._scale: F64 = 1 / (1 - 1 / roots)  # 2 / (u^T u)
        self._kept = np.ones(len(self._mirror), dtype=bool)
        self._kept[samples.offsets[:-1]] = False
        self.y: F64 = self._contrast(samples.y[:, None], range(self.n))[:, 0]

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        return self._contrast(self._samples.features(B), range(self.n))

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        return self._samples.combine(self.expand(C))

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), with one pass over X where that is possible."""
        product = self._combine_in_core(B, transform)
        if product is not None:
            return product

        def on_rows(Z: F64, tasks: range) -> F64:
            contrasts = np.ascontiguousarray(self._contrast(Z, tasks))
            return self.expand(transform(contrasts, tasks), tasks)

        return self._samples.combine_features(B, on_rows)

    def _combine_in_core(self, B: F64, transform: Transform) -> F64 | None:
        """Return ``X^T transform(X B)`` if the core can compute the transform on rows, else None.

        Least-squares heads on contrasts are those with an intercept, and so is the curvature of
        their loss. The reflections turn the diagonal of `RowForms` into a diagonal and two terms
        of rank 1.
        """
        samples = self._samples
        if not isinstance(samples, ArraySamples):
            return None
        if isinstance(transform, HeadFit) and np.diff(self.offsets).min() >= B.shape[1]:
            return samples.fit_heads(B, transform, intercepts=True)
        if isinstance(transform, Curvature):
            return samples.curvature(B, transform, intercepts=True)
        if not isinstance(transform, RowForms):
            return None
        scales = np.zeros(len(self._kept))
        scales[self._kept] = transform.scales
        mirror = self._mirror[:, None]
        factors = np.repeat(self._scale, np.diff(samples.offsets))[:, None]
        image = scales[:, None] * mirror  # diag(p) u
        lengths = spread(task_sums(mirror * image, samples.offsets), samples.offsets)
        left = [-factors * mirror, -factors * image + factors**2 * lengths * mirror]
        forms = RowForms(
            samples,
            scales,
            np.hstack([self.expand(transform.left), *left]),
            np.hstack([self.expand(transform.right), image, mirror]),
        )
        return samples.combine_features(B, forms)

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        grams = []
        for i, gram in zip(tasks, self._samples.grams(tasks), strict=True):
            one = range(i, i + 1)
            half = self._contrast(gram, one)
            grams.append(np.ascontiguousarray(self._contrast(half.T, one)))
        return grams

    def take(self, tasks: I64) -> Contrasts:
        """Return the samples of some tasks, in rising order; X is not copied."""
        return Contrasts(take_tasks(self._samples, tasks))

    def shared(self) -> Contrasts | None:
        """Return the samples of one task if all tasks have the same X; None otherwise."""
        shared = self._samples.shared()
        return None if shared is None else Contrasts(shared)

    def averages(self) -> RowAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows."""
        return RowAverages(self)

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers."""
        return self._samples.normals(k, stream)

    def expand(self, C: F64, tasks: range | None = None) -> F64:
        """Return R (N, k) such that ``X^T R = X'^T C``, for C (N - n, k) on the contrasts X'.

        R and C have the rows of a range of tasks; None means all tasks.
        """
        tasks = range(self.n) if tasks is None else tasks
        rows = rows_of(self._samples, tasks)
        full = np.zeros((rows.stop - rows.start, C.shape[1]))
        full[self._kept[rows]] = C
        return self._reflect(full, tasks)

    def _contrast(self, Z: F64, tasks: range) -> F64:
        """Return the contrasts (N - n, k) of the rows Z (N, k) of a range of tasks."""
        rows = rows_of(self._samples, tasks)
        return self._reflect(Z, tasks)[self._kept[rows]]

    def _reflect(self, Z: F64, tasks: range) -> F64:
        """Apply the reflection of every task, which is its own transpose, to its rows."""
        rows, offsets = rows_of(self._samples, tasks), offsets_of(self._samples, tasks)
        mirror = self._mirror[rows, None]
        sums = np.add.reduceat(mirror * Z, offsets[:-1] - offsets[0], axis=0)
        sums *= self._scale[tasks.start : tasks.stop, None]
        return np.asarray(Z - mirror * np.repeat(sums, np.diff(offsets), axis=0))
