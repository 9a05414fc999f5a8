r"""Predicts memory and time of a training run before it starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from .._support import check
from ..config.config import TrainConfig
from ..config.configure import configure
from ..config.counts import DEFAULT_N, round_text
from ..config.options import DEFAULT_STOP, Checkpoint, Stop
from ..config.sharded import check_sharded_run
from ..cost.device import on_device
from ..cost.estimate import Estimate
from ..engines import engine_of
from ..methods import Method
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks

if TYPE_CHECKING:
    from ..config.start import StartLike


def estimate(
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
    ranks: int | None = None,
    **steps: float,
) -> Estimate:
    r"""Predict the memory and the time of a call of `train` with the same arguments.


    Parameters
    ----------
    tasks, method : object
        As in `train`, which describes all arguments.
    rounds, n, m_in, m_out, d_over_n, width, init, engine, route, accumulate : object
        As in `train`. The default of n does not apply to a `TaskBatch`: by default, a round uses
        all tasks of the batch.
    pool, shared_samples, track_start, seed, trials, threads, device, dtype, record : object
        As in `train`.
    record_every, stop, checkpoint, progress, on_failure, comm, **steps : object
        As in `train`.
    ranks : int or None
        Number of ranks of a communicator that share the run, see `train`. None: the ranks of
        `comm` or of the batch's communicator, or one. A number needs no MPI, and no `comm`. With
        several ranks, the estimate is that of the rank with the most columns, and the time assumes
        the network of a common cluster.

    Returns
    -------
    Estimate
        Memory in bytes and time in seconds of all rounds of all trials, if no trial stops early.

    Raises
    ------
    TypeError, ValueError
        If `train` would raise the error for these arguments.
    MemoryError
        If the samples of one thread's tasks do not fit into memory.

    Notes
    -----
    The core counts operations, and the predicted time is these counts divided by the rates of this
    machine; see `show_config`. The first call on a machine measures the rates, which takes about a
    second, and keeps them in a file. On a quiet machine the predicted time is right within a factor
    of two. The predicted time includes neither the time of a user's function of heads or features,
    nor the fraction of a millisecond that every call takes. With ``device="cuda"``, the estimate
    also has the device memory, and a model predicts the time. This model was not calibrated on a
    card.

    Examples
    --------
    >>> import metaspan as ms
    >>> e = ms.estimate(ms.LinearTasks(d=10**12, k=10), "anil", rounds=1000)
    >>> e.engine, e.memory_bytes < 10**6
    ('population', True)
    """
    config = configure(
        tasks,
        method,
        rounds=rounds,
        n=n,
        m_in=m_in,
        m_out=m_out,
        d_over_n=d_over_n,
        width=width,
        init=init,
        engine=engine,
        route=route,
        accumulate=accumulate,
        pool=pool,
        shared_samples=shared_samples,
        track_start=track_start,
        seed=seed,
        trials=trials,
        threads=threads,
        device=device,
        dtype=dtype,
        record=record,
        record_every=record_every,
        stop=stop,
        checkpoint=checkpoint,
        progress=progress,
        on_failure=on_failure,
        comm=comm,
        **steps,
    )
    return needs(config, ranks)


def needs(config: TrainConfig, ranks: int | None = None) -> Estimate:
    """Predict the memory and the time of a configured run, of one rank if ranks share it."""
    tasks, count = config.tasks, 1 if config.exchange is None else config.exchange.ranks
    assert isinstance(tasks, (LinearTasks, TaskBatch))
    if ranks is not None:
        count = check.integer("ranks", ranks, 1)
    check_sharded_run(
        tasks, config.engine, None, pool=config.pool, device=config.device, ranks=count
    )
    counts = config.m_in, config.m_out
    described = round_text(config.tasks, config.n, counts, config.pool, config.d_over_n)
    on_cpu = replace(engine_of(config).cost(config, count), round=described, ranks=count)
    if config.device == "cpu":
        return on_cpu
    return on_device(config, on_cpu)
