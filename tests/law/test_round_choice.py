"""The choice of a round's tasks. Task i has the head 2^i, so the sum of heads identifies it."""

import math
from itertools import combinations

import numpy as np
import pytest

import metaspan as ms
from data_runs import ROUTES, Case, Problem, build, run
from matching import reference_method, relative_error
from reference.training import train_on_data

N = 7
CASE = Case(9, 3, 2, (3, 7, 1, 4, 2, 2, 5), (5, 2, 6, 1, 3, 3, 3))
METHOD = ms.MAML(alpha=0.01, beta=0.02, inner_steps=2)


def named(case=CASE):
    """Task i has the head 2^i."""
    given = build(case, known=False)
    b = given.batch
    heads = 2.0 ** np.arange(b.n)[:, None]
    batch = ms.TaskBatch(b.X_in, b.y_in, b.X_out, b.y_out, heads=heads)
    return Problem(given.B, given.w, given.tasks, batch)


def chosen(sums):
    """Numbers of the tasks of every round. Fewer than n where one was taken twice."""
    return [[i for i in range(N) if total >> i & 1] for total in np.rint(sums).astype(int)]


def choices_of(r):
    return chosen(r.trace["eta"] * r.config.n)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("n", [1, 3, 6])
def test_run_on_the_tasks_of_its_rounds_follows_plain_iteration(n, route):
    given = named()
    r = run(given, METHOD, route, rounds=40, n=n, seed=5, trials=range(2, 3), record="eta")
    choices = choices_of(r)
    assert {len(each) for each in choices} == {n}
    B, w = train_on_data(given.B, given.w, given.tasks, reference_method(METHOD), choices[:-1])[-1]
    assert relative_error(r.B, B) < 1e-11
    assert relative_error(r.w, w) < 1e-11


def test_choices_are_those_of_the_seed_the_trial_and_the_round():
    """The same for all routes and lengths, others for another seed or trial."""
    given = named()
    options = {"n": 3, "record": "eta", "rounds": 50}
    first = run(given, METHOD, "gram", trials=2, **options)
    of_trial = [choices_of(run(given, METHOD, "gram", trials=range(t, t + 1), **options))
                for t in (0, 1)]  # fmt: skip
    assert of_trial[0] != of_trial[1]
    for trial in (0, 1):
        assert chosen(first.trace["eta"][trial] * 3) == of_trial[trial]
    for route in ROUTES[1:]:
        assert choices_of(run(given, METHOD, route, **options)) == of_trial[0]
    assert choices_of(run(given, METHOD, "gram", seed=1, **options)) != of_trial[0]
    longer = run(given, METHOD, "gram", **{**options, "rounds": 60})
    assert choices_of(longer)[:51] == of_trial[0]


def test_last_row_is_of_the_tasks_that_the_next_round_takes():
    given = named()
    short, long = (run(given, METHOD, "dual", n=2, record="eta", rounds=t) for t in (9, 10))
    assert choices_of(short)[9] == choices_of(long)[9]


def test_all_tasks_are_taken_unless_a_number_is_given():
    given = named()
    assert choices_of(run(given, METHOD, "gram", record="eta")) == [list(range(N))] * 31
    assert run(given, METHOD, "gram", rounds=0).config.n == N


def test_every_set_of_tasks_is_equally_likely():
    """Chi-square over the 35 sets of three tasks, and over a set and the next: 1e-6 each to err."""
    rounds = 7000
    r = run(
        named(Case(1, 1, 1, (1,) * N, (1,) * N)),
        ms.AverageRisk(beta=1e-3),
        "gram",
        rounds=rounds,
        n=3,
        record="eta",
    )
    sets = {each: i for i, each in enumerate(combinations(range(N), 3))}
    drawn = np.array([sets[tuple(each)] for each in choices_of(r)[:rounds]])
    assert chi_square(np.bincount(drawn, minlength=35)) < upper(34, 4.75)
    pairs = 35 * drawn[:-1:2] + drawn[1::2]
    assert chi_square(np.bincount(pairs, minlength=35 * 35)) < upper(35 * 35 - 1, 4.75)


def chi_square(counts):
    mean = counts.mean()
    return ((counts - mean) ** 2).sum() / mean


def upper(freedom, deviations):
    """The quantile of chi-square by Wilson and Hilferty: 4.75 deviations leave 1e-6."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + deviations * math.sqrt(spread)) ** 3
