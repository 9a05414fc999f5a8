r"""Checks and resolves the arguments of a fit, before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

import numpy as np

from .._support import check
from ..config.configure import check_trials
from ..config.counts import DEFAULT_N
from ..config.devices import DEVICES
from ..config.fit_config import FitConfig
from ..config.options import DEFAULT_STOP, Stop
from ..config.sharded import check_sharded_run, columns_of, share_tasks
from ..sharding.agreement import agreed
from ..solved_methods import AltGDmin
from ..tasks.batch import TaskBatch
from ..tasks.linear import MAX_COUNT, LinearTasks
from .estimator import Estimator
from .names import algorithm_of, resolve_estimator

ENGINES = ("auto", "arrays", "law", "sampled")
RECORDS = ("dist", "angles", "objective")
OF_GROUND_TRUTH = ("dist", "angles")
# The largest numbers of rows for which "auto" chooses "law": the frame (24) of N rows takes about 4
# N^2 bytes. Samples are N = n m rows. An estimator of averages needs two rows per task instead.
MOST_ROWS = 10_000
MOST_AVERAGES = 20_000


def configure_fit(
    tasks: LinearTasks | TaskBatch,
    estimator: Estimator | AltGDmin | str,
    *,
    n: int | None = DEFAULT_N,
    m: int | None = None,
    width: int | None = None,
    seed: int = 0,
    trials: int | range = 1,
    threads: int | None = None,
    engine: str = "auto",
    rounds: int | None = None,
    record: str | Iterable[str] | None = None,
    stop: Stop | None = DEFAULT_STOP,
    progress: bool | Callable[[int, int], object] = False,
    on_failure: str = "return",
    device: str = "cpu",
    comm: Any = None,
    **options: Any,
) -> FitConfig:
    """Check and resolve the arguments of `fit`; its docstring describes them and the errors."""
    tasks, comm, exchange = share_tasks(tasks, comm)
    with agreed(exchange):
        columns_of(tasks, exchange)
        chosen = resolve_estimator(estimator, options)
        number, m = _check_counts(tasks, n, m)
        size = resolve_width(width, tasks)
        check.choice("engine", engine, ENGINES)
        check.choice("device", device, DEVICES)
        ran = choose_engine(engine, tasks, chosen, number, m, device=device)
        check_sharded_run(tasks, ran, exchange, pool=None, device=device)
        return FitConfig(
            tasks=tasks,
            method=chosen,
            rounds=None if rounds is None else check.integer("rounds", rounds, 0, 2**62),
            n=number,
            m_in=m,
            width=size,
            engine=ran,
            seed=check.integer("seed", seed, 0, 2**64 - 1),
            trials=check_trials(trials),
            threads=check.threads(threads),
            record=_resolve_records(record, tasks.k),
            stop=_check_stop(stop, tasks.k),
            progress=progress if callable(progress) else check.flag("progress", progress),
            on_failure=check.choice("on_failure", on_failure, ("return", "raise")),
            device=device,
            comm=comm,
        )


def _check_counts(
    tasks: LinearTasks | TaskBatch, n: int | None, m: int | None
) -> tuple[int, int | None]:
    """Check and return the number of tasks, and the samples per task; None for a batch."""
    if isinstance(tasks, TaskBatch):
        for name, value in (("n", None if n is DEFAULT_N else n), ("m", m)):
            if value is not None:
                raise ValueError(
                    f"{name} must be left out for a batch, all of whose samples are used; got "
                    f"{check.show(value)}"
                )
        return tasks.n, None
    fixed = len(tasks.heads) if isinstance(tasks.heads, np.ndarray) else None
    if n is None or (fixed is not None and n is DEFAULT_N):
        n = fixed
    if n is None:
        raise ValueError("n must be an integer, the number of tasks; got None")
    number = check.integer("n", n, 1, MAX_COUNT if fixed is None else fixed)
    if m is None:
        raise ValueError("m must be an integer, the number of samples per task; got None")
    return number, check.integer("m", m, 1, MAX_COUNT)


def width_until_chosen(width: int | str | None) -> int | None:
    """Return the width of a configuration: 1 in place of "cv", until the samples choose another."""
    if isinstance(width, str):
        check.choice("width", width, ("cv",))
        return 1
    return width


def resolve_width(width: int | None, tasks: LinearTasks | TaskBatch) -> int:
    """Check and return the number of columns of the representation."""
    if width is None:
        if not tasks.k:
            raise ValueError("width must be given for a batch without a B_star; got None")
        width = tasks.k
    size = check.integer("width", width, 1)
    if size > tasks.d:
        raise ValueError(f"width must be at most d = {tasks.d}; got {size}")
    return size


def rows_in_law(
    tasks: LinearTasks, estimator: Estimator | AltGDmin, n: int, m: int
) -> tuple[int, int]:
    """Return the number of rows that the engine "law" draws, and the most for which "auto" does."""
    if draws_averages(tasks, estimator):
        return 2 * n, MOST_AVERAGES
    return n * m, MOST_ROWS


def draws_averages(tasks: LinearTasks, estimator: Estimator | AltGDmin) -> bool:
    """Return whether the engine "law" draws averages of tasks in place of samples."""
    return algorithm_of(estimator).uses_averages and tasks.features != "sphere"


def choose_engine(
    engine: str,
    tasks: LinearTasks | TaskBatch,
    estimator: Estimator | AltGDmin,
    n: int,
    m: int | None,
    *,
    device: str = "cpu",
) -> str:
    """Choose the engine of the samples; raise ValueError if the requested engine cannot run."""
    if isinstance(tasks, TaskBatch):
        _check_place(tasks, device)
        if engine in ("auto", "arrays"):
            return "arrays"
        raise ValueError(f"engine must be 'auto' or 'arrays' for a batch; got {engine!r}")
    if engine == "arrays":
        raise ValueError(
            "engine must be 'auto', 'law' or 'sampled' for tasks from a distribution; got "
            "'arrays': pass the batch of tasks.sample() to fit arrays"
        )
    if engine == "law" and not tasks.is_symmetric:
        shown = f"features={tasks.features!r}" if tasks.spectrum is None else "a spectrum"
        raise ValueError(
            f"engine 'law' needs features that are symmetric under rotations; got {shown}"
        )
    if device != "cpu" and engine == "law":
        raise ValueError(
            "device must be 'cpu' for the engine 'law', which generates no rows of X; "
            f"got {device!r}"
        )
    if device != "cpu":
        return "sampled"
    if engine != "auto":
        return engine
    assert m is not None
    rows, most = rows_in_law(tasks, estimator, n, m)
    fits = rows <= most and rows + tasks.k <= tasks.d
    return "law" if tasks.is_symmetric and fits else "sampled"


def _check_place(batch: TaskBatch, device: str) -> None:
    """Raise ValueError if the device cannot read the features of a batch."""
    if batch.on_device and device == "cpu":
        raise ValueError(f"device must be 'cuda' for tasks in device memory; got {device!r}")
    if batch.is_sparse and device != "cpu":
        raise ValueError(f"device must be 'cpu' for sparse features; got {device!r}")


def _resolve_records(record: object, k_star: int) -> tuple[str, ...]:
    """Check the names of the records and return each name once; None means the default."""
    if record is None:
        return ("dist",) if k_star else ()
    names = (record,) if isinstance(record, str) else record
    if not isinstance(names, Iterable):
        raise TypeError(f"record must hold names of records; got {check.show(record)}")
    checked = tuple(dict.fromkeys(check.choice("record", name, RECORDS) for name in names))
    if isinstance(names, Set):  # the order of a set differs between processes
        checked = tuple(name for name in RECORDS if name in checked)
    for name in checked:
        if name in OF_GROUND_TRUTH and not k_star:
            raise ValueError(f"record {name!r} needs a batch with a B_star; this one has none")
    return checked


def _check_stop(stop: object, k_star: int) -> Stop | None:
    """Check and return the stop rule."""
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"stop must be a Stop or None; got {check.show(stop)}")
    if stop is not None and stop.loss_out:
        raise ValueError(
            "stop must have loss_out=None for fit, whose estimators have an objective of their "
            f"own; got {stop.loss_out:g}"
        )
    if stop is not None and stop.dist not in (None, 0.0, DEFAULT_STOP.dist) and not k_star:
        raise ValueError(f"stop dist must be None for a batch without a B_star; got {stop.dist:g}")
    return stop
