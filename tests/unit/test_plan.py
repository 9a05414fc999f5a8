"""Plans, (68): the predicted end is that of the limit, and simulations end there."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import metaspan as ms
from metaspan.theory.averaging import Path, Split, normal_norms
from reference import limit

NEAR = ms.Init(dist=0.7)
# Settings that take little time; those of examples/planned_runs.py are in docs/theory.md.
QUICK = {
    "near": (ms.LinearTasks(d=200, k=2, noise=0.5), dict(target=0.05, m=20, init=NEAR)),
    "random start, budget": (
        ms.LinearTasks(d=1000, k=2, noise=0.5), dict(target=None, budget=10**6, m=20)),
    "exact": (
        ms.LinearTasks(d=300, k=3, noise=0.3), dict(target=0.03, m=24, first_order=False)),
    "constant, few tasks": (
        ms.LinearTasks(d=200, k=2, noise=0.3),
        dict(target=0.1, n=50, m_in=10, m_out=10, schedule="constant")),
}  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_runs_end_where_plans_say(name):
    tasks, options = QUICK[name]
    planned = ms.plan(tasks, **options)
    more = {"trials": 16, "seed": 3, "record_every": planned.rounds}
    ends = planned.train(tasks, **more).trace["dist"][:, -1]
    assert abs(ends.mean() / planned.dist - 1.0) < 0.1
    # Half of the rounds do not suffice, so that the test sees a plan that is too short.
    half = planned.train(tasks, **{**more, "rounds": planned.rounds // 2}).trace["dist"][:, -1]
    assert half.mean() > 1.1 * planned.dist
    assert planned.samples == planned.rounds * planned.n * (planned.m_in + planned.m_out)
    if options["target"] is not None:
        assert 0.9 * options["target"] < planned.dist <= options["target"]
    assert planned.samples <= options.get("budget", math.inf)


def round_by_round(heads, betas, **settings):
    """The squared tangent of the limit after rounds with these step sizes, by the reference."""
    d_over_n = settings.pop("d_over_n")
    gradient = partial(limit.gradient, heads=heads, alpha=1.0, **settings)
    M, R, w = 0.8 * np.eye(2), 0.6 * np.eye(2), np.zeros(2)
    for beta in betas:
        M, R, w = limit.descend(M, R, w, gradient, 1, beta=beta, d_over_n=d_over_n, beta_head=0.0)
    return np.linalg.norm(R @ np.linalg.inv(M), 2) ** 2


@pytest.mark.parametrize("exact", [False, True])
def test_long_strides_follow_the_recursion(exact):
    cov, n, rounds = [1.0, 0.6], 40, 250
    tasks = ms.LinearTasks(d=50, k=2, noise=0.4, heads=ms.GaussianHeads(cov=cov))
    path = Path(Split(tasks, exact, 4, 2), n, 0.8, 1.0)
    steps = [0.15 / (1.0 + max(0, t - 10) / 2.0) for t in range(rounds)]
    strides = 0
    while path.rounds < rounds:
        path.advance(steps[path.rounds], rounds - path.rounds)
        strides += 1
    assert strides < 0.7 * rounds
    heads = limit.gaussian_heads(np.zeros(2), np.diag(cov))
    settings = dict(noise=0.4, m_in=4, m_out=2, exact=exact, d_over_n=48 / n)
    expected = round_by_round(heads, steps, **settings)
    assert path.tan2(path.start + path.noise) == pytest.approx(expected, rel=0.01)
    assert path.tan2(path.noise) < path.tan2(path.start + path.noise)


@pytest.mark.parametrize("first_order", [True, False])
def test_engine_of_the_limit_honours_the_schedule_of_a_plan(first_order):
    """A run of the engine "limit" ends at the dist that the plan predicts for d to infinity."""
    tasks = ms.LinearTasks(d=10**8, k=3, noise=0.3)
    options = {"n": 10**7, "m_in": 8, "m_out": 6, "init": NEAR, "first_order": first_order}
    planned = ms.plan(tasks, target=0.05, **options)
    in_limit = planned.train(tasks, n=None, d_over_n=(tasks.d - tasks.k) / planned.n)
    assert in_limit.config.engine == "limit"
    assert planned.schedule == "1/t"
    assert in_limit.trace["dist"][-1] == pytest.approx(planned.dist, rel=0.01)
    constant = replace(planned.method, step=None)
    held = replace(planned, method=constant).train(
        tasks, n=None, d_over_n=(tasks.d - tasks.k) / planned.n
    )
    assert held.trace["dist"][-1] > 1.5 * planned.dist


@pytest.mark.parametrize(
    ("noise", "m_in", "expected"),
    [(0.3, 1000, 1.14), (0.3, 100, 2.41), (0.3, 20, 8.43), (1.0, 100, 1.18), (1.0, 20, 1.91)],
)
def test_efficiency_of_averaging(noise, m_in, expected):
    """Averaged first-order ANIL against the bound for known heads, sigma^2 (d - k) / (N mu^2)."""
    tasks, m_out = ms.LinearTasks(d=1000, k=2, noise=noise), 7
    split = Split(tasks, False, m_in, m_out)
    assert split.slowest == pytest.approx(1.0)
    assert m_out * split.constant / noise**2 == pytest.approx(expected, abs=0.005)
    # The reference's S at the fixed point (23) gives the same constant.
    a = 1.0 / (1.0 + 1.0 / m_in + (2.0 + noise**2) / m_in)
    heads = limit.gaussian_heads(np.zeros(2), np.eye(2))
    C = np.concatenate([math.sqrt(a) * np.eye(2), np.zeros((2, 2))])
    settings = dict(alpha=1.0, noise=noise, m_in=m_in, m_out=m_out, exact=False)
    S = limit.gradient(C, np.zeros(2), heads, **settings)[2]
    assert split.constant == pytest.approx(S[0, 0] / a, rel=1e-9)


def test_growth_of_noise_is_that_of_the_closed_form():
    """For m_in = infinity, heads N(0, s I): alpha beta s (k + 2) nu < 2 for small steps."""
    s, k = 1.7, 3
    tasks = ms.LinearTasks(d=100, k=k, noise=0.2, heads=ms.GaussianHeads(cov=[s] * k))
    split = Split(tasks, False, 10**9, 5)
    assert split.growth == pytest.approx(s * (k + 2) / (2 * 5), rel=1e-3)


@pytest.mark.parametrize("exact", [False, True])
def test_planned_split_is_the_best_of_all(exact):
    tasks, m = ms.LinearTasks(d=500, k=3, noise=0.4), 16
    cost = {m_in: Split(tasks, exact, m_in, m - m_in).constant for m_in in range(1, m)}
    planned = ms.plan(tasks, target=0.05, m=m, n=500, first_order=not exact)
    assert planned.m_in + planned.m_out == m
    assert cost[planned.m_in] < 1.12 * min(cost.values())
    assert cost[1] > 2.0 * min(cost.values()) < cost[m - 1]


def test_norms_of_normal_matrices_are_those_of_samples():
    covariance = np.diag([1.0, 0.8, 0.5])
    X = np.random.default_rng(5).standard_normal((2000, 12, 3)) / math.sqrt(12)
    norms = np.linalg.norm(X * np.sqrt(np.diag(covariance)), 2, axis=(1, 2))
    drawn = normal_norms(12, covariance)
    error = math.hypot(norms.std() / math.sqrt(norms.size), drawn.std() / math.sqrt(drawn.size))
    assert abs(drawn.mean() - norms.mean()) < 4 * error
    assert drawn.mean() > 1.05  # the root of the largest eigenvalue is 1


def test_more_samples_give_a_smaller_error_and_harder_targets_take_more():
    tasks = ms.LinearTasks(d=2000, k=2, noise=0.5)
    targets = [ms.plan(tasks, target=target, m=20) for target in (0.1, 0.03, 0.01)]
    for easy, hard in itertools.pairwise(targets):
        assert hard.samples > 5 * easy.samples
    budgets = [ms.plan(tasks, target=None, budget=b, m=20) for b in (10**7, 10**8, 10**9)]
    for small, large in itertools.pairwise(budgets):
        assert 2.5 < small.dist / large.dist < 4.0
    both = ms.plan(tasks, target=1e-3, budget=10**7, m=20)
    assert both.samples <= 10**7
    assert both.reason.startswith("The budget does not suffice for dist = 0.001.")
    easy = ms.plan(tasks, target=0.1, budget=10**9, m=20)
    assert (easy.samples, easy.dist) == (targets[0].samples, targets[0].dist)


def test_reasons_name_what_binds():
    """The plateau of a random start, the rate, or the floor; the boundary, or the curvature."""
    tasks = ms.LinearTasks(d=10**6, k=2, noise=0.3)
    easy = {"target": 0.5, "m": 40}
    assert ms.plan(tasks, **easy).reason.startswith("The plateau of the start binds")
    near = ms.plan(tasks, target=0.1, m=40, init="methodical", schedule="constant").reason
    assert near.startswith("The rate binds")
    assert "the curvature of the loss sets" in near
    hard = ms.plan(tasks, target=1e-3, m=40, n=1000).reason
    assert hard.startswith("The floor binds")
    assert "the boundary at which the noise" in hard


def test_alpha_and_the_scale_of_the_start_change_units_alone():
    tasks = ms.LinearTasks(d=300, k=2, noise=0.3)
    one, other = (ms.plan(tasks, target=0.1, m=20, alpha=alpha) for alpha in (1.0, 0.05))
    assert other.method.beta == pytest.approx(20.0 * one.method.beta)
    assert (other.rounds, other.n, other.dist) == (one.rounds, one.n, one.dist)
    ends = [p.train(tasks, seed=4).trace["dist"][-1] for p in (one, other)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    scaled = ms.plan(tasks, target=0.1, m=20, init=ms.Init(dist=0.9, scale=0.3))
    runs = scaled.train(tasks, trials=8).trace["dist"]
    assert abs(runs[:, -1].mean() / scaled.dist - 1.0) < 0.1


def test_steps_do_not_decrease_before_the_representation_has_grown():
    """With strong noise, the start is below the noise at once, while M is still small."""
    tasks = ms.LinearTasks(d=2000, k=2, noise=3.0)
    planned = ms.plan(tasks, target=0.5, m=8)
    assert planned.method.step.hold > 0.5 * ms.theory.plateau(
        tasks, "fo-anil", alpha=1.0, beta=planned.method.beta
    )
    ends = planned.train(tasks, trials=8).trace["dist"][:, -1]
    assert abs(ends.mean() / planned.dist - 1.0) < 0.1


def test_plans_for_fixed_heads_take_each_head_at_most_once(rng):
    tasks = ms.LinearTasks(d=100, k=2, noise=0.3, heads=rng.standard_normal((40, 2)))
    planned = ms.plan(tasks, target=0.05, m=12, init=NEAR)
    assert planned.n <= 40
    ends = planned.train(tasks, trials=8).trace["dist"][:, -1]
    assert abs(ends.mean() / planned.dist - 1.0) < 0.1
    assert ms.plan(replace(tasks, heads=tasks.heads[:5]), target=0.1, m=12, init=NEAR).n == 5


def test_few_tasks_of_many_samples_are_not_planned_with_a_single_inner_sample():
    """With n = 16 and m_in = 1 trials diverge, and dist ends at 5 times its prediction."""
    tasks = ms.LinearTasks(d=200, k=2, noise=0.3)
    planned = ms.plan(tasks, target=0.1, m=10_000, init=NEAR)
    ends = planned.train(tasks, trials=16).trace["dist"][:, -1]
    assert ends.mean() < 1.5 * planned.dist


def test_starts_below_the_target_need_no_round():
    tasks = ms.LinearTasks(d=100, k=2, noise=0.3)
    planned = ms.plan(tasks, target=0.7, m=20, init=NEAR)
    assert (planned.rounds, planned.samples, planned.dist) == (0, 0, 0.7)
    assert planned.reason.startswith("No round is needed, since the start has dist = 0.7.")
    assert planned.train(tasks).trace["dist"] == pytest.approx([0.7])
    # A budget alone is spent, also from the truth.
    spent = ms.plan(tasks, target=None, budget=10**6, m=20, init=ms.Init(dist=0.0))
    assert 0.9e6 < spent.samples <= 10**6
    ends = spent.train(tasks, trials=8).trace["dist"][:, -1]
    assert abs(ends.mean() / spent.dist - 1.0) < 0.1


WRONG = [
    ({"target": 0.0}, ValueError, "target"),
    ({"target": None}, ValueError, "target or budget must be given; got None for both"),
    ({"budget": 100}, ValueError, "budget must be at least about"),
    ({"m": 1}, ValueError, "m must be"),
    ({"m": 10, "m_in": 4, "m_out": 5}, ValueError, "m must be m_in + m_out where these are given"),
    ({"m": 10, "m_in": 10}, ValueError, "m must be m_in + m_out where these are given"),
    ({"n": 0}, ValueError, "n must be"),
    ({"alpha": 0.0}, ValueError, "alpha must be positive"),
    ({"init": "duchi"}, ValueError, "init"),
    ({"init": 3}, TypeError, "init must be 'random', 'methodical' or an Init; got 3"),
    ({"init": ms.Init(dist=1.0)}, ValueError, "init dist must be below 1 for a plan"),
    ({"init": ms.Init(scale=2.0)}, ValueError, "at most 1 / sqrt(alpha) = 1 for a plan; got 2"),
    ({"schedule": "cosine"}, ValueError, "schedule"),
    ({"tasks": ms.LinearTasks(d=9, k=2, features="uniform")}, ValueError, "got 'uniform'"),
    ({"tasks": ms.LinearTasks(d=9, k=2, spectrum=1.0)}, ValueError, "got a spectrum"),
    ({"tasks": ms.LinearTasks(d=3, k=2)}, ValueError, "d >= 2 k = 4"),
    ({"tasks": 3}, TypeError, "tasks must be a LinearTasks; got 3"),
    (
        {"tasks": ms.LinearTasks(d=9, k=2, heads=ms.GaussianHeads(cov=[1.0, 0.0]))},
        ValueError,
        "must reach every direction",
    ),
    (
        {"tasks": ms.LinearTasks(d=9, k=2, heads=np.ones((50, 2)))},
        ValueError,
        "must reach every direction",
    ),
    (
        {"n": 6, "tasks": ms.LinearTasks(d=9, k=2, heads=np.eye(2)[[0, 1, 0, 1, 0]])},
        ValueError,
        "n must be at most 5",
    ),
    ({"tasks": ms.LinearTasks(d=9, k=2, noise=1e60)}, ValueError, "squares between"),
    ({"tasks": ms.LinearTasks(d=9, k=2, heads=lambda *_: None)}, TypeError, "heads must be a law"),
    (
        {"target": 1e-8, "n": 1, "m": 2, "tasks": ms.LinearTasks(d=10**9, k=2, noise=1e6)},
        ValueError,
        "must allow a plan of moderately many rounds",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "fragment"), WRONG, ids=lambda x: str(x)[:40])
def test_wrong_arguments_are_refused(wrong, kind, fragment):
    options = {"tasks": ms.LinearTasks(d=50, k=2, noise=0.3), **wrong}
    with pytest.raises(kind) as error:
        ms.plan(**options)
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)
