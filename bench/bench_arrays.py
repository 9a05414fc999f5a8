"""Rounds on the user's own arrays: every route, beside the peers and beside the route's floor.

A round takes data seen once: the gradient of all tasks and the outer step. It is timed within a
run of many rounds, from the end of the first to the end of the last; `meta_gradient` and the peers
are calls of the gradient alone. NumPy stands for the fastest of the three ways of `numpy_ways`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import metaspan as ms
from bench import floors, peers
from bench.floors import Size, Work
from bench.harness import (
    Figure,
    Options,
    Seconds,
    Timing,
    absent,
    cpus,
    figure,
    long_calls,
    show,
    side_by_side,
)
from bench.machine import limits
from bench.numpy_ways import WAYS
from bench.workloads import (
    ALPHA,
    STILL,
    Laps,
    Problem,
    assert_call,
    assert_dual,
    assert_route,
    estimate,
    laps,
    problem,
    rounds_of,
)

METHODS = ("fo-anil", "anil", "fo-maml", "maml")
SWEEPS = ("gram", "vector")
SMALL = Size(100, 5, 50, 25, 25)
MIDDLE = Size(1_000, 10, 100, 100, 100)
WIDE = Size(10_000, 10, 100, 50, 50)
LARGE = Size(100_000, 10, 20, 50, 50)
FEW = Size(10_000, 10, 20, 50, 50)  # in place of the large ones in a quick run
SETUP = Size(5_000, 10, 40, 25, 25)  # of the Gram matrix on one core and on two
FIXED = 1_000  # rounds on data that stay the same
FEWER = 5  # samples of a round that reads gigabytes
CHECKED = 4  # rounds of the dual route that NumPy follows
LEAST_AND_MOST = ("fo-anil", "maml")  # of work

Runs = tuple[list[Laps], Timing]


def small(options: Options) -> list[Figure]:
    """Data that stay in the cache."""
    return _rounds(SMALL, options)


def middle(options: Options) -> list[Figure]:
    """Few features; one core beside all."""
    return ([] if options.quick else _rounds(MIDDLE, options)) + _two_cores(options)


def wide(options: Options) -> list[Figure]:
    """Tasks that fit the cache, data that do not."""
    return [] if options.quick else _rounds(WIDE, options)


def large(options: Options) -> list[Figure]:
    """Tasks that do not fit the cache; data that stay fixed."""
    return _rounds(FEW if options.quick else LARGE, options)


def _rounds(size: Size, options: Options) -> list[Figure]:
    """All rows of a size."""
    there, missing = peers.load()
    given = problem(size)
    repeats = min(options.repeats, FEWER) if size in (WIDE, LARGE) else options.repeats
    figures: list[Figure] = []
    for method in METHODS[-1:] if options.quick else METHODS:
        timings, way = _sweeps_and_peers(given, method, there, repeats)
        runs = _dual_runs(given, method, options)
        figures += _one_round(given, method, (timings, way), runs, options)
        figures += absent(missing, **about(method, size, "ms"))
        if runs and size in (FEW, LARGE):
            figures.append(_fixed(given, method, timings, runs))
    return figures + (_float32(given, options) if size.d >= FEW.d else [])


def about(what: str, size: Size, unit: str, **rest: Any) -> dict[str, Any]:
    """What the figures of a case have in common."""
    case = f"{what}, (d, k, n, m_in, m_out) = {tuple(size)}, cores: {len(cpus())}"
    return {"bench": "arrays", "case": case, "unit": unit, **rest}


def limited(work: Work, options: Options, gemm: str = "gemm_f64") -> dict[str, Any]:
    """Floor in ms, which it is, and what makes it."""
    seconds, note = work.floor(limits(options.repeats), gemm)
    return {"floor": seconds * 1e3, "note": note, "flops": work.flops, "bytes": work.bytes}


# ---------------------------------------------------------------------------------- data seen once


def _sweeps_and_peers(
    given: Problem, method: str, there: list[peers.Peer], repeats: int
) -> tuple[dict[str, Timing], str]:
    """Timings of the sweeping routes, of `meta_gradient` and of the peers; how NumPy did it."""
    rule, expected = peers.RULES[method], given.reference(method)
    way, note = _fastest_way(given, rule)
    calls: dict[str, Callable[[], object]] = {
        "meta_gradient": partial(
            ms.meta_gradient, given.B, given.w, given.batch, method, alpha=ALPHA, losses=False
        ),
        "NumPy": partial(WAYS[way], given.arrays, given.B, given.w, rule, ALPHA),
    }
    for peer in there:
        if peer.name not in calls:
            calls[peer.name] = peer.gradient(given.arrays, given.B, given.w, rule, ALPHA)
    for who, call in calls.items():
        assert_call(call, expected, f"{method}, {who}")
    for route in SWEEPS:
        assert_route(given, method, route, expected)
        calls[route] = rounds_of(given, method, route=route)
    return side_by_side(calls, repeats), note


def _fastest_way(given: Problem, rule: peers.Rule) -> tuple[str, str]:
    """The fastest way of NumPy by the best of a few calls, and a note of all."""
    seconds: dict[str, float] = {}
    for name, way in WAYS.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            way(given.arrays, given.B, given.w, rule, ALPHA)
            times.append(time.perf_counter() - began)
        seconds[name] = min(times)
    best = min(seconds, key=seconds.__getitem__)
    others = (f"{name} about {show(s * 1e3)} ms" for name, s in seconds.items() if name != best)
    return best, f"{best}; {', '.join(others)}"


def _one_round(
    given: Problem,
    method: str,
    measured: tuple[dict[str, Timing], str],
    runs: Runs | None,
    options: Options,
) -> list[Figure]:
    """Rows of a size and method: routes, the choice between them, the peers."""
    case, rule = about(method, given.size, "ms"), peers.RULES[method]
    timings, way = measured
    took = {route: timings[route].median for route in SWEEPS}
    rows = [
        figure(
            timings[route],
            took[route] * 1e3,
            who=f"metaspan, {route} route",
            **case,
            **limited(floors.round_work(route, given.size, rule), options),
        )
        for route in SWEEPS
    ]
    if runs is not None:
        dual = _dual_rows(given, method, runs, case, options)
        took["dual"] = sum(row.value or 0.0 for row in dual) / 1e3
        rows += dual
    choice = estimate(given, method, beta=1.0).route or ""
    for who in [who for who in timings if who not in SWEEPS]:
        ours = who == "meta_gradient"
        rows.append(
            figure(
                timings[who],
                timings[who].median * 1e3,
                who=f"metaspan, {who}" if ours else who,
                ours=took[choice] * 1e3 if choice in took and not ours else None,
                note=way if who == "NumPy" else "",
                **case,
            )
        )
    theirs = {who: t for who, t in timings.items() if who not in (*SWEEPS, "meta_gradient")}
    return [*rows, *_ratios(choice, took, theirs, {**case, "unit": "x"})]


def _ratios(
    choice: str, took: dict[str, float], theirs: dict[str, Timing], case: dict[str, Any]
) -> list[Figure]:
    """The route chosen for one round against the fastest, and the fastest peer against it."""
    if choice not in took:
        note = f"the {choice} route is chosen, which was not measured here"
        return [Figure(who="chosen route / fastest route", value=None, note=note, **case)]
    chosen = Figure(
        who="chosen route / fastest route",
        value=took[choice] / min(took.values()),
        target=1.1,
        note=f"chosen for one round: {choice}",
        **case,
    )
    best = min(theirs, key=lambda who: theirs[who].median)
    ratio = figure(
        theirs[best],
        theirs[best].median / took[choice],
        who="fastest peer / chosen route",
        target=2.0,
        more_is_better=True,
        note=f"the fastest peer: {best}",
        **case,
    )
    return [chosen, ratio]


# -------------------------------------------------------------------------------------- fixed data


def _dual_runs(given: Problem, method: str, options: Options) -> Runs | None:
    """Runs of the dual route; where the Gram matrix is large, the checked one and none other."""
    wanted = {
        SMALL: METHODS,
        MIDDLE: LEAST_AND_MOST[:1],
        WIDE: LEAST_AND_MOST[:1],
    }.get(given.size, LEAST_AND_MOST)
    if method not in wanted and not options.full:
        return None
    check = partial(assert_dual, given, method, CHECKED)
    if given.size in (MIDDLE, WIDE):
        return long_calls(check, 1)
    check()
    rounds, repeats = (50, options.repeats) if given.size == SMALL else (FIXED, 1)
    beta = given.beta(method, STILL)
    return long_calls(partial(laps, given, method, rounds=rounds, route="dual", beta=beta), repeats)


def _dual_rows(
    given: Problem, method: str, runs: Runs, case: dict[str, Any], options: Options
) -> list[Figure]:
    """Setup and round of the dual route."""
    found, timing = runs
    rule, rows = peers.RULES[method], []
    for part, work in (
        ("setup", floors.setup_work(given.size, rule)),
        ("round", floors.dual_work(given.size, rule)),
    ):
        own = replace(timing, seconds=tuple(getattr(run, part) for run in found))
        who = f"metaspan, dual route, {part}"
        rows.append(figure(own, own.median * 1e3, who=who, **case, **limited(work, options)))
    return rows


def _fixed(given: Problem, method: str, sweeps: dict[str, Timing], runs: Runs) -> Figure:
    """Many rounds on the same data by the dual route, against as many sweeps."""
    found, timing = runs
    whole = replace(timing, seconds=tuple(run.whole for run in found))
    best = min(SWEEPS, key=lambda route: sweeps[route].median)
    return figure(
        whole,
        FIXED * sweeps[best].median / whole.median,
        who="sweeps / dual route",
        target=15.0,
        more_is_better=True,
        note=f"the dual route with its setup, {show(whole.median)} s, against the {best} route",
        **about(f"{method}, {FIXED:,} rounds on fixed data", given.size, "x"),
    )


# ------------------------------------------------------------------------------ storage and cores


def _float32(given: Problem, options: Options) -> list[Figure]:
    """The vector route on float32 beside float64."""
    method, single = "fo-anil", given.float32()
    assert_route(single, method, "vector", given.reference(method))
    calls = {
        "float64": rounds_of(given, method, route="vector"),
        "float32": rounds_of(single, method, route="vector"),
    }
    timings = side_by_side(calls, options.repeats)
    case, rule = f"{method}, storage of X", peers.RULES[method]
    rows = [
        figure(
            timing,
            timing.median * 1e3,
            who=f"metaspan, vector route, {dtype}",
            **about(case, given.size, "ms"),
            **limited(
                floors.round_work("vector", given.size, rule, int(dtype[-2:]) // 8),
                options,
                f"gemm_f{dtype[-2:]}",
            ),
        )
        for dtype, timing in timings.items()
    ]
    ratio = timings["float64"].median / timings["float32"].median
    who, unit = "float64 / float32", about(case, given.size, "x")
    return [*rows, figure(timings["float32"], ratio, who=who, more_is_better=True, **unit)]


def _two_cores(options: Options) -> list[Figure]:
    """One thread against all where arithmetic is the floor."""
    if len(cpus()) == 1:
        return []
    sweep, setup = problem(MIDDLE), problem(SETUP)
    beta = setup.beta("maml", STILL)
    threads = (1, len(cpus()))
    cases = {
        ("maml, gram route, a round", MIDDLE): [
            rounds_of(sweep, "maml", route="gram", threads=t) for t in threads
        ],
        ("maml, dual route, setup", SETUP): [
            partial(_setup, setup, rounds=2, route="dual", beta=beta, threads=t) for t in threads
        ],
    }
    figures = []
    for (what, size), calls in cases.items():
        one, all_ = side_by_side(
            {str(t): call for t, call in zip(threads, calls, strict=True)}, options.repeats
        ).values()
        figures.append(
            figure(
                all_,
                one.median / all_.median,
                who=f"one thread / {threads[1]} threads",
                target=0.9 * threads[1],
                more_is_better=True,
                note=f"one thread: {show(one.median * 1e3)} ms",
                **about(what, size, "x"),
            )
        )
    return figures


def _setup(given: Problem, **rest: Any) -> Seconds:
    return Seconds(laps(given, "maml", **rest).setup)
