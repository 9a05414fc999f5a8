r"""Where the trials of a run stand: their states in the coordinates (13), and the rows recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check
from ._load import core
from .config import TrainConfig
from .options import Init, column_length

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Trials:
    r"""The trials of a run, each with its state.

    Parameters
    ----------
    M, R, w : ndarray of shape (trials, k_star, k), (trials, e, k), (trials, k)
        States, in the frames that the core keeps them in.
    frames : ndarray of shape (trials, k, k), or None
        Orthogonal Q of each trial: the arrays above are `M Q`, `R Q` and `Q^T w`. None before
        the core has seen them.
    rounds, status : list of int
        Rounds done and the core's status, per trial.
    columns : tuple of str
        Names of the columns of `rows`.
    rows : list of (ndarray of shape (rows,), ndarray of shape (rows, columns))
        Rounds and values that were recorded, per trial.
    """

    M: F64
    R: F64
    w: F64
    frames: F64 | None
    rounds: list[int]
    status: list[int]
    columns: tuple[str, ...]
    rows: list[tuple[I64, F64]]

    @property
    def live(self) -> list[int]:
        """Places of the trials that have not ended."""
        return [i for i, status in enumerate(self.status) if status == core.LIVE]

    def in_user_basis(self) -> tuple[F64, F64, F64]:
        """M, R and w of every trial in the frame of the start."""
        if self.frames is None or self.M.shape[2] <= self.M.shape[1]:
            return self.M, self.R, self.w  # only wider learners turn
        back = self.frames.transpose(0, 2, 1)
        return self.M @ back, self.R @ back, (self.frames @ self.w[:, :, None])[:, :, 0]


def begin(config: TrainConfig) -> Trials:
    """The trials of a run at round 0."""
    count = len(config.trials)
    if isinstance(config.init, Init) or config.tasks.B_star is None:
        states = [_start(config, trial) for trial in config.trials]
    else:  # nothing is drawn: one start for all
        states = [_start(config, config.trials[0])] * count
    height = max(R.shape[0] for _, R, _ in states)
    return Trials(
        M=np.stack([M for M, _, _ in states]),
        R=np.stack([np.pad(R, ((0, height - R.shape[0]), (0, 0))) for _, R, _ in states]),
        w=np.stack([w for _, _, w in states]),
        frames=None,
        rounds=[0] * count,
        status=[core.LIVE] * count,
        columns=(),
        rows=[(np.empty(0, np.int64), np.empty((0, 0)))] * count,
    )


def _start(config: TrainConfig, trial: int) -> tuple[F64, F64, F64]:
    """M, R and w of one trial's start, in the user's basis."""
    if not isinstance(config.init, Init):
        M, R, _ = given_coordinates(config, trial)
        _check.full_rank("B0", np.concatenate([M, R]))
        return M, R, config.init[1]
    tasks, width = config.tasks, config.width
    scale = column_length(config.init, config.method)
    if config.init.dist is None:
        M, R = core.random_start(config.seed, trial, tasks.d, tasks.k, width, scale)
    else:
        M, R = tilted(config.init.dist, tasks.d, tasks.k, width)
        M, R = scale * M, scale * R
    return M, R, np.zeros(width)


def tilted(dist: float, d: int, k_star: int, width: int) -> tuple[F64, F64]:
    """Coordinates of orthonormal columns with every principal angle at asin(dist)."""
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
    """M, R and the basis E (d, e) of a start given as an array."""
    assert not isinstance(config.init, Init)
    B_star = config.tasks.ground_truth(config.seed, trial, config.threads)
    return core.coordinates(config.init[0], B_star, config.threads)
