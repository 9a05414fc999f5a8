r"""Checks of a run that is shared by the ranks of a communicator."""

from __future__ import annotations

from typing import Any

from .._support import check
from ..sharding.agreement import require_equal
from ..sharding.columns import Columns, check_ranks
from ..sharding.exchange import Exchange, check_comm
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks

Source = LinearTasks | TaskBatch


def share_tasks(tasks: Source, comm: Any) -> tuple[Source, Any, Exchange | None]:
    """Return the tasks as those of a rank, the communicator and its exchange.

    The communicator may be that of a batch; without one, the tasks are returned as they are. All
    ranks raise the same error unless all of them have tasks of the same kind.
    """
    if comm is None:
        comm = tasks.comm if isinstance(tasks, TaskBatch) else None
        if comm is None:
            return tasks, None, None
    exchange = Exchange(check_comm(comm))
    require_equal(exchange, {"the type of tasks": type(tasks).__name__})
    if isinstance(tasks, TaskBatch):
        tasks = tasks.sharded(comm)
        assert tasks._columns is not None
        exchange = tasks._columns.exchange
    return tasks, comm, exchange


def columns_of(tasks: object, exchange: Exchange | None) -> Columns | None:
    """Return the columns that this rank holds; None for a run of one process.

    Raises TypeError for tasks of any other class.
    """
    if isinstance(tasks, TaskBatch):
        return tasks._columns
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks or a TaskBatch; got {check.show(tasks)}")
    return None if exchange is None else Columns(tasks.d, exchange)


def check_sharded_run(
    tasks: Source,
    engine: str,
    exchange: Exchange | None,
    *,
    pool: int | None,
    device: str,
    ranks: int = 1,
) -> None:
    """Raise ValueError unless ranks can share a run: those of an exchange, or planned `ranks`."""
    if exchange is None and ranks == 1:
        return
    if exchange is not None:
        name, wanted, given, count = "comm", "None", "a communicator", exchange.ranks
    else:
        name, wanted, given, count = "ranks", "1", str(ranks), ranks
    if engine not in ("arrays", "sampled"):
        spectral = isinstance(tasks, LinearTasks) and tasks.spectrum is not None
        reason = (
            "whose rounds with a spectrum are computed by one process"
            if engine == "population" and spectral
            else "whose cost does not depend on d"
        )
        raise ValueError(
            f"{name} must be {wanted} for the engine {engine!r}, {reason}; got {given}: ranks "
            "share runs of the engines 'sampled' and 'arrays'"
        )
    if pool is not None:
        raise ValueError(
            f"pool must be None for a run with {name}, since a pool of full size is drawn by one "
            f"process; got {pool}"
        )
    if device != "cpu":
        raise ValueError(f"device must be 'cpu' for a run with {name}; got {device!r}")
    check_ranks(tasks.d, count, name)
