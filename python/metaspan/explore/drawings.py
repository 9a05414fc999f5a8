r"""The plots of the explorer: curves against rounds, and the phase diagram."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.types import F64
from .answer import Picture
from .export import positive
from .knobs import RECORDS, Knobs
from .phase_map import COLUMNS, RANGES, ROWS, snap
from .point import Curves

if TYPE_CHECKING:
    from bokeh.models import CustomJS, LegendItem, Model

HEIGHTS = {"dist": 345, "heads": 290, "singular": 290, "map": 285}
DARK = {"#0072B2": "#56B4E9", "#009E73": "#3CCFA2", "#D55E00": "#FF9457", "#595959": "#B4BCC6"}
INK, SOFT, LINE = ("#333333", "#D5DAE0"), ("#59636E", "#9AA5B1"), ("#E3E6EA", "#2A313A")
BLUE, GREEN, ORANGE, GREY = DARK
# Records of each plot: (name, label, colour).
PANELS = {
    "dist": (("dist", "run", BLUE),),
    "heads": (
        ("diversity_max", "largest eigenvalue", ORANGE),
        ("diversity_min", "smallest eigenvalue", BLUE),
        ("w_norm", "length of w", GREEN),
    ),
    "singular": (
        ("sigma_max", "largest of B", ORANGE),
        ("sigma_min", "smallest of B", BLUE),
        ("perp_norm", "largest off the truth", GREEN),
    ),
}
LINES = {"dist": ("floor", "rate"), "singular": ("fading",)}
LABELS = {"floor": "floor (59)", "rate": "rate (22)", "fading": "fading (23)"}
DASHES = {"floor": [2, 4], "rate": [8, 4], "fading": [2, 4]}
LEAST_COLOR, DIVERGED = 1e-3, ("#D9D9D9", "#3A414A")
AXIS_LABELS = {"alpha": "\u03b1", "beta": "\u03b2", "m_in": "m_in", "n": "n"}


class Theme:
    r"""Colours of models that differ between a light and a dark page."""

    def __init__(self) -> None:
        self._models: list[Model] = []
        self._names: list[str] = []
        self._light: list[str] = []
        self._dark: list[str] = []

    def add(self, model: Model, colors: tuple[str, str], *names: str) -> None:
        r"""Give properties of a model a colour for light pages and one for dark pages."""
        for name in names:
            setattr(model, name, colors[0])
            self._models.append(model)
            self._names.append(name)
            self._light.append(colors[0])
            self._dark.append(colors[1])

    def script(self) -> CustomJS:
        r"""Return the script that applies the colours, now and when the reader's system changes."""
        from bokeh.models import CustomJS  # noqa: PLC0415

        arguments = {"models": self._models, "names": self._names}
        return CustomJS(
            args={**arguments, "light": self._light, "dark": self._dark},
            code="""
                const dark_page = window.matchMedia("(prefers-color-scheme: dark)")
                const apply = () => {
                  const colors = dark_page.matches ? dark : light
                  models.forEach((m, i) => m.setv({[names[i]]: colors[i]}, {sync: false}))
                }
                apply()
                dark_page.addEventListener("change", apply)
            """,
        )


