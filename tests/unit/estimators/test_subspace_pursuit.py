"""Meta Subspace Pursuit against dense steps, its fixed point, and temporal differences."""

import numpy as np
import pytest

from estimator_cases import Recorder, WholeSamples, sine, tasks
from matching import assert_one_sentence
from metaspan.estimators.subspace_pursuit import DECAY, SubspacePursuit
from reference.estimator_samples import DenseSamples
from reference.estimators_iterative import subspace_pursuit_step, temporal_difference_step


@pytest.fixture
def plain(rng):
    X, y, B_star = tasks(rng, d=8, k=2, n=20, m=12, noise=0.3)
    return X, y, DenseSamples(X, y, B_star)


def test_steps_are_those_of_dense_decompositions(rng):
    lengths = [9, 12, 10, 11, 14, 9, 10, 12]
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=lengths, noise=0.3)
    trace = Recorder(rounds=6)
    SubspacePursuit(step=0.2).estimate(DenseSamples(X, y), 2, trace)
    expected = np.zeros((8, 6))
    for B, V, objective in zip(trace.iterates, trace.heads, trace.objectives, strict=True):
        np.testing.assert_allclose(V @ B.T, expected, atol=1e-8)
        terms = [np.mean((X_i @ t - y_i) ** 2) for X_i, y_i, t in zip(X, y, expected, strict=True)]
        np.testing.assert_allclose(objective, np.mean(terms) / 2, rtol=1e-8)
        expected = subspace_pursuit_step(X, y, expected, 2, 0.2)


def test_limit_is_a_fixed_point_and_the_objective_never_rises(plain):
    X, y, samples = plain
    trace = Recorder()
    estimate = SubspacePursuit(tol=1e-10).estimate(samples, 2, trace)
    assert estimate.converged, estimate.reason
    assert max(np.diff(trace.objectives)) <= 0
    assert len(trace.objectives) == estimate.iterations + 1
    theta = estimate.heads @ estimate.B.T
    moved = subspace_pursuit_step(X, y, theta, 2, 0.2) - theta
    assert np.linalg.norm(moved) < 1e-8 * np.linalg.norm(theta)
    fixed = SubspacePursuit(step=0.2, tol=1e-10).estimate(samples, 2, Recorder(5000))
    np.testing.assert_allclose(fixed.heads @ fixed.B.T, theta, atol=1e-7)
    np.testing.assert_allclose(estimate.B.T @ estimate.B, np.eye(2), atol=1e-12)


def test_subspace_is_recovered_without_noise(rng):
    X, y, B_star = tasks(rng, d=30, k=3, n=100, m=20, noise=0.0)
    estimate = SubspacePursuit().estimate(WholeSamples(X, y), 3, Recorder())
    assert estimate.converged, estimate.reason
    assert sine(estimate.B, B_star) < 1e-6


def chains(rng, gamma):
    """Tasks whose value functions share a subspace: X, X_next, rewards and the values' span."""
    X, values, B_star = tasks(rng, d=8, k=2, n=30, m=40, noise=0.0)
    X_next = [0.6 * x[rng.permutation(len(x))] + 0.2 * rng.standard_normal(x.shape) for x in X]
    thetas = [np.linalg.lstsq(x, v, rcond=None)[0] for x, v in zip(X, values, strict=True)]
    rewards = [v - gamma * n @ t for v, n, t in zip(values, X_next, thetas, strict=True)]
    return X, X_next, rewards, B_star, np.array(thetas)


def test_semigradient_makes_the_steps_of_temporal_differences(rng):
    X, X_next, rewards, _, _ = chains(rng, 0.9)
    trace = Recorder(rounds=5)
    SubspacePursuit(step=0.3, semigradient=(X_next, 0.9)).estimate(
        DenseSamples(X, rewards), 2, trace
    )
    expected = np.zeros((30, 8))
    for t, (B, V) in enumerate(zip(trace.iterates, trace.heads, strict=True)):
        np.testing.assert_allclose(V @ B.T, expected, atol=1e-8)
        step = 0.3 / (1 + t / DECAY)
        expected = temporal_difference_step(X, X_next, rewards, expected, k=2, step=step, gamma=0.9)


@pytest.mark.parametrize("layout", ["array", "list", "matrix"])
def test_semigradient_finds_the_value_functions(rng, layout):
    X, X_next, rewards, B_star, thetas = chains(rng, 0.9)
    if layout == "array":
        X_next = np.array(X_next)
    elif layout == "matrix":
        X_next = np.concatenate(X_next)
    solver = SubspacePursuit(semigradient=(X_next, 0.9), tol=1e-7)
    samples = DenseSamples(X, rewards)
    solver.check(samples, 2)
    estimate = solver.estimate(samples, 2, Recorder(5000))
    assert estimate.converged, estimate.reason
    assert sine(estimate.B, B_star) < 1e-4
    np.testing.assert_allclose(estimate.heads @ estimate.B.T, thetas, atol=1e-3)
    without = SubspacePursuit().estimate(samples, 2, Recorder())
    assert np.abs(without.heads @ without.B.T - thetas).max() > 0.05


def test_divergence_and_limits_are_reported(plain):
    samples = plain[-1]
    estimate = SubspacePursuit(step=50.0).estimate(samples, 2, Recorder())
    assert not estimate.converged
    assert "the objective became" in estimate.reason
    estimate = SubspacePursuit().estimate(samples, 2, Recorder(rounds=3))
    assert (estimate.iterations, estimate.converged) == (3, False)
    assert "at iteration 3, its limit" in estimate.reason


def test_monitor_stops_the_iterations(plain):
    for calls in (1, 4):
        trace = Recorder(stop_after=calls)
        estimate = SubspacePursuit().estimate(plain[-1], 2, trace)
        assert len(trace.iterates) == calls
        assert estimate.iterations == calls - 1


def test_bad_arguments_are_refused(plain):
    X, _, samples = plain
    assert_one_sentence(lambda: SubspacePursuit(step=-1), ValueError, ["step", "-1"])
    assert_one_sentence(lambda: SubspacePursuit(semigradient=X), TypeError, ["semigradient"])
    assert_one_sentence(
        lambda: SubspacePursuit(semigradient=(X, 1.5)), ValueError, ["gamma", "1.5"]
    )
    assert_one_sentence(lambda: SubspacePursuit(semigradient=(3, 0.5)), TypeError, ["X_next", "3"])
    short = SubspacePursuit(semigradient=(X[:5], 0.5))
    assert_one_sentence(
        lambda: short.check(samples, 2), ValueError, ["X_next", "240 rows", "60 rows"]
    )
    assert_one_sentence(lambda: SubspacePursuit().check(samples, 9), ValueError, ["width", "9"])


@pytest.mark.parametrize("d", [10, 60])
def test_one_task_ends_at_least_squares(rng, d):
    """With one task the block Krylov space has one singular value, which must be accurate."""
    X, y, _ = tasks(rng, d=d, k=1, n=1, m=40, noise=0.1)
    estimate = SubspacePursuit().estimate(DenseSamples(X, y), 1, Recorder())
    theta = np.linalg.lstsq(X[0], y[0], rcond=None)[0]
    assert estimate.converged, estimate.reason
    np.testing.assert_allclose(estimate.heads @ estimate.B.T, [theta], rtol=1e-5, atol=1e-6)


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="step must be positive; got 0"):
        SubspacePursuit(step=0)
