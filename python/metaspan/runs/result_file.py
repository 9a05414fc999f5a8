r"""Reads and writes files of results; reading a file checks every part of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check, files, signals
from ..config import records
from ..config.config import TrainConfig
from ..config.configure import configure
from ..config.fit_config import FitConfig
from ..config.options import Checkpoint, Init
from ..engines import engine_of
from ..estimators.configure import OF_GROUND_TRUTH, configure_fit
from ..parameters import count_more
from ..sharding.agreement import agreed
from ..tasks.linear import LinearTasks
from ..tasks.summary import BatchSummary
from . import codec
from .outcome import Outcome, Status
from .result import Result
from .sharded import encode_config, spread_start

KIND = "metaspan result"

Arrays = Mapping[str, NDArray[Any]]


def save(result: Result, path: str | os.PathLike[str]) -> None:
    """Write a result to a file: see `Result.save`."""
    config, shard = result.config, result.config.shard
    arrays: dict[str, Any] = {f"trace.{name}": values for name, values in result.trace.items()}
    arrays |= {f"state.{name}": part for name, part in result.parts.items()}
    spread = {id(part) for part in (*spread_start(config), result.parts.get("B"))}

    def keep(array: NDArray[Any]) -> str:
        name = f"config.{len(arrays)}"
        arrays[name] = array
        return name

    document = {
        "config": encode_config(config, keep, strict=False),
        "trace": list(result.trace),
        "parts": list(result.parts),
        "status": [
            [outcome.status.name, outcome.round, *([outcome.detail] if outcome.detail else [])]
            for outcome in result.outcomes
        ],
        "timings": dict(result.timings),
    }
    with agreed(config.exchange):
        name = check.path("path", path)
    with signals.defer_interrupts():
        if shard is None:
            files.write(name, KIND, document, arrays)
            return
        shard.write(
            {key: array for key, array in arrays.items() if id(array) in spread},
            lambda streams: files.write(name, KIND, document, arrays | streams),
        )


def load(path: str | os.PathLike[str]) -> Result:
    r"""Read a result that `Result.save` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Result
        The result. In its ``config`` a `BatchSummary` stands for a `TaskBatch`, and a name stands
        for a function of heads or features: the file has neither the data nor the code.

    Raises
    ------
    TypeError
        If `path` is not a path.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a result, is broken, or has parts that contradict each other; the message
        names the file.
    MemoryError
        If the file is larger than the available memory; this is checked before it is read.
    """
    name = check.path("path", path)
    document, arrays = files.read(name, KIND)
    with files.name_file_in_errors(f"{name!r} is a broken {KIND}"):
        config = name_limit(codec.decode(document["config"], arrays.__getitem__))
        check_config(config)
        outcomes = _check_outcomes(document["status"], config)
        return Result(
            config=config,
            trace=_check_trace(document["trace"], arrays, config, outcomes),
            parts=_check_parts(document["parts"], arrays, config, outcomes),
            status=outcomes if len(outcomes) > 1 else outcomes[0],
            timings=_check_timings(document["timings"]),
        )


def name_limit(config: Any) -> Any:
    """Return a configuration with the engine that now runs infinitely many tasks a round.

    Releases before the limit ran them as "population" or "collapsed", and had no `d_over_n`.
    """
    if isinstance(config, TrainConfig) and config.n is None and config.d_over_n is None:
        return replace(config, engine="limit", d_over_n=0.0)
    return config


def check_config(config: object) -> None:
    """Raise an error unless `configure` leaves the arguments in a configuration unchanged."""
    if not isinstance(config, TrainConfig):
        raise TypeError(f"the configuration is {check.show(config)}")
    if isinstance(config, FitConfig):
        return _check_fit_config(config)
    arguments = {field.name: getattr(config, field.name) for field in fields(config)}
    tasks, checkpoint, route = (arguments.pop(name) for name in ("tasks", "checkpoint", "route"))
    if not (checkpoint is None or isinstance(checkpoint, Checkpoint)):
        raise TypeError(f"checkpoint is {check.show(checkpoint)}")
    if config.progress not in (True, False):
        raise TypeError(f"progress is {check.show(config.progress)}")
    compared = set(arguments) - {"init"}
    if isinstance(tasks, BatchSummary):
        compared -= {"n", "m_in", "m_out", "pool", "dtype"}
        tasks = _replace_batch(tasks, arguments)
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks are {check.show(tasks)}")
    _check_start(config.init)
    again = configure(tasks, route=route if route is not None else "auto", **arguments)
    if (route is None) != (again.route is None) or route == "auto":
        raise ValueError(f"route is {check.show(route)} with engine {again.engine!r}")
    for name in compared:
        value, expected = getattr(config, name), getattr(again, name)
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"{name} is {check.show(value)}; it must be {check.show(expected)}")


def _check_fit_config(config: FitConfig) -> None:
    """Raise an error unless `configure_fit` leaves the arguments in a configuration unchanged."""
    if config.progress not in (True, False):
        raise TypeError(f"progress is {check.show(config.progress)}")
    arguments = {field.name: getattr(config, field.name) for field in fields(config) if field.init}
    tasks, estimator = arguments.pop("tasks"), arguments.pop("method")
    if isinstance(tasks, BatchSummary):
        _check_batch(tasks)
        if not tasks.k and not set(OF_GROUND_TRUTH).isdisjoint(config.record):
            raise ValueError("there are records of a ground truth, which the batch does not have")
        if arguments.pop("m_in") is not None:
            raise ValueError("m must be None for a batch")
        check.choice("engine", arguments.pop("engine"), ("arrays",))
        check.integer("n", config.n, tasks.n, tasks.n)
        tasks = LinearTasks(d=tasks.d, k=max(1, tasks.k))
        arguments |= {"m_in": 1, "engine": "sampled"}
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks are {check.show(tasks)}")
    arguments["m"] = arguments.pop("m_in")
    again = configure_fit(tasks, estimator, **arguments)
    compared = set(arguments) - ({"m", "engine"} if tasks is not config.tasks else {"m"})
    for name in compared:
        value, expected = getattr(config, name), getattr(again, name)
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"{name} is {check.show(value)}; it must be {check.show(expected)}")


def _check_start(init: object) -> None:
    """Raise an error unless a start is an Init or a pair of arrays."""
    pair = isinstance(init, tuple) and len(init) == 2
    arrays = pair and all(isinstance(part, np.ndarray) for part in init)  # type: ignore[attr-defined]
    if not (isinstance(init, Init) or arrays):
        raise TypeError(f"init is {check.show(init)}")


def _replace_batch(batch: BatchSummary, arguments: dict[str, Any]) -> LinearTasks:
    """Check the summary of a batch; return a law of tasks with the sizes of the batch.

    `configure` can check arguments only for tasks with data or a law, and a file does not hold the
    data of a batch, so the returned law replaces the batch. The function also replaces those
    entries of `arguments` that a batch determines.
    """
    _check_batch(batch)
    check.choice("dtype", arguments["dtype"], ("float32", "float64"))
    if batch.k == 0 and not set(records.OF_GROUND_TRUTH).isdisjoint(arguments["record"]):
        raise ValueError("there are records of a ground truth, which the batch does not have")
    if batch.k == 0 and isinstance(arguments["init"], Init) and arguments["init"].dist is not None:
        raise ValueError("init has a distance from a ground truth, which the batch does not have")
    if any(arguments[name] is not None for name in ("m_in", "m_out", "pool")):
        raise ValueError("m_in, m_out and pool must be None for a batch")
    check.choice("engine", arguments["engine"], ("arrays",))
    check.integer("n", arguments["n"], 1, batch.n)
    # Solved heads (26) need m_in >= width, and shared samples equal counts.
    least = batch.m_in if isinstance(batch.m_in, int) else min(batch.m_in)
    arguments |= {"pool": batch.n, "m_in": least, "m_out": least, "dtype": batch.dtype}
    return LinearTasks(d=batch.d, k=max(1, batch.k))


def _check_batch(batch: BatchSummary) -> None:
    """Raise an error unless the summary of a batch is one that a batch can have."""
    for name, least in (("n", 1), ("d", 1), ("k", 0)):
        check.integer(f"the batch's {name}", getattr(batch, name), least)
    for name in ("m_in", "m_out"):
        sizes = getattr(batch, name)
        several = isinstance(sizes, tuple)
        if several and len(sizes) != batch.n:
            raise ValueError(f"the batch's {name} must hold {batch.n} sizes; got {len(sizes)}")
        for size in sizes if several else (sizes,):
            check.integer(f"the batch's {name}", size, 1)
    check.choice("the batch's dtype", batch.dtype, ("float32", "float64"))
    if not isinstance(batch.fingerprint, str):
        raise TypeError(f"the batch's fingerprint is {check.show(batch.fingerprint)}")


def _check_outcomes(statuses: Any, config: TrainConfig) -> tuple[Outcome, ...]:
    """Check how the trials ended: names of statuses, rounds and, of a fit, details."""
    is_fit = isinstance(config, FitConfig)
    outcomes = tuple(Outcome(Status[name], done, *more) for name, done, *more in statuses)
    for outcome in outcomes:
        if not isinstance(outcome.detail, str) or (outcome.detail and not is_fit):
            raise ValueError(f"a trial ended with {check.show(outcome.detail)}")
    if len(outcomes) != len(config.trials):
        raise ValueError(f"{len(outcomes)} trials ended; the run has {len(config.trials)}")
    for outcome in outcomes:
        ended = outcome.status in (Status.DIVERGED, Status.UNDERFLOW)
        # If a run is resumed with fewer rounds, a trial that ended by itself in a later round is
        # kept.
        most = 2**62 if ended or config.rounds is None else config.rounds
        check.integer("the round of an end", outcome.round, 0, most)
        if outcome == Status.FINISHED and outcome.round != config.rounds:
            raise ValueError(f"a trial finished in round {outcome.round} of {config.rounds}")
    return outcomes


def _check_trace(
    names: Any, arrays: Arrays, config: TrainConfig, outcomes: Sequence[Outcome]
) -> dict[str, NDArray[Any]]:
    """Check the records: shapes, dtypes, ascending rounds, and no values after a trial's end."""
    if names != ["round", *config.record]:
        raise ValueError(f"the trace holds {check.show(names)}")
    trace = {name: arrays[f"trace.{name}"] for name in names}
    rounds, ends = trace["round"], [outcome.round for outcome in outcomes]
    check_rounds(rounds, max(ends))
    lead = (rounds.size,) if len(ends) == 1 else (len(ends), rounds.size)
    for name in config.record:
        angles = (min(config.width, config.k_star),) if name == "angles" else ()
        _check_array(f"trace.{name}", trace[name], lead + angles)
        table = trace[name] if len(ends) > 1 else trace[name][None]
        for values, end in zip(table, ends, strict=True):
            if not np.isnan(values[rounds > end]).all():
                raise ValueError(f"trace.{name} has values after the end of a trial")
    return trace