class CurvePlots:
    r"""The plots of records against rounds.

    Parameters
    ----------
    theme : Theme
        Takes the colours.

    Attributes
    ----------
    source : bokeh.models.ColumnDataSource
        The columns of all curves.
    plots : dict of str to bokeh figure
        The plots by name.
    """

    def __init__(self, theme: Theme) -> None:
        from bokeh.models import ColumnDataSource, Range1d  # noqa: PLC0415

        self.source = ColumnDataSource(data=self._columns(None), name="curves")
        self._items: dict[str, LegendItem] = {}
        self._limits: list[LegendItem] = []
        self._range = Range1d(0, 1)
        self.plots: dict[str, Any] = {name: self._plot(name, theme) for name in PANELS}

    def show(self, curves: Curves) -> None:
        r"""Draw the curves of a point."""
        self.source.data = self._columns(curves)
        self._range.end = max(curves.knobs.rounds, 1)
        for item in self._limits:
            item.visible = bool(curves.limit)
        for name, item in self._items.items():
            item.visible = getattr(curves, name) is not None

    def _columns(self, curves: Curves | None) -> dict[str, Any]:
        """Return the columns of the curves, with NaN for lines that do not exist."""
        if curves is None:
            names = ("round", *RECORDS, *(f"limit_{name}" for name in RECORDS), *LABELS)
            return {name: np.zeros(0) for name in names}
        unknown = np.full(curves.rounds.size, np.nan)
        floor = unknown if curves.floor is None else np.full(curves.rounds.size, curves.floor)
        columns = {"round": curves.rounds.astype(np.float64), "floor": floor}
        columns |= {name: positive(curves.values[name]) for name in RECORDS}
        columns |= {f"limit_{n}": positive(curves.limit.get(n, unknown)) for n in RECORDS}
        columns["rate"] = unknown if curves.rate is None else positive(curves.rate)
        columns["fading"] = unknown if curves.fading is None else positive(curves.fading)
        return columns

    def _plot(self, name: str, theme: Theme) -> Any:
        """Make a plot with the curves of one panel."""
        from bokeh.models import HoverTool, Legend, LegendItem, LogTicker  # noqa: PLC0415
        from bokeh.plotting import figure  # noqa: PLC0415

        plot = figure(
            height=HEIGHTS[name], sizing_mode="stretch_width", y_axis_type="log",
            x_range=self._range, tools="xpan,xwheel_zoom,box_zoom,reset,save", active_scroll=None,
            active_drag=None, toolbar_location="above", name=f"plot_{name}",
        )  # fmt: skip
        items, bounding = [], []
        for record, label, color in PANELS[name]:
            run = plot.line("round", record, source=self.source, line_width=2)
            limit = plot.line(
                "round", f"limit_{record}", source=self.source, line_width=1.6, line_dash=[7, 3]
            )
            theme.add(run.glyph, (color, DARK[color]), "line_color")
            shade = GREY if len(PANELS[name]) == 1 else color
            theme.add(limit.glyph, (shade, DARK[shade]), "line_color")
            items.append(LegendItem(label=label, renderers=[run]))
            bounding += [run, limit]
            if record == PANELS[name][0][0]:
                self._limits.append(LegendItem(label="limit (55)", renderers=[limit]))
            shown = (f"@{record}", f"@limit_{record}")  # also values that four decimals would hide
            plot.add_tools(HoverTool(
                renderers=[run], mode="vline", visible=False,
                formatters=dict.fromkeys(shown, "printf"),
                tooltips=[("round", "@round{0}"), (label, f"{shown[0]}{{%.4g}}"),
                          ("limit", f"{shown[1]}{{%.4g}}")],
            ))  # fmt: skip
        items.append(self._limits[-1])
        for line in LINES.get(name, ()):
            drawn = plot.line(
                "round", line, source=self.source, line_width=1.6, line_dash=DASHES[line]
            )
            theme.add(drawn.glyph, (GREY, DARK[GREY]), "line_color")
            self._items[line] = LegendItem(label=LABELS[line], renderers=[drawn])
            items.append(self._items[line])
            bounding += [drawn] if line == "floor" else []
        plot.y_range.renderers = bounding
        plot.add_layout(Legend(items=items, orientation="horizontal"), "below")
        plot.xaxis.axis_label = "round"
        plot.yaxis.ticker = LogTicker(mantissas=[1, 2, 5])
        plot.toolbar.logo = None
        plot.toolbar.autohide = True
        style(plot, theme)
        return plot


