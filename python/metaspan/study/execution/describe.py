r"""A study as JSON: written beside its rows, read again, and compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._support import check, files
from ...runs import codec
from ...tasks.heads import NamedFunction
from ..design.cells import Absent, Cell, cells_of, decode_array, encode_value
from ..design.dependents import Computed, Listed, Template, check_fields
from ..design.expressions import Expression
from ..design.measures import Measure, measure_of
from ..design.spec import Spec, specify
from .store import KIND, Store

Tree = dict[str, Any]


def describe(spec: Spec, cells: Sequence[Cell]) -> Tree:
    """The tree of a study; functions are told by what they gave."""
    grid: Tree = {}
    for name in spec.varied:
        if name in spec.axes:
            grid[name] = {"values": [_tree(value) for value in spec.axes[name]]}
        elif isinstance(spec.derived[name], (Computed, Listed)):
            grid[name] = {"computed": [encode_value(cell.values[name]) for cell in cells]}
        else:
            grid[name] = _tree(spec.derived[name])
    return {
        "base": {name: _tree(value) for name, value in spec.base.items()},
        "grid": grid,
        "seeds": list(spec.seeds),
        "measure": [_measure_tree(measure) for measure in spec.measures],
        "keep": list(spec.keep),
        "keep_rows": spec.keep_rows,
        "common": list(spec.common),
    }


def _tree(value: Any) -> Any:
    if isinstance(value, Expression):
        return {"expression": value.text}
    if isinstance(value, Template):
        parts = {name: _tree(part) for name, part in value.fields.items()}
        return {"template": value.kind, "parts": parts}
    return encode_value(value)


def _measure_tree(measure: Measure) -> Any:
    """Return the name of a measure, beside a function of the user's with what tells it apart."""
    if not measure.is_users:
        return measure.name
    known = isinstance(measure.of, _Unknown)
    function = measure.of.function if known else measure.of  # type: ignore[attr-defined]
    return {"name": measure.name, **encode_value(function, path=f"measure {measure.name!r}")}


def restore(tree: Mapping[str, Any], file: str) -> Spec:
    """The study that a tree describes; ValueError names the file where it describes none."""
    with files.name_file_in_errors(f"{file!r} is a broken {KIND}"):
        parts = [tree[name] for name in ("seeds", "measure", "keep", "common")]
        if not all(isinstance(part, list) for part in parts):
            raise TypeError("seeds, measure, keep and common must be lists")
        seeds, measure, keep, common = parts
        spec = specify(
            {name: decode_value(value) for name, value in tree["base"].items()},
            {name: _restored_axis(value) for name, value in tree["grid"].items()},
            seeds,
            [_restored_measure(item) for item in measure],
            keep=keep,
            keep_rows=tree["keep_rows"],
            common=common,
        )
        count = math.prod(map(len, spec.axes.values()))
        for name, value in spec.derived.items():
            if isinstance(value, Listed) and len(value.items) != count:
                raise ValueError(f"{name} has {len(value.items)} values for {count} cells")
        return spec


def _restored_axis(tree: Any) -> Any:
    if not isinstance(tree, dict):
        raise TypeError(f"an axis must be a table; got {check.show(tree)}")
    if "values" in tree:
        if not isinstance(tree["values"], list):
            raise TypeError("the values of an axis must be a list")
        return [decode_value(value) for value in tree["values"]]
    if "computed" in tree:
        return Listed(items=tuple(decode_value(value) for value in tree["computed"]))
    return decode_value(tree)


def _restored_measure(tree: Any) -> Measure:
    """Return a measure; of a user's function a file knows the name alone."""
    if not isinstance(tree, dict):
        try:
            return measure_of(tree)
        except ValueError:  # older files had no more of a function than this
            tree = {"name": tree, "function": tree}
    name, function = tree["name"], decode_value(tree)
    if not (isinstance(name, str) and isinstance(function, NamedFunction)):
        raise TypeError(f"a measure must be named; got {check.show(tree)}")
    return Measure(name=name, records=(), of=_Unknown(name, function), is_users=True)


