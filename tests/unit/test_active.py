"""Active choice of source tasks: allocation, relevance (48), and its gain over uniform samples."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import metaspan as ms
from metaspan.active import apportion, lasso, relevance_of
from metaspan.estimators.estimator import Estimate
from metaspan.runs.outcome import NotConvergedWarning

module = import_module("metaspan.active")  # `ms.active` is the function
# One source task of 20 has the head of the target.
HEADS = np.eye(3)[[0] + [1] * 9 + [2] * 10]
TARGET = np.array([1.0, 0.0, 0.0])
TASKS = ms.LinearTasks(d=40, k=3, noise=1.0, heads=HEADS)
SMALL = ms.LinearTasks(d=12, k=2, noise=0.3, heads=np.eye(2)[[0, 1, 1, 1, 1]])
CALL = {"budget": 150, "epochs": 3, "seed": 2}
HEAD = [1.0, 0.0]


def final_risks(strategy, seeds=range(4)):
    options = {"budget": 4000, "epochs": 4, "m_target": 200, "strategy": strategy}
    return np.array([ms.active(TASKS, TARGET, seed=s, **options).risk[-1] for s in seeds])


@pytest.fixture(scope="module")
def uniform_risks():
    return final_risks("uniform")


@pytest.mark.parametrize("strategy", ["l2", "l1"])
def test_active_choice_beats_uniform_choice(strategy, uniform_risks):
    """Ratios of risks were 0.09 to 0.31 over 6 seeds, so one above 0.5 is 3 deviations away."""
    ratios = final_risks(strategy) / uniform_risks
    assert (ratios < 0.5).all()
    assert ratios.mean() < 0.3


def test_samples_of_the_wrong_tasks_do_not_help(monkeypatch, uniform_risks):
    """The same test finds a planted fault: the relevance of other tasks."""
    right = module.relevance_of
    monkeypatch.setattr(module, "relevance_of", lambda *given: np.roll(right(*given), 1))
    ratios = final_risks("l2", range(2)) / uniform_risks[:2]
    assert (ratios > 0.5).all()


@pytest.mark.parametrize("strategy", ["l2", "l1"])
def test_samples_concentrate_on_the_relevant_task(strategy):
    a = ms.active(TASKS, TARGET, budget=4000, epochs=4, strategy=strategy, seed=1, m_target=200)
    assert a.allocation[0].tolist() == [50] * 20
    assert a.allocation[-1].argmax() == 0
    assert a.allocation[-1, 0] > 500
    if strategy == "l1":
        assert np.count_nonzero(a.relevance[-1]) <= 5
    assert a.samples.tolist() == [1000, 2000, 3000, 4000]
    assert a.risk[-1] < a.risk[0]


@pytest.mark.parametrize("budget", [150, 152, 157])
def test_uniform_choice_is_uniform(budget):
    a = ms.active(SMALL, HEAD, **{**CALL, "budget": budget}, strategy="uniform")
    assert a.allocation.sum() == budget
    totals = np.cumsum(a.allocation, axis=0)
    assert (totals.max(axis=1) - totals.min(axis=1) <= (budget % 5 > 0)).all()
    if budget == 150:
        assert (a.allocation == 10).all()


def test_result_describes_the_end():
    a = ms.active(SMALL, HEAD, **CALL)
    assert a.B.shape == (12, 2)
    assert a.heads.shape == (5, 2)
    np.testing.assert_allclose(a.relevance[-1], np.linalg.pinv(a.heads.T) @ a.target_head)
    theta = SMALL.ground_truth(seed=2) @ HEAD
    error = a.B @ a.target_head - theta
    assert a.risk[-1] == pytest.approx(0.5 * error @ error, rel=1e-10)
    # B has the span of the truth, up to an error that 150 noisy samples leave.
    assert ms.subspace_distance(a.B, SMALL.ground_truth(seed=2)) < 0.5
    assert repr(a).startswith("Active(strategy='l2', n=5, epochs=3, samples=150, risk=")


def test_risk_weighs_features_by_their_spectrum():
    spectrum = np.linspace(0.5, 2.0, 12)
    tasks = replace(SMALL, spectrum=spectrum, B_star=SMALL.ground_truth(seed=2))
    a = ms.active(tasks, HEAD, **CALL)
    error = a.B @ a.target_head - tasks.B_star @ HEAD
    assert a.risk[-1] == pytest.approx(0.5 * (tasks.roots**2 * error) @ error, rel=1e-10)


def test_head_of_the_target_is_least_squares_on_the_features():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 30, 12)), rng.standard_normal((2, 30))
    target = ms.TaskBatch(X[:1], y[:1], X[1:], y[1:])
    a = ms.active(SMALL, target, **CALL)
    expected = np.linalg.lstsq(X[0] @ a.B, y[0], rcond=None)[0]
    np.testing.assert_allclose(a.target_head, expected, rtol=1e-9)
    residuals = X[1] @ a.B @ expected - y[1]
    assert a.risk[-1] == pytest.approx(0.5 * np.mean(residuals**2), rel=1e-9)
    assert np.isnan(ms.active(SMALL, ms.TaskBatch(X[:1], y[:1]), **CALL).risk).all()


def pool_of(tasks, m):
    """The first m samples of every source task, as active(tasks, ..., seed=2) takes them."""
    return module._Law(tasks, 2, 1).take(np.full(len(tasks.heads), m))


@pytest.mark.parametrize("strategy", ["l2", "l1", "uniform"])
def test_a_pool_gives_what_the_law_gives(strategy):
    """The samples of a law are those of a pool, taken in their order, each once."""
    drawn = module._Law(SMALL, 2, 1).draw(np.array(HEAD), 5, 20)
    target = ms.TaskBatch(drawn.X_in, drawn.y_in)
    law = ms.active(SMALL, HEAD, strategy=strategy, **CALL)
    pool = ms.active(pool_of(SMALL, 120), target, strategy=strategy, **CALL)
    np.testing.assert_array_equal(pool.allocation, law.allocation)
    np.testing.assert_array_equal(pool.B, law.B)


def test_a_pool_keeps_its_weights():
    pool = pool_of(SMALL, 25)
    weighted = replace(pool, weights=[1.0, 5.0, 1.0, 1.0, 1.0])
    target = ms.TaskBatch(pool.X_in[:1], pool.y_in[:1])
    a = ms.active(weighted, target, budget=125, epochs=1)
    assert ms.subspace_distance(a.B, ms.fit(weighted, "altmin").B) < 1e-10
    assert ms.subspace_distance(a.B, ms.fit(pool, "altmin").B) > 1e-4


def test_a_small_pool_is_used_up():
    pool = pool_of(SMALL, 25)
    target = ms.TaskBatch(pool.X_in[:1], pool.y_in[:1])
    a = ms.active(pool, target, budget=100, epochs=4)
    assert a.allocation.sum(axis=1).tolist() == [25] * 4
    assert a.allocation.sum(axis=0).max() <= 25
    everything = ms.active(pool, target, budget=125, epochs=5)
    assert everything.allocation.sum(axis=0).tolist() == [25] * 5


def test_first_epoch_is_the_same_for_every_strategy_and_thread():
    results = [
        ms.active(SMALL, HEAD, strategy=strategy, threads=threads, **CALL)
        for strategy, threads in (("l2", 1), ("l2", 2), ("uniform", 1))
    ]
    np.testing.assert_array_equal(results[0].B, results[1].B)
    assert results[0].risk[0] == results[2].risk[0]
    assert results[0].risk[-1] != results[2].risk[-1]


@pytest.mark.parametrize("n", [3, 8])
def test_least_norm_relevance(n, rng):
    heads, target = rng.standard_normal((n, 3)), rng.standard_normal(3)
    W = heads.T
    expected = W.T @ np.linalg.pinv(W @ W.T) @ target
    np.testing.assert_allclose(relevance_of(heads, target, "l2"), expected, rtol=1e-9)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_lasso_satisfies_its_optimality_conditions(share, rng):
    W, target = rng.standard_normal((4, 11)), rng.standard_normal(4)
    nu = lasso(W, target, share)
    penalty = share * np.abs(W.T @ target).max()
    slope = W.T @ (target - W @ nu)
    assert np.abs(slope).max() <= penalty * (1 + 1e-6)
    used = nu != 0
    np.testing.assert_allclose(slope[used], penalty * np.sign(nu[used]), rtol=1e-5)
    assert 0 < np.count_nonzero(used) <= 4
    assert not lasso(W, target, 1.0).any()


def test_lasso_of_nothing_is_zero():
    assert not lasso(np.zeros((2, 3)), np.ones(2)).any()
    assert not lasso(np.ones((2, 3)), np.zeros(2)).any()


def divide(shares, count, room=None, taken=None):
    n = len(shares)
    room = np.full(n, 10**6) if room is None else np.array(room)
    taken = np.zeros(n, np.int64) if taken is None else np.array(taken)
    return apportion(np.array(shares, float), count, room, taken).tolist()


def test_samples_are_proportional_to_shares(rng):
    shares = rng.random(30)
    exact = 1000 * shares / shares.sum()
    found = np.array(divide(shares, 1000))
    assert found.sum() == 1000
    assert np.abs(found - exact).max() < 1
    assert divide([1, 0, 3], 8) == [2, 0, 6]
    assert divide([0, 0], 5) == [3, 2]
    assert divide([1, 1, 1], 4, taken=[2, 1, 1]) == [1, 2, 1]


def test_samples_stay_within_the_pool():
    assert divide([1, 1, 2], 12, room=[9, 9, 2]) == [5, 5, 2]
    assert divide([0, 1, 0], 6, room=[5, 2, 5]) == [2, 2, 2]
    assert divide([5, 1], 7, room=[3, 4]) == [3, 4]


class Stuck:
    """An estimator that gives up after its start."""

    def check(self, samples, width):
        pass

    def estimate(self, samples, width, monitor):
        B = np.linalg.qr(samples.normals(width, 0))[0]
        return Estimate(B=B, heads=None, converged=False, reason="it never moved")


def test_an_estimator_that_does_not_converge_warns(monkeypatch):
    monkeypatch.setattr(module, "algorithm_of", lambda _: Stuck())
    with pytest.warns(NotConvergedWarning, match="epoch 0 did not converge: it never moved"):
        ms.active(SMALL, HEAD, **{**CALL, "epochs": 1})


BATCH = ms.LinearTasks(d=12, k=2).sample(3, 20, shared_samples=True)
TWO_SETS = ms.LinearTasks(d=12, k=2).sample(3, 9, 9)
HUGE = ms.LinearTasks(d=12, k=2, noise=300.0).sample(1, 5, shared_samples=True)
BAD = {
    "tasks": (lambda: ms.active(3, HEAD, budget=9), TypeError, "tasks must be a LinearTasks or a"),
    "heads": (
        lambda: ms.active(ms.LinearTasks(d=12, k=2), HEAD, budget=9),
        ValueError,
        r"tasks.heads must be an array \(n, k\)",
    ),
    "spread": (
        lambda: ms.active(replace(SMALL, spread=0.1), HEAD, budget=90),
        ValueError,
        "tasks.spread must be 0",
    ),
    "strategy": (
        lambda: ms.active(SMALL, HEAD, budget=90, strategy="l3"),
        ValueError,
        "strategy must be 'l2', 'l1' or 'uniform'; got 'l3'",
    ),
    "budget": (
        lambda: ms.active(SMALL, HEAD, budget=19, epochs=4),
        ValueError,
        "budget must be at least 20; got 19",
    ),
    "epochs": (
        lambda: ms.active(SMALL, HEAD, budget=90, epochs=0),
        ValueError,
        "epochs must be at least 1; got 0",
    ),
    "pool": (
        lambda: ms.active(BATCH, BATCH.take([0]), budget=61),
        ValueError,
        "budget must be at most 60, the samples of the pool; got 61",
    ),
    "two-sets": (
        lambda: ms.active(TWO_SETS, TWO_SETS.take([0]), budget=20),
        ValueError,
        "tasks must have one data set per task",
    ),
    "width": (
        lambda: ms.active(ms.TaskBatch(BATCH.X_in, BATCH.y_in), BATCH.take([0]), budget=20),
        ValueError,
        "width must be given for a batch without a B_star",
    ),
    "target-tasks": (
        lambda: ms.active(BATCH, BATCH, budget=20),
        ValueError,
        "target must hold one task with 12 features",
    ),
    "target-head": (
        lambda: ms.active(SMALL, [1.0], budget=90),
        ValueError,
        r"target must have shape \(2,\)",
    ),
    "target-large": (
        lambda: ms.active(SMALL, [1e308, 0.0], budget=90),
        ValueError,
        "the largest entry of target must be",
    ),
    "target-overflows": (
        lambda: ms.active(SMALL, ms.TaskBatch(1e-200 * HUGE.X_in, HUGE.y_in), budget=90),
        ValueError,
        "target must have a head with entries up to",
    ),
    "target-of-pool": (
        lambda: ms.active(BATCH, HEAD, budget=20),
        TypeError,
        "target must be a TaskBatch, as tasks is",
    ),
    "m_target": (
        lambda: ms.active(SMALL, BATCH.take([0]), budget=90, m_target=5),
        ValueError,
        "m_target must be None for a target with samples; got 5",
    ),
    "estimator": (
        lambda: ms.active(SMALL, HEAD, budget=90, estimator="best"),
        ValueError,
        "estimator must be",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_raises_one_sentence(case):
    call, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        call()


def test_an_interruption_keeps_the_finished_epochs(monkeypatch):
    whole = ms.active(SMALL, HEAD, **CALL)
    two = ms.active(SMALL, HEAD, **{**CALL, "budget": 100, "epochs": 2})
    take, calls = module._Law.take, []

    def interrupted(source, counts):
        calls.append(counts)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return take(source, counts)

    monkeypatch.setattr(module._Law, "take", interrupted)
    stop = 3
    with pytest.raises(ms.Interrupted, match=r"interrupted in epoch 2; \.result holds") as caught:
        ms.active(SMALL, HEAD, **CALL)
    kept = caught.value.result
    for name in ("allocation", "relevance", "risk"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(whole, name)[:2])
    np.testing.assert_array_equal(kept.B, two.B)
    np.testing.assert_array_equal(kept.target_head, two.target_head)
    calls.clear()
    stop = 1
    with pytest.raises(KeyboardInterrupt) as first:
        ms.active(SMALL, HEAD, **CALL)
    assert not isinstance(first.value, ms.Interrupted)
