r"""Where the trials of a run stand: their states in the coordinates (13), and the rows recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._load import core
from .config import Init, TrainConfig

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Trials:
    r"""The trials of a run, each with its state.

    Parameters
    ----------
    M, R, w : ndarray of shape (trials, k_star, k), (trials, e, k), (trials, k)
        States, in the basis that the core works in.
    turn : ndarray of shape (trials, k, k), or None
        Orthogonal Q that leads into that basis, `M = M_user Q`; None where the two are one.
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
    turn: F64 | None
    rounds: list[int]
    status: list[int]
    columns: tuple[str, ...]
    rows: list[tuple[I64, F64]]

    @property
    def live(self) -> list[int]:
        """Places of the trials that have not ended."""
        return [i for i, status in enumerate(self.status) if status == core.LIVE]

    def in_user_basis(self) -> tuple[F64, F64, F64]:
        """M, R and w of every trial in the basis of the start."""
        if self.turn is None:
            return self.M, self.R, self.w
        back = self.turn.transpose(0, 2, 1)
        return self.M @ back, self.R @ back, (self.turn @ self.w[:, :, None])[:, :, 0]


def begin(config: TrainConfig) -> Trials:
    """The trials of a run at round 0."""
    states = [_start(config, trial) for trial in config.trials]
    turns: list[F64] = []
    if config.width > config.tasks.k:
        # With more columns than k_star the core keeps its relative accuracy only where M = [M_1 0].
        rotated = [core.rotate_start(*state) for state in states]
        states = [(M, R, w) for M, R, w, _ in rotated]
        if not isinstance(config.init, Init):
            turns = [turn for *_, turn in rotated]
    height = max(R.shape[0] for _, R, _ in states)
    count = len(states)
    return Trials(
        M=np.stack([M for M, _, _ in states]),
        R=np.stack([np.pad(R, ((0, height - R.shape[0]), (0, 0))) for _, R, _ in states]),
        w=np.stack([w for _, _, w in states]),
        turn=np.stack(turns) if turns else None,
        rounds=[0] * count,
        status=[core.LIVE] * count,
        columns=(),
        rows=[(np.empty(0, np.int64), np.empty((0, 0)))] * count,
    )


def _start(config: TrainConfig, trial: int) -> tuple[F64, F64, F64]:
    """M, R and w of one trial's start, in the user's basis."""
    if not isinstance(config.init, Init):
        M, R, _ = given_coordinates(config, trial)
        return M, R, config.init[1]
    tasks, width = config.tasks, config.width
    scale = config.init.length(config.method)
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
