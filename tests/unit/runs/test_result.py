"""Results: statuses, tables, files, full-size representations."""

import json
import os
import pickle

import numpy as np
import pytest

import metaspan as ms
from matching import assert_same_bits
from metaspan._support import memory as _memory

METHOD = ms.MAML(alpha=0.1, beta=0.1)


def named_heads(generator, n, k):
    return generator.standard_normal((n, k))


def runs():
    B_star = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 3)))[0]
    start = (np.random.default_rng(1).standard_normal((20, 4)), 0.1 * np.ones(4))
    cov = np.diag([1.0, 1.0, 0.5])
    return {
        "one-trial": {"tasks": ms.LinearTasks(d=20, k=3), "trials": 1},
        "trials": {"tasks": ms.LinearTasks(d=10**12, k=3), "trials": range(2, 9, 3)},
        "given-start": {"tasks": ms.LinearTasks(d=20, k=3, B_star=B_star), "init": start},
        "laws": {"tasks": ms.LinearTasks(d=20, k=3, heads=ms.GaussianHeads(cov=cov)), "pool": 9},
        "function": {"tasks": ms.LinearTasks(d=20, k=3, heads=named_heads)},
        "options": {
            "tasks": ms.LinearTasks(d=20, k=3, heads=ms.SphereHeads(radius=2.0)),
            "stop": None,
            "init": ms.Init(dist=0.5, scale=2.0),
            "dtype": np.float32,
        },
    }


RUNS = runs()


def result(name, **options):
    record = ("dist", "angles", "loss_out")
    return ms.train(
        **{"method": METHOD, "rounds": 12, "n": 5, "record": record, **RUNS[name], **options}
    )


def assert_same(first, second):
    assert_same_bits(first, second)
    assert first.timings == second.timings
    assert repr(first) == repr(second)


@pytest.mark.parametrize("name", RUNS)
def test_results_pickle(name):
    r = result(name, progress=lambda done, total: None)
    assert_same(r, pickle.loads(pickle.dumps(r)))


@pytest.mark.parametrize("name", RUNS)
def test_results_come_back_from_a_file(name, tmp_path):
    r = result(name)
    path = tmp_path / "run.npz"
    r.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    back = ms.load(path)
    assert_same(r, back)
    for field in ("method", "rounds", "n", "width", "trials", "record", "stop", "dtype", "pool"):
        assert getattr(back.config, field) == getattr(r.config, field)
    assert type(back.config.tasks.heads) is type(r.config.tasks.heads) or name == "function"
    if name != "trials":
        np.testing.assert_array_equal(back.full_B(), r.full_B())


def test_functions_come_back_as_their_names(tmp_path):
    result("function").save(tmp_path / "run.npz")
    assert ms.load(tmp_path / "run.npz").config.tasks.heads.name.endswith("named_heads")


def test_files_hold_no_pickles_and_say_who_wrote_them(tmp_path):
    result("given-start").save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as members:
        arrays = {name: members[name] for name in members.files}
    document = json.loads(arrays["metaspan"].tobytes())
    assert document["format"] == "metaspan result"
    assert document["written_by"] == ms.__version__


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        ms.load(tmp_path / "missing.npz")
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.save(tmp_path / "bare.npy", np.ones(3))
    for name in ("text.npz", "foreign.npz", "bare.npy"):
        with pytest.raises(ValueError, match=rf"{name}' is not a metaspan result"):
            ms.load(tmp_path / name)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    result("trials").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"run\.npz' is not a metaspan result, or it is broken"):
        ms.load(path)
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + b"\0\0\0\0" + whole[middle + 4 :])
    with pytest.raises(ValueError, match=r"run\.npz"):
        ms.load(path)


def test_outcomes_equal_their_status_and_each_other():
    outcome = ms.Outcome(ms.Status.CONVERGED, 12)
    assert outcome == ms.Status.CONVERGED
    assert outcome != ms.Status.DIVERGED
    assert outcome == ms.Outcome(ms.Status.CONVERGED, 12)
    assert outcome != ms.Outcome(ms.Status.CONVERGED, 13)
    assert outcome != "CONVERGED"
    assert len({outcome, ms.Status.CONVERGED}) == 1
    assert "round 12" in str(outcome)
    assert all(status.text for status in ms.Status)


