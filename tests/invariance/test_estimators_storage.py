"""Every estimator gives the estimates of explicit arrays, whatever holds the samples."""

import importlib
import warnings
from unittest import mock

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from metaspan.estimators import sources
from metaspan.estimators.names import NAMES, algorithm_of
from reference.estimator_samples import DenseAverages, DenseSamples

N, M, D, K, SEED = 18, 10, 24, 2, 5
ROUNDS = 4  # iterates of few rounds agree to rounding errors; later ones amplify these
TASKS = ms.LinearTasks(d=D, k=K, noise=0.1, heads=ms.GaussianHeads(mean=[1.0, 0.0]))
ARRAYS = ("dense", "float32", "ragged", "mapped", "sparse")
SAMPLED = ("sampled", "kept")  # rows that are generated in every product, and once
SOURCES = (*ARRAYS, *SAMPLED, "law")
# Without an option, conjugate gradients may end one step earlier or later for rounding errors.
OPTIONS = {"altmin": {"inner_tol": 1e-12}}


class Explicit(DenseSamples):
    """The samples of a source as arrays, in its coordinates, with the normals of the source."""

    def __init__(self, source):
        identity = np.eye(source.dim)
        try:
            X = np.split(source.features(identity), source.offsets[1:-1])
        except RuntimeError:  # samples in law that have averages alone
            X = np.split(np.zeros((len(source.y), source.dim)), source.offsets[1:-1])
        if source.shared() is not None:
            X = [X[0]] * source.n
        y = np.split(source.y, source.offsets[1:-1])
        super().__init__(X, y, source.B_star, source.weights)
        self.source = source

    def normals(self, k, stream):
        return self.source.normals(k, stream)

    def averages(self):
        averages = DenseAverages(self)
        averages.U, averages.V = self.source.averages().products(np.eye(self.dim))
        return averages


class Monitor:
    """Lets an estimator make a number of iterations."""

    rounds = ROUNDS
    calls = 0

    def record(self, B, heads=None, objective=None):
        self.calls += 1
        return self.calls > self.rounds


def numbers(shared):
    """Features that float32 represents, a third of them zero, and responses; (n, m, d), (n, m)."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((1 if shared else N, M, D)).astype(np.float32)
    X = np.where(rng.random(X.shape) < 1 / 3, 0, X).astype(np.float64)
    X = np.repeat(X, N, axis=0) if shared else X
    theta = TASKS.draw_heads(N, seed=SEED) @ TASKS.ground_truth(SEED).T
    y = np.einsum("nmd,nd->nm", X, theta) + 0.1 * rng.standard_normal((N, M))
    return X, y.astype(np.float32).astype(np.float64)


def source_of(kind, shared, folder):
    """Return the tasks and the arguments of `fit`; the batches hold the same numbers."""
    if kind in (*SAMPLED, "law"):
        tasks = ms.LinearTasks(d=4 * N * M, k=K, noise=0.1) if kind == "law" else TASKS
        return tasks, {"n": N, "m": M, "engine": "law" if kind == "law" else "sampled"}
    X, y = numbers(shared)
    B_star = TASKS.ground_truth(SEED)
    if kind == "float32":
        X, y, B_star = X.astype(np.float32), y.astype(np.float32), B_star.astype(np.float32)
    if kind == "mapped":
        path = folder / f"X{shared}.npy"
        np.save(path, X)
        X = np.load(path, mmap_mode="r")
    if kind == "sparse":
        X = [sparse.csr_matrix(x) for x in X]
    if kind == "ragged":
        lengths = [M - i % 4 for i in range(N)]
        X, y = ([a[:m] for a, m in zip(arrays, lengths, strict=True)] for arrays in (X, y))
    if shared:
        return ms.TaskBatch([X[0]] * N, list(y), B_star=B_star), {}
    return ms.TaskBatch.split(X, y, m_in=3, B_star=B_star), {}


def moments_of(B, heads, B_star):
    """The coefficients' parts in the span of B_star (n, k_star), and their Gram matrix (n, n)."""
    return heads @ (B_star.T @ B).T, heads @ (B.T @ B) @ heads.T


