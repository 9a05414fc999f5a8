r"""Configurations as JSON, their arrays kept aside: how files describe what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check, identity
from ..config.config import TrainConfig
from ..config.options import Checkpoint, Init, Stop
from ..methods import ANIL, MAML, AverageRisk
from ..tasks.batch import BatchSummary, TaskBatch
from ..tasks.features import StudentT
from ..tasks.heads import GaussianHeads, NamedFunction, SphereHeads
from ..tasks.linear import LinearTasks

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

# Fields that files of 0.1 lack, with the value that their runs had.
ADDED: dict[str, dict[str, Any]] = {"TrainConfig": {"track_start": False}}

# Those that a user writes in a file of their own.
TYPED = ("ANIL", "MAML", "AverageRisk", "GaussianHeads", "SphereHeads", "StudentT", "Init", "Stop")


def encode(
    value: Any, keep: Callable[[NDArray[Any]], Any], strict: bool = True, path: str = "value"
) -> Any:
    r"""Turn a value into a JSON tree.

    Parameters
    ----------
    value : object
        Numbers, text, arrays, functions, objects of the package, and tuples of them.
    keep : callable
        Gives what stands for an array.
    strict : bool
        Whether a function that cannot be told from another is refused, as it must be where trees
        are compared. False: it is written by its name alone.
    path : str
        What errors call the value.

    Returns
    -------
    object
        The tree. A function is written as its name and a hash of all that it is made of.

    Raises
    ------
    TypeError
        If a value is of another kind.
    """
    if isinstance(value, np.generic):
        value = plain(value, path)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {"array": keep(value)}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, tuple):
        return {"tuple": [encode(item, keep, strict, path) for item in value]}
    if isinstance(value, TaskBatch):
        value = value.summary()  # a file does not hold the user's data
    if type(value) in KINDS.values():
        names = [field.name for field in fields(value)]
        parts = {
            n: encode(getattr(value, n), keep, strict, f"{path}.{n}".lstrip(".")) for n in names
        }
        return {"kind": type(value).__name__, "fields": parts}
    if isinstance(value, type) or not callable(value):
        raise TypeError(
            f"{path} must be a number, text, an array, a function or an object of metaspan, for a "
            f"file to hold it; got {check.show(value)}, an object of "
            f"{identity.name_of(type(value))}"
        )
    return _function(value, strict, path)


def _function(value: Any, strict: bool, path: str) -> dict[str, str]:
    """Return the tree of a function: its name and, where it is known, a hash of its contents."""
    if isinstance(value, NamedFunction):
        name, contents = value.name, value.contents
    else:
        name, contents = identity.name_of(value), ""
        try:
            contents = identity.contents(value)
        except TypeError as error:
            if strict:
                raise TypeError(f"{path}: {error}") from None
    return {"function": name} | ({"contents": contents} if contents else {})


def plain(value: np.generic, path: str = "value") -> bool | int | float | str:
    """Return the Python value that equals a NumPy scalar."""
    found = float(value) if isinstance(value, np.floating) else value.item()
    known = isinstance(found, (bool, int, float, str))
    if not known or (found != value and not np.isnan(value)):
        raise TypeError(
            f"{path} must be a number or text that a file can hold; got {check.show(value)}"
        )
    return found


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
        return NamedFunction(tree["function"], tree.get("contents", ""))
    values = {name: decode(item, find) for name, item in tree["fields"].items()}
    return KINDS[tree["kind"]](**ADDED.get(tree["kind"], {}) | values)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Paths at which two trees differ, each with both values as text."""
    if old == new:
        return
    same_kind = isinstance(old, dict) and isinstance(new, dict) and "fields" in old
    if same_kind and old.get("kind") == new.get("kind"):
        before = ADDED.get(new["kind"], {}) | old["fields"]
        for name in new["fields"]:
            below = f"{path}.{name}" if path else name
            yield from differences(before.get(name), new["fields"][name], below)
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
    if tree.get("contents"):
        return f"{tree['function']} (contents {tree['contents'][:8]})"
    return str(next(iter(tree.values())))
