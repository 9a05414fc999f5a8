"""Trace norm: optimality conditions, slow dense references, certificates and failures."""

import numpy as np
import pytest

from estimator_cases import CountingSamples, Recorder, WholeSamples, sine, tasks
from matching import assert_one_sentence
from metaspan.estimators.trace_norm import TraceNorm, default_penalty, noise_level
from reference.estimator_samples import DenseSamples
from reference.estimators_iterative import (
    coefficient_gradient,
    frank_wolfe_step,
    loss,
    trace_norm_minimum,
    trace_norm_objective,
)

RAGGED = [9, 7, 12, 8, 10, 7, 9, 11, 8, 10, 7, 9, 12, 8, 10]
LAM = 0.03


@pytest.fixture
def ragged(rng):
    """Tasks of unequal lengths with weights: lists, weights and samples."""
    X, y, B_star = tasks(rng, d=8, k=2, n=15, m=RAGGED, noise=0.3)
    weights = rng.uniform(0.5, 1.5, 15)
    weights /= weights.mean()
    return X, y, weights, DenseSamples(X, y, B_star, weights)


def coefficients(estimate):
    """Theta (n, d) of an estimate whose width is at least the rank of Theta."""
    return estimate.heads @ estimate.B.T


def test_minimum_is_that_of_dense_proximal_steps(ragged):
    X, y, weights, samples = ragged
    expected = trace_norm_minimum(X, y, LAM, weights)
    rank = np.linalg.matrix_rank(expected, tol=1e-8)
    assert 2 <= rank < 8
    trace = Recorder()
    estimate = TraceNorm(lam=LAM, tol=1e-11).estimate(samples, rank, trace)
    assert estimate.converged, estimate.reason
    np.testing.assert_allclose(
        trace.objectives[-1], trace_norm_objective(X, y, expected, LAM, weights), rtol=1e-10
    )
    np.testing.assert_allclose(coefficients(estimate), expected, atol=1e-5)
    np.testing.assert_allclose(estimate.B.T @ estimate.B, np.eye(rank), atol=1e-12)
    assert max(np.diff(trace.objectives)) <= 1e-14 * trace.objectives[0]
    assert len(trace.objectives) == estimate.iterations + 1


def test_representation_has_the_top_singular_vectors(ragged):
    X, y, weights, samples = ragged
    expected = trace_norm_minimum(X, y, LAM, weights)
    estimate = TraceNorm(lam=LAM, tol=1e-11).estimate(samples, 2, Recorder())
    top = np.linalg.svd(expected)[2][:2].T
    assert sine(estimate.B, top) < 1e-5
    np.testing.assert_allclose(estimate.heads, expected @ estimate.B, atol=1e-5)


def test_optimality_conditions_hold(ragged):
    X, y, weights, samples = ragged
    rank = np.linalg.matrix_rank(trace_norm_minimum(X, y, LAM, weights), tol=1e-8)
    estimate = TraceNorm(lam=LAM, tol=1e-12).estimate(samples, rank, Recorder())
    theta = coefficients(estimate)
    gradient = coefficient_gradient(X, y, theta, weights)
    assert np.linalg.norm(gradient, 2) <= LAM * (1 + 1e-5)
    left, values, right = np.linalg.svd(theta, full_matrices=False)
    assert values[rank - 1] > 1e-6
    np.testing.assert_allclose(gradient @ right[:rank].T, -LAM * left[:, :rank], atol=LAM * 1e-4)
    np.testing.assert_allclose(gradient.T @ left[:, :rank], -LAM * right[:rank].T, atol=LAM * 1e-4)


def test_no_coefficients_above_the_largest_useful_penalty(ragged):
    X, y, weights, samples = ragged
    largest = np.linalg.norm(coefficient_gradient(X, y, np.zeros((15, 8)), weights), 2)
    estimate = TraceNorm(lam=1.01 * largest).estimate(samples, 2, Recorder())
    assert np.abs(estimate.heads).max() == 0
    assert not estimate.converged
    assert "rank 0, below the width 2" in estimate.reason
    trace = Recorder()
    TraceNorm(lam=0.9 * largest).estimate(samples, 1, trace)
    assert np.abs(trace.heads[-1]).max() > 0


def test_no_penalty_gives_least_squares_of_each_task(rng):
    X, y, _ = tasks(rng, d=4, k=2, n=6, m=9, noise=0.3)
    trace = Recorder()
    estimate = TraceNorm(lam=0.0, tol=1e-12).estimate(DenseSamples(X, y), 4, trace)
    expected = [np.linalg.lstsq(X_i, y_i, rcond=None)[0] for X_i, y_i in zip(X, y, strict=True)]
    np.testing.assert_allclose(coefficients(estimate), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trace.objectives[-1], loss(X, y, np.array(expected)), rtol=1e-10)
    assert estimate.converged
    assert estimate.iterations < 1000


def test_no_penalty_on_few_samples_ends_without_a_loss(rng):
    """The objective, which is the gap of the one feasible dual point, falls to zero."""
    X, y, _ = tasks(rng, d=12, k=2, n=4, m=5, noise=0.3)
    trace = Recorder()
    estimate = TraceNorm(lam=0.0).estimate(DenseSamples(X, y), 4, trace)
    assert estimate.converged, estimate.reason
    assert trace.objectives[-1] < 1e-5 * trace.objectives[0]


