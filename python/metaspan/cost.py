r"""The cost model: what a round takes, from constants measured on this machine."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from ._load import core
from .methods import MAML, Method, core_method


@cache
def cost_model() -> dict[str, float]:
    r"""Measure the constants of the cost model, once per process.

    Returns
    -------
    dict of str to float
        ``"seconds_per_call"``, what a round of a trial takes beside its work, and
        ``"flops_per_second"`` of one thread.
    """
    method = MAML()
    tiny, medium = run_of(method, 1, 1, 1, 1), run_of(method, 10, 10, 10, 100)
    overhead = _seconds_per_round(tiny)
    work = max(_seconds_per_round(medium) - overhead, 1e-9)
    return {"seconds_per_call": overhead, "flops_per_second": medium.cost()["flops"] / work}


def run_of(method: Method, k_star: int, width: int, height: int, n: int) -> core.Run:
    """One trial of a run of that size, at the origin."""
    M, R, w = np.zeros((1, k_star, width)), np.zeros((1, height, width)), np.zeros((1, width))
    return core.Run.population(
        core_method(method), M, R, w, ("gaussian", None, None), n, 0.0, 0, [0], [0], ["dist"]
    )


def _seconds_per_round(run: core.Run) -> float:
    """Best of several timings on one thread, each of at least a millisecond."""
    rounds, best, done = 1, np.inf, 0
    for _ in range(20):
        began = time.perf_counter()
        run.advance(done + rounds, 2**40, 0.0, 0.0, None, 1)
        elapsed = time.perf_counter() - began
        done += rounds
        if elapsed < 1e-3:
            rounds *= 4
        else:
            best = min(best, elapsed / rounds)
    return float(best)
