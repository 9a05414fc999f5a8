r"""Makes the texts that stand for names and values of a study in figures and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np

from ...methods import KINDS, Method, display_name, resolve
from ...plots import NAMES

LONGEST = 40  # most characters in the text of a value
GREEK = ("alpha", "beta", "gamma", "delta", "eta", "kappa", "lambda", "mu", "nu", "rho", "sigma")
WORDS = {
    "dist": r"$\mathrm{dist}(B_T,\, B_{\mathrm{*}})$",
    "mu2": r"$\mu^2$",
    "inner_steps": r"inner steps $J$",
    "rate": r"fall of $\log\,\mathrm{dist}$ per round",
    "floor": "error floor",
    "seconds": "time (s)",
}


def name_label(name: str) -> str:
    r"""Return the text that stands for a name in figures, with symbols set as mathematics.

    Parameters
    ----------
    name : str
        A varied name such as ``"m_in"``, or a measure such as ``"rounds_to:1e-3"``.

    Returns
    -------
    str
        Text for matplotlib. An unknown name is returned as it is.

    Examples
    --------
    >>> print(name_label("m_in"), name_label("rounds_to:1e-3"), name_label("price"))
    $m_{\mathrm{in}}$ rounds until $\mathrm{dist} \leq 10^{-3}$ price
    """
    if name in WORDS or name in NAMES:
        return WORDS.get(name) or NAMES[name]
    symbol = re.fullmatch(rf"({'|'.join(GREEK)}|[A-Za-z])(?:_([a-z]+))?", name)
    if symbol:
        letter = rf"\{symbol[1]}" if symbol[1] in GREEK else symbol[1]
        below = {None: "", "star": r"_{\mathrm{*}}"}.get(symbol[2], rf"_{{\mathrm{{{symbol[2]}}}}}")
        return f"${letter}{below}$"
    kind, _, argument = name.partition(":")
    try:
        number = float(argument)
    except ValueError:
        return escape(name)
    if kind == "rounds_to":
        return rf"rounds until $\mathrm{{dist}} \leq {_strip_dollars(number_label(number))}$"
    if kind == "risk":
        return rf"excess risk after {number_label(number)} samples"
    return escape(name)


def escape(text: str) -> str:
    """Escape a text so that matplotlib shows the text literally, dollar signs included."""
    return text.replace("$", r"\$")


def number_label(value: float, math_text: bool = True) -> str:
    r"""Format a number readably: without trailing zeros, and with a power of ten if needed.

    Parameters
    ----------
    value : float
        The number.
    math_text : bool
        True: the text is for matplotlib, with powers of ten as mathematics and commas between
        thousands. False: the text could be typed as an argument.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> print(number_label(1000), number_label(10**6), number_label(2.5e-7), number_label(0.25))
    1,000 $10^{6}$ $2.5 \times 10^{-7}$ 0.25
    """
    if not math.isfinite(value):
        return "none" if math.isnan(value) else f"{value:g}"
    if value == 0 or 1e-3 < abs(value) < 1e5:
        return f"{value:{',' if math_text else ''}.6g}"
    digits, power = f"{value:.5e}".split("e")
    digits = digits.rstrip("0").rstrip(".")
    if not math_text:
        return f"{digits}e{int(power)}"
    if digits in ("1", "-1"):
        return f"${digits[:-1]}10^{{{int(power)}}}$"
    return rf"${digits} \times 10^{{{int(power)}}}$"


def value_labels(values: Sequence[object], name: str = "", math_text: bool = True) -> list[str]:
    r"""Return a short text for each value of a name; different values have different texts.

    Parameters
    ----------
    values : sequence of object
        The values, all different: numbers, strings, methods, distributions of heads, or functions.
    name : str
        Name that has these values. If the name is ``"method"``, strings are names of methods.
    math_text : bool
        True: the texts are for matplotlib. False: the texts are for tables and captions.

    Returns
    -------
    list of str
        The texts. If the texts of some values would be equal, each of these texts names the fields
        in which the values differ, or has a number added.

    Examples
    --------
    >>> from metaspan import ANIL, MAML
    >>> value_labels(["maml", "average-risk"], "method")
    ['Exact MAML', 'average risk']
    >>> value_labels([ANIL(alpha=0.1), ANIL(alpha=0.2), MAML(alpha=0.1)], math_text=False)
    ['Exact ANIL, alpha = 0.1', 'Exact ANIL, alpha = 0.2', 'Exact MAML']
    """
    if math_text and _are_decades(values):
        return [f"$10^{{{math.log10(value):.0f}}}$" for value in values]  # type: ignore[arg-type]
    texts = [
        _value_text(_to_method(value) if name == "method" else value, math_text) for value in values
    ]
    for text in {text for text in texts if texts.count(text) > 1}:
        same = [i for i, other in enumerate(texts) if other == text]
        for i, more in zip(same, _differences([values[i] for i in same], math_text), strict=True):
            texts[i] += more
    for i, text in enumerate(texts):
        count = texts[:i].count(text)
        if count:
            texts[i] = f"{text} ({count + 1})"
    return texts


def equations(name: str, values: Sequence[object], math_text: bool = True) -> list[str]:
    r"""Return the texts that stand for the values of a name in legends and titles.

    Parameters
    ----------
    name : str
        The name.
    values : sequence of object
        Its values.
    math_text : bool
        Whether the texts are for matplotlib.

    Returns
    -------
    list of str
        For a number, a truth value or None, a text such as ``"m_in = 10"``. For any other value,
        the text of the value alone.

    Examples
    --------
    >>> equations("m_in", [10, 25], math_text=False)
    ['m_in = 10', 'm_in = 25']
    >>> equations("method", ["fo-anil"])
    ['FO-ANIL']
    """
    texts = value_labels(values, name, math_text)
    left = name_label(name) if math_text else name
    bare = (int, float, np.number, np.bool_)
    return [
        f"{left} = {text}" if value is None or isinstance(value, bare) else text
        for value, text in zip(values, texts, strict=True)
    ]


def argument_text(value: Any) -> str:
    """Return the text of an argument of a study, close to what the user wrote."""
    if hasattr(value, "text"):
        return str(value.text)
    if hasattr(value, "kind"):
        inner = ", ".join(f"{name}={argument_text(v)}" for name, v in value.fields.items())
        return f"{value.kind}({inner})"
    if hasattr(value, "function"):
        return f"a function of {', '.join(sorted(value.names))}"
    return value_labels([value], math_text=False)[0]


def _are_decades(values: Sequence[Any]) -> bool:
    """Tell whether all values are powers of ten and one is above 10^3 or below 10^-2."""
    kinds = (int, float, np.integer, np.floating)
    if not all(isinstance(value, kinds) and 0 < value < math.inf for value in values):
        return False
    powers = [round(math.log10(value)) for value in values]
    exact = all(value == float(f"1e{power}") for value, power in zip(values, powers, strict=True))
    return exact and any(power > 3 or power < -2 for power in powers)


def _strip_dollars(text: str) -> str:
    """Remove the dollar signs that enclose mathematics."""
    return text.strip("$")


def _to_method(value: object) -> object:
    """Return the method that a text names; return any other value unchanged."""
    try:
        return resolve(value, {}) if isinstance(value, str) else value
    except ValueError:
        return value


def _value_text(value: object, math_text: bool) -> str:
    """Return the short text of one value."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        return {None: "none", True: "yes", False: "no"}[value if value is None else bool(value)]
    if isinstance(value, (int, float, np.number)):
        return number_label(float(value), math_text)
    text = value if isinstance(value, str) else _object_text(value)
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return escape(text) if math_text else text


