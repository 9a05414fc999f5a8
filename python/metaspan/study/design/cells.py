r"""Expands a study into its cells; a cell is one combination of values of the grid."""

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
from ...config.counts import DEFAULT_N
from ...config.devices import DEVICES
from ...config.fit_config import FitConfig
from ...config.options import DEFAULT_STOP, Stop
from ...estimators import names as estimators
from ...estimators.configure import RECORDS as OF_FITS
from ...estimators.configure import configure_fit
from ...methods import Method, resolve
from ...runs import codec
from ...tasks.linear import LinearTasks
from .dependents import NUMBER, Dependent
from .spec import COUNTS, OF_METHODS, OF_RUNS, OF_TASKS, Spec

INLINE = 2**16  # entries of the largest array that study.json stores in full
OF_FIT = tuple(estimators.CLASSES)  # names of the methods that `fit` runs
LONGEST = 2**28  # most characters, over all cells, of the values that are computed


@dataclass(frozen=True)
class Absent:
    r"""Takes the place of a large array, of which the study's file stores only a hash.

    Parameters
    ----------
    digest : str
        Dtype, shape and hash of the array.
    """

    digest: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    r"""One combination of values of the grid.

    Parameters
    ----------
    name : str
        A hash of twelve hexadecimal digits, computed from exactly the values that determine the
        results of the cell. A cell therefore keeps its name when values are added to the grid.
    values : mapping of str to object
        The value of each name in the grid.
    arguments : mapping of str to object
        Arguments of `LinearTasks`, of the method and of `train`. The argument ``seed`` is the key
        of the cell's random numbers.
    """

    name: str
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]


def cells_of(spec: Spec) -> Iterator[Cell]:
    r"""Yield the cells of a study; the last axis varies fastest.

    The name of a cell is a hash of the text of all values of the cell, constants included. The key
    of the cell's random numbers is a hash of the argument ``seed`` and of the cell's values on
    those axes that are not in `common`. Two cells whose values differ only on axes in `common`
    therefore use the same random numbers.
    """
    constants = {n: v for n, v in spec.base.items() if not isinstance(v, Dependent)}
    dependent = {**spec.base, **spec.derived}
    shared = "|".join(f"{n}={_encode_text(f'base.{n}', constants[n])}" for n in sorted(constants))
    axes = {
        name: [(v, repr(v) if isinstance(v, Dependent) else _encode_text(name, v)) for v in values]
        for name, values in spec.axes.items()
    }
    distinct = sorted(name for name in axes if name not in spec.common)
    room = LONGEST  # values that functions and expressions return for a cell may have any size
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
    r"""Select the arguments of a run; convert whole floats to integers if the argument is a count.

    An expression such as ``d / 2`` returns a float, but `train` accepts only an integer as a size.
    """
    return {
        name: int(value) if name in COUNTS and _is_whole(value) else value
        for name, value in values.items()
        if name in OF_TASKS or name in OF_METHODS or name in OF_RUNS or name == "method"
    }


def _is_whole(value: object) -> bool:
    """Tell whether a value is a float that equals an integer."""
    return isinstance(value, float) and value.is_integer()


def _seed(seed: Any, key: str) -> int:
    """Compute the key of a cell's random numbers: a hash of ``seed`` and of the text `key`."""
    text = to_text(seed) if type(seed) in (int, float) else repr(seed)  # 1.0 is the seed 1
    content = f"{text}|{key}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def configure_cell(arguments: Mapping[str, Any], **further: Any) -> TrainConfig:
    r"""Check the arguments of the runs of a cell, and return their configuration.

    A cell whose method is an estimator is a fit, to n tasks with ``m_in + m_out`` samples each, or
    to as many tasks as a `pool` has. "altgdmin" is a method of `train`.

    Parameters
    ----------
    arguments : mapping of str to object
        The `arguments` of a `Cell`.
    **further : object
        Further arguments of `train`, such as `trials` and `threads`.

    Returns
    -------
    TrainConfig
        The configuration; a `FitConfig` for a fit.

    Raises
    ------
    TypeError, ValueError
        If `train` or `fit` would refuse the arguments.
    """
    tasks = LinearTasks(**{n: v for n, v in arguments.items() if n in OF_TASKS})
    method = arguments["method"]
    if estimators.is_estimator(method) or (isinstance(method, str) and method in OF_FIT):
        return _configure_fit(tasks, arguments, **further)
    options = {n: v for n, v in arguments.items() if n in OF_RUNS}
    return configure(tasks, method_of(arguments), **options, **further)


def _configure_fit(
    tasks: LinearTasks,
    arguments: Mapping[str, Any],
    *,
    trials: int | range = 1,
    record: Sequence[str] = (),
    threads: int | None = None,
    checkpoint: object = None,
) -> FitConfig:
    """Return the configuration of the fits of a cell."""
    counts = [arguments.get("m_in"), arguments.get("m_out")]
    if arguments.get("shared_samples"):
        counts = counts[:1] if counts[0] is not None else counts[1:]
    for name, count in zip(("m_in", "m_out"), counts, strict=False):
        if count is None:
            raise ValueError(
                f"{name} must be an integer for a fit, which uses the samples of both sets; got "
                "None"
            )
    pool, stop = arguments.get("pool"), arguments.get("stop", DEFAULT_STOP)
    if isinstance(stop, Stop):
        stop = replace(stop, loss_out=None)
    config = configure_fit(
        tasks,
        arguments["method"],
        n=arguments.get("n", DEFAULT_N) if pool is None else pool,
        m=sum(count for count in counts if count is not None),
        width=arguments.get("width"),
        seed=arguments["seed"],
        engine="sampled" if arguments.get("engine") in ("sampled", "arrays") else "auto",
        rounds=arguments.get("rounds"),
        stop=stop,
        trials=trials,
        record=tuple(name for name in record if name in OF_FITS),
        threads=threads,
    )
    device = check.choice("device", arguments.get("device", "cpu"), DEVICES)
    # Samples in law have no axis of size d, over which a device would compute products, and a
    # device must not change the engine of a cell.
    return config if config.engine == "law" else replace(config, device=device)


def method_of(arguments: Mapping[str, Any]) -> Method:
    r"""Build the method of a cell; arguments such as ``alpha`` replace parameters of the method.

    Arguments that are no parameters of the method are ignored. A grid can therefore hold methods
    with different parameters: average risk, for example, has no ``alpha``.
    """
    method = resolve(arguments["method"], {})
    names = [field.name for field in fields(method) if field.name in arguments]
    return replace(method, **{name: arguments[name] for name in names})


def matching(cells: Sequence[Cell], where: Mapping[str, Any] | None) -> list[Cell]:
    """Select the cells whose varied names have the values in `where`; raise if no cell has them."""
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
    """Encode a value as a JSON tree; an array of more than `inline` entries is stored as a hash."""
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
    """Decode an array that `_encode_array` encoded; return `Absent` if the tree is only a hash."""
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
    """Encode a tree as JSON; equal trees have equal texts, also if one has 1 and the other 1.0."""
    if isinstance(tree, (int, float, str)) and not isinstance(tree, bool):
        return _scalar_text(tree)
    return json.dumps(tree, sort_keys=True)


@lru_cache(maxsize=2**16)
def _scalar_text(value: int | float | str) -> str:
    """Encode a number or a string; texts are cached, since most values occur many times."""
    return json.dumps(int(value) if _is_whole(value) else value)
