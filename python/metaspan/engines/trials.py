r"""The current states of a run's trials, and the rows that were recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support.types import F64, I64

LIVE = int(core.TrialStatus.LIVE)


@dataclass(kw_only=True, eq=False)
class Trials:
    r"""The trials of a run with their current states.

    Parameters
    ----------
    parts : dict of str to ndarray
        The arrays of the states by name, each with a leading axis of trials. In coordinates:
        ``"M"``, ``"R"``, ``"w"`` and, once the core has returned them, ``"frames"``: orthogonal Q
        (k, k), in which case the first three hold `M Q`, `R Q` and `Q^T w`. At full size: ``"B"``,
        ``"w"`` and, on the dual route, ``"A"`` of (24).
    rounds, status : list of int
        For every trial, the number of rounds done and the core's status.
    columns : tuple of str
        Names of the columns of the values in `rows`.
    rows : list of (ndarray of shape (rows,), ndarray of shape (rows, columns))
        For every trial, the rounds and the values that were recorded.
    route : str or None
        The route on stored data; None for engines that have no routes.
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
        return [i for i, status in enumerate(self.status) if status == LIVE]

    def trace(self) -> dict[str, NDArray[Any]]:
        """Return the records (trials, rows) on a common axis of rounds; missing rows are NaN."""
        all_rounds = max((rounds for rounds, _ in self.rows), key=len)
        # A trial that ends early has recorded the first of the rounds that the longest trial
        # recorded. If a resumed run recorded other rounds, a search finds the place of each row.
        prefixes = all(
            rounds is all_rounds or np.array_equal(rounds, all_rounds[: rounds.size])
            for rounds, _ in self.rows
        )
        if not prefixes:
            all_rounds = np.unique(np.concatenate([rounds for rounds, _ in self.rows]))
        table = np.empty((len(self.rows), all_rounds.size, len(self.columns)))
        table.fill(np.nan)
        for i, (rounds, values) in enumerate(self.rows):
            if prefixes:
                table[i, : rounds.size] = values
            else:
                table[i, np.searchsorted(all_rounds, rounds)] = values
        records: dict[str, NDArray[Any]] = {"round": all_rounds}
        for name in dict.fromkeys(self.columns):
            places = [j for j, column in enumerate(self.columns) if column == name]
            is_angles = name == "angles"
            records[name] = table[:, :, places] if is_angles else table[:, :, places[0]].copy()
        return records

    def add_rows(self, index: int, rounds: I64, values: F64) -> None:
        """Append recorded rows to those of one trial."""
        kept = self.rows[index]
        if kept[0].size:
            rounds, values = np.concatenate([kept[0], rounds]), np.concatenate([kept[1], values])
        self.rows[index] = rounds, values

    def put(self, indices: list[int], parts: dict[str, NDArray[Any]]) -> None:
        """Replace the states of some trials; if these are all trials, no state is copied."""
        if len(indices) == len(self.rounds):
            self.parts |= parts
            return
        for name, values in parts.items():
            if name not in self.parts:
                self.parts[name] = np.zeros((len(self.rounds), *values.shape[1:]), values.dtype)
            self.parts[name][indices] = values
