"""Rounds on the user's own arrays: every route, compared with the peers and with its floor.

A round computes the gradient of all tasks and takes the outer step, on data that the caches do not
hold yet. It is timed within a run of many rounds, from the end of the first round to the end of the
last round. `meta_gradient` and the peers are single calls that return the gradient. "NumPy" is the
fastest of the three ways in `numpy_ways`.
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
FEW = Size(10_000, 10, 20, 50, 50)  # replaces the large sizes in a quick run
SETUP = Size(5_000, 10, 40, 25, 25)  # of the Gram matrix on one core and on two
FIXED = 1_000  # rounds on data that stay the same
FEWER = 5  # samples of a round that reads gigabytes
CHECKED = 4  # rounds of the dual route that are compared with NumPy
LEAST_AND_MOST = ("fo-anil", "maml")  # of work

Runs = tuple[list[Laps], Timing]


def small(options: Options) -> list[Figure]:
    """Time rounds on data that stay in the cache."""
    return _rounds(SMALL, options)


def middle(options: Options) -> list[Figure]:
    """Time rounds on few features, and compare one core with all cores."""
    return ([] if options.quick else _rounds(MIDDLE, options)) + _two_cores(options)


def wide(options: Options) -> list[Figure]:
    """Time rounds where each task fits the cache and the data of all tasks do not."""
    return [] if options.quick else _rounds(WIDE, options)


def large(options: Options) -> list[Figure]:
    """Time rounds on tasks that do not fit the cache, and many rounds on fixed data."""
    return _rounds(FEW if options.quick else LARGE, options)


def _rounds(size: Size, options: Options) -> list[Figure]:
    """Make all rows of a size."""
    installed, missing = peers.load()
    inputs = problem(size)
    repeats = min(options.repeats, FEWER) if size in (WIDE, LARGE) else options.repeats
    figures: list[Figure] = []
    for method in METHODS[-1:] if options.quick else METHODS:
        timings, way = _sweeps_and_peers(inputs, method, installed, repeats)
        runs = _dual_runs(inputs, method, options)
        figures += _one_round(inputs, method, (timings, way), runs, options)
        figures += absent(missing, **about(method, size, "ms"))
        if runs and size in (FEW, LARGE):
            figures.append(_fixed(inputs, method, timings, runs))
    return figures + (_float32(inputs, options) if size.d >= FEW.d else [])


def about(what: str, size: Size, unit: str, **rest: Any) -> dict[str, Any]:
    """Return the fields that all figures of a case share."""
    case = f"{what}, (d, k, n, m_in, m_out) = {tuple(size)}, cores: {len(cpus())}"
    return {"bench": "arrays", "case": case, "unit": unit, **rest}


def limited(work: Work, options: Options, gemm: str = "gemm_f64") -> dict[str, Any]:
    """Return the floor in ms, the limit that determines it, and its bytes and flops."""
    seconds, note = work.floor(limits(options.repeats), gemm)
    return {"floor": seconds * 1e3, "note": note, "flops": work.flops, "bytes": work.bytes}


# ---------------------------------------------------------------------------------- data seen once


def _sweeps_and_peers(
    inputs: Problem, method: str, installed: list[peers.Peer], repeats: int
) -> tuple[dict[str, Timing], str]:
    """Time the sweeping routes, `meta_gradient` and the peers; also name NumPy's way."""
    rule, expected = peers.RULES[method], inputs.reference(method)
    way, note = _fastest_way(inputs, rule)
    calls: dict[str, Callable[[], object]] = {
        "meta_gradient": partial(
            ms.meta_gradient, inputs.B, inputs.w, inputs.batch, method, alpha=ALPHA, losses=False
        ),
        "NumPy": partial(WAYS[way], inputs.arrays, inputs.B, inputs.w, rule, ALPHA),
    }
    for peer in installed:
        if peer.name not in calls:
            calls[peer.name] = peer.gradient(inputs.arrays, inputs.B, inputs.w, rule, ALPHA)
    for who, call in calls.items():
        assert_call(call, expected, f"{method}, {who}")
    for route in SWEEPS:
        assert_route(inputs, method, route, expected)
        calls[route] = rounds_of(inputs, method, route=route)
    return side_by_side(calls, repeats), note


def _fastest_way(inputs: Problem, rule: peers.Rule) -> tuple[str, str]:
    """Return NumPy's fastest way, judged by the best of three calls, and a note on all ways."""
    seconds: dict[str, float] = {}
    for name, way in WAYS.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            way(inputs.arrays, inputs.B, inputs.w, rule, ALPHA)
            times.append(time.perf_counter() - began)
        seconds[name] = min(times)
    best = min(seconds, key=seconds.__getitem__)
    others = (f"{name} about {show(s * 1e3)} ms" for name, s in seconds.items() if name != best)
    return best, f"{best}; {', '.join(others)}"


