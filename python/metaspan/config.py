r"""What a training run is: its arguments, checked and resolved before anything starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _check
from .methods import Method, resolve
from .options import DEFAULT_STOP, Checkpoint, Init, Stop, column_length
from .tasks import MAX_COUNT, LinearTasks

P = ParamSpec("P")
T = TypeVar("T")

ENGINES = ("auto", "population")
DEVICES = ("cpu",)
STARTS = ("random", "methodical")
RECORDS = (
    "dist",
    "angles",
    "loss_in",
    "loss_adapted",
    "loss_out",
    "w_norm",
    "delta_norm",
    "sigma_min",
    "sigma_max",
    "perp_norm",
    "diversity_min",
    "diversity_max",
    "mu",
    "L",
    "eta",
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    r"""What ran: the arguments of `train`, checked and resolved.

    Parameters
    ----------
    tasks : LinearTasks
        Where the tasks come from.
    method : ANIL, MAML or AverageRisk
        The method.
    rounds, n, width, record_every, seed, threads : int
        Numbers, where `train` also takes None for all tasks, ``tasks.k`` or all CPUs.
    m_in, m_out, pool : int or None
        As given.
    init : Init or (ndarray, ndarray)
        The start by its law, or the arrays ``(B0, w0)``.
    engine, device : str
        What ran, and where.
    shared_samples : bool
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

    tasks: LinearTasks
    method: Method
    rounds: int
    n: int
    m_in: int | None
    m_out: int | None
    width: int
    init: Init | tuple[NDArray[Any], NDArray[np.float64]]
    engine: str
    pool: int | None
    shared_samples: bool
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


