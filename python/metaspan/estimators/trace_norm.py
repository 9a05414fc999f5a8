r"""Least squares with a trace norm, by proximal gradient steps or by Frank-Wolfe on a ball."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .coefficients import (
    Factors,
    Leading,
    check_rank,
    decompose,
    join,
    leading_singular,
    norm,
    predictions,
    start_block,
    step_operator,
    weighted_residuals,
    zero,
)
from .estimator import Estimate, Monitor
from .samples import Samples, task_weights
from .solvers import check_width, fixed_normals
from .spectral import Moments
from .task_algebra import predict, solve_heads

LIMIT = 1000  # iterations of either solver, if `ms.fit` gets no `rounds`
SPARE = 4  # Ritz vectors in addition to those above the threshold
SOLVERS = ("proximal", "frank-wolfe")
ROUNDING = 2e-15


@dataclass(frozen=True, kw_only=True)
class TraceNorm:
    r"""Least squares for the coefficients of all tasks with a trace norm, equations (44), (45).

    "proximal" minimises ``sum_i w_i ||y_i - X_i theta_i||^2 / (2 N) + lam ||Theta||_*`` over Theta
    (n, dim) by accelerated proximal gradient steps. The acceleration restarts where the objective
    would rise, so the objective never rises. "frank-wolfe" minimises the first term over
    ``||Theta||_* <= radius``, with exact line searches. Theta is stored as factors, and its
    gradient is only multiplied by blocks of vectors. The memory in addition to the samples is about
    50 (n + dim) r numbers, where r is the rank of Theta.

    A proximal step costs about 2 to 6 passes over X with r + 4 columns, and a step of Frank-Wolfe
    costs about 3 to 10 passes with few columns. Frank-Wolfe converges slowly: the duality gap after
    t steps falls like 1 / t.

    Parameters
    ----------
    solver : {"proximal", "frank-wolfe"}
        The solver, which also determines the form of the problem.
    lam : float or None
        Penalty of "proximal", >= 0. None: ``noise sqrt(n + d^2 / m) / (n sqrt(m))``, the rate of
        the reference. Here m is the mean number of samples of a task. d is the mean squared length
        of a row of X, estimated from 8 random combinations of rows; for features of identity
        covariance, its expectation is the number of features.
    radius : float or None
        Radius of the ball, > 0. "frank-wolfe" requires a radius, and "proximal" requires None.
    noise : float or None
        Standard deviation of the label noise in the default of `lam`. None: it is estimated from
        the residuals of least-squares heads on the representation of the method of moments, with k
        degrees of freedom per task subtracted. The estimate is too large where that representation
        is poor. If no task has more than `width` samples, the root mean square of the responses is
        used.
    tol : float or None
        The iteration has converged once the duality gap is at most `tol` times the objective. For
        ``lam=0``, which has no such gap, an estimate of what is left to gain must be at most `tol`
        times the objective of zero coefficients. None: 1e-6 for "proximal", 1e-2 for "frank-wolfe".

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Notes
    -----
    `Estimate.B` has the top right singular vectors of Theta, and the heads are ``Theta B``. If the
    rank of Theta is below the width, the other columns of B are the next singular vectors of the
    last step, and the estimate is marked as not converged.

    References
    ----------
    Boursier, Konobeev, Flammarion, "Trace norm regularization for multi-task learning with scarce
    data", COLT 2022. Jaggi, "Revisiting Frank-Wolfe", ICML 2013.
    """

    name: ClassVar[str] = "trace-norm"
    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    solver: str = "proximal"
    lam: float | None = None
    radius: float | None = None
    noise: float | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        check.choice("solver", self.solver, SOLVERS)
        for option in ("lam", "radius", "noise", "tol"):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check.real(option, getattr(self, option)))
        if self.solver == "frank-wolfe" and not self.radius:
            raise ValueError(f"radius must be positive for 'frank-wolfe'; got {self.radius}")
        if self.solver == "proximal" and self.radius is not None:
            raise ValueError(f"radius must be None for 'proximal'; got {self.radius:g}")
        if self.solver == "frank-wolfe" and self.lam is not None:
            raise ValueError(f"lam must be None for 'frank-wolfe'; got {self.lam:g}")

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError if the width exceeds the number of features or of tasks."""
        check_width(samples, width)
        check_rank(samples, width)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Minimise from zero; return the top right singular vectors of the coefficients."""
        problem = _Problem(samples, width, monitor)
        if self.solver == "frank-wolfe":
            assert self.radius is not None
            return problem.frank_wolfe(self.radius, 1e-2 if self.tol is None else self.tol)
        lam = self.lam
        if lam is None:
            noise = self.noise
            if noise is None:
                noise = noise_level(samples, width, monitor)
            lam = default_penalty(samples, noise)
        return problem.proximal(lam, 1e-6 if self.tol is None else self.tol)


def default_penalty(samples: Samples, noise: float) -> float:
    """Return ``noise sqrt(n + d^2 / m) / (n sqrt(m))``, (44)."""
    rows = len(samples.y)
    combined = samples.combine(fixed_normals(rows, 8))
    d, m = samples.space.product(combined, combined) / (8 * rows), rows / samples.n
    return float(noise * np.sqrt(samples.n + d * d / m) / (samples.n * np.sqrt(m)))


def noise_level(samples: Samples, width: int, monitor: Monitor) -> float:
    """Estimate the noise from residuals on the method of moments, or else from the responses."""
    free = len(samples.y) - int(np.minimum(np.diff(samples.offsets), width).sum())
    if not free:
        return float(np.sqrt(np.mean(samples.y**2)))
    B = Moments().estimate(samples, width, monitor).B
    Z = samples.features(B)
    heads = solve_heads(Z, samples.y, samples.offsets)
    residuals = samples.y - predict(Z, heads, samples.offsets)
    return float(np.sqrt(residuals @ residuals / free))


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Coefficients with the singular vectors that represent them."""

    theta: Factors
    fitted: F64  # (N,), X_i theta_i
    objective: float
    trace_norm: float
    shown: Leading  # at least `width` singular vectors of the last step


