r"""Counts the runs of a study by how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .store import FAILED, Row, StoredRows


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    r"""Progress of a study: counts of its runs; ``print`` shows them as lines.

    Parameters
    ----------
    name : str
        Name of the study's folder.
    cells, runs, done : int
        Number of cells, of runs (one for each cell and seed), and of runs that have a row.
    statuses : mapping of str to int
        Number of runs by status: finished, converged, diverged, underflow, not_converged or failed.
    errors : mapping of str to int
        Number of failed runs by error message, the most frequent first.
    versions : mapping of str to int
        Number of rows by the version of the package and the instruction-set level that computed
        them.
    seconds : float
        Sum of the wall-clock times of all runs that ended without an error.
    last : str or None
        Time (UTC) at which the last row was written.
    damaged : int
        Number of lines, in the files of rows, that are not valid rows. The runs of these lines are
        done again.
    """

    name: str
    cells: int
    runs: int
    done: int
    statuses: Mapping[str, int]
    errors: Mapping[str, int]
    versions: Mapping[str, int]
    seconds: float
    last: str | None
    damaged: int

    @property
    def complete(self) -> bool:
        """Whether every run has a row."""
        return self.done == self.runs

    def __str__(self) -> str:
        share = 100 * self.done // max(self.runs, 1)
        ends = ", ".join(f"{count} {name}" for name, count in self.statuses.items())
        lines = [
            f"{self.name}: {self.done} of {self.runs} runs ({share} %), {self.cells} cells",
            f"  ended      {ends or 'none'}",
        ]
        if self.done:
            lines += [
                f"  run time   {self.seconds:.3g} s in all",
                f"  last row   {self.last}",
                f"  made by    {', '.join(f'metaspan {name}' for name in self.versions)}",
            ]
        lines += [
            f"  failed     {count} x {message}" for message, count in [*self.errors.items()][:5]
        ]
        if self.damaged:
            lines.append(f"  damaged    {self.damaged} lines, whose runs will be done again")
        return "\n".join(lines)


def status_of(
    name: str, cells: int, runs: int, rows: Mapping[Any, Mapping[str, Any]], stored: StoredRows
) -> StudyStatus:
    """Count the rows of a study by status, error and version."""
    ends = Counter(row["status"] for row in rows.values())
    errors = Counter(row.get("error", "") for row in rows.values() if row["status"] == FAILED)
    return StudyStatus(
        name=name,
        cells=cells,
        runs=runs,
        done=len(rows),
        statuses=dict(sorted(ends.items())),
        errors=dict(errors.most_common()),
        versions=dict(Counter(row["by"] for row in rows.values())),
        seconds=float(sum(row.get("seconds", 0.0) for row in rows.values())),
        last=max((row["at"] for row in rows.values()), default=None),
        damaged=stored.damaged,
    )


def failures_of(rows: Iterable[Row]) -> int:
    """Count the rows of runs that failed or diverged."""
    return sum(row["status"] in (FAILED, "diverged") for row in rows)
