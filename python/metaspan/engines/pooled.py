r"""A fixed pool of tasks in law: its samples in a basis of what they and the start span, (24).

All rows of a pool are drawn once, so that R^d matters only through the span of B_star, of the start
and of the rows themselves. In an orthonormal basis of it the first `D` columns of the features are
those of the state [M; R], and what the rows have off them is the Bartlett factor of a Wishart
matrix: row j ends in the column D + j. Trained on these arrays, everything has the law that it has
on samples drawn at full size, whatever d is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from ..config.config import TrainConfig
from ..cost import estimate
from ..tasks import features, heads
from ..tasks.batch import TaskBatch
from .arrays import open_on, shape_of_A
from .protocol import Parts, Shapes, trial_ids
from .starts import start_in_coordinates
from .trials import Trials


class Pooled:
    """Rounds on the arrays of a pool in law, by one of three routes."""

    def own_data(self, config: TrainConfig) -> bool:
        """Return True: every trial draws a pool of its own."""
        return True

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Return B = [M; R] in the basis of the pool, and w."""
        parts = start_in_coordinates(config, trial_ids)
        B = np.concatenate([parts["M"], parts["R"]], axis=1).astype(config.dtype)
        return {"B": B, "w": parts["w"]}

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run on the pool of the one trial."""
        (number,) = trial_ids(config, indices)
        start = self.start(config, [number]) if "A" in trials.parts else {}
        return open_on(pool_in_law(config, number), config, trials, indices, start)

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of B, w and, on the dual route, A of (24)."""
        k = config.width
        return {"B": (config.layout.features, k), "w": (k,)} | shape_of_A(config, trials)

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Return M, R in some basis, and w: the basis of the pool is no concern of the user's."""
        k_star, all_B = config.k_star, parts["B"].astype(np.float64)
        off = [core.r_factor(np.ascontiguousarray(B[k_star:]), 1) for B in all_B]
        return {"M": all_B[:, :k_star].copy(), "R": np.stack(off), "w": parts["w"]}

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of M, R and w."""
        k = config.width
        return {"M": (config.k_star, k), "R": (min(config.layout.height, k), k), "w": (k,)}

    def cost(self, config: TrainConfig) -> estimate.Estimate:
        """Estimate rounds of the chosen route."""
        return estimate.on_data(config)


def pool_in_law(config: TrainConfig, trial: int) -> TaskBatch:
    """Draw the pool of one trial."""
    layout = config.layout
    size, m_in, m_out = config.pooled
    law, shared, seed = config.drawn_tasks, config.shared_samples, config.seed
    stride = m_in if shared else m_in + m_out
    columns, dtype = layout.features, np.dtype(config.dtype)
    w_star = heads.draw(law.heads, size, law.k, (seed, trial, 0))

    def draw(first: int, noise: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
        X = core.pooled_features(
            features.core_law(law.features),
            seed,
            trial,
            float(law.d),
            layout.D,
            columns,
            first,
            stride,
            size,
            m,
            dtype.name,
            config.threads,
        )
        z = core.normals(seed, trial, 0, noise, size, m, 1, "float64", config.threads)[:, :, 0]
        y = (X[:, :, : law.k] * w_star[:, None, :]).sum(axis=2)
        return X, (y + law.noise * z).astype(dtype)

    X_in, y_in = draw(0, core.STREAM_NOISE_IN, m_in)
    X_out, y_out = X_in, y_in
    if not shared:
        X_out, y_out = draw(m_in, core.STREAM_NOISE_OUT, m_out)
    B_star = np.eye(columns, law.k, dtype=dtype)
    return TaskBatch(X_in, y_in, X_out, y_out, B_star=B_star, heads=w_star, check_finite=False)
