"""Trials that advance side by side in panels have the bits that each has alone."""

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS

RECORD = ("dist", "loss_in", "loss_adapted", "loss_out", "w_norm", "sigma_max", "diversity_max")
RECORD += ("mu", "eta")
LAWS = {
    "gaussian": ms.GaussianHeads(),
    "skewed": ms.GaussianHeads(
        cov=[[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 0.3]], mean=[1, 0, 0]
    ),
    "scaled": ms.GaussianHeads(cov=np.diag([2.0, 1.0, 0.3]), mean=[1, 0, 0]),
    "sphere": ms.SphereHeads(radius=1.5),
    "table": np.linspace(-1.0, 2.0, 60).reshape(20, 3) ** 3,
    "function": lambda generator, n, k: generator.uniform(-1.0, 1.0, (n, k)),
}


def run(method, heads="gaussian", **changes):
    """Train 21 trials briefly: they fill one panel and a part of the next."""
    settings = {"rounds": 24, "n": 3, "seed": 5, "stop": None, "record": RECORD, "trials": 21}
    settings["threads"] = 1  # panels are for many trials on each thread
    tasks = ms.LinearTasks(d=20, k=3, noise=0.1, heads=LAWS[heads])
    return ms.train(tasks, method, **settings | changes)


def assert_alone(many, method, places=(0, 15, 16, 20), **changes):
    """Assert that trials of a run of many have the rows, the state and the end of runs alone."""
    for place in places:
        alone = run(method, trials=range(place, place + 1), **changes)
        assert alone.status == many.status[place]
        for column, values in alone.trace.items():
            if column == "round":
                continue
            row = many.trace[column][place]
            np.testing.assert_array_equal(row[: len(values)], values, err_msg=column)
            assert np.isnan(row[len(values) :]).all()
        for one, all_of_them in zip(alone.state, many.state, strict=True):
            np.testing.assert_array_equal(one, all_of_them[place])


@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("n", [3, 8, 9, 32])
@pytest.mark.parametrize("name", METHODS)
def test_a_trial_has_the_bits_of_the_run_alone(name, n, inner_steps):
    method = METHODS[name](alpha=0.1, beta=0.05, inner_steps=inner_steps)
    assert_alone(run(method, n=n), method, n=n)


@pytest.mark.parametrize("heads", LAWS)
@pytest.mark.parametrize("width", [2, 3])
def test_heads_of_every_law_do_not_depend_on_the_panel(heads, width):
    assert_alone(run("anil", heads, width=width), "anil", heads=heads, width=width)


@pytest.mark.parametrize("d", [3, 4, 20])
def test_states_with_few_rows_off_the_truth(d):
    """d = 3 leaves no direction off the truth, so that the distance is always 0."""
    tasks = ms.LinearTasks(d=d, k=3)
    settings = {"rounds": 12, "n": 3, "seed": 5, "stop": None, "threads": 1}
    many = ms.train(tasks, "maml", trials=9, **settings)
    for place in range(9):
        alone = ms.train(tasks, "maml", trials=range(place, place + 1), **settings)
        np.testing.assert_array_equal(alone.trace["dist"], many.trace["dist"][place])


@pytest.mark.filterwarnings("ignore::metaspan.DivergenceWarning")
def test_trials_that_diverge_or_converge_at_different_rounds():
    """Their columns go to the trials that wait, in whatever round those are."""
    method = ms.MAML(alpha=0.3, beta=0.9)
    settings = {"n": 1, "rounds": 300, "stop": ms.Stop(dist=0.3), "record": ("dist",)}
    many = run(method, trials=40, **settings)
    ends = {status.status for status in many.status}
    assert {ms.Status.DIVERGED, ms.Status.CONVERGED} <= ends
    assert len({status.round for status in many.status}) > 10
    assert_alone(many, method, range(40), **settings)


@pytest.mark.parametrize("record", [("dist",), ("loss_out",), ("w_norm", "dist")])
@pytest.mark.parametrize("stop", [ms.Stop(dist=0.9), ms.Stop(loss_out=0.8), None])
def test_rows_and_stop_rules_of_each_trial(record, stop):
    settings = {"record": record, "stop": stop, "record_every": 3, "rounds": 60}
    assert_alone(run("maml", **settings), "maml", **settings)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("name", METHODS)
def test_threads_share_the_trials(name, threads):
    method = METHODS[name](alpha=0.1, beta=0.05)
    one, other = run(method, threads=1), run(method, threads=threads)
    for column, values in one.trace.items():
        np.testing.assert_array_equal(other.trace[column], values)
    for a, b in zip(one.state, other.state, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    """The checkpoint is written with trials in panels, and read into other panels."""
    whole = run("maml")
    for rounds in (1, 9, 24):
        resumed = run("maml", rounds=rounds, checkpoint=tmp_path / "run.npz")
    for column, values in whole.trace.items():
        np.testing.assert_array_equal(resumed.trace[column], values)
