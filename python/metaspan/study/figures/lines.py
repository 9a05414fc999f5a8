r"""Draws lines: means of a measure over seeds against a varied name, with fitted laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import check
from ..._support.looks import (
    DASHES,
    FONT,
    MARKERS,
    PALETTE,
    PREDICTED,
    PREDICTED_DASHES,
    SHADES,
)
from ..._support.types import F64
from .fitted import FIT_DASHES, Place, draw_law, fit_lines, law_label, laws_text
from .frames import draw_legend, limit_y, make_axes, name_axis, write_caption, write_title
from .heat import heat
from .labels import equations, escape, name_label
from .points import Factor, Points, make_points, refuse_hidden, refuse_many, stop_note
from .ticks import separate_ticks, set_plain_ticks, set_x_scale, spans_decades

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..laws.laws import Laws

__all__ = ["heat", "law_label", "lines"]


DENSE = 30  # with more points on a line, intervals are bands and only some points have markers
ROLES = ("x", "predictions", "hue", "col")  # names of the arguments in messages on predictions
MOST_HUES = 24
MOST_COLUMNS = 8
MOST_NOTES = 24  # most counts beside crosses: if there would be more, none is written
FARTHEST = 1e100  # largest x of an extrapolation; the least is its inverse
LOG = ("", "x", "y", "xy")  # which axes are logarithmic


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
    log: str | None = None,
    extrapolate: float | None = None,
    predictions: str | Sequence[str] | Mapping[str, str] = (),
) -> Figure:
    r"""Draw the means of a measure over seeds, with their intervals, against a varied name.

    If all values of the measure are positive and span more than a decade, means are geometric and
    the y axis is logarithmic. Where a power law is fitted, both axes are logarithmic. `log`
    overrides both rules. If only some runs of a point have a value, a cross marks the mean
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
        the rows of those points at which every run has a value and the end of the run determined no
        value.
    band : float or None
        Coverage of the Student-t intervals of the means, in (0, 1); None: no intervals.
    names : sequence of str
        Names that the study varies independently. An error is raised if the figure would average
        over one of these names.
    log : {"", "x", "y", "xy"} or None
        Axes that are logarithmic: none, one or both. None: the axes on which the fitted laws are
        straight lines, and those whose values span decades. Means are geometric if the y axis is
        logarithmic.
    extrapolate : float or None
        A value of x, beyond the table, up to which the fitted laws are also drawn: as dotted lines,
        with the intervals of the laws as bands. Needs ``fit=True``.
    predictions : str, sequence of str, or mapping of str to str
        Columns of the table with a prediction of `y` for each row. Their means are drawn as thin
        grey lines, geometric means where the y axis is logarithmic and all values of a column are
        positive. The lines are labelled by the names of the columns, or by the keys of a mapping
        whose values are names of columns.

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
        categories or for values that are not positive, `log` names an axis with values that are
        not positive, `extrapolate` is given without a fit, or a column has too many values: more
        than 24 for `hue`, or 8 for `col`.

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
    laws = fit_lines(points, y) if check.flag("fit", fit) else {}
    log_x, log_y = _choose_log(log, points, laws)
    further = _check_extrapolate(extrapolate, fit, points)
    labelled = _read_predictions(predictions)
    if log_y != points.log:
        points = make_points(table, x, y, hue=hue, col=col, band=band, log=log_y)

    def average(of: str) -> F64:
        average_of = partial(make_points, table, x, of, hue=hue, col=col, band=None, roles=ROLES)
        plain = average_of(log=False)
        known = plain.y[np.isfinite(plain.y)]
        is_positive = bool(known.size and known.min() > 0)
        return average_of(log=True).mean if log_y and is_positive else plain.mean

    predicted = {label: average(of) for label, of in labelled.items()}
    figure, axes = make_axes(len(points.col.values))
    colors = _choose_colors(points.hue)
    for ax in axes if log_y else ():
        ax.set_yscale("log")
    set_x_scale(axes, points.x, log_x, further)
    needed = [law.best(at) for at in further for law in laws.values()]
    bands = [law.best.interval(at) for at in further for law in laws.values()]
    wanted = np.concatenate([np.ravel([*predicted.values()]), np.ravel(bands)])
    limit_y(axes, points, np.array(needed), wanted)
    for c, ax in enumerate(axes):
        for h, color in enumerate(colors):
            _draw_line(ax, points, (c, h), color, laws.get((c, h)))
            if (c, h) in laws:
                draw_law(ax, laws[c, h].best, color, extrapolate)
        _draw_predictions(ax, points, c, [*predicted.values()])
        set_plain_ticks(ax, "x")
        name_axis(ax, "x", name_label(x))
    name_axis(axes[0], "y", name_label(y))
    _write_counts(axes, points, colors)
    _draw_legend(figure, axes, points, colors, laws, predictions=list(labelled))
    if col is not None:
        for ax, text in zip(axes, equations(col, points.col.values), strict=True):
            write_title(ax, text)
    write_caption(figure, _explain(points, y, fit))
    separate_ticks(figure, axes, words=points.x.numbers is None)
    return figure


def _read_predictions(predictions: object) -> dict[str, str]:
    """Check the names of columns with predictions; return each column by its label."""
    if isinstance(predictions, str):
        return {predictions: predictions}
    if isinstance(predictions, Mapping):
        pairs = list(predictions.items())
    elif isinstance(predictions, Sequence):
        pairs = [(name, name) for name in predictions]
    else:
        pairs = [(predictions, predictions)]
    for name in (name for pair in pairs for name in pair):
        if not isinstance(name, str):
            raise TypeError(f"predictions must hold names of columns; got {check.show(name)}")
    return dict(pairs)


