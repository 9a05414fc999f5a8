r"""Samples at full size that every product generates again, so that they are never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Protocol

import numpy as np

from .._core_types import CoreData
from .._load import core
from .._support import check
from .._support.types import F64
from ..sharding.columns import Columns
from ..tasks import features as feature_laws
from ..tasks.arrays import core_sets, sets_of
from ..tasks.linear import LinearTasks, draw_xi, responses_of
from .averages import RowAverages
from .on_arrays import draw_normals
from .samples import I64, Transform, rows_of
from .space import Space, refuse_shared

BLOCK_BYTES = core.MADE_BYTES  # most bytes of a block of rows, unless one task has more

RangeTransform = Callable[[F64, int, int], F64]


class _Rows(Protocol):
    """The rows of all tasks before multiplication by their radii."""

    def features(self, B: F64, threads: int) -> F64:
        """Compute X B, (N, k)."""

    def combine(self, C: F64, threads: int) -> F64:
        """Compute X^T C, (d, k)."""

    def combine_features(self, B: F64, transform: RangeTransform, threads: int) -> F64:
        """Compute X^T transform(X B), (d, k)."""


class SampledSamples:
    r"""The samples of n tasks from a law, with m samples of full size per task.

    The samples are those of ``tasks.sample(n, m, shared_samples=True, seed=seed, trial=trial)``, up
    to rounding errors of the responses. Each product generates every row once. The memory does not
    grow with ``n m d``: it is O(d k) and O(n m k) numbers, and one block of rows, which takes at
    most 64 MiB unless a single task is larger. The first use of `y` generates every row once more;
    so does the first product for features on the sphere or with Student's t distribution. The bits
    do not depend on the number of threads. Ctrl-C interrupts a product.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks.
    n, m : int
        Number of tasks, and of samples of each task.
    seed, trial : int
        Keys of the random numbers.
    threads : int or None
        Number of threads; None: the CPUs that this process may use.
    columns : Columns or None
        The columns of X that this rank generates; None: all.

    Raises
    ------
    ValueError
        If a function of the user draws the features, and other ranks have columns.
    """

    def __init__(  # noqa: PLR0917
        self,
        tasks: LinearTasks,
        n: int,
        m: int,
        seed: int = 0,
        trial: int = 0,
        threads: int | None = None,
        columns: Columns | None = None,
    ) -> None:
        self.n, self.dim = n, tasks.d
        self.offsets: I64 = m * np.arange(n + 1, dtype=np.int64)
        self.weights: F64 = np.ones(n)
        self.wants_few_passes = True  # which generate X
        self.threads = check.threads(threads)
        shard = core.Shard(tasks.d) if columns is None else columns.core
        self.space = Space(shard, self.threads)
        self._law, self._m, self._seed, self._trial = tasks, m, seed, trial
        if callable(tasks.features):
            refuse_shared("fit with features from a function", self.space, "it draws whole rows")
        truth = tasks._truth(seed, trial, self.threads, columns)
        self.B_star: F64 = truth.astype(np.float64, copy=False)
        self._heads = tasks.draw_heads(n, seed, trial)
        law = feature_laws.core_law(tasks.features)
        self._has_radii = law.name in ("student-t", "sphere")
        self._made = core.MadeSamples(law, tasks._roots(columns), seed, trial, n, m, tasks.d, shard)
        self._rows: _Rows = _CalledRows(self) if callable(tasks.features) else self._made

    @property
    def y(self) -> F64:
        """Responses, (N,)."""
        return self._responses[0]

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        Z = self._rows.features(_contiguous(B), self.threads)
        return self._radii * Z if self._has_radii else Z

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        scaled = self._radii * C if self._has_radii else C
        return self._rows.combine(_contiguous(scaled), self.threads)

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k); every row is generated once."""

        def rows(Z: F64, first: int, end: int) -> F64:
            tasks = range(first, end)
            if not self._has_radii:
                return _contiguous(transform(Z, tasks))
            radii = self._radii[rows_of(self, tasks)]
            return _contiguous(radii * transform(radii * Z, tasks))

        return self._rows.combine_features(_contiguous(B), rows, self.threads)

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m, m), of some tasks."""
        grams: list[F64] = []
        for block in self._blocks(tasks):
            X = self._draw(block)
            y = np.zeros(X.shape[:2])
            data = core.Batch(CoreData(X, y, X, y, shard=self.space.shard), self.space.rows)
            grams += core.batch_grams(data, 0, len(block), self.threads)
        return grams

    def shared(self) -> SampledSamples | None:
        """Return these samples if there is one task, else None: no two tasks have the same X."""
        return self if self.n == 1 else None

    def averages(self) -> RowAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows."""
        return RowAverages(self)

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers."""
        return draw_normals((self._seed, self._trial, stream), self.space, k)

    @property
    def _radii(self) -> F64:
        """Factors by which the generated rows are multiplied, (N, 1)."""
        return self._responses[1][:, None]

    @cached_property
    def _responses(self) -> tuple[F64, F64]:
        """Responses and radii, (N,) each."""
        key = (self._seed, self._trial, 0)
        if callable(self._law.features):
            y = np.concatenate([self._called_responses(block) for block in self._blocks()])
            radii = np.ones(len(y))
        else:
            y, radii = self._made.responses(
                self.B_star, self._heads, float(np.sqrt(self._law.xi_variance)), self.threads
            )
        noise = core.normals(
            *key, core.STREAM_NOISE_IN, self.n, self._m, 1, "float64", self.threads
        )
        return y + self._law.noise * noise.ravel(), radii

    def _called_responses(self, block: range) -> F64:
        """Return the responses of some tasks without noise, for features from a user's function."""
        X, heads = self._draw(block), self._heads[block.start : block.stop]
        y = (core.project(X, self.B_star, self.threads) * heads[:, None, :]).sum(axis=2)
        key = (self._seed, self._trial, 0)
        xi = draw_xi(self._law, key, len(block), self.dim, self.threads, first_task=block.start)
        if xi is not None:
            y += responses_of(X, xi, self.threads)
        return np.asarray(y.ravel())

    def _draw(self, block: range) -> F64:
        """Return the features of some tasks, (tasks, m, d)."""
        law, count = self._law, len(block)
        if not callable(law.features):
            X = self._made.rows(block.start, block.stop, self.threads)
            if self._has_radii:
                X *= self._radii[rows_of(self, block)]
            return X.reshape(count, self._m, self.space.rows)
        key = core.derive_key(self._seed, self._trial, 0, core.STREAM_FEATURES_IN)
        X = feature_laws.all_rows(
            law.features, key, count, self._m, self.dim, first_task=block.start
        )
        return X if law.roots is None else X * law.roots

    def _blocks(self, tasks: range | None = None) -> Iterator[range]:
        """Split consecutive tasks into ranges whose rows take at most BLOCK_BYTES."""
        tasks = range(self.n) if tasks is None else tasks
        ranks = self.space.shard.ranks  # all of them exchange numbers in every block
        count = max(1, BLOCK_BYTES * ranks // (8 * self._m * self.dim))
        for first in range(tasks.start, tasks.stop, count):
            yield range(first, min(tasks.stop, first + count))


class _CalledRows:
    """Rows that a user's function draws, one block of tasks at a time."""

    def __init__(self, samples: SampledSamples) -> None:
        self._samples = samples

    def features(self, B: F64, threads: int) -> F64:
        """Compute X B, (N, k)."""
        return np.concatenate(
            [core.batch_features(data, B, threads) for _, data in self._held_blocks()]
        )

    def combine(self, C: F64, threads: int) -> F64:
        """Compute X^T C, (d, k)."""
        total = np.zeros((self._samples.dim, C.shape[1]))
        for block, data in self._held_blocks():
            total += core.batch_combine(data, C[rows_of(self._samples, block)], threads)
        return total

    def combine_features(self, B: F64, transform: RangeTransform, threads: int) -> F64:
        """Compute X^T transform(X B), (d, k)."""
        total = np.zeros((self._samples.dim, B.shape[1]))
        for block, data in self._held_blocks():
            Z = core.batch_features(data, B, threads)
            C = transform(Z, block.start, block.stop)
            total += core.batch_combine(data, C, threads)
        return total

    def _held_blocks(self) -> Iterator[tuple[range, core.Batch]]:
        """Yield the blocks of tasks, one after the other, with their rows in memory."""
        for block in self._samples._blocks():
            X = self._samples._draw(block)
            yield block, core_sets(sets_of(X, np.zeros(X.shape[:2])))


def _contiguous(matrix: F64) -> F64:
    """Return a matrix in float64 and in C order, copied only if it is not."""
    return np.ascontiguousarray(matrix, dtype=np.float64)
