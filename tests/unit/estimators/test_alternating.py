"""Alternating minimisation against slow rounds, its monotone objective and its failures."""

from dataclasses import replace

import numpy as np
import pytest

from estimator_cases import CountingSamples, Recorder, sine, tasks
from matching import assert_one_sentence
from metaspan.estimators.alternating import POWER_STEPS, AltMin, AltMinGD
from metaspan.estimators.space import EstimateError
from reference.estimator_samples import DenseSamples
from reference.estimators_iterative import (
    alternating_round,
    gradient_at_heads,
    gradient_round,
    heads_by_least_squares,
    loss,
)

RAGGED = [7, 5, 9, 5, 6, 8, 8, 7, 5, 6, 9, 6, 7, 10, 8]
ALL = [AltMin(), AltMinGD()]


def names(estimator):
    return f"{estimator.name}, {estimator.start}"


@pytest.fixture
def ragged(rng):
    """Tasks of unequal lengths with weights: lists, weights and samples."""
    X, y, B_star = tasks(rng, d=8, k=2, n=15, m=RAGGED, noise=0.1)
    weights = rng.uniform(0.5, 1.5, 15)
    weights /= weights.mean()
    return X, y, weights, DenseSamples(X, y, B_star, weights)


def test_altmin_makes_the_rounds_of_dense_least_squares(ragged):
    X, y, weights, samples = ragged
    trace = Recorder(rounds=4)
    AltMin(inner_tol=1e-13).estimate(samples, 2, trace)
    expected = trace.iterates[0]
    for B, V, objective in zip(trace.iterates, trace.heads, trace.objectives, strict=True):
        assert sine(B, expected) < 1e-8
        np.testing.assert_allclose(V, heads_by_least_squares(X, y, B), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(objective, loss(X, y, V @ B.T, weights), rtol=1e-10)
        expected = alternating_round(X, y, B, weights)
    assert len(trace.iterates) == 5


def test_steps_are_those_of_the_gradient_at_the_heads(ragged):
    X, y, weights, samples = ragged
    trace = Recorder(rounds=5)
    AltMinGD(step=0.3).estimate(samples, 2, trace)
    expected = trace.iterates[0]
    for B, V in zip(trace.iterates, trace.heads, strict=True):
        np.testing.assert_allclose(B, expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(V, heads_by_least_squares(X, y, B), rtol=1e-8, atol=1e-10)
        expected = gradient_round(X, y, B, 0.3, weights)


@pytest.mark.parametrize("start", ["random", "moments", "duchi"])
@pytest.mark.parametrize("kind", [AltMin, AltMinGD])
def test_limit_is_stationary_and_the_objective_never_rises(rng, kind, start):
    X, y, _ = tasks(rng, d=6, k=2, n=10, m=[16, 10, 18, 11, 13, 10, 17, 15, 12, 14], noise=0.3)
    weights = rng.uniform(0.5, 1.5, 10)
    weights /= weights.mean()
    samples = DenseSamples(X, y, weights=weights)
    trace = Recorder(rounds=3000)
    estimate = kind(start=start, tol=1e-8).estimate(samples, 2, trace)
    assert estimate.converged, estimate.reason
    assert estimate.reason == ""
    assert len(trace.objectives) == estimate.iterations + 1
    assert max(np.diff(trace.objectives)) <= 1e-14 * trace.objectives[0]
    assert trace.objectives[-1] < trace.objectives[0]
    B, V = estimate.B, estimate.heads
    np.testing.assert_allclose(B.T @ B, np.eye(2), atol=1e-13)
    np.testing.assert_allclose(V, heads_by_least_squares(X, y, B), rtol=1e-7, atol=1e-9)
    assert np.linalg.norm(gradient_at_heads(X, y, B, V, weights)) < 1e-6
    np.testing.assert_allclose(trace.objectives[-1], loss(X, y, V @ B.T, weights), rtol=1e-10)


def test_steps_that_end_at_nearly_singular_features_are_no_convergence():
    """Tasks with few samples more than entries of a head; the gradient stays large."""
    few = [7, 4, 9, 5, 6, 4, 8, 7, 5, 6]
    X, y, _ = tasks(np.random.default_rng(0), d=6, k=2, n=10, m=few, noise=0.3)
    estimate = AltMinGD(start="random", tol=1e-6).estimate(DenseSamples(X, y), 2, Recorder(4000))
    assert not estimate.converged
    assert "nearly singular" in estimate.reason


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_weight_of_a_task_counts_its_copies(rng, estimator):
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=8, noise=0.3)
    copies = [1, 3, 2, 2, 1, 1, 2, 4]
    repeated = [i for i, count in enumerate(copies) for _ in range(count)]
    weights = np.array(copies) / np.mean(copies)
    once = estimator.estimate(DenseSamples(X, y, weights=weights), 2, Recorder(3000))
    all_copies = DenseSamples([X[i] for i in repeated], [y[i] for i in repeated])
    many = estimator.estimate(all_copies, 2, Recorder(3000))
    unweighted = estimator.estimate(DenseSamples(X, y), 2, Recorder(3000))
    assert sine(once.B, many.B) < 1e-5
    assert sine(once.B, unweighted.B) > 1e-3


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_subspace_is_recovered_without_noise(rng, estimator):
    X, y, B_star = tasks(rng, d=20, k=3, n=60, m=8, noise=0.0)
    samples = DenseSamples(X, y)
    assert sine(samples.normals(3, 0), B_star) > 0.9  # a random start is no solution
    for start in ("random", "duchi"):
        estimate = replace(estimator, start=start).estimate(samples, 3, Recorder())
        assert estimate.converged, estimate.reason
        assert sine(estimate.B, B_star) < 1e-6


def test_a_round_is_one_pass(rng):
    X, y, _ = tasks(rng, d=20, k=3, n=40, m=8, noise=0.3)
    passes = []
    for rounds in (3, 9):
        samples = CountingSamples(X, y)
        AltMinGD(start="random", step=0.1).estimate(samples, 3, Recorder(rounds))
        passes.append(samples.passes)
    assert passes == [4, 10]
    samples = CountingSamples(X, y)
    trace = Recorder(9)
    AltMinGD(start="random").estimate(samples, 3, trace)
    assert samples.passes <= 10 + POWER_STEPS + 3  # at most three steps were taken again


def test_passes_of_altmin_do_not_grow_with_the_condition_of_the_heads(rng):
    X, y, B_star = tasks(rng, d=20, k=3, n=100, m=20, noise=0.1)
    heads = rng.standard_normal((100, 3)) * [1, 0.1, 0.01]
    y = [X_i @ (B_star @ w_i) for X_i, w_i in zip(X, heads, strict=True)]
    samples = CountingSamples(X, y)
    AltMin(start="random", inner_tol=1e-6).estimate(samples, 3, Recorder(2))
    assert samples.passes <= 3 + 2 * 25


def test_divergence_is_reported(rng):
    X, y, _ = tasks(rng, d=10, k=2, n=20, m=6, noise=0.3)
    y = [1e3 * y_i for y_i in y]
    estimate = AltMinGD(step=1e307).estimate(DenseSamples(X, y), 2, Recorder(50))
    assert "the objective became" in estimate.reason
    assert not estimate.converged


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_limit_of_iterations_is_reported(ragged, estimator):
    estimate = estimator.estimate(ragged[-1], 2, Recorder(rounds=2))
    assert not estimate.converged
    assert estimate.iterations == 2
    assert "still moved by" in estimate.reason
    assert "at iteration 2, its limit" in estimate.reason


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_monitor_stops_the_iterations(ragged, estimator):
    trace = Recorder(stop_after=3)
    estimate = estimator.estimate(ragged[-1], 2, trace)
    assert estimate.iterations == 2
    assert len(trace.iterates) == 3
    assert sine(estimate.B, np.linalg.qr(trace.iterates[-1])[0]) < 1e-7


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_samples_too_few_for_heads_are_refused(rng, estimator):
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=3)
    samples = DenseSamples(X, y)
    estimator.check(samples, 2)
    assert_one_sentence(
        lambda: estimator.check(samples, 3), ValueError, ["width = 3", "task has 3"]
    )
    assert_one_sentence(lambda: estimator.check(samples, 7), ValueError, ["at most 6", "got 7"])


