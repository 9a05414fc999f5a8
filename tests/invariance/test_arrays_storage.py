"""Runs on arrays under other dtypes, layouts, starts and sources of the tasks."""

import numpy as np
import pytest

import metaspan as ms
from data_runs import RECORDS, ROUTES, Case, build, method_of, run, shifted
from matching import METHODS, assert_same_bits, reference_method, relative_error
from reference.training import train_on_data

EPS = float(np.finfo(np.float32).eps)
RAGGED = Case(11, 3, 2, (3, 7, 1, 4), (5, 2, 6, 1))
LONGER = Case(203, 3, 2, (4, 4, 4), (6, 6, 6))


def plain(given, method, rounds):
    """The end of plain iteration in double."""
    choices = [given.everything] * rounds
    return train_on_data(given.B, given.w, given.tasks, reference_method(method), choices)[-1]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", [RAGGED, LONGER], ids=["ragged", "longer"])
def test_float32_data_lose_nothing_beside_a_double_representation(case, name, route):
    """Every sum is taken in double, of the values that the data hold."""
    given = build(case, dtype=np.float32)
    method = method_of(name, alpha=0.3 / case.d, beta=0.05, inner_steps=2)
    r = run(given, method, route, dtype="float64")
    B, w = plain(given, method, 30)
    assert r.B.dtype == np.float64
    assert relative_error(r.B, B) < 1e-12
    assert relative_error(r.w, w) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("of_data", [np.float32, np.float64])
@pytest.mark.parametrize("name", METHODS)
def test_float32_representation_is_rounded_once_a_round(name, of_data, route):
    """Half a unit in the last place a round, for 30 rounds; the dual route rounds at the end."""
    given = build(LONGER, dtype=of_data)
    given = given._replace(B=given.B.astype(np.float32).astype(np.float64))
    method = method_of(name, alpha=0.3 / LONGER.d, beta=0.05, inner_steps=2)
    r = run(given, method, route, dtype="float32")
    B, w = plain(given, method, 30)
    allowed = EPS if route == "dual" else 15 * EPS
    assert r.B.dtype == np.float32
    assert r.w.dtype == np.float64
    assert relative_error(r.B, B) < allowed
    assert relative_error(r.w, w) < allowed


@pytest.mark.parametrize("name", [*METHODS, "average-risk"])
@pytest.mark.parametrize("case", [RAGGED, LONGER], ids=["ragged", "longer"])
def test_sums_in_single_precision_are_right_to_its_digits(case, name):
    given = build(case, dtype=np.float32)
    method = method_of(name, alpha=0.3 / case.d, beta=0.05, inner_steps=2)
    options = {"dtype": "float64", "record": "loss_out"}
    r = run(given, method, "vector", accumulate="float32", **options)
    B, w = plain(given, method, 30)
    assert relative_error(r.B, B) < 20 * EPS
    assert relative_error(r.w, w) < 20 * EPS
    g, exact = (
        ms.meta_gradient(given.B, given.w, given.batch, method, accumulate=kind, route="vector")
        for kind in ("float32", "float64")
    )
    assert 1e-12 < relative_error(g.B, exact.B) < 20 * EPS
    assert relative_error(g.loss_out, exact.loss_out) < 20 * EPS
    assert r.trace["loss_out"][0] == pytest.approx(g.loss_out.mean(), rel=1e-14)


def test_dtype_is_that_of_the_data_unless_given():
    given = build(RAGGED, dtype=np.float32)
    assert run(given, ms.ANIL(), "gram", rounds=0).B.dtype == np.float32
    assert run(given, ms.ANIL(), "gram", rounds=0, dtype="float64").B.dtype == np.float64


def mapped(array, path):
    """The values in a file, closed to writing."""
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1, 6])
def test_layout_of_the_data_does_not_change_a_bit(tmp_path, m, dtype, route):
    """Data as lists, with rows apart or in reverse, at unaligned addresses, and in files."""
    given = build(Case(67, 3, 2, (m,) * 4, (m + 1,) * 4), dtype=dtype)
    batch, method = given.batch, ms.MAML(alpha=1e-3, inner_steps=2)
    X_in, y_in, X_out, y_out = batch.X_in, batch.y_in, batch.X_out, batch.y_out
    wide = np.full((9, 2 * m, 80), 7.0, dtype)
    apart = wide[1::2, ::2, 5:72]
    apart[...] = X_in
    turned = np.ascontiguousarray(X_in[::-1, ::-1])[::-1, ::-1]
    layouts = {
        "lists": (list(X_in), list(y_in), list(X_out), list(y_out)),
        "apart": (apart, y_in, X_out, y_out),
        "turned": (turned, y_in, X_out, y_out),
        "shifted": tuple(shifted(array, 8) for array in (X_in, y_in, X_out, y_out)),
        "shifted-rows": ([shifted(X, 8 * i) for i, X in enumerate(X_in)], y_in, X_out, y_out),
        "mapped": (mapped(X_in, tmp_path / "X.npy"), y_in, X_out, y_out),
    }
    first = run(given, method, route, rounds=5, record=RECORDS)
    for note, arrays in layouts.items():
        other = given._replace(batch=ms.TaskBatch(*arrays, batch.B_star, heads=batch.heads))
        assert_same_bits(run(other, method, route, rounds=5, record=RECORDS), first, note)


