r"""Measures: numbers that a study computes from the result of each run."""

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

RATE_FROM = 0.1  # the late part of a run begins where dist is below this; (22) holds from there
RATE_TO = 1e-9  # the late part ends at this dist, before rounding or a stop rule ends the run
FINALS = tuple(name for name in RECORDS if name != "angles")


@dataclass(frozen=True, kw_only=True)
class Measure:
    r"""A named number that is computed from the result of one run.

    Parameters
    ----------
    name : str
        Column of the measure in the table.
    records : tuple of str
        Records of `train` that the measure needs.
    of : callable
        Function from the `Result` of one trial to the number.
    is_users : bool
        Whether a user wrote the function `of`.
    """

    name: str
    records: tuple[str, ...]
    of: Callable[[Result], float]
    is_users: bool = False

    def __call__(self, result: Result) -> float:
        """Measure a result; NaN where the trial diverged, because its last state is meaningless."""
        if result.status == Status.DIVERGED and self.name != "seconds":
            return math.nan
        return self.of(result)


def measure_of(measure: object) -> Measure:
    r"""Turn a name or a function into a measure.

    Parameters
    ----------
    measure : str or callable
        The name of a record gives its last value. ``"rounds_to:TOL"`` gives the first recorded
        round with dist at most TOL. ``"rate"`` gives the decrease of log dist per round in the late
        part of the run. ``"floor"`` gives the geometric mean of dist over the last quarter of the
        recorded rows. ``"risk:M"`` gives the excess risk on new tasks after adaptation to M
        samples. ``"seconds"`` gives the wall-clock time. A function is called with the `Result` of
        one trial and returns a number.

    Returns
    -------
    Measure
        The measure; its value is NaN for a run in which the number is undefined, for example if
        dist never falls to TOL.

    Raises
    ------
    TypeError
        If the argument is neither text nor callable.
    ValueError
        If no measure has this name, or if the function is a lambda.

    Examples
    --------
    >>> measure_of("rounds_to:1e-3").records
    ('dist',)
    """
    if callable(measure):
        return Measure(name=_column_name(measure), records=(), of=measure, is_users=True)
    if not isinstance(measure, str):
        raise TypeError(f"measure must hold names and functions; got {check.show(measure)}")
    kind, _, detail = measure.partition(":")
    if kind in SIMPLE and not detail:
        records, of = SIMPLE[kind]
        return Measure(name=measure, records=records, of=of)
    if measure in FINALS:
        return Measure(name=measure, records=(measure,), of=_Last(measure))
    if kind == "rounds_to":
        return Measure(
            name=measure, records=("dist",), of=_RoundsTo(_parse_number(measure, detail, float))
        )
    if kind == "risk":
        return Measure(name=measure, records=(), of=_Risk(_parse_number(measure, detail, int)))
    known = check.words((*FINALS, *SIMPLE, "rounds_to:TOL", "risk:M"))
    raise ValueError(f"measure must be {known} or a function; got {check.show(measure)}")


def _column_name(function: Callable[..., Any]) -> str:
    """Return the name of the column of a user's function."""
    if isinstance(function, functools.partial):
        return f"{_column_name(function.func)}({identity.arguments_of(function)})"
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise ValueError("measure must hold functions with a name; got a lambda")
    return name


def records_of(measures: Sequence[Measure], keep: Sequence[str]) -> tuple[str, ...]:
    """List the records that measures and kept traces need; if there are none, list the cheapest."""
    for name in keep:
        check.choice("keep", name, FINALS)
    names = [name for measure in measures for name in measure.records]
    return tuple(dict.fromkeys([*names, *keep])) or ("w_norm",)


def _parse_number(text: str, detail: str, kind: type[Any]) -> Any:
    """Parse the number after the colon of a measure's name."""
    try:
        number = kind(detail)
    except ValueError:
        number = None
    if number is None or not 0 < number < math.inf:
        raise ValueError(f"measure {check.show(text)} must end in a positive {kind.__name__}")
    return number


@dataclass(frozen=True)
class _Last:
    """Measures the last value of a record."""

    record: str

    def __call__(self, result: Result) -> float:
        return float(result.trace[self.record][-1])


@dataclass(frozen=True)
class _RoundsTo:
    """Measures the first recorded round with dist at most a tolerance; NaN if there is none."""

    tolerance: float

    def __call__(self, result: Result) -> float:
        reached = np.flatnonzero(result.trace["dist"] <= self.tolerance)
        return float(result.trace["round"][reached[0]]) if reached.size else math.nan


@dataclass(frozen=True)
class _Risk:
    """Measures the mean excess risk on new tasks after adaptation to m samples of each task."""

    m: int

    def __call__(self, result: Result) -> float:
        config = result.config
        seed = (config.seed + config.trials[0]) % 2**64  # each trial draws its own new tasks
        return adapted_risk(
            result.state, config.drawn_tasks, config.method, m=self.m, seed=seed
        ).mean


def _fit_rate(result: Result) -> float:
    r"""Fit the decrease of log dist per round over the late part of a run, by least squares.

    The late part begins at the first row with dist below 0.1: the plateau of a random start and the
    approach to the linear regime do not follow the rate of (22). The late part ends where dist is
    first within a factor of ten of its minimum, or at 1e-9: below this dist, a floor, rounding or
    the stop rule bends the curve. The result is NaN if the late part has fewer than three rows.
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


def _average_floor(result: Result) -> float:
    """Take the geometric mean of dist over the last quarter of the recorded rows."""
    dist = result.trace["dist"]
    tail = dist[-max(1, dist.size // 4) :]
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(tail).mean()))


def _total_seconds(result: Result) -> float:
    """Return the wall-clock time of a call of `train`, divided evenly among its trials."""
    return result.timings["total"]


SIMPLE: dict[str, tuple[tuple[str, ...], Callable[[Result], float]]] = {
    "rate": (("dist",), _fit_rate),
    "floor": (("dist",), _average_floor),
    "seconds": ((), _total_seconds),
}
