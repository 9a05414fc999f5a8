r"""Baselines for comparisons: the true subspace, every task alone, one model for all tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .estimator import Estimate, Monitor
from .ridge import (
    LOO,
    check_ridge,
    choose_penalty,
    penalties,
    squared_loo_errors,
)
from .samples import (
    I64,
    Samples,
    by_length,
    lengths,
    spread,
    task_sums,
    task_weights,
)
from .solvers import (
    PASSES,
    TOL,
    check_search,
    check_width,
    fixed_normals,
    least_squares_heads,
    solve_by_cg,
    start_columns,
    top_eigenvectors,
)
from .space import EstimateError
from .transforms import RowForms, scaled_rows

FILL = 20  # stream of the random directions in the representation of `Pooled`
GRAM_NUMBERS = 1 << 22  # the most numbers of Gram matrices in memory at a time


@dataclass(frozen=True, kw_only=True)
class Oracle:
    r"""The true subspace with ridge heads, (41): a baseline for every estimated representation.

    The representation is `B_star`, and the heads minimise
    ``||y_i - X_i B_star v||^2 / (2 m_i) + ridge/2 ||v||^2``. The width has to be the rank of the
    ground truth. The cost is one pass over X.

    Parameters
    ----------
    ridge : float or "loo"
        The penalty. "loo" chooses one penalty for all tasks by the leave-one-out error; it takes a
        singular value decomposition of the features of each task.
    """

    name: ClassVar[str] = "oracle"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False

    ridge: float | str = LOO

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridge", check_ridge(self.ridge))

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        if samples.B_star is None:
            raise ValueError("oracle needs the true B_star, and these tasks have none")
        if samples.B_star.shape[1] != width:
            raise ValueError(
                f"width must be {samples.B_star.shape[1]}, the columns of B_star, for oracle; "
                f"got {width}"
            )

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Return `B_star` and the heads of ridge regression on its features."""
        self.check(samples, width)
        assert samples.B_star is not None
        B = np.array(samples.B_star)
        Z = samples.features(B)
        ridge = self.ridge
        if isinstance(ridge, str):
            ridge = choose_penalty(Z, samples.y, samples.offsets, samples.weights)
        return Estimate(B=B, heads=least_squares_heads(Z, samples.y, samples.offsets, ridge))


