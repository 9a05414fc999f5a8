r"""The page of the explorer: one for every tab, independent of all others."""

from __future__ import annotations

import base64
import threading
import time
from functools import partial
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .answer import Answers, Event, Picture, Progress, Refused
from .controls import Controls
from .drawings import CurvePlots, MapPlot, Theme
from .export import as_csv, as_figure
from .knobs import Knobs
from .phase_map import MAPS
from .point import Curves
from .worker import Worker

if TYPE_CHECKING:
    from bokeh.document import Document

PROGRESS_SECONDS = 0.1  # least time between two reports of progress
BUTTON_STYLE = """
.bk-btn { background: var(--card) !important; color: var(--ink) !important; font-size: 13px;
  border: 1px solid var(--line) !important; border-radius: 6px; padding: 5px 12px; }
.bk-btn:hover { border-color: var(--accent) !important; }
.bk-btn:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
"""
CODE_STYLE = """
:host, .bk-clearfix { display: block !important; width: 100%; }
pre { width: 100%; box-sizing: border-box;
  background: var(--code); color: var(--ink); border: 1px solid var(--line);
  margin: 4px 0 0;
  border-radius: 6px; padding: 10px 12px; overflow-x: auto; font-size: 12.5px; line-height: 1.45; }
"""
MESSAGE_STYLE = """
p { margin: 0; } p + p { margin-top: 4px; } .soft { color: var(--soft); font-size: 12.5px; }
.wrong { color: var(--wrong); background: var(--wrong-paper); border-radius: 5px;
  padding: 6px 10px; }
progress { width: 140px; vertical-align: middle; accent-color: var(--accent); }
"""
COPY = """
const done = () => { button.label = "Copied"; setTimeout(() => { button.label = label }, 1500) }
navigator.clipboard.writeText(code.text).then(done)
"""
SAVE = """
const {name, type, body} = file.data
if (name.length == 1) {
  const bytes = Uint8Array.from(atob(body[0]), (c) => c.charCodeAt(0))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([bytes], {type: type[0]}))
  link.download = name[0]
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
"""
# Screen readers need a name for each slider, which BokehJS leaves out.
NAME_SLIDERS = """
for (const slider of sliders) {
  const view = Bokeh.index.find_one_by_id(slider.id)
  view?.shadow_el?.querySelector(".noUi-handle")?.setAttribute("aria-label", slider.tags[0])
}
"""
TYPES = {"csv": "text/csv", "svg": "image/svg+xml", "png": "image/png"}


def build_page(document: Document, knobs: Knobs) -> None:
    r"""Build the page of one tab.

    Parameters
    ----------
    document : bokeh.document.Document
        The empty document of the tab.
    knobs : Knobs
        The knobs at the start.
    """
    Page(document, knobs)


