"""Measures the limits of this machine: memory bandwidth and the speed of matrix products."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench.harness import Figure, Options, busy_elsewhere, cpus

MEGABYTES = 512  # size of the array that is read, far larger than any last-level cache
CACHED = 2**19  # bytes for each core, which fit the core's own cache
KINDS = {"family": "cpu family", "model": "model"}  # of processors, as /proc/cpuinfo names them
ORDER = 2048  # number of rows of the square matrices that are multiplied


def processor() -> str:
    """Return the name of the processor, with its family and model where Linux tells them."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    words = [facts.get("model name", platform.machine())]
    words += [f"{what} {facts[key]}" for what, key in KINDS.items() if key in facts]
    return ", ".join(words)


def best(call: Callable[[], object], repeats: int) -> float:
    r"""Return the least time of a few calls, since a limit is reached only without disturbance.

    A call during which other processes were busy does not count as one of the `repeats`. At most 4
    * `repeats` calls are made.
    """
    call()
    seconds, quiet = [], 0
    while quiet < repeats and len(seconds) < 4 * repeats:
        before, start = busy_elsewhere(), time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        quiet += not busy_elsewhere() - before > 0.03 + 0.1 * seconds[-1]
    return min(seconds)


@functools.cache
def limits(repeats: int = 7) -> dict[str, float]:
    r"""Measure the rates of reads and copies, in GB/s, and of matrix products, in GFLOP/s.

    Each limit is measured once, on all CPUs that this process may use. The bytes of a copy are
    those read and those written. The rate of reading is the best of three loops. The cached rate is
    measured on one core, for an array in its own cache, and multiplied by the number of cores.
    """
    threads = len(cpus())
    rng = np.random.default_rng(0)
    x = rng.random(MEGABYTES * 2**17)
    y = np.zeros_like(x)
    parts = list(zip(np.array_split(x, threads), np.array_split(y, threads), strict=True))
    rates = {}
    with ThreadPoolExecutor(threads) as pool:

        def seconds(each: Callable[[np.ndarray, np.ndarray], object]) -> float:
            return best(lambda: list(pool.map(lambda part: each(*part), parts)), repeats)

        loops = (lambda a, _: a.sum(), lambda a, _: a.max(), lambda a, _: a @ a)
        rates["read"] = x.nbytes / min(seconds(loop) for loop in loops) / 1e9
        rates["copy"] = 2 * x.nbytes / seconds(lambda a, b: np.copyto(b, a)) / 1e9
    rates["cached"] = threads * _cached(x[: CACHED // 8], repeats)
    for name, dtype in (("gemm_f64", np.float64), ("gemm_f32", np.float32)):
        a = rng.random((ORDER, ORDER)).astype(dtype)
        c = np.empty_like(a)
        rates[name] = 2 * ORDER**3 / best(lambda a=a, c=c: np.matmul(a, a, out=c), repeats) / 1e9
    return rates


def _cached(a: np.ndarray, repeats: int) -> float:
    """Return the rate, in GB/s, at which one core reads an array in its cache."""
    loops = (np.add.reduce, np.maximum.reduce, lambda a: np.einsum("i,i->", a, a))
    return max(
        100 * a.nbytes / best(lambda loop=loop: [loop(a) for _ in range(100)], repeats) / 1e9
        for loop in loops
    )


def run(options: Options) -> list[Figure]:
    return [
        Figure(
            bench="machine",
            case=f"limits, cores: {len(cpus())}",
            who=name.replace("_", " "),
            value=value,
            unit="GFLOP/s" if name.startswith("gemm") else "GB/s",
            more_is_better=True,
            samples=options.repeats,
        )
        for name, value in limits(options.repeats).items()
    ]
