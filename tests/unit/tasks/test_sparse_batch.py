"""Batches of sparse data: views, checkpoints, choice of the route, and estimates."""

import os
import pickle

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from matching import assert_same_bits
from metaspan.cost import machine as cost
from metaspan.cost.routes import cheapest_sweep
from sparse_data import pair, run, sparse_sets

# Fixed rates, so that the choice of a route does not depend on the machine that runs the tests.
RATES = {
    "seconds_per_call": 3e-7,
    "flops_per_second": 3e10,
    "seconds_per_kernel": 1.6e-8,
    "read_1": 3e10,
    "read_all": 3e10,
    "cached_1": 6e10,
    "features_1": 5e10,
    "grams_1": 4e10,
    "seconds_per_task": 4e-7,
    "normals_1": 3e8,
}


@pytest.fixture
def known_machine(monkeypatch):
    monkeypatch.setattr(cost, "cost_model", lambda: RATES)


@pytest.fixture
def sets(rng):
    return sparse_sets(rng, (5, 9, 4), 40)


def test_entries_are_used_where_they_lie(sets):
    X, y = sets
    batch = ms.TaskBatch(X, y, X, y)
    for mine, given in zip(batch.X_in, X, strict=True):
        assert np.shares_memory(mine.columns, given.indices)
        assert np.shares_memory(mine.values, given.data)
        assert mine.shape == given.shape
    assert (batch.n, batch.d, batch.m_in, batch.dtype) == (3, 40, (5, 9, 4), np.float64)
    assert repr(batch) == "TaskBatch(n=3, m_in=4..9, m_out=4..9, d=40, dtype=float64, sparse)"


def test_split_gives_views(sets):
    X, y = sets
    batch = ms.TaskBatch.split(X, y, m_in=2)
    assert (batch.m_in, batch.m_out) == (2, (3, 7, 2))
    for part in (*batch.X_in, *batch.X_out):
        assert any(np.shares_memory(part.values, x.data) for x in X)
    B, w = np.random.default_rng(1).standard_normal((40, 3)), np.ones(3)
    apart = ms.TaskBatch(
        [x[:2] for x in X], [v[:2] for v in y], [x[2:] for x in X], [v[2:] for v in y]
    )
    views, copies = (ms.meta_gradient(B, w, b, "maml", alpha=0.1) for b in (batch, apart))
    np.testing.assert_array_equal(views.B, copies.B)
    np.testing.assert_array_equal(views.loss_out, copies.loss_out)


def test_split_of_a_split(sets):
    """Rows that begin anywhere."""
    X, y = sets
    rest = ms.TaskBatch.split(X, y, m_in=1)
    batch = ms.TaskBatch.split(rest.X_out, rest.y_out, m_in=1)
    expected = [x[1:2].toarray() @ np.arange(40.0)[:, None] for x in X]
    B = np.arange(40.0)[:, None].copy()
    heads = ms.adapt(B, [0.0], batch.X_in, batch.y_in, "anil", alpha=1e-4)
    for head, Z, v in zip(heads, expected, y, strict=True):
        np.testing.assert_allclose(head, 1e-4 * Z[0] * v[1], rtol=1e-12)


def test_one_set_for_both_loops_is_known_as_such(sets):
    X, y = sets
    assert ms.TaskBatch(X, y, X, y).shared
    copies = [x.copy() for x in X]
    assert not ms.TaskBatch(X, y, copies, y).shared
    assert not ms.TaskBatch.split(X, y, m_in=2).shared
    r = ms.train(ms.TaskBatch(X, y, X, y), "anil", width=2, rounds=1, shared_samples=True)
    assert r.config.shared_samples


def test_batches_pickle(sets):
    batch = ms.TaskBatch.split(*sets, m_in=2)
    back = pickle.loads(pickle.dumps(batch))
    assert back.summary() == batch.summary()


