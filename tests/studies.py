"""Small studies that tests run, and what their folders hold."""

import json
import os
from contextlib import suppress

import metaspan as ms

# A study of some tens of milliseconds: 24 runs in 8 cells.
SMALL = {
    "base": dict(k=2, noise=0.1, rounds=40, n=4, stop=None),
    "grid": dict(d=[10, 20], method=["anil", ms.MAML(alpha=0.05)], m_in=[5, 10], m_out="m_in"),
    "seeds": 3,
    "measure": ("dist", "w_norm"),
}


def table(study):
    """The table without what a clock says."""
    return study.table().drop(columns="seconds", errors="ignore")


def lines(study):
    """All rows that the files of a study hold, file by file; lines that a kill cut are none."""
    found = []
    for path in sorted((study.folder / "rows").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
                if "died" in found[-1]:  # not a row: what was under way when a worker died
                    found.pop()
    return found


def keys(study):
    """The runs of all rows, in order."""
    return [(row["cell"], row["seed"]) for row in lines(study)]


def runs(study):
    """The runs that a study consists of."""
    return [(cell.name, seed) for cell in study.cells for seed in study.spec.seeds]


def deadly(result):
    """A measure that ends its process at one dimension."""
    if result.config.tasks.d == 60:
        os._exit(1)
    return 1.0
