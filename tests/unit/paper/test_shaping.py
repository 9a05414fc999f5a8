"""The panel on representations for few samples: its claims hold, and fail for wrong samples."""

import csv
import io

import pytest

from metaspan.paper import shaping
from metaspan.paper.shaping import ShapingRisks

pytest.importorskip("matplotlib")

SMALL = ShapingRisks(d=100, m=50, sampled=(5, 15, 90), quick_tasks=24)


def run(experiment):
    parts = []
    findings = experiment.run(True, lambda: parts.append(1))
    assert len(parts) == experiment.count()
    return findings


@pytest.fixture(scope="module")
def small():
    return run(SMALL)


def test_claims_hold(small):
    assert [claim.quantity for claim in small.claims if not claim.holds] == []
    assert len(small.claims) == 4


def test_samples_of_other_noise_fail_the_claims(monkeypatch):
    """The sampled tasks have noise 2, and the curves have noise 0.5."""
    whole = shaping.LinearTasks
    monkeypatch.setattr(shaping, "LinearTasks", lambda **given: whole(**{**given, "noise": 2.0}))
    failed = [claim.quantity for claim in run(SMALL).claims if not claim.holds]
    assert failed == ["largest relative difference beyond 4 standard errors"]


def test_the_table_has_every_curve_and_the_sampled_means(small):
    rows = list(csv.DictReader(io.StringIO(small.tables[".csv"])))
    assert len(rows) == 4 * 100 + 3 * 60
    sampled = [row for row in rows if row["sampled"]]
    assert len(sampled) == 4 + 3  # rank 15 of all curves
    assert all(float(row["standard_error"]) > 0 for row in sampled)
