r"""The protocol of a task's arrays, which every kind of storage implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._support.memory import Arena

FINITE_HINT = " (check_finite=False skips this check)"


class TaskArrays(Protocol):
    r"""The features, or the responses, of `n` tasks.

    Implementations: `in_memory.Dense` for one array, `in_memory.Ragged` for one array per task,
    `on_device.OnDevice` for an array in device memory, `on_disk.Stored` for a dataset on disk,
    `stacked.StackedRows` for ranges of its rows, `sparse.SparseRows` for one task with sparse
    features, and `PerTask` for a sequence of tasks whose kinds of storage may differ.
    """

    @property
    def as_passed(self) -> Any:
        """Return the data as users pass them: one array, or a tuple with one array per task."""

    @property
    def n(self) -> int:
        """Number of tasks."""

    @property
    def d(self) -> int:
        """Number of features, which all tasks share."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers, which all tasks share."""

    @property
    def stacked(self) -> bool:
        """Whether the data are one array with a leading axis of tasks."""

    @property
    def on_disk(self) -> bool:
        """Whether some array is on disk, in a memory-mapped file or in a dataset."""

    @property
    def on_device(self) -> bool:
        """Whether the arrays are in the memory of a device."""

    @property
    def is_sparse(self) -> bool:
        """Whether the arrays are sparse matrices in compressed rows."""

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""

    def samples(self, part: slice) -> TaskArrays:
        """Return the given range of samples of every task, as views; data on disk stay on disk."""

    def rows(self, parts: Sequence[slice]) -> TaskArrays:
        """Return a range of samples of every task, one slice per task, as views."""

    def take(self, tasks: Sequence[int]) -> TaskArrays:
        """Return the given tasks, in the given order, as views; data on disk stay on disk."""

    def apart(self) -> Sequence[TaskArrays]:
        """Split the data into one object per task; a dataset on disk is not split."""

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has views of the same memory, or the same samples of the same dataset."""

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced numbers of the data, for a fingerprint.

        Every `step`-th column of dense features is sampled, starting at `first`; None: a step that
        gives at least 64 columns.
        """

    def for_core(self) -> Any:
        """Convert the data for the compiled core; return None if a Reader reads the data."""

    def require_files(self, name: str) -> bool:
        """Return whether some array is on disk; raise ValueError if a file was truncated."""

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity; reads all data once."""

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of memory that a Reader needs, given the bytes of B."""

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of the arena that `read_tasks` uses for `count` columns of `tasks`."""

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of the given tasks, one array per task; only datasets are copied."""

    def joined(self, other: TaskArrays | None) -> tuple[TaskArrays, slice, slice] | None:
        """Return the samples that cover both sets, and the range of each set in these samples.

        Returns None unless both sets are samples of one dataset on disk.
        """


@dataclass(frozen=True, eq=False)
class PerTask:
    r"""Arrays of a sequence of tasks, whose kinds of storage may differ.

    Parameters
    ----------
    tasks : tuple of TaskArrays
        The arrays of one task each, all of one dtype.
    """

    tasks: tuple[TaskArrays, ...]

    stacked = False

    @cached_property
    def as_passed(self) -> tuple[Any, ...]:
        """Return a tuple with the data of every task in the form that users pass."""
        return tuple(task.as_passed for task in self.tasks)

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    @property
    def d(self) -> int:
        """Number of features."""
        return self.tasks[0].d

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers."""
        return self.tasks[0].dtype

    @property
    def on_disk(self) -> bool:
        """Whether the data of some task are on disk."""
        return any(task.on_disk for task in self.tasks)

    @property
    def on_device(self) -> bool:
        """Whether the arrays are in the memory of a device."""
        return self.tasks[0].on_device

    @property
    def is_sparse(self) -> bool:
        """Whether the arrays are sparse matrices in compressed rows."""
        return self.tasks[0].is_sparse

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return self._lengths

    @cached_property
    def _lengths(self) -> list[int]:
        return [length for task in self.tasks for length in task.lengths()]

    def samples(self, part: slice) -> PerTask:
        """Return the given range of samples of every task, without copying or reading them."""
        return PerTask(tuple(task.samples(part) for task in self.tasks))

    def rows(self, parts: Sequence[slice]) -> PerTask:
        """Return a range of samples of every task, without copying or reading them."""
        return PerTask(
            tuple(task.samples(part) for task, part in zip(self.tasks, parts, strict=True))
        )

    def take(self, tasks: Sequence[int]) -> PerTask:
        """Return the given tasks, without copying or reading them."""
        return PerTask(tuple(self.tasks[i] for i in tasks))

    def apart(self) -> Sequence[TaskArrays]:
        """Return the objects of the tasks."""
        return self.tasks

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has the same arrays for every task."""
        others = other.apart()
        return len(others) == len(self.tasks) and all(
            mine.is_same(theirs) for mine, theirs in zip(self.tasks, others, strict=True)
        )

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced numbers of every task."""
        return chain.from_iterable(task.sample(step, first) for task in self.tasks)

    def for_core(self) -> list[Any]:
        """Return a list with the converted data of each task."""
        return [task.for_core() for task in self.tasks]

    def require_files(self, name: str) -> bool:
        """Return whether some array is on disk; raise ValueError if a file was truncated."""
        return True in [task.require_files(name) for task in self.tasks]

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity."""
        for i, task in enumerate(self.tasks):
            task.check_finite(f"{name}[{i}]")

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of memory that a Reader needs; here they do not depend on B."""
        return sum(task.reading_bytes(0) for task in self.tasks)

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of the arena that `read_tasks` uses for `count` columns of `tasks`."""
        return sum(self.tasks[i].arena_bytes([0], count) for i in tasks)

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of the given tasks, one array per task."""
        return [part for i in tasks for part in self.tasks[i].read_tasks([0], columns, arena)]

    def joined(self, other: TaskArrays | None) -> None:
        """Return None, since every task is read separately."""
