"""What the panels must show: claims that hold, and that fail where the runs are others."""

import csv
import io
import math
from dataclasses import replace

import pytest

import metaspan as ms
from metaspan.methods import ANIL, AverageRisk
from metaspan.paper import limits as limits_module
from metaspan.paper.claims import Claim, as_csv, as_markdown, as_text, near, near_on_logarithms
from metaspan.paper.expected import expect, slope
from metaspan.paper.figures import Panel, panels
from metaspan.paper.predictions import population_dist
from metaspan.paper.reproduce import run_curve


def claims_of(name, change=lambda curve: curve, trials=5):
    """The claims about a panel, of runs that are those of its curves after a change."""
    panel = panels()[name]
    runs = [[run_curve(change(curve), trials) for curve in view.curves] for view in panel.views]
    return expect(name, panel, runs)


def failed(claims):
    return [claim.quantity for claim in claims if not claim.holds]


def claim(**changes):
    some = {"panel": "p", "quantity": "q", "expected": 1.0, "least": 0.5, "most": 2.0}
    return Claim(**{**some, "source": "(22)", "observed": 1.0, **changes})


@pytest.mark.parametrize(
    ("name", "least"), [("methods", 11), ("start", 11), ("fedavg", 4), ("linear-maml", 3)]
)
def test_panel_shows_what_is_expected(name, least):
    claims = claims_of(name, trials=20)
    assert len(claims) >= least
    assert failed(claims) == []


def test_local_steps_of_half_the_size_fail_their_claims():
    def change(curve):
        return replace(curve, method=replace(curve.method, alpha=0.05))

    assert "5 local steps: dist at round 200" in failed(claims_of("fedavg", change))


def test_runs_on_fewer_tasks_fail_the_closed_form():
    panel = panels()["linear-maml"]
    curves = panel.views[0].curves
    runs = [run_curve(replace(curve, n=100, pool=100), 20) for curve in curves]
    wrong = [replace(r, config=replace(r.config, pool=200)) for r in runs]
    quantity = "largest difference from the closed form, in standard errors"
    assert failed(expect("linear-maml", panel, [runs])) == []
    assert quantity in failed(expect("linear-maml", panel, [wrong]))


def test_a_method_that_learns_nothing_fails_its_claims():
    def change(curve):
        wrong = curve.label == "FO-ANIL"
        return replace(curve, method=AverageRisk(beta=0.1)) if wrong else curve

    quantities = failed(claims_of("methods", change))
    assert "FO-ANIL: fall of log dist per round" in quantities
    assert "FO-ANIL: dist at round 1500" in quantities
    assert not [quantity for quantity in quantities if quantity.startswith("Exact")]


def test_a_rate_that_is_a_tenth_off_fails_its_claim():
    def change(curve):
        fo_anil = ANIL(alpha=0.1, beta=0.11, first_order=True)
        return replace(curve, method=fo_anil) if curve.label == "FO-ANIL" else curve

    assert "FO-ANIL: fall of log dist per round" in failed(claims_of("methods", change, 20))


def test_floors_are_predicted_and_wrong_samples_are_noticed():
    panel = panels()["floor"]
    ends = panel.views[1]
    few = tuple(curve for curve in ends.curves if curve.d <= 10**4)
    panel = Panel(about="", views=(replace(ends, curves=few),))
    runs = [run_curve(curve, 2) for curve in few]
    assert failed(expect("floor", panel, [runs])) == []
    wrong = [replace(r, config=replace(r.config, m_out=1500)) for r in runs]
    assert "FO-ANIL, d = 10^4: floor of dist" in failed(expect("floor", panel, [wrong]))


def test_nothing_is_claimed_of_an_unknown_panel():
    assert expect("other", Panel(about="", views=()), []) == []


def test_predicted_distance_is_that_of_infinitely_many_tasks():
    """Compares the recursion (23) in NumPy with the engine."""
    tasks = ms.LinearTasks(d=20, k=3, heads=ms.GaussianHeads(cov=[1, 1, 0.5]))
    method = ANIL(alpha=0.1, beta=0.1, first_order=True)
    start = ms.Init(dist=0.7)
    r = ms.train(tasks, method, rounds=900, n=None, m_in=10**9, m_out=1, init=start, stop=None)
    value = population_dist(20, ms.theory.second_moment(tasks.heads, 3), method, 900, 0.7)
    assert r.trace["dist"][-1] == pytest.approx(value, rel=1e-4)


def test_slope_needs_two_rows():
    r = ms.train(ms.LinearTasks(d=20, k=3), "fo-anil", rounds=5, n=3)
    assert math.isnan(slope(r))


def test_claim_holds_between_its_ends_and_not_for_nan():
    assert claim().holds
    assert claim(observed=2.0).holds
    assert not claim(observed=2.1).holds
    assert not claim(observed=math.nan).holds


def test_intervals_are_about_the_value():
    assert near(2.0, 0.1) == pytest.approx((1.8, 2.2))
    assert near_on_logarithms(1e-5) == pytest.approx((1e-6, 1e-4))
    assert near_on_logarithms(1.0) == pytest.approx((math.exp(-0.1), 1.0))
    log_width = math.hypot(math.log(10), 3.0)
    assert near_on_logarithms(1e-5, 1.0)[0] == pytest.approx(1e-5 * math.exp(-log_width))


def test_tables_have_a_row_for_each_claim():
    claims = [claim(), claim(quantity="other", observed=3.0, most=math.inf, least=4.0)]
    rows = list(csv.DictReader(io.StringIO(as_csv(claims))))
    assert [row["holds"] for row in rows] == ["yes", "NO"]
    assert (rows[1]["quantity"], rows[1]["most"], rows[1]["source"]) == ("other", "", "(22)")
    assert as_markdown(claims).splitlines()[3] == "| NO | p | other | 1 | 4 |  | 3 | (22) |"
    assert as_text(claims).splitlines()[-1] == "1 of 2 claims hold"


@pytest.mark.slow
def test_claims_without_a_panel_hold():
    runs = []
    assert failed(limits_module.limits(lambda: runs.append(1))) == []
    assert len(runs) == limits_module.RUNS
