"""Makes data for the benches of the arrays engine, and runs the package on these data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import metaspan as ms
from bench.floors import Size
from bench.harness import Seconds, relative
from bench.peers import RULES, Arrays, ArrayTasks, Gradient, numpy_gradient

ALPHA = 0.1
STILL = 1e-9  # relative move of B in a timed round: B is nearly the same in all rounds
MOVING = 1e-3  # relative move of B in a round of a run whose end is checked
ROUNDS_SECONDS = 0.06  # seconds that the rounds of a timed run take


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A batch of tasks, and a start B, w; B has the dtype of X."""

    size: Size
    arrays: Arrays
    batch: ms.TaskBatch
    B: np.ndarray
    w: np.ndarray
    known: dict[str, Gradient] = field(default_factory=dict)

    def reference(self, method: str) -> Gradient:
        """Return NumPy's gradient at the start; the gradient is computed once for each method."""
        if method not in self.known:
            self.known[method] = self.descent(method, self.B, self.w)
        return self.known[method]

    def descent(self, method: str, B: np.ndarray, w: np.ndarray) -> Gradient:
        """Return NumPy's gradient at the point (B, w)."""
        return numpy_gradient(B, w, ArrayTasks(self.arrays), RULES[method], ALPHA)

    def beta(self, method: str, move: float) -> float:
        """Return the outer step size with which a step moves B by a fraction `move` of its size."""
        return move * float(np.abs(self.B).max() / np.abs(self.reference(method)[0]).max())

    def float32(self) -> Problem:
        parts = (self.arrays.X_in, self.arrays.y_in, self.arrays.X_out, self.arrays.y_out)
        return _problem(self.size, [part.astype(np.float32) for part in parts], self.B, self.w)


def _problem(size: Size, parts: list[np.ndarray], B: np.ndarray, w: np.ndarray) -> Problem:
    names = ("X_in", "y_in", "X_out", "y_out")
    arrays = Arrays(**dict(zip(names, parts, strict=True)))
    return Problem(
        size=size,
        arrays=arrays,
        batch=ms.TaskBatch(*parts),
        B=B.astype(parts[0].dtype),
        w=w,
    )


def problem(size: Size) -> Problem:
    """Make linear tasks with little noise, and a start with alpha B^T B = I."""
    d, k, n = size[:3]
    rng = np.random.default_rng(7)
    theta = rng.standard_normal((n, d, 1)) / math.sqrt(d)
    parts = []
    for m in (size.m_in, size.m_out):
        X = rng.standard_normal((n, m, d))
        parts += [X, (X @ theta)[:, :, 0] + 0.1 * rng.standard_normal((n, m))]
    B = np.linalg.qr(rng.standard_normal((d, k)))[0] / math.sqrt(ALPHA)
    return _problem(size, parts, B, rng.standard_normal(k))


def train(inputs: Problem, method: str, **rest: Any) -> ms.Result:
    """Train with almost no records; assert that the run finished."""
    result = ms.train(
        inputs.batch,
        method,
        alpha=ALPHA,
        init=(inputs.B, inputs.w),
        record="w_norm",
        record_every=2**40,
        stop=None,
        **rest,
    )
    assert result.status == ms.Status.FINISHED, str(result.status)
    return result


@dataclass(frozen=True, kw_only=True)
class Laps:
    """Times of a run: seconds before the first round, seconds of a round, and seconds in total."""

    setup: float
    round: float
    whole: float
    end: ms.Result


def laps(inputs: Problem, method: str, *, rounds: int, **rest: Any) -> Laps:
    """Time a run of two or more rounds; the time of a round is a mean without the first round."""
    return laps_of(partial(train, inputs, method), rounds=rounds, **rest)


def laps_of(run: Callable[..., ms.Result], *, rounds: int, **rest: Any) -> Laps:
    """Time a run as `laps` does; `run` may be any function with the arguments of `train`."""
    seen: list[tuple[int, float]] = []
    began = time.perf_counter()
    rest["progress"] = lambda done, _: seen.append((done, time.perf_counter()))
    end = run(rounds=rounds, **rest)
    whole = time.perf_counter() - began
    (first, after_first), (last, after_last) = seen[0], seen[-1]
    each = (after_last - after_first) / (last - first)
    return Laps(setup=after_first - began - first * each, round=each, whole=whole, end=end)


def rounds_of(inputs: Problem, method: str, **rest: Any) -> Callable[[], Seconds]:
    """Return a function that makes a run of many rounds and returns the seconds of a round."""
    rest["beta"] = inputs.beta(method, STILL)
    guess = estimate(inputs, method, **rest).seconds_per_round
    rounds = 1 + min(max(round(ROUNDS_SECONDS / guess), 1), 3000)
    return lambda: Seconds(laps(inputs, method, rounds=rounds, **rest).round)


def estimate(inputs: Problem, method: str, **rest: Any) -> ms.Estimate:
    """Return the package's estimate of one round."""
    return ms.estimate(
        inputs.batch,
        method,
        alpha=ALPHA,
        init=(inputs.B, inputs.w),
        rounds=1,
        record="w_norm",
        record_every=2**40,
        stop=None,
        **rest,
    )


def assert_route(inputs: Problem, method: str, route: str, expected: Gradient) -> None:
    """Assert that a round with outer step size 1 subtracts NumPy's gradient."""
    after = train(inputs, method, rounds=1, route=route, beta=1.0)
    gradient = (inputs.B - after.full_B(), inputs.w - after.w)
    _close(gradient, expected, f"{method}, {route} route")


def assert_dual(inputs: Problem, method: str, rounds: int) -> Laps:
    """Assert that several rounds of the dual route end where as many rounds in NumPy end."""
    beta = inputs.beta(method, MOVING)
    dual = laps(inputs, method, rounds=rounds, route="dual", beta=beta)
    B, w = inputs.B, inputs.w
    for _ in range(rounds):
        grad_B, grad_w = inputs.descent(method, B, w)
        B, w = B - beta * grad_B, w - beta * grad_w
    moved = (dual.end.full_B() - inputs.B, dual.end.w - inputs.w)
    _close(moved, (B - inputs.B, w - inputs.w), f"{method}, dual route")
    return dual


def assert_call(call: Callable[[], Any], expected: Gradient, who: str) -> None:
    """Assert that a call returns NumPy's gradient."""
    answer = call()
    pair = (answer.B, answer.w) if isinstance(answer, ms.Gradient) else answer
    _close(pair, expected, who)


def _close(gradient: Gradient, expected: Gradient, who: str) -> None:
    tolerance = 1e-3 if gradient[0].dtype == np.float32 else 1e-9
    off = [relative(a, b) for a, b in zip(gradient, expected, strict=True)]
    assert max(off) < tolerance, f"{who}: {off} away from NumPy"
