"""`ms.fit`: arguments, results, files, interruptions, studies, and starts of training."""

import importlib
import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import metaspan as ms
from metaspan.estimators import fit_costs, names
from metaspan.estimators.estimator import Estimate

fit_module = importlib.import_module("metaspan.fit")
TASKS = ms.LinearTasks(d=60, k=2, noise=0.1)
LAW = {"n": 20, "m": 40, "seed": 3, "engine": "law"}
DESCENT = ms.AltGDmin(beta=0.3)
BATCH = TASKS.sample(20, 15, 25, seed=3)
UNKNOWN = ms.TaskBatch(BATCH.X_in, BATCH.y_in, BATCH.X_out, BATCH.y_out)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Tilts the truth by 1 / (i + 2) in iterate i, and ends as its options say."""

    name: ClassVar[str] = "steps"
    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    count: int = 5
    breaks_at: int = -1
    is_done: bool = True
    interrupts_at: int = -1
    loses_rank: bool = False

    def check(self, samples, width):
        if samples.n < 2:
            raise ValueError(f"n must be at least 2 for 'steps'; got {samples.n}")

    def iterate(self, samples, width, i):
        B = np.array(samples.B_star[:, :width])
        if self.loses_rank:
            B[:, -1] = 0.0
            return B
        free = int(np.argmin(np.abs(samples.B_star).sum(axis=1)))
        B[:, 0] *= math.sqrt(1 - 1 / (i + 2) ** 2)
        direction = np.eye(samples.dim)[free] - samples.B_star @ samples.B_star[free]
        B[:, 0] += direction / np.linalg.norm(direction) / (i + 2)
        return B * (math.nan if i == self.breaks_at else 1.0)

    def estimate(self, samples, width, monitor):
        for i in range(self.count + 1):
            if i == self.interrupts_at:
                raise KeyboardInterrupt
            B = self.iterate(samples, width, i)
            if monitor.record(B, np.full((samples.n, width), float(i)), objective=10.0 - i):
                break
        return Estimate(
            B=B,
            heads=np.full((samples.n, width), float(i)),
            iterations=i,
            converged=self.is_done,
            reason="" if self.is_done else "it always gives up",
        )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Returns the truth, in closed form and without heads."""

    name: ClassVar[str] = "truth"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False

    def check(self, samples, width):
        pass

    def estimate(self, samples, width, monitor):
        return Estimate(B=np.ascontiguousarray(samples.B_star[:, :width]), heads=None)


@pytest.fixture(autouse=True)
def _estimators(monkeypatch):
    """Let `fit` accept the estimators of this file."""
    here = {"Steps": Steps, "Truth": Truth}
    known = names.class_of
    monkeypatch.setattr(names, "KINDS", names.KINDS | {k: k.lower() for k in here})
    costs = dict.fromkeys(("steps", "truth"), fit_costs.COSTS["altgdmin"])  # studies need some cost
    monkeypatch.setattr(fit_costs, "COSTS", {**fit_costs.COSTS, **costs})
    monkeypatch.setattr(names, "class_of", lambda name: here.get(name.capitalize()) or known(name))


