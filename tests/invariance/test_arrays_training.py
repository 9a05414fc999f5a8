"""Training on arrays agrees with plain iteration in NumPy, and between routes."""

from functools import cache

import numpy as np
import pytest

import metaspan as ms
from data_runs import OF_HEADS, RECORDS, ROUTES, Case, Problem, as_batch, build, error_of, method_of
from data_runs import run as run_on
from matching import reference_method, relative_error
from reference.training import records, stacked, train_dual, train_on_data

NAMES = ("fo-anil", "anil", "fo-maml", "maml")
STEPS = {"alpha": 0.02, "beta": 0.03}
# Every sample count and width that the routes treat in ways of their own.
CASES = {
    "equal": Case(13, 3, 3, (5,) * 4, (6,) * 4),
    "ragged-wide": Case(11, 4, 2, (3, 7, 1, 4), (5, 2, 6, 1)),
    "narrow": Case(12, 2, 3, (4, 4, 3), (3, 5, 4)),
    "one-column": Case(9, 1, 3, (2, 1, 1), (1, 3, 1)),
    "width-is-d": Case(5, 5, 2, (4, 3, 2), (2, 3, 4)),
    "more-samples-than-d": Case(4, 2, 2, (9, 8, 9), (12, 7, 1)),
    "single-samples": Case(10, 3, 3, (1,) * 5, (1,) * 5),
    "shared": Case(12, 3, 2, (5, 3, 6), (5, 3, 6), shared=(0, 1, 2)),
    "partly-shared": Case(14, 4, 3, (5, 3, 6), (4, 3, 2), shared=(1,)),
}
MATRIX = [
    (case, name, inner_steps)
    for case in CASES
    for name in NAMES
    for inner_steps in ((0, 1, 2, 3) if case in ("equal", "ragged-wide") else (1, 2))
] + [(case, "average-risk", 0) for case in CASES]


def rounds_of(case):
    return 100 if case in ("equal", "ragged-wide") else 40


@cache
def problem(case):
    return build(CASES[case])


@cache
def expected(case, name, inner_steps):
    """Return the states after every round of plain iteration, and every tenth row of the trace."""
    B, w, tasks, batch = problem(case)
    method = reference_method(method_of(name, inner_steps=inner_steps, **STEPS))
    states = train_on_data(B, w, tasks, method, [range(len(tasks))] * rounds_of(case))
    truth = {"B_star": batch.B_star, "heads": batch.heads}
    rows = [records(*state, tasks, method, **truth) for state in states[::10]]
    return states, {key: np.array([row[key] for row in rows]) for key in RECORDS}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("case", "name", "inner_steps"), MATRIX)
def test_run_follows_plain_iteration(case, name, inner_steps, route):
    """State and every record, of every tenth round and the end."""
    states, rows = expected(case, name, inner_steps)
    method = method_of(name, inner_steps=inner_steps, **STEPS)
    r = run_on(problem(case), method, route, rounds=rounds_of(case), record=RECORDS)
    assert r.status == ms.Status.FINISHED
    assert r.config.route == route
    assert relative_error(r.B, states[-1][0]) < 1e-10
    assert relative_error(r.w, states[-1][1]) < 1e-10
    for record, values in rows.items():
        assert error_of(record, r.trace[record][::10], values) < 1e-10, record
    assert relative_error(r.B, problem(case).B) > 0.01  # it went somewhere


@pytest.mark.parametrize("name", [*NAMES, "average-risk"])
@pytest.mark.parametrize("case", ["ragged-wide", "more-samples-than-d", "partly-shared"])
def test_dual_route_follows_the_dual_recursion(case, name):
    B, w, tasks, _ = problem(case)
    method = method_of(name, inner_steps=2, **STEPS)
    choices = [range(len(tasks))] * 40
    A, head = train_dual(B, w, tasks, reference_method(method), choices)[-1]
    r = run_on(problem(case), method, "dual", rounds=40)
    assert relative_error(r.B, B + stacked(tasks)[0].T @ A) < 1e-11
    assert relative_error(r.w, head) < 1e-11


