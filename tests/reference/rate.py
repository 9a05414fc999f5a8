"""(22): how fast population training leaves the complement of span(B_star)."""

import numpy as np


def contraction_factor(B, Psi, method):
    """(22), w = 0, J = 1: B_perp <- B_perp times this (k, k); Psi = mean theta theta^T (d, d)."""
    return np.eye(B.shape[1]) - method.beta * method.alpha**2 * B.T @ Psi @ B


def log_rate(method, mu_star):
    """(22): the decrease of log dist per round near the solution."""
    return -np.log1p(-method.beta * method.alpha * mu_star**2)
