r"""Checks features and responses of tasks, and converts them for the compiled core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core_types import CoreData
from .._load import core
from .._support import check
from .._support.types import F64
from . import on_device, sparse
from .in_memory import Dense, Ragged
from .on_device import OnDevice
from .on_disk import Reader, Stored, as_stored, is_dataset
from .stacked import StackedRows
from .storage import PerTask, TaskArrays

Data = NDArray[Any] | Stored | StackedRows | core.DeviceArray | Sequence[Any]
"""An array with a leading axis of tasks, or a sequence with an array or SparseRows per task."""


class DataSets(NamedTuple):
    """Features `X` and responses `y` of the inner or the outer set of every task."""

    X: TaskArrays
    y: TaskArrays

    @property
    def sizes(self) -> int | tuple[int, ...]:
        """Samples per task: one number, or a tuple with one number per task if tasks differ."""
        lengths = tuple(self.X.lengths())
        return lengths[0] if len(set(lengths)) == 1 else lengths

    def samples(self, part: slice) -> DataSets:
        """Return the given range of samples of every task, without copying or reading them."""
        return DataSets(self.X.samples(part), self.y.samples(part))

    def rows(self, parts: Sequence[slice]) -> DataSets:
        """Return a range of samples of every task, one slice per task, without copying them."""
        return DataSets(self.X.rows(parts), self.y.rows(parts))

    def take(self, tasks: Sequence[int]) -> DataSets:
        """Return the given tasks, without copying or reading them."""
        return DataSets(self.X.take(tasks), self.y.take(tasks))

    def is_same(self, other: DataSets) -> bool:
        """Whether `other` has the same samples in the same storage."""
        return self.X.is_same(other.X) and self.y.is_same(other.y)


def sets_of(X: Any, y: Any) -> DataSets:
    """Wrap features and responses that were checked before, or that the package made."""
    return DataSets(_wrap(X), _wrap(y))


def _wrap(data: Any) -> TaskArrays:
    """Wrap data in the class for their kind of storage."""
    if isinstance(data, np.ndarray):
        return Dense(data, stacked=True)
    if isinstance(data, (Stored, StackedRows)):
        return data
    if isinstance(data, core.DeviceArray):
        return OnDevice(data, stacked=True)
    if all(isinstance(task, np.ndarray) for task in data):
        return Ragged(tuple(data))
    return PerTask(tuple(map(_wrap_task, data)))


def _wrap_task(task: Any) -> TaskArrays:
    """Wrap the data of one task in the class for their kind of storage."""
    if isinstance(task, np.ndarray):
        return Dense(task, stacked=False)
    if isinstance(task, core.DeviceArray):
        return OnDevice(task, stacked=False)
    return task  # type: ignore[no-any-return]


def core_sets(
    inner: DataSets,
    outer: DataSets | None = None,
    *,
    known: tuple[Any, Any] = (None, None),
    shared: bool = False,
    names: tuple[str, str, str, str] = ("X_in", "y_in", "X_out", "y_out"),
    weights: F64 | None = None,
    one_round: bool = False,
    shard: core.Shard | None = None,
) -> core.Batch:
    """Convert the inner sets of all tasks, and the outer sets if any, for the compiled core.

    `known` holds the ground truth and the heads, each an array or None. `shared` says that the
    inner and the outer sets are the same samples; such samples are read from disk only once.
    `names` are the names of the four arguments, for error messages. `weights` are those of the
    tasks, with mean 1; None: all weights are 1. `one_round` says that the sets
    are used for one round only. `shard` has the columns that the sets hold; None: all columns.
    """
    X, y = inner
    X_out, y_out = outer or (None, None)
    responses_out = None if y_out is None else y_out.for_core()
    if X.on_disk or (X_out is not None and X_out.on_disk):
        reader = Reader(X, X_out, shared, (names[0], names[2]), one_round)
        data = CoreData(None, y.for_core(), None, responses_out, *known, reader, weights, shard)
    else:
        features_out = None if X_out is None else X_out.for_core()
        data = CoreData(
            X.for_core(), y.for_core(), features_out, responses_out, *known, None, weights, shard
        )
    return core.Batch(data, X.d)


def require_files(named: Iterable[tuple[str, TaskArrays]]) -> bool:
    """Return whether any array is on disk; raise ValueError if its file was truncated."""
    # The list checks all files; any() of a generator would stop at the first array on disk.
    return True in [arrays.require_files(name) for name, arrays in named]


def check_sets(
    features: tuple[str, object],
    responses: tuple[str, object],
    dtype: np.dtype[Any] | None,
    finite: bool,
) -> DataSets:
    """Check the features and responses of one set of every task, and wrap them without a copy.

    `features` and `responses` are pairs of an argument's name and its value. If `dtype` is None,
    float32 and float64 are accepted. `finite` says whether to look for NaN and infinity.
    """
    (X_name, X_value), (y_name, y_value) = features, responses
    want_finite = check.flag("check_finite", finite)
    if core.are_plain_sets(X_value, y_value):
        plain = sets_of(X_value, y_value)
        if dtype is None or plain.X.dtype == dtype:
            return require_finite(plain, (X_name, y_name)) if want_finite else plain
    X = _wrap(_check_features(X_name, X_value, dtype))
    if not X.n:
        raise ValueError(f"{X_name} must hold at least one task; got none")
    y = _wrap(check.per_task(y_name, read_responses(y_name, y_value), 2, X.dtype))
    if y.n != X.n:
        raise ValueError(f"{y_name} must hold {X.n} tasks, as {X_name}; got {y.n}")
    d, lengths = X.d, X.lengths()
    if isinstance(X.as_passed, tuple):
        for i, task in enumerate(X.as_passed):
            if task.shape[1] != d:
                raise ValueError(f"{X_name}[{i}] must have shape (m, {d}); got {task.shape}")
    elif y.stacked:
        check.shape(y_name, y.as_passed, (X.n, lengths[0]))
    for i, (m, response) in enumerate(zip(lengths, y.as_passed, strict=True)):
        if 0 in (m, d):
            raise ValueError(f"{X_name} must hold samples and features; task {i} is {(m, d)}")
        check.shape(f"{y_name}[{i}]", response, (m,))
    sets = DataSets(X, y)
    return require_finite(sets, (X_name, y_name)) if want_finite else sets


def require_finite(sets: DataSets, names: tuple[str, str]) -> DataSets:
    """Return the sets; raise ValueError if the data contain a NaN or an infinity."""
    for name, arrays in zip(names, sets, strict=True):
        arrays.check_finite(name)
    return sets


def _check_features(name: str, value: object, dtype: np.dtype[Any] | None) -> Data:
    """Check features of one dtype: one array, or one array per task, in any kind of storage."""
    if isinstance(value, StackedRows):
        if value.dtype not in ((np.float32, np.float64) if dtype is None else (dtype,)):
            raise TypeError(f"{name} must be {dtype or 'float32 or float64'}; got {value.dtype}")
        return value
    if sparse.holds_sparse(value):
        return sparse.per_task(name, value, dtype)
    if on_device.holds_device_arrays(value):
        return on_device.per_task(name, value, 3, dtype)
    if not isinstance(value, (list, tuple)):
        return as_stored(name, value, 3, dtype) or check.per_task(name, value, 3, dtype)
    tasks: list[NDArray[Any] | Stored] = []
    for i, item in enumerate(value):
        task_name, task_dtype = f"{name}[{i}]", tasks[0].dtype if tasks else dtype
        stored = as_stored(task_name, item, 2, task_dtype)
        tasks.append(stored or check.task(task_name, item, 3, task_dtype))
    return tuple(tasks)


def read_responses(name: str, responses: object) -> object:
    """Copy responses on disk or in device memory to NumPy; return other responses unchanged."""
    if isinstance(responses, (list, tuple)):
        return [read_responses(f"{name}[{i}]", item) for i, item in enumerate(responses)]
    if on_device.is_device_array(responses):
        return on_device.borrow(name, responses).to_numpy()
    if not is_dataset(responses):
        return responses
    return Stored(name, check.bare(name, responses)).read()
