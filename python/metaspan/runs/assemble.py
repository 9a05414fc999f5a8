r"""Makes results from the states of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from .._load import core
from ..config.config import TrainConfig
from ..engines import engine_of
from ..engines.trials import LIVE, Trials
from .outcome import Outcome, Status
from .result import Result


def build(config: TrainConfig, trials: Trials, timings: Mapping[str, float]) -> Result:
    """Build a result from the current state of the trials."""
    outcomes = tuple(
        Outcome(_convert_status(config, status, done), done)
        for status, done in zip(trials.status, trials.rounds, strict=True)
    )
    parts = engine_of(config).export(config, trials.parts)
    return assemble(config, outcomes, trials.trace(), parts, timings)


def assemble(
    config: TrainConfig,
    outcomes: tuple[Outcome, ...],
    trace: Mapping[str, NDArray[Any]],
    parts: Mapping[str, NDArray[Any]],
    timings: Mapping[str, float],
) -> Result:
    """Make a result from arrays with a leading axis of trials, which one trial does not keep."""
    if len(outcomes) == 1:
        trace = {name: v if name == "round" else v[0] for name, v in trace.items()}
        parts = {name: part[0] for name, part in parts.items()}
    return Result(
        # A function that shows progress has no use in a result, and might prevent pickling the
        # result.
        config=_without_function(config) if callable(config.progress) else config,
        trace=trace,
        parts=parts,
        status=outcomes if len(outcomes) > 1 else outcomes[0],
        timings=timings,
    )


def _without_function(config: TrainConfig) -> TrainConfig:
    """Return the configuration without a function that shows progress, on the same shard."""
    plain = replace(config, progress=False)
    vars(plain)["shard"] = config.shard
    return plain


def _convert_status(config: TrainConfig, status: int, done: int) -> Status:
    """Convert the core's status of a trial that did `done` rounds."""
    if status == LIVE:
        return Status.FINISHED if done >= config.rounds else Status.INTERRUPTED
    ends = {
        core.TrialStatus.CONVERGED: Status.CONVERGED,
        core.TrialStatus.DIVERGED: Status.DIVERGED,
        core.TrialStatus.UNDERFLOW: Status.UNDERFLOW,
    }
    return ends[core.TrialStatus(status)]
