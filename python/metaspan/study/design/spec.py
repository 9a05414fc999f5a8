r"""What a study is: constants, a grid of values, seeds, and what is measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np

from ..._support import check
from ...config.config import settings
from ...methods import ANIL
from ...runs import codec
from ...tasks.linear import MAX_COUNT, LinearTasks
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
OF_METHODS = tuple(field.name for field in fields(ANIL))
OF_RUNS = settings("in_studies")
KNOWN = (*OF_TASKS, "method", *OF_METHODS, *OF_RUNS)
# Names whose values may be words: for all others a string is an expression.
WORDS = ("method", "features", *settings("is_word"))
COUNTS = ("d", "k", "inner_steps", *settings("is_count"))
LAWS = ("heads", "features")  # a function in `base` is a law of these
MOST_CELLS, MOST_RUNS = 10**6, 10**7  # of a study; a run is a cell with a seed
MOST_ROWS = 10**5  # of a kept trace
COLUMNS = ("seed", "status", "round")  # of the study's tables
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
    r"""A study, checked.

    Parameters
    ----------
    base : mapping of str to object
        Constants and dependent values that all runs share.
    axes : mapping of str to tuple
        Values that are varied independently.
    derived : mapping of str to Expression, Template or Computed
        Values of the grid that depend on others.
    varied : tuple of str
        All names of the grid, in its order.
    sequence : tuple of str
        Names of dependent values, each after what it needs.
    seeds : tuple of int
        Numbers of the trials.
    measures : tuple of Measure
        What is measured at the end of each run.
    keep : tuple of str
        Records of the trace that are kept.
    keep_rows : int
        Rows of the trace that are kept, at most.
    common : tuple of str
        Names across whose values random numbers are common.
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
        """Records that measures and the kept trace need."""
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
    """Check the arguments of a study, as far as that is possible without its values."""
    shared = {name: _parsed("base", name, value) for name, value in _mapping("base", base)}
    axes: dict[str, tuple[Any, ...]] = {}
    derived: dict[str, Dependent] = {}
    varied = []
    for name, value in _mapping("grid", grid):
        if name in shared:
            raise ValueError(f"{name} must stand in base or in grid; it stands in both")
        varied.append(name)
        found = _axis(name, value)
        if isinstance(found, tuple):
            axes[name] = found
        else:
            derived[name] = found
    alone = isinstance(measure, str) or callable(measure) or not isinstance(measure, Iterable)
    listed = (measure,) if alone else tuple(measure)
    measures = tuple(item if isinstance(item, Measure) else measure_of(item) for item in listed)
    names = [found.name for found in measures]
    for name in names:
        if names.count(name) > 1 or name in varied or name in COLUMNS:
            raise ValueError(f"measure must hold every name once, none of the grid; got {name!r}")
    kept, shared_numbers = _words("keep", keep), _words("common", common)
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
        sequence=_sequence(shared, axes, derived),
        seeds=_seeds(seeds, _cells(axes)),
        measures=measures,
        keep=kept,
        keep_rows=check.integer("keep_rows", keep_rows, 2, MOST_ROWS),
        common=shared_numbers,
    )


