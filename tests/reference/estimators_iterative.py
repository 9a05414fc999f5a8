"""Estimators that iterate, one task at a time, on lists X[i] (m_i, d) and y[i] (m_i,)."""

import numpy as np


def loss(X, y, coefficients, weights=None):
    """The first term of (42), for rows theta_i of coefficients (n, d)."""
    weights = np.ones(len(X)) if weights is None else weights
    total = 0
    for w_i, X_i, y_i, theta_i in zip(weights, X, y, coefficients, strict=True):
        total = total + w_i * np.sum((y_i - X_i @ theta_i) ** 2)
    return total / (2 * sum(len(y_i) for y_i in y))


def balanced_loss(X, y, B, V, weights=None):
    """The objective (42)."""
    return loss(X, y, V @ B.T, weights) + np.sum((B.T @ B - V.T @ V) ** 2) / 8


def heads_by_least_squares(X, y, B):
    """The heads of the least norm, (n, k)."""
    pairs = zip(X, y, strict=True)
    return np.array([np.linalg.lstsq(X_i @ B, y_i, rcond=None)[0] for X_i, y_i in pairs])


def gradient_at_heads(X, y, B, V, weights=None):
    """The gradient of the loss in B at fixed heads, (d, k)."""
    weights = np.ones(len(X)) if weights is None else weights
    rows = sum(len(y_i) for y_i in y)
    gradient = np.zeros(B.shape)
    for w_i, X_i, y_i, v_i in zip(weights, X, y, V, strict=True):
        gradient += w_i * np.outer(X_i.T @ (X_i @ B @ v_i - y_i), v_i) / rows
    return gradient


def gradient_round(X, y, B, step, weights=None):
    """One iteration (43) with a gradient step: heads, then B."""
    V = heads_by_least_squares(X, y, B)
    return B - step * gradient_at_heads(X, y, B, V, weights)


def alternating_round(X, y, B, weights=None):
    """One iteration (43) with B by least squares over all samples, as one dense system."""
    weights = np.ones(len(X)) if weights is None else weights
    V = heads_by_least_squares(X, y, B)
    pairs = zip(weights, X, V, strict=True)
    rows = np.concatenate([np.sqrt(w_i) * np.kron(X_i, v_i[None, :]) for w_i, X_i, v_i in pairs])
    responses = np.concatenate([np.sqrt(w_i) * y_i for w_i, y_i in zip(weights, y, strict=True)])
    return np.linalg.qr(np.linalg.lstsq(rows, responses, rcond=None)[0].reshape(B.shape))[0]


def coefficient_gradient(X, y, coefficients, weights=None):
    """The gradient (n, d) of the loss in the coefficients."""
    weights = np.ones(len(X)) if weights is None else weights
    rows = sum(len(y_i) for y_i in y)
    entries = zip(weights, X, y, coefficients, strict=True)
    return np.array([w_i * X_i.T @ (X_i @ t_i - y_i) / rows for w_i, X_i, y_i, t_i in entries])


def trace_norm_objective(X, y, coefficients, lam, weights=None):
    """The objective (44)."""
    singular = np.linalg.svd(coefficients, compute_uv=False)
    return loss(X, y, coefficients, weights) + lam * singular.sum()


def trace_norm_minimum(X, y, lam, weights=None, steps=4000):
    """The minimiser of (44), (n, d), by plain proximal gradient steps with dense decompositions."""
    weights = np.ones(len(X)) if weights is None else weights
    rows = sum(len(y_i) for y_i in y)
    curvature = max(w * np.linalg.norm(x, 2) ** 2 for w, x in zip(weights, X, strict=True)) / rows
    theta = np.zeros((len(X), X[0].shape[1]))
    for _ in range(steps):
        moved = theta - coefficient_gradient(X, y, theta, weights) / curvature
        left, singular, right = np.linalg.svd(moved, full_matrices=False)
        theta = left @ (np.maximum(singular - lam / curvature, 0)[:, None] * right)
    return theta


def frank_wolfe_step(X, y, coefficients, radius, weights=None):
    """One step (45) with a dense decomposition: the next coefficients and the gap before it."""
    gradient = coefficient_gradient(X, y, coefficients, weights)
    left, _, right = np.linalg.svd(gradient)
    target = -radius * np.outer(left[:, 0], right[0])
    gap = np.sum(gradient * (coefficients - target))
    change = target - coefficients
    zeros = [np.zeros(len(y_i)) for y_i in y]
    square = 2 * loss(X, zeros, change, weights)
    return coefficients + min(1.0, gap / square) * change, gap


def subspace_pursuit_step(X, y, coefficients, k, step):
    """One step (46) with a dense decomposition."""
    rows = zip(X, y, coefficients, strict=True)
    moved = np.array([t_i - step * X_i.T @ (X_i @ t_i - y_i) / len(y_i) for X_i, y_i, t_i in rows])
    left, singular, right = np.linalg.svd(moved, full_matrices=False)
    return left[:, :k] @ (singular[:k, None] * right[:k])


def temporal_difference_step(X, X_next, reward, coefficients, *, k, step, gamma):
    """One semigradient step (46), with the responses ``reward + gamma X_next theta``."""
    rows = zip(X_next, reward, coefficients, strict=True)
    y = [reward_i + gamma * next_i @ t_i for next_i, reward_i, t_i in rows]
    return subspace_pursuit_step(X, y, coefficients, k, step)
