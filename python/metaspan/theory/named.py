r"""Predictions of the theory by name, for plots of runs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._support import check
from ..methods import core_method
from ..runs.outcome import DivergenceWarning
from .floors import Setting
from .predictions import (
    Prediction,
    check_head,
    dimensions_per_task,
    fading_line,
    floor_line,
    limit_line,
    limit_of,
    rate_line,
)

if TYPE_CHECKING:
    from ..runs.result import Result

EVERYTHING = "theory"
VANISHED = 1e-9  # floors below this are 0 up to rounding


@dataclass(frozen=True, kw_only=True)
class Named:
    r"""The predictions for some runs.

    Parameters
    ----------
    lines : list of (str, callable)
        Names, and functions from rounds (rows,) to values (rows,). A name may occur once for every
        run.
    notes : list of str
        Sentences about predictions that are not lines against rounds.
    missing : dict of str to str
        For each prediction that exists for no run, the reason, by the name of the prediction.
    """

    lines: list[tuple[str, Prediction]]
    notes: list[str]
    missing: dict[str, str]


def predict(
    results: Mapping[str, Result], names: str | Sequence[str], y: str, *, log: bool
) -> Named:
    r"""Compute the predictions that exist for each of several runs.

    Parameters
    ----------
    results : mapping of str to Result
        The runs by name; the name of a single run may be empty.
    names : str or sequence of str
        Names of predictions, or "theory" for all of them; see `metaspan.plot`.
    y : str
        The record that the plot shows.
    log : bool
        Whether the plot shows geometric means over trials, on a log axis.

    Returns
    -------
    Named
        Lines and notes, and the reasons for predictions that exist for no run.

    Raises
    ------
    TypeError, ValueError
        If `names` is not a name of a prediction, or a sequence of names.
    """
    named = Named(lines=[], notes=[], missing={})
    for name in check_names(names, NAMES, "map names to functions, or "):
        reasons = []
        for label, result in results.items():
            try:
                if name == "boundary":
                    note = boundary_note(result)
                    named.notes.append(f"{label}: {note}" if label else note)
                else:
                    named.lines.append((name, LINES[name](result, y, log)))
            except (ValueError, ArithmeticError) as error:
                reasons.append(str(error))
        if len(reasons) == len(results):
            named.missing[name] = reasons[0]
    return named


def boundary_note(result: Result) -> str:
    r"""Compare the outer step size of a run with the largest stable one, in a few words.

    Parameters
    ----------
    result : Result
        A run on fresh tasks and samples for which `largest_beta` exists, or the limit of one.

    Returns
    -------
    str
        The ratio and the largest stable step size, with TeX between dollar signs.

    Raises
    ------
    TypeError, ValueError, ArithmeticError
        If the run has no limit, its width is not k, its frozen head is not 0, or `largest_beta`
        raises the error.
    """
    config, tasks = limit_of(result)
    if config.width != tasks.k:
        raise ValueError(f"width must be k = {tasks.k} for a boundary, (59); got {config.width}")
    check_head(config)
    ratio = dimensions_per_task(config)
    largest = Setting.at_ratio(tasks, config.method, ratio, config.m_in, config.m_out).boundary()
    beta = core_method(config.method).beta
    if largest == 0.0:
        return "no step size is stable"
    if math.isinf(largest):
        return "every step size is stable"
    side = "stable" if beta < largest else "unstable"
    return rf"{side}: $\beta$ = {beta:.3g}, the boundary is {largest:.3g}"


def _limit(result: Result, y: str, log: bool) -> Prediction:
    """Return the limit (55) of the record that is shown; it ends where the limit diverges.

    On a log axis, its trials are averaged as those of the run if all of its values are positive.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        return limit_line(result, y, None if log else False)


def _floor(result: Result, y: str, _: bool) -> Prediction:
    """Return the floor (59); raise ValueError for an unstable run and for other records."""
    _check_record("floor", "dist", y)
    line = floor_line(result)
    require_floor(float(line(np.zeros(1))[0]))
    return line


def require_floor(floor: float) -> float:
    """Return a floor (59); raise ValueError if a run is unstable or its floor is 0."""
    if math.isnan(floor):
        raise ValueError("the run has no floor: its outer step size is beyond the boundary")
    if floor < VANISHED:
        raise ValueError("the floor is 0, since the run has infinitely many samples or tasks")
    return floor


def _rate(result: Result, y: str, _: bool) -> Prediction:
    """Return the decay (22)."""
    _check_record("rate", "dist", y)
    return rate_line(result)


def _fading(result: Result, y: str, _: bool) -> Prediction:
    """Return the fading (23) of surplus singular values."""
    _check_record("fading", "perp_norm", y)
    return fading_line(result)


LINES: Mapping[str, Callable[[Result, str, bool], Prediction]] = {
    "limit": _limit,
    "floor": _floor,
    "rate": _rate,
    "fading": _fading,
}
NAMES = (*LINES, "boundary")


def _check_record(name: str, expected: str, y: str) -> None:
    """Raise ValueError unless the plot shows the record of a prediction."""
    if y != expected:
        raise ValueError(f"the {name} is a prediction of y={expected!r}; got y={check.show(y)}")


def check_names(names: object, known: Iterable[str], otherwise: str = "") -> list[str]:
    """Return the names of known predictions; raise TypeError or ValueError for anything else.

    `otherwise` says what `predictions` may be if it holds no names.
    """
    if isinstance(names, str):
        names = [names]
    known = list(known)
    listed = f"be of {', '.join(known)}, or {EVERYTHING} for all"
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"predictions must {otherwise}{listed}; got {check.show(names)}")
    for name in names:
        if name not in (EVERYTHING, *known):
            raise ValueError(f"predictions must {listed}; got {check.show(name)}")
    return known if EVERYTHING in names else list(dict.fromkeys(names))
