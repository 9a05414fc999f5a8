"""Tasks with sparse features, and the same tasks as dense arrays."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

import metaspan as ms


class Pair(NamedTuple):
    """A start, a batch of sparse matrices, and a batch of the same matrices as arrays."""

    B: np.ndarray
    w: np.ndarray
    sparse: ms.TaskBatch
    dense: ms.TaskBatch


def matrix(rng, m, d, entries, dtype=np.float64):
    """Draw a CSR matrix (m, d) with about `entries` entries a row; a second row is empty.

    Entries are more likely in columns of low index, and the last column has at least one entry.
    """
    lengths = rng.integers(1, 2 * entries, m)
    rows = [np.unique((d * rng.random(length) ** 2).astype(int)) for length in lengths]
    rows[0] = np.unique(np.append(rows[0], d - 1))
    if m > 1:
        rows[1] = rows[1][:0]
    starts = np.cumsum([0, *map(len, rows)])
    values = rng.standard_normal(starts[-1]).astype(dtype)
    return sparse.csr_matrix((values, np.concatenate(rows), starts), shape=(m, d))


def sparse_sets(rng, sizes, d, entries=6, dtype=np.float64):
    """Draw a matrix and responses for each task."""
    X = [matrix(rng, m, d, entries, dtype) for m in sizes]
    return X, [rng.standard_normal(m).astype(dtype) for m in sizes]


def arrays(matrices):
    """Convert sparse matrices to dense arrays."""
    return [np.ascontiguousarray(X.toarray()) for X in matrices]


def pair(d=60, k=4, m_in=(3, 7, 1, 4), m_out=(5, 2, 6, 1), *, shared=False, **data):
    """Build a pair, the same for equal arguments; with `shared` both loops use the inner sets."""
    rng = np.random.default_rng(d * 1000 + k)
    X_in, y_in = sparse_sets(rng, m_in, d, **data)
    X_out, y_out = (X_in, y_in) if shared else sparse_sets(rng, m_out, d, **data)
    B_star = np.linalg.qr(rng.standard_normal((d, 2)))[0]
    B = 0.7 * rng.standard_normal((d, k)) / np.sqrt(d / 9)
    dense_in = arrays(X_in)
    dense_out = dense_in if shared else arrays(X_out)
    return Pair(
        B,
        0.5 * rng.standard_normal(k),
        ms.TaskBatch(X_in, y_in, X_out, y_out, B_star),
        ms.TaskBatch(dense_in, y_in, dense_out, y_out, B_star),
    )


def run(given, route, *, dense=False, method=None, **changes):
    """Train from the start of a pair on its sparse data, or with `dense` on its arrays."""
    method = ms.MAML(alpha=0.01, beta=0.02, inner_steps=2) if method is None else method
    settings = {"rounds": 30, "init": (given.B, given.w), "stop": None, "threads": 1}
    batch = given.dense if dense else given.sparse
    return ms.train(batch, method, route=route, **{**settings, **changes})
