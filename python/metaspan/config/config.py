r"""What a training run is: its arguments, checked and resolved before anything starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

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

P = ParamSpec("P")
T = TypeVar("T")

ROUTES = ("auto", "gram", "vector", "dual")
DEVICES = ("cpu",)


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
    rounds: int
    n: int | None
    m_in: int | None
    m_out: int | None
    width: int
    init: Init | GivenStart
    engine: str
    route: str | None
    accumulate: str
    pool: int | None
    shared_samples: bool
    track_start: bool
    seed: int
    trials: range
    threads: int
    device: str
    dtype: str
    record: tuple[str, ...]
    record_every: int
    stop: Stop | None
    checkpoint: Checkpoint | None
    progress: bool | Callable[[int, int], object]
    on_failure: str

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
    tasks : LinearTasks or TaskBatch
        Where the tasks come from: a law, or tasks with data of the user's own.
    method : ANIL, MAML, AverageRisk or str
        The method, or one of "anil", "fo-anil", "maml", "fo-maml", "average-risk".
    rounds : int
        Number of rounds, >= 0.
    n : int or None
        Tasks per round, without replacement where there is a batch, a pool or fixed heads. None:
        all of them, which is the default for a batch; where tasks are drawn afresh, infinitely
        many, which (23) covers: first-order ANIL with one inner step from w_0 = 0, centred heads.
    m_in, m_out : int or None
        Samples per task in the inner and the outer set; None: infinitely many. A batch has its
        own.
    width : int or None
        Columns k of the learner's `B`, at most d. None: ``tasks.k``, or the width of a given start.
    init : {"random", "methodical"}, Init or (B0, w0)
        Start: ``"random"`` is ``Init()``, ``"methodical"`` is ``Init(dist=0.7)``. A given `B0`
        (d, k) is C-contiguous, float32 or float64.
    engine : {"auto", "population", "collapsed", "sampled", "arrays"}
        How rounds are computed; what ran is in ``result.config.engine``. "auto": a batch by
        "arrays"; infinitely many samples by "population"; finitely many by "collapsed", which
        draws from the law of what matters of them, where features are symmetric under rotations
        and d >= k + width, and otherwise by "sampled", which draws all of them, in every round
        anew. "arrays" draws the samples of a `pool` at full size.
    route : {"auto", "gram", "vector", "dual"}
        Where data stay the same for all rounds: by Z = X B and Gram matrices, by one vector at a
        time, or by the Gram matrix of all samples. All give the same numbers up to rounding; "auto"
        takes what the cost model finds cheapest, and what ran is in ``result.config.route``.
    accumulate : {"float64", "float32"}
        In what sums over float32 data are taken. "float32" is faster where the data are in the
        cache, and right to some 1e-7 of the largest term; it needs float32 data and the vector
        route.
    pool : int or None
        Number of tasks to draw once, with their data where `m_in` and `m_out` are numbers: for
        "collapsed" in law, for "arrays" those of
        ``tasks.sample(pool, m_in, m_out, seed=seed, trial=trial)``.
    shared_samples : bool
        Whether inner and outer set are one; the same for infinitely many samples.
    track_start : bool
        Whether "collapsed" follows the directions of the start, with k coordinates more, so that
        `full_B` gives the end jointly with it and not only given `B_star`.
    seed : int
        Key of all random numbers, 0 <= seed < 2**64.
    trials : int or range
        Independent repetitions: the number t stands for ``range(t)``. A trial gives the same bits
        alone as among others.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    device : {"cpu"}
        Where rounds are computed.
    dtype : {float32, float64} or None
        Of a full-size `B`, and of the data of a pool. None: that of the arrays given, else float64.
    record : str or iterable of str
        What the trace holds, at the start of a round: "dist", "angles", "loss_in",
        "loss_adapted", "loss_out", "w_norm", "delta_norm", "sigma_min", "sigma_max", "perp_norm",
        "diversity_min", "diversity_max", "mu", "L", "eta"; see (20) and (21). Losses, "loss_out"
        too, are training losses. None: "dist", or "loss_out" for a batch without a B_star.
    record_every : int
        Rounds between rows; the start and the end are always recorded.
    stop : Stop or None
        When a trial has converged. None: never.
    checkpoint : str, os.PathLike, Checkpoint or None
        File from which the same call goes on; `rounds`, `threads`, `progress` and `stop` may then
        differ. A function of the heads or features must be made of the same code and values.
    progress : bool or callable
        True shows a bar on a terminal where tqdm is installed; a function is called with the
        rounds done and their total.
    on_failure : {"return", "raise"}
        What a trial that diverges leads to: its status and one warning for all, or `Diverged`.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

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


def takes(source: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the signature of another, whose arguments it passes on.

    In its docstring, ``{parameters}`` becomes what the other says about its parameters.
    """

    def mark(function: Callable[..., T]) -> Callable[P, T]:
        own = inspect.signature(function)
        signature = inspect.signature(source).replace(return_annotation=own.return_annotation)
        function.__signature__ = signature  # type: ignore[attr-defined]
        if function.__doc__ and source.__doc__:  # python -OO has none
            described = source.__doc__.split("----------\n")[1].split("\n\n")[0].strip()
            function.__doc__ = function.__doc__.replace("{parameters}", described)
        return cast(Callable[P, T], function)

    return mark


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
