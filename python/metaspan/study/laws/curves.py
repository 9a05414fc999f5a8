r"""Fit laws of one variable by least squares of log y, to many resamples at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..._support.types import F64
from .resampling import Replicates

FOLDS = 20  # largest number of folds; each fold is a range of neighbouring x
BLOCK = 1 << 16  # largest number of entries in an array of the iteration
ROUNDS = 100  # most steps of the iteration
# The iteration stops when a step of the slope is below this fraction of the slope's distance to its
# bound. Newton's method converges quadratically, so the relative error that remains is about the
# square of this fraction.
CLOSE = 1e-8


@dataclass(frozen=True, kw_only=True)
class Fit:
    r"""Fits of one law to several sets of means: log y = level + bend(slope (v - middle)).

    For a power, v is log x and bend is the identity. For an exponential, v is x and bend is the
    identity. For a logarithm, v is log x and bend(t) is log(1 + t).

    Parameters
    ----------
    name : str
        Name of the law.
    middle : float
        Mean of v over the rows.
    level, slope : ndarray of shape (fits,)
        Parameters of each fit.
    held_out : float
        Root mean square error of the first fit in log y at held-out x.
    """

    name: str
    middle: float
    level: F64
    slope: F64
    held_out: float = math.nan

    def refit(self, means: F64, data: Replicates) -> Fit:
        """Fit the same law to other means of shape (fits, settings)."""
        v = abscissa(self.name, data)
        level, slope, _ = least_squares(self.name, v, data.count[None].astype(float), means)
        return Fit(name=self.name, middle=self.middle, level=level[:, 0], slope=slope[:, 0])

    def parameters(self) -> tuple[F64, F64]:
        """Return a and b of every fit; for a power or an exponential, return log a instead of a."""
        if self.name != "logarithm":
            return self.level - self.slope * self.middle, self.slope
        b = np.exp(self.level) * self.slope
        return np.exp(self.level) - b * self.middle, b

    def predict(self, data: Replicates) -> F64:
        """Predict log y at every setting by the first fit."""
        line = self.slope[0] * (abscissa(self.name, data) - self.middle)
        return np.asarray(self.level[0] + bend(self.name, line))

    def residuals(self, data: Replicates) -> F64:
        """Subtract the prediction of the first fit from log y of every row, (rows,)."""
        return data.logs - np.repeat(self.predict(data), data.count)

    @property
    def center(self) -> tuple[float, float]:
        """Point (x, y) of the first fit at the middle of the data, where y cannot overflow."""
        x = self.middle if self.name == "exponential" else math.exp(self.middle)
        return x, math.exp(self.level[0])


def fit_curve(name: str, data: Replicates) -> Fit:
    """Fit a law to the means at all settings, and compute its error at held-out x."""
    weights = data.count[None].astype(float)
    v, means = abscissa(name, data), data.mean[None]
    level, slope, middle = least_squares(name, v, weights, means)
    error = float(held_out_error(name, data, means)[0]) if v.size > 2 else math.nan
    return Fit(name=name, middle=float(middle[0]), level=level[0], slope=slope[0], held_out=error)


def abscissa(name: str, data: Replicates) -> F64:
    """Return v of `Fit` at every setting: the variable in which the law is nearly straight."""
    x = data.settings[:, 0]
    return x if name == "exponential" else np.log(x)


def bend(name: str, line: F64) -> F64:
    """Compute log y - level from the straight line; minus infinity where y is not positive."""
    if name != "logarithm":
        return line
    with np.errstate(divide="ignore"):
        return np.log1p(np.maximum(line, -1.0))


def held_out_error(name: str, data: Replicates, means: F64) -> F64:
    r"""Compute the root mean square error of log y at held-out x, for every row of means.

    Up to FOLDS distinct x are held out one at a time. If there are more, they are held out in FOLDS
    groups of neighbouring x, so the cost stays linear in the number of x. When an end of the range
    is held out, a law must extrapolate to that end, where laws differ most.

    Parameters
    ----------
    name : str
        Name of the law.
    data : Replicates
        The settings.
    means : ndarray of shape (fits, settings)
        Means of log y.

    Returns
    -------
    ndarray of shape (fits,)
        The errors.
    """
    v, size = abscissa(name, data), data.count.size
    part = np.arange(size) * min(size, FOLDS) // size
    weights = data.count * (part != np.arange(part[-1] + 1)[:, None])
    level, slope, middle = least_squares(name, v, weights.astype(float), means)
    predicted = level[:, part] + bend(name, slope[:, part] * (v - middle[part]))
    return np.asarray(np.sqrt(((predicted - means) ** 2).mean(axis=1)))


def least_squares(name: str, v: F64, weights: F64, means: F64) -> tuple[F64, F64, F64]:
    r"""Fit a law to every row of means, once for each row of weights.

    Parameters
    ----------
    name : str
        Name of the law.
    v : ndarray of shape (settings,)
        Values from `abscissa` for this law.
    weights : ndarray of shape (folds, settings)
        Weights of the settings; zero where a fold leaves a setting out.
    means : ndarray of shape (fits, settings)
        Means of log y.

    Returns
    -------
    level, slope : ndarray of shape (fits, folds)
        Parameters.
    middle : ndarray of shape (folds,)
        Weighted mean of v.
    """
    total = weights.sum(axis=1, keepdims=True)
    middle = weights @ v / total[:, 0]
    offset = v - middle[:, None]
    weighted = weights * offset
    spread = (weighted * offset).sum(axis=1, keepdims=True)
    # With v centred, the normal equations are diagonal, and two matrix products give all
    # linear fits.
    level, slope = means @ (weights / total).T, means @ (weighted / spread).T
    if name != "logarithm":
        return level, slope, middle
    # A logarithm is not linear in v, so its fits need an iteration, which starts from the slope of
    # the straight line.
    size = max(1, BLOCK // weights.size)
    for i in range(0, means.shape[0], size):
        some = slice(i, i + size)
        level[some], slope[some] = _fit_logarithm(offset, weights / total, means[some], slope[some])
    return level, slope, middle


def _fit_logarithm(offset: F64, weights: F64, means: F64, slope: F64) -> tuple[F64, F64]:
    r"""Fit log y = level + log(1 + slope offset); 1 + slope offset stays positive at all points.

    For each slope the best level has a closed form, so only the slope is left to fit, by
    Gauss-Newton steps. A step covers at most nine tenths of the distance to the slopes at which the
    law is zero at some point. A step that does not lower the loss is cut to a quarter.

    Parameters
    ----------
    offset, weights : ndarray of shape (folds, settings)
        v less its mean, and weights that add up to 1.
    means : ndarray of shape (fits, settings)
        Means of log y.
    slope : ndarray of shape (fits, folds)
        Slopes to start from.

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
