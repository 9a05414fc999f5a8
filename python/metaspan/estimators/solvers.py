r"""Matrix-free decompositions and least squares that several estimators use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._support.types import F64
from .samples import I64

Operator = Callable[[F64], F64]


def top_eigenvectors(apply: Operator, samples_dim: int, start: F64, k: int) -> tuple[F64, F64]:
    """Return the k algebraically largest eigenvalues, descending, and their eigenvectors (dim, k).

    `apply` maps Q (dim, c) to A Q for a symmetric A; `start` (dim, >= 1) starts the Krylov space.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: PLC0415

    if samples_dim <= max(2 * k + 2, 32):  # ARPACK needs k < dim; a small A is formed
        A = apply(np.eye(samples_dim))
        values, vectors = np.linalg.eigh((A + A.T) / 2)
        return values[::-1][:k].copy(), np.ascontiguousarray(vectors[:, ::-1][:, :k])

    def matmat(Q: F64) -> F64:
        Q = np.ascontiguousarray(Q.reshape(samples_dim, -1))
        return apply(Q)

    A = LinearOperator(
        (samples_dim, samples_dim), matvec=lambda q: matmat(q)[:, 0], matmat=matmat, dtype=float
    )
    values, vectors = eigsh(A, k=k, which="LA", v0=np.ascontiguousarray(start[:, 0]))
    order = np.argsort(values)[::-1]
    return values[order], np.ascontiguousarray(vectors[:, order])


def least_squares_heads(Z: F64, y: F64, offsets: I64, ridge: float = 0.0) -> F64:
    """Return the heads (n, k) that minimise ``||y_i - Z_i v||^2 / (2 m_i) + ridge/2 ||v||^2``.

    With ``ridge=0`` and a singular ``Z_i^T Z_i``, the head of the least norm.
    """
    n, k = len(offsets) - 1, Z.shape[1]
    heads = np.empty((n, k))
    for i in range(n):
        rows = slice(int(offsets[i] - offsets[0]), int(offsets[i + 1] - offsets[0]))
        Z_i, y_i = Z[rows], y[rows]
        if ridge:
            G = Z_i.T @ Z_i / len(Z_i) + ridge * np.eye(k)
            heads[i] = np.linalg.solve(G, Z_i.T @ y_i / len(Z_i))
        else:
            heads[i] = np.linalg.lstsq(Z_i, y_i, rcond=None)[0]
    return heads


def orthonormal(B: F64) -> F64:
    """Return orthonormal columns with the span of B (dim, k)."""
    return np.linalg.qr(B)[0]
