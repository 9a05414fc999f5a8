r"""Estimates of the memory and the time of a training run, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._core_types import RoundSizes
from .._load import core
from .._support.memory import size_text
from ..config.config import TrainConfig
from ..config.options import Init
from ..config.sample_law import sample_law
from ..methods import block_count, core_method
from ..tasks.batch import TaskBatch, bytes_to_read
from ..tasks.heads import GaussianHeads, SphereHeads
from ..tasks.linear import LinearTasks
from .machine import WAKING, Machine
from .ranks import copy_bytes, cost_of_rank, exchange_bytes, exchange_seconds, of_widest_rank
from .routes import bytes_of_trials, chosen_route, prices, takes_copies
from .workload import Workload, losses_share, record_calls, workload_of


@dataclass(frozen=True, kw_only=True)
class Estimate:
    r"""Memory and time of a training run, or of a fit by an estimator.

    Parameters
    ----------
    engine : str
        The engine that the run would use.
    route : str or None
        The route by which the arrays engine would compute a round; None for a fit.
    memory_bytes : int
        Bytes that the run allocates at its peak, in addition to the arrays that are passed to the
        run.
    seconds : float
        Time of all rounds of all trials, and of the setup before the first round. A fit that
        converges takes fewer rounds than `rounds`.
    seconds_per_round : float
        Time of one round of all trials.
    flops_per_round : float
        Floating-point operations of one round of all trials.
    bytes : mapping of str to int
        The parts of the memory in bytes, by name.
    round : str
        Tasks of a round and samples of each task, such as ``"n=10, m_in=5, m_out=infinite"``.
    device : str
        Name of the device, or "cpu". The time of a run on a device is predicted by a model, which
        was not calibrated on a card.
    device_bytes : int
        Peak bytes of device memory, without the arrays that are passed to the run.
    ranks : int
        Number of ranks that share the run. The memory is that of the rank with the most columns,
        and the time assumes the network of a common cluster.
    rounds : int
        Number of rounds of which `seconds` is the time. For a fit, it is the largest number of
        iterations or passes that the call allows, and 0 if nothing is iterated.
    unit : str
        What a round is: "round" of training; "iteration" of an iterative estimator; "pass" over the
        samples in the search of an estimator with a closed form.
    """

    engine: str
    route: str | None
    memory_bytes: int
    seconds: float
    seconds_per_round: float
    flops_per_round: float
    bytes: Mapping[str, int]
    round: str = ""
    device: str = "cpu"
    device_bytes: int = 0
    ranks: int = 1
    rounds: int = 0
    unit: str = "round"

    def __str__(self) -> str:
        each = f"{'an' if self.unit[0] in 'aeiou' else 'a'} {self.unit}"
        is_fit = self.unit != "round"
        time = f"{'at most ' * is_fit}{self.seconds:.3g} s ({self.seconds_per_round:.3g} s {each}"
        if is_fit and self.rounds:
            plural = "es" if self.unit == "pass" else "s"
            time += f", {self.rounds:,} {self.unit}{plural * (self.rounds != 1)}"
        lines = [
            f"engine           {self.engine}{f', {self.route} route' if self.route else ''}",
            f"{'samples' if is_fit else 'round':<17}{self.round}",
            f"time             {time})",
            f"work             {self.flops_per_round:.3g} flops {each}",
            f"memory           {size_text(self.memory_bytes)}",
            *(f"  {name:<14} {size_text(count)}" for name, count in self.bytes.items()),
        ]
        if self.ranks > 1:
            lines.append(f"ranks            {self.ranks}; memory of one rank")
        if self.device != "cpu":
            lines += [
                f"device           {self.device}; the time is a model",
                f"device memory    {size_text(self.device_bytes)}",
            ]
        return "\n".join(lines)


def in_coordinates(config: TrainConfig) -> Estimate:
    """Estimate a run of an engine whose state is in the coordinates of (13)."""
    trials, cost = len(config.trials), _cost(config)
    parallel = _side_by_side(config, cost)
    parts = _bytes(config, int(cost["bytes"]))
    if cost["thread_bytes"]:
        parts["samples"] = int(cost["thread_bytes"]) * parallel
    per_round = trials * _round_seconds(config, cost, parallel)
    return Estimate(
        engine=config.engine,
        route=None,
        memory_bytes=sum(parts.values()),
        seconds=config.rounds * per_round,
        seconds_per_round=per_round,
        flops_per_round=trials * cost["flops"],
        bytes=parts,
    )


def _side_by_side(config: TrainConfig, cost: Mapping[str, float]) -> int:
    """Return the number of threads that have work, each on a trial or on a piece of a round."""
    # The core runs trials side by side if each thread gets a trial, since trials need no
    # synchronisation. If there are fewer trials than threads, the threads share each round,
    # provided that the round has several pieces.
    trials, pieces = len(config.trials), int(cost["pieces"])
    alone = trials >= config.threads or pieces == 1
    return min(config.threads, trials if alone else pieces)


def _round_seconds(config: TrainConfig, cost: Mapping[str, float], parallel: int) -> float:
    """Return the seconds of one round of one trial, from the core's operation counts."""
    thread, alone = Machine(1), len(config.trials) >= config.threads or cost["pieces"] == 1
    work, records = thread.seconds(cost), thread.kernel * record_calls(config)
    if alone:
        return (work + records) / parallel
    # Records are computed by one thread. If threads share the rounds, the threads are woken once
    # per round.
    return work / parallel + records + WAKING * (parallel > 1)


