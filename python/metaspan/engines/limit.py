r"""Rounds in the limit of infinitely many tasks: the recursion (55)."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..methods import core_method
from ..tasks import heads
from .coordinates import InCoordinates
from .protocol import rounds_of
from .trials import Trials


class Limit(InCoordinates):
    """The engine of the deterministic recursion (55)."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from M, R and w."""
        tasks = config.drawn_tasks
        return core.Run.limit(
            method=core_method(config.method),
            m_in=config.m_in or 0,
            m_out=config.m_out or 0,
            noise=tasks.noise,
            spread=tasks.spread,
            d=float(tasks.d),
            d_over_n=config.d_over_n or 0.0,
            heads=heads.core_moments(tasks.heads, tasks.k),
            M=trials.parts["M"][indices],
            R=trials.parts["R"][indices],
            w=trials.parts["w"][indices],
            rounds=rounds_of(trials, indices),
            records=config.record,
        )
