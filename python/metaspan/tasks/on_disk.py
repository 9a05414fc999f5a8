r"""Features that lie on disk: some tasks at a time come to memory, the next ones meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, cpus

BLOCK_BYTES = 2**27  # of features that come to memory at a time; a large task alone may be more

Key = tuple[list[int], int, int]
"""Tasks, first column, number of columns."""
Features = tuple[list[NDArray[Any]], list[NDArray[Any]]]
"""Of the inner and the outer set of every task, (m, columns)."""


class Arena:
    """Memory that is used again: what the system gives afresh costs as much as reading."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._used = 0

    def begin(self, size: int) -> None:
        """Room for so many bytes; everything that was taken is given back."""
        if size > self._memory.size:
            self._memory = np.empty(size, np.uint8)
        self._used = 0

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array of the room, which must be there."""
        begin = self._used
        self._used += math.prod(shape) * dtype.itemsize
        return self._memory[begin : self._used].view(dtype).reshape(shape)


class Stored:
    r"""Samples of an array that another library keeps on disk, read when they are asked for.

    Parameters
    ----------
    name : str
        Name of the argument, for errors.
    source : object
        Of shape (n, m, d) or (m, d), read by slices: an ``h5py.Dataset`` or a ``zarr.Array``. Its
        shape is that of now: every read raises ValueError if it has changed since.
    """

    def __init__(self, name: str, source: Any) -> None:
        self.name = name
        self.source = source
        try:
            self.dtype: np.dtype[Any] = np.dtype(source.dtype)
            self._whole = _shape(source)
        except Exception as error:  # of whatever library
            why = "it is closed" if _is_closed(source) else _text(error)
            raise ValueError(f"{name} must be a dataset that can be read; {why}") from error
        self.ndim = len(self._whole)
        self.first, self.end = 0, self._whole[-2] if self.ndim > 1 else 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, m, d) or (m, d)."""
        *tasks, _, d = self._whole
        return (*tasks, self.end - self.first, d)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def reads_into(self) -> bool:
        """Whether the library reads into memory that it is given."""
        return hasattr(self.source, "read_direct")

    def between(self, first: int, end: int) -> Stored:
        """The samples from one place in the source to another, without reading."""
        found = copy(self)
        found.first, found.end = first, end
        return found

    def samples(self, part: slice) -> Stored:
        """Some of the samples, without reading."""
        begin, end, _ = part.indices(self.end - self.first)
        return self.between(self.first + begin, self.first + end)

    @property
    def rows(self) -> slice:
        """Where the samples are in the source."""
        return slice(self.first, self.end)

    def same(self, other: object) -> bool:
        """Whether another one means the same samples."""
        return isinstance(other, Stored) and self.source is other.source and self.rows == other.rows

    def read(self, *part: slice, arena: Arena | None = None) -> NDArray[Any]:
        """Read slices of the axes, samples counted in the source; into the arena if possible.

        Raises ValueError if the dataset was closed or resized, or if values are masked, TypeError
        if they have a unit, OSError if the library cannot read them.
        """
        part = part + (slice(None),) * (self.ndim - len(part))
        ranges = [axis.indices(size) for axis, size in zip(part, self._whole, strict=True)]
        shape = tuple(max(0, end - begin) for begin, end, _ in ranges)
        self._require_unchanged()
        try:
            if arena is not None and self.reads_into:
                out = arena.take(shape, self.dtype)
                self.source.read_direct(out, part)
                return out
            out = check.converted(self.source[part])
        except MemoryError:
            raise
        except Exception as error:  # of whatever library
            self._require_unchanged()
            raise OSError(f"{self.name} cannot be read: {_text(error)}") from error
        out = check.bare(self.name, out)
        if out.shape != shape:
            self._require_unchanged()
            raise ValueError(f"{self.name} must give arrays of shape {shape}; got {out.shape}")
        return np.ascontiguousarray(out, dtype=self.dtype)

    def _require_unchanged(self) -> None:
        """Raise ValueError if the dataset was closed or resized."""
        try:
            shape = None if _is_closed(self.source) else _shape(self.source)
        except Exception:  # of whatever library: what cannot tell its shape is no longer there
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


def _shape(source: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in source.shape)


def _is_closed(source: Any) -> bool:
    """Whether a dataset of HDF5 is closed; its shape may be remembered beyond that."""
    return getattr(getattr(source, "id", None), "valid", 1) in (0, False)


