r"""The noise of a round of the limit off the span for equal variances, (61)."""

from __future__ import annotations

from typing import TypeVar

from .._support.types import F64

Level = TypeVar("Level", float, F64)


def isotropic_noise(
    a: Level, h: Level, *, k: int, scale: float, variance: float, inverse_m: float
) -> Level:
    r"""Return :math:`\hat S(a, h)` of (61): S of (54) is :math:`\alpha \hat S I / m_\text{out}`.

    The method is first-order ANIL at w = 0 for heads N(0, scale I), with
    :math:`\alpha M M^\top = a I` and :math:`\alpha B^\top B = h I`. `variance` is that of the label
    noise, and `inverse_m` is 1 / m_in, or 0 for infinite inner sets.
    """
    i, s = inverse_m, scale
    c1, c2, c3 = 1 + i, 1 + 2 * i, 1 + 3 * i
    q1 = s * (s * (k + 2) + variance)
    q2 = s * s * k * (k + 2) + 2 * variance * s * k + variance * variance
    kappa = s * s * (k + 2)
    S = c1 * a * q1 + q2 * h * i - 2 * c2 * (c1 * kappa * a * a + (k + 2) * q1 * a * h * i)
    S += c2 * c3 * (c1 * kappa * a * a * h + 2 * (k + 2) * q1 * a * h * h * i)
    S += c2 * (k + 2) * q2 * h**3 * i * i
    return S
