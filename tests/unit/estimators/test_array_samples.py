"""The samples of a batch in every storage, against plain NumPy on the same numbers."""

import os
import signal
import threading
import time
from itertools import pairwise

import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse

import metaspan as ms
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.transforms import Curvature, HeadFit, RowForms
from reference.estimator_samples import DenseSamples

N, M_IN, M, D, WIDTH = 5, 3, 7, 300, 4
STACKED = {"dense", "strided", "reversed", "float32", "mapped", "hdf5", "zarr", "one set"}
SINGLE = {"float32", "sparse float32"}


def rows(rng, kind):
    """Draw the features and responses of all tasks, as lists of float64 arrays (m_i, d)."""
    lengths = [M] * N if kind in STACKED else [7, 4, 6, 5, 9]
    X = [rng.standard_normal((m, D)) for m in lengths]
    if "sparse" in kind:
        X = [np.where(rng.random(task.shape) < 0.05, task, 0.0) for task in X]
    y = [rng.standard_normal(m) for m in lengths]
    if kind in SINGLE:
        X, y = ([a.astype(np.float32).astype(np.float64) for a in side] for side in (X, y))
    return X, y


def strided(X, step):
    """Copy an array (n, m, d) to memory with gaps between rows, or with the tasks backwards."""
    if step < 0:
        return X[::-1].copy()[::-1]
    room = np.full((len(X), 2 * X.shape[1], X.shape[2] + 3), np.nan)
    view = room[:, ::2, 1:-2]
    view[:] = X
    return view


def batch_of(kind, X, y, folder):
    """Store the samples in one way; the first M_IN samples of a task are its inner set."""
    dtype = np.float32 if kind in SINGLE else np.float64
    B_star = np.linalg.qr(np.random.default_rng(0).standard_normal((D, 2)))[0]
    if kind in STACKED:
        X, y = np.stack(X).astype(dtype), np.stack(y).astype(dtype)
    if kind in ("strided", "reversed"):
        X = strided(X, 1 if kind == "strided" else -1)
    elif kind == "mapped":
        np.save(folder / "X.npy", X)
        X = np.load(folder / "X.npy", mmap_mode="r")
    elif kind == "hdf5":
        X = h5py.File(folder / "X.h5", "w").create_dataset("X", data=X)
    elif kind == "zarr":
        array = zarr.create_array(folder / "X.zarr", shape=X.shape, chunks=(2, 3, 70), dtype=dtype)
        array[:] = X
        X = array
    elif kind == "hdf5 per task":
        file = h5py.File(folder / "X.h5", "w")
        X = [file.create_dataset(str(i), data=task) for i, task in enumerate(X)]
    elif "sparse" in kind:
        X = [sparse.csr_matrix(task.astype(dtype)) for task in X]
        y = [task.astype(dtype) for task in y]
    elif kind == "some share":  # tasks 1 and 3 use one data set for both loops
        inner, outer = ([a[:M_IN] for a in side] for side in (X, y)), None
        (X_in, y_in), outer = inner, [[a[M_IN:] for a in side] for side in (X, y)]
        for i in (1, 3):
            X_in[i], y_in[i], outer[0][i], outer[1][i] = X[i], y[i], X[i], y[i]
        return ms.TaskBatch(X_in, y_in, *outer, B_star)
    if kind == "one set":
        return ms.TaskBatch(X, y, B_star=B_star)
    return ms.TaskBatch.split(X, y, M_IN, B_star)


KINDS = [
    *("dense", "strided", "reversed", "float32", "mapped", "hdf5", "zarr", "one set"),
    *("ragged", "hdf5 per task", "sparse", "sparse float32", "some share"),
]


@pytest.fixture(params=KINDS)
def pair(request, rng, tmp_path):
    """Return the samples of a batch, and the same samples as plain arrays."""
    X, y = rows(rng, request.param)
    batch = batch_of(request.param, X, y, tmp_path)
    return ArraySamples(batch, threads=2), DenseSamples(X, y, batch.B_star)


def close(found, expected):
    """Assert that two arrays are equal up to rounding errors of sums of their length."""
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1, abs(expected).max()))


