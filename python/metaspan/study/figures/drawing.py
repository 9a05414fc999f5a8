r"""Draws a figure of a study with its predictions, its heading and its caption."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..design.cells import Cell
from ..design.spec import Spec
from .captions import attach_caption
from .choose import place_hidden
from .frames import write_heading
from .lines import lines
from .theory import CELL, add_predictions

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


def draw(
    spec: Spec,
    cells: Sequence[Cell],
    table: pandas.DataFrame,
    x: str,
    y: str,
    *,
    hue: str | None,
    col: str | None,
    fit: bool,
    predictions: str | Sequence[str] | None,
    **options: Any,
) -> Figure:
    r"""Draw a measure of a study against a varied name; see `Study.plot`.

    Parameters
    ----------
    spec : Spec
        The study.
    cells : sequence of Cell
        Cells of the table.
    table : pandas.DataFrame
        Table of the study; its column `CELL` numbers the cells.
    x, y, hue, col, fit, predictions : object
        As for `Study.plot`.
    **options : object
        Further arguments of `lines`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with the attributes `caption` and `caption_latex`.
    """
    names = tuple(spec.axes)
    col, table, held = place_hidden(table, names, (x, hue, col))
    labels: tuple[str, ...] = ()
    if predictions is not None:
        measure = next((measure for measure in spec.measures if measure.name == y), None)
        table, labels, reason = add_predictions(table, predictions, measure, cells, spec.seeds)
        if reason:
            warnings.warn(f"the theory predicts nothing for {y}: {reason}", stacklevel=3)
    figure = lines(
        table, x, y, hue=hue, col=col, fit=fit, names=names, predictions=labels, **options
    )
    write_heading(figure, held)
    shown = [cells[i] for i in sorted(set(table[CELL]))]
    beyond = options.get("extrapolate") is not None
    roles = (x, hue, col)
    attach_caption(figure, spec, shown, y, roles, fit=fit, extrapolate=beyond, predictions=labels)
    return figure
