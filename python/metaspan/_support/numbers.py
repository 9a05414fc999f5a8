r"""Formats measured numbers with as many digits as their errors support."""

from __future__ import annotations

import math
from decimal import Decimal

LARGE = 1e7  # numbers of at least this size are written with a power of ten
SMALL = 1e-3  # numbers below this size are too
ERROR_DIGITS = 2  # significant digits of an error
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MOST_PLACES = 340  # decimals of the smallest number
EXACT = 1e-14  # relative errors of at most this size are rounding errors


def rounded(value: float, digits: int = 3) -> str:
    r"""Format a number with some significant digits, and with commas between thousands.

    Digits before the decimal point are never rounded to zeros, so that 12,345 keeps its digits.

    Parameters
    ----------
    value : float
        The number.
    digits : int
        Least number of significant digits.

    Returns
    -------
    str
        The text; numbers of at least 10^7 and below 10^-3 have a power of ten.

    Examples
    --------
    >>> rounded(1252.7), rounded(0.03274), rounded(2.5e-7), rounded(3.1e9), rounded(929.4)
    ('1,253', '0.0327', '2.5e-7', '3.1e9', '929')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:zg}"
    shown = float(f"{value:.{digits - 1}e}")
    if SMALL <= abs(shown) < LARGE:
        places = max(0, digits - 1 - _exponent(shown))
        text = f"{value:,.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def with_error(value: float, error: float, sign: str = "+-") -> str:
    r"""Format a number and its standard error to the same decimal place.

    The error has two significant digits, and the value ends at the decimal place of the error. If
    the error is 10 or more, the value is rounded to an integer, and no further.

    Parameters
    ----------
    value : float
        The number.
    error : float
        Its standard error. If the error is NaN, infinite or a rounding error, the value stands
        alone with four significant digits.
    sign : str
        The sign between the two: `PLUS_MINUS` for pages and figures, the default for terminals.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> with_error(3852.6, 113.2), with_error(0.81234, 0.0123), with_error(2.5e-7, 1.3e-8)
    ('3,853 +- 110', '0.812 +- 0.012', '(2.50 +- 0.13)e-7')
    >>> with_error(1234.5, 0.0)
    '1,234'
    """
    if not math.isfinite(value):
        return f"{value:g}"
    if not math.isfinite(error) or error <= EXACT * abs(value):
        return rounded(value, 4)
    error = float(f"{error:.{ERROR_DIGITS - 1}e}")
    places = max(0, ERROR_DIGITS - 1 - _exponent(error))
    scale = max(float(f"{abs(value):.{min(places, MOST_PLACES)}f}"), error)  # as it is shown
    power = 0 if SMALL <= scale < LARGE else _exponent(scale)
    if power:
        # A power of ten may be out of the range of floats, but not of decimals.
        value, error = (float(Decimal(x).scaleb(-power)) for x in (value, error))
        places = max(0, ERROR_DIGITS - 1 - _exponent(error))
    text = f"{value:z,.{places}f} {sign} {error:,.{places}f}"
    return f"({text})e{power}" if power else text


def with_interval(value: float, ends: tuple[float, float]) -> tuple[str, str]:
    r"""Format a number and the interval of the number to two digits of the interval's width.

    Parameters
    ----------
    value : float
        The number.
    ends : (float, float)
        Ends of its interval. If an end is not finite, there is no text for the interval.

    Returns
    -------
    (str, str)
        The number, and the interval in brackets. There are no commas between thousands, which would
        be mistaken for the comma between the ends.

    Examples
    --------
    >>> with_interval(0.50342, (0.49, 0.5131)), with_interval(-71.93, (-80.1, -64.2))
    (('0.503', '[0.490, 0.513]'), ('-72', '[-80, -64]'))
    """
    low, high = ends
    scale, width = max(abs(value), abs(low), abs(high)), high - low
    if not (math.isfinite(width) and math.isfinite(value)) or scale == 0.0:
        return f"{value:z.4g}", ""
    first = math.floor(math.log10(scale))
    places = 1 - math.floor(math.log10(scale) + math.log10(max(width / scale, 1e-4)))
    if places < 0 and first < 6:  # whole tens, hundreds, ... without a power of ten
        value, low, high = (round(number, places) for number in (value, low, high))
        places = 0
    form = f"z.{places}f" if 0 <= places <= 6 and first < 6 else f"z.{max(1, first + places)}e"
    shown, *shown_ends = (_shorten_power(f"{number:{form}}") for number in (value, low, high))
    return shown, f"[{', '.join(shown_ends)}]"


def _shorten_power(text: str) -> str:
    """Remove the sign and the zeros with which Python pads a power of ten, as in 1.5e+03."""
    mantissa, e, power = text.partition("e")
    return f"{mantissa}e{int(power)}" if e else text


def _exponent(value: float) -> int:
    """Return the power of ten of the first digit of a number that is not 0."""
    return int(f"{value:e}".split("e")[1])
