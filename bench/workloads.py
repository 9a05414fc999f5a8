"""Data for the benches of the arrays engine, and runs of the package on them."""

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
STILL = 1e-9  # relative move of B in a timed round: all rounds see nearly the same numbers
MOVING = 1e-3  # the same in a run whose end is looked at
ROUNDS_SECONDS = 0.06  # of the rounds of a timed run


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A batch in the dtype of X, and where to start."""

    size: Size
    arrays: Arrays
    batch: ms.TaskBatch
    B: np.ndarray
    w: np.ndarray
    known: dict[str, Gradient] = field(default_factory=dict)

    def reference(self, method: str) -> Gradient:
        """NumPy's gradient, computed once."""
        if method not in self.known:
            self.known[method] = self.descent(method, self.B, self.w)
        return self.known[method]

    def descent(self, method: str, B: np.ndarray, w: np.ndarray) -> Gradient:
        """NumPy's gradient at another place."""
        return numpy_gradient(B, w, ArrayTasks(self.arrays), RULES[method], ALPHA)

    def beta(self, method: str, move: float) -> float:
        """The outer step that moves the entries of B by a part of their size."""
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
    """Linear tasks with a little noise, and B with alpha B^T B = I."""
    d, k, n = size[:3]
    rng = np.random.default_rng(7)
    theta = rng.standard_normal((n, d, 1)) / math.sqrt(d)
    parts = []
    for m in (size.m_in, size.m_out):
        X = rng.standard_normal((n, m, d))
        parts += [X, (X @ theta)[:, :, 0] + 0.1 * rng.standard_normal((n, m))]
    B = np.linalg.qr(rng.standard_normal((d, k)))[0] / math.sqrt(ALPHA)
    return _problem(size, parts, B, rng.standard_normal(k))


def train(given: Problem, method: str, **rest: Any) -> ms.Result:
    """A run that records next to nothing and must have finished."""
    result = ms.train(
        given.batch,
        method,
        alpha=ALPHA,
        init=(given.B, given.w),
        record="w_norm",
        record_every=2**40,
        stop=None,
        **rest,
    )
    assert result.status == ms.Status.FINISHED, str(result.status)
    return result


@dataclass(frozen=True, kw_only=True)
class Laps:
    """A run as its progress tells: seconds up to the first round, of a round, and of all."""

    setup: float
    round: float
    whole: float
    end: ms.Result


def laps(given: Problem, method: str, *, rounds: int, **rest: Any) -> Laps:
    """Time a run of at least two rounds: a round is what each after the first took."""
    return laps_of(partial(train, given, method), rounds=rounds, **rest)


def laps_of(run: Callable[..., ms.Result], *, rounds: int, **rest: Any) -> Laps:
    """The same of any run that takes these arguments."""
    seen: list[tuple[int, float]] = []
    began = time.perf_counter()
    rest["progress"] = lambda done, _: seen.append((done, time.perf_counter()))
    end = run(rounds=rounds, **rest)
    whole = time.perf_counter() - began
    (first, after_first), (last, after_last) = seen[0], seen[-1]
    one = (after_last - after_first) / (last - first)
    return Laps(setup=after_first - began - first * one, round=one, whole=whole, end=end)


def rounds_of(given: Problem, method: str, **rest: Any) -> Callable[[], Seconds]:
    """A run of many rounds that tells the seconds of one: each meets the data anew."""
    rest["beta"] = given.beta(method, STILL)
    guess = estimate(given, method, **rest).seconds_per_round
    rounds = 1 + min(max(round(ROUNDS_SECONDS / guess), 1), 3000)
    return lambda: Seconds(laps(given, method, rounds=rounds, **rest).round)


def estimate(given: Problem, method: str, **rest: Any) -> ms.Estimate:
    """What the package expects of one round."""
    return ms.estimate(
        given.batch,
        method,
        alpha=ALPHA,
        init=(given.B, given.w),
        rounds=1,
        record="w_norm",
        record_every=2**40,
        stop=None,
        **rest,
    )


def assert_route(given: Problem, method: str, route: str, expected: Gradient) -> None:
    """A round with outer step 1 subtracts NumPy's gradient."""
    after = train(given, method, rounds=1, route=route, beta=1.0)
    found = (given.B - after.full_B(), given.w - after.w)
    _close(found, expected, f"{method}, {route} route")


def assert_dual(given: Problem, method: str, rounds: int) -> Laps:
    """Rounds of the dual route end where NumPy's rounds end."""
    beta = given.beta(method, MOVING)
    found = laps(given, method, rounds=rounds, route="dual", beta=beta)
    B, w = given.B, given.w
    for _ in range(rounds):
        there = given.descent(method, B, w)
        B, w = B - beta * there[0], w - beta * there[1]
    moved = (found.end.full_B() - given.B, found.end.w - given.w)
    _close(moved, (B - given.B, w - given.w), f"{method}, dual route")
    return found


def assert_call(call: Callable[[], Any], expected: Gradient, who: str) -> None:
    """A call finds the gradient that NumPy finds, entry by entry."""
    found = call()
    pair = (found.B, found.w) if isinstance(found, ms.Gradient) else found
    _close(pair, expected, who)


def _close(found: Gradient, expected: Gradient, who: str) -> None:
    tolerance = 1e-3 if found[0].dtype == np.float32 else 1e-9
    off = [relative(a, b) for a, b in zip(found, expected, strict=True)]
    assert max(off) < tolerance, f"{who}: {off} away from NumPy"
