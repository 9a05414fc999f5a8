r"""Predictions of the theory as lines to plot with the curves of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._support import check
from .._support.types import F64
from ..runs.summary import config_of, summarize
from ..tasks.linear import LinearTasks
from .rates import error_floor, rate

if TYPE_CHECKING:
    from ..runs.result import Result

Prediction = Callable[[NDArray[Any]], F64]

ANCHOR = 1e-8  # dist at which a rate line meets its curve: late, but above the usual stop rules


def decay(rate: float, through: tuple[float, float]) -> Prediction:
    r"""Return the exponential decay through a point, as a function of rounds.

    Parameters
    ----------
    rate : float
        Decrease of the natural logarithm per round.
    through : (float, float)
        A round, and the value in this round.

    Returns
    -------
    callable
        Function from rounds (rows,) to values (rows,), for the `predictions` of `metaspan.plot`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not made of finite numbers, or `through` is not a pair.

    Examples
    --------
    >>> decay(0.5, through=(10, 1e-3))(np.array([10, 12])).round(6)
    array([0.001   , 0.000368])
    """
    rate = check.real("rate", rate)
    at, value = (check.real("through", x) for x in check.small("through", through, (2,)))
    # exp overflows for exponents above about 709, so the exponent is limited: the line is constant
    # far before the point, at rounds that no plot shows.
    return lambda t: value * np.exp(np.minimum(rate * (at - check.reals("rounds", t)), 650.0))


def rate_line(result: Result) -> Prediction:
    r"""Return the decay (22) through the late part of a population run.

    Parameters
    ----------
    result : Result
        A run on population losses, without a pool, that recorded ``"dist"``.

    Returns
    -------
    callable
        `decay` with the slope of `rate`. The line passes through the geometric mean of dist over
        trials in the last recorded round in which this mean is above 1e-8.

    Raises
    ------
    TypeError, ValueError
        If `rate` raises the error, if the run is on samples or on a pool, or if the run did not
        record dist.

    Examples
    --------
    >>> import metaspan as ms
    >>> r = ms.train(ms.LinearTasks(d=20, k=3), "anil", rounds=1500, n=50, trials=3)
    >>> ax = ms.plot(r, predictions={"(22)": ms.theory.rate_line(r)})
    """
    tasks = (config := config_of(result)).tasks
    samples = (config.m_in, config.m_out, config.pool)
    if not isinstance(tasks, LinearTasks) or samples != (None, None, None):
        raise ValueError(
            "result must be of a law on population losses, without a pool, for (22); got "
            f"m_in, m_out, pool = {samples}"
        )
    row = summarize(result, "dist", band=None)
    if not row.rounds.size:
        raise ValueError("result must have a row that all trials reached; got none")
    above = np.flatnonzero(row.mean > ANCHOR)
    at = int(above[-1]) if above.size else 0
    through = (float(row.rounds[at]), float(row.mean[at]))
    return decay(rate(tasks, config.method), through)


def floor_line(result: Result) -> Prediction:
    r"""Return the error floor of a run on finitely many samples, as a constant function of rounds.

    Parameters
    ----------
    result : Result
        A run on a law of tasks with finite `n` and `m_out`. If the run has a pool, the number of
        tasks in the pool replaces `n`.

    Returns
    -------
    callable
        Function from rounds (rows,) to the constant `error_floor`, or to 1 if the floor exceeds 1,
        for the `predictions` of `metaspan.plot`.

    Raises
    ------
    ValueError
        If the run is on population losses or on a batch, or has infinitely many tasks.

    Examples
    --------
    >>> import metaspan as ms
    >>> r = ms.train(ms.LinearTasks(d=20, k=2), "fo-anil", rounds=5, n=16, m_in=10, m_out=10,
    ...              pool=16)
    >>> float(floor_line(r)(np.array([0]))[0])
    0.5
    """
    tasks = (config := config_of(result)).tasks
    n = config.n if config.pool is None else config.pool
    if not isinstance(tasks, LinearTasks) or n is None or config.m_out is None:
        raise ValueError(f"result must be of a law with finite n and m_out; got {result}")
    floor = min(1.0, error_floor(tasks.d, tasks.k, n, config.m_out))
    return lambda rounds: np.full(np.shape(rounds), floor)
