r"""Where the trials of a run stand: their states, and the rows recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support.types import F64, I64


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
        """Indices of the trials that have not ended."""
        return [i for i, status in enumerate(self.status) if status == core.TrialStatus.LIVE]

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

    def put(self, indices: list[int], parts: dict[str, NDArray[Any]]) -> None:
        """Take over the states of some trials."""
        for name, values in parts.items():
            if name not in self.parts:
                self.parts[name] = np.zeros((len(self.rounds), *values.shape[1:]), values.dtype)
            self.parts[name][indices] = values
