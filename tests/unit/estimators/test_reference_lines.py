"""The true subspace, every task alone and one model for all tasks, against explicit matrices."""

import numpy as np
import pytest

from estimator_draws import draw, draw_weights, projection, sine
from metaspan.estimators import reference_lines
from metaspan.estimators.reference_lines import Oracle, Pooled, SingleTask
from metaspan.estimators.ridge import choose_penalty, loo_errors, penalties
from reference import estimators as reference
from reference.estimator_samples import DenseSamples


def coefficients(estimate):
    return estimate.heads @ estimate.B.T


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("m", [2, 7, "ragged"])
def test_oracle_has_the_heads_of_the_true_features(rng, ridge, m):
    X, y, B_star = draw(rng, m=rng.integers(2, 9, 12) if m == "ragged" else m)
    estimate = Oracle(ridge=ridge).estimate(DenseSamples(X, y, B_star), 3, None)
    np.testing.assert_array_equal(estimate.B, B_star)
    expected = reference.least_squares(X, y, B_star, ridge)
    np.testing.assert_allclose(estimate.heads, expected, rtol=0, atol=1e-8)


def test_oracle_recovers_heads_without_noise(rng):
    X, y, B_star = draw(rng, noise=0.0)
    estimate = Oracle().estimate(DenseSamples(X, y, B_star), 3, None)
    fits = [X_i @ theta for X_i, theta in zip(X, coefficients(estimate), strict=True)]
    np.testing.assert_allclose(np.concatenate(fits), np.concatenate(y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
@pytest.mark.parametrize(("d", "m"), [(9, 4), (9, 14), (150, 7), (9, "ragged"), (150, "ragged")])
def test_single_tasks_are_ridge_regressions(rng, ridge, d, m):
    X, y, _ = draw(rng, d=d, m=rng.integers(2, 15, 12) if m == "ragged" else m)
    weights = draw_weights(rng, len(X))
    estimate = SingleTask(ridge=ridge).estimate(DenseSamples(X, y, None, weights), 3, None)
    Theta = reference.ridge_coefficients(X, y, ridge)
    P = projection(reference.principal_directions(Theta, weights, 3))
    np.testing.assert_allclose(projection(estimate.B), P, rtol=0, atol=1e-7)
    np.testing.assert_allclose(coefficients(estimate), Theta @ P, rtol=0, atol=1e-7)


@pytest.mark.parametrize("ridge", [0.1, "loo"])
def test_single_tasks_do_not_depend_on_how_many_gram_matrices_are_kept(rng, monkeypatch, ridge):
    X, y, _ = draw(rng, d=30, m=rng.integers(2, 9, 12))
    samples, B = DenseSamples(X, y), []
    for numbers in (1 << 22, 100, 1):
        monkeypatch.setattr(reference_lines, "GRAM_NUMBERS", numbers)
        estimate = SingleTask(ridge=ridge).estimate(samples, 3, None)
        B.append(coefficients(estimate))
    for other in B[1:]:
        np.testing.assert_allclose(other, B[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("m", [4, 14])
def test_single_tasks_without_ridge_have_the_least_norm(rng, m):
    X, y, _ = draw(rng, m=m)
    estimate = SingleTask(ridge=0.0).estimate(DenseSamples(X, y), 9, None)
    Theta = [np.linalg.lstsq(X_i, y_i)[0] for X_i, y_i in zip(X, y, strict=True)]
    np.testing.assert_allclose(coefficients(estimate), Theta, rtol=0, atol=1e-8)


@pytest.mark.parametrize("d", [3, 9])
def test_leave_one_out_errors_are_those_of_samples_left_out(rng, d):
    X, y, _ = draw(rng, d=d, m=5)
    offsets, tried = np.arange(13) * 5, np.array([1e-3, 0.1, 2.0])
    errors = loo_errors(np.concatenate(X), np.concatenate(y), offsets, tried) / 5
    expected = [
        [reference.left_out_error(X_i, y_i, penalty) for penalty in tried]
        for X_i, y_i in zip(X, y, strict=True)
    ]
    np.testing.assert_allclose(errors, expected, rtol=1e-8)


@pytest.mark.parametrize(("d", "m"), [(9, 4), (5, 12)])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_default_penalty_is_that_of_left_out_samples(rng, d, m, noise):
    X, y, B_star = draw(rng, d=d, m=m, noise=noise)
    weights = draw_weights(rng, 12)
    samples = DenseSamples(X, y, B_star, weights)

    def best(features):
        scale = np.sum(np.square(features)) / (12 * m * min(m, features[0].shape[1]))
        errors = [
            [reference.left_out_error(Z, y_i, r) for r in penalties(scale)]
            for Z, y_i in zip(features, y, strict=True)
        ]
        return penalties(scale)[np.argmin(weights @ errors)]

    for kind, features, width in (
        (SingleTask, X, d),
        (Oracle, [X_i @ B_star for X_i in X], 3),
    ):
        default = coefficients(kind().estimate(samples, width, None))
        expected = coefficients(kind(ridge=best(features)).estimate(samples, width, None))
        np.testing.assert_allclose(default, expected, rtol=0, atol=1e-8)


def test_default_penalty_follows_the_noise(rng):
    chosen = []
    for noise in (0.0, 3.0):
        X, y, _ = draw(rng, n=40, m=12, noise=noise)
        offsets = np.arange(41) * 12
        chosen.append(choose_penalty(np.concatenate(X), np.concatenate(y), offsets, np.ones(40)))
    assert chosen[0] < 1e-3
    assert chosen[1] > 0.1


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize(("d", "width"), [(9, 1), (9, 4), (100, 1)])
def test_pooled_is_one_regression_of_all_rows(rng, ridge, d, width):
    X, y, _ = draw(rng, d=d)
    weights = draw_weights(rng, len(X))
    estimate = Pooled(ridge=ridge).estimate(DenseSamples(X, y, None, weights), width, None)
    theta = reference.pooled_coefficients(X, y, weights, ridge)
    assert estimate.converged
    np.testing.assert_allclose(coefficients(estimate), np.tile(theta, (12, 1)), rtol=0, atol=1e-7)
    np.testing.assert_allclose(estimate.B.T @ estimate.B, np.eye(width), rtol=0, atol=1e-12)
    assert not estimate.heads[:, 1:].any()


def test_pooled_finds_the_common_vector(rng):
    X, _, B_star = draw(rng, k=1)
    y = [2.0 * X_i @ B_star[:, 0] for X_i in X]
    estimate = Pooled().estimate(DenseSamples(X, y, B_star), 1, None)
    assert sine(estimate.B, B_star) < 1e-9
    np.testing.assert_allclose(np.abs(estimate.heads), 2.0)


def test_pooled_that_ends_early_says_so(rng):
    X, y, _ = draw(rng, d=60)
    estimate = Pooled(passes=3).estimate(DenseSamples(X, y), 1, None)
    assert not estimate.converged
    assert "after 3 products" in estimate.reason


def test_pooled_of_zero_responses_is_refused(rng):
    X, y, _ = draw(rng)
    with pytest.raises(ValueError, match="pooled found coefficients of zero"):
        Pooled().estimate(DenseSamples(X, [0 * y_i for y_i in y]), 1, None)


def test_oracle_without_truth_is_refused(rng):
    X, y, B_star = draw(rng)
    with pytest.raises(ValueError, match="oracle needs the true B_star"):
        Oracle().check(DenseSamples(X, y), 3)
    with pytest.raises(ValueError, match="width must be 3, the columns of B_star"):
        Oracle().check(DenseSamples(X, y, B_star), 4)


def test_single_tasks_fewer_than_the_width_are_refused(rng):
    X, y, _ = draw(rng, n=2)
    with pytest.raises(ValueError, match="width must be at most 2, the number of directions"):
        SingleTask().estimate(DenseSamples(X, y), 3, None)


@pytest.mark.parametrize("kind", [Oracle, SingleTask, Pooled])
def test_bad_penalties_are_refused(kind):
    with pytest.raises(ValueError, match="ridge must be"):
        kind(ridge=-1.0)
    with pytest.raises((ValueError, TypeError), match="ridge must be"):
        kind(ridge="cv")


@pytest.mark.parametrize("ridge", [1e-300, 1e-18, 1e-14])
@pytest.mark.parametrize("m", [1, 2, 30])
def test_a_tiny_penalty_gives_least_squares_of_the_least_norm(rng, ridge, m):
    X, y, B_star = draw(rng, m=m)
    samples = DenseSamples(X, y, B_star)
    heads = [Oracle(ridge=r).estimate(samples, 3, None).heads for r in (ridge, 0.0)]
    np.testing.assert_allclose(*heads, rtol=1e-7, atol=1e-9)
