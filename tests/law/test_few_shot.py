"""The deterministic equivalent (65) against regression on sampled tasks.

A comparison allows a relative error of 1.5 / m for the terms that the equivalent leaves out, and
as many standard errors of the mean as a correct value exceeds in one of these tests with a
probability of 1e-3.
"""

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
from metaspan.theory import few_shot_risk, optimal_shaping
from reference import few_shot

ERROR = 1e-3


def agree(value, mean, error, m, tests):
    """Whether a value agrees with a sampled mean."""
    bound = stats.norm.isf(ERROR / (2 * tests))
    return abs(mean - value) < bound * error + 1.5 / m * value


def test_matrices_that_do_not_commute(rng):
    d, m, noise = 90, 60, 0.5
    A = rng.standard_normal((d, 20))
    Sigma, Omega = A @ A.T / d, np.eye(d) + 0.4 * (np.eye(d, k=1) + np.eye(d, k=-1))
    cases = [(Omega, 0.02), (Omega, 0.5), (Sigma, noise**2 / m), (Omega, 0.0)]
    for shaping, penalty in cases:
        risks = few_shot.sampled(rng, Sigma, shaping, m=m, noise=noise, penalty=penalty, n=400)
        error = risks.std(ddof=1) / np.sqrt(risks.size)
        risk = few_shot_risk(Sigma, m, noise, shaping=shaping, penalty=penalty)
        assert agree(risk.risk, risks.mean(), error, m, len(cases)), penalty
        if penalty == 0.5:
            # Planted faults: kappa in place of the penalty, and a missing denominator.
            theta = np.linalg.eigvalsh(shaping) / (np.linalg.eigvalsh(shaping) + penalty)
            assert theta.sum() > risk.shrinkage.sum()
            wrong = few_shot_risk(Sigma, m, noise, shaping=shaping, penalty=risk.kappa).risk
            assert not agree(wrong, risks.mean(), error, m, len(cases))
            factor = 1 - (risk.shrinkage**2).sum() / m
            assert not agree(risk.risk * factor, risks.mean(), error, m, len(cases))


def test_ridge_on_learned_features_is_that_of_evaluate(rng):
    """In coordinates at d = 10^9; penalties are those of the user's loss."""
    k, m = 50, 40
    tasks = ms.LinearTasks(d=10**9, k=k, noise=0.5, spread=0.6,
                           heads=ms.GaussianHeads(cov=np.arange(1.0, k + 1) ** -1.2))  # fmt: skip
    M, R = np.diag(np.exp(0.5 * rng.standard_normal(k))), 0.4 * rng.standard_normal((10, k))
    penalties = (0.05, 0.3, 2.0)
    for penalty in penalties:
        e = ms.evaluate((M, R), np.zeros(k), tasks, "average-risk", m=m, n=500, ridge=penalty)
        risk = few_shot_risk(tasks, m, shaping=(M, R), penalty=penalty)
        assert not risk.exact
        assert agree(risk.excess, e.ridge.mean, e.ridge.standard_error, m, 3), penalty


def test_the_error_falls_with_the_number_of_samples():
    """At fixed ratios the relative error is about c / m: it halves where m doubles."""
    errors = []
    for m in (10, 20):
        k = m // 2
        heads = ms.GaussianHeads(cov=np.full(k, 1.0 / k))
        tasks = ms.LinearTasks(d=10**6, k=k, noise=0.5, heads=heads)
        B = np.eye(k), np.zeros((0, k))
        w = np.zeros(k)
        e = ms.evaluate(B, w, tasks, "average-risk", m=m, n=20_000, ridge=0.02)
        value = few_shot_risk(tasks, m, shaping=B, penalty=0.02).excess
        assert e.oracle_ridge.standard_error < 0.005 * value
        errors.append(e.oracle_ridge.mean / value - 1)
    assert 0.4 * errors[0] < errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("ridgeless", [False, True])
def test_the_best_shaping_beats_others_on_samples(rng, ridgeless):
    """By less than the equivalent's error, so both learners see the same samples."""
    d, m, noise = 120, 40, 0.5
    prior = np.arange(1.0, d + 1) ** -1.2
    best = optimal_shaping(prior, m, noise, ridgeless=ridgeless)
    other = np.sqrt(prior) if not ridgeless else prior + 20 * noise**2 / (d - m)
    penalty = 0.0 if ridgeless else few_shot_risk(prior, m, noise, shaping=other).penalty
    gains, means = [], []
    for seed in range(2):
        first, second = (
            few_shot.sampled(
                np.random.default_rng(seed),
                np.diag(prior),
                np.diag(shaping),
                m=m,
                noise=noise,
                penalty=at,
                n=150,
            )
            for shaping, at in ((best.shaping, best.penalty), (other, penalty))
        )
        gains.append(second - first)
        means.append(first)
    gain = np.concatenate(gains)
    error = gain.std(ddof=1) / np.sqrt(gain.size)
    assert gain.mean() > stats.norm.isf(ERROR) * error
    expected = few_shot_risk(prior, m, noise, shaping=other, penalty=penalty).risk - best.risk
    assert gain.mean() == pytest.approx(expected, abs=4 * error + 0.1 * expected)
