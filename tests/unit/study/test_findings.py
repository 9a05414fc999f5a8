"""Findings in the report of a study: fitted laws, failed runs and dependent names."""

import re

import pytest

import metaspan as ms

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

BASE = dict(k=2, rounds=20, n=8, stop=None)


def sentences(study, path):
    """The text of a report, without its elements."""
    study.report(path)
    return re.sub("<[^>]*>", "", path.read_text(encoding="utf-8"))


def fails_at_40(result):
    if result.config.tasks.d == 40:
        raise RuntimeError("no measure at 40")
    return 1.0 + result.config.tasks.d


def test_report_fits_powers_of_several_names_for_every_method(tmp_path):
    grid = dict(d=[10, 20, 40], beta=[0.05, 0.1], method=["anil", "fo-maml"])
    study = ms.Study(tmp_path / "s", BASE, grid, seeds=2, measure="w_norm")
    study.run(progress=False)
    page = sentences(study, tmp_path / "r.html")
    for method in ("Exact ANIL", "FO-MAML"):
        assert f"w_norm over d, beta, {method}:\ny = " in page


def test_report_finds_no_law_where_two_names_that_are_no_numbers_vary(tmp_path):
    grid = dict(d=[10, 20, 40], method=["anil", "maml"], features=["gaussian", "sphere"])
    base = {**BASE, "m_in": 5, "m_out": 5}
    study = ms.Study(tmp_path / "s", base, grid, measure="w_norm")
    study.run(progress=False)
    assert "w_norm over" not in sentences(study, tmp_path / "r.html")


def test_report_finds_no_law_of_two_values(tmp_path):
    study = ms.Study(tmp_path / "s", BASE, dict(d=[10, 20], method=["anil"]), measure="w_norm")
    study.run(progress=False)
    assert "w_norm over" not in sentences(study, tmp_path / "r.html")


def test_report_says_why_runs_failed_and_what_depends_on_what(tmp_path):
    heads = {"kind": "GaussianHeads", "cov": "[1, 1 / d]"}
    base = {**BASE, "method": "anil", "heads": heads}
    grid = dict(d=[10, 40], width=lambda k: k + 1)
    study = ms.Study(tmp_path / "s", base, grid, seeds=2, measure=fails_at_40)
    study.run(progress=False)
    page = sentences(study, tmp_path / "r.html")
    assert "2 runs failed: " in page
    assert "no measure at 40" in page
    assert "a function of k" in page
    assert "GaussianHeads(cov=[1, 1 / d])" in page


def test_report_fits_every_value_of_an_axis_with_zero(tmp_path):
    """No power has a value at 0, and rows of different noise are not one sample."""
    grid = dict(d=[10, 30, 90, 270], noise=[0.0, 0.5, 3.0])
    base = {**BASE, "method": "fo-anil", "m_in": 8, "m_out": 8}
    study = ms.Study(tmp_path / "s", base, grid, seeds=3, measure="w_norm")
    study.run(progress=False)
    page = sentences(study, tmp_path / "r.html")
    for noise in ("0", "0.5", "3"):
        assert f"w_norm over d, noise = {noise}:\n" in page


def test_report_splits_rows_by_words_and_by_an_axis_with_zero(tmp_path):
    grid = dict(d=[10, 30, 90], noise=[0.0, 0.5], method=["fo-anil", "anil"])
    study = ms.Study(tmp_path / "s", {**BASE, "m_in": 8, "m_out": 8}, grid, measure="w_norm")
    study.run(progress=False)
    page = sentences(study, tmp_path / "r.html")
    for method in ("FO-ANIL", "Exact ANIL"):
        for noise in ("0", "0.5"):
            assert f"w_norm over d, noise = {noise}, {method}:\n" in page


def sometimes(result):
    """A measure without a value for one seed of three."""
    return float("nan") if result.config.trials[0] % 3 == 1 else 1.0 + result.config.tasks.d


def test_report_counts_the_rows_without_a_value(tmp_path):
    base = {**BASE, "method": "fo-anil"}
    study = ms.Study(tmp_path / "s", base, dict(d=[10, 20, 40, 80]), seeds=6, measure=sometimes)
    study.run(progress=False)
    assert "8 rows left out" in sentences(study, tmp_path / "r.html")
