r"""Groups measurements by setting, and draws resamples of the mean at each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._support import check
from ..._support.types import F64, I64

Interval = tuple[float, float]

LEAST_ROWS = 3  # rows that are needed at a setting to estimate the scatter at this setting
LEAST_RESAMPLES, MOST_RESAMPLES = 100, 10**6
EXACT = 1e-9  # errors of log y below this value are rounding errors


@dataclass(frozen=True, kw_only=True)
class Replicates:
    r"""Rows of log y, grouped by setting; a setting is a combination of values of the variables.

    Parameters
    ----------
    settings : ndarray of shape (settings, variables), float64
        Distinct settings, in ascending order.
    count : ndarray of shape (settings,), int64
        Number of rows at each setting.
    mean : ndarray of shape (settings,), float64
        Mean of log y at each setting.
    logs : ndarray of shape (rows,), float64
        Log y of all rows, sorted by setting, and by value within each setting.
    left_out : int
        Number of rows without a value of y, which the arrays above do not contain.
    """

    settings: F64
    count: I64
    mean: F64
    logs: F64
    left_out: int

    @property
    def scatter(self) -> F64:
        r"""For each row, log y minus the mean of log y at its setting, (rows,)."""
        return self.logs - np.repeat(self.mean, self.count)

    @property
    def repeated(self) -> bool:
        r"""Whether there are enough rows at every setting to estimate the scatter there.

        Rows of equal values, such as shares of the time of one call, say nothing about scatter.
        """
        enough = bool((self.count >= LEAST_ROWS).all())
        return enough and float(np.abs(self.scatter).max()) > EXACT

    def select(self, kept: NDArray[np.bool_]) -> Replicates:
        r"""Return the rows at some of the settings; `kept` has the shape (settings,)."""
        return replace(
            self,
            settings=self.settings[kept],
            count=self.count[kept],
            mean=self.mean[kept],
            logs=self.logs[np.repeat(kept, self.count)],
        )


def check_numbers(name: str, value: ArrayLike, *, gaps: bool = False) -> F64:
    """Convert an argument to a vector of real numbers; if `gaps`, allow NaN and masked entries."""
    array = check.rectangular(name, value, gaps=gaps)
    if array.dtype == object:
        array = check.rectangular(name, array.tolist(), gaps=gaps)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    check.shape(name, array, ("rows",))
    array = array.astype(np.float64)
    if gaps and np.isinf(array).any():
        raise ValueError(f"{name} must be finite, or NaN in rows to leave out; got an infinity")
    if not gaps and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got a NaN or an infinity")
    return array


def require_positive(name: str, array: F64, why: str) -> None:
    """Raise ValueError unless all entries of an array are positive."""
    if not (array > 0).all():
        raise ValueError(f"{name} must be positive, {why}; got {array.min():g}")


def check_probability(name: str, value: object) -> float:
    """Check a number strictly between 0 and 1."""
    number = check.real(name, value, 0.0, 1.0)
    if number in (0.0, 1.0):
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {number:g}")
    return number


def group_rows(columns: Mapping[str, ArrayLike], y: ArrayLike) -> Replicates:
    r"""Group rows of log y by setting; the order of the rows in the arguments does not matter.

    Settings are sorted, and the rows at each setting are sorted by value, so that sums and
    resamples have the same bits for any order of the rows in the arguments.
    """
    values = check_numbers("y", y, gaps=True)
    arrays = []
    for name, column in columns.items():
        array = check_numbers(name, column)
        if array.shape != values.shape:
            raise ValueError(
                f"y must have a row for each of {name}, {array.size}; got {values.size}"
            )
        arrays.append(array)
    known = ~np.isnan(values)
    kept = values[known]
    require_positive("y", kept, "since its scatter is assumed to be relative")
    settings, logs = np.column_stack([array[known] for array in arrays]), np.log(kept)
    order = np.lexsort((logs, *settings.T[::-1]))
    settings, logs = settings[order], logs[order]
    first = np.flatnonzero(np.r_[True, (np.diff(settings, axis=0) != 0).any(axis=1)][: logs.size])
    count = np.diff(np.r_[first, logs.size])
    return Replicates(
        settings=settings[first],
        count=count,
        mean=np.add.reduceat(logs, first) / count if logs.size else logs,
        logs=logs,
        left_out=int(values.size - kept.size),
    )


def student(band: float, freedom: float) -> float:
    r"""Divide the two-sided quantile of Student's t by that of the normal distribution.

    The quantile is computed by a series in 1 / freedom. For a band of 0.95 and at least 3 degrees
    of freedom, the ratio is accurate to 1 %.
    """
    z = NormalDist().inv_cdf(0.5 + 0.5 * band)
    q = z * z
    terms = (
        (q + 1) / 4,
        ((5 * q + 16) * q + 3) / 96,
        (((3 * q + 19) * q + 17) * q - 15) / 384,
        ((((79 * q + 776) * q + 1482) * q - 1920) * q - 945) / 92160,
    )
    return 1.0 + sum(term / freedom**i for i, term in enumerate(terms, start=1))


def draw_deviations(
    data: Replicates, residuals: F64, parameters: int, *, band: float, resamples: int, seed: int
) -> F64:
    r"""Draw random deviations of the means at all settings from their true values.

    If there are at least `LEAST_ROWS` rows at every setting, the deviation at a setting is drawn
    from the scatter of the rows at that setting, so the scatter may differ between settings. If a
    setting has fewer rows, all deviations are drawn from the residuals of a fit. The deviations are
    increased for two reasons: draws from r rows have a variance that is too small by a factor of (r
    - 1) / r, and small samples need quantiles of Student's t instead of the normal distribution.

    Parameters
    ----------
    data : Replicates
        The rows, grouped by setting.
    residuals : ndarray of shape (rows,)
        Residuals of a fit to log y.
    parameters : int
        Number of parameters of the fit.
    band : float
        Coverage of the intervals that are computed from the draws.
    resamples, seed : int
        Number of resamples, and seed of the draws.

    Returns
    -------
    ndarray of shape (resamples, settings)
        Deviations to add to the means. All are NaN if some setting has fewer than `LEAST_ROWS` rows
        and there are no more rows than parameters.
    """
    rows, count = data.logs.size, data.count
    if data.repeated:
        pools = np.split(
            data.scatter * np.repeat(np.sqrt(count / (count - 1.0)), count), np.cumsum(count)[:-1]
        )
        freedom = _freedom(np.array([(pool**2).mean() for pool in pools]) / count, count)
    elif rows > parameters:
        freedom = float(rows - parameters)
        pools = [residuals * math.sqrt(rows / freedom)] * count.size
    else:
        return np.full((resamples, count.size), np.nan)
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, count.size))
    for i, (pool, r) in enumerate(zip(pools, count, strict=True)):
        drawn[:, i] = pool[rng.integers(pool.size, size=(resamples, r))].mean(axis=1)
    return drawn * student(band, freedom)


def _freedom(variance: F64, count: I64) -> float:
    """Return Welch and Satterthwaite's degrees of freedom for a sum of variances of means."""
    total = float(variance.sum())
    if total == 0.0:
        return float((count - 1).sum())
    share = variance / total
    return 1.0 / float((share**2 / (count - 1)).sum())


def percentile_interval(values: F64, band: float) -> Interval:
    """Return the ends of the interval that holds the middle fraction `band` of the values."""
    low, high = np.quantile(values, [0.5 - 0.5 * band, 0.5 + 0.5 * band], method="weibull")
    return float(low), float(high)


def interval_ends(values: F64, band: float) -> Interval:
    """Return the ends as `percentile_interval`; NaN if a value is NaN, without a warning."""
    if np.isnan(values).any():
        return math.nan, math.nan
    with np.errstate(invalid="ignore"):  # the difference of two infinite neighbours is NaN
        low, high = percentile_interval(values, band)
    low = float(values.min()) if math.isnan(low) else low
    return low, float(values.max()) if math.isnan(high) else high
