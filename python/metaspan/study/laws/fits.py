r"""Laws through measurements, and whether the measurements can tell them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..._support import check
from ..._support.types import F64
from .curves import Fit, fit_curve, held_out_error
from .laws import LEAST_TO_COMPARE, Law, Laws, Powers
from .resampling import (
    EXACT,
    LEAST_RESAMPLES,
    MOST_RESAMPLES,
    Groups,
    group,
    interval,
    moves,
    positive,
    probability,
)

__all__ = ["LAWS", "Law", "Laws", "Powers", "fit_laws", "fit_powers"]


LAWS = ("power", "exponential", "logarithm")


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # measurements may be anything
def fit_laws(
    x: ArrayLike,
    y: ArrayLike,
    *,
    laws: Sequence[str] = LAWS,
    band: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Laws:
    r"""Fit laws of one variable, and say whether the measurements can tell them apart.

    Every law is fitted by least squares of log y: y = a x^b, y = a exp(b x), y = a + b log x. They
    are compared by the error of log y at values of x that were held out.

    Parameters
    ----------
    x : array_like of shape (rows,)
        Where was measured; positive for ``"power"`` and ``"logarithm"``.
    y : array_like of shape (rows,)
        What was measured, positive; a row with NaN or a masked value is left out and counted.
    laws : sequence of str
        Those to fit: ``"power"``, ``"exponential"``, ``"logarithm"``.
    band : float
        Coverage of the intervals, and the share of resamples that tells laws apart; in (0, 1).
    resamples : int
        Resamples behind the intervals, at least 100.
    seed : int
        Of the resamples.

    Returns
    -------
    Laws
        The laws, best first.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If there are fewer than two distinct x, or x or y takes values that no law can.

    Notes
    -----
    The scatter of y is taken to be relative: log y scatters about the law. Rows without a value
    say nothing here, although a run that never got there may say much.

    Values of x are held out one at a time; beyond twenty of them, in twenty parts of neighbours.

    Where every x has at least three rows, a resample draws rows anew at each x, so that the scatter
    may depend on x. Otherwise it draws anew among the residuals of the fit at all x. Draws are
    widened by sqrt(r / (r - 1)) for the r rows of an x, by sqrt(N / (N - 2)) for N residuals, and
    by the ratio of Student's quantile to the normal one, with the degrees of freedom of Welch and
    Satterthwaite or N - 2 of them; intervals are percentiles. With three rows at each of four x
    that scatter very unevenly, intervals of 95 % cover about 90 %.

    Laws count as told apart when the best has the least held-out error in a share `band` of the
    resamples, which are centred at the measurements: where two laws are hardly different, the
    wrong one comes out as told apart with a probability of at most about 1 - band.

    The same rows in any order, with the same seed, give the same result.

    Time grows as resamples times min(distinct, 20) times distinct x: 0.1 s for twenty.

    Examples
    --------
    >>> import numpy as np
    >>> from metaspan.study import fit_laws
    >>> x = np.repeat([100, 300, 1000, 3000, 10_000], 4)
    >>> noise = np.random.default_rng(0).standard_normal(20)
    >>> found = fit_laws(x, 0.5 * np.sqrt(x) * np.exp(0.02 * noise))
    >>> found.best.name, round(found.best.b, 2), found.told_apart
    ('power', 0.5, True)
    """
    names = _law_names(laws)
    band = probability("band", band)
    resamples = check.integer("resamples", resamples, LEAST_RESAMPLES, MOST_RESAMPLES)
    seed = check.integer("seed", seed)
    groups = group({"x": x}, y)
    at = groups.settings[:, 0]
    if at.size < 2:
        raise ValueError(
            f"x must take at least two distinct values where y is known; got {at.size}"
        )
    if set(names) != {"exponential"}:
        positive("x", at, "for laws other than the exponential")
    fits = {name: fit_curve(name, groups) for name in names}
    order = sorted(names, key=lambda name: max(fits[name].held_out, EXACT))
    moved: dict[str, F64] = {}
    for name, fit in fits.items():
        chance = moves(groups, fit.residuals(groups), 2, band=band, resamples=resamples, seed=seed)
        moved[name] = groups.mean + chance
    support = _support(order, groups, moved[order[0]])
    compared = len(names) > 1 and at.size >= LEAST_TO_COMPARE
    return Laws(
        laws=tuple(_law(fits[name], groups, moved[name], band) for name in order),
        told_apart=compared and support[order[0]] >= band,
        support=support,
        band=band,
        rows=groups.logs.size,
        distinct=at.size,
        left_out=groups.left_out,
        x_range=(float(at[0]), float(at[-1])),
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
        Positive values of every variable, by its name.
    y : array_like of shape (rows,)
        What was measured, positive; a row with NaN or a masked value is left out and counted.
    band : float
        Coverage of the intervals, in (0, 1).
    resamples : int
        Resamples behind the intervals, at least 100.
    seed : int
        Of the resamples.

    Returns
    -------
    Powers
        The exponents, the factor and their intervals.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If a value is not positive, or the variables do not vary independently of each other.

    Notes
    -----
    Rows are drawn anew as by `fit_laws`: within each distinct combination of the variables where
    all of them have at least three rows, else among the residuals of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from metaspan.study import fit_powers
    >>> d, n = np.array([100, 100, 1000, 1000, 1000]), np.array([10, 40, 10, 40, 90])
    >>> found = fit_powers({"d": d, "n": n}, 3 * np.sqrt(d / n))
    >>> {name: round(b, 6) for name, b in found.exponents.items()}
    {'d': 0.5, 'n': -0.5}
    """
    if not (isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns)):
        raise TypeError(f"columns must map names to values; got {check.show(columns)}")
    if not columns:
        raise ValueError("columns must name at least one variable; got none")
    band = probability("band", band)
    resamples = check.integer("resamples", resamples, LEAST_RESAMPLES, MOST_RESAMPLES)
    seed = check.integer("seed", seed)
    groups, names = group(columns, y), list(columns)
    if not groups.logs.size:
        raise ValueError("y must hold at least one value; got none but NaN")
    for name, column in zip(names, groups.settings.T, strict=True):
        positive(name, column, "for a product of powers")
    logs = np.log(groups.settings)
    center = np.average(logs, axis=0, weights=groups.count)
    offsets = logs - center
    _independent(names, offsets)

    weight = np.sqrt(groups.count)[:, None]
    solve = np.linalg.pinv(offsets * weight) * weight.T
    level = groups.count / groups.logs.size
    exponents = solve @ groups.mean
    residuals = groups.logs - np.repeat(level @ groups.mean + offsets @ exponents, groups.count)
    drawn = groups.mean + moves(
        groups, residuals, len(names) + 1, band=band, resamples=resamples, seed=seed
    )
    slopes = drawn @ solve.T
    factor = float(np.exp(level @ groups.mean - center @ exponents))
    low, high = interval(drawn @ level - slopes @ center, band)
    total = float(((groups.logs - groups.logs.mean()) ** 2).sum())
    varies = total > EXACT**2 * groups.logs.size
    return Powers(
        exponents=dict(zip(names, exponents.tolist(), strict=True)),
        intervals={name: interval(slopes[:, i], band) for i, name in enumerate(names)},
        factor=factor,
        factor_interval=(float(np.exp(low)), float(np.exp(high))),
        r_squared=1.0 - float((residuals**2).sum()) / total if varies else math.nan,
        band=band,
        rows=groups.logs.size,
        left_out=groups.left_out,
    )


