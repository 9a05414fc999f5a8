r"""Collects the contents of a report on a study: figures, fitted laws, arguments and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support.numbers import PLUS_MINUS, rounded, with_error
from ..design.cells import Cell
from ..design.spec import Spec
from ..design.stopping import INSTEAD, set_by_stop
from ..execution.progress import duration
from ..execution.status import StudyStatus
from ..figures.captions import fixed_values
from ..figures.choose import auto_figures
from ..figures.labels import argument_text, value_labels
from ..figures.points import factor
from ..figures.theory import CELL, predict_cells
from ..laws.fits import LAWS, Laws, Powers, fit_laws, fit_powers
from .page import write

if TYPE_CHECKING:
    import pandas

LEAST = 3  # least number of distinct values of an axis: two values fit every law exactly
MOST_SHOWN = 12  # most values of an axis that the report lists
MOST_PREDICTED = 1000  # most cells for which a report computes predictions
NO_POWER = 1e-6  # exponents of predictions below this size are rounding errors
IN_CLOSED_FORM = ("rate", "rounds", "floor")
DRAWS = 2 * 10**7  # largest number of rows times number of resamples in a fit


def report_on(
    status: StudyStatus,
    spec: Spec,
    cells: Sequence[Cell],
    table: pandas.DataFrame,
    path: Path,
) -> None:
    r"""Write the report on a study; at least one run of the study must have ended.

    The column `CELL` of the table numbers the cells.
    """
    measures = [measure.name for measure in spec.measures]
    drawn, predictions = _predict(table, spec, cells)
    ends = ", ".join(f"{count:,} {name}" for name, count in status.statuses.items())
    write(
        path,
        title=status.name,
        overview={
            "runs": f"{status.done:,} of {status.runs:,}: {status.cells:,} cells, "
            f"{len(spec.seeds):,} seeds each",
            "ended": ends,
            "run time": f"{duration(status.seconds)} in all",
            "last row": status.last or "",
        },
        configuration=list(_describe_arguments(spec)),
        figures=auto_figures(
            drawn,
            tuple(spec.axes),
            measures,
            predictions,
            lambda rows, shown: fixed_values(
                spec, [cells[i] for i in sorted(set(rows[CELL]))], shown
            ),
        ),
        notes=[
            *_fit_measures(drawn, spec, measures, predictions),
            *_note_stopped(table, measures),
            *_note_failures(status),
        ],
        table=table.drop(columns=CELL),
        versions={
            "rows made by": ", ".join(f"metaspan {name}" for name in status.versions),
            "report made with": f"Python {platform.python_version()}, NumPy {np.__version__}",
        },
    )


def _predict(
    table: pandas.DataFrame, spec: Spec, cells: Sequence[Cell]
) -> tuple[pandas.DataFrame, dict[str, dict[str, str]]]:
    """Add the predictions of the theory in closed form; return labels and columns by measure."""
    predictions: dict[str, dict[str, str]] = {}
    if len(cells) > MOST_PREDICTED:
        return table, predictions
    for measure in spec.measures:
        present = np.unique(np.asarray(table[CELL]))
        of = [cells[i] for i in present]
        found, _ = predict_cells(IN_CLOSED_FORM, measure, of, spec.seeds, required=False)
        place = np.searchsorted(present, np.asarray(table[CELL]))
        columns = {label: f"{label} of {measure.name}" for label in found}
        table = table.assign(**{columns[label]: by[place, 0] for label, by in found.items()})
        predictions[measure.name] = columns
    return table, predictions


def _describe_arguments(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the name and a text of the value of each argument of a study."""
    for name, value in spec.base.items():
        yield name, argument_text(value)
    for name in spec.varied:
        if name in spec.axes:
            values = spec.axes[name]
            shown = [argument_text(value) for value in values[:MOST_SHOWN]]
            yield name, ", ".join([*shown, *(["..."] if values[MOST_SHOWN:] else [])])
        else:
            yield name, argument_text(spec.derived[name])
    yield "seeds", str(len(spec.seeds))
    measures = tuple(measure.name for measure in spec.measures)
    for name, words in {"measure": measures, "keep": spec.keep, "common": spec.common}.items():
        if words:
            yield name, ", ".join(words)


