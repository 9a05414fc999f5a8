r"""What a study measures at the end of each run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._support import check, identity
from ...config.records import RECORDS
from ...evaluate import adapted_risk
from ...runs.outcome import Status
from ...runs.result import Result

RATE_FROM = 0.1  # the late part of a run, where (22) holds, begins below this
RATE_TO = 1e-9  # and ends above what rounding and stop rules reach
FINALS = tuple(name for name in RECORDS if name != "angles")


@dataclass(frozen=True, kw_only=True)
class Measure:
    r"""A number that a run gives.

    Parameters
    ----------
    name : str
        Its column in the table.
    records : tuple of str
        What the run has to record.
    of : callable
        From the result of one trial to the number.
    is_users : bool
        Whether `of` is a function of the user's.
    """

    name: str
    records: tuple[str, ...]
    of: Callable[[Result], float]
    is_users: bool = False

    def __call__(self, result: Result) -> float:
        """The number; NaN where the trial diverged, whose last state means nothing."""
        if result.status == Status.DIVERGED and self.name != "seconds":
            return math.nan
        return self.of(result)


def measure_of(given: object) -> Measure:
    r"""Turn a name or a function into a measure.

    Parameters
    ----------
    given : str or callable
        A record, for its last value; ``"rounds_to:TOL"``, the first recorded round with dist at
        most TOL; ``"rate"``, the fall of log dist per round in the late part of the run;
        ``"floor"``, the geometric mean of dist over the last quarter of the rows; ``"risk:M"``,
        the excess risk on new tasks with M samples, after adaptation; ``"seconds"``; or a function
        of the `Result` of one trial.

    Returns
    -------
    Measure
        The measure; it gives NaN where a run does not say.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> measure_of("rounds_to:1e-3").records
    ('dist',)
    """
    if callable(given):
        return Measure(name=_column(given), records=(), of=given, is_users=True)
    if not isinstance(given, str):
        raise TypeError(f"measure must hold names and functions; got {check.show(given)}")
    kind, _, detail = given.partition(":")
    if kind in SIMPLE and not detail:
        records, of = SIMPLE[kind]
        return Measure(name=given, records=records, of=of)
    if given in FINALS:
        return Measure(name=given, records=(given,), of=_Last(given))
    if kind == "rounds_to":
        return Measure(name=given, records=("dist",), of=_RoundsTo(_number(given, detail, float)))
    if kind == "risk":
        return Measure(name=given, records=(), of=_Risk(_number(given, detail, int)))
    known = check.words((*FINALS, *SIMPLE, "rounds_to:TOL", "risk:M"))
    raise ValueError(f"measure must be {known} or a function; got {check.show(given)}")


def _column(function: Callable[..., Any]) -> str:
    """Return the name of the table's column for a function of the user's."""
    if isinstance(function, functools.partial):
        return f"{_column(function.func)}({identity.arguments_of(function)})"
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise ValueError("measure must hold functions with a name; got a lambda")
    return name


def records_of(measures: Sequence[Measure], keep: Sequence[str]) -> tuple[str, ...]:
    """Records that measures and a kept trace need; at least one, and the cheapest if none is."""
    for name in keep:
        check.choice("keep", name, FINALS)
    names = [name for measure in measures for name in measure.records]
    return tuple(dict.fromkeys([*names, *keep])) or ("w_norm",)


def _number(text: str, detail: str, kind: type[Any]) -> Any:
    """What stands behind the colon of a measure."""
    try:
        number = kind(detail)
    except ValueError:
        number = None
    if number is None or not 0 < number < math.inf:
        raise ValueError(f"measure {check.show(text)} must end in a positive {kind.__name__}")
    return number


@dataclass(frozen=True)
class _Last:
    """The last value of a record."""

    record: str

    def __call__(self, result: Result) -> float:
        return float(result.trace[self.record][-1])


@dataclass(frozen=True)
class _RoundsTo:
    """The first recorded round with dist at most a tolerance."""

    tolerance: float

    def __call__(self, result: Result) -> float:
        there = np.flatnonzero(result.trace["dist"] <= self.tolerance)
        return float(result.trace["round"][there[0]]) if there.size else math.nan


@dataclass(frozen=True)
class _Risk:
    """Excess risk on new tasks, after adaptation."""

    m: int

    def __call__(self, result: Result) -> float:
        config = result.config
        seed = (config.seed + config.trials[0]) % 2**64  # new tasks for every trial
        return adapted_risk(
            result.state, config.drawn_tasks, config.method, m=self.m, seed=seed
        ).mean


def _rate(result: Result) -> float:
    """Least-squares fall of log dist per round, in the late part of the run.

    From where dist first is below 0.1 until it is near the least that the run reaches, or 1e-9.
    """
    rounds, dist = result.trace["round"], result.trace["dist"]
    positive = np.isfinite(dist) & (dist > 0.0)
    rounds, dist = rounds[positive], dist[positive]
    if not dist.size:
        return math.nan
    end = max(RATE_TO, 10.0 * float(dist.min()))
    below, ended = np.flatnonzero(dist < RATE_FROM), np.flatnonzero(dist <= end)
    first = int(below[0]) if below.size else dist.size
    last = int(ended[0]) if ended.size else dist.size
    if last - first < 3:
        return math.nan
    return -float(np.polyfit(rounds[first:last], np.log(dist[first:last]), 1)[0])


def _floor(result: Result) -> float:
    """Geometric mean of dist over the last quarter of the rows."""
    dist = result.trace["dist"]
    tail = dist[-max(1, dist.size // 4) :]
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(tail).mean()))


def _seconds(result: Result) -> float:
    """Time of the run, shared evenly among the trials that ran in one call."""
    return result.timings["total"]


SIMPLE: dict[str, tuple[tuple[str, ...], Callable[[Result], float]]] = {
    "rate": (("dist",), _rate),
    "floor": (("dist",), _floor),
    "seconds": ((), _seconds),
}
