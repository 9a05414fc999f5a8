"""Operations, traffic and bytes of rounds on arrays, as the core counts them for each route."""

import pytest

import metaspan as ms
from metaspan._core_types import DataSizes, FeatureLaw, RoundSizes, SampleLaw
from metaspan._load import core
from metaspan.methods import core_method

ANIL, FIRST_ORDER, MAML, AVERAGE_RISK = (
    core_method(method)
    for method in (ms.ANIL(), ms.ANIL(first_order=True), ms.MAML(), ms.AverageRisk())
)
D, K, N_TASKS, M_IN, M_OUT = 100, 8, 20, 4, 6


def sizes(**changes):
    fields = {"d": D, "k": K, "k_star": 2, "n": N_TASKS, "all_tasks": N_TASKS}
    fields |= {"m_in": M_IN, "m_out": M_OUT, "shared": False, "number_bytes": 8}
    return DataSizes(**(fields | changes))


def cost(method, route, threads=1, **changes):
    return core.route_costs(method, sizes(**changes), route, threads)


def total(stages, count):
    return sum(stage[count] for stage in stages)


def test_flops_of_two_sweeps():
    both = N_TASKS * (M_IN + M_OUT)
    counts = cost(FIRST_ORDER, "gram")
    assert counts["flops"] == 2 * D * (both * K + N_TASKS * M_OUT)
    assert total(counts["round"], "features") == counts["flops"]
    assert cost(ANIL, "gram")["flops"] == counts["flops"] + 2 * D * 2 * N_TASKS * M_IN


def test_grams_are_counted_where_the_method_asks_for_them():
    cross = 2 * D * N_TASKS * M_OUT * M_IN
    assert total(cost(ANIL, "gram")["round"], "grams") == 0
    assert total(cost(MAML, "gram")["round"], "grams") == cross
    with_losses = cross + 2 * D * N_TASKS * M_IN**2
    assert total(cost(MAML, "gram", losses=1.0)["round"], "grams") == with_losses
    shared = cost(MAML, "gram", shared=True, m_out=M_IN)
    assert total(shared["round"], "grams") == 2 * D * N_TASKS * M_IN**2


def test_clipping_reads_the_inner_products_of_all_terms():
    clipped, first_order = (method._replace(clip=1.0) for method in (ANIL, FIRST_ORDER))
    outer = 2 * D * N_TASKS * M_OUT**2
    assert total(cost(first_order, "gram")["round"], "grams") == outer
    every = outer + 2 * D * N_TASKS * (M_IN**2 + M_IN * M_OUT)
    assert total(cost(clipped, "gram")["round"], "grams") == every
    shared = cost(clipped, "gram", shared=True, m_out=M_IN)
    assert total(shared["round"], "grams") == 2 * D * N_TASKS * M_IN**2
    for route in ("gram", "vector", "dual"):
        calls = cost(clipped, route)["calls"] - cost(ANIL, route)["calls"]
        panels = 3 if route == "vector" else N_TASKS
        assert calls == panels * 6  # pairs of three terms
    for route in ("gram", "vector"):
        assert cost(clipped, route)["numbers"] == 0
        noisy = cost(clipped._replace(multiplier=1.0), route)
        assert noisy["numbers"] == (D + 1) * K


@pytest.mark.parametrize(("d", "panels"), [(D, 3), (3000, N_TASKS)])
def test_tasks_are_taken_together_where_their_vectors_are_short(d, panels):
    calls = sum(core.algebra_counts(ANIL, 0.0))
    assert cost(ANIL, "vector", d=d)["calls"] == panels * calls


def test_data_that_caches_keep_come_from_a_cache():
    once = N_TASKS * (2 * M_IN + 2 * M_OUT)
    again = N_TASKS * M_IN  # for the second of the two terms of C
    small, large = (cost(ANIL, "gram", d=d)["round"] for d in (D, 10**5))
    assert total(small, "memory") == 0
    assert total(small, "cached") == 8 * D * (once + again)
    assert total(large, "memory") == 8 * 10**5 * once
    assert total(large, "cached") == 8 * 10**5 * again


def test_products_of_the_gram_route_wait_for_the_samples():
    first, products, _ = cost(MAML, "gram")["round"]
    assert first["cached"] == 8 * D * N_TASKS * (M_IN + M_OUT)
    assert first["features"] == first["grams"] == products["memory"] == products["cached"] == 0


