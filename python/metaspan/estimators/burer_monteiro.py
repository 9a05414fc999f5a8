r"""Burer-Monteiro: minimises a balanced objective over factors of the coefficients by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._support import check
from .._support.types import F64
from .coefficients import check_rank
from .estimator import Estimate, Monitor
from .samples import Samples, offsets_of, rows_of, task_weights
from .space import Space, refuse_shared
from .starts import STARTS, start_subspace, task_normals
from .task_algebra import combine_rows, outer_rows, predict, solve_heads

LIMIT = 15000  # iterations, unless `ms.fit` is given a number of rounds; the limit of SciPy


class _Stop(Exception):
    """Raised within SciPy's iterations to end them when the monitor returns true."""


@dataclass(frozen=True, kw_only=True)
class BurerMonteiro:
    r"""The minimiser of the least-squares loss over factors of the coefficients, equation (42).

    Minimises ``sum_i w_i ||y_i - X_i B v_i||^2 / (2 N) + ||B^T B - V^T V||_F^2 / 8`` over B (dim,
    k) and V (n, k), with N the number of rows of all tasks and w_i the weights of the tasks, by
    L-BFGS (SciPy, 10 corrections). An evaluation takes one pass over X, and an iteration makes
    hardly more than one evaluation. The memory in addition to the samples is about 44 (dim + n) k
    numbers. The trace has the objective of every accepted iterate, which never rises.

    Parameters
    ----------
    start : {"random", "moments", "duchi"}
        "random": independent normal entries of B and V, standard as in the published code unless
        the responses are small: their standard deviation is ``u^(1/4)`` with the u of `tol`.
        "moments", "duchi": that estimator of the subspace (38), (39), with heads by least squares,
        as factors with ``B^T B = V^T V``.
    tol : float
        Converged once an iteration lowers the objective by less than `tol` times its value or u,
        whichever is larger, or once no entry of the gradient exceeds ``tol u``. Here u is the loss
        of coefficients that are zero, but at most 1. The default is the first of these as
        published.

    Notes
    -----
    `Estimate.B` has orthonormal columns with the span of the minimiser, and the heads belong to it.

    References
    ----------
    Tripuraneni, Jin, Jordan, "Provable meta-learning of linear representations", ICML 2021, with
    the authors' code in the repository nileshtrip/MTL.
    """

    name: ClassVar[str] = "burer-monteiro"
    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    start: str = "random"
    tol: float = 2.2e-9

    def __post_init__(self) -> None:
        check.choice("start", self.start, STARTS)
        object.__setattr__(self, "tol", check.real("tol", self.tol))

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError if the width exceeds the number of features or of tasks."""
        check_rank(samples, width)
        refuse_shared(
            self.name,
            samples.space,
            "the L-BFGS method of SciPy needs all rows of B in one process",
        )

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Minimise from the start; return orthonormal columns and the heads that belong to them."""
        from scipy.optimize import minimize  # noqa: PLC0415

        objective = _Objective(samples, width)
        unit = objective.unit()
        x = objective.join(*self._start(samples, width, monitor, unit))
        B, V = objective.split(x)
        if monitor.record(B, V, objective(x)[0]):
            return _estimate(samples.space, B, V, 0)
        iterations = 0

        def accept(x: F64) -> None:
            nonlocal iterations
            iterations += 1
            B, V = objective.split(x)
            if monitor.record(B, V, objective.value_at(x)):
                raise _Stop

        limit = LIMIT if monitor.rounds is None else monitor.rounds
        options: dict[str, Any] = {
            "maxiter": limit,
            "maxfun": 20 * limit + 20,
            "ftol": self.tol,
            "gtol": self.tol,
        }

        # SciPy compares what an iteration gains with 1 if the objective is less, so that responses
        # in a small unit would seem to have converged.
        def scaled(x: F64) -> tuple[float, F64]:
            value, gradient = objective(x)
            return value / unit, gradient / unit

        try:
            end = minimize(scaled, x, jac=True, method="L-BFGS-B", callback=accept, options=options)
        except _Stop:
            return _estimate(samples.space, *objective.split(objective.accepted), iterations)
        B, V = objective.split(end.x)
        return _estimate(
            samples.space, B, V, iterations, _reason(end, end.fun * unit, iterations, limit)
        )

    def _start(
        self, samples: Samples, width: int, monitor: Monitor, unit: float
    ) -> tuple[F64, F64]:
        """Return the factors B (dim, width) and V (n, width) of the start."""
        if self.start == "random":
            B = samples.normals(width, 0)
            return unit**0.25 * B, unit**0.25 * task_normals(samples.n, B)
        B = start_subspace(samples, width, self.start, monitor)
        V = solve_heads(samples.features(B), samples.y, samples.offsets)
        U, scale, turn = np.linalg.svd(V, full_matrices=False)
        root = np.sqrt(scale)
        return (B @ turn.T) * root, U * root


