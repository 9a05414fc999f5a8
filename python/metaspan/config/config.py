r"""What a training run is: its arguments, checked and resolved before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._support import check
from ..methods import Method, resolve
from ..tasks.batch import BatchSummary, TaskBatch
from ..tasks.linear import MAX_COUNT, LinearTasks
from . import records
from .counts import DEFAULT_N, sample_counts, tasks_per_round
from .engine_choice import (
    check_accumulate,
    check_infinite_tasks,
    check_sparse,
    check_track_start,
    choose_engine,
)
from .layout import Layout, layout_of
from .options import DEFAULT_STOP, Checkpoint, Init, Stop
from .start import GivenStart, resolve_start

ROUTES = ("auto", "gram", "vector", "dual")
DEVICES = ("cpu",)


def setting(
    default: Any,
    *,
    resumable: bool = False,
    in_studies: bool = True,
    is_word: bool = False,
    is_count: bool = False,
) -> Any:
    r"""Declare a field of `TrainConfig`, and what the argument of that name may do elsewhere.

    Parameters
    ----------
    default : object
        Default of the argument; the field itself has none, since it holds what became of it.
    resumable : bool
        Whether a run that goes on from a checkpoint may have another value.
    in_studies : bool
        Whether studies take it by name.
    is_word : bool
        Whether its values may be words: a study takes other strings for expressions.
    is_count : bool
        Whether it counts something: a study turns a whole float into an integer.
    """
    told = dict(default=default, resumable=resumable, in_studies=in_studies)
    return field(metadata=told | dict(is_word=is_word, is_count=is_count))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    r"""What ran: the arguments of `train`, checked and resolved.

    Parameters
    ----------
    tasks : LinearTasks, TaskBatch or BatchSummary
        Where the tasks come from; of a batch, a file keeps a summary.
    method : ANIL, MAML or AverageRisk
        The method.
    rounds, width, record_every, seed, threads : int
        Numbers, where `train` also takes None for ``tasks.k`` or all CPUs.
    n : int or None
        Tasks a round; None for infinitely many.
    m_in, m_out, pool : int or None
        As given.
    init : Init or (ndarray, ndarray)
        The start by its law, or the arrays ``(B0, w0)``.
    engine, device : str
        What ran, and where.
    route : str or None
        How the arrays engine computed a round: "gram", "vector" or "dual".
    accumulate : str
        In what sums over float32 data were taken.
    shared_samples, track_start : bool
        As given.
    trials : range
        Numbers of the trials.
    dtype : str
        Of a full-size `B`.
    record : tuple of str
        Names of the records.
    stop : Stop or None
        As given.
    checkpoint : Checkpoint or None
        The file, and how often it is written.
    progress : bool or callable
        As given; in a result, a function has become False.
    on_failure : str
        As given.
    """

    tasks: LinearTasks | TaskBatch | BatchSummary
    method: Method
    rounds: int = setting(1000, resumable=True, is_count=True)
    n: int | None = setting(DEFAULT_N, is_count=True)
    m_in: int | None = setting(None, is_count=True)
    m_out: int | None = setting(None, is_count=True)
    width: int = setting(None, is_count=True)
    init: Init | GivenStart = setting("random", is_word=True)
    engine: str = setting("auto", is_word=True)
    route: str | None = setting("auto", resumable=True, is_word=True)
    accumulate: str = setting("float64", is_word=True)
    pool: int | None = setting(None, is_count=True)
    shared_samples: bool = setting(False)
    track_start: bool = setting(False)
    seed: int = setting(0, is_count=True)
    trials: range = setting(1, in_studies=False)
    threads: int = setting(None, resumable=True, in_studies=False)
    device: str = setting("cpu", is_word=True)
    dtype: str = setting(None, is_word=True)
    record: tuple[str, ...] = setting(None, in_studies=False)
    record_every: int = setting(1, is_count=True)
    stop: Stop | None = setting(DEFAULT_STOP, resumable=True)
    checkpoint: Checkpoint | None = setting(None, resumable=True, in_studies=False)
    progress: bool | Callable[[int, int], object] = setting(False, resumable=True, in_studies=False)
    on_failure: str = setting("return", in_studies=False)

    def __post_init__(self) -> None:
        if isinstance(self.init, tuple) and len(self.init) == 2:  # a plain pair comes from a file
            object.__setattr__(self, "init", GivenStart(*self.init))

    @property
    def k_star(self) -> int:
        """Rank of the ground truth; 0 where it is not known."""
        return self.tasks.k

    @cached_property
    def layout(self) -> Layout:
        """Sizes and shapes that follow from the configuration."""
        return layout_of(self)

    @property
    def n_tasks(self) -> int:
        """Tasks a round, where there are finitely many."""
        assert self.n is not None
        return self.n

    @property
    def law(self) -> LinearTasks:
        """The tasks, where they come from a law."""
        assert isinstance(self.tasks, LinearTasks)
        return self.tasks

    @property
    def measures_distance(self) -> bool:
        """Whether rows or the stop rule look at the angles to the ground truth."""
        stops = self.stop is not None and bool(self.stop.dist) and self.k_star > 0
        return stops or "dist" in self.record or "angles" in self.record

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Tasks and samples a task, inner and outer, of a pool with data."""
        assert self.pool is not None
        assert self.m_in is not None
        assert self.m_out is not None
        return self.pool, self.m_in, self.m_out


def settings(name: str) -> tuple[str, ...]:
    """Names of the arguments of which a property of `setting` holds."""
    return tuple(each.name for each in fields(TrainConfig) if each.metadata.get(name))


