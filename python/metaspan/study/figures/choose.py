r"""Chooses and draws figures of a study, depending on the names that the study varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..._support.types import F64
from ..design.stopping import set_by_stop
from .captions import caption_notes, compose_caption, to_unicode
from .labels import equations, name_label
from .lines import lines
from .points import Factor, factor, is_function_of
from .ticks import spans_decades

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

COST = ("seconds",)  # not drawn in a report, since time is not a result of the method
VARIES = 3.0  # if x has a log axis, so has a measure that varies by a larger factor
MOST_HUES = 8
MOST_COLUMNS = 4


def auto_figures(
    table: pandas.DataFrame,
    names: Sequence[str],
    measures: Sequence[str],
    predictions: Mapping[str, Mapping[str, str]] | None = None,
    fixed: Callable[[pandas.DataFrame, Sequence[str | None]], str] | None = None,
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
        Columns to draw. ``"seconds"`` is left out. A measure is also left out if the end of the run
        determined all its values.
    predictions : mapping of str to mapping of str to str, or None
        For each measure, the columns of the table that hold predictions of the measure, by label.
    fixed : callable or None
        Function that takes the rows of a figure and the names that the figure shows, and returns
        the words of the caption about the values that are fixed. None: the caption has no such
        words, but the names that are held at their first values.

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
    roles = (x, hue, col)
    table, held = _hold(table, names, roles)
    words = ", ".join(held) if fixed is None else fixed(table, roles)
    several = len(factor(table, "seed").values) > 1
    drawn = []
    for measure in measures:
        values = np.asarray(table[measure], dtype=np.float64)
        if measure not in COST and (np.isfinite(values) & ~set_by_stop(table, measure)).any():
            columns = {} if predictions is None else predictions.get(measure, {})
            figure = lines(table, x, measure, hue=hue, col=col, names=names, predictions=columns)
            notes = caption_notes(figure, several, fit=False, predictions=list(columns))
            text = to_unicode(compose_caption(measure, roles, words, notes))
            drawn.append((text, figure))
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
        The other names and their first values, for matplotlib; empty if there are no other names.
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
            text, label = equations(name, column.values)[first], name_label(name)
            held.append(text if text.startswith(f"{label} = ") else f"{label}: {text}")
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


def _choose_log(x: Factor, y: F64) -> str | None:
    """Return "xy" if both x and the measure vary by a factor, and None for the default of axes."""
    varies = bool(y.min() > 0 and y.max() / VARIES > y.min())
    return "xy" if varies and spans_decades(x.numbers) else None