def same(a, b):
    """Whether two results have equal bits."""
    assert a.trace.keys() == b.trace.keys()
    assert a.parts.keys() == b.parts.keys()
    return all(np.array_equal(a.trace[k], b.trace[k], equal_nan=True) for k in a.trace) and all(
        np.array_equal(a.parts[k], b.parts[k], equal_nan=True) for k in a.parts
    )


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["law", "arrays"])
def test_a_fit_gives_the_result_of_train(engine):
    r = ms.fit(BATCH, DESCENT) if engine == "arrays" else ms.fit(TASKS, DESCENT, **LAW)
    assert isinstance(r, ms.Result)
    assert isinstance(r.config, ms.FitConfig)
    assert r.config.engine == engine
    assert r.config.method == DESCENT
    assert r.config.samples == 800
    assert r.config.m == (None if engine == "arrays" else 40)
    assert r.status == ms.Status.CONVERGED
    assert r.heads.shape == (20, 2)
    assert np.array_equal(r.w, r.heads.mean(axis=0))
    assert r.trace["round"].tolist() == list(range(r.status.round + 1))
    assert r.trace["dist"][-1] < 0.2 < r.trace["dist"][0]
    B, B_star = r.full_B(), TASKS.ground_truth(3)
    assert ms.subspace_distance(B, B_star) == pytest.approx(r.trace["dist"][-1], rel=1e-9)
    assert (r.B is None) == (engine == "law")
    M, R, w = r.state
    assert M.shape == R.shape == (2, 2)
    assert np.array_equal(w, r.w)
    assert {"prepare", "run", "total"} == r.timings.keys()
    risk = ms.evaluate((M, R), r.w, TASKS, "anil", m=20, n=50)
    assert risk.least_squares.mean < 0.1
    assert "n=20" in repr(r)
    assert ("m=40" in repr(r)) == (engine == "law")
    assert "\n" not in repr(r)


def test_heads_belong_to_the_representation():
    """They are those of least squares on X B, also for an estimator without heads."""
    X, y = (
        np.concatenate([BATCH.X_in, BATCH.X_out], 1),
        np.concatenate([BATCH.y_in, BATCH.y_out], 1),
    )
    for estimator in (DESCENT, Truth()):
        r = ms.fit(BATCH, estimator)
        expected = [np.linalg.lstsq(x @ r.B, v, rcond=None)[0] for x, v in zip(X, y, strict=True)]
        np.testing.assert_allclose(r.heads, expected, rtol=1e-9, atol=1e-11)


def test_the_records_are_those_of_the_iterates():
    r = ms.fit(TASKS, Steps(), record=("angles", "objective", "dist"), **LAW)
    sines = 1 / np.arange(2.0, 8.0)
    np.testing.assert_allclose(r.trace["dist"], sines, rtol=1e-12)
    np.testing.assert_allclose(np.sin(r.trace["angles"][:, 0]), sines, rtol=1e-12)
    np.testing.assert_allclose(r.trace["angles"][:, 1], 0.0, atol=1e-12)
    assert r.trace["objective"].tolist() == [10.0, 9.0, 8.0, 7.0, 6.0, 5.0]
    assert (r.heads == 5.0).all()


def test_a_closed_form_has_one_row():
    r = ms.fit(BATCH, Truth(), record=("dist", "objective"))
    assert r.trace["round"].tolist() == [0]
    assert r.trace["dist"][0] < 1e-12
    assert np.isnan(r.trace["objective"]).all()
    assert str(r.status) == "was solved in closed form (round 0)"
    assert r.status == ms.Status.CONVERGED


def test_an_unknown_truth_has_no_records_by_default():
    r = ms.fit(UNKNOWN, DESCENT, width=2, rounds=3)
    assert list(r.trace) == ["round"]
    r = ms.fit(UNKNOWN, DESCENT, width=2, rounds=3, record="objective")
    assert (np.diff(r.trace["objective"]) < 0).all()


