"""The law of the heads and ridge regression, (69) and (70), against explicit matrices."""

import numpy as np
import pytest

from metaspan.people.heads import (
    Options,
    Prior,
    TaskSums,
    center,
    choose_ridge,
    fit_prior,
    loo_residuals,
    ridge_heads,
    standardise,
)
from reference import people

SIZES = np.array([6, 2, 9, 3, 4, 12, 1, 5, 7, 3] * 3)


class Tasks:
    """Ragged tasks whose heads follow (69)."""

    def __init__(self, rng, k=2, sizes=SIZES, noise=0.5):
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.mean = np.arange(1.0, k + 1)
        root = rng.standard_normal((k, k))
        heads = self.mean + rng.standard_normal((len(sizes), k)) @ root.T
        self.Z = rng.standard_normal((self.offsets[-1], k)) + 0.5
        noise = np.sqrt(noise) * rng.standard_normal(len(self.Z))
        self.y = np.sum(self.Z * np.repeat(heads, sizes, axis=0), axis=1) + noise
        self.levels = np.repeat(3 * rng.standard_normal(len(sizes)), sizes)
        self.y += self.levels

    def lists(self):
        return people.split(self.Z, self.offsets), people.split(self.y, self.offsets)

    def contrasts(self, intercept):
        Z, y = self.lists()
        return people.without_intercept(Z, y) if intercept else (Z, y)

    def sums(self, intercept):
        return TaskSums.of(self.Z, self.y, self.offsets, intercept)


@pytest.fixture
def tasks(rng):
    return Tasks(rng)


@pytest.mark.parametrize("intercept", [False, True])
def test_sums_are_those_of_the_contrasts(tasks, intercept):
    Z, y = tasks.contrasts(intercept)
    sums = tasks.sums(intercept)
    np.testing.assert_allclose(sums.A, [z.T @ z for z in Z], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        sums.b, [z.T @ r for z, r in zip(Z, y, strict=True)], rtol=0, atol=1e-11
    )
    assert sums.squares == pytest.approx(sum(r @ r for r in y), rel=1e-12)
    assert sums.count == sum(map(len, y))


