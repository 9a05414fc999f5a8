"""One point of the explorer: its rounds, its lines of the theory, its notes and its files."""

import csv
import io
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

import metaspan as ms
from metaspan.explore.export import as_csv, as_figure
from metaspan.explore.knobs import Knobs
from metaspan.explore.phase_map import COLUMNS, ROWS, order, plan_map, snap
from metaspan.explore.point import CancelledError, affordable, trace_point, train_point

HEADLESS = Knobs(method="fo-anil", outer="body", rounds=800)


def never():
    return False


def trace(knobs, rounds=None):
    return trace_point(knobs, knobs.rounds if rounds is None else rounds, never)


@pytest.fixture(scope="module")
def settled():
    return trace(HEADLESS)


def test_the_floor_is_where_the_run_levels_off(settled):
    late = settled.values["dist"][-200:]
    assert settled.floor == pytest.approx(np.exp(np.log(late).mean()), rel=0.1)


def test_the_limit_is_that_of_d_over_n(settled):
    limit = ms.train(
        HEADLESS.tasks(), HEADLESS.learner(), n=None, d_over_n=997 / 100, m_in=20, m_out=20,
        rounds=800, record="dist", record_every=2, stop=None,
    )  # fmt: skip
    np.testing.assert_array_equal(settled.limit["dist"], limit.trace["dist"])


def test_the_rate_is_the_slope_of_a_population_run():
    curves = trace(Knobs(m_in=None, m_out=None, rounds=1500))
    slope = np.diff(np.log(curves.rate)) / np.diff(curves.rounds)
    late = (curves.values["dist"] < 1e-5) & (curves.values["dist"] > 1e-9)
    x, y = curves.rounds[late], np.log(curves.values["dist"][late])
    assert slope[0] == pytest.approx(np.polyfit(x, y, 1)[0], rel=0.03)
    assert curves.floor is None


def test_a_wide_learner_has_the_line_of_its_surplus():
    curves = trace(Knobs(method="fo-anil", outer="body", width=4, n=20_000, rounds=100))
    assert curves.fading is not None
    assert curves.floor is None
    assert any(note.startswith("no floor is drawn: width must be k = 3") for note in curves.notes)


def test_the_first_rounds_are_those_of_the_whole_run():
    whole = trace(HEADLESS)
    part = trace(HEADLESS, 100)
    assert not part.complete
    assert whole.complete
    rows = part.rounds.size
    for name, values in part.values.items():
        np.testing.assert_array_equal(values, whole.values[name][:rows])


def test_a_theory_that_does_not_cover_the_point_is_a_note():
    curves = trace(Knobs(method="maml", rounds=20))
    assert curves.limit == {}
    assert curves.floor is None
    assert any(note.startswith("no limit is drawn: the run must have") for note in curves.notes)


@pytest.mark.filterwarnings("ignore::metaspan.DivergenceWarning")
def test_a_warning_of_train_is_a_note():
    knobs = Knobs(method="fo-anil", m_in=None, d=10**4, rounds=3000)
    with pytest.warns(ms.GrowingHeadWarning) as caught:
        ms.train(knobs.tasks(), knobs.learner(), **knobs.arguments())
    assert str(caught[0].message) in trace(knobs, 10).notes


def test_a_diverged_run_is_a_status():
    curves = trace(Knobs(beta=8.0))
    assert "diverged" in curves.status
    assert curves.rounds[-1] < 500


def test_rounds_that_take_too_long_are_left_out_with_a_note():
    knobs = Knobs(n=10**5, m_in=1000, m_out=1000, rounds=10**5, k=10, d=10**6)
    shown, first, notes = affordable(knobs)
    assert 1 <= first <= shown.rounds < knobs.rounds
    assert f"the first {shown.rounds}" in notes[0]


def test_a_round_that_takes_too_long_is_refused():
    with pytest.raises(ValueError, match="a round must take at most 1 s for this page"):
        affordable(Knobs(n=10**8, k=10, d=10**6))


def test_a_cancelled_run_ends():
    calls = []

    def soon():
        calls.append(None)
        return len(calls) > 3

    with pytest.raises(CancelledError):
        train_point(Knobs(rounds=10**6), 10**6, soon)


def test_data_have_all_digits_of_the_curves(settled):
    rows = list(csv.DictReader(io.StringIO(as_csv(settled))))
    assert len(rows) == settled.rounds.size
    for name, values in (("dist", settled.values["dist"]), ("limit_dist", settled.limit["dist"])):
        assert [float(row[name]) for row in rows] == values.tolist()
    assert {float(row["floor_dist"]) for row in rows} == {settled.floor}


def test_figures_are_files_of_their_kind(settled):
    pytest.importorskip("matplotlib")
    assert as_figure(settled, "png").startswith(b"\x89PNG")
    assert ET.fromstring(as_figure(settled, "svg")).tag.endswith("svg")


def test_the_diagram_holds_the_floors_of_its_cells():
    plan = plan_map(replace(HEADLESS, d=10**4, n=1000), "beta over alpha")
    assert plan.kind == "floor"
    knobs = plan.at(6, 8)
    late = trace(replace(knobs, rounds=2000)).values["dist"][-200:]
    assert plan.cell(6, 8, never) == pytest.approx(np.exp(np.log(late).mean()), rel=0.1)
    assert plan.cell(ROWS - 1, COLUMNS - 1, never) == math.inf


def test_the_diagram_holds_runs_where_no_floor_exists():
    plan = plan_map(Knobs(method="maml", rounds=200), "beta over alpha")
    assert plan.kind == "runs"
    assert "MAML" in plan.reason
    knobs = plan.at(4, 5)
    dist = ms.train(knobs.tasks(), knobs.learner(), n=100, m_in=20, m_out=20, rounds=plan.rounds)
    assert plan.cell(4, 5, never) == dist.trace["dist"][-1]


def test_the_diagram_of_counts_has_integers():
    plan = plan_map(HEADLESS, "n over m_in")
    counts = {(plan.at(i, j).n, plan.at(i, j).m_in) for i, j, _ in order()}
    assert all(isinstance(n, int) and isinstance(m, int) and min(n, m) >= 1 for n, m in counts)


def test_a_cell_of_a_cancelled_diagram_is_not_computed():
    with pytest.raises(CancelledError):
        plan_map(HEADLESS, "beta over alpha").cell(0, 0, lambda: True)


def test_places_on_axes_become_values():
    assert snap("alpha", 0.12345) == 0.12
    assert snap("alpha", 1e9) == 10.0
    assert snap("n", 0.1) == 2
    assert snap("m_in", 17.6) == 18
