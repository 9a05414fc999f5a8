r"""Least squares of log y for laws of one variable, for many resamples at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..._support.types import F64
from .resampling import Groups

FOLDS = 20  # parts of neighbouring x that are held out in turn, at most
BLOCK = 1 << 16  # numbers that are iterated on at once
ROUNDS = 100  # steps of the iteration, at most
CLOSE = 1e-8  # a last step, relative to the room for it: what is left is of second order


@dataclass(frozen=True, kw_only=True)
class Fit:
    r"""A law through several means at once: log y = level + bend(slope (v - middle)).

    For a power v is log x and for an exponential x, and bend is the identity; for a logarithm v is
    log x and bend(t) is log(1 + t).

    Parameters
    ----------
    name : str
        Of the law.
    middle : float
        Mean of v over the rows.
    level, slope : ndarray of shape (fits,)
        Parameters of each fit.
    held_out : float
        Of the first: root mean square error of log y at x that were held out.
    """

    name: str
    middle: float
    level: F64
    slope: F64
    held_out: float = math.nan

    def through(self, means: F64, groups: Groups) -> Fit:
        """The same law through other means, (fits, groups)."""
        v = abscissa(self.name, groups)
        level, slope, _ = least_squares(self.name, v, groups.count[None].astype(float), means)
        return Fit(name=self.name, middle=self.middle, level=level[:, 0], slope=slope[:, 0])

    def parameters(self) -> tuple[F64, F64]:
        """The a and b of every fit; in place of a factor a, its logarithm."""
        if self.name != "logarithm":
            return self.level - self.slope * self.middle, self.slope
        b = np.exp(self.level) * self.slope
        return np.exp(self.level) - b * self.middle, b

    def at(self, groups: Groups) -> F64:
        """What the first fit says of log y at every group."""
        line = self.slope[0] * (abscissa(self.name, groups) - self.middle)
        return np.asarray(self.level[0] + bend(self.name, line))

    def residuals(self, groups: Groups) -> F64:
        """Log y of every row less what the first fit says of it."""
        return groups.logs - np.repeat(self.at(groups), groups.count)

    @property
    def center(self) -> tuple[float, float]:
        """The point (x, y) at the middle of the first fit."""
        x = self.middle if self.name == "exponential" else math.exp(self.middle)
        return x, math.exp(self.level[0])


def fit_curve(name: str, groups: Groups) -> Fit:
    """A law through the means of groups, and its error at held-out x."""
    weights = groups.count[None].astype(float)
    v, means = abscissa(name, groups), groups.mean[None]
    level, slope, middle = least_squares(name, v, weights, means)
    error = float(held_out_error(name, groups, means)[0]) if v.size > 2 else math.nan
    return Fit(name=name, middle=float(middle[0]), level=level[0], slope=slope[0], held_out=error)


def abscissa(name: str, groups: Groups) -> F64:
    """The variable in which a law bends a straight line, at every group."""
    x = groups.settings[:, 0]
    return x if name == "exponential" else np.log(x)


def bend(name: str, line: F64) -> F64:
    """Log y above its level, from the straight line; minus infinity where y is not positive."""
    if name != "logarithm":
        return line
    with np.errstate(divide="ignore"):
        return np.log1p(np.maximum(line, -1.0))


def held_out_error(name: str, groups: Groups, means: F64) -> F64:
    """Root mean square error at x held out in turn, for every row of means (fits, groups)."""
    v, size = abscissa(name, groups), groups.count.size
    part = np.arange(size) * min(size, FOLDS) // size
    weights = groups.count * (part != np.arange(part[-1] + 1)[:, None])
    level, slope, middle = least_squares(name, v, weights.astype(float), means)
    predicted = level[:, part] + bend(name, slope[:, part] * (v - middle[part]))
    return np.asarray(np.sqrt(((predicted - means) ** 2).mean(axis=1)))


def least_squares(name: str, v: F64, weights: F64, means: F64) -> tuple[F64, F64, F64]:
    """Levels and slopes (fits, parts) through means (fits, groups), and the middles (parts,).

    There is a row of weights, (parts, groups), for every part of the groups that is fitted.
    """
    total = weights.sum(axis=1, keepdims=True)
    middle = weights @ v / total[:, 0]
    offset = v - middle[:, None]
    weighted = weights * offset
    spread = (weighted * offset).sum(axis=1, keepdims=True)
    level, slope = means @ (weights / total).T, means @ (weighted / spread).T
    if name != "logarithm":
        return level, slope, middle
    held = max(1, BLOCK // weights.size)
    for i in range(0, means.shape[0], held):
        some = slice(i, i + held)
        level[some], slope[some] = _bent(offset, weights / total, means[some], slope[some])
    return level, slope, middle


def _bent(offset: F64, weights: F64, means: F64, slope: F64) -> tuple[F64, F64]:
    """Levels and slopes of log y = level + log(1 + slope offset), positive at all its points.

    One parameter is left once the level is eliminated: Gauss-Newton steps on the slope, which keep
    a tenth of the distance to where the law would not be positive, and shrink where one fails.
    """
    fits, parts = slope.shape
    offset = np.where(weights > 0, offset, 0.0)
    low, high = -1.0 / offset.max(axis=1), -1.0 / offset.min(axis=1)
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
        off -= level[:, None]
        pull = u / bulk
        pull -= np.einsum("ij,ij->i", w, pull)[:, None]
        found = np.einsum("ij,ij,ij->i", w, off, off)
        better = found <= loss[left]
        newton = np.einsum("ij,ij,ij->i", w, off, pull) / np.einsum("ij,ij,ij->i", w, pull, pull)
        room = np.where(newton > 0, high[p] - trial, trial - low[p])
        newton = np.sign(newton) * np.minimum(np.abs(newton), 0.9 * room)
        kept[left] = np.where(better, trial, kept[left])
        levels[left] = np.where(better, level, levels[left])
        loss[left] = np.where(better, found, loss[left])
        step[left] = np.where(better, newton, 0.25 * step[left])
        left = left[
            np.abs(step[left]) > CLOSE * np.minimum(high[p] - kept[left], kept[left] - low[p])
        ]
        if not left.size:
            break
    return levels.reshape(fits, parts), kept.reshape(fits, parts)
