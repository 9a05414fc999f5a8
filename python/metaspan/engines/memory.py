r"""The blocks that the outer step of a run remembers beside `B` and `w`, (28)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.config import TrainConfig
from .protocol import Parts, Shapes

# Parts of a state in coordinates. All blocks of a part are side by side, as columns.
IN_COORDINATES = ("M", "R", "w")
# For each part of a state at full size, the part that has the blocks beside it.
BESIDE = {"B": "memory", "A": "A_memory", "w": "w_memory"}


def blocks_of(config: TrainConfig) -> tuple[str, ...]:
    """Return the names of the blocks beside `B`, in the order of the core."""
    step = config.method.step
    return () if step is None else step.memory


def start_blocks(config: TrainConfig, part: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the blocks beside a part of the start: the part for means of iterates, else zeros."""
    is_mean = [name in ("average", "slow") for name in blocks_of(config)]
    return [part if mean else np.zeros_like(part) for mean in is_mean]


def reported(config: TrainConfig) -> int:
    """Return the index of the block that is the result: that of the average if used, else 0."""
    names = blocks_of(config)
    return 1 + names.index("average") if "average" in names else 0


def join(config: TrainConfig, parts: Parts) -> Parts:
    """Append to M, R and w the columns of the further blocks with which a run starts."""
    if not blocks_of(config):
        return parts
    return {
        name: np.concatenate([part, *start_blocks(config, part)], axis=-1)
        for name, part in parts.items()
    }


def joint_shapes(config: TrainConfig, shapes: Shapes) -> Shapes:
    """Return the shapes of M, R and the core's w with all blocks side by side."""
    count = 1 + len(blocks_of(config))
    return {name: (*shape[:-1], count * shape[-1]) for name, shape in shapes.items()}


def separate(config: TrainConfig, parts: Parts) -> Parts:
    """Return the columns of M, R and the core's w that belong to the block that is the result."""
    at, count = reported(config), 1 + len(blocks_of(config))
    if count == 1:
        return {name: parts[name] for name in IN_COORDINATES}
    return {name: np.split(parts[name], count, axis=-1)[at] for name in IN_COORDINATES}


def add_memory(config: TrainConfig, parts: Parts) -> Parts:
    """Add parts with the blocks beside B and w with which a run starts.

    On the dual route the blocks beside A begin at zero, like A, so the start has no part for them.
    """
    names = ("w",) if config.route == "dual" else ("B", "w")
    if not blocks_of(config):
        return parts
    return parts | {
        BESIDE[name]: np.stack(start_blocks(config, parts[name]), axis=1) for name in names
    }


def memory_shapes(config: TrainConfig, shapes: Shapes) -> Shapes:
    """Return the shapes of the parts beside B or A and beside w."""
    count = len(blocks_of(config))
    if not count:
        return {}
    names = ("A" if "A" in shapes else "B", "w")
    return {BESIDE[name]: (count, *shapes[name]) for name in names}


def reported_parts(config: TrainConfig, parts: Parts) -> Parts:
    """Return B and the core's w of the result; on the dual route the core exports this B itself."""
    at = reported(config)
    if at == 0:
        return {name: parts[name] for name in ("B", "w")}
    B = parts["B"] if "A" in parts else parts["memory"][:, at - 1]
    return {"B": B, "w": parts["w_memory"][:, at - 1]}
