"""Compares rounds on two threads with rounds on one thread, while other processes are busy.

A parallel loop ends when its slowest thread ends. Since a busy process takes a processor for
milliseconds at a time, a short round can take longer on two threads than on one thread. Each busy
process computes without a pause. Runs on one thread and on two threads alternate.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, Timing, figure, power_of_ten

MOST = 1.2  # largest time on two threads, as a multiple of that on one thread
METHOD = "fo-anil"
STEPS = {"alpha": 0.1, "beta": 1e-12}  # so small that no run diverges
SECONDS = 0.15  # seconds of a sample: many times the time slice of a process
Case = tuple[str, Callable[[int, int], ms.Result]]


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep `count` processes busy during the block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.2)  # until all processes have started
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def cases() -> Iterator[Case]:
    """Yield a name for each kind of run, and a function (rounds, threads) that makes the run."""
    for n in (100, 1_000):
        law = ms.LinearTasks(d=10**9, k=10, noise=0.1)
        sizes = {"n": n, "m_in": 50, "m_out": 50}
        yield (
            f"collapsed, (d, k, n, m_in, m_out) = ({power_of_ten(law.d)}, 10, {n}, 50, 50)",
            lambda rounds, threads, law=law, sizes=sizes: ms.train(
                law, METHOD, rounds=rounds, threads=threads, seed=0, stop=None, **sizes, **STEPS
            ),
        )
    rng = np.random.default_rng(0)
    for d, n, m, routes in ((1_000, 100, 100, ("gram", "vector")), (10_000, 20, 50, ("vector",))):
        batch = ms.TaskBatch.split(
            rng.standard_normal((n, 2 * m, d)), rng.standard_normal((n, 2 * m)), m
        )
        start = np.linalg.qr(rng.standard_normal((d, 10)))[0], np.zeros(10)
        for route in routes:
            yield (
                f"arrays, {route} route, (d, k, n, m_in, m_out) = ({d}, 10, {n}, {m}, {m})",
                lambda rounds, threads, batch=batch, start=start, route=route: ms.train(
                    batch, METHOD, rounds=rounds, threads=threads, init=start, route=route,
                    stop=None, **STEPS,
                ),
            )  # fmt: skip


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Time a call that does several rounds; return the time of a round."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) / rounds


def run(options: Options) -> list[Figure]:
    """Time rounds on one thread and on two threads, beside 0, 1 and 2 busy processes."""
    figures = []
    for name, train in cases():
        one, two = train(2, 1), train(2, 2)
        assert all(np.array_equal(one.trace[name], two.trace[name]) for name in one.trace)
        guess = seconds(partial(train, 20, 1), 20)
        rounds = max(2, round(SECONDS / guess))
        for count in (0, 1, 2):
            samples: dict[int, list[float]] = {1: [], 2: []}
            with neighbours(count):
                for _ in range(options.repeats):
                    for threads, times in samples.items():
                        times.append(seconds(partial(train, rounds, threads), rounds))
            figures += compare(name, count, samples)
    return figures


def compare(name: str, count: int, samples: dict[int, list[float]]) -> list[Figure]:
    """Make a row for each number of threads, and a row for the ratio of the two times."""
    about = {"bench": "neighbours", "case": f"{name}; other processes: {count}"}
    timings = {
        threads: Timing(seconds=tuple(times), load=os.getloadavg()[0], others=count, quiet=True)
        for threads, times in samples.items()
    }
    rows = [
        figure(
            timing,
            timing.median * 1e3,
            who=f"metaspan, threads: {threads}",
            unit="ms/round",
            **about,
        )
        for threads, timing in timings.items()
    ]
    ratio = timings[2].median / timings[1].median
    return [*rows, Figure(**about, who="two threads / one", value=ratio, unit="x", target=MOST)]
