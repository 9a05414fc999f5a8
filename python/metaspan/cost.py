r"""The cost model: what a round takes, from constants measured on this machine.

The constants are measured once and kept in a file of the user's cache folder, so that the choices
made from them, and with them the bits of a run, stay the same on a machine.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from . import _cpus
from ._load import core
from .data import core_sets
from .methods import ANIL, MAML, core_method

# Version of what is measured, and how.
EDITION = 3
MEMORY_BYTES = 2**27  # more than caches hold
CACHED_BYTES = 2**22


@cache
def cost_model() -> dict[str, float]:
    r"""Constants of the cost model: from the file, or measured in a second or so.

    Returns
    -------
    dict of str to float
        ``"seconds_per_call"``, what a round of a trial takes beside its work;
        ``"flops_per_second"`` of one thread on small problems;
        ``"read_1"``, ``"read_all"`` and ``"cached_1"``: bytes per second that one thread, and all
        that the process may use, read from memory, and one from its cache; ``"features_1"``:
        flops per second of `X B` on one thread; ``"grams_1"``: those of `X X^T`;
        ``"seconds_per_task"`` of one task of no size; ``"normals_1"``: normals per second of one
        thread.
    """
    path = _path()
    try:
        kept = json.loads(path.read_text())
        return {name: float(kept[name]) for name in ORDER}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = _measure()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found))
        beside.replace(path)
    except OSError:
        pass  # measured again by the next process
    return found


@dataclass(frozen=True, kw_only=True)
class Price:
    r"""What a route takes.

    Parameters
    ----------
    setup, round : float
        Seconds before the first round, and of one.
    flops : float
        Floating-point operations of a round.
    bytes : int
        Bytes that it holds beside the data and `B` itself.
    """

    setup: float
    round: float
    flops: float
    bytes: int


class Machine:
    """The constants of the cost model, for a number of threads."""

    def __init__(self, threads: int) -> None:
        rates = cost_model()
        self.threads = threads
        self.call = rates["seconds_per_call"] + 5e-6 * (threads > 1)
        self.task = rates["seconds_per_task"] / threads
        self.read = min(threads * rates["read_1"], max(rates["read_1"], rates["read_all"]))
        self.cached = threads * rates["cached_1"]
        self.features = threads * rates["features_1"]
        self.grams = threads * rates["grams_1"]


def _path() -> Path:
    """The file for this build on this machine."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    build = core.build_info()
    machine = f"{platform.node()}-{_cpus.available()}"
    name = f"cost-{EDITION}-{build['version']}-{build['instruction_set']}-{machine}.json"
    return Path(root) / "metaspan" / name


def _measure() -> dict[str, float]:
    """Every constant, to three digits."""
    threads = _cpus.available()
    large, small = np.ones(MEMORY_BYTES // 8), np.ones(CACHED_BYTES // 8)
    overhead, flops = _small_problems()
    found = {
        "seconds_per_call": overhead,
        "flops_per_second": flops,
        "read_1": large.nbytes / _seconds(lambda: core.all_finite(large, 1)),
        "read_all": large.nbytes / _seconds(lambda: core.all_finite(large, threads)),
        "cached_1": small.nbytes / _seconds(lambda: core.all_finite(small, 1)),
        "features_1": _features(),
        "grams_1": _grams(),
        "seconds_per_task": _task(),
        "normals_1": _normals(),
    }
    return {name: float(f"{found[name]:.3g}") for name in ORDER}


ORDER = (
    "seconds_per_call",
    "flops_per_second",
    "read_1",
    "read_all",
    "cached_1",
    "features_1",
    "grams_1",
    "seconds_per_task",
    "normals_1",
)


def _small_problems() -> tuple[float, float]:
    """Seconds of a round beside its work, and flops per second of it, in coordinates."""
    method = core_method(MAML())
    tiny = _seconds_per_round(_population(method, 1, 1))
    k, n = 10, 100
    flops, _ = core.population_cost(method, n, 2 * k, k)
    return tiny, flops / max(_seconds_per_round(_population(method, k, n)) - tiny, 1e-9)


def _population(method: tuple[float, float, int, bool, bool], k: int, n: int) -> core.Run:
    """One trial of a run of that size, at the origin."""
    M, w = np.zeros((1, k, k)), np.zeros((1, k))
    law = ("gaussian", None, None)
    return core.Run.population(method, M, M, w, law, n, 0.0, 0, [0], [0], ["dist"])


def _features() -> float:
    """Flops per second of X B on data in the cache."""
    m, d, k = 64, 2048, 16
    X, B = np.zeros((1, m, d)), np.zeros((d, k))
    return 2 * m * d * k / _seconds(lambda: core.project(X, B, 1))


def _grams() -> float:
    """Flops per second of the Gram matrix of many samples."""
    n, m, d = 16, 32, 4096
    X, y = np.zeros((n, m, d)), np.zeros((n, m))
    state = {"B": np.zeros((1, d, 1)), "w": np.zeros((1, 1))}
    method = core_method(ANIL())
    sets = core_sets(X, y, X, y)
    seconds = _seconds(
        lambda: core.Run.arrays(method, "dual", sets, state, n, 0, [0], [0], ["w_norm"], 1)
    )
    return (n * m) ** 2 * d / seconds


def _task() -> float:
    """Seconds of a task of the arrays engine beside its work."""
    n = 100
    X, y = np.zeros((n, 1, 1)), np.zeros((n, 1))
    B, w = np.zeros((1, 1)), np.zeros(1)
    method = core_method(ANIL())
    sets = core_sets(X, y, X, y)
    gradient = core.gradient_arrays
    return _seconds(lambda: gradient(method, "vector", B, w, sets, 1, False)) / n


def _normals() -> float:
    """Normals per second on one thread."""
    rows, d = 8, 8192
    return rows * d / _seconds(lambda: core.normals(0, 0, 0, 1, 1, rows, d, "float64", 1))


def _seconds_per_round(run: core.Run) -> float:
    """Of a run on one thread."""
    done, rounds = 0, 50

    def some() -> None:
        nonlocal done
        done += rounds
        run.advance(done, 2**40, 0.0, 0.0, None, 1)

    return _seconds(some) / rounds


def _seconds(call: Callable[[], object]) -> float:
    """Least time of a call, of as many as some tens of milliseconds hold, at least three."""
    best, began = np.inf, time.perf_counter()
    for repeat in range(200):
        before = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - before)
        if repeat >= 2 and now - began > 0.05:
            break
    return float(best)
