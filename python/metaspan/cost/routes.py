r"""The routes of the arrays engine: what each takes, and which one is the cheapest.

The core counts what a route does; the rates of this machine turn the counts into seconds.
"""

from __future__ import annotations

from functools import lru_cache

from .._core_types import RouteCost
from .._support import cpus, memory
from ..config.config import TrainConfig
from ..methods import Method
from ..tasks.batch import TaskBatch
from .machine import Machine, Price
from .workload import Workload, work_of_batch, workload_of

ROUTES = ("gram", "vector", "dual")
READS_OF_COPY = 3  # of memory, that copying from the system's cache takes as long as
DISK_RATE = 1e9  # bytes a second that features on disk come at: of a common disk, not measured


def cheapest_sweep(batch: TaskBatch, method: Method, width: int, losses: bool) -> str:
    """The cheapest route of one gradient: there is nothing to save for later rounds."""
    by_name = prices(work_of_batch(batch, method, width, losses))
    return min(("vector", "gram"), key=lambda name: by_name[name].round)


@lru_cache(maxsize=64)
def prices(work: Workload) -> dict[str, Price]:
    """What every route takes, by name."""
    return {route: _price(work, work.cost(route)) for route in ROUTES}


def _price(work: Workload, cost: RouteCost) -> Price:
    """Turn the core's counts into seconds; features on disk are read while the core works."""
    machine = Machine(work.threads)
    return Price(
        setup=machine.staged(cost["setup"]) + _reading(work, machine, cost["setup_reads"]),
        round=max(machine.staged(cost["round"]), _reading(work, machine, cost["reads"]))
        + machine.staged(cost["records"])
        + machine.call
        + machine.kernel * cost["calls"]
        + machine.task * cost["tasks"],
        flops=cost["flops"],
        bytes=bytes_of_trials(cost, 1),
    )


def bytes_of_trials(cost: RouteCost, trials: int) -> int:
    """Bytes at the peak of a run with so many trials at a time."""
    return int(max(cost["opening_bytes"], cost["shared_bytes"] + trials * cost["bytes"]))


def cheapest(work: Workload, rounds: int, free: int | None = None) -> str:
    """The route that takes the least time for so many rounds, of those that memory has room for.

    `free` is the memory in bytes; None: what there is now. The number of threads does not count,
    so that the bits of a run do not depend on it.
    """
    room = memory.available_bytes() if free is None else free
    by_name = prices(work.on(cpus.available()))
    least = min(("gram", "vector"), key=lambda name: by_name[name].bytes)
    always = "vector" if work.sizes.entries is None else least
    fit = {
        name: price.setup + rounds * price.round
        for name, price in by_name.items()
        if name == always or room is None or price.bytes <= 0.8 * room
    }
    return min(fit, key=fit.__getitem__)


def _reading(work: Workload, machine: Machine, count: float) -> float:
    """Seconds in which so many bytes come from the disk, while the core works.

    What the memory has room for stays in the system's cache once it is read.
    """
    if not work.sizes.stored:
        return 0.0
    free = memory.available_bytes()
    in_cache = free is not None and 2 * work.N * work.row_bytes <= free
    return count / (machine.read / READS_OF_COPY if in_cache else DISK_RATE)


def chosen_route(config: TrainConfig) -> str | None:
    """How the arrays engine will compute rounds: as asked, or the cheapest way."""
    if config.route != "auto":
        return config.route
    if config.accumulate == "float32":
        return "vector"
    return cheapest(workload_of(config), config.rounds)
