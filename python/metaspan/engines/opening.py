r"""Runs of the compiled core, from what the configuration says and where the trials stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from ..config.config import TrainConfig
from ..methods import core_method
from ..tasks import features, heads
from ..tasks.batch import TaskBatch, core_data
from ..tasks.linear import LinearTasks
from .pooled import pool_in_law, sample_law
from .trials import Trials, start_parts

Opener = Callable[[TrainConfig, Trials, list[int], list[int]], core.Run]


def opened(config: TrainConfig, trials: Trials, places: list[int]) -> core.Run:
    """The core's run of some trials, from where they stand."""
    numbers = [config.trials[i] for i in places]
    return _opener(config)(config, trials, places, numbers)


def _opener(config: TrainConfig) -> Opener:
    """What makes it, by engine."""
    if config.engine == "arrays" or config.pooled_in_law:
        return _on_arrays
    if config.n is None:
        return _of_infinite_tasks
    if config.has_spectrum:
        return _with_spectrum
    if config.engine == "sampled":
        return _sampled
    return _collapsed if config.engine == "collapsed" else _in_coordinates


def _in_coordinates(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of the population engine."""
    parts = trials.parts
    return core.Run.population(
        core_method(config.method),
        parts["M"][places],
        parts["R"][places],
        parts["w"][places],
        _law(config, numbers),
        config.n_tasks,
        config.law.noise,
        config.seed,
        numbers,
        [trials.rounds[i] for i in places],
        config.record,
        parts["frames"][places] if "frames" in parts else None,
    )


def _drawn(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> tuple[heads.CoreLaw, int, int, list[int], list[int], tuple[str, ...]]:
    """What runs on tasks that are drawn are told last: law of heads to names of records."""
    rounds = [trials.rounds[i] for i in places]
    return (_law(config, numbers), config.n_tasks, config.seed, numbers, rounds, config.record)


def _collapsed(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of the collapsed engine, with new samples every round."""
    parts = trials.parts
    tracked = config.width if config.track_start else 0
    return core.Run.collapsed(
        core_method(config.method),
        sample_law(config),
        parts["M"][places],
        parts["R"][places],
        parts["w"][places],
        config.k_star + tracked,
        *_drawn(config, trials, places, numbers),
    )


def _with_spectrum(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of the population engine on B at full size."""
    roots = config.law.roots
    assert roots is not None
    return core.Run.spectral(
        core_method(config.method),
        roots,
        config.law.noise,
        _truths(config, numbers),
        trials.parts["B"][places],
        trials.parts["w"][places],
        *_drawn(config, trials, places, numbers),
    )


def _truths(config: TrainConfig, numbers: list[int]) -> list[NDArray[np.float64]]:
    """B_star of some trials."""
    return [
        config.law.ground_truth(config.seed, number, config.threads).astype(np.float64, copy=False)
        for number in numbers
    ]


def _sampled(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of the sampled engine, with new samples at full size every round."""
    return core.Run.sampled(
        core_method(config.method),
        sample_law(config),
        config.law.roots,
        _rows(config),
        _truths(config, numbers),
        trials.parts["B"][places],
        trials.parts["w"][places],
        *_drawn(config, trials, places, numbers),
    )


def _rows(config: TrainConfig) -> Callable[[int, int, int, int, int, int], NDArray[Any]] | None:
    """Rows of the user's function of the features, as the core asks for them."""
    law, function = config.law, config.law.features
    if not callable(function):
        return None

    def rows(trial: int, stream: int, round: int, *block: int) -> NDArray[Any]:
        key = core.derive_key(config.seed, trial, round, stream)
        task, first, count = block
        return features.rows(function, key, (task, first), count, law.d)

    return rows


def _of_infinite_tasks(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of (23)."""
    return core.Run.infinite_tasks(
        core_method(config.method),
        config.m_in or 0,
        config.law.noise,
        heads.covariance(config.law.heads, config.k_star),
        trials.parts["M"][places],
        trials.parts["R"][places],
        [trials.rounds[i] for i in places],
        config.record,
    )


def _on_arrays(
    config: TrainConfig, trials: Trials, places: list[int], numbers: list[int]
) -> core.Run:
    """A run of the arrays engine, on the user's batch or the trial's own pool."""
    batch = config.tasks
    if config.pooled_in_law:
        batch = pool_in_law(config, numbers[0])
    elif isinstance(batch, LinearTasks):
        batch = batch.sample(
            *config.pooled,
            seed=config.seed,
            trial=numbers[0],
            shared_samples=config.shared_samples,
            dtype=config.dtype,
            threads=config.threads,
        )
    assert isinstance(batch, TaskBatch)
    state = {name: part[places] for name, part in trials.parts.items()}
    if "A" in state:  # (24) counts from the start
        state["B"] = start_parts(config, numbers)["B"]
    return core.Run.arrays(
        core_method(config.method),
        "single" if config.accumulate == "float32" else trials.route,
        core_data(batch),
        state,
        config.n_tasks,
        config.seed,
        numbers,
        [trials.rounds[i] for i in places],
        config.record,
        config.threads,
    )


def _law(config: TrainConfig, numbers: list[int]) -> heads.CoreLaw:
    """Where the core takes the heads of a round from."""
    tasks = config.law
    if config.pool is None:
        return heads.core_law(tasks.heads)
    pools = [
        heads.draw_pool(tasks.heads, config.pool, tasks.k, config.seed, number)
        for number in numbers
    ]
    return ("table", np.stack(pools))
