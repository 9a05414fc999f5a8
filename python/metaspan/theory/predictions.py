r"""Predictions of the theory as lines to plot with the curves of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._support import check
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.engine_choice import check_limit
from ..config.fit_config import FitConfig
from ..config.records import RECORDS
from ..config.start import GivenStart
from ..methods import core_method
from ..runs.summary import config_of, summarize
from ..runs.train import train
from ..tasks.linear import LinearTasks
from .floors import Setting
from .rates import fading, rate

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
    slope = rate_of(_run_of(result))
    row = summarize(result, "dist", band=None)
    if not row.rounds.size:
        raise ValueError("result must have a row that all trials reached; got none")
    above = np.flatnonzero(row.mean > ANCHOR)
    at = int(above[-1]) if above.size else 0
    through = (float(row.rounds[at]), float(row.mean[at]))
    return decay(slope, through)


def rate_of(config: TrainConfig) -> float:
    """Return the rate (22) of a configured run on population losses, without a pool."""
    tasks, samples = config.tasks, (config.m_in, config.m_out, config.pool)
    if not isinstance(tasks, LinearTasks) or samples != (None, None, None):
        raise ValueError(
            "result must be of a law on population losses, without a pool, for (22); got "
            f"m_in, m_out, pool = {samples}"
        )
    return rate(tasks, config.method)


def floor_line(result: Result) -> Prediction:
    r"""Return the floor (59) of a run on fresh tasks and samples, as a constant function of rounds.

    Parameters
    ----------
    result : Result
        A run on a law of tasks that has a limit, with fresh tasks in every round, a width of
        ``tasks.k`` and, if the outer step does not move w, w = 0.

    Returns
    -------
    callable
        Function from rounds (rows,) to the constant `floor`. If no fixed point attracts at the step
        sizes of the run, the constant is NaN, so that nothing is drawn.

    Raises
    ------
    TypeError, ValueError
        If the run has no limit, or `floor` raises the error.

    See Also
    --------
    limit_line : The whole curve of the limit.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> r = ms.train(tasks, "fo-anil", alpha=0.1, beta=0.1, rounds=5, n=1000, m_in=20, m_out=10)
    >>> float(floor_line(r)(np.array([0]))[0].round(4))
    0.0195
    """
    value = floor_of(_run_of(result))
    return lambda rounds: np.full(np.shape(rounds), value)


def floor_of(config: TrainConfig) -> float:
    """Return the floor (59) of a configured run; NaN if no fixed point attracts."""
    tasks = require_limit(config)
    if config.width != tasks.k:
        raise ValueError(
            f"width must be k = {tasks.k} for a floor, (59); got {config.width}: fading_line has "
            "the surplus singular values of a wider learner"
        )
    check_head(config)
    setting = Setting.at_ratio(
        tasks, config.method, dimensions_per_task(config), config.m_in, config.m_out
    )
    dist = float(setting.floor())
    return dist if math.isfinite(dist) else math.nan


def limit_line(result: Result, y: str = "dist", log: bool | None = None) -> Prediction:
    r"""Return the deterministic limit (55) of a run on fresh tasks and samples.

    The limit has the arguments, the seed and the trials of the run; the number of tasks n enters as
    :math:`\gamma = (d - k_{*}) / n`.

    Parameters
    ----------
    result : Result
        A run on a law of tasks that has a limit, with fresh tasks in every round.
    y : str
        Name of a record with one value per round, which the run need not have recorded.
    log : bool or None
        Whether to average log10 of `y` over the trials, as `summarize` does; None: log10 is
        averaged if all values are positive.

    Returns
    -------
    callable
        Function from rounds (rows,) to the mean of `y` over the trials of the limit, linear between
        the recorded rounds. NaN after the last round that the run recorded, and in rounds after the
        limit has diverged.

    Raises
    ------
    TypeError, ValueError
        If the run has no limit, `y` is not a record with one value per round, or `log` is true for
        values <= 0.

    Notes
    -----
    The limit of the recorded rounds is computed, at microseconds a round for small widths.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> r = ms.train(tasks, "fo-anil", alpha=0.3, beta=0.3, rounds=300, n=1000, m_in=20, m_out=10)
    >>> ax = ms.plot(r, predictions={"limit": limit_line(r), "floor": floor_line(r)})
    """
    config, _ = limit_of(result)
    check.choice("y", y, RECORDS)
    limit = run_limit(config, _rounds_of(result), (y,))
    row = summarize(limit, y, band=None, log=log)
    if row.mean.ndim != 1:
        raise ValueError(f"y must be a record with one value per round; got {y!r}")
    return lambda rounds: np.interp(
        check.reals("rounds", rounds), row.rounds, row.mean, left=math.nan, right=math.nan
    )


def run_limit(config: TrainConfig, rounds: int, record: Sequence[str]) -> Result:
    """Run the deterministic limit (55) of a configured run, without a stop rule."""
    arguments = limit_arguments(config, rounds, record)
    return train(require_limit(config), config.method, **arguments)


def limit_arguments(config: TrainConfig, rounds: int, record: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `train` for the limit (55) of a run, without a stop rule."""
    return {
        "rounds": rounds,
        "n": None,
        "m_in": config.m_in,
        "m_out": config.m_out,
        "d_over_n": dimensions_per_task(config),
        "width": config.width,
        "init": config.init,
        "seed": config.seed,
        "trials": config.trials,
        "threads": config.threads,
        "record": record,
        "record_every": config.record_every,
        "stop": None,
    }


