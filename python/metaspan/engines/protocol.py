r"""What every engine answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support.types import F64
from ..config.config import TrainConfig
from ..cost.estimate import Estimate
from .trials import Trials

Parts = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]


class Engine(Protocol):
    """How one kind of run computes a round; `engines.engine_of` finds that of a configuration."""

    def own_data(self, config: TrainConfig) -> bool:
        """Whether every trial has data of its own, so that the core holds one at a time."""

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Draw or compute the states of some trials at round 0, each with an axis of trials."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open the core's run of the trials at some indices, from where they stand."""

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Shapes of one trial's state in the course of a run, as checkpoints hold it."""

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Turn states into what results hold: M, R and w in the basis of the start, or B and w."""

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Shapes of one trial's state in a result."""

    def cost(self, config: TrainConfig) -> Estimate:
        """Estimate the memory and the time of a run."""


def trial_ids(config: TrainConfig, indices: list[int]) -> list[int]:
    """Numbers of the trials at some indices."""
    return [config.trials[i] for i in indices]


def rounds_of(trials: Trials, indices: list[int]) -> list[int]:
    """Rounds that the trials at some indices have done."""
    return [trials.rounds[i] for i in indices]


def truths(config: TrainConfig, trial_ids: Sequence[int]) -> list[F64]:
    """Return B_star of some trials in double precision."""
    return [
        config.drawn_tasks.ground_truth(config.seed, number, config.threads).astype(
            np.float64, copy=False
        )
        for number in trial_ids
    ]
