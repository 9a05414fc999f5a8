r"""The rates of this machine, from which the costs of rounds are predicted.

The rates are measured once on a machine, and stored in a file of the user's cache folder. The rates
determine the choice of routes, and the route affects the bits of a run, so the rates are stored to
make runs on a machine repeatable. Rates that were measured on a busy machine are replaced. If the
repeats of a measurement disagreed, or other processes used the processor, the rates are used for an
hour, and the first process after this hour measures all rates again. If a short measurement
contradicts the stored rates, the process that made the short measurement measures all rates again
at once.
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

EDITION = 4  # edition of the file; raise it if the rates, or how they are measured, change
MEMORY_BYTES = 2**27  # size of an array that no cache holds
CACHED_BYTES = 2**22
AGREE = 1.15  # largest ratio of the two shortest times of a call on a quiet machine
OWN_SHARE = 0.9  # least processor time of an undisturbed call, as a fraction of its duration
LOOKED_AT = ("flops_per_second", "features_1", "cached_1")  # rates of the short measurement
SPOILT_SECONDS = 3600.0  # time for which rates of a busy machine are used
# If a new rate is at least FASTER times the stored rate, or at most 1 / SLOWER of it, the stored
# rate is wrong: it was measured on a busy machine, or on a different machine.
FASTER, SLOWER = 1.5, 4.0


@cache
def cost_model() -> dict[str, float]:
    r"""Return the rates of this machine: read from the file, or measured in about a second.

    Returns
    -------
    dict of str to float
        ``"seconds_per_call"``: seconds of a round with one small task. ``"flops_per_second"``:
        flops per second of one thread on small problems. ``"seconds_per_kernel"``: seconds that a
        kernel takes in addition to its flops, on one thread. ``"read_1"`` and ``"read_all"``: bytes
        per second that one thread reads from memory, and that all CPUs of this process read
        together. ``"cached_1"``: bytes per second that one thread reads from its cache.
        ``"features_1"`` and ``"grams_1"``: flops per second of `X B` and of `X X^T` on one thread.
        ``"seconds_per_task"``: seconds that a task on arrays takes in addition to its flops and
        bytes. ``"normals_1"``: normally distributed numbers that one thread draws per second.
    """
    path = _path()
    kept = _read_kept(path)
    if kept is not None and not contradicts(kept, look()):
        return kept
    watch = Stopwatch()
    rates = _measure(watch)
    _keep(path, {**rates, "steady": watch.steady, "measured": time.time()})
    return rates


def contradicts(kept: Mapping[str, float], seen: Mapping[str, float]) -> bool:
    """Whether new rates show that the stored rates are wrong.

    Other processes make a machine slower, never faster: new rates well above the stored rates show
    that the stored rates were measured on a busy machine.
    """
    return any(not 1 / SLOWER < rate / kept[name] < FASTER for name, rate in seen.items())


def look() -> dict[str, float]:
    """Measure some rates in a few milliseconds; return {} if other processes interfered."""
    watch = Stopwatch(patience=0.004)
    normals = _measure_normals(watch)
    small = np.ones(CACHED_BYTES // 8)
    rates = {
        "flops_per_second": _measure_kernels(watch, normals)[0],
        "features_1": _measure_features(watch),
        "cached_1": small.nbytes / watch.least(lambda: core.all_finite(small, 1)),
    }
    return {name: rates[name] for name in LOOKED_AT} if watch.steady else {}


def _read_kept(path: Path) -> dict[str, float] | None:
    """Read the stored rates, if they are of a quiet machine or less than an hour old."""
    try:
        kept = json.loads(path.read_text())
        rates = {name: float(kept[name]) for name in ORDER}
        fresh = 0 <= time.time() - float(kept["measured"]) < SPOILT_SECONDS
        usable = kept["steady"] is True or fresh
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rates if usable and all(0 < rate < np.inf for rate in rates.values()) else None


def _keep(path: Path, content: Mapping[str, float | bool]) -> None:
    """Write the rates to the file; if this fails, the next process measures the rates again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, json.dumps(content).encode())
    except OSError:
        pass


class Stopwatch:
    r"""Times calls, and notices when other processes disturb the measurement.

    Parameters
    ----------
    patience : float
        Seconds that the repeats of a call may take if the two shortest times agree; if these two
        times disagree, the repeats may take six times as long.
    """

    def __init__(self, patience: float = 0.05) -> None:
        self.steady = True
        self._patience = patience

    def least(self, call: Callable[[], object], threads: int = 1) -> float:
        """Return the shortest time of a call in seconds; makes the call at least twice.

        `steady` becomes False if repeats disagree, if other processes used the processor, or if a
        call on several threads did not get more than one processor.
        """
        call()  # the first call touches memory and wakes threads
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
        seconds, cpu_seconds = laps[0]
        # The clock of processor time is too coarse for short calls, but short calls are rarely
        # interrupted.
        needed = OWN_SHARE * seconds * (1 if threads == 1 else 1.5)
        alone = seconds < 1e-3 or cpu_seconds >= needed
        self.steady = self.steady and agree and alone
        return max(seconds, 1e-9)


