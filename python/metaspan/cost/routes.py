r"""The routes of the arrays engine: what each takes, and which one is the cheapest.

Times are those of the cost model for a batch of `n` tasks of `m_in + m_out` samples in d
dimensions. A *pass* reads a task's inner or outer set once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from .._load import core
from .._support import cpus, memory
from ..config.config import TrainConfig
from ..methods import Method, core_method
from ..tasks.batch import TaskBatch
from .machine import Machine, Price
from .sparse import SparseSweeps
from .workload import Workload, workload_of

TASK_BYTES = 12 * 2**20  # of data: smaller tasks stay in a thread's share of the last cache
CACHE_BYTES = 2**24  # data that stay in the caches from one round to the next
DOUBLE = 8  # bytes
READS_OF_COPY = 3  # of memory, that copying from the system's cache takes as long as
DISK_RATE = 1e9  # bytes a second that features on disk come at: of a common disk, not measured


def cheapest_sweep(batch: TaskBatch, method: Method, width: int, losses: bool) -> str:
    """The cheapest route of one gradient: there is nothing to save for later rounds."""
    m_in, m_out = batch.mean_sizes
    work = Workload(
        d=batch.d,
        k=width,
        k_star=0,
        n=batch.n,
        all_tasks=batch.n,
        m_in=m_in,
        m_out=m_out,
        itemsize=batch.dtype.itemsize,
        method=method,
        shared=batch.shared,
        losses=float(losses),
        geometry=0.0,
        threads=cpus.available(),
        on_disk=batch.on_disk,
        sparsity=batch.sparsity,
    )
    found = prices(work)
    return min(("vector", "gram"), key=lambda name: found[name].round)


@lru_cache(maxsize=64)
def prices(work: Workload) -> dict[str, Price]:
    """What every route takes, by name."""
    machine = Machine(work.threads)
    if work.sparsity is not None:
        sweeps = SparseSweeps(
            sparsity=work.sparsity,
            d=work.d,
            k=work.k,
            flops=machine.features,
            read=machine.read,
        )
        return {
            "gram": _sparse_gram(work, machine, sweeps),
            "vector": _vector(work, machine, sweeps),
            "dual": _dual(work, machine, sweeps),
        }
    return {
        "gram": _gram(work, machine),
        "vector": _vector(work, machine),
        "dual": _dual(work, machine),
    }


def cheapest(work: Workload, rounds: int, free: int | None = None) -> str:
    """The route that takes the least time for so many rounds, of those that memory has room for.

    `free` is the memory in bytes; None: what there is now. The number of threads does not count,
    so that the bits of a run do not depend on it.
    """
    room = memory.available_bytes() if free is None else free
    by_name = prices(replace(work, threads=cpus.available()))
    least = min(("gram", "vector"), key=lambda name: by_name[name].bytes)
    always = "vector" if work.sparsity is None else least
    fit = {
        name: price.setup + rounds * price.round
        for name, price in by_name.items()
        if name == always or room is None or price.bytes <= 0.8 * room
    }
    return min(fit, key=fit.__getitem__)


def _reading(work: Workload, machine: Machine, samples: float) -> float:
    """Seconds in which so many samples come from the disk, while the core works.

    What the memory has room for stays in the system's cache once it is read.
    """
    if not work.on_disk:
        return 0.0
    free, row = memory.available_bytes(), work.d * work.itemsize
    in_cache = free is not None and 2 * work.N * row <= free
    return samples * row / (machine.read / READS_OF_COPY if in_cache else DISK_RATE)


def geometry_seconds(work: Workload, machine: Machine) -> float:
    """Seconds of the coordinates of B at full size, and of the records made of them."""
    columns = work.k + work.k_star
    return _tall(work.geometry * work.d, work.k, columns, machine) + work.record_calls * (
        machine.threads * machine.kernel
    )


def _tall(rows: float, k: int, columns: int, machine: Machine) -> float:
    """Seconds of the factorisation of so many rows of B, with so many columns beside each other."""
    return rows * (8 * 12 * columns / machine.read + 10 * k * columns / machine.features)


def _algebra(work: Workload, machine: Machine, panels: float) -> float:
    """Seconds of the kernels of the task algebra beside their work."""
    return panels * machine.kernel * sum(core.algebra_counts(core_method(work.method), work.losses))


def _passes(work: Workload, machine: Machine, samples: float) -> float:
    """Seconds of X u and X^T r for so many dense samples."""
    data = work.data
    passed = samples * work.d * work.itemsize
    again = samples * work.d * DOUBLE  # from a cache float32 comes no faster: it is converted
    if 2 * work.d * work.itemsize > core.FAR_BYTES:  # no cache holds rows until they are used again
        passed, again = 2 * passed, 2 * again
    if data <= CACHE_BYTES:
        from_memory = 0.0
    elif data / work.n <= TASK_BYTES:
        from_memory = min(data, passed)  # later passes find the task in the cache
    else:
        from_memory = passed
    # Every row is met twice, X u and X^T r; what is read from memory, once from there.
    return from_memory / machine.read + again * (1 - from_memory / passed / 2) / machine.cached


def _vector(work: Workload, machine: Machine, sweeps: SparseSweeps | None = None) -> Price:
    inner = work.steps * (2 if work.exact else 1) + work.losses  # passes over an inner set
    samples = inner * work.samples_in + work.samples_out
    if sweeps is None:
        seconds, numbers = _passes(work, machine, samples), float(work.d)
    else:
        seconds, numbers = sweeps.passes(samples), sweeps.sparsity.entries
    # Vectors of length d of a task: u and X^T r are written once and read a few times a pass.
    passes = (inner + 1) * work.n
    vectors = 8.0 * passes * work.d * 6
    B_t = 8.0 * work.d * work.k
    from_cache = core.PANEL_TASKS * 8 * work.d * 3 < CACHE_BYTES
    seconds += vectors / (machine.cached if from_cache else machine.read)
    seconds += (2 * passes / core.PANEL_TASKS + 3) * B_t / machine.read
    of_B = (4.0 * passes + 2 * work.n * work.needs["terms"]) * work.d * work.k
    flops = 4.0 * samples * numbers + of_B
    seconds += flops / machine.features / 4 if sweeps is None else sweeps.vectors(of_B)
    held = core.vector_bytes(core_method(work.method), work.sizes, work.threads)
    panels = math.ceil(work.n / core.PANEL_TASKS)
    return Price(
        setup=0.0,
        round=max(seconds, _reading(work, machine, work.samples))
        + machine.call
        + work.n * machine.task
        + _algebra(work, machine, panels)
        + geometry_seconds(work, machine),
        flops=flops,
        bytes=int(held),
    )


def _gram(work: Workload, machine: Machine) -> Price:
    samples = work.samples
    columns = 8 * math.ceil(work.k / 8)
    K = work.needs["gram"] or (work.moves_B and work.losses > 0)
    gram = (
        work.d
        * work.m_in
        * (
            (2.0 * work.samples_in if K or work.shared else 0.0)
            + (2.0 * work.samples_out if work.moves_B and not work.shared else 0.0)
        )
    )
    if not work.moves_B:
        gram = 0.0
    features = 2.0 * samples * work.d * columns
    rate = machine.cached if work.data <= CACHE_BYTES else machine.read
    data = float(samples) * work.d * DOUBLE  # float32 is converted, which takes as long
    first = max(data / rate, features / machine.features + gram / machine.grams)
    terms = min(2 * work.steps, work.k) if work.exact else 0
    second = work.samples_out + (work.samples_in if work.exact else 0)
    flops = 2.0 * work.d * (work.samples_out + terms * work.samples_in)
    last = max(second * work.d * DOUBLE / rate, flops / machine.features)
    held = 8.0 * samples * (2 * columns + work.k)
    held += 8 * samples * work.m_in * work.moves_B
    return Price(
        setup=0.0,
        round=max(first + last, _reading(work, machine, work.samples))
        + machine.call
        + work.n * machine.task / 2
        + _algebra(work, machine, work.n)
        + geometry_seconds(work, machine),
        flops=features + gram + flops,
        bytes=int(held),
    )


def _sparse_gram(work: Workload, machine: Machine, sweeps: SparseSweeps) -> Price:
    samples, combined = work.samples, work.samples_out + work.exact * work.samples_in
    sides = [(work.samples_out, work.m_out, 1)]
    if work.exact:
        sides.append((work.samples_in, work.m_in, 2 * work.steps))
    seconds = sweeps.features(samples) + sweeps.gradient()
    seconds += sum(sweeps.combined(*side) for side in sides)
    if work.moves_B:
        pairs = work.samples_out + work.samples_in * (work.needs["gram"] or work.losses > 0) / 2
        seconds += work.n * sweeps.products(work.m_in, pairs / work.n)
        seconds += sweeps.table(pairs * work.m_in)
    held = 8.0 * samples * (sweeps.columns + work.m_in * work.moves_B)
    held += sum(sweeps.combined_bytes(*side) for side in sides)
    vectors = any(sweeps.by_terms(m, terms) for _, m, terms in sides)
    held += sweeps.block_bytes(work.threads * work.moves_B, vectors)
    return Price(
        setup=0.0,
        round=seconds
        + machine.call
        + work.n * machine.task / 2
        + _algebra(work, machine, work.n)
        + geometry_seconds(work, machine),
        flops=2.0 * sweeps.sparsity.entries * work.k * (samples + combined),
        bytes=int(held),
    )


def _dual(work: Workload, machine: Machine, sweeps: SparseSweeps | None = None) -> Price:
    N, active = float(work.N), float(work.active)
    inner = 0.0 if work.exact or work.shared else float(work.all_in)
    pairs = N * N - inner * inner  # both triangles, of which one is computed
    data = N * work.d * work.itemsize
    setup = max(pairs * work.d / machine.grams, data / machine.read)
    columns = 8 * math.ceil(work.k / 8)
    # X B_0, what the coordinates take, and B in the end: a pass each, and the Gram matrix one.
    passes = 2 + (2 if work.geometry else 0)
    setup += passes * max(data / machine.read, 2 * N * work.d * columns / machine.features)
    setup += (1 + passes) * _reading(work, machine, N)
    if sweeps is not None:
        setup = sweeps.features(N) + sweeps.products(N, N) / 2 * pairs / (N * N)
        setup += sweeps.table(N * N) + sweeps.gradient()
    rows = work.samples
    table = 8.0 * rows * active
    seconds = max(
        2.0 * rows * active * columns / machine.features,
        table / (machine.cached if table <= 2 * CACHE_BYTES else machine.read),
    )
    held = 8 * N * N + 8 * 3 * N * columns
    held += 8 * N * 512 if sweeps is None else sweeps.block_bytes(work.threads, False)
    if work.geometry:
        setup += active**3 / 3 / machine.grams * work.threads
        # The factor, and what it is made from; there is none for samples that must be dependent.
        held += (16 if active + work.k + work.k_star <= work.d else 8) * active * active
        seconds += work.geometry * active * active * columns / machine.features
        seconds += _tall(work.geometry * active, work.k, work.k, machine)
        seconds += work.record_calls * machine.kernel * machine.threads
    per_task = _algebra(work, machine, work.n)
    per_task += work.n * (machine.task / 2 + 2.0 * rows / work.n * work.k / machine.features)
    if work.moves_B:
        per_task += 6.0 * (work.steps + 1) * rows * (rows / work.n) / machine.features
    return Price(
        setup=setup,
        round=seconds + per_task + machine.call,
        flops=2.0 * rows * active * work.k,
        bytes=int(held),
    )


def chosen_route(config: TrainConfig) -> str | None:
    """How the arrays engine will compute rounds: as asked, or the cheapest way."""
    if config.route != "auto":
        return config.route
    if config.accumulate == "float32":
        return "vector"
    return cheapest(workload_of(config), config.rounds)
