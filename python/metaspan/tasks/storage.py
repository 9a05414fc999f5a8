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
    `on_disk.Stored` for a dataset on disk, `sparse.SparseRows` for one task with sparse features,
    and `PerTask` for a sequence of tasks whose kinds of storage may differ.
    """

    @property
    def as_passed(self) -> Any:
        """Return the data in the form that users pass: an array, or a tuple with one per task."""

    @property
    def n(self) -> int:
        """Number of tasks."""

    @property
    def d(self) -> int:
        """Number of features, which all tasks share."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers, which all tasks share."""

    @property
    def stacked(self) -> bool:
        """Whether this is one array with a leading axis of tasks."""

    @property
    def on_disk(self) -> bool:
        """Whether some array is on disk, memory-mapped or in a dataset."""

    @property
    def is_sparse(self) -> bool:
        """Whether the arrays are sparse matrices in compressed rows."""

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""

    def samples(self, part: slice) -> TaskArrays:
        """Return a range of samples of every task, as views; data on disk stay on disk."""

    def apart(self) -> Sequence[TaskArrays]:
        """Split into one object per task; a dataset on disk stays whole."""

    def is_same(self, other: TaskArrays) -> bool:
        """Whether both are views of the same memory, or the same samples of one dataset."""

    def sample(self) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced numbers, for a fingerprint."""

    def for_core(self) -> Any:
        """Convert for the compiled core; None for data that a Reader reads."""

    def require_files(self, name: str) -> bool:
        """Return whether some array is on disk; raise ValueError if a mapped file was truncated."""

    def check_finite(self, name: str) -> None:
        """Raise ValueError if there is a NaN or an infinity; reads all data once."""

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of memory that a Reader needs, where B has `B_bytes`."""

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes that `read_tasks` takes from its arena for `count` columns of tasks."""

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of some tasks, one array per task; only datasets on disk are copied."""

    def joined(self, other: TaskArrays | None) -> tuple[TaskArrays, slice, slice] | None:
        """Return the dataset's samples that cover both sets, and the range of each set in them.

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
        """Type of the numbers."""
        return self.tasks[0].dtype

    @property
    def on_disk(self) -> bool:
        """Whether the data of some task are on disk."""
        return any(task.on_disk for task in self.tasks)

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
        """Return a range of samples of every task, without copying or reading them."""
        return PerTask(tuple(task.samples(part) for task in self.tasks))

    def apart(self) -> Sequence[TaskArrays]:
        """Return the objects of the tasks."""
        return self.tasks

    def is_same(self, other: TaskArrays) -> bool:
        """Whether the arrays of every task are the same."""
        others = other.apart()
        return len(others) == len(self.tasks) and all(
            mine.is_same(theirs) for mine, theirs in zip(self.tasks, others, strict=True)
        )

    def sample(self) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced numbers of every task."""
        return chain.from_iterable(task.sample() for task in self.tasks)

    def for_core(self) -> list[Any]:
        """Return a list with an item per task."""
        return [task.for_core() for task in self.tasks]

    def require_files(self, name: str) -> bool:
        """Return whether some array is on disk; raise ValueError if a mapped file was truncated."""
        return True in [task.require_files(name) for task in self.tasks]

    def check_finite(self, name: str) -> None:
        """Raise ValueError if there is a NaN or an infinity."""
        for i, task in enumerate(self.tasks):
            task.check_finite(f"{name}[{i}]")

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the bytes of memory that a Reader needs; they do not depend on B here."""
        return sum(task.reading_bytes(0) for task in self.tasks)

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes that `read_tasks` takes from its arena for `count` columns of tasks."""
        return sum(self.tasks[i].arena_bytes([0], count) for i in tasks)

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of some tasks, one array per task."""
        return [part for i in tasks for part in self.tasks[i].read_tasks([0], columns, arena)]

    def joined(self, other: TaskArrays | None) -> None:
        """Return None: every task is read by itself."""
