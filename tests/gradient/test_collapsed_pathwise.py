"""The collapsed engine's algebra, applied to projections of explicitly drawn samples, gives the
explicit round to rounding.
"""

import numpy as np
import pytest

from metaspan._core_types import CoreMethod
from metaspan._load import core
from reference import explicit

METHODS = {
    f"{name}-{'exact' if exact else 'first-order'}-{steps}": {
        "alpha": 0.07,
        "beta": 0.1,
        "inner_steps": steps,
        "adapt_B": adapt_B,
        "exact": exact,
    }
    for name, adapt_B in (("anil", False), ("maml", True))
    for exact in (False, True)
    for steps in (1, 2, 3)
} | {"average": {"alpha": 0.0, "beta": 0.1, "inner_steps": 0, "adapt_B": False, "exact": False}}


def of_task(samples, i):
    X, y, variance = samples
    return X[:, i : i + 1], y[:, i : i + 1], variance


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("sizes", [(11, 3, 2, 4, 5), (30, 2, 3, 1, 4), (25, 4, 1, 6, 2)])
@pytest.mark.parametrize("name", METHODS)
def test_given_samples_give_the_explicit_round(name, sizes, shared, rng):
    """Compare gradients in the span and by the head, and each task's Gram matrix off the span."""
    d, k, k_star, m_in, m_out = sizes
    method, n, noise = METHODS[name], 3, 0.4
    e = min(k, d - k_star)
    B = 0.5 * rng.standard_normal((d, k))
    w = 0.3 * rng.standard_normal(k)
    # Coordinates: B_star is the first k_star unit vectors, E what B has off them, then the rest.
    off = np.linalg.qr(B[k_star:], mode="complete")[0]
    basis = np.zeros((d, d))
    basis[:k_star, :k_star] = np.eye(k_star)
    basis[k_star:, k_star:] = off
    Z = (basis.T @ B)[: k_star + e]
    heads = rng.standard_normal((n, k_star))
    theta = np.zeros((1, n, d))
    theta[0, :, :k_star] = heads

    def draw(m):
        X, z = rng.standard_normal((n, m, d)), rng.standard_normal((n, m, 1))
        y = (X @ theta[0][:, :, None] + noise * z)[:, :, 0]
        return np.concatenate([X @ basis, z], axis=2), (X[None], y[None], 0.0)

    inner, explicit_inner = draw(m_in)
    outer, explicit_outer = (inner, explicit_inner) if shared else draw(m_out)
    found = core.collapsed_round(
        CoreMethod(**method, beta_head=method["beta"]), Z, w, heads, noise, inner, outer, shared
    )

    by_task = [
        explicit.meta_gradient(
            B[None],
            w[None],
            of_task(explicit_inner, i),
            of_task(explicit_outer, i),
            method,
        )
        for i in range(n)
    ]
    grad_B = [basis.T @ task[0][0] for task in by_task]
    scale = max(np.abs(task).max() for task in grad_B)
    mean = np.mean(grad_B, axis=0)[: k_star + e]
    np.testing.assert_allclose(found["grad_Z"], mean, rtol=0, atol=1e-13 * scale)
    by_w = np.mean([task[1][0] for task in by_task], axis=0)
    np.testing.assert_allclose(found["grad_w"], by_w, rtol=0, atol=1e-13 * np.abs(by_w).max())
    for A, task in zip(found["off_span"], grad_B, strict=True):
        gram = task[k_star + e :].T @ task[k_star + e :]
        np.testing.assert_allclose(A.T @ A, gram, rtol=0, atol=1e-12 * scale**2)
        assert len(A) <= 2 * method["inner_steps"] + 1
