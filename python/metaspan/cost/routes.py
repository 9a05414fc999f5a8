r"""The routes of the arrays engine: the cost of each route, and the choice of the cheapest.

The core counts the work of a route; the rates of this machine turn these counts into seconds.
"""

from __future__ import annotations

from functools import lru_cache

from .._core_types import RouteCost
from .._support import cpus, memory
from ..config.config import TrainConfig
from ..config.engine_choice import has_route
from ..methods import Method
from ..tasks.batch import TaskBatch
from .machine import Machine, Price
from .workload import Workload, work_of_batch, workload_of

ROUTES = ("gram", "vector", "dual")
READS_OF_COPY = 3  # a copy from the system's cache takes as long as this number of reads of memory
MEMORY_SHARE = 0.8  # share of the available memory that the chosen route may need
DISK_RATE = 1e9  # bytes per second that a common disk reads: assumed, not measured


def cheapest_sweep(
    batch: TaskBatch, method: Method, width: int, losses: bool, device: str = "cpu"
) -> str:
    """Return the cheapest route of one gradient."""
    work = work_of_batch(batch, method, width, losses)
    if device != "cpu":
        return work.device_route
    # The dual route is left out: its setup pays off only over many rounds.
    by_name = prices(work)
    return min((n for n in ("vector", "gram") if n in by_name), key=lambda n: by_name[n].round)


@lru_cache(maxsize=64)
def prices(work: Workload) -> dict[str, Price]:
    """Return the price of each route by which the core can do the work, by the route's name."""
    is_sparse = work.sizes.entries is not None
    return {
        route: _price(work, work.cost(route))
        for route in ROUTES
        if has_route(route, work.method, is_sparse)
    }


def _price(work: Workload, cost: RouteCost) -> Price:
    """Turn the core's counts into seconds."""
    # The store reads the next block while the core works on the current block, so a round takes the
    # longer of the times for reading and for computing. The setup of a route works on all data at
    # once, and first waits until all data are read.
    machine = Machine(work.threads)
    gradient = cost["busiest"] * machine.staged(cost["round"])
    return Price(
        setup=machine.staged(cost["setup"]) + _reading(work, machine, cost["setup_reads"]),
        round=max(gradient, _reading(work, machine, cost["reads"]))
        + machine.staged(cost["records"])
        + machine.call
        + machine.kernel * cost["calls"]
        + machine.task * cost["tasks"]
        + cost["numbers"] / machine.normals,
        flops=cost["flops"],
        bytes=bytes_of_trials(cost, 1),
    )


def bytes_of_trials(cost: RouteCost, trials: int) -> int:
    """Return the bytes at the peak of a run that holds `trials` trials in memory at a time."""
    # The memory for opening a run is freed before memory for its trials is allocated.
    return int(max(cost["opening_bytes"], cost["shared_bytes"] + trials * cost["bytes"]))


def cheapest(work: Workload, rounds: int, free: int | None = None) -> str:
    """Return the route that takes the least time for `rounds` rounds and fits the memory.

    `free` is the available memory in bytes; None means the memory that is available now.
    """
    # The results of routes differ in their last bits, and the bits of a run must not depend on its
    # number of threads, so the route is chosen for a run on all processors.
    by_name = prices(work.on(cpus.available()))
    # The route that needs the least memory is allowed even if no route fits. On dense data, the
    # vector route needs the least memory; on sparse data, the sizes determine which route does.
    least = min((n for n in ("gram", "vector") if n in by_name), key=lambda n: by_name[n].bytes)
    always = "vector" if work.sizes.entries is None else least
    seconds = {name: price.setup + rounds * price.round for name, price in by_name.items()}
    for name in sorted(seconds, key=seconds.__getitem__):
        needed = by_name[name].bytes
        if name == always or (free is None and needed <= memory.ASSUMED):
            break
        room = memory.available_bytes() if free is None else free
        if room is None or needed <= MEMORY_SHARE * room:
            break
    return name


def takes_copies(config: TrainConfig, route: str | None) -> bool:
    """Return whether a run copies its sparse sets by bands: if copies pay off and fit in memory.

    The copies change no bit of the result, so the choice may depend on the memory that is available
    now. A run with a comm has copies by leaves instead.
    """
    if route != "gram" or config.exchange is not None:
        return False
    work, free = workload_of(config), memory.available_bytes()
    cost, trials = work.cost("gram"), len(config.trials)
    B_bytes = work.sizes.d * work.sizes.k * work.sizes.B_number_bytes
    held = bytes_of_trials(cost, trials) + trials * cost["copies_of_B"] * B_bytes
    fit = free is None or held + cost["copy_bytes"] <= MEMORY_SHARE * free
    return cost["copy_bytes"] > 0 and fit


def _reading(work: Workload, machine: Machine, count: float) -> float:
    """Return the seconds in which `count` bytes of stored features are read."""
    if not work.sizes.stored:
        return 0.0
    return reading_seconds(machine, count, work.N * work.row_bytes)


def reading_seconds(machine: Machine, count: float, size: float) -> float:
    """Return the seconds in which `count` bytes of a file of `size` bytes are read."""
    # The system keeps a file in its cache after the first read if memory has room for the file.
    # This function requires free memory of twice the file's size, since the run and other processes
    # need memory too.
    free = memory.available_bytes()
    in_cache = free is not None and 2 * size <= free
    return count / (machine.read / READS_OF_COPY if in_cache else DISK_RATE)


def chosen_route(config: TrainConfig) -> str | None:
    """Return the route of a run of the arrays engine: the requested route, or the cheapest."""
    if config.route != "auto":
        return config.route
    if config.device != "cpu":
        return workload_of(config).device_route
    if config.accumulate == "float32":  # only the vector route has sums in single precision
        return "vector"
    return cheapest(workload_of(config), config.rounds)