def test_fingerprints_tell_data_apart(sets):
    X, y = sets
    one = ms.TaskBatch.split(X, y, m_in=2).summary()
    assert ms.TaskBatch.split([x.copy() for x in X], y, m_in=2).summary() == one
    for change in ("data", "indices"):
        other = [x.copy() for x in X]
        if change == "data":
            other[1].data[0] += 1
        else:
            other[0].indices[0] = 0 if other[0].indices[0] else 1
            other[0].sum_duplicates()
        assert ms.TaskBatch.split(other, y, m_in=2).summary().fingerprint != one.fingerprint


@pytest.mark.parametrize("route", ["gram", "dual"])
def test_interrupted_run_goes_on(route, tmp_path):
    given, path = pair(), tmp_path / "run"
    options = {"n": 2, "trials": 2, "record": ("dist", "loss_out")}
    run(given, route, rounds=11, checkpoint=path, **options)
    resumed = run(given, route, rounds=30, checkpoint=path, **options)
    assert_same_bits(resumed, run(given, route, rounds=30, **options))
    resumed.save(tmp_path / "result")
    assert_same_bits(ms.load(tmp_path / "result"), resumed)


def test_checkpoint_of_other_data_is_refused(tmp_path):
    given, path = pair(), tmp_path / "run"
    run(given, "gram", rounds=3, checkpoint=path)
    with pytest.raises(ValueError, match="data"):
        run(given, "gram", dense=True, rounds=5, checkpoint=path)


@pytest.mark.usefixtures("known_machine")
@pytest.mark.parametrize(
    ("d", "m", "entries", "rounds", "route"),
    [(200, 400, 40, 1, "vector"), (20_000, 99, 5, 1, "gram"), (20_000, 3, 5, 10**6, "dual")],
)
def test_the_route_chosen_depends_on_the_entries(d, m, entries, rounds, route):
    """There are many entries for each number of B, few, and few over many rounds."""
    given = pair(d=d, k=8, m_in=(m,) * 4, m_out=(m,) * 4, entries=entries)
    method = ms.ANIL(alpha=0.01, beta=0.01)
    start = {"init": (given.B, given.w), "stop": None}
    assert ms.estimate(given.sparse, method, rounds=rounds, **start).route == route
    if rounds == 1:
        assert run(given, "auto", method=method, rounds=2).config.route == route
        assert cheapest_sweep(given.sparse, method, 8, losses=False) == route


def test_entries_count_in_what_is_expected(rng):
    """On one thread four times the entries take 1.3 to 5 times as long; dense arrays take more."""
    times = []
    for entries in (20, 80):
        X, y = sparse_sets(rng, (200,) * 30, 20_000, entries=entries)
        batch = ms.TaskBatch.split(X, y, m_in=100)
        found = ms.estimate(batch, "fo-anil", rounds=1, width=8, route="gram", threads=1)
        times.append(found.seconds_per_round)
    assert 1.3 < times[1] / times[0] < 5
    assert found.flops_per_round < 2 * 2 * 8 * 30 * 200 * 90


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_indices_in_a_truncated_file_are_refused(tmp_path, rng, part):
    """To read beyond the end of a file would end the process."""
    X = sparse.random(4000, 50, 0.2, format="csr", rng=rng)
    stored = np.memmap(tmp_path / part, np.int32, "w+", shape=getattr(X, part).shape)
    stored[:] = getattr(X, part)
    stored.flush()
    mapped = np.memmap(tmp_path / part, np.int32, "r")
    os.truncate(tmp_path / part, 100)
    parts = {name: getattr(X, name) for name in ("data", "indices", "indptr")} | {part: mapped}
    matrix = sparse.csr_matrix(X.shape)
    matrix.data, matrix.indices, matrix.indptr = parts["data"], parts["indices"], parts["indptr"]
    with pytest.raises(ValueError, match=rf"X_in\[0\].{part} must lie in a file of at least"):
        ms.TaskBatch([matrix], [np.zeros(4000)])
