r"""Operators and functions of expressions; each of them bounds the size of its result."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, cast

from ..._support import check

Value = int | float | bool | list[Any] | None

LARGEST = 2**1024  # largest absolute value of an integer; no float exceeds it
ENTRIES = 10**6  # most entries, in total, of the lists that one evaluation makes
DIGITS = 400  # round() accepts from -DIGITS to DIGITS digits
NUMERIC = frozenset((int, float, bool))
SCALARS = NUMERIC | {type(None)}


def finite(value: Any) -> Any:
    """Return a value unchanged; raise an error if it is a complex, infinite, NaN or huge number."""
    kind = type(value)
    if kind is float:
        if value - value != 0.0:
            raise OverflowError("a number is not finite")
    elif kind is int:
        if not -LARGEST <= value <= LARGEST:
            raise OverflowError("an integer is beyond 2**1024")
    elif kind is complex:
        raise ValueError("a number is not real")
    return value


def charge(room: list[int], entries: int) -> None:
    """Subtract the number of entries of a new list from `room`, the budget of the evaluation."""
    room[0] -= entries
    if room[0] < 0:
        raise OverflowError(f"lists take more than {ENTRIES} entries")


def entries(value: Any) -> int:
    """Count the value itself and all numbers and lists inside it."""
    return 1 + sum(map(entries, value)) if type(value) is list else 1


def plain(value: Any, room: list[int]) -> Value:
    r"""Convert the value of a name to a Python number or to lists of Python numbers.

    Lists are copied, and their entries are subtracted from `room`.
    """
    if type(value) in SCALARS:
        return value if type(value) is not int else cast("int", finite(value))
    if isinstance(value, list | tuple):
        charge(room, 1 + len(value))
        return [plain(item, room) for item in value]
    value = check.bare("the value of a name", value)
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        charge(room, int(getattr(value, "size", 1)))
        listed = value.tolist()
        if type(listed) is not type(value):
            return plain(listed, room)
    if isinstance(value, int):
        return plain(int(value), room)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"a name must have a number or a list of numbers; got {check.show(value)}")


# The functions below check the size of a result before Python computes the result: a short
# expression such as 9**9**9 must fail at once, before the result fills the memory of the machine.
# `room` is a list of one number: how many list entries the evaluation may still make.
def add(room: list[int], a: Any, b: Any) -> Any:
    """Add two numbers or concatenate two lists."""
    if type(a) is list and type(b) is list:
        charge(room, entries(a) + entries(b))
    return finite(a + b)


def multiply(room: list[int], a: Any, b: Any) -> Any:
    """Multiply two numbers, or repeat a list."""
    for many, times in ((a, b), (b, a)):
        if type(many) is list and isinstance(times, int):
            charge(room, entries(many) * max(times, 1))
    return finite(a * b)


def power(room: list[int], a: Any, b: Any) -> Any:
    """Raise a number to a power."""
    if isinstance(a, int) and isinstance(b, int) and b > 0 and abs(a) > 1:
        bits = (a.bit_length() - 1) * b
        if bits > LARGEST.bit_length():
            raise OverflowError("an integer is beyond 2**1024")
    return finite(a**b)


def check_result(function: Callable[[Any, Any], Any]) -> Callable[[list[int], Any, Any], Any]:
    """Wrap an operator so that its result is checked; its arguments are not checked."""
    return lambda room, a, b: finite(function(a, b))


def round_number(value: Any, digits: int | None = None) -> Any:
    """Round a number; the number of digits is bounded, since round(1, -n) computes 10**n."""
    if digits is None:
        return round(value)
    if not -DIGITS <= digits <= DIGITS:
        raise ValueError(f"digits of round must be between {-DIGITS} and {DIGITS}; got {digits}")
    return round(value, digits)


def full(room: list[int], n: Any, value: Any) -> list[Any]:
    """Make a list of `n` copies of the number `value`."""
    count = check.integer("the length of a list", n)
    if type(value) not in NUMERIC:
        raise TypeError(f"the value of full must be a number; got {check.show(value)}")
    charge(room, 1 + count)
    return [value] * count


def diag(room: list[int], values: Any) -> list[list[Any]]:
    """Make a diagonal matrix, as a list of rows, from the values on its diagonal."""
    if type(values) is not list or not NUMERIC.issuperset(map(type, values)):
        raise TypeError(f"the argument of diag must be a list of numbers; got {check.show(values)}")
    n = len(values)
    charge(room, 1 + n + n * n)
    return [[0.0] * i + [values[i]] + [0.0] * (n - 1 - i) for i in range(n)]


def ones(room: list[int], n: Any) -> list[Any]:
    """Make a list of `n` ones."""
    return full(room, n, 1.0)


def zeros(room: list[int], n: Any) -> list[Any]:
    """Make a list of `n` zeros."""
    return full(room, n, 0.0)


def eye(room: list[int], n: Any) -> list[list[Any]]:
    """Make an identity matrix, as a list of `n` rows."""
    return diag(room, full(room, n, 1.0))


# Values: the function, and the least and the largest number of its arguments (None: no limit).
NUMBERS: dict[str, tuple[Callable[..., Any], int, int | None]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1),
    "float": (float, 1, 1),
    "floor": (math.floor, 1, 1),
    "int": (int, 1, 1),
    "len": (len, 1, 1),
    "log": (math.log, 1, 2),
    "log10": (math.log10, 1, 1),
    "log2": (math.log2, 1, 1),
    "max": (max, 1, None),
    "min": (min, 1, None),
    "round": (round_number, 1, 2),
    "sqrt": (math.sqrt, 1, 1),
    "sum": (sum, 1, 1),
}
LISTS: dict[str, tuple[Callable[..., Any], int, int | None]] = {
    "diag": (diag, 1, 1),
    "eye": (eye, 1, 1),
    "full": (full, 2, 2),
    "ones": (ones, 1, 1),
    "zeros": (zeros, 1, 1),
}
FUNCTIONS = NUMBERS | LISTS
BINARY: dict[type[ast.operator], Callable[[list[int], Any, Any], Any]] = {
    ast.Add: add,
    ast.Sub: check_result(operator.sub),
    ast.Mult: multiply,
    ast.Div: check_result(operator.truediv),
    ast.FloorDiv: check_result(operator.floordiv),
    ast.Mod: check_result(operator.mod),
    ast.Pow: power,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
