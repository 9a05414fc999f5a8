r"""Predicts dist in the runs of the panels by formulas that share no code with the runs."""

from __future__ import annotations

import math

import numpy as np

from .._support.types import F64
from ..methods import ANIL
from ..tasks.linear import LinearTasks
from ..tasks.moments import second_moment

STARTS = 200  # number of random starts over which a predicted curve is averaged


def population_dist(
    d: int, cov: F64, method: ANIL, rounds: int, dist: float | None = None
) -> float:
    r"""Iterate (23), which is the limit of many tasks in a round, for infinitely many samples.

    The recursion is that of first-order ANIL at w = 0. By (22), the other three methods multiply
    the part of B outside the true subspace by the same factor as first-order ANIL.

    Parameters
    ----------
    d : int
        Number of features.
    cov : ndarray of shape (k, k)
        Covariance of the heads, which have mean zero.
    method : ANIL
        Method that gives the step sizes.
    rounds : int
        Number of rounds.
    dist : float or None
        Sine of every principal angle at the start. None: the starts are random.

    Returns
    -------
    float
        The value of dist after the last round; the geometric mean over 200 starts if the starts are
        random.
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


def surplus_of_pool(tasks: LinearTasks, alpha: float, n: int, m_in: int, m_out: int) -> float:
    r"""Bound, by (49), the surplus of first-order ANIL after many rounds on n fixed tasks.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred Gaussian heads.
    alpha : float
        Inner step size.
    n, m_in, m_out : int
        Number of fixed tasks, and of inner and outer samples of a task.

    Returns
    -------
    float
        Bound on the norm of the part of B orthogonal to the truth, to leading order for large d.
    """
    S = second_moment(tasks.heads, tasks.k)
    variance = float(np.trace(S)) + tasks.noise**2
    deviation = math.sqrt((variance**2 + 2 * float((S * S).sum())) / (n * m_in * m_out))
    return math.sqrt(math.sqrt(2 * (tasks.d - tasks.k)) * deviation * m_in / (alpha * variance))