def test_default_penalty_is_the_published_rate(rng):
    X, y, _ = tasks(rng, d=40, k=3, n=100, m=16, noise=0.7)
    samples = DenseSamples(X, y)
    expected = 0.7 * np.sqrt(100 + 40**2 / 16) / (100 * np.sqrt(16))
    np.testing.assert_allclose(default_penalty(samples, 0.7), expected, rtol=0.1)
    # Noise alone has a gradient of about this operator norm.
    noise = [0.7 * rng.standard_normal(16) for _ in range(100)]
    gradient = coefficient_gradient(X, noise, np.zeros((100, 40)))
    assert 0.5 < np.linalg.norm(gradient, 2) / expected < 2


def test_noise_is_that_of_the_residuals(rng):
    X, y, _ = tasks(rng, d=10, k=2, n=400, m=30, noise=0.7)
    assert 0.7 < noise_level(DenseSamples(X, y), 2, Recorder()) < 0.85
    samples = DenseSamples([x[:2] for x in X], [r[:2] for r in y])
    np.testing.assert_allclose(
        noise_level(samples, 2, Recorder()), np.sqrt(np.mean(samples.y**2)), rtol=1e-12
    )


def test_default_recovers_the_subspace(rng):
    X, y, B_star = tasks(rng, d=30, k=3, n=200, m=20, noise=0.1)
    estimate = TraceNorm().estimate(WholeSamples(X, y), 3, Recorder())
    assert estimate.converged, estimate.reason
    assert sine(estimate.B, B_star) < 0.15


def test_frank_wolfe_makes_the_steps_of_dense_decompositions(ragged):
    X, y, weights, samples = ragged
    trace = Recorder(rounds=6)
    TraceNorm(solver="frank-wolfe", radius=2.0, tol=0.0).estimate(samples, 8, trace)
    expected = np.zeros((15, 8))
    for B, V, objective in zip(trace.iterates, trace.heads, trace.objectives, strict=True):
        np.testing.assert_allclose(V @ B.T, expected, atol=1e-4)
        np.testing.assert_allclose(objective, loss(X, y, V @ B.T, weights), rtol=1e-9)
        expected, _ = frank_wolfe_step(X, y, expected, 2.0, weights)


def test_gap_of_frank_wolfe_is_a_certificate(ragged):
    X, y, weights, samples = ragged
    trace = Recorder(rounds=5000)
    solver = TraceNorm(solver="frank-wolfe", radius=2.0, tol=0.02)
    estimate = solver.estimate(samples, 8, trace)
    assert estimate.converged, estimate.reason
    assert max(np.diff(trace.objectives)) <= 0
    theta = coefficients(estimate)
    assert np.linalg.svd(theta, compute_uv=False).sum() <= 2.0 * (1 + 1e-9)
    _, gap = frank_wolfe_step(X, y, theta, 2.0, weights)
    assert gap <= 0.0201 * trace.objectives[-1]
    # The ball of this radius is the penalty at which the norm is the radius: found by bisection.
    low, high = 0.0, 1.0
    for _ in range(40):
        lam = (low + high) / 2
        best = trace_norm_minimum(X, y, lam, weights, steps=300)
        size = np.linalg.svd(best, compute_uv=False).sum()
        low, high = (lam, high) if size > 2.0 else (low, lam)
    minimum = loss(X, y, best, weights)
    assert minimum <= trace.objectives[-1] * (1 + 1e-3)
    assert trace.objectives[-1] - minimum <= gap * 1.01 + 1e-3 * minimum


def test_limits_are_reported(ragged):
    samples = ragged[-1]
    for solver in (TraceNorm(lam=0.01), TraceNorm(solver="frank-wolfe", radius=3.0)):
        estimate = solver.estimate(samples, 2, Recorder(rounds=3))
        assert (estimate.iterations, estimate.converged) == (3, False)
        assert "the duality gap was still" in estimate.reason
        assert "at iteration 3, its limit" in estimate.reason


def test_monitor_stops_the_iterations(ragged):
    for solver in (TraceNorm(lam=0.01), TraceNorm(solver="frank-wolfe", radius=3.0)):
        for calls in (1, 4):
            trace = Recorder(stop_after=calls)
            estimate = solver.estimate(ragged[-1], 2, trace)
            assert len(trace.iterates) == calls
            assert estimate.iterations == calls - 1


def test_passes_of_a_step_are_few(rng):
    X, y, _ = tasks(rng, d=60, k=3, n=200, m=20, noise=0.3)
    samples = CountingSamples(X, y)
    estimate = TraceNorm(noise=0.3).estimate(samples, 3, Recorder())
    assert estimate.converged
    assert samples.passes <= 8 * estimate.iterations + 60


def test_bad_arguments_are_refused(ragged):
    samples = ragged[-1]
    assert_one_sentence(lambda: TraceNorm(solver="x"), ValueError, ["solver", "'x'"])
    assert_one_sentence(lambda: TraceNorm(solver="frank-wolfe"), ValueError, ["radius", "None"])
    assert_one_sentence(lambda: TraceNorm(radius=1.0), ValueError, ["radius", "'proximal'"])
    assert_one_sentence(
        lambda: TraceNorm(solver="frank-wolfe", radius=1, lam=1), ValueError, ["lam must be None"]
    )
    assert_one_sentence(lambda: TraceNorm(lam=-1.0), ValueError, ["lam", "-1"])
    assert_one_sentence(lambda: TraceNorm().check(samples, 9), ValueError, ["width", "9"])
