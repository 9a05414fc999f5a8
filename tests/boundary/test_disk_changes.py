"""A dataset that was closed, resized or truncated while in use raises one sentence naming it."""

import os

import h5py
import numpy as np
import pytest
import zarr

import metaspan as ms
from matching import assert_one_sentence
from metaspan.tasks import on_disk as stored
from metaspan.tasks.in_memory import Dense

SHAPE = N, M, D = 4, 10, 30
X = np.random.default_rng(3).standard_normal(SHAPE)
Y, B, W = np.ones((N, M)), np.eye(D, 2), np.ones(2)


def as_hdf5(folder, mode="a"):
    """A dataset of a file that holds features and responses."""
    with h5py.File(folder / "data.h5", "w") as file:
        file.create_dataset("X", data=X, maxshape=(None, None, None))
        file["y"] = Y
    return h5py.File(folder / "data.h5", mode)["X"]


def as_zarr(folder):
    array = zarr.create_array(
        store=folder / "X.zarr", shape=SHAPE, chunks=(2, 5, 10), dtype=X.dtype
    )
    array[:] = X
    return array


def uses(batch):
    """What reads the features of a batch."""
    yield lambda: ms.meta_gradient(B, W, batch, "anil")
    yield lambda: ms.train(batch, "anil", rounds=3, init=(B, W), route="gram")
    yield lambda: ms.train(batch, "anil", rounds=3, init=(B, W), route="dual")
    yield lambda: ms.adapt(B, W, batch.X_in, batch.y_in, "anil")
    yield batch.summary


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_file_that_was_closed(mode, tmp_path):
    X = as_hdf5(tmp_path, mode)
    batches = ms.TaskBatch.split(X, Y, 3), ms.TaskBatch(X, Y, X[:], Y)
    X.file.close()
    assert batches[0].d == D
    assert "n=4, m_in=3, m_out=7" in repr(batches[0])
    for name, batch in zip(("X", "X_in"), batches, strict=True):
        for call in uses(batch):
            assert_one_sentence(call, ValueError, [f"{name} must stay open", "is closed"])


def test_a_file_that_was_closed_before(tmp_path):
    X = as_hdf5(tmp_path)
    y = X.file["y"]
    X.file.close()
    for name, call in {
        "X": lambda: ms.TaskBatch.split(X, Y, 3),
        "X[0]": lambda: ms.TaskBatch.split([X], [Y], 3),
        "y": lambda: ms.TaskBatch.split(np.ones(SHAPE), y, 3),
        "y_out": lambda: ms.TaskBatch(np.ones(SHAPE), Y, np.ones(SHAPE), y),
    }.items():
        assert_one_sentence(call, ValueError, [f"{name} must be a dataset", "it is closed"])


@pytest.mark.parametrize(
    "size", [(2, M, D), (9, M, D), (N, 4, D), (N, 20, D), (N, M, 10), (N, M, 99)], ids=str
)
@pytest.mark.parametrize("store", [as_hdf5, as_zarr])
def test_a_dataset_that_was_resized(store, size, tmp_path):
    source = store(tmp_path)
    batch = ms.TaskBatch.split(source, Y, 3)
    source.resize(size)
    assert (batch.n, batch.d, batch.m_out) == (N, D, 7)
    for call in uses(batch):
        assert_one_sentence(
            call, ValueError, ["X must keep its shape", f"had shape {SHAPE} and has {size} now"]
        )


class Growing:
    """A dataset that another shape comes over after some reads, and that is clipped as slices."""

    dtype, chunks = X.dtype, None

    def __init__(self, reads, shape):
        self.left, self.array, self.after = reads, X, shape

    @property
    def shape(self):
        return self.array.shape

    def __getitem__(self, part):
        self.left -= 1
        if self.left < 0:
            self.array = np.resize(X, self.after)
        return self.array[part]


@pytest.mark.parametrize("size", [(2, M, D), (N, 4, D), (N, M, 10), (9, M, D)], ids=str)
@pytest.mark.parametrize("route", ["gram", "vector"])
def test_a_dataset_that_is_resized_during_a_run(route, size):
    batch = ms.TaskBatch.split(Growing(5, size), Y, 3, check_finite=False)
    with pytest.raises(ValueError, match=r"X must keep its shape.*has \(.*\) now"):
        ms.train(batch, "anil", rounds=50, init=(B, W), route=route, stop=None)


class Failing(Growing):
    def __getitem__(self, part):
        raise KeyError("chunk 3")


def test_what_a_library_says_is_told_with_the_argument():
    batch = ms.TaskBatch.split(Failing(0, SHAPE), Y, 3, check_finite=False)
    for call in uses(batch):
        assert_one_sentence(call, OSError, ["X cannot be read: 'chunk 3'"])


def truncated(folder, name, array, keep):
    """Yield a memory-mapped array, and a function that shortens its file."""
    path = folder / f"{name}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r"), lambda: os.truncate(path, keep)


@pytest.mark.parametrize("keep", [0, 64, 4096])
def test_a_mapped_file_that_was_truncated(keep, tmp_path):
    mapped, cut = truncated(tmp_path, "X", X, keep)
    batch, tasks = ms.TaskBatch.split(mapped, Y, 3), ms.TaskBatch(list(mapped), list(Y), X, Y)
    reader = stored.Reader(Dense(mapped, stacked=True))
    cut()
    words = ["must lie in a file of at least", f"its file has {keep} now"]
    for call in [*uses(batch), *uses(tasks), lambda: reader.read(([0], 0, D), None)]:
        assert_one_sentence(call, ValueError, ["X", *words])
    assert_one_sentence(lambda: ms.TaskBatch.split(mapped, Y, 3), ValueError, ["X", *words])
    assert_one_sentence(lambda: ms.TaskBatch.split(mapped[1:], Y[1:], 3), ValueError, ["X", *words])


def test_other_mapped_arrays_that_were_truncated(tmp_path):
    mapped, cut = truncated(tmp_path, "B", B, 64)
    responses, cut_responses = truncated(tmp_path, "y", Y, 64)
    batch = ms.TaskBatch.split(X, responses, 3)
    cut()
    cut_responses()
    for name, call in {
        "B": lambda: ms.subspace_distance(mapped, B),
        "B_star": lambda: ms.LinearTasks(d=D, k=2, B_star=mapped),
        "y_in": lambda: ms.meta_gradient(B, W, batch, "anil"),
        "y": lambda: ms.TaskBatch.split(X, responses, 3),
    }.items():
        assert_one_sentence(call, ValueError, [f"{name} must lie in a file of at least"])
    assert_one_sentence(batch.summary, ValueError, ["y_in must lie in a file of at least"])


def test_a_mapped_file_that_has_grown_is_as_before(tmp_path):
    mapped, _ = truncated(tmp_path, "X", X, None)
    with (tmp_path / "X.npy").open("ab") as file:
        file.write(b"more")
    # Stored features cost more to read, so the route that is chosen for them may be another one.
    grown, expected = (
        ms.meta_gradient(B, W, ms.TaskBatch.split(each, Y, 3), "anil", route="gram").B
        for each in (mapped, X)
    )
    np.testing.assert_array_equal(grown, expected)
