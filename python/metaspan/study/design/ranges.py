r"""Makes the values of an axis from a logarithmic range or an ordered collection."""

from __future__ import annotations

import math
from collections.abc import Collection, KeysView, Mapping, Set, ValuesView
from typing import Any

import numpy as np

from ..._support import check

MOST = 100_000


def log_range(first: float, last: float, num: int) -> list[int] | list[float]:
    r"""Make values that are evenly spaced on a logarithmic axis.

    .. math:: x_i = x_0\,(x_{num-1}/x_0)^{i/(num-1)}, \qquad i = 0, \dots, num-1

    Parameters
    ----------
    first, last : int or float
        The ends of the range: positive, different, and exactly contained in the result. If both
        ends are integers, all values are rounded to integers.
    num : int
        Number of values, from 2 to 100,000.

    Returns
    -------
    list of int or list of float
        Distinct values, from `first` to `last`. There are fewer than `num` values if rounding makes
        some of them equal.

    Raises
    ------
    TypeError
        If `num` is not an integer or an end is not a number.
    ValueError
        If `num` is out of range, the ends are equal, or an end is not positive or not finite.

    Examples
    --------
    >>> log_range(10, 10_000, 4)
    [10, 100, 1000, 10000]
    >>> log_range(1, 10, 7)
    [1, 2, 3, 5, 7, 10]
    >>> log_range(1.0, 0.01, 3)
    [1.0, 0.1, 0.01]
    """
    num = check.integer("num", num, 2, MOST)
    low, high = (_check_end(name, value) for name, value in (("first", first), ("last", last)))
    if low == high:
        raise ValueError(f"first and last must differ; got {low} twice")
    start, step = math.log10(low), (math.log10(high) - math.log10(low)) / (num - 1)
    least, most = min(low, high), max(low, high)
    inner = (min(max(10.0 ** (start + i * step), least), most) for i in range(1, num - 1))
    if isinstance(low, int) and isinstance(high, int):
        return list(dict.fromkeys([low, *map(round, inner), high]))
    return list(dict.fromkeys([float(low), *map(float, inner), float(high)]))


def _check_end(name: str, value: float) -> int | float:
    """Check that an end of a range is positive, and convert it to a Python integer or float."""
    value = check.bare(name, value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, int):
        return check.integer(name, value, 1, 2**63 - 1)
    number = check.real(name, value)
    if number == 0.0:
        raise ValueError(f"{name} must be positive; got 0")
    return number


def in_order(path: str, value: Any) -> Any:
    r"""List the values of a one-dimensional array, a column or another ordered collection.

    Any other value is returned unchanged. In particular, text, mappings and sets are returned
    unchanged: in a grid, text is an expression and a mapping describes an object, and a set has no
    order.
    """
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        array = check.rectangular(path, value)
        return array.tolist() if array.ndim == 1 else array
    if isinstance(value, (KeysView, ValuesView)):
        return list(value)
    others = (str, bytes, bytearray, Mapping, Set)
    ordered = isinstance(value, Collection) and not isinstance(value, (*others, list, range))
    return tuple(value) if ordered else value
