r"""The report on a study: its figures, the laws through its measures, and what it was."""

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

LEAST = 3  # values of a name from which a law of it is a finding
MOST_SHOWN = 12  # values of an axis that are written out
DRAWS = 2 * 10**7  # rows times resamples that a law is worth


def report_on(
    status: StudyStatus,
    spec: Spec,
    cells: Sequence[Cell],
    table: pandas.DataFrame,
    path: Path,
) -> None:
    """Write the report on a study of which some runs have ended."""
    measures = [one.name for one in spec.measures]
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
        configuration=list(_configuration(spec)),
        figures=auto_figures(table, tuple(spec.axes), measures),
        notes=[*_laws(table, spec, measures), *_stopped(table, measures), *_failures(status)],
        table=table,
        versions={
            "rows made by": ", ".join(f"metaspan {name}" for name in status.versions),
            "report made with": f"Python {platform.python_version()}, NumPy {np.__version__}",
        },
    )


def _configuration(spec: Spec) -> Iterator[tuple[str, str]]:
    """Names and values as the study was given them."""
    for name, value in spec.base.items():
        yield name, _text(value)
    for name in spec.varied:
        if name in spec.axes:
            values = spec.axes[name]
            shown = [_text(value) for value in values[:MOST_SHOWN]]
            yield name, ", ".join([*shown, *(["..."] if values[MOST_SHOWN:] else [])])
        else:
            yield name, _text(spec.derived[name])
    yield "seeds", str(len(spec.seeds))
    measures = tuple(measure.name for measure in spec.measures)
    for name, words in {"measure": measures, "keep": spec.keep, "common": spec.common}.items():
        if words:
            yield name, ", ".join(words)


def _text(value: Any) -> str:
    """A value as it was given."""
    if hasattr(value, "text"):
        return str(value.text)
    if hasattr(value, "kind"):
        return f"{value.kind}({', '.join(f'{n}={_text(v)}' for n, v in value.fields.items())})"
    if hasattr(value, "function"):
        return f"a function of {', '.join(sorted(value.names))}"
    return value_labels([value], math_text=False)[0]


def _laws(table: pandas.DataFrame, spec: Spec, measures: Sequence[str]) -> Iterator[str]:
    """Laws of every measure: of its one numeric axis, or a product of powers of several."""
    words = [name for name in spec.axes if table[name].dtype.kind not in "if"]
    for measure in measures:
        for title, part in _parts(table, words) if measure != "seconds" else ():
            rows = part[np.isfinite(part[measure]) & ~set_by_stop(part, measure)]
            axes = [
                name
                for name in spec.axes
                if name not in words and rows[name].nunique() > 1 and rows[name].min() > 0
            ]
            y, draws = rows[measure], min(1000, max(100, DRAWS // max(len(rows), 1)))
            try:
                if len(axes) > 1:
                    found = str(fit_powers({name: rows[name] for name in axes}, y, resamples=draws))
                elif axes and rows[axes[0]].nunique() >= LEAST:
                    found = str(fit_laws(rows[axes[0]], y, resamples=draws))
                else:
                    continue
            except ValueError:  # values that are not positive, or axes that move together
                continue
            yield f"{measure} over {', '.join(axes)}{title}:\n{found}"


def _parts(
    table: pandas.DataFrame, others: Sequence[str]
) -> Iterator[tuple[str, pandas.DataFrame]]:
    """The table, or its parts by the values of one name that is no number."""
    if not others:
        yield "", table
    elif len(others) == 1:
        column = factor(table, others[0])
        for i, label in enumerate(value_labels(column.values, others[0], math_text=False)):
            yield f", {label}", table[column.codes == i]


def _stopped(table: pandas.DataFrame, measures: Sequence[str]) -> Iterator[str]:
    for measure in measures:
        if count := int(set_by_stop(table, measure).sum()):
            yield (
                f"{measure}: the stop rule set the values of {count} of {len(table)} runs, which "
                f"no law takes: {INSTEAD}"
            )


def _failures(status: StudyStatus) -> Iterator[str]:
    for said, count in [*status.errors.items()][:5]:
        yield f"{count} runs failed: {said}"
