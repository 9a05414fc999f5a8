"""Times single calls from Python, compared with the core's work within each call and with peers.

A call checks and converts its arguments, and allocates and converts its results; a round of a run
does none of this. The work within `meta_gradient` is timed as a round of a run on the same route.
The work within the other calls is timed as a call of the core's own function on checked arguments.
"NumPy" uses one vector for each task, and computes each product for all tasks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import metaspan as ms
from bench import peers
from bench.floors import Size
from bench.harness import Figure, Options, Timing, absent, cpus, figure, relative, side_by_side
from bench.workloads import ALPHA, Problem, assert_call, problem, rounds_of

core = ms._core
types = import_module("metaspan._core_types")
METHODS = ("fo-anil", "maml")
SIZES = (Size(100, 5, 50, 25, 25), Size(300, 5, 50, 50, 50), Size(1_000, 10, 100, 100, 100))
POPULATION = ((1_000, 10, 100), (10_000, 10, 100))  # d, k, n
TARGET = 1.2  # time of a whole call, divided by that of the work within it


def run(options: Options) -> list[Figure]:
    """Time calls on data that are in the cache, and calls for gradients of population losses."""
    figures: list[Figure] = []
    for size in SIZES[: 1 if options.quick else None]:
        inputs = problem(size)
        for method in METHODS:
            figures += _gradient(inputs, method, options.repeats)
            figures += _adaptation(inputs, method, options.repeats)
            figures += _one_round(inputs, method, options.repeats)
    for sizes in POPULATION[: 1 if options.quick else None]:
        for method in METHODS:
            figures += _population(sizes, method, options.repeats)
    return figures


def _rows(
    timings: Mapping[str, Timing], call: str, work: str, case: str, *, target: float | None = TARGET
) -> list[Figure]:
    """Make a row for each timing, and a row for the call's time divided by that of its work."""
    about: dict[str, Any] = {"bench": "calls", "case": f"{case}, cores: {len(cpus())}"}
    took = {who: timing.median * 1e3 for who, timing in timings.items()}
    rows = [
        figure(
            timing,
            took[who],
            who=who,
            unit="ms",
            ours=None if who.startswith("metaspan") else took[call],
            **about,
        )
        for who, timing in timings.items()
    ]
    ratio = took[call] / took[work]
    who = f"{call.removeprefix('metaspan, ')} / {work.removeprefix('metaspan, ')}"
    return [*rows, figure(timings[call], ratio, who=who, unit="x", target=target, **about)]


def _gradient(inputs: Problem, method: str, repeats: int) -> list[Figure]:
    """Compare `meta_gradient` with a round of a run on the same route, and with the peers."""
    installed, missing = peers.load()
    rule, expected = peers.RULES[method], inputs.reference(method)
    whole, work = "metaspan, meta_gradient", "metaspan, round"
    gradient = partial(
        ms.meta_gradient, inputs.B, inputs.w, inputs.batch, method, alpha=ALPHA, losses=False
    )
    calls: dict[str, Callable[[], object]] = {
        whole: partial(gradient, route="vector"),
        "metaspan, meta_gradient with route='auto'": gradient,
    }
    for peer in installed:
        calls[peer.name] = peer.gradient(inputs.arrays, inputs.B, inputs.w, rule, ALPHA)
    for who, call in calls.items():
        assert_call(call, expected, f"{method}, {who}")
    calls[work] = rounds_of(inputs, method, route="vector")
    case = f"{method}, meta_gradient, (d, k, n, m_in, m_out) = {tuple(inputs.size)}"
    rows = _rows(side_by_side(calls, repeats), whole, work, case)
    about = {"bench": "calls", "case": rows[0].case, "unit": "ms"}
    return [*rows, *absent(missing, **about)]


