r"""The widgets of the explorer: a field and a slider for each knob, and lists of choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .knobs import CHOICES, KNOBS, Knobs, Value, change, describe, nearest_position, parse

if TYPE_CHECKING:
    from bokeh.models import InlineStyleSheet, Select, Slider, TextInput, UIElement

ALPHA, BETA, MU = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER BETA}", "\u03bc\u00b2"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Learner": ("method", "outer", "init", "alpha", "beta", "inner_steps", "width"),
    "Samples of a round": ("n", "m_in", "m_out", "rounds", "seed"),
    "Tasks": ("d", "k", "noise", "mean", "mu2"),
}
CHOICE_LABELS = {"method": "method", "outer": "outer step moves", "init": "start"}
OPTION_LABELS = {
    "anil": "ANIL", "fo-anil": "first-order ANIL", "maml": "MAML", "fo-maml": "first-order MAML",
    "average-risk": "average risk (no inner loop)", "both": "B and w",
    "body": "B alone", "random": "random subspace", "methodical": "all angles equal",
}  # fmt: skip
UNUSED = {"average-risk": ("alpha", "inner_steps")}  # knobs that a method does not have

FIELD_STYLE = """
:host { color: var(--ink); font: inherit; font-size: 13px; color-scheme: inherit; margin: 0 0 2px; }
.bk-input-group { display: grid; grid-template-columns: 1fr 92px; align-items: center; gap: 6px; }
:host(.wide) .bk-input-group { grid-template-columns: 96px 1fr; }
label { color: var(--ink); padding: 0; }
.bk-input { background-color: var(--field) !important; color: var(--ink) !important;
  border-color: var(--line) !important; height: 25px; padding: 0 6px; border-radius: 5px;
  font-size: 13px; }
select.bk-input { background:
  linear-gradient(45deg, transparent 50%, var(--soft) 50%) right 12px center / 5px 5px no-repeat,
  linear-gradient(135deg, var(--soft) 50%, transparent 50%) right 7px center / 5px 5px no-repeat,
  var(--field) !important; }
input.bk-input { text-align: right; font-variant-numeric: tabular-nums; }
.bk-input:focus { border-color: var(--accent) !important; box-shadow: none !important;
  outline: 2px solid var(--accent); outline-offset: -1px; }
:host(.wrong) .bk-input { border-color: var(--wrong) !important; outline: 1px solid var(--wrong); }
:host([disabled]), .bk-input:disabled { opacity: 0.45; }
"""
SLIDER_STYLE = """
:host { margin: 0; width: 100%; } :host([disabled]) { opacity: 0.45; }
.bk-input-group { display: block; }
.noUi-target { height: 5px; border-radius: 4px; background: var(--line); border: 0;
  box-shadow: none; margin: 4px 9px 9px; }
.noUi-connects { border-radius: 4px; }
.noUi-connect { background: var(--accent) !important; }
.noUi-horizontal .noUi-handle { width: 16px; height: 16px; top: -6px; right: -8px;
  border-radius: 8px; background: var(--card); border: 2px solid var(--accent); box-shadow: none;
  cursor: grab; }
.noUi-handle::before, .noUi-handle::after { display: none !important; }
.noUi-touch-area { position: absolute; width: 28px; height: 28px; left: -8px; top: -8px; }
.noUi-handle:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""


