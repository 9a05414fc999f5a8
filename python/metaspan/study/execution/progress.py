r"""Shows the progress of a study as a bar on a terminal, or as lines in the log of a batch job."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..._support import check, signals
from ..._support import progress as _progress

BATCH = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # set by schedulers in batch jobs
FIRST_SECONDS = 1.0  # seconds until the first line
LINE_SECONDS = 60.0  # seconds between two lines after the first

Progress = bool | Callable[[int, int], object]


class Meter(Protocol):
    """Shows the progress of a study; `Study.run` calls `advance` whenever runs end."""

    def advance(self, runs: int, failures: int) -> None:
        """Add the number of runs that have just ended, and how many of them failed or diverged."""

    def close(self) -> None:
        """Show the final state; no further calls are allowed."""


def meter(progress: Progress, name: str, done: int, total: int) -> Meter:
    r"""Choose how to show progress.

    Parameters
    ----------
    progress : bool or callable
        True: on a terminal, show a bar if tqdm is installed; in the log of a batch job, write a
        line when a run ends, but at most one line a minute; into a pipe, write nothing. If
        `progress` is a function, it is called with the number of runs that are done and the number
        of all runs.
    name : str
        Name of the study, which the bar and the lines show.
    done, total : int
        Number of runs that are already done, and number of all runs.

    Returns
    -------
    Meter
        The object that shows progress.
    """
    if callable(progress):
        return _Called(progress, done, total)
    if not check.flag("progress", progress):
        return _Quiet()
    bar = _progress.terminal_bar(total, done, unit="run", desc=name, dynamic_ncols=True)
    if bar is not None:
        return _Bar(bar)
    return _Lines(name, done, total) if _progress.on_terminal() or _is_log() else _Quiet()


def _is_log() -> bool:
    """Tell whether standard error is a log: the log of a batch job, or a regular file."""
    if sys.stderr is None:
        return False
    if any(name in os.environ for name in BATCH):
        return True
    try:
        return stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode)
    except _progress.NO_STREAM:
        return False


class _Quiet:
    def advance(self, runs: int, failures: int) -> None: ...

    def close(self) -> None: ...


class _Called:
    def __init__(self, function: Callable[[int, int], object], done: int, total: int) -> None:
        self._function, self._done, self._total = function, done, total

    def advance(self, runs: int, failures: int) -> None:
        self._done += runs
        self._function(self._done, self._total)

    def close(self) -> None: ...


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar, self._failures = bar, 0

    def advance(self, runs: int, failures: int) -> None:
        self._failures += failures
        if failures:
            self._bar.set_postfix_str(f"{self._failures} failed", refresh=False)
        self._bar.update(runs)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """Writes a line after the first second, then at most one line a minute, and one at the end."""

    def __init__(self, name: str, done: int, total: int) -> None:
        self._name, self._done, self._total = name, done, total
        self._first, self._failures = done, 0
        self._began = time.monotonic()
        self._due = self._began + FIRST_SECONDS

    def advance(self, runs: int, failures: int) -> None:
        self._done += runs
        self._failures += failures
        now = time.monotonic()
        if now >= self._due:
            self._due = now + LINE_SECONDS
            self._say(now - self._began)

    def close(self) -> None:
        if self._done > self._first:
            self._say(time.monotonic() - self._began)

    def _say(self, seconds: float) -> None:
        if sys.stderr is None:  # print would then write to standard output
            return
        rate = (self._done - self._first) / max(seconds, 1e-9)
        parts = [
            f"{self._done}/{self._total} runs ({100 * self._done // max(self._total, 1)} %)",
            f"{self._failures} failed",
            f"{rate:.3g} runs/s",
        ]
        if self._first < self._done < self._total:
            parts.append(f"{duration((self._total - self._done) / rate)} left")
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            print(f"{stamp} {self._name}: {', '.join(parts)}", file=sys.stderr, flush=True)
        except _progress.NO_STREAM as error:  # runs must go on if the log cannot be written
            signals.reraise_signal(error)


def duration(seconds: float) -> str:
    r"""Format a duration in one or two units.

    Parameters
    ----------
    seconds : float
        The duration in seconds.

    Returns
    -------
    str
        Text such as ``"2 h 5 min"``.

    Examples
    --------
    >>> duration(7500), duration(61), duration(0.4)
    ('2 h 5 min', '1 min 1 s', '0 s')
    """
    left, parts = round(seconds), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(parts)
