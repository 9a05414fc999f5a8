"""Times rounds on fresh finite samples that are drawn in law, as `ms.train` runs them.

The runs record `dist` in every round. The floor of a round is the time to draw its normals and
chi-squares. Before a method is timed, its runs are compared with runs in NumPy: in a small
dimension with runs on explicit samples, and at the size that is timed with direct draws of (16) and
(17).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import metaspan as ms
from bench import peers, sampled_peers
from bench.collapsed_law import NOISE, assert_law, explicit, in_coordinates, train
from bench.draws import numbers
from bench.floors import Size
from bench.harness import (
    Figure,
    Options,
    Timing,
    beside_peers,
    cpus,
    figure,
    power_of_ten,
    show,
    side_by_side,
)

METHODS = ("fo-anil", "anil", "fo-maml", "maml")
LEAST_AND_MOST = ("fo-anil", "maml")  # methods with the least and the most work
BILLION = 10**9
MANY = Size(BILLION, 10, 1000, 50, 50)
FEW = Size(BILLION, 10, 100, 25, 50)
SMALL = Size(60, 3, 20, 12, 12)  # size at which samples are drawn explicitly
TARGET = 5.0  # ms
OF_FLOOR = 3.0
TARGETS = {(MANY, "fo-anil"), (FEW, "maml")}

STILL = peers.Steps(alpha=0.1, beta=1e-12)  # so small that no run diverges at any size
SMALL_STEPS = peers.Steps(alpha=0.1, beta=0.1)
# Outer step sizes of the two rounds that are compared with NumPy, for n m_out = 5,000. With these
# step sizes, the noise outside the span moves B by about the size of B.
LARGE_STEPS = {"fo-anil": 1e-3, "anil": 1e-3, "fo-maml": 3e-4, "maml": 2e-5}
ROUNDS_SECONDS = 0.06  # seconds of a timed run, so short that some runs are not disturbed

TASKS = (100, 300, 1_000, 3_000, 10_000)
DIMENSIONS = tuple(10**power for power in range(2, 13, 2))
PEER_SIZES = (Size(1_000, 10, 100, 25, 50), Size(10_000, 10, 100, 25, 50))


def about(what: str, size: Size, unit: str, **rest: Any) -> dict[str, Any]:
    """Return those fields that are the same in all figures of a case."""
    shown = ", ".join(map(power_of_ten, size))
    case = f"{what}, (d, k, n, m_in, m_out) = ({shown}), cores: {len(cpus())}"
    return {"bench": "collapsed", "case": case, "unit": unit, **rest}


def timed(size: Size, method: str) -> tuple[Callable[[], object], int]:
    """Return a function that makes the run to be timed, and the number of rounds of the run."""
    law = ms.LinearTasks(d=size.d, k=size.k, noise=NOISE)
    sizes = {"n": size.n, "m_in": size.m_in, "m_out": size.m_out}
    guess = ms.estimate(law, method, **sizes, rounds=1).seconds_per_round
    rounds = min(max(round(ROUNDS_SECONDS / guess), 2), 2_000)
    return partial(train, size, method, STILL, rounds=rounds), rounds


def floor_of(size: Size, method: str, options: Options) -> float:
    """Return the time in ms in which the random numbers of a round can be drawn."""
    return numbers(size, peers.RULES[method]).seconds(options.repeats) * 1e3


@functools.cache
def assert_agrees(size: Size, method: str) -> None:
    """Assert that runs agree in law with runs on explicit samples, and with draws of (16), (17)."""
    _assert_agrees_explicitly(method)
    beta = LARGE_STEPS[method] * size.n * size.m_out / 5_000
    steps = peers.Steps(alpha=0.1, beta=beta)
    assert_law(in_coordinates, size, method, steps, rounds=2, trials=8 if size.n > 100 else 20)


@functools.cache
def _assert_agrees_explicitly(method: str) -> None:
    assert_law(explicit, SMALL, method, SMALL_STEPS, rounds=10, trials=60)


# ---------------------------------------------------------------------------------------- a round


def rounds(options: Options) -> list[Figure]:
    """Time rounds of all methods for d = 10^9, on all cores that this process may use."""
    figures = []
    for size in (FEW,) if options.quick else (MANY, FEW):
        calls, lengths = {}, {}
        for method in METHODS:
            assert_agrees(size, method)
            calls[method], lengths[method] = timed(size, method)
        for method, timing in side_by_side(calls, options.repeats).items():
            took = timing.median / lengths[method] * 1e3
            figures += _round(size, method, took, timing, options)
    return figures


def _round(size: Size, method: str, took: float, timing: Timing, options: Options) -> list[Figure]:
    """Make the row of a round; if there is a target, add a row for the round over its floor."""
    drawn = numbers(size, peers.RULES[method])
    floor = floor_of(size, method, options)
    wanted = (size, method) in TARGETS and len(cpus()) > 1
    note = f"floor: {show(drawn.normals)} normals and {show(drawn.roots)} roots of chi-squares"
    rows = [
        figure(
            timing,
            took,
            who="metaspan, a round",
            target=TARGET if wanted else None,
            floor=floor,
            note=note,
            **about(method, size, "ms"),
        )
    ]
    if size == MANY and method == "fo-anil":
        ratio = figure(
            timing, took / floor, who="a round / floor", target=OF_FLOOR, **about(method, size, "x")
        )
        rows.append(ratio)
    return rows


# ---------------------------------------------------------------------------------------- scaling


def scaling(options: Options) -> list[Figure]:
    """Time rounds for several n, and for several d."""
    return _against_n(options) + _against_d(options)


def _against_n(options: Options) -> list[Figure]:
    sizes = {f"n = {n:,}": FEW._replace(n=n) for n in TASKS[: 3 if options.quick else None]}
    return _against("a round against n", "n", sizes, options)


def _against_d(options: Options) -> list[Figure]:
    sizes = {f"d = 10^{len(str(d)) - 1}": FEW._replace(d=d) for d in DIMENSIONS}
    return _against("a round against d", "d", sizes, options)


def _against(what: str, name: str, sizes: dict[str, Size], options: Options) -> list[Figure]:
    figures = []
    fixed = ", ".join(
        f"{field}={power_of_ten(value)}"
        for field, value in next(iter(sizes.values()))._asdict().items()
        if field != name
    )
    for method in LEAST_AND_MOST:
        assert_agrees(FEW, method)
        runs = {who: timed(size, method) for who, size in sizes.items()}
        timings = side_by_side({who: call for who, (call, _) in runs.items()}, options.repeats)
        figures += [
            figure(
                timing,
                timing.median / runs[who][1] * 1e3,
                bench="collapsed",
                case=f"{method}, {what}, {fixed}, cores: {len(cpus())}",
                who=who,
                unit="ms",
                floor=floor_of(sizes[who], method, options),
            )
            for who, timing in timings.items()
        ]
    return figures


# ------------------------------------------------------------------------------------------ peers


def beside(options: Options) -> list[Figure]:
    """Time rounds that draw their data, and peers that do the same at sizes that fit memory."""
    figures = []
    for size in PEER_SIZES[: 1 if options.quick else None]:
        for method in LEAST_AND_MOST:
            figures += _beside(size, method, options)
    return figures


def _beside(size: Size, method: str, options: Options) -> list[Figure]:
    origin = sampled_peers.start(size, method, STILL.alpha, NOISE)
    installed, missing = sampled_peers.load(origin)
    law = ms.LinearTasks(d=size.d, k=size.k, noise=NOISE, B_star=origin.B_star)
    seeds = iter(range(2**31))

    def at_full_size() -> ms.Gradient:
        data = law.sample(size.n, size.m_in, size.m_out, seed=next(seeds))
        return ms.meta_gradient(origin.B, origin.w, data, method, alpha=origin.alpha)

    installed["metaspan, sample, meta_gradient"] = at_full_size
    sampled_peers.assert_same_law(origin, law, method, installed)
    ours, lengths = "metaspan, collapsed", {}
    call, lengths[ours] = timed(size, method)
    timings = side_by_side({ours: call, **installed}, min(options.repeats, 5))
    took = {who: t.median / lengths.get(who, 1) * 1e3 for who, t in timings.items()}
    case = about(f"{method}, a round with its data", size, "ms")
    floor = floor_of(size, method, options)
    return beside_peers(ours, timings, took, floor=floor, missing=missing, **case)
