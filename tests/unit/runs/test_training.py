"""Rows, trials, functions of heads, statuses, progress and interruptions of train."""

import warnings

import numpy as np
import pytest

import metaspan as ms
from matching import assert_same_bits
from streams import no_terminals

TASKS = ms.LinearTasks(d=20, k=3, noise=0.1)
METHOD = ms.ANIL(alpha=0.1, beta=0.1)


def gaussian(generator, n, k):
    return generator.standard_normal((n, k))


def test_last_row_is_the_end_whatever_record_every():
    r = ms.train(TASKS, METHOD, rounds=50, n=4, record_every=7)
    assert r.trace["round"].tolist() == [*range(0, 50, 7), 50]
    full = ms.train(TASKS, METHOD, rounds=50, n=4)
    np.testing.assert_array_equal(r.trace["dist"], full.trace["dist"][r.trace["round"]])


def test_no_rounds_is_the_start():
    r = ms.train(TASKS, METHOD, rounds=0, n=4)
    assert r.trace["round"].tolist() == [0]
    assert r.status == ms.Status.FINISHED


def test_no_records_leaves_the_rounds():
    r = ms.train(TASKS, METHOD, rounds=3, n=4, record=())
    assert list(r.trace) == ["round"]
    assert r.trace["round"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("heads", [ms.GaussianHeads(), ms.SphereHeads(radius=2.0), gaussian])
@pytest.mark.parametrize("pool", [None, 6])
def test_a_trial_alone_is_a_row_of_the_batch(heads, pool):
    tasks = ms.LinearTasks(d=20, k=3, heads=heads)
    options = {"rounds": 30, "n": 4, "pool": pool, "record": ("dist", "loss_out"), "seed": 5}
    many = ms.train(tasks, METHOD, trials=5, **options)
    alone = ms.train(tasks, METHOD, trials=range(3, 4), **options)
    for name in ("dist", "loss_out"):
        np.testing.assert_array_equal(alone.trace[name], many.trace[name][3])
    np.testing.assert_array_equal(alone.w, many.w[3])


def test_function_of_heads_is_called_once_a_round_and_trial():
    rounds = []

    def heads(generator, n, k):
        rounds.append((n, k))
        return generator.standard_normal((n, k))

    ms.train(ms.LinearTasks(d=20, k=3, heads=heads), METHOD, rounds=25, n=4, trials=2)
    assert rounds == [(4, 3)] * 2 * 26  # the last row sees the tasks of a round that is not done


def test_function_that_is_gaussian_heads_equals_their_table():
    tasks = ms.LinearTasks(d=20, k=3, heads=gaussian)
    r = ms.train(tasks, METHOD, rounds=1, n=4, record="loss_in")
    fixed = ms.LinearTasks(d=20, k=3, heads=tasks.draw_heads(4))
    np.testing.assert_array_equal(
        r.trace["loss_in"][0],
        ms.train(fixed, METHOD, rounds=1, n=4, record="loss_in").trace["loss_in"][0],
    )


def test_pool_is_drawn_once():
    r = ms.train(TASKS, METHOD, rounds=20, n=None, pool=8, record=("mu", "L", "eta"))
    for name in ("mu", "L", "eta"):
        assert np.ptp(r.trace[name]) == 0.0
    some = ms.train(TASKS, METHOD, rounds=20, n=4, pool=8, record="eta")
    assert np.ptp(some.trace["eta"]) > 0.0


def test_converged_trials_end_and_the_others_go_on():
    r = ms.train(TASKS, METHOD, rounds=2500, n=10, trials=4, stop=ms.Stop(dist=1e-3))
    rounds = [outcome.round for outcome in r.status]
    assert all(outcome == ms.Status.CONVERGED for outcome in r.status)
    assert len(set(rounds)) > 1
    for i, end in enumerate(rounds):
        assert r.trace["dist"][i, end] <= 1e-3 < r.trace["dist"][i, end - 1]
        assert np.isnan(r.trace["dist"][i, end + 1 :]).all()


def test_a_stop_rule_met_in_the_last_row_counts():
    end = ms.train(TASKS, METHOD, rounds=2500, n=10, stop=ms.Stop(dist=1e-3)).status.round
    assert ms.train(TASKS, METHOD, rounds=end, n=10, stop=ms.Stop(dist=1e-3)).status == (
        ms.Status.CONVERGED
    )


def test_stop_by_a_loss_that_is_not_recorded():
    tasks = ms.LinearTasks(d=20, k=3)
    r = ms.train(tasks, METHOD, rounds=3000, n=10, stop=ms.Stop(dist=None, loss_out=0.9))
    assert r.status == ms.Status.CONVERGED
    assert r.status.round > 0


DIVERGING = {
    "tasks": ms.LinearTasks(d=20, k=3, heads=ms.GaussianHeads(mean=10 * np.ones(3))),
    "method": ms.MAML(first_order=True),
    "rounds": 60,
    "n": 3,
    "trials": 3,
}


def test_divergence_is_one_warning_and_a_status():
    with pytest.warns(
        ms.DivergenceWarning, match="3 of 3 trials diverged .trial 0 in round"
    ) as seen:
        r = ms.train(**DIVERGING)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert all(outcome == ms.Status.DIVERGED for outcome in r.status)
    assert all(np.isfinite(part).all() for part in r.state)
    assert str(r.status[0].round) in str(r.status[0])


def test_divergence_raises_on_demand_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ms.Diverged, match="diverged") as caught:
            ms.train(**DIVERGING, on_failure="raise")
    assert caught.value.result.status[0] == ms.Status.DIVERGED