@pytest.mark.parametrize("route", ["gram", "vector"])
def test_features_and_responses_may_be_held_in_unlike_ways(rng, route):
    """X is one array for all tasks and y a list of arrays, and the other way around."""
    X, y = rng.standard_normal((50, 40, 60)), rng.standard_normal((50, 40))
    B, w = rng.standard_normal((60, 3)), np.ones(3)
    plain, *others = (
        ms.meta_gradient(B, w, ms.TaskBatch(*arrays), "anil", alpha=0.01, route=route, threads=1)
        for arrays in ((X, y, X, y), (X, list(y), X, list(y)), (list(X), y, list(X), y))
    )
    for other in others:
        np.testing.assert_array_equal(other.loss_in, plain.loss_in)
        np.testing.assert_array_equal(other.B, plain.B)


@pytest.mark.parametrize("route", ROUTES)
def test_data_and_start_are_left_as_they_were(route):
    given = build(RAGGED)
    arrays = [given.B, given.w, given.batch.B_star, *given.batch.X_in, *given.batch.y_out]
    before = [array.copy() for array in arrays]
    r = run(given, ms.MAML(alpha=0.01), route)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not np.shares_memory(r.B, given.B)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", [*METHODS, "average-risk"])
def test_two_halves_are_one_run(name, route):
    """The end of a run as the start of another; the dual route then counts from there."""
    given, method = build(RAGGED), method_of(name, alpha=0.02, beta=0.05)
    whole = run(given, method, route, rounds=100, record=RECORDS)
    first = run(given, method, route, rounds=50)
    second = run(given, method, route, rounds=50, init=(first.B, first.w), record=RECORDS)
    assert relative_error(second.B, whole.B) < 1e-12
    assert relative_error(second.w, whole.w) < 1e-12
    for record in RECORDS:
        np.testing.assert_allclose(
            second.trace[record], whole.trace[record][50:], rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("init", ["given", "random", "tilted"])
@pytest.mark.parametrize(("shared", "n", "dtype"), [(False, 3, "float64"), (True, None, "float32")])
def test_pool_is_the_batch_that_sample_draws(init, shared, n, dtype, route):
    """Trial by trial, with its own data, ground truth, heads, start and choices."""
    given = build(Case(20, 4, 3, (1,), (1,)))
    start = {
        "given": (given.B, given.w),
        "random": ms.Init(scale=1.0),
        "tilted": ms.Init(dist=0.7, scale=1.0),
    }[init]
    tasks = ms.LinearTasks(d=20, k=3, noise=0.2, heads=ms.SphereHeads(radius=2.0))
    options = {
        "method": ms.MAML(alpha=0.02, beta=0.02, inner_steps=2),
        "rounds": 12, "n": n, "width": 4, "init": start, "seed": 7, "stop": None, "route": route,
        "record": RECORDS, "dtype": dtype, "shared_samples": shared, "threads": 1,
        "engine": "arrays",
    }  # fmt: skip
    sizes = {"m_in": 4, "m_out": None if shared else 6}
    many = ms.train(tasks, pool=5, trials=range(1, 4), **sizes, **options)
    assert all(outcome == ms.Status.FINISHED for outcome in many.status)
    for place, trial in enumerate(many.config.trials):
        batch = tasks.sample(
            5, *sizes.values(), seed=7, trial=trial, shared_samples=shared, dtype=dtype
        )
        alone = ms.train(batch, trials=range(trial, trial + 1), **options)
        for record in RECORDS:
            np.testing.assert_array_equal(alone.trace[record], many.trace[record][place])
        np.testing.assert_array_equal(alone.B, many.B[place])
        np.testing.assert_array_equal(alone.w, many.w[place])
    assert len(set(many.trace["eta"][:, 0].tolist())) == 3


@pytest.mark.parametrize("route", ROUTES)
def test_pool_of_a_given_truth_and_of_a_function_of_heads(route):
    truth = np.linalg.qr(np.random.default_rng(3).standard_normal((20, 2)))[0]

    def heads(generator, n, k):
        return generator.uniform(1, 2, (n, k))

    tasks = ms.LinearTasks(d=20, k=2, heads=heads, B_star=truth)
    options = {"rounds": 4, "n": 6, "init": ms.Init(scale=1.0), "route": route, "threads": 1}
    options |= {"engine": "arrays", "seed": 2, "record": ("eta", "dist")}
    r = ms.train(tasks, "anil", pool=6, m_in=3, m_out=3, **options)
    batch = tasks.sample(6, 3, 3, seed=2)
    alone = ms.train(batch, "anil", **options)
    assert_same_bits(r, alone)
    assert batch.heads.min() >= 1
    assert r.trace["eta"][0] == pytest.approx(np.linalg.norm(batch.heads.mean(0)), rel=1e-12)
