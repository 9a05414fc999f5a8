"""The bits of a run on arrays do not depend on threads, other trials, or records."""

import numpy as np
import pytest

import metaspan as ms
from data_runs import (
    RECORDS,
    ROUTES,
    Case,
    Problem,
    assert_row_of_many,
    build,
    method_of,
)
from data_runs import run as run_on
from matching import METHODS, assert_same_bits

EVERY = [*METHODS, "average-risk"]
# (sizes, dtype of the data, changes of the arguments)
SIZES = {
    "tasks-side-by-side": (
        Case(301, 4, 3, tuple(1 + i % 5 for i in range(23)), tuple(6 - i % 5 for i in range(23))),
        np.float64,
        {},
    ),
    "minibatch": (Case(301, 4, 3, (5,) * 23, (3,) * 23), np.float64, {"n": 7}),
    "one-task": (Case(16_501, 3, 2, (3,), (4,)), np.float64, {}),
    "few-tasks": (Case(16_501, 3, 2, (3, 5, 2), (4, 2, 1)), np.float32, {}),
    "many-samples": (Case(601, 5, 3, (29,) * 10, (26,) * 10), np.float64, {}),
}


def settled(sizes, name):
    """A method whose steps suit the sizes."""
    return method_of(name, alpha=0.1 / sizes.d, beta=0.1 / sizes.d, inner_steps=2)


# Costly sizes run only with the methods that use most of the code.
FEW = {"many-samples": ["fo-maml", "maml"], "one-task": ["maml"], "few-tasks": ["maml"]}
MATRIX = [(size, name) for size in SIZES for name in FEW.get(size, EVERY)]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("size", "name"), MATRIX)
def test_threads_do_not_change_a_bit(size, name, route):
    sizes, dtype, changes = SIZES[size]
    given, method = build(sizes, dtype=dtype), settled(sizes, name)
    one, *others = (
        run_on(given, method, route, rounds=2, record=RECORDS, threads=threads, **changes)
        for threads in (1, 2, 4)
    )
    for other in others:
        assert_same_bits(other, one)


