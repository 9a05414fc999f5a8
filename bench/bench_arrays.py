"""Times rounds on the user's own arrays: each route, compared with the peers and a floor.

A round computes the gradient of all tasks and takes the outer step. Its data are not in the caches
yet. The time of a round is a mean over the rounds of a run, without the first round.
`meta_gradient` and the peers are timed as single calls that return the gradient. "NumPy" is the
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
MANY = Size(100, 5, 2_000, 25, 25)
MIDDLE = Size(1_000, 10, 100, 100, 100)
WIDE = Size(10_000, 10, 100, 50, 50)
LARGE = Size(100_000, 10, 20, 50, 50)
FEW = Size(10_000, 10, 20, 50, 50)  # used in a quick run instead of the large sizes
SETUP = Size(5_000, 10, 40, 25, 25)  # size at which the Gram matrix is timed on one core and on two
FIXED = 1_000  # number of rounds on data that do not change
FEWER = 5  # number of samples of a round that reads gigabytes
CHECKED = 4  # number of rounds of the dual route that are compared with NumPy
LEAST_AND_MOST = ("fo-anil", "maml")  # methods with the least and the most work

Runs = tuple[list[Laps], Timing]


def small(options: Options) -> list[Figure]:
    """Time rounds on data that stay in the cache from round to round."""
    return _rounds(SMALL, options)


def many(options: Options) -> list[Figure]:
    """Time rounds on many small tasks, whose data do not fit the cache together."""
    return [] if options.quick else _rounds(MANY, options)


def middle(options: Options) -> list[Figure]:
    """Time rounds on few features, and compare rounds on one core with rounds on all cores."""
    return ([] if options.quick else _rounds(MIDDLE, options)) + _two_cores(options)


def wide(options: Options) -> list[Figure]:
    """Time rounds in which the data of each task fit the cache but the data of all tasks do not."""
    return [] if options.quick else _rounds(WIDE, options)


def large(options: Options) -> list[Figure]:
    """Time rounds on tasks whose data do not fit the cache, and many rounds on fixed data."""
    return _rounds(FEW if options.quick else LARGE, options)


def _rounds(size: Size, options: Options) -> list[Figure]:
    """Make all rows of the table for one size."""
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
    """Return those fields that are the same in all figures of a case."""
    case = f"{what}, (d, k, n, m_in, m_out) = {tuple(size)}, cores: {len(cpus())}"
    return {"bench": "arrays", "case": case, "unit": unit, **rest}


def limited(work: Work, options: Options, gemm: str = "gemm_f64") -> dict[str, Any]:
    """Return the floor in ms, the limit that determines the floor, and the bytes and flops."""
    seconds, note = work.floor(limits(options.repeats), gemm)
    return {"floor": seconds * 1e3, "note": note, "flops": work.flops, "bytes": work.bytes}


# ---------------------------------------------------------------------------------- data seen once


def _sweeps_and_peers(
    inputs: Problem, method: str, installed: list[peers.Peer], repeats: int
) -> tuple[dict[str, Timing], str]:
    """Time the routes that sweep over the data, `meta_gradient` and the peers; name NumPy's way."""
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
    """Return the fastest of NumPy's ways, by the best of three calls, and a note on all ways."""
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
    """Make the rows of a size and method: each route, the package's chosen route, and the peers."""
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
    """Compare the chosen route with the fastest route and with the fastest peer."""
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
    """Run the dual route; if its Gram matrix is large, make only the run whose end is checked."""
    if inputs.size == MANY:  # the Gram matrix of 100,000 samples has 80 GB
        return None
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
    """Make the rows of the dual route: one for its setup and one for a round."""
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
    """Compare many rounds of the dual route with as many rounds of the fastest sweeping route."""
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
    """Compare the vector route on float32 data with the vector route on float64 data."""
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
    """Compare rounds on one thread and on all threads, where arithmetic is the limit."""
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
