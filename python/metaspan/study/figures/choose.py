r"""Chooses and draws figures of a study, depending on the names that the study varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..design.stopping import set_by_stop
from .labels import equations
from .lines import lines
from .points import factor, is_function_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

COST = ("seconds",)  # not drawn in a report, since time is not a result of the method
MOST_HUES = 8
MOST_COLUMNS = 4


def auto_figures(
    table: pandas.DataFrame, names: Sequence[str], measures: Sequence[str]
) -> list[tuple[str, Figure]]:
    r"""Draw every measure of a study against the names that the study varies.

    The x axis shows the numeric name with the most values. If no name has numeric values, the x
    axis shows the name with the most values. Among the remaining names with at most 8 values,
    colour shows the one with the most values. Among the names that are still left and have at most
    4 values, columns of axes show the one with the most values. Every other name is held at its
    first value, which the caption gives.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study, a row per cell and seed.
    names : sequence of str
        Names that the study varies.
    measures : sequence of str
        Columns to draw. ``"seconds"`` is left out. A measure is also left out if the stop rule
        determined all its values.

    Returns
    -------
    list of (str, matplotlib.figure.Figure)
        Pairs of a caption, in plain text, and a figure; the list is empty if no name varies.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if not len(table):
        return []
    x, hue, col = _choose_roles(table, names)
    if x is None:
        return []
    table, held = _hold(table, names, (x, hue, col))
    several = len(factor(table, "seed").values) > 1
    drawn = []
    for measure in measures:
        values = np.asarray(table[measure], dtype=np.float64)
        if measure not in COST and (np.isfinite(values) & ~set_by_stop(table, measure)).any():
            figure = lines(table, x, measure, hue=hue, col=col, names=names)
            drawn.append((_write_caption(measure, (x, hue, col), held, figure, several), figure))
    return drawn


def place_hidden(
    table: pandas.DataFrame, names: Sequence[str], shown: tuple[str, str | None, str | None]
) -> tuple[str | None, pandas.DataFrame, str]:
    r"""Choose the name that the columns show if none is given; hold the names that are not shown.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study.
    names : sequence of str
        Names that the study varies.
    shown : (str, str or None, str or None)
        Names that the x axis, the colour and the columns show.

    Returns
    -------
    str or None
        Name that the columns show: the given name, or else the first name that is not shown
        otherwise and has few values.
    pandas.DataFrame
        The rows in which all other names have their first values.
    str
        The other names and their first values, in words; empty if there are no other names.
    """
    x, hue, col = shown
    known = [name for name in shown if name is not None]
    if col is None and all(name in table.columns for name in known):
        free = [name for name in names if not is_function_of(table, name, known)]
        few = [name for name in free if len(factor(table, name).values) <= MOST_COLUMNS]
        col = few[0] if few else None
    table, held = _hold(table, names, (x, hue, col))
    return col, table, ", ".join(held)


def _hold(
    table: pandas.DataFrame, names: Sequence[str], shown: Sequence[str | None]
) -> tuple[pandas.DataFrame, list[str]]:
    r"""Select the rows in which all names that are not shown have their first values.

    A figure averages over seeds alone: averages over different cells would hide how a measure
    depends on a name.
    """
    known = [name for name in shown if name is not None and name in table.columns]
    held = []
    for name in names:
        if not is_function_of(table, name, known):
            column = factor(table, name)
            first = int(column.codes[0])
            table = table[column.codes == first]
            held.append(equations(name, column.values, math_text=False)[first])
            held[-1] = held[-1] if held[-1].startswith(f"{name} = ") else f"{name}: {held[-1]}"
    return table, held


def _choose_roles(
    table: pandas.DataFrame, names: Sequence[str]
) -> tuple[str | None, str | None, str | None]:
    r"""Choose the names that the x axis, the colour and the columns show.

    A name that is a function of names already chosen is not chosen, because it would show nothing
    new.
    """
    factors = {name: factor(table, name) for name in names}
    size = {name: len(by.values) for name, by in factors.items() if len(by.values) > 1}
    if not size:
        return None, None, None
    numeric = [name for name in size if factors[name].numbers is not None]
    x = max(numeric or size, key=lambda name: size[name])
    shown = [x]
    chosen: list[str | None] = []
    for most in (MOST_HUES, MOST_COLUMNS):
        free = [n for n in size if size[n] <= most and n not in shown]
        free = [n for n in free if not is_function_of(table, n, shown)]
        longest = max(free, key=lambda name: size[name]) if free else None
        chosen.append(longest)
        shown += [longest] if longest else []
    return x, chosen[0], chosen[1]


def _write_caption(
    measure: str,
    roles: tuple[str, str | None, str | None],
    held: Sequence[str],
    figure: Figure,
    several: bool,
) -> str:
    """Describe in words what a figure shows."""
    x, hue, col = roles
    text = f"{measure} against {x}"
    by = [f"{name} by {how}" for name, how in ((hue, "colour"), (col, "columns")) if name]
    text += f", {' and '.join(by)}" if by else ""
    text += f"; {', '.join(held)}" if held else ""
    if not several:
        return f"{text}."
    mean = "Geometric means" if figure.axes[0].get_yscale() == "log" else "Means"
    return f"{text}. {mean} over seeds, with their 95 % Student-t intervals."