def _object_text(value: object) -> str:
    """Return the text of an object; fields of a dataclass at their defaults are left out."""
    if isinstance(value, KINDS):
        return display_name(value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = (f"{name}={_field_text(entry)}" for name, entry in _changed_fields(value))
        return f"{type(value).__name__}({', '.join(changed)})"
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return str(getattr(value, "__name__", type(value).__name__))
    return _field_text(value)


def _changed_fields(value: Any) -> list[tuple[str, object]]:
    """List the fields of a dataclass that differ from their defaults."""
    changed = []
    for field in fields(value):
        entry, default = getattr(value, field.name), field.default
        if default is MISSING or not (entry is default or repr(entry) == repr(default)):
            changed.append((field.name, entry))
    return changed


def _field_text(value: object) -> str:
    """Return the text of the value of a field; an array is written as nested lists."""
    if isinstance(value, np.ndarray):
        numbers = {"float_kind": lambda number: f"{number:.4g}"}
        return np.array2string(value, separator=", ", threshold=8, formatter=numbers)  # type: ignore[arg-type]
    return repr(value)


def _differences(values: Sequence[Any], math_text: bool) -> list[str]:
    """Return suffixes that make equal texts different: fields of methods, or digits of numbers."""
    if all(isinstance(value, KINDS) for value in values):
        names = [field.name for field in fields(values[0])]
        names = [n for n in names if len({getattr(value, n, None) for value in values}) > 1]
        return ["".join(_field_suffix(value, n, math_text) for n in names) for value in values]
    if all(isinstance(value, (float, np.floating)) for value in values):
        return [f" ({float(value)!r})" for value in values]
    return [""] * len(values)


def _field_suffix(method: Method, name: str, math_text: bool) -> str:
    """Return a text with one field of a method, to append to the name of the method."""
    left = name_label(name) if math_text else name
    return f", {left} = {_value_text(getattr(method, name, None), math_text)}"
