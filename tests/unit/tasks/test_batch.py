"""Batches of data are views of the arrays that they are made of."""

import pickle

import numpy as np
import pytest

import metaspan as ms
from metaspan._load import core


def test_arrays_are_kept_as_they_are(rng):
    X, y = rng.standard_normal((4, 9, 6)), rng.standard_normal((4, 9))
    batch = ms.TaskBatch(X, y, X, y)
    assert batch.X_in is X
    assert batch.y_out is y
    assert (batch.n, batch.m_in, batch.m_out, batch.d, batch.dtype) == (4, 9, 9, 6, np.float64)


def test_split_gives_views(rng):
    X, y = rng.standard_normal((4, 9, 6)), rng.standard_normal((4, 9))
    batch = ms.TaskBatch.split(X, y, m_in=2)
    assert np.shares_memory(batch.X_in, X)
    assert np.shares_memory(batch.y_out, y)
    np.testing.assert_array_equal(np.concatenate([batch.X_in, batch.X_out], axis=1), X)
    np.testing.assert_array_equal(np.concatenate([batch.y_in, batch.y_out], axis=1), y)


def test_split_of_ragged_tasks(rng):
    X = [rng.standard_normal((m, 6)) for m in (3, 9, 5)]
    y = [rng.standard_normal(m) for m in (3, 9, 5)]
    batch = ms.TaskBatch.split(X, y, m_in=2)
    assert batch.m_in == 2
    assert batch.m_out == (1, 7, 3)
    assert all(np.shares_memory(part, whole) for part, whole in zip(batch.X_out, X, strict=True))
    assert repr(batch) == "TaskBatch(n=3, m_in=2, m_out=1..7, d=6, dtype=float64)"


def test_read_only_and_mapped_data_do(rng, tmp_path):
    np.save(tmp_path / "X.npy", rng.standard_normal((3, 8, 5)).astype(np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    y = np.ones((3, 8), np.float32)
    g = ms.meta_gradient(np.eye(5, 2), np.zeros(2), ms.TaskBatch.split(X, y, m_in=3), ms.MAML())
    assert np.isfinite(g.B).all()


def test_sample_is_keyed_by_its_numbers():
    tasks = ms.LinearTasks(d=20, k=3, noise=0.1)
    first, again = tasks.sample(4, 5, 6, seed=2), tasks.sample(4, 5, 6, seed=2, threads=1)
    np.testing.assert_array_equal(first.X_out, again.X_out)
    np.testing.assert_array_equal(first.y_in, again.y_in)
    for key in ({"seed": 3}, {"trial": 1}, {"round": 1}):
        other = tasks.sample(4, 5, 6, **{"seed": 2, **key})
        assert not np.intersect1d(first.X_in, other.X_in).size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sample_follows_the_model(dtype):
    tasks = ms.LinearTasks(d=20, k=3)
    batch = tasks.sample(4, 5, 6, dtype=dtype)
    np.testing.assert_array_equal(batch.heads, tasks.draw_heads(4))
    np.testing.assert_array_equal(batch.B_star, tasks.ground_truth())
    theta = batch.heads @ batch.B_star.T
    for X, y in ((batch.X_in, batch.y_in), (batch.X_out, batch.y_out)):
        assert X.dtype == y.dtype == dtype
        expected = np.einsum("nmd,nd->nm", X.astype(np.float64), theta)
        np.testing.assert_allclose(y, expected, rtol=10 * np.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sample_adds_the_parts_that_tasks_do_not_share(dtype):
    """theta from stream SPREAD, row 0 of each task, against y of both sets."""
    tasks = ms.LinearTasks(d=20, k=3, spread=1.5)
    batch = tasks.sample(4, 5, 6, seed=7, trial=2, round=9, dtype=dtype)
    normals = core.normals(7, 2, 9, core.STREAM_SPREAD, 4, 1, 20, "float64", 1)[:, 0]
    theta = batch.heads @ batch.B_star.T + 1.5 / np.sqrt(20) * normals
    for X, y in ((batch.X_in, batch.y_in), (batch.X_out, batch.y_out)):
        expected = np.einsum("nmd,nd->nm", X.astype(np.float64), theta)
        np.testing.assert_allclose(y, expected, rtol=10 * np.finfo(dtype).eps, atol=1e-6)
    plain = ms.LinearTasks(d=20, k=3).sample(4, 5, 6, seed=7, trial=2, round=9, dtype=dtype)
    np.testing.assert_array_equal(batch.X_in, plain.X_in)
    np.testing.assert_array_equal(batch.heads, plain.heads)


def test_shared_samples_are_one_array():
    batch = ms.LinearTasks(d=9, k=2).sample(3, 4, shared_samples=True)
    assert batch.X_out is batch.X_in
    assert batch.y_out is batch.y_in


def test_given_ground_truth_is_used_where_it_lies():
    B_star = np.eye(9, 2, dtype=np.float32)
    tasks = ms.LinearTasks(d=9, k=2, B_star=B_star)
    assert tasks.ground_truth(seed=5) is B_star
    assert tasks.sample(3, 4, 4).dtype == np.float32


def test_batches_pickle():
    batch = ms.LinearTasks(d=9, k=2).sample(3, 4, 5)
    copy = pickle.loads(pickle.dumps(batch))
    np.testing.assert_array_equal(copy.X_in, batch.X_in)
    assert repr(copy) == repr(batch)


def test_losses_may_be_left_out():
    tasks = ms.LinearTasks(d=9, k=2)
    batch, B = tasks.sample(3, 4, 5), np.eye(9, 2)
    plain = ms.meta_gradient(B, np.ones(2), batch, "maml")
    quick = ms.meta_gradient(B, np.ones(2), batch, "maml", losses=False)
    np.testing.assert_array_equal(quick.B, plain.B)
    assert plain.loss_out.shape == (3,)
    assert quick.loss_out is None


def test_a_ground_truth_without_columns_is_refused(rng):
    X, y = rng.standard_normal((4, 6, 7)), rng.standard_normal((4, 6))
    with pytest.raises(ValueError, match="the size of the heads must be at least 1; got 0"):
        ms.TaskBatch(X, y, heads=np.zeros((4, 0)))
    with pytest.raises(ValueError, match="the width of B_star must be at least 1; got 0"):
        ms.TaskBatch(X, y, B_star=np.zeros((7, 0)))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_empty_arrays_are_refused_for_their_size(shape):
    with pytest.raises(ValueError, match="must hold"):
        ms.TaskBatch(np.zeros(shape), np.zeros(shape[:2]))
