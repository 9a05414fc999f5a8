r"""Rounds on population losses: infinitely many samples per task, in coordinates (13)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from ..config.config import TrainConfig
from ..config.devices import core_device
from ..methods import core_method
from .coordinates import InCoordinates
from .heads import drawn_tasks
from .memory import separate
from .protocol import Parts, Shapes, split_w
from .trials import Trials


class Population(InCoordinates):
    """The engine on population losses.

    If a learner is wider than the ground truth, the core multiplies M and R from the right by an
    orthogonal Q (k, k), which keeps relative accuracy (14). The state is then M Q, R Q, Q^T w and
    Q; the matrices Q of all trials are called frames.
    """

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run from M, R, w and, once the core has returned them, the frames."""
        parts = trials.parts
        return core.Run.population(
            method=core_method(config.method, config.n_tasks),
            M=parts["M"][indices],
            R=parts["R"][indices],
            w=parts["w"][indices],
            noise=config.drawn_tasks.noise,
            frames=parts["frames"][indices] if "frames" in parts else None,
            device=core_device(config.device),
            **drawn_tasks(config, trials, indices),
        )

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of M, R, w and the frames."""
        return super().shapes(config, trials) | {"frames": (config.columns, config.columns)}

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Undo the core's multiplication by Q, so that states are in the basis of the start."""
        result = separate(config, parts)
        M, R, heads = result["M"], result["R"], split_w(config, result)
        frames = parts.get("frames")
        if frames is not None and M.shape[2] > M.shape[1]:  # otherwise Q = I
            back = frames.transpose(0, 2, 1)
            with np.errstate(over="ignore", invalid="ignore"):  # states near 1e308 may overflow
                M, R = _product(M, back), _product(R, back)
                for name in heads.keys() & {"w", "v"}:
                    heads[name] = _product(heads[name][:, None], back)[:, 0]
        return {"M": M, "R": R} | heads


def _product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Multiply stacked matrices in an order that, unlike that of BLAS, never varies."""
    product: NDArray[Any] = (a[..., None] * b[:, None]).sum(axis=-2)
    return product
