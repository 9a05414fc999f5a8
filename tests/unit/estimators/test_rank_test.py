"""The test of the rank: its level, its power, and that it works without a d x d matrix."""

import math

import numpy as np
import pytest

import metaspan as ms
from metaspan.estimators import rank_test as module
from metaspan.estimators import solvers

SEEDS = 400
LEVEL = 0.1
# Three standard errors of the share of rejections at the level: a false alarm in 700 such tests.
ALLOWED = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / SEEDS)


def draw(k, seed, *, d=12, n=60, m=4, noise=0.5):
    """A batch of tasks that share k directions; without a direction, the responses are noise."""
    batch = ms.LinearTasks(d=d, k=max(k, 1), noise=noise).sample(n, m // 2, m // 2, seed=seed)
    if k:
        return batch
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((2, n, m // 2))
    return ms.TaskBatch(batch.X_in, y[0], batch.X_out, y[1])


def share_of_rejections(k, **changes):
    """How often the hypothesis of at most k directions is rejected, with k true directions."""
    batches = [draw(k, seed, **changes) for seed in range(SEEDS)]
    tests = [
        ms.rank_test(batch, k + 1, level=LEVEL, flips=99, seed=seed, threads=1)
        for seed, batch in enumerate(batches)
    ]
    return np.mean([test.p_values[k] <= LEVEL for test in tests])


@pytest.mark.parametrize(("k", "size"), [(0, {}), (3, {"n": 40, "m": 12, "noise": 0.1})])
def test_level_is_kept_and_used(k, size):
    share = share_of_rejections(k, **size)
    assert share <= ALLOWED
    assert share >= 2 * LEVEL - ALLOWED  # a test that never rejects has no power either


def test_scoring_the_choosing_tasks_breaks_the_level(monkeypatch):
    """The planted fault: the directions are scored on the tasks that chose them."""

    def same(n, generator):
        return (np.arange(n), np.arange(n))

    monkeypatch.setattr(module, "_split", same)
    assert share_of_rejections(0) > 5 * LEVEL


def test_scores_that_keep_a_part_in_the_truth_break_the_level(monkeypatch):
    """The planted fault: the scores of the directions before are not subtracted."""
    whole = module._products
    monkeypatch.setattr(module, "_products", lambda scores, w, rank, j: whole(scores, w, 0, j))
    assert share_of_rejections(3, n=40, m=12, noise=0.1) > 2 * LEVEL


@pytest.mark.parametrize("k", [1, 3])
def test_rank_is_found_under_signal(k):
    """At level 1 %, two of forty tests may err by chance; the probability of more is 0.1 %."""
    size = {"n": 400, "m": 10}
    wrong = [
        ms.rank_test(draw(k, seed, **size), 6, level=0.01, seed=seed, threads=1).rank != k
        for seed in range(40)
    ]
    assert sum(wrong) <= 2


def test_many_features_take_products_alone():
    test = ms.rank_test(draw(2, 0, d=1000, n=200, m=40, noise=0.1), 3, seed=1)
    assert test.rank == 2
    assert test.p_values[:2].max() <= 0.01
    Q = test.directions
    np.testing.assert_allclose(Q.T @ Q, np.eye(3), atol=1e-8)


def test_lanczos_and_the_formed_matrix_agree(monkeypatch):
    batch = draw(2, 3, d=40, n=300, m=10)
    formed = ms.rank_test(batch, 3)
    monkeypatch.setattr(solvers, "FORMED", 0)
    iterated = ms.rank_test(batch, 3)
    spans = (np.ascontiguousarray(test.directions[:, :2]) for test in (iterated, formed))
    assert ms.subspace_distance(*spans) < 1e-3
    np.testing.assert_allclose(iterated.signal[:2], formed.signal[:2], rtol=1e-2)
    np.testing.assert_array_equal(iterated.p_values[:2], formed.p_values[:2])


def test_signal_is_the_fraction_that_a_direction_explains():
    """Heads of length 1 and noise of variance 1/4: a fraction of 0.8, up to 1 / m and errors."""
    tasks = ms.LinearTasks(d=10, k=1, noise=0.5, heads=ms.SphereHeads())
    test = ms.rank_test(tasks.sample(4000, 20, 20, seed=1), 1)
    assert test.signal[0] == pytest.approx(0.8, rel=0.1)


def test_bits_depend_neither_on_threads_nor_on_the_call():
    batch = draw(1, 2)
    first, second = (ms.rank_test(batch, 3, seed=4, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(first.p_values, second.p_values)
    np.testing.assert_array_equal(first.directions, second.directions)
    assert str(first).startswith("rank 1 at level 0.05")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_rank": 12}, "max_rank must be below the 12 features; got 12"),
        ({"level": 1.0}, "level must lie between 0 and 1; got 1"),
        ({"batch": 3}, "batch must be a TaskBatch; got 3"),
        ({"batch": draw(1, 0, n=19)}, "batch must hold at least 20 tasks; got 19"),
        (
            {"batch": ms.TaskBatch(np.ones((30, 1, 12)), np.ones((30, 1)))},
            "every task needs at least 2 samples; task 0 has 1",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    with pytest.raises((TypeError, ValueError)) as error:
        ms.rank_test(**{"batch": draw(1, 0), **change})
    assert message in str(error.value)
