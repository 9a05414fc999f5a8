r"""Reads what a user gives as features and responses of tasks, and hands it to the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core_types import CoreData
from .._support import check
from . import sparse
from .in_memory import Dense, Ragged
from .on_disk import Reader, Stored, as_stored, is_dataset
from .storage import PerTask, TaskArrays

Data = NDArray[Any] | Stored | Sequence[Any]
"""An array with an axis of tasks, or for every task an array or its SparseRows."""


class DataSets(NamedTuple):
    """Features `X` and responses `y` of one set, the inner or the outer one, of every task."""

    X: TaskArrays
    y: TaskArrays

    @property
    def sizes(self) -> int | tuple[int, ...]:
        """Samples of every task, or their one number."""
        lengths = tuple(self.X.lengths())
        return lengths[0] if len(set(lengths)) == 1 else lengths

    def samples(self, part: slice) -> DataSets:
        """Take some samples of every task, without a copy."""
        return DataSets(self.X.samples(part), self.y.samples(part))

    def is_same(self, other: DataSets) -> bool:
        """Whether both are the same samples in the same place."""
        return self.X.is_same(other.X) and self.y.is_same(other.y)


def sets_of(X: Data, y: Data) -> DataSets:
    """Return data that were checked before, or made here, by the kinds of their storage."""
    return DataSets(_storage_of(X), _storage_of(y))


def _storage_of(data: Any) -> TaskArrays:
    if isinstance(data, np.ndarray):
        return Dense(data, stacked=True)
    if isinstance(data, Stored):
        return data
    if all(isinstance(own, np.ndarray) for own in data):
        return Ragged(tuple(data))
    return PerTask(
        tuple(Dense(own, stacked=False) if isinstance(own, np.ndarray) else own for own in data)
    )


def core_sets(
    inner: DataSets,
    outer: DataSets | None = None,
    *,
    known: tuple[Any, Any] = (None, None),
    shared: bool = False,
    names: tuple[str, str, str, str] = ("X_in", "y_in", "X_out", "y_out"),
) -> CoreData:
    """Inner and, where there are any, outer sets of every task as the compiled core takes them.

    `known` is the ground truth and the heads; `shared` says that both sets are one. Raises
    ValueError if a memory-mapped file was truncated.
    """
    X, y = inner
    X_out, y_out = outer or (None, None)
    require_files(zip(names, (X, y, X_out, y_out), strict=True))
    responses_out = None if y_out is None else y_out.for_core()
    if X.on_disk or (X_out is not None and X_out.on_disk):
        reader = Reader(X, X_out, shared, (names[0], names[2]))
        return CoreData(None, y.for_core(), None, responses_out, *known, reader)
    features_out = None if X_out is None else X_out.for_core()
    return CoreData(X.for_core(), y.for_core(), features_out, responses_out, *known)


def require_files(sides: Iterable[tuple[str, TaskArrays | None]]) -> None:
    """Raise ValueError if a memory-mapped file of some side was truncated since it was given."""
    for name, side in sides:
        if side is not None:
            side.require_files(name)


def check_sets(
    features: tuple[str, object],
    responses: tuple[str, object],
    dtype: np.dtype[Any] | None,
    finite: bool,
) -> DataSets:
    """Read features and responses (name, value) of one set of every task, where they lie."""
    (X_name, X_given), (y_name, y_given) = features, responses
    X = _storage_of(_features(X_name, X_given, dtype))
    if not X.n:
        raise ValueError(f"{X_name} must hold at least one task; got none")
    y = _storage_of(check.per_task(y_name, _in_memory(y_name, y_given), 2, X.dtype))
    if y.n != X.n:
        raise ValueError(f"{y_name} must hold {X.n} tasks, as {X_name}; got {y.n}")
    d, lengths = X.d, X.lengths()
    if not X.stacked:
        for i, task in enumerate(X.given):
            if task.shape[1] != d:
                raise ValueError(f"{X_name}[{i}] must have shape (m, {d}); got {task.shape}")
    elif y.stacked:
        check.shape(y_name, y.given, (X.n, lengths[0]))
    for i, (m, response) in enumerate(zip(lengths, y.given, strict=True)):
        if 0 in (m, d):
            raise ValueError(f"{X_name} must hold samples and features; task {i} is {(m, d)}")
        check.shape(f"{y_name}[{i}]", response, (m,))
    if check.flag("check_finite", finite):
        X.check_finite(X_name)
        y.check_finite(y_name)
    return DataSets(X, y)


def _features(name: str, value: object, dtype: np.dtype[Any] | None) -> Data:
    """An array, or one per task, each in memory, stored or sparse, of one dtype."""
    if sparse.holds_sparse(value):
        return sparse.per_task(name, value, dtype)
    if not isinstance(value, (list, tuple)):
        return as_stored(name, value, 3, dtype) or check.per_task(name, value, 3, dtype)
    found: list[NDArray[Any] | Stored] = []
    for i, item in enumerate(value):
        own, kind = f"{name}[{i}]", found[0].dtype if found else dtype
        found.append(as_stored(own, item, 2, kind) or check.task(own, item, 3, kind))
    return tuple(found)


def _in_memory(name: str, responses: object) -> object:
    """Responses of a dataset are read."""
    if isinstance(responses, (list, tuple)):
        return [_in_memory(f"{name}[{i}]", item) for i, item in enumerate(responses)]
    if not is_dataset(responses):
        return responses
    return Stored(name, check.bare(name, responses)).read()
