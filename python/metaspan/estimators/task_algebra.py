r"""Products and least squares of every task of a range, without a loop over tasks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._support.types import F64
from .samples import I64, by_length, spread, task_sums

# Heads come from normal equations, refined once, if the diagonal of the Cholesky factor of
# Z_i^T Z_i varies by less than this factor; otherwise from the pseudo-inverse of Z_i.
_WELL_CONDITIONED = 1e4


def _equal_length(offsets: I64) -> int:
    """Return the number of rows of each task, or 0 if it differs between tasks."""
    lengths = np.diff(offsets)
    return int(lengths[0]) if (lengths == lengths[0]).all() else 0


def predict(Z: F64, heads: F64, offsets: I64) -> F64:
    """Return ``Z_i v_i`` of all tasks, (rows,), from Z (rows, k) and heads (n, k)."""
    if m := _equal_length(offsets):
        stacked = Z.reshape(len(heads), m, Z.shape[1])
        products: F64 = np.matmul(stacked, heads[:, :, None]).reshape(-1)
    else:
        products = np.einsum("rk,rk->r", Z, spread(heads, offsets))
    return products


def combine_rows(Z: F64, c: F64, offsets: I64) -> F64:
    """Return ``Z_i^T c_i`` of all tasks, (n, k), from Z (rows, k) and c (rows,)."""
    if m := _equal_length(offsets):
        n = len(offsets) - 1
        sums: F64 = np.matmul(c.reshape(n, 1, m), Z.reshape(n, m, Z.shape[1]))[:, 0]
        return sums
    return task_sums(Z * c[:, None], offsets)


def outer_rows(c: F64, heads: F64, offsets: I64) -> F64:
    """Return ``c_i v_i^T`` of all tasks, (rows, k), from c (rows,) and heads (n, k)."""
    if m := _equal_length(offsets):
        return (c.reshape(-1, m, 1) * heads[:, None, :]).reshape(len(c), heads.shape[1])
    return c[:, None] * spread(heads, offsets)


def solve_heads(Z: F64, y: F64, offsets: I64) -> F64:
    """Return the heads (n, k) of the least norm that minimise ``||y_i - Z_i v||`` of each task.

    Tasks with equal numbers of rows are solved together. The cost is that of the Gram matrices
    ``Z_i^T Z_i``, rows x k^2, and of n factorisations of k x k matrices.
    """
    if m := _equal_length(offsets):
        return _solve_stack(Z.reshape(-1, m, Z.shape[1]), y.reshape(-1, m))
    heads = np.empty((len(offsets) - 1, Z.shape[1]))
    for tasks, rows in by_length(offsets):
        heads[tasks] = _solve_stack(Z[rows], y[rows])
    return heads


def _solve_stack(Z: F64, y: F64) -> F64:
    """Return the heads (n, k) of tasks with the same number of rows, from Z (n, m, k), y (n, m)."""
    if Z.shape[1] < Z.shape[2]:
        return _least_norm(Z, y)
    transposed = Z.transpose(0, 2, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        grams = np.matmul(transposed, Z)
    regular = _well_conditioned(grams)
    if not regular.all():
        heads = np.empty((len(Z), Z.shape[2]))
        heads[~regular] = _least_norm(Z[~regular], y[~regular])
        if regular.any():
            heads[regular] = _solve_stack(Z[regular], y[regular])
        return heads
    inverses = np.linalg.inv(grams)
    heads = np.matmul(inverses, np.matmul(transposed, y[:, :, None]))
    residuals = y[:, :, None] - np.matmul(Z, heads)
    heads += np.matmul(inverses, np.matmul(transposed, residuals))
    return np.ascontiguousarray(heads[:, :, 0])


def _well_conditioned(grams: F64) -> NDArray[np.bool_]:
    """Return which Gram matrices (n, k, k) are far enough from singular for normal equations."""
    try:
        diagonals = np.diagonal(np.linalg.cholesky(grams), axis1=1, axis2=2)
    except np.linalg.LinAlgError:  # at least one is not positive definite, or not finite
        finite = np.isfinite(grams).all(axis=(1, 2))
        values = np.zeros(grams.shape[:2])
        values[finite] = np.linalg.eigvalsh(grams[finite])
        diagonals = np.sqrt(np.maximum(values, 0.0))
    least: F64 = diagonals.min(axis=1)
    return np.asarray(least * _WELL_CONDITIONED > diagonals.max(axis=1))


def _least_norm(Z: F64, y: F64) -> F64:
    """Return the heads of the least norm of tasks (n, m, k) through singular values.

    The heads of features that are not finite are nan.
    """
    heads = np.full((len(Z), Z.shape[2]), np.nan)
    finite = np.isfinite(Z).all(axis=(1, 2))
    inverses = np.linalg.pinv(Z[finite], rcond=max(Z.shape[1:]) * np.finfo(float).eps)
    heads[finite] = np.matmul(inverses, y[finite, :, None])[:, :, 0]
    return heads
