"""Floors of the routes of the arrays engine: the least that a round must read and compute.

Only products with the data are counted, for one inner step, by equations (5) to (10) and (24).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.peers import Rule

TASK_BYTES = 12 * 2**20  # up to this size, the data of a task stay in the cache between sweeps
CACHE_BYTES = 2**24  # up to this size, all data stay in the cache from round to round


class Size(NamedTuple):
    """Numbers of features, columns of B, tasks, and inner and outer samples of a task."""

    d: int
    k: int
    n: int
    m_in: int
    m_out: int

    @property
    def samples_in(self) -> int:
        return self.n * self.m_in

    @property
    def samples_out(self) -> int:
        return self.n * self.m_out

    @property
    def samples(self) -> int:
        return self.samples_in + self.samples_out


@dataclass(frozen=True, kw_only=True)
class Work:
    """The least number of bytes and flops, and whether the bytes are read from a cache."""

    bytes: float
    flops: float
    cached: bool  # whether the data stay in the cache
    passes: str = "one read of the data"  # description of the bytes

    def floor(self, machine: Mapping[str, float], gemm: str = "gemm_f64") -> tuple[float, str]:
        """Return the least seconds by the measured limits, and a text on the limit that decides."""
        rate = "cached" if self.cached else "read"
        reading = self.bytes / machine[rate] / 1e9
        computing = self.flops / machine[gemm] / 1e9
        if computing > reading:
            return computing, "floor: arithmetic at the rate of gemm"
        where = "from the cache" if self.cached else "from memory"
        return reading, f"floor: {self.passes}, {where}"


def round_work(route: str, size: Size, rule: Rule, itemsize: int = 8) -> Work:
    """Count the work of a round of the Gram or vector route on data that were not read before."""
    sweep_in, sweep_out = size.samples_in * size.d, size.samples_out * size.d
    if route == "vector":
        # A residual and the product of X^T with it take one pass over X, because each row of X is
        # used twice while the row is in the cache.
        passes = (2 if rule.exact else 1) * sweep_in + sweep_out
        flops = 4 * passes
    else:
        inner = 1 if rule.exact else 0  # 1 if the second sweep passes over inner sets
        terms = 2 if rule.exact else 0
        flops = 2 * (sweep_in + sweep_out) * size.k + 2 * (terms * sweep_in + sweep_out)
        if rule.adapt_B:
            flops += 2 * size.m_in * sweep_out
        passes = (1 + inner) * sweep_in + 2 * sweep_out
    data = (sweep_in + sweep_out) * itemsize
    once = data / size.n <= TASK_BYTES
    return Work(
        bytes=data if once else passes * itemsize,
        flops=flops,
        cached=data <= CACHE_BYTES,
        passes="one read of the data" if once else "every pass over the data",
    )


def setup_work(size: Size, rule: Rule) -> Work:
    """Count the dual route's setup: X B_0, and the entries of the Gram matrix that are needed."""
    pairs = size.samples**2 - (0 if rule.exact else size.samples_in**2)
    data = 8 * size.samples * size.d
    return Work(
        bytes=data,
        flops=(pairs + 2 * size.samples * size.k) * size.d,
        cached=data <= CACHE_BYTES,
    )


def dual_work(size: Size, rule: Rule) -> Work:
    """Count the work of a round of the dual route: the product G A, for which G is read once."""
    active = size.samples if rule.exact else size.samples_out
    table = 8 * size.samples * active
    return Work(
        bytes=table,
        flops=2 * size.samples * active * size.k,
        cached=table <= CACHE_BYTES,
        passes="one read of the Gram matrix",
    )
