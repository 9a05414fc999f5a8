"""Clipped contributions of tasks and noise in their mean, (29) and (30), at full size."""

import numpy as np

from . import explicit
from .philox import box_muller, philox4x32

STREAM = 16  # the number of the stream of the noise
_WORD = 0xFFFFFFFF


def contribution(B, w, inner, outer, method):
    """What one task contributes to grad_B and to grad_w; `method` holds its settings by name."""
    sets = [(X[None, None], y[None, None], 0.0) for X, y in (inner, outer)]
    by_B, by_w, *_ = explicit.meta_gradient(B[None], w[None], *sets, method)
    return by_B[0], by_w[0]


def norm(by_B, by_w):
    """The norm of all numbers of a contribution together."""
    return np.sqrt((by_B**2).sum() + (by_w**2).sum())


def clipped_mean(B, w, tasks, method, clip):
    """The mean over tasks of contributions that are scaled to norms of at most `clip`."""
    parts = [contribution(B, w, inner, outer, method) for inner, outer in tasks]
    factors = [min(1.0, clip / norm(*part)) for part in parts]
    return tuple(
        np.mean([factor * part[i] for factor, part in zip(factors, parts, strict=True)], axis=0)
        for i in range(2)
    )


def noise(seed, trial, round, d, k):
    """Standard normals for the entries of grad_B (d, k) and of grad_w (k,).

    Entry (i, j) of grad_B is number i k + j of a sequence of normals in pairs, whose counters are
    (pair, 0, 0, 0); entry j of grad_w is number j of the sequence with counters (pair, 0, 1, 0).
    """
    counter = (round & _WORD, round >> 32, trial, STREAM)
    key = philox4x32((seed & _WORD, seed >> 32), counter)[:2]

    def sequence(count, task):
        words = [philox4x32(key, (pair, 0, task, 0)) for pair in range((count + 1) // 2)]
        return np.stack(box_muller(words), axis=1).reshape(-1)[:count].astype(float)

    return sequence(d * k, 0).reshape(d, k), sequence(k, 1)


def r_factor(A):
    """The R-factor of a stack of matrices, with a positive diagonal."""
    R = np.linalg.qr(A, mode="r")
    return R * np.sign(np.diagonal(R, axis1=-2, axis2=-1))[..., None]


def bartlett(rng, runs, p, f):
    """The Bartlett factor of (16), (runs, p, min(p, f))."""
    L = np.tril(rng.standard_normal((runs, p, min(p, f))))
    for j in range(min(p, f)):
        L[:, j, j] = np.sqrt(rng.chisquare(f - j, runs))
    return L


def noisy_factor(rng, T, s, rest):
    """Add noise to T (runs, t, k), the R-factor of a matrix (rest, k) in a Haar frame, by (30)."""
    runs, t, k = T.shape
    G, L = rng.standard_normal(T.shape), bartlett(rng, runs, k, rest - t)
    return np.concatenate([T + s * G, s * np.swapaxes(L, 1, 2)], axis=1)


def stacked_in_quadrature(rng, T, s, rest):
    """A wrong rule: the factor of the noise alone below T, without the cross terms of both."""
    L = bartlett(rng, len(T), T.shape[2], rest)
    return np.concatenate([T, s * np.swapaxes(L, 1, 2)], axis=1)
