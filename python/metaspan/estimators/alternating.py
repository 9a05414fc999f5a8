r"""Alternating minimisation: heads by least squares, then the representation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .estimator import Estimate, Monitor
from .samples import Samples, lengths
from .space import Space
from .starts import STARTS, start_subspace
from .transforms import Curvature, HeadFit

LIMIT = 1000  # iterations, if `ms.fit` gets no `rounds`
CG_LIMIT = 200  # the most passes over X for B in an iteration of AltMin
POWER_STEPS = 8  # passes over X for the curvature that sets the default step
EASE = 0.9  # factor of c after a step that lowered the objective
ROUNDING = 2e-15
STEEP = 1e-3  # the largest gradient at convergence, relative to the loss of coefficients of zero
HALVINGS = 40  # the most halvings of a step: after them, rounding errors hide any descent


@dataclass(frozen=True, eq=False)
class Point:
    """A representation, its least-squares heads, a loss at these heads, and its gradient in B."""

    B: F64  # (dim, k)
    heads: F64  # (n, k)
    objective: float
    gradient: F64  # (dim, k)


def point_at(samples: Samples, B: F64, shares: F64) -> Point:
    """Compute the heads, the loss and the gradient in B in one pass over X.

    The loss is ``sum_i shares_i ||y_i - X_i B v_i||^2 / 2`` at the least-squares heads v_i.
    """
    fit = HeadFit(samples, shares, np.empty((samples.n, B.shape[1])))
    with np.errstate(over="ignore", invalid="ignore"):  # too long a step: the caller sees nan
        gradient = samples.combine_features(B, fit)
    return Point(B, fit.heads, fit.loss, gradient)


def _shares(samples: Samples) -> F64:
    """Return the shares of the tasks in the loss (43)."""
    return samples.weights / len(samples.y)


def _orthonormal_point(space: Space, point: Point) -> Point:
    """Return the point at Q of B = Q R, where the heads are V R^T and the objective is the same."""
    Q, R = space.factor(point.B)
    return Point(Q, point.heads @ R.T, point.objective, space.times(point.gradient, R.T))


def _curvature(samples: Samples, heads: F64) -> Callable[[F64], F64]:
    """Return the second derivative in B, the map ``P -> sum_i w_i X_i^T X_i P v_i v_i^T / N``."""
    transform = Curvature(samples, heads, _shares(samples))
    return lambda P: samples.combine_features(np.ascontiguousarray(P), transform)


def _second_moment(samples: Samples, heads: F64) -> F64:
    """Return ``sum_i w_i m_i v_i v_i^T / N``, (k, k), the mean of v v^T over the rows of X."""
    scale = samples.weights * lengths(samples) / len(samples.y)
    return (heads * scale[:, None]).T @ heads


def _largest_curvature(samples: Samples, point: Point) -> float:
    """Estimate the largest eigenvalue of the second derivative in B by power iteration.

    Returns 0 if the gradient is zero, or if squares overflow.
    """
    apply, space = _curvature(samples, point.heads), samples.space
    P, value = point.gradient, 0.0
    with np.errstate(over="ignore"):  # the squares of huge numbers: the size is not finite
        for _ in range(POWER_STEPS):
            size = space.norm(P)
            if not (np.isfinite(size) and size > 0):
                break
            P = apply(P / size)
            value = space.norm(P)
    return value if np.isfinite(value) else 0.0


def sine_between(space: Space, Q: F64, P: F64) -> float:
    """Return the sine of the largest angle between the spans of orthonormal columns."""
    return space.spectral_norm(P - space.times(Q, space.inner(Q, P)))


@dataclass(frozen=True, kw_only=True)
class _Alternating:
    """Base class of the alternating estimators: the start, the test of convergence, the loop."""

    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    start: str = "duchi"
    tol: float = 1e-8

    def __post_init__(self) -> None:
        check.choice("start", self.start, STARTS)
        object.__setattr__(self, "tol", check.real("tol", self.tol))

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError if no task has more rows than heads have entries."""
        if width > samples.dim:
            raise ValueError(f"width must be at most {samples.dim}, the features; got {width}")
        most = int(lengths(samples).max())
        if most <= width:
            raise ValueError(
                f"least-squares heads need a task with more than width = {width} samples; "
                f"the largest task has {most}"
            )

    def _start(self, samples: Samples, width: int, monitor: Monitor) -> Point:
        """Return the point from which the iteration starts."""
        B = start_subspace(samples, width, self.start, monitor)
        return point_at(samples, B, _shares(samples))

    def _iterate(
        self,
        samples: Samples,
        monitor: Monitor,
        point: Point,
        advance: Callable[[Point], Point | None],
    ) -> Estimate:
        """Iterate until the subspace stops moving, the objective diverges, or the limit is reached.

        `advance` returns None if no step in floating point lowers the objective.
        """
        limit = LIMIT if monitor.rounds is None else monitor.rounds
        space = samples.space
        stop = monitor.record(point.B, point.heads, point.objective)
        steepest = STEEP * float(np.mean(np.square(samples.y))) / 2  # relative to the loss of zero
        iteration, moved, reason = 0, np.inf, ""
        basis, R = space.factor(point.B)
        while not stop:
            if not np.isfinite(point.objective):
                reason = f"the objective became {point.objective:g} at iteration {iteration}"
                break
            slope = space.norm(space.times(point.gradient, R.T))  # at the columns of the basis
            if moved <= self.tol or slope == 0:
                # Near a singular Z_i, its head and the curvature are so large that steps stop. Far
                # too long a step makes B so large that later steps do not turn it.
                if slope > steepest:
                    reason = (
                        f"the subspace stopped moving at iteration {iteration}, where the gradient "
                        "is large: the features of a task are nearly singular, or a step was far "
                        "too long"
                    )
                break
            if iteration == limit:
                reason = (
                    f"the subspace still moved by {moved:.2g} (tol={self.tol:g}) "
                    f"at iteration {limit}, its limit"
                )
                break
            following = advance(point)
            if following is None:
                break
            point, iteration = following, iteration + 1
            stop = monitor.record(point.B, point.heads, point.objective)
            if np.isfinite(point.objective):
                before = basis
                basis, R = space.factor(point.B)
                moved = sine_between(space, before, basis)
        if not np.isfinite(point.objective):
            reason = reason or f"the objective became {point.objective:g} at iteration {iteration}"
            return Estimate(
                B=point.B, heads=point.heads, iterations=iteration, converged=False, reason=reason
            )
        return _orthonormal_estimate(space, point, iteration, reason)


