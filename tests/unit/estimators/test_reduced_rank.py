"""Reduced-rank regression against explicit least squares, on all of its routes."""

import numpy as np
import pytest

from estimator_draws import draw, draw_weights, projection, sine
from metaspan.estimators import reduced_rank
from metaspan.estimators.reduced_rank import ReducedRank
from reference import estimators as reference
from reference.estimator_samples import DenseSamples


def draw_shared(rng, *, n=12, d=9, k=3, m=20, noise=0.5):
    B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
    X = rng.standard_normal((m, d))
    Y = X @ B_star @ rng.standard_normal((k, n)) + noise * rng.standard_normal((m, n))
    return X, Y, B_star


@pytest.mark.parametrize("by_passes", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(20, 9), (8, 30), (9, 9)])
def test_coefficients_are_the_best_of_their_rank(rng, monkeypatch, shape, ridge, by_passes):
    m, d = shape
    if by_passes:
        monkeypatch.setattr(reduced_rank, "FORMED", 0)
    X, Y, B_star = draw_shared(rng, m=m, d=d)
    weights = draw_weights(rng, 12)
    samples = DenseSamples([X] * 12, list(Y.T), B_star, weights)
    estimate = ReducedRank(ridge=ridge).estimate(samples, 3, None)
    Theta = reference.reduced_rank_coefficients(X, Y, weights, 3, ridge)
    B = np.linalg.svd(Theta)[2][:3].T
    assert estimate.converged
    np.testing.assert_allclose(projection(estimate.B), projection(B), rtol=0, atol=1e-7)
    np.testing.assert_allclose(estimate.heads @ estimate.B.T, Theta, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("m", "d"), [(20, 9), (8, 30)])
def test_subspace_is_exact_without_noise(rng, m, d):
    X, Y, B_star = draw_shared(rng, m=m, d=d, noise=0.0)
    estimate = ReducedRank().estimate(DenseSamples([X] * 12, list(Y.T), B_star), 3, None)
    if m > d:
        assert sine(estimate.B, B_star) < 1e-12
    np.testing.assert_allclose(X @ estimate.B @ estimate.heads.T, Y, rtol=0, atol=1e-10)


def test_narrower_estimate_is_the_first_columns_of_a_wider_one(rng):
    X, Y, B_star = draw_shared(rng)
    samples = DenseSamples([X] * 12, list(Y.T), B_star)
    wide, narrow = (ReducedRank().estimate(samples, k, None).B for k in (4, 2))
    np.testing.assert_allclose(projection(wide[:, :2]), projection(narrow), rtol=0, atol=1e-10)


def test_equations_that_are_not_solved_are_reported(rng, monkeypatch):
    monkeypatch.setattr(reduced_rank, "FORMED", 0)
    X, Y, _ = draw_shared(rng, m=40, d=30)
    estimate = ReducedRank(passes=2).estimate(DenseSamples([X] * 12, list(Y.T)), 3, None)
    assert not estimate.converged
    assert "after 2 products" in estimate.reason


def test_tasks_with_different_features_are_refused(rng):
    X, y, _ = draw(rng)
    with pytest.raises(ValueError, match="reduced-rank needs tasks that share X"):
        ReducedRank().check(DenseSamples(X, y), 3)


@pytest.mark.parametrize("by_passes", [False, True])
def test_width_above_the_rank_is_refused(rng, monkeypatch, by_passes):
    if by_passes:
        monkeypatch.setattr(reduced_rank, "FORMED", 0)
    X, Y, _ = draw_shared(rng, n=2)
    with pytest.raises(ValueError, match="width must be at most 2, the number of directions"):
        ReducedRank().estimate(DenseSamples([X] * 2, list(Y.T)), 3, None)


def test_negative_penalty_is_refused():
    with pytest.raises(ValueError, match="ridge must be"):
        ReducedRank(ridge=-1.0)
