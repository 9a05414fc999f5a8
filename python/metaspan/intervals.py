r"""Computes bootstrap intervals, over tasks, for a learned representation and for its risk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._support import check
from ._support.types import F64
from .config.fit_config import FitConfig
from .estimators.solvers import WidthError
from .fit import run_fit
from .held_out import losses_of_learners, split_batch
from .linear_methods import LinearAttention
from .methods import AverageRisk, Method
from .metrics import principal_angles
from .runs.result import Result
from .runs.train import train
from .tasks.batch import TaskBatch, require_whole

if TYPE_CHECKING:
    from numpy.random import Generator

Refit = Callable[[TaskBatch], "Result | NDArray[Any]"]
QUANTITIES = ("angles", "components", "risk")
LEARNERS = ("adapted", "least_squares", "ridge", "single_task_ridge", "pooled")


@dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    r"""Bootstrap intervals of one quantity; see `Result.interval`.

    Parameters
    ----------
    of : str
        "angles", "components" or "risk".
    estimate : ndarray
        The quantity from all tasks, of shape (k,), (d, k) or ().
    low, high : ndarray
        Ends of the intervals, in the shape of `estimate`.
    standard_error : ndarray
        Standard deviation over the resamples, in the shape of `estimate`.
    level : float
        Confidence level of each single interval, not of all intervals together.
    resamples : int
        Number of resamples in use; refits whose `B` is not finite or lacks full rank are left out.
    """

    of: str
    estimate: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    standard_error: NDArray[Any]
    level: float
    resamples: int


def interval(
    result: Result,
    of: Literal["angles", "components", "risk"] = "angles",
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    refit: Refit | None = None,
    on: TaskBatch | None = None,
    m: int | None = None,
    learner: str = "adapted",
) -> Interval:
    """Compute bootstrap intervals; `Result.interval` documents the arguments and the result."""
    check.choice("of", of, QUANTITIES)
    resamples = check.integer("resamples", resamples, 20, 10**6)
    level = check.real("level", level, 0.0, 1.0)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1; got {level:g}")
    generator = np.random.default_rng([check.integer("seed", seed, 0, 2**64 - 1), len(of)])
    if len(result.config.trials) > 1:
        raise ValueError(
            f"an interval is that of one trial, and this result has {len(result.config.trials)}: "
            "use trial(number).interval"
        )
    if refit is not None and not callable(refit):
        raise TypeError(f"refit must be a function of a batch, or None; got {check.show(refit)}")
    if of == "risk":
        if refit is not None:
            raise ValueError("refit must be left out for of='risk', which keeps the representation")
        return _risk(result, _check_held_out(on), m, learner, (resamples, level, generator))
    if on is not None or m is not None:
        raise ValueError(f"on and m must be left out for of={of!r}; they belong to of='risk'")
    batch = result.config.tasks
    if not isinstance(batch, TaskBatch):
        raise ValueError(
            "tasks are resampled from a TaskBatch, and this result holds "
            f"{type(batch).__name__}: repeat tasks from a distribution by trials="
        )
    require_whole(batch, "interval")
    if refit is None and getattr(result.config.method, "holds_rows", False):
        raise ValueError(
            "refit must be given for meta-sp with semigradient, whose X_next has the rows of the "
            "original tasks; got None"
        )
    bases = _refits(result, batch, refit or _again(result), resamples, generator)
    B = _orthonormal(np.asarray(result._host_B, np.float64))
    if of == "angles":
        return _angles(B, bases, level)
    aligned = np.array([Q @ _rotation(Q, B) for Q in bases])
    ends = np.quantile(aligned, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(
        of=of,
        estimate=B,
        low=ends[0],
        high=ends[1],
        standard_error=aligned.std(axis=0, ddof=1),
        level=level,
        resamples=len(bases),
    )


def _angles(B: F64, bases: list[F64], level: float) -> Interval:
    """Return intervals that start at 0 and end at a quantile of the angles to the refits."""
    angles = np.array([principal_angles(Q, B) for Q in bases])
    zeros = np.zeros(B.shape[1])
    return Interval(
        of="angles",
        estimate=zeros,
        low=zeros,
        high=np.quantile(angles, level, axis=0),
        standard_error=np.sqrt(np.square(angles).mean(axis=0)),
        level=level,
        resamples=len(bases),
    )


def _risk(
    result: Result,
    on: TaskBatch,
    m: int | None,
    learner: str,
    options: tuple[int, float, Generator],
) -> Interval:
    """Compute the interval of the risk by resampling the losses of the held-out tasks."""
    resamples, level, generator = options
    learner = check.choice("learner", learner, LEARNERS)
    fitted = isinstance(result.config, FitConfig)
    if fitted and learner == "adapted":
        raise ValueError(
            "learner must be 'least_squares' or another regression for a fit, which has no inner "
            "loop; got 'adapted'"
        )
    method: Method = AverageRisk() if fitted else result.method
    if result._host_B is None:
        raise ValueError(
            "an interval of the risk needs B at full size, and engine "
            f"{result.config.engine!r} has its coordinates alone"
        )
    B = np.ascontiguousarray(result._host_B)
    point = (np.asarray(result.A), B) if isinstance(method, LinearAttention) else (B, result.w)
    held_out = split_batch(on, m)
    losses = losses_of_learners(point, held_out, method, None, result.config.threads)
    values = losses[learner].values
    weights = np.ones(len(values)) if held_out.weights is None else held_out.weights
    n = len(values)
    means = np.empty(resamples)
    for i in range(resamples):
        counts = weights * np.bincount(generator.integers(0, n, n), minlength=n)
        means[i] = counts @ values / counts.sum()
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        of="risk",
        estimate=np.array(weights @ values / weights.sum()),
        low=ends[0],
        high=ends[1],
        standard_error=means.std(ddof=1),
        level=level,
        resamples=resamples,
    )


def _refits(
    result: Result, batch: TaskBatch, refit: Refit, resamples: int, generator: Generator
) -> list[F64]:
    """Refit to resampled tasks; return the orthonormal bases (d, k) of the finite refits."""
    assert result._host_B is not None
    shape, bases = result._host_B.shape, []
    for _ in range(resamples):
        tasks = np.sort(generator.integers(0, batch.n, batch.n))
        try:
            again = refit(batch.take(tasks.tolist()))
        except WidthError:  # the resampled tasks determine too few directions
            continue
        B = np.asarray(again._host_B if isinstance(again, Result) else again, np.float64)
        if B.shape != shape:
            raise ValueError(f"refit must return a B of shape {shape}; got {B.shape}")
        if np.isfinite(B).all() and np.linalg.matrix_rank(B) == shape[1]:
            bases.append(_orthonormal(B))
    if len(bases) < resamples / 2:
        raise ValueError(f"only {len(bases)} of {resamples} refits gave a B of full rank")
    return bases


def _again(result: Result) -> Refit:
    """Return a function that repeats the fit or the training run on another batch."""
    config = result.config
    assert isinstance(config.tasks, TaskBatch)
    if isinstance(config, FitConfig):
        return lambda batch: run_fit(replace(config, tasks=batch, progress=False))
    options: dict[str, Any] = {
        "rounds": config.rounds,
        "width": config.width,
        "init": config.init,
        "n": None if config.n == config.tasks.n else config.n,
        "seed": config.seed,
        "trials": config.trials,
        "threads": config.threads,
        "stop": config.stop,
        "record": config.record,
        "record_every": config.rounds or 1,
        "accumulate": config.accumulate,
    }
    return lambda batch: train(batch, config.method, **options)


def _orthonormal(B: F64) -> F64:
    """Return the matrix (d, k) with orthonormal columns that is nearest to B; it keeps the span."""
    U, _, V_t = np.linalg.svd(B, full_matrices=False)
    return np.ascontiguousarray(U @ V_t)


def _rotation(Q: F64, B: F64) -> F64:
    """Return the orthogonal matrix R for which Q R is nearest to B (the Procrustes problem)."""
    U, _, V_t = np.linalg.svd(Q.T @ B)
    rotation: F64 = U @ V_t
    return rotation


def _check_held_out(on: TaskBatch | None) -> TaskBatch:
    """Return the held-out tasks; raise TypeError if they are missing."""
    if not isinstance(on, TaskBatch):
        raise TypeError(f"on must be a TaskBatch of held-out tasks; got {check.show(on)}")
    require_whole(on, "interval")
    return on
