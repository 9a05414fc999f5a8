r"""Figures of a study: means over seeds as points and lines, and as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import check
from ..._support.looks import DASHES, FONT, MARKERS, PALETTE
from ..._support.types import F64
from .frames import caption, key, limit_y, name_axis, plain_ticks, row_of_axes, ticks_at, title
from .heat import heat
from .labels import equations, name_label, number_label, value_labels
from .points import Factor, Points, points, refuse_hidden, refuse_many, stop_note

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..laws.laws import Law, Laws

__all__ = ["heat", "law_label", "lines"]


# From dark to light: the order of numbers survives a grey print.
SHADES = ("#0D0887", "#6A00A8", "#B12A90", "#E16462", "#F2942E")
WIDE = 20.0  # numbers that span more than this stand on a log axis
DENSE = 30  # points beyond which intervals are bands, and not every point has a marker
MOST_HUES = 24
MOST_COLUMNS = 8
MOST_NOTES = 24  # counts beside crosses; where there are more, the crosses stand alone
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
    r"""Draw a measure against a varied name: means over seeds, with their intervals.

    Means of a measure that is positive and spans more than a decade are geometric, on a log axis.
    Where only a part of the runs has a value, the mean over that part is a cross with their number
    beside it, and the lines to it are dotted; where none has, a cross stands on the axis. Intervals
    are bars, or bands where points are many. Values that the stop rule set are drawn; how many
    there are is said below the axes.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study, a row per cell and seed.
    x, y : str
        Columns: a varied name and a measure. Anything but numbers makes `x` an axis of categories.
    hue : str or None
        Column with a line for each value; numbers are shaded from dark to light.
    col : str or None
        Column with axes for each value, on the same scales.
    fit : bool
        Whether to draw the law through the rows that `fit_laws` finds best, for each line; points
        where a part of the runs has no value, or one that the stop rule set, are left out of it.
    band : float or None
        Coverage of the Student-t intervals of the means, in (0, 1); None leaves them out.
    names : sequence of str
        Names that the study varies independently: none may be averaged over.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which needs no display; save with ``figure.savefig("dist.pdf")``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `y` does not hold numbers.
    ValueError
        If a column is missing, one of `names` varies without being shown, a fit is asked of
        categories or of values that are not positive, or there are too many values for `hue`
        or `col`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"d": [10, 10, 100, 100], "seed": [0, 1, 0, 1],
    ...                       "dist": [0.01, 0.011, 0.1, 0.12]})
    >>> lines(table, "d", "dist").axes[0].get_yscale()
    'log'
    """
    found = points(table, x, y, hue=hue, col=col, band=band)
    refuse_hidden(table, (x, hue, col), names)
    refuse_many("hue", found.hue, MOST_HUES)
    refuse_many("col", found.col, MOST_COLUMNS)
    laws = _fits(found, y) if check.flag("fit", fit) else {}
    figure, axes = row_of_axes(len(found.col.values))
    colors = _colors(found.hue)
    _scale(axes, found)
    limit_y(axes, found)
    for c, ax in enumerate(axes):
        for h, color in enumerate(colors):
            _series(ax, found, (c, h), color, laws.get((c, h)))
        plain_ticks(ax, "x")
        name_axis(ax, "x", name_label(x))
    name_axis(axes[0], "y", name_label(y))
    _notes(axes, found, colors)
    _keys(figure, axes, found, colors, laws)
    if col is not None:
        for ax, text in zip(axes, equations(col, found.col.values), strict=True):
            title(ax, text)
    caption(figure, _meaning(found, y, fit))
    return figure


def _colors(hue: Factor) -> list[Any]:
    """A colour for each line: shades where they are numbers in order, else the palette."""
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


def _places(found: Points) -> F64:
    """Where points stand on the x axis, (values of hue, values of x): categories side by side."""
    lines_ = len(found.hue.values)
    if found.x.numbers is not None:
        return np.tile(found.x.numbers, (lines_, 1))
    step = min(0.12, 0.6 / lines_)
    shift = (np.arange(lines_) - (lines_ - 1) / 2) * step
    return np.asarray(np.arange(len(found.x.values)) + shift[:, None])


def _scale(axes: Sequence[Axes], found: Points) -> None:
    """Scales and ticks of the x axes, and the scale of y."""
    numbers = found.x.numbers
    for ax in axes:
        if found.log:
            ax.set_yscale("log")
        ax.margins(x=0.07)
        if numbers is None:
            names = value_labels(found.x.values, found.x.name)
            ticks_at(ax, "x", np.arange(len(names)), names)
            ax.set_xlim(-0.6, len(found.x.values) - 0.4)
        elif numbers[0] > 0 and numbers[-1] / WIDE > numbers[0]:
            ax.set_xscale("log")
        elif numbers.size <= 6:
            ticks_at(ax, "x", numbers, value_labels(found.x.values, found.x.name))


def _series(ax: Axes, found: Points, place: tuple[int, int], color: Any, laws: Laws | None) -> None:
    """One line: its points, intervals, crosses, and the law through it."""
    h, at = place[1], _places(found)[place[1]]
    mean, whole, partial = found.mean[place], found.whole[place], found.partial[place]
    seen, there = whole | partial, found.runs[place] > 0
    low, high = mean - found.low[place], found.high[place] - mean
    bars = np.isfinite(low) & np.isfinite(high)
    dense = found.x.numbers is not None and seen.sum() > DENSE
    if bars.any() and dense:
        low, high = found.low[place], found.high[place]
        ax.fill_between(at, low, high, where=bars, color=color, alpha=0.15, lw=0)
    elif bars.any():
        ends = np.maximum([low[bars], high[bars]], 0.0)
        ax.errorbar(at[bars], mean[bars], ends, fmt="none", color=color, elinewidth=1, capsize=2)
    joined = found.x.numbers is not None and laws is None
    if joined and not whole[there].all():
        ax.plot(at[seen], mean[seen], color=color, lw=0.8, ls=":", zorder=2.9)
    ax.plot(
        at[there],
        np.where(whole, mean, np.nan)[there],
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
    nothing = found.nothing[place[0]]
    if nothing[h].any():
        below = nothing[:h].sum(axis=0) if found.x.numbers is not None else np.zeros(at.size)
        on_axis: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(at[nothing[h]], 0.05 * below[nothing[h]], **cross, **on_axis)
    if laws is not None:
        fitted = at[found.settled[place]]
        first, last = float(fitted[0]), float(fitted[-1])
        space = np.geomspace if ax.get_xscale() == "log" else np.linspace
        shown = np.clip(space(first, last, 200), first, last)
        ax.plot(shown, laws.best(shown), color=color, lw=1.1, ls=FIT_DASHES, zorder=2.95)


def _fits(found: Points, y: str) -> dict[tuple[int, int], Laws]:
    """The laws through the settled points of each line that has two of them."""
    from ..laws.fits import LAWS, fit_laws  # noqa: PLC0415

    numbers = found.x.numbers
    if numbers is None:
        raise ValueError(f"fit=True needs numbers for x; {found.x.name} holds others")
    finite = found.y[np.isfinite(found.y)]
    if finite.size and finite.min() <= 0:
        raise ValueError(f"fit=True needs positive values; {y} has {finite.min():g} among them")
    rows = found.settled.ravel()[found.group]
    line = found.group // numbers.size
    fits = {}
    for c in range(len(found.col.values)):
        for h in range(len(found.hue.values)):
            if found.settled[c, h].sum() >= 2:
                own = rows & (line == c * len(found.hue.values) + h)
                at = numbers[found.x.codes[own]]
                kinds = LAWS if at.min() > 0 else ("exponential",)
                fits[c, h] = fit_laws(at, found.y[own], laws=kinds)
    return fits


def law_label(law: Law, x: str) -> str:
    r"""Return a law as it stands in a legend: how it depends on x, and the interval of b.

    Parameters
    ----------
    law : Law
        A fitted law.
    x : str
        Name of its variable.

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
    """The best law, and whether it could be another."""
    text = law_label(laws.best, x)
    if laws.told_apart or len(laws.laws) == 1:
        return text
    return f"{text} (not told from {laws.laws[1].name})"


