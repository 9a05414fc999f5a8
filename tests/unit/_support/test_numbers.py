"""Formatted numbers keep as many digits as their errors support."""

import math
import re

import numpy as np
import pytest

from metaspan._support.numbers import PLUS_MINUS, rounded, with_error, with_interval

PATTERN = re.compile(r"\(?(-?[\d,.]+) \+- ([\d,.]+)\)?(?:e(-?\d+))?")


def parse(text):
    """Return value, error and the unit of the last digit of each, read from a text."""
    value, error, power = PATTERN.fullmatch(text).groups()
    scale = 10.0 ** int(power or 0)
    units = [
        scale * 10.0 ** -len(number.partition(".")[2]) if "." in number else scale
        for number in (value, error)
    ]
    return [float(number.replace(",", "")) * scale for number in (value, error)], units


def test_a_measurement_reads_as_in_a_paper():
    assert with_error(3852.6, 113.2) == "3,853 +- 110"
    assert with_error(-0.81234, 0.0123) == "-0.812 +- 0.012"
    assert with_error(1_234_567.8, 12_345) == "1,234,568 +- 12,000"
    assert with_error(9.96, 0.0996) == "9.96 +- 0.10"
    assert with_error(2.5e-7, 1.3e-8) == "(2.50 +- 0.13)e-7"
    assert with_error(3852.6, 113.2, PLUS_MINUS) == "3,853 ± 110"


def test_values_and_errors_end_at_one_place_and_are_rounded_by_less_than_they_are_uncertain():
    rng = np.random.default_rng(0)
    for value, error in zip(
        rng.normal(size=400) * 10.0 ** rng.integers(-12, 13, 400),
        10.0 ** rng.uniform(-12, 12, 400),
        strict=True,
    ):
        if error < 1e-9 * abs(value):
            continue
        (shown, shown_error), units = parse(with_error(value, error))
        assert units[0] == pytest.approx(units[1])
        assert abs(shown - value) <= 0.51 * units[0]
        assert abs(shown_error - error) <= 0.051 * error
        assert units[0] <= 0.11 * error or units[0] == 1.0


def test_the_power_of_ten_is_that_of_the_rounded_value():
    assert with_error(9.9996e-4, 1e-5) == "0.001000 +- 0.000010"
    assert with_error(9_999_999.96, 1.2) == "(1.00000000 +- 0.00000012)e7"
    assert with_error(9.9996e-8, 1e-9) == "(1.000 +- 0.010)e-7"
    assert with_error(9_999_999.4, 50_000) == "9,999,999 +- 50,000"
    assert with_error(9_999_999.9, 50_000) == "(1.0000 +- 0.0050)e7"


def test_the_least_and_the_largest_numbers_are_written():
    assert with_error(5e-324, 5e-324) == "(4.9 +- 4.9)e-324"
    assert with_error(1.5e308, 1e308) == "(1.5 +- 1.0)e308"
    assert with_error(-2e-310, 1e-310) == "(-2.0 +- 1.0)e-310"
    assert with_interval(3e-320, (2e-320, 4e-320)) == ("3.0e-320", "[2.0e-320, 4.0e-320]")
    assert with_interval(3e-320, (3e-320, 3e-320))[0].endswith("e-320")
    assert with_interval(math.inf, (1.0, 2.0)) == ("inf", "")
    assert with_interval(math.nan, (1.0, 2.0)) == ("nan", "")


def test_zero_has_no_sign():
    assert with_error(-1e-9, 0.5) == "0.00 +- 0.50"
    assert with_interval(-0.001, (-0.5, 0.5)) == ("0.0", "[-0.5, 0.5]")
    assert rounded(-0.0) == "0"


@pytest.mark.parametrize("error", [math.nan, math.inf, 0.0, 1e-13])
def test_a_value_without_an_error_stands_alone(error):
    assert with_error(1234.56, error) == "1,235"
    assert with_error(math.nan, error) == "nan"
    assert with_error(math.inf, error) == "inf"


@pytest.mark.parametrize("value", [123456.7, 0.001234, 9.995e-4, 9_999_999.9, 3e-300, -45.678])
def test_rounded_numbers_are_near_and_are_separated_by_thousands(value):
    text = rounded(value, 4)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=5.1e-4)
    whole = text.lstrip("-").partition(".")[0].partition("e")[0]
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", whole)


def test_intervals_have_the_digits_of_their_widths():
    assert with_interval(0.50342, (0.49, 0.5131)) == ("0.503", "[0.490, 0.513]")
    assert with_interval(3.2e9, (3e9, 3.6e9)) == ("3.20e9", "[3.00e9, 3.60e9]")
    assert with_interval(9692.3, (9131, 10_290)) == ("9700", "[9100, 10300]")
    assert with_interval(2.0, (math.nan, math.nan)) == ("2", "")
