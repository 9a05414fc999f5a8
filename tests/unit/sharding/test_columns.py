"""The cut of d columns among ranks, and sums over d whose bits do not depend on the ranks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metaspan as ms
from metaspan._load import core
from metaspan.sharding.columns import check_ranks
from ranks import run_ranks

SIZES = st.integers(1, 300_000)


def most_ranks(d):
    return min(core.Shard.leaves(d), 6)


@given(SIZES, st.data())
def test_ranks_hold_all_columns_in_order(d, data):
    ranks = data.draw(st.integers(1, most_ranks(d)))
    edges = core.Shard.edges(d, ranks)
    assert len(edges) == ranks + 1
    assert (edges[0], edges[-1]) == (0, d)
    assert all(first < end for first, end in pairwise(edges))
    assert all(edge % 256 == 0 for edge in edges[:-1])


@given(SIZES)
def test_leaves_are_a_power_of_two(d):
    leaves = core.Shard.leaves(d)
    assert leaves in (2**level for level in range(11))
    assert leaves <= max(1, d // 256)


@given(SIZES, st.data())
def test_pieces_of_a_rank_are_those_of_one_process(d, data):
    ranks = data.draw(st.integers(1, most_ranks(d)))
    most = data.draw(st.sampled_from([256, 1000, 4096, 10**6]))
    whole = set(core.Shard(d).pieces(most))

    def pieces(shard):
        return [shard.first + edge for edge in shard.pieces(most)]

    for mine in run_ranks(d, ranks, pieces):
        assert set(mine) <= whole
        assert max(np.diff(mine)) <= max(most, 256) or ranks == 1 or len(mine) == 2


@given(SIZES, st.data())
def test_sums_have_the_bits_of_one_process(d, data):
    ranks = data.draw(st.integers(1, most_ranks(d)))
    count = data.draw(st.sampled_from([1, 3, 1500]))
    whole = core.Shard(d)
    edges = whole.pieces(4096)
    parts = np.random.default_rng(d).standard_normal((len(edges) - 1, count)) ** 3

    def total(shard):
        first = edges.index(shard.first)
        mine = parts[first : first + len(shard.pieces(4096)) - 1]
        return shard.sum(np.ascontiguousarray(mine), 4096)

    expected = whole.sum(parts, 4096)
    np.testing.assert_allclose(expected, parts.sum(axis=0), rtol=1e-11, atol=1e-9)
    for found in run_ranks(d, ranks, total):
        np.testing.assert_array_equal(found, expected)


def test_more_ranks_than_leaves_are_refused():
    check_ranks(300, 1)
    with pytest.raises(ValueError, match=r"^comm must have at most 1 rank for d = 300, .*; got 2"):
        check_ranks(300, 2)
    with pytest.raises(ValueError, match=r"^ranks must be at most \d+ for d = 100000, .*; got 99"):
        check_ranks(100_000, 99, "ranks")


@pytest.mark.parametrize("comm", [None, "COMM_WORLD", 3, object()])
def test_communicators_are_those_of_mpi4py(comm):
    for call in (
        lambda: ms.shard(5000, comm),
        lambda: ms.TaskBatch(np.ones((2, 3, 4)), np.ones((2, 3))).sharded(comm),
    ):
        with pytest.raises(TypeError, match=r"^comm must be an intracommunicator of mpi4py, "):
            call()


@pytest.mark.parametrize("d", [0, 2.5, 2**53 + 1])
def test_numbers_of_columns_are_checked_first(d):
    with pytest.raises((TypeError, ValueError), match=r"^d must be"):
        ms.shard(d, None)


def test_missing_mpi4py_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TypeError, match=r"pip install 'metaspan\[mpi\]'"):
        ms.shard(5000, "COMM_WORLD")
