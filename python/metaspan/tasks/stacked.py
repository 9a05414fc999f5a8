r"""Tasks whose features are ranges of rows in one dataset on disk with two axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check, cpus
from .._support.memory import Arena
from .._support.types import I64
from .in_memory import sample_of
from .on_disk import BLOCK_BYTES, Stored
from .storage import FINITE_HINT, TaskArrays


@dataclass(frozen=True, eq=False)
class StackedRows:
    r"""Features of n tasks in one dataset on disk; each task has a range of consecutive rows.

    One call of h5py or another library reads all tasks whose rows are adjacent in the dataset.

    Parameters
    ----------
    store : Stored
        The dataset, of shape (rows, d).
    begins, ends : ndarray of shape (n,), int64
        Task i has the rows ``begins[i]`` to ``ends[i] - 1``.
    """

    store: Stored
    begins: I64
    ends: I64

    stacked = False
    on_disk = True
    on_device = False
    is_sparse = False

    def __len__(self) -> int:
        return len(self.begins)

    def __repr__(self) -> str:
        return f"StackedRows(n={self.n}, rows={self._rows}, d={self.d}, dtype={self.dtype})"

    @property
    def as_passed(self) -> StackedRows:
        """Return this object, which represents the rows."""
        return self

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.begins)

    @property
    def d(self) -> int:
        """Number of features."""
        return self.store.d

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers."""
        return self.store.dtype

    @property
    def spare(self) -> list[Arena]:
        """Arenas of readers that have ended, for later readers."""
        return self.store.spare

    @property
    def _rows(self) -> int:
        """Number of rows of all tasks."""
        return int((self.ends - self.begins).sum())

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        lengths: list[int] = (self.ends - self.begins).tolist()
        return lengths

    def samples(self, part: slice) -> StackedRows:
        """Return the given range of samples of every task, without reading them."""
        return self.rows([part] * self.n)

    def rows(self, parts: Sequence[slice]) -> StackedRows:
        """Return a range of samples of every task, one slice per task, without reading them."""
        ranges = [part.indices(m) for part, m in zip(parts, self.lengths(), strict=True)]
        firsts = np.array([first for first, _, _ in ranges], np.int64)
        ends = np.array([max(first, end) for first, end, _ in ranges], np.int64)
        return StackedRows(self.store, self.begins + firsts, self.begins + ends)

    def columns(self, part: slice) -> StackedRows:
        """Return some columns of all rows, without reading them."""
        return StackedRows(self.store.columns(part), self.begins, self.ends)

    def take(self, tasks: Sequence[int]) -> StackedRows:
        """Return the given tasks, without reading them."""
        return StackedRows(self.store, self.begins[tasks], self.ends[tasks])

    def apart(self) -> list[StackedRows]:
        """Return all tasks in one object, since reading them one by one would take longer."""
        return [self]

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has the same rows of the same dataset."""
        return (
            isinstance(other, StackedRows)
            and self.store.is_same_source(other.store)
            and np.array_equal(self.begins, other.begins)
            and np.array_equal(self.ends, other.ends)
        )

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield rows and columns of at least eight tasks, or of all tasks if there are fewer."""
        for i in range(0, self.n, max(1, self.n // 8)):
            rows = slice(int(self.begins[i]), int(self.ends[i]))
            yield sample_of(self.store.read(rows), step, first)

    def for_core(self) -> None:
        """Return None, since a Reader reads the rows for the core."""

    def require_files(self, name: str) -> bool:
        """Return True; every read checks that the dataset is open and has kept its shape."""
        return True

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity; reads all data once."""
        count = max(1, BLOCK_BYTES // (self.d * self.dtype.itemsize))
        arena = Arena()
        for run in _split_runs(self.begins, self.ends):
            begin, end = int(self.begins[run.start]), int(self.ends[run.stop - 1])
            for first in range(begin, end, count):
                part = slice(first, min(first + count, end))
                arena.begin(count * self.d * self.dtype.itemsize if self.store.reads_into else 0)
                numbers = self.store.read(part, arena=arena)
                check.finite(name, numbers, cpus.default_threads(), FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of two blocks: the block in use, and the next block."""
        row = self.d * self.dtype.itemsize
        largest = int((self.ends - self.begins).max()) * row
        return 2 * min(self._rows * row, max(BLOCK_BYTES, 4 * B_bytes, largest))

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of the arena that `read_tasks` uses for `count` columns of `tasks`."""
        rows = int((self.ends[tasks] - self.begins[tasks]).sum()) if self.store.reads_into else 0
        return rows * count * self.dtype.itemsize

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Read the given columns of the given tasks, one array per task."""
        begins, ends = self.begins[tasks], self.ends[tasks]
        return [
            part
            for run in _split_runs(begins, ends)
            for part in np.split(
                self.store.read(
                    slice(int(begins[run.start]), int(ends[run.stop - 1])), columns, arena=arena
                ),
                (ends[run] - begins[run.start])[:-1],
            )
        ]

    def joined(self, other: TaskArrays | None) -> tuple[StackedRows, slice, slice] | None:
        """Return the rows that cover both sets, and the range of each set in these rows.

        Returns None unless both sets of every task are adjacent rows of one dataset and the same
        two slices fit all tasks. The sets of `TaskBatch.stacked` with an `m_in` are of this kind.
        """
        if not isinstance(other, StackedRows) or not other.store.is_same_source(self.store):
            return None
        inner = self.ends - self.begins
        if len(self) != len(other) or not np.array_equal(self.ends, other.begins):
            return None
        if (inner != inner[0]).any():
            return None
        both = StackedRows(self.store, self.begins, other.ends)
        return both, slice(int(inner[0])), slice(int(inner[0]), None)


def _split_runs(begins: I64, ends: I64) -> Iterator[slice]:
    """Split the tasks into ranges of tasks whose rows are adjacent in the dataset."""
    breaks = (np.flatnonzero(begins[1:] != ends[:-1]) + 1).tolist()
    for first, end in zip([0, *breaks], [*breaks, len(begins)], strict=True):
        yield slice(first, end)
