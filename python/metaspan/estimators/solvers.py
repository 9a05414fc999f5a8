r"""Matrix-free decompositions and least squares that several estimators use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._support import check
from .._support.types import F64
from .estimator import Estimate
from .ridge import ridge_solutions
from .samples import I64, Preconditioner, Samples, by_length, lengths
from .space import EstimateError, Space
from .task_algebra import solve_heads

Operator = Callable[[F64], F64]
Start = F64 | Callable[[], F64]  # a matrix, or a function that computes it on demand

TOL = 1e-8  # bound on the sine of the largest angle between computed and exact eigenvectors
PASSES = 80  # the most products with a block of vectors in a decomposition
FORMED = 128  # a matrix of at most this order is formed, in blocks of COLUMNS columns
COLUMNS = 64
_ROUNDING = 1e-13  # residuals below this share of a matrix norm are rounding errors
_NOT_FINITE = "products with the samples are not finite numbers"
_BLOCKS = (8, 45)  # least and most blocks of a Krylov space that is not yet compressed
_NUMBERS = 1 << 26  # the most numbers in such a space if it has more than the least blocks
_LEAST_COLUMNS = 6  # products with fewer columns take about as long
_STALL = 4  # passes in which preconditioned residuals must fall by half


class Eigenvectors(NamedTuple):
    """The algebraically largest eigenvalues of a symmetric matrix, and their eigenvectors."""

    values: F64  # (k,), descending
    vectors: F64  # (dim, k), orthonormal columns
    reason: str  # why they have not converged: a clause that ends a sentence; or ""

    def with_heads(self, heads: F64) -> Estimate:
        """Return the estimate whose representation has these eigenvectors."""
        return Estimate(B=self.vectors, heads=heads, converged=not self.reason, reason=self.reason)


class WidthError(EstimateError):
    """Raised if the samples determine fewer directions than the width."""

    def __init__(self, most: int, width: int, what: str = "the samples") -> None:
        super().__init__(
            f"width must be at most {most}, the number of directions that {what} determine; "
            f"got {width}"
        )
        self.most = most


def check_width(samples: Samples, width: int) -> None:
    """Raise ValueError if a representation of the samples cannot have `width` columns."""
    if not 1 <= width <= samples.dim:
        raise ValueError(f"width must be from 1 to the dimension, {samples.dim}; got {width}")


def check_lengths(name: str, samples: Samples, least: int) -> None:
    """Raise ValueError if a task has fewer than `least` samples."""
    sizes = lengths(samples)
    if sizes.min() < least:
        raise ValueError(
            f"{name} needs at least {least} samples of every task; "
            f"task {int(sizes.argmin())} has {int(sizes.min())}"
        )


def check_search(estimator: Any) -> None:
    """Check the options `tol` and `passes` of a new estimator, and store them as numbers."""
    object.__setattr__(estimator, "tol", check.real("tol", estimator.tol))
    object.__setattr__(estimator, "passes", check.integer("passes", estimator.passes, 1))


def start_columns(k: int, few_passes: bool = True) -> int:
    """Return a good number of start columns for a search for k eigenvectors.

    A product with more columns takes longer, and the search makes fewer of them. At least k columns
    are needed, because the search finds at most one eigenvector for each of them if all have the
    same eigenvalue.
    """
    return k + max(5, k // 2) if few_passes else max(k, _LEAST_COLUMNS)


def space_columns(dim: int, block: int) -> int:
    """Return the most columns of a block Krylov space of vectors of length `dim`."""
    return min(dim, block * min(max(_NUMBERS // (dim * block), _BLOCKS[0]), _BLOCKS[1]))


def fixed_normals(rows: int, columns: int) -> F64:
    """Return a fixed matrix of normal numbers, from which starts of Krylov spaces are computed."""
    return np.random.Generator(np.random.Philox(key=20)).standard_normal((rows, columns))


def largest_eigenvectors(  # noqa: PLR0917
    apply: Operator,
    space: Space,
    start: Start,
    k: int,
    tol: float = TOL,
    passes: int = PASSES,
    precondition: Preconditioner | None = None,
) -> Eigenvectors:
    """Return the k algebraically largest eigenvalues, descending, and their eigenvectors (dim, k).

    `apply` maps Q (dim, c) to A Q for a symmetric A on `space`. A call of `apply` is a pass over
    the samples and dominates the cost, so A is applied to blocks of columns, and the eigenvectors
    are approximated by the Ritz vectors of the whole block Krylov space or, with `precondition`, of
    the space of the Davidson method. `start` (dim, c) is the first block. The residual divided by
    the gap between eigenvalues k and k + 1 bounds the sine of the largest angle to the exact
    eigenvectors. The iteration ends when this bound is at most `tol`, when the space is invariant,
    or after `passes` calls.
    """
    if space.dim <= FORMED:
        return _eigenvectors_of_formed(apply, space, k)
    block = start() if callable(start) else start
    if precondition is not None:
        return _davidson(apply, space, precondition, block, k, tol, passes)
    return _block_krylov(apply, space, block, k, tol, passes)


def top_eigenvectors(  # noqa: PLR0917
    apply: Operator,
    space: Space,
    start: Start,
    k: int,
    tol: float = TOL,
    passes: int = PASSES,
    precondition: Preconditioner | None = None,
) -> Eigenvectors:
    """Return the `largest_eigenvectors` of a matrix that must have k positive eigenvalues.

    Raises
    ------
    WidthError
        If fewer than k eigenvalues are positive; it is a ValueError.
    """
    pairs = largest_eigenvectors(apply, space, start, k, tol, passes, precondition)
    rounding = space.dim * np.finfo(float).eps * max(float(pairs.values[0]), 0.0)
    positive = int(np.sum(pairs.values > rounding))
    if positive < k and not pairs.reason:
        raise WidthError(positive, k)
    return pairs


def form_matrix(apply: Operator, space: Space) -> F64:
    """Return all rows of a symmetric matrix, (dim, dim), from products with the identity."""
    blocks = [
        apply(space.identity(first, min(first + COLUMNS, space.dim)))
        for first in range(0, space.dim, COLUMNS)
    ]
    return space.all_rows(np.concatenate(blocks, axis=1))


def _eigenvectors_of_formed(apply: Operator, space: Space, k: int) -> Eigenvectors:
    """Return the top eigenvectors of a matrix that is small enough to be formed."""
    A = form_matrix(apply, space)
    if not np.isfinite(A).all():
        return Eigenvectors(np.full(k, np.nan), space.identity(0, k), _NOT_FINITE)
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    top = np.ascontiguousarray(space.own_rows(vectors[:, ::-1][:, :k]))
    return Eigenvectors(values[::-1][:k].copy(), top, "")


class _Krylov:
    """A block Krylov space of a symmetric matrix A: an orthonormal basis and A in this basis."""

    def __init__(self, space: Space, columns: int) -> None:
        self.space, self.columns = space, columns  # the most columns of the basis
        self._basis = np.empty((space.rows, columns))
        self.size = 0
        self.H = np.zeros((0, 0))  # V^T A V for the basis V

    @property
    def V(self) -> F64:
        """The basis, (dim, size)."""
        return self._basis[:, : self.size]

    def extend(self, Q: F64, W: F64) -> F64:
        """Add the columns Q and W = A Q; return the part of W orthogonal to the extended space.

        The columns of Q must be orthonormal. Projecting W twice keeps the basis orthonormal up to
        rounding errors.
        """
        first, self.size = self.size, self.size + Q.shape[1]
        self._basis[:, first : self.size] = Q
        H = np.zeros((self.size, self.size))
        H[:first, :first] = self.H
        H[:, first:] = along = self.space.inner(self.V, W)
        H[first:, :first] = H[:first, first:].T
        H[first:, first:] = (H[first:, first:] + H[first:, first:].T) / 2
        self.H = H
        off = W - self.space.times(self.V, along)
        return off - self.space.times(self.V, self.space.inner(self.V, off))

    def compress(self, values: F64, S: F64) -> None:
        """Replace the basis by the Ritz vectors V S, and H by the diagonal of their Ritz values."""
        self._basis[:, : S.shape[1]] = self.space.times(self.V, S)
        self.size, self.H = S.shape[1], np.diag(values)


def _block_krylov(  # noqa: PLR0917
    apply: Operator, space: Space, start: F64, k: int, tol: float, passes: int
) -> Eigenvectors:
    """Return the top eigenvectors by a block Lanczos iteration with restarts at Ritz vectors.

    The decomposition of H can cost as much as a pass over the samples if these are few. Ritz
    vectors are therefore computed only when the space is full, or when the convergence rate of the
    last checks predicts that the search has ended.
    """
    dim, block = space.dim, start.shape[1]
    columns = space_columns(dim, block)
    krylov, schedule = _Krylov(space, columns), _Schedule()
    Q, norm, reason = space.orthonormal(start), 0.0, ""
    for count in range(1, passes + 1):
        W = apply(Q)
        squares = space.column_products(W, W)
        if not np.isfinite(squares).all():
            return Eigenvectors(np.full(k, np.nan), Q[:, :k], _NOT_FINITE)
        norm = max(norm, float(np.sqrt(np.max(squares))))
        last = Q.shape[1]
        Q, R = _new_directions(krylov, krylov.extend(Q, W), norm)
        complete = not Q.shape[1] or krylov.size == dim
        full = krylov.size + Q.shape[1] > columns
        ended = count == passes or complete
        if not (full or ended or schedule.is_due(count)):
            continue
        kept = max(columns // 2, k) if full else k + 1
        values, S = _top_ritz(krylov.H, kept)
        residual = float(np.linalg.norm(R @ S[-last:, :k]))
        gap = float(values[k - 1] - values[k]) if len(values) > k else 0.0
        goal = max(tol * gap, _ROUNDING * norm)
        if residual <= goal or complete:
            break
        schedule.record(count, residual / goal)
        if full and not ended:  # S belongs to the basis before a compression
            krylov.compress(values, S)
    else:
        reason = _unconverged(residual, gap, tol, passes)
    vectors = space.times(krylov.V, S[:, :k])
    return Eigenvectors(values[:k].copy(), vectors, reason)


def _unconverged(residual: float, gap: float, tol: float, passes: int) -> str:
    """Return the clause that says how accurate the eigenvectors are after the last pass."""
    return (
        f"the error of the eigenvectors is still a sine of {residual / max(gap, residual):.1g} "
        f"(tol={tol:g}) after {passes} products with the samples"
    )


def _davidson(  # noqa: PLR0917
    apply: Operator,
    space: Space,
    precondition: Preconditioner,
    start: F64,
    k: int,
    tol: float,
    passes: int,
) -> Eigenvectors:
    """Return the top eigenvectors by the block Davidson method, restarted at Ritz vectors.

    A step adds the preconditioned residuals of the Ritz pairs that are not yet accurate. Products
    with the whole basis are stored, so a residual is not a difference of recurrences. A
    preconditioner may lead away from the largest eigenvalues while the Ritz values are still far
    from them, so residuals are no longer preconditioned once they have stalled.
    """
    dim, block = space.dim, start.shape[1]
    columns = min(dim, block * _BLOCKS[0])
    V, W, Q = space.zeros(0), space.zeros(0), space.orthonormal(start)
    norm, reason = 0.0, ""
    history: list[float] = []  # residuals after past passes
    stalled = False
    for count in range(1, passes + 1):
        image = apply(np.ascontiguousarray(Q))
        squares = space.column_products(image, image)
        if not np.isfinite(squares).all():
            return Eigenvectors(np.full(k, np.nan), Q[:, :k], _NOT_FINITE)
        norm = max(norm, float(np.sqrt(np.max(squares))))
        V, W = np.concatenate([V, Q], axis=1), np.concatenate([W, image], axis=1)
        H = space.inner(V, W)
        values, S = _top_ritz((H + H.T) / 2, max(columns // 2, k + 1))
        R = space.times(W, S[:, :k]) - space.times(V, S[:, :k]) * values[:k]
        sizes = np.sqrt(space.column_products(R, R))
        residual = float(np.linalg.norm(sizes))
        gap = float(values[k - 1] - values[k]) if len(values) > k else 0.0
        goal = max(tol * gap, _ROUNDING * norm)
        if residual <= goal or V.shape[1] == dim:
            break
        if count == passes:
            reason = _unconverged(residual, gap, tol, passes)
            break
        active = sizes > goal / (2 * np.sqrt(k))
        step = R[:, active]
        stalled = stalled or (len(history) >= _STALL and residual > history[-_STALL] / 2)
        history.append(residual)
        if not stalled:
            step = precondition(step, values[:k][active])
        if V.shape[1] + step.shape[1] > columns:
            V, W = space.times(V, S), space.times(W, S)
        step = step / np.sqrt(space.column_products(step, step))
        Q = space.orthonormal(step - space.times(V, space.inner(V, step)))
        Q = space.orthonormal(Q - space.times(V, space.inner(V, Q)))[:, : dim - V.shape[1]]
    return Eigenvectors(values[:k].copy(), space.times(V, S[:, :k]), reason)


class _Schedule:
    """Decides when to check for convergence next, from past errors relative to the tolerance."""

    def __init__(self) -> None:
        self._next, self._count, self._error = 2, 0, 0.0

    def is_due(self, count: int) -> bool:
        """Return whether to check after this pass."""
        return count >= self._next

    def record(self, count: int, error: float) -> None:
        """Record the error after a pass; plan a check after 2/3 of the predicted further passes."""
        wait = 2
        if 1 < error < self._error:
            rate = np.log(self._error / error) / (count - self._count)
            wait = int(min(max(np.log(error) / rate * 2 / 3, 1), 6))
        self._next, self._count, self._error = count + wait, count, error


def _top_ritz(H: F64, count: int) -> tuple[F64, F64]:
    """Return at most `count` largest eigenvalues of H, descending, and their eigenvectors."""
    from scipy.linalg import eigh  # noqa: PLC0415

    size = len(H)
    values, S = eigh(H, subset_by_index=(max(size - count, 0), size - 1))
    return values[::-1], S[:, ::-1]


def _new_directions(krylov: _Krylov, off: F64, norm: float) -> tuple[F64, F64]:
    """Return Q with orthonormal columns orthogonal to the space, and R, such that off = Q R.

    The product holds up to rounding errors. Columns that are short relative to the norm of the
    matrix are projected again, and columns that consist of rounding errors are dropped.
    """
    space, V = krylov.space, krylov.V
    Q, R = space.factor(off)
    if np.diagonal(R).min() > 1e-3 * norm:
        return Q, R
    left, sizes, right = np.linalg.svd(R)
    new = sizes > _ROUNDING / 10 * norm
    Q = space.times(Q, left[:, new])
    return space.orthonormal(Q - space.times(V, space.inner(V, Q))), sizes[new, None] * right[new]


def solve_by_cg(
    apply: Operator, space: Space, right: F64, tol: float, passes: int
) -> tuple[F64, str]:
    """Solve A x = b for each column b of `right` (dim, c) by conjugate gradients.

    `apply` maps P (dim, c) to A P for a symmetric, positive semidefinite A whose range contains the
    right-hand sides; the solution is the one of the least norm. The iteration ends when the norm of
    every residual is at most `tol` times the norm of its right-hand side, or after `passes`
    products. Returns the solutions (dim, c), and a clause that says why the solutions are less
    accurate, or "".
    """
    x = np.zeros_like(right)
    residual = right.copy()
    P, squares = residual.copy(), space.column_products(right, right)
    goal = tol**2 * squares
    for _ in range(passes):
        active = squares > goal
        if not active.any():
            return x, ""
        A_P = apply(P)
        curvature = space.column_products(P, A_P)
        step = np.divide(
            squares, curvature, out=np.zeros_like(squares), where=active & (curvature > 0)
        )
        x += step * P
        residual -= step * A_P
        before, squares = squares, space.column_products(residual, residual)
        if not np.isfinite(squares).all():
            return x, _NOT_FINITE
        P = residual + np.divide(squares, before, out=np.zeros_like(squares), where=active) * P
    if (squares <= goal).all():
        return x, ""
    worst = float(np.sqrt(np.max(squares / np.maximum(goal, np.finfo(float).tiny)))) * tol
    return x, (
        f"a residual of the linear equations is still {worst:.1g} of the right-hand side "
        f"(tol={tol:g}) after {passes} products with the samples"
    )


def least_squares_heads(Z: F64, y: F64, offsets: I64, ridge: float = 0.0) -> F64:
    """Return the heads (n, k) that minimise ``||y_i - Z_i v||^2 / (2 m_i) + ridge/2 ||v||^2``.

    If ``ridge=0`` and ``Z_i^T Z_i`` is singular, the head is the minimiser of least norm. Tasks
    with equal numbers of samples are solved together.
    """
    if not ridge:
        return solve_heads(Z, y, offsets)
    heads = np.empty((len(offsets) - 1, Z.shape[1]))
    for tasks, rows in by_length(offsets):
        stacked = Z.reshape(*rows.shape, -1) if len(tasks) == len(heads) else Z[rows]
        heads[tasks] = ridge_solutions(stacked, y[rows][:, :, None], ridge)[:, :, 0]
    return heads