def _one_round(
    inputs: Problem,
    method: str,
    measured: tuple[dict[str, Timing], str],
    runs: Runs | None,
    options: Options,
) -> list[Figure]:
    """Make the rows of a size and method: all routes, the route that is chosen, and the peers."""
    case, rule = about(method, inputs.size, "ms"), peers.RULES[method]
    timings, way = measured
    took = {route: timings[route].median for route in SWEEPS}
    rows = [
        figure(
            timings[route],
            took[route] * 1e3,
            who=f"metaspan, {route} route",
            **case,
            **limited(floors.round_work(route, inputs.size, rule), options),
        )
        for route in SWEEPS
    ]
    if runs is not None:
        dual = _dual_rows(inputs, method, runs, case, options)
        took["dual"] = sum(row.value or 0.0 for row in dual) / 1e3
        rows += dual
    choice = estimate(inputs, method, beta=1.0).route or ""
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
    """Compare the chosen route with the fastest route, and the fastest peer with the chosen one."""
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


def _dual_runs(inputs: Problem, method: str, options: Options) -> Runs | None:
    """Run the dual route; if the Gram matrix is large, do only the run whose answer is checked."""
    wanted = {
        SMALL: METHODS,
        MIDDLE: LEAST_AND_MOST[:1],
        WIDE: LEAST_AND_MOST[:1],
    }.get(inputs.size, LEAST_AND_MOST)
    if method not in wanted and not options.full:
        return None
    check = partial(assert_dual, inputs, method, CHECKED)
    if inputs.size in (MIDDLE, WIDE):
        return long_calls(check, 1)
    check()
    rounds, repeats = (50, options.repeats) if inputs.size == SMALL else (FIXED, 1)
    beta = inputs.beta(method, STILL)
    return long_calls(
        partial(laps, inputs, method, rounds=rounds, route="dual", beta=beta), repeats
    )


def _dual_rows(
    inputs: Problem, method: str, runs: Runs, case: dict[str, Any], options: Options
) -> list[Figure]:
    """Make the rows of the setup and of a round of the dual route."""
    timed, timing = runs
    rule, rows = peers.RULES[method], []
    for part, work in (
        ("setup", floors.setup_work(inputs.size, rule)),
        ("round", floors.dual_work(inputs.size, rule)),
    ):
        of_part = replace(timing, seconds=tuple(getattr(run, part) for run in timed))
        who = f"metaspan, dual route, {part}"
        rows.append(
            figure(of_part, of_part.median * 1e3, who=who, **case, **limited(work, options))
        )
    return rows


def _fixed(inputs: Problem, method: str, sweeps: dict[str, Timing], runs: Runs) -> Figure:
    """Compare many dual rounds on the same data with the same number of sweeping rounds."""
    timed, timing = runs
    whole = replace(timing, seconds=tuple(run.whole for run in timed))
    best = min(SWEEPS, key=lambda route: sweeps[route].median)
    return figure(
        whole,
        FIXED * sweeps[best].median / whole.median,
        who="sweeps / dual route",
        target=15.0,
        more_is_better=True,
        note=f"the dual route with its setup, {show(whole.median)} s, against the {best} route",
        **about(f"{method}, {FIXED:,} rounds on fixed data", inputs.size, "x"),
    )


# ------------------------------------------------------------------------------ storage and cores


def _float32(inputs: Problem, options: Options) -> list[Figure]:
    """Compare the vector route on float32 with float64."""
    method, single = "fo-anil", inputs.float32()
    assert_route(single, method, "vector", inputs.reference(method))
    calls = {
        "float64": rounds_of(inputs, method, route="vector"),
        "float32": rounds_of(single, method, route="vector"),
    }
    timings = side_by_side(calls, options.repeats)
    case, rule = f"{method}, storage of X", peers.RULES[method]
    rows = [
        figure(
            timing,
            timing.median * 1e3,
            who=f"metaspan, vector route, {dtype}",
            **about(case, inputs.size, "ms"),
            **limited(
                floors.round_work("vector", inputs.size, rule, int(dtype[-2:]) // 8),
                options,
                f"gemm_f{dtype[-2:]}",
            ),
        )
        for dtype, timing in timings.items()
    ]
    ratio = timings["float64"].median / timings["float32"].median
    who, unit = "float64 / float32", about(case, inputs.size, "x")
    return [*rows, figure(timings["float32"], ratio, who=who, more_is_better=True, **unit)]


def _two_cores(options: Options) -> list[Figure]:
    """Compare one thread with all threads in rounds whose floor is arithmetic."""
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
        single, several = side_by_side(
            {str(t): call for t, call in zip(threads, calls, strict=True)}, options.repeats
        ).values()
        figures.append(
            figure(
                several,
                single.median / several.median,
                who=f"one thread / {threads[1]} threads",
                target=0.9 * threads[1],
                more_is_better=True,
                note=f"one thread: {show(single.median * 1e3)} ms",
                **about(what, size, "x"),
            )
        )
    return figures


def _setup(inputs: Problem, **rest: Any) -> Seconds:
    return Seconds(laps(inputs, "maml", **rest).setup)
