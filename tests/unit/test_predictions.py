"""Predictions drawn with the curves of a plot."""

import numpy as np
import pytest

import metaspan as ms

pytest.importorskip("matplotlib")


class Run:
    """What plots ask of a Result: a trace that falls from 1 to 1e-3, in rounds 0 to 300."""

    trace = {"round": np.arange(0, 301, 10), "dist": 10.0 ** -np.linspace(0, 3, 31)}  # noqa: RUF012
    outcomes = (ms.Outcome(ms.Status.FINISHED, 300),)


def constant(value):
    return lambda rounds: np.full(rounds.shape, value)


def predicted(ax):
    """Its grey lines."""
    return [line for line in ax.get_lines() if line.get_color() == "#595959"]


def test_prediction_is_drawn_over_the_rounds_shown_and_named():
    fall = ms.theory.decay(0.01, through=(100, 0.1))
    ax = ms.plot({"run": Run()}, predictions={"a": fall, "b": constant(0.01)})
    first, second = predicted(ax)
    x, y = first.get_data()
    assert (x[0], x[-1], x.size) == (0, 300, 301)
    np.testing.assert_allclose(y, fall(x))
    assert first._dash_pattern != second._dash_pattern
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run", "a", "b"]
    ax.figure.canvas.draw()


def test_legend_names_predictions_of_a_run_without_a_name():
    ax = ms.plot(Run(), predictions={"floor": constant(0.01)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["floor"]
    assert ms.plot(Run(), predictions={}).get_legend() is None


@pytest.mark.parametrize("log", [True, False])
def test_limits_are_those_of_the_data_where_a_prediction_is_seen(log):
    steep = ms.theory.decay(0.5, through=(150, 0.05))
    limits = ms.plot(Run(), log=log).get_ylim()
    ax = ms.plot(Run(), log=log, predictions={"steep": steep, "floor": constant(0.002)})
    assert ax.get_ylim() == limits
    # Nor does what is drawn afterwards bring the rest of the line in.
    ax.plot([0, 300], [1.0, 1e-3])
    ax.autoscale_view()
    np.testing.assert_allclose(ax.get_ylim(), limits)
    assert len(predicted(ax)) == 2
    ax.figure.canvas.draw()


def test_axis_grows_to_the_nearest_point_of_a_prediction_that_would_not_be_seen():
    low, high = ms.plot(Run()).get_ylim()
    ax = ms.plot(Run(), predictions={"low": lambda rounds: 1e-8 * 10.0 ** (rounds / 100)})
    assert 1e-6 < ax.get_ylim()[0] < 1e-5 < low
    assert ax.get_ylim()[1] >= high


def test_values_that_an_axis_cannot_show_are_left_out():
    def odd(rounds):
        return np.where(rounds < 100, np.inf, np.where(rounds < 200, -1.0, 0.1))

    ax = ms.plot(Run(), predictions={"odd": odd, "none": constant(np.nan), "zero": constant(0)})
    assert ax.get_ylim() == ms.plot(Run()).get_ylim()
    y = predicted(ax)[0].get_ydata()
    assert np.isnan(y[:200]).all()
    assert (y[200:] == 0.1).all()
    ms.plot(Run(), labels="direct", predictions={"none": constant(np.nan)}).figure.canvas.draw()


def test_direct_labels_stand_at_the_last_point_that_is_seen():
    steep = ms.theory.decay(0.1, through=(0, 1.0))
    ax = ms.plot(
        {"run": Run()}, labels="direct", predictions={"steep": steep, "floor": constant(0.01)}
    )
    places = {text.get_text(): text.xy for text in ax.texts}
    assert places.keys() == {"run", "steep", "floor"}
    assert places["floor"] == (300, 0.01)
    x, y = places["steep"]
    assert ax.get_ylim()[0] <= y < 1.2 * ax.get_ylim()[0]
    assert x < 100
    assert ax.get_legend() is None
    ax.figure.canvas.draw()


def test_result_passes_predictions_on():
    r = ms.train(ms.LinearTasks(d=20, k=3), "anil", rounds=30, n=5, threads=1)
    ax = r.plot(predictions={"(22)": ms.theory.rate_line(r)}, labels=None)
    assert len(predicted(ax)) == 1
    assert ax.get_legend() is None


def test_plot_of_nothing_takes_predictions():
    class Empty(Run):
        trace = {"round": Run.trace["round"], "dist": np.full(31, np.nan)}  # noqa: RUF012
        outcomes = (ms.Outcome(ms.Status.DIVERGED, 0),)

    ms.plot(Empty(), predictions={"floor": constant(0.1)}).figure.canvas.draw()


def limited(**changes):
    """A run that has a limit and a floor."""
    tasks = ms.LinearTasks(d=500, k=2, noise=0.3)
    options = {"alpha": 0.3, "beta": 0.5, "rounds": 60, "n": 200, "m_in": 20, "m_out": 10}
    return ms.train(tasks, changes.pop("method", "fo-anil"), **{**options, **changes})


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_named_predictions_are_the_lines_of_theory():
    r = limited()
    ax = ms.plot(r, predictions=("limit", "floor"))
    assert names(ax) == ["limit", "floor"]
    limit, floor = predicted(ax)
    rounds = limit.get_xdata()
    np.testing.assert_allclose(limit.get_ydata(), ms.theory.limit_line(r)(rounds))
    np.testing.assert_allclose(floor.get_ydata(), ms.theory.floor_line(r)(rounds))
    assert limit._dash_pattern != floor._dash_pattern
    ax.figure.canvas.draw()


def test_the_limit_of_a_run_that_stopped_ends_with_the_run():
    r = limited(rounds=5000, stop=ms.Stop(dist=0.3))
    last = r.outcomes[0].round
    assert last < 100
    line = ms.theory.limit_line(r)
    assert np.isnan(line([last + 1])).all()
    whole = ms.theory.limit_line(limited(rounds=last, stop=None))
    np.testing.assert_array_equal(line(np.arange(last + 1)), whole(np.arange(last + 1)))
    cosine = ms.ANIL(alpha=0.3, beta=0.5, step=ms.OuterStep(schedule="cosine"))
    tasks, counts = ms.LinearTasks(d=500, k=2, noise=0.3), dict(m_in=20, m_out=10)
    stopped = ms.train(tasks, cosine, rounds=90, n=200, stop=ms.Stop(dist=0.9), **counts)
    limit = ms.train(tasks, cosine, rounds=90, n=None, d_over_n=498 / 200, stop=None, **counts)
    rounds = limit.trace["round"]
    np.testing.assert_allclose(ms.theory.limit_line(stopped)(rounds), limit.trace["dist"].ravel())


def test_a_head_that_stays_nonzero_has_neither_floor_nor_boundary():
    start = (np.eye(500, 2), np.array([0.5, 0.0]))
    method = ms.ANIL(alpha=0.3, beta=0.5, first_order=True, outer="body")
    tasks = ms.LinearTasks(d=500, k=2, noise=0.3)
    r = ms.train(tasks, method, init=start, rounds=20, n=200, m_in=20, m_out=10)
    for name in ("floor", "boundary"):
        with pytest.raises(ValueError, match="w0 must be 0"):
            ms.plot(r, predictions=name)


def test_theory_draws_all_that_exists_for_a_run():
    ax = ms.plot(limited(), predictions="theory")
    boundary = ms.theory.largest_beta(
        ms.LinearTasks(d=500, k=2, noise=0.3), "fo-anil", n=200, m_in=20, m_out=10, alpha=0.3
    )
    assert names(ax) == [
        "limit",
        "floor",
        rf"stable: $\beta$ = 0.5, the boundary is {boundary:.3g}",
    ]
    population = ms.train(ms.LinearTasks(d=20, k=3), "anil", rounds=300, n=20)
    assert names(ms.plot(population, predictions="theory"))[:2] == ["limit", "rate"]
    limit = limited(n=None, d_over_n=2.0)
    assert names(ms.plot(limit, predictions="theory"))[:2] == ["limit", "floor"]
    assert names(ms.plot(limit, predictions="boundary"))[0].startswith("stable: ")
    wide = limited(width=3, record=("perp_norm", "sigma_max"))
    assert "fading" in names(ms.plot(wide, y="perp_norm", predictions="theory"))
    assert names(ms.plot(wide, y="sigma_max", predictions="theory"))[0] == "limit"


def test_an_unstable_run_has_a_boundary_and_no_floor():
    with pytest.warns(ms.DivergenceWarning):
        r = limited(beta=30.0)
    ax = ms.plot(r, predictions="theory", labels="direct")
    assert any(text.get_text().startswith("unstable: ") for text in ax.texts)
    with pytest.raises(ValueError, match="'floor': the run has no floor: its outer step size is"):
        ms.plot(r, predictions="floor")


def test_each_run_has_its_line_and_a_kind_of_line_has_one_name():
    runs = {"FO-ANIL": limited(), "ANIL": limited(method="anil"), "MAML": limited(method="maml")}
    ax = ms.plot(runs, predictions=("floor", "boundary"))
    assert len(predicted(ax)) == 2  # none for MAML with a head that moves
    assert names(ax)[:4] == ["FO-ANIL", "ANIL", "MAML", "floor"]
    assert [name.split(":")[0] for name in names(ax)[4:]] == ["FO-ANIL", "ANIL"]
    direct = ms.plot(runs, predictions="floor", labels="direct")
    assert sum(text.get_text() == "floor" for text in direct.texts) == 1
    direct.figure.canvas.draw()


def test_where_no_prediction_exists_a_sentence_says_why():
    maml = limited(method="maml")
    with pytest.raises(ValueError, match=r"predictions must exist for a run; got 'limit': .*MAML"):
        ms.plot(maml, predictions="limit")
    with pytest.warns(UserWarning, match=r"the theory predicts nothing for these runs: .*MAML"):
        ax = ms.plot(maml, predictions="theory")
    assert predicted(ax) == []
    with pytest.raises(ValueError, match="a prediction of y='dist'; got y='sigma_max'"):
        ms.plot(limited(record="sigma_max"), y="sigma_max", predictions="floor")
    with pytest.raises(ValueError, match="the floor is 0"):
        ms.plot(limited(m_in=None, m_out=None), predictions="floor")


def test_a_fit_has_no_predictions_and_leaves_those_of_runs():
    tasks = ms.LinearTasks(d=50, k=2, noise=0.1)
    fit = ms.fit(tasks, "moments", n=100, m=20)
    for name in ("limit", "floor", "boundary", "rate"):
        with pytest.raises(ValueError, match=f"got '{name}': predictions are those of training"):
            ms.plot(fit, predictions=name)
    with pytest.warns(UserWarning, match="predicts nothing for these runs: predictions are those"):
        ms.plot(fit, predictions="theory")
    run = ms.train(tasks, "fo-anil", n=100, m_in=20, m_out=20, rounds=20, alpha=0.2, beta=0.2)
    ax = ms.plot({"fit": fit, "run": run}, predictions="theory")
    assert {line.get_label() for line in predicted(ax)} >= {"limit", "floor"}


def test_trials_of_the_limit_are_averaged_like_those_of_the_run():
    tasks = ms.LinearTasks(d=500, k=2)
    steps = dict(alpha=0.3, beta=0.3, rounds=80, trials=6, m_in=30, m_out=30, stop=None)
    run = ms.train(tasks, "fo-anil", n=5000, **steps)
    limit = ms.train(tasks, "fo-anil", n=None, d_over_n=498 / 5000, **steps).trace["dist"]
    for log in (True, False):
        (line,) = predicted(ms.plot(run, log=log, predictions="limit"))
        expected = np.exp(np.log(limit).mean(axis=0)) if log else limit.mean(axis=0)
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert limit[:, 60].mean() > 1.1 * np.exp(np.log(limit[:, 60]).mean())


def test_a_prediction_that_an_axis_cannot_show_has_no_entry_in_the_legend():
    ax = ms.plot({"run": Run()}, predictions={"zero": constant(0.0), "floor": constant(0.01)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run", "floor"]


def test_plot_refuses_names_of_no_prediction():
    with pytest.raises(ValueError, match=r"predictions must be of limit, floor, .*; got 'level'"):
        ms.plot(limited(), predictions="level")
    with pytest.raises(TypeError, match="predictions must map names to functions, or be of"):
        ms.plot(limited(), predictions=3)
    assert predicted(ms.plot(limited(), predictions=())) == []


def test_plot_refuses_predictions_that_are_no_functions_of_the_rounds():
    with pytest.raises(TypeError, match="'rate' is none"):
        ms.plot(Run(), predictions={"rate": 0.01})
    with pytest.raises(ValueError, match=r"'floor' must give 301 values; got shape \(\)"):
        ms.plot(Run(), predictions={"floor": lambda rounds: 0.1})
