r"""Opens the samples of a fit: arrays, samples that are generated, or samples in law."""

from __future__ import annotations

from ..sharding.columns import Columns
from ..solved_methods import AltGDmin
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from .estimator import Estimator
from .names import algorithm_of
from .on_arrays import ArraySamples
from .samples import Samples

SPARE = 10  # columns of normal numbers that an estimator may draw beyond the width
KEPT_BYTES = 1 << 28  # the most bytes of rows that are generated once and kept


def open_samples(
    engine: str,
    tasks: LinearTasks | TaskBatch,
    estimator: Estimator | AltGDmin,
    *,
    counts: tuple[int, int | None],
    width: int,
    seed: int,
    trial: int,
    threads: int,
    device: str = "cpu",
    columns: Columns | None = None,
) -> Samples:
    r"""Open the samples of one trial.

    Parameters
    ----------
    engine : {"arrays", "sampled", "law"}
        Where the samples come from. "sampled" keeps the rows if they have at most 256 MiB and one
        process has all of their columns; otherwise every product generates them again.
    tasks : LinearTasks or TaskBatch
        The source of the tasks.
    estimator : estimator
        The estimator. For an estimator of averages, the engine "law" draws averages instead of
        samples.
    counts : (int, int or None)
        Number of tasks, and samples per task; a batch has its own.
    width : int
        Number of columns of the representation.
    seed, trial : int
        Keys of the random numbers.
    threads : int
        Number of threads.
    device : {"cpu", "cuda"}
        The device that computes the products with the samples.
    columns : Columns or None
        The columns of X that this rank generates for the engine "sampled"; None: all. A batch has
        its own.

    Returns
    -------
    Samples
        The samples.

    Raises
    ------
    ValueError
        If the engine cannot draw these samples.
    MemoryError
        If the samples do not fit into memory; this is checked before they are allocated.
    """
    if isinstance(tasks, TaskBatch):
        return open_arrays(tasks, seed, trial, threads, device)
    n, m = counts
    assert m is not None
    if engine == "sampled":
        # Generating a row takes longer than reading it, and an estimator may use each row a
        # thousand times.
        if columns is None and 8 * n * m * tasks.d <= KEPT_BYTES:
            drawn = tasks.sample(n, m, seed=seed, trial=trial, shared_samples=True, threads=threads)
            return open_arrays(drawn, seed, trial, threads, device)
        if device != "cpu":
            raise ValueError(
                f"device must be 'cpu' for rows of more than {KEPT_BYTES >> 20} MiB, which every "
                f"pass generates again; got {device!r}"
            )
        from .sampled import SampledSamples  # noqa: PLC0415

        return SampledSamples(tasks, n, m, seed, trial, threads, columns)
    from .in_law import LawSamples  # noqa: PLC0415

    return LawSamples(
        tasks,
        n,
        m,
        seed,
        trial,
        threads,
        spare=width + SPARE,
        averages_only=algorithm_of(estimator).uses_averages,
    )


def open_arrays(batch: TaskBatch, seed: int, trial: int, threads: int, device: str) -> ArraySamples:
    """Open the samples of a batch for products on a device."""
    if device == "cpu":
        return ArraySamples(batch, seed, trial, threads)
    from .on_device import DeviceSamples  # noqa: PLC0415

    return DeviceSamples(batch, seed, trial, threads)
