r"""Describes a study as JSON, reads such a description, and compares two descriptions."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..._support import check, files
from ...runs import codec
from ...tasks.heads import NamedFunction
from ..design.cells import Absent, Cell, cells_of, decode_array, encode_value, to_text
from ..design.dependents import Computed, Listed, Template, check_fields
from ..design.expressions import Expression
from ..design.measures import Measure, measure_of
from ..design.spec import Spec, specify
from .store import KIND, StudyFolder

Tree = dict[str, Any]


def describe(spec: Spec, cells: Sequence[Cell]) -> Tree:
    r"""Describe a study as a JSON tree, which holds the values of the functions in the grid.

    The values of a function, unlike its code, can be read back from a file, and show whether two
    functions differ.
    """
    grid: Tree = {}
    for name in spec.varied:
        if name in spec.axes:
            grid[name] = {"values": [_encode(value) for value in spec.axes[name]]}
        elif isinstance(spec.derived[name], (Computed, Listed)):
            grid[name] = {"computed": [encode_value(cell.values[name]) for cell in cells]}
        else:
            grid[name] = _encode(spec.derived[name])
    return {
        "base": {name: _encode(value) for name, value in spec.base.items()},
        "grid": grid,
        "seeds": list(spec.seeds),
        "measure": [_encode_measure(measure) for measure in spec.measures],
        "keep": list(spec.keep),
        "keep_rows": spec.keep_rows,
        "common": list(spec.common),
    }


def _encode(value: Any) -> Any:
    """Encode a constant, or a value that depends on other names, as a JSON tree."""
    if isinstance(value, Expression):
        return {"expression": value.text}
    if isinstance(value, Template):
        parts = {
            name: _encode(part)
            if isinstance(part, Expression | Template)
            else encode_value(part, sys.maxsize)
            for name, part in value.fields.items()
        }
        return {"template": value.kind, "parts": parts}
    if isinstance(value, np.ndarray | tuple | list):
        return encode_value(value)
    # An object cannot be made again from the hash of one of its arrays.
    return encode_value(value, sys.maxsize)


def _encode_measure(measure: Measure) -> Any:
    """Encode a measure as its name; if a user wrote the measure, add a hash of the function."""
    if not measure.is_users:
        return measure.name
    known = isinstance(measure.of, _MissingFunction)
    function = measure.of.function if known else measure.of  # type: ignore[attr-defined]
    return {"name": measure.name, **encode_value(function, path=f"measure {measure.name!r}")}


def restore(tree: Mapping[str, Any], file: str) -> Spec:
    """Check the description of a study and return the study; error messages name the file."""
    with files.name_file_in_errors(f"{file!r} is a broken {KIND}"):
        parts = [tree[name] for name in ("seeds", "measure", "keep", "common")]
        if not all(isinstance(part, list) for part in parts):
            raise TypeError("seeds, measure, keep and common must be lists")
        seeds, measure, keep, common = parts
        spec = specify(
            {name: decode_value(value) for name, value in tree["base"].items()},
            {name: _decode_axis(value) for name, value in tree["grid"].items()},
            seeds,
            [_decode_measure(item) for item in measure],
            keep=keep,
            keep_rows=tree["keep_rows"],
            common=common,
        )
        count = math.prod(map(len, spec.axes.values()))
        for name, value in spec.derived.items():
            if isinstance(value, Listed) and len(value.items) != count:
                raise ValueError(f"{name} has {len(value.items)} values for {count} cells")
        return spec


def _decode_axis(tree: Any) -> Any:
    """Decode an entry of the grid from its JSON tree."""
    if not isinstance(tree, dict):
        raise TypeError(f"an axis must be a table; got {check.show(tree)}")
    if "values" in tree:
        if not isinstance(tree["values"], list):
            raise TypeError("the values of an axis must be a list")
        return [decode_value(value) for value in tree["values"]]
    if "computed" in tree:
        return Listed(items=tuple(decode_value(value) for value in tree["computed"]))
    return decode_value(tree)


def _decode_measure(tree: Any) -> Measure:
    """Decode a measure; a user's function is replaced by a placeholder that cannot be called."""
    if not isinstance(tree, dict):
        try:
            return measure_of(tree)
        except ValueError:  # files of older releases hold only the name of a user's function
            tree = {"name": tree, "function": tree}
    name, function = tree["name"], decode_value(tree)
    if not (isinstance(name, str) and isinstance(function, NamedFunction)):
        raise TypeError(f"a measure must be named; got {check.show(tree)}")
    return Measure(name=name, records=(), of=_MissingFunction(name, function), is_users=True)


