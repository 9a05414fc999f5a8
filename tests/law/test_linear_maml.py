"""The closed forms of linear MAML, (31), against sampled tasks and trained runs.

Every test rejects a correct formula with a probability of about 1e-3.
"""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import metaspan as ms

ERROR = 1e-3
B_STAR = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 2)))[0]
TASKS = ms.LinearTasks(d=6, k=2, noise=0.7, B_star=B_STAR,
                       heads=ms.GaussianHeads(mean=[1.0, -0.5], cov=[0.3, 0.8]))  # fmt: skip
THETA = np.random.default_rng(2).standard_normal((6, 1))
GRID = [(alpha, m) for alpha in (-0.6, -0.1, 0.3, 0.9) for m in (1, 3, 20)]


def bound(tests):
    """The number of standard errors that one of several tests exceeds with probability ERROR."""
    return stats.norm.isf(ERROR / (2 * tests))


def sampled_risks(rng, tasks, spectrum, *, alpha, m, n=100_000):
    """Excess risks of THETA after a step on new tasks, from samples of full size."""
    law = tasks.heads
    theta = (law.mean + rng.standard_normal((n, 2)) * np.sqrt(law.cov)) @ tasks.B_star.T
    theta += tasks.spread / np.sqrt(6) * rng.standard_normal((n, 6))
    X = rng.standard_normal((n, m, 6)) * np.sqrt(spectrum)
    y = np.einsum("nij,nj->ni", X, theta) + tasks.noise * rng.standard_normal((n, m))
    gradient = np.einsum("nij,ni->nj", X, X @ THETA[:, 0] - y) / m
    error = THETA[:, 0] - alpha * gradient - theta
    return 0.5 * (error**2 * spectrum).sum(axis=1)


@pytest.mark.parametrize("spread", [0.0, 1.5])
def test_the_risk_is_that_of_evaluate(spread):
    tasks = dataclasses.replace(TASKS, spread=spread)
    for alpha, m in GRID:
        method = ms.LinearMAML(alpha=alpha)
        e = ms.evaluate(THETA, [1.0], tasks, method, m=m, n=40_000)
        risk = ms.theory.linear_maml_risk(tasks, method, m=m, B=THETA)
        assert abs(e.mean - risk) < bound(len(GRID)) * e.standard_error, (alpha, m)


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_the_risk_with_a_spread_is_that_of_explicit_samples(decay):
    """(33), which Sigma_theta contains."""
    rng = np.random.default_rng(33)
    tasks = dataclasses.replace(TASKS, spread=1.5, spectrum=decay or None)
    spectrum = np.arange(1.0, 7.0) ** -decay
    for alpha, m in GRID:
        risks = sampled_risks(rng, tasks, spectrum, alpha=alpha, m=m)
        risk = ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=alpha, m=m, B=THETA)
        error = risks.std() / np.sqrt(risks.size)
        assert abs(risks.mean() - risk) < bound(len(GRID)) * error, (alpha, m)


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_the_risk_is_that_of_explicit_samples(decay):
    rng = np.random.default_rng(3)
    spectrum = np.arange(1.0, 7.0) ** -decay
    tasks = ms.LinearTasks(d=6, k=2, noise=0.7, B_star=B_STAR, heads=TASKS.heads,
                           spectrum=decay or None)  # fmt: skip
    for alpha, m in GRID:
        risks = sampled_risks(rng, tasks, spectrum, alpha=alpha, m=m)
        risk = ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=alpha, m=m, B=THETA)
        error = risks.std() / np.sqrt(risks.size)
        assert abs(risks.mean() - risk) < bound(len(GRID)) * error, (alpha, m)
    # A planted fault: the formula without the term alpha^2 / m Sigma tr Sigma^2 is rejected.
    weights = ms.theory.meta_weights(tasks, "linear-maml", alpha=0.9, m=1) * np.ones(6)
    risks = sampled_risks(rng, tasks, spectrum, alpha=0.9, m=1)
    second = ((tasks.B_star * tasks.heads.cov) * tasks.B_star).sum(axis=1)
    second += (THETA[:, 0] - tasks.B_star @ tasks.heads.mean) ** 2
    missing = 0.5 * 0.81 * (spectrum @ spectrum) * (spectrum @ second)
    full = ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=0.9, m=1, B=THETA)
    assert full - 0.5 * weights @ second == pytest.approx(0.5 * 0.49 * 0.81 * spectrum @ spectrum)
    assert abs(risks.mean() - (full - missing)) > 20 * risks.std() / np.sqrt(risks.size)


@pytest.mark.parametrize("spectrum", [None, 0.8])
def test_the_best_step_has_the_least_risk(spectrum):
    tasks = ms.LinearTasks(d=6, k=2, noise=0.7, B_star=B_STAR, heads=TASKS.heads,
                           spectrum=spectrum)  # fmt: skip
    for m in (1, 3, 20):
        best = ms.theory.linear_maml_step(tasks, m=m, B=THETA)
        risks = [ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=alpha, m=m, B=THETA)
                 for alpha in best + np.array([-1e-3, 0.0, 1e-3])]  # fmt: skip
        assert risks[1] < min(risks[0], risks[2])
        assert risks[0] - risks[1] == pytest.approx(risks[2] - risks[1], rel=1e-6)


