"""Risk of generalised ridge regression by the fixed point of Jin, Balasubramanian and Paul (2024).

With the companion Stieltjes transform v of the Gram matrix of the whitened features, kappa = 1 / v
solves a fixed point for a matrix Omega that need not commute with the prior, and the variance is
the derivative of this fixed point by the penalty.
"""

import numpy as np


def kappa(Omega, m, penalty):
    """kappa = penalty + (kappa / m) tr[Omega (Omega + kappa I)^{-1}], by iteration from above."""
    identity, value = np.eye(len(Omega)), penalty + np.trace(Omega) / m
    for _ in range(20_000):
        after = penalty + value / m * np.trace(np.linalg.solve(Omega + value * identity, Omega))
        change, value = after - value, after
        if abs(change) <= 1e-15 * abs(value) and abs(change.imag) <= 1e-14 * abs(value.imag):
            break
    return value


def label_risk(Sigma, Omega, m, noise, penalty):
    """(d kappa / d penalty) (noise^2 + kappa^2 tr[G Sigma G]) with G = (Omega + kappa I)^{-1}.

    The derivative is that of a complex step.
    """
    step = 1e-30
    value = kappa(Omega, m, complex(penalty, step))
    inverse = np.linalg.inv(Omega + value.real * np.eye(len(Omega)))
    bias = value.real**2 * np.trace(inverse @ Sigma @ inverse)
    return value.imag / step * (noise**2 + bias)


def sampled(rng, Sigma, Omega, *, m, noise, penalty, n):
    """Label risks (n,) of ridge regression on samples; every risk is that of a new task."""
    d = len(Sigma)
    root, shape = (V * np.sqrt(np.maximum(s, 0.0)) for s, V in map(np.linalg.eigh, (Sigma, Omega)))
    theta = rng.standard_normal((n, d)) @ root.T
    X = rng.standard_normal((n, m, d))
    y = np.einsum("nmd,nd->nm", X, theta) + noise * rng.standard_normal((n, m))
    Z = X @ shape  # of full row rank where the penalty is zero
    Zt = Z.transpose(0, 2, 1)
    v = Zt @ np.linalg.solve(Z @ Zt + m * penalty * np.eye(m), y[:, :, None])
    return noise**2 + ((v[:, :, 0] @ shape.T - theta) ** 2).sum(axis=1)
