r"""Sparse features, in compressed sparse rows (CSR)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
SAMPLED_OF_TASK = 256  # least number of entries in a fingerprint, unless there are fewer
SAMPLED = 2**16  # approximate number of entries from which `Sparsity.meeting` is estimated


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SparseRows:
    r"""Samples of one task in compressed sparse rows, which are not copied.

    Parameters
    ----------
    starts : ndarray of shape (m + 1,), int64
        Row i has the entries ``starts[i]`` to ``starts[i + 1] - 1``.
    columns : ndarray of int32
        Columns of the entries, strictly ascending within a row.
    values : ndarray of float32 or float64
        Values of the entries.
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
    on_device = False
    is_sparse = True

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice) -> SparseRows:
        """Return a range of rows, which shares the arrays of columns and values."""
        first, end, _ = rows.indices(len(self))
        starts = self.starts[first : max(first, end) + 1]
        return SparseRows(starts=starts, columns=self.columns, values=self.values, d=self.d)

    def __repr__(self) -> str:
        return f"SparseRows(shape={self.shape}, entries={self.entries}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the samples: (m, d)."""
        return len(self), self.d

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.values.dtype

    @property
    def entries(self) -> int:
        """Number of entries in these rows."""
        return int(self.starts[-1] - self.starts[0])

    @property
    def entry_range(self) -> slice:
        """Range of these rows' entries in `columns` and `values`."""
        return slice(int(self.starts[0]), int(self.starts[-1]))

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has the same rows in the same memory."""
        return (
            isinstance(other, SparseRows)
            and self.d == other.d
            and address(self.values) == address(other.values)
            and np.array_equal(self.starts, other.starts)
            # If a matrix is passed twice, and its column indices were converted to int32, there are
            # two converted copies of the indices.
            and (
                address(self.columns) == address(other.columns)
                or np.array_equal(self.columns[self.entry_range], other.columns[other.entry_range])
            )
        )

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the lengths of all rows, and evenly spaced entries; no arguments are used."""
        entries, step = self.entry_range, max(1, self.entries // SAMPLED_OF_TASK)
        yield np.diff(self.starts)
        yield self.columns[entries][::step]
        yield self.values[entries][::step]

    @property
    def as_passed(self) -> SparseRows:
        """Return this object, which represents the matrix."""
        return self

    def lengths(self) -> list[int]:
        """Return a list with one entry: the number of samples of the task."""
        return [len(self)]

    def samples(self, part: slice) -> SparseRows:
        """Return a range of rows, without copying entries."""
        return self[part]

    def rows(self, parts: Sequence[slice]) -> SparseRows:
        """Return a range of rows, without copying entries."""
        return self[parts[0]]

    def take(self, tasks: Sequence[int]) -> SparseRows:
        """Return these rows, which are those of the only task."""
        return self

    def apart(self) -> list[SparseRows]:
        """Return a list with one entry: the rows of the task."""
        return [self]

    def for_core(self) -> tuple[NDArray[Any], ...]:
        """Return starts, columns and values."""
        return self.starts, self.columns, self.values

    def require_files(self, name: str) -> bool:
        """Return whether entries are memory-mapped; raise ValueError if a file was truncated."""
        return True in [check.in_file(name, entries) for entries in (self.values, self.columns)]

    def check_finite(self, name: str) -> None:
        """Raise ValueError if an entry is a NaN or an infinity."""
        check.finite(name, self.values[self.entry_range], cpus.default_threads(), FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return 0, since the entries are not copied."""
        return 0

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return 0, since the entries are not copied."""
        return 0

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Raise NotImplementedError: the core never asks for columns of sparse rows."""
        raise NotImplementedError

    def joined(self, other: TaskArrays | None) -> None:
        """Return None, since sparse rows belong to no dataset on disk."""


class Sparsity(NamedTuple):
    r"""Statistics of sparse samples that determine what a round costs.

    Parameters
    ----------
    entries : float
        Mean number of entries of a sample.
    meeting : float
        Probability that two random entries of the data are in the same column.
    """

    entries: float
    meeting: float


def sparsity_of(*sides: Any) -> Sparsity:
    """Compute the statistics of all samples of several sets, each a sequence of SparseRows."""
    tasks: list[SparseRows] = [task for side in sides for task in side]
    entries, samples = sum(task.entries for task in tasks), sum(map(len, tasks))
    step = max(1, entries // SAMPLED)
    columns = np.concatenate([task.columns[task.entry_range][::step] for task in tasks])
    return statistics_of(columns, entries, samples, tasks[0].d)


def statistics_of(columns: NDArray[Any], entries: int, samples: int, d: int) -> Sparsity:
    """Compute the statistics from the columns of some entries of samples with d features."""
    counts = np.unique(columns, return_counts=True)[1].astype(np.float64)
    size = max(len(columns), 2)
    meeting = float((counts * (counts - 1.0)).sum() / (size * (size - 1.0)))
    # If all columns are equally likely, two entries are in the same column with probability 1/d;
    # for any other distribution of the columns, this probability is larger.
    return Sparsity(entries / samples, max(meeting, 1.0 / d))


def is_sparse(value: object) -> bool:
    """Whether a value is a sparse matrix of SciPy's, or SparseRows."""
    of_scipy = isinstance(getattr(value, "format", None), str) and hasattr(value, "tocsr")
    return of_scipy or isinstance(value, SparseRows)


def holds_sparse(value: object) -> bool:
    """Whether a value is sparse, or a sequence that begins with a sparse matrix."""
    return is_sparse(value) or (
        isinstance(value, (list, tuple)) and bool(value) and is_sparse(value[0])
    )


def per_task(name: str, value: object, dtype: np.dtype[Any] | None) -> tuple[SparseRows, ...]:
    """Check a sequence of CSR matrices, one per task, and return their rows.

    Row starts, and column indices that are not int32, are copied; values are not copied.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{name} must be a sequence with a sparse matrix per task; got one matrix of shape "
            f"{getattr(value, 'shape', None)}"
        )
    tasks: list[SparseRows] = []
    for i, item in enumerate(value):
        task_name = f"{name}[{i}]"
        if not is_sparse(item):
            raise TypeError(
                f"{task_name} must be a sparse matrix, as {name}[0] is; got {check.show(item)}"
            )
        rows = item if isinstance(item, SparseRows) else _check_rows(task_name, item)
        check.floats(task_name, rows.values, tasks[0].dtype if tasks else dtype)
        tasks.append(rows)
    return tuple(tasks)


def _check_rows(name: str, matrix: Any) -> SparseRows:
    """Validate a CSR matrix of SciPy's and wrap it; the compiled core trusts its indices."""
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
    for part, array in (("indices", columns), ("indptr", matrix.indptr)):
        check.in_file(f"{name}.{part}", array)
    starts = np.array(matrix.indptr, dtype=np.int64)
    most = min(len(columns), len(values))
    sound = starts.shape == (m + 1,) and starts[0] >= 0 and starts[-1] <= most
    if not sound or (np.diff(starts) < 0).any():
        raise ValueError(
            f"{name}.indptr must be {m + 1} non-decreasing numbers, from 0 to at most {most}; "
            f"got {check.show(matrix.indptr)}"
        )
    indices, entries = columns, slice(starts[0], starts[-1])
    columns = indices.astype(np.int32, copy=False)
    wraps = columns is not indices and not np.array_equal(columns[entries], indices[entries])
    fault = "range" if wraps else core.sparse_fault(starts, columns, d, cpus.default_threads())
    if fault == "order":
        # The message recommends a copy of the matrix, since SciPy may have set a flag in the matrix
        # itself that says that its indices are sorted.
        raise ValueError(
            f"{name} must have its columns sorted and unique within each row: "
            f"use {name} = {name}.copy(); {name}.sum_duplicates()"
        )
    if fault:
        raise ValueError(f"{name}.indices must be at least 0 and less than d = {d}; some are not")
    return SparseRows(starts=starts, columns=columns, values=values, d=d)
