r"""Work that goes to a process: cells in, rows out."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..._support import signals
from ...build import version_and_level
from ...config.options import Checkpoint
from ...runs.result import Result
from ...runs.train import run
from ..design.cells import configure_cell, encode_value
from ..design.measures import Measure
from .store import FAILED, Key, Row

INLINE = 64  # numbers of an array that a row holds; study.json has all


@dataclass(frozen=True, kw_only=True)
class Item:
    r"""Seeds of a cell that run in one call.

    Parameters
    ----------
    cell : str
        Name of the cell.
    values, arguments : mapping of str to object
        Those of the cell.
    seeds : range
        Numbers of the trials.
    seconds : float
        What it is expected to take.
    checkpoint : str or None
        File from which it goes on, for a run that takes long.
    """

    cell: str
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]
    seeds: range
    seconds: float
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    r"""Items that go to a process together, and what is wanted of them.

    Parameters
    ----------
    items : tuple of Item
        The runs.
    measures : tuple of Measure
        What is measured at the end of each.
    records, keep : tuple of str
        What is recorded, and which of it is kept.
    keep_rows : int
        Rows of the trace that are kept, at most.
    threads : int or None
        Threads of a run; None: all CPUs that the process may use.
    alone : bool
        Whether nothing else may run beside it: a worker has died on it, or on its neighbours.
    """

    items: tuple[Item, ...]
    measures: tuple[Measure, ...]
    records: tuple[str, ...]
    keep: tuple[str, ...]
    keep_rows: int
    threads: int | None
    alone: bool = False

    @property
    def runs(self) -> list[Key]:
        """Cells and seeds."""
        return [(item.cell, seed) for item in self.items for seed in item.seeds]


@dataclass(frozen=True, kw_only=True)
class JobResult:
    r"""What a job gives.

    Parameters
    ----------
    rows : list of dict
        A row per cell and seed that ended.
    interrupted : bool
        Whether Ctrl-C cut the job.
    """

    rows: list[Row]
    interrupted: bool


def work(job: Job) -> JobResult:
    r"""Do the runs of a job; a run that cannot be done is a row that says why.

    What the handler of a signal raises meanwhile is no failure of a run: it comes out of here.

    Parameters
    ----------
    job : Job
        The runs.

    Returns
    -------
    JobResult
        Their rows, in the order of the items.
    """
    rows: list[Row] = []
    try:
        with _listening(), signals.mark_handlers():
            for item in job.items:
                rows += _rows(job, item)
    except KeyboardInterrupt as error:
        signals.reraise_signal(error)
        return JobResult(rows=rows, interrupted=True)
    return JobResult(rows=rows, interrupted=False)


def failure_rows(item: Item, error: BaseException) -> list[Row]:
    """Rows of seeds that could not run."""
    said = " ".join(str(error).split())
    return [
        {**_head(item, seed), "status": FAILED, "error": f"{type(error).__name__}: {said}"}
        for seed in item.seeds
    ]


def _rows(job: Job, item: Item) -> list[Row]:
    try:
        config = configure_cell(
            item.arguments,
            trials=item.seeds,
            record=job.records,
            threads=job.threads,
            checkpoint=item.checkpoint and Checkpoint(item.checkpoint),
        )
        result = run(config)
    except Exception as error:  # a bad value, no memory, a user's law: all are rows
        signals.reraise_signal(error)
        if item.checkpoint and Path(item.checkpoint).name in str(error):
            Path(item.checkpoint).unlink(missing_ok=True)  # damaged: the run begins again
            return _rows(job, replace(item, checkpoint=None))
        if len(item.seeds) == 1:
            return failure_rows(item, error)
        alone = [replace(item, seeds=range(seed, seed + 1)) for seed in item.seeds]
        return [row for one in alone for row in _rows(job, one)]
    share = {name: value / len(item.seeds) for name, value in result.timings.items()}
    rows: list[Row] = []
    for seed in item.seeds:
        try:
            rows.append(_row(job, item, seed, replace(result.trial(seed), timings=share)))
        except Exception as error:  # a measure
            signals.reraise_signal(error)
            rows += failure_rows(replace(item, seeds=range(seed, seed + 1)), error)
    return rows


def _row(job: Job, item: Item, seed: int, result: Result) -> Row:
    """What is kept of one trial."""
    outcome = result.outcomes[0]
    row = {
        **_head(item, seed),
        "status": outcome.status.name.lower(),
        "round": outcome.round,
        "seconds": result.timings["total"],
        "measures": {one.name: number(one(result)) for one in job.measures},
    }
    if job.keep:
        rounds = result.trace["round"]
        last, count = rounds.size - 1, min(rounds.size, job.keep_rows)
        chosen = np.unique(np.linspace(0, last, count).round().astype(int))
        row["trace"] = {"round": rounds[chosen].tolist()} | {
            name: [number(value) for value in result.trace[name][chosen]] for name in job.keep
        }
    return row


def _head(item: Item, seed: int) -> Row:
    """Which run a row is of, and when and by what it was made."""
    return {
        "cell": item.cell,
        "seed": seed,
        "values": encode_value(item.values, INLINE),
        "by": version_and_level(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def number(value: Any) -> float | str | None:
    """A number as every reader of JSON takes it: null for NaN, "inf" and "-inf"."""
    found = float(value)
    if math.isnan(found):
        return None
    return found if math.isfinite(found) else ("inf" if found > 0 else "-inf")


_waits_quietly = False  # whether this process is a worker that ignores Ctrl-C between jobs


def listen() -> None:
    """From now on Ctrl-C ends jobs, in a worker that ignores it between them."""
    global _waits_quietly  # noqa: PLW0603
    _waits_quietly = True


@contextmanager
def _listening() -> Iterator[None]:
    """Ctrl-C within the block, in a worker that ignores it while it waits."""
    if not _waits_quietly or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def runs_of(seeds: Sequence[int]) -> list[range]:
    """Ascending numbers as ranges without gaps."""
    found: list[range] = []
    for seed in seeds:
        if found and seed == found[-1].stop:
            found[-1] = range(found[-1].start, seed + 1)
        else:
            found.append(range(seed, seed + 1))
    return found
