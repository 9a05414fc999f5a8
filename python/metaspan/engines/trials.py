r"""Where the trials of a run stand: their states, and the rows recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, memory
from ..config.config import TrainConfig
from ..config.options import Init, column_length
from ..tasks.batch import TaskBatch
from .pooled import basis_size, state_rows

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Trials:
    r"""The trials of a run, each with its state.

    Parameters
    ----------
    parts : dict of str to ndarray
        The states by name, each with a leading axis of trials. In coordinates: ``"M"``, ``"R"``,
        ``"w"``, and ``"frames"`` once the core has seen them: orthogonal Q (k, k), the others
        being `M Q`, `R Q` and `Q^T w`. On arrays: ``"B"``, ``"w"`` and, for the dual route, ``"A"``
        of (24).
    rounds, status : list of int
        Rounds done and the core's status, per trial.
    columns : tuple of str
        Names of the columns of `rows`.
    rows : list of (ndarray of shape (rows,), ndarray of shape (rows, columns))
        Rounds and values that were recorded, per trial.
    route : str or None
        Of the arrays engine.
    """

    parts: dict[str, NDArray[Any]]
    rounds: list[int]
    status: list[int]
    columns: tuple[str, ...]
    rows: list[tuple[I64, F64]]
    route: str | None = None

    @property
    def live(self) -> list[int]:
        """Places of the trials that have not ended."""
        return [i for i, status in enumerate(self.status) if status == core.LIVE]

    def trace(self) -> dict[str, NDArray[Any]]:
        """Rows of all trials on one axis of rounds, (trials, rows), NaN where a trial has none."""
        longest = np.unique(np.concatenate([rounds for rounds, _ in self.rows]))
        table = np.full((len(self.rows), longest.size, len(self.columns)), np.nan)
        for i, (rounds, values) in enumerate(self.rows):
            table[i, np.searchsorted(longest, rounds)] = values
        found: dict[str, NDArray[Any]] = {"round": longest}
        for name in dict.fromkeys(self.columns):
            places = [j for j, column in enumerate(self.columns) if column == name]
            found[name] = table[:, :, places] if name == "angles" else table[:, :, places[0]].copy()
        return found

    def put(self, places: list[int], parts: dict[str, NDArray[Any]]) -> None:
        """Take over the states of some trials."""
        for name, values in parts.items():
            if name not in self.parts:
                self.parts[name] = np.zeros((len(self.rounds), *values.shape[1:]), values.dtype)
            self.parts[name][places] = values

    def in_user_basis(self, config: TrainConfig) -> dict[str, NDArray[Any]]:
        """States as results hold them: coordinates in the frame of the start, or B and w."""
        if config.pooled_in_law:  # the basis of a pool is no concern of the user's
            k_star, all_B = config.k_star, self.parts["B"].astype(np.float64)
            off = [core.r_factor(np.ascontiguousarray(B[k_star:]), 1) for B in all_B]
            return {"M": all_B[:, :k_star].copy(), "R": np.stack(off), "w": self.parts["w"]}
        if "M" not in self.parts:
            return {"B": self.parts["B"], "w": self.parts["w"]}
        M, R, w = (self.parts[name] for name in ("M", "R", "w"))
        frames = self.parts.get("frames")
        if frames is not None and M.shape[2] > M.shape[1]:  # only wider learners turn
            back = frames.transpose(0, 2, 1)
            with np.errstate(over="ignore", invalid="ignore"):  # of states near 1e308
                M, R, w = _product(M, back), _product(R, back), _product(w[:, None], back)[:, 0]
        return {"M": M, "R": R, "w": w}


def _product(a: F64, b: F64) -> F64:
    """Multiply stacked matrices in an order that, unlike BLAS's, is the same on every machine."""
    found: F64 = (a[..., None] * b[:, None]).sum(axis=-2)
    return found


def begin(config: TrainConfig) -> Trials:
    """The trials of a run at round 0."""
    count, names = len(config.trials), columns_of(config)
    memory.require(f"{count} trials", 8 * count * (config.width * (config.k_star + 1) + 64))
    return Trials(
        parts=start_parts(config, config.trials),
        rounds=[0] * count,
        status=[core.LIVE] * count,
        columns=names,
        rows=[(np.empty(0, np.int64), np.empty((0, len(names))))] * count,
    )