def by_task(Z, tasks):
    """A transform whose result depends on the tasks that it is called with."""
    return np.cos(Z) * (1 + tasks.start)


def test_describes_the_rows(pair):
    samples, plain = pair
    assert (samples.n, samples.dim) == (plain.n, plain.dim)
    np.testing.assert_array_equal(samples.offsets, plain.offsets)
    np.testing.assert_array_equal(samples.y, plain.y)
    np.testing.assert_array_equal(samples.B_star, plain.B_star)
    np.testing.assert_array_equal(samples.weights, np.ones(N))


def test_products_with_matrices(pair, rng):
    samples, plain = pair
    B, C = rng.standard_normal((D, WIDTH)), rng.standard_normal((len(plain.y), WIDTH))
    close(samples.features(B), plain.features(B))
    close(samples.combine(C), plain.combine(C))
    for width in (1, 8, 9):
        B = np.asfortranarray(rng.standard_normal((D, width)))
        close(samples.features(B), plain.features(B))
        both = samples.combine_features(B, lambda Z, _: Z**2)
        close(both, plain.combine_features(B, lambda Z, _: Z**2))


def test_transform_sees_every_task_once_and_in_order(pair, rng):
    samples, plain = pair
    B, seen = rng.standard_normal((D, WIDTH)), []

    def transform(Z, tasks):
        seen.extend(tasks)
        close(Z, plain.features(B)[plain.offsets[tasks.start] : plain.offsets[tasks.stop]])
        return (
            Z
            * np.repeat(np.arange(1.0, N + 1), np.diff(plain.offsets))[
                plain.offsets[tasks.start] : plain.offsets[tasks.stop], None
            ]
        )

    both = samples.combine_features(B, transform)
    assert seen == list(range(N))
    close(both, plain.combine_features(B, lambda Z, tasks: (1 + tasks.start) * Z))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_forms_of_rows(pair, rng, rank):
    """C_i = diag(p_i) Z_i + L_i R_i^T Z_i, task by task, by the core and by a call."""
    samples, plain = pair
    scales, left, right = (
        rng.standard_normal((len(plain.y), *shape)) for shape in ((), (rank,), (rank,))
    )
    forms = RowForms(samples, scales, left, right)
    for width in (1, WIDTH, 9):
        B = rng.standard_normal((D, width))
        expected = np.zeros((D, width))
        for first, end in pairwise(plain.offsets):
            X, s = plain.X[first:end], slice(first, end)
            form = np.diag(scales[s]) + left[s] @ right[s].T
            expected += X.T @ (form @ (X @ B))
        close(samples.combine_features(B, forms), expected)
        close(samples.combine_features(B, forms.__call__), expected)


@pytest.mark.parametrize("width", [1, 3])
def test_heads_of_least_squares_and_their_gradient(pair, rng, width):
    samples, plain = pair
    B, shares = rng.standard_normal((D, width)), rng.uniform(0.5, 1.0, N)
    heads, gradient, loss = np.empty((N, width)), np.zeros((D, width)), 0.0
    for i, (first, end) in enumerate(pairwise(plain.offsets)):
        X, y = plain.X[first:end], plain.y[first:end]
        heads[i] = np.linalg.lstsq(X @ B, y, rcond=None)[0]
        residuals = X @ B @ heads[i] - y
        gradient += shares[i] * np.outer(X.T @ residuals, heads[i])
        loss += shares[i] * residuals @ residuals / 2
    for is_called in (False, True):
        fit = HeadFit(samples, shares, np.full((N, width), np.nan))
        transform = fit.__call__ if is_called else fit
        close(samples.combine_features(B, transform), gradient)
        close(fit.heads, heads)
        assert fit.loss == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("width", [1, 4, 9])
def test_curvature_at_fixed_heads(pair, rng, width):
    samples, plain = pair
    P, heads = rng.standard_normal((D, width)), rng.standard_normal((N, width))
    shares, expected = rng.uniform(0.5, 1.0, N), np.zeros((D, width))
    for i, (first, end) in enumerate(pairwise(plain.offsets)):
        X = plain.X[first:end]
        expected += shares[i] * np.outer(X.T @ (X @ P @ heads[i]), heads[i])
    curvature = Curvature(samples, heads, shares)
    close(samples.combine_features(P, curvature), expected)
    close(samples.combine_features(P, curvature.__call__), expected)


