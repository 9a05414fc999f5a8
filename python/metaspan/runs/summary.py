r"""Means over the trials of a run, and their confidence bands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._support import check
from .._support.types import F64, I64
from ..config.config import TrainConfig
from .result import Result


@dataclass(frozen=True, kw_only=True)
class Summary:
    r"""Mean and confidence band of one quantity over the trials of a run.

    Parameters
    ----------
    rounds : ndarray of shape (rows,), int64
        Rounds of the rows.
    mean, low, high : ndarray of shape (rows,) or (rows, angles), float64
        Mean over `count` trials, and lower and upper end of the band; the mean is geometric if
        `log` is true.
    count : ndarray of shape (rows,), int64
        Number of trials that are averaged: all trials in the first `whole` rows, and only the
        trials that never diverge in later rows.
    whole : int
        Number of leading rows in which every trial has a value.
    trials, diverged : int
        Number of trials, and number of trials that diverged.
    log : bool
        Whether mean and band were computed for log10 of the quantity.
    """

    rounds: I64
    mean: F64
    low: F64
    high: F64
    count: I64
    whole: int
    trials: int
    diverged: int
    log: bool


def config_of(result: object) -> TrainConfig:
    """Return the configuration of a result; raise TypeError if the argument is not a `Result`."""
    if not isinstance(result, Result):
        raise TypeError(f"result must be a Result; got {check.show(result)}")
    return result.config


def summarize(
    result: Result, y: str = "dist", band: float | None = 0.95, log: bool | None = None
) -> Summary:
    r"""Average a recorded quantity over the trials of a run.

    The band is a Student-t interval for the mean over trials. On a log axis mean and band are
    computed for log10 of the quantity: the curve is then the geometric mean, and the band keeps its
    width while the quantity falls over many decades.

    Rows are averaged over all trials, and the last row is that in which the first trial ends: an
    average over the remaining trials would drift towards the slow trials. If trials diverged, the
    later rows are averaged over the trials that never diverge, until the first of these trials
    ends.

    Parameters
    ----------
    result : Result
        A run with one trial or more.
    y : str
        Name of a record.
    band : float or None
        Coverage of the band, in (0, 1). None: no band.
    log : bool or None
        Whether to average log10 of the quantity. None: log10 is averaged if all values are
        positive.

    Returns
    -------
    Summary
        Rows of mean and band. `low` and `high` are NaN if fewer than two trials are averaged.

    Raises
    ------
    ValueError
        If `y` was not recorded, `band` is not in (0, 1), or `log` is true for values <= 0.
    """
    if band is not None and not 0.0 < check.real("band", band) < 1.0:
        raise ValueError(f"band must be None or lie between 0 and 1; got {band!r}")
    if log is not None:
        check.flag("log", log)
    if not isinstance(y, str) or y not in result.trace or y == "round":
        known = ", ".join(name for name in result.trace if name != "round")
        raise ValueError(
            f"y must be one of the recorded quantities ({known}); got {check.show(y)}: "
            "record= of train asks for others"
        )
    statuses = result.outcomes
    values = np.asarray(result.trace[y], dtype=np.float64)
    if len(statuses) == 1:
        values = values[None]
    failed = np.array([outcome.status.name == "DIVERGED" for outcome in statuses])
    has_value = np.asarray(np.isfinite(values).reshape(*values.shape[:2], -1).all(axis=2))
    positive = bool((values[np.isfinite(values)] > 0).all())
    if log and not positive:
        raise ValueError(f"log=True needs positive values; {y} has some that are not")
    log = positive if log is None else log

    whole = _count_leading(np.asarray(has_value.all(axis=0)))
    rows = whole
    if failed.any() and not failed.all():
        rows = max(whole, _count_leading(np.asarray(has_value[~failed].all(axis=0))))
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values)
    parts = [_interval(values[:, :whole], band), _interval(values[~failed, whole:rows], band)]
    mean, low, high = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    if log:
        with np.errstate(over="ignore"):
            mean, low, high = 10.0**mean, 10.0**low, 10.0**high
    count = np.full(rows, len(statuses), dtype=np.int64)
    count[whole:] = np.count_nonzero(~failed)
    return Summary(
        rounds=np.asarray(result.trace["round"], dtype=np.int64)[:rows],
        mean=mean,
        low=low,
        high=high,
        count=count,
        whole=whole,
        trials=len(statuses),
        diverged=int(np.count_nonzero(failed)),
        log=log,
    )


def _count_leading(flags: NDArray[np.bool_]) -> int:
    """Count the true entries before the first false one."""
    return int(flags.size if flags.all() else np.argmin(flags))


def _interval(values: F64, band: float | None) -> tuple[F64, F64, F64]:
    """Return the mean over the first axis and the ends of its Student-t interval."""
    count = values.shape[0]
    if count == 0:
        empty = np.empty(values.shape[1:])
        return empty, empty, empty
    mean = values.mean(axis=0)
    if band is None or count < 2:
        nothing = np.full_like(mean, np.nan)
        return mean, nothing, nothing
    quantile = float(student_quantile(np.array(count), band))
    half = quantile * values.std(axis=0, ddof=1) / math.sqrt(count)
    return mean, mean - half, mean + half


def student_quantile(count: I64, band: float) -> F64:
    """Return two-sided Student-t quantiles for means of `count` values; each count is 2 or more."""
    from scipy.special import stdtrit  # noqa: PLC0415

    return np.asarray(stdtrit(np.maximum(count - 1, 1), 0.5 + 0.5 * band), dtype=np.float64)
