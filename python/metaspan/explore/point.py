r"""One point of the explorer: its run, in as many rounds as time allows, and the theory's lines."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .._support.types import F64, I64
from ..config.configure import configure
from ..runs.estimate import estimate
from ..runs.result import Result
from ..runs.train import run
from ..runs.warn import warn_of_growing_head
from ..theory.named import predict
from ..theory.predictions import limit_arguments, limit_of
from .knobs import RECORDS, Knobs

FIRST_SECONDS = 0.08  # largest modelled time of the rounds that are drawn first
MOST_SECONDS = 10.0  # largest modelled time of a whole run
MOST_SECONDS_A_ROUND = 1.0  # of a round, since a run can be cancelled only between rounds

Cancelled = Callable[[], bool]
Progress = Callable[[int, int], object]

_catching = threading.Lock()  # warnings.catch_warnings changes the state of the whole process


class CancelledError(Exception):
    """Newer knobs have arrived while a run was under way."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    r"""What the page draws of a point.

    Parameters
    ----------
    knobs : Knobs
        The knobs, with the number of rounds that the whole run has.
    rounds : ndarray of shape (rows,), int64
        The recorded rounds.
    values : dict of str to ndarray of shape (rows,), float64
        The records by name.
    limit : dict of str to ndarray of shape (rows,), float64
        The limit (55) of the records; NaN where it has diverged. Empty if there is no limit.
    floor : float or None
        The dist (59) at which the run levels off, if there is one.
    rate : ndarray of shape (rows,), float64, or None
        The decay (22) of a population run.
    fading : ndarray of shape (rows,), float64, or None
        The fading (23) of the record "perp_norm" of a learner wider than k.
    status : str
        How the run ended, and by which engine.
    notes : tuple of str
        Sentences about the run: warnings, and why a line of the theory is missing.
    complete : bool
        Whether these are all rounds of the run.
    """

    knobs: Knobs
    rounds: I64
    values: dict[str, F64]
    limit: dict[str, F64]
    floor: float | None
    rate: F64 | None
    fading: F64 | None
    status: str
    notes: tuple[str, ...]
    complete: bool


def affordable(knobs: Knobs) -> tuple[Knobs, int, tuple[str, ...]]:
    r"""Limit the rounds of a point to those that, by the cost model, fit the time of the page.

    Parameters
    ----------
    knobs : Knobs
        The knobs.

    Returns
    -------
    knobs : Knobs
        The knobs with the number of rounds that are run.
    first : int
        The number of rounds that are run and drawn first.
    notes : tuple of str
        A sentence if there are fewer rounds than asked for.

    Raises
    ------
    TypeError, ValueError, MemoryError
        If `train` would refuse the knobs, or one round would take more than a second.
    """
    knobs.check()
    least = estimate(knobs.tasks(), knobs.learner(), **replace(knobs, rounds=1).arguments())
    cost = estimate(knobs.tasks(), knobs.learner(), **knobs.arguments())
    if least.seconds > MOST_SECONDS_A_ROUND:
        raise ValueError(
            f"a round must take at most {MOST_SECONDS_A_ROUND:g} s for this page; got about "
            f"{least.seconds:.2g} s: choose a smaller n, k, m_in or m_out, or train in Python"
        )
    each = max(cost.seconds / max(knobs.rounds, 1), 1e-9)
    first = max(1, int(FIRST_SECONDS / each))
    most = max(1, int(MOST_SECONDS / each))
    if knobs.rounds <= most:
        return knobs, min(first, knobs.rounds), ()
    note = (
        f"{knobs.rounds} rounds would take about {cost.seconds:.2g} s; the page shows the first "
        f"{most}, and the call below trains as long"
    )
    return replace(knobs, rounds=most), first, (note,)


def train_point(
    knobs: Knobs, rounds: int, cancelled: Cancelled, progress: Progress | None = None
) -> Result:
    r"""Train a point for some of its rounds; they are the first ones of the whole run.

    Parameters
    ----------
    knobs : Knobs
        The knobs, as `affordable` returns them.
    rounds : int
        Number of rounds.
    cancelled : callable
        Whether newer knobs have arrived; called between chunks of rounds, of about 50 ms.
    progress : callable or None
        Called with the number of rounds done and their total.

    Returns
    -------
    Result
        The run, with the records of `Knobs.arguments`.

    Raises
    ------
    CancelledError
        If `cancelled` returned True.
    TypeError, ValueError, MemoryError
        As `train` does.
    """

    def report(done: int, total: int) -> None:
        if cancelled():
            raise CancelledError
        if progress is not None:
            progress(done, total)

    settings = knobs.arguments() | {"rounds": rounds, "progress": report}
    return run(configure(knobs.tasks(), knobs.learner(), **settings))


def trace_point(
    knobs: Knobs,
    rounds: int,
    cancelled: Cancelled,
    progress: Progress | None = None,
    notes: tuple[str, ...] = (),
) -> Curves:
    r"""Train a point, and compute the lines of the theory that exist for it.

    Parameters
    ----------
    knobs, rounds, cancelled, progress
        As of `train_point`.
    notes : tuple of str
        Sentences that precede those about the run.

    Returns
    -------
    Curves
        What the page draws.

    Raises
    ------
    CancelledError, TypeError, ValueError, MemoryError
        As `train_point` raises them.

    Notes
    -----
    The limit takes microseconds a round, and the floor between one and about 100 ms.
    """
    result = train_point(knobs, rounds, cancelled, progress)
    values = {name: np.asarray(result.trace[name], dtype=np.float64) for name in RECORDS}
    at = np.asarray(result.trace["round"], dtype=np.int64)
    limit, reasons = _limit(result, at, cancelled)
    lines, missing = _lines(result, at)
    population = knobs.m_in is None and knobs.m_out is None
    expected = "rate" if population else "floor"
    if expected in missing:
        reasons.append(f"no {expected} is drawn: {missing[expected]}")
    config = result.config
    return Curves(
        knobs=knobs,
        rounds=at,
        values=values,
        limit=limit,
        floor=float(lines["floor"][0]) if "floor" in lines else None,
        rate=lines.get("rate"),
        fading=lines.get("fading"),
        status=f"Engine {config.engine}: {result.status}, in {result.timings['total']:.2g} s.",
        notes=(*notes, *_warnings(knobs), *dict.fromkeys(reasons)),
        complete=rounds >= knobs.rounds,
    )


def _lines(result: Result, at: I64) -> tuple[dict[str, F64], dict[str, str]]:
    """Return the lines of the theory other than the limit, and why others are missing."""
    dist = predict({"": result}, ("floor", "rate"), "dist", log=True)
    perp = predict({"": result}, ("fading",), "perp_norm", log=True)
    lines = {name: np.asarray(line(at), dtype=np.float64) for name, line in dist.lines + perp.lines}
    return lines, dist.missing


def _warnings(knobs: Knobs) -> list[str]:
    """Return the warnings that `train` would issue before the first round."""
    config = configure(knobs.tasks(), knobs.learner(), **knobs.arguments())
    with _catching, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_growing_head(config)
    return [str(warning.message) for warning in caught]


def _limit(result: Result, at: I64, cancelled: Cancelled) -> tuple[dict[str, F64], list[str]]:
    """Return the limit (55) of all records in the recorded rounds, or why there is none."""
    config = result.config
    if config.n is None:
        return {}, []  # the run is the limit itself
    try:
        limit = _train_limit(result, cancelled)
    except (ValueError, ArithmeticError) as error:
        return {}, [f"no limit is drawn: {error}"]
    rows = np.asarray(limit.trace["round"], dtype=np.float64)
    values = {
        name: np.interp(at, rows, limit.trace[name], left=math.nan, right=math.nan)
        for name in RECORDS
    }
    return values, []


def _train_limit(result: Result, cancelled: Cancelled) -> Result:
    """Train the limit (55) of a run, for as many rounds as the run did."""

    def report(done: int, total: int) -> None:
        if cancelled():
            raise CancelledError

    config, tasks = limit_of(result)
    arguments = limit_arguments(config, int(result.trace["round"][-1]), RECORDS)
    return run(configure(tasks, config.method, **arguments, progress=report))