def test_a_gradient_that_overflows_after_the_last_round_is_a_divergence():
    with pytest.warns(ms.DivergenceWarning):
        end = ms.train(**DIVERGING, record=("loss_out",)).status[0].round
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(**{**DIVERGING, "rounds": end, "trials": 1}, record=("loss_out",))
    assert r.status == ms.Status.DIVERGED


def test_underflow_is_a_status_of_its_own():
    tasks = ms.LinearTasks(d=20, k=3)
    r = ms.train(tasks, ms.ANIL(alpha=0.5, beta=0.9), rounds=10**5, n=30, stop=None)
    assert r.status == ms.Status.UNDERFLOW
    assert 0 < r.trace["dist"][-1] < 1e-300


def test_progress_is_told_the_rounds_done():
    seen = []
    ms.train(
        TASKS, METHOD, rounds=200, n=4, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (200, 200)


def test_progress_bar_is_silent_in_a_pipe(capfd):
    ms.train(TASKS, METHOD, rounds=200, n=4, progress=True)
    assert capfd.readouterr() == ("", "")


def test_progress_bar_shows_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    ms.train(TASKS, METHOD, rounds=200, n=4, progress=True)
    assert "200/200" in capsys.readouterr().err


@pytest.mark.parametrize("stream", no_terminals())
def test_progress_needs_no_terminal(monkeypatch, capsys, stream):
    monkeypatch.setattr("sys.stderr", stream)
    assert ms.train(TASKS, METHOD, rounds=20, n=4, progress=True).trace["round"][-1] == 20
    assert capsys.readouterr().out == ""


def test_interruption_keeps_the_rounds_done(stop_at):
    with pytest.raises(KeyboardInterrupt) as caught:
        ms.train(TASKS, METHOD, rounds=10**7, n=4, trials=2, progress=stop_at(100))
    assert isinstance(caught.value, ms.Interrupted)
    r = caught.value.result
    assert all(outcome == ms.Status.INTERRUPTED for outcome in r.status)
    whole = ms.train(TASKS, METHOD, rounds=r.status[0].round, n=4, trials=2)
    np.testing.assert_array_equal(r.state[0][0], whole.state[0][0])
    rows = r.trace["round"].size
    np.testing.assert_array_equal(r.trace["dist"][0], whole.trace["dist"][0, :rows])


def test_interruption_says_where_the_run_stands_and_what_holds_it(tmp_path, stop_at):
    path = tmp_path / "ck.npz"
    run = dict(rounds=10**7, n=4, progress=stop_at(100))
    with pytest.raises(ms.Interrupted) as caught:
        ms.train(TASKS, METHOD, checkpoint=path, **run)
    done = caught.value.result.status.round
    assert str(caught.value) == (
        f"training was interrupted in round {done} of 10000000; {str(path)!r} holds its state, "
        "from which the same call continues"
    )
    again = ms.train(TASKS, METHOD, checkpoint=path, **{**run, "rounds": done, "progress": False})
    assert_same_bits(again, ms.train(TASKS, METHOD, rounds=done, n=4))
    with pytest.raises(ms.Interrupted) as caught:
        ms.train(TASKS, METHOD, **run)
    done = caught.value.result.status.round
    assert str(caught.value) == (
        f"training was interrupted in round {done} of 10000000; .result holds the finished rounds"
    )


def test_interruption_of_trials_one_after_another_says_how_far_each_is(tmp_path, stop_at):
    """Each trial has its own data; the interruption comes in the second trial of three."""
    run = dict(rounds=30, n=2, m_in=2, m_out=2, trials=3, engine="sampled")
    tasks = ms.LinearTasks(d=12, k=2)
    with pytest.raises(ms.Interrupted, match=r"rounds 0 to \d+ of 30; '.*ck' holds it") as caught:
        ms.train(tasks, METHOD, checkpoint=tmp_path / "ck", progress=stop_at(31), **run)
    assert caught.value.result.status[0] == ms.Status.FINISHED


def test_dtype_is_that_of_the_full_size_representation():
    assert ms.train(TASKS, METHOD, rounds=2, n=4, dtype="float32").full_B().dtype == np.float32
    start = (np.eye(20, 3, dtype=np.float32), np.zeros(3))
    assert ms.train(TASKS, METHOD, rounds=2, n=4, init=start).B.dtype == np.float32


def fixed(d, n, m, **batch):
    """A batch of n tasks of m + m samples, k = 2."""
    return ms.LinearTasks(d=d, k=2).sample(n, m, m), dict(width=2, rounds=1, **batch)


POOL = dict(pool=10, m_in=2, m_out=3, n=5, rounds=1)  # 50 samples


@pytest.mark.parametrize(
    ("tasks", "settings", "told"),
    [
        (*fixed(201, 4, 5), "40 samples in all, far fewer than the d k = 402 unknowns"),
        (ms.LinearTasks(d=251, k=2), POOL, "50 samples in all, far fewer than the d k = 502"),
        (
            ms.LinearTasks(d=10**12, k=2),
            {**POOL, "m_out": 2, "shared_samples": True},
            "20 samples in all, far fewer than the d k = 2000000000000",
        ),
        (ms.LinearTasks(d=301, k=2), {**POOL, "engine": "arrays"}, "50 samples .* d k = 602"),
    ],
    ids=["batch", "pool", "shared", "arrays"],
)
@pytest.mark.filterwarnings("error")
def test_data_far_fewer_than_unknowns_are_told_once(tasks, settings, told):
    with pytest.warns(ms.FewSamplesWarning, match=told) as caught:
        ms.train(tasks, "anil", **settings)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "\n" not in str(caught[0].message)


@pytest.mark.filterwarnings("error")
def test_data_that_may_do_and_data_that_are_renewed_are_not_warned_of():
    for d in (200, 20):
        tasks, settings = fixed(d, 4, 5)
        ms.train(tasks, "anil", **settings)
    large = ms.LinearTasks(d=10**12, k=2)
    ms.train(ms.LinearTasks(d=250, k=2), "anil", **POOL)
    ms.train(large, "anil", rounds=1, n=2)
    ms.train(large, "anil", rounds=1, n=2, pool=5)
    ms.train(large, "anil", rounds=1, n=2, m_in=2, m_out=2, beta=1e-13)
    ms.train(ms.LinearTasks(d=500, k=2), "anil", rounds=1, n=2, m_in=2, m_out=2, engine="sampled")
    ms.estimate(large, "anil", **POOL)


@pytest.mark.filterwarnings("error")
def test_sparse_data_are_not_warned_of():
    """Most of their columns may be empty or rare: d says little of what is to be learned."""
    sparse = pytest.importorskip("scipy.sparse")
    X = [sparse.random(6, 10**5, density=1e-4, format="csr", random_state=i) for i in range(3)]
    batch = ms.TaskBatch.split(X, [np.ones(6)] * 3, m_in=3)
    ms.train(batch, "anil", width=2, rounds=1)