SIZES = {"n": 600, "m_in": 4, "m_out": 3}
TRIALS = 120


def trained_errors(method, spread=0.0, **sizes):
    """Squared distances (TRIALS,) from the mean of the tasks after training on a pool."""
    law = ms.GaussianHeads(mean=[2.0], cov=[0.5])
    tasks = ms.LinearTasks(d=3, k=1, noise=0.7, heads=law, spread=spread)
    r = ms.train(tasks, method, rounds=25, pool=sizes["n"], trials=TRIALS, record="w_norm",
                 record_every=100, **sizes)  # fmt: skip
    M, R, _ = r.state
    return tasks, (M[:, 0, 0] - 2.0) ** 2 + (R**2).sum(axis=(1, 2))


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.3])
def test_training_on_a_pool_ends_where_the_formula_says(alpha, first_order):
    """The formula leaves out terms of relative size 1 / n, which are far below the error."""
    slope = 1 - alpha if first_order else ms.theory.meta_weights(
        ms.LinearTasks(d=3, k=1), "linear-maml", alpha=alpha, m=4)  # fmt: skip
    method = ms.LinearMAML(alpha=alpha, beta=0.8 / slope, first_order=first_order)
    tasks, squares = trained_errors(method, **SIZES)
    expected = ms.theory.linear_maml_error(tasks, method, **SIZES)
    error = squares.std() / np.sqrt(TRIALS)
    assert abs(squares.mean() - expected) < bound(6) * error
    if alpha < 0 and not first_order:  # a planted fault: the sign of the step
        other = ms.LinearMAML(alpha=-alpha)
        wrong = ms.theory.linear_maml_error(tasks, other, **SIZES)
        assert abs(squares.mean() - wrong) > bound(6) * error


def test_training_on_a_pool_with_a_spread_ends_where_the_formula_says():
    slope = ms.theory.meta_weights(ms.LinearTasks(d=3, k=1), "linear-maml", alpha=0.3, m=4)
    method = ms.LinearMAML(alpha=0.3, beta=0.8 / slope)
    tasks, squares = trained_errors(method, spread=1.5, **SIZES)
    expected = ms.theory.linear_maml_error(tasks, method, **SIZES)
    error = squares.std() / np.sqrt(TRIALS)
    assert abs(squares.mean() - expected) < bound(1) * error
    wrong = ms.theory.linear_maml_error(dataclasses.replace(tasks, spread=0.0), method, **SIZES)
    assert abs(squares.mean() - wrong) > bound(1) * error


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.4, 0.3), (-0.3, 0.2)])
def test_rounds_of_fresh_tasks_end_where_the_formula_says(alpha, beta, first_order):
    """(67), exact for any number of rounds and few tasks, of few samples, in a round."""
    law = ms.GaussianHeads(mean=[2.0], cov=[0.5])
    tasks = ms.LinearTasks(d=6, k=1, noise=0.7, heads=law, spread=0.8)
    method = ms.LinearMAML(alpha=alpha, beta=beta, first_order=first_order)
    sizes = {"n": 4, "m_in": 5, "m_out": 3}
    for rounds in (1, 12):
        r = ms.train(tasks, method, rounds=rounds, trials=2000, record="w_norm",
                     record_every=100, **sizes)  # fmt: skip
        M, R, _ = r.state
        squares = (M[:, 0, 0] - 2.0) ** 2 + (R**2).sum(axis=(1, 2))
        expected = ms.theory.linear_maml_distance(tasks, method, rounds=rounds, **sizes)
        error = squares.std() / np.sqrt(squares.size)
        assert abs(squares.mean() - expected) < bound(8) * error
        # A planted fault: the noise of a round of twice as many tasks.
        wrong = ms.theory.linear_maml_distance(tasks, method, rounds=rounds, n=8, m_in=5, m_out=3)
        assert abs(squares.mean() - wrong) > bound(8) * error


def test_limits_of_rounds_of_fresh_tasks():
    tasks = ms.LinearTasks(d=9, k=2, noise=0.7, heads=ms.GaussianHeads(mean=[3.0, 4.0]))
    distance = ms.theory.linear_maml_distance
    sizes = {"m_in": 5, "m_out": 3}
    h = ms.theory.meta_weights(tasks, "linear-maml", alpha=0.2, m=5)
    many = distance(tasks, "linear-maml", alpha=0.2, beta=0.1, n=None, rounds=[0, 7], **sizes)
    np.testing.assert_allclose(many, [25.0, 25.0 * (1 - 0.1 * h) ** 14], rtol=1e-12)
    start = np.array([[3.0], [4.0]]), np.array([[1.0], [0.0]])
    apart = distance(tasks, "linear-maml", alpha=0.2, beta=0.1, n=None, rounds=0, B=start, **sizes)
    assert apart == pytest.approx(1.0)
    # With small steps the floor is that of n / beta tasks, up to the factor of the mean gradient.
    steps = {"alpha": 0.2, "beta": 1e-4}
    floor, limit = distance(tasks, "linear-maml", n=10, rounds=[10**7, np.inf], **steps, **sizes)
    assert floor == pytest.approx(limit, rel=1e-12)
    fixed = ms.theory.linear_maml_error(tasks, "linear-maml", n=10, **steps, **sizes)
    assert floor == pytest.approx(0.5 * steps["beta"] * h * fixed, rel=1e-2)


