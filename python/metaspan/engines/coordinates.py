r"""The part shared by all engines whose state is [M; R] of (13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config.config import TrainConfig
from ..config.layout import height_of
from ..cost import estimate
from .memory import join, joint_shapes, separate
from .protocol import Parts, Shapes, core_shape_of_w, shapes_of_w, split_w
from .starts import start_in_coordinates
from .trials import Trials


class InCoordinates:
    """An engine in coordinates; its cost does not depend on d."""

    def own_data(self, config: TrainConfig) -> bool:
        """Return False: the core holds all trials at a time."""
        return False

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Return M, R and w at round 0, with the blocks of (28) side by side."""
        return join(config, start_in_coordinates(config, trial_ids))

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of M, R and w with the blocks of (28)."""
        shapes = self.exported_shapes(config, trials.parts)
        parts = {name: shapes[name] for name in ("M", "R")} | core_shape_of_w(config)
        return joint_shapes(config, parts)

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Return M, R and w of the block that is the result."""
        result = separate(config, parts)
        return {name: result[name] for name in ("M", "R")} | split_w(config, result)

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of M, R and w."""
        k, height = config.columns, height_of(config, parts["R"].shape[-2])
        return {"M": (config.k_star, k), "R": (height, k)} | shapes_of_w(config)

    def cost(self, config: TrainConfig, ranks: int = 1) -> estimate.Estimate:
        """Estimate the memory and the time of rounds in coordinates."""
        return estimate.in_coordinates(config)
