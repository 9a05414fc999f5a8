r"""Meta Subspace Pursuit: gradient steps on all coefficients, each followed by a truncation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .coefficients import (
    Factors,
    Leading,
    check_rank,
    join,
    leading_singular,
    norm,
    predictions,
    start_block,
    step_operator,
    zero,
)
from .estimator import Estimate, Monitor
from .samples import Samples, lengths, spread
from .solvers import check_width
from .space import Space, refuse_shared
from .task_algebra import predict

LIMIT = 1000  # iterations, if `ms.fit` gets no `rounds`
SPARE = 4  # Ritz vectors beyond the rank
EASE = 0.9  # factor of the inverse step size after a step that lowered the objective
HALVINGS = 40
DECAY = 100.0  # semigradient steps t have the size step / (1 + t / DECAY)


@dataclass(frozen=True, kw_only=True, eq=False)
class SubspacePursuit:
    r"""Meta Subspace Pursuit (Meta-SP), equation (46).

    A step is ``Theta <- T_k(Theta - a [q_i X_i^T (X_i theta_i - y_i) / m_i]_i)`` on the
    coefficients Theta (n, dim), where T_k keeps the k largest singular values and q_i is the weight
    of a task. Theta is stored as factors, and the matrix in brackets is only multiplied by blocks
    of vectors. A step costs about 3 to 10 passes over X with k + 4 columns, and one pass with k
    columns; the former are those of a block Krylov iteration that starts at the singular vectors of
    the previous step.

    With `semigradient`, the responses are rewards, and the residuals are the temporal differences
    ``X_i theta_i - (y_i + gamma X_next_i theta_i)``. The fixed points are those of TD learning with
    linear features, for tasks whose value functions share a subspace.

    Parameters
    ----------
    step : float or None
        Step size a, > 0. None: a starts as the inverse of the curvature along the first step and
        grows by about a tenth after every step; it is halved if the objective ``sum_i q_i ||y_i -
        X_i theta_i||^2 / (2 n m_i)`` would rise, so the objective never rises. With `semigradient`
        there is no such objective; step t then has the size ``a / (1 + t / 100)``, and if `step` is
        None, a is the inverse of the curvature along the first step.
    semigradient : (X_next, gamma) or None
        X_next has the features of the successor of every sample, in the layout of the batch: an
        array (n, m, dim), a list of arrays (m_i, dim), or a dense or sparse matrix with N rows in
        the order of the tasks. gamma: the discount, between 0 and 1.
    tol : float
        The iteration has converged once a step of size a, without the decay by t, would move Theta
        by at most `tol` times its norm.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Notes
    -----
    `Estimate.B` has the right singular vectors of Theta, and the heads are ``Theta B``.

    References
    ----------
    Zhang, Liu, Zhang, "Few-shot multi-task learning of linear invariant features with meta subspace
    pursuit", 2024, arXiv:2409.02708.
    """

    name: ClassVar[str] = "meta-sp"
    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    step: float | None = None
    semigradient: tuple[Any, float] | None = None
    tol: float = 1e-8

    def __post_init__(self) -> None:
        if self.step is not None:
            object.__setattr__(self, "step", check.positive("step", self.step))
        object.__setattr__(self, "tol", check.real("tol", self.tol))
        if self.semigradient is not None:
            if not isinstance(self.semigradient, tuple) or len(self.semigradient) != 2:
                raise TypeError(
                    "semigradient must be a tuple (X_next, gamma) or None; got "
                    f"{check.show(self.semigradient)}"
                )
            gamma = check.real("gamma", self.semigradient[1], 0.0, 1.0)
            object.__setattr__(self, "semigradient", (_rows(self.semigradient[0]), gamma))

    @property
    def holds_rows(self) -> bool:
        """Whether an option has rows of its own for the samples, and so fits these tasks alone."""
        return self.semigradient is not None

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError if the width is too large, or if X_next and X differ in shape."""
        check_width(samples, width)
        check_rank(samples, width)
        if self.semigradient is not None:
            refuse_shared(
                "meta-sp with semigradient",
                samples.space,
                "X_next is multiplied outside the core, whose sums over the columns are those of X",
            )
            shape, expected = self.semigradient[0].shape, (len(samples.y), samples.dim)
            if shape != expected:
                raise ValueError(
                    f"X_next must have {expected[0]} rows of {expected[1]} features, as X; "
                    f"got {shape[0]} rows of {shape[1]}"
                )

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Step from zero; return the right singular vectors of the coefficients."""
        pursuit, space = _Pursuit(samples, width, self.semigradient), samples.space
        limit = LIMIT if monitor.rounds is None else monitor.rounds
        theta, pairs = zero(samples), pursuit.first_pairs()
        at = pursuit.fit(theta)
        step = pursuit.first_step(pairs) if self.step is None else self.step
        guarded = self.step is None and self.semigradient is None
        B, heads = _represent(space, theta, pairs, width)
        stop, accuracy, reason, iteration = monitor.record(B, heads, at.objective), 1e-4, "", 0
        while not stop:
            if not np.isfinite(at.objective):
                reason = f"the objective became {at.objective:g} at iteration {iteration}"
                break
            decay = 1.0 if self.semigradient is None else 1 / (1 + iteration / DECAY)
            following = None
            for _ in range(HALVINGS):
                reached, after = pursuit.advance(theta, at, step * decay, pairs.right, accuracy)
                moved = norm(space, join(1.0, reached, -1.0, theta)) / decay
                length = norm(space, reached)
                small = moved <= self.tol * length
                following = pursuit.fit(reached)
                if not guarded or small or following.objective <= at.objective:
                    break
                step /= 2
                following = None
            if following is None:
                reason = f"no step lowers the objective {at.objective:g} at iteration {iteration}"
                break
            if small and following.objective > at.objective and guarded:
                break
            if iteration == limit:
                if not small:
                    reason = (
                        f"a step still moves the coefficients by {moved / length:.2g} of "
                        f"their norm (tol={self.tol:g}) at iteration {limit}, its limit"
                    )
                break
            iteration += 1
            accuracy = max(1e-13, min(accuracy, 0.01 * moved / max(length, 1e-300)))
            theta, at, pairs = reached, following, after
            step = step / EASE if guarded else step
            B, heads = _represent(space, theta, pairs, width)
            stop = monitor.record(B, heads, at.objective)
            if small:
                break
        return Estimate(B=B, heads=heads, iterations=iteration, converged=not reason, reason=reason)


@dataclass(frozen=True, eq=False)
class _Fit:
    """The residuals of coefficients, scaled as the step (46) needs them, and the objective."""

    residuals: F64  # (N,), q_i (X_i theta_i - y_i) / m_i
    objective: float


class _Pursuit:
    """The steps (46) on the samples of all tasks."""

    def __init__(self, samples: Samples, width: int, following: tuple[Any, float] | None) -> None:
        self.samples, self.width, self.following = samples, width, following
        self.space = samples.space
        scale = samples.weights / lengths(samples)
        self.scale = spread(scale, samples.offsets)  # (N,), q_i / m_i

    def fit(self, theta: Factors) -> _Fit:
        """Return the scaled residuals of coefficients, or their temporal differences."""
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step: the caller sees it
            residuals = predictions(self.samples, theta) - self.samples.y
            if self.following is not None and theta.left.shape[1]:
                X_next, gamma = self.following
                Z = np.asarray(X_next @ theta.right, dtype=float)
                residuals -= gamma * predict(Z, theta.left, self.samples.offsets)
            objective = float(self.scale @ residuals**2) / (2 * self.samples.n)
        return _Fit(self.scale * residuals, objective)

    def first_pairs(self) -> Leading:
        """Return the leading singular pairs of the first step, ``[q_i X_i^T y_i / m_i]_i``."""
        residuals = self.fit(zero(self.samples)).residuals
        block = start_block(self.samples, residuals, self.width + SPARE)
        fused = step_operator(self.samples, zero(self.samples), 1.0, residuals)
        return leading_singular(fused, self.space, block, self._most, 1e-6)

    def first_step(self, pairs: Leading) -> float:
        """Return the step size that minimises the objective along the first step."""
        left, right = pairs.left[:, : self.width], pairs.right[:, : self.width]
        change = Factors(left * pairs.values[: self.width], right)
        square = float(self.scale @ predictions(self.samples, change) ** 2)
        return norm(self.space, change) ** 2 / square if square > 0 else 1.0

    def advance(
        self, theta: Factors, at: _Fit, step: float, warm: F64, accuracy: float
    ) -> tuple[Factors, Leading]:
        """Take one step (46); return the coefficients and the leading pairs."""
        fused = step_operator(self.samples, theta, step, at.residuals)
        with np.errstate(over="ignore", invalid="ignore"):
            pairs = leading_singular(fused, self.space, warm, self._most, accuracy)
        k = self.width
        return Factors(pairs.left[:, :k] * pairs.values[:k], pairs.right[:, :k]), pairs

    def _most(self, values: F64) -> int:
        return min(self.width, max(len(values) - 1, 1))


def _represent(space: Space, theta: Factors, pairs: Leading, width: int) -> tuple[F64, F64]:
    """Return B (dim, width), right singular vectors, and the heads (n, width)."""
    B = np.ascontiguousarray(pairs.right[:, :width])
    return B, theta.left @ space.inner(theta.right, B)


def _rows(X_next: Any) -> Any:
    """Return the features of successors as one matrix (N, dim), dense or sparse."""
    rows = X_next
    if isinstance(rows, (list, tuple)):
        try:
            rows = np.concatenate([np.asarray(X_i, dtype=float) for X_i in rows])
        except (TypeError, ValueError, OverflowError):
            rows = None
    elif isinstance(rows, np.ndarray) and rows.ndim == 3:
        rows = rows.reshape(-1, rows.shape[2])
    shape = getattr(rows, "shape", None)
    numbers = getattr(getattr(rows, "dtype", None), "kind", "") in "fiu"
    if not (isinstance(shape, tuple) and len(shape) == 2 and numbers):
        raise TypeError(
            "X_next must be an array (n, m, dim), a list of arrays (m_i, dim) or a matrix "
            f"(N, dim) of numbers; got {check.show(X_next)}"
        )
    return rows
