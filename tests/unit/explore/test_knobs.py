"""The knobs of the explorer: their texts, their sliders, and the call that they stand for."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.explore.knobs import CHOICES, KNOBS, Knobs, change, describe, nearest_position, parse
from metaspan.explore.point import affordable, trace_point

SETTINGS = [
    {},
    {"m_in": None, "m_out": None},
    {"d": 10**12, "k": 2, "m_in": None, "m_out": None, "rounds": 40},
    {"beta": 6.0, "rounds": 40},  # diverges
    {"n": None, "rounds": 60},
    {"method": "fo-maml", "outer": "body", "width": 5, "init": "methodical", "seed": 3},
    {"method": "maml", "inner_steps": 2, "beta": 0.01, "mean": 0.4, "mu2": 0.1, "rounds": 30},
    {"method": "average-risk", "noise": 0.0, "rounds": 2000},
    {"d": 12, "k": 5, "width": 9, "rounds": 20},  # sampled, since d < k + width
]


def run_call(text):
    """Run the Python program that the page shows, and return its result."""
    names = {}
    exec(text, names)
    return names["r"]


@pytest.mark.filterwarnings("ignore::metaspan.DivergenceWarning")
@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_the_call_gives_the_numbers_of_the_page(values):
    knobs, _, _ = affordable(Knobs(**values))
    curves = trace_point(knobs, knobs.rounds, lambda: False)
    result = run_call(curves.knobs.call())
    np.testing.assert_array_equal(curves.rounds, result.trace["round"])
    for name, row in curves.values.items():
        np.testing.assert_array_equal(row, result.trace[name])


def test_the_covariance_has_the_diversity_and_the_mean():
    heads = Knobs(k=4, mu2=0.2, mean=0.7).tasks().heads
    variances = np.asarray(heads.cov)
    assert variances[0] == 1.0
    assert variances[-1] == 0.2
    np.testing.assert_allclose(variances[1:] / variances[:-1], 0.2 ** (1 / 3), rtol=1e-5)
    np.testing.assert_array_equal(heads.mean, [0.7, 0, 0, 0])
    moments = ms.theory.second_moment(heads, 4)
    assert np.linalg.eigvalsh(moments)[0] == pytest.approx(0.2)


def test_a_single_head_has_the_variance_mu2():
    assert np.asarray(Knobs(k=1, width=1, mu2=0.2).tasks().heads.cov).tolist() == [0.2]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000", 1000), ("1e12", 10**12), ("10^6", 10**6), (" 10**6 ", 10**6), ("1_000", 1000)],
)
def test_integers_are_read_in_the_usual_ways(text, value):
    assert parse("d", text) == value
    assert isinstance(parse("d", text), int)


@pytest.mark.parametrize("text", ["inf", "INF", "infinite", "∞", "None"])
def test_infinitely_many_samples_have_names(text):
    assert parse("m_in", text) is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("d", "many", "d must be an integer such as 1000 or 1e6; got 'many'"),
        ("d", "2.5", "d must be an integer such as 1000 or 1e6; got '2.5'"),
        ("d", "inf", "d must be an integer such as 1000 or 1e6; got 'inf'"),
        ("n", "", "n must be an integer such as 1000 or 1e6, or inf; got ''"),
        ("d", "10^400", "d must be an integer such as 1000 or 1e6; got '10^400'"),
        ("beta", "9**999", "beta must be a number such as 0.3; got '9**999'"),
        ("alpha", "inf", "alpha must be a number such as 0.3; got 'inf'"),
        ("alpha", "nan", "alpha must be a number such as 0.3; got 'nan'"),
        ("alpha", "0,3", "alpha must be a number such as 0.3; got '0,3'"),
        ("width", "K2", "width must be an integer such as 1000 or 1e6, or k; got 'K2'"),
    ],
)
def test_other_texts_are_refused_in_one_sentence(name, text, expected):
    with pytest.raises(ValueError, match=r".") as caught:
        parse(name, text)
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", KNOBS)
def test_every_position_of_a_slider_has_a_text_and_is_nearest_to_itself(name):
    for i, value in enumerate(KNOBS[name].positions):
        assert parse(name, describe(name, value)) == value
        assert nearest_position(name, value) == i


@pytest.mark.parametrize("name", KNOBS)
def test_every_slider_starts_at_a_value_that_train_takes(name):
    Knobs().check()
    assert getattr(Knobs(), name) in KNOBS[name].positions


def test_the_slider_of_d_ends_at_a_million_million():
    assert KNOBS["d"].positions[-1] == 10**12


def test_choices_are_methods_that_train_takes():
    for name, values in CHOICES.items():
        for value in values:
            change(Knobs(), **{name: value}).check()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"k": 30, "d": 20}, "k must be at most"),
        ({"k": 10**6, "d": 10**12, "mean": 0.5}, "k must be at most 10000; got 1000000"),
        ({"alpha": -1.0}, "alpha must be"),
        ({"mu2": 2.0}, "mu2 must be between"),
        ({"noise": -0.1}, "noise must be"),
        ({"width": 0}, "width must be at least 1"),
        ({"rounds": -1}, "rounds must be at least 0"),
        ({"method": "anli"}, "method must be"),
    ],
)
def test_wrong_values_are_refused_in_the_words_of_train(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        change(Knobs(), **values).check()
    assert "\n" not in str(caught.value)


def test_an_unknown_knob_is_named():
    with pytest.raises(TypeError, match="explore has no knob 'lr'"):
        change(Knobs(), lr=0.1)
