"""(23) and (33): first-order ANIL on infinitely many tasks, with finite inner sets."""

import numpy as np


def spread_gradient(B, Sigma_theta, *, alpha, noise, m_in):
    """(33): the mean gradient by B (d, k) for any covariance (d, d) of theta, in d dimensions.

    E B^T S theta theta^T S B, with S the sample covariance of m_in rows, and E theta theta^T S B.
    """
    d = len(B)
    share = 0.0 if m_in is None else 1.0 / m_in
    moment = (1 + share) * Sigma_theta + share * (np.trace(Sigma_theta) + noise**2) * np.eye(d)
    return alpha**2 * B @ (B.T @ moment @ B) - alpha * Sigma_theta @ B


def crosstalk(Sigma_star, noise, m_in):
    """Return the c of (23); m_in = None means infinitely many samples."""
    return 0.0 if m_in is None else (np.trace(Sigma_star) + noise**2) / m_in


def gradient(M, R, Sigma_star, *, alpha, noise, m_in):
    """(23), w = 0: the mean gradient with respect to M (k_star, k) and R (e, k)."""
    growth = 1.0 if m_in is None else (m_in + 1) / m_in
    c = crosstalk(Sigma_star, noise, m_in)
    H = M.T @ (growth * Sigma_star + c * np.eye(len(M))) @ M + c * R.T @ R
    return alpha**2 * M @ H - alpha * Sigma_star @ M, alpha**2 * R @ H


def descend(M, R, Sigma_star, rounds, *, alpha, beta, noise, m_in):
    """Return the state (M, R) after `rounds` rounds of (23)."""
    for _ in range(rounds):
        by_M, by_R = gradient(M, R, Sigma_star, alpha=alpha, noise=noise, m_in=m_in)
        M, R = M - beta * by_M, R - beta * by_R
    return M, R
