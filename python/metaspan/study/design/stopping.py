r"""Find values that the stop rule determines: they show where the rule ended a run, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...config.options import DEFAULT_STOP, Stop

if TYPE_CHECKING:
    import pandas

SET_BY_STOP = "set_by_stop"  # key of a table's attrs; the value lists names of measures
INSTEAD = "measure rounds_to:TOL or rate, or set stop=None"
# Keys: records that a stop rule may bound. Values: the measures whose last value is fixed when the
# rule ends a run, namely the record itself and measures that vanish with that record.
OF_RULES = {"dist": ("dist", "floor", "perp_norm"), "loss_out": ("loss_out",)}
WITHOUT_NOISE = ("loss_adapted", "loss_out")  # also vanish if m_in is infinite and noise is 0


def measures_set(names: Sequence[str], cells: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    r"""List the measures whose values a stop rule determines in at least one of the cells.

    Parameters
    ----------
    names : sequence of str
        Measures to look at.
    cells : iterable of mapping
        Arguments of the cells.

    Returns
    -------
    tuple of str
        Those measures, in the order of `names`.
    """
    rules = {
        (rule, cell.get("m_in") is None and _is_zero(cell.get("noise", 0.0)))
        for cell in cells
        if isinstance(rule := cell.get("stop", DEFAULT_STOP), Stop)  # the rule None ends no run
    }
    known = set[str]()
    for rule, exact in rules:
        for bound, measures in OF_RULES.items():
            if getattr(rule, bound):
                known.update(measures, WITHOUT_NOISE if exact and bound == "dist" else ())
    return tuple(name for name in names if name in known)


def _is_zero(noise: object) -> bool:
    """Tell whether a noise level is the number zero."""
    return isinstance(noise, (int, float)) and noise == 0


def set_by_stop(table: pandas.DataFrame, measure: str) -> NDArray[np.bool_]:
    r"""Mark the rows of converged runs, in which the stop rule determined the value of a measure.

    Such a value tells only where the rule ended the run, so fits leave it out.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study; its `attrs` list the measures whose values a stop rule determines.
    measure : str
        The measure.

    Returns
    -------
    ndarray of shape (rows,), bool
        Whether the stop rule determined the value; False in all rows if the attrs have no such
        list.
    """
    if measure not in table.attrs.get(SET_BY_STOP, ()) or "status" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return np.asarray(table["status"] == "converged", dtype=bool)