def test_a_representation_that_lost_its_rank_lacks_directions():
    r = ms.fit(TASKS, Steps(loses_rank=True), record=("dist", "angles"), stop=None, **LAW)
    assert r.trace["dist"].tolist() == [1.0] * 6
    np.testing.assert_allclose(r.trace["angles"], [[math.pi / 2, 0.0]] * 6, atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "settings", "status", "round", "text"),
    [
        (Steps(), {}, "CONVERGED", 5, "converged (round 5)"),
        (Steps(), {"rounds": 3}, "FINISHED", 3, "did all its rounds (round 3)"),
        (Steps(), {"rounds": 0}, "FINISHED", 0, "did all its rounds (round 0)"),
        (Steps(), {"stop": ms.Stop(dist=0.21)}, "CONVERGED", 3, "met its stop rule (round 3)"),
        (
            Steps(is_done=False),
            {},
            "NOT_CONVERGED",
            5,
            "did not converge: it always gives up (round 5)",
        ),
        (
            Steps(breaks_at=2),
            {},
            "DIVERGED",
            2,
            "diverged: its gradient or state grew out of range (round 2)",
        ),
    ],
)
def test_how_a_trial_ends(estimator, settings, status, round, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        r = ms.fit(TASKS, estimator, **LAW, **settings)
    assert r.status == ms.Status[status]
    assert (r.status.round, str(r.status)) == (round, text)
    assert r.trace["round"][-1] == round


@pytest.mark.parametrize(
    ("estimator", "warning", "error"),
    [
        (Steps(is_done=False), ms.NotConvergedWarning, ms.NotConverged),
        (Steps(breaks_at=2), ms.DivergenceWarning, ms.Diverged),
    ],
)
def test_failures_are_never_silent(estimator, warning, error):
    with pytest.warns(warning, match=r"2 of 2 trials di.*trial 0 in iteration [25], trial 1"):
        r = ms.fit(TASKS, estimator, trials=2, **LAW)
    with pytest.raises(error) as raised:
        ms.fit(TASKS, estimator, trials=2, on_failure="raise", **LAW)
    assert same(raised.value.result, r)


def test_trials_are_independent_and_can_be_run_alone():
    r = ms.fit(TASKS, DESCENT, trials=3, **LAW)
    assert r.heads.shape == (3, 20, 2)
    assert len({out.round for out in r.outcomes}) > 1
    for number in range(3):
        alone = ms.fit(TASKS, DESCENT, trials=range(number, number + 1), **LAW)
        assert same(alone, r.trial(number))
    frame = r.to_frame()
    assert len(frame) == sum(out.round + 1 for out in r.outcomes)
    r.plot()


@pytest.mark.parametrize("source", [TASKS, BATCH])
def test_bits_do_not_depend_on_threads(source):
    sizes = LAW if source is TASKS else {"seed": 3}
    one, two = (ms.fit(source, DESCENT, threads=t, **sizes) for t in (1, 2))
    assert same(one, two)


def test_a_fold_with_too_few_tasks_for_a_width_leaves_it_out():
    """Ten tasks accept the width 9, of which a fold without two of them cannot be fitted."""
    batch = ms.LinearTasks(d=15, k=2, noise=0.1).sample(10, 12, 12, seed=1)
    r = ms.fit(batch, "burer-monteiro", start="moments", width="cv", on_failure="return", rounds=20)
    assert 1 <= r.B.shape[1] <= 8


def test_rows_of_successors_belong_to_all_tasks():
    X_next = np.zeros((BATCH.n, 40, 60))
    with pytest.raises(ValueError, match="width must be a number for meta-sp with semigradient"):
        ms.fit(BATCH, "meta-sp", semigradient=(X_next, 0.5), width="cv")


def test_the_width_by_held_out_tasks():
    r = ms.fit(BATCH, DESCENT, width="cv", rounds=40)
    assert r.config.width == TASKS.k
    assert r.heads.shape == (20, TASKS.k)


# --- files and interruptions ---------------------------------------------------------------------


@pytest.mark.parametrize("trials", [1, 2])
@pytest.mark.parametrize("kind", ["law", "batch", "unfinished"])
def test_results_come_back_from_a_file(kind, trials, tmp_path):
    record = ("dist", "angles", "objective")
    if kind == "batch":
        r = ms.fit(BATCH, DESCENT, trials=trials, record=record)
    else:
        rounds = 2 if kind == "unfinished" else None
        r = ms.fit(TASKS, DESCENT, trials=trials, record=record, rounds=rounds, **LAW)
    r.save(tmp_path / "r.npz")
    back = ms.load(tmp_path / "r.npz")
    assert same(r, back)
    assert [str(out) for out in back.outcomes] == [str(out) for out in r.outcomes]
    assert repr(back) == repr(r)
    assert back.config.samples == r.config.samples
    if kind != "batch":
        assert np.array_equal(back.full_B(), r.full_B())


def test_a_reason_is_kept_in_a_file(tmp_path):
    with pytest.warns(ms.NotConvergedWarning):
        r = ms.fit(BATCH, ms.AltGDmin(beta=50.0))
    r.save(tmp_path / "r.npz")
    assert str(ms.load(tmp_path / "r.npz").status) == str(r.status)
    assert "its subspace still moved after 1000 iterations" in str(r.status)


def test_an_interruption_keeps_finished_trials_and_iterations(tmp_path, monkeypatch):
    whole = ms.fit(TASKS, Steps(), trials=3, **LAW)
    opened, keep = [], fit_module.open_samples

    def open_samples(*args, **kwargs):
        opened.append(kwargs["trial"])
        return keep(*args, **kwargs)

    monkeypatch.setattr(fit_module, "open_samples", open_samples)
    estimate = Steps.estimate

    def interrupted(self, samples, width, monitor):
        cut = Steps(interrupts_at=3) if opened[-1] == 1 else self
        return estimate(cut, samples, width, monitor)

    monkeypatch.setattr(Steps, "estimate", interrupted)
    message = "the fit was interrupted in iteration 2 of trial 1; .result holds what is finished"
    with pytest.raises(ms.Interrupted, match=message) as raised:
        ms.fit(TASKS, Steps(), trials=3, **LAW)
    r = raised.value.result
    assert [out.status.name for out in r.outcomes] == ["CONVERGED", "INTERRUPTED", "INTERRUPTED"]
    assert [out.round for out in r.outcomes] == [5, 2, 0]
    assert same(r.trial(0), whole.trial(0))
    assert np.array_equal(r.trace["dist"][1, :3], whole.trace["dist"][1, :3])
    assert np.isnan(r.trace["dist"][1, 3:]).all()
    assert (r.heads[1] == 2.0).all()
    assert np.isfinite(r.parts["M"][1]).all()
    assert np.isnan(r.parts["M"][2]).all()
    monkeypatch.undo()


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_responses_that_overflow_make_altgdmin_diverge(rng):
    X = rng.standard_normal((6, 10, 8))
    y = 1e200 * X.sum(axis=2) * rng.standard_normal((6, 1))
    with pytest.warns(ms.DivergenceWarning):
        r = ms.fit(ms.TaskBatch(X, y), "altgdmin", beta=0.1, width=1)
    assert r.status == ms.Status.DIVERGED


def test_heads_that_are_not_finite_are_a_divergence():
    X, y = BATCH.X_in.copy(), BATCH.y_in.copy()
    X[0, 0, 0] = y[0, 0] = np.nan
    for arrays in ((BATCH.X_in, y), (X, BATCH.y_in)):
        broken = ms.TaskBatch(*arrays, B_star=BATCH.B_star, check_finite=False)
        for ridge in (0.0, 1e-3):
            with pytest.warns(ms.DivergenceWarning):
                r = ms.fit(broken, "oracle", ridge=ridge)
            assert r.status == ms.Status.DIVERGED


def test_ctrl_c_while_the_result_is_built_keeps_all_trials(monkeypatch):
    whole, build, calls = ms.fit(TASKS, Steps(), trials=2, **LAW), fit_module._build, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return build(*arguments)

    monkeypatch.setattr(fit_module, "_build", interrupted)
    with pytest.raises(ms.Interrupted, match="after its last trial") as raised:
        ms.fit(TASKS, Steps(), trials=2, **LAW)
    assert same(raised.value.result, whole)


def test_a_trial_whose_samples_are_too_few_leaves_the_others(tmp_path):
    """In some trials, the pairs of samples of four tasks determine only two directions."""
    tasks, few = ms.LinearTasks(d=8, k=3, noise=1.0), {"n": 4, "m": 4, "engine": "sampled"}
    with pytest.warns(ms.NotConvergedWarning, match="of 60 trials did not converge"):
        r = ms.fit(tasks, "duchi", trials=60, **few)
    failed = [out for out in r.outcomes if out.status is ms.Status.NOT_CONVERGED]
    assert 0 < len(failed) < 30
    assert "width must be at most 2, the number of directions" in failed[0].text
    assert np.isfinite(r.trace["dist"][:, -1]).sum() == 60 - len(failed)
    r.save(tmp_path / "r.npz")
    assert [out.status for out in ms.load(tmp_path / "r.npz").outcomes] == [
        out.status for out in r.outcomes
    ]
    one = r.outcomes.index(failed[0])
    with pytest.raises(ValueError, match="width must be at most 2"):
        ms.fit(tasks, "duchi", trials=range(one, one + 1), **few)
    zeros = ms.TaskBatch(BATCH.X_in, 0 * BATCH.y_in)
    with pytest.raises(ValueError, match="width must be at most 0"):
        ms.fit(zeros, "duchi", width=2, trials=2)


def test_ctrl_c_while_the_width_is_chosen_raises_interrupted(monkeypatch):
    def estimate(self, samples, width, monitor):
        raise KeyboardInterrupt

    algorithm = importlib.import_module("metaspan.estimators.altgdmin").SpectralAltGDmin
    monkeypatch.setattr(algorithm, "estimate", estimate)
    with pytest.raises(ms.Interrupted, match="before its width was chosen") as raised:
        ms.fit(BATCH, DESCENT, width="cv", trials=2)
    assert [out.status.name for out in raised.value.result.outcomes] == ["INTERRUPTED"] * 2


def test_an_interrupted_fit_is_kept_in_a_file(tmp_path, monkeypatch):
    def estimate(self, samples, width, monitor):
        raise KeyboardInterrupt

    algorithm = importlib.import_module("metaspan.estimators.altgdmin").SpectralAltGDmin
    monkeypatch.setattr(algorithm, "estimate", estimate)
    with pytest.raises(ms.Interrupted) as raised:
        ms.fit(TASKS, DESCENT, **LAW)
    raised.value.result.save(tmp_path / "r.npz")
    assert ms.load(tmp_path / "r.npz").status == ms.Status.INTERRUPTED


def test_progress_is_told_the_trials_done():
    told = []
    r = ms.fit(TASKS, Steps(), trials=2, progress=lambda *pair: told.append(pair), **LAW)
    assert told == [(1, 2), (2, 2)]
    assert r.config.progress is False


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"estimator": "moment"},
            ValueError,
            "estimator must be 'moments', 'duchi',.*got 'moment'",
        ),
        ({"estimator": 3}, TypeError, "estimator must be an estimator, such as Moments.*got 3"),
        ({"estimator": "altgdmin", "betta": 1}, TypeError, "did you mean 'beta'"),
        ({"betta": 1}, TypeError, "unknown keyword 'betta': options are keywords only where"),
        ({"tasks": 3}, TypeError, "tasks must be a LinearTasks or a TaskBatch; got 3"),
        ({"m": None}, ValueError, "m must be an integer, the number of samples per task; got None"),
        ({"n": None}, ValueError, "n must be an integer, the number of tasks; got None"),
        ({"width": "all"}, ValueError, "width must be 'cv'; got 'all'"),
        ({"width": 61}, ValueError, "width must be at most d = 60; got 61"),
        ({"n": 1, "width": 1}, ValueError, "n must be at least 2 for 'steps'; got 1"),
        ({"engine": "arrays"}, ValueError, "engine must be 'auto', 'law' or 'sampled'.*'arrays'"),
        (
            {"engine": "collapsed"},
            ValueError,
            "engine must be 'auto', 'arrays', 'law' or 'sampled'",
        ),
        ({"record": "loss_out"}, ValueError, "record must be 'dist', 'angles' or 'objective'"),
        ({"stop": ms.Stop(loss_out=1.0)}, ValueError, "stop must have loss_out=None for fit"),
        ({"stop": 1}, TypeError, "stop must be a Stop or None; got 1"),
        ({"rounds": -1}, ValueError, "rounds must be at least 0"),
        ({"on_failure": "stop"}, ValueError, "on_failure must be 'return' or 'raise'; got 'stop'"),
        ({"estimator": ms.AltGDmin(separate=True)}, ValueError, "separate=False for fit"),
        ({"estimator": ms.AltGDmin(step=ms.OuterStep(momentum=0.5))}, ValueError, "step=None"),
        ({"estimator": DESCENT, "m": 1}, ValueError, "'altgdmin' needs at least width = 2 samples"),
        (
            {"tasks": ms.LinearTasks(d=60, k=2, features="uniform"), "engine": "law"},
            ValueError,
            "engine 'law' needs features that are symmetric under rotations; got features='uni",
        ),
        (
            {"tasks": ms.LinearTasks(d=60, k=2, spectrum=1.0), "engine": "law"},
            ValueError,
            "engine 'law' needs features that are symmetric under rotations; got a spectrum",
        ),
    ],
)
def test_bad_arguments_are_one_sentence(change, error, message):
    arguments = {"tasks": TASKS, "estimator": Steps(), **LAW, **change}
    with pytest.raises(error, match=message) as raised:
        ms.fit(arguments.pop("tasks"), arguments.pop("estimator"), **arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 3}, "n must be left out for a batch"),
        ({"m": 3}, "m must be left out for a batch"),
        ({"engine": "law"}, "engine must be 'auto' or 'arrays' for a batch; got 'law'"),
        ({"width": None}, "width must be given for a batch without a B_star; got None"),
        ({"record": "dist"}, "record 'dist' needs a batch with a B_star; this one has none"),
        ({"stop": ms.Stop(dist=0.5)}, "stop dist must be None for a batch without a B_star"),
    ],
)
def test_bad_arguments_for_a_batch_are_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        ms.fit(UNKNOWN, DESCENT, **{"width": 2, **change})


