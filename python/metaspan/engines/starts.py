r"""The states of trials at round 0, in coordinates or at full size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, memory
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.layout import has_fixed_height
from ..config.options import CoordinateStart, FittedStart, Init, column_length
from ..estimators.fitted import fit_start, source_of
from ..linear_methods import LinearAttention, LinearMAML
from ..methods import block_count
from ..parameters import start_more
from ..sharding.agreement import agreed
from ..tasks.batch import TaskBatch


def start_in_coordinates(config: TrainConfig, trial_ids: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return M, R and w of some trials at round 0, as arrays with a leading axis of trials."""
    if isinstance(config.init, Init) or config.drawn_tasks.B_star is None:
        states = [_in_coordinates(config, trial) for trial in trial_ids]
    else:  # no start is drawn: all trials have the same start
        states = [_in_coordinates(config, trial_ids[0])] * len(trial_ids)
    height = max(R.shape[0] for _, R, _ in states)
    if isinstance(config.init, Init):
        height = max(height, config.layout.height)
    elif has_fixed_height(config):  # rounds fill the rows of R that the start leaves zero
        height = config.layout.height
    R = np.zeros((len(states), height, config.columns))
    for i, (_, rows, _) in enumerate(states):
        R[i, : len(rows)] = rows
    return {
        "M": np.stack([M for M, _, _ in states]),
        "R": R,
        "w": _with_more(config, np.stack([w for _, _, w in states])),
    }


