r"""Features of which only the entries that are not zero are stored, row after row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, cpus
from .._support.memory import Arena
from .._support.types import I64
from .in_memory import address
from .storage import FINITE_HINT, TaskArrays

MOST_COLUMNS = 2**31 - 1
SAMPLED = 2**16  # entries whose columns are compared with each other


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SparseRows:
    r"""Samples of one task in compressed rows, used where they lie.

    Parameters
    ----------
    starts : ndarray of shape (m + 1,), int64
        Row i has the entries from ``starts[i]`` to ``starts[i + 1]``.
    columns : ndarray of int32
        Columns of the entries, rising within a row.
    values : ndarray of float32 or float64
        Their values.
    d : int
        Number of features.
    """

    starts: I64
    columns: NDArray[np.int32]
    values: NDArray[Any]
    d: int

    ndim = 2
    n = 1
    stacked = False
    on_disk = False
    is_sparse = True

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice) -> SparseRows:
        """Neighbouring rows: the same columns and values, other starts."""
        first, end, _ = rows.indices(len(self))
        starts = self.starts[first : max(first, end) + 1]
        return SparseRows(starts=starts, columns=self.columns, values=self.values, d=self.d)

    def __repr__(self) -> str:
        return f"SparseRows(shape={self.shape}, entries={self.entries}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d)."""
        return len(self), self.d

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def entries(self) -> int:
        """Number of entries in these rows."""
        return int(self.starts[-1] - self.starts[0])

    @property
    def own(self) -> slice:
        """Where the entries of these rows are."""
        return slice(int(self.starts[0]), int(self.starts[-1]))

    def is_same(self, other: TaskArrays) -> bool:
        """Whether both are the same memory, seen in the same way."""
        return (
            isinstance(other, SparseRows)
            and self.d == other.d
            and address(self.values) == address(other.values)
            and np.array_equal(self.starts, other.starts)
            # Columns of one matrix differ in memory where each side has converted them.
            and (
                address(self.columns) == address(other.columns)
                or np.array_equal(self.columns[self.own], other.columns[other.own])
            )
        )

    def sample(self) -> Iterator[NDArray[Any]]:
        """Take the lengths of all rows, and some entries at even distances."""
        own, step = self.own, max(1, self.entries // 256)
        yield np.diff(self.starts)
        yield self.columns[own][::step]
        yield self.values[own][::step]

    @property
    def given(self) -> SparseRows:
        """Return what stands for the matrix."""
        return self

    def lengths(self) -> list[int]:
        """Return the number of samples of the one task."""
        return [len(self)]

    def samples(self, part: slice) -> SparseRows:
        """Take neighbouring rows, without a copy of entries."""
        return self[part]

    def apart(self) -> list[SparseRows]:
        """Return the rows of the one task."""
        return [self]

    def for_core(self) -> tuple[NDArray[Any], ...]:
        """Return starts, columns and values."""
        return self.starts, self.columns, self.values

    def require_files(self, name: str) -> None:
        """Raise ValueError if a file of entries was truncated."""
        check.in_file(name, self.values)
        check.in_file(name, self.columns)

    def check_finite(self, name: str) -> None:
        """Raise ValueError if an entry is a NaN or an infinity."""
        check.finite(name, self.values[self.own], cpus.default_threads(), FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return 0: the entries are used where they lie."""
        return 0

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return 0: the entries are used where they lie."""
        return 0

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Raise NotImplementedError: the core never asks for columns of sparse rows."""
        raise NotImplementedError

    def joined(self, other: TaskArrays | None) -> None:
        """Return None: nothing is read."""


class Sparsity(NamedTuple):
    r"""What the cost of sparse samples depends on.

    Parameters
    ----------
    entries : float
        Entries of a sample, on average.
    meeting : float
        Probability that two entries are in the same column.
    """

    entries: float
    meeting: float


def sparsity_of(*sides: Any) -> Sparsity:
    """Averages over the samples of the tasks of some sides."""
    tasks: list[SparseRows] = [task for side in sides for task in side]
    entries, samples = sum(task.entries for task in tasks), sum(map(len, tasks))
    step = max(1, entries // SAMPLED)
    columns = np.concatenate([task.columns[task.own][::step] for task in tasks])
    counts = np.unique(columns, return_counts=True)[1].astype(np.float64)
    size = max(len(columns), 2)
    met = float((counts * (counts - 1.0)).sum() / (size * (size - 1.0)))
    return Sparsity(entries / samples, max(met, 1.0 / tasks[0].d))


def is_sparse(value: object) -> bool:
    """Whether something is a matrix of SciPy's, or rows of one."""
    own = isinstance(getattr(value, "format", None), str) and hasattr(value, "tocsr")
    return own or isinstance(value, SparseRows)


def holds_sparse(value: object) -> bool:
    """Whether data of tasks are sparse."""
    return is_sparse(value) or (
        isinstance(value, (list, tuple)) and bool(value) and is_sparse(value[0])
    )


def per_task(name: str, value: object, dtype: np.dtype[Any] | None) -> tuple[SparseRows, ...]:
    """A sequence of matrices in compressed rows, one per task; no copy but of the row starts.

    Columns that are not int32 are copied too.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{name} must be a sequence with a sparse matrix per task; got one matrix of shape "
            f"{getattr(value, 'shape', None)}"
        )
    found: list[SparseRows] = []
    for i, item in enumerate(value):
        place = f"{name}[{i}]"
        if not is_sparse(item):
            raise TypeError(
                f"{place} must be a sparse matrix, as {name}[0] is; got {check.show(item)}"
            )
        rows = item if isinstance(item, SparseRows) else _rows(place, item)
        check.floats(place, rows.values, found[0].dtype if found else dtype)
        found.append(rows)
    return tuple(found)


def _rows(name: str, matrix: Any) -> SparseRows:
    """The rows of a matrix of SciPy's, found sound: the compiled code relies on it."""
    if matrix.format != "csr":
        raise ValueError(f"{name} must be in CSR format; got {matrix.format}: use {name}.tocsr()")
    if len(matrix.shape) != 2:
        raise ValueError(f"{name} must have shape (m, d); got {matrix.shape}")
    m, d = map(int, matrix.shape)
    if d > MOST_COLUMNS:
        raise ValueError(f"{name} must have at most {MOST_COLUMNS} columns; got {d}")
    columns, values = matrix.indices, check.floats(name, matrix.data)
    if columns.dtype.kind not in "iu":
        raise TypeError(f"{name}.indices must be integers; got dtype {columns.dtype}")
    for part, array in (("data", values), ("indices", columns)):
        if array.ndim != 1 or not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(
                f"{name}.{part} must be a contiguous vector; got strides {array.strides}: "
                f"use {name}.copy()"
            )
    starts = np.array(matrix.indptr, dtype=np.int64)
    most = min(len(columns), len(values))
    sound = starts.shape == (m + 1,) and starts[0] >= 0 and starts[-1] <= most
    if not sound or (np.diff(starts) < 0).any():
        raise ValueError(
            f"{name}.indptr must be {m + 1} numbers that do not fall, from 0 to at most {most}; "
            f"got {check.show(matrix.indptr)}"
        )
    given = columns
    columns = given.astype(np.int32, copy=False)
    own = slice(starts[0], starts[-1])
    wraps = columns is not given and not np.array_equal(columns[own], given[own])
    fault = "range" if wraps else core.sparse_fault(starts, columns, d, cpus.default_threads())
    if fault == "order":
        # A copy, since SciPy may remember of the matrix that it was sorted.
        raise ValueError(
            f"{name} must have its columns sorted and none twice in a row: "
            f"use {name} = {name}.copy(); {name}.sum_duplicates()"
        )
    if fault:
        raise ValueError(f"{name}.indices must be at least 0 and less than d = {d}; some are not")
    return SparseRows(starts=starts, columns=columns, values=values, d=d)
