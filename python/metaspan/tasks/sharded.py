r"""Batches whose columns are spread over the ranks of a communicator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check
from .._support.types import I64
from ..sharding.agreement import agreed, describe_build, require_equal
from ..sharding.columns import Columns
from ..sharding.exchange import Exchange, check_comm
from .arrays import DataSets
from .on_disk import Stored
from .sparse import MOST_COLUMNS, SAMPLED, SAMPLED_OF_TASK, Sparsity, statistics_of
from .stacked import StackedRows
from .storage import PerTask, TaskArrays

SAMPLED_COLUMNS = 64  # least number of columns in a fingerprint, unless there are fewer
TASKS_AT_ONCE = 64  # whose numbers are gathered by one message


def open_exchange(comm: Any) -> tuple[Exchange | None, Columns | None]:
    """Return the exchange for a communicator, or the columns that another batch has agreed on."""
    if comm is None or isinstance(comm, Columns):
        return None, comm
    return Exchange(check_comm(comm)), None


def share_columns(
    exchange: Exchange, inner: DataSets, outer: DataSets
) -> tuple[Columns, DataSets, DataSets]:
    """Agree on the columns of a batch; return them, and the sets with the columns of this rank.

    Arrays have the columns of this rank already. Datasets on disk have all columns, and are cut.
    """
    sides = [inner] if inner.is_same(outer) else [inner, outer]
    require_equal(exchange, _describe(sides))
    whole = _is_dataset(inner.X)
    widths: list[int] = exchange.share(inner.X.d)
    columns = _columns_of(exchange, widths[0] if whole else sum(widths))
    if not whole:
        _check_widths(columns, widths)
        return columns, inner, outer
    part = slice(columns.lo, columns.hi)
    cut = [DataSets(take_columns(side.X, part), side.y) for side in sides]
    return columns, cut[0], cut[-1]


def _columns_of(exchange: Exchange, d: int) -> Columns:
    """Return the columns of this rank; all ranks raise the same error if d is too small."""
    with agreed(exchange):
        return Columns(d, exchange)


def _check_widths(columns: Columns, widths: Sequence[int]) -> None:
    """Raise ValueError on all ranks unless every rank has the columns that `shard` gives it."""
    with agreed(columns.exchange):
        for rank, (width, expected) in enumerate(zip(widths, columns.counts, strict=True)):
            if width != expected:
                raise ValueError(
                    f"X_in must have the columns of ms.shard(d, comm), where d = {columns.d} is "
                    f"the number of columns of all ranks: {expected} of them on rank {rank} of "
                    f"{len(widths)}; got {width}: pass X_in[..., lo:hi], where "
                    "lo, hi = ms.shard(d, comm)"
                )


def _describe(sides: Sequence[DataSets]) -> dict[str, str]:
    """Describe what all ranks must share: sizes, dtypes, kinds of storage, and responses."""
    described = describe_build()
    for side, name in zip(sides, ("in", "out"), strict=False):
        X, y = f"X_{name}", f"y_{name}"
        described[f"the number of tasks of {X}"] = str(side.X.n)
        described[f"the dtype of {X}"] = str(side.X.dtype)
        lengths = np.array(side.X.lengths())
        described[f"the samples of {X}"] = f"{lengths.sum()} in all, of hash {_hash(lengths)}"
        described[f"the storage of {X}"] = _describe_storage(side.X)
        described[y] = f"responses of hash {_hash(*side.y.as_passed)}"
    described["the number of data sets per task"] = str(len(sides))
    return described


def describe_known(known: dict[str, NDArray[Any] | None]) -> dict[str, str]:
    """Describe small arrays that all ranks must share."""
    return {
        name: "None" if array is None else f"{check.show(array)} of hash {_hash(array)}"
        for name, array in known.items()
    }


def _hash(*arrays: NDArray[Any]) -> str:
    content = blake2b(digest_size=8)
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def _describe_storage(X: TaskArrays) -> str:
    if _is_dataset(X):
        return f"a dataset of {X.d} columns"
    # The core reads arrays on disk in blocks, in each of which the ranks exchange numbers.
    return f"{'sparse' if X.is_sparse else 'dense'}, {'on disk' if X.on_disk else 'in memory'}"


def _is_dataset(X: TaskArrays) -> bool:
    """Whether features are a dataset on disk, which has all columns on every rank."""
    if isinstance(X, PerTask):
        return all(map(_is_dataset, X.tasks))
    return isinstance(X, (Stored, StackedRows))


def take_columns(X: TaskArrays, part: slice) -> TaskArrays:
    """Return columns of datasets on disk, without reading them."""
    if isinstance(X, PerTask):
        return PerTask(tuple(take_columns(task, part) for task in X.tasks))
    assert isinstance(X, (Stored, StackedRows))
    return X.columns(part)


def check_host(inner: DataSets) -> None:
    """Raise TypeError for features in device memory, which a sharded batch cannot have."""
    if inner.X.on_device:
        raise TypeError("X_in must be in host memory for a batch with a comm; got device memory")


def sample(X: TaskArrays, columns: Columns) -> list[NDArray[Any]]:
    """Return the numbers that `X.sample()` would yield if this process had all columns."""
    if X.is_sparse:
        tasks = list(X.apart())
        lengths, places = _locate(tasks, columns, lambda entries: entries // SAMPLED_OF_TASK)
        entries = _gather_entries(tasks, places, columns)
        return [part for task in zip(lengths, *entries, strict=True) for part in task]
    parts: list[NDArray[Any]] = []
    step = max(1, columns.d // SAMPLED_COLUMNS)
    mine = [np.ascontiguousarray(task) for task in X.sample(step, -columns.lo % step)]
    for first in range(0, len(mine), TASKS_AT_ONCE):
        of_ranks = columns.exchange.share(mine[first : first + TASKS_AT_ONCE])
        parts += [np.concatenate(tasks, axis=1) for tasks in zip(*of_ranks, strict=True)]
    return parts


def sample_rows(B_star: NDArray[Any], columns: Columns) -> NDArray[Any]:
    """Return evenly spaced rows of all ranks of B_star, at least 64 or all if there are fewer."""
    step = max(1, columns.d // SAMPLED_COLUMNS)
    mine = np.ascontiguousarray(B_star[-columns.lo % step :: step])
    return np.concatenate(columns.exchange.share(mine))


def sparsity_of(sides: Sequence[TaskArrays], columns: Columns) -> Sparsity:
    """Compute what `sparse.sparsity_of` would return if this process had all columns."""
    tasks = [task for side in sides for task in side.apart()]
    entries = sum(columns.exchange.share(sum(task.entries for task in tasks)))  # type: ignore[attr-defined]
    _, places = _locate(tasks, columns, lambda _: entries // SAMPLED)
    sampled, _ = _gather_entries(tasks, places, columns)
    samples = sum(length for task in tasks for length in task.lengths())
    return statistics_of(np.concatenate(sampled), entries, samples, columns.d)


Places = tuple[I64, NDArray[np.bool_]]
"""Indices of entries of this rank, and which of the sampled entries they are."""


def _locate(
    tasks: Sequence[Any], columns: Columns, step_of: Callable[[int], int]
) -> tuple[list[I64], list[Places]]:
    """Locate evenly spaced entries of sparse tasks, and return the lengths of their whole rows.

    The entries of a row are those of rank 0, then those of rank 1, and so on. `step_of` returns the
    step for a task of that many entries.
    """
    mine = [np.diff(task.starts) for task in tasks]
    of_ranks = columns.exchange.share(np.concatenate(mine))
    ends = np.cumsum([len(lengths) for lengths in mine])[:-1]
    whole = np.split(np.sum(of_ranks, axis=0), ends)
    before = np.split(np.sum([0 * of_ranks[0], *of_ranks[: columns.exchange.rank]], axis=0), ends)
    places: list[Places] = []
    for task, lengths, skipped in zip(tasks, whole, before, strict=True):
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(0, starts[-1], max(1, step_of(int(starts[-1]))))
        row = np.searchsorted(starts, at, side="right") - 1
        local = at - starts[row] - skipped[row]
        inside = (local >= 0) & (local < np.diff(task.starts)[row])
        places.append(((task.starts[row] + local)[inside], inside))
    return whole, places


def _gather_entries(
    tasks: Sequence[Any], places: Sequence[Places], columns: Columns
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Return the columns and the values of located entries of every task, from all ranks."""
    dtype = np.int32 if columns.d <= MOST_COLUMNS else np.int64
    mine = [
        ((task.columns[at].astype(np.int64) + columns.lo).astype(dtype), task.values[at], inside)
        for task, (at, inside) in zip(tasks, places, strict=True)
    ]
    of_ranks = columns.exchange.share(mine)
    indices, values = [], []
    for i, task in enumerate(tasks):
        size = len(mine[i][2])
        indices.append(np.empty(size, dtype))
        values.append(np.empty(size, task.dtype))
        for entries in of_ranks:
            theirs, numbers, inside = entries[i]
            indices[i][inside], values[i][inside] = theirs, numbers
    return indices, values
