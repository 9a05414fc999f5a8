"""Draws the time of a collapsed round as a function of n and of d, and writes the caption."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import metaspan as ms

Record = dict[str, Any]
Points = dict[str, list[tuple[float, float, float]]]  # by method: n or d, ms, floor in ms

CASE = re.compile(r"(?P<method>[a-z-]+), a round against (?P<name>[nd]), (?P<fixed>.*), cores: .*")
COLORS = {"fo-anil": "#0072B2", "maml": "#D55E00"}
MARKERS = {"fo-anil": "o", "maml": "s"}
NAMES = {"fo-anil": "FO-ANIL", "maml": "exact MAML"}


def points(records: list[Record], name: str) -> tuple[Points, str]:
    """Return the figures as a function of `name`, which is n or d, and the sizes that are fixed."""
    by_method: Points = {}
    fixed = ""
    for record in records:
        case = CASE.match(record["case"])
        if case is None or case["name"] != name:
            continue
        fixed = case["fixed"]
        at = float(record["who"].partition("=")[2].replace(",", "").replace("10^", "1e"))
        by_method.setdefault(case["method"], []).append((at, record["value"], record["floor"]))
    return {method: sorted(row) for method, row in by_method.items()}, fixed


def words(records: list[Record]) -> str:
    """Return the caption of the drawing, one sentence on a line; "" if there are no figures."""
    against_n, _ = points(records, "n")
    against_d, _ = points(records, "d")
    if not against_n or not against_d:
        return ""
    growth, flat = [], []
    for method in against_n:
        (first, low, _), (last, high, _) = against_n[method][0], against_n[method][-1]
        growth.append(f"{high / low:.0f} ({NAMES[method]})")
        times = [took for _, took, _ in against_d[method]]
        flat.append(f"{max(times) / min(times):.2f} ({NAMES[method]})")
    return (
        "*A round of the collapsed engine.\n"
        f"From n = {first:,.0f} to {last:,.0f}, {last / first:.0f} times as many tasks, it takes "
        f"{' and '.join(growth)} times as long.\n"
        "Over ten orders of magnitude of d the slowest round takes "
        f"{' and '.join(flat)} times as long as the fastest, since d enters as a number of degrees "
        "of freedom alone.\n"
        "The dotted lines are the time to draw the random numbers of a round; the rest is a few "
        "sweeps over them.\n"
        "This holds for Gaussian, Student-t and spherical features: samples of another law, or of "
        "your own, need an engine whose rounds grow with d.*"
    )


def draw(records: list[Record], path: Path) -> bool:
    """Draw the time of a round against n and d on log axes; return whether there were figures."""
    if not words(records):
        return False
    figure, axes = ms.plots.new_axes(2, width=4.0, height=3.2)
    for ax, name in zip(axes, "nd", strict=True):
        rows, fixed = points(records, name)
        ax.set(xscale="log", yscale="log")
        ax.margins(x=0.04)
        for method, row in rows.items():
            at, took, floor = zip(*row, strict=True)
            style = {"color": COLORS[method], "marker": MARKERS[method], "ms": 5, "mec": "white"}
            ax.plot(at, took, label=NAMES[method], lw=1.5, mew=0.7, **style)
            ax.plot(at, floor, color=COLORS[method], lw=1.1, ls=":")
        title = ", ".join(_symbol(part) for part in fixed.split(", "))
        text = {"color": ms.plots.INK, "family": ms.plots.FONT}
        with_math = {**text, "math_fontfamily": "stix", "fontsize": 10.5}
        ax.set_title(title, loc="left", **with_math)
        ax.set_xlabel(f"${name}$", **with_math)
        if name == "n":
            ax.set_ylabel("time of a round (ms)", **with_math)
    low = min(ax.get_ylim()[0] for ax in axes)
    high = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(low, high)
        ax.minorticks_off()
    _legend(axes[0])
    figure.savefig(path, dpi=200)
    return True


def _symbol(part: str) -> str:
    """Format a text such as m_in=25 as mathematics."""
    name, _, value = part.partition("=")
    letter, _, index = name.partition("_")
    base, _, power = value.partition("^")
    symbol = rf"{letter}_{{\mathrm{{{index}}}}}" if index else letter
    return f"${symbol} = {base}{f'^{{{power}}}' if power else ''}$"


def _legend(ax: Any) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415  (the benches run without it)

    handles, labels = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color=ms.plots.INK, lw=1.1, ls=":"))
    labels.append("its random numbers alone")
    ax.legend(
        handles, labels, frameon=False, prop={"family": ms.plots.FONT, "size": 9.5}, loc="best"
    )
