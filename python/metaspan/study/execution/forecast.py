r"""Predicts the time and the memory of a study before any of its runs starts."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..._support.memory import size_text
from ..._support.numbers import rounded
from ...config.fit_config import FitConfig
from ...runs.estimate import needs, needs_of_fit
from ..design.cells import Cell, configure_cell
from ..design.spec import Spec
from .plan import make_plan
from .progress import duration
from .store import RunId

HOUR = 3600.0
LONGEST = 40  # most characters of a varied value


@dataclass(frozen=True, kw_only=True)
class StudyEstimate:
    r"""Predicted time and memory of the remaining runs of a study; ``print`` shows them as lines.

    Parameters
    ----------
    name : str
        Name of the study's folder.
    cells, runs, left : int
        Numbers of cells, of all runs, and of runs that have no row yet.
    impossible : int
        Number of remaining runs whose arguments `train` refuses; these take no time.
    reason : str
        The first reason for which `train` refuses arguments; empty if there is none.
    core_hours : float
        Time of all remaining runs, in hours, times the number of threads of a run.
    processes, threads : int
        Number of processes, and number of threads of a run.
    seconds : float
        Time until the last run ends, if the processes do the jobs in the order of `Study.run`.
    longest : float
        Time of the longest single run in seconds, which no number of processes shortens.
    memory_bytes : int
        Memory of the largest call of `train` or `fit` in one process, besides the package itself. A
        call does several short runs of one cell together.
    largest : str
        Varied values of the cell whose call needs the most memory.
    fits : int
        Number of cells that are fits by estimators. Their time is that of a typical number of
        iterations, because the samples determine when a fit converges.
    """

    name: str
    cells: int
    runs: int
    left: int
    impossible: int
    reason: str
    core_hours: float
    processes: int
    threads: int
    seconds: float
    longest: float
    memory_bytes: int
    largest: str
    fits: int

    def __str__(self) -> str:
        workers = "1 process" if self.processes == 1 else f"{self.processes:,} processes"
        each = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        lines = [
            f"{self.name}: {self.left:,} of {self.runs:,} runs left, {self.cells:,} cells",
            f"  work       {rounded(self.core_hours)} core-hours",
            f"  time       {_time(self.seconds)} in {workers} of {each}; "
            f"the longest run takes {_time(self.longest)}",
        ]
        if self.memory_bytes:
            at = f" ({self.largest})" if self.largest else ""
            memory = f"  memory     {size_text(self.memory_bytes)} for the largest runs{at}"
            if self.processes > 1:
                total = size_text(self.processes * self.memory_bytes)
                memory += f", so at most {total} in {workers}"
            lines.append(memory)
        if self.fits:
            cells = (
                "1 cell that is a fit" if self.fits == 1 else f"{self.fits:,} cells that are fits"
            )
            lines.append(f"  fits       {cells}, timed for a typical number of passes")
        if self.impossible:
            lines.append(f"  refused    {self.impossible:,} x {self.reason}")
        return "\n".join(lines)


def forecast(
    name: str,
    spec: Spec,
    cells: Sequence[Cell],
    done: Collection[RunId],
    suspects: Mapping[RunId, int],
    *,
    processes: int,
    threads: int,
) -> StudyEstimate:
    r"""Predict the time and the memory of the remaining runs of a study.

    Parameters
    ----------
    name : str
        Name of the study's folder.
    spec : Spec
        The study.
    cells : sequence of Cell
        Its cells.
    done : collection of (str, int)
        Runs that have a row.
    suspects : mapping of (str, int) to int
        Runs that may have killed a worker, as for `make_plan`.
    processes, threads : int
        Number of processes, and number of threads of a run.

    Returns
    -------
    StudyEstimate
        The prediction.
    """
    plan = make_plan(
        spec,
        cells,
        done,
        suspects,
        shard=None,
        threads=threads,
        in_process=processes == 1,
        checkpoints=Path(),
    )
    times = [sum(item.seconds for item in job.items) for job in plan.jobs]
    items = [item for job in plan.jobs for item in job.items]
    work = sum(times)
    together: dict[str, range] = {}  # for each cell, the seeds of its largest call of `train`
    for item in items:
        together[item.cell] = max(together.get(item.cell, range(0)), item.seeds, key=len)
    memory, largest, fits = 0, "", 0
    for cell in cells:
        if cell.name not in together:
            continue
        trials = together[cell.name]
        config = configure_cell(cell.arguments, trials=trials, record=spec.records, threads=threads)
        on_cpu = replace(config, device="cpu")
        if isinstance(on_cpu, FitConfig):
            fits += 1
            used = needs_of_fit(on_cpu).memory_bytes
        else:
            used = needs(on_cpu).memory_bytes
        if used > memory:
            memory, largest = used, _describe(cell)
    return StudyEstimate(
        name=name,
        cells=len(cells),
        runs=len(cells) * len(spec.seeds),
        left=plan.runs,
        impossible=len(plan.impossible),
        reason=str(plan.impossible[0]["error"]) if plan.impossible else "",
        core_hours=work * threads / HOUR,
        processes=processes,
        threads=threads,
        seconds=schedule(times, processes),
        longest=max((item.seconds / len(item.seeds) for item in items), default=0.0),
        memory_bytes=memory,
        largest=largest,
        fits=fits,
    )


def schedule(times: Sequence[float], processes: int) -> float:
    r"""Return the time at which the last job ends if each process takes the next job when free.

    Parameters
    ----------
    times : sequence of float
        Seconds of the jobs, in the order in which they start.
    processes : int
        Number of processes.

    Returns
    -------
    float
        The time; 0 if there are no jobs.

    Examples
    --------
    >>> schedule([3.0, 2.0, 2.0, 1.0], 2)
    4.0
    """
    free = [0.0] * max(1, min(processes, len(times)))
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _describe(cell: Cell) -> str:
    """Return the varied values of a cell as text; long values are cut."""
    texts = (
        f"{name} = {value:,}" if type(value) is int else f"{name} = {value}"
        for name, value in cell.values.items()
    )
    return ", ".join(
        text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..." for text in texts
    )


def _time(seconds: float) -> str:
    """Format a duration; short ones in seconds with two digits."""
    return f"{rounded(seconds, 2)} s" if seconds < 10 else duration(seconds)