def _fit_measures(
    table: pandas.DataFrame,
    spec: Spec,
    measures: Sequence[str],
    predictions: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    r"""Fit laws to each measure if one axis varies, or a product of powers if several axes vary.

    Wall-clock time is not fitted, because it depends on the machine. Rows without a value are left
    out, and so are rows whose value the end of the run determined; the fits count them. If an axis
    has values that are not positive numbers, the rows for each of its values are fitted separately.
    If two or more axes have values that are not numbers, nothing is fitted. The same fit to the
    predictions of the theory follows the fit to the measurements.
    """
    apart = [name for name in spec.axes if not _has_powers(table[name])]
    for measure in measures:
        for title, part in _split_table(table, apart) if measure != "seconds" else ():
            kept = np.isfinite(part[measure]) & ~set_by_stop(part, measure)
            rows = part[kept]
            # An axis is used only if its values differ in the remaining rows and are positive,
            # since powers need positive numbers.
            axes = [
                name
                for name in spec.axes
                if name not in apart and rows[name].nunique() > 1 and rows[name].min() > 0
            ]
            if not axes or (len(axes) == 1 and rows[axes[0]].nunique() < LEAST):
                continue
            try:
                fitted = _fit_rows(part, axes, part[measure].where(kept))
            except ValueError:  # the values are not positive, or the axes do not vary independently
                continue
            lines = [f"{measure} over {', '.join(axes)}{title}:", str(fitted)]
            lines += [
                compared
                for label, column in predictions.get(measure, {}).items()
                if (compared := _compare(rows, axes, measure, (label, column), fitted))
            ]
            yield "\n".join(lines)


def _fit_rows(
    rows: pandas.DataFrame, axes: Sequence[str], y: pandas.Series, laws: Sequence[str] = LAWS
) -> Laws | Powers:
    """Fit laws of one axis, or a product of powers of several axes."""
    draws = min(1000, max(100, DRAWS // max(len(rows), 1)))
    if len(axes) > 1:
        return fit_powers({name: rows[name] for name in axes}, y, resamples=draws)
    return fit_laws(rows[axes[0]], y, laws=laws, resamples=draws)


def _compare(
    rows: pandas.DataFrame,
    axes: Sequence[str],
    measure: str,
    named: tuple[str, str],
    fitted: Laws | Powers,
) -> str:
    """Return a line that compares a fit with the same fit to a prediction; empty if impossible."""
    label, column = named
    known = rows[np.isfinite(rows[column]) & (rows[column] > 0)]
    if len(known) < len(rows):
        return ""
    laws = [fitted.best.name] if isinstance(fitted, Laws) else LAWS
    try:
        theory = _fit_rows(known, axes, known[column], laws)
    except ValueError:
        return ""
    if isinstance(theory, Laws):
        formula = theory.best.formula.partition(" [")[0].rstrip()
    else:
        powers = {name: b for name, b in theory.exponents.items() if abs(b) > NO_POWER}
        product = " ".join(f"{name}^{rounded(b)}" for name, b in powers.items())
        formula = f"y = {rounded(theory.factor)} {product}".rstrip()
    logs = np.log(known[measure] / known[column])
    mean, error = float(np.exp(logs.mean())), float(logs.std(ddof=1) / np.sqrt(len(logs)))
    return (
        f"theory, {label}, at the same cells: {formula}; geometric mean of "
        f"measured over predicted: {with_error(mean, mean * error, PLUS_MINUS)}"
    )


def _has_powers(column: pandas.Series[Any]) -> bool:
    """Whether powers of the values of an axis are numbers, or the axis has one number alone."""
    return column.dtype.kind in "if" and bool(column.nunique() == 1 or column.min() > 0)


def _split_table(
    table: pandas.DataFrame, apart: Sequence[str]
) -> Iterator[tuple[str, pandas.DataFrame]]:
    """Yield (title, rows) for all values of the axes `apart`; nothing if two are not numbers."""
    if sum(table[name].dtype.kind not in "if" for name in apart) > 1:
        return
    if not apart:
        yield "", table
        return
    column = factor(table, apart[0])
    numeric = table[apart[0]].dtype.kind in "if"
    for i, label in enumerate(value_labels(column.values, apart[0], math_text=False)):
        title = f", {apart[0]} = {label}" if numeric else f", {label}"
        for rest, rows in _split_table(table[column.codes == i], apart[1:]):
            yield title + rest, rows


def _note_stopped(table: pandas.DataFrame, measures: Sequence[str]) -> Iterator[str]:
    """Yield, for each measure, a sentence that counts the values that the ends of runs set."""
    for measure in measures:
        if count := int(set_by_stop(table, measure).sum()):
            yield (
                f"{measure}: the end of the run set the values of {count} of {len(table)} runs, "
                f"which no law takes: {INSTEAD}"
            )


def _note_failures(status: StudyStatus) -> Iterator[str]:
    """Yield, for each frequent error message, a text that counts the runs that failed with it."""
    for message, count in [*status.errors.items()][:5]:
        yield f"{count} runs failed: {message}"