def _check_extrapolate(extrapolate: float | None, fit: bool, points: Points) -> tuple[float, ...]:
    """Check the end of an extrapolation; return it as a tuple, which is empty for None."""
    if extrapolate is None:
        return ()
    if not fit:
        raise ValueError("extrapolate needs fit=True, since only fitted laws are extrapolated")
    at = check.real("extrapolate", extrapolate, -FARTHEST, FARTHEST)
    if points.x.numbers is not None and points.x.numbers[0] > 0 and at < 1 / FARTHEST:
        raise ValueError(f"extrapolate must be positive, as all x are; got {at:g}")
    return (at,)


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


def _choose_log(log: str | None, points: Points, laws: Mapping[Place, Laws]) -> tuple[bool, bool]:
    r"""Choose which axes are logarithmic: those that the argument names, or those that suit.

    A power is a straight line on two logarithmic axes, a logarithm where x is logarithmic, and an
    exponential where y is. Where no law is fitted, the ranges of the values decide.
    """
    numbers = points.x.numbers
    if log is not None:
        check.choice("log", log, LOG)
        if "x" in log and (numbers is None or not numbers[0] > 0):
            raise ValueError(
                f"log={log!r} needs positive numbers for x; {points.x.name} has others"
            )
        finite = points.y[np.isfinite(points.y)]
        if "y" in log and finite.size and finite.min() <= 0:
            raise ValueError(f"log={log!r} needs positive values of y; got {finite.min():g}")
        return "x" in log, "y" in log
    best = {law.best.name for law in laws.values()}
    log_x = spans_decades(numbers) or not best.isdisjoint({"power", "logarithm"})
    return log_x, points.log or not best.isdisjoint({"power", "exponential"})


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


def _draw_predictions(ax: Axes, points: Points, c: int, predicted: Sequence[F64]) -> None:
    """Draw predictions, (col, hue, x) each, as thin grey lines; equal lines are drawn once."""
    places = _place_points(points)
    words = points.x.numbers is None
    for i, means in enumerate(predicted):
        look: dict[str, Any] = {"color": PREDICTED, "lw": 1.0, "zorder": 4}
        look["ls"] = PREDICTED_DASHES[i % len(PREDICTED_DASHES)]
        drawn: list[F64] = []
        for at, values, runs in zip(places, means[c], points.runs[c], strict=True):
            line = np.where((values > 0) | (not points.log), values, np.nan)
            known = np.isfinite(line)
            if not known.any():
                continue
            mark = {**look, "ls": "none", "marker": "_", "ms": 13}
            if words or known.sum() == 1:  # there is no line between words
                ax.plot(at[known], line[known], **mark)
            elif not any(np.allclose(line, other, 1e-9, 0, equal_nan=True) for other in drawn):
                kept = known | (runs > 0)  # cells without a prediction interrupt the line
                ax.plot(at[kept], np.where(known, line, np.nan)[kept], **look)
                beside = np.pad(known[kept], 1)
                alone = beside[1:-1] & ~beside[:-2] & ~beside[2:]
                if alone.any():
                    ax.plot(at[kept][alone], line[kept][alone], **mark)
                drawn.append(line)


def _draw_legend(
    figure: Figure,
    axes: Sequence[Axes],
    points: Points,
    colors: Sequence[Any],
    laws: Mapping[Place, Laws],
    *,
    predictions: Sequence[str],
) -> None:
    """Draw a legend that names the lines, the laws that are fitted to them, and predictions."""
    hues = equations(points.hue.name, points.hue.values) if points.hue.name else [""]
    styles: list[dict[str, Any]] = []
    for h, color in enumerate(colors):
        ls = DASHES[h % len(DASHES)] if points.x.numbers is not None else "none"
        styles.append({"color": color, "marker": MARKERS[h % len(MARKERS)], "ls": ls})
    of = {place: laws_text(law, points.x.name) for place, law in laws.items()}
    fitted = {"ls": FIT_DASHES, "lw": 1.1}
    named = [escape(name) for name in predictions]
    mark: dict[str, Any] = {"color": PREDICTED, "lw": 1.0}
    if points.x.numbers is None:
        mark |= {"ls": "none", "marker": "_", "ms": 13}
    marks = [{"ls": PREDICTED_DASHES[i % len(PREDICTED_DASHES)], **mark} for i in range(len(named))]
    if len(axes) == 1:
        for (_, h), law in of.items():
            hues[h] = f"{hues[h]}: {law}" if hues[h] else law
            styles[h] |= fitted
        hues += named
        styles += marks
        crowded = len(hues) > (2 if of or points.x.numbers is None else 4)
        draw_legend(figure, axes[0], hues, styles, outside=crowded)
        return
    styles = [style | {"ls": "none"} for style in styles] if of else styles
    for c, text in enumerate(equations(points.col.name, points.col.values)):
        with_law = [h for h in range(len(colors)) if (c, h) in of]
        if with_law:
            hues += [text, *(of[c, h] for h in with_law)]
            styles += [{"ls": "none"}, *({"color": colors[h], **fitted} for h in with_law)]
    draw_legend(figure, axes[-1], [*hues, *named], [*styles, *marks], outside=True)


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
    """Explain the crosses; give the number of values that the end of the run determined."""
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
