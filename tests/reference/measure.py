"""Measurements, (20) and (21), from arrays at full size d."""

import numpy as np

from .losses import adapt


def principal_sines(B, B_star):
    """Sines of the principal angles of span(B) and span(B_star), largest first, to absolute eps.

    They are computed from the part of the orthonormal B_star off span(B). B_star is projected
    twice, since one projection leaves a part inside span(B) that is as large as its rounding
    errors.
    """
    Q = np.linalg.qr(B)[0]
    off = B_star - Q @ (Q.T @ B_star)
    off = off - Q @ (Q.T @ off)
    return np.linalg.svd(off, compute_uv=False)


def distance(B, B_star):
    """(20): the sine of the largest principal angle; 1 by definition for k < k_star."""
    return 1.0 if B.shape[1] < B_star.shape[1] else principal_sines(B, B_star)[0]


def distance_in_coordinates(M, R):
    """(20) from B = [B_star, E] [M; R] for k >= k_star, at full relative accuracy for any R.

    The first k_star columns of M must be well conditioned. The span is that of the columns [I; R_1
    M_1^{-1}] and [0; N], N = R_2 - R_1 M_1^{-1} M_2, so the tangent of the largest angle is the
    norm of the part of R_1 M_1^{-1} off the span of N. Scaling by powers of two keeps the linear
    algebra within the range of a double.
    """
    k_star = len(M)
    M_1, M_2, R_1, R_2 = M[:, :k_star], M[:, k_star:], R[:, :k_star], R[:, k_star:]
    inverse = np.linalg.inv(M_1.astype(np.float64)).astype(M.dtype)
    # One Newton step gives the inverse to the precision of M.
    inverse = inverse @ (2 * np.eye(k_star, dtype=M.dtype) - M_1 @ inverse)
    off = R_1 @ inverse
    if R_2.size:
        surplus = R_2 - off @ M_2
        scale = np.exp2(-np.floor(np.log2(abs(surplus).max())))
        Q = np.linalg.qr((surplus * scale).astype(np.float64))[0].astype(M.dtype)
        for _ in range(2):
            off = off - Q @ (Q.T @ off)
    scale = np.exp2(-np.floor(np.log2(abs(off).max())))
    tangent = np.linalg.norm((off * scale).astype(np.float64), 2) / scale
    return tangent / np.sqrt(1 + tangent * tangent)


def singular_values(B):
    """(21): sigma(B), largest first."""
    return np.linalg.svd(B, compute_uv=False)


def step_defect(B, alpha):
    """(21): ||I - alpha B^T B||_2."""
    return np.linalg.norm(np.eye(B.shape[1]) - alpha * B.T @ B, 2)


def head_spectrum(heads):
    """(21): mu_star and L_star of mean w_star w_star^T, and eta_star = ||mean w_star||."""
    eigenvalues = np.linalg.eigvalsh(heads.T @ heads / len(heads))
    return np.sqrt(max(eigenvalues[0], 0)), np.sqrt(eigenvalues[-1]), np.linalg.norm(heads.mean(0))


def adapted_diversity(B, w, inner_sets, method):
    """(21): the smallest and largest eigenvalue of mean w_i w_i^T over the adapted heads."""
    heads = np.array([adapt(B, w, inner, method)[1] for inner in inner_sets])
    eigenvalues = np.linalg.eigvalsh(heads.T @ heads / len(heads))
    return eigenvalues[0], eigenvalues[-1]
