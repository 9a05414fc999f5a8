r"""The cost model: what a round takes, from constants measured on this machine.

The constants are measured once on a machine and kept in a file of the user's cache folder, so that
the choices made from them, and with them the bits of a run, stay the same on a machine. Constants
that a busy machine spoilt are noticed and measured again: those whose repeats disagree, or during
which other processes had the processor, by the first process after an hour; and any that a short
look contradicts, at once.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .._core_types import HeadLaw, RoundSizes, Stage
from .._load import core
from .._support import cpus, files
from ..methods import ANIL, MAML, core_method
from ..tasks.arrays import core_sets, sets_of

# Version of what is measured, and how.
EDITION = 4
MEMORY_BYTES = 2**27  # more than caches hold
CACHED_BYTES = 2**22
AGREE = 1.15  # that the two least times of a call may differ by
OWN_SHARE = 0.9  # of the processor that a call must have had
LOOKED_AT = ("flops_per_second", "features_1", "cached_1")  # by the short look
SPOILT_SECONDS = 3600.0  # that constants of a busy machine are used for
FASTER, SLOWER = 1.5, 4.0  # than kept: the kept constants were spoilt, or are another machine's


@cache
def cost_model() -> dict[str, float]:
    r"""Constants of the cost model: from the file, or measured in a second or so.

    Returns
    -------
    dict of str to float
        ``"seconds_per_call"``, what a round of one small task takes; ``"flops_per_second"`` and
        ``"seconds_per_kernel"`` of one thread on small problems: of their arithmetic, and of a
        kernel however short it is; ``"read_1"``, ``"read_all"`` and ``"cached_1"``: bytes per
        second that one thread, and all that the process may use, read from memory, and one from its
        cache; ``"features_1"``: flops per second of `X B` on one thread; ``"grams_1"``: those of
        `X X^T`; ``"seconds_per_task"`` of one task of no size; ``"normals_1"``: normals per second
        of one thread.
    """
    path = _path()
    kept = _kept(path)
    if kept is not None and not contradicts(kept, look()):
        return kept
    watch = Stopwatch()
    found = _measure(watch)
    _keep(path, {**found, "steady": watch.steady, "measured": time.time()})
    return found


def contradicts(kept: Mapping[str, float], seen: Mapping[str, float]) -> bool:
    """Whether rates just seen cannot be those of the machine that the kept ones are of.

    Neighbours make a machine slower than it is, never faster: rates well above the kept ones say
    that those were measured on a busy machine.
    """
    return any(not 1 / SLOWER < rate / kept[name] < FASTER for name, rate in seen.items())


def look() -> dict[str, float]:
    """Rates that take some milliseconds to measure; none where other processes disturbed them."""
    watch = Stopwatch(patience=0.004)
    normals = _normals(watch)
    small = np.ones(CACHED_BYTES // 8)
    found = {
        "flops_per_second": _kernels(watch, normals)[0],
        "features_1": _features(watch),
        "cached_1": small.nbytes / watch.least(lambda: core.all_finite(small, 1)),
    }
    return {name: found[name] for name in LOOKED_AT} if watch.steady else {}


def _kept(path: Path) -> dict[str, float] | None:
    """The constants of the file: all of them positive, and of a quiet machine or an hour old."""
    try:
        kept = json.loads(path.read_text())
        found = {name: float(kept[name]) for name in ORDER}
        fresh = 0 <= time.time() - float(kept["measured"]) < SPOILT_SECONDS
        usable = kept["steady"] is True or fresh
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if usable and all(0 < value < np.inf for value in found.values()) else None


def _keep(path: Path, found: Mapping[str, float | bool]) -> None:
    """Write the file; where that fails, the next process measures again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, json.dumps(found).encode())
    except OSError:
        pass


class Stopwatch:
    r"""Times calls, and notices when other processes disturb them.

    Parameters
    ----------
    patience : float
        Seconds that the repeats of a call may take, if the two least of them agree; up to six
        times as long otherwise.
    """

    def __init__(self, patience: float = 0.05) -> None:
        self.steady = True
        self._patience = patience

    def least(self, call: Callable[[], object], threads: int = 1) -> float:
        """Least time of a call, of two at least; `threads` of them must have had a processor."""
        call()  # the first touches memory and wakes threads
        laps: list[tuple[float, float]] = []
        began = time.perf_counter()
        while True:
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            now = time.perf_counter()
            laps.append((now - wall, time.process_time() - cpu))
            laps = sorted(laps)[:2]
            spent = now - began
            agree = len(laps) == 2 and laps[1][0] <= AGREE * laps[0][0]
            if len(laps) == 2 and spent > self._patience * (1 if agree else 6):
                break
        seconds, own = laps[0]
        # The clock of the processor is too coarse for short calls, which nobody interrupts.
        alone = seconds < 1e-3 or own >= OWN_SHARE * seconds * (1 if threads == 1 else 1.5)
        self.steady = self.steady and agree and alone
        return max(seconds, 1e-9)


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
        self.call = rates["seconds_per_call"] + WAKING * (threads > 1)
        self.kernel = rates["seconds_per_kernel"] / threads
        self.normals = threads * rates["normals_1"]
        self.flops = threads * rates["flops_per_second"]
        self.task = rates["seconds_per_task"] / threads
        self.read = min(threads * rates["read_1"], max(rates["read_1"], rates["read_all"]))
        self.cached = threads * rates["cached_1"]
        self.features = threads * rates["features_1"]
        self.grams = threads * rates["grams_1"]

    def seconds(self, cost: Mapping[str, float]) -> float:
        """Of the work that the core counts: operations, calls, random numbers and bytes."""
        return (
            cost["operations"] / self.flops
            + cost["calls"] * self.kernel
            + cost["numbers"] / self.normals
            + cost["memory"] / self.read
        )

    def staged(self, stages: Iterable[Stage]) -> float:
        """Of parts of a round: each takes as long as its arithmetic or as its data."""
        return sum(
            max(
                stage["features"] / self.features + stage["grams"] / self.grams,
                stage["memory"] / self.read + stage["cached"] / self.cached,
            )
            for stage in stages
        )


