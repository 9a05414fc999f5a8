r"""The sizes that determine the cost of a round of the arrays engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .._core_types import DataSizes, RouteCost
from .._load import core
from .._support import cpus
from ..config.config import TrainConfig
from ..config.records import OF_LOSSES, OF_REPRESENTATION
from ..methods import Method, core_method
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from ..tasks.sparse import Sparsity


@dataclass(frozen=True, kw_only=True)
class Workload:
    r"""The sizes, the method and the threads that determine the cost of a round.

    Parameters
    ----------
    sizes : DataSizes
        Sizes of tasks and data, and how often rounds are recorded.
    method : ANIL, MAML or another method
        The method.
    threads : int
        Number of threads.
    """

    sizes: DataSizes
    method: Method
    threads: int

    @property
    def N(self) -> int:
        """Number of samples of all tasks; a sample that both sets of a task share counts once."""
        sizes = self.sizes
        inner = sizes.m_in * sizes.all_tasks
        outer = sizes.m_out * sizes.all_tasks * (not sizes.shared)
        return round(inner) + round(outer)

    @property
    def row_bytes(self) -> int:
        """Bytes of a dense row of X."""
        return self.sizes.d * self.sizes.number_bytes

    def on(self, threads: int) -> Workload:
        """Return the same work with a different number of threads."""
        return self if threads == self.threads else replace(self, threads=threads)

    @property
    def device_route(self) -> str:
        """The faster route on a device, by the model of the core."""
        return core.device_route(core_method(self.method), self.sizes)

    def cost(self, route: str) -> RouteCost:
        """Return the core's counts for the rounds of a run by the given route."""
        return core.route_costs(core_method(self.method), self.sizes, route, self.threads)


def losses_share(config: TrainConfig) -> float:
    """Return the share of the rounds that compute losses, for records or for the stop rule."""
    stops = config.stop is not None and bool(config.stop.loss_out)
    losses = stops or any(name in OF_LOSSES for name in config.record)
    return losses / config.record_every


def record_calls(config: TrainConfig) -> float:
    """Return the time of the records of a round, on average, as a number of kernel calls."""
    names = set(config.record) | ({"dist"} if config.measures_distance else set())
    # If a run records the angles but not "dist", and has no stop rule, the distance follows from
    # the largest angle at no cost.
    if "angles" in config.record and "dist" not in config.record and config.stop is None:
        names.discard("dist")
    n = config.n or 2 * config.width
    calls = sum(core.calls_of_record(name, config.k_star, config.width, n) for name in names)
    return calls / config.record_every


def work_of_batch(batch: TaskBatch, method: Method, width: int, losses: bool) -> Workload:
    """Return the work of one gradient on a batch, on all processors."""
    return Workload(
        sizes=DataSizes(
            d=batch.d,
            k=width,
            k_star=0,
            n=batch.n,
            all_tasks=batch.n,
            m_in=batch.mean_sizes[0],
            m_out=batch.mean_sizes[1],
            shared=batch.shared,
            number_bytes=batch.dtype.itemsize,
            B_number_bytes=batch.dtype.itemsize,
            stored=batch.on_disk,
            made=False,
            copied=False,  # copies pay off over several rounds
            losses=float(losses),
            **_describe_rows(batch.sparsity),
        ),
        method=method,
        threads=cpus.available(),
    )


def workload_of(config: TrainConfig) -> Workload:
    """Return the work of a round of a run at full size."""
    tasks, sparsity = config.tasks, None
    if isinstance(tasks, LinearTasks):
        every = config.n_tasks if config.pool is None else config.pool
        m_in, m_out = float(config.inner_samples or 0), float(config.outer_samples or 0)
        number_bytes, shared = np.dtype(config.dtype).itemsize, config.shared_samples
    else:
        assert isinstance(tasks, TaskBatch)
        every, number_bytes, shared = tasks.n, tasks.dtype.itemsize, tasks.shared
        (m_in, m_out), sparsity = tasks.mean_sizes, tasks.sparsity
    geometry = config.measures_distance or any(n in OF_REPRESENTATION for n in config.record)
    return Workload(
        sizes=DataSizes(
            d=config.layout.features,
            k=config.columns,
            k_star=config.k_star,
            n=config.n_tasks,
            all_tasks=every,
            m_in=m_in,
            m_out=m_out,
            shared=shared,
            number_bytes=number_bytes,
            B_number_bytes=np.dtype(config.dtype).itemsize,
            stored=isinstance(tasks, TaskBatch) and tasks.on_disk,
            made=config.layout.engine == "sampled",
            copied=sparsity is not None and config.rounds > 1,
            losses=losses_share(config),
            geometry=geometry / config.record_every,
            record_calls=record_calls(config),
            **_describe_rows(sparsity),
        ),
        method=config.method,
        threads=config.threads,
    )


def _describe_rows(sparsity: Sparsity | None) -> dict[str, float]:
    """Return the fields of DataSizes that describe sparse rows; no fields for dense data."""
    return {} if sparsity is None else sparsity._asdict()
