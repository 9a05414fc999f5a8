r"""How many tasks and samples a round has, and with that which engine runs it."""

from __future__ import annotations

import numpy as np

from . import _check
from .batch import TaskBatch
from .tasks import MAX_COUNT, LinearTasks

ENGINES = ("auto", "population", "arrays")


class _Default(int):
    """A number that says that none was given."""


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
                raise ValueError(f"{name} must be None for a batch, which has its own; got {value}")
        if shared and not tasks.shared:
            raise ValueError(
                "shared_samples=True needs a batch whose inner and outer sets are the same arrays: "
                "TaskBatch(X, y, X, y)"
            )
        return None, None
    if shared and m_in is not None and m_out is None:
        given["m_out"] = m_in
    numbers = [name for name, value in given.items() if value is not None]
    if not numbers:
        return None, None
    for name, value in given.items():
        if value is None:
            raise ValueError(f"{name} must be an integer, as {numbers[0]} is; got None")
        given[name] = _check.integer(name, value, 1, MAX_COUNT)
    if shared and given["m_in"] != given["m_out"]:
        raise ValueError(
            f"m_out must equal m_in = {given['m_in']} for shared samples; got {given['m_out']}"
        )
    if pool is None:
        raise ValueError(
            "pool must be an integer where m_in and m_out are: samples are drawn once, for a pool "
            "of tasks; got None"
        )
    return given["m_in"], given["m_out"]


def engine_of(engine: str, tasks: LinearTasks | TaskBatch, counts: tuple[int | None, ...]) -> str:
    """What runs: a matter of the arguments alone."""
    _check.choice("engine", engine, ENGINES)
    runs = "arrays" if isinstance(tasks, TaskBatch) or counts[0] is not None else "population"
    if engine in ("auto", runs):
        return runs
    if runs == "population":
        raise ValueError(
            "engine must be 'auto' or 'population' for infinitely many samples (m_in and m_out "
            f"are None); got {engine!r}"
        )
    raise ValueError(f"engine must be 'auto' or 'arrays' for data; got {engine!r}")


def tasks_per_round(
    n: int | None, pool: int | None, tasks: LinearTasks | TaskBatch, with_data: bool
) -> int:
    """Tasks of a round: all that there are, or a number of them."""
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
        if there_are is None:
            raise ValueError(
                "n must be an integer: n=None, all tasks, is supported for fixed heads, a pool "
                "and a batch"
            )
        return there_are
    n = _check.integer("n", n, 1, MAX_COUNT)
    if there_are is not None and n > there_are:
        raise ValueError(f"n must be at most {there_are}, {whose} (n=None takes all); got {n}")
    return n


def check_accumulate(accumulate: str, route: str, dtype: str, engine: str = "arrays") -> None:
    """Raise ValueError unless sums may be taken in that dtype."""
    _check.choice("accumulate", accumulate, ("float64", "float32"))
    if accumulate == "float64":
        return
    if engine != "arrays" or dtype != "float32":
        found = f"{dtype} data" if engine == "arrays" else "no data"
        raise ValueError(f"accumulate='float32' needs float32 data; got {found}")
    if route not in ("auto", "vector"):
        raise ValueError(f"accumulate='float32' needs the vector route; got {route!r}")