def test_centred_values_have_the_mean_zero_in_each_task(tasks):
    for values in (tasks.y, tasks.Z):
        expected = [part - part.mean(axis=0) for part in people.split(values, tasks.offsets)]
        found = center(values, tasks.offsets)
        np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("fit_mean", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_steps_of_the_prior_are_those_of_conditional_normal_laws(
    tasks, intercept, fit_mean, monkeypatch
):
    monkeypatch.setattr("metaspan.people.heads.STEPS", 3)
    sums = tasks.sums(intercept)
    variance = sums.squares / sums.count
    scale = np.trace(sums.A.sum(axis=0)) / sums.count
    step = (np.zeros(2), np.eye(2) * variance / (2 * scale), variance / 2)
    for _ in range(3):
        step = people.em_step(*tasks.contrasts(intercept), *step, fit_mean=fit_mean)
    prior = fit_prior(sums, fit_mean)
    np.testing.assert_allclose(prior.mean, step[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(prior.covariance, step[1], rtol=1e-10)
    assert prior.noise == pytest.approx(step[2], rel=1e-10)


def likelihood_of(numbers, Z, y, fit_mean):
    """The likelihood at the mean, the logarithm of the covariance, and that of the noise."""
    k = Z[0].shape[1]
    mean = numbers[:k] if fit_mean else np.zeros(k)
    symmetric = np.zeros((k, k))
    symmetric[np.triu_indices(k)] = numbers[k:-1]
    symmetric += np.triu(symmetric, 1).T
    values, vectors = np.linalg.eigh(symmetric)
    covariance = vectors * np.exp(values) @ vectors.T
    return people.log_likelihood(Z, y, mean, covariance, np.exp(numbers[-1]))


def numbers_of(prior):
    values, vectors = np.linalg.eigh(prior.covariance)
    logarithm = vectors * np.log(values) @ vectors.T
    upper = logarithm[np.triu_indices(len(values))]
    return np.concatenate([prior.mean, upper, [np.log(prior.noise)]])


@pytest.mark.parametrize("fit_mean", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_prior_maximises_the_likelihood(tasks, rng, intercept, fit_mean):
    """Check that the gradient vanishes, and that steps in random directions lower the likelihood.

    The scale of the gradient is its value where the noise is 1 % larger. A noise that is averaged
    over N rows instead of N - n contrasts is off by 20 %.
    """
    if not intercept:
        tasks.y -= tasks.levels
    data = (*tasks.contrasts(intercept), fit_mean)
    best = numbers_of(fit_prior(tasks.sums(intercept), fit_mean))
    free = np.arange(0 if fit_mean else 2, len(best))

    def gradient(at, h=1e-5):
        steps = h * np.eye(len(best))[free]
        return np.array(
            [likelihood_of(at + s, *data) - likelihood_of(at - s, *data) for s in steps]
        ) / (2 * h)

    moved = best.copy()
    moved[-1] += 1e-2
    assert np.abs(gradient(best)).max() < 0.02 * np.abs(gradient(moved)).max()
    top = likelihood_of(best, *data)
    for size in (1e-2, 0.1, 0.5):
        for _ in range(50):
            direction = np.zeros(len(best))
            direction[free] = rng.standard_normal(len(free))
            direction *= size / np.linalg.norm(direction)
            assert likelihood_of(best + direction, *data) < top


def test_prior_of_many_tasks_is_near_the_truth(rng):
    """Check 6 numbers to 5 standard errors; correct code would fail with probability 4e-6."""
    n, m, k = 4000, 6, 2
    mean, covariance, noise = np.array([1.0, -0.5]), np.array([[1.0, 0.3], [0.3, 0.5]]), 0.4
    heads = rng.multivariate_normal(mean, covariance, n)
    Z = rng.standard_normal((n * m, k))
    y = np.sum(Z * np.repeat(heads, m, axis=0), axis=1)
    y += np.sqrt(noise) * rng.standard_normal(n * m)
    prior = fit_prior(TaskSums.of(Z, y, np.arange(0, n * m + 1, m), True), True)
    # A head has the variance of its law and that of least squares on m - 1 contrasts, in mean
    # noise / (m - 1 - k - 1), which together bound the errors.
    variances = np.diag(covariance) + noise / (m - 2 - k)
    assert np.all(np.abs(prior.mean - mean) < 5 * np.sqrt(variances / n))
    products = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert np.all(np.abs(prior.covariance - covariance) < 5 * products)
    assert abs(prior.noise - noise) < 5 * noise * np.sqrt(2 / (n * (m - 1 - k)))


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("intercept", [False, True])
def test_heads_are_those_of_least_squares_with_added_rows(tasks, intercept, ridge):
    sums = tasks.sums(intercept)
    heads = ridge_heads(sums.A, sums.b, ridge, tasks.mean)
    for head, Z, y in zip(heads, *tasks.lists(), strict=True):
        expected, _ = people.ridge_model(Z, y, ridge, tasks.mean, intercept)
        np.testing.assert_allclose(head, expected, rtol=1e-7, atol=1e-9)
        if intercept and ridge > 0:
            expected, _ = people.augmented_ridge_model(Z, y, ridge, tasks.mean)
            np.testing.assert_allclose(head, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("intercept", [False, True])
def test_left_out_residuals_are_those_of_refits(tasks, intercept, ridge):
    found = loo_residuals(tasks.Z, tasks.y, tasks.offsets, ridge, tasks.mean, intercept)
    compared = 0
    for mine, Z, y in zip(people.split(found, tasks.offsets), *tasks.lists(), strict=True):
        if ridge == 0 and len(y) - intercept <= Z.shape[1]:
            continue  # the fit interpolates the rows: without a row it is another kind of fit
        expected = people.left_out_residuals(Z, y, ridge, tasks.mean, intercept)
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-9)
        compared += 1
    assert compared > len(SIZES) / 2


def test_left_out_residual_of_the_only_row_of_a_task(rng):
    Z, y, mean = rng.standard_normal((1, 2)), np.array([5.0]), np.array([1.0, -2.0])
    one = np.array([0, 1])
    assert np.isnan(loo_residuals(Z, y, one, 1.0, mean, True)).all()
    np.testing.assert_allclose(loo_residuals(Z, y, one, 1.0, mean, False), y - Z @ mean, rtol=1e-14)


@pytest.mark.parametrize("noise", [0.01, 0.5, 100.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_chosen_penalty_is_that_of_refits(tasks, intercept, noise):
    prior = Prior(tasks.mean, np.eye(2), noise)
    chosen = choose_ridge(tasks.Z, tasks.y, tasks.offsets, prior, intercept)
    expected = people.chosen_penalty(*tasks.lists(), noise, tasks.mean, intercept)
    assert chosen == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("fit_mean", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_standard_components(rng, intercept, fit_mean):
    """Scores are uncorrelated, in the order of what they explain, and heads have the same law."""
    d, k = 7, 3
    tasks = Tasks(rng, k, np.full(60, 9))
    X = rng.standard_normal((len(tasks.y), d))
    B = np.linalg.qr(rng.standard_normal((d, k)))[0]
    tasks.Z = X @ B
    heads = tasks.mean + rng.standard_normal((60, k)) * [2.0, 1.0, 0.5]
    tasks.y = np.sum(tasks.Z * np.repeat(heads, 9, axis=0), axis=1) + rng.standard_normal(540)
    options = Options(intercept, fit_mean)
    C, prior = standardise(B, tasks.Z, tasks.y, tasks.offsets, options)
    np.testing.assert_allclose(B @ (B.T @ C), C, rtol=0, atol=1e-12)
    largest = np.abs(C).argmax(axis=0)
    assert (C[largest, range(k)] > 0).all()
    scores, responses = people.split(X @ C, tasks.offsets), people.split(tasks.y, tasks.offsets)
    if intercept:
        scores, responses = people.without_intercept(scores, responses)
    total = sum(z.T @ z for z in scores)
    np.testing.assert_allclose(total, np.diag(np.diag(total)), rtol=0, atol=1e-9 * total[0, 0])
    assert (np.diff(np.diag(total) * (1 + prior.mean**2)) < 0).all()
    np.testing.assert_array_equal(prior.covariance, np.eye(k))
    # The law is a fixed point of the explicit step, so its covariance in these scores is I.
    mean, covariance, noise = people.em_step(
        scores, responses, prior.mean, np.eye(k), prior.noise, fit_mean=fit_mean
    )
    np.testing.assert_allclose(covariance, np.eye(k), rtol=0, atol=1e-4)
    np.testing.assert_allclose(mean, prior.mean, rtol=0, atol=1e-4)
    assert noise == pytest.approx(prior.noise, rel=1e-4)
    assert prior.mean.any() == fit_mean


@pytest.mark.parametrize("intercept", [False, True])
def test_a_direction_without_variance_has_a_column_of_zeros(rng, intercept):
    """Rows of rank 2, but for rounding: the other columns are those of two directions alone."""
    tasks = Tasks(rng)
    basis = np.linalg.qr(rng.standard_normal((7, 3)))[0]
    X = tasks.Z @ basis[:, :2].T
    turned = basis @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    options = Options(intercept, True)
    C, prior = standardise(turned, X @ turned, tasks.y, tasks.offsets, options)
    two, expected = standardise(basis[:, :2], tasks.Z, tasks.y, tasks.offsets, options)
    np.testing.assert_array_equal(C[:, 2], np.zeros(7))
    np.testing.assert_allclose(C[:, :2], two, rtol=0, atol=1e-3 * np.abs(two).max())
    np.testing.assert_allclose(prior.mean[:2], expected.mean, rtol=1e-3)
    assert prior.noise == pytest.approx(expected.noise, rel=1e-3)
