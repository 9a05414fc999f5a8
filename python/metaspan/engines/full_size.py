r"""The part shared by all engines whose state is B at full size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config.config import TrainConfig
from ..tasks.linear import LinearTasks
from .memory import add_memory, memory_shapes, reported_parts
from .protocol import Parts, Shapes, core_shape_of_w, shapes_of_w, split_w
from .starts import start_at_full_size
from .trials import Trials

MEMORY = ("memory", "w_memory")  # parts with the blocks of (28) beside B and w


class AtFullSize:
    """An engine on B at full size."""

    def own_data(self, config: TrainConfig) -> bool:
        """Return whether tasks are drawn, in which case each trial has its own ground truth."""
        return isinstance(config.tasks, LinearTasks)

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Return B and w at round 0, and the blocks beside them."""
        return add_memory(config, start_at_full_size(config, trial_ids))

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of B and w, and of the blocks beside them."""
        shapes = {"B": (config.rows, config.columns)} | core_shape_of_w(config)
        return shapes | memory_shapes(config, shapes)

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Return B and w of the block that is the result."""
        result = reported_parts(config, parts)
        return {"B": result["B"]} | split_w(config, result)

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of B and w."""
        return {"B": (config.rows, config.columns)} | shapes_of_w(config)