def on_data(config: TrainConfig, ranks: int = 1) -> Estimate:
    """Estimate a run on the user's arrays, or on a pool that is drawn before the first round.

    With several ranks, the estimate is that of the rank with the most columns.
    """
    work, trials = of_widest_rank(workload_of(config), ranks), len(config.trials)
    route = chosen_route(config)
    assert route is not None
    # The core runs a small round of a single trial on one thread.
    if trials == 1 and work.cost(route)["serial"]:
        work = work.on(1)
    price, machine = prices(work)[route], Machine(work.threads)
    cost = cost_of_rank(workload_of(config).on(work.threads), route, ranks)
    drawn_data = isinstance(config.tasks, LinearTasks)
    # A pool is drawn for each trial, and the trials run one after the other, so that only one pool
    # is in memory at a time.
    at_once = 1 if drawn_data else trials
    sizes, B = work.sizes, _bytes_of_B(config, work)
    # B of every trial in Python, with the blocks of its outer step, small on the dual route.
    blocks = 1 if route == "dual" else block_count(config.method)
    parts = {
        "B": (trials * blocks + at_once * cost["copies_of_B"]) * B,  # also the copies in the core
        "route": bytes_of_trials(cost, at_once),
        "trace": _trace_bytes(config),
    }
    if ranks > 1 and sizes.entries is not None:
        parts["copies"] = copy_bytes(work, workload_of(config).sizes.d, ranks)
    elif takes_copies(config, route):
        parts["copies"] = int(cost["copy_bytes"])
    if sizes.k_star:
        parts["B_star"] = 8 * sizes.d * sizes.k_star * (2 if drawn_data else 1)
    # Memory to measure B, or to copy B from the core; memory that the route has freed is used
    # first.
    exchange = max(_measuring_bytes(work, route), at_once * B)
    parts["exchange"] = max(exchange - int(cost["released_bytes"]), 0)
    if isinstance(config.tasks, TaskBatch):
        parts["reading"] = bytes_to_read(config.tasks, B)
    if ranks > 1:
        parts["messages"] = exchange_bytes(work, route, ranks, workload_of(config).sizes.d)
    if drawn_data:
        parts["pool"] = work.N * (sizes.d + 1) * sizes.number_bytes
        if config.drawn_tasks.spread:  # xi is copied once and freed before the first round
            parts["pool"] += 2 * 8 * sizes.all_tasks * sizes.d
    per_round = trials * (price.round + exchange_seconds(work, route, ranks))
    setup = (trials if drawn_data else 1) * price.setup
    if drawn_data:  # drawing the samples, one trial after the other
        setup += trials * work.N * sizes.d / machine.normals
    if config.layout.engine == "arrays":
        setup += trials * _start_seconds(config, machine, ranks)
    return Estimate(
        engine=config.engine,
        route=route,
        memory_bytes=sum(parts.values()),
        seconds=setup + config.rounds * per_round,
        seconds_per_round=per_round,
        flops_per_round=trials * price.flops,
        bytes=parts,
    )


