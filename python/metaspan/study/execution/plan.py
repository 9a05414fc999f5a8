r"""Plan the runs of a study that are not done: their order, and how they share calls and jobs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from ..._support import check, signals
from ...build import version_and_level
from ...runs.estimate import needs
from ..design.cells import Cell, configure_cell
from ..design.spec import Spec
from .store import Row, RunId
from .work import Item, Job, failure_rows, to_ranges

JOB_SECONDS = 0.05  # most seconds of the short items that are sent to a worker together
JOB_ITEMS = 32  # most items in a job
# Most seconds of the seeds of a cell that one call in this process runs together, on all threads.
CALL_SECONDS = 1.0
LONG_SECONDS = 5.0  # a call that is expected to take longer keeps a checkpoint
START_SECONDS = 1e-3  # seconds of a call of train besides its rounds


@dataclass(frozen=True, kw_only=True)
class Plan:
    r"""The work of one call of `Study.run`.

    Parameters
    ----------
    jobs : list of Job
        Jobs, the longest first and suspects last.
    impossible : list of dict
        Rows with the status "failed", of runs whose arguments `train` refuses.
    runs : int
        Number of runs in both.
    """

    jobs: list[Job]
    impossible: list[Row]
    runs: int


def shard_of(shard: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    r"""Parse the name of a shard.

    Parameters
    ----------
    shard : str
        ``"3/64"``, or ``"slurm"`` for the task of the job array that this process is.
    environment : mapping of str to str
        Environment variables, in which the scheduler describes the array.

    Returns
    -------
    (int, int)
        Number of the shard, starting at 1, and number of shards.

    Raises
    ------
    TypeError, ValueError
        If the text is neither, or if the process is not a task of an array without gaps.

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
    """Read the number of this task and of all tasks of the job array."""
    names = [f"SLURM_ARRAY_TASK_{word}" for word in ("ID", "MIN", "MAX", "COUNT")]
    try:
        number, least, most, count = (int(environment[name]) for name in names)
    except KeyError as error:
        raise ValueError(
            f'shard "slurm" needs a task of a job array; {error.args[0]} is not set'
        ) from None
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    # An array such as 1,4-7 leaves no rule by which its tasks share the runs evenly.
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
    r"""Plan jobs for the runs that are not done.

    Long jobs come first, so that no worker ends with one alone. Suspects of a worker's death come
    last, one by one. A cell that `train` refuses makes failed rows; raises its error only if no
    cell makes a run.

    Parameters
    ----------
    spec : Spec
        The study.
    cells : sequence of Cell
        Its cells.
    done : collection of (str, int)
        Runs that have a row.
    suspects : mapping of (str, int) to int
        Runs on which a worker may have died, with the number of deaths while the run was alone.
    shard : (int, int) or None
        Number of this shard, starting at 1, and number of shards; None: all runs.
    threads : int or None
        Threads of a run; None: all CPUs that the process may use.
    in_process : bool
        Whether jobs run in this process, without an executor.
    checkpoints : Path
        Folder of the checkpoints.

    Returns
    -------
    Plan
        The jobs, and rows of runs that cannot be done.
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
    # The fewest deaths first: if something else kills workers, such as a memory limit, it does not
    # always hit the same run, which would then count as failed.
    singles.sort(key=lambda item: suspects.get((item.cell, item.seeds.start), 0))
    jobs += [make_job((item,), True) for item in singles]
    runs = len(impossible) + sum(len(item.seeds) for item in items)
    return Plan(jobs=jobs, impossible=impossible, runs=runs)


def _make_item(cell: Cell, seeds: range, seconds: float, checkpoint: str | None = None) -> Item:
    """Make an item of seeds of a cell."""
    return Item(
        cell=cell.name,
        values=cell.values,
        arguments=cell.arguments,
        seeds=seeds,
        seconds=seconds,
        checkpoint=checkpoint,
    )


def _take_seed(item: Item, seed: int) -> Item:
    """Take one seed of an item; a long run is alone in its item, so its checkpoint fits."""
    return replace(item, seeds=range(seed, seed + 1), seconds=item.seconds / len(item.seeds))


def _select_shard(spec: Spec, cells: Iterable[Cell], shard: tuple[int, int]) -> set[RunId]:
    """Select the runs of a shard by a hash, so that no value of an axis falls to one shard."""
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
    r"""Split the seeds of a cell into calls of `train`.

    Trials of one call share its threads and its fixed cost, so that short ones run together; a long
    one has a call of its own, whose end is a row. The name of a checkpoint has the version and the
    instruction-set level: a run goes on only where its bits would be the same.
    """
    config = configure_cell(cell.arguments, trials=1, record=spec.records, threads=threads)
    seconds = needs(config).seconds + START_SECONDS
    at_once = max(1, int((CALL_SECONDS if in_process else JOB_SECONDS) / seconds))
    maker = version_and_level().replace(" ", "-")
    items = []
    for run in to_ranges(sorted(seeds)):
        for start in range(run.start, run.stop, at_once):
            some = range(start, min(start + at_once, run.stop))
            file = checkpoints / f"{cell.name}-{start}-{maker}.npz"
            long = str(file) if seconds > LONG_SECONDS else None
            items.append(_make_item(cell, some, seconds * len(some), long))
    return items


def _pack(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """Pack short items into jobs of at most JOB_SECONDS and JOB_ITEMS."""
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
