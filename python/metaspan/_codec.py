r"""Configurations as JSON, their arrays kept aside: how files describe what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batch import BatchSummary, TaskBatch
from .config import TrainConfig
from .features import StudentT
from .heads import GaussianHeads, NamedFunction, SphereHeads
from .methods import ANIL, MAML, AverageRisk
from .options import Checkpoint, Init, Stop
from .tasks import LinearTasks

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        ANIL,
        MAML,
        AverageRisk,
        GaussianHeads,
        SphereHeads,
        StudentT,
        LinearTasks,
        BatchSummary,
        Init,
        Stop,
        Checkpoint,
        TrainConfig,
    )
}

# Those that a user writes in a file of their own.
TYPED = ("ANIL", "MAML", "AverageRisk", "GaussianHeads", "SphereHeads", "StudentT", "Init", "Stop")


def encode(value: Any, keep: Callable[[NDArray[Any]], Any]) -> Any:
    """A JSON tree; `keep` gives what stands for an array."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {"array": keep(value)}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, tuple):
        return {"tuple": [encode(item, keep) for item in value]}
    if isinstance(value, TaskBatch):
        value = value.summary()  # a file does not hold the user's data
    if type(value) in KINDS.values():
        tree = {field.name: encode(getattr(value, field.name), keep) for field in fields(value)}
        return {"kind": type(value).__name__, "fields": tree}
    return {"function": function_name(value)}


def decode(tree: Any, find: Callable[[Any], Any]) -> Any:
    """What `encode` was given, with functions known by their names alone; `find` undoes `keep`."""
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return find(tree["array"])
    if "range" in tree:
        return range(*tree["range"])
    if "tuple" in tree:
        return tuple(decode(item, find) for item in tree["tuple"])
    if "function" in tree:
        return NamedFunction(tree["function"])
    values = {name: decode(item, find) for name, item in tree["fields"].items()}
    return KINDS[tree["kind"]](**values)


def function_name(value: object) -> str:
    """Module and qualified name of a function, or those of the kind of a callable object."""
    if isinstance(value, NamedFunction):
        return value.name
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def digest(array: NDArray[Any]) -> str:
    """Dtype, shape and a hash of the content of an array."""
    from hashlib import blake2b  # noqa: PLC0415  (only checkpoints need it)

    content = blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
    return f"{array.dtype} {array.shape} {content}"


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Paths at which two trees differ, each with both values as text."""
    if old == new:
        return
    same_kind = isinstance(old, dict) and isinstance(new, dict) and "fields" in old
    if same_kind and old.get("kind") == new.get("kind"):
        for name in new["fields"]:
            below = f"{path}.{name}" if path else name
            yield from differences(old["fields"].get(name), new["fields"][name], below)
        return
    yield path, text(old), text(new)


def text(tree: Any) -> str:
    """A tree as it would be typed."""
    if not isinstance(tree, dict):
        return repr(tree)
    if "tuple" in tree:
        return f"({', '.join(text(item) for item in tree['tuple'])})"
    if "range" in tree:
        return repr(range(*tree["range"]))
    if "fields" in tree:
        values = ", ".join(f"{name}={text(item)}" for name, item in tree["fields"].items())
        return f"{tree['kind']}({values})"
    return str(next(iter(tree.values())))
