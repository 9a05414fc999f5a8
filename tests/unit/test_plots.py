"""Means, bands and curves of plots of hand-made results."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import t

import metaspan as ms
from metaspan._support.looks import MARKERS, PALETTE
from metaspan._support.placement import spread
from metaspan.runs.summary import summarize

pytest.importorskip("matplotlib")

ENDS = {"f": ms.Status.FINISHED, "d": ms.Status.DIVERGED, "c": ms.Status.CONVERGED}


class Run:
    """What plots ask of a Result: a trace and the outcomes of its trials."""

    def __init__(self, values, ends=None, name="dist"):
        values = np.asarray(values, dtype=float)
        self.trace = {"round": np.arange(values.shape[1]) * 10, name: values}
        self.outcomes = tuple(ms.Outcome(ENDS[end], 0) for end in ends or "f" * len(values))
        if len(values) == 1:
            self.trace[name] = values[0]


def falling(trials, rows=60, until=None):
    """Curves that fall by different factors; trial i ends at row until[i]."""
    values = np.array([0.9 ** (np.arange(rows) * (1 + 0.1 * i)) for i in range(trials)])
    for i, row in (until or {}).items():
        values[i, row:] = np.nan
    return values


def test_band_is_a_student_interval_of_the_logarithm(rng):
    values = np.exp(rng.standard_normal((7, 5)))
    row = summarize(Run(values), band=0.9)
    logs = np.log10(values)
    half = t.ppf(0.95, 6) * logs.std(axis=0, ddof=1) / math.sqrt(7)
    np.testing.assert_allclose(row.mean, 10 ** logs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(row.low, 10 ** (logs.mean(axis=0) - half), rtol=1e-12)
    np.testing.assert_allclose(row.high, 10 ** (logs.mean(axis=0) + half), rtol=1e-12)
    assert row.log
    assert (row.count == 7).all()


def test_means_are_plain_where_values_change_sign(rng):
    values = rng.standard_normal((4, 3))
    row = summarize(Run(values))
    np.testing.assert_allclose(row.mean, values.mean(axis=0))
    assert not row.log
    with pytest.raises(ValueError, match="log=True needs positive values"):
        summarize(Run(values), log=True)


def test_one_trial_has_no_band():
    row = summarize(Run(falling(1)))
    np.testing.assert_allclose(row.mean, falling(1)[0])
    assert np.isnan(row.low).all()


def test_curve_ends_with_the_first_trial_that_converges():
    row = summarize(Run(falling(3, until={2: 40}), "ffc"))
    assert row.rounds.size == row.whole == 40
    assert row.diverged == 0


def test_curve_goes_on_over_the_trials_that_never_diverge():
    values = falling(3, until={0: 20})
    row = summarize(Run(values, "dff"))
    assert (row.whole, row.rounds.size, row.diverged, row.trials) == (20, 60, 1, 3)
    assert row.count.tolist() == [3] * 20 + [2] * 40
    np.testing.assert_allclose(row.mean[20:], np.sqrt(values[1, 20:] * values[2, 20:]))


def test_curve_ends_where_all_trials_diverge():
    row = summarize(Run(falling(2, until={0: 20, 1: 30}), "dd"))
    assert row.rounds.size == row.whole == 20


def test_places_keep_apart_and_move_as_little_as_possible():
    assert spread([0.0, 10.0], apart=2.0) == [0.0, 10.0]
    np.testing.assert_allclose(spread([0.0, 0.0, 0.0], apart=2.0), [-2.0, 0.0, 2.0])
    np.testing.assert_allclose(spread([0.0, 1.0, 1.5], apart=1.0), [-1 / 6, 5 / 6, 11 / 6])


def test_plot_shows_every_run_with_its_band_and_name():
    runs = {"one": Run(falling(3)), "two": Run(falling(4))}
    ax = ms.plot(runs)
    assert ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert [line.get_color() for line in ax.get_lines()] == list(PALETTE[:2])
    assert [line.get_marker() for line in ax.get_lines()] == list(MARKERS[:2])
    assert len(ax.collections) == 2
    assert ax.get_xlabel() == "round"
    ax.figure.canvas.draw()


def test_plot_marks_and_counts_what_diverged():
    ax = ms.plot({"bad": Run(falling(3, until={0: 20, 1: 30}), "ddf"), "good": Run(falling(3))})
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [190]
    assert [text.get_text() for text in ax.texts] == ["2 of 3 trials diverge"]
    ax.figure.canvas.draw()


def test_plot_takes_axes_names_and_colours():
    ax = pytest.importorskip("matplotlib.figure").Figure().subplots()
    ax.set_ylabel("mine")
    runs = {"one": Run(falling(2)), "two": Run(falling(2))}
    assert ms.plot(runs, ax=ax, labels="direct", colors=["red", "blue"], log=False) is ax
    assert ax.get_ylabel() == "mine"
    assert ax.get_yscale() == "linear"
    assert ax.get_legend() is None
    assert [(text.get_text(), text.get_color()) for text in ax.texts] == [
        ("one", "red"),
        ("two", "blue"),
    ]
    ax.figure.canvas.draw()


def test_plot_of_angles_has_a_line_per_angle(rng):
    run = Run(falling(2), name="angles")
    run.trace["angles"] = rng.uniform(0.1, 1.0, (2, 60, 3))
    assert len(ms.plot(run, "angles").get_lines()) == 3


def test_plot_shows_a_run_that_diverged_before_anything_was_seen():
    ms.plot({"none": Run(np.full((2, 3), np.nan), "dd"), "one": Run(falling(2))})
    ms.plot(Run(np.full((2, 3), np.nan), "dd"), labels="direct").figure.canvas.draw()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": "loss"}, r"y must be one of the recorded quantities \(dist\); got 'loss'"),
        ({"band": 95}, "band must be None or lie between 0 and 1; got 95"),
        ({"labels": "both"}, 'labels must be "legend", "direct" or None'),
        ({"colors": []}, r"colors must hold one colour per run \(1\); got 0"),
    ],
)
def test_plot_refuses_with_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        ms.plot(Run(falling(2)), **settings)


def test_plot_refuses_nothing_at_all():
    with pytest.raises(ValueError, match="at least one run"):
        ms.plot({})


def test_plot_leaves_the_global_state_of_matplotlib_alone():
    source = """
import sys, matplotlib, metaspan as ms
before = dict(matplotlib.rcParams)
tasks = ms.LinearTasks(d=20, k=3)
ms.train(tasks, "anil", rounds=9, n=3, trials=3).plot().figure.canvas.draw()
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams) == before
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
