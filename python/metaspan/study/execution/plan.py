r"""Plans the runs of a study that are not done: groups them into calls and jobs, in order."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from ..._support import check, signals
from ...build import version_and_level
from ...config.config import TrainConfig
from ...config.fit_config import FitConfig
from ...engines import advances_together
from ...runs.estimate import needs, usual_seconds
from ..design.cells import Cell, configure_cell
from ..design.spec import Spec
from .store import Row, RunId
from .work import Item, Job, failure_rows, to_ranges

JOB_SECONDS = 0.05  # largest expected time of a job that is made of several short items
JOB_ITEMS = 32  # most items in a job
# Largest expected time in seconds of a call of `train` with several seeds of a cell, if the call
# runs in this process.
CALL_SECONDS = 1.0
# Most seeds of a cell in one call on a device that advances its trials together.
DEVICE_SEEDS = 2**14
LONG_SECONDS = 5.0  # if a call is expected to take longer, it writes checkpoints
START_SECONDS = 1e-3  # seconds that a call of `train` takes besides its rounds


@dataclass(frozen=True, kw_only=True)
class Plan:
    r"""The work of one call of `Study.run`.

    Parameters
    ----------
    jobs : list of Job
        Jobs, the longest first. Jobs of runs that may have killed a worker come last.
    impossible : list of dict
        Rows with the status "failed", one for each run whose arguments `train` refuses.
    runs : int
        Number of runs in `jobs` and `impossible` together.
    """

    jobs: list[Job]
    impossible: list[Row]
    runs: int


def shard_of(shard: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    r"""Parse the name of a shard.

    Parameters
    ----------
    shard : str
        ``"3/64"`` is the third of 64 shards. ``"slurm"`` is the shard with the number of this
        process's task in its job array.
    environment : mapping of str to str
        Environment variables; some of them describe the job array.

    Returns
    -------
    (int, int)
        Number of the shard, starting at 1, and number of all shards.

    Raises
    ------
    TypeError, ValueError
        If `shard` has neither form, or if it is ``"slurm"`` and this process is not a task of a job
        array, or the job array has gaps.

    Examples
    --------
    >>> shard_of("3/64")
    (3, 64)
    """
    if not isinstance(shard, str):
        raise TypeError(f'shard must be a text such as "3/64"; got {check.show(shard)}')
    if shard == "slurm":
        return _read_slurm(environment)
    first, slash, second = shard.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal()):
        raise ValueError(f'shard must be "slurm" or a text such as "3/64"; got {check.show(shard)}')
    number, count = int(first), int(second)
    if not 1 <= number <= count:
        raise ValueError(
            f"shard must be from 1/{count} to {count}/{count}; got {check.show(shard)}"
        )
    return number, count


def _read_slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """Read the number of this process's task in the job array, and the number of tasks in it."""
    names = [f"SLURM_ARRAY_TASK_{word}" for word in ("ID", "MIN", "MAX", "COUNT")]
    try:
        number, least, most, count = (int(environment[name]) for name in names)
    except KeyError as error:
        raise ValueError(
            f'shard "slurm" needs a task of a job array; {error.args[0]} is not set'
        ) from None
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    # If a job array has gaps, such as 1,4-7, a task cannot compute its position in the array.
    if (most - least) // step + 1 != count:
        raise ValueError(
            f'shard "slurm" needs an array without gaps; this one has {count} of the tasks '
            f'{least}..{most}: give shard="NUMBER/COUNT" instead'
        )
    return (number - least) // step + 1, count


def make_plan(
    spec: Spec,
    cells: Sequence[Cell],
    done: Collection[RunId],
    suspects: Mapping[RunId, int],
    *,
    shard: tuple[int, int] | None,
    threads: int | None,
    in_process: bool,
    checkpoints: Path,
) -> Plan:
    r"""Plan the jobs that do the remaining runs of a study.

    Long jobs come first, so that at the end no worker is busy with a long job while the other
    workers idle. Runs that may have killed a worker come last, one by one. If `train` refuses the
    arguments of a cell, each run of the cell becomes a row with the status "failed". If `shard` is
    None and no run is done or can be planned, the first error of `train` is raised instead.

    Parameters
    ----------
    spec : Spec
        The study.
    cells : sequence of Cell
        Cells of the study.
    done : collection of (str, int)
        Runs that already have a row.
    suspects : mapping of (str, int) to int
        For each run that may have killed a worker, the number of workers that died while this run
        was alone.
    shard : (int, int) or None
        Number of this shard, starting at 1, and number of all shards. None: all runs.
    threads : int or None
        Threads of a run; None: all CPUs that the process may use.
    in_process : bool
        Whether jobs run in this process, without an executor.
    checkpoints : Path
        Folder of the checkpoints.

    Returns
    -------
    Plan
        The jobs, and the rows of the runs whose arguments `train` refuses.
    """
    mine = _select_shard(spec, cells, shard) if shard else None
    items: list[Item] = []
    impossible: list[Row] = []
    first: Exception | None = None
    for cell in cells:
        left = [
            seed
            for seed in spec.seeds
            if (cell.name, seed) not in done and (mine is None or (cell.name, seed) in mine)
        ]
        try:
            if left:
                items += _split_seeds(
                    spec,
                    cell,
                    left,
                    threads=threads,
                    in_process=in_process,
                    checkpoints=checkpoints,
                )
        except Exception as error:
            signals.reraise_signal(error)
            first = first or error
            for seeds in to_ranges(sorted(left)):
                impossible += failure_rows(_make_item(cell, seeds, 0.0), error)
    if first is not None and shard is None and not items and not done:
        raise first
    items.sort(key=lambda item: (-item.seconds, item.cell, item.seeds.start))
    suspected, others = list[Item](), list[Item]()
    for item in items:
        suspect = any((item.cell, seed) in suspects for seed in item.seeds)
        (suspected if suspect else others).append(item)

    def make_job(packed: tuple[Item, ...], alone: bool) -> Job:
        return Job(
            items=packed,
            measures=spec.measures,
            records=spec.records,
            keep=spec.keep,
            keep_rows=spec.keep_rows,
            threads=threads,
            alone=alone,
        )

    jobs = [make_job(packed, False) for packed in _pack(others)]
    singles = [_take_seed(item, seed) for item in suspected for seed in item.seeds]
    # The runs during which the fewest workers died come first. Workers may die for a reason other
    # than their run, such as a memory limit. With this order, each call then loses a different run,
    # so that no run counts as failed.
    singles.sort(key=lambda item: suspects.get((item.cell, item.seeds.start), 0))
    jobs += [make_job((item,), True) for item in singles]
    runs = len(impossible) + sum(len(item.seeds) for item in items)
    return Plan(jobs=jobs, impossible=impossible, runs=runs)