class _MissingFunction:
    """Takes the place of a user's function, of which the file holds only the name and a hash."""

    def __init__(self, name: str, function: NamedFunction) -> None:
        self._name = name
        self.function = function

    def __call__(self, result: object) -> float:
        raise TypeError(f"measure {self._name!r} is a function, which a file cannot hold")


def list_missing(spec: Spec) -> list[str]:
    """List the functions and the large arrays of a study, which its file does not hold."""
    values = {f"base.{name}": value for name, value in spec.base.items()}
    values |= {f"grid.{name}": value for name, value in [*spec.axes.items(), *spec.derived.items()]}
    paths = [path for path, value in values.items() if _is_missing(value)]
    return [*paths, *(f"measure {item.name}" for item in spec.measures if _is_missing(item.of))]


def _is_missing(value: object) -> bool:
    """Tell whether the file lacks a value, or one of its items, and holds only a name or hash."""
    if isinstance(value, Listed):
        value = value.items
    if isinstance(value, tuple):
        return any(_is_missing(item) for item in value)
    return isinstance(value, (Absent, NamedFunction, _MissingFunction))


def decode_value(tree: Any) -> Any:
    """Decode a value; an array or function becomes a placeholder if the tree has only its hash."""
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


def check_extends(old: Tree, new: Tree, cells: Sequence[Cell], study_folder: StudyFolder) -> None:
    r"""Raise ValueError unless a study equals an older study plus added axis values and seeds.

    If the two studies differ in anything else, the rows of the older study are not valid for the
    new study. The cells are compared too: if an axis has lost a value or a function has changed,
    the new study lacks a cell of the older study.
    """
    folder, file = str(study_folder.folder), str(study_folder.file)
    with files.name_file_in_errors(f"{file!r} is a broken {KIND}"):
        old_cells = tuple(cells_of(restore(old, file)))
    for path, before, now in _find_changes(old, new):
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
    keyed = {name: tree for name, tree in old["grid"].items() if name not in old["common"]}
    _check_written(keyed, new["grid"], folder)


def _check_written(old: Tree, new: Tree, folder: str) -> None:
    """Raise ValueError unless the values of axes are written as before.

    The keys of random numbers contain the values as they were written: ``8`` and ``"4 * k"`` may
    name the same cell, but have different random numbers.
    """
    for name, tree in old.items():
        present = {_written(value) for value in new[name].get("values", [])}
        for value in tree.get("values", []):
            if _written(value) not in present:
                raise ValueError(
                    f"the study in {folder!r} has grid.{name} = "
                    f"{files.shorten(codec.text(value))}; this one has not: write it as before, "
                    "or use another folder"
                )


def _written(value: Any) -> str:
    """Return an encoded value as text, which keeps the order of the fields of an object."""
    return json.dumps(value) if isinstance(value, dict) else to_text(value)


def _find_changes(old: Tree, new: Tree) -> Iterator[tuple[str, str, str]]:
    r"""Yield (path, old text, new text) of each difference, except changes of values and seeds.

    Values of axes, values of functions and seeds are not compared. A text is empty if one of the
    two studies lacks the name.
    """
    for part in ("base", "grid"):
        for name in {**old[part], **new[part]}:
            if not (name in old[part] and name in new[part]):  # no get(), since None may be a value
                trees = (old[part], new[part])
                before, now = (codec.text(t[name]) if name in t else "" for t in trees)
                yield f"{part}.{name}", before, now
                continue
            before, now = old[part][name], new[part][name]
            # Axes and functions may have more values than before; `check_extends` compares these
            # values as parts of cells.
            growing = part == "grid" and {*before} == {*now}
            if not (growing and ("values" in now or "computed" in now)):
                yield from codec.differences(before, now, f"{part}.{name}")
    yield from _find_changed_measures(old["measure"], new["measure"])
    for part in ("keep", "keep_rows", "common"):
        yield from codec.differences(old[part], new[part], part)


def _find_changed_measures(old: list[Any], new: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the differences between two lists of encoded measures: in names, or in functions."""
    names = [[codec.text(item) for item in measures] for measures in (old, new)]
    if _measure_names(old) != _measure_names(new):
        yield "measure", str(_measure_names(old)), str(_measure_names(new))
        return
    for name, before, now in zip(_measure_names(new), *names, strict=True):
        if before != now:
            yield f"measure {name!r}", before, now


def _measure_names(measures: list[Any]) -> list[str]:
    """List the names of encoded measures."""
    return [item["name"] if isinstance(item, dict) else str(item) for item in measures]
