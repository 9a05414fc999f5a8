r"""Collects the contents of a report on a study: figures, fitted laws, arguments and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..design.cells import Cell
from ..design.spec import Spec
from ..design.stopping import INSTEAD, set_by_stop
from ..execution.progress import duration
from ..execution.status import StudyStatus
from ..figures.choose import auto_figures
from ..figures.labels import value_labels
from ..figures.points import factor
from ..laws.fits import fit_laws, fit_powers
from .page import write

if TYPE_CHECKING:
    import pandas

LEAST = 3  # least number of distinct values of an axis: two values fit every law exactly
MOST_SHOWN = 12  # most values of an axis that the report lists
DRAWS = 2 * 10**7  # largest number of rows times number of resamples in a fit


def report_on(
    status: StudyStatus,
    spec: Spec,
    cells: Sequence[Cell],
    table: pandas.DataFrame,
    path: Path,
) -> None:
    """Write the report on a study; at least one run of the study must have ended."""
    measures = [measure.name for measure in spec.measures]
    ends = ", ".join(f"{count} {name}" for name, count in status.statuses.items())
    write(
        path,
        title=status.name,
        overview={
            "runs": f"{status.done} of {status.runs}: {status.cells} cells, "
            f"{len(spec.seeds)} seeds each",
            "ended": ends,
            "run time": f"{duration(status.seconds)} in all",
            "last row": status.last or "",
        },
        configuration=list(_describe_arguments(spec)),
        figures=auto_figures(table, tuple(spec.axes), measures),
        notes=[
            *_fit_measures(table, spec, measures),
            *_note_stopped(table, measures),
            *_note_failures(status),
        ],
        table=table,
        versions={
            "rows made by": ", ".join(f"metaspan {name}" for name in status.versions),
            "report made with": f"Python {platform.python_version()}, NumPy {np.__version__}",
        },
    )


def _describe_arguments(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the name and a text of the value of each argument of a study."""
    for name, value in spec.base.items():
        yield name, _show(value)
    for name in spec.varied:
        if name in spec.axes:
            values = spec.axes[name]
            shown = [_show(value) for value in values[:MOST_SHOWN]]
            yield name, ", ".join([*shown, *(["..."] if values[MOST_SHOWN:] else [])])
        else:
            yield name, _show(spec.derived[name])
    yield "seeds", str(len(spec.seeds))
    measures = tuple(measure.name for measure in spec.measures)
    for name, words in {"measure": measures, "keep": spec.keep, "common": spec.common}.items():
        if words:
            yield name, ", ".join(words)


def _show(value: Any) -> str:
    """Return the text of a value of the study's arguments, close to what the user wrote."""
    if hasattr(value, "text"):
        return str(value.text)
    if hasattr(value, "kind"):
        return f"{value.kind}({', '.join(f'{n}={_show(v)}' for n, v in value.fields.items())})"
    if hasattr(value, "function"):
        return f"a function of {', '.join(sorted(value.names))}"
    return value_labels([value], math_text=False)[0]


def _fit_measures(table: pandas.DataFrame, spec: Spec, measures: Sequence[str]) -> Iterator[str]:
    r"""Fit laws to each measure if one axis varies, or a product of powers if several axes vary.

    Wall-clock time is not fitted, because it depends on the machine. Rows without a value are left
    out, and so are rows whose value the stop rule determined. If one axis has values that are not
    numbers, the rows for each of its values are fitted separately. If two or more axes have values
    that are not numbers, nothing is fitted.
    """
    words = [name for name in spec.axes if table[name].dtype.kind not in "if"]
    for measure in measures:
        for title, part in _split_table(table, words) if measure != "seconds" else ():
            rows = part[np.isfinite(part[measure]) & ~set_by_stop(part, measure)]
            # An axis is used only if its values differ in the remaining rows and are positive,
            # since powers need positive numbers.
            axes = [
                name
                for name in spec.axes
                if name not in words and rows[name].nunique() > 1 and rows[name].min() > 0
            ]
            y, draws = rows[measure], min(1000, max(100, DRAWS // max(len(rows), 1)))
            try:
                if len(axes) > 1:
                    fitted = str(
                        fit_powers({name: rows[name] for name in axes}, y, resamples=draws)
                    )
                elif axes and rows[axes[0]].nunique() >= LEAST:
                    fitted = str(fit_laws(rows[axes[0]], y, resamples=draws))
                else:
                    continue
            except ValueError:  # the values are not positive, or the axes do not vary independently
                continue
            yield f"{measure} over {', '.join(axes)}{title}:\n{fitted}"


def _split_table(
    table: pandas.DataFrame, others: Sequence[str]
) -> Iterator[tuple[str, pandas.DataFrame]]:
    """Yield the table, or its part for each value of the axis in `others`; nothing for two axes."""
    if not others:
        yield "", table
    elif len(others) == 1:
        column = factor(table, others[0])
        for i, label in enumerate(value_labels(column.values, others[0], math_text=False)):
            yield f", {label}", table[column.codes == i]


def _note_stopped(table: pandas.DataFrame, measures: Sequence[str]) -> Iterator[str]:
    """Yield, for each measure, a sentence that counts the values that the stop rule determined."""
    for measure in measures:
        if count := int(set_by_stop(table, measure).sum()):
            yield (
                f"{measure}: the stop rule set the values of {count} of {len(table)} runs, which "
                f"no law takes: {INSTEAD}"
            )


def _note_failures(status: StudyStatus) -> Iterator[str]:
    """Yield, for each frequent error message, a text that counts the runs that failed with it."""
    for message, count in [*status.errors.items()][:5]:
        yield f"{count} runs failed: {message}"
