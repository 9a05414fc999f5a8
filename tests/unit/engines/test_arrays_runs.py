"""Runs on arrays: defaults, stop rules, divergence, results and files."""

import pickle
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from data_runs import ROUTES, Case, build
from data_runs import run as run_on
from matching import assert_same_bits

GIVEN = build(Case(30, 4, 3, (3, 7, 1, 4), (5, 2, 6, 1)))
UNKNOWN = build(Case(30, 4, 3, (3, 7, 1, 4), (5, 2, 6, 1)), known=False)
METHOD = ms.MAML(alpha=0.01, beta=0.02)
B_STAR = GIVEN.batch.B_star


def run(route="gram", given=GIVEN, method=METHOD, **changes):
    return run_on(given, method, route, **changes)


@pytest.mark.parametrize("route", ROUTES)
def test_default_record_is_the_distance_where_the_truth_is_known(route):
    assert list(run(route).trace) == ["round", "dist"]
    assert list(run(route, UNKNOWN).trace) == ["round", "loss_out"]
    np.testing.assert_array_equal(run(route, UNKNOWN).B, run(route).B)


def test_defaults_of_a_batch_are_resolved():
    r = ms.train(GIVEN.batch, "anil", alpha=0.01, rounds=2, threads=1)
    assert (r.config.engine, r.config.n, r.config.width, r.config.k_star) == ("arrays", 4, 3, 3)
    assert r.config.route in ROUTES
    assert r.config.init == ms.Init()
    assert r.B.shape == (30, 3)
    estimate = ms.estimate(GIVEN.batch, "anil", alpha=0.01, rounds=2, threads=1)
    assert (estimate.engine, estimate.route) == ("arrays", r.config.route)


def test_random_start_has_orthogonal_columns_of_the_length_of_alpha():
    r = ms.train(
        UNKNOWN.batch, "anil", alpha=0.25, width=5, rounds=0, record=("sigma_min", "sigma_max")
    )
    np.testing.assert_allclose([r.trace["sigma_min"][0], r.trace["sigma_max"][0]], 2.0)
    np.testing.assert_allclose(r.B.T @ r.B, 4 * np.eye(5), atol=1e-13)
    assert not r.w.any()


@pytest.mark.parametrize("width", [2, 3, 5])
def test_tilted_start_has_the_angles_asked_for(width):
    r = ms.train(
        GIVEN.batch, "maml", width=width, rounds=0, init=ms.Init(dist=0.3, scale=2.0),
        record=("angles", "sigma_min", "sigma_max"), route="gram",
    )  # fmt: skip
    np.testing.assert_allclose(np.sin(r.trace["angles"][0]), 0.3, rtol=1e-12)
    np.testing.assert_allclose([r.trace["sigma_min"], r.trace["sigma_max"]], 2.0)


@pytest.mark.parametrize("route", ROUTES)
def test_stop_rules_end_a_run_without_changing_it(route):
    """On a loss that is not recorded, on one that is, and on a distance; seen in rows alone."""
    records = ("dist", "loss_out")
    free = run(route, rounds=80, record=records, record_every=5)
    losses, dists = free.trace["loss_out"], np.minimum.accumulate(free.trace["dist"])
    place = int(np.flatnonzero(dists[1:] < dists[:-1])[2]) + 1  # a distance not seen before
    for rule, record, row in (
        (ms.Stop(dist=None, loss_out=losses[9] * (1 + 1e-12)), "dist", 9),
        (ms.Stop(dist=None, loss_out=losses[9] * (1 + 1e-12)), records, 9),
        (ms.Stop(dist=dists[place] * (1 + 1e-12)), records, place),
        (ms.Stop(dist=dists[place] * (1 + 1e-12)), "loss_out", place),
    ):
        r = run(route, rounds=80, record=record, record_every=5, stop=rule)
        assert r.status == ms.Outcome(ms.Status.CONVERGED, 5 * row)
        assert r.trace["round"][-1] == 5 * row
        for name in set(r.trace) - {"round"}:
            np.testing.assert_array_equal(r.trace[name], free.trace[name][: row + 1])
        np.testing.assert_array_equal(r.B, run(route, rounds=5 * row).B)


