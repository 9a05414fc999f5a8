"""The claims of examples/scaling_law.py hold for its quick run, whose seeds are fixed."""

import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "scaling_law.py"


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Return the variables at the end of the script."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    out = tmp_path_factory.mktemp("scaling_law")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(EXAMPLE), "--quick", "--out", str(out)])
        return runpy.run_path(str(EXAMPLE))


def test_the_wrong_range_gives_a_wrong_exponent_and_the_fit_says_so(story):
    laws = story["few_tasks"]
    low, high = laws["power"].b_interval
    assert low > 0.55
    assert high < 0.7
    assert laws.left_out == story["seeds"]
    assert "at most an approximation" in str(laws)


def test_more_tasks_bring_the_exponent_close_to_a_half(story):
    assert 0.5 < story["many_tasks"]["power"].b < 0.53


def test_the_large_study_agrees_with_theory_and_needs_the_ratio_alone(story):
    low, high = story["powers"].intervals["ratio"]
    assert low < story["theory"].b < high
    assert high - low < 0.01
    for name in ("d", "n"):
        low, high = story["powers"].intervals[name]
        assert low < 0.0 < high
    assert "approximation" not in str(story["laws"])
    assert story["power"].a == pytest.approx(story["theory"].a, rel=0.02)


def test_new_runs_confirm_one_extrapolation_and_refute_the_other(story):
    at, measured, error = story["more_features"]
    assert abs(measured - story["power"](at)) < 3 * error
    assert error < 0.02 * measured
    at, measured, error = story["fewer_samples"]
    assert measured - story["power"](at) > 3 * error
    assert abs(measured - story["theory_floor"](10**7, 100, 10**5)) < 3 * error


def test_runs_diverge_where_theory_has_no_floor(story):
    table = story["small"].table()
    none = [math.isinf(story["theory_floor"](int(d), 100, 10)) for d in table["d"]]
    np.testing.assert_array_equal(table["status"] == "diverged", none)


def test_the_sentence_has_the_numbers_of_the_fit(story):
    power = story["power"]
    assert f"{power.a:.4f} x^{power.b:.4f}" in story["sentence"]
    needed = story["per_feature"]
    assert power(1.0 / needed) == pytest.approx(story["target"])