class _Problem:
    """The problems (44) and (45) on the samples of all tasks."""

    def __init__(self, samples: Samples, width: int, monitor: Monitor) -> None:
        self.samples, self.width, self.monitor = samples, width, monitor
        self.space = samples.space
        self.limit = LIMIT if monitor.rounds is None else monitor.rounds
        self.scale = task_weights(samples, range(samples.n)) / len(samples.y)
        self.none = zero(samples)

    def half_square(self, fitted: F64) -> float:
        """Return ``sum_i w_i ||fitted_i||^2 / (2 N)``."""
        return float(self.scale @ fitted**2) / 2

    def gradient_pairs(self, fitted: F64, start: F64, count: int, tol: float) -> Leading:
        """Return the leading singular pairs of the gradient ``[w_i X_i^T r_i / N]_i``."""
        fused = step_operator(
            self.samples, self.none, -1.0, weighted_residuals(self.samples, fitted)
        )
        return leading_singular(fused, self.space, start, partial(_at_most, count), tol)

    def start(self) -> tuple[_Iterate, Leading]:
        """Return zero, and the leading singular pairs of the gradient at zero."""
        fitted = np.zeros(len(self.samples.y))
        residuals = weighted_residuals(self.samples, fitted)
        block = start_block(self.samples, residuals, self.width + SPARE)
        pairs = self.gradient_pairs(fitted, block, self.width, 1e-6)
        value = self.half_square(self.samples.y)
        return _Iterate(self.none, fitted, value, 0.0, pairs), pairs

    def represent(self, iterate: _Iterate) -> tuple[F64, F64]:
        """Return B (dim, width), the top right singular vectors, and the heads (n, width)."""
        B = iterate.shown.right[:, : self.width]
        if B.shape[1] < self.width:  # the Krylov space has too few directions
            more = np.concatenate([B, self.space.identity(0, self.width)], axis=1)
            B = self.space.orthonormal(more)[:, : self.width]
        theta = iterate.theta
        heads = theta.left @ self.space.inner(theta.right, B)
        return np.ascontiguousarray(B), heads

    def record(self, iterate: _Iterate) -> bool:
        return self.monitor.record(*self.represent(iterate), iterate.objective)

    def finish(self, iterate: _Iterate, iterations: int, reason: str) -> Estimate:
        rank = iterate.theta.left.shape[1]
        if not reason and rank < self.width:
            reason = (
                f"the solution has rank {rank}, below the width {self.width}, and a smaller "
                "penalty is needed"
            )
        B, heads = self.represent(iterate)
        return Estimate(
            B=B, heads=heads, iterations=iterations, converged=not reason, reason=reason
        )

    def relative_gap(self, iterate: _Iterate, lam: float, bound: float) -> float:
        """Return the duality gap (44) divided by the objective.

        For ``lam=0`` the only feasible dual point is zero, whose gap is the objective. Then
        `bound`, an estimate of what is left to gain, is divided by the objective of zero
        coefficients.
        """
        tiny = float(np.finfo(float).tiny)
        if lam == 0:
            return bound / max(self.half_square(self.samples.y), tiny)
        return self.gap(iterate, lam) / max(iterate.objective, tiny)

    def gap(self, iterate: _Iterate, lam: float) -> float:
        """Return the duality gap (44), from the residuals scaled to a feasible dual point."""
        width = iterate.theta.right.shape[1] + SPARE
        residuals = weighted_residuals(self.samples, iterate.fitted)
        block = np.concatenate(
            [iterate.theta.right, start_block(self.samples, residuals, SPARE)], axis=1
        )
        assert block.shape[1] == width
        top = float(self.gradient_pairs(iterate.fitted, block, 1, 1e-8).values[0])
        share = min(1.0, lam / top) if top > 0 else 1.0
        r, y = self.samples.y - iterate.fitted, self.samples.y
        dual = float(self.scale @ (share * r * y - (share * r) ** 2 / 2))
        return iterate.objective - dual

    def proximal(self, lam: float, tol: float) -> Estimate:
        """Take accelerated proximal gradient steps, (44), until the duality gap is closed."""
        current, pairs = self.start()
        previous, momentum, iteration = current, 1.0, 0
        direction = Factors(pairs.left[:, :1], pairs.right[:, :1])
        curvature = 2 * self.half_square(predictions(self.samples, direction))
        curvature = max(
            curvature, float(np.finfo(float).tiny)
        )  # zero responses have zero gradients
        tested = 100 * tol * current.objective  # the gap is computed only if a bound is below this
        if self.record(current):
            return self.finish(current, 0, "")
        accuracy, bound = 1e-4, np.inf
        while True:
            if not (np.isfinite(current.objective) and np.isfinite(curvature)):
                return self.diverged(current, iteration)
            if iteration == self.limit:
                gap = self.relative_gap(current, lam, bound)
                reason = "" if gap <= tol else self.unfinished(gap, tol)
                return self.finish(current, iteration, reason)
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            push = (momentum - 1) / following
            step = self.proximal_step(current, previous, push, lam, curvature, accuracy)
            curvature = step.curvature
            if step.iterate.objective > current.objective * (1 + ROUNDING):
                if push > 0:
                    previous, momentum = current, 1.0
                elif accuracy > 1e-13:
                    accuracy *= 0.1
                else:  # rounding errors hide the gain of a step
                    return self.finish(current, iteration, "")
                continue
            previous, current, momentum = current, step.iterate, following
            iteration += 1
            stop = self.record(current)
            bound = 4 * curvature * step.moved * norm(self.space, current.theta)
            if stop:
                return self.finish(current, iteration, "")
            accuracy = min(accuracy, max(1e-13, 0.1 * step.moved / max(current.trace_norm, 1e-300)))
            if bound <= tested or step.moved == 0:
                if self.relative_gap(current, lam, bound) <= tol or step.moved == 0:
                    return self.finish(current, iteration, "")
                tested = bound / 4

    def proximal_step(  # noqa: PLR0917
        self,
        current: _Iterate,
        previous: _Iterate,
        push: float,
        lam: float,
        curvature: float,
        accuracy: float,
    ) -> _Step:
        """Take a gradient step and shrink the singular values; double too low a curvature.

        The step starts at ``current + push (current - previous)``. The curvature L is large enough
        if the change D of the step satisfies ``sum_i w_i ||X_i D_i||^2 / N <= L ||D||_F^2``.
        """
        ahead = join(1 + push, current.theta, -push, previous.theta) if push else current.theta
        fitted = (1 + push) * current.fitted - push * previous.fitted
        residuals = weighted_residuals(self.samples, fitted)
        warm = current.shown.right
        while True:
            fused = step_operator(self.samples, ahead, 1 / curvature, residuals)
            pairs = leading_singular(fused, self.space, warm, _above(lam / curvature), accuracy)
            if not np.isfinite(pairs.values).all():
                return _Step(_Iterate(self.none, fitted, np.inf, 0.0, pairs), curvature, np.inf)
            rank = int(np.sum(pairs.values > lam / curvature))
            shrunk = pairs.values[:rank] - lam / curvature
            theta = Factors(pairs.left[:, :rank] * shrunk, pairs.right[:, :rank])
            reached = predictions(self.samples, theta)
            moved = norm(self.space, join(1.0, theta, -1.0, ahead))
            used = 2 * self.half_square(reached - fitted)
            short = moved <= 1e-14 * norm(self.space, theta)
            if short or used <= curvature * moved**2 * (1 + 1e-9):
                break
            curvature *= 2
        trace_norm = float(shrunk.sum())
        value = self.half_square(self.samples.y - reached) + lam * trace_norm
        shown = _with_spare(pairs, rank, max(rank, self.width) + SPARE)
        return _Step(_Iterate(theta, reached, value, trace_norm, shown), curvature, moved)

    def frank_wolfe(self, radius: float, tol: float) -> Estimate:
        """Move towards the extreme points of the ball that the gradient favours, (45)."""
        current, pairs = self.start()
        iteration = 0
        stop = self.record(current)
        while not stop:
            pair = Factors(-radius * pairs.left[:, :1], pairs.right[:, :1])
            target = predictions(self.samples, pair)
            change = target - current.fitted
            gap = -float(weighted_residuals(self.samples, current.fitted) @ change)
            if not np.isfinite(gap):
                return self.diverged(current, iteration)
            if gap <= tol * current.objective:
                break
            if iteration == self.limit:
                return self.finish(
                    current, iteration, self.unfinished(gap / current.objective, tol)
                )
            square = 2 * self.half_square(change)
            share = min(1.0, gap / square) if square > 0 else 1.0
            parts = decompose(self.space, join(1 - share, current.theta, share, pair))
            held = parts.values > 1e-14 * parts.values[0]
            theta = Factors(parts.left[:, held] * parts.values[held], parts.right[:, held])
            fitted = current.fitted + share * change
            value = self.half_square(self.samples.y - fitted)
            right = np.concatenate([theta.right, pairs.right], axis=1)[:, : self.width + SPARE]
            shown = Leading(theta.left, parts.values, self.space.orthonormal(right))
            current = _Iterate(theta, fitted, value, float(parts.values.sum()), shown)
            iteration += 1
            stop = self.record(current)
            residuals = weighted_residuals(self.samples, fitted)
            fresh = start_block(self.samples, residuals, SPARE)
            block = np.concatenate([pairs.right[:, :SPARE], fresh], axis=1)
            pairs = self.gradient_pairs(fitted, block, 1, 1e-4)
        return self.finish(current, iteration, "")

    def unfinished(self, gap: float, tol: float) -> str:
        """Return why the iteration ended at its limit."""
        return (
            f"the duality gap was still {gap:.2g} of the objective (tol={tol:g}) "
            f"at iteration {self.limit}, its limit"
        )

    def diverged(self, current: _Iterate, iteration: int) -> Estimate:
        reason = f"the objective became {current.objective:g} at iteration {iteration}"
        return self.finish(current, iteration, reason)


@dataclass(frozen=True, eq=False)
class _Step:
    """A proximal step: its end point, the curvature that bounds it, and its length."""

    iterate: _Iterate
    curvature: float
    moved: float


def _at_most(count: int, values: F64) -> int:
    """Return the number of singular values, or a smaller count."""
    return min(count, len(values))


def _above(threshold: float) -> Callable[[F64], int]:
    """Return a function that counts the singular values above a threshold."""
    return lambda values: int(np.sum(values > threshold))


def _with_spare(pairs: Leading, rank: int, columns: int) -> Leading:
    """Return the leading pairs, with the number of columns at which the next step starts."""
    columns = max(columns, rank + 1)
    return Leading(pairs.left[:, :columns], pairs.values[:columns], pairs.right[:, :columns])
