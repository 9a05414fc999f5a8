r"""The samples of a batch, in memory or on disk, in the form that estimators use."""

from __future__ import annotations

import numpy as np

from .._load import core
from .._support import check
from .._support.types import F64
from ..tasks.batch import TaskBatch, core_data
from ..tasks.storage import TaskArrays
from .averages import RowAverages
from .samples import I64, Samples, Transform, rows_of_chosen
from .space import Space
from .transforms import Curvature, HeadFit, RowForms


class ArraySamples:
    r"""All samples of the tasks of a batch: the inner samples of a task, then its outer samples.

    Inner and outer sets that are the same arrays are counted once. Products are computed in
    float64, even for float32 data. Each product reads X once; `combine_features` reads dense X once
    for its two products. The bits do not depend on the number of threads, or on whether X is in
    memory or on a disk. Ctrl-C interrupts a product.

    Parameters
    ----------
    batch : TaskBatch
        The tasks.
    seed, trial : int
        Keys of the random numbers of `normals`.
    threads : int or None
        Number of threads; None: the CPUs that this process may use.
    """

    def __init__(
        self, batch: TaskBatch, seed: int = 0, trial: int = 0, threads: int | None = None
    ) -> None:
        self.n, self.threads = batch.n, check.threads(threads)
        columns = batch._columns
        shard = core.Shard(batch.d) if columns is None else columns.core
        self.space, self.dim = Space(shard, self.threads), shard.d
        self._batch, self._seed, self._trial = batch, seed, trial
        offsets, y = core.batch_rows(self._data())
        self.offsets: I64 = offsets
        self.y: F64 = y
        weights = getattr(batch, "weights", None)
        self.weights: F64 = np.ones(self.n) if weights is None else weights / np.mean(weights)
        self.B_star = None if batch.B_star is None else batch.B_star.astype(np.float64, copy=False)
        self.wants_few_passes = batch.on_disk

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        return core.batch_features(self._data(), contiguous(B), self.threads)

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        return core.batch_combine(self._data(), contiguous(C), self.threads)

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), for B (dim, k)."""
        B = contiguous(B)
        product = self._combine_in_core(B, transform)
        if product is not None:
            return product

        def rows(Z: F64, first: int, end: int) -> F64:
            return contiguous(transform(Z, range(first, end)))

        return core.batch_combine_features(self._data(), B, rows, self.threads)

    def _combine_in_core(self, B: F64, transform: Transform) -> F64 | None:
        """Return ``X^T transform(X B)`` if the core can compute the transform, else None.

        Without calls in Python, blocks of X can be so small that they stay in an L2 cache between
        the two products. Heads of the least norm, for near-singular features of a task, need a
        singular value decomposition, which the core does not compute.
        """
        product: F64 | None = None
        if isinstance(transform, RowForms):
            product = core.batch_combine_forms(
                self._data(), B, transform.scales, transform.left, transform.right, self.threads
            )
        elif isinstance(transform, Curvature):
            product = self.curvature(B, transform, intercepts=False)
        elif isinstance(transform, HeadFit) and np.diff(self.offsets).min() >= B.shape[1]:
            product = self.fit_heads(B, transform, intercepts=False)
        return product

    def curvature(self, P: F64, of: Curvature, *, intercepts: bool) -> F64 | None:
        """Return the second derivative `of` at P (dim, k); None for sparse features.

        With intercepts, it is that of the loss of `fit_heads` with intercepts.
        """
        if self._batch.is_sparse:
            return None
        P, scales = contiguous(P), of.shares
        return core.batch_curvature(self._data(), P, of.heads, scales, intercepts, self.threads)

    def fit_heads(self, B: F64, fit: HeadFit, *, intercepts: bool) -> F64 | None:
        """Return the gradient of `HeadFit` at B (dim, k), and leave heads and loss in `fit`.

        With intercepts, the loss is ``sum_i shares_i ||y_i - c_i - X_i B v_i||^2 / 2``, which is
        least in v_i and c_i. Returns None if the features of a task are near-singular.
        """
        B = contiguous(B)
        solved = core.batch_fit_heads(self._data(), B, self.y, fit.shares, intercepts, self.threads)
        if solved is None:
            return None
        product, fit.heads, fit.loss = solved
        return product

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        return core.batch_grams(self._data(), tasks.start, tasks.stop, self.threads)

    def shared(self) -> ArraySamples | None:
        """Return the samples of task 0 if all tasks have the same X in the same memory."""
        batch = self._batch
        sides = [batch._inner] if batch.shared else [batch._inner, batch._outer]
        if not all(_is_one_array(side.X) for side in sides):
            return None
        if self.n == 1:
            return self
        firsts = [([_first(side.X).as_passed], [_first(side.y).as_passed]) for side in sides]
        (X_in, y_in), (X_out, y_out) = firsts[0], firsts[-1] if len(firsts) > 1 else (None, None)
        one = TaskBatch(
            X_in,
            y_in,
            X_out,
            y_out,
            B_star=batch.B_star,
            comm=batch._columns,
            check_finite=False,
        )
        return type(self)(one, self._seed, self._trial, self.threads)

    def take(self, tasks: I64) -> Samples:
        """Return the samples of some tasks, in rising order; X is not copied."""
        batch = self._batch.take(tasks.tolist())
        taken = type(self)(batch, self._seed, self._trial, self.threads)
        taken.y = self.y[rows_of_chosen(self.offsets, tasks)[0]]
        return taken

    def averages(self) -> RowAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows."""
        return RowAverages(self)

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers."""
        return draw_normals((self._seed, self._trial, stream), self.space, k)

    def _data(self) -> core.Batch:
        """Return the batch in the core's form; for data on disk, each call opens a new reader."""
        return core_data(self._batch, one_round=True)


def draw_normals(key: tuple[int, int, int], space: Space, k: int) -> F64:
    """Draw a matrix (dim, k) of independent standard normals, keyed by seed, trial and stream.

    Column j does not depend on k. The normals belong to the random stream of starts, with the round
    number 1 + stream in the key; the starts of `train` have the round number 0.
    """
    seed, trial, stream = key
    columns = core.normals(
        seed,
        trial,
        1 + stream,
        core.STREAM_START,
        1,
        k,
        space.rows,
        "float64",
        space.threads,
        first_column=space.first,
    )
    return np.ascontiguousarray(columns[0].T)


def contiguous(matrix: F64) -> F64:
    """Return a matrix in float64 and in C order, copied only if it is not."""
    return np.ascontiguousarray(matrix, dtype=np.float64)


def _first(arrays: TaskArrays) -> TaskArrays:
    """Return the arrays of task 0."""
    return arrays.apart()[0]


def _is_one_array(X: TaskArrays) -> bool:
    """Return whether all tasks have the same features in the same memory, or in one dataset."""
    tasks = X.apart()
    if len(tasks) != X.n:  # one dataset holds several tasks
        return False
    return all(task.is_same(tasks[0]) for task in tasks[1:])
