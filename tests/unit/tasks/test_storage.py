"""Every kind of storage implements the protocol of a task's arrays alike."""

import pickle

import h5py
import numpy as np
import pytest

import metaspan as ms
from metaspan._support.memory import Arena
from metaspan.tasks.arrays import check_sets, sets_of
from metaspan.tasks.on_disk import Reader, Stored
from metaspan.tasks.stacked import StackedRows

X, Y = np.arange(60.0).reshape(3, 5, 4), np.arange(15.0).reshape(3, 5)


class Dataset:
    """A substitute for a chunked array of another library."""

    chunks = (1, 5, 4)

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, part):
        return self.array[part].copy()


class Counted(Dataset):
    """A dataset that counts the numbers read from it."""

    count = 0

    def __getitem__(self, part):
        samples = super().__getitem__(part)
        self.count += samples.size
        return samples


class Csr:
    """A substitute for a SciPy matrix that stores every entry."""

    format, tocsr = "csr", None

    def __init__(self, array):
        self.shape, self.data = array.shape, array.ravel()
        self.indices = np.tile(np.arange(array.shape[1], dtype=np.int32), len(array))
        self.indptr = np.arange(len(array) + 1) * array.shape[1]


GIVEN = {
    "stack": X,
    "ragged": list(X),
    "dataset": Dataset(X),
    "mixed": [X[0], Dataset(X[1]), X[2]],
    "sparse": [Csr(x) for x in X],
}


def features(name):
    return check_sets(("X", GIVEN[name]), ("y", Y), None, True).X


@pytest.mark.parametrize("name", GIVEN)
def test_every_kind_answers_alike(name):
    kind = features(name)
    assert (kind.n, kind.d, kind.dtype) == (3, 4, np.float64)
    assert kind.lengths() == [5, 5, 5]
    part = kind.samples(slice(2, None))
    assert part.lengths() == [3, 3, 3]
    assert kind.is_same(kind.samples(slice(None)))
    assert not kind.is_same(part)
    assert kind.is_sparse == (name == "sparse")
    assert kind.on_disk == (name in ("dataset", "mixed"))
    assert len(kind.as_passed) == 3
    # What a batch holds is told apart again as it was at first.
    assert type(sets_of(kind.as_passed, Y).X) is type(kind)


@pytest.mark.parametrize("name", [name for name in GIVEN if name != "sparse"])
def test_columns_of_some_tasks_are_read_alike(name):
    part = features(name).samples(slice(1, 4))
    found = part.read_tasks([0, 1, 2], slice(1, 3), Arena())
    np.testing.assert_array_equal(found, X[:, 1:4, 1:3])


@pytest.mark.parametrize("first", GIVEN)
@pytest.mark.parametrize("second", GIVEN)
def test_only_one_memory_is_the_same(first, second):
    alike = first == second or {first, second} == {"stack", "ragged"}
    assert features(first).is_same(features(second)) == alike


def test_one_dataset_for_both_loops_is_the_same(tmp_path, rng):
    with h5py.File(tmp_path / "X.h5", "w") as file:
        X = file.create_dataset("X", data=rng.standard_normal((3, 4, 7)))
        y = file.create_dataset("y", data=rng.standard_normal((3, 4)))
        assert ms.TaskBatch(X, y).shared


def test_a_reader_takes_over_the_memory_of_one_that_has_ended(tmp_path):
    with h5py.File(tmp_path / "X.h5", "w") as file:
        file["X"] = X
        samples = check_sets(("X", file["X"]), ("y", Y), None, False).X
        request = ([0, 1], 0, 4)
        readers = [Reader(samples.samples(slice(1, 4))), Reader(samples)]
        blocks = [reader.read(request, None)[0] for reader in readers]
        assert not np.shares_memory(blocks[0][0], blocks[1][0])
        np.testing.assert_array_equal(blocks[0], X[:2, 1:4])
        readers.clear()
        block = Reader(samples).read(request, None)[0]
        assert any(np.shares_memory(block[0], before[0]) for before in blocks)
        np.testing.assert_array_equal(block, X[:2])


@pytest.mark.parametrize("call", ["meta_gradient", "adapt"])
def test_a_single_round_reads_every_number_once(call):
    dataset, B, w = Counted(X), np.eye(4, 2), np.ones(2)
    if call == "adapt":
        ms.adapt(B, w, dataset, Y, "anil", alpha=0.1)
    else:
        batch = ms.TaskBatch.split(dataset, Y, 2, check_finite=False)
        ms.meta_gradient(B, w, batch, "anil", alpha=0.1)
    assert dataset.count == X.size


def test_a_reader_for_one_round_stops_after_its_last_block():
    dataset = Counted(X)
    samples = check_sets(("X", dataset), ("y", Y), None, False).X
    blocks = [([0, 1], 0, 4), ([2], 0, 4)]
    reader = Reader(samples, one_round=True)
    for now, after in zip(blocks, [blocks[1], blocks[0]], strict=True):
        part = reader.read(now, after)[0]
        np.testing.assert_array_equal(part, X[now[0]])
    assert reader._ahead is None
    assert dataset.count == X.size


def test_memory_for_reading_is_not_copied():
    arena = Arena()
    arena.begin(1000)
    assert len(pickle.dumps(arena)) < 100


def test_columns_of_a_dataset_are_read_as_those_of_an_array(tmp_path):
    X = np.arange(3 * 5 * 12, dtype=np.float64).reshape(3, 5, 12)
    arena = Arena()
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        file["X"], file["rows"] = X, X.reshape(-1, 12)
        whole = Stored("X", file["X"])
        narrow = whole.columns(slice(4, 10)).columns(slice(1, 5))
        assert narrow.d == 4
        assert narrow.shape == (3, 5, 4)
        assert not narrow.is_same(whole)
        assert narrow.is_same(whole.columns(slice(5, 9)))
        for part in (narrow, narrow.samples(slice(1, 4)), narrow.take([2, 0])):
            expected = X[list(part.chosen or range(3)), part.source_rows, 5:9]
            arena.begin(X.nbytes)
            read = part.read_tasks(list(range(part.n)), slice(1, 3), arena)
            np.testing.assert_array_equal(read, expected[:, :, 1:3])
        np.testing.assert_array_equal(next(narrow.sample(2, 1)), X[0, :, 5:9][:, 1::2])
        rows = StackedRows(Stored("X", file["rows"]), np.array([0, 5]), np.array([5, 10]))
        arena.begin(X.nbytes)
        first, second = rows.columns(slice(5, 9)).read_tasks([0, 1], slice(0, 4), arena)
        np.testing.assert_array_equal([first, second], X[:2, :, 5:9])
