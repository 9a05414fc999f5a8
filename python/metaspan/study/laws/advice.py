r"""Finds remedies for a fit that misses the means, and names them in a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..._support.numbers import rounded
from ..._support.types import F64
from .curves import abscissa, fit_curve, least_squares, misfit_of
from .resampling import Replicates

TOO_FAR = 2.0  # with a misfit above this, the means are visibly off the curve
LEAST_LEFT = 4  # number of x that must remain if others are left out
LEAST_SETTINGS = 5  # number of x without which no remedy is tried
PARTS = 64  # number of floors that each of the two searches tries


class WithFloor(NamedTuple):
    r"""The curve y = floor + exp(level + slope (v - middle)); `curves.Fit` describes v."""

    floor: float
    level: float
    slope: float
    middle: float
    misfit: float


def describe_misfit(data: Replicates, predicted: F64, misfit: float, names: Sequence[str]) -> str:
    r"""Say by how much a fit misses the means, in standard errors and in per cent at the worst.

    Parameters
    ----------
    data : Replicates
        The rows, grouped by setting.
    predicted : ndarray of shape (settings,)
        The fitted values of log y.
    misfit : float
        The misfit of `curves.misfit_of`.
    names : sequence of str
        Names of the variables.

    Returns
    -------
    str
        The end of a sentence, such as ``"misses the means of log y by 4.1 standard errors, and
        the mean at x = 100 by 3.2 %"``.
    """
    worst = int(np.argmax(np.abs(data.mean - predicted)))
    missed = math.expm1(min(abs(data.mean[worst] - predicted[worst]), 700.0))
    values = zip(names, data.settings[worst], strict=True)
    at = ", ".join(f"{name} = {rounded(float(value), 4)}" for name, value in values)
    return (
        f"misses the means of log y by {misfit:.2g} standard errors, and the mean at {at} by "
        f"{100 * missed:.2g} %"
    )


def advise(name: str, data: Replicates) -> str:
    r"""Say what to do about a law that misses the means.

    Three changes are tried: to leave out the smallest values of x, to leave out the largest values
    of x, and to add a constant floor to a power or an exponential. A change helps if the misfit is
    then at most 2.

    Parameters
    ----------
    name : str
        Name of the law.
    data : Replicates
        The rows, grouped by x.

    Returns
    -------
    str
        A sentence that names every change that helps, or says that none of them does.
    """
    if data.count.size < LEAST_SETTINGS:
        return (
            f"measure at {LEAST_SETTINGS} or more values of x, which show whether the smallest x "
            "or a floor is the cause"
        )
    remedies = [*_leave_out_smallest(name, data), *_add_floor(name, data)]
    remedies = remedies or [*_leave_out_largest(name, data)]
    if remedies:
        return ", or ".join(remedies)
    return (
        "neither leaving out the smallest or the largest x nor adding a floor helps, so fit over "
        "another x, or over several names at once"
    )


def advise_powers(names: Sequence[str], data: Replicates) -> str:
    r"""Say what to do about a product of powers that misses the means.

    For each variable, the fit is repeated without the smallest value of the variable.

    Parameters
    ----------
    names : sequence of str
        Names of the variables.
    data : Replicates
        The rows, grouped by the values of the variables.

    Returns
    -------
    str
        A sentence that names the variable whose smallest value causes the misfit, or that advises
        to fit one name at a time.
    """
    best: tuple[float, str] | None = None
    for i, name in enumerate(names):
        column = data.settings[:, i]
        kept = column > column.min()
        part = data.select(kept)
        if np.unique(part.settings[:, i]).size < 2:
            continue
        logs = np.column_stack([np.ones(part.count.size), np.log(part.settings)])
        weight = np.sqrt(part.count)
        solution = np.linalg.lstsq(logs * weight[:, None], part.mean * weight, rcond=None)[0]
        misfit = misfit_of(part, logs @ solution, len(names) + 1)
        if misfit <= TOO_FAR and (best is None or misfit < best[0]):
            value = rounded(float(column.min()), 4)
            best = (
                misfit,
                f"leave out {name} = {value}; the product then misses by {_errors(misfit)}",
            )
    return best[1] if best else "fit one name at a time, with where= for the others"


def _leave_out_smallest(name: str, data: Replicates) -> Iterator[str]:
    """Yield the change if the law holds without some of the smallest x."""
    for first in range(1, data.count.size - LEAST_LEFT + 1):
        kept = np.arange(data.count.size) >= first
        if (misfit := _misfit_on(name, data.select(kept))) <= TOO_FAR:
            low = rounded(float(data.settings[first, 0]), 4)
            yield f"leave out x below {low}; the {name} then misses by {_errors(misfit)}"
            return


def _leave_out_largest(name: str, data: Replicates) -> Iterator[str]:
    """Yield the change if the law holds without some of the largest x."""
    for last in range(data.count.size - 1, LEAST_LEFT - 1, -1):
        kept = np.arange(data.count.size) < last
        if (misfit := _misfit_on(name, data.select(kept))) <= TOO_FAR:
            high = rounded(float(data.settings[last - 1, 0]), 4)
            yield f"leave out x above {high}; the {name} then misses by {_errors(misfit)}"
            return


def _errors(misfit: float) -> str:
    """Return the words for a misfit that is small enough."""
    return f"{misfit:.2g} standard errors"


def _misfit_on(name: str, data: Replicates) -> float:
    """Compute the misfit of a law that is fitted to some of the settings."""
    return misfit_of(data, fit_curve(name, data).predict(data), 2)


def _add_floor(name: str, data: Replicates) -> Iterator[str]:
    """Yield the change if the law plus a positive constant holds at all x."""
    if name == "logarithm":  # it has a constant already
        return
    found = fit_with_floor(name, data)
    if found.floor > 0 and found.misfit <= TOO_FAR:
        a = rounded(math.exp(min(found.level - found.slope * found.middle, 700.0)))
        b = rounded(found.slope)
        curve = f"{a} x^{b}" if name == "power" else f"{a} exp({b} x)"
        yield f"add a floor; y = {rounded(found.floor)} + {curve} misses by {_errors(found.misfit)}"


def fit_with_floor(name: str, data: Replicates) -> WithFloor:
    r"""Fit a power or an exponential plus a constant that is not negative.

    The sum of squares of log y is minimised over the floor, first on a grid from 0 to the least
    mean of y and then on a finer one around the best point. For a given floor c, log(y - c) is
    fitted with the weights ((y - c) / y)^2, which turn errors of log(y - c) into errors of log y to
    first order.

    Parameters
    ----------
    name : str
        ``"power"`` or ``"exponential"``.
    data : Replicates
        The rows, grouped by x.

    Returns
    -------
    WithFloor
        The curve, and its misfit with three parameters.
    """
    least = float(np.exp(data.mean.min()))
    grid = 1.0 - np.geomspace(1.0, 1e-4, PARTS)
    tried = [_fit_above(name, data, least * part) for part in grid]
    best = int(np.argmin([misfit for *_, misfit in tried]))
    near = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, PARTS - 1)], PARTS)
    return min((_fit_above(name, data, least * part) for part in near), key=lambda fit: fit.misfit)


def _fit_above(name: str, data: Replicates, floor: float) -> WithFloor:
    """Fit a law to y minus a given floor."""
    y = np.exp(data.mean)
    rest = y - floor
    v, weights = abscissa(name, data), data.count * (rest / y) ** 2
    level, slope, middle = least_squares(name, v, weights[None], np.log(rest)[None])
    predicted = np.log(floor + np.exp(level[0, 0] + slope[0, 0] * (v - middle[0])))
    misfit = misfit_of(data, predicted, 3)
    return WithFloor(floor, float(level[0, 0]), float(slope[0, 0]), float(middle[0]), misfit)
