"""The operators of estimators on a device are those on the CPU, and so are the estimates."""

import warnings

import numpy as np
import pytest

import metaspan as ms
from devices import emulator
from metaspan import _device
from metaspan._load import core
from metaspan.estimators import on_device, sources
from metaspan.estimators.names import NAMES
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.on_device import DeviceSamples
from metaspan.estimators.transforms import HeadFit, scaled_rows

pytestmark = pytest.mark.cuda

N, D = 5, 19


def lent(numbers):
    return core.DeviceArray.from_numpy(_device.open_device(), np.ascontiguousarray(numbers))


def arrays(rng, kind):
    """Return X and y of the inner and the outer sets as lists of arrays of one task each."""
    sizes = [(1 + i % 3, 4 - i % 2) if kind == "ragged" else (3, 2) for i in range(N)]
    dtype = np.float32 if kind == "float32" else np.float64
    sides = []
    for side in range(2):
        X = [rng.standard_normal((size[side], D)).astype(dtype) for size in sizes]
        sides.append((X, [rng.standard_normal(len(x)).astype(dtype) for x in X]))
    return sides


def batches(rng, kind):
    """Return a batch in host memory and the batch that a device uses."""
    (X, y), (X_out, y_out) = arrays(rng, kind)
    if kind == "one set":
        return ms.TaskBatch(X, y), ms.TaskBatch([lent(x) for x in X], y)
    host = ms.TaskBatch(X, y, X_out, y_out)
    if kind == "host":
        return host, host
    return host, ms.TaskBatch([lent(x) for x in X], y, [lent(x) for x in X_out], y_out)


KINDS = ("lent", "ragged", "float32", "one set", "host")


@pytest.fixture(params=KINDS)
def samples(request, rng):
    host, used = batches(rng, request.param)
    return ArraySamples(host), DeviceSamples(used)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("k", [1, 3, 33])
def test_products_are_those_of_the_cpu(samples, rng, k):
    host, device = samples
    B, C = rng.standard_normal((D, k)), rng.standard_normal((len(host.y), k))
    close(device.features(B), host.features(B))
    close(device.combine(C), host.combine(C))
    close(
        device.combine_features(B, scaled_rows(device, C[:, 0])),
        host.combine(C[:, :1] * (host.features(B))),
    )


def test_products_with_many_columns_and_none(samples, rng, monkeypatch):
    host, device = samples
    monkeypatch.setattr(on_device, "MOST_COLUMNS", 3)
    B, C = rng.standard_normal((D, 8)), rng.standard_normal((len(host.y), 8))
    close(device.features(B), host.features(B))
    close(device.combine(C), host.combine(C))
    assert device.features(B[:, :0]).shape == (len(host.y), 0)
    assert device.combine(C[:, :0]).shape == (D, 0)
    scaled = device.combine_features(B, scaled_rows(device, C[:, 0]))
    close(scaled, host.combine(C[:, :1] * host.features(B)))


def test_transforms_leave_their_heads(samples, rng):
    host, device = samples
    B, shares = rng.standard_normal((D, 2)), rng.uniform(1, 2, N)
    fits = [HeadFit(side, shares, np.empty((N, 2))) for side in (host, device)]
    products = [
        side.combine_features(B, fit) for side, fit in zip((host, device), fits, strict=True)
    ]
    np.testing.assert_allclose(products[1], products[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(fits[1].heads, fits[0].heads, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tasks", [range(N), range(1, 4), range(2, 2)])
def test_gram_matrices_are_those_of_the_cpu(samples, tasks):
    host, device = samples
    pairs = zip(device.grams(tasks), host.grams(tasks), strict=True)
    for found, expected in pairs:
        assert found.shape == expected.shape
        close(found, expected)


def test_averages_are_those_of_the_cpu(samples, rng):
    host, device = (side.averages() for side in samples)
    Q = rng.standard_normal((D, 2))
    for found, expected in zip(device.products(Q), host.products(Q), strict=True):
        close(found, expected)


def projector(B):
    Q = np.linalg.qr(B)[0]
    return Q @ Q.T


def test_memory_is_given_back(rng):
    module = emulator()
    if module is None:
        pytest.skip("a card counts no bytes")
    before = module.live_bytes(), module.live_pinned_bytes(), module.live_handles()
    host, _ = batches(rng, "host")
    device = DeviceSamples(host)

    def fail(Z, tasks):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.combine_features(rng.standard_normal((D, 2)), fail)
    device.features(rng.standard_normal((D, 2)))  # the samples are still in order
    del device
    assert (module.live_bytes(), module.live_pinned_bytes(), module.live_handles()) == before


@pytest.mark.parametrize("name", [name for name in NAMES if name != "reduced-rank"])
def test_estimates_are_those_of_the_cpu(rng, name):
    tasks = ms.LinearTasks(d=24, k=2, noise=0.1)
    host = tasks.sample(12, 8, shared_samples=True, seed=3)
    used = ms.TaskBatch(lent(host.X_in), host.y_in, B_star=host.B_star, heads=host.heads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ms.NotConvergedWarning)
        ours = ms.fit(used, name, rounds=2, stop=None, device="cuda")
        expected = ms.fit(host, name, rounds=2, stop=None)
    assert isinstance(ours.B, core.DeviceArray)
    # The heads of `pooled` are of rank one, so its coefficients do not determine the span of B.
    for found, right in (
        (projector(ours._host_B), projector(expected.B)),
        (ours._host_B @ ours.heads.T, expected.B @ expected.heads.T),
    ):
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-8)
    assert ours.config.device == "cuda"


def test_kept_samples_are_fitted_on_a_device():
    tasks = ms.LinearTasks(d=30, k=2, noise=0.1)
    ours = ms.fit(tasks, "moments", n=10, m=6, device="cuda")
    expected = ms.fit(tasks, "moments", n=10, m=6, engine="sampled")
    assert ours.config.engine == "sampled"
    assert abs(ours.trace["dist"][-1] - expected.trace["dist"][-1]) < 1e-7


def test_samples_that_no_device_takes_are_refused(rng, monkeypatch):
    from scipy import sparse  # noqa: PLC0415

    tasks = ms.LinearTasks(d=30, k=2)
    with pytest.raises(ValueError, match="device must be 'cpu' for the engine 'law'"):
        ms.fit(tasks, "moments", n=10, m=6, engine="law", device="cuda")
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda'; got 'gpu'"):
        ms.fit(tasks, "moments", n=10, m=6, device="gpu")
    X = [sparse.csr_matrix(rng.standard_normal((4, D))) for _ in range(3)]
    batch = ms.TaskBatch(X, list(rng.standard_normal((3, 4))))
    with pytest.raises(ValueError, match="device must be 'cpu' for sparse features"):
        ms.fit(batch, "moments", width=2, device="cuda")
    lent_batch = ms.TaskBatch(lent(rng.standard_normal((3, 4, D))), rng.standard_normal((3, 4)))
    with pytest.raises(ValueError, match="device must be 'cuda' for tasks in device memory"):
        ms.fit(lent_batch, "moments", width=2)
    monkeypatch.setattr(sources, "KEPT_BYTES", 0)
    with pytest.raises(ValueError, match="device must be 'cpu' for rows of more than"):
        ms.fit(tasks, "moments", n=10, m=6, device="cuda")
