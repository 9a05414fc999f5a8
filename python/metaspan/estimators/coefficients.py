r"""Factors of the coefficients (n, dim) of all tasks; SVDs of matrices that are not formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._support.types import F64
from .samples import Samples, offsets_of, task_weights
from .solvers import fixed_normals
from .space import Space
from .task_algebra import combine_rows, outer_rows, predict

# Singular values come from a Gram matrix if the diagonal of its Cholesky factor varies by less than
# the inverse of this factor: they are then accurate to 1e-12 of the largest one.
_LEAST_PIVOT = 1e-4
BLOCKS = 8  # of a Krylov space, before it is compressed to its leading Ritz vectors

Fused = Callable[[F64], tuple[F64, F64]]
"""Maps Q (dim, c) to ``A Q`` (n, c) and ``A^T A Q`` (dim, c) for some matrix A (n, dim)."""


class Factors(NamedTuple):
    """The matrix ``left @ right.T``, (n, dim)."""

    left: F64  # (n, r)
    right: F64  # (dim, r)


class Leading(NamedTuple):
    """Ritz approximations of the leading singular values and vectors of a matrix."""

    left: F64  # (n, c)
    values: F64  # (c,), descending
    right: F64  # (dim, c), orthonormal columns


def zero(samples: Samples) -> Factors:
    """Return the coefficients zero, as factors of rank 0."""
    return Factors(np.zeros((samples.n, 0)), samples.space.zeros(0))


def join(first: float, a: Factors, second: float, b: Factors) -> Factors:
    """Return ``first * a + second * b`` as factors."""
    left = np.concatenate([first * a.left, second * b.left], axis=1)
    return Factors(left, np.concatenate([a.right, b.right], axis=1))


def norm(space: Space, a: Factors) -> float:
    """Return the Frobenius norm, up to rounding errors relative to the norms of the factors."""
    return float(np.linalg.norm(a.left @ space.triangle(a.right).T)) if a.left.size else 0.0


def decompose(space: Space, a: Factors) -> Leading:
    """Return the singular values of factors, and their vectors."""
    Q, R = space.factor(a.right)
    left, values, turn = np.linalg.svd(a.left @ R.T, full_matrices=False)
    return Leading(left, values, space.times(Q, turn.T))


def predictions(samples: Samples, a: Factors) -> F64:
    """Return ``X_i theta_i`` of all tasks, (N,)."""
    if not a.left.shape[1]:
        return np.zeros(len(samples.y))
    Z = samples.features(np.ascontiguousarray(a.right))
    return predict(Z, a.left, samples.offsets)


def step_operator(samples: Samples, base: Factors, step: float, residuals: F64) -> Fused:
    """Return the operator ``base - step [X_i^T r_i]_i`` for residuals r (N,), one pass a call."""

    space = samples.space

    def fused(Q: F64) -> tuple[F64, F64]:
        images = base.left @ space.inner(base.right, Q)

        def transform(Z: F64, tasks: range) -> F64:
            chosen = slice(tasks.start, tasks.stop)
            offsets = offsets_of(samples, tasks)
            rows = residuals[offsets[0] : offsets[-1]]
            images[chosen] -= step * combine_rows(Z, rows, offsets)
            return outer_rows(rows, images[chosen], offsets)

        combined = samples.combine_features(np.ascontiguousarray(Q), transform)
        return images, space.times(base.right, base.left.T @ images) - step * combined

    return fused


def start_block(samples: Samples, residuals: F64, columns: int) -> F64:
    """Return ``X^T diag(r) G``, (dim, columns), for a fixed matrix G of normal numbers."""
    return samples.combine(residuals[:, None] * fixed_normals(len(residuals), columns))


def weighted_residuals(samples: Samples, fitted: F64) -> F64:
    """Return ``w_i (X_i theta_i - y_i) / N`` of all tasks, (N,), the residuals of the gradient."""
    weights = task_weights(samples, range(samples.n))
    return (fitted - samples.y) * weights / len(samples.y)


def leading_singular(  # noqa: PLR0917
    fused: Fused,
    space: Space,
    start: F64,
    wanted: Callable[[F64], int],
    tol: float,
    passes: int = 60,
) -> Leading:
    """Return leading singular values and vectors of a matrix by a block Krylov iteration.

    `wanted` maps the Ritz values s, in descending order, to the number of leading Ritz pairs that
    must be accurate. The iteration ends when each of these pairs has a residual ``||A^T A v - s^2
    v|| / s`` of at most ``tol * s_1``, or after `passes` calls of `fused`. If all Ritz values are
    wanted, the space grows. The Ritz pairs of the last space are returned; their number is at most
    the number of columns of `start` (dim, c) or the wanted number, whichever is larger.
    """
    dim, block = space.dim, start.shape[1]
    Q = space.orthonormal(start[:, : min(block, dim)])
    basis, left, products = Q[:, :0], np.zeros((0, 0)), Q[:, :0]
    for count in range(1, passes + 1):
        images, squares = fused(Q)
        if not space.is_finite(squares):
            return Leading(images, np.full(Q.shape[1], np.nan), Q)
        left = np.concatenate([left, images], axis=1) if left.size else images
        basis = np.concatenate([basis, Q], axis=1)
        products = np.concatenate([products, squares], axis=1)
        _, values, turn = np.linalg.svd(_triangle(left), full_matrices=False)
        need = wanted(values)
        right, rotated = space.times(basis, turn.T), space.times(products, turn.T)
        scale = np.maximum(values, np.finfo(float).tiny)
        off = rotated - right * values**2
        errors = np.sqrt(space.column_products(off, off)) / scale
        accurate = errors[:need].max(initial=0.0) <= tol * values[0]
        complete = basis.shape[1] == dim or values[0] == 0
        if complete or count == passes or (accurate and need < len(values)):
            break
        top = float(values[0])
        Q = _new_columns(space, space.project_off(basis, squares), basis, top * top)
        if not Q.shape[1]:
            break
        if basis.shape[1] + Q.shape[1] > max(BLOCKS * block, 2 * need + block):
            keep = max(need + block, 2 * block)
            left, basis = left @ turn[:keep].T, right[:, :keep]
            products = rotated[:, :keep]
    keep = max(need, min(block, len(values)))
    # The columns are orthogonal, so R is diagonal up to rounding errors.
    Q, R = np.linalg.qr(left @ turn[:keep].T)
    U = np.where(np.diagonal(R) < 0, -Q, Q)
    return Leading(U, values[:keep], np.ascontiguousarray(right[:, :keep]))


def _triangle(left: F64) -> F64:
    """Return a matrix with the singular values and right singular vectors of `left` (n, c).

    That is the Cholesky factor of its Gram matrix, unless it loses digits, and otherwise the factor
    R of left = Q R. Reflections make some 2 c small products one after the other, and if the
    machine is busy, each of them waits for all threads of BLAS.
    """
    try:
        R: F64 = np.linalg.cholesky(left.T @ left).T.astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        R = np.zeros((1, 1))
    diagonal = np.diagonal(R)
    if diagonal.min() > _LEAST_PIVOT * diagonal.max():
        return R
    return np.asarray(np.linalg.qr(left, mode="r"))


def _new_columns(space: Space, off: F64, basis: F64, scale: float) -> F64:
    """Return orthonormal columns that span the part of a block off the basis.

    Singular values drop what is rounding errors; a triangular factor shows that nothing is.
    """
    room = space.dim - basis.shape[1]
    Q, R = space.factor(off)
    if off.shape[1] > room or np.diagonal(R).min() <= 1e-12 * scale:
        left, sizes, _ = np.linalg.svd(R, full_matrices=False)
        Q = space.times(Q, left[:, sizes > 1e-14 * scale][:, :room])
    if not Q.shape[1]:
        return Q
    return space.orthonormal(Q - space.times(basis, space.inner(basis, Q)))


def check_rank(samples: Samples, width: int) -> None:
    """Raise ValueError if the coefficients (n, dim) of the tasks cannot have rank `width`."""
    most = min(samples.n, samples.dim)
    if width > most:
        raise ValueError(
            f"width must be at most {most}, the rank that coefficients of {samples.n} tasks with "
            f"{samples.dim} features can have; got {width}"
        )
