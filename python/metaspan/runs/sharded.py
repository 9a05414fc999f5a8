r"""What the ranks of a sharded run must agree on, and files to which all of them contribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import identity
from ..config.config import TrainConfig
from ..config.options import FittedStart
from ..config.start import GivenStart
from ..estimators.fitted import source_of
from ..sharding.agreement import agreed, describe_build, require_equal
from ..sharding.columns import Columns
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from . import codec

SPREAD = ("B", "memory")  # parts of a state whose rows are spread over the ranks
LOCAL = ("threads", "progress", "comm")  # arguments that may differ between ranks
HASHED_ROWS = 1024  # of a large array that all ranks have


def check_ranks_agree(config: TrainConfig) -> None:
    """Raise an error on all ranks unless they have the same arguments, which a shared run takes."""
    if config.exchange is None:
        return
    with agreed(config.exchange):
        if isinstance(config.init, FittedStart) and source_of(config) == "sampled":
            raise ValueError(
                "init must not be an estimator that is fitted to generated samples where a run has "
                f"a comm; got {config.init.estimator}"
            )
        described = _describe(config)
    require_equal(config.exchange, described)


def _describe(config: TrainConfig) -> dict[str, str]:
    """Describe all arguments but those that may differ, and data, which batches have compared."""
    described = describe_build()
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, LinearTasks):
            described |= {
                f"tasks.{each.name}": _text(getattr(value, each.name)) for each in fields(value)
            }
        elif item.name == "init" and isinstance(value, GivenStart):
            B0, w0 = value
            described["the start"] = f"{B0.shape[1]} columns of {B0.dtype}"
            if w0.ndim == 1:
                described["w0"] = _text(w0)
        elif item.name not in LOCAL and not isinstance(value, TaskBatch):
            described[item.name] = _text(value)
    return described


def _text(value: Any) -> str:
    return codec.text(codec.encode(value, _hash_some_rows, strict=False))


def _hash_some_rows(array: NDArray[Any]) -> str:
    """Return the shape of an array and a hash of evenly spaced rows."""
    rows = array[:: max(1, len(array) // HASHED_ROWS)] if array.ndim else array
    return f"{array.shape} {identity.digest(rows)}"


def encode_config(
    config: TrainConfig, keep: Callable[[NDArray[Any]], Any], *, strict: bool, path: str = "value"
) -> Any:
    """Encode a configuration as a tree that does not depend on the ranks, which all make the call.

    The arguments are those of `codec.encode`.
    """
    if config.exchange is None:
        return codec.encode(config, keep, strict=strict, path=path)
    # Data are hashed by all ranks together, and the rest by each rank alone.
    tasks = config.tasks.summary() if isinstance(config.tasks, TaskBatch) else config.tasks
    with agreed(config.exchange):
        return codec.encode(replace(config, tasks=tasks, comm=None), keep, strict=strict, path=path)


def spread_start(config: TrainConfig) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a given start of which this rank has some rows."""
    if config.shard is None or not isinstance(config.init, GivenStart):
        return ()
    return tuple(part for part in config.init if part.ndim == 2)


def digest_start(config: TrainConfig) -> dict[int, str]:
    """Return the digests of the whole arrays of a start, by the identities of this rank's parts."""
    shard = config.shard
    if shard is None:
        return {}
    return {id(part): _digest_rows(shard, part) for part in spread_start(config)}


def _digest_rows(shard: Columns, array: NDArray[Any]) -> str:
    """Return what `identity.digest` returns for an array (d, k) whose rows are spread."""
    content = blake2b(digest_size=16)
    for piece in shard.pieces(array):
        content.update(np.ascontiguousarray(piece).data)
    return shard.from_root(f"{array.dtype} {(shard.d, array.shape[1])} {content.hexdigest()}")