def test_large_steps_diverge():
    tasks = ms.LinearTasks(d=9, k=2, noise=0.7)
    for beta, n in ((10.0, 2), (10.0, None)):
        rounds = [0, 1, 10_000, np.inf]
        values = ms.theory.linear_maml_distance(
            tasks, "linear-maml", alpha=0.2, beta=beta, n=n, m_in=5, m_out=3, rounds=rounds
        )
        # From the mean of the tasks, nothing moves without noise.
        assert values[0] == 0.0
        assert (np.isinf(values[2:]) if n else values == 0.0).all()


def test_a_distance_takes_the_place_of_the_vector():
    error = THETA[:, 0] - B_STAR @ TASKS.heads.mean
    for alpha, m in GRID:
        risk = ms.theory.linear_maml_risk(TASKS, "linear-maml", alpha=alpha, m=m, B=THETA)
        other = ms.theory.linear_maml_risk(
            TASKS, "linear-maml", alpha=alpha, m=m, distance=error @ error
        )
        assert other == pytest.approx(risk, rel=1e-12)


def test_training_on_infinitely_many_samples_ends_at_the_mean_of_the_tasks():
    heads = np.random.default_rng(5).standard_normal((7, 2))
    tasks = ms.LinearTasks(d=9, k=2, heads=heads)
    r = ms.train(tasks, "linear-maml", alpha=-0.3, n=7, rounds=400)
    np.testing.assert_allclose(r.state[0][:, 0], heads.mean(axis=0), rtol=1e-12)
    risk = ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=0.2, m=5, B=r.state[:2])
    mean = ms.theory.linear_maml_risk(tasks, "linear-maml", alpha=0.2, m=5)
    assert risk == pytest.approx(mean, rel=1e-12)


def test_moments_of_infinite_sets_are_limits():
    tasks = ms.LinearTasks(d=5, k=2, noise=0.7)
    for first_order in (False, True):
        method = ms.LinearMAML(alpha=0.4, first_order=first_order)
        limit = ms.theory.linear_maml_error(tasks, method, n=10, m_in=None, m_out=None)
        large = ms.theory.linear_maml_error(tasks, method, n=10, m_in=10**8, m_out=10**8)
        assert large == pytest.approx(limit, rel=1e-6)
        assert limit == pytest.approx(2 / 10)  # every task's optimum is its own vector


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda t: t.linear_maml_risk(TASKS, "anil", m=3), "method must be LinearMAML"),
        (lambda t: t.linear_maml_risk(TASKS, ms.LinearMAML(inner_steps=2), m=3), "inner_steps <="),
        (lambda t: t.linear_maml_risk(TASKS, "linear-maml", m=3, B=np.ones((6, 2))), "one column"),
        (lambda t: t.meta_weights(ms.LinearTasks(d=6, k=2, features="sphere"), "linear-maml", m=3),
         "features must be 'gaussian'"),
        (lambda t: t.linear_maml_error(ms.LinearTasks(d=6, k=2, spectrum=1.0), "linear-maml", n=3,
                                       m_in=3, m_out=3), "spectrum must be None"),
        (lambda t: t.linear_maml_risk(ms.LinearTasks(d=6, k=2, spectrum=1.0), "linear-maml", m=3),
         "B_star must be an array"),
        (lambda t: t.linear_maml_risk(TASKS, "linear-maml", m=3, B=THETA, distance=1.0),
         "B must be None where distance"),
        (lambda t: t.linear_maml_risk(ms.LinearTasks(d=6, k=2, spectrum=1.0), "linear-maml", m=3,
                                      distance=1.0), "spectrum must be None where distance"),
        (lambda t: t.linear_maml_distance(
            TASKS, ms.LinearMAML(step=ms.OuterStep(momentum=0.5)), n=3, m_in=3, m_out=3, rounds=1
        ), "plain outer step"),
        (lambda t: t.linear_maml_distance(
            ms.LinearTasks(d=6, k=2, heads=np.eye(2)), "linear-maml", n=3, m_in=3, m_out=3,
            rounds=1), "drawn in every round"),
        (lambda t: t.linear_maml_distance(TASKS, "linear-maml", n=3, m_in=3, m_out=3, rounds=0.5),
         "integers >= 0"),
    ],
)  # fmt: skip
def test_what_no_formula_covers_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call(ms.theory)
