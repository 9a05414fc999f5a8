r"""Fits laws to the lines of a figure, draws them, and writes them in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support.numbers import with_interval
from .labels import name_label
from .points import Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..laws.laws import Law, Laws

FIT_DASHES = (0, (5, 1.5))
BEYOND_DASHES = (0, (1, 2.2))  # of a law outside the range that it is fitted to
Place = tuple[int, int]  # index of a value of col, and of a value of hue


def fit_lines(points: Points, y: str) -> dict[Place, Laws]:
    r"""Fit laws to the settled points of each line that has at least two such points.

    A point is settled if every run of the point has a value and the end of the run determined none
    of these values. A run without a value diverged or never reached a tolerance, so the mean over
    the other runs of its point is biased. A value that the end of the run determined says nothing
    about the run.

    Parameters
    ----------
    points : Points
        The points of the figure.
    y : str
        Name of the measure.

    Returns
    -------
    dict of (int, int) to Laws
        The laws of each line that has enough points.

    Raises
    ------
    ValueError
        If the values of x are categories, or a value of y is not positive.
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


def draw_law(ax: Axes, law: Law, color: Any, extrapolate: float | None) -> None:
    r"""Draw a law over the range that it is fitted to, and differently where it is extrapolated.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes, whose scales are set.
    law : Law
        The law.
    color : object
        Colour of the line.
    extrapolate : float or None
        An x up to which the law is also drawn as a dotted line, with the interval of the law as a
        band.
    """
    first, last = law.x_range
    space = np.geomspace if ax.get_xscale() == "log" else np.linspace
    shown = np.clip(space(first, last, 200), first, last)
    ax.plot(shown, law(shown), color=color, lw=1.1, ls=FIT_DASHES, zorder=2.95)
    if extrapolate is None or first <= extrapolate <= last:
        return
    low, high = sorted((last if extrapolate > last else first, extrapolate))
    beyond = np.clip(space(low, high, 60), low, high)
    value, ends = law(beyond), law.interval(beyond)
    if ax.get_yscale() == "log":
        value, *ends = (np.where(side > 0, side, np.nan) for side in (value, *ends))  # type: ignore[assignment]
    ax.plot(beyond, value, color=color, lw=1.3, ls=BEYOND_DASHES, zorder=2.95)
    if np.isfinite(ends[0]).any():
        ax.fill_between(beyond, *ends, color=color, alpha=0.12, lw=0, zorder=2.0)


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
    b, ends = with_interval(law.b, law.b_interval)
    power = _in_mathematics(b)
    text = {
        "power": rf"$\propto\, {symbol}^{{{power}}}$",
        "exponential": rf"$\propto\, \exp({power}\, {symbol})$",
        "logarithm": rf"$a {'' if power.startswith('-') else '+'} {power}\, \log {symbol}$",
    }[law.name]
    return f"{text} {ends.replace('e-', 'e−').replace(' -', ' −').replace('[-', '[−')}".rstrip()


def laws_text(laws: Laws, x: str) -> str:
    """Return the text of the best law, with the names of the laws that it is not told from."""
    text = law_label(laws.best, x)
    rivals = [law.name for law in laws.rivals if law is not laws.best]
    if laws.told_apart or not rivals:
        return text
    return f"{text} (not told from {' or '.join(rivals)})"


def _in_mathematics(number: str) -> str:
    """Write a number with a power of ten as mathematics."""
    mantissa, e, power = number.partition("e")
    return rf"{mantissa} \times 10^{{{power}}}" if e else number
