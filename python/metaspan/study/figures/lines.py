r"""Draws lines: means of a measure over seeds against a varied name, with fitted laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import check
from ..._support.looks import DASHES, FONT, MARKERS, PALETTE, SHADES
from ..._support.types import F64
from .frames import (
    draw_legend,
    limit_y,
    make_axes,
    name_axis,
    set_plain_ticks,
    set_ticks,
    write_caption,
    write_title,
)
from .heat import heat
from .labels import equations, name_label, number_label, value_labels
from .points import Factor, Points, make_points, refuse_hidden, refuse_many, stop_note

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..laws.laws import Law, Laws

__all__ = ["heat", "law_label", "lines"]


WIDE = 20.0  # a log axis is used if the largest over the least value, both positive, is larger
DENSE = 30  # with more points on a line, intervals are bands and only some points have markers
MOST_HUES = 24
MOST_COLUMNS = 8
MOST_NOTES = 24  # most counts beside crosses: if there would be more, none is written
FIT_DASHES = (0, (5, 1.5))


def lines(
    table: pandas.DataFrame,
    x: str,
    y: str,
    *,
    hue: str | None = None,
    col: str | None = None,
    fit: bool = False,
    band: float | None = 0.95,
    names: Sequence[str] = (),
) -> Figure:
    r"""Draw the means of a measure over seeds, with their intervals, against a varied name.

    If all values of the measure are positive and span more than a decade, means are geometric and
    the y axis is logarithmic. If only some runs of a point have a value, a cross marks the mean
    over these runs, the number of these runs is written beside the cross, and the lines to the
    cross are dotted. If no run of a point has a value, a cross is drawn on the x axis. An interval
    is drawn as a bar; on a line with many points, a band shows the intervals. Values that the stop
    rule determined are drawn too, and a text below the axes gives the number of these values.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study, a row per cell and seed.
    x, y : str
        Names of two columns of the table: a varied name and a measure. Values of `x` that are not
        numbers are categories.
    hue : str or None
        Column of the table; each of its values has its own line. If the values are numbers, the
        colours of the lines go from dark to light.
    col : str or None
        Column of the table; each of its values has its own axes, and all axes have the same scales.
    fit : bool
        Whether to draw, for each line, the law that `fit_laws` ranks first. The law is fitted to
        the rows of those points at which every run has a value and the stop rule determined no
        value.
    band : float or None
        Coverage of the Student-t intervals of the means, in (0, 1); None: no intervals.
    names : sequence of str
        Names that the study varies independently. An error is raised if the figure would average
        over one of these names.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which needs no display; save it with ``figure.savefig("dist.pdf")``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If the column `y` does not hold numbers.
    ValueError
        If a column is missing, one of `names` varies without being shown, `fit` is true for
        categories or for values that are not positive, or a column has too many values: more than
        24 for `hue`, or 8 for `col`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"d": [10, 10, 100, 100], "seed": [0, 1, 0, 1],
    ...                       "dist": [0.01, 0.011, 0.1, 0.12]})
    >>> lines(table, "d", "dist").axes[0].get_yscale()
    'log'
    """
    points = make_points(table, x, y, hue=hue, col=col, band=band)
    refuse_hidden(table, (x, hue, col), names)
    refuse_many("hue", points.hue, MOST_HUES)
    refuse_many("col", points.col, MOST_COLUMNS)
    laws = _fit_lines(points, y) if check.flag("fit", fit) else {}
    figure, axes = make_axes(len(points.col.values))
    colors = _choose_colors(points.hue)
    _set_scales(axes, points)
    limit_y(axes, points)
    for c, ax in enumerate(axes):
        for h, color in enumerate(colors):
            _draw_line(ax, points, (c, h), color, laws.get((c, h)))
        set_plain_ticks(ax, "x")
        name_axis(ax, "x", name_label(x))
    name_axis(axes[0], "y", name_label(y))
    _write_counts(axes, points, colors)
    _draw_legend(figure, axes, points, colors, laws)
    if col is not None:
        for ax, text in zip(axes, equations(col, points.col.values), strict=True):
            write_title(ax, text)
    write_caption(figure, _explain(points, y, fit))
    return figure


def _choose_colors(hue: Factor) -> list[Any]:
    """Choose a colour for each line: from the shades if the values of `hue` are numbers."""
    count = len(hue.values)
    if hue.numbers is None or count == 1:
        return [PALETTE[i % len(PALETTE)] for i in range(count)]
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    known = np.array([to_rgb(shade) for shade in SHADES])
    at = np.linspace(0, len(SHADES) - 1, count)
    return [
        tuple(np.interp(place, np.arange(len(SHADES)), known[:, i]) for i in range(3))
        for place in at
    ]


def _place_points(points: Points) -> F64:
    """Return x of all points, (values of hue, values of x); over categories, lines are shifted."""
    lines_ = len(points.hue.values)
    if points.x.numbers is not None:
        return np.tile(points.x.numbers, (lines_, 1))
    step = min(0.12, 0.6 / lines_)
    shift = (np.arange(lines_) - (lines_ - 1) / 2) * step
    return np.asarray(np.arange(len(points.x.values)) + shift[:, None])


def _set_scales(axes: Sequence[Axes], points: Points) -> None:
    """Set the scales and ticks of the x axes, and the scale of the y axes."""
    numbers = points.x.numbers
    for ax in axes:
        if points.log:
            ax.set_yscale("log")
        ax.margins(x=0.07)
        if numbers is None:
            names = value_labels(points.x.values, points.x.name)
            set_ticks(ax, "x", np.arange(len(names)), names)
            ax.set_xlim(-0.6, len(points.x.values) - 0.4)
        elif numbers[0] > 0 and numbers[-1] / WIDE > numbers[0]:
            ax.set_xscale("log")
        elif numbers.size <= 6:
            set_ticks(ax, "x", numbers, value_labels(points.x.values, points.x.name))


def _draw_line(
    ax: Axes, points: Points, place: tuple[int, int], color: Any, laws: Laws | None
) -> None:
    """Draw one line with its points, intervals and crosses, and the law fitted to its points."""
    h, at = place[1], _place_points(points)[place[1]]
    mean, whole, partial = points.mean[place], points.whole[place], points.partial[place]
    seen, planned = whole | partial, points.runs[place] > 0
    low, high = mean - points.low[place], points.high[place] - mean
    bars = np.isfinite(low) & np.isfinite(high)
    dense = points.x.numbers is not None and seen.sum() > DENSE
    if bars.any() and dense:
        low, high = points.low[place], points.high[place]
        ax.fill_between(at, low, high, where=bars, color=color, alpha=0.15, lw=0)
    elif bars.any():
        ends = np.maximum([low[bars], high[bars]], 0.0)
        ax.errorbar(at[bars], mean[bars], ends, fmt="none", color=color, elinewidth=1, capsize=2)
    joined = points.x.numbers is not None and laws is None
    if joined and not whole[planned].all():
        ax.plot(at[seen], mean[seen], color=color, lw=0.8, ls=":", zorder=2.9)
    ax.plot(
        at[planned],
        np.where(whole, mean, np.nan)[planned],
        color=color,
        ls=DASHES[h % len(DASHES)] if joined else "none",
        lw=1.4,
        marker=MARKERS[h % len(MARKERS)],
        markevery=(h, max(1, seen.size // 8)) if dense and joined and whole.all() else None,
        ms=2.5 if dense and not (joined and whole.all()) else 5,
        mfc="white",
        mew=1.2,
        solid_capstyle="round",
        zorder=3 + 0.01 * h,
    )
    cross: dict[str, Any] = {
        "color": color,
        "ls": "none",
        "marker": "x",
        "ms": 6.5,
        "mew": 1.7,
        "zorder": 5,
    }
    ax.plot(at[partial], mean[partial], **cross)
    nothing = points.nothing[place[0]]
    if nothing[h].any():
        below = nothing[:h].sum(axis=0) if points.x.numbers is not None else np.zeros(at.size)
        on_axis: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(at[nothing[h]], 0.05 * below[nothing[h]], **cross, **on_axis)
    if laws is not None:
        fitted = at[points.settled[place]]
        first, last = float(fitted[0]), float(fitted[-1])
        space = np.geomspace if ax.get_xscale() == "log" else np.linspace
        shown = np.clip(space(first, last, 200), first, last)
        ax.plot(shown, laws.best(shown), color=color, lw=1.1, ls=FIT_DASHES, zorder=2.95)


def _fit_lines(points: Points, y: str) -> dict[tuple[int, int], Laws]:
    r"""Fit laws to the settled points of each line that has at least two such points.

    A point is settled if every run of the point has a value and the stop rule determined none of
    these values. A run without a value diverged or never reached a tolerance, so the mean over the
    other runs of its point is biased. A value that the stop rule determined says nothing about the
    run.
    """
    from ..laws.fits import LAWS, fit_laws  # noqa: PLC0415

    numbers = points.x.numbers
    if numbers is None:
        raise ValueError(f"fit=True needs numbers for x; {points.x.name} holds others")
    finite = points.y[np.isfinite(points.y)]
    if finite.size and finite.min() <= 0:
        raise ValueError(f"fit=True needs positive values; {y} has {finite.min():g} among them")
    rows = points.settled.ravel()[points.point]
    line = points.point // numbers.size
    fits = {}
    for c in range(len(points.col.values)):
        for h in range(len(points.hue.values)):
            if points.settled[c, h].sum() >= 2:
                of_line = rows & (line == c * len(points.hue.values) + h)
                at = numbers[points.x.codes[of_line]]
                kinds = LAWS if at.min() > 0 else ("exponential",)  # other laws need log x
                fits[c, h] = fit_laws(at, points.y[of_line], laws=kinds)
    return fits


def law_label(law: Law, x: str) -> str:
    r"""Return the text of a law in a legend: the dependence on x, and the interval of b.

    Parameters
    ----------
    law : Law
        A fitted law.
    x : str
        Name of the variable of the law.

    Returns
    -------
    str
        Text for matplotlib, such as ``"$d^{0.50}$ [0.49, 0.51]"``.
    """
    label = name_label(x)
    symbol = label.split("$")[1] if label.count("$") == 2 else "x"
    symbol = rf"({symbol})" if "^" in symbol else symbol
    low, high = law.b_interval
    half = abs(high - low) / 2
    size = max(half, 1e-4 * abs(law.b)) if np.isfinite(half) else abs(law.b) / 10
    digits = int(np.clip(1 - np.floor(np.log10(size)), 0, 12)) if size > 0 else 2
    numbers = [f"{value:.{digits}f}" for value in (law.b, low, high)]
    if abs(law.b) < 1e-3:
        numbers = [number_label(float(f"{value:.2e}"), False) for value in (law.b, low, high)]
    b, low_text, high_text = (number.replace("-", "−") for number in numbers)
    power = b.replace("−", "-")
    text = {
        "power": rf"$\propto\, {symbol}^{{{power}}}$",
        "exponential": rf"$\propto\, \exp({power}\, {symbol})$",
        "logarithm": rf"$a {'' if power.startswith('-') else '+'} {power}\, \log {symbol}$",
    }[law.name]
    return f"{text} [{low_text}, {high_text}]" if np.isfinite(half) else text


def _law_text(laws: Laws, x: str) -> str:
    """Return the text of the best law; add the second law's name if they are not told apart."""
    text = law_label(laws.best, x)
    if laws.told_apart or len(laws.laws) == 1:
        return text
    return f"{text} (not told from {laws.laws[1].name})"


