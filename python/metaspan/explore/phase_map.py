r"""The phase diagram of the explorer: where runs level off, and where they diverge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .._support.types import F64
from ..runs.estimate import estimate
from ..runs.outcome import Status
from ..theory.fixed_points import FloorNotFoundError
from ..theory.floors import floor
from .knobs import Knobs, change
from .point import Cancelled, CancelledError, train_point

MAPS = {"beta over alpha": ("alpha", "beta"), "n over m_in": ("m_in", "n")}
COLUMNS, ROWS = 16, 12
RANGES = {"alpha": (0.01, 10.0), "beta": (0.01, 10.0), "m_in": (1, 500), "n": (2, 2000)}
COARSEST = 4  # cells at this distance are computed first, and colour the cells between them
RUNS_SECONDS = 5.0  # largest modelled time of the short runs of all cells
CELL_SECONDS = 1.0  # cells that would take longer stay unknown
LEAST_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class Map:
    r"""A phase diagram, whose cells are computed one after another.

    Parameters
    ----------
    knobs : Knobs
        The knobs; their values on the two axes do not matter.
    x, y : str
        Names of the knobs on the axes.
    kind : {"floor", "runs"}
        What a cell holds: the floor (59) of dist, or dist at the end of a short run.
    rounds : int
        Rounds of the short runs.
    reason : str
        Why the cells hold runs instead of floors; empty for floors.
    """

    knobs: Knobs
    x: str
    y: str
    kind: str
    rounds: int
    reason: str

    @property
    def columns(self) -> F64:
        r"""Values on the x axis, of shape (columns,)."""
        return grid(self.x, COLUMNS)

    @property
    def rows(self) -> F64:
        r"""Values on the y axis, of shape (rows,)."""
        return grid(self.y, ROWS)

    def at(self, i: int, j: int) -> Knobs:
        r"""Return the knobs of the cell in row i and column j."""
        x, y = _value(self.x, self.columns[j]), _value(self.y, self.rows[i])
        return change(self.knobs, **{self.x: x, self.y: y})

    def cell(self, i: int, j: int, cancelled: Cancelled) -> float:
        r"""Compute a cell.

        Parameters
        ----------
        i, j : int
            Row and column.
        cancelled : callable
            Whether newer knobs have arrived.

        Returns
        -------
        float
            dist; infinite if a run diverges at these knobs, and NaN if dist is not known.

        Raises
        ------
        CancelledError
            If `cancelled` returned True.
        """
        if cancelled():
            raise CancelledError
        knobs = self.at(i, j)
        try:
            if self.kind == "floor":
                return floor_of(knobs)
            short = replace(knobs, rounds=self.rounds)
            if _seconds(short) > CELL_SECONDS:
                return math.nan
            result = train_point(short, self.rounds, cancelled)
        except (ValueError, ArithmeticError, MemoryError):
            return math.nan
        if result.status == Status.DIVERGED:
            return math.inf
        return float(result.trace["dist"][-1])


def plan_map(knobs: Knobs, name: str) -> Map:
    r"""Choose what the phase diagram of a point shows.

    The cells hold floors (59) where the theory covers the point and samples are finite; otherwise
    they hold short runs.

    Parameters
    ----------
    knobs : Knobs
        The knobs.
    name : str
        Name of the axes, of `MAPS`.

    Returns
    -------
    Map
        The diagram, without its cells.

    Raises
    ------
    TypeError, ValueError
        If `train` would refuse the knobs.
    """
    x, y = MAPS[name]
    knobs.check()
    plan = Map(knobs=knobs, x=x, y=y, kind="floor", rounds=knobs.rounds, reason="")
    corner = plan.at(0, 0)
    reason = ""
    if corner.m_in is None and corner.m_out is None:
        reason = "the floor is 0 for infinitely many samples"
    elif corner.width not in (None, corner.k):
        reason = "a floor needs the width k"
    else:
        try:
            floor_of(corner)
        except FloorNotFoundError:
            pass  # of this cell alone
        except ValueError as error:
            reason = str(error)
    if not reason:
        return plan
    return replace(plan, kind="runs", rounds=_affordable(plan), reason=reason)


def _affordable(plan: Map) -> int:
    """Return the number of rounds of short runs with which all cells take a few seconds."""
    total = sum(_seconds(plan.at(i, j)) for i in range(ROWS) for j in range(COLUMNS))
    each = max(total / max(plan.knobs.rounds, 1), 1e-9)
    return min(plan.knobs.rounds, max(LEAST_ROUNDS, int(RUNS_SECONDS / each)))


def _seconds(knobs: Knobs) -> float:
    """Return the time of a run in seconds, by the cost model."""
    return estimate(knobs.tasks(), knobs.learner(), **knobs.arguments()).seconds


def floor_of(knobs: Knobs) -> float:
    r"""Return the floor (59) of a point; infinite if a run diverges.

    Parameters
    ----------
    knobs : Knobs
        The knobs.

    Returns
    -------
    float
        dist.

    Raises
    ------
    ValueError, FloorNotFoundError
        As `theory.floor` does.
    """
    counts = {"n": knobs.n, "m_in": knobs.m_in, "m_out": knobs.m_out}
    return float(floor(knobs.tasks(), knobs.learner(), **counts))


def order() -> Iterator[tuple[int, int, int]]:
    r"""Return the cells from coarse to fine.

    Yields
    ------
    i, j : int
        Row and column of a cell.
    size : int
        Number of rows and of columns, starting at (i, j), whose cells show this value until their
        own is computed.

    Examples
    --------
    >>> cells = list(order())
    >>> len({cell[:2] for cell in cells}) == len(cells) == ROWS * COLUMNS
    True
    >>> cells[:2]
    [(0, 0, 4), (0, 4, 4)]
    """
    seen = set[tuple[int, int]]()
    size = COARSEST
    while size:
        for i in range(0, ROWS, size):
            for j in range(0, COLUMNS, size):
                if (i, j) not in seen:
                    seen.add((i, j))
                    yield i, j, size
        size //= 2


def grid(name: str, count: int) -> F64:
    r"""Return the values of a knob on an axis, in a geometric progression up to rounding.

    Parameters
    ----------
    name : str
        Name of the knob.
    count : int
        Number of values.

    Returns
    -------
    ndarray of shape (count,), float64
        The centres of the cells.
    """
    low, high = RANGES[name]
    half = math.sqrt((high / low) ** (1 / count))
    centres: F64 = np.geomspace(low * half, high / half, count)
    return centres


def snap(name: str, value: float) -> int | float:
    r"""Return the value of a knob for a place on an axis that was clicked.

    Parameters
    ----------
    name : str
        Name of the knob.
    value : float
        The place, in the units of the axis.

    Returns
    -------
    int or float
        An integer of at least 1 for counts, otherwise a number of two significant digits.
    """
    low, high = RANGES[name]
    return _value(name, min(max(value, low), high))


def _value(name: str, value: float) -> int | float:
    """Round a number on an axis to a value of the knob."""
    return max(1, round(value)) if name in ("n", "m_in") else float(f"{value:.2g}")
