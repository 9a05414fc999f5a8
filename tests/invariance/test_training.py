"""Other trials, threads, chunks, interruptions and the learner's basis do not change a run."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import METHODS, assert_same_bits, relative_error

RECORD = ("dist", "loss_in", "loss_out", "w_norm", "diversity_max", "mu")


def run(method, **changes):
    """A short run with fresh heads; `changes` are arguments of train."""
    settings = {"rounds": 60, "n": 5, "width": 4, "seed": 9, "stop": None, "record": RECORD}
    settings |= {"tasks": ms.LinearTasks(d=30, k=3, noise=0.2)} | changes
    return ms.train(settings.pop("tasks"), method, **settings)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("heads", ["gaussian", "pool", "callable"])
def test_a_trial_alone_is_its_row_of_many(name, heads):
    """Trial 17 of twenty, no two of which are alike: not in their heads, nor in their start."""
    law = (lambda g, n, k: g.standard_normal((n, k))) if heads == "callable" else ms.GaussianHeads()
    settings = {"tasks": ms.LinearTasks(d=30, k=3, heads=law), "record": (*RECORD, "eta")}
    settings["pool"] = 11 if heads == "pool" else None
    method = METHODS[name](alpha=0.1, beta=0.1, inner_steps=2)
    many, alone = run(method, trials=20, **settings), run(method, trials=range(17, 18), **settings)
    for column, values in many.trace.items():
        row = values if column == "round" else values[17]
        np.testing.assert_array_equal(alone.trace[column], row, err_msg=column)
    for one, all_of_them in zip(alone.state, many.state, strict=True):
        np.testing.assert_array_equal(one, all_of_them[17])
    for column in ("dist", "eta"):
        assert len(set(many.trace[column][:, 0].tolist())) == 20


@pytest.mark.parametrize("trials", [1, 7])
@pytest.mark.parametrize("name", METHODS)
def test_threads_do_not_change_a_bit_of_a_run(name, trials):
    """Few trials share their tasks among threads, many trials are dealt to them."""
    method = METHODS[name](alpha=0.1, beta=0.1)
    one = run(method, n=150, trials=trials, threads=1)
    for threads in (2, 4):
        assert_same_bits(run(method, n=150, trials=trials, threads=threads), one)


def test_threads_do_not_change_a_bit_of_full_size_arrays():
    """d exceeds the number of rows in a panel."""
    tasks = ms.LinearTasks(d=5003, k=3)
    one = run("maml", tasks=tasks, threads=1)
    for threads in (2, 4):
        other = run("maml", tasks=tasks, threads=threads)
        np.testing.assert_array_equal(other.full_B(), one.full_B())
        B_star = tasks.ground_truth(seed=9, threads=threads)
        np.testing.assert_array_equal(B_star, tasks.ground_truth(seed=9, threads=1))
        assert ms.subspace_distance(other.full_B(), B_star) == pytest.approx(
            one.trace["dist"][-1], rel=1e-9
        )


def test_recording_less_often_keeps_the_rows_that_it_keeps():
    """Every seventh row and the end, on the tasks that a next round would draw; the same state."""
    every = run("maml", trials=3)
    some = run("maml", trials=3, record_every=7)
    rounds = [*range(0, 60, 7), 60]
    np.testing.assert_array_equal(some.trace["round"], rounds)
    for name in RECORD:
        np.testing.assert_array_equal(some.trace[name], every.trace[name][:, rounds])
    for one, other in zip(some.state, every.state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_recording_other_things_does_not_change_the_run():
    plain, rich = run("anil", record=("dist",)), run("anil")
    np.testing.assert_array_equal(plain.trace["dist"], rich.trace["dist"])


def test_fewer_rounds_are_the_beginning_of_more():
    more, fewer = run("fo-maml"), run("fo-maml", rounds=23)
    for name in fewer.trace:
        np.testing.assert_array_equal(fewer.trace[name], more.trace[name][:24])


@pytest.mark.parametrize("heads", ["gaussian", "fixed", "pool", "callable"])
@pytest.mark.parametrize("record_every", [1, 7])
def test_resumed_runs_have_the_bits_of_an_uninterrupted_one(tmp_path, rng, heads, record_every):
    """Stopped at rounds 1, 20 and 41 on the way, and with another number of threads each time."""
    law = {
        "gaussian": ms.GaussianHeads(cov=np.diag([1.0, 1.0, 0.3])),
        "fixed": rng.standard_normal((5, 3)),
        "pool": ms.GaussianHeads(),
        "callable": lambda generator, n, k: generator.standard_normal((n, k)),
    }[heads]
    settings = {
        "tasks": ms.LinearTasks(d=30, k=3, heads=law),
        "trials": 3,
        "record_every": record_every,
        "pool": 11 if heads == "pool" else None,
    }
    whole = run("maml", **settings)
    for threads, rounds in enumerate((1, 20, 41, 60), start=1):
        resumed = run(
            "maml", **settings, rounds=rounds, threads=threads, checkpoint=tmp_path / "run.npz"
        )
    assert_same_bits(resumed, whole)


def test_a_run_that_had_converged_goes_on_with_the_same_bits(tmp_path):
    """The row in which a trial met its rule is that of a round not yet done: it comes once."""
    settings = {"rounds": 400, "n": 20, "trials": 3, "record_every": 10}
    whole = run("anil", **settings, alpha=0.3, beta=0.3)
    settings |= {"alpha": 0.3, "beta": 0.3, "checkpoint": tmp_path / "run.npz"}
    stopped = run("anil", **settings, stop=ms.Stop(dist=1e-3))
    assert {status.status for status in stopped.status} == {ms.Status.CONVERGED}
    assert_same_bits(run("anil", **settings), whole)


@pytest.mark.parametrize("name", METHODS)
def test_rotation_of_the_start_rotates_the_run(rng, name):
    Q, method = ref.frame(rng, 4, 4), METHODS[name](alpha=0.1, beta=0.1, inner_steps=2)
    B0, w0 = ref.frame(rng, 30, 4) / np.sqrt(0.1), 0.1 * rng.standard_normal(4)
    tasks = ms.LinearTasks(d=30, k=3, B_star=ref.frame(rng, 30, 3), noise=0.2)
    plain = run(method, tasks=tasks, init=(B0, w0))
    rotated = run(method, tasks=tasks, init=(B0 @ Q, Q.T @ w0))
    assert relative_error(rotated.B, plain.B @ Q) < 1e-12
    assert relative_error(rotated.w, Q.T @ plain.w) < 1e-12
    for column, values in plain.trace.items():
        assert relative_error(rotated.trace[column], values) < 1e-11, column


def test_stop_rules_end_a_run_without_changing_it():
    method = ms.ANIL(alpha=0.1, beta=0.1)
    free = run(method, rounds=2500, n=20, trials=4, record_every=10)
    stopped = run(method, rounds=2500, n=20, trials=4, record_every=10, stop=ms.Stop(dist=1e-4))
    rows = stopped.trace["dist"].shape[1]
    assert rows < free.trace["dist"].shape[1]
    for trial in range(4):
        dist, status = stopped.trace["dist"][trial], stopped.status[trial]
        end = int(np.flatnonzero(np.isfinite(dist))[-1])
        assert status == ms.Status.CONVERGED
        assert status.round == stopped.trace["round"][end]
        assert dist[end] <= 1e-4 < dist[:end].min()
        np.testing.assert_array_equal(dist[: end + 1], free.trace["dist"][trial, : end + 1])
        assert np.isnan(dist[end + 1 :]).all()


def test_a_run_in_a_larger_space_needs_no_more_than_its_coordinates():
    """d = 10^12 and 10^13 from the same start: only the start depends on d."""
    r = run("anil", tasks=ms.LinearTasks(d=10**12, k=3), rounds=10)
    assert r.trace["dist"][0] == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(r.trace["loss_out"]).all()


def test_one_number_of_seed_trial_or_round_changes_every_head():
    tasks = ms.LinearTasks(d=30, k=3)
    keys = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    keys += [(2**40 + 1, 0, 0), (1, 0, 2**32), (1, 2**30, 0)]
    draws = [tasks.draw_heads(4, seed=seed, trial=trial, round=t) for seed, trial, t in keys]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert not np.isin(one, other).any()