@pytest.mark.parametrize(
    ("tasks", "sizes", "engine"),
    [
        (TASKS, {"n": 29, "m": 2}, "law"),
        (TASKS, {"n": 20, "m": 3}, "sampled"),  # 60 samples and the truth span all of d = 60
        (ms.LinearTasks(d=10**12, k=2), {"n": 100, "m": 100}, "law"),
        (ms.LinearTasks(d=10**6, k=2), {"n": 100, "m": 101}, "sampled"),
        (ms.LinearTasks(d=100, k=2, features="sphere"), {"n": 5, "m": 11}, "law"),
        (ms.LinearTasks(d=100, k=2, features="uniform"), {"n": 5, "m": 11}, "sampled"),
        (ms.LinearTasks(d=100, k=2, spectrum=1.0), {"n": 5, "m": 11}, "sampled"),
    ],
)
def test_the_engine_depends_on_the_arguments_alone(tasks, sizes, engine):
    configure = importlib.import_module("metaspan.estimators.configure").configure_fit
    assert configure(tasks, Steps(), **sizes).engine == engine


# --- starts of training --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"m_in": 15, "m_out": 25},
        {"m_in": 15, "m_out": 25, "pool": 20},
        {"m_in": 15, "m_out": 25, "pool": 20, "engine": "arrays"},
        {"m_in": 40, "m_out": 40, "shared_samples": True},
        {"m_in": 40},
    ],
)
def test_training_starts_at_an_estimate(settings, tmp_path):
    """Within a few times the distance of a fit of the same sizes, scaled so alpha B^T B = I."""
    settings = {"init": DESCENT, "n": 20, "alpha": 0.25, "stop": None, "trials": 2, **settings}
    r = ms.train(TASKS, "fo-anil", rounds=3, **settings)
    fitted = ms.fit(TASKS, DESCENT, n=20, m=40, trials=8)
    typical = np.nanmedian([fitted.trial(i).trace["dist"][-1] for i in range(8)])
    assert (r.trace["dist"][:, 0] < 3 * typical).all()
    assert r.trace["dist"][0, 0] != r.trace["dist"][1, 0]
    start = ms.train(TASKS, "fo-anil", rounds=0, **settings)
    C = np.concatenate(start.state[:2], axis=1)
    np.testing.assert_allclose(0.25 * C.transpose(0, 2, 1) @ C, [np.eye(2)] * 2, atol=1e-12)
    assert not start.w.any()
    again = ms.train(
        TASKS, "fo-anil", rounds=3, **{**settings, "trials": range(1, 2), "threads": 1}
    )
    assert np.array_equal(again.trace["dist"], r.trace["dist"][1])
    r.save(tmp_path / "r.npz")
    assert ms.load(tmp_path / "r.npz").config.init == r.config.init


