r"""Expand a study into its cells, each a combination of values of the grid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._support import check, identity
from ...config.config import TrainConfig
from ...config.configure import configure
from ...methods import Method, resolve
from ...runs import codec
from ...tasks.linear import LinearTasks
from .dependents import NUMBER, Dependent
from .spec import COUNTS, OF_METHODS, OF_RUNS, OF_TASKS, Spec

INLINE = 2**16  # entries of the largest array that study.json stores in full
LONGEST = 2**28  # most characters of the computed values of all cells together


@dataclass(frozen=True)
class Absent:
    r"""Placeholder for an array of which the study's file stores only a hash.

    Parameters
    ----------
    digest : str
        Hash of the array, with its dtype and shape.
    """

    digest: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    r"""One combination of values of the grid.

    Parameters
    ----------
    name : str
        Twelve hexadecimal digits: a hash of exactly those values that determine the cell's numbers.
        A cell keeps its name when the grid grows.
    values : mapping of str to object
        Values of the names in the grid.
    arguments : mapping of str to object
        Arguments of the tasks, the method and `train`, including the key ``seed`` of the cell.
    """

    name: str
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]


def cells_of(spec: Spec) -> Iterator[Cell]:
    r"""Yield the cells of a study; the last axis varies fastest.

    A cell's name hashes the text of all its values, constants included. The key of the
    cell's random numbers hashes the argument ``seed`` and the cell's values on the axes outside
    `common`. Cells that differ only in axes of `common` therefore use the same random numbers.
    """
    constants = {n: v for n, v in spec.base.items() if not isinstance(v, Dependent)}
    dependent = {**spec.base, **spec.derived}
    shared = "|".join(f"{n}={_encode_text(f'base.{n}', constants[n])}" for n in sorted(constants))
    axes = {
        name: [(v, repr(v) if isinstance(v, Dependent) else _encode_text(name, v)) for v in values]
        for name, values in spec.axes.items()
    }
    distinct = sorted(name for name in axes if name not in spec.common)
    room = LONGEST  # a function or expression may return values of any size for every cell
    for number, chosen in enumerate(product(*axes.values())):
        values = {**constants, **{n: v for n, (v, _) in zip(axes, chosen, strict=True)}}
        values[NUMBER] = number
        texts = {n: known for n, (_, known) in zip(axes, chosen, strict=True)}
        key = "|".join(f"{n}={texts[n]}" for n in distinct)
        for name in spec.sequence:
            value = values[name] if name in axes else dependent[name]
            if isinstance(value, Dependent):
                try:
                    result = value.value(values)
                except Exception as error:
                    raise ValueError(f"{name} of cell {number}: {error}") from error
                values[name] = result
                if isinstance(result, np.generic):
                    values[name] = codec.plain(result, name)
                texts[name] = _encode_text(f"{name} of cell {number}", values[name])
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


def _encode_text(path: str, value: Any) -> str:
    """Encode a value as text; raise ValueError for a number that no file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path} must be finite; got {value}")
    return to_text(encode_value(value, path=path))


def _run_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    r"""Select the arguments of a run; turn whole floats into integers where they are counts.

    An expression such as ``d / 2`` returns a float, but `train` accepts only integers as sizes.
    """
    return {
        name: int(value) if name in COUNTS and _is_whole(value) else value
        for name, value in values.items()
        if name in OF_TASKS or name in OF_METHODS or name in OF_RUNS or name == "method"
    }


def _is_whole(value: object) -> bool:
    """Tell whether a value is a float without a fractional part."""
    return isinstance(value, float) and value.is_integer()


def _seed(seed: Any, key: str) -> int:
    """Hash a cell's ``seed`` and its distinguishing values to the key of its random numbers."""
    content = f"{seed!r}|{key}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def configure_cell(arguments: Mapping[str, Any], **further: Any) -> TrainConfig:
    r"""Check the arguments of a cell's runs and resolve them to a configuration.

    Parameters
    ----------
    arguments : mapping of str to object
        The `arguments` of a `Cell`.
    **further : object
        More arguments of `train`, such as `trials` and `threads`.

    Returns
    -------
    TrainConfig
        The configuration.

    Raises
    ------
    TypeError, ValueError
        If `train` would refuse the arguments.
    """
    tasks = LinearTasks(**{n: v for n, v in arguments.items() if n in OF_TASKS})
    options = {n: v for n, v in arguments.items() if n in OF_RUNS}
    return configure(tasks, method_of(arguments), **options, **further)


def method_of(arguments: Mapping[str, Any]) -> Method:
    r"""Build the method of a cell; step sizes of the cell replace those of the method.

    Names of the cell that are not parameters of the method are ignored, so a grid can hold
    different methods: average risk, for example, has no ``alpha``.
    """
    method = resolve(arguments["method"], {})
    names = [field.name for field in fields(method) if field.name in arguments]
    return replace(method, **{name: arguments[name] for name in names})


def matching(cells: Sequence[Cell], where: Mapping[str, Any] | None) -> list[Cell]:
    """Select the cells whose varied names have the values in `where`; raise if there are none."""
    if not (where is None or isinstance(where, Mapping)):
        raise TypeError(f"where must map names to values; got {check.show(where)}")
    wanted = {n: to_text(encode_value(v, path=f"where {n}")) for n, v in (where or {}).items()}
    for name in wanted:
        if name not in cells[0].values:
            known = ", ".join(cells[0].values)
            raise ValueError(f"where must hold names that vary ({known}); got {check.show(name)}")
    selected = [
        cell
        for cell in cells
        if all(to_text(encode_value(cell.values[name])) == value for name, value in wanted.items())
    ]
    if not selected:
        raise ValueError(f"where must hold values of the grid; no cell has {check.show(where)}")
    return selected


def encode_value(value: Any, inline: int = INLINE, path: str = "value") -> Any:
    """Encode a value as a JSON tree; an array of more than `inline` entries becomes its hash."""
    if isinstance(value, Mapping):
        return {name: encode_value(item, inline, path) for name, item in value.items()}
    if isinstance(value, list):
        return [encode_value(item, inline, path) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode_value(item, inline, path) for item in value]}
    if isinstance(value, Absent):
        return {"array": value.digest}
    return codec.encode(value, partial(_encode_array, inline, path), path=path)


def _encode_array(inline: int, path: str, array: NDArray[Any]) -> Any:
    """Encode an array in full, or as a hash if it has more than `inline` entries."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{path} must hold real numbers; got an array of dtype {array.dtype}")
    if array.size > inline:
        return identity.digest(array)
    return {"dtype": array.dtype.name, "values": array.tolist()}


def decode_array(tree: Any) -> Any:
    """Decode an array that `_encode_array` encoded; `Absent` if the file has only a hash."""
    if isinstance(tree, str):
        return Absent(tree)
    dtype = np.dtype(str(tree["dtype"]))
    if dtype.kind not in "biufc":
        raise ValueError(f"arrays must hold numbers; got dtype {dtype}")
    array = np.array(tree["values"], dtype)
    if array.tolist() != tree["values"]:
        raise ValueError(f"an array of {dtype} must hold numbers of that kind")
    return array


def to_text(tree: Any) -> str:
    """Encode a tree as JSON that is the same for equal content; 1 and 1.0 have the same text."""
    if isinstance(tree, (int, float, str)) and not isinstance(tree, bool):
        return _scalar_text(tree)
    return json.dumps(tree, sort_keys=True)


@lru_cache(maxsize=2**16)
def _scalar_text(value: int | float | str) -> str:
    """Encode a number or a string; results are cached, since few distinct values occur."""
    return json.dumps(int(value) if _is_whole(value) else value)
