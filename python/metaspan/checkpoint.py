r"""Keeping what a run needs to go on, and going on with the same bits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from . import _codec, _files
from ._load import core
from .config import TrainConfig
from .pools import basis_size
from .state import Trials

KIND = "metaspan checkpoint"

# Arguments that a resumed run may change. Everything else must be the same for its bits to be.
MAY_DIFFER = ("rounds", "threads", "progress", "stop", "checkpoint", "route")


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
        self._tree = _codec.encode(config, _codec.digest)
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
            goes_on = trials.status[i] in (core.LIVE, core.CONVERGED)
            status.append(core.LIVE if goes_on else trials.status[i])
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
        _files.write(self._path, KIND, document, arrays)
        self._saved = time.monotonic()

    def resume(self) -> Trials | None:
        """Where the file says that the trials stand; None where there is no file yet."""
        try:
            document, arrays = _files.read(self._path, KIND)
        except FileNotFoundError:
            return None
        try:
            self._compare(document["config"])
            trials = _trials(document, arrays)
            _check_shapes(trials, self._config)
        except (KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
            raise ValueError(f"{str(self._path)!r} is a broken {KIND} ({error!r})") from error
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

    def _compare(self, tree: dict[str, Any]) -> None:
        """Raise ValueError where the run of the file is another one."""
        for path, old, new in _codec.differences(tree, self._tree):
            if path.split(".")[0] not in MAY_DIFFER:
                raise ValueError(
                    f"{path} must be what the checkpoint {str(self._path)!r} was written with, "
                    f"{old}; got {new}"
                )


def _trials(document: dict[str, Any], arrays: dict[str, Any]) -> Trials:
    rounds = [int(done) for done in document["rounds"]]
    return Trials(
        parts={name: arrays[f"state.{name}"] for name in document["parts"]},
        rounds=rounds,
        status=[int(status) for status in document["status"]],
        columns=tuple(document["columns"]),
        rows=[(arrays[f"rounds.{i}"], arrays[f"values.{i}"]) for i in range(len(rounds))],
        route=document["route"],
    )


def _check_shapes(trials: Trials, config: TrainConfig) -> None:
    """Raise TypeError unless every array is what `save` writes for such a run."""
    count, k_star, k = len(config.trials), config.k_star, config.width
    parts = trials.parts
    expected: dict[str, tuple[int, ...]] = {"w": (k,)}
    if config.at_full_size or config.pooled_in_law:
        expected["B"] = (basis_size(config), k)
        if trials.route == "dual":
            expected["A"] = (parts["A"].shape[1], k)
    else:
        expected |= {"M": (k_star, k), "R": (parts["R"].shape[1], k)}
        if config.engine == "population" and config.n is not None:
            expected["frames"] = (k, k)
    if set(parts) != set(expected) or trials.route not in (None, "gram", "vector", "dual"):
        raise TypeError(f"a state of {', '.join(parts)}")
    for name, shape in expected.items():
        dtype = config.dtype if name == "B" else "float64"
        if parts[name].shape != (count, *shape) or parts[name].dtype != dtype:
            raise TypeError(f"{name} is {parts[name].dtype} of shape {parts[name].shape}")
    if not (len(trials.rounds) == len(trials.status) == len(trials.rows) == count):
        raise TypeError("not as many trials as the run has")
    for rounds, values in trials.rows:
        fits = rounds.ndim == 1 and values.shape == (rounds.size, len(trials.columns))
        if not fits or rounds.dtype != np.int64 or values.dtype != np.float64:
            raise TypeError(f"rows are of shapes {rounds.shape} and {values.shape}")
