r"""Reduced-rank regression of tasks that share their features, (41)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .estimator import Estimate, Monitor
from .ridge import ridge_solutions
from .samples import Samples
from .solvers import (
    PASSES,
    TOL,
    WidthError,
    check_search,
    check_width,
    fixed_normals,
    form_matrix,
    solve_by_cg,
    start_columns,
    top_eigenvectors,
)
from .space import Space

FORMED = 4096  # a Gram matrix of X of at most this order is formed


@dataclass(frozen=True, kw_only=True)
class ReducedRank:
    r"""Reduced-rank regression: the best coefficients of rank `width` for tasks that share X, (41).

    The coefficients minimise ``sum_i q_i (||y_i - X theta_i||^2 / (2 m) + ridge/2 ||theta_i||^2)``
    among all coefficient matrices of rank `width`; q_i is the weight of task i. The representation
    is an orthonormal basis of the span of the coefficients, and the heads are those of ridge
    regression on the features `X B`. All tasks must have the same array X.

    The cost is one eigendecomposition of the Gram matrix of X, of order min(m, d), and a few passes
    over X. If both m and d are above 4096, an iteration of 10 to 40 steps takes the place of the
    eigendecomposition; each step solves linear equations by conjugate gradients, in about 10 to 100
    passes.

    Parameters
    ----------
    ridge : float
        The penalty. If it is 0 and there are fewer samples than dimensions, every task can be
        fitted exactly, and the rank reduction is applied to the coefficients of least norm.
    tol : float
        As in `Moments`, and also the relative residual of the linear equations. Used only if both m
        and d are above 4096.
    passes : int
        As in `Moments`, and the largest number of passes for the linear equations of a step.

    References
    ----------
    A. J. Izenman. *Reduced-rank regression for the multivariate linear model.* Journal of
    Multivariate Analysis 5, 1975.
    """

    name: ClassVar[str] = "reduced-rank"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False
    nested: ClassVar[bool] = True  # narrower representations are the first columns of wider ones

    ridge: float = 0.0
    tol: float = TOL
    passes: int = 4 * PASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridge", check.real("ridge", self.ridge, 0.0, 1e100))
        check_search(self)

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)
        if samples.shared() is None:
            raise ValueError(
                "reduced-rank needs tasks that share X, the same array for every task; "
                "these tasks have different X"
            )

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads.

        Raises
        ------
        ValueError
            If the tasks do not share X, or their coefficients have a rank below `width`.
        """
        self.check(samples, width)
        shared = samples.shared()
        assert shared is not None
        m = len(shared.y)
        Y = np.ascontiguousarray(samples.y.reshape(samples.n, m).T)  # (m, n)
        scaled = Y * np.sqrt(samples.weights)
        reason = ""
        if min(m, shared.dim) > FORMED:
            directions, reason = self._by_passes(shared, scaled, width)
        elif m <= shared.dim:
            directions = shared.combine(_dual(shared, scaled, self.ridge, width))
        else:
            directions = _primal(shared, scaled, self.ridge, width)
        B = samples.space.orthonormal(directions)
        heads = _ridge_heads(shared.features(B), Y, self.ridge)
        return Estimate(B=B, heads=heads, converged=not reason, reason=reason)

    def _by_passes(self, shared: Samples, Y: F64, width: int) -> tuple[F64, str]:
        """Return a basis (dim, width) of the coefficients, (41), by products with X alone."""
        reasons: list[str] = []
        m = len(Y)

        def coefficients(Q: F64) -> F64:
            solved, reason = solve_by_cg(
                lambda P: shared.combine_features(P, lambda Z, tasks: Z) + m * self.ridge * P,
                shared.space,
                shared.combine(Y @ Q),
                self.tol / 100,
                self.passes,
            )
            reasons.append(reason)
            return solved

        pairs = top_eigenvectors(
            lambda Q: Y.T @ shared.features(coefficients(Q)),
            Space.whole(Y.shape[1], shared.threads),
            lambda: fixed_normals(Y.shape[1], start_columns(width)),
            width,
            self.tol,
            self.passes,
        )
        directions = coefficients(pairs.vectors)
        return directions, next(filter(None, [pairs.reason, *reasons]), "")


def _dual(shared: Samples, Y: F64, ridge: float, width: int) -> F64:
    """Return A (m, width), where X^T A is a basis of the coefficients, (41), from X X^T."""
    K = shared.grams(range(1))[0]
    squares, U = _spectrum(K)
    products = U.T @ Y
    V = _responses_kept(np.sqrt(squares / (squares + len(Y) * ridge))[:, None] * products, width)
    return np.asarray(U @ ((products @ V) / (squares + len(Y) * ridge)[:, None]))


def _primal(shared: Samples, Y: F64, ridge: float, width: int) -> F64:
    """Return a basis (dim, width) of the coefficients, (41), from X^T X."""
    space = shared.space
    G = form_matrix(lambda Q: shared.combine_features(Q, lambda Z, tasks: Z), space)
    squares, W = _spectrum(G)
    products = W.T @ space.all_rows(shared.combine(Y))
    V = _responses_kept(products / np.sqrt(squares + len(Y) * ridge)[:, None], width)
    basis = W @ ((products @ V) / (squares + len(Y) * ridge)[:, None])
    return np.ascontiguousarray(space.own_rows(basis))


def _spectrum(G: F64) -> tuple[F64, F64]:
    """Return the eigenvalues that exceed rounding errors, and their eigenvectors."""
    values, vectors = np.linalg.eigh((G + G.T) / 2)
    kept = values > len(G) * np.finfo(float).eps * max(values[-1], 0.0)
    return values[kept], vectors[:, kept]


def _responses_kept(fitted: F64, width: int) -> F64:
    """Return the top right singular vectors (n, width) of the fitted responses.

    Raises
    ------
    WidthError
        If the fitted responses have a rank below `width`.
    """
    _, values, right = np.linalg.svd(fitted, full_matrices=False)
    rank = int(np.sum(values > max(fitted.shape) * np.finfo(float).eps * values[:1].sum()))
    if rank < width:
        raise WidthError(rank, width)
    return np.ascontiguousarray(right[:width].T)


def _ridge_heads(Z: F64, Y: F64, ridge: float) -> F64:
    """Return the heads (n, k) of all tasks on common features Z (m, k), for responses Y (m, n)."""
    return np.ascontiguousarray(ridge_solutions(Z, Y, ridge).T)
