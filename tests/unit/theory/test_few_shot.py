"""The risk of few-shot regression, (65), and its best shaping, (66): identities and limits."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.optimize import minimize

import metaspan as ms
from matching import assert_one_sentence
from metaspan.theory import (
    after_least_squares,
    few_shot_risk,
    missed_signal,
    optimal_shaping,
)
from reference import few_shot

D, M, NOISE = 200, 60, 0.5
POWER = np.arange(1.0, D + 1) ** -1.2


def tridiagonal(d, side):
    return np.eye(d) + side * (np.eye(d, k=1) + np.eye(d, k=-1))


def covariance(rng, d):
    A = rng.standard_normal((d, d))
    return A @ A.T / d


def test_the_risks_of_a_power_law_are_those_of_a_separate_script():
    """The script gave 1.2861 and 1.3353; 1.3191 is the minimum by SLSQP in the test below."""
    best = few_shot_risk(POWER, M, NOISE)
    assert best.risk == pytest.approx(1.2861, abs=5e-5)
    assert best.penalty == NOISE**2 / M
    assert few_shot_risk(POWER, M, NOISE, penalty=0.0).risk == pytest.approx(1.3353, abs=5e-5)
    assert float(optimal_shaping(POWER, M, NOISE, ridgeless=True)) == pytest.approx(
        1.3191, abs=5e-5
    )


@pytest.mark.parametrize("rank", [None, 20, 60, 130])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_at_the_optimum_the_risk_is_m_kappa(rank, noise):
    best = few_shot_risk(POWER, M, noise, rank=rank)
    assert best.risk == pytest.approx(M * best.kappa, rel=1e-12)
    shared = optimal_shaping(POWER, M, noise, rank=rank)
    assert shared.risk == pytest.approx(best.risk, rel=1e-14)
    searched = few_shot_risk(POWER, M, noise, rank=rank, shaping=3.0 * POWER)
    assert searched.risk == pytest.approx(best.risk, rel=1e-13)
    assert searched.penalty == pytest.approx(3.0 * best.penalty, rel=1e-6)


@pytest.mark.parametrize("penalty", [0.003, 0.2, 5.0])
@pytest.mark.parametrize("m", [12, 30, 100])
def test_the_risk_is_that_of_the_fixed_point_of_jin(rng, m, penalty):
    """Omega is tridiagonal and does not commute with the prior."""
    Sigma, Omega = covariance(rng, 40), tridiagonal(40, 0.4)
    risk = few_shot_risk(Sigma, m, 0.3, shaping=Omega, penalty=penalty)
    assert risk.risk == pytest.approx(few_shot.label_risk(Sigma, Omega, m, 0.3, penalty), rel=1e-10)
    assert risk.kappa == pytest.approx(few_shot.kappa(Omega, m, penalty).real, rel=1e-10)
    other = few_shot_risk(Sigma, m, 0.3, shaping=np.diag(Omega), penalty=penalty)
    assert abs(other.risk / risk.risk - 1) > 1e-4  # a planted fault: the diagonal alone


def test_a_rotation_changes_nothing(rng):
    U = np.linalg.qr(rng.standard_normal((50, 50)))[0]
    prior, shaping = rng.uniform(0, 1, (2, 50))
    plain = few_shot_risk(prior, 20, 0.4, shaping=shaping, rank=30, penalty=0.02)
    turned = few_shot_risk(
        (U * prior) @ U.T, 20, 0.4, shaping=(U * shaping) @ U.T, rank=30, penalty=0.02
    )
    assert turned.risk == pytest.approx(plain.risk, rel=1e-12)
    assert turned.kappa == pytest.approx(plain.kappa, rel=1e-12)
    np.testing.assert_allclose(turned.shrinkage, np.sort(plain.shrinkage)[::-1], atol=1e-10)


@pytest.mark.parametrize("number", [8, 40, 90])
def test_the_best_penalty_has_the_least_risk(rng, number):
    for _ in range(10):
        prior, shaping = np.exp(3.0 * rng.standard_normal((2, number)))
        best = few_shot_risk(prior, 40, 0.5, shaping=shaping)
        grid = best.penalty * np.concatenate([[0.99, 1.01], np.geomspace(1e-6, 1e6, 60)])
        others = [few_shot_risk(prior, 40, 0.5, shaping=shaping, penalty=value) for value in grid]
        if number == 90:  # the best kappa may be the least one, which has no penalty
            others.append(few_shot_risk(prior, 40, 0.5, shaping=shaping, penalty=0.0))
        assert best.risk <= min(other.risk for other in others) * (1 + 1e-12)


@pytest.mark.parametrize("rank", [None, 90])
@pytest.mark.parametrize("ridgeless", [False, True])
def test_no_other_shaping_has_a_smaller_risk(rng, ridgeless, rank):
    best = optimal_shaping(POWER, M, NOISE, ridgeless=ridgeless, rank=rank)
    for scale in (1e-3, 0.1, 1.0):
        shaping = best.shaping * np.exp(scale * rng.standard_normal(D))
        other = few_shot_risk(POWER, M, NOISE, shaping=shaping, penalty=best.penalty)
        assert other.risk > best.risk


def test_the_best_shaping_without_a_penalty_is_the_minimum_over_all_factors():
    """Over theta with sum theta = m, by SLSQP."""
    d, m = 60, 18
    prior = np.arange(1.0, d + 1) ** -1.2
    best = optimal_shaping(prior, m, NOISE, ridgeless=True)
    optimum = minimize(
        lambda x: (NOISE**2 + ((1 - x) ** 2 * prior).sum()) / (1 - (x * x).sum() / m),
        np.full(d, m / d),
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: x.sum() - m},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert best.risk == pytest.approx(optimum.fun, rel=1e-9)
    np.testing.assert_allclose(best.risks[0].shrinkage, optimum.x, atol=1e-4)
    c = best.shaping - prior
    np.testing.assert_allclose(c, NOISE**2 / (d - m), rtol=1e-10)
    assert c[0] + best.kappa == pytest.approx(best.risk / m, rel=1e-10)


def test_several_priors_have_the_best_shaping_of_their_mean(rng):
    priors = [covariance(rng, 25), 3.0 * covariance(rng, 25)]
    shared = optimal_shaping(priors, 12, NOISE, weights=[1.0, 3.0])
    mean = 0.25 * priors[0] + 0.75 * priors[1]
    np.testing.assert_allclose(shared.shaping, mean, atol=1e-13)
    assert shared.risk == pytest.approx(few_shot_risk(mean, 12, NOISE).risk, rel=1e-12)
    risks = [
        few_shot_risk(prior, 12, NOISE, shaping=shared.shaping, penalty=shared.penalty).risk
        for prior in priors
    ]
    assert [float(risk) for risk in shared.risks] == pytest.approx(risks, rel=1e-12)
    assert shared.risk == pytest.approx(0.25 * risks[0] + 0.75 * risks[1], rel=1e-12)


@pytest.mark.parametrize("ridgeless", [False, True])
def test_the_worst_risk_is_least_at_the_least_favourable_mixture(rng, ridgeless):
    priors = [covariance(rng, 20) * scale for scale in (1.0, 1.3, 0.2)]
    worst = optimal_shaping(priors, 9, NOISE, weights="worst", ridgeless=ridgeless)
    risks = np.array([float(risk) for risk in worst.risks])
    assert risks.max() == pytest.approx(worst.risk, rel=1e-6)
    assert worst.weights[2] == pytest.approx(0.0, abs=1e-9)
    for _ in range(50):
        weights = rng.dirichlet(np.ones(3))
        other = optimal_shaping(priors, 9, NOISE, weights=weights, ridgeless=ridgeless)
        assert max(float(risk) for risk in other.risks) >= risks.max() * (1 - 1e-6)


@pytest.mark.parametrize("rank", [10, 59, 60, 61, 62, 150])
def test_least_squares_is_exact(rank):
    flat = few_shot_risk(POWER, M, NOISE, shaping=np.ones(D), rank=rank, penalty=0.0)
    assert flat.exact
    outside, inside = POWER[rank:].sum(), POWER[:rank].sum()
    noise = NOISE**2 + outside
    if abs(M - rank) <= 1:
        assert math.isinf(flat.risk)
    elif rank < M:
        assert flat.risk == pytest.approx(noise * (1 + rank / (M - rank - 1)), rel=1e-12)
        assert flat.kappa == 0.0
        # The deterministic equivalent lacks terms of order 1 / m.
        equivalent = noise / (1 - rank / M)
        assert flat.risk / equivalent - 1 == pytest.approx(rank / M / (M - rank - 1), rel=1e-9)
        other = few_shot_risk(POWER, M, NOISE, rank=rank, penalty=0.0)
        assert other.exact
        assert other.risk == flat.risk
    else:
        excess = outside + (1 - M / rank) * inside + noise * M / (rank - M - 1)
        assert flat.risk == pytest.approx(NOISE**2 + excess, rel=1e-12)


def test_risks_have_the_units_of_evaluate():
    tasks = ms.LinearTasks(d=10**9, k=3, noise=0.3, heads=ms.GaussianHeads(cov=[1.0, 0.5, 0.2]))
    B = np.array([[1.0, 0.2], [0.0, 0.7], [0.1, 0.0]]), np.array([[0.1, 0.3]])
    e = ms.evaluate(B, np.zeros(2), tasks, "anil", m=9, n=2)
    risk = few_shot_risk(tasks, 9, shaping=B, penalty=0.0)
    assert risk.excess == pytest.approx(e.least_squares.mean, rel=1e-12)
    assert risk.risk == pytest.approx(0.09 + 2 * risk.excess, rel=1e-14)
    missed = missed_signal(B, tasks)
    assert after_least_squares(missed, 9, 2, 0.3) == pytest.approx(risk.excess, rel=1e-12)
    Q = np.linalg.qr(np.concatenate(B))[0]
    second = np.zeros((4, 4))
    second[:3, :3] = np.diag([1.0, 0.5, 0.2])
    expected = np.trace((np.eye(4) - Q @ Q.T) @ second)
    assert missed == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_tasks_are_their_second_moments_at_full_size(rng, spread):
    d, k = 30, 3
    B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
    heads = ms.GaussianHeads(cov=[1.0, 0.5, 0.2], mean=[0.3, 0.0, -1.0])
    tasks = ms.LinearTasks(d=d, k=k, noise=0.4, heads=heads, B_star=B_star, spread=spread)
    second = np.diag([1.0, 0.5, 0.2]) + np.outer(heads.mean, heads.mean)
    prior = B_star @ second @ B_star.T + spread**2 / d * np.eye(d)
    for m in (5, 40):
        for rank in (None, 2, 12):
            got = few_shot_risk(tasks, m, rank=rank)
            assert got.risk == pytest.approx(few_shot_risk(prior, m, 0.4, rank=rank).risk)
        B = rng.standard_normal((d, 8))
        for penalty in (0.0, 0.1, None):
            got = few_shot_risk(tasks, m, shaping=B, penalty=penalty)
            full = few_shot_risk(prior, m, 0.4, shaping=B @ B.T, penalty=penalty)
            assert got.risk == pytest.approx(full.risk, rel=1e-9)
            assert got.exact == full.exact


def test_a_spread_costs_no_more_at_any_dimension():
    tasks = ms.LinearTasks(d=10**12, k=3, noise=0.3, spread=2.0)
    near = few_shot_risk(tasks, 25)
    # In the limit of many features the spread is label noise.
    plain = ms.LinearTasks(d=10**12, k=3, noise=math.hypot(0.3, 2.0))
    assert near.risk == pytest.approx(few_shot_risk(plain, 25).risk, rel=1e-9)
    assert few_shot_risk(tasks, 25, rank=10**6).risk == pytest.approx(near.risk, rel=1e-6)


def test_risks_have_the_limits_that_need_no_root():
    assert few_shot_risk(POWER, None, NOISE).risk == pytest.approx(NOISE**2)
    assert few_shot_risk(POWER, 10**9, NOISE).risk == pytest.approx(NOISE**2, rel=1e-6)
    assert few_shot_risk(POWER, None, NOISE, rank=5).risk == pytest.approx(
        NOISE**2 + POWER[5:].sum()
    )
    half = few_shot_risk([1.0], None, 0.0, shaping=[2.0], penalty=2.0)
    assert (half.shrinkage[0], half.risk) == pytest.approx((0.5, 0.25))
    # Without noise, r samples determine a task that uses r directions.
    assert few_shot_risk(np.ones(5), 5, 0.0).risk == 0.0
    assert optimal_shaping(np.r_[np.ones(5), np.zeros(9)], 7, 0.0, ridgeless=True).risk == 0.0
    # A very large penalty, or a shaping without the directions of the tasks, gives the estimate 0.
    assert few_shot_risk(POWER, M, NOISE, penalty=1e90).risk == pytest.approx(0.25 + POWER.sum())
    nothing = few_shot_risk([1.0, 0.0], 4, NOISE, shaping=[0.0, 1.0])
    assert (nothing.risk, nothing.penalty) == (1.25, math.inf)
    assert few_shot_risk([1.0, 1.0], 4, NOISE, rank=0).risk == 2.25


@pytest.mark.parametrize("m", [1, 2, 3, 10**6, None])
@pytest.mark.parametrize("noise", [0.0, 1e-50, 1.0, 1e50])
def test_extreme_scales_have_a_risk_without_a_warning(m, noise):
    cases = [([1.0, 1.0], [1e-200, 1.0]), ([1e-90, 1e90], [1e90, 1e-90]), ([0.0, 1.0], [1.0, 0.0])]
    for prior, shaping in cases:
        for penalty in (None, 0.0, 1e-100, 1e100):
            risk = few_shot_risk(prior, m, noise, shaping=shaping, penalty=penalty)
            assert risk.risk >= noise**2
            assert not math.isnan(risk.kappa + risk.penalty)
        for ridgeless in (False, True):
            best = optimal_shaping([prior, shaping], m, noise, ridgeless=ridgeless)
            assert best.risk >= noise**2


def test_kappa_and_the_penalty_determine_each_other():
    for shaping in (POWER, np.ones(D), POWER**2):
        for penalty in (1e-8, 1e-3, 0.1, 100.0):
            risk = few_shot_risk(POWER, M, NOISE, shaping=shaping, penalty=penalty)
            theta = shaping / (shaping + risk.kappa)
            np.testing.assert_allclose(risk.shrinkage, theta, rtol=1e-12)
            assert risk.kappa * (1 - theta.sum() / M) == pytest.approx(penalty, rel=1e-7)
        least = few_shot_risk(POWER, M, NOISE, shaping=shaping, penalty=0.0)
        assert (shaping / (shaping + least.kappa)).sum() == pytest.approx(M, rel=1e-12)


TASKS = ms.LinearTasks(d=9, k=2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: few_shot_risk([1.0, -1.0], 5, 0.1), ValueError, ["prior must be >= 0", "-1"]),
        (lambda: few_shot_risk(np.ones((2, 3)), 5, 0.1), ValueError, ["prior", "(2, 3)"]),
        (lambda: few_shot_risk([[1.0, 2.0], [0.0, 1.0]], 5, 0.1), ValueError, ["symmetric"]),
        (lambda: few_shot_risk([[1.0, 2.0], [2.0, 1.0]], 5, 0.1), ValueError, ["semidefinite"]),
        (lambda: few_shot_risk([1.0, math.inf], 5, 0.1), ValueError, ["prior", "inf"]),
        (lambda: few_shot_risk([1.0], 0, 0.1), ValueError, ["m must be at least 1"]),
        (lambda: few_shot_risk([1.0], 5), TypeError, ["noise must be a number"]),
        (lambda: few_shot_risk([1.0], 5, 0.1, shaping=[1.0, 2.0]), ValueError, ["shaping", "2"]),
        (lambda: few_shot_risk([1.0], 5, 0.1, penalty=-1.0), ValueError, ["penalty"]),
        (lambda: few_shot_risk(dataclasses.replace(TASKS, features="sphere"), 5), ValueError,
         ["tasks.features must be 'gaussian'"]),
        (lambda: few_shot_risk(dataclasses.replace(TASKS, spectrum=1.0), 5), ValueError,
         ["tasks.spectrum must be None"]),
        (lambda: optimal_shaping([np.ones(2), np.ones(3)], 5, 0.1), ValueError, ["same size"]),
        (lambda: optimal_shaping([1.0, 1.0], 5, 0.1, rank=1, weights="worst"), ValueError,
         ["rank must be None"]),
        (lambda: optimal_shaping([1.0, 1.0], 5, 0.1, weights="best"), ValueError, ["'worst'"]),
        (lambda: optimal_shaping([1.0, 1.0], 5, 0.1, weights=[-1.0]), ValueError, ["weights"]),
        (lambda: after_least_squares(0.1, 3, 4, 0.1), ValueError, ["m must be at least 4"]),
        (lambda: missed_signal(np.ones((9, 2)), TASKS), ValueError, ["B_star"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, error, words):
    assert_one_sentence(call, error, words)