@pytest.mark.parametrize("estimator", ALL, ids=names)
def test_a_task_of_one_sample_needs_another_start(rng, estimator):
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=[1, *[6] * 7], noise=0.3)
    samples = DenseSamples(X, y)
    assert_one_sentence(
        lambda: estimator.estimate(samples, 2, Recorder()), EstimateError, ["'duchi'", "'moments'"]
    )
    replace(estimator, start="moments").estimate(samples, 2, Recorder(3))


def test_options_are_checked():
    assert_one_sentence(lambda: AltMin(start="zero"), ValueError, ["start", "'zero'"])
    assert_one_sentence(lambda: AltMinGD(step=-1.0), ValueError, ["step", "-1"])
    assert_one_sentence(lambda: AltMin(inner_tol=2), ValueError, ["inner_tol", "2"])
    assert_one_sentence(lambda: AltMinGD(tol="x"), TypeError, ["tol", "'x'"])


@pytest.mark.parametrize("size", [1e-60, 1e60, 1e100])
def test_default_steps_do_not_depend_on_the_size_of_the_responses(ragged, size):
    """At 1e100 the squares of the curvature overflow."""
    X, y = ragged[0], ragged[1]
    scaled = DenseSamples(X, [size * y_i for y_i in y])
    with np.errstate(over="ignore"):
        estimate = AltMinGD(start="random").estimate(scaled, 2, Recorder(rounds=2000))
    assert np.isfinite(estimate.B).all()
    expected = AltMinGD(start="random").estimate(DenseSamples(X, y), 2, Recorder(rounds=2000))
    assert sine(estimate.B, expected.B) < 1e-5


@pytest.mark.parametrize("step", [1e12, 1e20])
def test_steps_far_too_long_are_no_convergence(rng, step):
    """B becomes so large that further steps do not turn it."""
    X, y, _ = tasks(rng, d=6, k=2, n=10, m=20, noise=0.3)
    estimate = AltMinGD(step=step).estimate(DenseSamples(X, y), 2, Recorder(rounds=100))
    assert not estimate.converged
    assert estimate.reason


def test_responses_that_are_no_numbers_are_a_divergence(ragged):
    X, y = ragged[0], [y_i.copy() for y_i in ragged[1]]
    y[0][0] = np.nan
    estimate = AltMinGD(start="random").estimate(DenseSamples(X, y), 2, Recorder(rounds=5))
    assert not estimate.converged
    assert "objective became nan" in estimate.reason
