"""Many small related regressions, (69) and (70), by explicit matrices and by refitting.

Tasks are lists of arrays Z_i (m_i, k) and y_i (m_i,). An intercept is removed by any orthonormal
basis of the complement of the constant vector: likelihoods and least squares do not depend on it.
"""

from itertools import pairwise

import numpy as np


def split(values, offsets):
    """Return the values of each task, from the values of all tasks below one another."""
    return [values[first:end] for first, end in pairwise(offsets)]


def complement(m):
    """Return orthonormal rows (m - 1, m) that are orthogonal to the constant vector."""
    return np.linalg.svd(np.ones((1, m)))[2][1:]


def reflection(m):
    """Return H of (69), (m, m), which turns the constant vector into the first unit vector."""
    if m == 1:
        return np.eye(1)
    u = np.ones(m) / np.sqrt(m) - np.eye(m)[0]
    return np.eye(m) - 2 * np.outer(u, u) / (u @ u)


def without_intercept(Z, y):
    """Return the tasks with their intercepts removed, for Z_i and y_i of every task."""
    bases = [complement(len(task)) for task in y]
    return (
        [Q @ task for Q, task in zip(bases, Z, strict=True)],
        [Q @ task for Q, task in zip(bases, y, strict=True)],
    )


def log_likelihood(Z, y, mean, covariance, noise):
    """Return the log of the normal density of all responses, with the heads integrated out."""
    total = 0.0
    for features, responses in zip(Z, y, strict=True):
        V = features @ covariance @ features.T + noise * np.eye(len(responses))
        off = responses - features @ mean
        total -= np.linalg.slogdet(2 * np.pi * V)[1] / 2 + off @ np.linalg.solve(V, off) / 2
    return total


def em_step(Z, y, mean, covariance, noise, *, fit_mean=True):
    """Return the mean, the covariance and the noise after one step of (69).

    The law of a head, given the responses, is that of one normal vector given another.
    """
    heads, spreads, squares = [], [], 0.0
    for features, responses in zip(Z, y, strict=True):
        cross = covariance @ features.T
        V = features @ cross + noise * np.eye(len(responses))
        head = mean + cross @ np.linalg.solve(V, responses - features @ mean)
        spread = covariance - cross @ np.linalg.solve(V, cross.T)
        squares += np.sum((responses - features @ head) ** 2)
        squares += np.trace(features @ spread @ features.T)
        heads.append(head)
        spreads.append(spread)
    heads = np.array(heads)
    after = heads.mean(axis=0) if fit_mean else np.zeros(len(mean))
    second = [S + np.outer(w - after, w - after) for S, w in zip(spreads, heads, strict=True)]
    return after, np.mean(second, axis=0), squares / sum(len(task) for task in y)


def ridge_model(Z, y, ridge, mean, intercept):
    """Return the head and the intercept (70) of one task, by least squares with added rows.

    The added rows ``sqrt(ridge) (w - mean) = 0`` are the penalty. Without one, the head is the
    least-squares solution nearest to the mean.
    """
    k = len(mean)
    centre = Z.mean(axis=0) if intercept else np.zeros(k)
    level = y.mean() if intercept else 0.0
    A = np.concatenate([Z - centre, np.sqrt(ridge) * np.eye(k)])
    right = np.concatenate([y - level - (Z - centre) @ mean, np.zeros(k)])
    head = mean + np.linalg.lstsq(A, right, rcond=1e-10)[0]
    return head, level - centre @ head


def augmented_ridge_model(Z, y, ridge, mean):
    """Return the head and the free intercept (70) of one task, from one system for both."""
    m, k = Z.shape
    top = np.column_stack([np.ones(m), Z])
    below = np.column_stack([np.zeros(k), np.sqrt(ridge) * np.eye(k)])
    right = np.concatenate([y, np.sqrt(ridge) * mean])
    solution = np.linalg.lstsq(np.concatenate([top, below]), right, rcond=None)[0]
    return solution[1:], solution[0]


def left_out_residuals(Z, y, ridge, mean, intercept):
    """Return the residual of each row of one task, for the model fitted to its other rows."""
    residuals = np.full(len(y), np.nan)
    for row in range(len(y)):
        rest = np.arange(len(y)) != row
        if rest.any():
            head, level = ridge_model(Z[rest], y[rest], ridge, mean, intercept)
            residuals[row] = y[row] - Z[row] @ head - level
        elif not intercept:
            residuals[row] = y[row] - Z[row] @ mean
    return residuals


def chosen_penalty(Z, y, noise, mean, intercept):
    """Return the penalty nearest to the noise, among those within one standard error of the best.

    The penalties are 10^(j / 2) times the noise, for j from -8 to 8.
    """
    tried = noise * 10.0 ** (np.arange(-8, 9) / 2)
    errors = np.array(
        [
            [np.mean(left_out_residuals(*task, ridge, mean, intercept) ** 2) for ridge in tried]
            for task in zip(Z, y, strict=True)
            if len(task[1]) > intercept
        ]
    )
    best = np.argmin(errors.mean(axis=0))
    accepted = []
    for j in range(len(tried)):
        excess = errors[:, j] - errors[:, best]
        if excess.mean() <= excess.std(ddof=1) / np.sqrt(len(errors)):
            accepted.append(abs(j - 8) + 1j * j)
    return tried[int(min(accepted, key=lambda place: (place.real, place.imag)).imag)]


def single_task_errors(X, y, tried):
    """Return the summed squared leave-one-out errors (penalties,) of ridge regression, by refits.

    The penalty of m rows is m times the given one, as in (41).
    """
    errors = np.zeros(len(tried))
    zero = np.zeros(X.shape[1])
    for j, ridge in enumerate(tried):
        errors[j] = np.sum(left_out_residuals(X, y, len(y) * ridge, zero, False) ** 2)
    return errors


def pooled_model(X, y, ridge):
    """Return the coefficients of one ridge regression of all rows, whose intercepts are removed."""
    N, d = sum(map(len, y)), X[0].shape[1]
    gram = sum(task.T @ task for task in X) / N + ridge * np.eye(d)
    moment = sum(task.T @ values for task, values in zip(X, y, strict=True)) / N
    return np.linalg.solve(gram, moment)
