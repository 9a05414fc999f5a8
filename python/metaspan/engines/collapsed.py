r"""Finite samples drawn afresh every round, in law, at a cost that does not depend on d."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..config.sample_law import sample_law
from ..methods import core_method
from .coordinates import InCoordinates
from .heads import drawn_tasks
from .trials import Trials


class Collapsed(InCoordinates):
    """Rounds on the exact law of what matters of a round's samples."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from M, R and w."""
        parts = trials.parts
        tracked = config.width if config.track_start else 0
        return core.Run.collapsed(
            method=core_method(config.method),
            samples=sample_law(config),
            M=parts["M"][indices],
            R=parts["R"][indices],
            w=parts["w"][indices],
            kept=config.k_star + tracked,
            **drawn_tasks(config, trials, indices),
        )
