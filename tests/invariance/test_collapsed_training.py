"""Threads, other trials, interruptions and records do not change a run on sums drawn in law."""

import numpy as np
import pytest

import metaspan as ms
from finite_runs import KINDS, RECORD, arguments, run
from matching import METHODS, assert_same_bits

SERIAL_FLOPS = 1e6  # rounds of less work run on one thread for any `threads`


def test_every_kind_runs_as_meant():
    for kind in KINDS:
        r = run(kind, rounds=3)
        assert r.status == ms.Status.FINISHED, kind
        assert r.config.engine == ("limit" if r.config.n is None else "collapsed"), kind


@pytest.mark.parametrize("features", ["gaussian", "student-t", "sphere"])
@pytest.mark.parametrize("name", METHODS)
def test_threads_do_not_change_a_bit(name, features):
    """A hundred tasks are six pieces of a round; seven trials are dealt to the threads."""
    method = METHODS[name](alpha=0.01, beta=0.02, inner_steps=4)
    options = {"method": method, "features": features, "n": 100, "m_in": 15, "m_out": 14}
    options |= {"rounds": 5, "width": 8, "k": 6}
    assert ms.estimate(**arguments("gaussian", **options)).flops_per_round > SERIAL_FLOPS
    for trials in (1, 7):
        one = run("gaussian", trials=trials, **options)
        for threads in (2, 4):
            other = run("gaussian", trials=trials, threads=threads, **options)
            assert_same_bits(other, one, f"{threads} threads, {trials} trials")


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("pool", [None, 7])
def test_infinitely_many_samples_on_both_sides_are_population_losses(pool, width):
    """The collapsed engine draws no samples then, and has the numbers of the population engine."""
    tasks = ms.LinearTasks(d=9, k=3, noise=0.2, features="uniform")
    for method in (ms.ANIL(inner_steps=2), ms.MAML(), ms.FedAvg(), ms.RidgeANIL(), ms.FedRep()):
        collapsed, population = (
            ms.train(
                tasks,
                method,
                engine=engine,
                pool=pool,
                n=5,
                width=width,
                rounds=20,
                init=ms.Init(scale=1.0),
                stop=None,
                record=("loss_in", "loss_out", "perp_norm"),
            )
            for engine in ("collapsed", "population")
        )
        assert collapsed.config.engine == "collapsed"
        assert collapsed.config.route is None
        for name, values in population.trace.items():
            np.testing.assert_allclose(collapsed.trace[name], values, rtol=1e-12)


@pytest.mark.parametrize("changes", [{"n": 41}, {"n": 129}, {"n": 100, "shared_samples": True}])
def test_threads_do_not_change_a_bit_of_odd_numbers_of_tasks(changes):
    options = {"m_in": 30, "m_out": 30, "d": 200, "rounds": 4, "method": ms.MAML(alpha=1e-3)}
    assert ms.estimate(**arguments("gaussian", **options, **changes)).flops_per_round > SERIAL_FLOPS
    one = run("gaussian", **options, **changes)
    assert_same_bits(run("gaussian", threads=3, **options, **changes), one)


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("features", ["gaussian", "student-t", "sphere"])
def test_threads_do_not_change_a_bit_of_a_pool_in_law(features, route):
    options = {"route": route, "features": features, "pool": 12, "n": 12, "d": 10**4, "rounds": 3}
    options |= {
        "width": 12,
        "m_in": 12,
        "m_out": 11,
        "method": ms.MAML(alpha=1e-4, beta=1e-3, inner_steps=2),
    }
    assert ms.estimate(**arguments("pool", **options)).flops_per_round > SERIAL_FLOPS
    one = run("pool", **options)
    for threads in (2, 4):
        assert_same_bits(run("pool", threads=threads, **options), one, f"{threads} threads")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_alone_is_its_row_of_many(kind):
    many, alone = run(kind, trials=5), run(kind, trials=range(3, 4))
    for column, values in many.trace.items():
        row = values if column == "round" else values[3]
        np.testing.assert_array_equal(alone.trace[column], row, err_msg=column)
    for one, all_of_them in zip(alone.state, many.state, strict=True):
        np.testing.assert_array_equal(one, all_of_them[3])
    if many.config.n is not None:
        assert len(set(many.trace["loss_out"][:, -1].tolist())) == 5


