"""A run on arrays that was interrupted and resumed has the bits of an uninterrupted one."""

import numpy as np
import pytest

import metaspan as ms
from data_runs import ROUTES, Case, build
from matching import assert_same_bits

GIVEN = build(Case(30, 4, 3, (3, 7, 1, 4), (5, 2, 6, 1)))
STACKED = build(Case(30, 4, 3, (4,) * 4, (5,) * 4))
UNKNOWN = build(Case(30, 4, 3, (4,) * 4, (5,) * 4), known=False)
TASKS = ms.LinearTasks(d=30, k=3, noise=0.2)
START = (GIVEN.B, GIVEN.w)
DRAWN = {"init": ms.Init(scale=1.0), "width": 4}
POOL = {"tasks": TASKS, "pool": 5, "n": 3, "m_in": 4, "engine": "arrays"}

RUNS = {
    "batch": {},
    "minibatch": {"n": 2, "seed": 4},
    "trials": {"n": 2, "init": ms.Init(dist=0.6, scale=1.0), "trials": range(2, 5)},
    "pool": {**POOL, **DRAWN, "m_out": 5, "trials": 3},
    "shared-pool": {**POOL, **DRAWN, "shared_samples": True, "trials": 2},
    "float32": {"dtype": "float32", **DRAWN},
    "sparse-rows": {"record_every": 7, "record": ("angles", "loss_out", "mu")},
    "no-truth": {"tasks": UNKNOWN.batch, "record": ("loss_in", "sigma_min")},
}


def run(name, **options):
    defaults = {
        "tasks": GIVEN.batch,
        "method": ms.MAML(alpha=0.01, beta=0.01, inner_steps=2),
        "rounds": 160,
        "init": START,
        "stop": None,
        "record": ("dist", "loss_out"),
        "threads": 1,
    }
    return ms.train(**{**defaults, **RUNS[name], **options})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", RUNS)
def test_more_rounds_go_on_from_the_end(name, route, tmp_path):
    path = tmp_path / "run"
    first = run(name, rounds=38, route=route, checkpoint=path)
    assert_same_bits(first, run(name, rounds=38, route=route))
    assert_same_bits(run(name, rounds=38, route=route, checkpoint=path), first)
    assert_same_bits(run(name, route=route, checkpoint=path), run(name, route=route))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", RUNS)
def test_interrupted_run_goes_on(name, route, tmp_path, stop_at):
    """Cut early and late, among them between the trials of a pool, which run one by one."""
    whole = run(name, route=route)
    trials = len(whole.config.trials)
    kept = ms.Checkpoint(tmp_path / "run", every_seconds=0)
    cuts = (1, 40, 161, 330)[: 4 if name == "pool" else 2]
    for cut in cuts:
        with pytest.raises(ms.Interrupted) as caught:
            run(name, route=route, checkpoint=kept, progress=stop_at(cut))
        ends = caught.value.result.outcomes
        assert sum(end.round for end in ends) >= min(cut, 160)
        assert any(end == ms.Status.INTERRUPTED for end in ends) or trials > 1
    threads = 2 if name == "minibatch" else 1
    assert_same_bits(run(name, route=route, checkpoint=kept, threads=threads), whole)


@pytest.mark.parametrize("route", ROUTES)
def test_resumed_run_keeps_the_route_of_its_file(route, tmp_path):
    """Another computer, another number of rounds: "auto" might choose otherwise by then."""
    path = tmp_path / "run"
    run("batch", route=route, rounds=20, checkpoint=path)
    r = run("batch", route="auto", checkpoint=path)
    assert r.config.route == route
    assert_same_bits(r, run("batch", route=route))


@pytest.mark.parametrize("route", ROUTES)
def test_another_route_by_force_is_refused(route, tmp_path):
    path = tmp_path / "run"
    run("batch", route=route, rounds=3, checkpoint=path)
    before = path.read_bytes()
    for other in set(ROUTES) - {route}:
        with pytest.raises(ValueError, match=rf"^route must be .*run'.* '{route}'; got '{other}'"):
            run("batch", route=other, checkpoint=path)
    assert path.read_bytes() == before