def sampled(config: TrainConfig, ranks: int = 1) -> Estimate:
    """Estimate a sampled run, (12): the vector route on rows that are generated when needed.

    With several ranks, the estimate is that of the rank with the most columns.
    """
    work, trials = of_widest_rank(workload_of(config), ranks), len(config.trials)
    if trials == 1 and work.cost("vector")["serial"]:
        work = work.on(1)
    price = prices(work)["vector"]
    in_blocks = callable(config.drawn_tasks.features)
    # Rows are generated in blocks of as many rows as without ranks.
    whole = workload_of(config).sizes
    share = work.sizes.d / whole.d
    made = core.sampled_cost(
        core_method(work.method),
        whole,
        in_blocks,
        work.threads,
        config.drawn_tasks.spread > 0.0,
    )
    machine = Machine(work.threads)
    drawing = made["numbers"] / machine.normals + made["calls"] * machine.kernel
    seconds = price.round + share * drawing
    seconds += exchange_seconds(work, "vector", ranks)
    size = _bytes_of_B(config, work)
    parts = {
        "B": (trials * block_count(config.method) + work.cost("vector")["copies_of_B"]) * size,
        "B_star": 8 * work.sizes.d * work.sizes.k_star + int(share * made["truth"]),
        "route": int(share * made["vectors"]),
        "samples": int(share * made["rows"]),
        "exchange": max(_measuring_bytes(work), size),
        "trace": _trace_bytes(config),
    }
    if ranks > 1:
        parts["messages"] = exchange_bytes(work, "vector", ranks, whole.d)
    return Estimate(
        engine=config.engine,
        route=None,
        memory_bytes=sum(parts.values()),
        seconds=trials * (_start_seconds(config, machine, ranks) + config.rounds * seconds),
        seconds_per_round=trials * seconds,
        flops_per_round=trials * price.flops,
        bytes=parts,
    )


def with_spectrum(config: TrainConfig) -> Estimate:
    """Estimate a run of the spectral engine: moments of [B_star, B], the tasks, and steps of B."""
    d, trials, cost, work = config.tasks.d, len(config.trials), _cost(config), workload_of(config)
    parallel = min(config.threads, int(cost["pieces"]))
    machine = Machine(parallel)
    seconds = trials * (
        machine.seconds(cost)
        + _measuring_seconds(work, work.sizes.geometry, machine)
        + 3 * WAKING * (parallel > 1)
    )
    # Both sides keep the blocks beside B; the core holds one trial at a time.
    size, blocks = _bytes_of_B(config, work), block_count(config.method)
    in_double = 8 * d * config.columns
    parts = {
        "B": (trials * blocks + blocks - 1) * size + int(cost["bytes"]),
        "B_star": 2 * 8 * d * config.k_star,
        "spectrum": 8 * d,
        "exchange": max(_measuring_bytes(work), in_double, blocks * size),
        "trace": _trace_bytes(config),
    }
    return Estimate(
        engine=config.engine,
        route=None,
        memory_bytes=sum(parts.values()),
        seconds=trials * _start_seconds(config, machine) + config.rounds * seconds,
        seconds_per_round=seconds,
        flops_per_round=trials * cost["flops"],
        bytes=parts,
    )