def _orthonormal_estimate(space: Space, point: Point, iterations: int, reason: str) -> Estimate:
    """Return the estimate with the columns Q of B = Q R, to which the heads V R^T belong."""
    point = _orthonormal_point(space, point)
    return Estimate(
        B=point.B,
        heads=point.heads,
        iterations=iterations,
        converged=not reason,
        reason=reason,
    )


@dataclass(frozen=True, kw_only=True)
class AltMin(_Alternating):
    r"""Alternating minimisation: heads, then B, by least squares, equation (43).

    An iteration has three steps. It computes the least-squares heads of all tasks at B. It then
    minimises ``sum_i w_i ||y_i - X_i B v_i||^2`` over B at these heads, by conjugate gradients on
    the normal equations; they start at B, and their preconditioner is the second moment of the
    heads. Finally, it makes the columns of B orthonormal. The objective, the loss at the
    least-squares heads, never rises.

    An iteration costs one pass over X for the heads and the gradient, and one pass for each step of
    conjugate gradients, which takes about 10 steps for isotropic features. The memory in addition
    to the samples is about 6 dim k numbers.

    Parameters
    ----------
    start : {"duchi", "moments", "random"}
        "duchi": the estimator of pairs of samples (39), for which every task needs two samples.
        "moments": the method of moments (38), from which the iteration can end in a stationary
        point if samples are few. "random": the span of a normal matrix.
    inner_tol : float
        Conjugate gradients stop once the norm of the gradient in B is at most `inner_tol` times its
        norm at the start of the iteration, or after 200 steps. The norm is that of the
        preconditioner.
    tol : float
        Converged once an iteration turns the subspace by an angle whose sine is at most `tol`.

    References
    ----------
    Thekumparampil, Jain, Netrapalli, Oh, "Statistically and computationally efficient linear
    meta-representation learning", NeurIPS 2021, without its split of the samples by iterations.
    """

    name: ClassVar[str] = "altmin"

    inner_tol: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inner_tol", check.real("inner_tol", self.inner_tol, 0.0, 1.0))

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Alternate from the start; return orthonormal columns and heads by least squares."""

        def advance(point: Point) -> Point:
            B = point.B - _solve_curvature(samples, point, self.inner_tol)
            return point_at(samples, samples.space.orthonormal(B), _shares(samples))

        start = self._start(samples, width, monitor)
        return self._iterate(samples, monitor, start, advance)


def _solve_curvature(samples: Samples, point: Point, tol: float) -> F64:
    """Return the change of B that sets the gradient at fixed heads to zero, by (43).

    Conjugate gradients on the second derivative, with ``P -> P M^+`` as the preconditioner, where M
    is the second moment of the heads. For isotropic features, the mean of the second derivative is
    ``P -> P M``, so the number of steps does not depend on the condition number of M.
    """
    values, vectors = np.linalg.eigh(_second_moment(samples, point.heads))
    usable = values > values[-1] * len(values) * np.finfo(float).eps
    inverse = (vectors[:, usable] / values[usable]) @ vectors[:, usable].T
    apply, space = _curvature(samples, point.heads), samples.space
    change = np.zeros_like(point.B)
    residual = point.gradient
    direction = scaled = space.times(residual, inverse)
    size = start = space.product(residual, scaled)
    for _ in range(CG_LIMIT):
        if not size > tol**2 * start:
            break
        image = apply(direction)
        length = size / space.product(direction, image)
        change = change + length * direction
        residual = residual - length * image
        scaled = space.times(residual, inverse)
        before, size = size, space.product(residual, scaled)
        direction = scaled + (size / before) * direction
    return change


@dataclass(frozen=True, kw_only=True)
class AltMinGD(_Alternating):
    r"""Heads by least squares, then one gradient step on B, equation (43).

    An iteration steps B against the gradient of ``sum_i w_i ||y_i - X_i B v_i||^2 / (2 N)`` at the
    heads v_i that minimise it. The heads and the gradient use the same features ``Z = X B``, so an
    iteration takes one pass over X. The memory in addition to the samples is about 4 dim k numbers.

    Parameters
    ----------
    step : float or None
        Step size, > 0. None: the inverse of an estimate of the largest curvature in B at the heads.
        The estimate is c times the largest eigenvalue of the second moment of the heads, and 8
        steps of power iteration (8 passes) determine c at the start. After every step, c falls by a
        tenth. If a step would raise the objective, c doubles and the step is repeated, so the
        objective never rises; about one pass in eight is such a repetition. The columns of B are
        made orthonormal after every step, which does not change the objective. With a number, they
        are not.
    start : {"duchi", "moments", "random"}
        "duchi": the estimator of pairs of samples (39), for which every task needs two samples.
        "moments": the method of moments (38), from which the iteration can end in a stationary
        point if samples are few. "random": the span of a normal matrix.
    tol : float
        Converged once an iteration turns the subspace by an angle whose sine is at most `tol`.

    References
    ----------
    Thekumparampil, Jain, Netrapalli, Oh, "Statistically and computationally efficient linear
    meta-representation learning", NeurIPS 2021, without its split of the samples by iterations.
    """

    name: ClassVar[str] = "altmin-gd"

    step: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step is not None:
            object.__setattr__(self, "step", check.positive("step", self.step))

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Step from the start; return orthonormal columns and heads by least squares."""
        start = self._start(samples, width, monitor)
        if self.step is None:
            advance = self._safe_steps(samples)
        else:
            advance = self._fixed_steps(samples, self.step)
        return self._iterate(samples, monitor, start, advance)

    def _move(self, samples: Samples, point: Point, step: float) -> Point:
        with np.errstate(over="ignore", invalid="ignore"):
            B = point.B - step * point.gradient
        return point_at(samples, B, _shares(samples))

    def _fixed_steps(self, samples: Samples, step: float) -> Callable[[Point], Point | None]:
        return lambda point: self._move(samples, point, step)

    def _safe_steps(self, samples: Samples) -> Callable[[Point], Point | None]:
        """Return steps by the inverse of the curvature, halved where the objective would rise.

        The largest curvature at the heads of the start is c times the largest eigenvalue of their
        second moment. The factor c falls a little after every step, because it is an upper bound
        for most directions. If a step would raise the objective, c doubles and the step is
        repeated. The columns of B become orthonormal after every step: a step never shortens them,
        and a long column has small heads, along which later steps would hardly turn the subspace.
        """
        ratio = 0.0  # computed in the first step

        def advance(point: Point) -> Point | None:
            nonlocal ratio
            moment = float(np.linalg.norm(_second_moment(samples, point.heads), 2))
            if not ratio:  # an unknown curvature counts as that of isotropic features
                ratio = _largest_curvature(samples, point) / moment if moment > 0 else 0.0
                ratio = ratio or 1.0
            for _ in range(HALVINGS):
                moved = self._move(samples, point, 1 / (ratio * moment))
                # A rise by rounding errors, a few parts in 2^52, does not count.
                if moved.objective <= point.objective * (1 + ROUNDING):
                    ratio *= EASE
                    return _orthonormal_point(samples.space, moved)
                ratio *= 2
            return None

        return advance