def test_features_of_inner_sets_replace_passes_over_long_rows():
    """One read for Z, one for the vectors of an exact step, and one pass over the outer sets."""
    d, size = 10**5, {"d": 10**5, "m_in": 50, "m_out": 40}
    inner, outer = 50 * N_TASKS * d, 40 * N_TASKS * d
    of_B = (4 + 2) * N_TASKS * d * K
    counts = cost(FIRST_ORDER, "vector", **size)
    assert counts["flops"] == 2 * inner * K + 4 * outer + of_B
    assert counts["round"][-1] == {
        "features": 2 * inner * K, "grams": 0, "memory": 8 * inner, "cached": 0
    }  # fmt: skip
    exact = cost(ANIL, "vector", **size)
    assert exact["flops"] == counts["flops"] + 4 * inner + 2 * 2 * N_TASKS * d * K
    assert exact["round"][-2]["memory"] == 8 * inner + 8 * N_TASKS * 2 * d * 2


def test_trials_share_the_gram_matrix_of_all_samples():
    counts = cost(ANIL, "dual", all_tasks=50)
    samples = 50 * (M_IN + M_OUT)
    assert counts["shared_bytes"] == 8 * samples**2
    assert counts["opening_bytes"] == 8 * samples * (samples + D)
    assert counts["copies_of_B"] == 1
    assert cost(ANIL, "gram")["copies_of_B"] == 2


@pytest.mark.parametrize("entries", [None, 10.0])
@pytest.mark.parametrize("route", ["gram", "vector"])
def test_records_are_counted_apart_and_features_are_read_once(entries, route):
    row = 8 * D if entries is None else 12 * entries
    counts = cost(MAML, route, 4, entries=entries, meeting=0.01)
    assert counts["reads"] == row * N_TASKS * (M_IN + M_OUT)
    assert total(counts["records"], "features") == 0
    recorded = cost(MAML, route, 4, entries=entries, meeting=0.01, geometry=0.5, record_calls=3.0)
    assert recorded["round"] == counts["round"]
    assert total(recorded["records"], "features") > 0
    assert recorded["calls"] == counts["calls"] + 4 * 3  # that one thread makes
    assert core.coordinates_cost(0.5 * D, K, K + 2) == recorded["records"]


def test_products_of_one_block_of_tasks_are_held_at_a_time():
    block = core.STORE_BLOCK_BYTES // (8 * D * (M_IN + M_OUT))
    many = {"n": 100 * block, "all_tasks": 100 * block}
    whole, blocks = (cost(ANIL, "gram", stored=stored, **many)["bytes"] for stored in (False, True))
    heads = 8 * 100 * block * (2 * K + 3)
    assert (whole - heads) / (blocks - heads) == pytest.approx(100, rel=0.1)
    assert cost(ANIL, "gram", B_number_bytes=4, **many)["bytes"] == blocks


def test_sums_of_sparse_rows_are_given_back():
    padded = cost(ANIL, "gram", entries=10.0, meeting=0.01, k=K + 1)
    assert padded["released_bytes"] == 8 * D * (K + 1)
    assert padded["bytes"] > padded["released_bytes"]
    narrow = cost(ANIL, "gram", entries=10.0, meeting=0.01, B_number_bytes=4)
    assert narrow["released_bytes"] == 8 * D * K
    in_place = cost(ANIL, "gram", entries=10.0, meeting=0.01)
    assert in_place["released_bytes"] == 0


