r"""Splits tasks and samples into parts, and splits one array into tasks by ranges of rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .._support import check
from .._support.types import F64, I64
from . import heads as head_laws
from . import on_device, sparse
from .arrays import read_responses
from .on_disk import as_stored
from .stacked import StackedRows


def normalise_weights(weights: Any, n: int) -> F64:
    """Check the weights of n tasks, and divide them by their mean."""
    array = check.small("weights", weights, (n,))
    if array.min() <= 0.0:
        raise ValueError(f"weights must be positive; got {array.min():g}")
    if (array == array[0]).all():
        return np.ones(n)
    array = array / array.max()  # so that the sum does not overflow
    return np.asarray(array * (n / array.sum()))


def choose_tasks(tasks: object, n: int, seed: int) -> tuple[list[int], list[int]]:
    """Return the indices of the tasks to keep and of the tasks to hold out, both rising.

    `tasks` is the number of tasks to hold out, their fraction, or their indices.
    """
    seed = check.integer("seed", seed, 0, 2**64 - 1)
    if isinstance(tasks, (bool, np.bool_)):
        raise TypeError(f"tasks must be a number, a fraction or indices; got {check.show(tasks)}")
    if isinstance(tasks, (int, float, np.integer, np.floating)):
        count = held_count("tasks", tasks, n)
        key = (seed, 0, 0)
        table = np.arange(n, dtype=np.float64)[:, None]
        chosen = head_laws.draw(table, count, 1, key)[:, 0].astype(np.int64)
    else:
        chosen = check.rectangular("tasks", tasks)  # type: ignore[arg-type]
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise TypeError(f"tasks must hold integer indices; got {check.show(tasks)}")
        if not 0 < len(chosen) < n:
            raise ValueError(f"tasks must hold 1 to {n - 1} of the {n} tasks; got {len(chosen)}")
        if chosen.min() < 0 or chosen.max() >= n or len(np.unique(chosen)) < len(chosen):
            raise ValueError(
                f"tasks must be distinct indices from 0 to {n - 1}; got {check.show(tasks)}"
            )
    held = np.zeros(n, bool)
    held[chosen] = True
    return np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()


def task_indices(tasks: object, n: int) -> list[int]:
    """Check the indices of tasks, which may be in any order and repeated."""
    indices = check.rectangular("tasks", tasks)  # type: ignore[arg-type]
    if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
        raise TypeError(f"tasks must be a sequence of integers; got {check.show(tasks)}")
    if indices.min() < 0 or indices.max() >= n:
        raise ValueError(f"tasks must be indices from 0 to {n - 1}; got {check.show(tasks)}")
    chosen: list[int] = indices.tolist()
    return chosen


def held_count(name: str, share: object, size: int) -> int:
    """Return how many of `size` items to hold out, at least 1; `share` is a number or a fraction.

    Raises ValueError unless at least one item is left.
    """
    if isinstance(share, (float, np.floating)):
        fraction = check.real(name, share)
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"{name} must be a fraction between 0 and 1; got {fraction:g}")
        count = max(1, round(fraction * size))
    else:
        count = check.integer(name, share, 1)
    if count >= size:
        raise ValueError(f"{name} must leave at least one of {size}; got {check.show(share)}")
    return count


def range_tasks(X: Any, y: Any, offsets: Any) -> tuple[Any, Any]:
    """Split rows X (rows, d) and responses y (rows,) into tasks, without copies.

    Returns the features and the responses in a form that `TaskBatch` accepts. `TaskBatch` checks
    the arrays.
    """
    edges = check.rectangular("offsets", offsets)
    if edges.ndim != 1 or len(edges) < 2 or edges.dtype.kind not in "iu":
        raise TypeError(
            f"offsets must be a vector of at least two integers; got {check.show(offsets)}"
        )
    edges = edges.astype(np.int64)
    if on_device.is_device_array(X):
        X = on_device.rows("X", X)
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) != 2:
        raise ValueError(f"X must have shape (rows, d); got {shape or check.show(X)}")
    if edges[0] < 0 or edges[-1] > shape[0] or (np.diff(edges) < 1).any():
        raise ValueError(
            f"offsets must rise from at least 0 to at most {shape[0]}, the rows of X, by at least "
            f"1 a task; got {check.show(offsets)}"
        )
    responses = check.floats("y", read_responses("y", y))
    check.shape("y", responses, (shape[0],))
    ranges = [slice(int(a), int(b)) for a, b in pairwise(edges)]
    return _split_rows(X, edges, ranges), tuple(responses[part] for part in ranges)


def _split_rows(X: Any, edges: I64, ranges: Sequence[slice]) -> Any:
    """Return the features of all tasks, as views of X or as ranges of a dataset on disk."""
    stored = as_stored("X", X, 2, None)
    if stored is not None:
        return StackedRows(stored, edges[:-1], edges[1:])
    if sparse.is_sparse(X):
        (rows,) = sparse.per_task("X", [X], None)
        return tuple(rows[part] for part in ranges)
    features = X if on_device.is_device_array(X) else check.floats("X", X)
    return tuple(features[part] for part in ranges)
