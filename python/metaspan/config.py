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
from .methods import AverageRisk, Method, resolve
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
class Init:
    r"""A start :math:`B_0` with orthogonal columns of one length, and :math:`w_0 = 0`.

    Parameters
    ----------
    dist : float or None
        Sine of every principal angle to the ground truth, in [0, 1]. None: a Haar-random subspace.
    scale : float or None
        Length of the columns, > 0. None: :math:`1/\sqrt{\alpha}`, so that
        :math:`\alpha B_0^\top B_0 = I`; 1 for average risk, which has no :math:`\alpha`.

    Examples
    --------
    >>> Init(dist=0.7)
    Init(dist=0.7, scale=None)
    """

    dist: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.dist is not None:
            object.__setattr__(self, "dist", _check.real("init dist", self.dist, 0.0, 1.0))
        if self.scale is not None:
            scale = _check.real("init scale", self.scale)
            if scale == 0.0:
                raise ValueError("init scale must be positive; got 0")
            object.__setattr__(self, "scale", scale)

    def length(self, method: Method) -> float:
        """Length of the columns for a method."""
        if self.scale is not None:
            return self.scale
        if isinstance(method, AverageRisk):
            return 1.0
        if method.alpha == 0.0:
            raise ValueError(
                "init scale must be given where alpha = 0; its default, 1/sqrt(alpha), is infinite"
            )
        return float(1.0 / np.sqrt(method.alpha))

    def check_room(self, d: int, k_star: int, width: int) -> None:
        """Raise ValueError unless d leaves room for the columns beside the ground truth."""
        if self.dist is None:
            return
        needed = width if self.dist > 0.0 else width - min(width, k_star)
        if d - k_star < needed:
            raise ValueError(
                f"init dist = {self.dist:g} needs {needed} dimensions beside the ground truth; "
                f"d - k = {d} - {k_star} leaves {d - k_star}"
            )


@dataclass(frozen=True, kw_only=True)
class Stop:
    r"""When a trial has converged, looked at whenever a row is recorded.

    Parameters
    ----------
    dist : float or None
        Stop when `dist` is at most this. None or 0: never.
    loss_out : float or None
        Stop when the outer loss is at most this. None or 0: never.

    Examples
    --------
    >>> Stop(dist=1e-6)
    Stop(dist=1e-06, loss_out=None)
    """

    dist: float | None = 1e-10
    loss_out: float | None = None

    def __post_init__(self) -> None:
        for name in ("dist", "loss_out"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _check.real(f"stop {name}", value))


@dataclass(frozen=True)
class Checkpoint:
    r"""Where and how often a run keeps what it needs to go on.

    Parameters
    ----------
    path : str or os.PathLike
        The file. It is written beside and then renamed, so that it is whole at any time.
    every_seconds : float
        Seconds between writes, >= 0. It is also written at the end and on an interruption.

    Examples
    --------
    >>> Checkpoint("run.npz", every_seconds=600).every_seconds
    600.0
    """

    path: str | os.PathLike[str]
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise TypeError(f"checkpoint path must be a path; got {_check.show(self.path)}")
        object.__setattr__(self, "path", os.fspath(self.path))
        seconds = _check.real("checkpoint every_seconds", self.every_seconds)
        object.__setattr__(self, "every_seconds", seconds)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    r"""What ran: the arguments of `train`, resolved.

    Every field is an argument of `train` under its own name, with names and defaults replaced by
    what they stand for: `method` an object, `n` and `width` numbers, `init` an `Init` or the arrays
    `(B0, w0)`, `engine` the one that ran, `trials` a range, `dtype` a name, `record` a tuple.
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
    stop: Stop | None = Stop(),
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    progress: bool | Callable[[int, int], object] = False,
    on_failure: str = "return",
    **steps: float,
) -> TrainConfig:
    """Check and resolve the arguments of `train`, which documents them."""
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
    """Give a function the signature of another, whose arguments it passes on."""

    def mark(function: Callable[..., T]) -> Callable[P, T]:
        own = inspect.signature(function)
        signature = inspect.signature(source).replace(return_annotation=own.return_annotation)
        function.__signature__ = signature  # type: ignore[attr-defined]
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
    init.length(method)
    init.check_room(tasks.d, tasks.k, size)
    return init, size


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