def test_sparse_sets_are_copied_where_that_pays():
    many = {"d": 10**6, "k": 32, "meeting": 0.01, "copied": True, "m_in": 500, "m_out": 500}
    bands = -(-8 * many["d"] * many["k"] // core.BAND_BYTES)
    of_a_set = 500 * 100 * (8 + 4 + 2) + 8 * (bands + 1)
    counts = cost(ANIL, "gram", entries=100.0, **many)
    assert counts["copy_bytes"] == pytest.approx(2 * N_TASKS * of_a_set)
    risk = cost(AVERAGE_RISK, "gram", entries=100.0, **many)
    assert risk["copy_bytes"] == pytest.approx(N_TASKS * of_a_set)
    shared = cost(ANIL, "gram", entries=100.0, **{**many, "shared": True})
    assert shared["copy_bytes"] == pytest.approx(N_TASKS * of_a_set)
    for change in ({"copied": False}, {"d": 10**4}, {"entries": 1.0}):
        without = cost(ANIL, "gram", **{"entries": 100.0, **many, **change})
        assert without["copy_bytes"] == 0
    assert cost(ANIL, "vector", entries=100.0, **many)["copy_bytes"] == 0
    dense = {**many, "meeting": 0.0}
    assert cost(ANIL, "gram", **dense)["copy_bytes"] == 0


def test_sparse_rounds_are_serial_by_their_entries():
    # 4 n (2 * 4 + 6) operations an entry of the rows, and 2 d k of the gradient.
    few = (10**6 - 2 * D * K) / (4 * N_TASKS * (2 * M_IN + M_OUT))
    assert cost(ANIL, "gram", entries=few - 1, meeting=0.01)["serial"]
    assert not cost(ANIL, "gram", entries=few + 1, meeting=0.01)["serial"]


def test_rows_that_stay_are_made_once():
    pad = 8 * D  # numbers of a row are made some at a time
    many, once = (core.sampled_cost(ANIL, sizes(m_in=m), False, 1) for m in (10**6, M_IN))
    assert not many["stay"]
    assert once["stay"]
    assert once["calls"] == 8 * N_TASKS * (M_IN + M_OUT)
    assert many["calls"] == 8 * N_TASKS * (2 * 10**6 + M_OUT)
    assert D * N_TASKS * (M_IN + M_OUT) <= once["numbers"] <= pad * N_TASKS * (M_IN + M_OUT)
    assert once["truth"] == 2 * 8 * D * 2


@pytest.mark.parametrize("route", ["gram", "vector"])
def test_rounds_of_few_operations_are_serial(route):
    # Vectors pass twice over 4 inner and once over 6 outer samples: 4 n (2 * 4 + 6) d operations.
    most = 10**6 // (4 * N_TASKS * (2 * M_IN + M_OUT))
    assert cost(ANIL, route, d=most)["serial"]
    assert not cost(ANIL, route, d=most + 1)["serial"]


def test_rounds_on_a_small_gram_matrix_are_serial():
    # Products of all rows with 8 columns: (n (4 + 6))^2 * 2 * 8 operations for the exact method.
    assert cost(ANIL, "dual", n=25, all_tasks=25)["flops"] == 10**6
    assert not cost(ANIL, "dual", n=25, all_tasks=25)["serial"]
    assert cost(ANIL, "dual", n=24, all_tasks=24)["serial"]


@pytest.mark.parametrize(
    ("n", "threads", "most"), [(16, 2, 8), (10, 2, 8), (20, 2, 12), (40, 3, 16)]
)
def test_the_busiest_thread_has_the_most_panels(n, threads, most):
    # Panels of 8 tasks; a thread that is free takes the next one.
    counts = cost(ANIL, "vector", threads=threads, d=2000, n=n, all_tasks=n)
    assert counts["busiest"] == pytest.approx(most * threads / n)


def test_threads_share_large_panels_evenly():
    counts = cost(ANIL, "vector", threads=2, d=2000, n=10, all_tasks=10, m_in=400, m_out=400)
    assert counts["busiest"] == 1


def test_work_that_threads_do_not_share_is_multiplied_by_their_number():
    one, two = (cost(MAML, "gram", threads) for threads in (1, 2))
    assert two["tasks"] == 2 * one["tasks"]
    one, two, four = (
        total(cost(MAML, "gram", threads, entries=10.0, meeting=0.01)["round"], "features")
        for threads in (1, 2, 4)
    )
    assert four - one == 2 * (two - one) > 0  # samples of columns, sorted on one thread


@pytest.mark.parametrize("method", [ANIL, ANIL._replace(adapt_B=True)], ids=["anil", "maml"])
def test_parts_that_tasks_do_not_share_are_made_for_every_residual(method):
    """(33) on generated rows: one row of d numbers a task for every set of residuals."""
    for d in (D, 10**4):  # rows from which Z is not formed, and rows from which it may be
        plain, spread = (
            core.sampled_cost(method, sizes(d=d), False, 1, with_xi) for with_xi in (False, True)
        )
        made = (spread["calls"] - plain["calls"]) / 8 / N_TASKS
        assert made == 2  # the inner residual of J = 1, and the outer one
        more = spread["numbers"] - plain["numbers"]
        assert made * N_TASKS * d <= more <= made * N_TASKS * 8 * d
        assert spread["vectors"] == plain["vectors"]


@pytest.mark.parametrize("adapt_B", [False, True], ids=["anil", "maml"])
def test_collapsed_rounds_count_the_parts_that_tasks_do_not_share(adapt_B):
    """(33): D + 1 numbers of xi, and those of one column more in every row of Gaussian sets."""
    method, D_rows, n, m = ANIL._replace(adapt_B=adapt_B), 5, 8, 40
    counts = [
        core.collapsed_cost(
            method,
            SampleLaw(1e6, m, m, False, 0.1, FeatureLaw("gaussian"), spread),
            RoundSizes(n=n, rows=D_rows, k=3, k_star=2),
        )
        for spread in (0.0, 0.5)
    ]
    more = counts[1]["numbers"] - counts[0]["numbers"]
    triangle = (D_rows + 2) * (D_rows + 3) / 2 - (D_rows + 1) * (D_rows + 2) / 2
    # The outer set of MAML meets a frame of m columns, so that it keeps its m rows. Roots count a
    # fifth more.
    expected = n * (D_rows + 1 + triangle + (m if adapt_B else triangle))
    assert expected <= more <= expected + 0.2 * n * 5
    assert counts[1]["flops"] > counts[0]["flops"]