def test_near_singular_features_of_a_task_give_heads_of_the_least_norm(rng):
    X, y = rows(rng, "dense")
    B = rng.standard_normal((D, WIDTH))
    X[2] -= X[2] @ B[:, :1] @ np.linalg.pinv(B[:, :1])  # X_2 b = 0 for the first column b
    samples, shares = ArraySamples(ms.TaskBatch(X, y)), np.ones(N)
    fit = HeadFit(samples, shares, np.empty((N, WIDTH)))
    samples.combine_features(B, fit)
    for i in (1, 2):
        v = np.linalg.pinv(X[i] @ B, rcond=1e-10) @ y[i]
        np.testing.assert_allclose(fit.heads[i], v, rtol=0, atol=1e-9)


def test_gram_matrices(pair):
    samples, plain = pair
    for tasks in (range(N), range(1, 3), range(2, 2)):
        expected = plain.grams(tasks)
        found = samples.grams(tasks)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            close(ours, theirs)


def test_averages_of_halves(pair, rng):
    samples, plain = pair
    ours, theirs = samples.averages(), plain.averages()
    assert (ours.n, ours.dim) == (N, D)
    Q, P, R = (rng.standard_normal(shape) for shape in ((D, 3), (N, 3), (N, 3)))
    for found, expected in zip(ours.products(Q), theirs.products(Q), strict=True):
        close(found, expected)
    close(ours.combine(P, R), theirs.combine(P, R))
    close(ours.mean_products(Q, P[:, 0]), theirs.mean_products(Q, P[:, 0]))


def test_bits_do_not_depend_on_threads(pair, rng):
    samples, _ = pair
    one = ArraySamples(samples._batch, threads=1)
    B, C = rng.standard_normal((D, WIDTH)), rng.standard_normal((len(one.y), WIDTH))
    for call in (
        lambda some: some.features(B),
        lambda some: some.combine(C),
        lambda some: some.combine_features(B, lambda Z, _: np.tanh(Z)),
        lambda some: some.combine_features(B, RowForms(some, one.y, C[:, :1], C[:, 1:2])),
        lambda some: some.combine_features(B, Curvature(some, C[:N], np.ones(N))),
        lambda some: some.combine_features(B[:, :3], HeadFit(some, np.ones(N), np.empty((N, 3)))),
        lambda some: np.concatenate([gram.ravel() for gram in some.grams(range(N))]),
        lambda some: some.normals(3, 0),
    ):
        np.testing.assert_array_equal(call(samples), call(one))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_do_not_depend_on_storage_or_blocks(rng, tmp_path, dtype, monkeypatch):
    """Wide tasks, of which a block of the cache holds two and a block of a file holds four."""
    n, m, d = 9, 10, 100_003
    X = rng.standard_normal((n, m, d)).astype(dtype)
    y = rng.standard_normal((n, m)).astype(dtype)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        on_disk = file.create_dataset("X", data=X)
        pair = [ArraySamples(ms.TaskBatch.split(data, y, 4)) for data in (X, on_disk)]
        B, C = rng.standard_normal((d, 5)), rng.standard_normal((n * m, 5))
        calls = []

        def transform(Z, tasks):
            calls.append(tasks)
            return np.sign(Z)

        for call in (
            lambda some: some.features(B),
            lambda some: some.combine(C),
            lambda some: some.combine_features(B, transform),
            lambda some: some.combine_features(B, RowForms(some, some.y, C[:, :1], C[:, 1:2])),
            lambda some: some.combine_features(B, HeadFit(some, np.ones(n), np.empty((n, 5)))),
            lambda some: some.combine_features(B, Curvature(some, C[:n], np.ones(n))),
        ):
            memory, disk = map(call, pair)
            np.testing.assert_array_equal(memory, disk)
        assert len(calls) > 2
        fused = pair[0].combine_features(B, transform)
        np.testing.assert_array_equal(
            fused, pair[0].combine(transform(pair[0].features(B), range(n)))
        )


