r"""Rounds on population losses of features with a spectrum, on B at full size."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..cost import estimate
from ..methods import core_method
from .full_size import MEMORY, AtFullSize
from .heads import drawn_tasks
from .protocol import trial_ids_of, truths
from .trials import Trials


class Spectral(AtFullSize):
    """The engine on population losses with a diagonal covariance of the features."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from B and w."""
        roots = config.drawn_tasks.roots
        assert roots is not None
        return core.Run.spectral(
            method=core_method(config.method, config.n_tasks),
            roots=roots,
            noise=config.drawn_tasks.noise,
            B_star=truths(config, trial_ids_of(config, indices)),
            B=trials.parts["B"][indices],
            w=trials.parts["w"][indices],
            **{name: trials.parts[name][indices] for name in MEMORY if name in trials.parts},
            **drawn_tasks(config, trials, indices),
        )

    def cost(self, config: TrainConfig, ranks: int = 1) -> estimate.Estimate:
        """Estimate the memory and the time of moments of [B_star, B] and steps of B."""
        return estimate.with_spectrum(config)