def test_the_start_is_fitted_to_tasks_of_its_own():
    start = ms.train(TASKS, "fo-anil", init=DESCENT, rounds=0, n=20, m_in=15, m_out=25, seed=3)
    fitted = ms.fit(TASKS, DESCENT, **LAW)
    assert start.trace["dist"][0] != pytest.approx(fitted.trace["dist"][-1], rel=1e-3)


def test_training_on_a_batch_starts_at_its_estimate():
    fitted = ms.fit(BATCH, DESCENT)
    for init in (DESCENT, fitted):
        r = ms.train(BATCH, "fo-anil", init=init, rounds=2)
        assert r.trace["dist"][0] == pytest.approx(fitted.trace["dist"][-1], rel=1e-9)


@pytest.mark.parametrize(
    "settings", [{}, {"m_in": 5, "m_out": 5}, {"m_in": 5, "m_out": 5, "pool": 20}]
)
def test_training_starts_at_a_result_in_coordinates(settings, tmp_path):
    fitted = ms.fit(TASKS, DESCENT, **LAW)
    r = ms.train(TASKS, "fo-anil", init=fitted, rounds=2, n=20, seed=3, **settings)
    assert r.trace["dist"][0] == pytest.approx(fitted.trace["dist"][-1], rel=1e-9)
    r.save(tmp_path / "r.npz")
    assert ms.load(tmp_path / "r.npz").config.init == r.config.init
    further = ms.train(TASKS, "fo-anil", init=r, rounds=0, n=20, seed=3, **settings)
    assert further.trace["dist"][0] == pytest.approx(r.trace["dist"][-1], rel=1e-9)