def test_state_is_the_full_size_representation_in_coordinates():
    r = result("one-trial")
    M, R, w = r.state
    B_star = r.config.tasks.ground_truth()
    B = r.full_B()
    np.testing.assert_allclose(B_star.T @ B, M, atol=1e-14)
    np.testing.assert_allclose(B.T @ B, M.T @ M + R.T @ R, atol=1e-13)
    assert ms.subspace_distance(B, B_star) == pytest.approx(r.trace["dist"][-1], rel=1e-10)
    assert r.B is None
    assert r.w is w


def test_given_start_has_a_representation():
    r = result("given-start", trials=2)
    assert r.B.shape == (2, 20, 4)
    assert r.B is r.B
    np.testing.assert_array_equal(r.B[1], r.full_B(1))
    B0 = r.config.init[0]
    np.testing.assert_allclose(result("given-start", rounds=0).B, B0, atol=1e-14)


def test_trials_are_named_by_their_numbers():
    r = result("trials", tasks=ms.LinearTasks(d=20, k=3))
    assert r.full_B().shape == (3, 20, 3)
    np.testing.assert_array_equal(r.full_B()[1], r.full_B(5))
    with pytest.raises(ValueError, match=r"trial must be one of range\(2, 9, 3\); got 1"):
        r.full_B(1)


def test_full_size_beyond_memory_is_said_before_allocating():
    with pytest.raises(MemoryError, match=f"needs {8 * 10**12 * 15} bytes"):
        result("trials").full_B(2)


def test_available_memory_is_known_and_limits_are_heeded(tmp_path, monkeypatch):
    assert _memory.available_bytes() > 2**20
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    monkeypatch.setattr(_memory, "CGROUP", tmp_path)
    assert _memory.available_bytes() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert _memory.available_bytes() > 2**20


def test_frame_has_a_row_per_trial_and_round():
    pytest.importorskip("pandas")
    frame = result("trials").to_frame()
    assert list(frame.columns) == [
        "trial", "round", "dist", "angle_0", "angle_1", "angle_2", "loss_out",
    ]  # fmt: skip
    assert len(frame) == 3 * 13
    assert sorted(frame["trial"].unique()) == [2, 5, 8]
    assert (frame["dist"] - np.sin(frame["angle_0"])).abs().max() < 1e-15


def test_frame_ends_where_a_trial_ends():
    pytest.importorskip("pandas")
    r = result("one-trial", rounds=900, n=20, trials=3, stop=ms.Stop(dist=0.01))
    frame = r.to_frame()
    assert frame.notna().all(axis=None)
    ends = frame.groupby("trial")["round"].max()
    assert ends.tolist() == [outcome.round for outcome in r.status]


def test_plot_gives_axes():
    pytest.importorskip("matplotlib")
    assert result("trials").plot("loss_out", band=None).get_xlabel() == "round"


def test_repr_is_one_line():
    assert repr(result("options")) == (
        "Result(MAML(alpha=0.1, beta=0.1, inner_steps=1, first_order=False), d=20, k=3, width=3, "
        "n=5, m_in=infinite, m_out=infinite, engine='population', rounds=12, trials=1: 1 FINISHED)"
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"n": 10, "m_in": 5}, "n=10, m_in=5, m_out=infinite, engine='collapsed'"),
        ({"n": 10, "m_out": 5}, "n=10, m_in=infinite, m_out=5, engine='collapsed'"),
        ({"n": None, "m_in": 5}, "n=infinite, m_in=5, m_out=infinite, engine='limit'"),
        (
            {"n": 2, "m_in": 3, "m_out": 4, "pool": 6},
            "n=2, m_in=3, m_out=4, pool=6, engine='collapsed'",
        ),
    ],
)
def test_repr_and_estimate_say_what_a_round_takes(settings, told):
    tasks = ms.LinearTasks(d=20, k=3)
    assert f", {told}, rounds=" in repr(ms.train(tasks, "fo-anil", rounds=1, **settings))
    counts = told.partition(", engine")[0]
    estimate = ms.estimate(tasks, "fo-anil", **settings)
    assert estimate.round == counts
    assert f"\nround            {counts}\n" in str(estimate)


