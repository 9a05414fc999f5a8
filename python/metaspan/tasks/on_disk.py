r"""Features on disk: a thread reads a block of tasks while the core works on the previous block."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, cpus
from .._support.memory import Arena
from .in_memory import is_mapped, sample_of
from .storage import FINITE_HINT, TaskArrays

BLOCK_BYTES = core.STORE_BLOCK_BYTES  # size of a block; a block of one task may exceed it

Request = tuple[list[int], int, int]
"""Indices of tasks, first column, number of columns."""
Features = tuple[list[NDArray[Any]], list[NDArray[Any]]]
"""Features (m, columns) of every task, of the inner sets and of the outer sets."""


class Stored:
    r"""Samples of a dataset on disk, which are read on demand.

    Parameters
    ----------
    name : str
        Name of the argument, for errors.
    source : object
        An ``h5py.Dataset`` or a ``zarr.Array`` of shape (n, m, d) or (m, d), which is read by
        slices. Every read raises ValueError if the shape of the source has changed.
    """

    def __init__(self, name: str, source: Any) -> None:
        self.name = name
        self.source = source
        try:
            self.dtype: np.dtype[Any] = np.dtype(source.dtype)
            self._whole = _shape_of(source)
        except Exception as error:  # libraries raise errors of any kind
            why = "it is closed" if _is_closed(source) else _one_line(error)
            raise ValueError(f"{name} must be a dataset that can be read; {why}") from error
        self.ndim = len(self._whole)
        self.stacked = self.ndim == 3
        self.spare: list[Arena] = []  # arenas of readers that have ended, for later readers
        self.first, self.end = 0, self._whole[-2] if self.ndim > 1 else 0
        self.chosen: tuple[int, ...] | None = None  # tasks of a stack, in order; None: all
        self.first_column, self.end_column = 0, self._whole[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the samples: (n, m, d), or (m, d) for one task."""
        samples = (self.end - self.first, self.d)
        return (self.n, *samples) if self.stacked else samples

    def __len__(self) -> int:
        return self.shape[0]

    on_disk = True
    on_device = False
    is_sparse = False

    @property
    def as_passed(self) -> Stored:
        """Return this object, which represents the dataset."""
        return self

    @property
    def n(self) -> int:
        """Number of tasks."""
        if self.chosen is not None:
            return len(self.chosen)
        return self._whole[0] if self.stacked else 1

    @property
    def d(self) -> int:
        """Number of features."""
        return self.end_column - self.first_column

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return [self.end - self.first] * self.n

    @property
    def reads_into(self) -> bool:
        """Whether the dataset's library can read into an existing array."""
        return hasattr(self.source, "read_direct")

    def between(self, first: int, end: int) -> Stored:
        """Return the samples of the source from `first` to `end`, without reading them."""
        samples = copy(self)
        samples.first, samples.end = first, end
        return samples

    def columns(self, part: slice) -> Stored:
        """Return some columns of all samples, without reading them."""
        first, end, _ = part.indices(self.d)
        narrow = copy(self)
        narrow.first_column, narrow.end_column = self.first_column + first, self.first_column + end
        return narrow

    def samples(self, part: slice) -> Stored:
        """Return the given range of samples of every task, without reading them."""
        begin, end, _ = part.indices(self.end - self.first)
        return self.between(self.first + begin, self.first + end)

    def rows(self, parts: Sequence[slice]) -> Stored:
        """Return a range of samples of every task, the same for all, without reading them."""
        return self.samples(parts[0])

    def take(self, tasks: Sequence[int]) -> Stored:
        """Return the given tasks, in the given order, without reading them."""
        if not self.stacked:
            return self
        part = copy(self)
        part.chosen = tuple(self._indices(tasks))
        return part

    def _indices(self, tasks: Sequence[int]) -> list[int]:
        """Return the indices in the source of the given tasks."""
        return list(tasks) if self.chosen is None else [self.chosen[i] for i in tasks]

    @property
    def source_rows(self) -> slice:
        """Range of these samples in the source."""
        return slice(self.first, self.end)

    def apart(self) -> list[Stored]:
        """Return the dataset as a whole, since splitting the dataset into tasks would read it."""
        return [self]

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has the same samples of the same dataset."""
        return (
            isinstance(other, Stored)
            and self.is_same_source(other)
            and self.source_rows == other.source_rows
            and self.chosen == other.chosen
        )

    def is_same_source(self, other: Stored) -> bool:
        """Whether `other` has the same columns of the same dataset."""
        columns = (self.first_column, self.end_column) == (other.first_column, other.end_column)
        return columns and self.source is other.source

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield rows and columns of at least eight tasks, or of all tasks if there are fewer."""
        for i in range(0, self.n, max(1, self.n // 8)):
            yield sample_of(self._task(i), step, first)

    def for_core(self) -> None:
        """Return None, since a Reader reads the samples for the core."""

    def require_files(self, name: str) -> bool:
        """Return True; every read checks that the dataset is open and has kept its shape."""
        return True

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity; reads all data once."""
        reader, n, d = Reader(self), self.n, self.d
        task_bytes = self.shape[-2] * d * self.dtype.itemsize
        count = max(1, BLOCK_BYTES // task_bytes)
        blocks = [(list(range(at, min(n, at + count))), 0, d) for at in range(0, n, count)]
        for now, after in zip(blocks, [*blocks[1:], None], strict=True):
            for part in reader.read(now, after)[0]:
                check.finite(name, part, cpus.default_threads(), FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of two blocks: the block in use, and the next block."""
        whole = math.prod(self.shape) * self.dtype.itemsize
        return 2 * min(whole, max(BLOCK_BYTES, 4 * B_bytes, whole // len(self)))

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of the arena that `read_tasks` uses for `count` columns of `tasks`."""
        samples = len(tasks) * self.shape[-2] if self.reads_into else 0
        return samples * count * self.dtype.itemsize

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Read the given columns of the given tasks, one array per task."""
        if not self.stacked:
            return [self.read(self.source_rows, columns, arena=arena)]
        return [
            part
            for run in _split_runs(self._indices(tasks))
            for part in self.read(run, self.source_rows, columns, arena=arena)
        ]

    def joined(self, other: TaskArrays | None) -> tuple[Stored, slice, slice] | None:
        """Return the samples that cover both sets, and the range of each set in these samples.

        Returns None unless both sets are samples of one dataset on disk, without others between.
        """
        if not isinstance(other, Stored) or not other.is_same_source(self):
            return None
        if other.chosen != self.chosen:
            return None
        both = self.between(min(self.first, other.first), max(self.end, other.end))
        if both.end - both.first > (self.end - self.first) + (other.end - other.first):
            return None  # the samples between the two sets would be read as well
        mine, theirs = (
            slice(side.first - both.first, side.end - both.first) for side in (self, other)
        )
        return both, mine, theirs

    def _task(self, i: int) -> NDArray[Any]:
        """Read the features of one task."""
        if not self.stacked:
            return self.read(self.source_rows)
        (place,) = self._indices([i])
        (task,) = self.read(slice(place, place + 1), self.source_rows)
        return np.asarray(task)

    def read(self, *part: slice, arena: Arena | None = None) -> NDArray[Any]:
        """Read a slice of each axis of the samples, into the arena if the library allows that.

        Axes without a slice are read whole, and columns count from the first of these samples.
        Raises ValueError if the dataset was closed or resized
        or if values are masked, TypeError if values have a physical unit, and OSError if the
        library fails.
        """
        part = part + (slice(None),) * (self.ndim - len(part))
        if self.ndim > 1:
            first, end, _ = part[-1].indices(self.d)
            part = (*part[:-1], slice(self.first_column + first, self.first_column + end))
        ranges = [axis.indices(size) for axis, size in zip(part, self._whole, strict=True)]
        shape = tuple(max(0, end - begin) for begin, end, _ in ranges)
        self._require_unchanged()
        try:
            if arena is not None and self.reads_into:
                out = arena.take(shape, self.dtype)
                self.source.read_direct(out, part)
                return out
            out = check.convert(self.source[part])
        except MemoryError:
            raise
        except Exception as error:  # libraries raise errors of any kind
            self._require_unchanged()
            raise OSError(f"{self.name} cannot be read: {_one_line(error)}") from error
        out = check.bare(self.name, out)
        if out.shape != shape:
            self._require_unchanged()
            raise ValueError(f"{self.name} must give arrays of shape {shape}; got {out.shape}")
        return np.ascontiguousarray(out, dtype=self.dtype)

    def _require_unchanged(self) -> None:
        """Raise ValueError if the dataset was closed or resized."""
        try:
            shape = None if _is_closed(self.source) else _shape_of(self.source)
        except Exception:  # of any kind: a dataset without a shape counts as closed
            shape = None
        if shape is None:
            raise ValueError(
                f"{self.name} must stay open as long as it is in use; its dataset is closed"
            )
        if shape != self._whole:
            raise ValueError(
                f"{self.name} must keep its shape as long as it is in use; "
                f"its dataset had shape {self._whole} and has {shape} now"
            )


def _shape_of(source: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in source.shape)


def _is_closed(source: Any) -> bool:
    """Whether an HDF5 dataset is closed; h5py may still give the shape of a closed dataset."""
    return getattr(getattr(source, "id", None), "valid", 1) in (0, False)


def _one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def as_stored(name: str, value: object, ndim: int, dtype: np.dtype[Any] | None) -> Stored | None:
    """Wrap a dataset on disk after a check of dtype and shape; return None for other values.

    If `dtype` is None, float32 and float64 are accepted. Raises TypeError if the dataset has a
    different dtype, and ValueError if its shape does not fit.
    """
    if not (isinstance(value, Stored) or is_dataset(value)):
        return None
    stored = value if isinstance(value, Stored) else Stored(name, check.bare(name, value))
    if stored.dtype not in ((np.float32, np.float64) if dtype is None else (dtype,)):
        raise TypeError(f"{name} must be {dtype or 'float32 or float64'}; got {stored.dtype}")
    if stored.ndim != ndim or 0 in stored.shape:
        letters = ", ".join(("n", "m", "d")[-ndim:])
        raise ValueError(f"{name} must have shape ({letters}), none of them 0; got {stored.shape}")
    return stored


def is_dataset(value: object) -> bool:
    """Whether a value is a chunked array, such as an ``h5py.Dataset`` or a ``zarr.Array``."""
    if isinstance(value, np.ndarray):
        return False
    # Reading the attribute `chunks` of a closed h5py dataset raises an error, so the class of the
    # value is examined first.
    return hasattr(type(value), "chunks") or hasattr(value, "chunks")


class Reader:
    r"""Reads blocks of features from disk for the compiled core, one block ahead of its use.

    Datasets are read into buffers of the reader. Memory-mapped features are prefaulted instead: one
    number of every page is read, in the order of the file.

    Parameters
    ----------
    inner, outer : TaskArrays
        Features of the inner and of the outer sets.
    shared : bool
        Whether the inner and the outer sets are the same samples; such samples are read only once.
    names : (str, str)
        Names of the two arguments, for errors.
    one_round : bool
        Whether tasks are read for one round alone, in rising order. If true, nothing is read ahead
        after the last block; if false, the first block of the next round is read ahead.
    """

    def __init__(
        self,
        inner: TaskArrays,
        outer: TaskArrays | None = None,
        shared: bool = False,
        names: tuple[str, str] = ("X_in", "X_out"),
        one_round: bool = False,
    ) -> None:
        self.shared = shared
        self._one_round = one_round
        self._names = names
        self._inner = inner
        self._outer = None if shared else outer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metaspan-reader")
        self._ahead: tuple[Request, Future[Features]] | None = None
        # Touching new memory for the first time takes as long as reading a file into this memory,
        # so the next reader of the same samples reuses the arenas of this reader.
        spare: list[Arena] = getattr(inner, "spare", [])
        self._arenas = _take_arena(spare), _take_arena(spare)
        weakref.finalize(self, spare.extend, self._arenas)

    def read(self, now: Request, after: Request | None) -> Features:
        """Return the features of `now`, and begin to read the features of `after`.

        The returned features are valid until the next call.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] != now:
            ahead[1].cancel()
        if ahead is None or ahead[0] != now:
            ahead = now, self._thread.submit(self._load, now)
        features = ahead[1].result()
        ends = after is None or (self._one_round and after[0][0] <= now[0][0])
        if after is not None and not ends:
            self._ahead = after, self._thread.submit(self._load, after)
        return features

    def _load(self, request: Request) -> Features:
        """Read a block of features; runs in the reader's thread."""
        tasks, first, count = request
        self._arenas = self._arenas[::-1]  # the core still uses the other arena
        arena = self._arenas[0]
        columns = slice(first, first + count)
        inner, outer = self._inner, self._outer
        if (joined := inner.joined(outer)) is not None:  # both sets in one dataset: read it once
            both, rows_in, rows_out = joined
            arena.begin(both.arena_bytes(tasks, count))
            samples = both.read_tasks(tasks, columns, arena)
            return [task[rows_in] for task in samples], [task[rows_out] for task in samples]
        sides = [side for side in (inner, outer) if side is not None]
        arena.begin(sum(side.arena_bytes(tasks, count) for side in sides))
        X_in = inner.read_tasks(tasks, columns, arena)
        X_out = X_in if outer is None else outer.read_tasks(tasks, columns, arena)
        # Both sets of a task are read before the sets of the next task, in the order of a file that
        # contains both sets.
        for pair in zip(X_in, X_out, strict=True):
            for name, part in zip(self._names[: len(sides)], pair, strict=False):
                if is_mapped(part):
                    check.in_file(name, part)
                    core.prefault(part)
        return X_in, X_out


def _take_arena(spare: list[Arena]) -> Arena:
    """Return an arena that is no longer in use, or a new one."""
    try:
        return spare.pop(0)
    except IndexError:
        return Arena()


def _split_runs(tasks: list[int]) -> Iterator[slice]:
    """Split the indices of tasks into ranges of consecutive indices."""
    begin = 0
    for i in range(1, len(tasks) + 1):
        if i == len(tasks) or tasks[i] != tasks[i - 1] + 1:
            yield slice(tasks[begin], tasks[i - 1] + 1)
            begin = i
