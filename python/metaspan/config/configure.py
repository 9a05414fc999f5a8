r"""Checks and resolves the arguments of a training run, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from .._support import check
from ..linear_methods import LinearAttention, LinearMAML
from ..methods import Method, block_count, resolve, state_columns
from ..parameters import check_blocks, check_solvable, start_more
from ..sharding.agreement import agreed
from ..tasks.batch import TaskBatch
from ..tasks.linear import MAX_COUNT, LinearTasks
from . import records
from .config import TrainConfig
from .counts import DEFAULT_N, dimensions_per_task, sample_counts, tasks_per_round
from .engine_choice import (
    check_accumulate,
    check_device_run,
    check_limit,
    check_limit_records,
    check_room,
    check_route,
    check_sparse,
    check_track_start,
    check_weights,
    choose_engine,
)
from .options import DEFAULT_STOP, Checkpoint, CoordinateStart, FittedStart, Stop
from .sharded import check_sharded_run, columns_of, share_tasks
from .start import GivenStart, resolve_start

if TYPE_CHECKING:
    from .start import StartLike

ROUTES = ("auto", "gram", "vector", "dual")


def configure(
    tasks: LinearTasks | TaskBatch,
    method: Method | str,
    *,
    rounds: int = 1000,
    n: int | None = DEFAULT_N,
    m_in: int | None = None,
    m_out: int | None = None,
    d_over_n: float | None = None,
    width: int | None = None,
    init: StartLike = None,
    engine: str = "auto",
    route: str = "auto",
    accumulate: str = "float64",
    pool: int | None = None,
    shared_samples: bool = False,
    track_start: bool = False,
    seed: int = 0,
    trials: int | range = 1,
    threads: int | None = None,
    device: str = "cpu",
    dtype: DTypeLike | None = None,
    record: str | Iterable[str] | None = None,
    record_every: int = 1,
    stop: Stop | None = DEFAULT_STOP,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    progress: bool | Callable[[int, int], object] = False,
    on_failure: str = "return",
    comm: Any = None,
    **steps: float,
) -> TrainConfig:
    r"""Check and resolve the arguments of a training run.

    Parameters
    ----------
    tasks, method : object
        As in `train`, which describes all arguments.
    rounds, n, m_in, m_out, d_over_n, width, init, engine, route, accumulate, pool : object
        As in `train`.
    shared_samples, track_start, seed, trials, threads, device, dtype, record : object
        As in `train`.
    record_every, stop, checkpoint, progress, on_failure, comm, **steps : object
        As in `train`.

    Returns
    -------
    TrainConfig
        The configuration.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value.
    FileNotFoundError
        If the folder of the checkpoint does not exist.
    """
    tasks, comm, exchange = share_tasks(tasks, comm)
    with agreed(exchange):
        shard = columns_of(tasks, exchange)
        chosen = resolve(method, steps, configure)
        pool = None if pool is None else check.integer("pool", pool, 1, MAX_COUNT)
        shared = check.flag("shared_samples", shared_samples)
        counts = sample_counts(tasks, m_in, m_out, pool, shared)
        start, size = resolve_start(init, width, tasks.d, tasks.k, chosen, shard=shard)
        columns = state_columns(chosen, size)
        ratio = dimensions_per_task(d_over_n, n, pool, tasks)
        count = tasks_per_round(n, pool, tasks, counts[0] is not None, ratio)
        ran = choose_engine(engine, tasks, chosen, counts=counts, pool=pool, n=count, width=columns)
        check_sharded_run(tasks, ran, exchange, pool=pool, device=device)
        drawn_pool = None if counts[0] is None else pool  # a pool without samples is one of heads
        _check_drawn_start(start, tasks, counts, count)
        on_data = _check_reuse(route, ran, drawn_pool)
        kind = _choose_dtype(dtype, init, tasks)
        _check_accumulate(accumulate, route, kind, tasks, ran)
        check_device_run((device, ran), tasks, route=route, accumulate=accumulate, columns=columns)
        _check_method(chosen, tasks, counts[0], size)
        check_route(tasks, chosen, route)
        names = records.resolve(record, tasks, chosen)
        tracked = check.flag("track_start", track_start)
        if count is None:
            ratio = ratio or 0.0
            _check_infinite(tasks, chosen, start, m_in=counts[0], shared=shared, width=size)
            check_limit_records(chosen, names)
            check_room(tasks, chosen, columns, ratio)
        if tracked:  # the start, and the blocks of (28)
            room = tasks.k + (1 + block_count(chosen)) * columns
            check_track_start(ran, drawn_pool, tasks.d, room)
        return TrainConfig(
            tasks=tasks,
            method=chosen,
            rounds=check.integer("rounds", rounds, 0, 2**62),
            n=count,
            m_in=counts[0],
            m_out=counts[1],
            d_over_n=ratio,
            width=size,
            init=start,
            engine=ran,
            route=route if on_data else None,
            accumulate=accumulate,
            pool=pool,
            shared_samples=shared,
            track_start=tracked,
            seed=check.integer("seed", seed, 0, 2**64 - 1),
            trials=check_trials(trials),
            threads=check.threads(threads),
            device=device,
            dtype=kind,
            record=names,
            record_every=check.integer("record_every", record_every, 1, 2**62),
            stop=_check_stop(stop, tasks.k, chosen),
            checkpoint=_check_checkpoint(checkpoint),
            progress=progress if callable(progress) else check.flag("progress", progress),
            on_failure=check.choice("on_failure", on_failure, ("return", "raise")),
            comm=comm,
        )


def _check_infinite(
    tasks: LinearTasks | TaskBatch,
    method: Method,
    start: object,
    *,
    m_in: int | None,
    shared: bool,
    width: int,
) -> None:
    """Raise ValueError unless infinitely many tasks a round have a limit."""
    assert isinstance(tasks, LinearTasks)
    w0 = start.w0 if isinstance(start, GivenStart) else None
    check_limit(tasks, method, shared and bool(m_in), m_in=m_in, width=width, w0=w0)


def _check_method(
    method: Method, tasks: LinearTasks | TaskBatch, m_in: int | None, width: int
) -> None:
    """Raise ValueError unless a method can use the inner sets, and learn at this width."""
    start_more(method, width)
    if not isinstance(tasks, TaskBatch):
        return check_solvable(method, m_in, width)
    check_weights(tasks, method)
    check_solvable(method, tasks.least_m_in, width)
    check_blocks(method, tasks.m_in)


def _check_reuse(route: str, engine: str, pool: int | None) -> bool:
    """Return whether rounds reuse data; if they do not, raise ValueError if a route is named."""
    check.choice("route", route, ROUTES)
    on_data = engine == "arrays" or (engine == "collapsed" and pool is not None)
    if not on_data and route != "auto":
        raise ValueError(f"route must be 'auto' unless rounds reuse data; got {route!r}")
    return on_data


def _check_drawn_start(
    start: object,
    tasks: LinearTasks | TaskBatch,
    counts: tuple[int | None, int | None],
    n: int | None,
) -> None:
    """Raise ValueError unless the run has what a start by an estimator or by coordinates needs."""
    if isinstance(start, CoordinateStart) and isinstance(tasks, TaskBatch):
        raise ValueError(
            "init must be a Result that has B at full size for a batch; got one in coordinates, "
            "whose full_B() draws a B"
        )
    if not isinstance(start, FittedStart):
        return
    if isinstance(tasks, LinearTasks) and (n is None or counts == (None, None)):
        missing = "n" if n is None else "m_in"
        raise ValueError(
            f"{missing} must be an integer for a start that is fitted to n tasks with the samples "
            "of a round; got None"
        )


def check_trials(trials: object) -> range:
    """Check and return the numbers of the trials."""
    if not isinstance(trials, range):
        return range(check.integer("trials", trials, 1, MAX_COUNT))
    # Only the ends are checked: a range may have 2^31 numbers.
    if not trials or min(trials[0], trials[-1]) < 0 or max(trials[0], trials[-1]) > MAX_COUNT:
        raise ValueError(f"trials must be a range of numbers >= 0 that is not empty; got {trials}")
    return trials


def _choose_dtype(dtype: DTypeLike | None, init: object, tasks: LinearTasks | TaskBatch) -> str:
    if dtype is not None:
        return check.float_dtype("dtype", dtype).name
    if isinstance(tasks, TaskBatch):
        return _name_of(tasks.dtype)
    if isinstance(init, tuple) and isinstance(init[0], np.ndarray):
        return _name_of(init[0].dtype)
    return "float64" if tasks.B_star is None else _name_of(tasks.B_star.dtype)


def _name_of(dtype: np.dtype[Any]) -> str:
    """Return the name of float32 or float64; NumPy computes its names, which takes longer."""
    return "float32" if dtype == np.float32 else "float64"


def _check_accumulate(
    accumulate: str, route: str, dtype: str, tasks: LinearTasks | TaskBatch, engine: str
) -> None:
    """Raise ValueError unless the data and the engine admit this dtype of the accumulators."""
    of_data = _name_of(tasks.dtype) if isinstance(tasks, TaskBatch) else dtype
    check_accumulate(accumulate, route, of_data, engine)
    check_sparse(tasks, accumulate)


def _check_stop(stop: object, k_star: int, method: Method) -> Stop | None:
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"stop must be a Stop or None; got {check.show(stop)}")
    if stop is not None and stop.dist not in (None, 0.0, DEFAULT_STOP.dist) and not k_star:
        raise ValueError(f"stop dist must be None for a batch without a B_star; got {stop.dist:g}")
    # At the start B = 0, the first step of LinearMAML may reach the span of B_star, where the
    # distance is 0 long before B has the right length. A run of LinearAttention has not converged
    # while A, which the distance does not describe, is far from the span.
    linear = isinstance(method, (LinearMAML, LinearAttention))
    return None if linear and stop == DEFAULT_STOP else stop


def _check_checkpoint(checkpoint: object) -> Checkpoint | None:
    if checkpoint is None:
        return None
    if isinstance(checkpoint, (str, os.PathLike)):
        checkpoint = Checkpoint(checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint must be a path, a Checkpoint or None; got {check.show(checkpoint)}"
        )
    path = Path(checkpoint.path)
    if path.is_dir():
        raise ValueError(f"checkpoint must be a file; {str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"checkpoint: there is no folder {str(path.parent)!r}")
    return checkpoint
