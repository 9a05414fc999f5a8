r"""The quantities that a run can record, (20) and (21)."""

from __future__ import annotations

from collections.abc import Iterable, Set

from .._support import check
from ..linear_methods import LinearMAML
from ..methods import Method
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks

RECORDS = (
    "dist",
    "angles",
    "loss_in",
    "loss_adapted",
    "loss_out",
    "w_norm",
    "delta_norm",
    "sigma_min",
    "sigma_max",
    "perp_norm",
    "signal_min",
    "signal_max",
    "diversity_min",
    "diversity_max",
    "mu",
    "L",
    "eta",
    "alpha",
)
OF_GROUND_TRUTH = ("dist", "angles", "perp_norm", "signal_min", "signal_max")
OF_REPRESENTATION = (*OF_GROUND_TRUTH, "delta_norm", "sigma_min", "sigma_max")
OF_LOSSES = ("loss_in", "loss_adapted", "loss_out")
OF_HEADS = ("mu", "L", "eta")


def resolve(record: object, tasks: LinearTasks | TaskBatch, method: Method) -> tuple[str, ...]:
    """Check and return the names of the records, each once; None means the default."""
    if record is None:
        if not tasks.k:
            return ("loss_out",)
        return ("dist", "loss_out") if isinstance(method, LinearMAML) else ("dist",)
    names = (record,) if isinstance(record, str) else record
    if not isinstance(names, Iterable):
        raise TypeError(f"record must hold names of records; got {check.show(record)}")
    checked = tuple(dict.fromkeys(check.choice("record", name, RECORDS) for name in names))
    if isinstance(names, Set):  # the order of a set differs between processes
        checked = tuple(name for name in RECORDS if name in checked)
    for name in checked:
        if name in OF_GROUND_TRUTH and not tasks.k:
            raise ValueError(f"record {name!r} needs a batch with a B_star; this one has none")
        if name in OF_HEADS and isinstance(tasks, TaskBatch) and tasks.heads is None:
            raise ValueError(f"record {name!r} needs a batch with heads; this one has none")
    return checked
