r"""The protocol that every engine implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support.types import F64
from ..config.config import TrainConfig
from ..cost.estimate import Estimate
from ..parameters import count_more, split_more
from .trials import Trials

Parts = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]


class Engine(Protocol):
    """How one kind of run computes rounds; `engines.engine_of` returns a configuration's engine.

    `trial_ids` are the numbers of trials, from which random numbers are derived; `indices` are
    positions in the list of a run's trials.
    """

    def own_data(self, config: TrainConfig) -> bool:
        """Whether every trial has its own data, so that the core holds one trial at a time."""

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Draw or compute the states of trials at round 0, as arrays with an axis of trials."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run of the core that continues trials from their current states."""

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of one trial's state during a run, as checkpoints hold it."""

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Convert states for a result: M, R and w in the basis of the start, or B and w.

        What the outer loop learns beside B and w follows.
        """

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of one trial's state in a result."""

    def cost(self, config: TrainConfig, ranks: int = 1) -> Estimate:
        """Estimate the memory and the time of a run, of one rank if several share it."""


def shapes_of_w(config: TrainConfig) -> Shapes:
    """Return the shapes of w, and of what the outer loop learns beside B and w, in a result."""
    counts = {"w": config.columns} | count_more(config.method, config.width)
    return {name: (count,) for name, count in counts.items()}


def core_shape_of_w(config: TrainConfig) -> Shapes:
    """Return the shape of w in the core, which holds all numbers that are learned beside B."""
    return {"w": (sum(shape[0] for shape in shapes_of_w(config).values()),)}


def split_w(config: TrainConfig, parts: Parts) -> Parts:
    """Split the w of the core."""
    return split_more(config.method, config.columns, parts["w"])


def trial_ids_of(config: TrainConfig, indices: list[int]) -> list[int]:
    """Return the numbers of the trials at some indices."""
    return [config.trials[i] for i in indices]


def rounds_of(trials: Trials, indices: list[int]) -> list[int]:
    """Return the number of rounds done by each of the trials at some indices."""
    return [trials.rounds[i] for i in indices]


def truths(config: TrainConfig, trial_ids: Sequence[int]) -> list[F64]:
    """Return the B_star of some trials in double precision, or the rows of it of this process."""
    return [
        config.drawn_tasks._truth(config.seed, trial, config.threads, config.shard).astype(
            np.float64, copy=False
        )
        for trial in trial_ids
    ]
