r"""Fits laws to measurements, and decides whether the measurements can tell the laws apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..._support import check
from ..._support.types import F64
from .advice import TOO_FAR, advise, advise_powers, describe_misfit
from .curves import Fit, fit_curve, held_out_error, misfit_of
from .laws import LEAST_TO_COMPARE, Law, Laws, Powers, Solution
from .resampling import (
    EXACT,
    LEAST_RESAMPLES,
    MOST_RESAMPLES,
    Replicates,
    check_probability,
    draw_deviations,
    group_rows,
    percentile_interval,
    require_positive,
)

__all__ = ["LAWS", "Law", "Laws", "Powers", "Solution", "fit_laws", "fit_powers"]


LAWS = ("power", "exponential", "logarithm")


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # measurements may have any values
def fit_laws(
    x: ArrayLike,
    y: ArrayLike,
    *,
    laws: Sequence[str] = LAWS,
    band: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Laws:
    r"""Fit laws of one variable, and decide whether the measurements can tell the laws apart.

    The laws are y = a x^b, y = a exp(b x) and y = a + b log x. A law is fitted by least squares of
    log y: the sum of squared differences between log y and the logarithm of the law is minimised.
    The laws are compared by their errors of log y at held-out values of x.

    Parameters
    ----------
    x : array_like of shape (rows,)
        The variable; positive for ``"power"`` and ``"logarithm"``.
    y : array_like of shape (rows,)
        Measurements, positive. A row whose y is NaN or masked is left out and counted.
    laws : sequence of str
        Laws to fit: ``"power"``, ``"exponential"``, ``"logarithm"``.
    band : float
        Coverage of the intervals, in (0, 1). The laws are told apart if the best law wins at least
        this share of the resamples.
    resamples : int
        Number of resamples for the intervals, from 100 to 10^6.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Laws
        The fitted laws, in ascending order of their held-out errors.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If x has fewer than two distinct values, or if x or y has values for which a law is
        undefined.

    Notes
    -----
    The scatter of y is assumed to be relative: log y scatters about the logarithm of the law. Rows
    without a value of y are left out, although such a row carries information: if y is missing
    because a run never reached a tolerance, y would have been large, and the law is biased.

    If there are at most twenty distinct x, each x is held out once. If there are more than twenty,
    twenty groups of neighbouring x are held out one after the other.

    If every x has at least three rows, and the rows of some x differ, a resample replaces the rows
    at each x by rows that are drawn from those measured at the same x, so the scatter may depend on
    x. Otherwise, deviations are drawn from the residuals of the fit at all x. All deviations are
    multiplied by two factors. The first factor is sqrt(r / (r - 1)) for an x with r rows, or sqrt(N
    / (N - 2)) for N residuals. The second factor is the quantile of Student's t divided by that of
    the normal distribution; the degrees of freedom are those of Welch and Satterthwaite, or N - 2.
    The ends of an interval are percentiles over the resamples. With three rows at each of four x
    whose scatters differ strongly, intervals of 95 % cover the true value in about 90 % of all
    cases.

    The laws are told apart if the best law has the least held-out error in at least a share `band`
    of the resamples. Resamples are centred at the measurements. If two laws hardly differ, the
    wrong law is therefore reported as told apart with a probability of at most about 1 - band.

    For the same seed, the result does not depend on the order of the rows.

    For R resamples and D distinct x, the time is proportional to R * min(D, 20) * D. With the
    default R and D = 20, the time is 0.1 s.

    Examples
    --------
    >>> import numpy as np
    >>> from metaspan.study import fit_laws
    >>> x = np.repeat([100, 300, 1000, 3000, 10_000], 4)
    >>> noise = np.random.default_rng(0).standard_normal(20)
    >>> laws = fit_laws(x, 0.5 * np.sqrt(x) * np.exp(0.02 * noise))
    >>> laws.best.name, round(laws.best.b, 2), laws.told_apart
    ('power', 0.5, True)
    """
    names = _check_laws(laws)
    band = check_probability("band", band)
    resamples = check.integer("resamples", resamples, LEAST_RESAMPLES, MOST_RESAMPLES)
    seed = check.integer("seed", seed)
    data = group_rows({"x": x}, y)
    at = data.settings[:, 0]
    if at.size < 2:
        raise ValueError(
            f"x must take at least two distinct values where y is known; got {at.size}"
        )
    if set(names) != {"exponential"}:
        require_positive("x", at, "for laws other than the exponential")
    fits = {name: fit_curve(name, data) for name in names}
    # All laws have two parameters, so the errors at held-out x compare the laws fairly. Errors
    # below EXACT are rounding errors and count as equal. Sorting is stable, so laws with equal
    # errors keep their order in `laws`.
    order = sorted(names, key=lambda name: max(fits[name].held_out, EXACT))
    # The intervals of a law come from resamples made with its own residuals. The laws are compared
    # on common resamples, which are those of the best law, so that chance favours no law.
    moved: dict[str, F64] = {}
    for name, fit in fits.items():
        chance = draw_deviations(
            data, fit.residuals(data), 2, band=band, resamples=resamples, seed=seed
        )
        moved[name] = data.mean + chance
    support = _count_support(order, data, moved[order[0]])
    compared = len(names) > 1 and at.size >= LEAST_TO_COMPARE
    made = tuple(_make_law(fits[name], data, moved[name], band) for name in order)
    best = fits[order[0]]
    return Laws(
        laws=made,
        told_apart=compared and support[order[0]] >= band,
        support=support,
        band=band,
        rows=data.logs.size,
        distinct=at.size,
        left_out=data.left_out,
        x_range=made[0].x_range,
        advice=_explain_misfit(best, data, made[0].misfit),
    )


def fit_powers(
    columns: Mapping[str, ArrayLike],
    y: ArrayLike,
    *,
    band: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Powers:
    r"""Fit a product of powers, y = a x_1^b_1 x_2^b_2 ..., by least squares of log y.

    Parameters
    ----------
    columns : mapping of str to array_like of shape (rows,)
        The values of each variable, positive, by the name of the variable.
    y : array_like of shape (rows,)
        Measurements, positive. A row whose y is NaN or masked is left out and counted.
    band : float
        Coverage of the intervals, in (0, 1).
    resamples : int
        Number of resamples for the intervals, from 100 to 10^6.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Powers
        The exponents and the factor, with their intervals.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If a value is not positive, a variable is constant, or the logarithms of the variables are
        linearly dependent.

    Notes
    -----
    If every distinct combination of values of the variables has at least three rows, and the rows
    of some combination differ, a resample draws the rows of each combination from the rows measured
    at the same combination. Otherwise, deviations are drawn from the residuals of the fit. The
    documentation of `fit_laws` gives details.

    Examples
    --------
    >>> import numpy as np
    >>> from metaspan.study import fit_powers
    >>> d, n = np.array([100, 100, 1000, 1000, 1000]), np.array([10, 40, 10, 40, 90])
    >>> powers = fit_powers({"d": d, "n": n}, 3 * np.sqrt(d / n))
    >>> {name: round(b, 6) for name, b in powers.exponents.items()}
    {'d': 0.5, 'n': -0.5}
    """
    if not (isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns)):
        raise TypeError(f"columns must map names to values; got {check.show(columns)}")
    if not columns:
        raise ValueError("columns must name at least one variable; got none")
    band = check_probability("band", band)
    resamples = check.integer("resamples", resamples, LEAST_RESAMPLES, MOST_RESAMPLES)
    seed = check.integer("seed", seed)
    data, names = group_rows(columns, y), list(columns)
    if not data.logs.size:
        raise ValueError("y must hold at least one value; all are NaN")
    for name, column in zip(names, data.settings.T, strict=True):
        require_positive(name, column, "for a product of powers")
    logs = np.log(data.settings)
    center = np.average(logs, axis=0, weights=data.count)
    offsets = logs - center
    _require_independent(names, offsets)

    # The least-squares fit to the rows equals the fit to the means with the weights `count`, so one
    # pseudo-inverse gives the fits to the measurements and to all resamples. Since the offsets are
    # centred, the level is the mean of log y over the rows.
    weight = np.sqrt(data.count)[:, None]
    solve = np.linalg.pinv(offsets * weight) * weight.T
    level = data.count / data.logs.size
    exponents = solve @ data.mean
    predicted = level @ data.mean + offsets @ exponents
    residuals = data.logs - np.repeat(predicted, data.count)
    drawn = data.mean + draw_deviations(
        data, residuals, len(names) + 1, band=band, resamples=resamples, seed=seed
    )
    slopes = drawn @ solve.T
    factor = float(np.exp(level @ data.mean - center @ exponents))
    factors = drawn @ level - slopes @ center
    low, high = percentile_interval(factors, band)
    total = float(((data.logs - data.logs.mean()) ** 2).sum())
    varies = total > EXACT**2 * data.logs.size
    misfit = misfit_of(data, predicted, 1 + len(names))
    advice = ""
    if misfit > TOO_FAR:
        advice = (
            f"the product {describe_misfit(data, predicted, misfit, names)}: it is at most an "
            f"approximation\nremedy: {advise_powers(names, data)}"
        )
    return Powers(
        exponents=dict(zip(names, exponents.tolist(), strict=True)),
        intervals={name: percentile_interval(slopes[:, i], band) for i, name in enumerate(names)},
        factor=factor,
        factor_interval=(float(np.exp(low)), float(np.exp(high))),
        r_squared=1.0 - float((residuals**2).sum()) / total if varies else math.nan,
        band=band,
        rows=data.logs.size,
        left_out=data.left_out,
        misfit=misfit,
        ranges={
            name: (float(column.min()), float(column.max()))
            for name, column in zip(names, data.settings.T, strict=True)
        },
        resampled=np.column_stack([factors, slopes]),
        advice=advice,
    )


def _explain_misfit(fit: Fit, data: Replicates, misfit: float) -> str:
    """Say by how much a law misses the means, and what to do about it; empty if it does not."""
    if not misfit > TOO_FAR:
        return ""
    missed = describe_misfit(data, fit.predict(data), misfit, ("x",))
    return (
        f"the {fit.name} {missed}: it is at most an approximation\nremedy: {advise(fit.name, data)}"
    )


def _check_laws(laws: Sequence[str]) -> tuple[str, ...]:
    """Check that the names are known laws and that no law occurs twice."""
    if not isinstance(laws, (str, Iterable)):
        raise TypeError(f"laws must hold names of laws; got {check.show(laws)}")
    names = (laws,) if isinstance(laws, str) else tuple(laws)
    for name in names:
        check.choice("laws", name, LAWS)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"laws must name each law once; got {check.show(names)}")
    return names


def _make_law(fit: Fit, data: Replicates, moved: F64, band: float) -> Law:
    """Make a `Law` from a fit: compute the intervals of a and b, and the misfit to the means."""
    a, b = fit.parameters()
    refit = fit.refit(moved, data)
    ends, b_ends = (percentile_interval(v, band) for v in refit.parameters())
    with np.errstate(over="ignore", under="ignore"):
        a, *a_ends = (a[0], *ends) if fit.name == "logarithm" else np.exp([a[0], *ends])
    return Law(
        name=fit.name,
        a=float(a),
        b=float(b[0]),
        a_interval=(float(a_ends[0]), float(a_ends[1])),
        b_interval=b_ends,
        held_out=fit.held_out,
        misfit=misfit_of(data, fit.predict(data), 2),
        center=fit.center,
        band=band,
        x_range=(float(data.settings[0, 0]), float(data.settings[-1, 0])),
        resampled=np.stack([refit.level, refit.slope]),
    )


def _count_support(names: Sequence[str], data: Replicates, moved: F64) -> dict[str, float]:
    """Compute, for each law, the fraction of resamples in which its held-out error is least."""
    if data.count.size < 3 or not np.isfinite(moved).all():
        return dict.fromkeys(names, math.nan)
    errors = np.stack([held_out_error(name, data, moved) for name in names])
    errors = np.maximum(errors, EXACT)
    least = errors == errors.min(axis=0)  # laws with equal errors share the resample
    shares = (least / least.sum(axis=0)).mean(axis=1)
    return dict(zip(names, shares.tolist(), strict=True))


def _require_independent(names: Sequence[str], offsets: F64) -> None:
    """Raise ValueError if a column is constant or depends linearly on other columns."""
    length = np.abs(offsets).max(axis=0, initial=0.0)
    still = [name for name, size in zip(names, length, strict=True) if size <= EXACT]
    if still:
        raise ValueError(f"columns must vary; got the same {still[0]} in every row")
    scaled = offsets / length
    for i in range(1, len(names)):
        by, *_ = np.linalg.lstsq(scaled[:, :i], scaled[:, i], rcond=None)
        if np.abs(scaled[:, :i] @ by - scaled[:, i]).max() <= EXACT:
            together = [names[j] for j in range(i) if abs(by[j]) > EXACT] + [names[i]]
            listed = f"{', '.join(together[:-1])} and {together[-1]}"
            raise ValueError(
                f"columns must vary independently; {listed} always move together: leave one out"
            )
