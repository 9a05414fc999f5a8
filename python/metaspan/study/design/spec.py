r"""Checks the arguments of a study: constants, grid, seeds and measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np

from ..._support import check
from ...config.config import settings
from ...methods import SETTINGS
from ...runs import codec
from ...tasks.linear import MAX_COUNT, LinearTasks
from .dependents import WORDS as WORD_FIELDS
from .dependents import (
    Dependent,
    computed_of,
    parse_expression,
    parse_template,
)
from .expressions import order
from .measures import Measure, measure_of, records_of
from .ranges import in_order

OF_TASKS = tuple(field.name for field in fields(LinearTasks))
OF_METHODS = SETTINGS
OF_RUNS = settings("in_studies")
KNOWN = (*OF_TASKS, "method", *OF_METHODS, *OF_RUNS)
# Names whose values may be words. If any other name has a string as its value, the string is an
# expression.
WORDS = ("method", "features", *WORD_FIELDS, *settings("is_word"))
NONE_AS_WORD = ("dtype", "init")  # whose value None is written "none" in files
COUNTS = ("d", "k", "inner_steps", "local_steps", *settings("is_count"))
LAWS = ("heads", "features")  # a function that is the value of one of these names is a distribution
MOST_CELLS, MOST_RUNS = 10**6, 10**7  # limits of a study; a run is one cell with one seed
MOST_ROWS = 10**5  # largest number of rows of a kept trace
COLUMNS = ("seed", "status", "round")  # columns of a study's tables, which no varied name may have
# Keys: arguments of `train` that `base` and `grid` must not hold. Values: what determines these
# arguments in a study.
ELSEWHERE = {
    "trials": "seeds of the study",
    "record": "what `measure` and `keep` ask for",
    "threads": "an argument of run()",
    "progress": "an argument of run()",
    "checkpoint": "the study's own",
    "on_failure": "a status in the table",
    "tasks": "made from the names of LinearTasks",
}


@dataclass(frozen=True, kw_only=True)
class Spec:
    r"""The arguments of a study after all checks.

    Parameters
    ----------
    base : mapping of str to object
        The entries of `base`: constants, and values that depend on other names.
    axes : mapping of str to tuple
        For each name that varies independently, its values.
    derived : mapping of str to Expression, Template, Computed or Listed
        For each other name of the grid, how its value is computed from the values of other names.
    varied : tuple of str
        All names of the grid, in their order in the grid.
    sequence : tuple of str
        Names whose values depend on other names, in an order in which the values can be computed.
    seeds : tuple of int
        Trial numbers: each cell is trained once with each of these numbers.
    measures : tuple of Measure
        The numbers that are computed from the result of each run.
    keep : tuple of str
        Records whose traces are kept.
    keep_rows : int
        Largest number of rows of a kept trace.
    common : tuple of str
        Axes that do not affect the random numbers: cells that differ only on these axes use equal
        random numbers.
    """

    base: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]]
    derived: Mapping[str, Dependent]
    varied: tuple[str, ...]
    sequence: tuple[str, ...]
    seeds: tuple[int, ...]
    measures: tuple[Measure, ...]
    keep: tuple[str, ...]
    keep_rows: int
    common: tuple[str, ...]

    @property
    def records(self) -> tuple[str, ...]:
        """The records that the measures and the kept traces need."""
        return records_of(self.measures, self.keep)


def specify(
    base: Mapping[str, Any] | None,
    grid: Mapping[str, Any] | None,
    seeds: int | Iterable[int],
    measure: Any,
    *,
    keep: Any,
    keep_rows: int,
    common: Any,
) -> Spec:
    """Check those properties of a study's arguments that do not depend on the cells."""
    shared = {name: _parse("base", name, value) for name, value in _check_names("base", base)}
    axes: dict[str, tuple[Any, ...]] = {}
    derived: dict[str, Dependent] = {}
    varied = []
    for name, value in _check_names("grid", grid):
        if name in shared:
            raise ValueError(f"{name} must be in base or in grid; it is in both")
        varied.append(name)
        parsed = _parse_axis(name, value)
        if isinstance(parsed, tuple):
            axes[name] = parsed
        else:
            derived[name] = parsed
    if isinstance(measure, Set | Mapping):
        raise TypeError(f"measure must be a list or a tuple; got {check.show(measure)}")
    alone = isinstance(measure, str) or callable(measure) or not isinstance(measure, Iterable)
    listed = (measure,) if alone else tuple(measure)
    measures = tuple(item if isinstance(item, Measure) else measure_of(item) for item in listed)
    names = [item.name for item in measures]
    for name in names:
        if names.count(name) > 1 or name in varied or name in COLUMNS:
            raise ValueError(f"measure must hold every name once, none of the grid; got {name!r}")
    kept, shared_numbers = _parse_names("keep", keep), _parse_names("common", common)
    records_of(measures, kept)
    for name in set(kept).intersection(varied):
        raise ValueError(f"keep must hold no names of the grid; got {name!r}")
    for name in shared_numbers:
        if name not in axes:
            raise ValueError(
                f"common must hold names that the grid varies ({', '.join(axes)}); "
                f"got {check.show(name)}"
            )
    return Spec(
        base=shared,
        axes=axes,
        derived=derived,
        varied=tuple(varied),
        sequence=_order_dependents(shared, axes, derived),
        seeds=_parse_seeds(seeds, _count_cells(axes)),
        measures=measures,
        keep=kept,
        keep_rows=check.integer("keep_rows", keep_rows, 2, MOST_ROWS),
        common=shared_numbers,
    )


