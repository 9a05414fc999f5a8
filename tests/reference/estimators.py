"""(38)-(41): estimators in one step, from matrices of size d x d and loops over tasks and samples.

`X` and `y` are lists of the arrays (m_i, d) and (m_i,) of the tasks, `weights` their weights.
"""

import numpy as np


def moments_matrix(X, y, weights):
    total = np.zeros((X[0].shape[1],) * 2)
    for X_i, y_i, w in zip(X, y, weights, strict=True):
        for x, label in zip(X_i, y_i, strict=True):
            total += w * label**2 * np.outer(x, x)
    return total / sum(len(y_i) for y_i in y)


def duchi_matrix(X, y, weights):
    total = np.zeros((X[0].shape[1],) * 2)
    for X_i, y_i, w in zip(X, y, weights, strict=True):
        m = len(y_i)
        for j in range(m):
            for other in range(m):
                if other != j:
                    pair = np.outer(y_i[j] * X_i[j], y_i[other] * X_i[other])
                    total += w / (m * (m - 1)) * pair
    return total / len(X)


def halves(X, y):
    """The averages of the halves of each task, two arrays (n, d); the first has m // 2 samples."""
    pairs = []
    for X_i, y_i in zip(X, y, strict=True):
        half = len(y_i) // 2
        terms = X_i * y_i[:, None]
        pairs.append((terms[:half].mean(axis=0), terms[half:].mean(axis=0)))
    U, V = zip(*pairs, strict=True)
    return np.array(U), np.array(V)


def split_matrix(X, y, weights):
    U, V = halves(X, y)
    return sum(
        w * (np.outer(u, v) + np.outer(v, u)) / 2 for u, v, w in zip(U, V, weights, strict=True)
    ) / len(X)


def top(A, k):
    """Eigenvectors of the k algebraically largest eigenvalues, from the full decomposition."""
    values, vectors = np.linalg.eigh(A)
    return vectors[:, np.argsort(values)[::-1][:k]]


def least_squares(X, y, B, ridge=0.0):
    """Heads (n, k) of each task on the features X B, by the normal equations."""
    heads = []
    for X_i, y_i in zip(X, y, strict=True):
        Z = X_i @ B
        G = Z.T @ Z / len(y_i) + ridge * np.eye(B.shape[1])
        heads.append(np.linalg.pinv(G, rcond=1e-12) @ (Z.T @ y_i) / len(y_i))
    return np.array(heads)


def ridge_coefficients(X, y, penalty):
    """Theta (n, d) of each task alone: ||y - X theta||^2 / (2 m) + penalty/2 ||theta||^2."""
    d = X[0].shape[1]
    return np.array(
        [
            np.linalg.solve(X_i.T @ X_i + len(y_i) * penalty * np.eye(d), X_i.T @ y_i)
            for X_i, y_i in zip(X, y, strict=True)
        ]
    )


def principal_directions(Theta, weights, k):
    """Top right singular vectors of the coefficients, each scaled by the root of its weight."""
    return np.linalg.svd(np.sqrt(weights)[:, None] * Theta)[2][:k].T


def pooled_coefficients(X, y, weights, penalty):
    total, right = penalty * np.eye(X[0].shape[1]), 0.0
    count = sum(len(y_i) for y_i in y)
    for X_i, y_i, w in zip(X, y, weights, strict=True):
        total = total + w * X_i.T @ X_i / count
        right = right + w * X_i.T @ y_i / count
    return np.linalg.pinv(total, rcond=1e-12) @ right


def reduced_rank_coefficients(X, Y, weights, k, penalty):
    """Theta (n, d) of rank k for responses Y (m, n) to the same X, as a problem of least squares.

    The penalty is sqrt(m penalty) I below X, with responses of zero.
    """
    m, d = X.shape
    X = np.vstack([X, np.sqrt(m * penalty) * np.eye(d)])
    scaled = np.vstack([Y, np.zeros((d, Y.shape[1]))]) * np.sqrt(weights)
    Theta = np.linalg.pinv(X, rcond=1e-12) @ scaled
    V = np.linalg.svd(X @ Theta)[2][:k].T
    return ((Theta @ V) @ V.T / np.sqrt(weights)).T


def left_out_error(X, y, penalty):
    """Mean squared error of predicting each sample from ridge regression on the others.

    The penalty of the others is that of all m samples: m penalty.
    """
    m, d = X.shape
    errors = []
    for j in range(m):
        rest = np.arange(m) != j
        G = X[rest].T @ X[rest] + m * penalty * np.eye(d)
        errors.append(y[j] - X[j] @ np.linalg.solve(G, X[rest].T @ y[rest]))
    return np.mean(np.square(errors))
