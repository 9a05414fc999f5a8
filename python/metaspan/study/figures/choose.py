r"""Figures that suit a study, chosen by what it varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..design.stopping import set_by_stop
from .labels import equations
from .lines import lines
from .points import depends, factor

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

COST = ("seconds",)  # what a run costs is no finding
MOST_HUES = 8
MOST_COLUMNS = 4


def auto_figures(
    table: pandas.DataFrame, names: Sequence[str], measures: Sequence[str]
) -> list[tuple[str, Figure]]:
    r"""Draw every measure of a study over what it varies.

    The name with the most numbers is the axis, or the name with the most values where none holds
    numbers; the next is the colour, if it has at most 8 values, and the next gives axes side by
    side, if it has at most 4. All others are held at their first value, as the caption says.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study, a row per cell and seed.
    names : sequence of str
        Names that the study varies.
    measures : sequence of str
        Columns to draw; ``"seconds"`` is left out, and so is a measure without any value but
        those that the stop rule set.

    Returns
    -------
    list of (str, matplotlib.figure.Figure)
        Captions in plain text and figures; none where nothing varies.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if not len(table):
        return []
    x, hue, col = _roles(table, names)
    if x is None:
        return []
    table, held = _hold(table, names, (x, hue, col))
    several = len(factor(table, "seed").values) > 1
    drawn = []
    for measure in measures:
        values = np.asarray(table[measure], dtype=np.float64)
        if measure not in COST and (np.isfinite(values) & ~set_by_stop(table, measure)).any():
            figure = lines(table, x, measure, hue=hue, col=col, names=names)
            drawn.append((_caption(measure, (x, hue, col), held, figure, several), figure))
    return drawn


def unseen(
    table: pandas.DataFrame, names: Sequence[str], shown: tuple[str, str | None, str | None]
) -> tuple[str | None, pandas.DataFrame, str]:
    r"""Find a place for names that vary and that a figure was not told to show.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study.
    names : sequence of str
        Names that the study varies.
    shown : (str, str or None, str or None)
        Those that the axis, the colour and the columns show.

    Returns
    -------
    str or None
        The name that the columns show: the first that had no place, where they were free.
    pandas.DataFrame
        The rows in which all others have their first value.
    str
        What is held, in words; empty where nothing is.
    """
    x, hue, col = shown
    known = [name for name in shown if name is not None]
    if col is None and all(name in table.columns for name in known):
        free = [name for name in names if not depends(table, name, known)]
        few = [name for name in free if len(factor(table, name).values) <= MOST_COLUMNS]
        col = few[0] if few else None
    table, held = _hold(table, names, (x, hue, col))
    return col, table, ", ".join(held)


def _hold(
    table: pandas.DataFrame, names: Sequence[str], shown: Sequence[str | None]
) -> tuple[pandas.DataFrame, list[str]]:
    """Rows in which the names that are not shown have their first value, and which that is."""
    known = [name for name in shown if name is not None and name in table.columns]
    held = []
    for name in names:
        if not depends(table, name, known):
            column = factor(table, name)
            first = int(column.codes[0])
            table = table[column.codes == first]
            held.append(equations(name, column.values, math_text=False)[first])
            held[-1] = held[-1] if held[-1].startswith(f"{name} = ") else f"{name}: {held[-1]}"
    return table, held


def _roles(
    table: pandas.DataFrame, names: Sequence[str]
) -> tuple[str | None, str | None, str | None]:
    """Which names become the axis, the colour and the columns."""
    factors = {name: factor(table, name) for name in names}
    size = {name: len(one.values) for name, one in factors.items() if len(one.values) > 1}
    if not size:
        return None, None, None
    numeric = [name for name in size if factors[name].numbers is not None]
    x = max(numeric or size, key=lambda name: size[name])
    shown = [x]
    chosen: list[str | None] = []
    for most in (MOST_HUES, MOST_COLUMNS):
        free = [n for n in size if size[n] <= most and n not in shown]
        free = [n for n in free if not depends(table, n, shown)]
        found = max(free, key=lambda name: size[name]) if free else None
        chosen.append(found)
        shown += [found] if found else []
    return x, chosen[0], chosen[1]


def _caption(
    measure: str,
    roles: tuple[str, str | None, str | None],
    held: Sequence[str],
    figure: Figure,
    several: bool,
) -> str:
    """What a figure shows, in words."""
    x, hue, col = roles
    text = f"{measure} against {x}"
    by = [f"{name} by {how}" for name, how in ((hue, "colour"), (col, "columns")) if name]
    text += f", {' and '.join(by)}" if by else ""
    text += f"; {', '.join(held)}" if held else ""
    if not several:
        return f"{text}."
    mean = "Geometric means" if figure.axes[0].get_yscale() == "log" else "Means"
    return f"{text}. {mean} over seeds, with their 95 % Student-t intervals."
