r"""Values that a stop rule sets: they say where it ends a run, and nothing of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...config.options import DEFAULT_STOP, Stop

if TYPE_CHECKING:
    import pandas

SET_BY_STOP = "set_by_stop"  # of a table's attrs: names of measures
INSTEAD = "measure rounds_to:TOL or rate, or set stop=None"
# What a rule sets where it ends a run: what it looks at, and what vanishes with that.
OF_RULES = {"dist": ("dist", "floor", "perp_norm"), "loss_out": ("loss_out",)}
WITHOUT_NOISE = ("loss_adapted", "loss_out")  # vanish with dist on exact inner steps


def measures_set(names: Sequence[str], cells: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the measures that the rules of cells, given by their arguments, set in some of them."""
    rules = {
        (rule, cell.get("m_in") is None and _is_zero(cell.get("noise", 0.0)))
        for cell in cells
        if isinstance(rule := cell.get("stop", DEFAULT_STOP), Stop)  # else never, or no run
    }
    known = set[str]()
    for rule, exact in rules:
        for bound, measures in OF_RULES.items():
            if getattr(rule, bound):
                known.update(measures, WITHOUT_NOISE if exact and bound == "dist" else ())
    return tuple(name for name in names if name in known)


def _is_zero(noise: object) -> bool:
    return isinstance(noise, (int, float)) and noise == 0


def set_by_stop(table: pandas.DataFrame, measure: str) -> NDArray[np.bool_]:
    r"""Tell which values of a measure the stop rule set: those of runs that converged.

    Such a value says where the rule ends a run, and nothing of the run.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study, whose `attrs` name the measures that its stop rules set.
    measure : str
        The measure.

    Returns
    -------
    ndarray of shape (rows,), bool
        Whether the rule set the value; false where the table does not say.
    """
    if measure not in table.attrs.get(SET_BY_STOP, ()) or "status" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return np.asarray(table["status"] == "converged", dtype=bool)