def _text(error: Exception) -> str:
    """The message of an error, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


Given = NDArray[Any] | Stored
Data = Given | Sequence[Any]
"""An array with an axis of tasks, or for every task an array or its SparseRows."""


def stored(name: str, value: object, ndim: int, dtype: np.dtype[Any] | None) -> Stored | None:
    """What stands for an array on disk, of one dtype where that is given; None for other values.

    Raises TypeError where its numbers are of another kind, ValueError where its shape does not fit.
    """
    if not (isinstance(value, Stored) or is_dataset(value)):
        return None
    found = value if isinstance(value, Stored) else Stored(name, check.bare(name, value))
    if found.dtype not in ((np.float32, np.float64) if dtype is None else (dtype,)):
        raise TypeError(f"{name} must be {dtype or 'float32 or float64'}; got {found.dtype}")
    if found.ndim != ndim or 0 in found.shape:
        letters = ", ".join(("n", "m", "d")[-ndim:])
        raise ValueError(f"{name} must have shape ({letters}), none of them 0; got {found.shape}")
    return found


def is_dataset(value: object) -> bool:
    """Whether something is an array in chunks, such as an ``h5py.Dataset`` or a ``zarr.Array``."""
    if isinstance(value, np.ndarray):
        return False
    return hasattr(type(value), "chunks") or hasattr(value, "chunks")  # a closed one has the former


def on_disk(data: object) -> bool:
    """Whether features, of one task or of all, lie on disk: stored or memory-mapped."""
    if isinstance(data, Stored):
        return True
    if isinstance(data, np.ndarray):
        return getattr(data, "_mmap", None) is not None
    return isinstance(data, (list, tuple)) and any(map(on_disk, data))


def bytes_at_a_time(data: Data, B_bytes: int) -> int:
    """Bytes that reading takes; memory-mapped features are used where they lie."""
    if not isinstance(data, Stored):
        return sum(bytes_at_a_time(own, 0) for own in data) if isinstance(data, tuple) else 0
    whole = math.prod(data.shape) * data.dtype.itemsize
    return 2 * min(whole, max(BLOCK_BYTES, 4 * B_bytes, whole // len(data)))


class Reader:
    r"""Brings features to memory for the compiled core, and the next ones while it works.

    Stored features are read into memory of their own. Memory-mapped ones stay where they lie: one
    number of every page is read, in the order of the file.

    Parameters
    ----------
    inner, outer : array, Stored, or sequence of them
        Features of the inner and of the outer sets.
    shared : bool
        Whether they are the same.
    names : (str, str)
        Names of the arguments, for errors.
    """

    def __init__(
        self,
        inner: Data,
        outer: Data | None = None,
        shared: bool = False,
        names: tuple[str, str] = ("X_in", "X_out"),
    ) -> None:
        self.shared = shared
        self._names = names
        self._inner = inner
        self._outer = None if shared else outer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metaspan-reader")
        self._ahead: tuple[Key, Future[Features]] | None = None
        self._arenas = Arena(), Arena()

    def read(self, now: Key, after: Key | None) -> Features:
        """Features of some tasks, until the next call; those `after` are read meanwhile."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] != now:
            ahead[1].cancel()
        if ahead is None or ahead[0] != now:
            ahead = now, self._thread.submit(self._load, now)
        found = ahead[1].result()
        if after is not None:
            self._ahead = after, self._thread.submit(self._load, after)
        return found

    def _load(self, key: Key) -> Features:
        tasks, first, count = key
        self._arenas = self._arenas[::-1]  # the other one is in use
        arena = self._arenas[0]
        columns = slice(first, first + count)
        inner, outer = self._inner, self._outer
        if isinstance(inner, Stored) and isinstance(outer, Stored) and outer.source is inner.source:
            return _together(inner, outer, tasks, columns, arena)
        sides = [side for side in (inner, outer) if side is not None]
        arena.begin(sum(_room(side, tasks, count) for side in sides))
        found = _features(inner, tasks, columns, arena)
        other = found if outer is None else _features(outer, tasks, columns, arena)
        for pair in zip(found, other, strict=True):  # task by task: the order of a file of both
            for name, part in zip(self._names[: len(sides)], pair, strict=False):
                if on_disk(part):
                    check.in_file(name, part)
                    core.touch(part)
        return found, other


def _room(data: Data, tasks: list[int], count: int) -> int:
    """Bytes of an arena that so many columns of some tasks take."""
    if isinstance(data, Stored):
        samples = len(tasks) * data.shape[-2] if data.reads_into else 0
        return samples * count * data.dtype.itemsize
    given = [data[task] for task in tasks]
    read = [own for own in given if isinstance(own, Stored) and own.reads_into]
    return sum(own.shape[0] * count * own.dtype.itemsize for own in read)


def _features(data: Data, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
    if isinstance(data, Stored):
        return [
            part for run in _runs(tasks) for part in data.read(run, data.rows, columns, arena=arena)
        ]
    given: list[Given] = [data[task] for task in tasks]
    return [
        t.read(t.rows, columns, arena=arena) if isinstance(t, Stored) else t[:, columns]
        for t in given
    ]


def _together(
    inner: Stored, outer: Stored, tasks: list[int], columns: slice, arena: Arena
) -> Features:
    """Both sets of one source, which is read once."""
    both = inner.between(min(inner.first, outer.first), max(inner.end, outer.end))
    arena.begin(_room(both, tasks, columns.stop - columns.start))
    parts = _features(both, tasks, columns, arena)

    def of(side: Stored) -> list[NDArray[Any]]:
        return [part[side.first - both.first : side.end - both.first] for part in parts]

    return of(inner), of(outer)


def _runs(tasks: list[int]) -> Iterator[slice]:
    """Tasks that follow each other, in one piece."""
    begin = 0
    for i in range(1, len(tasks) + 1):
        if i == len(tasks) or tasks[i] != tasks[i - 1] + 1:
            yield slice(tasks[begin], tasks[i - 1] + 1)
            begin = i


def check_finite(name: str, data: Stored, hint: str) -> None:
    """No NaN and no infinity, in one read."""
    reader = Reader(data if data.ndim == 3 else [data])
    n, d = (len(data) if data.ndim == 3 else 1), data.shape[-1]
    task_bytes = data.shape[-2] * d * data.dtype.itemsize
    count = max(1, BLOCK_BYTES // task_bytes)
    keys = [(list(range(at, min(n, at + count))), 0, d) for at in range(0, n, count)]
    for now, after in zip(keys, [*keys[1:], None], strict=True):
        for part in reader.read(now, after)[0]:
            check.finite(name, part, cpus.default_threads(), hint)