# More tasks than registers, panels and blocks have room for; Gram matrices of several blocks; and
# data whose samples have a singular Gram matrix.
LARGER = {
    "many-tasks": (
        Case(67, 6, 4, tuple(1 + i % 7 for i in range(41)), tuple(9 - i % 5 for i in range(41))),
        {"n": 17, "rounds": 100},
    ),
    "wide-learner": (Case(130, 45, 5, (20, 9, 33), (15, 40, 2)), {"rounds": 30, "beta": 0.003}),
    "many-samples": (Case(1100, 9, 4, (31,) * 12, (26,) * 12), {"rounds": 12, "beta": 0.01}),
    "fewer-dimensions": (Case(90, 9, 4, (31,) * 12, (26,) * 12), {"rounds": 12}),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", LARGER)
def test_routes_agree_on_every_row(case, name):
    sizes, changes = LARGER[case]
    changes = dict(changes)
    beta = changes.pop("beta", 0.05)
    method = method_of(name, alpha=0.3 / sizes.d, beta=beta, inner_steps=2)
    given = build(sizes)
    first, *others = (run_on(given, method, route, record=RECORDS, **changes) for route in ROUTES)
    for other in others:
        assert other.status == first.status == ms.Status.FINISHED
        assert relative_error(other.B, first.B) < 1e-10
        assert relative_error(other.w, first.w) < 1e-10
        for record in RECORDS:
            assert error_of(record, other.trace[record], first.trace[record]) < 1e-10, record


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("d", [8193, 20_011])
def test_run_follows_plain_iteration_beyond_one_piece(d, route):
    """Sums over d that are cut into pieces, the last one of an odd size."""
    given = build(Case(d, 3, 2, (2, 3, 2), (1, 3, 2)))
    B, w, tasks, _ = given
    method = ms.MAML(alpha=3e-5, beta=1e-4, inner_steps=2)
    states = train_on_data(B, w, tasks, reference_method(method), [given.everything] * 4)
    r = run_on(given, method, route, rounds=4)
    assert relative_error(r.B - B, states[-1][0] - B) < 1e-11
    assert relative_error(r.w - w, states[-1][1] - w) < 1e-11


def test_vector_route_sums_the_terms_of_several_blocks():
    """200 inner steps keep 401 vectors a task, of which not all tasks' fit into a block."""
    given = build(Case(2000, 3, 2, (2,) * 12, (1,) * 12))
    method = ms.ANIL(alpha=1e-4, inner_steps=200)
    vector, gram = (
        ms.meta_gradient(given.B, given.w, given.batch, method, route=route, threads=1)
        for route in ("vector", "gram")
    )
    assert relative_error(vector.B, gram.B) < 1e-12
    assert relative_error(vector.w, gram.w) < 1e-12
    assert relative_error(vector.loss_out, gram.loss_out) < 1e-12


# Starts and data where the dual route has to look twice for an orthonormal basis.
def degenerate(kind):
    rng = np.random.default_rng(5)
    given = build(Case(40, 3, 3, (3, 4, 5), (4, 3, 2)))
    B, w, tasks, batch = given
    B_star = batch.B_star
    if kind == "start-in-span":
        B = B_star @ rng.standard_normal((3, 3))
    elif kind == "start-half-in-span":
        B = np.concatenate([B_star[:, :2] @ rng.standard_normal((2, 2)), B[:, :1]], axis=1)
    elif kind == "start-off-span":
        B = B - B_star @ (B_star.T @ B)
    elif kind == "samples-in-span":
        tasks = [tuple(s._replace(X=s.X @ B_star @ B_star.T) for s in task) for task in tasks]
    elif kind == "samples-twice":
        tasks = [tasks[0], (tasks[0][1], tasks[0][0]), (tasks[0][0], tasks[1][1])]
    elif kind == "sample-of-zeros":
        tasks[1][0].X[2] = 0
    elif kind == "unlike-scales":
        tasks = [tuple(s._replace(X=s.X * 10.0**-i) for i, s in enumerate(task)) for task in tasks]
    return Problem(B, w, tasks, as_batch(tasks, B_star, batch.heads))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "kind",
    [
        "start-in-span",
        "start-half-in-span",
        "start-off-span",
        "samples-in-span",
        "samples-twice",
        "sample-of-zeros",
        "unlike-scales",
    ],
)
def test_run_on_degenerate_data_follows_plain_iteration(kind, route):
    given = degenerate(kind)
    B, w, tasks, batch = given
    method = ms.MAML(alpha=0.005, beta=0.05)
    model = reference_method(method)
    states = train_on_data(B, w, tasks, model, [given.everything] * 20)
    r = run_on(given, method, route, rounds=20, record=RECORDS)
    assert relative_error(r.B, states[-1][0]) < 1e-11
    rows = [
        records(*state, tasks, model, B_star=batch.B_star, heads=batch.heads) for state in states
    ]
    for record in set(RECORDS) - set(OF_HEADS):
        assert error_of(record, r.trace[record], [row[record] for row in rows]) < 1e-10, record
