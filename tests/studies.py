"""Small studies for tests, and readers of the rows in their folders."""

import json
import os
from contextlib import suppress

import metaspan as ms

# A study that takes some tens of milliseconds: 24 runs in 8 cells.
SMALL = {
    "base": dict(k=2, noise=0.1, rounds=40, n=4, stop=None),
    "grid": dict(d=[10, 20], method=["anil", ms.MAML(alpha=0.05)], m_in=[5, 10], m_out="m_in"),
    "seeds": 3,
    "measure": ("dist", "w_norm"),
}


def table(study):
    """Return the table without its column of measured times."""
    return study.table().drop(columns="seconds", errors="ignore")


def lines(study):
    """Read all rows of a study, file by file; skip incomplete lines and records of dead workers."""
    found = []
    for path in sorted((study.folder / "rows").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
                if "died" in found[-1]:  # not a row: runs under way when a worker died
                    found.pop()
    return found


def keys(study):
    """Return the run (cell, seed) of every row, in the order of `lines`."""
    return [(row["cell"], row["seed"]) for row in lines(study)]


def runs(study):
    """Return all runs (cell, seed) of a study."""
    return [(cell.name, seed) for cell in study.cells for seed in study.spec.seeds]


def deadly(result):
    """Measure a result, but end the process if the dimension has one particular value."""
    if result.config.tasks.d == 60:
        os._exit(1)
    return 1.0
