r"""How many tasks and samples a round has."""

from __future__ import annotations

import numpy as np

from .._support import check
from ..tasks.batch import BatchSummary, TaskBatch, counts_text
from ..tasks.linear import MAX_COUNT, LinearTasks


class _Default(int):
    """The number of tasks a round where none was given."""

    def __repr__(self) -> str:
        return f"<{int(self)} of a law, all of a batch>"


DEFAULT_N = _Default(100)


def sample_counts(
    tasks: LinearTasks | TaskBatch,
    m_in: int | None,
    m_out: int | None,
    pool: int | None,
    shared: bool,
) -> tuple[int | None, int | None]:
    """Samples per task in the inner and the outer set; None twice for infinitely many."""
    given = {"m_in": m_in, "m_out": m_out}
    if isinstance(tasks, TaskBatch):
        for name, value in {**given, "pool": pool}.items():
            if value is not None:
                raise ValueError(
                    f"{name} must be None for a batch, which has its own; got {check.show(value)}"
                )
        if shared and not tasks.shared:
            raise ValueError(
                "shared_samples=True needs a batch whose inner and outer sets are the same arrays: "
                "TaskBatch(X, y, X, y)"
            )
        return None, None
    if shared and m_in is not None and m_out is None:
        given["m_out"] = m_in
    for name, value in given.items():
        if value is not None:
            given[name] = check.integer(name, value, 1, MAX_COUNT)
    if shared and given["m_in"] != given["m_out"]:
        raise ValueError(
            f"m_out must equal m_in = {given['m_in']} for shared samples; got {given['m_out']}"
        )
    if pool is not None and (given["m_in"] is None) != (given["m_out"] is None):
        missing = "m_in" if given["m_in"] is None else "m_out"
        raise ValueError(f"{missing} must be an integer for a pool of tasks with samples; got None")
    return given["m_in"], given["m_out"]


def tasks_per_round(
    n: int | None, pool: int | None, tasks: LinearTasks | TaskBatch, with_data: bool
) -> int | None:
    """Tasks of a round: all that there are, or a number of them; None for infinitely many."""
    there_are: int | None = pool
    whose = "the pool"
    if isinstance(tasks, TaskBatch):
        there_are, whose = tasks.n, "the batch"
        n = None if n is DEFAULT_N else n
    elif isinstance(tasks.heads, np.ndarray):
        fixed = tasks.heads.shape[0]
        if pool is not None and not with_data:
            raise ValueError(f"pool must be None for fixed heads, which are one; got {pool}")
        if pool is not None and pool > fixed:
            raise ValueError(f"pool must be at most {fixed}, the fixed heads; got {pool}")
        if pool is None:
            there_are, whose = fixed, "the fixed heads"
    if n is None:
        return there_are
    n = check.integer("n", n, 1, MAX_COUNT)
    if there_are is not None and n > there_are:
        raise ValueError(f"n must be at most {there_are}, {whose} (n=None takes all); got {n}")
    return n


def round_text(
    tasks: LinearTasks | TaskBatch | BatchSummary,
    n: int | None,
    counts: tuple[int | None, int | None],
    pool: int | None,
) -> str:
    """Say how many tasks a round takes and how many samples each has."""
    given = counts if isinstance(tasks, LinearTasks) else (tasks.m_in, tasks.m_out)
    return counts_text(n, *given) + ("" if pool is None else f", pool={pool}")
