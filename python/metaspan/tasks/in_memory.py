r"""Arrays of tasks in memory, memory-mapped files included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._support import check, cpus
from .._support.memory import Arena
from .storage import FINITE_HINT, PerTask, TaskArrays


@dataclass(slots=True, eq=False)
class Dense:
    r"""Features or responses in one NumPy array, which is not copied.

    Parameters
    ----------
    array : ndarray of shape (n, m, d) or (n, m); for one task (m, d) or (m,)
        Features or responses.
    stacked : bool
        Whether the array has a leading axis of tasks.
    """

    array: NDArray[Any]
    stacked: bool

    on_device: ClassVar[bool] = False
    is_sparse: ClassVar[bool] = False

    @property
    def as_passed(self) -> NDArray[Any]:
        """Return the array itself."""
        return self.array

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.array) if self.stacked else 1

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.array.shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers."""
        return self.array.dtype

    @property
    def on_disk(self) -> bool:
        """Whether the array is memory-mapped."""
        return is_mapped(self.array)

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return [self.array.shape[int(self.stacked)]] * self.n

    def samples(self, part: slice) -> Dense:
        """Return the given range of samples of every task, as a view."""
        return Dense(self.array[:, part] if self.stacked else self.array[part], self.stacked)

    def rows(self, parts: Sequence[slice]) -> Dense | Ragged:
        """Return a range of samples of every task, one slice per task, as views."""
        if all(part == parts[0] for part in parts):
            return self.samples(parts[0])
        return Ragged(tuple(task[part] for task, part in zip(self.array, parts, strict=True)))

    def take(self, tasks: Sequence[int]) -> Dense | Ragged:
        """Return the given tasks: one view if the tasks are evenly spaced, or a view per task."""
        if not self.stacked:
            return self
        steps = {after - before for before, after in pairwise(tasks)}
        if len(steps) > 1 or min(steps, default=1) < 1:
            return Ragged(tuple(self.array[i] for i in tasks))
        return Dense(self.array[tasks[0] : tasks[-1] + 1 : min(steps, default=1)], True)

    def apart(self) -> list[Dense]:
        """Return a view for every task."""
        return [Dense(task, False) for task in self.array] if self.stacked else [self]

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has views of the same memory, with equal shapes and strides."""
        if isinstance(other, (PerTask, Ragged)):
            return other.is_same(self)
        return isinstance(other, Dense) and is_same_view(self.array, other.array)

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced rows and columns of every task's features."""
        for task in self.array if self.stacked else (self.array,):
            yield sample_of(task, step, first)

    def for_core(self) -> NDArray[Any]:
        """Return the array itself."""
        return self.array

    def require_files(self, name: str) -> bool:
        """Return whether the array is memory-mapped; raise ValueError if its file was truncated."""
        return check.in_file(name, self.array)

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity."""
        check.finite(name, self.array, cpus.default_threads(), FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return 0, since the array is not copied."""
        return 0

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return 0, since the array is not copied."""
        return 0

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return views of the given columns of the given tasks."""
        if not self.stacked:
            return [self.array[:, columns]]
        return [self.array[i][:, columns] for i in tasks]

    def joined(self, other: TaskArrays | None) -> None:
        """Return None, since arrays in memory belong to no dataset on disk."""


@dataclass(frozen=True, eq=False)
class Ragged:
    r"""Features or responses in one NumPy array per task, which are not copied.

    Parameters
    ----------
    arrays : tuple of ndarray of shape (m_i, d) or (m_i,)
        Features or responses of every task.
    """

    arrays: tuple[NDArray[Any], ...]

    stacked = False
    on_device = False
    is_sparse = False

    @property
    def as_passed(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays themselves."""
        return self.arrays

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.arrays)

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.arrays[0].shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers."""
        return self.arrays[0].dtype

    @property
    def on_disk(self) -> bool:
        """Whether some array is memory-mapped."""
        return any(map(is_mapped, self.arrays))

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return [len(array) for array in self.arrays]

    def samples(self, part: slice) -> Ragged:
        """Return the given range of samples of every task, as views."""
        return Ragged(tuple(array[part] for array in self.arrays))

    def rows(self, parts: Sequence[slice]) -> Ragged:
        """Return a range of samples of every task, one slice per task, as views."""
        return Ragged(tuple(array[part] for array, part in zip(self.arrays, parts, strict=True)))

    def take(self, tasks: Sequence[int]) -> Ragged:
        """Return the arrays of the given tasks."""
        return Ragged(tuple(self.arrays[i] for i in tasks))

    def apart(self) -> list[Dense]:
        """Return the array of every task."""
        return [Dense(array, False) for array in self.arrays]

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has views of the same memory, with equal shapes and strides."""
        if isinstance(other, PerTask):
            return other.is_same(self)
        if not isinstance(other, (Dense, Ragged)) or other.n != self.n:
            return False
        return all(map(is_same_view, self.arrays, other.as_passed))

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced rows and columns of every task's features."""
        for array in self.arrays:
            yield sample_of(array, step, first)

    def for_core(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays themselves."""
        return self.arrays

    def require_files(self, name: str) -> bool:
        """Return whether an array is memory-mapped; raise ValueError if a file was truncated."""
        return True in [check.in_file(name, array) for array in self.arrays]

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity."""
        threads = cpus.default_threads()
        for i, array in enumerate(self.arrays):
            check.finite(f"{name}[{i}]", array, threads, FINITE_HINT)

    def reading_bytes(self, B_bytes: int) -> int:
        """Return 0, since the arrays are not copied."""
        return 0

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return 0, since the arrays are not copied."""
        return 0

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return views of the given columns of the given tasks."""
        return [self.arrays[i][:, columns] for i in tasks]

    def joined(self, other: TaskArrays | None) -> None:
        """Return None, since arrays in memory belong to no dataset on disk."""


def is_same_view(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are views of the same memory, with equal shapes and strides."""
    return a.shape == b.shape and a.strides == b.strides and address(a) == address(b)


def sample_of(X: NDArray[Any], step: int | None = None, first: int = 0) -> NDArray[Any]:
    """Return evenly spaced rows and columns of one task's features, at least 4 rows.

    `step` and `first` give the columns; by default at least 64 columns, or all if there are fewer.
    """
    return X[:: max(1, len(X) // 4), first :: step or max(1, X.shape[1] // 64)]


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array is memory-mapped."""
    return getattr(array, "_mmap", None) is not None


def address(array: NDArray[Any]) -> int:
    """Return the address of an array's first element."""
    return int(array.__array_interface__["data"][0])
