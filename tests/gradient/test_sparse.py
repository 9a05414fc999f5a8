"""Gradients on sparse data equal those on the same data as arrays."""

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from matching import METHODS, gradient_error, relative_error
from sparse_data import arrays, pair, sparse_sets

EPS = {"float64": 1e-15, "float32": float(np.finfo(np.float32).eps)}
# (d, m_in, m_out, entries a row, shared)
SHAPES = {
    "ragged": (60, (3, 7, 1, 4), (5, 2, 6, 1), 6, False),
    "shared": (60, (3, 7, 1, 4), (), 6, True),
    "full-rows": (9, (4, 4), (5, 5), 40, False),
    "one-feature": (1, (3, 2), (4, 1), 2, False),
    "blocks-of-rows": (500, (300, 2), (9, 270), 5, False),
    "few-entries": (40_000, (3, 4), (2, 5), 2, False),
    "one-sample": (70, (1, 1), (1, 1), 9, False),
    "many-short-tasks": (25, (4, 2) * 9, (3, 5) * 9, 4, False),
    "pieces": (9_000, (30, 4), (6, 20), 60, False),
}
ROUTES = ("gram", "vector")


def both(given, method, B=None, route="gram", **options):
    B = given.B if B is None else B
    return (
        ms.meta_gradient(B, given.w, batch, method, route=route, **options)
        for batch in (given.sparse, given.dense)
    )


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_on_arrays(shape, name, inner_steps, route):
    d, m_in, m_out, entries, shared = SHAPES[shape]
    given = pair(d, min(4, d), m_in, m_out, entries=entries, shared=shared)
    method = METHODS[name](alpha=0.05, inner_steps=inner_steps)
    found, expected = both(given, method, route=route)
    assert gradient_error(found, (expected.B, expected.w)) < 1e-12
    for field in ("heads", "loss_in", "loss_adapted", "loss_out"):
        assert relative_error(getattr(found, field), getattr(expected, field)) < 1e-12, field
    assert found.B.any() or inner_steps == 0


@pytest.mark.parametrize(
    "width", [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 20, 24, 31, 32, 33, 40, 48, 56, 59, 64, 70]
)
def test_any_width_of_the_learner(width):
    """Fewer columns than a register holds, strips of registers, and what is left of a strip."""
    given = pair(80, width, (3, 5), (4, 2), entries=9)
    found, expected = both(given, ms.ANIL(alpha=0.02, inner_steps=2))
    assert gradient_error(found, (expected.B, expected.w)) < 1e-12


@pytest.mark.parametrize("of_B", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [2, 10])
@pytest.mark.parametrize("route", ROUTES)
def test_storage_of_data_and_representation(dtype, of_B, width, route):
    given = pair(80, width, entries=9, dtype=dtype)
    found, expected = both(given, ms.MAML(alpha=0.05), given.B.astype(of_B), route)
    assert found.B.dtype == of_B
    assert gradient_error(found, (expected.B, expected.w)) < 100 * EPS[of_B]
    assert relative_error(found.heads, expected.heads) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
def test_baseline_and_lengths_without_losses(route):
    given = pair()
    found, expected = both(given, ms.AverageRisk(beta=0.1), route=route, losses=False)
    assert gradient_error(found, (expected.B, expected.w)) < 1e-13


@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("entries", [2, 50])
@pytest.mark.parametrize("name", METHODS)
def test_adaptation_is_that_on_arrays(name, entries, inner_steps):
    """With few and with many entries to a number of B."""
    given = pair(entries=entries, m_in=(30, 7, 1, 4))
    method = METHODS[name](alpha=0.05, inner_steps=inner_steps)
    found, expected = (
        ms.adapt(given.B, given.w, batch.X_in, batch.y_in, method, return_B=True)
        for batch in (given.sparse, given.dense)
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine, theirs) < 1e-13


def first_order_anil(B, w, data, alpha):
    """(2) and (10) with one inner step, by SciPy's products."""
    grads_B, grads_w = [], []
    for X, y, X_out, y_out in zip(*data, strict=True):
        Z, Z_out = X @ B, X_out @ B
        adapted = w - alpha / len(y) * Z.T @ (Z @ w - y)
        residual = (Z_out @ adapted - y_out) / len(y_out)
        grads_B.append(X_out.T @ np.outer(residual, adapted))
        grads_w.append(Z_out.T @ residual)
    return np.mean(grads_B, axis=0), np.mean(grads_w, axis=0)


@pytest.mark.parametrize("route", ROUTES)
def test_gradient_at_a_dimension_that_arrays_would_not_fit(rng, route):
    """Dense arrays of these sizes would take 6.4 GB."""
    d, k, n = 10**6, 3, 8
    X_in, y_in = sparse_sets(rng, (40,) * n, d, entries=20)
    X_out, y_out = sparse_sets(rng, (60,) * n, d, entries=20)
    B, w = rng.standard_normal((d, k)), rng.standard_normal(k)
    batch = ms.TaskBatch(X_in, y_in, X_out, y_out)
    found = ms.meta_gradient(B, w, batch, "fo-anil", alpha=0.01, route=route)
    expected = first_order_anil(B, w, (X_in, y_in, X_out, y_out), 0.01)
    assert gradient_error(found, expected) < 1e-12


def test_maml_by_products_of_scipy(rng):
    """The inner loop on B and w, with B_J as SciPy finds it."""
    X, y = sparse_sets(rng, (6, 9), 200)
    B, w, alpha = rng.standard_normal((200, 3)), rng.standard_normal(3), 0.01
    heads, adapted = ms.adapt(B, w, X, y, ms.MAML(alpha=alpha), return_B=True)
    for i in range(2):
        residual = (X[i] @ (B @ w) - y[i]) / len(y[i])
        assert relative_error(heads[i], w - alpha * B.T @ (X[i].T @ residual)) < 1e-13
        expected = B - alpha * np.outer(X[i].T @ residual, w)
        assert relative_error(adapted[i], expected) < 1e-13


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_matrices_and_arrays_of_scipy(rng, kind):
    X, y = sparse_sets(rng, (4, 5), 30)
    B, w = rng.standard_normal((30, 2)), rng.standard_normal(2)
    found = ms.adapt(B, w, [kind(x) for x in X], y, "anil", alpha=0.1)
    assert relative_error(found, ms.adapt(B, w, arrays(X), y, "anil", alpha=0.1)) < 1e-14