def _draw_legend(
    figure: Figure,
    axes: Sequence[Axes],
    points: Points,
    colors: Sequence[Any],
    laws: Mapping[tuple[int, int], Laws],
) -> None:
    """Draw a legend that names the lines and the laws that are fitted to them."""
    hues = equations(points.hue.name, points.hue.values) if points.hue.name else [""]
    styles: list[dict[str, Any]] = []
    for h, color in enumerate(colors):
        ls = DASHES[h % len(DASHES)] if points.x.numbers is not None else "none"
        styles.append({"color": color, "marker": MARKERS[h % len(MARKERS)], "ls": ls})
    of = {place: _law_text(law, points.x.name) for place, law in laws.items()}
    fitted = {"ls": FIT_DASHES, "lw": 1.1}
    if len(axes) == 1:
        for (_, h), law in of.items():
            hues[h] = f"{hues[h]}: {law}" if hues[h] else law
            styles[h] |= fitted
        crowded = len(hues) > (2 if of or points.x.numbers is None else 4)
        draw_legend(figure, axes[0], hues, styles, outside=crowded)
        return
    styles = [style | {"ls": "none"} for style in styles] if of else styles
    for c, text in enumerate(equations(points.col.name, points.col.values)):
        with_law = [h for h in range(len(colors)) if (c, h) in of]
        if with_law:
            hues += [text, *(of[c, h] for h in with_law)]
            styles += [{"ls": "none"}, *({"color": colors[h], **fitted} for h in with_law)]
    draw_legend(figure, axes[-1], hues, styles, outside=True)


