r"""Does the runs of a job in the current process, and makes a row for each run."""

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
from ...config.fit_config import FitConfig
from ...config.options import Checkpoint
from ...fit import run_fit
from ...runs.outcome import Outcome, Status
from ...runs.result import Result
from ...runs.train import run
from ..design.cells import configure_cell, encode_value
from ..design.measures import Measure
from .store import FAILED, Row, RunId

INLINE = 64  # entries of the largest array in a row; `study.json` holds larger arrays


@dataclass(frozen=True, kw_only=True)
class Item:
    r"""Several seeds of one cell, which run in one call of `train`.

    Parameters
    ----------
    cell : str
        Name of the cell.
    values, arguments : mapping of str to object
        The fields `values` and `arguments` of the cell.
    seeds : range
        The seeds, which `train` receives as trial numbers.
    seconds : float
        Expected time of the call.
    checkpoint : str or None
        Path of the checkpoint if the call is long; otherwise None.
    """

    cell: str
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]
    seeds: range
    seconds: float
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    r"""Items that one process receives together, and settings for making their rows.

    Parameters
    ----------
    items : tuple of Item
        The items.
    measures : tuple of Measure
        Numbers to compute from the result of each run.
    records, keep : tuple of str
        Records that `train` records, and those of them whose traces are kept.
    keep_rows : int
        Largest number of rows of a kept trace.
    threads : int or None
        Threads of a run; None: all CPUs that the process may use.
    alone : bool
        Whether no other job may run at the same time, because this job's run may have killed a
        worker.
    """

    items: tuple[Item, ...]
    measures: tuple[Measure, ...]
    records: tuple[str, ...]
    keep: tuple[str, ...]
    keep_rows: int
    threads: int | None
    alone: bool = False

    @property
    def runs(self) -> list[RunId]:
        """The cell and the seed of every run in the job."""
        return [(item.cell, seed) for item in self.items for seed in item.seeds]


@dataclass(frozen=True, kw_only=True)
class JobResult:
    r"""The rows of a job.

    Parameters
    ----------
    rows : list of dict
        One row for each run that ended.
    interrupted : bool
        Whether Ctrl-C ended the job early.
    """

    rows: list[Row]
    interrupted: bool


def work(job: Job) -> JobResult:
    r"""Run a job; a run that raises an error becomes a row with the status "failed".

    If a signal handler raises an exception, the run has not failed, and the exception is raised
    again.

    Parameters
    ----------
    job : Job
        The job.

    Returns
    -------
    JobResult
        The rows of the runs, in the order of the items of the job.
    """
    rows: list[Row] = []
    try:
        with _interrupts_allowed(), signals.mark_handlers():
            for item in job.items:
                rows += _run_item(job, item)
    except KeyboardInterrupt as error:
        signals.reraise_signal(error)
        return JobResult(rows=rows, interrupted=True)
    return JobResult(rows=rows, interrupted=False)


def failure_rows(item: Item, error: BaseException) -> list[Row]:
    """Make a row with the status "failed" for each seed of an item that raised an error."""
    message = " ".join(str(error).split())
    return [
        {
            **_make_header(item, seed),
            "status": FAILED,
            "error": f"{type(error).__name__}: {message}",
        }
        for seed in item.seeds
    ]


def _run_item(job: Job, item: Item) -> list[Row]:
    r"""Run an item and make the rows of its runs.

    If a call with several seeds fails, each seed runs again in a call of its own, because perhaps
    only one of the seeds fails. If a damaged checkpoint causes the failure, the checkpoint is
    removed and the run starts anew.
    """
    try:
        config = configure_cell(
            item.arguments,
            trials=item.seeds,
            record=job.records,
            threads=job.threads,
            checkpoint=item.checkpoint and Checkpoint(item.checkpoint),
        )
        result = run_fit(config) if isinstance(config, FitConfig) else run(config)
    except Exception as error:  # for example a bad value or a lack of memory
        signals.reraise_signal(error)
        if item.checkpoint and Path(item.checkpoint).name in str(error):
            Path(item.checkpoint).unlink(missing_ok=True)  # the checkpoint is damaged
            return _run_item(job, replace(item, checkpoint=None))
        if len(item.seeds) == 1:
            return failure_rows(item, error)
        alone = [replace(item, seeds=range(seed, seed + 1)) for seed in item.seeds]
        return [row for single in alone for row in _run_item(job, single)]
    share = {name: value / len(item.seeds) for name, value in result.timings.items()}
    rows: list[Row] = []
    for seed in item.seeds:
        try:
            rows.append(_make_row(job, item, seed, replace(result.trial(seed), timings=share)))
        except Exception as error:  # raised by a measure
            signals.reraise_signal(error)
            rows += failure_rows(replace(item, seeds=range(seed, seed + 1)), error)
    return rows


def _make_row(job: Job, item: Item, seed: int, result: Result) -> Row:
    """Make the row of one run."""
    outcome = result.outcomes[0]
    row = {
        **_make_header(item, seed),
        "status": _status_of(outcome),
        "round": outcome.round,
        "seconds": result.timings["total"],
        "measures": {measure.name: encode_number(measure(result)) for measure in job.measures},
    }
    if job.keep:
        rounds = result.trace["round"]
        # The kept rows of the trace are evenly spaced, and include the first and the last row.
        last, count = rounds.size - 1, min(rounds.size, job.keep_rows)
        chosen = np.unique(np.linspace(0, last, count).round().astype(int))
        missing = np.full(rounds.size, np.nan)  # a fit has few of the records of a run
        row["trace"] = {"round": rounds[chosen].tolist()} | {
            name: [encode_number(value) for value in result.trace.get(name, missing)[chosen]]
            for name in job.keep
        }
    return row


def _status_of(outcome: Outcome) -> str:
    """Return the status of a row; "converged" says that a stop rule determined the last values."""
    if outcome == Status.CONVERGED and outcome.detail:  # an estimator converged by itself
        return Status.FINISHED.name.lower()
    return outcome.status.name.lower()


def _make_header(item: Item, seed: int) -> Row:
    """Make those entries of a row that identify the run, the time and the software."""
    return {
        "cell": item.cell,
        "seed": seed,
        "values": encode_value(item.values, INLINE),
        "by": version_and_level(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def encode_number(value: Any) -> float | str | None:
    """Encode a number for standard JSON: NaN as null, infinities as "inf" and "-inf"."""
    plain = float(value)
    if math.isnan(plain):
        return None
    return plain if math.isfinite(plain) else ("inf" if plain > 0 else "-inf")


_waits_quietly = False  # whether this process is a worker that ignores Ctrl-C between jobs


def allow_interrupts() -> None:
    """Mark this process as a worker, in which Ctrl-C ends jobs but is ignored between jobs."""
    global _waits_quietly  # noqa: PLW0603
    _waits_quietly = True


@contextmanager
def _interrupts_allowed() -> Iterator[None]:
    """Let Ctrl-C end the block, even in a worker that ignores Ctrl-C between jobs."""
    if not _waits_quietly or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def to_ranges(seeds: Sequence[int]) -> list[range]:
    """Split ascending integers into ranges of consecutive integers."""
    ranges: list[range] = []
    for seed in seeds:
        if ranges and seed == ranges[-1].stop:
            ranges[-1] = range(ranges[-1].start, seed + 1)
        else:
            ranges.append(range(seed, seed + 1))
    return ranges