def start_at_full_size(config: TrainConfig, trial_ids: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return B and w of some trials at round 0, as arrays with a leading axis of trials."""
    count, rows, width = len(trial_ids), config.rows, config.columns
    dtype = np.dtype(config.dtype)
    # The dual route keeps the blocks beside B as combinations of samples.
    copies = count * (1 if config.route == "dual" else block_count(config.method))
    what = f"{copies} x B of shape ({rows}, {width})"
    with agreed(config.exchange):
        memory.require(what, copies * rows * width * dtype.itemsize)
    B, w = np.empty((count, rows, width), dtype), np.empty((count, width))
    if isinstance(config.init, Init):
        w[:] = _start_head(config)
        for i, trial in enumerate(trial_ids):
            B[i] = _doubled(config, _draw_B(config, config.init, trial))
    else:
        B[:], w[:] = _given_state(config)
        if config.measures_distance and not _may_be_zero(config):
            B0 = np.ascontiguousarray(B[0][:, -config.width :])
            factor = core.r_factor(B0, config.threads, config.core_shard)
            with agreed(config.exchange):
                check.full_rank("B0", factor)
    return {"B": B, "w": _with_more(config, w)}


def _with_more(config: TrainConfig, w: F64) -> F64:
    """Append to w (trials, k) what the outer loop of the method learns beside B and w."""
    more = start_more(config.method, config.width)
    return np.concatenate([w, np.tile(more, (len(w), 1))], axis=1) if more.size else w


def _draw_B(config: TrainConfig, init: Init, trial: int) -> F64:
    """Draw B (d, k) of one trial's start from its law."""
    seed, d, width, threads = config.seed, config.tasks.d, config.width, config.threads
    shard = config.core_shard
    scale = column_length(init, config.method)
    if isinstance(init, FittedStart) and source_of(config) != "law":
        return scale * fit_start(config, init, trial)[0]
    in_coordinates = isinstance(init, (FittedStart, CoordinateStart))
    if init.dist is None and not in_coordinates:
        return scale * core.haar(seed, trial, core.STREAM_START, d, width, None, threads, shard)
    tasks = config.tasks
    B_star = tasks.B_star if isinstance(tasks, TaskBatch) else truth_of(config, trial)
    assert B_star is not None
    B_star = B_star.astype(np.float64, copy=False)
    M, R = _drawn_coordinates(config, init, trial)
    E = core.haar(seed, trial, core.STREAM_FRAME, d, R.shape[0], B_star, threads, shard)
    return core.assemble(B_star, scale * M, E, scale * R, threads, shard)


def _in_coordinates(config: TrainConfig, trial: int) -> tuple[F64, F64, F64]:
    """Return M, R and w of one trial's start, drawn or given."""
    if not isinstance(config.init, Init):
        M, R, _ = given_coordinates(config, trial)
        check_rank = check.lengths if _may_be_zero(config) else check.full_rank
        check_rank("B0", np.concatenate([M, R])[:, -config.width :])
        return M, R, _given_state(config)[1]
    tasks, width = config.tasks, config.width
    scale = column_length(config.init, config.method)
    in_coordinates = isinstance(config.init, (FittedStart, CoordinateStart))
    if config.init.dist is None and not in_coordinates:
        M, R = core.random_start(config.seed, trial, tasks.d, tasks.k, width, scale)
    else:
        M, R = _drawn_coordinates(config, config.init, trial)
        M, R = scale * M, scale * R
    return _doubled(config, M), _doubled(config, R), _start_head(config)


def _drawn_coordinates(config: TrainConfig, init: Init, trial: int) -> tuple[F64, F64]:
    """Return M and R of a start with orthonormal columns, at a distance or at an estimate."""
    if isinstance(init, CoordinateStart):
        return init.M, init.R
    if not isinstance(init, FittedStart):
        assert init.dist is not None
        return tilted(init.dist, config.tasks.d, config.k_star, config.width)
    B, B_star = fit_start(config, init, trial)
    assert B_star is not None
    M, R, _ = core.coordinates(B, B_star, config.threads)
    return M, R


def _start_head(config: TrainConfig) -> F64:
    """Return the head of a drawn start: 0, or 1 where the method freezes it there."""
    head: F64 = np.full(config.columns, float(isinstance(config.method, LinearMAML)))
    return head


def _given_state(config: TrainConfig) -> tuple[NDArray[Any], F64]:
    """Return the state and the head of a given start: [A0, B0] and 0 for linear attention."""
    assert not isinstance(config.init, Init)
    if not isinstance(config.method, LinearAttention):
        return config.init
    return np.concatenate(config.init, axis=1), np.zeros(config.columns)


def _doubled(config: TrainConfig, B: F64) -> F64:
    """Return the state of a drawn start: B itself, or [A, B] with A = B for linear attention."""
    return np.concatenate([B, B], axis=1) if isinstance(config.method, LinearAttention) else B


def _may_be_zero(config: TrainConfig) -> bool:
    """Return whether B = 0 is a valid start; its distance to the ground truth counts as 1."""
    return isinstance(config.method, LinearMAML)


def truth_of(config: TrainConfig, trial: int) -> NDArray[Any]:
    """Return the rows of B_star of a trial that this process holds."""
    return config.drawn_tasks._truth(config.seed, trial, config.threads, config.shard)


def tilted(dist: float, d: int, k_star: int, width: int) -> tuple[F64, F64]:
    """Return M and R of orthonormal columns whose principal angles to the truth are asin(dist)."""
    rank = min(width, k_star)
    M, R = np.zeros((k_star, width)), np.zeros((min(width, d - k_star), width))
    M[:rank, :rank] = math.sqrt((1.0 - dist) * (1.0 + dist)) * np.eye(rank)
    used = 0
    if dist > 0.0:
        R[:rank, :rank] = dist * np.eye(rank)
        used = rank
    surplus = width - rank
    R[used : used + surplus, rank:] = np.eye(surplus)
    return M, R


def given_coordinates(config: TrainConfig, trial: int) -> tuple[F64, F64, NDArray[Any]]:
    """Return M, R and the basis E (d, e) of a start given as an array."""
    assert not isinstance(config.init, Init)
    B_star = config.drawn_tasks.ground_truth(config.seed, trial, config.threads)
    return core.coordinates(_given_state(config)[0], B_star, config.threads)
