"""Cases that are timed at every instruction-set level: `python -m bench.isa_cases NAME`.

The command prints the seconds of a case. METASPAN_ISA in the environment names the level. The data
of a case fit the caches of one core, so that arithmetic is the limit. A case runs once before it is
timed.
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
TASKS, WIDTH = 1_000, 20  # of population losses
REPEATS = 5  # samples in a process
STILL = 1e-12  # an outer step after which all rounds see nearly the same numbers


def median(call: Callable[[], float]) -> float:
    """Return the median of a few samples, after one untimed sample that warms up."""
    call()
    return statistics.median(float(call()) for _ in range(REPEATS))


def draw(dtype: str) -> float:
    """Time a million normals, drawn row by row into one row in the cache."""
    return 1e6 / normals(dtype, REPEATS)


def arrays(route: str, method: str) -> float:
    """Time a round on arrays, by one of the routes."""
    return median(rounds_of(problem(CACHED), method, route=route, threads=1))


def fresh(law: ms.LinearTasks, method: str, rounds: int, **rest: object) -> float:
    """Time a round on samples or tasks that are drawn anew."""
    run = partial(
        ms.train, law, method, alpha=ALPHA, beta=STILL, record="w_norm", record_every=2**40,
        stop=None, threads=1, **rest,
    )  # fmt: skip
    return median(lambda: laps_of(run, rounds=rounds).round)


def collapsed(method: str) -> float:
    """Time a round on samples in law."""
    d, k, n, m_in, m_out = DRAWN
    law = ms.LinearTasks(d=d, k=k, noise=0.1)
    return fresh(law, method, 60, n=n, m_in=m_in, m_out=m_out)


def population(method: str) -> float:
    """Time a round on population losses."""
    law = ms.LinearTasks(d=10**6, k=WIDTH, noise=0.1)
    return fresh(law, method, 300, n=TASKS)


# Cases whose limit is the arithmetic of sweeps over the data.
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