class _Unknown:
    """A measure whose function is not here."""

    def __init__(self, name: str, function: NamedFunction) -> None:
        self._name = name
        self.function = function

    def __call__(self, result: object) -> float:
        raise TypeError(f"measure {self._name!r} is a function, which a file cannot hold")


def unknown(spec: Spec) -> list[str]:
    """Names of what a file only names: functions, and arrays that are large."""
    values = {f"base.{name}": value for name, value in spec.base.items()}
    values |= {f"grid.{name}": value for name, value in [*spec.axes.items(), *spec.derived.items()]}
    found = [path for path, value in values.items() if _is_unknown(value)]
    return [*found, *(f"measure {one.name}" for one in spec.measures if _is_unknown(one.of))]


def _is_unknown(value: object) -> bool:
    if isinstance(value, Listed):
        value = value.items
    if isinstance(value, tuple):
        return any(_is_unknown(item) for item in value)
    return isinstance(value, (Absent, NamedFunction, _Unknown))


def decode_value(tree: Any) -> Any:
    """A value from its tree; what a file holds the hash of is that text."""
    if isinstance(tree, list):
        return [decode_value(item) for item in tree]
    if isinstance(tree, dict) and "expression" in tree:
        return Expression(tree["expression"])
    if isinstance(tree, dict) and "template" in tree:
        parts = {name: decode_value(part) for name, part in tree["parts"].items()}
        if tree["template"] not in codec.TYPED:
            raise ValueError(f"there is no law {check.show(tree['template'])}")
        check_fields(tree["template"], parts)
        return Template(kind=tree["template"], fields=parts)
    return codec.decode(tree, decode_array)


def check_same(old: Tree, new: Tree, cells: Sequence[Cell], store: Store) -> None:
    """Raise unless a study goes on from an older one: it may have gained values and seeds."""
    folder, file = str(store.folder), str(store.file)
    with files.name_file_in_errors(f"{file!r} is a broken {KIND}"):
        old_cells = tuple(cells_of(restore(old, file)))
    for path, before, now in _changes(old, new):
        had = f"{path} = {files.shorten(before)}" if before else f"no {path}"
        has = files.shorten(now) if now else f"no {path}"
        raise ValueError(
            f"the study in {folder!r} has {had}; this one has {has}: use another folder"
        )
    lost = sorted(set(old["seeds"]) - set(new["seeds"]))
    if lost:
        raise ValueError(f"the study in {folder!r} has seed {lost[0]}; this one has not: keep it")
    names = {cell.name for cell in cells}
    for cell in old_cells:
        if cell.name not in names:
            values = ", ".join(f"{name} = {value!r}" for name, value in cell.values.items())
            raise ValueError(
                f"the study in {folder!r} has a cell with {files.shorten(values)}; this one has "
                "not: keep its values, or use another folder"
            )


def _changes(old: Tree, new: Tree) -> Iterator[tuple[str, str, str]]:
    """What differs of all but the values of the grid and the seeds; no text where one has none."""
    for part in ("base", "grid"):
        for name in {**old[part], **new[part]}:
            if not (name in old[part] and name in new[part]):  # None is a value
                trees = (old[part], new[part])
                before, now = (codec.text(t[name]) if name in t else "" for t in trees)
                yield f"{part}.{name}", before, now
                continue
            before, now = old[part][name], new[part][name]
            growing = part == "grid" and {*before} == {*now}
            if not (growing and ("values" in now or "computed" in now)):
                yield from codec.differences(before, now, f"{part}.{name}")
    yield from _changed_measures(old["measure"], new["measure"])
    for part in ("keep", "keep_rows", "common"):
        yield from codec.differences(old[part], new[part], part)


def _changed_measures(old: list[Any], new: list[Any]) -> Iterator[tuple[str, str, str]]:
    """What differs of the measures: their names, or the functions behind them."""
    names = [[codec.text(item) for item in measures] for measures in (old, new)]
    if _names(old) != _names(new):
        yield "measure", str(_names(old)), str(_names(new))
        return
    for name, before, now in zip(_names(new), *names, strict=True):
        if before != now:
            yield f"measure {name!r}", before, now


def _names(measures: list[Any]) -> list[str]:
    return [item["name"] if isinstance(item, dict) else str(item) for item in measures]
