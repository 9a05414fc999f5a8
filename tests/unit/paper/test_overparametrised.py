"""The panel on a learner as wide as the features: its claims hold, and fail for wrong runs."""

import csv
import io
from dataclasses import replace

import pytest

import metaspan as ms
from metaspan.paper.overparametrised import Overparametrised
from metaspan.paper.predictions import surplus_of_pool

pytest.importorskip("matplotlib")

SMALL = Overparametrised(d=20, k=3, n=4000, m=(10, 10), rounds=1600)  # a quarter of the rounds


def run(experiment, quick=False):
    parts = []
    findings = experiment.run(quick, lambda: parts.append(1))
    assert len(parts) == experiment.count()
    return findings


def failed(claims):
    return [claim.quantity for claim in claims if not claim.holds]


@pytest.fixture(scope="module")
def small():
    return run(SMALL, quick=True)


def test_claims_about_the_subspace_and_the_surplus_hold(small):
    """The ratios of risks are those of the published sizes, not of these."""
    quantities = [claim.quantity for claim in small.claims]
    assert [q for q in failed(small.claims) if " over " not in q] == []
    assert sum(" over " not in quantity for quantity in quantities) == 6


@pytest.mark.slow
def test_all_claims_hold_at_the_published_sizes():
    assert failed(run(Overparametrised()).claims) == []


def test_other_tasks_fail_the_claims(monkeypatch):
    """The runs have noise 1, and the predictions have noise 2."""
    sample = ms.LinearTasks.sample
    monkeypatch.setattr(
        ms.LinearTasks,
        "sample",
        lambda tasks, *given, **more: sample(replace(tasks, noise=1.0), *given, **more),
    )
    assert "fixed tasks: signal_min^2" in failed(run(SMALL, quick=True).claims)


def test_table_has_each_learner_and_each_number_of_samples(small):
    rows = list(csv.DictReader(io.StringIO(small.tables[".risks.csv"])))
    assert len(rows) == 7 * len(SMALL.m_test)
    assert len({(row["learner"], row["representation"]) for row in rows}) == 7
    assert all(float(row["excess_risk"]) > 0 for row in rows)
    assert len(small.text.splitlines()) == 8


def test_surplus_of_a_pool_falls_with_the_fourth_root_of_its_tasks():
    tasks = SMALL.tasks
    few, many = (surplus_of_pool(tasks, 0.25, n, 10, 10) for n in (100, 1600))
    assert few / many == pytest.approx(2.0)
