r"""What theory predicts for the curves of the panels, by formulas that share no code with runs."""

from __future__ import annotations

import math

import numpy as np

from .._support.types import F64
from ..methods import ANIL

STARTS = 200  # random starts over which a predicted curve is averaged


def population_dist(
    d: int, cov: F64, method: ANIL, rounds: int, dist: float | None = None
) -> float:
    r"""Iterate (23) with infinitely many samples, the limit of many tasks a round.

    At w = 0 the recursion is that of first-order ANIL; by (22) the other three methods multiply the
    part of B off the truth by the same factor.

    Parameters
    ----------
    d : int
        Number of features.
    cov : ndarray of shape (k, k)
        Covariance of centred heads.
    method : ANIL
        The step sizes.
    rounds : int
        Number of rounds.
    dist : float or None
        Sine of all angles at the start; None: random starts.

    Returns
    -------
    float
        dist after the last round, its geometric mean over 200 random starts.
    """
    k, alpha, beta = len(cov), method.alpha, method.beta
    if dist is None:
        drawn = np.random.default_rng(0).standard_normal((STARTS, d, k))
        B = np.linalg.qr(drawn)[0]
        M, R = B[:, :k], np.linalg.qr(B[:, k:])[1]
    else:
        M, R = math.sqrt(1 - dist**2) * np.eye(k)[None], dist * np.eye(k)[None]
    M, R = M / math.sqrt(alpha), R / math.sqrt(alpha)
    for _ in range(rounds):
        SM = cov @ M
        H = M.transpose(0, 2, 1) @ SM
        M, R = M - beta * (alpha**2 * M @ H - alpha * SM), R - beta * alpha**2 * R @ H
    tangent = np.linalg.norm(R @ np.linalg.inv(M), 2, axis=(1, 2))
    return math.exp(float(np.log(tangent / np.hypot(tangent, 1.0)).mean()))


def floor_of_fo_anil(d: int, k: int, n: int, m: tuple[int, int], method: ANIL) -> float:
    r"""Predict where first-order ANIL on fresh samples without noise stops falling.

    Near the truth :math:`\alpha B^\top B \approx I`, and the part R of B off the truth is
    multiplied by :math:`1 - \alpha \beta` a round and receives the gradient noise of its tasks,
    :math:`d - k` rows of variance :math:`\beta^2 \alpha v / (n\, m_\text{out})`. Here v is the mean
    square error of a task after adaptation, weighted by its head. It comes from the inner samples,
    :math:`(k + 1)(k + 2) / m_\text{in}`, and from R itself, :math:`(k + 2)\,\text{dist}^2`. With
    :math:`A = \alpha \beta d / (2 n\, m_\text{out})` the squares balance at
    :math:`A (k + 1)(k + 2) / m_\text{in} / (1 - (k + 2) A)`. The largest of k directions exceeds
    their mean by the factor :math:`1 + \sqrt{k / d}`.

    Parameters
    ----------
    d, k, n : int
        Features, rank and width, and tasks a round; heads are N(0, I).
    m : (int, int)
        Samples of a task, inner and outer.
    method : ANIL
        The step sizes.

    Returns
    -------
    float
        dist, to leading order in :math:`1 / m_\text{in}` and the step sizes; NaN where the noise
        grows faster than it decays.
    """
    A = method.alpha * method.beta * d / (2 * n * m[1])
    if (k + 2) * A >= 1:
        return math.nan
    square = A * (k + 1) * (k + 2) / m[0] / (1 - (k + 2) * A)
    return math.sqrt(square) * (1 + math.sqrt(k / d))