def _mapping(where: str, given: object) -> list[tuple[str, Any]]:
    """Names and values, with names that are identifiers."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} must be a mapping of names to values; got {check.show(given)}")
    for name in given:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{where} must hold names; got {check.show(name)}")
        if name in COLUMNS and where == "grid":
            raise ValueError(f"{where}.{name}: {name} is a column of every table; use another name")
        if name in ELSEWHERE:
            raise ValueError(f"{where}.{name}: {name} is {ELSEWHERE[name]}; it cannot be set here")
    return list(given.items())


def _parsed(where: str, name: str, value: Any) -> Any:
    """A constant, or something to be computed from other values."""
    path = f"{where}.{name}"
    value = _plain(name, path, value)
    if name == "stop" and value is False:
        return None  # as in older files; "none" is the word for it
    if isinstance(value, str) and name not in WORDS:
        return parse_expression(path, value)
    if isinstance(value, dict):
        return parse_template(path, value)
    if isinstance(value, list):
        return tuple(value) if name not in LAWS else value
    if callable(value) and not isinstance(value, type) and name not in LAWS:
        raise TypeError(f"{path} must be a constant; functions of other values stand in grid")
    return value


def _plain(name: str, path: str, value: Any) -> Any:
    """Return a value without what a file has no form of: NumPy's scalars, foreign arrays, types."""
    value = check.bare(path, value)
    if name == "dtype" and value is not None:
        return check.float_dtype(path, value).name
    if isinstance(value, np.generic):
        return codec.plain(value, path)
    if isinstance(value, (list, tuple)):
        items = [_plain("", path, item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: _plain("", path, item) for key, item in value.items()}
    if hasattr(value, "__array__") and not isinstance(value, (np.ndarray, type)):
        return check.rectangular(path, value)
    return value


def _axis(name: str, value: Any) -> tuple[Any, ...] | Dependent:
    """Values of an axis, or what a name of the grid depends on."""
    value = in_order(f"grid.{name}", value)
    if isinstance(value, (list, tuple, range)):
        if not value:
            raise ValueError(f"grid.{name} must hold at least one value; got none")
        if value[MOST_CELLS:]:
            raise ValueError(
                f"grid.{name} must hold at most {MOST_CELLS} values; got {check.show(value)}"
            )
        return tuple(_parsed("grid", name, item) for item in value)
    if isinstance(value, (Iterator, Set)):
        raise TypeError(f"grid.{name} must be a list or a range; got {check.show(value)}")
    if callable(value) and not isinstance(value, type):
        return computed_of(f"grid.{name}", value)
    found = _parsed("grid", name, value)
    return found if isinstance(found, Dependent) else (found,)


def _sequence(
    base: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]], derived: Mapping[str, Dependent]
) -> tuple[str, ...]:
    """Names of dependent values in an order in which they can be computed; checks all names."""
    needs: dict[str, frozenset[str]] = {}
    for name, value in {**base, **derived}.items():
        if isinstance(value, Dependent):
            needs[name] = value.names
    for name, values in axes.items():
        parts = [value.names for value in values if isinstance(value, Dependent)]
        if parts:
            needs[name] = frozenset().union(*parts)
    there = {*base, *axes, *derived}
    used = frozenset().union(*needs.values())
    useless = [name for name in there if name not in KNOWN and name not in used]
    for name, others in needs.items():
        for other in sorted(others - there):
            # Of two names that are near each other, the one that is not known is mistyped.
            if other in KNOWN and (mistyped := check.near(other, useless)):
                raise _useless(mistyped[0])
            raise ValueError(f"{name} needs {other!r}, which has no value{_meant(other, there)}")
    for name in useless:
        raise _useless(name)
    for name in ("d", "k", "method"):
        if name not in there:
            raise ValueError(f"base or grid must hold {name!r}; it is in neither")
    return tuple(name for name in order(needs) if name in needs)


def _useless(name: str) -> ValueError:
    return ValueError(
        f"{name!r} is no name of LinearTasks, the method or train, and nothing uses it"
        f"{_meant(name, KNOWN)}"
    )


def _meant(name: str, known: Iterable[str]) -> str:
    meant = check.meant(name, known)
    return f": {meant}" if meant else ""


def _cells(axes: Mapping[str, Sequence[Any]]) -> int:
    """Number of combinations; raises where they are too many."""
    cells = math.prod(map(len, axes.values()))
    if cells > MOST_CELLS:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in axes.items())
        raise ValueError(f"grid must make at most {MOST_CELLS} cells; got {sizes} = {cells}")
    return cells


def _seeds(seeds: Any, cells: int) -> tuple[int, ...]:
    most = MOST_RUNS // cells
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        several = seeds if isinstance(seeds, Sequence) else tuple(islice(seeds, most + 1))
        if several[most:]:
            raise ValueError(
                f"seeds must be at most {most} for {cells} cells, which make {MOST_RUNS} runs; "
                f"got {check.show(seeds)}"
            )
        found = tuple(check.integer("seeds", seed, 0, MAX_COUNT) for seed in several)
        if not found or len(set(found)) < len(found):
            raise ValueError(
                f"seeds must hold different numbers, at least one; got {check.show(seeds)}"
            )
        return found
    return tuple(range(check.integer("seeds", seeds, 1, most)))


def _words(name: str, given: object) -> tuple[str, ...]:
    """A tuple of names, from one or several."""
    items = (given,) if isinstance(given, str) else given
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} must hold names; got {check.show(given)}")
    return tuple(dict.fromkeys(items))
