"""The Cramer-Rao bound (64): its closed form, the spectrum's edge, and an efficient estimate."""

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence
from metaspan import theory


def test_equal_variances_have_the_closed_form():
    tasks = ms.LinearTasks(d=100, k=5, noise=0.7, heads=ms.GaussianHeads(cov=np.full(5, 0.2)))
    n = np.array([50.0, 400.0, 1600.0])
    deviation = 0.7 * np.sqrt(5 / (n * 20))
    tangent = deviation * (np.sqrt(95) + np.sqrt(5))
    np.testing.assert_allclose(
        theory.cramer_rao(tasks, n, 25), tangent / np.hypot(1, tangent), rtol=1e-12
    )
    # Known heads save k samples of every task; a spread is noise.
    known = theory.cramer_rao(tasks, 400, 20, known_heads=True)
    assert known == pytest.approx(theory.cramer_rao(tasks, 400, 25), rel=1e-12)
    spread = ms.LinearTasks(d=100, k=5, noise=0.0, spread=0.7, heads=tasks.heads)
    assert theory.cramer_rao(spread, 400, 25) == theory.cramer_rao(tasks, 400, 25)
    assert theory.cramer_rao(ms.LinearTasks(d=5, k=5, noise=0.7), 9, 25) == 0.0
    assert theory.cramer_rao(ms.LinearTasks(d=9, k=5), 9, 25) == 0.0


def test_the_edge_is_that_of_large_matrices(rng):
    """Unequal variances, 400 rows and 200 columns: the norm scatters by less than 1 %."""
    values = np.repeat([1.0, 0.5, 0.25, 2.0], 50)
    tasks = ms.LinearTasks(d=600, k=200, noise=0.1, heads=ms.GaussianHeads(cov=values))
    errors = 0.1 * rng.standard_normal((400, 200)) / np.sqrt(1e4 * values)
    tangent = np.linalg.norm(errors, 2)
    computed = theory.cramer_rao(tasks, 1e4, 1, known_heads=True)
    assert computed == pytest.approx(tangent / np.hypot(1, tangent), rel=0.02)


def test_least_squares_with_known_heads_attains_the_bound(rng):
    """Regression on (w kron x), the maximum of the likelihood of B, with 20 columns of equal size.

    With n samples and d k unknowns, errors exceed the leading term by n / (n - d k).
    """
    d, k, n, noise = 80, 20, 8000, 0.5
    tasks = ms.LinearTasks(d=d, k=k, noise=noise)
    w, X = rng.standard_normal((n, k)), rng.standard_normal((n, d))
    design = (w[:, :, None] * X[:, None, :]).reshape(n, k * d)
    y = (X[:, :k] * w).sum(axis=1) + noise * rng.standard_normal(n)
    B = np.linalg.solve(design.T @ design, design.T @ y).reshape(k, d).T
    dist = ms.subspace_distance(np.ascontiguousarray(B), np.eye(d, k))
    tangent = np.tan(np.arcsin(dist)) * np.sqrt((n - k * d) / n)
    bound = np.tan(np.arcsin(theory.cramer_rao(tasks, n, 1, known_heads=True)))
    assert tangent == pytest.approx(bound, rel=0.1)


def test_bad_input_of_the_bound():
    with pytest.raises(
        ValueError, match=r"tasks.spectrum must be None for \(64\), which is that of"
    ):
        theory.cramer_rao(ms.LinearTasks(d=9, k=2, spectrum=2.0), 100, 10)
    tasks = ms.LinearTasks(d=9, k=2)
    for call, kind, message in (
        (lambda: theory.cramer_rao(tasks, 5, 2), ValueError, "m must be at least 3; got 2"),
        (lambda: theory.cramer_rao(tasks, [5, 0], 3), ValueError, "n must be > 0; got 0"),
        (lambda: theory.cramer_rao(3, 5, 3), TypeError, "tasks must be a LinearTasks"),
        (
            lambda: theory.cramer_rao(
                ms.LinearTasks(d=9, k=2, heads=ms.GaussianHeads(cov=[1, 0])), 5, 3
            ),
            ValueError,
            "mu_star is 0",
        ),
    ):
        assert_one_sentence(call, kind, [message])
