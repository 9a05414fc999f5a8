r"""What the samples of a fit cost: the memory that they need, and the time of a pass over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._core_types import Stage
from .._load import core
from ..config.fit_config import FitConfig
from ..cost.machine import Machine
from ..cost.routes import reading_seconds
from ..tasks.batch import TaskBatch, bytes_to_read
from ..tasks.linear import LinearTasks
from .configure import draws_averages
from .sources import KEPT_BYTES, SPARE

# Writing an array that was just allocated takes as long as reading it this number of times, since
# the system clears its pages first.
FRESH = 6
PIECE = 1 << 13  # columns of X whose sums the core keeps apart: its kVectorPiece

LANE = 8  # numbers of a register
LEAST_COLUMNS = 4  # of B, with which dense rows are multiplied at their usual rate
SWEEP_SHARE = 0.75  # this rate relative to that of long rows in a cache
BLOCK_BYTES = 1 << 20  # of X, per thread, that a pass multiplies at a time: the core's kBlockBytes
READS = 4  # time of a read of a row of a factor at random, relative to a read in order
SPARSE_TASK_SECONDS = 4e-6  # of a task with sparse rows in a pass: the core gets its arrays anew
# Operations for each number of a matrix of which a basis is made: reflections have small products.
FACTOR_FLOPS = 800


class Work(NamedTuple):
    """Floating-point operations and seconds of some work."""

    flops: float
    seconds: float

    def __add__(self, other: Work) -> Work:  # type: ignore[override]
        """Return the work of both."""
        return Work(self.flops + other.flops, self.seconds + other.seconds)

    def times(self, count: float) -> Work:
        """Return the same work `count` times."""
        return Work(count * self.flops, count * self.seconds)


NO_WORK = Work(0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class SampleCosts:
    r"""The sizes of the samples of a fit, and the costs of opening and reading them.

    Parameters
    ----------
    n, N, dim : int
        Tasks, samples of all tasks, and length of a row.
    width, k_star : int
        Columns of the representation and of the ground truth; 0 columns if it is unknown.
    entries : float
        Stored numbers of X: N dim of dense rows, fewer of sparse rows and of samples in law.
    entry_bytes : float
        Bytes of a stored number of X, with its column if X is sparse.
    is_sparse, is_stored, is_made, in_law, draws_averages : bool
        Whether the rows are sparse, on disk, or generated in every pass; whether the samples are
        those of the engine "law"; and whether it draws averages instead of rows.
    parts : tuple of (str, int)
        Bytes that the samples need while an estimator runs, by the name of each part.
    opening_bytes : int
        Bytes at the peak while the samples are opened.
    drawn : float
        Random numbers that opening the samples draws.
    threads : int
        Threads of a pass.
    """

    n: int
    N: int
    dim: int
    width: int
    k_star: int
    entries: float
    entry_bytes: float
    parts: tuple[tuple[str, int], ...]
    opening_bytes: int
    drawn: float
    threads: int
    is_sparse: bool = False
    is_stored: bool = False
    is_made: bool = False
    in_law: bool = False
    draws_averages: bool = False

    @property
    def wants_few_passes(self) -> bool:
        """Whether a pass takes much longer than its arithmetic, as in `Samples`."""
        return self.is_stored or self.is_made or self.draws_averages

    @property
    def reads_all_tasks(self) -> bool:
        """Whether products with the samples of some tasks read the rows of all tasks."""
        return self.in_law or self.is_made

    @property
    def machine(self) -> Machine:
        """The rates of this machine."""
        return Machine(self.threads)

    def opening(self) -> Work:
        """Return the work of opening the samples: drawing them, and reading them once."""
        machine = self.machine
        seconds = self.drawn / machine.normals + FRESH * self.opening_bytes / machine.read
        return Work(0.0, seconds + self._reading(machine))

    def one_product(self, columns: int) -> Work:
        """Return the work of ``X B`` or ``X^T C`` with this number of columns."""
        return self._pass(columns, 1)

    def both_products(self, columns: int) -> Work:
        """Return the work of ``X^T transform(X B)``, which reads X once."""
        return self._pass(columns, 2)

    def called_products(self, columns: int) -> Work:
        """Return the work of ``X^T transform(X B)`` with a transform in Python.

        A call takes so long that blocks of dense rows are larger than caches, and X is read twice.
        """
        again = self.entries * self.entry_bytes * (not self.is_sparse and not self.is_made)
        return self.both_products(columns) + self.dense(0.0, again)

    def along_heads(self, columns: int) -> Work:
        """Return the work of the second derivative of (43), for which X meets single vectors."""
        if self.is_sparse or self.in_law or self.is_made:
            return self.both_products(columns)
        return self._pass(1, 2) + self.dense(4.0 * self.n * self.dim * columns, 0.0)

    def rows_of_pass(self, columns: int) -> float:
        """Return the numbers with a row for each sample that a pass allocates.

        A pass over dense rows works on blocks. One over sparse rows holds all features, twice with
        this number of columns, and twice padded to whole registers.
        """
        padded = LANE * -(-columns // LANE)
        return 2.0 * self.N * (columns + padded + 1) * self.is_sparse

    def dense(self, flops: float, traffic: float) -> Work:
        """Return the work of linear algebra on matrices with `dim` rows."""
        stage = Stage(features=flops, grams=0.0, memory=traffic, cached=0.0)
        return Work(flops, self.machine.staged([stage]))

    def orthonormal(self, columns: int) -> Work:
        """Return the work of an orthonormal basis of the columns of a matrix (dim, columns)."""
        numbers = float(self.dim * columns)
        return self.dense((FACTOR_FLOPS + 15 * columns) * numbers, FRESH * 8 * 3 * numbers)

    def _pass(self, columns: int, products: int) -> Work:
        """Return the work of a pass with one or two products."""
        machine, flops = self.machine, 2.0 * products * self.entries * columns
        traffic = self.entries * self.entry_bytes
        if self.is_made:
            traffic = 8.0 * self.entries * (FRESH if products > 1 else 0)
        traffic += FRESH * 8.0 * columns * (3 * self.dim + self.N * (products == 1))
        if self.is_sparse:  # kernels process whole registers: one column takes as long as eight
            worked = flops * LANE * -(-columns // LANE) / columns
            # Every entry meets a row of the factor.
            cached = READS * products * self.entries * (self.entry_bytes + 8.0 * columns)
            stages = [Stage(features=worked, grams=0.0, memory=traffic, cached=cached)]
        else:  # a block of rows waits for memory in the first sweep; then a cache holds it
            worked = flops * max(columns, LEAST_COLUMNS) / columns / SWEEP_SHARE
            blocks = min(self.n, self.entries * self.entry_bytes / (BLOCK_BYTES * machine.threads))
            cached = 8.0 * (2 * products - 1) * blocks * self.dim * columns  # B, and sums
            stages = [
                Stage(features=0.0, grams=0.0, memory=traffic, cached=0.0),
                Stage(features=worked, grams=0.0, memory=0.0, cached=cached),
            ]
        seconds = max(machine.staged(stages), self._reading(machine)) + machine.call
        seconds += SPARSE_TASK_SECONDS * self.n * self.is_sparse
        return Work(flops, seconds + self.is_made * self.entries / machine.normals)

    def _reading(self, machine: Machine) -> float:
        """Return the seconds in which X is read from disk."""
        size = self.entries * self.entry_bytes
        return reading_seconds(machine, size, size) if self.is_stored else 0.0


def sample_costs(config: FitConfig) -> SampleCosts:
    """Return the costs of the samples of a configured fit."""
    tasks = config.tasks
    if isinstance(tasks, TaskBatch):
        return _costs_of_batch(tasks, config)
    assert isinstance(tasks, LinearTasks)
    if config.engine == "law":
        return _costs_in_law(tasks, config)
    return _costs_of_sampled(tasks, config)


def _costs_of_batch(batch: TaskBatch, config: FitConfig) -> SampleCosts:
    """Return the costs of the samples of a batch, of which y is copied and X is not."""
    n, d, N = batch.n, batch.d, config.samples
    sparsity, itemsize = batch.sparsity, batch.dtype.itemsize
    held = 8 * N + 24 * n
    if batch.B_star is not None and batch.dtype != np.float64:
        held += 8 * d * config.k_star
    parts = [("samples", held)]
    if batch.on_disk:
        parts.append(("reading", int(bytes_to_read(batch, 8 * d * config.width))))
    return SampleCosts(
        n=n,
        N=N,
        dim=d,
        width=config.width,
        k_star=config.k_star,
        entries=N * (d if sparsity is None else sparsity.entries),
        entry_bytes=itemsize + (0 if sparsity is None else 4),
        parts=tuple(parts),
        opening_bytes=held,
        drawn=0.0,
        threads=config.threads,
        is_sparse=sparsity is not None,
        is_stored=batch.on_disk,
    )


def _costs_of_sampled(tasks: LinearTasks, config: FitConfig) -> SampleCosts:
    """Return the costs of samples at full size: rows that are kept, or generated in every pass."""
    n, d, m, k_star = config.n, tasks.d, config.m, tasks.k
    assert m is not None
    N = n * m
    kept = config.exchange is None and 8 * N * d <= KEPT_BYTES
    truth = 8 * d * k_star
    if kept:
        rows, opening = 8 * N * d, 8 * n * d * bool(tasks.spread)
    else:  # one block of tasks; the sums of the responses over pieces of the columns
        tasks_of_block = min(max(core.MADE_BYTES // (8 * m * d), 1), n)
        rows, opening = 8 * tasks_of_block * m * d, 16 * N * (-(-d // PIECE) + 1)
    held = truth + 8 * n * k_star + 8 * N * (2 if kept else 3) + 24 * n
    return SampleCosts(
        n=n,
        N=N,
        dim=d,
        width=config.width,
        k_star=k_star,
        entries=float(N) * d,
        entry_bytes=8,
        parts=(("samples", held), ("rows", rows)),
        opening_bytes=held + opening + (rows if kept else 0),
        drawn=float(N) * d + d * k_star,
        threads=config.threads,
        is_made=not kept,
    )


def _costs_in_law(tasks: LinearTasks, config: FitConfig) -> SampleCosts:
    """Return the costs of samples in law: packed rows of samples (36) or of averages (37)."""
    n, m, k_star = config.n, config.m, tasks.k
    assert m is not None
    N, rest = n * m, float(tasks.d - k_star)
    averages = draws_averages(tasks, config.method)
    if averages:
        count = (3 if tasks.spread and rest > 0 else 2) * n
        packed, columns = core.PackedRows.bytes(count, 0, rest), k_star + min(count, int(rest))
        held, opening = 8 * (2 * N + count * (k_star + 2)), 8 * N * (k_star + 3)
    else:
        packed = core.PackedRows.bytes(N, k_star, float(tasks.d))
        columns = k_star + min(N, int(rest))
        held, opening = 16 * N + 8 * n * k_star, 16 * N * k_star
        opening += 8 * n * columns * bool(tasks.spread)
    dim = columns + min(config.width + SPARE, tasks.d - columns)
    held += 8 * dim * k_star
    return SampleCosts(
        n=n,
        N=N,
        dim=dim,
        width=config.width,
        k_star=k_star,
        entries=packed / 8,
        entry_bytes=8,
        parts=(("samples", held), ("rows", int(packed))),
        opening_bytes=held + opening + int(packed),
        drawn=packed / 8 + N * (k_star + 1),
        threads=config.threads,
        in_law=True,
        draws_averages=averages,
    )