def test_repr_and_estimate_say_what_a_batch_holds(tmp_path):
    samples = [ms.LinearTasks(d=9, k=2).sample(1, m, m + 1) for m in (3, 5)]
    parts = ([getattr(s, name)[0] for s in samples] for name in ("X_in", "y_in", "X_out", "y_out"))
    batch = ms.TaskBatch(*parts)
    told = "n=2, m_in=3..5, m_out=4..6"
    assert repr(batch).startswith(f"TaskBatch({told}, ")
    r = ms.train(batch, "anil", width=2, rounds=1)
    assert f", {told}, engine='arrays', " in repr(r)
    assert ms.estimate(batch, "anil", width=2).round == told
    r.save(tmp_path / "r")
    assert repr(ms.load(tmp_path / "r")) == repr(r)


def test_a_record_that_is_not_there_is_answered_with_those_that_are():
    trace = result("options").trace
    with pytest.raises(KeyError, match=r"^\"'mu' was not recorded; this run has 'round'.*record="):
        trace["mu"]
    assert "mu" not in trace
    assert trace.get("mu") is None


def test_a_trace_is_a_dict_in_every_way(tmp_path):
    trace = result("options").trace
    plain = dict(trace)
    assert list(trace) == list(plain)
    assert repr(trace) == repr(plain)
    assert {**trace}.keys() == plain.keys()
    names = ("round", "dist")
    assert type(trace)((name, 1) for name in names) == dict.fromkeys(names, 1)
    again = pickle.loads(pickle.dumps(trace))
    assert type(again) is type(trace)
    np.savez(tmp_path / "t.npz", **trace)
    with np.load(tmp_path / "t.npz") as saved:
        for name, values in plain.items():
            np.testing.assert_array_equal(saved[name], values)
            np.testing.assert_array_equal(again[name], values)


@pytest.mark.parametrize("make", ["trial", "load", "pickle"])
def test_traces_of_results_made_from_others_say_so_too(make, tmp_path):
    r = result("trials")
    r.save(tmp_path / "r")
    made = {
        "trial": lambda: r.trial(2),
        "load": lambda: ms.load(tmp_path / "r"),
        "pickle": lambda: pickle.loads(pickle.dumps(r)),
    }[make]()
    with pytest.raises(KeyError, match="record="):
        made.trace["mu"]


def test_a_representation_that_is_not_there_is_answered_with_full_B():
    tasks = ms.LinearTasks(d=20, k=3, B_star=np.eye(20, 3))
    r = ms.train(tasks, "anil", rounds=3)
    assert r.B is None
    batch = tasks.sample(2, 3, 3)
    for call in (
        lambda: ms.subspace_distance(r.B, tasks.B_star),
        lambda: ms.principal_angles(r.B, tasks.B_star),
        lambda: ms.meta_gradient(r.B, r.w, batch, "anil"),
        lambda: ms.population_gradient(r.B, r.w, tasks.B_star, np.eye(3), "anil"),
        lambda: ms.adapt(r.B, r.w, batch.X_in, batch.y_in, "anil"),
        lambda: ms.train(tasks, "anil", init=(r.B, r.w)),
    ):
        with pytest.raises(TypeError, match=r"got None: a run in .* use full_B\(\) of its result"):
            call()
    with pytest.raises(TypeError, match=r"got None: use state\[:2\]"):
        ms.evaluate(r.B, r.w, tasks, "anil")
    assert ms.subspace_distance(r.full_B(), tasks.B_star) == pytest.approx(r.trace["dist"][-1])


@pytest.mark.parametrize("method", ["fedrep", "altgdmin", ms.RidgeANIL(lam=0.0), "anil"])
@pytest.mark.parametrize("width", [1, 3])
def test_runs_on_a_batch_that_solve_for_heads_come_back(tmp_path, method, width):
    """The stand-in for the batch has as many samples as the heads need."""
    rng = np.random.default_rng(4)
    sizes = (6, 5, 7, 6)
    X, y = [rng.standard_normal((m, 7)) for m in sizes], [rng.standard_normal(m) for m in sizes]
    r = ms.train(ms.TaskBatch(X, y), method, width=width, rounds=3)
    r.save(tmp_path / "r.npz")
    again = ms.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(again.B, r.B)
    assert again.method == r.method


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no endless device")
def test_an_endless_device_is_no_result():
    with pytest.raises(ValueError, match="it is not an archive"):
        ms.load("/dev/zero")
