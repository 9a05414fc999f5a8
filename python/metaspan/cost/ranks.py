r"""What sharing a run among the ranks of a communicator costs: the exchange of sums over d.

Latency and bandwidth are assumed, not measured: they are those of a common network of a cluster.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from .._core_types import RouteCost
from .._load import core
from ..methods import core_method
from .workload import Workload

LATENCY = 5e-6  # seconds of a message: assumed
BANDWIDTH = 5e9  # bytes per second that a rank sends: assumed


def of_widest_rank(work: Workload, ranks: int) -> Workload:
    """Return the work of the rank that holds the most columns."""
    if ranks == 1:
        return work
    sizes = work.sizes
    edges = core.Shard.edges(sizes.d, ranks)
    d = max(end - first for first, end in pairwise(edges))
    entries = None if sizes.entries is None else sizes.entries * d / sizes.d
    return replace(work, sizes=sizes._replace(d=d, entries=entries))


def cost_of_rank(whole: Workload, route: str, ranks: int) -> RouteCost:
    """Return the core's counts of the memory of the rank that holds the most columns.

    The vector route keeps the vectors of as many tasks as it would without ranks.
    """
    part = of_widest_rank(whole, ranks)
    if ranks == 1 or route != "vector":
        return part.cost(route)
    share = part.sizes.d / whole.sizes.d
    cost = whole.cost(route)
    for name in ("bytes", "released_bytes", "shared_bytes", "opening_bytes"):
        cost[name] *= share
    return cost


def copy_bytes(work: Workload, d: int, ranks: int) -> int:
    """Return the bytes of the copies of sparse sets by leaves, on the rank whose work is given."""
    sizes, leaves = work.sizes, math.ceil(core.Shard.leaves(d) / ranks)
    assert sizes.entries is not None
    entry = sizes.number_bytes + 4  # a value and a column
    return round(work.N * (sizes.entries * entry + 8 * leaves))


def exchanged_numbers(work: Workload, route: str) -> float:
    """Return the most numbers that a rank sends in a round, without records of B."""
    sizes, method = work.sizes, core_method(work.method)
    rows = sizes.n * (sizes.m_in + sizes.m_out * (not sizes.shared))
    if route == "dual":
        return 0.0
    needs = core.method_needs(method)
    grams = sizes.n * sizes.m_in * (sizes.m_in * needs["gram"] + sizes.m_out * needs["cross_gram"])
    if route == "gram":
        return rows * sizes.k + grams
    return rows * (2 * method.inner_steps + 1) + grams * method.adapt_B


def exchange_seconds(work: Workload, route: str, ranks: int) -> float:
    """Return the seconds of the exchanges of a round."""
    if ranks == 1:
        return 0.0
    messages = 2 * math.ceil(math.log2(ranks))
    return LATENCY * messages + 2 * 8 * exchanged_numbers(work, route) / BANDWIDTH


def exchange_bytes(work: Workload, route: str, ranks: int, d: int) -> int:
    """Return the bytes that a rank needs for exchanges of sums over d columns.

    It holds its sums, one for each of its branches of the tree, twice, its part of the sums of all
    ranks, and the result. On the dual route it adds the leaves of a branch beforehand, with one
    further matrix for each level.
    """
    if ranks == 1:
        return 0
    numbers = work.N**2 if route == "dual" else exchanged_numbers(work, route)
    leaves = core.Shard.leaves(d)
    branches = [_branches(r * leaves // ranks, (r + 1) * leaves // ranks) for r in range(ranks)]
    held = 2 * max(branches) + sum(branches) / ranks + 1
    levels = math.log2(leaves / ranks) if route == "dual" else 0
    return round(8 * numbers * (held + levels))


def _branches(first: int, end: int) -> int:
    """Return the number of branches of the tree that make up the leaves first, ..., end - 1."""
    count = 0
    while first < end:
        size = 1
        while first % (2 * size) == 0 and first + 2 * size <= end:
            size *= 2
        first, count = first + size, count + 1
    return count
