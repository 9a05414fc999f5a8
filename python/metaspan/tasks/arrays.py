r"""Features and responses of tasks: in memory or on disk, as one array or an array per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check, cpus
from . import sparse
from .on_disk import Data, Given, Reader, Stored, check_finite, is_dataset, on_disk, stored


def first(data: Data) -> Given:
    """An array with the dtype and the features of all: the whole, or that of the first task."""
    return data if isinstance(data, (np.ndarray, Stored)) else data[0]


def lengths(data: Data) -> list[int]:
    """Samples of every task."""
    if isinstance(data, (np.ndarray, Stored)):
        return [data.shape[1]] * len(data)
    return [len(task) for task in data]


def sizes(data: Data) -> int | tuple[int, ...]:
    """Samples of every task, or their one number."""
    found = tuple(lengths(data))
    return found[0] if len(set(found)) == 1 else found


def samples(data: Data, part: slice) -> Data:
    """Some samples of every task: views; what is on disk stays there."""
    if isinstance(data, Stored):
        return data.samples(part)
    if isinstance(data, np.ndarray):
        return data[:, part]
    return [t.samples(part) if isinstance(t, Stored) else t[part] for t in data]


def task_of(data: Data, task: int) -> NDArray[Any]:
    """The features or responses of one task; what is stored is read."""
    if isinstance(data, Stored):
        own: Given = data.read(slice(task, task + 1), data.rows)[0]
    else:
        own = data[task]
    return own.read(own.rows) if isinstance(own, Stored) else own


def same(a: Data, b: Data) -> bool:
    """Whether two are the same memory, seen in the same way, or the same samples of one store."""
    if isinstance(a, sparse.SparseRows) or isinstance(b, sparse.SparseRows):
        return isinstance(a, sparse.SparseRows) and a.is_same(b)
    if isinstance(a, Stored) or isinstance(b, Stored):
        return isinstance(a, Stored) and a.same(b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return (
            a.shape == b.shape
            and a.strides == b.strides
            and a.__array_interface__["data"] == b.__array_interface__["data"]
        )
    return len(a) == len(b) and all(map(same, a, b))


def core_sets(
    X: Data,
    y: Data,
    X_out: Data | None = None,
    y_out: Data | None = None,
    *,
    known: tuple[Any, Any] = (None, None),
    shared: bool = False,
    names: tuple[str, str, str, str] = ("X_in", "y_in", "X_out", "y_out"),
) -> tuple[Any, ...]:
    """Inner and, where there are any, outer sets of every task as the compiled core takes them.

    `known` is the ground truth and the heads; `shared` says that both sets are one. Raises
    ValueError if a memory-mapped file was truncated.
    """
    require_files(dict(zip(names, (X, y, X_out, y_out), strict=True)))
    if on_disk(X) or on_disk(X_out):
        return (None, y, None, y_out, *known, Reader(X, X_out, shared, (names[0], names[2])))
    return (sparse.core_rows(X), y, sparse.core_rows(X_out), y_out, *known, None)


def require_files(sides: Mapping[str, Data | None]) -> None:
    """Raise ValueError if a memory-mapped file of some side was truncated since it was given."""
    for name, side in sides.items():
        if side is None or isinstance(side, Stored):
            continue
        for own in [side] if isinstance(side, np.ndarray) else side:
            if isinstance(own, np.ndarray):
                check.in_file(name, own)
            elif isinstance(own, sparse.SparseRows):
                check.in_file(name, own.values)
                check.in_file(name, own.columns)


def checked(
    features: tuple[str, object],
    responses: tuple[str, object],
    dtype: np.dtype[Any] | None,
    finite: bool,
) -> tuple[Data, Data]:
    """Features and responses (name, value) of one set of every task, used where they lie."""
    (X_name, X_given), (y_name, y_given) = features, responses
    X = _features(X_name, X_given, dtype)
    if not len(X):
        raise ValueError(f"{X_name} must hold at least one task; got none")
    d = first(X).shape[-1]
    y = check.per_task(y_name, _in_memory(y_name, y_given), 2, first(X).dtype)
    if len(y) != len(X):
        raise ValueError(f"{y_name} must hold {len(X)} tasks, as {X_name}; got {len(y)}")
    if isinstance(X, (np.ndarray, Stored)):
        if isinstance(y, np.ndarray):
            check.shape(y_name, y, X.shape[:2])
    else:
        for i, task in enumerate(X):
            if task.shape[1] != d:
                raise ValueError(f"{X_name}[{i}] must have shape (m, {d}); got {task.shape}")
    for i, (m, response) in enumerate(zip(lengths(X), y, strict=True)):
        if 0 in (m, d):
            raise ValueError(f"{X_name} must hold samples and features; task {i} is {(m, d)}")
        check.shape(f"{y_name}[{i}]", response, (m,))
    if check.flag("check_finite", finite):
        _check_finite(X_name, X)
        _check_finite(y_name, y)
    return X, y


def _features(name: str, value: object, dtype: np.dtype[Any] | None) -> Data:
    """An array, or one per task, each in memory, stored or sparse, of one dtype."""
    if sparse.holds_sparse(value):
        return sparse.per_task(name, value, dtype)
    if not isinstance(value, (list, tuple)):
        return stored(name, value, 3, dtype) or check.per_task(name, value, 3, dtype)
    found: list[Given] = []
    for i, item in enumerate(value):
        own, kind = f"{name}[{i}]", found[0].dtype if found else dtype
        found.append(stored(own, item, 2, kind) or check.task(own, item, 3, kind))
    return tuple(found)


def _in_memory(name: str, responses: object) -> object:
    """Responses of a dataset are read."""
    if isinstance(responses, (list, tuple)):
        return [_in_memory(f"{name}[{i}]", item) for i, item in enumerate(responses)]
    if not is_dataset(responses):
        return responses
    return Stored(name, check.bare(name, responses)).read()


def _check_finite(name: str, data: Data) -> None:
    """No NaN and no infinity: one read."""
    hint = " (check_finite=False skips this check)"
    if isinstance(data, (np.ndarray, Stored)):
        places: list[tuple[str, Given]] = [(name, data)]
    else:
        places = [(f"{name}[{i}]", task) for i, task in enumerate(data)]
    for place, array in places:
        if isinstance(array, Stored):
            check_finite(place, array, hint)
        elif isinstance(array, sparse.SparseRows):
            check.finite(place, array.values[array.own], cpus.default_threads(), hint)
        else:
            check.finite(place, array, cpus.default_threads(), hint)
