r"""Checkpoints: files from which a run continues with the same bits."""

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
from ..sharding.agreement import agreed, require_equal
from . import codec
from .sharded import SPREAD, digest_start, encode_config

KIND = "metaspan checkpoint"

# Arguments that a resumed run may change. Only one of them, the device, changes the bits of a run,
# by other rounding errors.
MAY_DIFFER = settings("resumable")


class Journal:
    r"""The checkpoint file of one run.

    Parameters
    ----------
    config : TrainConfig
        The configuration of the run; its `checkpoint` names the file and the interval.
    """

    def __init__(self, config: TrainConfig) -> None:
        assert config.checkpoint is not None
        self._config = config
        self._path = Path(config.checkpoint.path)
        self._every = config.checkpoint.every_seconds
        digests = digest_start(config)
        self._tree = encode_config(
            replace(config, progress=False),
            lambda array: digests.get(id(array)) or identity.digest(array),
            strict=True,
            path="",
        )
        self._saved = time.monotonic()
        self._kept: int | None = None  # the round of the state in the file

    @property
    def hint(self) -> str:
        """A clause for the message of a failure: what the file holds; "" if it holds nothing."""
        if self._kept is None:
            return ""
        path = str(self._path)
        return (
            f"; the checkpoint {path} holds round {self._kept}, from which the same call continues"
        )

    @property
    def due(self) -> bool:
        """Whether the interval between two writes has passed since the last write."""
        return time.monotonic() - self._saved >= self._every

    def save(self, trials: Trials) -> None:
        """Write the states and the rows of the trials to the file; all ranks make the call.

        A trial that converged is written as a live trial (one that continues), since a resumed run
        may have a different stop rule. If a live trial has recorded the row of a round but has not
        done this round, the row is left out, since a resumed run records this row again.
        """
        arrays: dict[str, Any] = {f"state.{name}": part for name, part in trials.parts.items()}
        status: list[int] = []
        for i, (rounds, values) in enumerate(trials.rows):
            resumes = trials.status[i] in (core.TrialStatus.LIVE, core.TrialStatus.CONVERGED)
            status.append(core.TrialStatus.LIVE if resumes else trials.status[i])
            kept = rounds < trials.rounds[i] if resumes else np.full(rounds.size, True)
            arrays[f"rounds.{i}"], arrays[f"values.{i}"] = rounds[kept], values[kept]
        document = {
            "config": self._tree,
            "rounds": trials.rounds,
            "status": status,
            "columns": list(trials.columns),
            "parts": list(trials.parts),
            "route": trials.route,
        }
        shard = self._config.shard
        if shard is None:
            files.write(self._path, KIND, document, arrays)
        else:
            spread = {f"state.{name}" for name in SPREAD}
            shard.write(
                {name: part for name, part in arrays.items() if name in spread},
                lambda streams: files.write(self._path, KIND, document, arrays | streams),
            )
        self._saved = time.monotonic()
        self._kept = min(trials.rounds, default=0)

    def resume(self) -> Trials | None:
        """Read the trials from the file; return None if there is no file yet.

        Each rank reads its rows of B. Raises ValueError if the file is broken, or holds a run that
        this run cannot continue.
        """
        with agreed(self._config.exchange):
            content = self._read()
            trials = None if content is None else self._check(*content)
        what = "no file" if trials is None else f"a file of rounds {trials.rounds}"
        require_equal(self._config.exchange, {f"the checkpoint {str(self._path)!r}": what})
        self._kept = None if trials is None else min(trials.rounds, default=0)
        return trials

    def _read(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the document and the arrays of the file, with the rows of B of this rank."""
        shard, rows = self._config.shard, {}
        if shard is not None:
            part = files.Rows(shard.lo, shard.hi, shard.d)
            rows = {f"state.{name}": part for name in SPREAD}
        try:
            return files.read(self._path, KIND, rows)
        except FileNotFoundError:
            return None

    def _check(self, document: dict[str, Any], arrays: dict[str, Any]) -> Trials:
        """Return the trials in the file; raise ValueError unless this run can continue them."""
        with files.name_file_in_errors(f"{str(self._path)!r} is a broken {KIND}"):
            changes = list(codec.differences(document["config"], self._tree))
        for path, old, new in changes:
            if path.split(".")[0] not in MAY_DIFFER:
                raise ValueError(
                    f"{path} must be as in the checkpoint {str(self._path)!r}, "
                    f"{files.shorten(old)}; got {files.shorten(new)}"
                )
        step, before = self._config.method.step, document["config"]["fields"]["rounds"]
        if step is not None and step.schedule == "cosine" and before != self._config.rounds:
            raise ValueError(
                f"rounds must be as in the checkpoint {str(self._path)!r}, {before}, since "
                f"schedule='cosine' depends on them; got {self._config.rounds}"
            )
        with files.name_file_in_errors(f"{str(self._path)!r} is a broken {KIND}"):
            trials = _rebuild_trials(document, arrays, self._config)
        if self._config.route not in ("auto", trials.route):
            raise ValueError(
                f"route must be as in the checkpoint {str(self._path)!r}, {trials.route!r}; "
                f"got {self._config.route!r}"
            )
        ahead = max((trials.rounds[i] for i in trials.live), default=0)
        if ahead > self._config.rounds:
            raise ValueError(
                f"rounds must be at least {ahead}, the number done in the checkpoint "
                f"{str(self._path)!r}; got {self._config.rounds}"
            )
        return trials


def _rebuild_trials(
    document: dict[str, Any], arrays: dict[str, Any], config: TrainConfig
) -> Trials:
    """Rebuild the trials; raise an error unless `save` could have written the file for this run."""
    count = len(config.trials)
    lists = [document[name] for name in ("rounds", "status", "columns", "parts")]
    if not all(isinstance(part, list) for part in lists):
        raise TypeError("rounds, status, columns and parts must be lists")
    rounds, status, columns, names = lists
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
    """Raise ValueError unless every array of the state has its shape, dtype and finite numbers."""
    count, parts = len(config.trials), trials.parts
    on_data = config.layout.engine in ("arrays", "pooled")
    if trials.route not in (("gram", "vector", "dual") if on_data else (None,)):
        raise ValueError(f"the route is {check.show(trials.route)}")
    expected = engine_of(config).shapes(config, trials)
    if set(parts) != set(expected):
        raise ValueError(f"a state of {', '.join(parts)}")
    for name, shape in expected.items():
        part, dtype = parts[name], config.dtype if name in ("B", "memory") else "float64"
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
    """Raise ValueError unless trial i has exactly the rows that `save` writes for its round."""
    if at.ndim != 1 or values.shape != (at.size, len(trials.columns)):
        raise ValueError(f"rows are of shapes {at.shape} and {values.shape}")
    if at.dtype != np.int64 or values.dtype != np.float64:
        raise ValueError(f"rows are of dtypes {at.dtype} and {values.dtype}")
    done, status = trials.rounds[i], trials.status[i]
    if status not in (core.TrialStatus.LIVE, core.TrialStatus.DIVERGED, core.TrialStatus.UNDERFLOW):
        raise ValueError(f"a trial has the status {status}")
    count = -(-done // every)
    # A trial that ended by itself may have a row for its end, after the rows of the rounds that it
    # did.
    end = [] if status == core.TrialStatus.LIVE else [done]
    if (
        at.size < count
        or (at[:count] != every * np.arange(count)).any()
        or at[count:].tolist() not in ([], end)
    ):
        raise ValueError(f"the rows of a trial are not those before its round {done}")
