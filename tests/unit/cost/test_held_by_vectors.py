"""Bytes that a round on the vector route holds, as the core counts them."""

import pytest

import metaspan as ms
from metaspan._core_types import DataSizes
from metaspan._load import core
from metaspan.methods import core_method

ANIL = core_method(ms.ANIL(inner_steps=2))
FIRST_ORDER = core_method(ms.ANIL(inner_steps=2, first_order=True))


def sizes(**changes):
    given = {"d": 100, "k": 3, "k_star": 2, "n": 20, "all_tasks": 20, "m_in": 4, "m_out": 6}
    given |= {"shared": False, "number_bytes": 8}
    return DataSizes(**(given | changes))


def vector_bytes(method, sizes, threads):
    return core.route_costs(method, sizes, "vector", threads)["bytes"]


@pytest.mark.parametrize(
    ("method", "threads", "vectors"),
    [
        # B^T and B w, then terms of the tasks, then a direction and inner vectors of a panel.
        (ANIL, 1, 3 + 1 + 20 * 5 + 8),
        (ANIL, 4, 3 + 1 + 20 * 5 + 4 * 8),
        (FIRST_ORDER, 4, 3 + 1 + 20 + 4 * 8 * 3),
    ],
)
def test_short_vectors_are_kept_of_every_task(method, threads, vectors):
    assert vector_bytes(method, sizes(), threads) == 8 * 100 * vectors


def test_threads_share_what_is_one_panel():
    few = sizes(n=8, all_tasks=8)
    assert vector_bytes(ANIL, few, 4) == vector_bytes(ANIL, few, 1)


def test_long_vectors_are_kept_of_one_task_at_a_time_and_of_a_block():
    d = 10**5
    long = sizes(d=d, n=100, all_tasks=100)
    block = core.VECTOR_BLOCK_BYTES // (8 * 5 * d)
    maml = core_method(ms.MAML(inner_steps=2))
    vectors = 8 * d * (3 + 1 + 5 * block + 1)
    assert vector_bytes(maml, long, 1) == vectors
    # Z of a task, and its parts for the 16 leaves of d.
    assert vector_bytes(ANIL, long, 1) == vectors + 8 * 4 * 3 * (1 + 16)


def test_large_sets_are_shared_by_the_threads():
    large = sizes(m_in=core.PANEL_BYTES)
    assert vector_bytes(ANIL, large, 4) == vector_bytes(ANIL, large, 1)


def test_inner_sets_that_are_met_again_stay_where_they_fit():
    held = core.sampled_cost(ANIL, sizes(), False, 1)
    assert held["stay"]
    assert held["rows"] == 8 * (4 + core.ROW_BLOCK) * 800
    assert held["vectors"] == vector_bytes(ANIL, sizes(), 1)
    larger = core.sampled_cost(ANIL, sizes(m_in=core.MADE_BYTES), False, 1)
    assert not larger["stay"]
    assert larger["rows"] == 8 * 2 * core.ROW_BLOCK * 800


@pytest.mark.parametrize(
    ("method", "found"),
    [
        (ms.AverageRisk(), (False, False, False, False, 1)),
        (ms.ANIL(), (False, False, True, True, 3)),
        (ms.ANIL(first_order=True), (False, False, False, False, 1)),
        (ms.MAML(), (False, True, True, True, 3)),
        (ms.MAML(inner_steps=2, first_order=True), (True, True, False, True, 1)),
        (ms.MAML(inner_steps=0), (False, False, False, False, 1)),
    ],
)
def test_needs_of_a_method(method, found):
    needs = core.method_needs(core_method(method))
    names = ("gram", "cross_gram", "inner_part", "passes_again", "terms")
    assert tuple(needs[name] for name in names) == found
