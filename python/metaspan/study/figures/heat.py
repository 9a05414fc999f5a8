r"""Heat maps of a study: means over seeds as colours, over two varied names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import check
from ..._support.looks import FONT, INK
from .frames import Side, caption, name_axis, row_of_axes, ticks_at, title
from .labels import equations, name_label, number_label, value_labels
from .points import Factor, Points, points, refuse_hidden, refuse_many, stop_note

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = "viridis"
MOST_COLUMNS = 8
MOST_VALUES = 60  # along an axis
MOST_TEXTS = 10  # values along an axis for which cells hold their numbers
MOST_TICKS = 12
EDGE = "#B0B0B0"


def heat(
    table: pandas.DataFrame,
    x: str,
    y: str,
    value: str,
    *,
    col: str | None = None,
    names: Sequence[str] = (),
) -> Figure:
    r"""Draw a measure over two varied names: means over seeds as colours.

    Means of a measure that is positive and spans more than a decade are geometric, on a logarithmic
    scale of colours. Cells of which only a part of the runs has a value are hatched once, cells of
    which none has are grey and cross-hatched, and cells without runs are left white.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study, a row per cell and seed.
    x, y : str
        Columns: two varied names, the values of which are categories.
    value : str
        Column: the measure.
    col : str or None
        Column with axes for each value, on the same scale of colours.
    names : sequence of str
        Names that the study varies independently: none may be averaged over.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which needs no display.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `value` does not hold numbers.
    ValueError
        If a column is missing, one of `names` varies without being shown, or a name takes too many
        values.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"d": [10, 10, 100, 100], "k": [2, 5, 2, 5], "seed": 0,
    ...                       "dist": [0.01, 0.02, 0.1, 0.2]})
    >>> len(heat(table, "d", "k", "dist").axes)  # the map and its scale of colours
    2
    """
    if not isinstance(y, str):
        raise TypeError(f"y must be the name of a column; got {check.show(y)}")
    found = points(table, x, value, hue=y, col=col, band=None, roles=("x", "value", "y", "col"))
    refuse_hidden(table, (x, y, col), names)
    for role, by, most in (("x", found.x, MOST_VALUES), ("y", found.hue, MOST_VALUES)):
        refuse_many(role, by, most)
    refuse_many("col", found.col, MOST_COLUMNS)
    figure, axes = row_of_axes(len(found.col.values))
    colors = _scale(found)
    titles = equations(col, found.col.values) if col is not None else [""]
    for c, (ax, text) in enumerate(zip(axes, titles, strict=True)):
        _cells(ax, found, c, colors)
        name_axis(ax, "x", name_label(x))
        title(ax, text)
    _name_values(axes[0], "y", found.hue)
    name_axis(axes[0], "y", name_label(y))
    if colors is not None:
        bar = figure.colorbar(colors, ax=axes, pad=0.02, aspect=25)
        bar.outline.set_visible(False)
        bar.ax.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9.5)
        bar.ax.tick_params(labelfontfamily=FONT)
        name_axis(bar.ax, "y", name_label(value))
    caption(figure, _meaning(found, value))
    return figure


def _scale(found: Points) -> Any:
    """Colours of means; None where there are none."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import LogNorm, Normalize  # noqa: PLC0415

    means = found.mean[found.counted > 0]
    if not means.size:
        return None
    low, high = float(means.min()), float(means.max())
    if low == high:
        low, high = (low / 2, high * 2) if found.log else (low - 1, high + 1)
    return ScalarMappable((LogNorm if found.log else Normalize)(low, high), COLORS)


def _cells(ax: Axes, found: Points, c: int, colors: Any) -> None:
    """One map: its cells, and numbers inside where there are few."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    rows, columns = found.mean.shape[1:]
    written = max(rows, columns) <= MOST_TEXTS
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(which="both", length=0)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    _name_values(ax, "x", found.x)
    for place in np.ndindex(rows, columns):
        cell = (c, *place)
        corner = (place[1] - 0.5, place[0] - 0.5)
        if not found.runs[cell]:
            continue
        look: dict[str, Any] = {"fc": "#F2F2F2", "ec": EDGE, "hatch": "xxx", "lw": 0}
        if found.counted[cell]:
            fill = colors.to_rgba(found.mean[cell])
            dark = np.dot(fill[:3], (0.2126, 0.7152, 0.0722)) < 0.55
            ink = "white" if dark else INK
            look = {"fc": fill, "ec": ink, "hatch": "//" if found.partial[cell] else None, "lw": 0}
            if written:
                look["hatch"] = None
                text = ax.text(
                    place[1], place[0], _number(found, cell), color=ink, ha="center", va="center"
                )
                text.set(family=FONT, fontsize=8.5, va="center", math_fontfamily="stix")
        ax.add_patch(Rectangle(corner, 1, 1, **look))
    width = 1.0 if written else 0.4
    for at in range(1, columns):
        ax.axvline(at - 0.5, color="white", lw=width)
    for at in range(1, rows):
        ax.axhline(at - 0.5, color="white", lw=width)


def _name_values(ax: Axes, side: Side, by: Factor) -> None:
    """Ticks at the values, or at every so many of them."""
    every = -(-len(by.values) // MOST_TICKS)
    at = np.arange(0, len(by.values), every)
    ticks_at(ax, side, at, value_labels(by.values, by.name)[::every])


def _number(found: Points, cell: tuple[int, ...]) -> str:
    """The mean in a cell, and how many runs are behind it where they are not all."""
    mean = found.mean[cell]
    plain = mean != 0 and 1e-3 <= abs(mean) < 1e3
    text = f"{mean:#.3g}".rstrip(".") if plain else number_label(float(f"{mean:.3g}"))
    if found.partial[cell]:
        text += f"\n{found.counted[cell]}/{found.runs[cell]}"
    return text


def _meaning(found: Points, value: str) -> str:
    """What hatches and counts say, and what the stop rule set, where there are any."""
    parts = []
    if found.partial.any():
        counts = found.counted[found.partial][0], found.runs[found.partial][0]
        shown = "{}/{}: {} of {}".format(*counts, *counts)
        small = max(found.mean.shape[1:]) <= MOST_TEXTS
        parts.append(f"{shown} runs have a value" if small else "hatched: not all runs count")
    if found.nothing.any():
        parts.append("cross-hatched: no run has a value")
    if not found.runs.all():
        parts.append("white: no runs")
    parts += [note] if (note := stop_note(found, value)) else []
    return "; ".join(parts)
