r"""Measures: numbers that a study computes from the result of each run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._support import check, identity
from ...config.fit_config import FitConfig
from ...config.records import RECORDS
from ...evaluate import adapted_risk, learned_point, regression_risk
from ...runs.outcome import Status
from ...runs.result import Result

RATE_FROM = 0.1  # the late part of a run, in which (22) holds, begins where dist is below this
RATE_TO = 1e-9  # the late part ends at this dist, before rounding or a stop rule affects dist
FINALS = tuple(name for name in RECORDS if name != "angles")


@dataclass(frozen=True, kw_only=True)
class Measure:
    r"""A named number that is computed from the result of one run.

    Parameters
    ----------
    name : str
        Name of the measure's column in the table of a study.
    records : tuple of str
        Records of `train` that the measure needs.
    of : callable
        Function that takes the `Result` of one trial and returns the number.
    is_users : bool
        Whether a user wrote the function `of`.
    """

    name: str
    records: tuple[str, ...]
    of: Callable[[Result], float]
    is_users: bool = False

    def __call__(self, result: Result) -> float:
        """Measure a result; NaN if the trial diverged, because its last state is meaningless."""
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
        samples; for a fit, after ridge regression on its features. ``"samples"`` gives the number
        of samples that the run has drawn, all tasks together. ``"seconds"`` gives the wall-clock
        time. Records that a fit does not have are NaN. A function is called with the `Result` of
        one trial and returns a number.

    Returns
    -------
    Measure
        The measure. The measured value is NaN where it is undefined, for example if dist never
        falls to TOL.

    Raises
    ------
    TypeError
        If `measure` is neither a string nor callable.
    ValueError
        If `measure` is not the name of a measure, or is a lambda function.

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
    """Return the name of the table's column for a user's function."""
    if isinstance(function, functools.partial):
        return f"{_column_name(function.func)}({identity.arguments_of(function)})"
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise ValueError("measure must hold functions with a name; got a lambda")
    return name


def records_of(measures: Sequence[Measure], keep: Sequence[str]) -> tuple[str, ...]:
    """List the records that measures and kept traces need; if they need none, list the cheapest."""
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
        if isinstance(result.config, FitConfig) and self.record not in result.trace:
            return math.nan
        return float(result.trace[self.record][-1])


@dataclass(frozen=True)
class _RoundsTo:
    """Measures the first recorded round in which dist is at most a tolerance, or else NaN."""

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
        if isinstance(config, FitConfig):
            M, R, _ = result.state
            return regression_risk((M, R), config.drawn_tasks, m=self.m, seed=seed).mean
        return adapted_risk(
            learned_point(result), config.drawn_tasks, result.method, m=self.m, seed=seed
        ).mean


def _fit_rate(result: Result) -> float:
    r"""Fit a line to log dist over the late part of a run; return the decrease per round.

    The late part begins at the first row with dist below 0.1, because neither the plateau after a
    random start nor the first decrease of dist follows the rate of (22). The late part ends at the
    first row in which dist is at most ten times its minimum or at most 1e-9, because lower values
    may be affected by a floor, by rounding or by the stop rule. The result is NaN if the late part
    has fewer than three rows.
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
    """Return the geometric mean of dist over the last quarter of the recorded rows."""
    dist = result.trace["dist"]
    tail = dist[-max(1, dist.size // 4) :]
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(tail).mean()))


def _total_seconds(result: Result) -> float:
    """Return the wall-clock time of a call of `train`, divided by its number of trials."""
    return result.timings["total"]


def _total_samples(result: Result) -> float:
    """Return the number of samples of all tasks that a run has drawn; infinity for populations."""
    config = result.config
    if isinstance(config, FitConfig):
        return float(config.samples)
    sides = [config.inner_samples, 0 if config.shared_samples else config.outer_samples]
    if None in sides or config.n is None:
        return math.inf
    rounds_of_tasks = config.n * result.outcomes[0].round if config.pool is None else config.pool
    return float(rounds_of_tasks * sum(m for m in sides if m is not None))


SIMPLE: dict[str, tuple[tuple[str, ...], Callable[[Result], float]]] = {
    "rate": (("dist",), _fit_rate),
    "floor": (("dist",), _average_floor),
    "samples": ((), _total_samples),
    "seconds": ((), _total_seconds),
}
