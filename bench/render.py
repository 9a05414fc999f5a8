"""Renders the figures of a run as a page: `python -m bench.render FIGURES.jsonl FOLDER`.

The command writes `bench.md` into the folder, and `roofline.png`, `peers.png` and `collapsed.png`
into its folder `figures`.
If a figure was measured more than once, the last value counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import against, roofline, scaling
from bench.harness import show

Record = dict[str, Any]

METHODS = ("fo-anil", "anil", "fo-maml", "maml")
CONFIG = ("instruction_set", "compiler", "eigen", "python", "numpy")
LIMITS = {
    "read": "read, GB/s",
    "copy": "copy, GB/s",
    "cached": "read from the cache, GB/s",
    "gemm_f64": "gemm float64, GFLOP/s",
    "gemm_f32": "gemm float32, GFLOP/s",
}
TITLES = {
    "import": "Import",
    "calls": "Single calls",
    "population": "Training on population losses",
    "limit": "Rounds of the limit",
    "arrays": "Rounds on arrays",
    "neighbours": "Rounds beside busy processes",
    "disk": "Features on disk",
    "sparse": "Sweeps over sparse samples",
    "collapsed": "Rounds on fresh samples, in law",
    "family": "Rounds of the other methods",
    "sampled": "Rounds on fresh samples, at full dimension",
    "estimators": "Estimators",
    "estimators in law": "Estimators on samples in law",
    "studies": "Studies",
    "people": "Fits of `SharedRepresentation`",
    "explore": "The explorer",
    "mpi": "Runs that ranks share",
    "estimate": "`estimate` beside the runs that it predicts",
    "isa": "Instruction-set levels",
}
INTRODUCTION = """\
# Benchmarks

`python -m bench.render` writes this page from the figures of `python -m bench --json`.
`bench/__init__.py` says how the figures are taken.
Each figure is shown beside another one of the same run: a peer, a target, or the *floor*.
The floor is the least time that the measured limits of the machine allow for the bytes that a \
route must read, the products that it must compute, or the random numbers that it must draw.
`!` marks figures that were taken while other processes used the cores.
`~` marks figures that are extrapolated from a part of a round."""
QUICK = "These figures are of a run with `--quick`: three samples each, at smaller sizes."
ROOFLINE = """\
![Speed against arithmetic per byte, with the limits of the machine](figures/roofline.png)

*Every route at every size.
The closer a point is to the line above it, the closer its route is to its floor.
Bytes and flops are those of the floor.
Open markers: FO-ANIL; filled markers: MAML.*"""


PEERS = "![Time of a round in NumPy, JAX and PyTorch, metaspan = 1](figures/peers.png)"
COLLAPSED = """\
![Time of a round against n, a straight line, and against d, level](figures/collapsed.png)"""


def read(path: Path) -> list[Record]:
    """Read the figures in a file; if several figures have the same name, keep the last."""
    last: dict[tuple[str, str, str], Record] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        last[record["bench"], record["case"], record["who"]] = record
    return list(last.values())


def limits(records: list[Record]) -> dict[int, dict[str, float]]:
    """For each number of cores, return the best measurement of each limit of the machine."""
    by_cores: dict[int, dict[str, float]] = defaultdict(dict)
    for record in records:
        best = by_cores[record["cores"]]
        for name, value in record["limits"].items():
            best[name] = max(value, best.get(name, 0.0))
    return dict(sorted(by_cores.items()))


def page(records: list[Record]) -> str:
    parts = [INTRODUCTION, "## The machine", _machine(records)]
    for bench, title in TITLES.items():
        of_bench = [record for record in records if record["bench"] == bench]
        if of_bench:
            quick = [QUICK] * any(record["quick"] for record in of_bench)
            parts += [f"## {title}", *quick, *_drawing(bench, of_bench), *_tables(of_bench)]
    return "\n\n".join(parts) + "\n"


def _drawing(bench: str, records: list[Record]) -> list[str]:
    """Return the lines of a section that show its drawing and the caption."""
    if bench == "arrays":
        compared = against.words(records)
        return [*([PEERS, compared] if compared else []), ROOFLINE]
    caption = scaling.words(records) if bench == "collapsed" else ""
    return [COLLAPSED, caption] if caption else []


def _machine(records: list[Record]) -> str:
    config = records[-1]["config"]
    build = ", ".join(f"{name.replace('_', ' ')} {config[name]}" for name in CONFIG)
    rows = [
        [str(cores), *(show(best[name]) for name in LIMITS)]
        for cores, best in limits(records).items()
    ]
    table = _table(["cores", *LIMITS.values()], rows)
    return f"The processor: {records[-1]['processor']}.\n\n{table}\n\nThe build: {build}."


def _tables(records: list[Record]) -> list[str]:
    """Make a table for each case, with a column for each method."""
    cases: dict[str, dict[tuple[str, str], Record]] = defaultdict(dict)
    for record in records:
        method, _, rest = record["case"].partition(", ")
        if method not in METHODS:
            method, rest = "", record["case"]
        cases[rest][record["who"], method] = record
    return [_case(rest, cells) for rest, cells in cases.items()]


def _case(title: str, cells: dict[tuple[str, str], Record]) -> str:
    columns = list(dict.fromkeys(method for _, method in cells))
    notes: dict[str, int] = {}
    rows = [
        [who, *(_cell(cells.get((who, method)), notes) for method in columns)]
        for who in dict.fromkeys(who for who, _ in cells)
    ]
    below = [f"{number}. {note}" for note, number in notes.items()]
    return "\n\n".join(
        [f"**{title}**", _table(["", *columns], rows), *(["\n".join(below)] * bool(below))]
    )


def _cell(record: Record | None, notes: dict[str, int]) -> str:
    if record is None or record["value"] is None:
        return ""
    mark = "" if record["quiet"] else "!"
    text = f"{'~' if record['estimated'] else ''}{show(record['value'])} {record['unit']}{mark}"
    if record["target"] is not None:
        verdict = "target" if record["margin"] >= 1 else "short of"
        text = f"{text} ({verdict} {show(record['target'])})"
    if record["floor"] is not None:
        text += f", {record['value'] / record['floor']:.2g} floors"
    note = record["note"].partition(";")[0]
    if note:
        text += f" [{notes.setdefault(note, len(notes) + 1)}]"
    return text


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.render", description=__doc__)
    parser.add_argument("figures", type=Path, help="what `python -m bench --json` wrote")
    parser.add_argument("folder", type=Path, help="where bench.md and figures/ go")
    arguments = parser.parse_args()
    records = read(arguments.figures)
    if not records:
        parser.error(f"{arguments.figures} holds no figures")
    (arguments.folder / "figures").mkdir(parents=True, exist_ok=True)
    (arguments.folder / "bench.md").write_text(page(records), encoding="utf-8")
    cores, best = max(limits(records).items())
    points = [record for record in records if record["flops"] and record["cores"] == cores]
    roofline.draw(points, best, arguments.folder / "figures" / "roofline.png")
    collapsed = [record for record in records if record["bench"] == "collapsed"]
    against.draw(records, arguments.folder / "figures" / "peers.png")
    scaling.draw(collapsed, arguments.folder / "figures" / "collapsed.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
