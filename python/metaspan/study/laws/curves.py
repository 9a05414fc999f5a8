r"""Fits laws of one variable by least squares of log y, to many resamples at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..._support.types import F64
from .resampling import EXACT, Replicates

FOLDS = 20  # largest number of folds; a fold holds out some neighbouring x
BLOCK = 1 << 16  # largest number of entries in an array of the iteration
ROUNDS = 100  # largest number of steps of the iteration
# The iteration stops when the step of a slope is below this fraction of the distance from the slope
# to its nearest bound. Since Newton's method converges quadratically, the remaining relative error
# is about the square of this fraction.
CLOSE = 1e-8


@dataclass(frozen=True, kw_only=True)
class Fit:
    r"""Fits of one law to several sets of means, log y = level + bend(slope (v - middle)).

    For a power, v is log x and bend(t) is t. For an exponential, v is x and bend(t) is t. For a
    logarithm, v is log x and bend(t) is log(1 + t).

    Parameters
    ----------
    name : str
        Name of the law.
    middle : float
        Mean of v over the rows.
    level, slope : ndarray of shape (fits,)
        Parameters of each fit.
    held_out : float
        Root mean square error of log y at held-out x, for the first fit.
    """

    name: str
    middle: float
    level: F64
    slope: F64
    held_out: float = math.nan

    def refit(self, means: F64, data: Replicates) -> Fit:
        """Refit the law to other mean values, given as an array of shape (fits, settings)."""
        v = abscissa(self.name, data)
        level, slope, _ = least_squares(self.name, v, data.count[None].astype(float), means)
        return Fit(name=self.name, middle=self.middle, level=level[:, 0], slope=slope[:, 0])

    def parameters(self) -> tuple[F64, F64]:
        """Return a and b of each fit; for a power or an exponential, log a is returned for a."""
        if self.name != "logarithm":
            return self.level - self.slope * self.middle, self.slope
        b = np.exp(self.level) * self.slope
        return np.exp(self.level) - b * self.middle, b

    def predict(self, data: Replicates) -> F64:
        """Predict log y at each setting by the first fit."""
        line = self.slope[0] * (abscissa(self.name, data) - self.middle)
        return np.asarray(self.level[0] + bend(self.name, line))

    def residuals(self, data: Replicates) -> F64:
        """Return, for each row, log y minus the prediction of the first fit, (rows,)."""
        return data.logs - np.repeat(self.predict(data), data.count)

    @property
    def center(self) -> tuple[float, float]:
        """A point (x, y) on the curve of the first fit, amid the data, where y cannot overflow."""
        x = self.middle if self.name == "exponential" else math.exp(self.middle)
        return x, math.exp(self.level[0])


def fit_curve(name: str, data: Replicates) -> Fit:
    """Fit a law to the means at all settings; compute its error of log y at held-out x."""
    weights = data.count[None].astype(float)
    v, means = abscissa(name, data), data.mean[None]
    level, slope, middle = least_squares(name, v, weights, means)
    error = float(held_out_error(name, data, means)[0]) if v.size > 2 else math.nan
    return Fit(name=name, middle=float(middle[0]), level=level[0], slope=slope[0], held_out=error)


def misfit_of(data: Replicates, predicted: F64, parameters: int) -> float:
    r"""Compute the root mean square distance of the means from a fit, in standard errors.

    The misfit is that of the classical test of a lack of fit, which compares two variances per
    degree of freedom: the variance of the means about the fit, and the variance of the rows about
    their means. The test needs more settings than parameters, with repeated rows.

    Parameters
    ----------
    data : Replicates
        The rows, grouped by setting.
    predicted : ndarray of shape (settings,)
        The fitted values of log y.
    parameters : int
        Number of parameters of the fit.

    Returns
    -------
    float
        The misfit, which is about 1 if the fit holds; NaN if the test is not possible.
    """
    settings = data.count.size
    freedom = data.logs.size - settings
    error = float((data.scatter**2).sum()) / freedom if freedom else 0.0
    if settings <= parameters or error <= EXACT**2:
        return math.nan
    missed = float((data.count * (data.mean - predicted) ** 2).sum())
    return math.sqrt(missed / (settings - parameters) / error)


def abscissa(name: str, data: Replicates) -> F64:
    """Return v of `Fit` at each setting: x for an exponential, log x for any other law."""
    x = data.settings[:, 0]
    return x if name == "exponential" else np.log(x)


def bend(name: str, line: F64) -> F64:
    """Compute bend(line), which is log y - level; minus infinity where y is not positive."""
    if name != "logarithm":
        return line
    with np.errstate(divide="ignore"):
        return np.log1p(np.maximum(line, -1.0))


def held_out_error(name: str, data: Replicates, means: F64) -> F64:
    r"""Compute, for each row of `means`, the root mean square error of log y at held-out x.

    If there are at most FOLDS distinct x, each x is held out once. If there are more than FOLDS
    distinct x, FOLDS groups of neighbouring x are held out one after the other, so the cost is
    linear in the number of x. When an end of the range of x is held out, a law must extrapolate to
    that end, where laws differ most.

    Parameters
    ----------
    name : str
        Name of the law.
    data : Replicates
        The settings, and the number of rows at each setting.
    means : ndarray of shape (fits, settings)
        Means of log y.

    Returns
    -------
    ndarray of shape (fits,)
        The error of each row of `means`.
    """
    v, size = abscissa(name, data), data.count.size
    part = np.arange(size) * min(size, FOLDS) // size
    weights = data.count * (part != np.arange(part[-1] + 1)[:, None])
    level, slope, middle = least_squares(name, v, weights.astype(float), means)
    predicted = level[:, part] + bend(name, slope[:, part] * (v - middle[part]))
    return np.asarray(np.sqrt(((predicted - means) ** 2).mean(axis=1)))


def least_squares(name: str, v: F64, weights: F64, means: F64) -> tuple[F64, F64, F64]:
    r"""Fit a law to each row of `means` with each row of `weights`.

    Parameters
    ----------
    name : str
        Name of the law.
    v : ndarray of shape (settings,)
        Values from `abscissa` for this law.
    weights : ndarray of shape (folds, settings)
        For each fold, the weights of the settings; zero at the settings that the fold holds out.
    means : ndarray of shape (fits, settings)
        Means of log y.

    Returns
    -------
    level, slope : ndarray of shape (fits, folds)
        Parameters.
    middle : ndarray of shape (folds,)
        Weighted mean of v, for each fold.
    """
    total = weights.sum(axis=1, keepdims=True)
    middle = weights @ v / total[:, 0]
    offset = v - middle[:, None]
    weighted = weights * offset
    spread = (weighted * offset).sum(axis=1, keepdims=True)
    # Since v is centred, the matrix of the normal equations is diagonal, and two matrix products
    # give the fits of all linear laws.
    level, slope = means @ (weights / total).T, means @ (weighted / spread).T
    if name != "logarithm":
        return level, slope, middle
    # For a logarithm, log y is not linear in v. Its fits need an iteration, which starts from the
    # slope of the straight line.
    size = max(1, BLOCK // weights.size)
    for i in range(0, means.shape[0], size):
        some = slice(i, i + size)
        level[some], slope[some] = _fit_logarithm(offset, weights / total, means[some], slope[some])
    return level, slope, middle


def _fit_logarithm(offset: F64, weights: F64, means: F64, slope: F64) -> tuple[F64, F64]:
    r"""Fit log y = level + log(1 + slope offset); 1 + slope offset stays positive at all points.

    For a given slope, the best level has a closed form. The slope is found by Gauss-Newton steps.
    The law is zero at some point if the slope reaches one of two bounds; a step covers at most nine
    tenths of the distance to a bound. If a step does not lower the loss, a quarter of the step is
    tried.

    Parameters
    ----------
    offset, weights : ndarray of shape (folds, settings)
        For each fold, v minus its mean, and weights whose sum is 1.
    means : ndarray of shape (fits, settings)
        Means of log y.
    slope : ndarray of shape (fits, folds)
        Slopes at which the iteration starts.

    Returns
    -------
    level, slope : ndarray of shape (fits, folds)
        Parameters.
    """
    fits, parts = slope.shape
    offset = np.where(weights > 0, offset, 0.0)
    low, high = -1.0 / offset.max(axis=1), -1.0 / offset.min(axis=1)  # where 1 + slope offset is 0
    part = np.tile(np.arange(parts), fits)
    fit = np.repeat(np.arange(fits), parts)
    kept = np.clip(slope, 0.5 * low, 0.5 * high).ravel()
    levels = np.zeros(kept.size)
    loss, step = np.full(kept.size, np.inf), np.zeros(kept.size)
    left = np.arange(kept.size)
    for _ in range(ROUNDS):
        p = part[left]
        u, w, trial = offset[p], weights[p], kept[left] + step[left]
        bulk = 1.0 + trial[:, None] * u
        off = means[fit[left]] - np.log(bulk)
        level = np.einsum("ij,ij->i", w, off)
        off -= level[:, None]  # residuals
        pull = u / bulk
        pull -= np.einsum("ij,ij->i", w, pull)[:, None]  # -d residuals / d slope
        trial_loss = np.einsum("ij,ij,ij->i", w, off, off)
        better = trial_loss <= loss[left]
        newton = np.einsum("ij,ij,ij->i", w, off, pull) / np.einsum("ij,ij,ij->i", w, pull, pull)
        room = np.where(newton > 0, high[p] - trial, trial - low[p])
        newton = np.sign(newton) * np.minimum(np.abs(newton), 0.9 * room)
        kept[left] = np.where(better, trial, kept[left])
        levels[left] = np.where(better, level, levels[left])
        loss[left] = np.where(better, trial_loss, loss[left])
        step[left] = np.where(better, newton, 0.25 * step[left])
        left = left[
            np.abs(step[left]) > CLOSE * np.minimum(high[p] - kept[left], kept[left] - low[p])
        ]
        if not left.size:
            break
    return levels.reshape(fits, parts), kept.reshape(fits, parts)