def changed(**arrays):
    """The batch of `STACKED` with some of its arrays replaced."""
    b = STACKED.batch
    given = {"X_in": b.X_in, "y_in": b.y_in, "X_out": b.X_out, "y_out": b.y_out}
    return ms.TaskBatch(**{**given, "B_star": b.B_star, "heads": b.heads, **arrays})


CHANGES = {
    "tasks.n": {"tasks": ms.LinearTasks(d=30, k=3).sample(5, 4, 5)},
    "tasks.m_in": {"tasks": ms.LinearTasks(d=30, k=3).sample(4, 3, 5)},
    "tasks.d": {"tasks": ms.LinearTasks(d=31, k=3).sample(4, 4, 5), "init": ms.Init(scale=1.0)},
    "tasks.k": {"tasks": changed(B_star=STACKED.batch.B_star[:, :2].copy(), heads=None)},
    "tasks.fingerprint": {"tasks": changed(y_out=np.nextafter(STACKED.batch.y_out, 9))},
    "method.alpha": {"method": ms.MAML(alpha=0.02, beta=0.01, inner_steps=2)},
    "n": {"n": 3},
    "seed": {"seed": 1},
    "trials": {"trials": 2},
    "init": {"init": (STACKED.B + 1e-15, STACKED.w)},
    "dtype": {"dtype": "float32"},
    "record": {"record": "dist"},
    "record_every": {"record_every": 2},
    "on_failure": {"on_failure": "raise"},
}


@pytest.mark.parametrize("field", CHANGES)
def test_another_run_is_refused_by_the_field(field, tmp_path):
    path, options = tmp_path / "run", {"tasks": STACKED.batch, "init": (STACKED.B, STACKED.w)}
    run("batch", **options, rounds=3, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"^{field}\b.* must be as in .*run', .*; got "):
        run("batch", **{**options, **CHANGES[field]}, checkpoint=path)
    assert path.read_bytes() == before


def test_rounds_threads_progress_and_stop_may_differ(tmp_path):
    """And where the same data lie: in one array, or in a list."""
    options = {"tasks": STACKED.batch, "route": "gram"}
    b = STACKED.batch
    listed = {"X_out": list(b.X_out), "y_out": list(b.y_out)}
    run("batch", **options, rounds=20, checkpoint=tmp_path / "run", stop=ms.Stop(dist=1e-9))
    again = run(
        "batch",
        **{**options, "tasks": changed(**listed)},
        checkpoint=ms.Checkpoint(tmp_path / "run", every_seconds=9),
        threads=2,
        progress=lambda done, total: None,
    )
    assert_same_bits(again, run("batch", **options))


@pytest.mark.parametrize("route", ROUTES)
def test_converged_trials_go_on_when_the_rule_changes(route, tmp_path):
    path = tmp_path / "run"
    whole = run("trials", route=route)
    rule = ms.Stop(dist=None, loss_out=float(whole.trace["loss_out"][0, 90]))
    ended = run("trials", route=route, stop=rule, checkpoint=path)
    assert ms.Status.CONVERGED in ended.status
    assert_same_bits(run("trials", route=route, stop=rule, checkpoint=path), ended)
    assert_same_bits(run("trials", route=route, checkpoint=path), whole)


@pytest.mark.parametrize("route", ROUTES)
def test_diverged_trials_stay_ended(route, tmp_path):
    options = {"method": ms.MAML(alpha=1.0, beta=9.0), "route": route, "trials": 3, "n": 2}
    options["checkpoint"] = tmp_path / "run"
    with pytest.warns(ms.DivergenceWarning):
        first = run("batch", **options)
    with pytest.warns(ms.DivergenceWarning):
        again = run("batch", **{**options, "rounds": 900})
    assert_same_bits(again, first)
