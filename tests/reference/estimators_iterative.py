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