def _make_item(cell: Cell, seeds: range, seconds: float, checkpoint: str | None = None) -> Item:
    """Make an item from some of the seeds of a cell."""
    return Item(
        cell=cell.name,
        values=cell.values,
        arguments=cell.arguments,
        seeds=seeds,
        seconds=seconds,
        checkpoint=checkpoint,
    )


def _take_seed(item: Item, seed: int) -> Item:
    """Make an item of one seed of an item, with the checkpoint of the item if it has one."""
    return replace(item, seeds=range(seed, seed + 1), seconds=item.seconds / len(item.seeds))


def _select_shard(spec: Spec, cells: Iterable[Cell], shard: tuple[int, int]) -> set[RunId]:
    """Select the runs of a shard by a hash, so that each shard has runs from the whole grid."""
    keys = [(cell.name, seed) for cell in cells for seed in spec.seeds]
    keys.sort(key=lambda key: blake2b(f"{key}".encode(), digest_size=8).digest())
    number, count = shard
    return set(keys[number - 1 :: count])


def _split_seeds(
    spec: Spec,
    cell: Cell,
    seeds: Sequence[int],
    *,
    threads: int | None,
    in_process: bool,
    checkpoints: Path,
) -> list[Item]:
    r"""Distribute the seeds of a cell over calls of `train`.

    Several short runs are done as trials of one call, because the trials of a call share the
    threads and the fixed cost of the call. A long run has its own call, so that its row is written
    as soon as the run ends. On a device that advances trials together, all seeds of a cell are the
    trials of one call. The name of a checkpoint contains the version of the package and the
    instruction-set level, so that a run continues only from a checkpoint with which its results
    keep the same bits.
    """
    config = configure_cell(cell.arguments, trials=1, record=spec.records, threads=threads)
    together = not isinstance(config, FitConfig) and advances_together(config)
    seconds = _predict_seconds(config)
    at_once = max(1, int((CALL_SECONDS if in_process else JOB_SECONDS) / seconds))
    maker = version_and_level().replace(" ", "-")
    items = []
    for some in _cut(to_ranges(sorted(seeds)), DEVICE_SEEDS if together else at_once):
        # The runs of one call share the time that the call itself takes.
        total, longest = (seconds - START_SECONDS) * len(some) + START_SECONDS, seconds
        if together:
            trials = configure_cell(cell.arguments, trials=some, record=spec.records)
            total = longest = _predict_seconds(trials)
        file = checkpoints / f"{cell.name}-{some.start}-{maker}.npz"
        long = str(file) if longest > LONG_SECONDS else None
        items.append(_make_item(cell, some, total, long))
    return items


def _cut(ranges: Iterable[range], most: int) -> Iterator[range]:
    """Cut ranges into ranges of at most `most` integers."""
    for run in ranges:
        for start in range(run.start, run.stop, most):
            yield range(start, min(start + most, run.stop))


def _predict_seconds(config: TrainConfig) -> float:
    """Predict the seconds of a call of `train` or `fit` on the CPU.

    The prediction for a device would open it, but the process that plans a study may have no
    device, and processes that are forked from one with an open device cannot use it.
    """
    if isinstance(config, FitConfig):
        return usual_seconds(replace(config, device="cpu")) + START_SECONDS
    return needs(replace(config, device="cpu")).seconds + START_SECONDS


def _pack(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """Pack short items into jobs of at most JOB_ITEMS items and JOB_SECONDS expected seconds."""
    packed: list[Item] = []
    for item in items:
        if packed and (
            len(packed) >= JOB_ITEMS
            or sum(other.seconds for other in packed) + item.seconds > JOB_SECONDS
        ):
            yield tuple(packed)
            packed = []
        packed.append(item)
    if packed:
        yield tuple(packed)
