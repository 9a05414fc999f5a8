r"""One protocol for the arrays of tasks, whatever they are stored in."""

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

    In memory there is `in_memory.Dense`, one array, or `in_memory.Ragged`, one per task; on disk
    `on_disk.Stored`; and `sparse.SparseRows`, of one task. `PerTask` is a sequence of those of one
    task, of kinds that may differ.
    """

    @property
    def given(self) -> Any:
        """Return what the user sees: an array, or a tuple with an item per task."""

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
        """Whether something lies on disk, memory-mapped or in a dataset."""

    @property
    def is_sparse(self) -> bool:
        """Whether only the entries that are not zero are stored."""

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""

    def samples(self, part: slice) -> TaskArrays:
        """Take some samples of every task: views; what is on disk stays there."""

    def apart(self) -> Sequence[TaskArrays]:
        """Return the arrays of every task alone; those of a dataset stay together."""

    def is_same(self, other: TaskArrays) -> bool:
        """Whether both are the same memory, seen in the same way, or the same stored samples."""

    def sample(self) -> Iterator[NDArray[Any]]:
        """Take some numbers at even distances, for a fingerprint."""

    def for_core(self) -> Any:
        """Return the arrays as the compiled core takes them; None for what a Reader reads."""

    def require_files(self, name: str) -> None:
        """Raise ValueError if a memory-mapped file was truncated since it was given."""

    def check_finite(self, name: str) -> None:
        """Raise ValueError if there is a NaN or an infinity: one read."""

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the memory that a Reader takes, for a representation of `B_bytes`."""

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of an arena that `count` columns of some tasks take."""

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of some tasks; what is in memory or memory-mapped stays where it is."""

    def joined(self, other: TaskArrays | None) -> tuple[TaskArrays, slice, slice] | None:
        """Return one range of samples that holds both, if one source does; and where they are."""


@dataclass(frozen=True, eq=False)
class PerTask:
    r"""Arrays with an item per task, each in a kind of storage of its own.

    Parameters
    ----------
    tasks : tuple of TaskArrays
        Those of one task each, of one dtype.
    """

    tasks: tuple[TaskArrays, ...]

    stacked = False

    @cached_property
    def given(self) -> tuple[Any, ...]:
        """Return a tuple of what the user gave for every task."""
        return tuple(task.given for task in self.tasks)

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
        """Whether some task lies on disk."""
        return any(task.on_disk for task in self.tasks)

    @property
    def is_sparse(self) -> bool:
        """Whether only the entries that are not zero are stored."""
        return self.tasks[0].is_sparse

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return self._lengths

    @cached_property
    def _lengths(self) -> list[int]:
        return [length for task in self.tasks for length in task.lengths()]

    def samples(self, part: slice) -> PerTask:
        """Take some samples of every task, without a copy."""
        return PerTask(tuple(task.samples(part) for task in self.tasks))

    def apart(self) -> Sequence[TaskArrays]:
        """Return the arrays of every task alone."""
        return self.tasks

    def is_same(self, other: TaskArrays) -> bool:
        """Whether the arrays of every task are the same."""
        others = other.apart()
        return len(others) == len(self.tasks) and all(
            own.is_same(its) for own, its in zip(self.tasks, others, strict=True)
        )

    def sample(self) -> Iterator[NDArray[Any]]:
        """Take some numbers of every task."""
        return chain.from_iterable(task.sample() for task in self.tasks)

    def for_core(self) -> list[Any]:
        """Return a list with an item per task."""
        return [task.for_core() for task in self.tasks]

    def require_files(self, name: str) -> None:
        """Raise ValueError if a memory-mapped file was truncated."""
        for task in self.tasks:
            task.require_files(name)

    def check_finite(self, name: str) -> None:
        """Raise ValueError if there is a NaN or an infinity."""
        for i, task in enumerate(self.tasks):
            task.check_finite(f"{name}[{i}]")

    def reading_bytes(self, B_bytes: int) -> int:
        """Return the memory that a Reader takes: blocks of tasks that do not grow with B."""
        return sum(task.reading_bytes(0) for task in self.tasks)

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return the bytes of an arena that some columns of some tasks take."""
        return sum(self.tasks[i].arena_bytes([0], count) for i in tasks)

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Return columns of some tasks."""
        return [part for i in tasks for part in self.tasks[i].read_tasks([0], columns, arena)]

    def joined(self, other: TaskArrays | None) -> None:
        """Return None: tasks are read one by one."""