class Page:
    r"""The widgets and plots of one tab, and the thread that computes what they show."""

    def __init__(self, document: Document, knobs: Knobs) -> None:
        self._document = document
        self._closed = False
        self._curves: Curves | None = None
        self._picture: Picture | None = None
        self._reported = 0.0
        self._theme = Theme()
        self._controls = Controls(knobs, self._ask)
        self._plots = CurvePlots(self._theme)
        self._map = MapPlot(self._theme, lambda values: self._controls.set(**values))
        self._answers = Answers(self._publish)
        self._build()
        self._worker = Worker("explore page")
        document.on_session_destroyed(self._close)
        self._ask()

    def _build(self) -> None:
        """Put the widgets and plots into the document."""
        from bokeh.core.templates import get_env  # noqa: PLC0415
        from bokeh.layouts import column, row  # noqa: PLC0415
        from bokeh.models import (  # noqa: PLC0415
            ColumnDataSource,
            CustomJS,
            Div,
            InlineStyleSheet,
            PreText,
            Select,
        )  # fmt: skip

        self._message = Div(
            text="", name="message", sizing_mode="stretch_width", margin=0,
            stylesheets=[InlineStyleSheet(css=MESSAGE_STYLE)],
        )  # fmt: skip
        self._code = PreText(
            text="", name="call", sizing_mode="stretch_width", margin=0,
            stylesheets=[InlineStyleSheet(css=CODE_STYLE)],
        )  # fmt: skip
        self._axes = Select(
            title="axes", options=list(MAPS), value=next(iter(MAPS)), name="axes", margin=0,
            sizing_mode="stretch_width", css_classes=["wide"],
            stylesheets=[self._controls.field_style],
        )  # fmt: skip
        self._axes.on_change("value", lambda attr, old, new: self._ask())
        self._file = ColumnDataSource(data={"name": [], "type": [], "body": []}, name="file")
        self._file.js_on_change("data", CustomJS(args={"file": self._file}, code=SAVE))
        sliders = list(self._controls.sliders.values())
        named = CustomJS(args={"sliders": sliders, "file": self._file}, code=NAME_SLIDERS)
        document = self._document
        document.title = "metaspan explore"
        page = files(__package__).joinpath("page.html").read_text("utf-8")
        document.template = get_env().from_string(page)
        document.js_on_event("document_ready", self._theme.script(), named)
        diagram = column(
            self._axes, self._map.plot, self._map.about, sizing_mode="stretch_width", name="map"
        )
        actions = row(
            *self._buttons(), name="actions", sizing_mode="stretch_width",
            styles={"flex-wrap": "wrap", "gap": "8px"},
        )  # fmt: skip
        for root in (self._message, self._controls.layout(), diagram, self._code, actions):
            document.add_root(root)
        for name, plot in self._plots.plots.items():
            plot.name = name
            document.add_root(plot)

    def _buttons(self) -> list[Any]:
        """Make the buttons that copy the call, and that save the figure and the data."""
        from bokeh.models import Button, CustomJS, InlineStyleSheet  # noqa: PLC0415

        sheet = InlineStyleSheet(css=BUTTON_STYLE)
        copy = Button(label="Copy the call", name="copy", stylesheets=[sheet], margin=0)
        arguments = {"code": self._code, "button": copy, "label": copy.label, "file": self._file}
        copy.js_on_click(CustomJS(args=arguments, code=COPY))
        buttons = [copy]
        for kind, label in (
            ("svg", "Figure (SVG)"),
            ("png", "Figure (PNG)"),
            ("csv", "Data (CSV)"),
        ):
            button = Button(label=label, name=f"save_{kind}", stylesheets=[sheet], margin=0)
            button.on_click(partial(self._save, kind))
            buttons.append(button)
        return buttons

    def _ask(self) -> None:
        """Compute the setting of the widgets, and cancel the computation of earlier settings."""
        if self._controls.wrong:
            self._worker.submit(lambda cancelled: None)  # cancels what is under way
            self._refuse(next(iter(self._controls.wrong.values())))
            return
        knobs, axes = self._controls.knobs, self._axes.value
        self._map.place(knobs, MAPS[axes])
        self._worker.submit(lambda cancelled: self._answers.answer(knobs, axes, cancelled))

    def _publish(self, event: Event) -> None:
        """Pass a part of an answer to the event loop that draws; runs in the computing thread."""
        if isinstance(event, Progress):
            now = time.monotonic()
            if now - self._reported < PROGRESS_SECONDS:
                return
            self._reported = now
        if not self._closed:
            self._document.add_next_tick_callback(partial(self._show, event))

    def _show(self, event: Event) -> None:
        """Draw a part of an answer."""
        if isinstance(event, Curves):
            self._curves = event
            self._plots.show(event)
            self._code.text = event.knobs.call()
            self._say(event)
        elif isinstance(event, Picture):
            self._map.show(event)
        elif isinstance(event, Progress):
            if self._curves is not None:
                self._say(self._curves, event)
        elif not self._controls.wrong:
            self._refuse(event.reason)

    def _say(self, curves: Curves, progress: Progress | None = None) -> None:
        """Say how the run ended or how far it is, and what the theory does not cover."""
        if self._controls.wrong:
            return
        text = f"<p>{escape(curves.status)}</p>"
        if not curves.complete:
            done, total = (0, curves.knobs.rounds) if progress is None else (
                progress.done, progress.total)  # fmt: skip
            text = (
                f'<p>The run is in round {done} of {total}. <progress max="{total}" '
                f'value="{done}"></progress></p>'
            )
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in curves.notes)
        self._message.text = f'<div role="status">{text}{notes}</div>'

    def _refuse(self, reason: str) -> None:
        """Say why the setting has no run; the curves of the last setting that has one remain."""
        self._message.text = (
            f'<div role="alert"><p class="wrong">{escape(reason)}</p><p class="soft">The curves '
            "are those of the last setting that has a run.</p></div>"
        )

    def _save(self, kind: str) -> None:
        """Make a file in a thread, since a figure takes seconds, and send it to the browser."""
        curves = self._curves
        if curves is None:
            return

        def make() -> None:
            try:
                body = as_csv(curves).encode() if kind == "csv" else as_figure(curves, kind)
            except ImportError as error:
                self._publish(Refused(reason=str(error)))
                return
            data = {"name": [f"metaspan.{kind}"], "type": [TYPES[kind]],
                    "body": [base64.b64encode(body).decode()]}  # fmt: skip
            if not self._closed:
                self._document.add_next_tick_callback(lambda: self._file.update(data=data))

        threading.Thread(target=make, name="explore file", daemon=True).start()

    def _close(self, _: object) -> None:
        """End the thread when the tab is closed."""
        self._closed = True
        self._worker.close()
