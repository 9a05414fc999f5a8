r"""Estimates of runs on a device: the memory of the device, and the time by a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._device import open_device
from .._load import core
from ..config.config import TrainConfig
from ..methods import core_method
from ..tasks.batch import TaskBatch
from .estimate import Estimate
from .routes import chosen_route
from .workload import workload_of

# The model assumes which shares of the theoretical rates the kernels reach, and rates that a device
# does not report. None of these numbers was measured on a card.
OF_BANDWIDTH, OF_PEAK = 0.8, 0.6
BUS_RATE = 2.5e10  # bytes per second from the host, by PCIe 4 with 16 lanes
LAUNCH = 5e-6  # seconds from the start of a kernel to that of the next
LATENCY = 2e-9  # seconds of an operation that depends on the previous operation of its thread
OF_LATENCY = 0.25  # share of the peak, if each thread computes one trial or one task


def on_device(config: TrainConfig, on_cpu: Estimate) -> Estimate:
    """Estimate a run on a device, given the estimate of the same run on the CPU.

    The engines population and collapsed need the same host memory as on the CPU. Their predicted
    time is at most that of the CPU.
    """
    device = open_device()
    if config.layout.engine in ("arrays", "sampled"):
        return _at_full_size(config, on_cpu, device)
    return _of_trials(config, on_cpu, device.info)


def _at_full_size(config: TrainConfig, on_cpu: Estimate, device: core.Device) -> Estimate:
    """Estimate a run on arrays or on generated samples."""
    work, trials, info = workload_of(config), len(config.trials), device.info
    lent = isinstance(config.tasks, TaskBatch) and config.tasks.on_device
    is_sampled = config.layout.engine == "sampled"
    route = work.device_route if is_sampled else chosen_route(config)
    assert route is not None
    cost = core.device_cost(
        device, route, core_method(config.method), work.sizes, trials, lent, device.free_bytes
    )
    computing = max(
        cost["bytes"] / (OF_BANDWIDTH * info["bytes_per_second"]),
        cost["flops"] / (OF_PEAK * info["flops"]),
    )
    seconds = LAUNCH * cost["launches"] + max(computing, cost["host_bytes"] / BUS_RATE)
    setup = cost["features"] / BUS_RATE if cost["keeps"] else 0.0
    parts = {name: on_cpu.bytes[name] for name in ("B", "B_star", "trace") if name in on_cpu.bytes}
    parts["exchange"] = on_cpu.bytes.get("exchange", 0)
    parts["pinned"] = int(cost["pinned"])
    if isinstance(config.tasks, TaskBatch):
        parts["reading"] = on_cpu.bytes.get("reading", 0)
    return replace(
        on_cpu,
        route=on_cpu.route and route,
        memory_bytes=sum(parts.values()),
        bytes=parts,
        seconds=setup + config.rounds * trials * seconds,
        seconds_per_round=trials * seconds,
        flops_per_round=trials * cost["flops"],
        device=info["name"],
        device_bytes=int(cost["memory"] + cost["features"]),
    )


def _of_trials(config: TrainConfig, on_cpu: Estimate, info: dict[str, Any]) -> Estimate:
    """Estimate a run of the engines population and collapsed, whose threads share no arithmetic."""
    trials = len(config.trials)
    alone = on_cpu.flops_per_round / trials * LATENCY
    together = on_cpu.flops_per_round / (OF_LATENCY * info["flops"])
    seconds = min(max(alone, together) + LAUNCH, on_cpu.seconds_per_round)
    return replace(
        on_cpu,
        seconds=on_cpu.seconds - config.rounds * (on_cpu.seconds_per_round - seconds),
        seconds_per_round=seconds,
        device=info["name"],
        device_bytes=on_cpu.bytes.get("state", 0) * 2,
    )
