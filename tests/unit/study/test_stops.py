"""Tables, fits and figures say which values the ends of runs set, or that no run has ended."""

import re

import numpy as np
import pytest

import metaspan as ms

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

MEASURES = ("dist", "floor", "perp_norm", "loss_out", "rate")
BASE = dict(k=2, method="anil", rounds=700, n=8)
GRID = dict(d=[10, 20, 40], beta=[0.15, 0.2, 0.4])


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Run a study whose runs converge with the larger step and do not with the smaller one."""
    folder = tmp_path_factory.mktemp("half") / "half"
    study = ms.Study(folder, BASE, GRID, seeds=3, measure=MEASURES)
    assert study.run(progress=False).statuses == {"converged": 9, "finished": 18}
    return study


def set_by_stop(folder, **base):
    study = ms.Study(folder, {**BASE, **base}, dict(d=[10]), measure=MEASURES)
    return set(study.table().attrs["set_by_stop"])


def test_tables_say_which_measures_stop_rules_set(tmp_path):
    of_dist = {"dist", "floor", "perp_norm"}
    assert set_by_stop(tmp_path) == of_dist | {"loss_out"}  # without noise all vanishes together
    assert set_by_stop(tmp_path, noise=0.1) == of_dist
    assert set_by_stop(tmp_path, m_in=10, m_out=10) == of_dist
    assert set_by_stop(tmp_path, stop=ms.Stop(dist=0.0)) == set()
    assert set_by_stop(tmp_path, stop=None) == set()
    assert set_by_stop(tmp_path, stop=True, noise=np.ones(3)) == set()  # no runs at all
    assert set_by_stop(tmp_path, stop=ms.Stop(dist=None, loss_out=1e-3)) == {"loss_out"}
    rule = dict(kind="Stop", dist="1e-9 * d", loss_out="noise")
    assert set_by_stop(tmp_path, stop=rule, noise=0.1) == of_dist | {"loss_out"}


@pytest.mark.parametrize("measure", MEASURES[:-1])
def test_fits_leave_out_what_the_stop_rule_set(half, measure):
    found = half.fit(measure, ("d", "beta"), resamples=100)
    assert (found.rows, found.left_out) == (18, 9)
    single = half.fit(measure, "d", where={"beta": 0.2}, resamples=100)
    assert (single.rows, single.left_out) == (9, 0)
    message = (
        f"; 9 values of {measure} that the end of the run set are left out: measure rounds_to:TOL"
    )
    with pytest.raises(ValueError, match=message):
        half.fit(measure, "d", where={"beta": 0.4})


def test_other_measures_of_converged_runs_are_fitted(half):
    assert half.fit("rate", ("d", "beta"), resamples=100).rows == 27


def below(figure):
    """Return the note below the axes."""
    return figure.get_supxlabel().replace("\n", " ")


def test_figures_say_what_the_stop_rule_set(half):
    note = "the end of the run set dist in 9 of 27 runs"
    assert below(half.plot("d", "dist", hue="beta")) == note
    assert below(half.heatmap("d", "beta", "dist")) == note
    assert below(half.plot("d", "dist", hue="beta", where={"beta": 0.2})) == ""
    figure = half.plot("d", "dist", hue="beta", fit=True)
    assert below(figure) == f"{note}, which no fit takes"
    keys = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    texts = [text.get_text() for key in keys for text in key.get_texts()]
    assert ["[" in text for text in texts] == [True, True, False]  # the interval of a law


def test_reports_say_what_the_stop_rule_set(half, tmp_path):
    half.report(tmp_path / "half.html")
    page = re.sub("<[^>]*>", "", (tmp_path / "half.html").read_text(encoding="utf-8"))
    assert "dist: the end of the run set the values of 9 of 27 runs, which no law takes: " in page
    assert "rate: the end of the run" not in page
    whole = ms.Study(tmp_path / "whole", {**BASE, "beta": 0.4}, dict(d=[10, 20, 40]), seeds=2)
    assert whole.run(progress=False).statuses == {"converged": 6}
    whole.report(tmp_path / "whole.html")
    page = re.sub("<[^>]*>", "", (tmp_path / "whole.html").read_text(encoding="utf-8"))
    assert "dist: the end of the run set the values of 6 of 6 runs" in page
    assert "Figure 1" not in page
    assert "held-out" not in page


def test_values_of_a_column_choose_rows(half):
    table = half.table()
    for name in ("d", "beta"):
        for value in table[name].unique():
            assert isinstance(value, np.generic)
            chosen = half.table(where={name: value})
            pd.testing.assert_frame_equal(
                chosen, table[table[name] == value].reset_index(drop=True)
            )
    assert len(half.table(where={"d": np.float32(10), "beta": table["beta"][0]})) == 3


@pytest.mark.parametrize(
    "read",
    [
        lambda study: study.plot("d", "dist"),
        lambda study: study.plot("d", "dist", where={"beta": 0.2}),
        lambda study: study.heatmap("d", "beta", "dist"),
        lambda study: study.fit("dist", "d"),
        lambda study: study.fit("dist", ("d", "beta")),
        lambda study: study.report(study.folder / "r.html"),
    ],
)
def test_readings_before_any_run_say_so(tmp_path, read):
    study = ms.Study(tmp_path / "s", BASE, GRID, keep="dist")
    with pytest.raises(ValueError, match=r"the study 's' must have a run .*has ended; it has none"):
        read(study)
    assert len(study.table()) == len(study.traces()) == 0