@dataclass(frozen=True, kw_only=True)
class SingleTask:
    r"""Every task alone by ridge regression on all features, (41): no task learns from another.

    The Gram matrices ``X_i X_i^T`` give a_i with ``theta_i = X_i^T a_i``; the coefficients theta_i
    are not formed. The representation has the top right singular vectors of the matrix with the
    rows ``sqrt(q_i) theta_i``, where q_i is the weight of task i. The heads are ``B^T theta_i``.
    The cost is that of the Gram matrices, of an eigendecomposition of each, and of 10 to 40 passes
    over X.

    Parameters
    ----------
    ridge : float or "loo"
        The penalty of ``||y_i - X_i theta||^2 / (2 m_i) + ridge/2 ||theta||^2``; 0 gives the
        coefficients of the least norm, and "loo" one penalty for all tasks from the leave-one-out
        error.
    tol : float
        As in `Moments`.
    passes : int
        As in `Moments`.
    """

    name: ClassVar[str] = "single-task"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False
    nested: ClassVar[bool] = True  # narrower representations are the first columns of wider ones

    ridge: float | str = LOO
    tol: float = TOL
    passes: int = PASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridge", check_ridge(self.ridge))
        check_search(self)

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the coefficients, their principal directions and the heads.

        Raises
        ------
        ValueError
            If the coefficients of the tasks span fewer than `width` dimensions.
        """
        self.check(samples, width)
        a = dual_coefficients(samples, self.ridge)

        own = a[:, None]
        weighted = task_weights(samples, range(samples.n))[:, None] * own
        forms = RowForms(samples, np.zeros(len(a)), weighted, own)

        def start() -> F64:
            G = fixed_normals(samples.n, start_columns(width, samples.wants_few_passes))
            return samples.combine(own * spread(G, samples.offsets))

        pairs = top_eigenvectors(
            lambda Q: samples.combine_features(Q, forms),
            samples.space,
            start,
            width,
            self.tol,
            self.passes,
        )
        heads = task_sums(own * samples.features(pairs.vectors), samples.offsets)
        return pairs.with_heads(heads)


def dual_coefficients(samples: Samples, ridge: float | str) -> F64:
    """Return the a (N,) of all tasks, with ``theta_i = X_i^T a_i`` by ridge regression, (41)."""
    if isinstance(ridge, str):
        return _leave_one_out_coefficients(samples)
    a = np.empty(len(samples.y))
    for _, rows, U, squares in _spectra(samples):
        a[rows] = _solutions(U, squares, samples.y[rows], np.array([ridge]))[:, :, 0]
    return a


def _leave_one_out_coefficients(samples: Samples) -> F64:
    """Return the dual coefficients with the penalty of the least leave-one-out error.

    The Gram matrices are computed once, and the solutions for all penalties are kept; they take as
    much memory as 23 columns of X. The first tasks set the scale of the penalties.
    """
    tried = errors = np.empty(0)
    solutions = np.empty((len(samples.y), 0))
    for tasks, rows, U, squares in _spectra(samples):
        m = rows.shape[1]
        if not len(tried):
            tried = penalties(float(squares.sum() / (len(tasks) * m * min(m, samples.dim))))
            errors, solutions = np.zeros(len(tried)), np.empty((len(samples.y), len(tried)))
        y = samples.y[rows]
        errors += samples.weights[tasks] @ squared_loo_errors(U, squares, y, tried)
        solutions[rows] = _solutions(U, squares, y, tried)
    return np.ascontiguousarray(solutions[:, np.argmin(errors)])


def _solutions(U: F64, squares: F64, y: F64, tried: F64) -> F64:
    """Return ``(K + m ridge)^+ y`` for Gram matrices K = U squares U^T, (n, m, penalties)."""
    left = squares[:, :, None] + y.shape[1] * tried
    cutoff = y.shape[1] * np.finfo(float).eps * squares.max(axis=1)[:, None, None]
    inverses = np.divide(1.0, left, out=np.zeros_like(left), where=left > cutoff)
    products = np.matmul(U.transpose(0, 2, 1), y[:, :, None])
    return np.asarray(np.matmul(U, inverses * products))


def _spectra(samples: Samples) -> Iterator[tuple[I64, I64, F64, F64]]:
    """Yield the spectra of the Gram matrices of groups of tasks with equal numbers m of samples.

    A group consists of the indices of its tasks (t,), the indices of their rows (t, m), the
    eigenvectors (t, m, r) and the eigenvalues (t, r). If a task has more samples than dimensions,
    its Gram matrix would be larger than its rows of X, and the spectra of all tasks are computed
    from the SVD of their rows.
    """
    sizes = lengths(samples)
    if samples.dim < sizes.max():
        X = samples.features(samples.space.identity(0, samples.dim))
        for tasks, rows in by_length(samples.offsets):
            U, values, _ = np.linalg.svd(X[rows], full_matrices=False)
            yield tasks, rows, U, values**2
        return
    ends = np.cumsum(sizes**2)
    first = 0
    while first < samples.n:
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + GRAM_NUMBERS, side="right")))
        grams = samples.grams(range(first, last))
        for tasks, rows in by_length(samples.offsets[first : last + 1]):
            squares, U = np.linalg.eigh(np.array([grams[i] for i in tasks]))
            yield first + tasks, samples.offsets[first] + rows, U, np.maximum(squares, 0.0)
        first = last


@dataclass(frozen=True, kw_only=True)
class Pooled:
    r"""One vector of coefficients for all tasks, (41): the pooled mean.

    The vector theta minimises ``sum_i q_i ||y_i - X_i theta||^2 / (2 N) + ridge/2 ||theta||^2``,
    where q_i is the weight of task i. Each step of conjugate gradients takes one pass over X with
    one column. The first column of the representation is the direction of theta, and all tasks have
    the same head. One model for all tasks determines only one direction; if the width is above 1,
    the other columns are random directions orthogonal to theta, and the entries of the heads for
    these columns are zero.

    Parameters
    ----------
    ridge : float
        The penalty. The default 0 gives the solution of the least norm. No penalty is needed if the
        tasks together have many more samples than dimensions.
    tol : float
        Largest residual of the normal equations, relative to their right-hand side.
    passes : int
        The largest number of passes over X; a search that needs more ends with ``converged=False``.
    """

    name: ClassVar[str] = "pooled"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False

    ridge: float = 0.0
    tol: float = 1e-10
    passes: int = 500

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridge", check.real("ridge", self.ridge, 0.0, 1e100))
        check_search(self)

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the common coefficients, and complete their direction to a representation.

        Raises
        ------
        ValueError
            If the coefficients are zero.
        """
        self.check(samples, width)
        shares = task_weights(samples, range(samples.n)) / len(samples.y)
        forms = scaled_rows(samples, shares)
        right = samples.combine((shares * samples.y)[:, None])
        theta, reason = solve_by_cg(
            lambda P: samples.combine_features(P, forms) + self.ridge * P,
            samples.space,
            right,
            self.tol,
            self.passes,
        )
        space = samples.space
        size = space.norm(theta)
        if size == 0:
            raise EstimateError("pooled found coefficients of zero, which have no direction")
        B = theta / size
        if width > 1:
            B = space.orthonormal(np.concatenate([B, samples.normals(width - 1, FILL)], axis=1))
        heads = np.zeros((samples.n, width))
        heads[:, 0] = space.product(B[:, :1], theta)
        return Estimate(B=B, heads=heads, converged=not reason, reason=reason)