DIVERGING = ms.ANIL(alpha=1.0, beta=2.0, first_order=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("record", ["dist", "loss_out"])
@pytest.mark.parametrize("route", ROUTES)
def test_diverged_run_keeps_the_last_finite_state(route, record, dtype):
    with pytest.warns(ms.DivergenceWarning, match="2 of 2 trials diverged"):
        r = run(route, method=DIVERGING, n=2, trials=2, rounds=200, record=record, dtype=dtype)
    for place, outcome in enumerate(r.status):
        assert outcome == ms.Status.DIVERGED
        assert np.isfinite(r.B[place]).all()
        assert np.isfinite(r.w[place]).all()
        alone = range(place, place + 1)
        if outcome.round > 1:  # one round less has the last round but one behind it
            before = run(
                route, method=DIVERGING, n=2, trials=alone, rounds=outcome.round - 1, dtype=dtype
            )
            assert abs(before.B).max() < abs(r.B[place]).max()
            assert before.status == ms.Status.FINISHED


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_routes_diverge_in_the_same_round(dtype):
    rounds = []
    for route in ROUTES:
        with pytest.warns(ms.DivergenceWarning):
            rounds.append(run(route, method=DIVERGING, rounds=200, dtype=dtype).status.round)
    assert len(set(rounds)) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_divergence_raises_on_demand(route):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ms.Diverged) as caught:
            run(route, method=DIVERGING, rounds=200, on_failure="raise")
    assert caught.value.result.status == ms.Status.DIVERGED
    assert np.isfinite(caught.value.result.B).all()


@pytest.mark.parametrize("route", ROUTES)
def test_a_distance_of_rounding_is_no_underflow(route):
    """The learner spans the whole space: its distance is a rounding error, sometimes exactly 0."""
    for seed in range(6):
        given = build(Case(2, 2, 2, (3, 7, 1, 4 + seed), (5, 2, 6, 1)))
        r = run(route, given, ms.ANIL(alpha=0.01, beta=0.01), rounds=100)
        assert r.status == ms.Status.FINISHED
        assert r.trace["dist"].max() < 1e-14


@pytest.mark.parametrize("trials", [1, 2])
@pytest.mark.parametrize("route", ROUTES)
def test_results_come_back_from_a_file_without_the_data(route, trials, tmp_path):
    r = run(route, trials=trials, n=2, record=("dist", "angles", "mu"), record_every=4)
    path = tmp_path / "result"
    r.save(path)
    back = ms.load(path)
    assert_same_bits(back, r)
    assert repr(back) == repr(r)
    summary = back.config.tasks
    assert (summary.n, summary.d, summary.k, summary.dtype) == (4, 30, 3, "float64")
    assert (summary.m_in, summary.m_out) == ((3, 7, 1, 4), (5, 2, 6, 1))
    fields = ("method", "rounds", "n", "width", "engine", "route", "record", "trials", "dtype")
    for field in fields:
        assert getattr(back.config, field) == getattr(r.config, field)
    np.testing.assert_array_equal(back.full_B(), r.full_B())
    # Less than the data, were there more of them: the state, twice the start, the trace.
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match="B_star, which a file does not hold"):
        back.state  # noqa: B018


def test_results_without_a_truth_come_back_with_their_state(tmp_path):
    r = run(given=UNKNOWN)
    r.save(tmp_path / "result")
    M, R, w = ms.load(tmp_path / "result").state
    assert M.shape == (0, 4)
    np.testing.assert_allclose(R.T @ R, r.B.T @ r.B, atol=1e-13)
    np.testing.assert_array_equal(w, r.w)


