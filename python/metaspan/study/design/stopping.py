r"""Finds measures whose values only show where a run ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...config.options import DEFAULT_STOP, Stop

if TYPE_CHECKING:
    import pandas

SET_BY_STOP = "set_by_stop"  # key in the attrs of a table, for the list of these measures
INSTEAD = "measure rounds_to:TOL or rate, or set stop=None and fewer rounds"
# Keys: records for which a stop rule may set a bound. Values: measures whose last value the rule
# determines when it ends a run, namely the record itself and measures that vanish with the record.
OF_RULES = {"dist": ("dist", "floor", "perp_norm"), "loss_out": ("loss_out",)}
# These vanish with dist if m_in is infinite and the noise and the spread are 0.
WITHOUT_NOISE = ("loss_adapted", "loss_out")


def measures_set(names: Sequence[str], cells: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    r"""List the measures whose values a stop rule determines in at least one of the cells.

    Parameters
    ----------
    names : sequence of str
        Names of the measures to examine.
    cells : iterable of mapping
        Arguments of the cells.

    Returns
    -------
    tuple of str
        Those of the `names` whose values a stop rule determines.
    """
    rules = {
        (
            rule,
            cell.get("m_in") is None
            and all(_is_zero(cell.get(name, 0.0)) for name in ("noise", "spread")),
        )
        for cell in cells
        if isinstance(rule := cell.get("stop", DEFAULT_STOP), Stop)  # None ends no run
    }
    known = set[str]()
    for rule, exact in rules:
        for bound, measures in OF_RULES.items():
            if getattr(rule, bound):
                known.update(measures, WITHOUT_NOISE if exact and bound == "dist" else ())
    return tuple(name for name in names if name in known)


def _is_zero(level: object) -> bool:
    """Tell whether a level of the noise or the spread is the number zero."""
    return isinstance(level, (int, float)) and level == 0


def set_by_stop(table: pandas.DataFrame, measure: str) -> NDArray[np.bool_]:
    r"""Mark the rows in which the end of the run determined the value of a measure.

    The marked rows are those of runs that a stop rule ended, and those of runs whose dist fell
    below the smallest number. Such a value shows only where the run ended, so fits leave it out.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study. The `attrs` of the table hold the list of measures whose values a stop
        rule determines.
    measure : str
        Name of the measure.

    Returns
    -------
    ndarray of shape (rows,), bool
        For each row, whether the end of the run determined the value.
    """
    ends = ["converged"] if measure in table.attrs.get(SET_BY_STOP, ()) else []
    ends += ["underflow"] if measure in OF_RULES["dist"] else []
    if not ends or "status" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return np.asarray(table["status"].isin(ends), dtype=bool)