def test_float32_data_give_the_products_of_the_same_numbers_in_float64(rng):
    X = rng.standard_normal((3, 6, 5000)).astype(np.float32)
    y = rng.standard_normal((3, 6)).astype(np.float32)
    single = ArraySamples(ms.TaskBatch(X, y))
    double = ArraySamples(ms.TaskBatch(X.astype(np.float64), y.astype(np.float64)))
    B = rng.standard_normal((5000, 10))
    np.testing.assert_array_equal(single.features(B), double.features(B))
    np.testing.assert_array_equal(
        single.combine_features(B, lambda Z, _: Z), double.combine_features(B, lambda Z, _: Z)
    )


def test_shared_features_are_found(rng, tmp_path):
    X, y = rng.standard_normal((6, D)), rng.standard_normal((N, 6))
    same = np.broadcast_to(X, (N, 6, D))
    dataset = h5py.File(tmp_path / "X.h5", "w").create_dataset("X", data=X)
    expected = DenseSamples([X] * N, list(y)).shared()
    for batch in (
        ms.TaskBatch.split(same, y, 2),
        ms.TaskBatch(same, y),
        ms.TaskBatch([X] * N, list(y)),
        ms.TaskBatch([dataset] * N, list(y)),
        ms.TaskBatch([sparse.csr_matrix(X)] * N, list(y)),
    ):
        one = ArraySamples(batch).shared()
        assert one is not None
        assert one.n == 1
        np.testing.assert_array_equal(one.y, y[0])
        B = rng.standard_normal((D, 2))
        close(one.features(B), expected.features(B))
    single = ArraySamples(ms.TaskBatch([X], [y[0]]))
    assert single.shared() is single


def test_equal_numbers_in_different_memory_are_not_shared(rng, tmp_path):
    X, y = rng.standard_normal((6, D)), rng.standard_normal((N, 6))
    stack = np.stack([X] * N)
    dataset = h5py.File(tmp_path / "X.h5", "w").create_dataset("X", data=stack)
    outer = [X[:3], *(X[:3].copy() for _ in range(N - 1))]
    for batch in (
        ms.TaskBatch(stack, y),
        ms.TaskBatch(dataset, y),
        ms.TaskBatch([X] * N, list(y), outer, list(y[:, :3])),
    ):
        assert ArraySamples(batch).shared() is None


def test_normals_depend_on_seed_trial_and_stream_alone(rng):
    def draw(k, stream, **key):
        X = rng.standard_normal((2, 3, D))
        return ArraySamples(ms.TaskBatch(X, X[:, :, 0].copy()), **key).normals(k, stream)

    first = draw(4, 0)
    assert first.shape == (D, 4)
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(first, draw(4, 0))
    np.testing.assert_array_equal(first[:, :2], draw(2, 0))
    others = [draw(4, 1), draw(4, 0, seed=1), draw(4, 0, trial=1)]
    every = np.stack([first, *others]).reshape(4, -1)
    assert abs(np.corrcoef(every) - np.eye(4)).max() < 0.15  # 5 standard deviations
    assert abs(every.mean()) < 0.08
    assert abs(every.std() - 1) < 0.08


def test_an_error_of_the_transform_reaches_the_caller(pair, rng):
    samples, _ = pair
    B = rng.standard_normal((D, WIDTH))

    def fail(Z, tasks):
        raise ZeroDivisionError("in the transform")

    with pytest.raises(ZeroDivisionError, match="in the transform"):
        samples.combine_features(B, fail)
    with pytest.raises(ValueError, match="transform must return"):
        samples.combine_features(B, lambda Z, _: Z[:1])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("operator", ["features", "combine", "combine_features"])
def test_ctrl_c_ends_a_product(operator):
    """The same task many times, so that a product takes far longer than the wait for it to end."""
    X, y = np.ones((64, 20_000)), np.ones(64)
    n = 3000
    samples = ArraySamples(ms.TaskBatch([X] * n, [y] * n, check_finite=False), threads=2)
    arguments = {
        "features": (np.ones((20_000, 8)),),
        "combine": (np.ones((64 * n, 8)),),
        "combine_features": (np.ones((20_000, 8)), lambda Z, _: Z),
    }[operator]
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        getattr(samples, operator)(*arguments)
    assert time.monotonic() - began < 3
