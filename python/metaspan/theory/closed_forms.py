r"""Closed forms of floors and boundaries, (60) and (61): first-order ANIL with w kept at 0."""

from __future__ import annotations

import numpy as np

from .._support.types import F64
from ..engines.isotropic_noise import Level, isotropic_noise


def infinite_inner_sets(
    values: F64, variance: float, *, reach: float, load: float, on_sphere: bool = False
) -> F64 | None:
    r"""Return the squared tangents (k,) of the floor (60), or None where it is unstable.

    Heads are N(0, diag(values)), or uniform on a sphere with this covariance, and inner sets are
    infinite. `reach` is alpha beta, `load` is (d - k_star) / (n m_out), and `variance` is that of
    the label noise.
    """
    # On a sphere, E (e^T N e) e e^T lacks the term 2 Sigma N Sigma for the isotropic N of a floor.
    scatter = 0.0 if on_sphere else 2.0 * load
    room = 2.0 - reach * values * (1.0 + scatter)
    if not (room.min() > 0.0 and reach * values.max() < 1.0):
        return None
    fed_back = reach * load * float((values / room).sum())
    if fed_back >= 1.0:
        return None
    tan2: F64 = reach * load * variance / ((1.0 - fed_back) * room)
    return np.sort(tan2)[::-1]


def finite_inner_sets(
    k: int, scale: float, variance: float, *, m_in: int, reach: float, load: float
) -> tuple[float, float] | None:
    r"""Return (a, y) of the floor (61) for heads N(0, scale I); None if there is no root.

    Here :math:`\alpha M M^\top = a I` and :math:`\alpha R^\top R = y I`, so that tan^2 is y / a.
    The root may be unstable.
    """
    from scipy.optimize import brentq  # noqa: PLC0415

    i, s = 1.0 / m_in, scale
    c = i * (k * s + variance)

    def signal(y: Level) -> Level:
        """Return a at the level y of the noise."""
        return (s - c * y) / ((1 + i) * s + c)

    def excess(y: F64) -> F64:
        """Return the noise that a round adds minus the part of y that it removes."""
        a = signal(y)
        S = isotropic_noise(a, a + y, k=k, scale=s, variance=variance, inverse_m=i)
        difference: F64 = reach * load * S - y * s * (2 - reach * s)
        return difference

    # The signal a vanishes at y = s / c. The floor is the first y at which the excess changes sign.
    grid = np.concatenate([[0.0], s / c * np.geomspace(1e-14, 1.0, 2000)])
    negative = np.flatnonzero(excess(grid) < 0.0)
    if not negative.size:
        return None
    place = int(negative[0])
    y = brentq(excess, grid[place - 1], grid[place], xtol=1e-300, rtol=1e-14) if place else 0.0
    return signal(y), y
