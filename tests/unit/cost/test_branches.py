"""The branches of the tree of sums that a rank holds, against the core's own list."""

from itertools import pairwise

import pytest

from metaspan._load import core
from metaspan.cost.ranks import _branches


@pytest.mark.parametrize("d", [3_000, 9_001, 400_000, 10**7])
def test_branches_are_those_of_the_core(d):
    leaves = core.Shard.leaves(d)
    for ranks in (1, 2, 3, 5, 7, 12, leaves):
        if ranks > leaves:
            continue
        edges = [r * leaves // ranks for r in range(ranks + 1)]
        counts = [_branches(first, end) for first, end in pairwise(edges)]
        assert sum(counts) == len(core.Shard(d, 0, ranks, object()).nodes)
        if ranks & (ranks - 1) == 0:
            assert counts == [1] * ranks
