"""Splits of tasks and of samples, and tasks stacked in one file: views with the same numbers."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse

import metaspan as ms
from metaspan.tasks.stacked import StackedRows

N, M, D = 9, 8, 13
OFFSETS = np.array([0, 4, 9, 13, 20, 26])
B, W = np.random.default_rng(1).standard_normal((D, 2)), np.array([0.5, -0.2])


@pytest.fixture
def stack(rng):
    return rng.standard_normal((N, M, D)), rng.standard_normal((N, M))


@pytest.fixture
def rows(rng):
    return rng.standard_normal((30, D)), rng.standard_normal(30)


def as_array(X, _):
    return X


def as_npy(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def as_hdf5(X, folder):
    return h5py.File(folder / "X.h5", "w").create_dataset("X", data=X)


def as_zarr(X, folder):
    array = zarr.create_array(
        store=folder / "X.zarr", shape=X.shape, chunks=(4, *X.shape[1:]), dtype=X.dtype
    )
    array[:] = X
    return array


def as_csr(X, _):
    return sparse.csr_matrix(X)


def gradient(batch):
    return ms.meta_gradient(B.astype(batch.dtype), W, batch, "maml", alpha=0.05, route="gram").B


def assert_same_tasks(batch, X, y, X_out=None, y_out=None):
    """A batch gives, bit for bit, what a batch of copies of the same numbers gives."""
    others = [X, y] if X_out is None else [X, y, X_out, y_out]
    np.testing.assert_array_equal(gradient(batch), gradient(ms.TaskBatch(*others)))


@pytest.mark.parametrize("store", [as_array, as_npy, as_hdf5, as_zarr])
@pytest.mark.parametrize("tasks", [[2], [0, 5, 7], [1, 3, 5, 7], [3, 4, 5]])
def test_held_out_tasks_are_those_tasks(store, tasks, stack, tmp_path):
    X, y = stack
    batch = ms.TaskBatch.split(store(X, tmp_path), y, 3)
    train, held_out = batch.hold_out(tasks=tasks)
    rest = [i for i in range(N) if i not in tasks]
    for part, chosen in ((train, rest), (held_out, tasks)):
        assert part.n == len(chosen)
        assert part.on_disk == batch.on_disk
        assert_same_tasks(part, *ms_split(X[chosen], y[chosen], 3))


def ms_split(X, y, m):
    return X[:, :m], y[:, :m], X[:, m:], y[:, m:]


def test_views_are_not_copies(stack):
    X, y = stack
    batch = ms.TaskBatch(X, y)
    for part in (*batch.hold_out(tasks=[0, 4, 5]), *batch.hold_out(tasks=3)):
        assert part.shared
        assert all(np.shares_memory(task, X) for task in part.X_in)
        assert all(np.shares_memory(task, y) for task in part.y_in)
    for part in batch.hold_out(samples=3):
        assert np.shares_memory(part.X_in, X)


@pytest.mark.parametrize("store", [as_array, as_npy, as_hdf5, as_zarr])
def test_held_out_samples_are_the_last_ones(store, stack, tmp_path):
    X, y = stack
    batch = ms.TaskBatch(store(X, tmp_path), y)
    train, held_out = batch.hold_out(samples=3)
    assert train.shared
    assert_same_tasks(train, X[:, :-3], y[:, :-3])
    assert_same_tasks(held_out, X[:, -3:], y[:, -3:])
    both = ms.TaskBatch.split(batch.X_in, y, 4).hold_out(samples=0.25)
    assert [part.m_in for part in both] == [3, 1]
    assert_same_tasks(both[1], X[:, 3:4], y[:, 3:4], X[:, 7:], y[:, 7:])


def test_a_fraction_of_ragged_samples(rows):
    X, y = rows
    batch = ms.TaskBatch.stacked(X, y, OFFSETS)
    train, held_out = batch.hold_out(samples=0.5)
    assert held_out.m_in == (2, 2, 2, 4, 3)
    assert train.m_in == (2, 3, 2, 3, 3)
    np.testing.assert_array_equal(held_out.X_in[3], X[16:20])


def test_sparse_tasks_are_held_out(rows):
    X, y = rows
    batch = ms.TaskBatch.stacked(as_csr(X, None), y, OFFSETS, m_in=2)
    dense = ms.TaskBatch.stacked(X, y, OFFSETS, m_in=2)
    for part, other in zip(batch.hold_out(tasks=[1, 3]), dense.hold_out(tasks=[1, 3]), strict=True):
        assert part.is_sparse
        np.testing.assert_allclose(gradient(part), gradient(other), rtol=1e-12)
    for part, other in zip(batch.hold_out(samples=1), dense.hold_out(samples=1), strict=True):
        assert (part.m_in, part.m_out) == (other.m_in, other.m_out)
        np.testing.assert_allclose(gradient(part), gradient(other), rtol=1e-12)


def test_choice_of_tasks_is_seeded(stack):
    X, y = stack
    batch = ms.TaskBatch(X, y, heads=np.arange(N)[:, None])

    def held(seed, tasks=4):
        return batch.hold_out(tasks=tasks, seed=seed)[1].heads[:, 0].astype(int).tolist()

    assert held(3) == held(3) == sorted(held(3))
    assert len({tuple(held(seed)) for seed in range(20)}) > 10
    assert {i for seed in range(40) for i in held(seed)} == set(range(N))
    assert held(3, 0.4444) == held(3)
    train, held_out = batch.hold_out(tasks=2)
    assert sorted([*train.heads[:, 0], *held_out.heads[:, 0]]) == list(range(N))


def test_splits_keep_what_belongs_to_the_tasks(stack):
    X, y = stack
    weights = np.arange(1.0, N + 1)
    truth = np.eye(D, 1)
    batch = ms.TaskBatch(X, y, B_star=truth, heads=np.arange(N)[:, None], weights=weights)
    for part in batch.hold_out(tasks=[1, 6]):
        index = part.heads[:, 0].astype(int)
        np.testing.assert_allclose(part.weights, weights[index] / weights[index].mean())
        assert part.B_star is truth
    for part in batch.hold_out(samples=2):
        np.testing.assert_allclose(part.weights, weights / weights.mean())
        np.testing.assert_array_equal(part.heads, batch.heads)


def test_tasks_may_be_taken_again(stack, tmp_path):
    X, y = stack
    for store in (as_array, as_hdf5):
        batch = ms.TaskBatch(store(X, tmp_path), y).take([7, 2, 2, 5]).take([3, 0, 1])
        assert_same_tasks(batch, X[[5, 7, 2]], y[[5, 7, 2]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("store", [as_array, as_npy, as_hdf5, as_zarr])
@pytest.mark.parametrize("m_in", [None, 1, 2])
def test_stacked_tasks_are_ranges_of_rows(store, dtype, m_in, rows, tmp_path):
    X, y = (array.astype(dtype) for array in rows)
    batch = ms.TaskBatch.stacked(store(X, tmp_path), y, OFFSETS, m_in)
    parts = [slice(a, b) for a, b in pairwise(OFFSETS)]
    tasks_X, tasks_y = [X[part] for part in parts], [y[part] for part in parts]
    if m_in is None:
        assert batch.shared
        assert_same_tasks(batch, tasks_X, tasks_y)
    else:
        inner = [a[:m_in] for a in tasks_X], [a[:m_in] for a in tasks_y]
        outer = [a[m_in:] for a in tasks_X], [a[m_in:] for a in tasks_y]
        assert_same_tasks(batch, *inner, *outer)
    assert batch.on_disk == (store is not as_array)
    assert (batch.n, batch.d) == (5, D)


@pytest.mark.parametrize("store", [as_hdf5, as_zarr])
def test_stacked_tasks_on_disk_train_and_are_held_out(store, rows, tmp_path):
    X, y = rows
    source = store(X, tmp_path)
    options = {"rounds": 4, "width": 2, "init": (B, W), "alpha": 0.05, "beta": 0.05}
    for pick in (
        lambda batch: batch,
        lambda batch: batch.hold_out(tasks=[1, 2])[0],
        lambda batch: batch.hold_out(tasks=[1, 2])[1],
        lambda batch: batch.hold_out(samples=1)[0],
    ):
        stored, plain = (
            pick(ms.TaskBatch.stacked(data, y, OFFSETS, m_in=2)) for data in (source, X)
        )
        assert isinstance(stored.X_in, StackedRows)
        for route in ("gram", "vector", "dual"):
            for n in (None, 1):
                first, other = (
                    ms.train(batch, "maml", route=route, n=n, **options)
                    for batch in (stored, plain)
                )
                np.testing.assert_array_equal(first.B, other.B)
        assert stored.summary().fingerprint == plain.summary().fingerprint


class Counting:
    """A dataset of two axes that counts its reads and the rows that are read."""

    chunks = None

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, X.shape, X.dtype
        self.reads, self.rows = 0, 0

    def __getitem__(self, part):
        numbers = self._X[part]
        self.reads, self.rows = self.reads + 1, self.rows + len(numbers)
        return numbers


def test_adjacent_tasks_are_read_together_and_once(rows):
    X, y = rows
    source = Counting(X)
    batch = ms.TaskBatch.stacked(source, y, OFFSETS, m_in=2, check_finite=False)
    gradient(batch)
    assert (source.reads, source.rows) == (1, 26)


def test_stacked_memory_is_that_of_two_blocks(monkeypatch, rows):
    X, y = rows
    monkeypatch.setattr("metaspan.tasks.stacked.BLOCK_BYTES", 0)
    batch = ms.TaskBatch.stacked(Counting(X), y, OFFSETS)
    assert batch._inner.X.reading_bytes(1) == 2 * 7 * D * 8  # the largest task has 7 rows


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stacked_numbers_are_checked(value, rows, tmp_path):
    X, y = rows
    X[21, 3] = value
    for store in (as_array, as_hdf5, as_csr):
        with pytest.raises(ValueError, match=r"X.* must be finite"):
            ms.TaskBatch.stacked(store(X, tmp_path), y, OFFSETS)
    X[21, 3], X[29, 0] = 0, value  # a row of no task
    ms.TaskBatch.stacked(as_zarr(X, tmp_path), y, OFFSETS)


BAD_SPLITS = {
    "neither": ({}, TypeError, "hold_out needs one of tasks and samples; got neither"),
    "both": ({"tasks": 1, "samples": 1}, TypeError, "one of tasks and samples; got both"),
    "all": ({"tasks": N}, ValueError, f"tasks must leave at least one of {N}; got {N}"),
    "none": ({"tasks": 0}, ValueError, "tasks must be at least 1; got 0"),
    "fraction": ({"tasks": 1.5}, ValueError, "tasks must be a fraction between 0 and 1; got 1.5"),
    "flag": ({"tasks": True}, TypeError, "tasks must be a number, a fraction or indices; got True"),
    "word": ({"tasks": "x"}, TypeError, "tasks must hold integer indices; got 'x'"),
    "range": ({"tasks": [0, N]}, ValueError, "distinct indices from 0 to 8"),
    "twice": ({"tasks": [1, 1]}, ValueError, "distinct indices from 0 to 8"),
    "every": ({"tasks": range(N)}, ValueError, "1 to 8 of the 9 tasks; got 9"),
    "samples": ({"samples": M}, ValueError, f"samples must leave at least one of {M}; got {M}"),
    "seed": ({"tasks": 1, "seed": -1}, ValueError, "seed must be at least 0; got -1"),
}


@pytest.mark.parametrize("case", BAD_SPLITS)
def test_bad_splits_raise_one_sentence(case, stack):
    call, kind, words = BAD_SPLITS[case]
    with pytest.raises(kind, match=words):
        ms.TaskBatch(*stack).hold_out(**call)


BAD_STACKS = {
    "axes": (lambda X, y: (X[None], y, OFFSETS), ValueError, r"X must have shape \(rows, d\)"),
    "beyond": (lambda X, y: (X, y, [0, 31]), ValueError, "at most 30, the rows of X"),
    "empty": (lambda X, y: (X, y, [0, 4, 4]), ValueError, "at least 1 a task"),
    "floats": (lambda X, y: (X, y, [0.0, 4.0]), TypeError, "vector of at least two integers"),
    "short": (lambda X, y: (X, y[:-1], OFFSETS), ValueError, r"y must have shape \(30,\)"),
    "dtype": (lambda X, y: (X, y.astype(np.float32), OFFSETS), TypeError, "must be float64"),
    "m_in": (lambda X, y: (X, y, OFFSETS, 4), ValueError, "m_in must be less than the 4 samples"),
}


@pytest.mark.parametrize("case", BAD_STACKS)
def test_bad_stacks_raise_one_sentence(case, rows):
    make, kind, words = BAD_STACKS[case]
    with pytest.raises(kind, match=words):
        ms.TaskBatch.stacked(*make(*rows))


@pytest.mark.parametrize("tasks", [[], [9], [-1], [0.5]])
def test_bad_indices_raise_one_sentence(tasks, stack):
    with pytest.raises((TypeError, ValueError), match="tasks must be"):
        ms.TaskBatch(*stack).take(tasks)
