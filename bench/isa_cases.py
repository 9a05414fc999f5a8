"""Cases that are timed at every instruction-set level: `python -m bench.isa_cases NAME`.

The command prints the seconds that a case takes. The environment variable METASPAN_ISA names the
level. The data of a case fit the caches of one core, so that arithmetic is the limit. Each case
runs once, untimed, before it is timed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial

import metaspan as ms
from bench.draws import normals
from bench.floors import Size
from bench.workloads import ALPHA, laps_of, problem, rounds_of

CACHED = Size(100, 10, 20, 25, 25)  # arrays of 800 kB
DRAWN = Size(10**9, 10, 100, 25, 50)
TASKS, WIDTH = 1_000, 20  # sizes of the case of population losses
REPEATS = 5  # number of samples in a process
STILL = 1e-12  # outer step size so small that B and w are nearly the same in all rounds


def median(call: Callable[[], float]) -> float:
    """Take an untimed sample to warm up and then a few samples; return the median of these."""
    call()
    return statistics.median(float(call()) for _ in range(REPEATS))


def draw(dtype: str) -> float:
    """Time the drawing of a million normals, row by row, into the same row in the cache."""
    return 1e6 / normals(dtype, REPEATS)


def arrays(route: str, method: str) -> float:
    """Time a round on arrays, on the given route."""
    return median(rounds_of(problem(CACHED), method, route=route, threads=1))


def fresh(law: ms.LinearTasks, method: str, rounds: int, **rest: object) -> float:
    """Time a round on samples, or on tasks, that are drawn anew."""
    run = partial(
        ms.train, law, method, alpha=ALPHA, beta=STILL, record="w_norm", record_every=2**40,
        stop=None, threads=1, **rest,
    )  # fmt: skip
    return median(lambda: laps_of(run, rounds=rounds).round)


def collapsed(method: str) -> float:
    """Time a round on samples that are drawn in law."""
    d, k, n, m_in, m_out = DRAWN
    law = ms.LinearTasks(d=d, k=k, noise=0.1)
    return fresh(law, method, 60, n=n, m_in=m_in, m_out=m_out)


def population(method: str) -> float:
    """Time a round on population losses."""
    law = ms.LinearTasks(d=10**6, k=WIDTH, noise=0.1)
    return fresh(law, method, 300, n=TASKS)


# Cases in which the arithmetic of sweeps over the data is the limit.
SWEEPS: dict[str, Callable[[], float]] = {
    "arrays in cache, gram route, maml": partial(arrays, "gram", "maml"),
    "arrays in cache, gram route, fo-anil": partial(arrays, "gram", "fo-anil"),
    "population, maml": partial(population, "maml"),
    "population, fo-anil": partial(population, "fo-anil"),
}
CASES = SWEEPS | {
    "arrays in cache, vector route, maml": partial(arrays, "vector", "maml"),
    "a million normals, float64": partial(draw, "float64"),
    "a million normals, float32": partial(draw, "float32"),
    "collapsed, maml": partial(collapsed, "maml"),
    "collapsed, fo-anil": partial(collapsed, "fo-anil"),
}

if __name__ == "__main__":
    print(CASES[sys.argv[1]]())
