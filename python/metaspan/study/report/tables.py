r"""Makes tables from the rows of a study, and writes tables to files."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._support import check, files
from ..design.cells import Cell
from ..design.spec import Spec
from ..design.stopping import SET_BY_STOP, measures_set
from ..execution.store import Row, RunId

if TYPE_CHECKING:
    import pandas


def make_table(
    spec: Spec,
    cells: Sequence[Cell],
    rows: Mapping[RunId, Row],
    *,
    number: str | None = None,
) -> pandas.DataFrame:
    r"""Make a table with one row per ended run; columns: varied names, seed, status, measures.

    If `number` is given, a last column of this name holds the index of the row's cell in `cells`.
    """
    pd = _import_pandas()
    pairs = [
        (cell, row)
        for cell in cells
        for seed in spec.seeds
        if (row := rows.get((cell.name, seed))) is not None
    ]
    columns: dict[str, Any] = {
        name: _to_column([cell.values[name] for cell, _ in pairs]) for name in spec.varied
    }
    columns["seed"] = np.array([row["seed"] for _, row in pairs], dtype=np.int64)
    columns["status"] = [row["status"] for _, row in pairs]
    for measure in spec.measures:
        values = [row.get("measures", {}).get(measure.name) for _, row in pairs]
        columns[measure.name] = np.array(
            [_decode_number(value) for value in values], dtype=np.float64
        )
    if number is not None:
        place = {cell.name: i for i, cell in enumerate(cells)}
        columns[number] = np.array([place[cell.name] for cell, _ in pairs], dtype=np.int64)
    table = pd.DataFrame(columns)
    table.attrs[SET_BY_STOP] = measures_set(
        [measure.name for measure in spec.measures], [cell.arguments for cell in cells]
    )
    table.attrs["errors"] = {i: row["error"] for i, (_, row) in enumerate(pairs) if "error" in row}
    return table


def make_trace_table(
    spec: Spec, cells: Sequence[Cell], rows: Mapping[RunId, Row]
) -> pandas.DataFrame:
    """Make a table of traces with a row per run and kept round: names, seed, round, records."""
    pd = _import_pandas()
    if not spec.keep:
        raise ValueError("the study keeps no trace: give keep=('dist',) or other records")
    names = [*spec.varied, "seed", "round", *spec.keep]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for cell in cells:
        for seed in spec.seeds:
            row = rows.get((cell.name, seed))
            if row is None or "trace" not in row:
                continue
            trace = row["trace"]
            count = len(trace["round"])
            for name in spec.varied:
                columns[name] += [cell.values[name]] * count
            columns["seed"] += [seed] * count
            columns["round"] += trace["round"]
            for name in spec.keep:
                columns[name] += [_decode_number(value) for value in trace[name]]
    return pd.DataFrame({name: _to_column(values) for name, values in columns.items()})


def write_table(table: pandas.DataFrame, path: Path) -> None:
    """Write a table in the format that the file's suffix names."""
    plain = table.copy()
    plain.attrs = {}
    for name in [name for name in plain.columns if plain[name].dtype == object]:
        plain[name] = [v if isinstance(v, str) else " ".join(repr(v).split()) for v in plain[name]]
    content = io.BytesIO()
    if path.suffix == ".csv":
        plain.to_csv(content, index=False, lineterminator="\n")
    elif path.suffix == ".parquet":
        try:
            plain.to_parquet(content, index=False)
        except ImportError as error:
            raise ImportError("Parquet needs pyarrow: pip install 'metaspan[table]'") from error
    else:
        shown = check.show(path.name)
        raise ValueError(f"the table's file must end in .csv or .parquet; got {shown}")
    files.replace(path, content.getvalue())


def _import_pandas() -> Any:
    """Import pandas on demand, because it is optional and slow to import."""
    try:
        import pandas as pd  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("tables need pandas: pip install 'metaspan[table]'") from error
    return pd


def _to_column(values: Sequence[Any]) -> NDArray[Any] | pandas.Series[Any]:
    """Make a column of numbers; if some values are not numbers, make a column of objects."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, dtype=bool)
    if kinds == {int} and max(values, key=abs) < 2**63 and min(values) >= -(2**63):
        return np.array(values, dtype=np.int64)
    if kinds and kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = [None] * len(values)
    for i, value in enumerate(values):
        column[i] = value
    # pandas 3 would make a column of text of words and None, with NaN in place of None.
    return _import_pandas().Series(column, dtype=object) if type(None) in kinds else column


def _decode_number(value: Any) -> float:
    """Decode a number that `encode_number` encoded."""
    return math.nan if value is None else float(value)
