"""Calls with arrays in device memory return what the CPU returns, in arrays of the same library."""

import numpy as np
import pytest

import metaspan as ms
from lent_arrays import install_library

pytestmark = pytest.mark.cuda

D, K = 23, 2
TASKS = ms.LinearTasks(d=D, k=K, noise=0.1)
STEPS = {"alpha": 0.1, "beta": 0.2}


@pytest.fixture
def arrays(monkeypatch):
    return install_library(monkeypatch).Array


@pytest.fixture
def batches(arrays):
    """Return a batch in host memory, and the same batch in device memory."""
    host = TASKS.sample(4, 5, 6, seed=1)
    lent = [arrays(part) for part in (host.X_in, host.y_in, host.X_out, host.y_out)]
    return host, ms.TaskBatch(*lent, B_star=arrays(host.B_star), heads=host.heads)


@pytest.fixture
def point(rng):
    return np.linalg.qr(rng.standard_normal((D, K)))[0], rng.standard_normal(K)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["anil", "fo-maml", "maml"])
def test_gradient_is_of_the_kind_of_B(batches, arrays, point, method):
    host, lent = batches
    B, w = point
    expected = ms.meta_gradient(B, w, host, method, alpha=0.1)
    ours = ms.meta_gradient(arrays(B), arrays(w), lent, method, alpha=0.1, device="cuda")
    assert isinstance(ours.B, arrays)
    assert isinstance(ours.w, np.ndarray)
    close(ours.B.held.to_numpy(), expected.B)
    for name in ("w", "heads", "loss_in", "loss_adapted", "loss_out"):
        close(getattr(ours, name), getattr(expected, name))
    of_numpy = ms.meta_gradient(B, w, lent, method, alpha=0.1, device="cuda")
    assert isinstance(of_numpy.B, np.ndarray)
    assert np.array_equal(of_numpy.B, ours.B.held.to_numpy())


def test_factors_of_attention_are_of_their_kind(batches, arrays, point):
    host, lent = batches
    A, B = point[0], np.ascontiguousarray(point[0][::-1])
    expected = ms.meta_gradient(A, B, host, "linear-attention", alpha=0.1)
    ours = ms.meta_gradient(
        arrays(A), arrays(B), lent, "linear-attention", alpha=0.1, device="cuda"
    )
    close(ours.B.held.to_numpy(), expected.B)
    close(ours.A.held.to_numpy(), expected.A)


def test_adapted_representations_are_of_the_kind_of_B(batches, arrays, point):
    host, lent = batches
    B, w = point
    expected = ms.adapt(B, w, host.X_in, host.y_in, "maml", alpha=0.1, return_B=True)
    ours = ms.adapt(
        arrays(B), w, lent.X_in, lent.y_in, "maml", alpha=0.1, return_B=True, device="cuda"
    )
    close(ours[0], expected[0])
    assert isinstance(ours[1], arrays)
    close(ours[1].held.to_numpy(), expected[1])


def test_trained_representation_is_of_the_kind_of_the_features(batches, arrays, point):
    host, lent = batches
    run = {"rounds": 5, "stop": None, **STEPS}
    expected = ms.train(host, "maml", init=point, **run)
    ours = ms.train(lent, "maml", init=tuple(map(arrays, point)), device="cuda", **run)
    assert isinstance(ours.B, arrays)
    np.testing.assert_allclose(ours.B.held.to_numpy(), expected.B, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.trace["dist"], expected.trace["dist"], rtol=1e-9)
    again = ms.train(lent, "maml", init=ours, device="cuda", **run)
    assert again.trace["dist"][0] == pytest.approx(ours.trace["dist"][-1], rel=1e-9)


def test_risks_are_those_of_the_cpu(batches, arrays, point):
    host, lent = batches
    expected = ms.evaluate(*point, host, "anil", alpha=0.1)
    ours = ms.evaluate(arrays(point[0]), arrays(point[1]), lent, "anil", alpha=0.1, device="cuda")
    for name in ("adapted", "least_squares", "ridge", "single_task_ridge", "oracle_ridge"):
        found, right = getattr(ours, name), getattr(expected, name)
        assert found.mean == pytest.approx(right.mean, rel=1e-9)
    # Conjugate gradients solve the pooled regression to a residual of 1e-6.
    assert ours.pooled.mean == pytest.approx(expected.pooled.mean, rel=1e-6)