class Controls:
    r"""The widgets, and the knobs that they show.

    Parameters
    ----------
    knobs : Knobs
        The knobs at the start.
    changed : callable
        Called without arguments after a user has changed a widget.

    Attributes
    ----------
    knobs : Knobs
        The knobs of all fields whose text is a value.
    wrong : dict of str to str
        A sentence for each field whose text is not a value.
    """

    def __init__(self, knobs: Knobs, changed: Callable[[], object]) -> None:
        from bokeh.models import InlineStyleSheet  # noqa: PLC0415

        self.knobs = knobs
        self.wrong: dict[str, str] = {}
        self._changed = changed
        self._setting = False  # whether the program, not the user, changes a widget
        self.field_style: InlineStyleSheet = InlineStyleSheet(css=FIELD_STYLE)
        self._slider_style: InlineStyleSheet = InlineStyleSheet(css=SLIDER_STYLE)
        self.fields: dict[str, TextInput] = {}
        self.sliders: dict[str, Slider] = {}
        self.choices: dict[str, Select] = {}
        for name in KNOBS:
            self._add_knob(name)
        for name in CHOICES:
            self._add_choice(name)
        self._disable_unused()

    def layout(self) -> UIElement:
        r"""Return all widgets in one column, in groups."""
        from bokeh.layouts import column  # noqa: PLC0415
        from bokeh.models import Div  # noqa: PLC0415

        rows: list[Any] = []
        for title, names in GROUPS.items():
            heading = f'<h2 style="font-size: 13px; margin: 4px 0 2px">{title}</h2>'
            rows.append(Div(text=heading, styles={"color": "var(--ink)"}, margin=0))
            for name in names:
                if name in self.choices:
                    rows.append(self.choices[name])
                else:
                    rows += [self.fields[name], self.sliders[name]]
        return column(*rows, sizing_mode="stretch_width", spacing=0, name="knobs")

    def set(self, **values: Value) -> None:
        r"""Set knobs as a user would, and report the change once."""
        self.knobs = change(self.knobs, **values)
        for name in values:
            self.wrong.pop(name, None)
            self._show(name)
        self._report()

    def _add_knob(self, name: str) -> None:
        """Make the field and the slider of a knob."""
        from bokeh.models import Slider, TextInput  # noqa: PLC0415

        knob, value = KNOBS[name], getattr(self.knobs, name)
        label = knob.label.replace("alpha", ALPHA).replace("beta", BETA).replace("mu^2", MU)
        text = TextInput(
            title=label, value=describe(name, value), name=f"field_{name}", margin=0,
            sizing_mode="stretch_width", stylesheets=[self.field_style],
        )  # fmt: skip
        slider = Slider(
            start=0, end=len(knob.positions) - 1, step=1, value=nearest_position(name, value),
            show_value=False, tooltips=False, title=None, name=f"slider_{name}",
            tags=[label], margin=0, sizing_mode="stretch_width", stylesheets=[self._slider_style],
        )  # fmt: skip
        text.on_change("value", lambda _, old, new: self._type(name, new))
        slider.on_change("value", lambda _, old, new: self._slide(name, int(new)))
        self.fields[name], self.sliders[name] = text, slider

    def _add_choice(self, name: str) -> None:
        """Make the list of a knob that is one of several words."""
        from bokeh.models import Select  # noqa: PLC0415

        options = [(value, OPTION_LABELS[value]) for value in CHOICES[name]]
        select = Select(
            title=CHOICE_LABELS[name], options=options, value=getattr(self.knobs, name),
            name=f"choice_{name}", sizing_mode="stretch_width", stylesheets=[self.field_style],
            css_classes=["wide"], margin=0,
        )  # fmt: skip
        select.on_change("value", lambda _, old, new: self._choose(name, new))
        self.choices[name] = select

    def _type(self, name: str, text: str) -> None:
        """Read a field that the user has changed."""
        if self._setting:
            return
        try:
            self.knobs = change(self.knobs, **{name: parse(name, text)})
        except ValueError as error:
            self.wrong[name] = str(error)
            self.fields[name].css_classes = ["wrong"]
        else:
            self.wrong.pop(name, None)
            self._show(name)
        self._report()

    def _slide(self, name: str, position: int) -> None:
        """Take the value of a slider that the user has moved."""
        if not self._setting:
            self.set(**{name: KNOBS[name].positions[position]})

    def _choose(self, name: str, value: str) -> None:
        """Take the word that the user has chosen."""
        if not self._setting:
            self.set(**{name: value})

    def _show(self, name: str) -> None:
        """Show the value of a knob in its widgets."""
        value = getattr(self.knobs, name)
        self._setting = True
        try:
            if name in self.choices:
                self.choices[name].value = value
            else:
                self.fields[name].value = describe(name, value)
                self.fields[name].css_classes = []
                self.sliders[name].value = nearest_position(name, value)
        finally:
            self._setting = False

    def _report(self) -> None:
        """Say that the user has changed a widget."""
        self._disable_unused()
        self._changed()

    def _disable_unused(self) -> None:
        """Disable the knobs that the method does not have."""
        unused = UNUSED.get(self.knobs.method, ())
        for name in {name for names in UNUSED.values() for name in names}:
            for widget in (self.fields[name], self.sliders[name]):
                widget.disabled = name in unused