@pytest.mark.parametrize(
    ("kind", "record_every"), [*((kind, 7) for kind in KINDS), ("gaussian", 1), ("pool", 1)]
)
def test_resumed_runs_have_the_bits_of_an_uninterrupted_one(kind, record_every, tmp_path):
    """The run stops at rounds 1, 17 and 28, and the number of threads changes each time."""
    options = {"trials": 2, "record_every": record_every}
    whole = run(kind, **options)
    for threads, rounds in enumerate((1, 17, 28, 40), start=1):
        path = tmp_path / "run"
        resumed = run(kind, **options, rounds=rounds, threads=threads, checkpoint=path)
    assert_same_bits(resumed, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_run_goes_on(kind, tmp_path, stop_at):
    """Early, in the middle, and, for a pool, whose trials run one by one, in the second trial."""
    whole = run(kind, trials=2)
    kept = ms.Checkpoint(tmp_path / "run", every_seconds=0)
    for cut in (1, 20, 50) if "pool" in kind else (1, 20):
        with pytest.raises(ms.Interrupted) as caught:
            run(kind, trials=2, checkpoint=kept, progress=stop_at(cut))
        found = caught.value.result
        for place, outcome in enumerate(found.outcomes):
            rows = np.searchsorted(found.trace["round"], outcome.round)
            for name in RECORD:
                np.testing.assert_array_equal(
                    found.trace[name][place, :rows], whole.trace[name][place, :rows]
                )
    assert_same_bits(run(kind, trials=2, checkpoint=kept), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_records_do_not_change_the_run(kind):
    """How often is recorded, and what: losses, heads and adapted heads cost a run nothing."""
    every = run(kind, trials=2)
    some = run(kind, trials=2, record_every=7, progress=lambda done, total: None)
    rounds = [*range(0, 40, 7), 40]
    np.testing.assert_array_equal(some.trace["round"], rounds)
    for name in RECORD:
        np.testing.assert_array_equal(some.trace[name], every.trace[name][:, rounds], err_msg=name)
    plain = run(kind, trials=2, record="dist")
    np.testing.assert_array_equal(plain.trace["dist"], every.trace["dist"])
    for other in (some, plain, run(kind, trials=2, record=())):
        for name, part in every.parts.items():
            np.testing.assert_array_equal(other.parts[name], part, err_msg=name)


@pytest.mark.parametrize("name", [*METHODS, "average-risk"])
def test_recording_losses_does_not_change_the_distance(name):
    """This includes runs whose losses need more samples than the gradient does."""
    given = "average-risk" if name == "average-risk" else METHODS[name](alpha=0.05, beta=0.05)
    steps = {"beta": 0.05} if name == "average-risk" else {}
    for changes in ({}, {"m_in": None}, {"m_out": None}, {"features": "sphere"}):
        options = {"method": given, **steps, **changes}
        plain = run("gaussian", record="dist", **options)
        rich = run("gaussian", record=("loss_in", "loss_adapted", "loss_out", "dist"), **options)
        np.testing.assert_array_equal(plain.trace["dist"], rich.trace["dist"])
        assert np.isfinite(rich.trace["loss_adapted"]).all()


def test_fewer_rounds_are_the_beginning_of_more():
    for kind in ("gaussian", "pool", "infinite-tasks"):
        more, fewer = run(kind), run(kind, rounds=23)
        for name in fewer.trace:
            np.testing.assert_array_equal(fewer.trace[name], more.trace[name][:24], err_msg=name)


def test_seeds_and_trials_change_every_sample():
    """The same heads, start and truth, so that only samples differ."""
    starts = [{"seed": 9}, {"seed": 10}, {"seed": 2**40 + 9}, {"trials": range(1, 2)}]
    for kind in ("given", "tracked-given", "fixed-pool"):
        options = {"heads": np.ones((5, 3)), "init": ms.Init(dist=0.5, scale=1.0), "rounds": 1}
        options |= {"pool": 5} if kind == "fixed-pool" else {}
        ends = [run(kind, **{**options, **start}).trace["dist"][-1] for start in starts]
        assert len(set(ends)) == len(starts)