class MapPlot:
    r"""The phase diagram.

    Parameters
    ----------
    theme : Theme
        Takes the colours.
    clicked : callable
        Called with the names and the values of the two knobs at the place that was clicked.

    Attributes
    ----------
    plot : bokeh figure
        The plot.
    about : bokeh.models.Div
        What the colours mean.
    """

    def __init__(self, theme: Theme, clicked: Callable[[dict[str, int | float]], object]) -> None:
        from bokeh.models import ColorBar, ColumnDataSource, Div, LogColorMapper  # noqa: PLC0415
        from bokeh.palettes import Viridis256  # noqa: PLC0415
        from bokeh.plotting import figure  # noqa: PLC0415

        self._axes = ("alpha", "beta")
        self._clicked = clicked
        self.plot: Any = figure(
            height=HEIGHTS["map"], sizing_mode="stretch_width",
            x_axis_type="log", y_axis_type="log", x_range=(0.1, 1), y_range=(0.1, 1),
            tools="save", toolbar_location=None, name="plot_map",
        )  # fmt: skip
        self._cells = ColumnDataSource(data=self._image(np.full((ROWS, COLUMNS), np.nan)))
        self._point = ColumnDataSource(data={"x": [], "y": []}, name="point")
        mapper = LogColorMapper(
            palette=Viridis256, low=LEAST_COLOR, high=1.0, nan_color="rgba(0, 0, 0, 0)"
        )
        theme.add(mapper, DIVERGED, "high_color")
        self.plot.image("image", "x", "y", "dw", "dh", source=self._cells, color_mapper=mapper)
        self.plot.scatter(
            "x", "y", source=self._point, size=13, marker="circle", fill_color="#FFFFFF",
            line_color="#D55E00", line_width=3,
        )  # fmt: skip
        bar = ColorBar(color_mapper=mapper, width=9, title="dist", background_fill_alpha=0)
        theme.add(bar, INK, "title_text_color", "major_label_text_color")
        bar.major_tick_line_color = bar.bar_line_color = None
        self.plot.add_layout(bar, "right")
        self.plot.on_event("tap", self._tap)
        style(self.plot, theme)
        self.about = Div(text="", name="map_text", sizing_mode="stretch_width", margin=(4, 0, 0, 0),
                         styles={"color": "var(--soft)", "font-size": "12.5px"})  # fmt: skip

    def place(self, knobs: Knobs, axes: tuple[str, str]) -> None:
        r"""Mark the place of the knobs, on the given axes."""
        x, y = axes
        if axes != self._axes or self.plot.xaxis[0].axis_label is None:
            self._axes = axes
            self._cells.data = self._image(np.full((ROWS, COLUMNS), np.nan))
            for scale, name in ((self.plot.x_range, x), (self.plot.y_range, y)):
                scale.start, scale.end = RANGES[name]
            self.plot.xaxis.axis_label, self.plot.yaxis.axis_label = AXIS_LABELS[x], AXIS_LABELS[y]
        at = (getattr(knobs, x), getattr(knobs, y))
        inside = all(value is not None for value in at)
        self._point.data = {"x": [at[0]], "y": [at[1]]} if inside else {"x": [], "y": []}

    def show(self, picture: Picture) -> None:
        r"""Draw the cells that are computed."""
        plan = picture.plan
        if (plan.x, plan.y) != self._axes:
            return
        self._cells.data = self._image(picture.values)
        if plan.kind == "floor":
            text = "Colour: the floor (59) at which dist levels off, from theory."
        else:
            text = f"Colour: dist after {plan.rounds} rounds of a run in each cell ({plan.reason})."
        more = "" if picture.complete else " The diagram is still being computed."
        self.about.text = f"{text} Grey: runs diverge. Click to run a point.{more}"

    def _image(self, values: F64) -> dict[str, Any]:
        """Return the columns of the image that fills the axes."""
        (x0, x1), (y0, y1) = (RANGES[name] for name in self._axes)
        return {"image": [values], "x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}

    def _tap(self, event: Any) -> None:
        """Report the knobs at the place that was clicked."""
        x, y = self._axes
        self._clicked({x: snap(x, float(event.x)), y: snap(y, float(event.y))})


def style(plot: Any, theme: Theme) -> None:
    r"""Give a plot the look of the page."""
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.min_border_right = 12
    for axis in plot.axis:
        theme.add(axis, INK, "axis_label_text_color", "major_label_text_color")
        theme.add(axis, SOFT, "axis_line_color", "major_tick_line_color")
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
    for grid in plot.grid:
        theme.add(grid, LINE, "grid_line_color")
    for legend in plot.legend:
        theme.add(legend, INK, "label_text_color")
        legend.background_fill_alpha = 0
        legend.border_line_color = None
        legend.label_text_font_size = "12px"
        legend.margin = legend.padding = 2
        legend.spacing = 12
        legend.glyph_width = 22
        legend.click_policy = "hide"
        legend.ncols = 4 if plot.name == "plot_dist" else 2
