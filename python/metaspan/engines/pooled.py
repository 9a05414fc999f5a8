r"""Rounds on a fixed pool of tasks in law: arrays in a basis of the span of start and samples (24).

All samples of a pool are drawn once, so training stays in the span of B_star, the start and the
samples. In an orthonormal basis of this span, the first D features are the coordinates of the state
[M; R]. The components of the samples outside these features are a Bartlett factor of a Wishart
matrix: row j has its last nonzero entry in column D + j. A run on these arrays has the same
distribution as a run on samples drawn at full size, for any d.
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
from ..tasks.linear import draw_xi, responses_of
from .arrays import open_on, shape_of_A
from .memory import add_memory, memory_shapes, reported_parts
from .protocol import Parts, Shapes, core_shape_of_w, shapes_of_w, split_w, trial_ids_of
from .starts import start_in_coordinates
from .trials import Trials


class Pooled:
    """The engine on the arrays of a pool in law, by one of three routes."""

    def own_data(self, config: TrainConfig) -> bool:
        """Return True: every trial draws its own pool."""
        return True

    def start(self, config: TrainConfig, trial_ids: Sequence[int]) -> Parts:
        """Return B = [M; R] in the basis of the pool, w, and the blocks beside them."""
        parts = start_in_coordinates(config, trial_ids)
        B = np.concatenate([parts["M"], parts["R"]], axis=1).astype(config.dtype)
        return add_memory(config, {"B": B, "w": parts["w"]})

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run on the pool of the one trial in `indices`."""
        (trial,) = trial_ids_of(config, indices)
        start = self.start(config, [trial]) if "A" in trials.parts else {}
        return open_on(pool_in_law(config, trial), config, trials, indices, start)

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of B, w, A of (24) on the dual route, and the blocks beside them."""
        B = (config.layout.features, config.columns)
        shapes = {"B": B} | core_shape_of_w(config) | shape_of_A(config, trials)
        return shapes | memory_shapes(config, shapes)

    def export(self, config: TrainConfig, parts: Parts) -> Parts:
        """Return M, w and, in place of the rows of B outside B_star, the R-factor of these rows.

        An orthogonal matrix that multiplies R from the left changes neither losses nor distances,
        so a result does not need the basis of the pool.
        """
        parts = reported_parts(config, parts)
        k_star, all_B = config.k_star, parts["B"].astype(np.float64)
        factors = [core.r_factor(np.ascontiguousarray(B[k_star:]), 1) for B in all_B]
        return {"M": all_B[:, :k_star].copy(), "R": np.stack(factors)} | split_w(config, parts)

    def exported_shapes(self, config: TrainConfig, parts: Mapping[str, Any]) -> Shapes:
        """Return the shapes of M, R and w."""
        k = config.columns
        height = min(config.layout.height, k)
        return {"M": (config.k_star, k), "R": (height, k)} | shapes_of_w(config)

    def cost(self, config: TrainConfig, ranks: int = 1) -> estimate.Estimate:
        """Estimate the memory and the time of the chosen route."""
        return estimate.on_data(config)


def pool_in_law(config: TrainConfig, trial: int) -> TaskBatch:
    """Draw the pool of one trial, in the basis of the span of its samples and the start."""
    layout = config.layout
    size, m_in, m_out = config.pooled
    law, shared, seed = config.drawn_tasks, config.shared_samples, config.seed
    stride = m_in if shared else m_in + m_out
    columns, dtype = layout.features, np.dtype(config.dtype)
    w_star = heads.draw(law.heads, size, law.k, (seed, trial, 0))
    xi = draw_xi(law, (seed, trial, 0), size, columns, config.threads)

    def draw_set(first: int, noise: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
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
        if xi is not None:  # its coordinates off the basis meet no sample
            y += responses_of(X, xi, config.threads)
        return X, (y + law.noise * z).astype(dtype)

    X_in, y_in = draw_set(0, core.STREAM_NOISE_IN, m_in)
    X_out, y_out = X_in, y_in
    if not shared:
        X_out, y_out = draw_set(m_in, core.STREAM_NOISE_OUT, m_out)
    B_star = np.eye(columns, law.k, dtype=dtype)
    return TaskBatch(X_in, y_in, X_out, y_out, B_star=B_star, heads=w_star, check_finite=False)
