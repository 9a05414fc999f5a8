r"""The answer to a setting of the knobs: first its curves, then all rounds, then the diagram."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from .._support.types import F64
from .knobs import Knobs
from .phase_map import COLUMNS, ROWS, Map, order, plan_map
from .point import Cancelled, CancelledError, Curves, affordable, trace_point

KEPT = 8  # diagrams that a session keeps
CELLS_AT_ONCE = 8  # cells between two updates of the diagram
REST_SECONDS = 0.25  # time without a new setting after which a diagram is computed


@dataclass(frozen=True, kw_only=True)
class Refused:
    r"""A setting that `train` refuses.

    Parameters
    ----------
    reason : str
        One sentence.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    r"""How far a run is.

    Parameters
    ----------
    done, total : int
        Rounds.
    """

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    r"""The cells of a phase diagram so far.

    Parameters
    ----------
    plan : Map
        The diagram.
    values : ndarray of shape (rows, columns), float64
        dist; infinite where a run diverges, and NaN where dist is not known.
    complete : bool
        Whether all cells are computed.
    """

    plan: Map
    values: F64
    complete: bool


Event = Curves | Refused | Progress | Picture


@dataclass
class Answers:
    r"""Computes the answers of one session, and keeps its latest phase diagrams.

    Parameters
    ----------
    publish : callable
        Called with each part of an answer, an `Event`, in the thread that computes.
    """

    publish: Callable[[Event], object]
    _pictures: OrderedDict[tuple[Knobs, str], Picture] = field(default_factory=OrderedDict)

    def answer(self, knobs: Knobs, axes: str, cancelled: Cancelled) -> None:
        r"""Publish the answer to a setting.

        The rounds that are drawn first are not cancelled, since otherwise a slider that moves
        without a pause would never move a curve.

        Parameters
        ----------
        knobs : Knobs
            The setting.
        axes : str
            Name of the axes of the phase diagram, of `MAPS`.
        cancelled : callable
            Whether a newer setting has arrived.

        Raises
        ------
        CancelledError
            If `cancelled` returned True.
        """
        try:
            shown, first, notes = affordable(knobs)
            curves = trace_point(shown, first, lambda: False, None, notes)
            self.publish(curves)
            if not curves.complete:
                self.publish(trace_point(shown, shown.rounds, cancelled, self._progress, notes))
            self._draw_map(knobs, axes, cancelled)
        except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
            self.publish(Refused(reason=str(error)))

    def _progress(self, done: int, total: int) -> None:
        """Publish how far the run is."""
        self.publish(Progress(done=done, total=total))

    def _draw_map(self, knobs: Knobs, axes: str, cancelled: Cancelled) -> None:
        """Publish the phase diagram, from coarse to fine; a finished one is kept."""
        plan = plan_map(knobs, axes)
        key = (replace(plan.at(0, 0), rounds=plan.rounds if plan.kind == "runs" else 0), axes)
        if key in self._pictures:
            self._pictures.move_to_end(key)
            self.publish(self._pictures[key])
            return
        _rest(cancelled)
        values = np.full((ROWS, COLUMNS), np.nan)
        for count, (i, j, size) in enumerate(order(), start=1):
            values[i : i + size, j : j + size] = plan.cell(i, j, cancelled)
            if count % CELLS_AT_ONCE == 0:
                complete = count == values.size
                self.publish(Picture(plan=plan, values=values.copy(), complete=complete))
        self._pictures[key] = Picture(plan=plan, values=values, complete=True)
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)


def _rest(cancelled: Cancelled) -> None:
    """Wait until the sliders rest, so that no diagram delays the curves of a moving slider."""
    end = time.monotonic() + REST_SECONDS
    while time.monotonic() < end:
        if cancelled():
            raise CancelledError
        time.sleep(0.01)