def test_a_run_from_an_estimate_resumes(tmp_path):
    settings = {"init": DESCENT, "n": 20, "m_in": 15, "m_out": 25, "seed": 3, "stop": None}
    whole = ms.train(TASKS, "fo-anil", rounds=6, **settings)
    path = tmp_path / "c.npz"
    ms.train(TASKS, "fo-anil", rounds=3, checkpoint=path, **settings)
    assert same(ms.train(TASKS, "fo-anil", rounds=6, checkpoint=path, **settings), whole)
    other = {**settings, "init": ms.AltGDmin(beta=0.4)}
    with pytest.raises(ValueError, match="init"):
        ms.train(TASKS, "fo-anil", rounds=6, checkpoint=path, **other)


def fitted(**changes):
    return ms.fit(TASKS, DESCENT, **{**LAW, "rounds": 1, **changes})


@pytest.mark.parametrize(
    ("init", "settings", "message"),
    [
        ("moment", {}, "init must be 'random', 'methodical', 'moments'.*got 'moment'"),
        (DESCENT, {}, "m_in must be an integer for a start that is fitted to n tasks"),
        (Steps(), {"m_in": 5, "m_out": 5, "n": 1}, "n must be at least 2 for 'steps'; got 1"),
        (DESCENT, {"m_in": 1, "m_out": None}, "'altgdmin' needs at least width = 2 samples"),
        (
            DESCENT,
            {"method": "linear-maml", "m_in": 9, "m_out": 9},
            "init must be an Init or a pair",
        ),
        (lambda: fitted(trials=2), {}, r"init must be a Result of one trial, such as r.trial\(0\)"),
        (fitted, {"width": 3}, "width must be 2, that of the Result in init; got 3"),
        (fitted, {"tasks": ms.LinearTasks(d=61, k=2)}, "init must be a Result with d = 61"),
        (fitted, {"tasks": ms.LinearTasks(d=60, k=3)}, "init must be a Result with k = 3"),
        (fitted, {"tasks": BATCH}, "init must be a Result that has B at full size for a batch"),
    ],
)
def test_starts_that_cannot_be_are_one_sentence(init, settings, message):
    arguments = {"tasks": TASKS, "method": "fo-anil", "rounds": 1, **settings}
    start = init() if callable(init) else init
    with pytest.raises(ValueError, match=message):
        ms.train(arguments.pop("tasks"), arguments.pop("method"), init=start, **arguments)


