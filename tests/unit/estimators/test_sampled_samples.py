"""Samples that are generated in every product, against the same samples as arrays."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import metaspan as ms
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.sampled import SampledSamples

N, M, D, WIDTH = 5, 7, 9001, 4


def called(generator, m, d):
    """Features from a user's function: uniform, with variance 1."""
    return generator.uniform(-(3**0.5), 3**0.5, (m, d))


LAWS = {
    "gaussian": {},
    "student-t": {"features": ms.StudentT(dof=4)},
    "sphere": {"features": "sphere"},
    "rademacher": {"features": "rademacher"},
    "uniform": {"features": "uniform"},
    "function": {"features": called},
    "spectrum": {"spectrum": 0.7},
    "spectrum, sphere": {"spectrum": 0.7, "features": "sphere"},
    "spectrum, function": {"spectrum": 0.7, "features": called},
    "spread": {"spread": 0.8},
    "spread, student-t": {"spread": 0.8, "features": "student-t"},
    "spread, function": {"spread": 0.8, "features": called},
    "fixed heads": {"heads": np.arange(12.0).reshape(6, 2) / 6},
    "heads on the sphere": {"heads": ms.SphereHeads()},
    "known truth": {"B_star": np.eye(D, 2)},
}
KEY = {"seed": 3, "trial": 2}


@pytest.fixture(params=LAWS)
def pair(request):
    """Return generated samples, and the same samples as arrays."""
    tasks = ms.LinearTasks(d=D, k=2, noise=0.3, **LAWS[request.param])
    batch = tasks.sample(N, M, shared_samples=True, **KEY)
    return SampledSamples(tasks, N, M, **KEY, threads=2), ArraySamples(batch, **KEY)


def close(found, expected):
    """Assert that two arrays are equal up to rounding errors of sums of their length."""
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1, abs(expected).max()))


def test_describes_the_rows(pair):
    sampled, arrays = pair
    assert (sampled.n, sampled.dim) == (arrays.n, arrays.dim)
    np.testing.assert_array_equal(sampled.offsets, arrays.offsets)
    np.testing.assert_array_equal(sampled.weights, arrays.weights)
    np.testing.assert_array_equal(sampled.B_star, arrays.B_star)
    close(sampled.y, arrays.y)
    assert sampled.shared() is None
    np.testing.assert_array_equal(sampled.normals(3, 1), arrays.normals(3, 1))


def test_products_with_matrices(pair, rng):
    sampled, arrays = pair
    for width in (1, WIDTH, 9):
        B, C = rng.standard_normal((D, width)), rng.standard_normal((N * M, width))
        close(sampled.features(B), arrays.features(B))
        close(sampled.combine(C), arrays.combine(C))

        def transform(Z, tasks):
            rows = slice(M * tasks.start, M * tasks.stop)
            return np.cos(Z) * np.arange(1.0, 1 + N * M)[rows, None]

        close(sampled.combine_features(B, transform), arrays.combine_features(B, transform))


def test_gram_matrices(pair):
    sampled, arrays = pair
    for ours, theirs in zip(sampled.grams(range(1, 4)), arrays.grams(range(1, 4)), strict=True):
        close(ours, theirs)
    assert sampled.grams(range(2, 2)) == []


def test_averages_of_halves(pair, rng):
    sampled, arrays = (samples.averages() for samples in pair)
    Q, P, R = (rng.standard_normal(shape) for shape in ((D, 3), (N, 3), (N, 3)))
    for found, expected in zip(sampled.products(Q), arrays.products(Q), strict=True):
        close(found, expected)
    close(sampled.combine(P, R), arrays.combine(P, R))


def test_bits_do_not_depend_on_threads(pair, rng):
    two, _ = pair
    one = SampledSamples(two._law, N, M, **KEY, threads=1)
    B, C = rng.standard_normal((D, WIDTH)), rng.standard_normal((N * M, WIDTH))
    for call in (
        lambda some: some.y,
        lambda some: some.features(B),
        lambda some: some.combine(C),
        lambda some: some.combine_features(B, lambda Z, _: np.tanh(Z)),
        lambda some: np.concatenate([gram.ravel() for gram in some.grams(range(N))]),
    ):
        np.testing.assert_array_equal(call(one), call(two))


@pytest.mark.parametrize("features", ["gaussian", "sphere", called])
def test_blocks_of_tasks_do_not_change_products(rng, features):
    """Tasks of 4 MB, of which a block holds 16: two blocks, the last of them smaller."""
    tasks = ms.LinearTasks(d=100_000, k=2, features=features)
    n, m = 18, 5
    samples, batch = SampledSamples(tasks, n, m), tasks.sample(n, m, shared_samples=True)
    arrays, calls = ArraySamples(batch), []

    def transform(Z, tasks):
        calls.append(tasks)
        return np.abs(Z) * (1 + np.repeat(list(tasks), m))[:, None]

    B = rng.standard_normal((tasks.d, 3))
    both = samples.combine_features(B, transform)
    assert [len(some) for some in calls] == [16, 2]
    close(both, arrays.combine_features(B, transform))
    close(samples.features(B), arrays.features(B))


def test_a_smaller_draw_is_the_beginning_of_a_larger_one():
    tasks = ms.LinearTasks(d=50, k=2, noise=0.1)
    few, many = (SampledSamples(tasks, n, 3) for n in (4, 6))
    np.testing.assert_array_equal(few.y, many.y[:12])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("operator", ["y", "features", "combine", "combine_features"])
def test_ctrl_c_ends_a_product(operator):
    samples = SampledSamples(ms.LinearTasks(d=20_000, k=2), 10_000, 64, threads=2)
    call = {
        "y": lambda: samples.y,
        "features": lambda: samples.features(np.ones((20_000, 4))),
        "combine": lambda: samples.combine(np.ones((640_000, 4))),
        "combine_features": lambda: samples.combine_features(np.ones((20_000, 4)), lambda Z, _: Z),
    }[operator]
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert time.monotonic() - began < 3
