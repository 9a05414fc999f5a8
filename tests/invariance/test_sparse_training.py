"""Runs on sparse data follow those on arrays, with the same bits for any number of threads."""

import numpy as np
import pytest

import metaspan as ms
from data_runs import error_of, method_of
from matching import METHODS, assert_same_bits, relative_error
from metaspan.cost.routes import takes_copies
from metaspan.engines import arrays as arrays_engine
from sparse_data import pair, run

ROUTES = ("gram", "vector", "dual")
RECORDS = ("dist", "w_norm", "sigma_min", "loss_in", "loss_adapted", "loss_out")
SIZES = {
    "ragged": {},
    "shared": {"shared": True},
    "more-samples-than-d": {"d": 12, "k": 3, "m_in": (9,) * 5, "m_out": (7,) * 5},
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", [*METHODS, "average-risk"])
@pytest.mark.parametrize("size", SIZES)
def test_run_follows_the_one_on_arrays(size, name, route):
    given = pair(**SIZES[size])
    method = method_of(name, alpha=0.02, beta=0.03, inner_steps=2)
    mine, theirs = (
        run(given, route, dense=dense, method=method, record=RECORDS) for dense in (False, True)
    )
    assert mine.status == theirs.status == ms.Status.FINISHED
    assert relative_error(mine.B, theirs.B) < 1e-11
    assert relative_error(mine.w, theirs.w) < 1e-11
    for record in RECORDS:
        assert error_of(record, mine.trace[record], theirs.trace[record]) < 1e-10, record


@pytest.mark.parametrize("route", ROUTES)
def test_minibatches_take_the_same_tasks(route):
    given = pair(m_in=(3, 7, 1, 4, 2, 6), m_out=(5, 2, 6, 1, 3, 3))
    changes = {"n": 2, "seed": 3, "trials": 2, "rounds": 40}
    mine, theirs = (run(given, route, dense=dense, **changes) for dense in (False, True))
    assert relative_error(mine.B, theirs.B) < 1e-11


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_rounds_of_the_dual_route_follow_the_sweeps(dtype):
    given = pair(d=300, dtype=dtype)
    method = ms.ANIL(alpha=0.02, beta=0.02)
    gram, dual = (
        run(given, route, method=method, rounds=1000, dtype="float64") for route in ("gram", "dual")
    )
    moved = gram.B - given.B
    assert relative_error(moved, np.zeros_like(moved) + dual.B - given.B) < 1e-9
    assert abs(moved).max() > 1e-2 * abs(given.B).max()


MANY = {
    "many-tasks": {"d": 3001, "k": 5, "m_in": (4,) * 41, "m_out": (6,) * 41},
    "long-rows": {"d": 5003, "k": 9, "m_in": (31, 9), "m_out": (8, 40), "entries": 900},
    "blocks-of-rows": {"d": 700, "k": 3, "m_in": (300, 280), "m_out": (270, 5)},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", MANY)
def test_threads_do_not_change_a_bit(size, route, dtype):
    given = pair(**MANY[size], dtype=dtype)
    method = ms.MAML(alpha=1e-4, beta=1e-4, inner_steps=2)
    one, *others = (
        run(given, route, method=method, rounds=3, threads=threads, dtype=dtype, record="loss_out")
        for threads in (1, 2, 3, 7)
    )
    for other in others:
        assert_same_bits(other, one)
        np.testing.assert_array_equal(other.B, one.B)


def test_bits_of_a_large_output_do_not_depend_on_its_bands():
    """d is so large that the sums are cut into bands even on one thread."""
    given = pair(d=300_000, k=8, m_in=(2, 3), m_out=(3, 2), entries=90)
    one, other = (run(given, "gram", rounds=2, threads=threads) for threads in (1, 5))
    np.testing.assert_array_equal(one.B, other.B)
    dense = run(given, "gram", dense=True, rounds=2)
    assert relative_error(one.B, dense.B) < 1e-12


# Sizes of which B has many bands at every instruction-set level.
COPIED = {
    "by-rows": {"d": 300_000, "k": 8, "m_in": (2, 3), "m_out": (3, 2), "entries": 250},
    "padded": {"d": 220_000, "k": 10, "m_in": (2, 3), "m_out": (3, 2), "entries": 250},
    "by-terms": {"d": 220_000, "k": 9, "m_in": (45,), "m_out": (50,), "entries": 3000},
    "shared": {"d": 220_000, "k": 9, "m_in": (3, 4), "entries": 250, "shared": True},
    # One column more than the registers of a strip hold.
    "two-strips": {"d": 40_000, "k": 65, "m_in": (40, 40), "m_out": (40, 40), "entries": 600},
}
KINDS = {
    "one-term": ms.ANIL(alpha=1e-4, beta=1e-4, first_order=True),
    "two-terms": ms.ANIL(alpha=1e-4, beta=1e-4),
    "many-terms": ms.ANIL(alpha=1e-4, beta=1e-4, inner_steps=3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", COPIED)
def test_copies_by_bands_change_no_bit(size, kind, dtype, monkeypatch):
    given = pair(**COPIED[size], dtype=dtype)
    settings = {"method": KINDS[kind], "rounds": 3, "dtype": dtype, "record": "loss_out"}
    one, two = (run(given, "gram", threads=threads, **settings) for threads in (1, 2))
    assert takes_copies(one.config, "gram")
    monkeypatch.setattr(arrays_engine, "takes_copies", lambda config, route: False)
    without = run(given, "gram", threads=2, **settings)
    for other in (two, without):
        assert_same_bits(other, one)
        np.testing.assert_array_equal(other.B, one.B)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared", [False, True])
def test_bits_of_a_large_task_do_not_depend_on_how_it_is_shared(shared, dtype):
    """Threads share the rows and columns of a task whose entries exceed the second-level cache."""
    given = pair(9000, 2, (330,), (300,), entries=900, shared=shared, dtype=dtype)
    assert given.sparse.X_in[0].entries > 220_000
    method = ms.ANIL(alpha=1e-4, beta=1e-4, inner_steps=2)
    one, *others = (
        run(given, "vector", method=method, rounds=2, threads=threads, record="loss_out")
        for threads in (1, 2, 3, 7)
    )
    for other in others:
        assert_same_bits(other, one)
        np.testing.assert_array_equal(other.B, one.B)
    dense = run(given, "vector", dense=True, method=method, rounds=2)
    assert relative_error(one.B, dense.B) < 1e-11


def test_a_run_goes_on_from_its_checkpoint_on_the_vector_route(tmp_path):
    given, path = pair(), tmp_path / "run"
    run(given, "vector", rounds=7, checkpoint=path)
    resumed = run(given, "vector", rounds=15, checkpoint=path, threads=3)
    whole = run(given, "vector", rounds=15)
    assert_same_bits(resumed, whole)
    np.testing.assert_array_equal(resumed.B, whole.B)
