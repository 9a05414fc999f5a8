r"""Computes what the theory predicts for a measure in the cells of a study."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._support import check, signals
from ..._support.types import F64
from ...config.config import TrainConfig
from ...config.options import CoordinateStart, FittedStart, Init, ZeroStart, column_length
from ...methods import core_method
from ...runs.outcome import DivergenceWarning
from ...theory.named import EVERYTHING, check_names, require_floor
from ...theory.predictions import floor_of, rate_of, require_training, run_limit
from ...theory.rates import plateau
from ..design.cells import Cell, configure_cell
from ..design.measures import Measure

if TYPE_CHECKING:
    import pandas

CELL = "number of the cell"  # column that `add_predictions` needs
OTHER_MEASURE = "is a prediction of"  # words of the reason if the measure is another one
MOST_TRIALS = 4  # seeds of a cell over which the limit is averaged
SCALED = 1e-6  # relative difference from 1 up to which alpha B^T B counts as the identity
OF_LIMIT = ("dist", "w_norm", "floor", "rounds_to")  # measures of records that the limit has


def _rate(measure: Measure, config: TrainConfig) -> float:
    """Return the rate (22)."""
    _require_measure("rate", measure, ("rate",))
    return rate_of(config)


def _rounds(measure: Measure, config: TrainConfig) -> float:
    r"""Return the rounds in which dist falls to a tolerance at the rate (22).

    From a random start, dist begins to fall after the plateau of (22). From a start at a given
    dist, each round divides the tangent of the largest angle by the same factor.
    """
    _require_measure("rounds", measure, ("rounds_to",))
    rate = rate_of(config)
    start, method = config.init, config.method
    others = (CoordinateStart, FittedStart, ZeroStart)
    if not isinstance(start, Init) or isinstance(start, others):
        raise ValueError("init must be random or methodical for the rounds by (22)")
    length = core_method(method).alpha * column_length(start, method) ** 2
    if abs(length - 1.0) > SCALED:
        raise ValueError(
            "init must have alpha B_0^T B_0 = I for the rounds by (22); got alpha B_0^T B_0 = "
            f"{length:.3g} I"
        )
    tolerance = float(measure.name.partition(":")[2])
    if rate == 0.0 or tolerance >= 1.0:
        raise ValueError("the rate must be positive and TOL below 1 for the rounds by (22)")
    if start.dist is None:
        return plateau(config.drawn_tasks, method) - math.log(tolerance) / rate
    tangents = [math.tan(math.asin(sine)) for sine in (min(start.dist, 1 - 1e-15), tolerance)]
    return max(0.0, math.log(tangents[0] / tangents[1]) / rate)


def _floor(measure: Measure, config: TrainConfig) -> float:
    """Return the floor (59)."""
    _require_measure("floor", measure, ("floor", "dist"))
    return require_floor(floor_of(config))


def _limit(measure: Measure, config: TrainConfig) -> list[float]:
    """Measure the deterministic limit (55) of each trial of the run."""
    _require_measure("limit", measure, OF_LIMIT)
    if config.m_in is None and config.m_out is None:
        raise ValueError("the limit (55) is that of a run on samples; got m_in = m_out = None")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        result = run_limit(config, config.rounds, measure.records)
    return [measure(result.trial(trial)) for trial in config.trials]


# Each prediction, for all trials or for each one, and the number of its equation.
PREDICTIONS: Mapping[str, tuple[Callable[[Measure, TrainConfig], float | list[float]], str]] = {
    "rate": (_rate, "rate (22)"),
    "rounds": (_rounds, "rounds (22)"),
    "floor": (_floor, "floor (59)"),
    "limit": (_limit, "limit (55)"),
}


def predict_cells(
    names: str | Sequence[str],
    measure: Measure | None,
    cells: Sequence[Cell],
    trials: Sequence[int] = (0,),
    *,
    required: bool = True,
) -> tuple[dict[str, F64], str]:
    r"""Compute the predictions of the theory for a measure in each of several cells.

    Parameters
    ----------
    names : str or sequence of str
        Names of predictions: "rate", "rounds", "floor" and "limit"; or "theory" for all of them.
    measure : Measure or None
        The measure. None: the column is not a measure, so nothing is predicted.
    cells : sequence of Cell
        The cells.
    trials : sequence of int
        Seeds of the study; the limit is computed for the first four.
    required : bool
        Whether a prediction that is named must exist in a cell.

    Returns
    -------
    dict of str to ndarray of shape (cells, 1) or (cells, seeds)
        For each prediction that exists in at least one cell, by its label, the predicted values,
        for all seeds or for each of the first four; NaN where it does not exist.
    str
        If no prediction exists, the reason for it; otherwise empty.

    Raises
    ------
    TypeError, ValueError
        If `names` is not a name of a prediction or a sequence of names, or if a prediction that is
        named exists in no cell.

    Notes
    -----
    The rate and the rounds take microseconds a cell, and a floor takes milliseconds. The limit
    takes microseconds a round.
    """
    wanted, found, reason = check_names(names, PREDICTIONS), dict[str, F64](), ""
    if measure is None or measure.is_users:
        reason = "the measure must be named for a prediction"
    for name in wanted if not reason else ():
        values, reasons = list[F64](), list[str]()
        for cell in cells:
            try:
                values.append(np.atleast_1d(_predict_cell(name, measure, cell, trials)))
            except Exception as error:
                signals.reraise_signal(error)
                if not isinstance(error, (ValueError, TypeError, ArithmeticError)):
                    raise
                values.append(np.full(1, math.nan))
                reasons.append(str(error))
        if any(np.isfinite(of_cell).any() for of_cell in values):
            columns = max(len(of_cell) for of_cell in values)
            found[PREDICTIONS[name][1]] = np.array(
                [np.broadcast_to(of_cell, columns) for of_cell in values]
            )
        else:
            why = reasons[0] if reasons else "its value is not finite"
            if required and EVERYTHING not in names:
                raise ValueError(f"predictions must exist for a cell; got {name!r}: {why}")
            # A reason that concerns the cells says more than one that concerns the measure.
            if not reason or OTHER_MEASURE in reason:
                reason = why
    return found, "" if found else reason


def add_predictions(
    table: pandas.DataFrame,
    names: str | Sequence[str],
    measure: Measure | None,
    cells: Sequence[Cell],
    trials: Sequence[int],
) -> tuple[pandas.DataFrame, tuple[str, ...], str]:
    r"""Add columns of predictions to a table whose column ``CELL`` numbers the cells.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study with the column `CELL`.
    names, measure, trials : object
        As for `predict_cells`. A row of a further seed has no prediction of the limit.
    cells : sequence of Cell
        The cells that the column `CELL` numbers; only those that occur in it are computed.

    Returns
    -------
    pandas.DataFrame
        The table with a column for each prediction.
    tuple of str
        Names of these columns.
    str
        If there is no prediction, the reason for it; otherwise empty.
    """
    present, place = np.unique(np.asarray(table[CELL]), return_inverse=True)
    found, reason = predict_cells(names, measure, [cells[i] for i in present], trials)
    trial = np.asarray(table["seed"]) - trials[0]
    columns = {label: _of_rows(values, place, trial) for label, values in found.items()}
    return table.assign(**columns), tuple(found), reason


def _of_rows(values: F64, place: NDArray[np.int64], trial: NDArray[np.int64]) -> F64:
    """Return the predictions (rows,) for the cell and the trial of each row."""
    count = values.shape[1]
    if count == 1:
        trial = np.zeros_like(trial)
    known = (trial >= 0) & (trial < count)
    of_rows: F64 = np.where(known, values[place, np.where(known, trial, 0)], math.nan)
    return of_rows


def _predict_cell(
    name: str, measure: Any, cell: Cell, trials: Sequence[int]
) -> float | list[float]:
    """Compute one prediction in one cell; raise ValueError if it does not exist there."""
    some = range(trials[0], trials[0] + 1)
    while some.stop in trials and len(some) < MOST_TRIALS:
        some = range(some.start, some.stop + 1)
    config = configure_cell(cell.arguments, trials=some, record=measure.records or ("dist",))
    return PREDICTIONS[name][0](measure, replace(require_training(config), device="cpu"))


def _require_measure(name: str, measure: Measure, kinds: tuple[str, ...]) -> None:
    """Raise ValueError unless a prediction is one of the measure."""
    if measure.name.partition(":")[0] not in kinds:
        known = check.words(kinds, "or")
        raise ValueError(f"the {name} {OTHER_MEASURE} {known}; got y={check.show(measure.name)}")