def _check_names(where: str, mapping: object) -> list[tuple[str, Any]]:
    """Check the names in `base` or `grid`; return pairs of names and values."""
    if mapping is None:
        return []
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{where} must be a mapping of names to values; got {check.show(mapping)}")
    for name in mapping:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{where} must hold names; got {check.show(name)}")
        if name in COLUMNS and where == "grid":
            raise ValueError(f"{where}.{name}: {name} is a column of every table; use another name")
        if name in ELSEWHERE:
            raise ValueError(f"{where}.{name}: {name} is {ELSEWHERE[name]}; it cannot be set here")
    return list(mapping.items())


def _parse(where: str, name: str, value: Any) -> Any:
    """Parse a constant, an expression, or an object whose fields may contain expressions."""
    path = f"{where}.{name}"
    if name in NONE_AS_WORD and isinstance(value, str) and value == "none":
        return None
    value = _to_plain(name, path, value)
    if name == "stop" and value is False:
        return None  # files of older releases store None as false; newer files store it as "none"
    if isinstance(value, str) and name not in WORDS:
        return parse_expression(path, value)
    if isinstance(value, dict):
        return parse_template(path, value)
    if isinstance(value, list):  # a list of heads is kept: `train` converts it to an array
        return tuple(value) if name not in LAWS else value
    if callable(value) and not isinstance(value, type) and name not in LAWS:
        raise TypeError(f"{path} must be a constant; functions of other values stand in grid")
    return value