def _keys(
    figure: Figure,
    axes: Sequence[Axes],
    found: Points,
    colors: Sequence[Any],
    laws: Mapping[tuple[int, int], Laws],
) -> None:
    """What the lines are, and the laws through them."""
    hues = equations(found.hue.name, found.hue.values) if found.hue.name else [""]
    styles: list[dict[str, Any]] = []
    for h, color in enumerate(colors):
        ls = DASHES[h % len(DASHES)] if found.x.numbers is not None else "none"
        styles.append({"color": color, "marker": MARKERS[h % len(MARKERS)], "ls": ls})
    of = {place: _law_text(law, found.x.name) for place, law in laws.items()}
    fitted = {"ls": FIT_DASHES, "lw": 1.1}
    if len(axes) == 1:
        for (_, h), law in of.items():
            hues[h] = f"{hues[h]}: {law}" if hues[h] else law
            styles[h] |= fitted
        crowded = len(hues) > (2 if of or found.x.numbers is None else 4)
        key(figure, axes[0], hues, styles, outside=crowded)
        return
    styles = [style | {"ls": "none"} for style in styles] if of else styles
    for c, text in enumerate(equations(found.col.name, found.col.values)):
        own = [h for h in range(len(colors)) if (c, h) in of]
        hues += [text, *(of[c, h] for h in own)] if own else []
        styles += [{"ls": "none"}, *({"color": colors[h], **fitted} for h in own)] if own else []
    key(figure, axes[-1], hues, styles, outside=True)


def _notes(axes: Sequence[Axes], found: Points, colors: Sequence[Any]) -> None:
    """How many runs are behind each cross."""
    places = _places(found)
    partial = np.argwhere(found.partial)
    for c, h, i in partial if len(partial) <= MOST_NOTES else ():
        axes[c].annotate(
            f"{found.counted[c, h, i]}/{found.runs[c, h, i]}",
            (places[h, i], found.mean[c, h, i]),
            xytext=(6, 3),
            textcoords="offset points",
            color=colors[h],
            family=FONT,
            fontsize=8.5,
        )


def _meaning(found: Points, y: str, fit: bool) -> str:
    """What crosses say, and what the stop rule set, where there are any."""
    parts = []
    if found.partial.any():
        shown = found.counted[found.partial][0], found.runs[found.partial][0]
        counts = "{}/{}: {} of {}".format(*shown, *shown)
        counts = f" ({counts})" if found.partial.sum() <= MOST_NOTES else ""
        parts.append(f"× mean over those of the runs that have a value{counts}")
    if found.nothing.any():
        parts.append("× on the axis: no run has a value")
    if fit and parts:
        parts.append("no × is part of a fit")
    if note := stop_note(found, y):
        parts.append(f"{note}, which no fit takes" if fit else note)
    return "; ".join(parts)
