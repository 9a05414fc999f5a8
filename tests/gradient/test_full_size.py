"""One gradient at a realistic size, against NumPy on one task at a time."""

import numpy as np
import pytest

import metaspan as ms
from matching import reference_method, relative_error
from reference.training import coefficients

D, K, N, M = 200_000, 5, 4, 20
METHOD = ms.MAML(alpha=1e-5, inner_steps=2)


@pytest.fixture(scope="module")
def size():
    """Draw a point (B, w) and 128 MB of float32 data."""
    rng = np.random.default_rng(0)
    X = np.empty((N, 2 * M, D), np.float32)
    rng.standard_normal(out=X, dtype=np.float32)
    y = 3 * rng.standard_normal((N, 2 * M), np.float32)
    B, w = 0.3 * rng.standard_normal((D, K)), 0.3 * rng.standard_normal(K)
    return B, w, ms.TaskBatch.split(X, y, m_in=M, check_finite=False)


def products(rows, others):
    """Compute the inner products (n, m) of rows (n, d) and others (m, d), on one thread."""
    return np.einsum("id,jd->ij", rows, np.ascontiguousarray(others))


@pytest.fixture(scope="module")
def by_numpy(size):
    """Return ten random directions, their products with grad_B, and grad_w, by (10) in NumPy."""
    B, w, batch = size
    directions = np.random.default_rng(1).standard_normal((10, D))
    total_B, total_w = np.zeros((10, K)), np.zeros(K)
    for i in range(N):
        inner, outer = batch.X_in[i].astype(np.float64), batch.X_out[i].astype(np.float64)
        C, C_out, grad_w = coefficients(
            (products(inner, B.T), batch.y_in[i], products(inner, inner)),
            (products(outer, B.T), batch.y_out[i], products(outer, inner)),
            w,
            reference_method(METHOD),
        )
        total_B += products(directions, inner) @ C / N
        total_B += products(directions, outer) @ C_out / N
        total_w += grad_w / N
    return directions, total_B, total_w


@pytest.mark.parametrize("route", ["gram", "vector"])
def test_projections_of_a_full_size_gradient_are_right(size, by_numpy, route):
    """A wrong row anywhere would show."""
    B, w, batch = size
    directions, expected, grad_w = by_numpy
    found = ms.meta_gradient(B, w, batch, METHOD, route=route, losses=False)
    assert relative_error(directions @ found.B, expected) < 1e-11
    assert relative_error(found.w, grad_w) < 1e-11


def test_every_part_of_the_method_matters_at_full_size(size, by_numpy):
    """A gradient without its inner loop, or without the terms of reverse mode, would fail."""
    B, w, batch = size
    directions, expected, _ = by_numpy
    for other in (ms.AverageRisk(), ms.ANIL(alpha=1e-5, inner_steps=2)):
        found = ms.meta_gradient(B, w, batch, other, route="gram", losses=False)
        assert relative_error(directions @ found.B, expected) > 0.01