def _rounds_of(result: Result) -> int:
    """Return the number of rounds for the limit of a run: up to the last recorded round.

    The schedule "cosine" depends on the requested number of rounds, which is then returned.
    """
    config = config_of(result)
    step = config.method.step
    if step is not None and step.schedule == "cosine":
        return config.rounds
    return int(result.trace["round"][-1])


def fading_line(result: Result) -> Prediction:
    r"""Return the slow decrease (23) of the part of a wide learner that is off the truth.

    Parameters
    ----------
    result : Result
        A run of first-order ANIL on a law of tasks, with fresh tasks in every round, a finite
        `m_in` and a width above ``tasks.k``.

    Returns
    -------
    callable
        Function from rounds (rows,) to `fading`, for plots of the record ``"perp_norm"``. The
        function describes infinitely many tasks: with finitely many, perp_norm levels off once the
        noise of a round, which (23) lacks, balances the decrease.

    Raises
    ------
    TypeError, ValueError
        If the run is not of this kind, or `fading` raises the error.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=100, k=2, noise=0.1)
    >>> r = ms.train(tasks, "fo-anil", alpha=0.5, beta=0.5, rounds=100, n=10**4, m_in=5, m_out=5,
    ...              width=3, record="perp_norm")
    >>> ax = ms.plot(r, y="perp_norm", predictions={"(23)": fading_line(r)})
    """
    config, tasks = limit_of(result)
    if config.width <= tasks.k or config.m_in is None:
        raise ValueError(
            f"result must have a finite m_in and a width above k = {tasks.k} for surplus singular "
            f"values; got m_in={config.m_in}, width={config.width}"
        )
    fading(tasks, config.method, config.m_in, 0)  # raises its errors here instead of in a plot
    return lambda rounds: fading(tasks, config.method, config.m_in, rounds)


def limit_of(result: Result) -> tuple[TrainConfig, LinearTasks]:
    """Return the configuration and the tasks of a run; raise ValueError if it has no limit."""
    config = _run_of(result)
    return config, require_limit(config)


def _run_of(result: Result) -> TrainConfig:
    """Return the configuration of a run; raise ValueError for a fit, which nothing predicts."""
    return require_training(config_of(result))


def require_training(config: TrainConfig | FitConfig) -> TrainConfig:
    """Return the configuration of a run; raise ValueError for that of a fit."""
    if isinstance(config, FitConfig):
        raise ValueError("predictions are those of training, not of a fit")
    return config


def require_limit(config: TrainConfig) -> LinearTasks:
    """Return the tasks of a configured run; raise ValueError if it has no limit (55)."""
    tasks = config.tasks
    if not isinstance(tasks, LinearTasks):
        raise ValueError(f"result must be of a law of tasks for the limit (55); got {tasks}")
    if config.pool is not None:
        raise ValueError(
            f"result must be of fresh tasks for the limit (55); got pool={config.pool}"
        )
    check_limit(
        tasks,
        config.method,
        config.shared_samples,
        "the run must have a limit",
        m_in=config.m_in,
        width=config.width,
        w0=config.init.w0 if isinstance(config.init, GivenStart) else None,
    )
    return tasks


def check_head(config: TrainConfig) -> None:
    """Raise ValueError if the head is frozen and not 0, since floors are those of w = 0."""
    frozen = core_method(config.method).beta_head == 0.0
    if frozen and isinstance(config.init, GivenStart) and config.init.w0.any():
        raise ValueError(
            "w0 must be 0 for the floor (59) of a head that the outer step does not move; got "
            f"entries up to {abs(config.init.w0).max():.3g}"
        )


def dimensions_per_task(config: TrainConfig) -> float:
    """Return gamma of (55) for a run: (d - k_star) / n, or that of a run in the limit."""
    if config.n is None:
        return config.d_over_n or 0.0
    return (config.tasks.d - config.k_star) / config.n