def configure(
    tasks: LinearTasks | TaskBatch,
    method: Method | str,
    *,
    rounds: int = 1000,
    n: int | None = DEFAULT_N,
    m_in: int | None = None,
    m_out: int | None = None,
    width: int | None = None,
    init: str | Init | tuple[NDArray[Any], ArrayLike] = "random",
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
    **steps: float,
) -> TrainConfig:
    r"""Check and resolve the arguments of a training run.

    Parameters
    ----------
    tasks, method : object
        As of `train`, where all arguments are described.
    rounds, n, m_in, m_out, width, init, engine, route, accumulate, pool, shared_samples : object
        As of `train`.
    track_start, seed, trials, threads, device, dtype, record, record_every, stop : object
        As of `train`.
    checkpoint, progress, on_failure, **steps : object
        As of `train`.

    Returns
    -------
    TrainConfig
        The run.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value.
    FileNotFoundError
        If there is no folder for the checkpoint.
    """
    if not isinstance(tasks, (LinearTasks, TaskBatch)):
        raise TypeError(f"tasks must be a LinearTasks or a TaskBatch; got {check.show(tasks)}")
    chosen = resolve(method, steps, configure)
    pool = None if pool is None else check.integer("pool", pool, 1, MAX_COUNT)
    shared = check.flag("shared_samples", shared_samples)
    counts = sample_counts(tasks, m_in, m_out, pool, shared)
    start, size = resolve_start(init, width, tasks.d, tasks.k, chosen)
    number = tasks_per_round(n, pool, tasks, counts[0] is not None)
    ran = choose_engine(engine, tasks, counts=counts, pool=pool, n=number, width=size)
    on_data = ran == "arrays" or (ran == "collapsed" and pool is not None)
    check.choice("route", route, ROUTES)
    if not on_data and route != "auto":
        raise ValueError(f"route must be 'auto' unless rounds reuse data; got {route!r}")
    kind = _dtype(dtype, init, tasks)
    check_accumulate(accumulate, route, _stored(kind, tasks), ran)
    check_sparse(tasks, accumulate)
    names = records.resolve(record, tasks)
    tracked = check.flag("track_start", track_start)
    if tracked:
        check_track_start(ran, pool, number, tasks.d, tasks.k + 2 * size)
    if number is None:
        assert isinstance(tasks, LinearTasks)
        check_infinite_tasks(tasks, chosen, shared, start[1] if isinstance(start, tuple) else None)
        if "loss_adapted" in names and counts[0] is not None:
            raise ValueError(
                "record 'loss_adapted' needs a number of tasks where samples are finite; got n=None"
            )
    return TrainConfig(
        tasks=tasks,
        method=chosen,
        rounds=check.integer("rounds", rounds, 0, 2**62),
        n=number,
        m_in=counts[0],
        m_out=counts[1],
        width=size,
        init=start,
        engine=ran,
        route=route if on_data else None,
        accumulate=accumulate,
        pool=pool,
        shared_samples=shared,
        track_start=tracked,
        seed=check.integer("seed", seed, 0, 2**64 - 1),
        trials=_trials(trials),
        threads=check.threads(threads),
        device=check.choice("device", device, DEVICES),
        dtype=kind,
        record=names,
        record_every=check.integer("record_every", record_every, 1, 2**62),
        stop=_stop(stop, tasks.k),
        checkpoint=_checkpoint(checkpoint),
        progress=progress if callable(progress) else check.flag("progress", progress),
        on_failure=check.choice("on_failure", on_failure, ("return", "raise")),
    )


def _trials(trials: object) -> range:
    if not isinstance(trials, range):
        return range(check.integer("trials", trials, 1, MAX_COUNT))
    # The ends alone: to look at every number could take for ever.
    if not trials or min(trials[0], trials[-1]) < 0 or max(trials[0], trials[-1]) > MAX_COUNT:
        raise ValueError(f"trials must be a range of numbers >= 0 that is not empty; got {trials}")
    return trials


def _dtype(dtype: DTypeLike | None, init: object, tasks: LinearTasks | TaskBatch) -> str:
    if dtype is not None:
        return check.float_dtype("dtype", dtype).name
    if isinstance(tasks, TaskBatch):
        return str(tasks.dtype)
    if isinstance(init, tuple) and isinstance(init[0], np.ndarray):
        return str(init[0].dtype)
    return "float64" if tasks.B_star is None else str(tasks.B_star.dtype)


def _stored(dtype: str, tasks: LinearTasks | TaskBatch) -> str:
    """Dtype of the data."""
    return str(tasks.dtype) if isinstance(tasks, TaskBatch) else dtype


def _stop(stop: object, k_star: int) -> Stop | None:
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"stop must be a Stop or None; got {check.show(stop)}")
    if stop is not None and stop.dist not in (None, 0.0, DEFAULT_STOP.dist) and not k_star:
        raise ValueError(f"stop dist must be None for a batch without a B_star; got {stop.dist:g}")
    return stop


def _checkpoint(checkpoint: object) -> Checkpoint | None:
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        found = checkpoint
    elif isinstance(checkpoint, (str, os.PathLike)):
        found = Checkpoint(checkpoint)
    else:
        raise TypeError(
            f"checkpoint must be a path, a Checkpoint or None; got {check.show(checkpoint)}"
        )
    if found is not None:
        path = Path(found.path)
        if path.is_dir():
            raise ValueError(f"checkpoint must be a file; {str(path)!r} is a folder")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint: there is no folder {str(path.parent)!r}")
    return found
