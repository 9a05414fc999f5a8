"""Draws a roofline: speed against flops per byte, with the limits of the machine as lines."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

INK, GREY = "#333333", "#7F7F7F"
COLORS = {  # colours of Okabe and Ito
    "vector route": "#0072B2",
    "gram route": "#D55E00",
    "dual route, setup": "#009E73",
    "dual route, round": "#CC79A7",
}
MARKERS = "osD^v"
FILLED = {"fo-anil": "none", "maml": "full"}
SPAN = (0.12, 4_000)  # flops per byte
POINT = re.compile(r"(?P<method>[a-z-]+), \(d, k, n, m_in, m_out\) = \((?P<size>[^)]*)\)")


def draw(records: list[dict[str, Any]], limits: dict[str, float], path: Path) -> None:
    """Draw a point for each route on data that are new, and lines for memory, cache and gemm."""
    import matplotlib as mpl  # noqa: PLC0415  (the benches run without it)
    from matplotlib.figure import Figure  # noqa: PLC0415

    style = {"font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        ax = figure.add_subplot()
        ax.set(xscale="log", yscale="log", xlim=SPAN)
        ax.set_xlabel("arithmetic per byte of data (flop/byte)")
        ax.set_ylabel("speed (GFLOP/s)")
        ax.spines[["top", "right"]].set_visible(False)
        names = _roofs(ax, limits)
        sizes: dict[str, str] = {}
        for record in records:
            _point(ax, record, sizes)
        _legend(ax, sizes)
        figure.draw_without_rendering()  # fixes the layout, on which the slope of the lines depends
        for name in names:
            name.set_rotation(_angle(ax))
        figure.savefig(path, dpi=200)


def _roofs(ax: Any, limits: dict[str, float]) -> list[Any]:
    """Draw the limits as lines; return the texts at the lines that rise."""
    peak, names = limits["gemm_f64"], []
    for name, rate, dash in (
        ("memory", limits["read"], "-"),
        ("cache", limits["cached"], (0, (5, 2))),
    ):
        ax.plot([SPAN[0], peak / rate], [SPAN[0] * rate, peak], color=INK, lw=1.2, ls=dash)
        text = f"{name}, {rate:.0f} GB/s"
        at = {"textcoords": "offset points", "rotation_mode": "anchor", "ha": "right"}
        end = (peak / rate, peak)
        names.append(ax.annotate(text, end, (-8, -3), color=INK, **at))
    ax.plot([peak / limits["cached"], SPAN[1]], [peak, peak], color=INK, lw=1.2)
    at = {"textcoords": "offset points", "ha": "right", "va": "bottom"}
    ax.annotate(f"gemm, {peak:.0f} GFLOP/s", (SPAN[1], peak), (0, 4), color=INK, **at)
    return names


def _angle(ax: Any) -> float:
    """Return the angle, in degrees, at which a line of slope one rises on the page."""
    (x, y), (there_x, there_y) = ax.transData.transform([(1, 1), (10, 10)])
    return math.degrees(math.atan2(there_y - y, there_x - x))


def _point(ax: Any, record: dict[str, Any], sizes: dict[str, str]) -> None:
    match = POINT.match(record["case"])
    route = record["who"].removeprefix("metaspan, ")
    if match is None or match["method"] not in FILLED or route not in COLORS:
        return
    marker = sizes.setdefault(match["size"], MARKERS[len(sizes) % len(MARKERS)])
    ax.plot(
        record["flops"] / record["bytes"],
        record["flops"] / record["value"] / 1e6,
        marker,
        color=COLORS[route],
        mfc=COLORS[route] if FILLED[match["method"]] == "full" else "white",
        mec="white" if FILLED[match["method"]] == "full" else COLORS[route],
        ms=8 if FILLED[match["method"]] == "full" else 7,
        mew=0.7 if FILLED[match["method"]] == "full" else 1.4,
        zorder=3,
    )


def _legend(ax: Any, sizes: dict[str, str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    def entry(label: str, marker: str, color: str, fill: str = "full") -> Line2D:
        return Line2D([], [], ls="", marker=marker, color=color, fillstyle=fill, label=label)

    def title(label: str) -> Line2D:
        return entry(label, "", GREY)

    entries = [
        *(entry(route, "o", color) for route, color in COLORS.items()),
        title(""),
        title(r"$(d, k, n, m_{\mathrm{in}}, m_{\mathrm{out}})$"),
        *(entry(f"({size})", marker, GREY) for size, marker in sizes.items()),
        title(""),
        *(entry(method, "o", GREY, fill) for method, fill in FILLED.items()),
    ]
    ax.figure.legend(handles=entries, loc="outside right center", frameon=False)
