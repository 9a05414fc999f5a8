"""Runs with outer steps that remember blocks: bits, checkpoints, files and studies."""

from functools import partial

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence, assert_same_bits
from metaspan.study.design import toml

STEPS = {
    "everything": ms.OuterStep(momentum=0.5, average=True, lookahead=(3, 0.5), schedule="1/t"),
    "nesterov": ms.OuterStep(momentum=0.5, nesterov=True, schedule=lambda t: 1.0 / (1 + t) ** 0.5),
}
FINITE = {"m_in": 5, "m_out": 4}
POOL = {"pool": 9, **FINITE}
LAW = {"d": 24, "k": 3, "noise": 0.2}
STEP_SIZE = partial(ms.MetaSGD, beta_alpha=1e-6)
RUNS = {
    "population": {},
    "narrow": {"width": 2},
    "wide": {"width": 5},
    "spectral": {"tasks": ms.LinearTasks(**LAW, spectrum=0.5)},
    "spectral-float32": {"tasks": ms.LinearTasks(**LAW, spectrum=0.5), "dtype": "float32"},
    "collapsed": FINITE,
    "maml": {**FINITE, "method": ms.MAML},
    "step-size": {"method": STEP_SIZE},
    "collapsed-step-size": {**FINITE, "method": STEP_SIZE},
    "tracked": {**FINITE, "track_start": True},
    "infinite-tasks": {"m_in": 6, "n": None, "first_order": True},
    "limit": {"m_in": 6, "m_out": 3, "n": None, "d_over_n": 2.0},
    "pool": {**POOL, "route": "gram"},
    "pool-dual": {**POOL, "route": "dual"},
    "sampled": {**FINITE, "engine": "sampled"},
    "arrays": {**POOL, "engine": "arrays", "route": "vector", "dtype": "float32"},
}


def run(name, step, *, threads=1, **changes):
    """A run of two trials of first-order or exact ANIL, or of the method named by `name`."""
    options = {"tasks": ms.LinearTasks(**LAW), "n": 5, "rounds": 60, **RUNS[name], **changes}
    first_order = options.pop("first_order", False)
    kind = options.pop("method", ms.ANIL)
    method = kind(alpha=0.02, beta=0.02, first_order=first_order, step=STEPS[step])
    tasks = options.pop("tasks")
    return ms.train(tasks, method, trials=2, seed=3, stop=None, threads=threads,
                    record=("dist", "w_norm", "loss_out"), **options)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", RUNS)
def test_bits_depend_neither_on_threads_nor_on_interruptions(name, step, tmp_path, stop_at):
    whole = run(name, step)
    assert set(whole.status) == {ms.Status.FINISHED}
    assert_same_bits(run(name, step, threads=2), whole)
    path = tmp_path / "run"
    run(name, step, rounds=37, checkpoint=path)
    assert_same_bits(run(name, step, checkpoint=path, threads=2), whole)
    path = tmp_path / "interrupted"
    with pytest.raises(ms.Interrupted):
        run(name, step, checkpoint=path, progress=stop_at(20), rounds=600)
    assert_same_bits(run(name, step, checkpoint=path, rounds=600), run(name, step, rounds=600))


@pytest.mark.parametrize("name", RUNS)
def test_results_are_saved_without_what_the_step_remembers(name, tmp_path):
    r = run(name, "everything")
    r.save(tmp_path / "r.npz")
    loaded = ms.load(tmp_path / "r.npz")
    assert_same_bits(loaded, r)
    assert loaded.config.method == r.config.method
    assert r.full_B(0).shape == (24, r.config.width)
    assert ms.estimate(ms.LinearTasks(**LAW), r.config.method, n=5, rounds=9).memory_bytes > 0


@pytest.mark.parametrize("rule", ["adam", "sign"])
def test_rules_by_coordinate_have_the_same_bits(rule, tmp_path):
    step = ms.OuterStep(rule=rule, momentum=0.5 * (rule == "sign"), average=True)
    method = ms.ANIL(alpha=0.02, beta=0.01, step=step)
    tasks = ms.LinearTasks(**LAW)
    options = {"n": 5, "trials": 2, "stop": None, "engine": "sampled", **FINITE}
    whole = ms.train(tasks, method, rounds=40, threads=1, **options)
    ms.train(tasks, method, rounds=23, checkpoint=tmp_path / "run", **options)
    assert_same_bits(ms.train(tasks, method, rounds=40, threads=2, checkpoint=tmp_path / "run",
                              **options), whole)  # fmt: skip


