r"""A fixed pool of tasks in law: its samples in a basis of what they and the start span, (24).

All rows of a pool are drawn once, so that R^d matters only through the span of B_star, of the start
and of the rows themselves. In an orthonormal basis of it the first `D` columns of the features are
those of the state [M; R], and what the rows have off them is the Bartlett factor of a Wishart
matrix: row j ends in the column D + j. Trained on these arrays, everything has the law that it has
on samples drawn at full size, whatever d is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import memory
from ..config.config import TrainConfig
from ..methods import core_method
from ..tasks import features, heads
from ..tasks.batch import TaskBatch

TASKS_AT_ONCE = 8  # that a thread holds the samples of


def state_rows(config: TrainConfig) -> int:
    """Rows D of the state [M; R]."""
    return config.k_star + min(config.width, config.tasks.d - config.k_star)


def basis_size(config: TrainConfig) -> int:
    """Features of the arrays that rounds work on: those of the basis for a pool in law."""
    if not config.pooled_in_law:
        return config.tasks.d
    size, m_in, m_out = config.pooled
    samples = size * (m_in if config.shared_samples else m_in + m_out)
    return min(config.tasks.d, state_rows(config) + samples)


def sample_law(config: TrainConfig) -> tuple[float, int, int, bool, float, str, float]:
    """The law of a task's samples as the compiled core takes it.

    Raises MemoryError where a thread's tasks would not fit: MAML takes m_in^2 / 2 numbers a task.
    """
    law = config.law
    name, dof = features.core_law(law.features)
    m_in, m_out = config.m_in or 0, config.m_out or 0
    if config.engine == "sampled":
        return (float(law.d), m_in, m_out, config.shared_samples, law.noise, name, dof)
    _, _, steps, moves_B, _ = core_method(config.method)
    D, sphere, gaussian = state_rows(config), name == "sphere", name == "gaussian"
    frame = min(m_in + m_out if sphere else m_in * (moves_B and steps > 0), law.d)
    rows_in = m_in if frame or not gaussian else min(m_in, D + 1)
    rows_out = min(m_out, D + frame + 1) if gaussian else m_out
    numbers = (rows_in + rows_out) * (D + 1 + frame) // (2 if frame or gaussian else 1)
    memory.require("the samples of a thread's tasks", TASKS_AT_ONCE * 8 * numbers)
    return (float(law.d), m_in, m_out, config.shared_samples, law.noise, name, dof)


def pool_in_law(config: TrainConfig, trial: int) -> TaskBatch:
    """The pool of one trial."""
    size, m_in, m_out = config.pooled
    law, shared, seed = config.law, config.shared_samples, config.seed
    stride = m_in if shared else m_in + m_out
    columns, dtype = basis_size(config), np.dtype(config.dtype)
    w_star = heads.draw(law.heads, size, law.k, (seed, trial, 0))

    def draw(first: int, noise: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
        X = core.pooled_features(
            features.core_law(law.features),
            seed,
            trial,
            float(law.d),
            state_rows(config),
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