def test_a_pool_comes_back_from_a_file_with_its_law(tmp_path):
    tasks = ms.LinearTasks(d=30, k=3, noise=0.2)
    sizes = {"pool": 6, "n": 3, "m_in": 4, "m_out": 5, "engine": "arrays"}
    r = ms.train(tasks, METHOD, rounds=5, **sizes, trials=2, threads=1)
    r.save(tmp_path / "result")
    back = ms.load(tmp_path / "result")
    assert_same_bits(back, r)
    assert (back.config.pool, back.config.m_in, back.config.m_out) == (6, 4, 5)
    for mine, theirs in zip(back.state, r.state, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("route", ROUTES)
def test_state_is_the_representation_in_coordinates(route, dtype):
    r = run(route, trials=2, n=3, dtype=dtype, record=("dist", "perp_norm"))
    M, R, w = r.state
    B = r.B.astype(np.float64)
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    for i in range(2):
        np.testing.assert_allclose(M[i], B_STAR.T @ B[i], atol=tolerance)
        np.testing.assert_allclose(M[i].T @ M[i] + R[i].T @ R[i], B[i].T @ B[i], atol=tolerance)
        assert ms.subspace_distance(r.B[i], B_STAR.astype(dtype)) == pytest.approx(
            r.trace["dist"][i, -1], rel=10 * tolerance
        )
        assert np.linalg.norm(R[i], 2) == pytest.approx(
            r.trace["perp_norm"][i, -1], rel=10 * tolerance
        )
    np.testing.assert_array_equal(w, r.w)
    np.testing.assert_array_equal(r.full_B(1), r.B[1])


@pytest.mark.parametrize("route", ROUTES)
def test_results_pickle(route):
    r = run(route, trials=2, n=2)
    assert_same_bits(pickle.loads(pickle.dumps(r)), r)


def test_frame_has_a_row_per_trial_and_round():
    pytest.importorskip("pandas")
    r = run(trials=range(1, 3), n=2, record=("dist", "angles", "loss_out"), rounds=9)
    frame = r.to_frame()
    names = ["trial", "round", "dist", "angle_0", "angle_1", "angle_2", "loss_out"]
    assert list(frame.columns) == names
    assert len(frame) == 2 * 10
    assert sorted(frame["trial"].unique()) == [1, 2]
    np.testing.assert_array_equal(frame["loss_out"], r.trace["loss_out"].ravel())


@pytest.mark.parametrize("route", ROUTES)
def test_what_was_learned_can_be_evaluated(route):
    """By the representation itself and by its coordinates; training helps."""
    tasks = ms.LinearTasks(d=30, k=3, B_star=B_STAR, noise=0.1)
    batch = tasks.sample(60, 20, 20, seed=1)
    start = ms.Init(dist=0.9, scale=1.0)
    options = {"init": start, "route": route, "threads": 1, "stop": None}
    r = ms.train(batch, "anil", alpha=0.2, beta=0.2, rounds=150, **options)
    before = ms.train(batch, "anil", alpha=0.2, beta=0.2, rounds=0, **options)
    by_B, by_state, first = (
        ms.evaluate(B, run_.w, tasks, "anil", alpha=0.2, m=20, n=50)
        for run_, B in ((r, r.B), (r, r.state[:2]), (before, before.B))
    )
    for name in ("adapted", "least_squares", "ridge"):
        one, other = getattr(by_B, name), getattr(by_state, name)
        assert one.mean == pytest.approx(other.mean, rel=1e-9), name
    assert by_B.least_squares.mean < 0.5 * first.least_squares.mean


@pytest.mark.parametrize("width", [1, 2, 17, 64, 130, 256])
def test_routes_agree_at_any_width(width, rng):
    """Compiled widths, the loop over strips of them, and what is left of a strip."""
    batch = ms.LinearTasks(d=600, k=2, noise=0.1).sample(3, 9, 7, seed=3)
    start = np.linalg.qr(rng.standard_normal((600, width)))[0], 0.01 * rng.standard_normal(width)
    found = [
        ms.train(batch, "maml", init=start, rounds=5, alpha=0.01, beta=0.01, route=route)
        for route in ROUTES
    ]
    for r in found[1:]:
        np.testing.assert_allclose(r.B, found[0].B, rtol=0, atol=1e-13)
        np.testing.assert_allclose(r.w, found[0].w, rtol=0, atol=1e-13)


@pytest.mark.filterwarnings("error")
def test_the_example_on_own_data_learns_what_helps_on_tasks_held_out(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[3] / "examples" / "own_data.py"
    found = runpy.run_path(str(example))
    losses = {name: found["loss_on_new_tasks"](rows) for name, rows in found["heads"].items()}
    assert losses["one inner step"] < 0.3 * losses["zero"]
    assert losses["least squares"] < 0.03 * losses["zero"]
    assert found["r"].trace["dist"][-1] < 0.2