def _start_seconds(config: TrainConfig, machine: Machine, ranks: int = 1) -> float:
    """Return the seconds to draw B_star and B_0 of a trial at full size and measure its final B."""
    work = of_widest_rank(workload_of(config), ranks)
    d, k, k_star = work.sizes.d, config.columns, config.k_star
    drawn = k * isinstance(config.init, Init)
    if isinstance(config.tasks, LinearTasks) and config.tasks.B_star is None:
        drawn += k_star
    seconds = d * drawn / machine.normals + machine.staged(core.haar_cost(d, drawn, k))
    if config.measures_distance:
        seconds += _measuring_seconds(work, 1.0, machine)
    return seconds


def _measuring_seconds(work: Workload, share: float, machine: Machine) -> float:
    """Return the mean seconds per round for records and for measuring B in a `share` of rounds."""
    sizes = work.sizes
    stages = core.coordinates_cost(share * sizes.d, sizes.k, sizes.k + sizes.k_star)
    # One thread computes the records; `machine.kernel` is the time of a kernel divided by the
    # number of threads.
    return machine.staged(stages) + sizes.record_calls * machine.threads * machine.kernel


def _measuring_bytes(work: Workload, route: str = "vector") -> int:
    """Return the bytes to measure B at full size, or 0 for a run that does not measure it.

    The dual route finds the basis of (24) once, with twice as many arrays of the size of B.
    """
    sizes = work.sizes
    arrays = core.measured_bytes(sizes.d, sizes.k) if sizes.geometry else 0
    return int(arrays) * (2 if route == "dual" else 1)


def _bytes_of_B(config: TrainConfig, work: Workload) -> int:
    """Return the bytes of one B at full size."""
    return work.sizes.d * work.sizes.k * np.dtype(config.dtype).itemsize


def _cost(config: TrainConfig) -> dict[str, float]:
    """Return the core's counts for one round of one trial, for the engine of the run."""
    method, columns, k_star = core_method(config.method), config.columns, config.k_star
    turns = columns > k_star and core.method_needs(method)["turns_frame"]
    # The number of tasks from which rounds choose, in a pool or in a table of heads; None if tasks
    # are fresh in every round.
    heads, every = config.drawn_tasks.heads, config.pool
    draws = every is None and isinstance(heads, (GaussianHeads, SphereHeads))
    if every is None and isinstance(heads, np.ndarray):
        every = heads.shape[0]
    chooses = every is not None and config.n != every

    def sizes(rows: int) -> RoundSizes:
        return RoundSizes(
            n=config.n or 1,
            rows=rows,
            k=columns,
            k_star=k_star,
            draws_heads=draws,
            chooses=chooses,
            losses=losses_share(config),
            trials=max(1, len(config.trials) // config.threads),
        )

    engine, rows = config.layout.engine, config.layout.D
    if engine == "spectral":
        return core.spectral_cost(method, sizes(config.tasks.d))
    if engine == "limit":
        height = config.layout.height if config.d_over_n else rows - k_star
        return core.limit_cost(
            method, sizes(k_star + height), config.m_in or 0, bool(config.d_over_n)
        )
    if engine == "population":
        return core.population_cost(method, sizes(rows + (columns if turns else 0)))
    return core.collapsed_cost(method, sample_law(config), sizes(k_star + config.layout.height))


def _bytes(config: TrainConfig, state: int) -> dict[str, int]:
    """Return the bytes that a run in coordinates allocates, by the name of each part."""
    tasks, trials = config.drawn_tasks, len(config.trials)
    parts = {"state": state * trials, "trace": _trace_bytes(config)}
    if config.pool is not None:
        parts["pool"] = 2 * 8 * trials * config.pool * tasks.k
    if not isinstance(config.init, Init):
        implicit = tasks.k if tasks.B_star is None else 0
        height = config.layout.D - config.k_star
        parts["start"] = 8 * tasks.d * (config.columns + height + implicit)
    return parts


def _trace_bytes(config: TrainConfig) -> int:
    """Return the bytes of the recorded rows, which are stored twice: as rows and in the trace."""
    angles = min(config.width, config.k_star) if "angles" in config.record else 0
    columns = 1 + len([name for name in config.record if name != "angles"]) + angles
    rows = config.rounds // config.record_every + 2
    return 2 * 8 * len(config.trials) * rows * columns
