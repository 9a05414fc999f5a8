r"""Where a study stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .store import FAILED, Found, Row


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    r"""Where a study stands; printing it reports.

    Parameters
    ----------
    name : str
        Of the study's folder.
    cells, runs, done : int
        Points of the grid, runs in all (a run per cell and seed), and those that have a row.
    statuses : mapping of str to int
        How many runs ended how.
    errors : mapping of str to int
        What failed runs said, the most frequent first.
    versions : mapping of str to int
        Versions and instruction-set levels that made the rows.
    seconds : float
        Time that the finished runs took, in all.
    last : str or None
        When the last row was written, UTC.
    damaged : int
        Lines of the files that are no rows: their runs are done again.
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
        lines += [f"  failed     {count} x {said}" for said, count in [*self.errors.items()][:5]]
        if self.damaged:
            lines.append(f"  damaged    {self.damaged} lines, whose runs will be done again")
        return "\n".join(lines)


def status_of(
    name: str, cells: int, runs: int, rows: Mapping[Any, Mapping[str, Any]], found: Found
) -> StudyStatus:
    """Count the rows of a study."""
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
        damaged=found.damaged,
    )


def failures_of(rows: Iterable[Row]) -> int:
    """Rows of runs that failed or diverged."""
    return sum(row["status"] in (FAILED, "diverged") for row in rows)
