r"""Rounds on new finite samples, in law, at a cost that does not depend on d (16)-(19)."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..config.devices import core_device
from ..config.sample_law import sample_law
from ..methods import core_method
from .coordinates import InCoordinates
from .heads import drawn_tasks
from .trials import Trials


class Collapsed(InCoordinates):
    """The engine that draws only the statistics of samples that a round uses."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from M, R and w."""
        parts = trials.parts
        tracked = config.columns if config.track_start else 0
        return core.Run.collapsed(
            method=core_method(config.method, config.n_tasks),
            samples=sample_law(config),
            M=parts["M"][indices],
            R=parts["R"][indices],
            w=parts["w"][indices],
            kept=config.k_star + tracked,
            device=core_device(config.device),
            **drawn_tasks(config, trials, indices),
        )
