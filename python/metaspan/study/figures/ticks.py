r"""Chooses scales and ticks of axes, and keeps the labels of ticks from overlapping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..._support.types import F64
from .labels import value_labels
from .points import Factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Side = Literal["x", "y"]
WIDE = 20.0  # a log axis is used if the largest over the least value, both positive, is larger
WIDE_AND_EVEN = 4.0  # the same for values whose ratios are more even than their differences
DECADES = 2.0  # a log axis that spans fewer decades has ticks between powers of ten
MOST_LISTED = 8  # most values of x that all have a tick on such an axis
GAP = 2.0  # least distance of two labels, in pixels
SMALLEST = 1e-5  # below this size, a log axis has labels with powers of ten
LARGE, SMALL = 1e6, 1e-3  # from and below these sizes, a linear axis has labels with powers of ten


def spans_decades(numbers: F64 | None) -> bool:
    r"""Tell whether values, in ascending order, are shown on a log axis by default.

    Parameters
    ----------
    numbers : ndarray of shape (values,) or None
        The values; None if they are not numbers.

    Returns
    -------
    bool
        True if all values are positive and their range is wide. A narrower range suffices if the
        ratios of neighbours are more even than their differences, as for 100, 200, 400 and 800.
    """
    if numbers is None or not numbers[0] > 0:
        return False
    if numbers[-1] / WIDE > numbers[0]:
        return True
    if numbers.size < 3 or numbers[-1] / WIDE_AND_EVEN < numbers[0]:
        return False
    ratios, steps = np.diff(np.log(numbers)), np.diff(numbers)
    return bool(ratios.max() / ratios.min() < steps.max() / steps.min())


def set_x_scale(axes: Sequence[Axes], x: Factor, log: bool, further: Sequence[float] = ()) -> None:
    r"""Set the scale of the x axes, and ticks at the values if these are few.

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes
        Axes of one figure.
    x : Factor
        Values of x.
    log : bool
        Whether the axes are logarithmic.
    further : sequence of float
        Further x that the axes show, such as the end of an extrapolation.
    """
    numbers = x.numbers
    for ax in axes:
        ax.margins(x=0.07)
        if numbers is None:
            names = value_labels(x.values, x.name)
            set_ticks(ax, "x", np.arange(len(names)), names)
            ax.set_xlim(-0.6, len(x.values) - 0.4)
            continue
        shown = np.union1d(numbers, further)
        few = shown.size <= MOST_LISTED
        if log:
            ax.set_xscale("log")
            few = few and shown.size > 1 and shown[-1] / shown[0] < 10**DECADES
        else:
            ax.xaxis.set_major_formatter(_formatter(tick_texts))
            few = few and shown.size <= 6
        if few:
            ax.xaxis.set_minor_locator(_no_ticks())
            set_ticks(ax, "x", shown, value_labels(shown.tolist(), x.name))


def set_ticks(ax: Axes, side: Side, at: ArrayLike, texts: Sequence[str]) -> None:
    """Set the ticks of an axis and their labels."""
    axis = ax.xaxis if side == "x" else ax.yaxis
    axis.set_ticks(np.asarray(at), texts)
    for label in axis.get_ticklabels():
        label.set_math_fontfamily("stix")


def set_plain_ticks(ax: Axes, side: Side) -> None:
    r"""Label the ticks of an axis by plain numbers, without an offset or a common factor.

    A log axis of less than two decades has ticks at 1, 2 and 5 times powers of ten.
    """
    from matplotlib.ticker import (  # noqa: PLC0415
        FixedLocator,
        LogLocator,
        NullFormatter,
    )

    axis = ax.xaxis if side == "x" else ax.yaxis
    if isinstance(axis.get_major_locator(), FixedLocator):
        return
    if axis.get_scale() != "log":
        axis.set_major_formatter(_formatter(tick_texts))
        return
    low, high = axis.get_view_interval()
    axis.set_minor_formatter(NullFormatter())
    if high / 10**DECADES < low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(_formatter(log_tick_texts))


def tick_texts(values: Sequence[float]) -> list[str]:
    r"""Return the labels of the ticks of one axis, all with the same number of decimals.

    Parameters
    ----------
    values : sequence of float
        Places of the ticks.

    Returns
    -------
    list of str
        Texts for matplotlib, with commas between thousands. If the largest value is at least 10^6
        or below 10^-3, every text has the same power of ten.

    Examples
    --------
    >>> tick_texts([0, 2500, 5000]), tick_texts([0.1, 0.15])
    (['0', '2,500', '5,000'], ['0.10', '0.15'])
    """
    numbers = np.asarray(values, dtype=np.float64)
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return [f"{number:g}" for number in numbers]
    power = 0 if SMALL <= largest < LARGE else int(np.floor(np.log10(largest)))
    numbers = numbers / 10.0**power
    steps = np.diff(np.unique(numbers))
    near = 1e-3 * float(steps.min() if steps.size else abs(numbers[0]))
    places = next(p for p in range(17) if p == 16 or (abs(numbers.round(p) - numbers) < near).all())
    texts = [f"{number if number else 0.0:,.{places}f}".replace("-", "−") for number in numbers]
    if not power:
        return texts
    times = rf" \times 10^{{{power}}}"
    return [
        text if not number else rf"$\mathdefault{{{text}{times}}}$"
        for text, number in zip(texts, numbers, strict=True)
    ]


def separate_ticks(figure: Figure, axes: Sequence[Axes], words: bool) -> None:
    r"""Keep the labels of ticks apart: words on the x axis are rotated, others are left out.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The finished figure.
    axes : sequence of matplotlib.axes.Axes
        Axes whose labels are kept apart.
    words : bool
        Whether the labels of the x axes are words, which are rotated.
    """
    figure.draw_without_rendering()
    if words and any(collide(tick_labels(ax, "x"), "x") for ax in axes):
        for ax in axes:
            for label in ax.get_xticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")
    sides: tuple[Side, ...] = ("x", "y")
    for side in sides:
        crowded = [ax for ax in axes if collide(tick_labels(ax, side), side)]
        if crowded and not (words and side == "x"):
            _thin(crowded[0], side)


def tick_labels(ax: Axes, side: Side) -> list[Text]:
    """List the visible tick labels of an axis, in the order of their places."""
    axis = ax.xaxis if side == "x" else ax.yaxis
    low, high = sorted(axis.get_view_interval())
    drawn = [
        (tick.get_loc(), tick.label1)
        for tick in axis.get_major_ticks()
        if tick.label1.get_visible() and tick.label1.get_text()
    ]
    margin = 1e-9 * (high - low)
    inside = [(at, label) for at, label in drawn if low - margin <= at <= high + margin]
    return [label for _, label in sorted(inside, key=lambda pair: pair[0])]


def collide(labels: Sequence[Text], side: Side) -> bool:
    """Tell whether two neighbouring labels are less than `GAP` apart; the figure is laid out."""
    boxes = [label.get_window_extent() for label in labels]
    if side == "y":
        return any(b.y0 - a.y1 < 0 for a, b in pairwise(boxes))
    if any(label.get_rotation() for label in labels):
        return False
    return any(b.x0 - a.x1 < GAP for a, b in pairwise(boxes))


def _thin(ax: Axes, side: Side) -> None:
    """Remove the labels of some ticks, starting at the least, so that the others do not overlap."""
    labels = tick_labels(ax, side)
    axis = ax.xaxis if side == "x" else ax.yaxis
    low, high = sorted(axis.get_view_interval())
    at = sorted(loc for loc in axis.get_majorticklocs() if low <= loc <= high)
    texts, last = list[str](), -np.inf
    for label in labels:
        box = label.get_window_extent()
        first, end = (box.x0, box.x1) if side == "x" else (box.y0, box.y1)
        kept = first - last >= GAP
        texts.append(label.get_text() if kept else "")
        last = end if kept else last
    if len(at) == len(texts):
        set_ticks(ax, side, at, texts)


def log_tick_texts(values: Sequence[float]) -> list[str]:
    r"""Return the labels of the ticks of one log axis: plain, or all with powers of ten.

    Parameters
    ----------
    values : sequence of float
        Places of the ticks.

    Returns
    -------
    list of str
        Texts for matplotlib.

    Examples
    --------
    >>> log_tick_texts([0.0005, 0.001, 2000])
    ['0.0005', '0.001', '2,000']
    """
    numbers = [float(value) for value in values if value > 0]
    if not numbers or (min(numbers) >= SMALLEST and max(numbers) < LARGE):
        return [f"{value:,.12g}" for value in values]
    texts = []
    for value in values:
        power = math.floor(math.log10(value) + 1e-9) if value > 0 else 0
        mantissa = f"{value / 10.0**power:.3g}"
        times = "" if mantissa == "1" else rf"{mantissa} \times "
        texts.append(rf"$\mathdefault{{{times}10^{{{power}}}}}$")
    return texts


def _formatter(texts: Callable[[Any], list[str]]) -> Any:
    """Make a formatter from a function of all ticks; it never writes an offset beside the axis."""
    from matplotlib.ticker import Formatter  # noqa: PLC0415

    class Together(Formatter):
        """Labels all ticks of an axis together."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return texts([x])[0]

        def format_ticks(self, values: Any) -> list[str]:
            return texts(values)

    return Together()


def _no_ticks() -> Any:
    """Make a locator of no ticks."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

    return NullLocator()