@dataclass(frozen=True, kw_only=True)
class Price:
    r"""Time and memory of a route.

    Parameters
    ----------
    setup, round : float
        Seconds before the first round, and seconds per round.
    flops : float
        Floating-point operations per round.
    bytes : int
        Bytes that the route holds in addition to the data and `B`.
    """

    setup: float
    round: float
    flops: float
    bytes: int


class Machine:
    """The rates of this machine for a given number of threads."""

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
        """Return the seconds of the work that the core counts in a round."""
        return (
            cost["operations"] / self.flops
            + cost["calls"] * self.kernel
            + cost["numbers"] / self.normals
            + cost["memory"] / self.read
        )

    def staged(self, stages: Iterable[Stage]) -> float:
        """Add the seconds of stages; a stage takes the longer of arithmetic and data traffic."""
        return sum(
            max(
                stage["features"] / self.features + stage["grams"] / self.grams,
                stage["memory"] / self.read + stage["cached"] / self.cached,
            )
            for stage in stages
        )


def _path() -> Path:
    """Return the path of the file for this build on this machine."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    build = core.build_info()
    machine = f"{platform.node()}-{cpus.available()}"
    name = f"cost-{EDITION}-{build['version']}-{build['instruction_set']}-{machine}.json"
    return Path(root) / "metaspan" / name


def _measure(watch: Stopwatch) -> dict[str, float]:
    """Measure all rates, to three digits."""
    threads = cpus.available()
    large, small = np.ones(MEMORY_BYTES // 8), np.ones(CACHED_BYTES // 8)
    normals = _measure_normals(watch)
    flops, kernel = _measure_kernels(watch, normals)
    rates = {
        "seconds_per_call": watch.least(_prepare_rounds(1, 1)[0]) / ROUNDS,
        "flops_per_second": flops,
        "seconds_per_kernel": kernel,
        "read_1": large.nbytes / watch.least(lambda: core.all_finite(large, 1)),
        "read_all": large.nbytes / watch.least(lambda: core.all_finite(large, threads), threads),
        "cached_1": small.nbytes / watch.least(lambda: core.all_finite(small, 1)),
        "features_1": _measure_features(watch),
        "grams_1": _measure_grams(watch),
        "seconds_per_task": _measure_task(watch),
        "normals_1": normals,
    }
    return {name: float(f"{rates[name]:.3g}") for name in ORDER}


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
ROUNDS = 20  # per timed call
WAKING = 5e-6  # seconds until other threads begin


def _measure_kernels(watch: Stopwatch, normals: float) -> tuple[float, float]:
    """Measure the flops per second on small problems, and the overhead of a kernel in seconds.

    The core counts the flops and the kernels of a round. Rounds of many short kernels and rounds of
    longer kernels give two linear equations for the two rates.
    """
    counts, seconds = [], []
    for k, n in ((2, 256), (20, 64)):
        call, cost = _prepare_rounds(k, n)
        counts.append([cost["operations"], cost["calls"]])
        seconds.append(watch.least(call) / ROUNDS - cost["numbers"] / normals)
    (long_ops, long_calls), rest = counts[1], seconds[1]
    # Noise in the times may make a solution negative or too large. Each solution is therefore
    # bounded by fractions of the value that it would have if it alone explained the whole time.
    inverse, kernel = np.linalg.solve(np.array(counts), np.array(seconds))
    inverse = min(max(inverse, 0.3 * rest / long_ops), rest / long_ops)
    kernel = max(kernel, 0.02 * rest / long_calls)
    return float(1 / inverse), float(kernel)


def _prepare_rounds(k: int, n: int) -> tuple[Callable[[], None], dict[str, float]]:
    """Return a function that does ROUNDS rounds of MAML from B = 0, and the counts of a round."""
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


def _measure_features(watch: Stopwatch) -> float:
    """Measure the flops per second of X B on data in the cache."""
    m, d, k = 64, 2048, 16
    X, B = np.zeros((1, m, d)), np.zeros((d, k))
    return 2 * m * d * k / watch.least(lambda: core.project(X, B, 1))


def _measure_grams(watch: Stopwatch) -> float:
    """Measure the flops per second of the Gram matrix of many samples."""
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
            copies=False,
            threads=1,
        )
    )
    return (n * m) ** 2 * d / seconds


def _measure_task(watch: Stopwatch) -> float:
    """Measure the seconds that a task on arrays takes in addition to its flops and bytes."""
    n = 100
    X, y = np.zeros((n, 1, 1)), np.zeros((n, 1))
    B, w = np.zeros((1, 1)), np.zeros(1)
    method = core_method(ANIL())
    sets = core_sets(sets_of(X, y), sets_of(X, y))
    gradient = core.gradient_arrays
    return watch.least(lambda: gradient(method, "vector", B, w, sets, 1, False)) / n


def _measure_normals(watch: Stopwatch) -> float:
    """Measure how many normally distributed numbers one thread draws per second."""
    rows, d = 8, 8192
    return rows * d / watch.least(lambda: core.normals(0, 0, 0, 1, 1, rows, d, "float64", 1))
