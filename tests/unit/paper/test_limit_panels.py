"""The panels on the deterministic limit: their claims hold, and fail for a wrong theory."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from metaspan.paper import limit_curves, phase, split
from metaspan.paper.limit_curves import LimitCurves, fit_power
from metaspan.paper.phase import Phase, edges
from metaspan.paper.split import Split

pytest.importorskip("matplotlib")

CURVES = LimitCurves(n=(100, 300, 1000), rounds=100, quick_trials=6)
PHASE = Phase(m_in=(None, 10), quick_n=200, quick_cells=(7, 5), products=(0.05, 2.0))
SPLIT = Split(noises=(0.0, 2.0), quick_n=500, m_in=(2, 22), rounds=160, averaged=80)


def run(experiment):
    parts = []
    findings = experiment.run(True, lambda: parts.append(1))
    assert len(parts) == experiment.count()
    return findings


def failed(findings):
    return [claim.quantity for claim in findings.claims if not claim.holds]


def rows(findings, suffix=".csv"):
    return list(csv.DictReader(io.StringIO(findings.tables[suffix])))


def test_runs_approach_the_limit_like_the_root_of_n():
    findings = run(CURVES)
    assert failed(findings) == []
    assert len(findings.claims) == 6
    differences = rows(findings, ".differences.csv")
    assert [int(row["d"]) for row in differences] == 2 * [303, 903, 3003]
    curves = rows(findings)
    assert {row["n"] for row in curves} == {"100", "300", "1000", ""}
    assert len(curves) == 2 * 4 * (CURVES.rounds + 1)


def test_a_limit_at_another_dimension_fails_its_claims(monkeypatch):
    train = limit_curves.train

    def other(*given, **options):
        if options["n"] is None:
            options["d_over_n"] *= 2
        return train(*given, **options)

    monkeypatch.setattr(limit_curves, "train", other)
    quantities = failed(run(CURVES))
    for label in ("FO-ANIL", "Exact ANIL"):
        assert f"{label}: exponent of n in the difference of dist" in quantities
        assert f"{label}: mean dist at the end, extrapolated to n = inf" in quantities


def test_power_law_is_found_and_a_diverged_trial_is_no_number():
    n = np.array([10.0, 100.0, 1000.0])
    exponent, deviation, factor = fit_power(n, 3 * n**-0.5, 0.3 * n**-0.5)
    assert (exponent, factor) == pytest.approx((-0.5, 3.0))
    assert deviation == pytest.approx(0.1 / (np.log(10) * np.sqrt(2)))
    assert np.isnan(fit_power(n, np.array([1.0, np.nan, 1.0]), n)).all()


@pytest.fixture(scope="module")
def small_phase():
    return run(PHASE)


def test_runs_settle_below_the_boundary_and_not_above(small_phase):
    assert failed(small_phase) == []
    assert len(small_phase.claims) == 10
    table = rows(small_phase)
    assert len(table) == 2 * 7 * 5
    assert {row["settled"] for row in table} == {"yes", "no"}
    assert all(row["settled"] == "yes" for row in table if row["predicted"])
    line = rows(small_phase, ".boundary.csv")
    assert len(line) == 2 * (2 * 5 + 1)
    assert max(float(row["alpha_beta"]) for row in line if row["m_in"] == "inf") <= 1.0


@pytest.mark.parametrize(
    ("name", "factor", "quantity"),
    [
        (
            "largest_beta",
            1.6,
            "runs below the boundary by a factor of 1.2 or more that do not settle",
        ),
        ("largest_beta", 0.5, "runs above the boundary by a factor of 1.2 or more that settle"),
        ("floor", 1.2, "median of dist at the end over its prediction"),
    ],
)
def test_a_wrong_boundary_or_floor_fails_its_claim(monkeypatch, name, factor, quantity):
    function = getattr(phase, name)
    monkeypatch.setattr(
        phase, name, lambda *given, **sizes: factor * float(function(*given, **sizes))
    )
    assert f"m_in = inf: {quantity}" in failed(run(replace(PHASE, m_in=(None,))))


def test_edges_are_between_the_centres():
    np.testing.assert_allclose(edges(np.array([1.0, 4.0, 16.0])), [0.5, 2.0, 8.0, 32.0])


def test_floors_of_splits_are_the_predicted_ones():
    findings = run(SPLIT)
    assert failed(findings) == []
    assert len(findings.claims) == 8
    table = rows(findings)
    assert len(table) == 2 * (SPLIT.m - 1)
    best = [int(row["m_in"]) for row in table if row["best"] == "yes"]
    assert best[1] < best[0] <= 15  # noise asks for more outer samples
    simulated = [int(row["m_in"]) for row in table if row["simulated"]]
    assert simulated == [2, best[0], 22, 2, best[1], 22]


def test_floors_of_other_splits_fail_their_claims(monkeypatch):
    floor = split.floor

    def swapped(*given, n, m_in, m_out):
        return floor(*given, n=n, m_in=m_out, m_out=m_in)

    monkeypatch.setattr(split, "floor", swapped)
    quantities = failed(run(replace(SPLIT, noises=(2.0,))))
    assert any("largest of dist" in quantity for quantity in quantities)