def _path() -> Path:
    """The file for this build on this machine."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    build = core.build_info()
    machine = f"{platform.node()}-{cpus.available()}"
    name = f"cost-{EDITION}-{build['version']}-{build['instruction_set']}-{machine}.json"
    return Path(root) / "metaspan" / name


def _measure(watch: Stopwatch) -> dict[str, float]:
    """Every constant, to three digits."""
    threads = cpus.available()
    large, small = np.ones(MEMORY_BYTES // 8), np.ones(CACHED_BYTES // 8)
    normals = _normals(watch)
    flops, kernel = _kernels(watch, normals)
    found = {
        "seconds_per_call": watch.least(_rounds(1, 1)[0]) / ROUNDS,
        "flops_per_second": flops,
        "seconds_per_kernel": kernel,
        "read_1": large.nbytes / watch.least(lambda: core.all_finite(large, 1)),
        "read_all": large.nbytes / watch.least(lambda: core.all_finite(large, threads), threads),
        "cached_1": small.nbytes / watch.least(lambda: core.all_finite(small, 1)),
        "features_1": _features(watch),
        "grams_1": _grams(watch),
        "seconds_per_task": _task(watch),
        "normals_1": normals,
    }
    return {name: float(f"{found[name]:.3g}") for name in ORDER}


ORDER = (
    "seconds_per_call",
    "flops_per_second",
    "seconds_per_kernel",
    "read_1",
    "read_all",
    "cached_1",
    "features_1",
    "grams_1",
    "seconds_per_task",
    "normals_1",
)
ROUNDS = 20  # of a call that is timed
WAKING = 5e-6  # seconds in which other threads begin


def _kernels(watch: Stopwatch, normals: float) -> tuple[float, float]:
    """Flops per second on small problems, and seconds of a kernel beside its work.

    From rounds of many short products and rounds of longer ones, with the core's counts of both.
    """
    counts, seconds = [], []
    for k, n in ((2, 256), (20, 64)):
        call, cost = _rounds(k, n)
        counts.append([cost["operations"], cost["calls"]])
        seconds.append(watch.least(call) / ROUNDS - cost["numbers"] / normals)
    (long_ops, long_calls), rest = counts[1], seconds[1]
    # Each is bounded by what it would be if it took all of the time.
    inverse, kernel = np.linalg.solve(np.array(counts), np.array(seconds))
    inverse = min(max(inverse, 0.3 * rest / long_ops), rest / long_ops)
    kernel = max(kernel, 0.02 * rest / long_calls)
    return float(1 / inverse), float(kernel)


def _rounds(k: int, n: int) -> tuple[Callable[[], None], dict[str, float]]:
    """Some rounds of one trial of MAML at the origin, and what the core counts in one."""
    M, w = np.zeros((1, k, k)), np.zeros((1, k))
    method = core_method(MAML())
    run = core.Run.population(
        method=method,
        M=M,
        R=M,
        w=w,
        law=HeadLaw("gaussian"),
        n=n,
        noise=0.0,
        seed=0,
        trials=[0],
        rounds=[0],
        records=["w_norm"],
    )
    done = 0

    def call() -> None:
        nonlocal done
        done += ROUNDS
        run.advance(done, 2**40, 0.0, 0.0, None, 1)

    return call, core.population_cost(method, RoundSizes(n, 2 * k, k, k, draws_heads=True))


def _features(watch: Stopwatch) -> float:
    """Flops per second of X B on data in the cache."""
    m, d, k = 64, 2048, 16
    X, B = np.zeros((1, m, d)), np.zeros((d, k))
    return 2 * m * d * k / watch.least(lambda: core.project(X, B, 1))


def _grams(watch: Stopwatch) -> float:
    """Flops per second of the Gram matrix of many samples."""
    n, m, d = 16, 32, 4096
    X, y = np.zeros((n, m, d)), np.zeros((n, m))
    state = {"B": np.zeros((1, d, 1)), "w": np.zeros((1, 1))}
    method = core_method(ANIL())
    sets = core_sets(sets_of(X, y), sets_of(X, y))
    seconds = watch.least(
        lambda: core.Run.arrays(
            method=method,
            route="dual",
            data=sets,
            state=state,
            n=n,
            seed=0,
            trials=[0],
            rounds=[0],
            records=["w_norm"],
            threads=1,
        )
    )
    return (n * m) ** 2 * d / seconds


def _task(watch: Stopwatch) -> float:
    """Seconds of a task of the arrays engine beside its work."""
    n = 100
    X, y = np.zeros((n, 1, 1)), np.zeros((n, 1))
    B, w = np.zeros((1, 1)), np.zeros(1)
    method = core_method(ANIL())
    sets = core_sets(sets_of(X, y), sets_of(X, y))
    gradient = core.gradient_arrays
    return watch.least(lambda: gradient(method, "vector", B, w, sets, 1, False)) / n


def _normals(watch: Stopwatch) -> float:
    """Normals per second on one thread."""
    rows, d = 8, 8192
    return rows * d / watch.least(lambda: core.normals(0, 0, 0, 1, 1, rows, d, "float64", 1))