def configure(
    tasks: LinearTasks,
    method: Method | str,
    *,
    rounds: int = 1000,
    n: int | None = 100,
    m_in: int | None = None,
    m_out: int | None = None,
    width: int | None = None,
    init: str | Init | tuple[NDArray[Any], ArrayLike] = "random",
    engine: str = "auto",
    pool: int | None = None,
    shared_samples: bool = False,
    seed: int = 0,
    trials: int | range = 1,
    threads: int | None = None,
    device: str = "cpu",
    dtype: DTypeLike | None = None,
    record: str | Iterable[str] = ("dist",),
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
    tasks : LinearTasks
        Where the tasks come from.
    method : ANIL, MAML, AverageRisk or str
        The method, or one of "anil", "fo-anil", "maml", "fo-maml", "average-risk".
    rounds : int
        Number of rounds, >= 0.
    n : int or None
        Tasks per round. None: all tasks, where the heads are fixed or there is a pool.
    m_in, m_out : None
        Samples per task in the inner and the outer set; None: infinitely many.
    width : int or None
        Columns k of the learner's `B`, at most d. None: ``tasks.k``, or the width of a given start.
    init : {"random", "methodical"}, Init or (B0, w0)
        Start: ``"random"`` is ``Init()``, ``"methodical"`` is ``Init(dist=0.7)``. A given `B0`
        (d, k) is C-contiguous, float32 or float64.
    engine : {"auto", "population"}
        How rounds are computed; what ran is in ``result.config.engine``.
    pool : int or None
        Number of tasks to draw once; each round takes n of them, without replacement.
    shared_samples : bool
        Whether inner and outer set are one; the same for infinitely many samples.
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
        Of a full-size `B`. None: that of the arrays given, else float64.
    record : str or iterable of str
        What the trace holds, at the start of a round: "dist", "angles", "loss_in",
        "loss_adapted", "loss_out", "w_norm", "delta_norm", "sigma_min", "sigma_max", "perp_norm",
        "diversity_min", "diversity_max", "mu", "L", "eta"; see (20) and (21).
    record_every : int
        Rounds between rows; the start and the end are always recorded.
    stop : Stop or None
        When a trial has converged. None: never.
    checkpoint : str, os.PathLike, Checkpoint or None
        File from which the same call goes on; `rounds`, `threads`, `progress` and `stop` may then
        differ.
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
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {_check.show(tasks)}")
    chosen = resolve(method, steps)
    _check.choice("engine", engine, ENGINES)
    for name, count in (("m_in", m_in), ("m_out", m_out)):
        if count is not None:
            raise ValueError(
                f"{name} must be None, infinitely many samples: training runs on population "
                f"losses; got {_check.show(count)}"
            )
    pool = None if pool is None else _check.integer("pool", pool, 1, MAX_COUNT)
    start, size = _start(init, width, tasks, chosen)
    return TrainConfig(
        tasks=tasks,
        method=chosen,
        rounds=_check.integer("rounds", rounds, 0, 2**62),
        n=_tasks_per_round(n, pool, tasks),
        m_in=None,
        m_out=None,
        width=size,
        init=start,
        engine="population",
        pool=pool,
        shared_samples=_check.flag("shared_samples", shared_samples),
        seed=_check.integer("seed", seed, 0, 2**64 - 1),
        trials=_trials(trials),
        threads=_check.threads(threads),
        device=_check.choice("device", device, DEVICES),
        dtype=_dtype(dtype, start, tasks),
        record=_record(record),
        record_every=_check.integer("record_every", record_every, 1, 2**62),
        stop=_stop(stop),
        checkpoint=_checkpoint(checkpoint),
        progress=progress if callable(progress) else _check.flag("progress", progress),
        on_failure=_check.choice("on_failure", on_failure, ("return", "raise")),
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


def _tasks_per_round(n: int | None, pool: int | None, tasks: LinearTasks) -> int:
    """Tasks of a round: all that there are, or a number of them."""
    there_are: int | None = pool
    whose = "the pool"
    if isinstance(tasks.heads, np.ndarray):
        if pool is not None:
            raise ValueError(f"pool must be None for fixed heads, which are one; got {pool}")
        there_are, whose = tasks.heads.shape[0], "the fixed heads"
    if n is None:
        if there_are is None:
            raise ValueError(
                "n must be an integer: n=None, all tasks, is supported for fixed heads and a pool"
            )
        return there_are
    n = _check.integer("n", n, 1, MAX_COUNT)
    if there_are is not None and n > there_are:
        raise ValueError(f"n must be at most {there_are}, {whose} (n=None takes all); got {n}")
    return n


def _start(
    init: object, width: int | None, tasks: LinearTasks, method: Method
) -> tuple[Init | tuple[NDArray[Any], NDArray[np.float64]], int]:
    """The start, and the learner's width."""
    if width is not None:
        width = _check.integer("width", width, 1)
        if width > tasks.d:
            raise ValueError(f"width must be at most d = {tasks.d}; got {width}")
    if isinstance(init, tuple):
        if len(init) != 2:
            raise ValueError(f"init must be a pair (B0, w0); got {len(init)} values")
        return _given_start(init, width, tasks)
    if isinstance(init, str):
        _check.choice("init", init, STARTS)
        init = Init() if init == "random" else Init(dist=0.7)
    if not isinstance(init, Init):
        raise TypeError(
            f"init must be {_check.words(STARTS, 'or')}, an Init or a pair (B0, w0); "
            f"got {_check.show(init)}"
        )
    size = tasks.k if width is None else width
    column_length(init, method)
    if init.dist is not None:
        _check_room(init.dist, tasks, size)
    return init, size


def _check_room(dist: float, tasks: LinearTasks, width: int) -> None:
    """Raise ValueError unless d leaves room for the columns beside the ground truth."""
    needed = width if dist > 0.0 else width - min(width, tasks.k)
    room = tasks.d - tasks.k
    if room < needed:
        raise ValueError(
            f"init dist = {dist:g} needs {needed} dimensions beside the ground truth; "
            f"d - k = {tasks.d} - {tasks.k} leaves {room}"
        )


def _given_start(
    init: tuple[Any, Any], width: int | None, tasks: LinearTasks
) -> tuple[tuple[NDArray[Any], NDArray[np.float64]], int]:
    B0, w0 = init
    B0 = _check.matrix("B0", B0, (tasks.d, "width" if width is None else width))
    size = _check.integer("the width of B0", B0.shape[1], 1)
    if size > tasks.d:
        raise ValueError(f"B0 must have at most d = {tasks.d} columns; got {size}")
    _check.finite("B0", B0, _check.threads(None))
    return (B0, _check.small("w0", w0, (size,))), size


def _trials(trials: object) -> range:
    if not isinstance(trials, range):
        return range(_check.integer("trials", trials, 1, MAX_COUNT))
    if not trials or min(trials) < 0 or max(trials) > MAX_COUNT:
        raise ValueError(f"trials must be a range of numbers >= 0 that is not empty; got {trials}")
    return trials


def _dtype(dtype: DTypeLike | None, init: object, tasks: LinearTasks) -> str:
    if dtype is not None:
        return _check.float_dtype("dtype", dtype).name
    if isinstance(init, tuple):
        return str(init[0].dtype)
    return "float64" if tasks.B_star is None else str(tasks.B_star.dtype)


def _record(record: object) -> tuple[str, ...]:
    names = (record,) if isinstance(record, str) else record
    if not isinstance(names, Iterable):
        raise TypeError(f"record must hold names of records; got {_check.show(record)}")
    return tuple(dict.fromkeys(_check.choice("record", name, RECORDS) for name in names))


def _stop(stop: object) -> Stop | None:
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"stop must be a Stop or None; got {_check.show(stop)}")
    return stop


def _checkpoint(checkpoint: object) -> Checkpoint | None:
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        found = checkpoint
    elif isinstance(checkpoint, (str, os.PathLike)):
        found = Checkpoint(checkpoint)
    else:
        raise TypeError(
            f"checkpoint must be a path, a Checkpoint or None; got {_check.show(checkpoint)}"
        )
    if found is not None:
        path = Path(found.path)
        if path.is_dir():
            raise ValueError(f"checkpoint must be a file; {str(path)!r} is a folder")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint: there is no folder {str(path.parent)!r}")
    return found