def columns_of(config: TrainConfig) -> tuple[str, ...]:
    """Names of the columns of a run's rows."""
    angles = min(config.width, config.k_star)
    columns = [[name] * (angles if name == "angles" else 1) for name in config.record]
    return tuple(name for each in columns for name in each)


def start_parts(config: TrainConfig, trials: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The states of some trials at round 0."""
    if config.at_full_size:
        return _on_arrays(config, trials)
    if isinstance(config.init, Init) or config.law.B_star is None:
        states = [_in_coordinates(config, trial) for trial in trials]
    else:  # nothing is drawn: one start for all
        states = [_in_coordinates(config, trials[0])] * len(trials)
    height = max(R.shape[0] for _, R, _ in states)
    if config.engine == "collapsed":
        height = collapsed_height(config)
    M = np.stack([M for M, _, _ in states])
    R = np.stack([np.pad(R, ((0, height - R.shape[0]), (0, 0))) for _, R, _ in states])
    w = np.stack([w for _, _, w in states])
    if config.pooled_in_law:
        return {"B": np.concatenate([M, R], axis=1).astype(config.dtype), "w": w}
    return {"M": M, "R": R, "w": w}


def height_of(config: TrainConfig, given: int) -> int:
    """Rows that R of a run in coordinates has, if a start given as an array has `given`."""
    if config.engine == "collapsed":
        return collapsed_height(config)
    most = min(config.width, config.tasks.d - config.k_star)
    return most if isinstance(config.init, Init) else min(most, given)


def collapsed_height(config: TrainConfig) -> int:
    """Rows of R in the collapsed engine, where samples fill what the start leaves free."""
    if config.pooled_in_law:
        return basis_size(config) - config.k_star
    return state_rows(config) - config.k_star + (config.width if config.track_start else 0)


def _on_arrays(config: TrainConfig, trials: Sequence[int]) -> dict[str, NDArray[Any]]:
    """B and w of some trials at round 0."""
    count, d, width = len(trials), config.tasks.d, config.width
    dtype = np.dtype(config.dtype)
    what = f"{count} x B of shape ({d}, {width})"
    memory.require(what, count * d * width * dtype.itemsize)
    B = np.empty((count, d, width), dtype)
    w = np.zeros((count, width))
    for i, trial in enumerate(trials):
        if isinstance(config.init, Init):
            B[i] = _drawn(config, config.init, trial)
        else:
            B[i], w[i] = config.init
    if not isinstance(config.init, Init) and config.measures_distance:
        check.full_rank("B0", core.r_factor(B[0], config.threads))
    return {"B": B, "w": w}


def _drawn(config: TrainConfig, init: Init, trial: int) -> F64:
    """B at full size of one trial's start, by its law."""
    seed, d, width, threads = config.seed, config.tasks.d, config.width, config.threads
    scale = column_length(init, config.method)
    if init.dist is None:
        return scale * core.haar(seed, trial, core.STREAM_START, d, width, None, threads)
    tasks = config.tasks
    B_star = tasks.B_star if isinstance(tasks, TaskBatch) else config.law.ground_truth(seed, trial)
    assert B_star is not None
    B_star = B_star.astype(np.float64, copy=False)
    M, R = tilted(init.dist, d, config.k_star, width)
    E = core.haar(seed, trial, core.STREAM_FRAME, d, R.shape[0], B_star, threads)
    return core.assemble(B_star, scale * M, E, scale * R, threads)


def _in_coordinates(config: TrainConfig, trial: int) -> tuple[F64, F64, F64]:
    """M, R and w of one trial's start, in the user's basis."""
    if not isinstance(config.init, Init):
        M, R, _ = given_coordinates(config, trial)
        check.full_rank("B0", np.concatenate([M, R]))
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
    B_star = config.law.ground_truth(config.seed, trial, config.threads)
    return core.coordinates(config.init[0], B_star, config.threads)