class _Objective:
    """The objective (42) and its gradient; SciPy sees B and V as one vector."""

    def __init__(self, samples: Samples, width: int) -> None:
        self.samples, self.width = samples, width
        self.accepted: F64 = np.empty(0)
        self._last: tuple[F64, float] | None = None

    def join(self, B: F64, V: F64) -> F64:
        return np.concatenate([B.reshape(-1), V.reshape(-1)])

    def split(self, x: F64) -> tuple[F64, F64]:
        size = self.samples.dim * self.width
        return x[:size].reshape(-1, self.width), x[size:].reshape(-1, self.width)

    def unit(self) -> float:
        """Return the loss of coefficients that are zero, at most 1, and 1 if it is zero."""
        samples = self.samples
        squares = samples.y**2 * task_weights(samples, range(samples.n))
        loss = float(np.mean(squares)) / 2
        return min(loss, 1.0) if loss > 0 else 1.0

    def __call__(self, x: F64) -> tuple[float, F64]:
        samples, rows = self.samples, len(self.samples.y)
        B, V = self.split(x)
        V_bar = np.empty_like(V)
        loss = 0.0

        def transform(Z: F64, tasks: range) -> F64:
            nonlocal loss
            heads = V[tasks.start : tasks.stop]
            offsets = offsets_of(samples, tasks)
            residuals = predict(Z, heads, offsets) - samples.y[rows_of(samples, tasks)]
            weighted = residuals * task_weights(samples, tasks) / rows
            loss += float(residuals @ weighted) / 2
            V_bar[tasks.start : tasks.stop] = combine_rows(Z, weighted, offsets)
            return outer_rows(weighted, heads, offsets)

        B_bar = samples.combine_features(np.ascontiguousarray(B), transform)
        imbalance = B.T @ B - V.T @ V
        B_bar = B_bar + B @ imbalance / 2
        V_bar -= V @ imbalance / 2
        value = loss + float(np.sum(imbalance**2)) / 8
        self._last = x.copy(), value
        return value, self.join(B_bar, V_bar)

    def value_at(self, x: F64) -> float:
        """Return the objective at an accepted x, almost always the x of the last evaluation."""
        self.accepted = x.copy()
        if self._last is None or not np.array_equal(self._last[0], x):
            self(x)
        assert self._last is not None
        return self._last[1]


def _estimate(space: Space, B: F64, V: F64, iterations: int, reason: str = "") -> Estimate:
    """Return the estimate with the columns Q of B = Q R, to which the heads V R^T belong."""
    if not (np.isfinite(B).all() and np.isfinite(V).all()):
        return Estimate(B=B, heads=V, iterations=iterations, converged=False, reason=reason)
    Q, R = space.factor(B)
    return Estimate(B=Q, heads=V @ R.T, iterations=iterations, converged=not reason, reason=reason)


def _reason(end: Any, value: float, iterations: int, limit: int) -> str:
    """Return why SciPy stopped before convergence, at this objective; "" if it converged."""
    if not np.isfinite(value):
        return f"the objective became {value:g} at iteration {iterations}"
    if end.success:
        return ""
    if iterations >= limit:
        return f"the objective {value:g} was still falling at iteration {iterations}, its limit"
    return f"the line search found no lower objective than {value:g} at iteration {iterations}"