def _write_counts(axes: Sequence[Axes], points: Points, colors: Sequence[Any]) -> None:
    """Write beside each cross how many runs of its point have a value."""
    places = _place_points(points)
    partial = np.argwhere(points.partial)
    for c, h, i in partial if len(partial) <= MOST_NOTES else ():
        axes[c].annotate(
            f"{points.counted[c, h, i]}/{points.runs[c, h, i]}",
            (places[h, i], points.mean[c, h, i]),
            xytext=(6, 3),
            textcoords="offset points",
            color=colors[h],
            family=FONT,
            fontsize=8.5,
        )


def _explain(points: Points, y: str, fit: bool) -> str:
    """Explain the crosses; give the number of values that the stop rule determined."""
    parts = []
    if points.partial.any():
        shown = points.counted[points.partial][0], points.runs[points.partial][0]
        counts = "{}/{}: {} of {}".format(*shown, *shown)
        counts = f" ({counts})" if points.partial.sum() <= MOST_NOTES else ""
        parts.append(f"× mean over those of the runs that have a value{counts}")
    if points.nothing.any():
        parts.append("× on the axis: no run has a value")
    if fit and parts:
        parts.append("no × is part of a fit")
    if note := stop_note(points, y):
        parts.append(f"{note}, which no fit takes" if fit else note)
    return "; ".join(parts)
