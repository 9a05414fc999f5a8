r"""The cells of a study: values of its names, and the runs that they stand for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._support import check, identity
from ...config.config import TrainConfig
from ...config.configure import configure
from ...methods import AverageRisk, Method, resolve
from ...runs import codec
from ...tasks.linear import LinearTasks
from .dependents import NUMBER, Dependent
from .spec import COUNTS, OF_METHODS, OF_RUNS, OF_TASKS, Spec

INLINE = 2**16  # numbers of an array that a study's file holds
LONGEST = 2**28  # characters of all values that cells compute


@dataclass(frozen=True)
class Absent:
    r"""Stands for an array of which a file holds a hash alone.

    Parameters
    ----------
    digest : str
        Dtype, shape and hash.
    """

    digest: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    r"""A point of the grid.

    Parameters
    ----------
    name : str
        Derived from everything that its numbers depend on, and nothing else.
    values : mapping of str to object
        Values of the grid's names.
    arguments : mapping of str to object
        Values of all names that a run takes.
    """

    name: str
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]


def cells_of(spec: Spec) -> Iterator[Cell]:
    """All cells, the last axis fastest."""
    constants = {n: v for n, v in spec.base.items() if not isinstance(v, Dependent)}
    dependent = {**spec.base, **spec.derived}
    shared = "|".join(f"{n}={_told(f'base.{n}', constants[n])}" for n in sorted(constants))
    axes = {
        name: [(v, repr(v) if isinstance(v, Dependent) else _told(name, v)) for v in values]
        for name, values in spec.axes.items()
    }
    own = sorted(name for name in axes if name not in spec.common)
    room = LONGEST
    for number, chosen in enumerate(product(*axes.values())):
        values = {**constants, **{n: v for n, (v, _) in zip(axes, chosen, strict=True)}}
        values[NUMBER] = number
        texts = {n: known for n, (_, known) in zip(axes, chosen, strict=True)}
        key = "|".join(f"{n}={texts[n]}" for n in own)
        for name in spec.sequence:
            value = values[name] if name in axes else dependent[name]
            if isinstance(value, Dependent):
                try:
                    found = value.value(values)
                except Exception as error:
                    raise ValueError(f"{name} of cell {number}: {error}") from error
                values[name] = codec.plain(found, name) if isinstance(found, np.generic) else found
                texts[name] = _told(f"{name} of cell {number}", values[name])
                room -= len(texts[name])
                if room < 0:
                    raise ValueError(
                        f"{name} of cell {number}: values take more than {LONGEST} characters"
                    )
        whole = f"{shared}|{'|'.join(f'{n}={texts[n]}' for n in sorted(texts))}"
        yield Cell(
            name=blake2b(whole.encode(), digest_size=6).hexdigest(),
            values={name: values[name] for name in spec.varied},
            arguments={**_run_arguments(values), "seed": _seed(values.get("seed", 0), key)},
        )


def _told(path: str, value: Any) -> str:
    """A value as text; raises for a number that no file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path} must be finite; got {value}")
    return text(encode_value(value, path=path))


def _run_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that a run takes, with whole numbers where it counts."""
    return {
        name: int(value) if name in COUNTS and _is_whole(value) else value
        for name, value in values.items()
        if name in OF_TASKS or name in OF_METHODS or name in OF_RUNS or name == "method"
    }


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def _seed(seed: Any, key: str) -> int:
    """Key of a cell's random numbers: cells that differ in what is not common have their own."""
    content = f"{seed!r}|{key}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def configure_cell(arguments: Mapping[str, Any], **further: Any) -> TrainConfig:
    r"""Check and resolve the run of a cell.

    Parameters
    ----------
    arguments : mapping of str to object
        Those of a `Cell`.
    **further : object
        Arguments of `train` beside them, such as trials and threads.

    Returns
    -------
    TrainConfig
        The run.

    Raises
    ------
    TypeError, ValueError
        If the values do not make a run.
    """
    tasks = LinearTasks(**{n: v for n, v in arguments.items() if n in OF_TASKS})
    given = {n: v for n, v in arguments.items() if n in OF_RUNS}
    return configure(tasks, method_of(arguments), **given, **further)


def method_of(arguments: Mapping[str, Any]) -> Method:
    """The method with the step sizes of a cell, of which average risk has beta alone."""
    method = resolve(arguments["method"], {})
    steps = {n: v for n, v in arguments.items() if n in OF_METHODS}
    if isinstance(method, AverageRisk):
        steps = {n: v for n, v in steps.items() if n == "beta"}
    return replace(method, **steps)


def matching(cells: Sequence[Cell], where: Mapping[str, Any] | None) -> list[Cell]:
    """Cells with the given values of varied names; raises where there is none."""
    if not (where is None or isinstance(where, Mapping)):
        raise TypeError(f"where must map names to values; got {check.show(where)}")
    wanted = {n: text(encode_value(v, path=f"where {n}")) for n, v in (where or {}).items()}
    for name in wanted:
        if name not in cells[0].values:
            known = ", ".join(cells[0].values)
            raise ValueError(f"where must hold names that vary ({known}); got {check.show(name)}")
    found = [
        cell
        for cell in cells
        if all(text(encode_value(cell.values[name])) == value for name, value in wanted.items())
    ]
    if not found:
        raise ValueError(f"where must hold values of the grid; no cell has {check.show(where)}")
    return found


def encode_value(value: Any, inline: int = INLINE, path: str = "value") -> Any:
    """A JSON tree of a value; arrays of more than so many numbers are told by a hash."""
    if isinstance(value, Mapping):
        return {name: encode_value(item, inline, path) for name, item in value.items()}
    if isinstance(value, list):
        return [encode_value(item, inline, path) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode_value(item, inline, path) for item in value]}
    if isinstance(value, Absent):
        return {"array": value.digest}
    return codec.encode(value, partial(_kept, inline, path), path=path)


def _kept(inline: int, path: str, array: NDArray[Any]) -> Any:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{path} must hold real numbers; got an array of dtype {array.dtype}")
    if array.size > inline:
        return identity.digest(array)
    return {"dtype": array.dtype.name, "values": array.tolist()}


def array_from(kept: Any) -> Any:
    """An array from what a file holds of it."""
    if isinstance(kept, str):
        return Absent(kept)
    dtype = np.dtype(str(kept["dtype"]))
    if dtype.kind not in "biufc":
        raise ValueError(f"arrays must hold numbers; got dtype {dtype}")
    array = np.array(kept["values"], dtype)
    if array.tolist() != kept["values"]:
        raise ValueError(f"an array of {dtype} must hold numbers of that kind")
    return array


def text(tree: Any) -> str:
    """A tree as JSON, the same for equal content: 1 and 1.0 are one number."""
    if isinstance(tree, (int, float, str)) and not isinstance(tree, bool):
        return _plain(tree)
    return json.dumps(tree, sort_keys=True)


@lru_cache(maxsize=2**16)
def _plain(value: int | float | str) -> str:
    return json.dumps(int(value) if _is_whole(value) else value)