def _to_plain(name: str, path: str, value: Any) -> Any:
    """Replace NumPy scalars, dtypes and other libraries' arrays by values that a file can hold."""
    value = check.bare(path, value)
    if name == "dtype" and value is not None:
        return check.float_dtype(path, value).name
    if isinstance(value, np.generic):
        return codec.plain(value, path)
    if isinstance(value, (list, tuple)):
        items = [_to_plain("", path, item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: _to_plain("", path, item) for key, item in value.items()}
    if hasattr(value, "__array__") and not isinstance(value, (np.ndarray, type)):
        return check.rectangular(path, value)
    return value


def _parse_axis(name: str, value: Any) -> tuple[Any, ...] | Dependent:
    """Parse an entry of the grid: a list of values, or one value that depends on other names."""
    value = in_order(f"grid.{name}", value)
    if isinstance(value, (list, tuple, range)):
        if not value:
            raise ValueError(f"grid.{name} must hold at least one value; got none")
        if value[MOST_CELLS:]:
            raise ValueError(
                f"grid.{name} must hold at most {MOST_CELLS} values; got {check.show(value)}"
            )
        return tuple(_parse("grid", name, item) for item in value)
    if isinstance(value, (Iterator, Set)):
        raise TypeError(f"grid.{name} must be a list or a range; got {check.show(value)}")
    if callable(value) and not isinstance(value, type):
        return computed_of(f"grid.{name}", value)
    parsed = _parse("grid", name, value)
    return parsed if isinstance(parsed, Dependent) else (parsed,)


def _order_dependents(
    base: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]], derived: Mapping[str, Dependent]
) -> tuple[str, ...]:
    """Check that every name is known or used; sort dependent names in an order of computation."""
    needs: dict[str, frozenset[str]] = {}
    for name, value in {**base, **derived}.items():
        if isinstance(value, Dependent):
            needs[name] = value.names
    for name, values in axes.items():
        parts = [value.names for value in values if isinstance(value, Dependent)]
        if parts:
            needs[name] = frozenset().union(*parts)
    defined = {*base, *axes, *derived}
    used = frozenset().union(*needs.values())
    unused = [name for name in defined if name not in KNOWN and name not in used]
    for name, others in needs.items():
        for other in sorted(others - defined):
            # An expression may need a known name that has no value, while an unused name is spelled
            # almost like the known name. The unused name is then a typo, and the error reports the
            # typo instead of the missing value.
            if other in KNOWN and (mistyped := check.near(other, unused)):
                raise _unused_error(mistyped[0])
            raise ValueError(f"{name} needs {other!r}, which has no value{_hint(other, defined)}")
    for name in unused:
        raise _unused_error(name)
    for name in ("d", "k", "method"):
        if name not in defined:
            raise ValueError(f"base or grid must hold {name!r}; it is in neither")
    return tuple(name for name in order(needs) if name in needs)


def _unused_error(name: str) -> ValueError:
    """Make the error for a name that neither the package nor the study uses."""
    return ValueError(
        f"{name!r} is no name of LinearTasks, the method or train, and nothing uses it"
        f"{_hint(name, KNOWN)}"
    )


def _hint(name: str, known: Iterable[str]) -> str:
    """Return a text that suggests the nearest known name; empty if no known name is near."""
    meant = check.meant(name, known)
    return f": {meant}" if meant else ""


def _count_cells(axes: Mapping[str, Sequence[Any]]) -> int:
    """Count the combinations of values of the axes; raise ValueError if they are too many."""
    cells = math.prod(map(len, axes.values()))
    if cells > MOST_CELLS:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in axes.items())
        raise ValueError(f"grid must make at most {MOST_CELLS} cells; got {sizes} = {cells}")
    return cells


def _parse_seeds(seeds: Any, cells: int) -> tuple[int, ...]:
    """Convert a number of seeds to the tuple (0, 1, ...), or check a collection of seeds."""
    most = MOST_RUNS // cells
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        several = seeds if isinstance(seeds, Sequence) else tuple(islice(seeds, most + 1))
        if several[most:]:
            raise ValueError(
                f"seeds must be at most {most} for {cells} cells, which make {MOST_RUNS} runs; "
                f"got {check.show(seeds)}"
            )
        numbers = tuple(check.integer("seeds", seed, 0, MAX_COUNT) for seed in several)
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(
                f"seeds must hold different numbers, at least one; got {check.show(seeds)}"
            )
        return numbers
    return tuple(range(check.integer("seeds", seeds, 1, most)))


def _parse_names(name: str, names: object) -> tuple[str, ...]:
    """Convert one name, or a collection of names, to a tuple without repetitions."""
    items = (names,) if isinstance(names, str) else names
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} must hold names; got {check.show(names)}")
    return tuple(dict.fromkeys(items))
