r"""Draws heat maps: colours show means over seeds, for all pairs of values of two varied names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import check
from ..._support.looks import FONT, INK
from .frames import make_axes, name_axis, write_caption, write_title
from .labels import equations, name_label, number_label, value_labels
from .points import Factor, Points, make_points, refuse_hidden, refuse_many, stop_note
from .ticks import Side, separate_ticks, set_plain_ticks, set_ticks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = "viridis"
MOST_COLUMNS = 8
MOST_VALUES = 60  # most values along an axis
MOST_TEXTS = 10  # most values along an axis of a map whose cells contain numbers
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
    r"""Draw a map of two varied names whose colours show the mean of a measure over seeds.

    If all values of the measure are positive and span more than a decade, means are geometric and
    the scale of colours is logarithmic. If only some runs of a cell of the map have a value, the
    cell is hatched; in a map whose cells contain numbers, the cell shows how many runs have a value
    instead. A cell is grey and cross-hatched if none of its runs has a value. A cell is white if it
    has no runs.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study, a row per cell and seed.
    x, y : str
        Columns of two varied names; each value has its own column or row of the map.
    value : str
        Column of the measure.
    col : str or None
        Column of the table; each of its values has its own map, and all maps share one scale of
        colours.
    names : sequence of str
        Names that the study varies independently. An error is raised if the map would average over
        one of these names.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which needs no display; save it with ``figure.savefig("heat.pdf")``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If the column `value` does not hold numbers.
    ValueError
        If a column is missing, one of `names` varies without being shown, or a name has too many
        values: more than 60 for `x` or `y`, or 8 for `col`.

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
    points = make_points(
        table, x, value, hue=y, col=col, band=None, roles=("x", "value", "y", "col")
    )
    refuse_hidden(table, (x, y, col), names)
    for role, by, most in (("x", points.x, MOST_VALUES), ("y", points.hue, MOST_VALUES)):
        refuse_many(role, by, most)
    refuse_many("col", points.col, MOST_COLUMNS)
    figure, axes = make_axes(len(points.col.values))
    colors = _make_scale(points)
    titles = equations(col, points.col.values) if col is not None else [""]
    for c, (ax, text) in enumerate(zip(axes, titles, strict=True)):
        _draw_cells(ax, points, c, colors)
        name_axis(ax, "x", name_label(x))
        write_title(ax, text)
    _name_values(axes[0], "y", points.hue)
    name_axis(axes[0], "y", name_label(y))
    if colors is not None:
        bar = figure.colorbar(colors, ax=axes, pad=0.02, aspect=25)
        bar.outline.set_visible(False)
        bar.ax.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9.5)
        bar.ax.tick_params(labelfontfamily=FONT)
        name_axis(bar.ax, "y", name_label(value))
        set_plain_ticks(bar.ax, "y")
    write_caption(figure, _explain(points, value))
    separate_ticks(figure, axes, words=points.x.numbers is None)
    return figure


def _make_scale(points: Points) -> Any:
    """Make the scale of colours; None if no cell has a mean."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import LogNorm, Normalize  # noqa: PLC0415

    means = points.mean[points.counted > 0]
    if not means.size:
        return None
    low, high = float(means.min()), float(means.max())
    if low == high:
        low, high = (low / 2, high * 2) if points.log else (low - 1, high + 1)
    return ScalarMappable((LogNorm if points.log else Normalize)(low, high), COLORS)


def _draw_cells(ax: Axes, points: Points, c: int, colors: Any) -> None:
    """Draw one map, with numbers in its cells if the map has few rows and columns."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    rows, columns = points.mean.shape[1:]
    written = max(rows, columns) <= MOST_TEXTS
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(which="both", length=0)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    _name_values(ax, "x", points.x)
    for place in np.ndindex(rows, columns):
        cell = (c, *place)
        corner = (place[1] - 0.5, place[0] - 0.5)
        if not points.runs[cell]:
            continue
        look: dict[str, Any] = {"fc": "#F2F2F2", "ec": EDGE, "hatch": "xxx", "lw": 0}
        if points.counted[cell]:
            fill = colors.to_rgba(points.mean[cell])
            dark = np.dot(fill[:3], (0.2126, 0.7152, 0.0722)) < 0.55
            ink = "white" if dark else INK
            look = {"fc": fill, "ec": ink, "hatch": "//" if points.partial[cell] else None, "lw": 0}
            if written:
                look["hatch"] = None
                text = ax.text(
                    place[1],
                    place[0],
                    _cell_text(points, cell),
                    color=ink,
                    ha="center",
                    va="center",
                )
                text.set(family=FONT, fontsize=8.5, va="center", math_fontfamily="stix")
        ax.add_patch(Rectangle(corner, 1, 1, **look))
    width = 1.0 if written else 0.4
    for at in range(1, columns):
        ax.axvline(at - 0.5, color="white", lw=width)
    for at in range(1, rows):
        ax.axhline(at - 0.5, color="white", lw=width)


def _name_values(ax: Axes, side: Side, by: Factor) -> None:
    """Label at most MOST_TICKS values of an axis, evenly spaced."""
    every = -(-len(by.values) // MOST_TICKS)
    at = np.arange(0, len(by.values), every)
    set_ticks(ax, side, at, value_labels(by.values, by.name)[::every])


def _cell_text(points: Points, cell: tuple[int, ...]) -> str:
    """Format the mean of a cell; if some runs have no value, add how many runs have a value."""
    mean = points.mean[cell]
    plain = mean != 0 and 1e-3 <= abs(mean) < 1e3
    text = f"{mean:#.3g}".rstrip(".") if plain else number_label(float(f"{mean:.3g}"))
    if points.partial[cell]:
        text += f"\n{points.counted[cell]}/{points.runs[cell]}"
    return text


def _explain(points: Points, value: str) -> str:
    """Explain hatching and numbers of runs, and count values that the end of the run determined."""
    parts = []
    if points.partial.any():
        counts = points.counted[points.partial][0], points.runs[points.partial][0]
        shown = "{}/{}: {} of {}".format(*counts, *counts)
        small = max(points.mean.shape[1:]) <= MOST_TEXTS
        parts.append(f"{shown} runs have a value" if small else "hatched: not all runs count")
    if points.nothing.any():
        parts.append("cross-hatched: no run has a value")
    if not points.runs.all():
        parts.append("white: no runs")
    parts += [note] if (note := stop_note(points, value)) else []
    return "; ".join(parts)
