"""Draws the time of a round on arrays in the peers, metaspan's time = 1, and writes the caption."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import metaspan as ms

Record = dict[str, Any]
Times = dict[str, dict[str, float]]  # by who and method, in ms

CASE = re.compile(r"(?P<method>[a-z-]+), \(d, k, n, m_in, m_out\) = \((?P<size>[^)]*)\), cores: .*")
RATIO = "fastest peer / chosen route"
PEERS = {"NumPy": ("#7F7F7F", "s"), "JAX": ("#D55E00", "^"), "PyTorch": ("#009E73", "D")}
METHODS = {"fo-anil": "FO-ANIL", "anil": "ANIL", "fo-maml": "FO-MAML", "maml": "MAML"}
TICKS = (1, 2, 5, 10, 20, 50, 100)


def multiples(records: list[Record]) -> dict[str, Times]:
    """Return, by size, each peer's time as a multiple of that of the route that metaspan chooses.

    The record of the ratio gives the multiple of the fastest peer; those of the others follow.
    """
    by_size: dict[str, Times] = {}
    for record in records:
        case = CASE.fullmatch(record["case"])
        if case and record["who"] in (*PEERS, RATIO) and record["value"]:
            of_who = by_size.setdefault(case["size"], {}).setdefault(record["who"], {})
            of_who[case["method"]] = record["value"]
    for times in by_size.values():
        ratios = times.pop(RATIO, {})
        for method in METHODS:
            peers = [of_peer for of_peer in times.values() if method in of_peer]
            fastest = min((of_peer[method] for of_peer in peers), default=0.0)
            for of_peer in peers:
                of_peer[method] *= ratios.get(method, 0.0) / fastest
    return {size: times for size, times in by_size.items() if times}


def words(records: list[Record]) -> str:
    """Return the caption of the drawing, one sentence on a line; "" if there are no figures."""
    ratios = [r["value"] for r in records if r["who"] == RATIO and CASE.fullmatch(r["case"])]
    if not ratios or not multiples(records):
        return ""
    return (
        "*A round on arrays in NumPy, JAX and PyTorch, in multiples of the time of the route that "
        "metaspan chooses.\n"
        f"The fastest of the three takes {min(ratios):.1f} to {max(ratios):.1f} times as long as "
        "metaspan.*"
    )


def draw(records: list[Record], path: Path) -> bool:
    """Draw a panel for each size, with one log axis for all; return whether there were figures."""
    by_size = multiples(records)
    if not words(records):
        return False
    figure, axes = ms.plots.new_axes(len(by_size), width=2.4, height=3.0)
    text = {"color": ms.plots.INK, "family": ms.plots.FONT}
    highest = max(
        time for times in by_size.values() for of in times.values() for time in of.values()
    )
    ticks = [tick for tick in TICKS if tick <= highest]
    for ax, (size, times) in zip(axes, by_size.items(), strict=True):
        ax.set(yscale="log", ylim=(0.85, 1.2 * highest))
        ax.axhline(1, color="#0072B2", lw=1.8, label="metaspan")
        for who, (color, marker) in PEERS.items():
            heights = [times.get(who, {}).get(method, float("nan")) for method in METHODS]
            style = {"color": color, "marker": marker, "ms": 6, "mec": "white", "mew": 0.7}
            ax.plot(range(len(METHODS)), heights, ls="none", label=who, **style)
        ax.set_xticks(range(len(METHODS)), METHODS.values(), rotation=35, fontsize=8.5, **text)
        ax.set_yticks(ticks, [str(tick) for tick in ticks], **text)
        ax.minorticks_off()
        ax.margins(x=0.15)
        ax.set_title(_title(size), math_fontfamily="stix", fontsize=9, **text)
    axes[0].set_ylabel("time of a round, metaspan = 1", **text)
    figure.legend(
        *axes[-1].get_legend_handles_labels(),
        loc="outside right center",
        frameon=False,
        prop={"family": ms.plots.FONT, "size": 9},
    )
    figure.savefig(path, dpi=200)
    return True


def _title(size: str) -> str:
    """Format sizes d, k, n, m_in, m_out as two lines of mathematics."""
    d, k, n, m_in, m_out = size.split(", ")
    shown = f"{int(d):,}".replace(",", "{,}")
    return f"$d = {shown}$, $k = {k}$, $n = {n}$\n${m_in} + {m_out}$ samples of a task"