def _adaptation(inputs: Problem, method: str, repeats: int) -> list[Figure]:
    """Compare `adapt` on dense data with the core's inner loop on checked arrays."""
    B, w, X, y = inputs.B, inputs.w, inputs.arrays.X_in, inputs.arrays.y_in
    described = _describe(method)
    whole, work = "metaspan, adapt", "metaspan, inner loop"

    def of_core() -> np.ndarray:
        batch = core.Batch(types.CoreData(X, y), X.shape[2])
        return core.adapt_arrays(described, B, w, batch, False, len(cpus()))[0]

    def of_numpy() -> np.ndarray:
        residuals = X @ (B @ w) - y
        return w - ALPHA / X.shape[1] * (residuals[:, None, :] @ X)[:, 0, :] @ B

    calls: dict[str, Callable[[], object]] = {
        whole: partial(ms.adapt, B, w, X, y, method, alpha=ALPHA),
        work: of_core,
        "NumPy": of_numpy,
    }
    for who, call in calls.items():
        assert relative(call(), of_numpy()) < 1e-9, f"{method}, {who}"
    case = f"{method}, adapt, (d, k, n, m_in, m_out) = {tuple(inputs.size)}"
    return _rows(side_by_side(calls, repeats), whole, work, case)


def _one_round(inputs: Problem, method: str, repeats: int) -> list[Figure]:
    """Compare a one-round `train` with two gradients: its last row needs the final losses."""
    whole, work = "metaspan, train of one round", "metaspan, two calls of meta_gradient"
    start, steps = (inputs.B, inputs.w), {"alpha": ALPHA, "route": "vector"}
    gradient = partial(ms.meta_gradient, *start, inputs.batch, method, **steps)
    one = partial(
        ms.train, inputs.batch, method, rounds=1, beta=1.0, init=start, stop=None, **steps
    )
    assert relative(inputs.B - one().full_B(), gradient().B) < 1e-9, method
    calls = {whole: one, work: lambda: (gradient(), gradient())}
    case = f"{method}, train, (d, k, n, m_in, m_out) = {tuple(inputs.size)}"
    return _rows(side_by_side(calls, repeats), whole, work, case, target=None)


def _population(sizes: tuple[int, int, int], method: str, repeats: int) -> list[Figure]:
    """Compare `population_gradient` with the core's function on checked arrays, and with peers."""
    installed, missing = peers.load()
    d, k, n = sizes
    rng = np.random.default_rng(7)
    B, B_star = (np.linalg.qr(rng.standard_normal((d, k)))[0].copy() for _ in range(2))
    w, heads = rng.standard_normal(k), rng.standard_normal((n, k))
    at = peers.Population(B=B, w=w, B_star=B_star, n=n)
    whole, work = "metaspan, population_gradient", "metaspan, gradient in coordinates"
    described = _describe(method)
    inner = partial(core.gradient_population, described, B, w, B_star, heads, 0.0, len(cpus()))

    def of_numpy() -> peers.Gradient:
        M, E = peers.coordinates(at)
        S = np.vstack([M, E.T @ B])
        tasks = peers.PopulationTasks(heads, len(S))
        grad_S, grad_w = peers.numpy_gradient(S, w, tasks, peers.RULES[method], ALPHA)
        return B_star @ grad_S[:k] + E @ grad_S[k:], grad_w

    calls: dict[str, Callable[[], object]] = {
        whole: partial(ms.population_gradient, B, w, B_star, heads, method, alpha=ALPHA),
        "NumPy, in coordinates": of_numpy,
    }
    for peer in installed:
        if peer.task_gradients is not None:
            calls[peer.name] = peer.task_gradients(at, heads, peers.RULES[method], ALPHA)
    for who, call in calls.items():
        assert_call(call, of_numpy(), f"{method}, {who}")
    calls[work] = inner
    case = f"{method}, population_gradient, (d, k, n) = {sizes}"
    rows = _rows(side_by_side(calls, repeats), whole, work, case)
    return [*rows, *absent(missing, bench="calls", case=rows[0].case, unit="ms")]


def _describe(method: str) -> Any:
    """Describe to the core a method with one inner step."""
    rule = peers.RULES[method]
    return types.CoreMethod(
        alpha=ALPHA, beta=0.1, inner_steps=1, adapt_B=rule.adapt_B, exact=rule.exact, beta_head=0.1
    )