@pytest.mark.parametrize("name", ["population", "wide", "collapsed", "sampled", "pool"])
def test_altgdmin_has_the_same_bits_and_orthonormal_columns(name, tmp_path):
    step = ms.OuterStep(momentum=0.3)
    method = ms.AltGDmin(beta=0.05, step=step)
    options = {"n": 5, "trials": 2, "stop": None, "m_in": None, **RUNS[name]}
    options |= {"m_in": 7, "m_out": 7} if name in ("collapsed", "sampled", "pool") else {}
    tasks = ms.LinearTasks(**LAW)
    whole = ms.train(tasks, method, rounds=40, threads=1, **options)
    ms.train(tasks, method, rounds=23, checkpoint=tmp_path / "run", **options)
    assert_same_bits(ms.train(tasks, method, rounds=40, threads=2, checkpoint=tmp_path / "run",
                              **options), whole)  # fmt: skip
    B = whole.full_B(0)
    assert abs(B.T @ B - np.eye(B.shape[1])).max() < 1e-13


def test_momentum_keeps_the_relative_accuracy_of_small_distances():
    r = ms.train(ms.LinearTasks(d=50, k=2), "anil", rounds=9000, n=10, alpha=0.1, beta=0.3,
                 stop=ms.Stop(dist=1e-200), step=ms.OuterStep(momentum=0.5))  # fmt: skip
    assert r.status == ms.Status.CONVERGED
    plain = ms.train(ms.LinearTasks(d=50, k=2), "anil", rounds=9000, n=10, alpha=0.1, beta=0.6,
                     stop=ms.Stop(dist=1e-200))  # fmt: skip
    assert 0.7 < r.outcomes[0].round / plain.outcomes[0].round < 1.4


def test_average_and_one_over_t_lower_the_floor_of_finite_samples():
    """The reported mean has a third of the iterate's distance, or less, after many rounds."""
    options = {
        "n": 10,
        "m_in": 10,
        "m_out": 5,
        "alpha": 0.2,
        "beta": 0.1,
        "init": ms.Init(dist=0.2),
    }
    options |= {"rounds": 3000, "record_every": 3000, "trials": 4, "stop": None}
    tasks = ms.LinearTasks(d=60, k=2, noise=0.5)

    def floor(step):
        return ms.train(tasks, "anil", step=step, **options).trace["dist"][:, -1].mean()

    assert floor(ms.OuterStep(average=True)) < floor(None) / 3


def test_a_cosine_run_continues_with_its_own_length_only(tmp_path):
    options = {"n": 5, "stop": None, "checkpoint": tmp_path / "run"}
    method = ms.ANIL(step=ms.OuterStep(schedule="cosine"))
    ms.train(ms.LinearTasks(**LAW), method, rounds=30, **options)
    assert_one_sentence(
        lambda: ms.train(ms.LinearTasks(**LAW), method, rounds=40, **options),
        ValueError,
        ["rounds must be as in the checkpoint", "schedule='cosine'", "got 40"],
    )
    ms.train(ms.LinearTasks(**LAW), method, rounds=30, **options)


def test_a_checkpoint_knows_the_function_of_its_schedule(tmp_path):
    options = {"n": 5, "stop": None, "checkpoint": tmp_path / "run"}

    def method(power):
        return ms.ANIL(step=ms.OuterStep(schedule=lambda t: (t + 1.0) ** -power))

    ms.train(ms.LinearTasks(**LAW), method(0.5), rounds=30, **options)
    ms.train(ms.LinearTasks(**LAW), method(0.5), rounds=40, **options)
    with pytest.raises(ValueError, match=r"method.step.schedule must be as in the checkpoint"):
        ms.train(ms.LinearTasks(**LAW), method(0.6), rounds=40, **options)


STUDY = """
measure = ["dist"]
seeds = 2

[base]
d = 20
k = 2
n = 5
rounds = 20
mu = 0.5

[base.method]
kind = "ANIL"
outer = "body"
alpha = 0.1

[grid]
step = [
  { kind = "OuterStep", momentum = "mu / 2", schedule = "1/t" },
  { kind = "OuterStep", average = true, lookahead = [3, 0.5] },
]
"""


def test_studies_vary_the_outer_step(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    read = toml.read(tmp_path / "study.toml")
    steps = [ms.OuterStep(momentum=0.25, schedule="1/t"),
             ms.OuterStep(average=True, lookahead=(3, 0.5))]  # fmt: skip
    for _ in range(2):  # the second time from the folder's file
        study = ms.Study(tmp_path / "runs", **read)
        study.run(progress=False)
        assert [cell.values["step"] for cell in study.cells] == steps
        assert len(study.table()) == 4
    method = ms.ANIL(alpha=0.1, outer="body", step=steps[0])
    cell = study.cells[0]
    alone = ms.train(ms.LinearTasks(d=20, k=2), method, n=5, rounds=20, trials=2,
                     seed=cell.arguments["seed"])  # fmt: skip
    np.testing.assert_array_equal(alone.trace["dist"][:, -1], study.table()["dist"][:2])
