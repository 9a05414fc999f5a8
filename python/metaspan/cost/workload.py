r"""What the cost of a round of the arrays engine depends on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._core_types import MethodNeeds, VectorSizes
from .._load import core
from ..config.config import TrainConfig
from ..config.records import OF_LOSSES, OF_REPRESENTATION
from ..methods import Method, core_method
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from ..tasks.sparse import Sparsity


@dataclass(frozen=True, kw_only=True)
class Workload:
    r"""What the cost of a round depends on.

    Parameters
    ----------
    d, k, k_star, n : int
        Sizes; `n` tasks a round.
    all_tasks : int
        Tasks that rounds choose from.
    m_in, m_out : float
        Samples a task in the inner and the outer set, on average.
    itemsize : int
        Bytes of a number of X.
    method : ANIL, MAML or AverageRisk
        The method.
    shared : bool
        Whether inner and outer sets are one.
    losses, geometry : float
        Share of the rounds that record losses, or something of the representation.
    threads : int
        Number of threads.
    record_calls : float
        Calls of kernels that the records of a round take as long as, on average.
    on_disk : bool
        Whether the features are.
    sparsity : Sparsity or None
        Of sparse samples.
    """

    d: int
    k: int
    k_star: int
    n: int
    all_tasks: int
    m_in: float
    m_out: float
    itemsize: int
    method: Method
    shared: bool
    losses: float
    geometry: float
    threads: int
    record_calls: float = 0.0
    on_disk: bool = False
    sparsity: Sparsity | None = None

    @property
    def steps(self) -> int:
        """Inner steps J."""
        return core_method(self.method).inner_steps

    @cached_property
    def needs(self) -> MethodNeeds:
        """What the gradient of the method is made of."""
        return core.method_needs(core_method(self.method))

    @property
    def moves_B(self) -> bool:
        """Whether the inner loop moves B."""
        return self.needs["cross_gram"]

    @property
    def exact(self) -> bool:
        """Whether the gradient has an inner part."""
        return self.needs["inner_part"]

    @property
    def samples_in(self) -> int:
        """Samples of a round's inner sets."""
        return round(self.m_in * self.n)

    @property
    def samples_out(self) -> int:
        """Samples of a round's outer sets."""
        return round(self.m_out * self.n)

    @property
    def samples(self) -> int:
        """Samples of a round, each once."""
        return self.samples_in if self.shared else self.samples_in + self.samples_out

    @property
    def all_in(self) -> int:
        """Samples of the inner sets of all tasks."""
        return round(self.m_in * self.all_tasks)

    @property
    def N(self) -> int:
        """Samples of all tasks, each once."""
        return self.all_in + (0 if self.shared else round(self.m_out * self.all_tasks))

    @property
    def data(self) -> float:
        """Bytes of X that a round reads at least."""
        return float(self.samples) * self.row_bytes

    @property
    def row_bytes(self) -> float:
        """Bytes of a row of X, on average."""
        if self.sparsity is not None:
            return self.sparsity.entries * (self.itemsize + 4)
        return self.d * self.itemsize

    @property
    def sizes(self) -> VectorSizes:
        """What decides how much the vector route holds."""
        return VectorSizes(
            self.d,
            self.k,
            self.n,
            self.all_tasks,
            self.m_in,
            self.m_in if self.shared else self.m_out,
            self.row_bytes,
            self.sparsity is not None,
        )

    @property
    def active(self) -> int:
        """Samples that gradients combine."""
        return self.N if self.exact or self.shared else self.N - self.all_in


def losses_share(config: TrainConfig) -> float:
    """Share of the rounds that record losses, or stop by them."""
    stops = config.stop is not None and bool(config.stop.loss_out)
    losses = stops or any(name in OF_LOSSES for name in config.record)
    return losses / config.record_every


def record_calls(config: TrainConfig) -> float:
    """Calls of kernels that measuring the records of a round takes as long as, on average."""
    names = set(config.record) | ({"dist"} if config.measures_distance else set())
    if "angles" in config.record and "dist" not in config.record and config.stop is None:
        names.discard("dist")
    n = config.n or 2 * config.width
    calls = sum(core.calls_of_record(name, config.k_star, config.width, n) for name in names)
    return calls / config.record_every


def workload_of(config: TrainConfig) -> Workload:
    """What a run of the arrays engine does in a round."""
    tasks, sparsity = config.tasks, None
    if isinstance(tasks, LinearTasks):
        every = config.n_tasks if config.pool is None else config.pool
        m_in, m_out = float(config.m_in or 0), float(config.m_out or 0)
        itemsize, shared = np.dtype(config.dtype).itemsize, config.shared_samples
    else:
        assert isinstance(tasks, TaskBatch)
        every, itemsize, shared = tasks.n, tasks.dtype.itemsize, tasks.shared
        (m_in, m_out), sparsity = tasks.mean_sizes, tasks.sparsity
    geometry = config.measures_distance or any(n in OF_REPRESENTATION for n in config.record)
    return Workload(
        d=config.layout.features,
        k=config.width,
        k_star=config.k_star,
        n=config.n_tasks,
        all_tasks=every,
        m_in=m_in,
        m_out=m_out,
        itemsize=itemsize,
        method=config.method,
        shared=shared,
        losses=losses_share(config),
        geometry=geometry / config.record_every,
        threads=config.threads,
        record_calls=record_calls(config),
        on_disk=isinstance(tasks, TaskBatch) and tasks.on_disk,
        sparsity=sparsity,
    )
