r"""Solves (65): shrinkage of directions, and the relations between kappa and the ridge penalty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .._support.types import F64
from .risk import least_squares_risk

GRID = 200  # values of kappa that the search for the best penalty compares
FLAT = 1e-12  # relative difference up to which lengths of shaping count as equal


@dataclass(frozen=True)
class Directions:
    r"""Orthogonal directions of a new task, in groups of equal prior and equal shaping.

    A task's vector has the second moment `prior` along each direction of a group. The learner
    penalises the square of its coefficient by the penalty divided by `shaping`; directions with a
    shaping of 0 are left out.
    """

    prior: F64  # (groups,)
    shaping: F64  # (groups,), psi^2
    counts: F64  # (groups,)
    variance: float  # of the label noise
    m: float  # number of samples; infinite for infinitely many

    @property
    def inverse_m(self) -> float:
        """The reciprocal of the number of samples."""
        return 1.0 / self.m

    @property
    def rank(self) -> float:
        """Number of directions that are not left out."""
        return float(self.counts[self.shaping > 0.0].sum())

    @property
    def outside(self) -> float:
        """Second moment of the task's vector along all directions that are left out."""
        return float((self.counts * self.prior)[self.shaping == 0.0].sum())

    @property
    def inside(self) -> float:
        """Second moment of the task's vector along all other directions."""
        return float((self.counts * self.prior)[self.shaping > 0.0].sum())

    @property
    def flat(self) -> bool:
        """Whether all directions that are not left out have the same shaping."""
        kept = self.shaping[self.shaping > 0.0]
        return not kept.size or bool(kept.max() - kept.min() <= FLAT * kept.max())

    def keep(self, rank: int) -> Directions:
        """Leave out all but `rank` directions: those of largest shaping, then of largest prior."""
        order = np.lexsort((-self.prior, -self.shaping))
        before = np.cumsum(self.counts[order]) - self.counts[order]
        counts = np.zeros_like(self.counts)
        counts[order] = np.clip(rank - before, 0.0, self.counts[order])
        counts[self.shaping == 0.0] = 0.0
        cut = (counts > 0.0) & (counts < self.counts)
        shaping = np.where(counts > 0.0, self.shaping, 0.0)
        return replace(
            self,
            prior=np.concatenate([self.prior, self.prior[cut]]),
            shaping=np.concatenate([shaping, np.zeros(cut.sum())]),
            counts=np.concatenate(
                [np.where(cut, counts, self.counts), (self.counts - counts)[cut]]
            ),
        )

    def shrink(self, kappa: float) -> F64:
        """Return the factors theta (groups,) by which the learner shrinks the directions."""
        if math.isinf(kappa):
            return np.zeros_like(self.shaping)
        theta: F64 = np.where(
            self.shaping > 0.0, self.shaping / np.maximum(self.shaping + kappa, 1e-300), 0.0
        )
        return theta

    def excess(self, theta: F64) -> float:
        r"""Return the excess risk in the units of `evaluate`: half the label risk less the noise.

        The noise is subtracted before the division, which loses no digits if it dominates.
        """
        missed = float((self.counts * (1.0 - theta) ** 2 * self.prior).sum())
        used = self.inverse_m * float((self.counts * theta * theta).sum())
        error = missed + self.variance * used
        if used >= 1.0:
            return math.inf if error > 0.0 else 0.0
        return 0.5 * error / (1.0 - used)

    def exact_excess(self, kappa: float, penalty: float) -> float | None:
        """Return the excess risk if it has an exact form for Gaussian features, otherwise None.

        Without a penalty, shaping changes nothing if m is at least the rank, and a flat shaping
        gives the solution of minimum norm. An infinite penalty gives the estimate 0.
        """
        rank = self.rank
        if math.isinf(kappa) or rank == 0.0:
            return 0.5 * (self.inside + self.outside)
        if penalty != 0.0:
            return None
        if math.isinf(self.m):
            return 0.5 * self.outside
        if self.m < rank and not self.flat:
            return None
        return least_squares_risk(int(self.m), int(rank), self.inside, self.outside, self.variance)

    def degrees(self, kappa: float) -> float:
        """Return the sum of the factors theta divided by m."""
        return self.inverse_m * float((self.counts * self.shrink(kappa)).sum())

    def penalty_of(self, kappa: float) -> float:
        """Return the penalty of the user's loss at a value of kappa, (65)."""
        if kappa == 0.0 or math.isinf(kappa):
            return kappa
        return max(kappa * (1.0 - self.degrees(kappa)), 0.0)

    def kappa_of(self, penalty: float) -> float:
        """Return kappa at a penalty of the user's loss, the inverse of `penalty_of`."""
        if math.isinf(self.m) or math.isinf(penalty) or self.rank == 0.0:
            return penalty
        kept = self.shaping > 0.0
        mean = self.inverse_m * float((self.counts * self.shaping)[kept].sum())
        if penalty > 0.0:
            # kappa (1 - degrees) is convex in kappa and 0 at 0, so it equals a penalty once.
            return _find_root(
                lambda kappa: kappa / penalty * (1.0 - self.degrees(kappa)) - 1.0,
                penalty,
                penalty + mean,
            )
        surplus = (self.rank - self.m) * self.inverse_m
        if surplus <= 0.0:
            return 0.0
        least = float(self.shaping[kept].min())
        return _find_root(lambda kappa: 1.0 - self.degrees(kappa), least * surplus, mean)

    def best_kappa(self) -> float:
        r"""Return the kappa of least risk.

        A grid that contains the minimum gives an interval in which the derivative of the risk
        changes its sign. The ends of the grid follow from the derivative for small and for large
        kappa.
        """
        kept = self.shaping > 0.0
        shaping, prior, counts = self.shaping[kept], self.prior[kept], self.counts[kept]
        noise = self.variance + self.outside
        least = self.kappa_of(0.0)
        if math.isinf(self.m) or (noise == 0.0 and least == 0.0):
            return 0.0
        signal = float((counts * shaping * prior).sum())
        if signal == 0.0:
            return math.inf
        scatter = self.inverse_m * float((counts * shaping * shaping).sum())
        high = 10.0 * (shaping.max() + (noise + self.inside) * scatter / signal)
        low = least
        if least == 0.0:
            aimed = prior > 0.0
            ratio = float((shaping[aimed] / prior[aimed]).min())
            low = 0.1 * min(noise * self.inverse_m * ratio, float(shaping.min()))
        grid = np.geomspace(low, max(high, 2.0 * low), GRID)
        at = int(np.argmin([self.excess(self.shrink(float(kappa))) for kappa in grid]))
        left, right = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, GRID - 1)])
        if self._slope(left) >= 0.0 or self._slope(right) <= 0.0:
            return float(grid[at])
        return _find_root(self._slope, left, right)

    def _slope(self, kappa: float) -> float:
        """Return a positive multiple of the derivative of the risk with respect to kappa."""
        theta = self.shrink(kappa)
        left = self.counts * theta * (1.0 - theta)
        missed = float((self.counts * (1.0 - theta) ** 2 * self.prior).sum())
        used = self.inverse_m * float((self.counts * theta * theta).sum())
        bias = float((left * (1.0 - theta) * self.prior).sum())
        scatter = self.inverse_m * float((left * theta).sum())
        return (1.0 - used) * bias - (self.variance + missed) * scatter


def _find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of a function between two positive numbers, also if rounding hides it."""
    from scipy.optimize import brentq  # noqa: PLC0415

    start, end = math.log(low), math.log(high)
    first, last = function(math.exp(start)), function(math.exp(end))
    if first == 0.0 or last == 0.0:
        return low if first == 0.0 else high
    if (first < 0.0) == (last < 0.0):  # both ends are zeros up to rounding, or one of them is
        return low if abs(first) < abs(last) else high
    return math.exp(brentq(lambda x: function(math.exp(x)), start, end, xtol=1e-15, rtol=1e-15))