def check_rounds(rounds: NDArray[Any], last: int) -> None:
    """Raise ValueError unless rounds ascend strictly, from at least 0 to at most `last`."""
    _check_array("the rounds of a trace", rounds, (rounds.size,), "int64")
    if rounds.size and (rounds[0] < 0 or rounds[-1] > last or (np.diff(rounds) <= 0).any()):
        raise ValueError(f"the rounds of a trace must ascend from 0 to {last}")


def _check_parts(
    names: Any, arrays: Arrays, config: TrainConfig, outcomes: Sequence[Outcome]
) -> dict[str, NDArray[Any]]:
    """Check the state at the end: shapes, dtypes, and finite numbers unless a trial diverged."""
    is_fit = isinstance(config, FitConfig)
    more = ["heads"] if is_fit else list(count_more(config.method, config.width))
    expected = (["B", "w"] if config.layout.full_size else ["M", "R", "w"]) + more
    if names != expected:
        raise ValueError(f"the state holds {check.show(names)}")
    parts = {name: arrays[f"state.{name}"] for name in names}
    shapes = _fit_shapes(config) if is_fit else engine_of(config).exported_shapes(config, parts)
    lead = () if len(outcomes) == 1 else (len(outcomes),)
    for name, part in parts.items():
        _check_array(name, part, lead + shapes[name], config.dtype if name == "B" else "float64")
        # An interrupted trial of a fit may have no iterate yet, or no heads; a trial whose samples
        # determine too few directions has neither.
        of_fits = (Status.INTERRUPTED, Status.NOT_CONVERGED) if is_fit else ()
        broken = (Status.DIVERGED, *of_fits)
        whole = [outcome.status not in broken for outcome in outcomes]
        if not np.isfinite((part if lead else part[None])[whole]).all():
            raise ValueError(f"{name} must be finite; it holds a NaN or an infinity")
    return parts


def _fit_shapes(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state of one trial of a fit."""
    width, layout = config.width, config.layout
    shapes = {"M": (config.k_star, width), "R": (layout.height, width)}
    return shapes | {
        "B": (layout.features, width),
        "w": (width,),
        "heads": (config.n_tasks, width),
    }


def _check_array(
    name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: str = "float64"
) -> None:
    """Raise ValueError unless an array is of this shape and dtype."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {dtype} of shape {shape}; got {check.show(array)}")


def _check_timings(timings: Any) -> dict[str, float]:
    """Check the timings: seconds by name."""
    if not isinstance(timings, dict):
        raise TypeError(f"the timings are {check.show(timings)}")
    return {name: check.real(f"timings {name}", value) for name, value in timings.items()}
