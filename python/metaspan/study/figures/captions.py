r"""Writes captions of figures, with the fixed values of a study in the letters of the paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...config.counts import DEFAULT_N
from ...methods import KINDS, SETTINGS, Method, display_name, resolve
from ..design.cells import OF_FIT, Cell, method_of
from ..design.spec import Spec
from .labels import argument_text, escape, name_label, value_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Names that a caption may give, in this order; it gives no other constants of the cells.
LETTERS = (
    "alpha",
    "beta",
    "inner_steps",
    "d",
    "k",
    "width",
    "n",
    "pool",
    "m_in",
    "m_out",
    "noise",
    "spread",
    "heads",
    "features",
    "rounds",
)
WORDS = {
    "inner_steps": "$J$",
    "width": "width",
    "noise": "noise",
    "spread": "spread",
    "pool": "$N$",
    "heads": "heads",
    "features": "features",
    "rounds": "rounds",
}
LONGEST = 40  # most characters of an expression; longer ones are left out
SHOWN_DEFAULTS = ("alpha", "beta", "n")  # these are named even if they have their default values
UNICODE = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\eta": "η", r"\kappa": "κ",
    r"\lambda": "λ", r"\mu": "μ", r"\nu": "ν", r"\rho": "ρ", r"\sigma": "σ", r"\infty": "∞",
    r"\leq": "≤", r"\times": "×", r"\log": "log", r"\min": "min", r"\max": "max", r"\perp": "⊥",
    r"^\top": "ᵀ", r"\|": "‖", r"\,": " ", r"\$": "$",
}  # fmt: skip
RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


def fixed_values(spec: Spec, cells: Sequence[Cell], shown: Sequence[str | None]) -> str:
    r"""Describe in letters of the paper what is the same, or computed, in all cells of a figure.

    Parameters
    ----------
    spec : Spec
        The study.
    cells : sequence of Cell
        The cells of the figure.
    shown : sequence of str or None
        Names that the axes, the colours and the columns show, which are left out.

    Returns
    -------
    str
        Text for matplotlib, such as ``"FO-ANIL, $\\alpha$ = 0.1, $k$ = 3, $n$ = 100, population
        losses, 20 seeds"``.
    """
    parts = []
    methods = [cell.arguments["method"] for cell in cells]
    if "method" not in shown and all(method == methods[0] for method in methods):
        parts.append(_method_name(methods[0]))
    others = [name for name in spec.axes if name not in (*LETTERS, "method")]
    for name in (*others, *LETTERS):
        text = None if name in shown else _value_text(spec, cells, name)
        if text is not None:
            parts.append(f"{WORDS.get(name) or name_label(name)} = {text}")
    if not any(cell.arguments.get(m) is not None for cell in cells for m in ("m_in", "m_out")):
        parts.append("population losses")
    count = len(spec.seeds)
    return ", ".join([*parts, f"{count:,} seed{'s' if count > 1 else ''}"])


def attach_caption(
    figure: Figure,
    spec: Spec,
    cells: Sequence[Cell],
    y: str,
    roles: tuple[str, str | None, str | None],
    *,
    fit: bool,
    extrapolate: bool,
    predictions: Sequence[str],
) -> str:
    r"""Compose the caption of a finished figure, and attach it as two attributes of the figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, which gets the attributes `caption`, plain text, and `caption_latex`.
    spec : Spec
        The study.
    cells : sequence of Cell
        The cells of the figure.
    y : str
        Name of the measure.
    roles : (str, str or None, str or None)
        Names that the x axis, the colours and the columns show.
    fit, extrapolate : bool
        Whether laws are fitted, and whether they are extrapolated.
    predictions : sequence of str
        Labels of the predictions.

    Returns
    -------
    str
        The caption for matplotlib.
    """
    notes = caption_notes(figure, len(spec.seeds) > 1, fit=fit, predictions=predictions)
    if extrapolate:
        notes.append("Dotted lines are extrapolated, with 95 % bands")
    text = compose_caption(y, roles, fixed_values(spec, cells, roles), notes)
    figure.caption = to_unicode(text)  # type: ignore[attr-defined]
    figure.caption_latex = to_latex(text)  # type: ignore[attr-defined]
    return text


def caption_notes(
    figure: Figure, several: bool, *, fit: bool, predictions: Sequence[str]
) -> list[str]:
    """List what a caption says about points, fitted laws and predictions of a figure."""
    notes = []
    if several:
        mean = "Geometric means" if figure.axes[0].get_yscale() == "log" else "Means"
        notes.append(f"{mean} over seeds, with 95 % Student-t intervals")
    if fit:
        notes.append("Dashed lines are fitted laws, with 95 % bootstrap intervals in brackets")
    if predictions:
        notes.append(f"Grey lines are predictions of the theory: {', '.join(predictions)}")
    return notes


def compose_caption(
    y: str, roles: tuple[str, str | None, str | None], fixed: str, notes: Sequence[str]
) -> str:
    r"""Compose the caption of a figure from what its axes show, the fixed values and notes.

    Parameters
    ----------
    y : str
        Name of the measure.
    roles : (str, str or None, str or None)
        Names that the x axis, the colours and the columns show.
    fixed : str
        Text of `fixed_values`; may be empty.
    notes : sequence of str
        Sentences without their full stops.

    Returns
    -------
    str
        Text for matplotlib and LaTeX, in which letters are mathematics between dollar signs.
    """
    x, hue, col = roles
    label = name_label(y)
    first = f"{label[0].upper()}{label[1:]} against {name_label(x)}"
    by = [f"{name_label(n)} by {how}" for n, how in ((hue, "colour"), (col, "columns")) if n]
    first += f", {' and '.join(by)}" if by else ""
    return " ".join(f"{part}." for part in (first, fixed, *notes) if part)


def to_unicode(text: str) -> str:
    r"""Turn mathematics between dollar signs into plain Unicode text.

    Parameters
    ----------
    text : str
        Text for matplotlib.

    Returns
    -------
    str
        Plain text.

    Examples
    --------
    >>> to_unicode(r"$\mu^2$ = $2.5 \times 10^{-7}$, $m_{\mathrm{in}}$ = 5")
    'μ² = 2.5 × 10⁻⁷, m_in = 5'
    """
    parts = re.split(r"(?<!\\)\$", text)
    return "".join(
        part.replace(r"\$", "$") if i % 2 == 0 else _formula(part) for i, part in enumerate(parts)
    )


def to_latex(text: str) -> str:
    r"""Escape the words between formulas for LaTeX.

    Parameters
    ----------
    text : str
        Text for matplotlib.

    Returns
    -------
    str
        Text for LaTeX.

    Examples
    --------
    >>> print(to_latex(r"$\alpha$ = 0.1, 95 % intervals of my_measure"))
    $\alpha$ = 0.1, 95 \% intervals of my\_measure
    """
    parts = re.split(r"(?<!\\)\$", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<!\\)([%&#_{}])", r"\\\1", parts[i]).replace("±", r"$\pm$")
    return "$".join(parts)


def _formula(text: str) -> str:
    """Turn one formula into plain Unicode text."""
    text = re.sub(r"\\math\w+\{([^{}]*)\}", r"\1", text)
    for command, letter in UNICODE.items():
        text = text.replace(command, letter)
    text = re.sub(r"\^\{([^{}]*)\}|\^(\w)", lambda m: (m[1] or m[2]).translate(RAISED), text)
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", text)
    text = re.sub(r"_\{([^{}]*)\}", r"_\1", text).replace("{", "").replace("}", "")
    return re.sub(r" +", " ", text)


def _method_name(method: Any) -> str:
    """Return the name of a method or an estimator, without the letters of the caption."""
    resolved = method if isinstance(method, KINDS) else None
    if isinstance(method, str) and method not in OF_FIT:
        resolved = resolve(method, {})
    if resolved is None:
        return value_labels([method], "method")[0]
    return display_name(resolved)


def _value_text(spec: Spec, cells: Sequence[Cell], name: str) -> str | None:
    """Return the value of a name, its expression where it varies, or None if it is not named."""
    values = [_value({**cell.values, **cell.arguments}, name) for cell in cells]
    if all(_same(value, values[0]) for value in values):
        return None if values[0] is None else value_labels([values[0]], name)[0]
    source = {**spec.base, **spec.derived}.get(name)
    if source is None or not any(hasattr(source, field) for field in ("text", "kind")):
        return None
    text = _expression_text(argument_text(source))
    return text if len(to_unicode(text)) <= LONGEST else None


def _expression_text(text: str) -> str:
    """Write an expression with the letters of the names in it, and points for products."""
    text = re.sub(r"\b[A-Za-z]\w*\b(?!\s*[(=])", lambda name: name_label(name[0]), escape(text))
    return re.sub(r"\s*\*\s*", "·", text.replace("**", "^"))


def _value(arguments: Mapping[str, Any], name: str) -> Any:
    """Return an argument of a cell; for some names the default, and otherwise None."""
    if name in arguments:
        value = arguments[name]
        return None if name in ("noise", "spread") and value == 0 else value
    if name not in LETTERS:
        return None
    method = arguments["method"]
    fits = not isinstance(method, (*KINDS, str)) or (isinstance(method, str) and method in OF_FIT)
    if name in SETTINGS and not fits:
        resolved: Method = method_of(arguments)
        value = getattr(resolved, name, None)
        return value if name in SHOWN_DEFAULTS or value != 1 else None
    return DEFAULT_N if name == "n" and arguments.get("pool") is None else None


def _same(first: Any, second: Any) -> bool:
    """Tell whether two values are equal; objects with arrays are compared by their texts."""
    try:
        return bool(first == second)
    except ValueError:  # an array has no single truth value
        return repr(first) == repr(second)
