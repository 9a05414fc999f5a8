r"""Makes axes, legends and captions for all kinds of figures of a study."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support.looks import FONT, INK, new_axes
from ..._support.types import F64
from .points import Points
from .ticks import Side, set_plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOUBLES = (-307.0, 307.0)  # range of log10 of positive doubles


def make_axes(count: int) -> tuple[Figure, list[Axes]]:
    r"""Make a figure with a row of axes that have common scales.

    Parameters
    ----------
    count : int
        Number of axes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    list of matplotlib.axes.Axes
        Axes of the figure, from left to right; only the first axes have tick labels on the y axis.
    """
    if count == 1:
        return new_axes()
    figure, axes = new_axes(count, width=3.4 if count < 4 else 2.7, height=3.0)
    for ax in axes[1:]:
        ax.sharex(axes[0])
        ax.sharey(axes[0])
        ax.tick_params(which="both", labelleft=False)
    return figure, axes


def name_axis(ax: Axes, side: Side, text: str) -> None:
    """Label one axis."""
    label = (ax.set_xlabel if side == "x" else ax.set_ylabel)(text, family=FONT, color=INK)
    label.set_math_fontfamily("stix")


def write_title(ax: Axes, text: str) -> None:
    """Write a left-aligned title above the axes."""
    label = ax.set_title(text, loc="left", family=FONT, fontsize=10.5, color=INK)
    label.set_math_fontfamily("stix")


def write_heading(figure: Figure, text: str) -> None:
    """Write a title above all axes, in line with the left end of the axes; none if it is empty."""
    if not text:
        return
    axes = figure.axes
    if len(axes) == 1 and not axes[0].get_title(loc="left"):
        write_title(axes[0], text)
        return
    heading = figure.suptitle(text, ha="left", family=FONT, fontsize=10.5, color=INK)
    heading.set_math_fontfamily("stix")
    figure.draw_without_rendering()  # computes the place of the axes
    heading.set_x(axes[0].get_position().x0)


def limit_y(
    axes: Sequence[Axes], points: Points, needed: F64 | None = None, wanted: F64 | None = None
) -> None:
    r"""Set the limits of the y axes so that they contain all means, and the intervals in part.

    To show intervals, the limits may extend beyond the means by half the range of the means. On a
    log axis, the limits may always extend by half a decade, and on a linear axis by half the
    largest absolute mean. Since the limits extend no further, one wide interval does not squeeze
    the curves.

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes
        Axes of one figure, whose y scales are set.
    points : Points
        The points that the axes show.
    needed : ndarray or None
        Further values that the limits contain, such as those of extrapolated laws.
    wanted : ndarray or None
        Values that the limits contain if they are as near to the means as intervals may be, and of
        which the nearest is always contained, such as predictions.
    """
    clipped = _clipped(points)
    others = [np.empty(0) if part is None else part for part in (needed, wanted)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.log10(part) if points.log else part for part in (*clipped, *others)]
    mean, low, high, needed, wanted = (end[np.isfinite(end)] for end in ends)
    if not mean.size:
        return
    mean = np.concatenate([mean, needed])
    reach = max(0.5 * float(np.ptp(mean)), 0.5 if points.log else 0.5 * float(np.abs(mean).max()))
    if wanted.size:
        least, most = mean.min() - reach, mean.max() + reach
        near = wanted[(wanted >= least) & (wanted <= most)]
        nearest = wanted[[np.argmin(np.maximum(least - wanted, wanted - most))]]
        mean = np.concatenate([mean, near if near.size else nearest])
    bottom = max(low.min(initial=mean.min()), mean.min() - reach)
    top = min(high.max(initial=mean.max()), mean.max() + reach)
    size = top - bottom or 1.0
    bottom -= size * (0.2 if points.nothing.any() else 0.08)
    top += size * 0.08
    if points.log:
        bottom, top = (10.0 ** float(np.clip(end, *DOUBLES)) for end in (bottom, top))
    for ax in axes:
        ax.set_ylim(bottom, top)
        set_plain_ticks(ax, "y")


def _clipped(points: Points) -> tuple[Any, Any, Any]:
    """Return the means and interval ends; on a log axis, ends without finite logarithm are NaN."""
    low, high = points.low.copy(), points.high.copy()
    if points.log:
        low[~(low > 0)] = np.nan
        high[~np.isfinite(high)] = np.nan
    return points.mean, low, high


def draw_legend(
    figure: Figure,
    ax: Axes,
    texts: Sequence[str],
    styles: Sequence[Mapping[str, Any]],
    *,
    outside: bool = False,
    size: float = 10,
) -> None:
    r"""Draw a legend without a frame.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, which becomes wider if the legend is outside.
    ax : matplotlib.axes.Axes
        Axes that contain the legend if `outside` is false.
    texts : sequence of str
        A text for each entry of the legend; entries with empty texts are left out. If all texts are
        empty, no legend is drawn.
    styles : sequence of mapping
        Properties of the line in each entry.
    outside : bool
        Whether to draw the legend to the right of all axes.
    size : float
        Font size in points.
    """
    from matplotlib.lines import Line2D  # noqa: PLC0415

    look = {"lw": 1.4, "ms": 5, "mfc": "white", "mew": 1.2}
    handles = [
        Line2D([], [], label=text, **{**look, **style})
        for text, style in zip(texts, styles, strict=True)
        if text
    ]
    if not handles:
        return
    place: Any = {"loc": "outside right upper"} if outside else {}
    font = {"family": FONT, "size": size}
    make = figure.legend if outside else ax.legend
    legend = make(handles=handles, frameon=False, prop=font, handlelength=2.6, **place)
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_math_fontfamily("stix")
    if outside:
        box = legend.get_window_extent()
        figure.set_figwidth(figure.get_figwidth() + box.width / figure.dpi)
        figure.set_figheight(max(figure.get_figheight(), box.height / figure.dpi + 0.3))


def write_caption(figure: Figure, text: str) -> None:
    """Write small text below the axes, unless the text is empty."""
    if text:
        text = textwrap.fill(text, width=int(19 * figure.get_figwidth()))
        figure.supxlabel(text, x=0.01, ha="left", family=FONT, fontsize=8.5, color=INK)