# --- studies -------------------------------------------------------------------------------------


def test_a_study_compares_methods_with_estimators(tmp_path):
    base = {"d": 60, "k": 2, "noise": 0.1, "n": 20, "m_in": 15, "m_out": 25, "rounds": 30}
    measure = ("dist", "samples", "seconds", "risk:20", "loss_out", "rounds_to:0.5")
    methods = ["fo-anil", Truth()]
    settings = {"base": base, "measure": measure, "seeds": 2, "common": "method"}
    study = ms.Study(tmp_path, grid={"method": methods}, keep=("dist", "loss_out"), **settings)
    assert study.run(progress=False).complete
    assert len({cell.arguments["seed"] for cell in study.cells}) == 1
    table = study.table()
    run, fit = table[:2], table[2:]
    assert fit["status"].tolist() == ["finished"] * 2  # no stop rule determined dist
    assert (fit["dist"] < 1e-12).all()
    assert (run["dist"] > 1e-3).all()
    assert fit["samples"].tolist() == [800.0] * 2
    assert run["samples"].tolist() == [24000.0] * 2
    assert (fit["seconds"] > 0).all()
    assert (fit["risk:20"].to_numpy() < run["risk:20"].to_numpy()).all()
    assert fit["loss_out"].isna().all()
    assert run["loss_out"].notna().all()
    assert (fit["rounds_to:0.5"] == 0.0).all()


