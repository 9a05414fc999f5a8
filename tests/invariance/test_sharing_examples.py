"""The claims of examples/sharing.py and examples/digits.py hold for their quick runs.

The seeds are fixed, so a run always gives the same numbers. Margins are two to four standard errors
over tasks, so that they do not depend on the last digits either.
"""

import runpy
import sys
from pathlib import Path

import pytest

import metaspan as ms

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_quickly(name, folder):
    """Run a script in a folder, and return the variables at its end."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        patch.setattr(sys, "argv", [name, "--quick"])
        patch.chdir(folder)
        return runpy.run_path(str(EXAMPLES / name))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run_quickly("sharing.py", tmp_path_factory.mktemp("sharing"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return run_quickly("digits.py", tmp_path_factory.mktemp("digits"))


def test_verdicts_tell_three_data_sets_apart(made):
    verdicts, models = made["verdicts"], made["models"]
    shared = verdicts["two directions"]
    assert shared.helps
    assert shared.gain > 0.3  # 5 standard errors below 0.45
    nothing = verdicts["nothing"]
    assert nothing.gain < -4 * nothing.standard_error
    assert nothing.single_task < nothing.pooled
    mean = verdicts["a mean"]
    assert not mean.helps
    assert mean.pooled < mean.shared < 0.7 * mean.single_task
    assert [models[name].rank_ for name in verdicts] == [2, 10, 1]


def test_the_mean_head_tells_a_shared_mean_from_shared_directions(made):
    largest = {name: abs(model.mean_head_).max() for name, model in made["models"].items()}
    # Heads have the variance 1, so a mean over 60 tasks has the standard deviation 0.13.
    assert largest["two directions"] < 4 * 0.13
    assert largest["nothing"] < 4 * 0.13
    assert largest["a mean"] > 5


def test_the_default_method_refines_components_of_a_known_rank(made):
    refined, simple = made["refined"].sharing_gain_, made["verdicts"]["two directions"]
    assert refined.single_task == simple.single_task  # on the same folds
    assert refined.shared < simple.shared


def test_gain_grows_with_rows_then_shrinks_and_nothing_shared_never_gains(made):
    few, middle, many = (g.gain for g in made["gains"]["two directions"])
    assert few < middle - 0.2
    assert many < middle - 0.05
    for name in ("nothing", "a mean"):
        assert not any(g.helps for g in made["gains"][name])


def test_tasks_that_share_a_mean_want_linear_maml(made):
    few, many = made["new_errors"][10], made["new_errors"][40]
    assert few["linear MAML"] < 1.03 * few["one model for all"]
    assert many["linear MAML"] < 0.9 * min(e for n, e in many.items() if n != "linear MAML")
    # One model keeps the noise and the tasks' own parts, whose squared length is 0.2.
    assert many["one model for all"] == pytest.approx(0.25 + 0.2, rel=0.1)
    assert many["linear MAML"] > 0.25


def test_linear_maml_has_the_risk_of_theory(made):
    law = made["laws"]["a mean"]
    for m, errors in made["new_errors"].items():
        half = m // 2
        train = ms.LinearMAML(alpha=ms.theory.linear_maml_step(law, m=half))
        distance = ms.theory.linear_maml_error(law, train, n=made["n"], m_in=half, m_out=half)
        test = ms.LinearMAML(alpha=ms.theory.linear_maml_step(law, m=m))
        risk = ms.theory.linear_maml_risk(law, test, m=m, distance=distance)
        # The learned vector is random, and 200 tasks of 10 rows have an error of about 3 %.
        expected = made["noise"] ** 2 + 2 * risk
        assert errors["linear MAML"] == pytest.approx(expected, rel=0.1)


def test_held_out_pairs_gain_from_few_images(digits):
    for m in (5, 10):
        shared, alone, gain, error = digits["answers"]["held-out pairs", m]
        assert shared < alone
        assert gain > 3 * error
    _, _, gain, error = digits["answers"]["held-out pairs", 40]
    assert gain < 2 * error


def test_held_out_digits_do_not_gain(digits):
    for m in digits["sizes"]:
        _, _, gain, error = digits["answers"]["held-out digits", m]
        assert gain < 2 * error
    for m in (10, 20, 40):
        _, _, gain, error = digits["answers"]["held-out digits", m]
        assert gain < -3 * error


def test_sets_of_held_out_pairs_cover_every_pair_once(digits):
    sets = digits["held_out"]["held-out pairs"]
    assert sorted(pair for chosen in sets for pair in chosen) == digits["pairs"]
    assert all(sorted(d for pair in chosen for d in pair) == list(range(10)) for chosen in sets)


def test_training_pairs_gain_in_the_middle_and_the_default_method_fits_noise(digits):
    gains = digits["gains"]
    assert not gains[10].helps
    assert gains[20].helps
    assert gains[40].gain < gains[20].gain
    assert digits["harm"].gain < -4 * digits["harm"].standard_error