def fitted(name, kind, folder, **settings):
    """Return the result of a fit with few iterations, and the samples to which it was fitted."""
    tasks, sizes = source_of(kind, name == "reduced-rank", folder)
    sizes = {**sizes, "seed": SEED, "width": K, **settings}
    kept = 0 if kind == "sampled" else sources.KEPT_BYTES
    with warnings.catch_warnings(), mock.patch.object(sources, "KEPT_BYTES", kept):
        warnings.simplefilter("ignore", ms.NotConvergedWarning)
        r = ms.fit(tasks, name, rounds=ROUNDS, stop=None, **sizes, **OPTIONS.get(name, {}))
        samples = sources.open_samples(
            r.config.engine, tasks, r.config.method, counts=(N, r.config.m), width=K,
            seed=SEED, trial=0, threads=1,
        )  # fmt: skip
    return r, samples


def of_result(r):
    """`moments_of` the representation of a result, from its coordinates."""
    M_, R_, _ = r.state
    return r.heads @ M_.T, r.heads @ (M_.T @ M_ + R_.T @ R_) @ r.heads.T


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_those_of_explicit_arrays(name, kind, tmp_path):
    """To 1e-6 of the largest number; a search for eigenvectors ends at sines of 1e-8."""
    if name == "reduced-rank" and kind in ("ragged", *SAMPLED, "law"):
        tasks, sizes = source_of(kind, False, tmp_path)
        with pytest.raises(ValueError, match="reduced-rank needs tasks that share X"):
            ms.fit(tasks, name, width=K, **sizes)
        return
    r, samples = fitted(name, kind, tmp_path)
    algorithm = algorithm_of(r.config.method)
    with np.errstate(all="ignore"):
        expected = algorithm.estimate(Explicit(samples), K, Monitor())
    assert r.heads.shape == (N, K)
    assert r.status.status in (ms.Status.CONVERGED, ms.Status.FINISHED, ms.Status.NOT_CONVERGED)
    pairs = zip(of_result(r), moments_of(expected.B, expected.heads, samples.B_star), strict=True)
    for found, right in pairs:
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 * np.abs(right).max())


@pytest.mark.parametrize("name", NAMES)
def test_equal_numbers_give_equal_estimates(name, tmp_path):
    """In float64, in float32, in a mapped file, and as sparse matrices."""
    dense = of_result(fitted(name, "dense", tmp_path)[0])
    for kind in ("float32", "mapped", "sparse"):
        other = of_result(fitted(name, kind, tmp_path)[0])
        for found, right in zip(other, dense, strict=True):
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 * np.abs(right).max())


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_bits_depend_neither_on_threads_nor_on_an_interruption(name, kind, tmp_path, monkeypatch):
    if name == "reduced-rank" and kind in ("ragged", *SAMPLED, "law"):
        pytest.skip("refused: see above")
    one, _ = fitted(name, kind, tmp_path, threads=1)
    module = importlib.import_module("metaspan.fit")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # in the first iteration, or before the estimate
        iterates = algorithm_of(one.config.method).iterates
        patch.setattr(
            *((module._Trial, "_measure") if iterates else (module, "open_samples")), interrupt
        )
        with pytest.raises(ms.Interrupted):
            fitted(name, kind, tmp_path, threads=2)
    two, _ = fitted(name, kind, tmp_path, threads=2)
    assert one.status == two.status
    for part in one.parts:
        assert np.array_equal(one.parts[part], two.parts[part])
    assert np.array_equal(one.trace["dist"], two.trace["dist"], equal_nan=True)


def test_a_wrong_product_fails(tmp_path):
    """A fault of the size of rounding in single precision is seen."""
    r, samples = fitted("moments", "dense", tmp_path)
    explicit = Explicit(samples)
    explicit.X = explicit.X * (1 + 1e-4 * np.random.default_rng(0).standard_normal(D))
    expected = algorithm_of(r.config.method).estimate(explicit, K, Monitor())
    inside, _ = moments_of(expected.B, expected.heads, samples.B_star)
    assert np.abs(of_result(r)[0] - inside).max() > 1e-6 * np.abs(inside).max()