def heavy():
    """Five tasks of 12.8 MB each: above what a thread takes for itself on the vector route."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((32, 100_000), np.float32), rng.standard_normal((5, 32), np.float32)
    B, w = 0.01 * rng.standard_normal((100_000, 2)), rng.standard_normal(2)
    batch = ms.TaskBatch([X[:16]] * 5, list(y[:, :16]), [X[16:]] * 5, list(y[:, 16:]))
    return Problem(B, w, [], batch)


@pytest.mark.parametrize("route", ["gram", "vector"])
def test_threads_within_large_tasks_do_not_change_a_bit(route):
    given, method = heavy(), ms.MAML(alpha=1e-6, beta=1e-6)
    assert given.batch.X_in[0].nbytes + given.batch.X_out[0].nbytes > 12 * 2**20
    one, *others = (
        ms.meta_gradient(given.B, given.w, given.batch, method, route=route, threads=threads)
        for threads in (1, 2, 4)
    )
    for other in others:
        np.testing.assert_array_equal(other.B, one.B)
        np.testing.assert_array_equal(other.w, one.w)
        np.testing.assert_array_equal(other.loss_out, one.loss_out)


@pytest.mark.parametrize("n", [2, 9])
def test_threads_do_not_change_a_bit_of_sums_in_single_precision(n):
    """Within the tasks of a round, and side by side."""
    given = build(Case(9001, 3, 2, (3,) * n, (2,) * n), dtype=np.float32)
    method = ms.MAML(alpha=1e-5, beta=1e-5)
    one, *others = (
        run_on(given, method, "vector", accumulate="float32", rounds=2, threads=threads)
        for threads in (1, 2, 4)
    )
    for other in others:
        assert_same_bits(other, one)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("init", ["given", "random", "tilted"])
def test_a_trial_alone_is_its_row_of_many(init, route):
    """Also with threads that take trials side by side, and with threads left over."""
    given = build(Case(25, 4, 3, (3, 2, 4, 5, 2), (4, 3, 2, 2, 6)))
    start = {
        "given": (given.B, given.w),
        "random": ms.Init(scale=1.0),
        "tilted": ms.Init(dist=0.5, scale=1.0),
    }[init]
    method = ms.MAML(alpha=0.01, beta=0.02, inner_steps=2)
    options = {"init": start, "width": 4, "n": 2, "record": RECORDS, "seed": 3}
    many = run_on(given, method, route, trials=6, threads=2, **options)
    for trial, threads in ((0, 1), (4, 2)):
        alone = run_on(
            given, method, route, trials=range(trial, trial + 1), threads=threads, **options
        )
        assert_row_of_many(alone, many, trial)
    assert len(set(many.trace["eta"][:, -1].tolist())) > 1


@pytest.mark.parametrize("dist", [None, 0.5])
def test_every_trial_starts_from_a_subspace_of_its_own(dist):
    given = build(Case(25, 4, 3, (3, 2, 4), (4, 3, 2)))
    init = ms.Init(dist=dist, scale=1.0)
    r = run_on(given, ms.ANIL(), "gram", init=init, width=4, trials=4, rounds=0)
    for i in range(4):
        for j in range(i):
            assert np.linalg.svd(r.B[i].T @ r.B[j], compute_uv=False)[-1] < 0.9


@pytest.mark.parametrize("route", ROUTES)
def test_recording_less_or_less_often_keeps_the_bits(route):
    """Every seventh row and the end; and a run that records nothing goes the same way."""
    given = build(Case(25, 4, 3, (3, 2, 4, 5, 2), (4, 3, 2, 2, 6)))
    method = ms.MAML(alpha=0.01, beta=0.02, inner_steps=2)
    every = run_on(given, method, route, n=3, record=RECORDS)
    some = run_on(given, method, route, n=3, record=RECORDS, record_every=7)
    none = run_on(given, method, route, n=3, record=())
    rounds = [0, 7, 14, 21, 28, 30]
    np.testing.assert_array_equal(some.trace["round"], rounds)
    for record in RECORDS:
        np.testing.assert_array_equal(some.trace[record], every.trace[record][rounds])
    for other in (some, none):
        np.testing.assert_array_equal(other.B, every.B)
        np.testing.assert_array_equal(other.w, every.w)


@pytest.mark.parametrize("route", ROUTES)
def test_fewer_rounds_are_the_beginning_of_more(route):
    given = build(Case(25, 4, 3, (3, 2, 4, 5, 2), (4, 3, 2, 2, 6)))
    method = ms.ANIL(alpha=0.01, beta=0.02, inner_steps=2)
    more, fewer = (
        run_on(given, method, route, n=3, record=RECORDS, rounds=rounds) for rounds in (30, 11)
    )
    for record in RECORDS:
        np.testing.assert_array_equal(fewer.trace[record], more.trace[record][:12])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("route", ["gram", "vector"])
def test_first_round_is_the_gradient_of_that_route(name, route):
    """One step of a run and `meta_gradient` by the same route: the same numbers."""
    given = build(Case(25, 4, 3, (3, 2, 4), (4, 3, 2)))
    method = method_of(name, alpha=0.01, beta=0.5, inner_steps=2)
    r = run_on(given, method, route, rounds=1, record=("loss_in", "loss_adapted", "loss_out"))
    g = ms.meta_gradient(given.B, given.w, given.batch, method, route=route)
    np.testing.assert_allclose(r.B, given.B - 0.5 * g.B, rtol=0, atol=1e-15)
    np.testing.assert_allclose(r.w, given.w - 0.5 * g.w, rtol=0, atol=1e-15)
    for loss in ("loss_in", "loss_adapted", "loss_out"):
        assert r.trace[loss][0] == pytest.approx(getattr(g, loss).mean(), rel=1e-14)
