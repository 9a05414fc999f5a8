r"""Rounds on new finite samples at full size, which are generated on the fly (12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from ..config.config import TrainConfig
from ..config.devices import core_device
from ..config.sample_law import sample_law
from ..cost import estimate
from ..cost.workload import workload_of
from ..methods import core_method
from ..tasks import features
from .full_size import MEMORY, AtFullSize
from .heads import drawn_tasks
from .protocol import trial_ids_of, truths
from .trials import Trials

Rows = Callable[[int, int, int, int, int, int], NDArray[Any]]


class Sampled(AtFullSize):
    """The engine on new samples, drawn at full size."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from B and w."""
        return core.Run.sampled(
            method=core_method(config.method, config.n_tasks),
            samples=sample_law(config),
            roots=config.drawn_tasks._roots(config.shard),
            rows=_rows(config),
            B_star=truths(config, trial_ids_of(config, indices)),
            B=trials.parts["B"][indices],
            w=trials.parts["w"][indices],
            **{name: trials.parts[name][indices] for name in MEMORY if name in trials.parts},
            **drawn_tasks(config, trials, indices),
            # On the CPU, only the vector route generates rows.
            route="vector" if config.device == "cpu" else workload_of(config).device_route,
            device=core_device(config.device),
            shard=config.core_shard,
        )

    def cost(self, config: TrainConfig, ranks: int = 1) -> estimate.Estimate:
        """Estimate the memory and the time of the vector route on generated rows."""
        return estimate.sampled(config, ranks)


def _rows(config: TrainConfig) -> Rows | None:
    """Return the function by which the core draws a user's features; None for named features.

    Every rank of a sharded run draws whole rows, of which it keeps its columns.
    """
    law, function, shard = config.drawn_tasks, config.drawn_tasks.features, config.shard
    if not callable(function):
        return None

    def rows(trial: int, stream: int, round: int, *block: int) -> NDArray[Any]:
        key = core.derive_key(config.seed, trial, round, stream)
        task, first, count = block
        drawn = features.rows(function, key, (task, first), count, law.d)
        return drawn if shard is None else np.ascontiguousarray(drawn[:, shard.lo : shard.hi])

    return rows
