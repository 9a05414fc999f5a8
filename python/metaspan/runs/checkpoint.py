r"""Keeping what a run needs to go on, and going on with the same bits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .._load import core
from .._support import check, files, identity
from ..config.config import TrainConfig, settings
from ..engines import engine_of
from ..engines.trials import Trials
from . import codec

KIND = "metaspan checkpoint"

# Arguments that a resumed run may change. Everything else must be the same for its bits to be.
MAY_DIFFER = settings("resumable")


class Journal:
    r"""The checkpoint file of one run.

    Parameters
    ----------
    config : TrainConfig
        The run; its `checkpoint` says where and how often.
    """

    def __init__(self, config: TrainConfig) -> None:
        assert config.checkpoint is not None
        self._config = config
        self._path = Path(config.checkpoint.path)
        self._every = config.checkpoint.every_seconds
        self._tree = codec.encode(replace(config, progress=False), identity.digest, path="")
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._saved >= self._every

    def save(self, trials: Trials) -> None:
        """Write where the trials stand.

        A trial that converged, or was interrupted within a round, is kept as one that goes on: the
        row of the round that it has not done is left out, since a resumed run records it again.
        """
        arrays: dict[str, Any] = {f"state.{name}": part for name, part in trials.parts.items()}
        status: list[int] = []
        for i, (rounds, values) in enumerate(trials.rows):
            goes_on = trials.status[i] in (core.TrialStatus.LIVE, core.TrialStatus.CONVERGED)
            status.append(core.TrialStatus.LIVE if goes_on else trials.status[i])
            kept = rounds < trials.rounds[i] if goes_on else np.full(rounds.size, True)
            arrays[f"rounds.{i}"], arrays[f"values.{i}"] = rounds[kept], values[kept]
        document = {
            "config": self._tree,
            "rounds": trials.rounds,
            "status": status,
            "columns": list(trials.columns),
            "parts": list(trials.parts),
            "route": trials.route,
        }
        files.write(self._path, KIND, document, arrays)
        self._saved = time.monotonic()

    def resume(self) -> Trials | None:
        """Where the file says that the trials stand; None where there is no file yet."""
        try:
            document, arrays = files.read(self._path, KIND)
        except FileNotFoundError:
            return None
        with files.name_file_in_errors(f"{str(self._path)!r} is a broken {KIND}"):
            changes = list(codec.differences(document["config"], self._tree))
        for path, old, new in changes:
            if path.split(".")[0] not in MAY_DIFFER:
                raise ValueError(
                    f"{path} must be what the checkpoint {str(self._path)!r} was written with, "
                    f"{files.shorten(old)}; got {files.shorten(new)}"
                )
        with files.name_file_in_errors(f"{str(self._path)!r} is a broken {KIND}"):
            trials = _trials(document, arrays, self._config)
        if self._config.route not in ("auto", trials.route):
            raise ValueError(
                f"route must be what the checkpoint {str(self._path)!r} was written with, "
                f"{trials.route!r}; got {self._config.route!r}"
            )
        ahead = max((trials.rounds[i] for i in trials.live), default=0)
        if ahead > self._config.rounds:
            raise ValueError(
                f"rounds must be at least {ahead}, where the checkpoint {str(self._path)!r} "
                f"stands; got {self._config.rounds}"
            )
        return trials


def _trials(document: dict[str, Any], arrays: dict[str, Any], config: TrainConfig) -> Trials:
    """Where the trials stand; raises unless it is what `save` writes for such a run."""
    count = len(config.trials)
    standing = [document[name] for name in ("rounds", "status", "columns", "parts")]
    if not all(isinstance(part, list) for part in standing):
        raise TypeError("what should be lists is not")
    rounds, status, columns, names = standing
    if not len(rounds) == len(status) == count:
        raise ValueError(f"{len(rounds)} trials; the run has {count}")
    if tuple(columns) != config.layout.columns:
        raise ValueError(f"the columns are {', '.join(map(str, columns))}")
    trials = Trials(
        parts={name: arrays[f"state.{name}"] for name in names},
        rounds=[check.integer("a round", done, 0, 2**62) for done in rounds],
        status=[check.integer("a status", each) for each in status],
        columns=tuple(columns),
        rows=[(arrays[f"rounds.{i}"], arrays[f"values.{i}"]) for i in range(count)],
        route=document["route"],
    )
    _check_parts(trials, config)
    if "frames" in trials.parts:
        _check_frames(trials.parts["frames"])
    for i, (at, values) in enumerate(trials.rows):
        _check_rows(at, values, trials, i, config.record_every)
    return trials


def _check_parts(trials: Trials, config: TrainConfig) -> None:
    """Raise unless every array of the state is what `save` writes for such a run."""
    count, parts = len(config.trials), trials.parts
    on_data = config.layout.engine in ("arrays", "pooled")
    if trials.route not in (("gram", "vector", "dual") if on_data else (None,)):
        raise ValueError(f"the route is {check.show(trials.route)}")
    expected = engine_of(config).shapes(config, trials)
    if set(parts) != set(expected):
        raise ValueError(f"a state of {', '.join(parts)}")
    for name, shape in expected.items():
        part, dtype = parts[name], config.dtype if name == "B" else "float64"
        if part.shape != (count, *shape) or part.dtype != dtype:
            raise ValueError(f"{name} is {check.show(part)}")
        if not np.isfinite(part).all():
            raise ValueError(f"{name} must be finite; it holds a NaN or an infinity")


def _check_frames(frames: Any) -> None:
    """Raise ValueError unless the frames are orthogonal."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = abs(frames.transpose(0, 2, 1) @ frames - np.eye(frames.shape[1])).max()
    if not deviation < 1e-6:
        raise ValueError("frames must be orthogonal")


def _check_rows(at: Any, values: Any, trials: Trials, i: int, every: int) -> None:
    """Raise unless the trial i has a row for every round recorded before it stood where it does."""
    if at.ndim != 1 or values.shape != (at.size, len(trials.columns)):
        raise ValueError(f"rows are of shapes {at.shape} and {values.shape}")
    if at.dtype != np.int64 or values.dtype != np.float64:
        raise ValueError(f"rows are of dtypes {at.dtype} and {values.dtype}")
    done, status = trials.rounds[i], trials.status[i]
    if status not in (core.TrialStatus.LIVE, core.TrialStatus.DIVERGED, core.TrialStatus.UNDERFLOW):
        raise ValueError(f"a trial has the status {status}")
    count = -(-done // every)
    further = [] if status == core.TrialStatus.LIVE else [done]  # the end, where it is recorded
    there = at[count:].tolist()
    if (
        at.size < count
        or (at[:count] != every * np.arange(count)).any()
        or there not in ([], further)
    ):
        raise ValueError(f"the rows of a trial are not those before its round {done}")
