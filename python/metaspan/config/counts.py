r"""Numbers of tasks and of samples per round."""

from __future__ import annotations

import numpy as np

from .._support import check
from ..tasks.batch import TaskBatch
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.summary import BatchSummary, counts_text


class _Default(int):
    """A default number; its type distinguishes it from a number that the user passed."""

    meaning: str

    def __new__(cls, number: int, meaning: str = "") -> _Default:
        default = super().__new__(cls, number)
        default.meaning = meaning
        return default

    def __repr__(self) -> str:
        return f"<{int(self)} {self.meaning}>"


DEFAULT_N = _Default(100, "of a law, all of a batch")
DEFAULT_ROUNDS = _Default(1000, "of a run, the limit of an estimator")  # of `estimate`


def sample_counts(
    tasks: LinearTasks | TaskBatch,
    m_in: int | None,
    m_out: int | None,
    pool: int | None,
    shared: bool,
) -> tuple[int | None, int | None]:
    """Check and return the samples per task in the inner and the outer set.

    None means infinitely many; for a batch, both numbers are None, since a batch has its own
    samples.
    """
    counts = {"m_in": m_in, "m_out": m_out}
    if isinstance(tasks, TaskBatch):
        for name, value in {**counts, "pool": pool}.items():
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
        counts["m_out"] = m_in
    for name, value in counts.items():
        if value is not None:
            counts[name] = check.integer(name, value, 1, MAX_COUNT)
    if shared and counts["m_in"] != counts["m_out"]:
        raise ValueError(
            f"m_out must equal m_in = {counts['m_in']} for shared samples; got {counts['m_out']}"
        )
    if pool is not None and (counts["m_in"] is None) != (counts["m_out"] is None):
        missing = "m_in" if counts["m_in"] is None else "m_out"
        raise ValueError(f"{missing} must be an integer for a pool of tasks with samples; got None")
    return counts["m_in"], counts["m_out"]


def tasks_per_round(
    n: int | None,
    pool: int | None,
    tasks: LinearTasks | TaskBatch,
    with_data: bool,
    d_over_n: float | None = None,
) -> int | None:
    """Check and return the number of tasks per round; None means infinitely many.

    `with_data` says that a pool has finite samples. With `d_over_n`, fixed heads are drawn
    infinitely often; without it, n=None takes each of them once.
    """
    available: int | None = pool
    source = "the tasks of the pool"
    if isinstance(tasks, TaskBatch):
        available, source = tasks.n, "the tasks of the batch"
        n = None if n is DEFAULT_N else n  # all tasks of the user's data unless n is passed
    elif isinstance(tasks.heads, np.ndarray):
        fixed = tasks.heads.shape[0]
        if pool is not None and not with_data:
            raise ValueError(f"pool must be None: fixed heads are a pool themselves; got {pool}")
        if pool is not None and pool > fixed:
            raise ValueError(f"pool must be at most {fixed}, the number of heads; got {pool}")
        if pool is None and (n is not None or d_over_n is None):
            available, source = fixed, "the number of fixed heads"
    if n is None:
        return available
    n = check.integer("n", n, 1, MAX_COUNT)
    if available is not None and n > available:
        raise ValueError(f"n must be at most {available}, {source} (n=None takes all); got {n}")
    return n


def dimensions_per_task(
    d_over_n: float | None, n: int | None, pool: int | None, tasks: LinearTasks | TaskBatch
) -> float | None:
    """Check and return d / n of the limit, None for a finite number n of tasks."""
    if d_over_n is None:
        return None
    obstacle = None if n is None else f"n={int(n) if n is DEFAULT_N else check.show(n)}"
    if isinstance(tasks, TaskBatch):
        obstacle = "a batch"
    elif pool is not None:
        obstacle = f"pool={pool}"
    if obstacle is not None:
        raise ValueError(
            "d_over_n must be None unless n=None takes infinitely many tasks of a law; got "
            f"{check.show(d_over_n)} with {obstacle}"
        )
    return check.real("d_over_n", d_over_n)


def round_text(
    tasks: LinearTasks | TaskBatch | BatchSummary,
    n: int | None,
    counts: tuple[int | None, int | None],
    pool: int | None,
    d_over_n: float | None,
) -> str:
    """Format the numbers of tasks per round and of samples per task."""
    samples = counts if isinstance(tasks, LinearTasks) else (tasks.m_in, tasks.m_out)
    text = counts_text(n, *samples) + ("" if pool is None else f", pool={pool}")
    return f"{text}, d_over_n={d_over_n:g}" if d_over_n else text
