r"""Rounds with infinitely many tasks: the recursion (23)."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..methods import core_method
from ..tasks import heads
from .coordinates import InCoordinates
from .protocol import rounds_of
from .trials import Trials


class InfiniteTasks(InCoordinates):
    """The engine of the deterministic recursion (23)."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from M and R."""
        return core.Run.infinite_tasks(
            method=core_method(config.method),
            m_in=config.m_in or 0,
            noise=config.drawn_tasks.noise,
            spread=config.drawn_tasks.spread,
            d=float(config.tasks.d),
            covariance=heads.covariance(config.drawn_tasks.heads, config.k_star),
            M=trials.parts["M"][indices],
            R=trials.parts["R"][indices],
            rounds=rounds_of(trials, indices),
            records=config.record,
        )
