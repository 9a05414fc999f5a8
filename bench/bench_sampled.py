"""Times rounds on finite samples at full dimension, whose rows are generated and never stored.

A round draws its data, computes the gradient of all tasks and takes the outer step. The time of a
round is a mean over the rounds of a run, without the first round. The floor of a round is the time
in which the generator's loop makes the normals of its rows. Before the timing, a round at the same
size is compared with the gradient on the arrays that `sample` draws.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import metaspan as ms
from bench import peers, sampled_peers
from bench.draws import MANY, normals, rows_made
from bench.floors import Size
from bench.harness import (
    Figure,
    Options,
    Seconds,
    Timing,
    beside_peers,
    cpus,
    figure,
    power_of_ten,
    relative,
    show,
    side_by_side,
)
from bench.workloads import laps_of

METHODS = ("fo-anil", "anil", "fo-maml", "maml")
LEAST_AND_MOST = ("fo-anil", "maml")  # methods with the least and the most work
WIDE = Size(10**4, 10, 100, 50, 50)
LONG = Size(10**6, 10, 4, 25, 25)
QUICK = Size(10**4, 10, 20, 50, 50)  # used in a quick run instead of `WIDE` and `LONG`
FEWER = 5  # number of samples of a round that takes a second
ALPHA, NOISE = 0.1, 0.1
STILL = 1e-12  # outer step size so small that B and w are nearly the same in all rounds
TOLERANCE = 1e-11  # relative error of the gradient
FLOORS = 2.0  # largest time of a round, as a multiple of its floor
NORMALS = {"float64": 250.0, "float32": 500.0}  # millions of normals a second
PEERS = 4.0

Start = tuple[np.ndarray, np.ndarray]


def about(what: str, size: Size, unit: str) -> dict[str, Any]:
    """Return those fields that are the same in all figures of a case."""
    shown = ", ".join(map(power_of_ten, size))
    case = f"{what}, (d, k, n, m_in, m_out) = ({shown}), cores: {len(cpus())}"
    return {"bench": "sampled", "case": case, "unit": unit}


@functools.cache
def start(size: Size) -> Start:
    """Return B with alpha B^T B nearly I, and a small head, so that no method takes large steps."""
    rng = np.random.default_rng(7)
    B = rng.standard_normal((size.d, size.k)) / np.sqrt(ALPHA * size.d)
    return B, 0.01 * rng.standard_normal(size.k)


def train(size: Size, method: str, init: Start, **rest: Any) -> ms.Result:
    """Train with almost no records; assert that the run finished."""
    result = ms.train(
        ms.LinearTasks(d=size.d, k=size.k, noise=NOISE),
        method,
        engine="sampled",
        alpha=ALPHA,
        n=size.n,
        m_in=size.m_in,
        m_out=size.m_out,
        init=init,
        record="w_norm",
        record_every=2**40,
        stop=None,
        **rest,
    )
    assert result.config.engine == "sampled", result.config.engine
    assert result.status == ms.Status.FINISHED, str(result.status)
    return result


def timed(size: Size, method: str, init: Start) -> Callable[[], Seconds]:
    """Return a function that makes a run and returns the seconds of a round."""
    run = partial(train, size, method, init, beta=STILL)
    return lambda: Seconds(laps_of(run, rounds=2 if size == LONG else 3).round)


def floor_of(size: Size, method: str, options: Options) -> float:
    """Return the time in ms in which all cores can make the normals of the rows of a round."""
    made = rows_made(size, peers.RULES[method]) * size.d
    return made / (normals("float64", options.repeats) * len(cpus())) * 1e3


@functools.cache
def assert_agrees(size: Size) -> None:
    """Assert that the step of every method equals the step on the arrays that `sample` draws."""
    data = ms.LinearTasks(d=size.d, k=size.k, noise=NOISE).sample(*size[2:], seed=0)
    B, w = start(size)
    for method in METHODS:
        expected = ms.meta_gradient(B, w, data, method, alpha=ALPHA, losses=False)
        beta = float(np.abs(B).max() / np.abs(expected.B).max())
        after = train(size, method, (B, w), rounds=1, beta=beta, seed=0)
        step = ((B - after.full_B()) / beta, (w - after.w) / beta)
        off = [relative(a, b) for a, b in zip(step, (expected.B, expected.w), strict=True)]
        assert max(off) < TOLERANCE, f"{method}, {size}: {off} away from the gradient on arrays"


# ---------------------------------------------------------------------------------------- a round


def rounds(options: Options) -> list[Figure]:
    """Time all methods with B in the cache and with a larger B; on one core, also the generator."""
    figures = _generator(options) if len(cpus()) == 1 else []
    for size in (QUICK,) if options.quick else (WIDE, LONG):
        assert_agrees(size)
        calls = {method: timed(size, method, start(size)) for method in METHODS}
        timings = side_by_side(calls, min(options.repeats, FEWER))
        for method, timing in timings.items():
            figures += _round(size, method, timing, options)
    return figures


def _round(size: Size, method: str, timing: Timing, options: Options) -> list[Figure]:
    """Make two rows: the time of a round, and the ratio of this time to the floor."""
    took, floor = timing.median * 1e3, floor_of(size, method, options)
    rows = rows_made(size, peers.RULES[method])
    twice = " (inner ones twice)" if rows > size.samples else ""
    note = f"floor: {show(rows)} rows{twice} of {show(size.d)} normals"
    return [
        figure(
            timing,
            took,
            who="metaspan, a round",
            floor=floor,
            note=note,
            **about(method, size, "ms"),
        ),
        figure(
            timing,
            took / floor,
            who="a round / floor",
            target=FLOORS,
            **about(method, size, "x"),
        ),
    ]


def _generator(options: Options) -> list[Figure]:
    """Time the loop that makes normals, on one core and into its cache."""
    level = ms.show_config()["instruction_set"]
    notes = {
        "float64": f"built for {level}",
        "float32": f"built for {level}, made in double and rounded",
    }
    _assert_normals()
    return [
        Figure(
            bench="sampled",
            case=f"the generator's loop, {MANY:,} normals in the cache, cores: {len(cpus())}",
            who=dtype,
            value=normals(dtype, options.repeats) / 1e6,
            unit="M/s",
            more_is_better=True,
            # In single precision, there is a target only for the widest vectors.
            target=NORMALS[dtype] if dtype == "float64" or level == "x86-64-v4" else None,
            samples=20 * options.repeats,
            note=note,
        )
        for dtype, note in notes.items()
    ]


def _assert_normals() -> None:
    """Assert that float32 normals are rounded float64 normals, and check the moments of both."""
    double, single = (ms._core.normals(0, 0, 0, 0, 1, 100, MANY, d, 1) for d in NORMALS)
    assert (double.astype(np.float32) == single).all()
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 4: (3, 96)}.items():
        assert abs((double**power).mean() - mean) < 5 * np.sqrt(variance / double.size)


# ------------------------------------------------------------------------------------------ peers


def beside(options: Options) -> list[Figure]:
    """Time a round that draws its data without storing them, and peers that draw and store data."""
    size = QUICK if options.quick else WIDE
    assert_agrees(size)
    figures = []
    for method in LEAST_AND_MOST:
        figures += _beside(size, method, options)
    return figures


def _beside(size: Size, method: str, options: Options) -> list[Figure]:
    origin = sampled_peers.start(size, method, ALPHA, NOISE)
    installed, missing = sampled_peers.load(origin)
    law = ms.LinearTasks(d=size.d, k=size.k, noise=NOISE, B_star=origin.B_star)
    sampled_peers.assert_same_law(origin, law, method, installed)
    ours, case = "metaspan, sampled", about(f"{method}, a round with its data", size, "ms")
    cases = {ours: timed(size, method, (origin.B, origin.w)), **installed}
    timings = side_by_side(cases, min(options.repeats, FEWER))
    took = {who: timing.median * 1e3 for who, timing in timings.items()}
    floor = floor_of(size, method, options)
    return beside_peers(ours, timings, took, floor=floor, missing=missing, target=PEERS, **case)
