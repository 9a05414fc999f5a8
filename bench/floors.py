"""What each route of the arrays engine must read and compute in a round: its floor.

Counted for one inner step, from equations (5) to (10) and (24): products with the data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.peers import Rule

TASK_BYTES = 12 * 2**20  # of data: all sweeps over a smaller task find it in the cache
CACHE_BYTES = 2**24  # of data that stay in the cache from one round to the next


class Size(NamedTuple):
    """Features, width, tasks, and samples of a task in the inner and in the outer set."""

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
    """The least that must be read and computed, and where the reading happens."""

    bytes: float
    flops: float
    cached: bool  # whether the data stay in the cache
    passes: str = "one read of the data"  # what the bytes are

    def floor(self, machine: Mapping[str, float], gemm: str = "gemm_f64") -> tuple[float, str]:
        """Seconds at the measured limits of the machine, and which of them it is."""
        rate = "cached" if self.cached else "read"
        reading = self.bytes / machine[rate] / 1e9
        computing = self.flops / machine[gemm] / 1e9
        if computing > reading:
            return computing, "floor: arithmetic at the rate of gemm"
        where = "from the cache" if self.cached else "from memory"
        return reading, f"floor: {self.passes}, {where}"


def round_work(route: str, size: Size, rule: Rule, itemsize: int = 8) -> Work:
    """A round of the Gram or the vector route on data that it has not seen before."""
    sweep_in, sweep_out = size.samples_in * size.d, size.samples_out * size.d
    if route == "vector":
        # A residual and what it pulls back are one pass: a row is used twice while it is there.
        passes = (2 if rule.exact else 1) * sweep_in + sweep_out
        flops = 4 * passes
    else:
        inner = 1 if rule.exact else 0  # of the second sweep
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
    """The Gram matrix of the dual route and X B_0; products of inner samples where they count."""
    pairs = size.samples**2 - (0 if rule.exact else size.samples_in**2)
    data = 8 * size.samples * size.d
    return Work(
        bytes=data,
        flops=(pairs + 2 * size.samples * size.k) * size.d,
        cached=data <= CACHE_BYTES,
    )


def dual_work(size: Size, rule: Rule) -> Work:
    """A round of the dual route: G A, with G read once."""
    active = size.samples if rule.exact else size.samples_out
    table = 8 * size.samples * active
    return Work(
        bytes=table,
        flops=2 * size.samples * active * size.k,
        cached=table <= CACHE_BYTES,
        passes="one read of the Gram matrix",
    )
