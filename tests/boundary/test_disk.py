"""Features on disk give the results of arrays in memory, and take the memory of a few blocks."""

import json
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
import zarr

import metaspan as ms
from control_groups import control_group
from metaspan.tasks import on_disk as stored

N, M, D, WIDTH = 10, 30, 700, 3
METHODS = {
    "anil": ms.ANIL(alpha=0.1, beta=0.05),
    "fo-maml": ms.MAML(alpha=0.05, beta=0.05, first_order=True),
    "maml": ms.MAML(alpha=0.01, beta=0.02, inner_steps=2),
    "average-risk": ms.AverageRisk(beta=0.05),
}


def draw(dtype, shape=(N, M, D)):
    rng = np.random.default_rng(3)
    X = rng.standard_normal(shape).astype(dtype)
    return X, rng.standard_normal(shape[:2]).astype(dtype)


def as_npy(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def as_tasks(X, folder):
    """A memory-mapped file for every task."""
    for i, task in enumerate(X):
        np.save(folder / f"{i}.npy", task)
    return [np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(len(X))]


def as_hdf5(X, folder):
    return h5py.File(folder / "X.h5", "w").create_dataset("X", data=X)


def as_chunks(X, folder):
    file = h5py.File(folder / "chunks.h5", "w")
    return file.create_dataset("X", data=X, chunks=(1, 7, 100), compression="gzip")


def as_zarr(X, folder):
    array = zarr.create_array(
        store=folder / "X.zarr", shape=X.shape, chunks=(3, 20, 250), dtype=X.dtype
    )
    array[:] = X
    return array


STORES = [as_npy, as_tasks, as_hdf5, as_chunks, as_zarr]


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks so small that the check for finite values reads a task at a time."""
    monkeypatch.setattr(stored, "BLOCK_BYTES", 1)


def batches(X, source, y):
    """Split, one set for both loops, and two sets: (in memory, on disk)."""
    yield ms.TaskBatch.split(X, y, 12), ms.TaskBatch.split(source, y, 12)
    yield ms.TaskBatch(X, y, X, y), ms.TaskBatch(source, y, source, y)
    yield ms.TaskBatch(X, y, X[:, :5], y[:, :5]), ms.TaskBatch(source, y, X[:, :5], y[:, :5])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("store", STORES)
def test_gradients_are_those_of_arrays_in_memory(store, dtype, name, tmp_path, small_blocks):
    X, y = draw(dtype)
    B = np.linalg.qr(np.random.default_rng(0).standard_normal((D, WIDTH)))[0].astype(dtype)
    for given, other in batches(X, store(X, tmp_path), y):
        assert other.on_disk
        assert given.shared == other.shared
        for route in ("gram", "vector"):
            a, b = (
                ms.meta_gradient(B, np.ones(WIDTH), batch, METHODS[name], route=route)
                for batch in (given, other)
            )
            for field in ("B", "w", "heads", "loss_in", "loss_adapted", "loss_out"):
                np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize("n", [None, 4])
@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("store", STORES)
def test_runs_are_those_on_arrays_in_memory(store, route, n, tmp_path):
    X, y = draw(np.float64)
    B_star = np.linalg.qr(np.random.default_rng(1).standard_normal((D, 2)))[0]
    options = {
        "rounds": 5,
        "width": WIDTH,
        "n": n,
        "route": route,
        "trials": 2,
        "record": ("dist", "loss_out"),
        "stop": None,
    }
    source = store(X, tmp_path)
    runs = [
        ms.train(ms.TaskBatch.split(data, y, 12, B_star), METHODS["maml"], **options)
        for data in (X, source)
    ]
    np.testing.assert_array_equal(runs[0].B, runs[1].B)
    for record in ("dist", "loss_out"):
        np.testing.assert_array_equal(runs[0].trace[record], runs[1].trace[record])


@pytest.mark.parametrize("store", STORES)
def test_adaptation_is_that_on_arrays_in_memory(store, tmp_path):
    X, y = draw(np.float64)
    B, w, source = np.eye(D, WIDTH), np.ones(WIDTH), store(X, tmp_path)
    method = METHODS["maml"]
    heads, moved = ms.adapt(B, w, X, y, method, return_B=True)
    from_disk = ms.adapt(B, w, source, y, method, return_B=True)
    np.testing.assert_array_equal(heads, from_disk[0])
    np.testing.assert_array_equal(moved, from_disk[1])


@pytest.mark.parametrize(("as_store", "dtype"), [(as_npy, np.float32), (as_hdf5, np.float64)])
def test_bits_do_not_depend_on_blocks(as_store, dtype, tmp_path):
    """X fills more than one block; it is a sum of three waves, which is fast to compute."""
    n, m, d = 3, 20, 1.4 * stored.BLOCK_BYTES // (3 * 20) // np.dtype(dtype).itemsize
    waves = np.sin(np.arange(int(d)) * np.arange(1, 4)[:, None]).astype(dtype)
    X = np.cos(np.arange(n * m * 3)).reshape(n, m, 3).astype(dtype) @ waves
    y = np.cos(np.arange(n * m)).reshape(n, m).astype(dtype)
    assert X.nbytes > 1.3 * stored.BLOCK_BYTES
    B, w, source = (waves.T / d).copy(), np.ones(3), as_store(X, tmp_path)
    for method in (METHODS["anil"], METHODS["maml"]):
        for route in ("gram", "vector"):
            a, b = (
                ms.meta_gradient(
                    B, w, ms.TaskBatch.split(data, y, 15, check_finite=False), method, route=route
                )
                for data in (X, source)
            )
            np.testing.assert_array_equal(a.B, b.B)
            np.testing.assert_array_equal(a.loss_out, b.loss_out)
    options = {"rounds": 2, "width": 3, "route": "dual", "init": (B, w), "record": "loss_out"}
    a, b = (
        ms.train(ms.TaskBatch.split(data, y, 15, check_finite=False), "anil", **options)
        for data in (X, source)
    )
    np.testing.assert_array_equal(a.B, b.B)


def test_a_checkpoint_goes_on_from_the_disk(tmp_path):
    X, y = draw(np.float64)
    source = as_hdf5(X, tmp_path)
    options = {"width": WIDTH, "stop": None, "route": "gram"}
    kept = {**options, "checkpoint": tmp_path / "run"}
    batch = ms.TaskBatch.split(source, y, 12)
    ms.train(batch, "anil", rounds=3, **kept)
    r = ms.train(batch, "anil", rounds=6, **kept)
    whole = ms.train(ms.TaskBatch.split(X, y, 12), "anil", rounds=6, **options)
    np.testing.assert_array_equal(r.B, whole.B)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        other = file.create_dataset("X", data=X + 1)
        with pytest.raises(ValueError, match="fingerprint"):
            ms.train(ms.TaskBatch.split(other, y, 12), "anil", rounds=9, **kept)


@pytest.mark.parametrize("store", STORES)
def test_what_is_not_finite_is_found(store, tmp_path, small_blocks):
    X, y = draw(np.float64)
    X[7, 3, 5] = np.nan
    source = store(X, tmp_path)
    with pytest.raises(ValueError, match=r"X(\[7\])? must be finite"):
        ms.TaskBatch.split(source, y, 12)
    ms.TaskBatch.split(source, y, 12, check_finite=False)


def test_responses_of_datasets_are_read(tmp_path):
    X, y = draw(np.float64)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"], file["y"] = X, y
        batch = ms.TaskBatch.split(file["X"], file["y"], 12)
        np.testing.assert_array_equal(batch.y_in, y[:, :12])
        ragged = [file["X"], file["y"]]
        with pytest.raises(ValueError, match="shape"):
            ms.TaskBatch(ragged, ragged, ragged, ragged)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.zeros((2, 3, 4), np.int32), TypeError, "float32 or float64; got int32"),
        (np.zeros((2, 3, 4), ">f8"), TypeError, "float32 or float64; got >f8"),
        (np.zeros((2, 3)), ValueError, r"shape \(n, m, d\).*got \(2, 3\)"),
        (np.zeros((2, 0, 4)), ValueError, r"none of them 0; got \(2, 0, 4\)"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(data, error, words, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = data
        with pytest.raises(error, match=f"X must .*{words}"):
            ms.TaskBatch.split(file["X"], np.zeros((2, 3)), 1)


def test_sides_of_two_dtypes_are_refused(tmp_path):
    X, y = draw(np.float64)
    source = as_hdf5(X, tmp_path)
    low = as_zarr(X.astype(np.float32), tmp_path)
    with pytest.raises(TypeError, match="X_out must be float64; got float32"):
        ms.TaskBatch(source, y, low, y.astype(np.float32))


class Failing:
    """A dataset whose last tasks cannot be read."""

    shape, dtype, chunks = (N, M, D), np.dtype("float64"), None

    def __getitem__(self, part):
        tasks = range(N)[part[0]]
        if max(tasks) > N - 3:
            raise OSError("the disk is gone")
        return np.ones((len(tasks), M, D))[:, part[1], part[2]]


def test_an_error_of_the_disk_is_told():
    batch = ms.TaskBatch.split(Failing(), np.ones((N, M)), 12, check_finite=False)
    with pytest.raises(OSError, match="the disk is gone"):
        ms.meta_gradient(np.eye(D, 2), np.ones(2), batch, "anil")
    with pytest.raises(OSError, match="the disk is gone"):
        ms.train(batch, "anil", rounds=3, width=2)


LIMITED = textwrap.dedent("""\
    import json, os, resource, sys
    from pathlib import Path

    import numpy as np

    import metaspan as ms

    def memory(name):
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.split(name + ":")[1].split()[0])

    path, kind, route, group = sys.argv[1:]
    n, m, d = 12, 16, 2**19  # 768 MiB, nearly all of it a hole in the file
    if kind == "npy":
        X = np.lib.format.open_memmap(path, "w+", np.float64, (n, m, d))
    else:
        import h5py
        X = h5py.File(path, "w").create_dataset("X", (n, m, d), np.float64, fillvalue=1e-3)
    X[n - 1, m - 1] = 1.0
    B, w = np.eye(d, 2), np.ones(2)
    batch = ms.TaskBatch.split(X, np.ones((n, m)), 8, check_finite=False)
    options = dict(rounds=2, width=2, init=(B, w), route=route, threads=2, stop=None)
    spare = ms.LinearTasks(d=20, k=2).sample(3, 2, 2)
    ms.train(spare, "anil", rounds=1, width=2)  # what the first run takes
    if group:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    else:
        limit = memory("VmData") + 500 * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    r = ms.train(batch, ms.ANIL(alpha=1e-7, beta=1e-9), record="loss_out", **options)
    print(json.dumps([r.trace["loss_out"].tolist(), bool(np.isfinite(r.B).all())]))
