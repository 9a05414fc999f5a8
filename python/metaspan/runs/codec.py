r"""Encodes configurations as JSON trees, with their arrays stored separately."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check, identity
from ..config.config import TrainConfig
from ..config.fit_config import FitConfig
from ..config.options import Checkpoint, CoordinateStart, FittedStart, Init, Stop, ZeroStart
from ..estimators import names as estimators
from ..method_bases import OPTIONS
from ..methods import KINDS as METHODS
from ..outer_step import OuterStep
from ..privacy import UserDP
from ..tasks import linear
from ..tasks.batch import TaskBatch
from ..tasks.features import StudentT
from ..tasks.heads import GaussianHeads, NamedFunction, SphereHeads
from ..tasks.linear import LinearTasks
from ..tasks.summary import BatchSummary

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *METHODS,
        UserDP,
        OuterStep,
        GaussianHeads,
        SphereHeads,
        StudentT,
        LinearTasks,
        BatchSummary,
        Init,
        ZeroStart,
        FittedStart,
        CoordinateStart,
        Stop,
        Checkpoint,
        TrainConfig,
        FitConfig,
    )
}

# Fields that files of earlier versions lack, with the values that these fields have for the runs in
# such files.
ADDED: dict[str, dict[str, Any]] = {
    "TrainConfig": {"track_start": False, "d_over_n": None},
    "FitConfig": {"device": "cpu"},
}

# Fields that no file has, with the values of these fields for what a file describes.
LEFT_OUT: dict[str, dict[str, Any]] = {"TrainConfig": {"comm": None}}

# Kinds that users may write in the TOML file of a study.
TYPED = (
    *(kind.__name__ for kind in METHODS),
    *estimators.KINDS,
    *("OuterStep", "UserDP", "GaussianHeads", "SphereHeads", "StudentT", "Init", "Stop"),
)


def kind_of(name: str) -> type[Any]:
    """Return the class of the objects that a file names by `name`; KeyError if there is none."""
    return estimators.class_of(estimators.KINDS[name]) if name in estimators.KINDS else KINDS[name]


def encode(
    value: Any, keep: Callable[[NDArray[Any]], Any], strict: bool = True, path: str = "value"
) -> Any:
    r"""Encode a value as a JSON tree.

    Parameters
    ----------
    value : object
        A number, text, array, function, object of the package, or tuple of these.
    keep : callable
        Stores an array and returns the JSON value that refers to it.
    strict : bool
        Whether to refuse a function whose parts cannot be hashed. Must be True for trees that will
        be compared. If False, a function that cannot be hashed is encoded by its name alone.
    path : str
        Name of the value, for errors.

    Returns
    -------
    object
        The tree. A function is encoded as its name and a hash of its code and values.

    Raises
    ------
    TypeError
        If a value is of a kind that is not listed under `value`, or a function is refused.
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
    if type(value) in KINDS.values() or estimators.is_estimator(value):
        names = [field.name for field in fields(value) if not _is_unused(value, field)]
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
    return _encode_function(value, strict, path)


def _is_unused(value: Any, field: Field[Any]) -> bool:
    """Whether a field is an option of a method, or of tasks, and has its default value.

    Files leave out options that have their default values, so that the text of the object is the
    same as in versions of the package without this option. They also leave out the fields of a fit
    that always have the same value, and fields that no file has.
    """
    if not field.init or field.name in LEFT_OUT.get(type(value).__name__, {}):
        return True
    return _is_option(type(value), field) and bool(getattr(value, field.name) == field.default)


def _is_option(kind: type[Any], field: Field[Any]) -> bool:
    """Whether files leave out a field of a kind while it has its default."""
    if kind is LinearTasks:
        return field.name in linear.OPTIONS
    if kind is OuterStep:
        return True
    return kind in METHODS and field.name in OPTIONS


def _encode_function(value: Any, strict: bool, path: str) -> dict[str, str]:
    """Encode a function as its name and, if its parts can be hashed, a hash of its contents."""
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
    scalar = float(value) if isinstance(value, np.floating) else value.item()
    known = isinstance(scalar, (bool, int, float, str))
    if not known or (scalar != value and not np.isnan(value)):
        raise TypeError(
            f"{path} must be a number or text that a file can hold; got {check.show(value)}"
        )
    return scalar


def decode(tree: Any, find: Callable[[Any], Any]) -> Any:
    """Decode a tree of `encode`; `find` returns the array that `keep` stored.

    A function is decoded as a `NamedFunction`, which cannot be called.
    """
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
    kind = tree["kind"]
    return kind_of(kind)(**LEFT_OUT.get(kind, {}) | ADDED.get(kind, {}) | values)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (path, old, new) wherever two trees differ, with both values as text."""
    if old == new:
        return
    same_kind = isinstance(old, dict) and isinstance(new, dict) and "fields" in old
    if same_kind and old.get("kind") == new.get("kind"):
        defaults = _defaults(new["kind"])
        before = defaults | ADDED.get(new["kind"], {}) | old["fields"]
        after = defaults | new["fields"]
        for name in dict.fromkeys((*after, *before)):
            below = f"{path}.{name}" if path else name
            yield from differences(before.get(name), after.get(name), below)
        return
    yield path, text(old), text(new)


def _defaults(kind: str) -> dict[str, Any]:
    """Return the defaults of the options that files leave out, see `_is_unused`."""
    return {
        field.name: field.default
        for field in fields(kind_of(kind))
        if _is_option(kind_of(kind), field)
    }


def text(tree: Any) -> str:
    """Format a tree as Python code of the value."""
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