def _law_names(laws: Sequence[str]) -> tuple[str, ...]:
    """Names of laws, each once."""
    if not isinstance(laws, (str, Iterable)):
        raise TypeError(f"laws must hold names of laws; got {check.show(laws)}")
    names = (laws,) if isinstance(laws, str) else tuple(laws)
    for name in names:
        check.choice("laws", name, LAWS)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"laws must name each law once; got {check.show(names)}")
    return names


def _law(fit: Fit, groups: Groups, moved: F64, band: float) -> Law:
    """A law with its intervals, and how far it passes by the means."""
    a, b = fit.parameters()
    ends, b_ends = (interval(v, band) for v in fit.through(moved, groups).parameters())
    with np.errstate(over="ignore", under="ignore"):
        a, *a_ends = (a[0], *ends) if fit.name == "logarithm" else np.exp([a[0], *ends])
    freedom = groups.logs.size - groups.count.size
    error = float((groups.scatter**2).sum()) / freedom if freedom else 0.0
    misfit = math.nan
    if groups.count.size > 2 and error > EXACT**2:
        passed = float((groups.count * (groups.mean - fit.at(groups)) ** 2).sum())
        misfit = math.sqrt(passed / (groups.count.size - 2) / error)
    return Law(
        name=fit.name,
        a=float(a),
        b=float(b[0]),
        a_interval=(float(a_ends[0]), float(a_ends[1])),
        b_interval=b_ends,
        held_out=fit.held_out,
        misfit=misfit,
        center=fit.center,
    )


def _support(names: Sequence[str], groups: Groups, moved: F64) -> dict[str, float]:
    """Share of the resamples in which each law has the least held-out error; ties are shared."""
    if groups.count.size < 3 or not np.isfinite(moved).all():
        return dict.fromkeys(names, math.nan)
    errors = np.stack([held_out_error(name, groups, moved) for name in names])
    errors = np.maximum(errors, EXACT)
    least = errors == errors.min(axis=0)
    shares = (least / least.sum(axis=0)).mean(axis=1)
    return dict(zip(names, shares.tolist(), strict=True))


def _independent(names: Sequence[str], offsets: F64) -> None:
    """Full column rank, or the names of the variables that move together."""
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