""")


def limited_run(folder, kind, route, group=""):
    script = folder / "script.py"
    script.write_text(LIMITED)
    done = subprocess.run(
        [sys.executable, script, folder / "data", kind, route, group],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses, finite = json.loads(done.stdout)
    assert len(losses) == 3
    assert finite


@pytest.mark.peak_memory
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
@pytest.mark.parametrize(
    ("kind", "route"), [("npy", "gram"), ("npy", "dual"), ("hdf5", "gram"), ("hdf5", "vector")]
)
def test_data_larger_than_the_memory_allowed(kind, route, tmp_path):
    """Features of 768 MiB with 500 MiB of memory to take."""
    limited_run(tmp_path, kind, route)


@pytest.fixture
def group():
    """Make a control group with a limit of 400 MiB, the page cache of its processes included."""
    limit = str(400 * 2**20)
    with control_group(
        ("/sys/fs/cgroup", "memory.max", limit),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", limit),
    ) as folder:
        yield folder


@pytest.mark.peak_memory
@pytest.mark.parametrize(("kind", "route"), [("npy", "vector"), ("hdf5", "gram")])
def test_data_larger_than_the_memory_of_a_group(group, kind, route, tmp_path):
    """The same with the system's cache within the limit too."""
    limited_run(tmp_path, kind, route, group)


def test_samples_between_the_two_sets_are_not_read(tmp_path, rng):
    """A stack whose last samples are held out has many samples between the sets of a task."""
    X, y = rng.standard_normal((30, 60, 200)), rng.standard_normal((30, 60))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["X"] = X
        batch, whole = (
            ms.TaskBatch.split(features, y, m_in=30).hold_out(samples=0.9)[0]
            for features in (file["X"], X)
        )
        assert (batch.m_in, batch.m_out) == (3, 3)
        assert batch._inner.X.joined(batch._outer.X) is None
        for route in ("gram", "vector"):
            runs = [
                ms.train(b, "anil", width=2, rounds=2, route=route, alpha=0.01, beta=0.01).B
                for b in (batch, whole)
            ]
            np.testing.assert_array_equal(*runs)