def test_cells_of_a_study_use_the_draws_of_fit(tmp_path):
    base = {"d": 60, "k": 2, "noise": 0.1, "n": 20, "m_in": 15, "m_out": 25}
    study = ms.Study(tmp_path, base=base, grid={"method": [Steps(), Truth()]}, common="method")
    study.run(progress=False)
    cell = study.cells[0]
    alone = ms.fit(TASKS, Steps(), n=20, m=40, seed=cell.arguments["seed"])
    assert study.table()["dist"][0] == alone.trace["dist"][-1]


def test_a_cell_without_samples_is_refused(tmp_path):
    base = {"d": 60, "k": 2, "n": 20, "m_in": 15}
    study = ms.Study(tmp_path, base=base, grid={"method": [Truth()]})
    with pytest.raises(ValueError, match="m_out must be an integer for a fit"):
        study.run(progress=False)


def test_the_estimate_of_a_run_counts_the_fit_of_its_start():
    sizes = {"n": 20_000, "m_in": 10, "m_out": 10, "rounds": 1}
    tasks = ms.LinearTasks(d=60, k=2, noise=0.1)
    drawn, fitted = (ms.estimate(tasks, "anil", init=init, **sizes) for init in (None, "moments"))
    alone = ms.estimate(tasks, "moments", n=20_000, m=20)
    assert fitted.memory_bytes > 0.5 * alone.memory_bytes > 10 * drawn.memory_bytes
    assert fitted.seconds > drawn.seconds
