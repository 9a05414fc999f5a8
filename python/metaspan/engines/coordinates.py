r"""The part shared by all engines whose state is [M; R] of (13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config.config import TrainConfig
from ..config.layout import height_of
from ..cost import estimate
from .protocol import Parts, Shapes, core_shape_of_w, shapes_of_w, split_w
from .starts import start_in_coordinates
from .trials import Trials


class InCoordinates:
    """An engine in coordinates; its cost does not depend on d."""

    def own_data(self, config: TrainConfig) -> bool:
        """Return False: the core holds all trials at a time."""
        return False

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Return M, R and w at round 0."""
        return start_in_coordinates(config, trial_ids)

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of M, R and w."""
        shapes = self.exported_shapes(config, trials.parts)
        return {name: shapes[name] for name in ("M", "R")} | core_shape_of_w(config)

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Return M, R and w unchanged."""
        return {name: parts[name] for name in ("M", "R")} | split_w(config, parts)

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of M, R and w."""
        k, height = config.columns, height_of(config, parts["R"].shape[-2])
        return {"M": (config.k_star, k), "R": (height, k)} | shapes_of_w(config)

    def cost(self, config: TrainConfig) -> estimate.Estimate:
        """Estimate the memory and the time of rounds in coordinates."""
        return estimate.in_coordinates(config)
