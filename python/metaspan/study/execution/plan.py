r"""What is left of a study, in the order in which it is done."""

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
from .store import Key, Row
from .work import Item, Job, failure_rows, runs_of

JOB_SECONDS = 0.05  # of short runs that go to a worker together
JOB_ITEMS = 32
CALL_SECONDS = 1.0  # of the seeds of a cell that run in one call, here, on all threads
LONG_SECONDS = 5.0  # a run that is expected to take longer has a checkpoint of its own
START_SECONDS = 1e-3  # of a call of train, beside its rounds


@dataclass(frozen=True, kw_only=True)
class Plan:
    r"""The work of a call.

    Parameters
    ----------
    jobs : list of Job
        Longest first.
    impossible : list of dict
        Rows of runs whose values do not make one.
    runs : int
        How many runs both hold.
    """

    jobs: list[Job]
    impossible: list[Row]
    runs: int


def shard_of(shard: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    r"""Number of a shard, from 1, and of how many.

    Parameters
    ----------
    shard : str
        ``"3/64"``, or ``"slurm"`` for the task of a job array that this process is.
    environment : mapping of str to str
        Where the scheduler says so.

    Returns
    -------
    (int, int)
        The number, and of how many.

    Raises
    ------
    TypeError, ValueError
        If the text is neither, or the process is no task of an array without gaps.

    Examples
    --------
    >>> shard_of("3/64")
    (3, 64)
    """
    if not isinstance(shard, str):
        raise TypeError(f'shard must be a text such as "3/64"; got {check.show(shard)}')
    if shard == "slurm":
        return _slurm(environment)
    first, slash, second = shard.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal()):
        raise ValueError(f'shard must be "slurm" or a text such as "3/64"; got {check.show(shard)}')
    number, count = int(first), int(second)
    if not 1 <= number <= count:
        raise ValueError(
            f"shard must be from 1/{count} to {count}/{count}; got {check.show(shard)}"
        )
    return number, count


def _slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    names = [f"SLURM_ARRAY_TASK_{word}" for word in ("ID", "MIN", "MAX", "COUNT")]
    try:
        at, least, most, count = (int(environment[name]) for name in names)
    except KeyError as error:
        raise ValueError(
            f'shard "slurm" needs a task of a job array; {error.args[0]} is not set'
        ) from None
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    if (most - least) // step + 1 != count:
        raise ValueError(
            f'shard "slurm" needs an array without gaps; this one has {count} of the tasks '
            f'{least}..{most}: give shard="NUMBER/COUNT" instead'
        )
    return (at - least) // step + 1, count


def make_plan(
    spec: Spec,
    cells: Sequence[Cell],
    done: Collection[Key],
    suspects: Mapping[Key, int],
    *,
    shard: tuple[int, int] | None,
    threads: int | None,
    together: bool,
    checkpoints: Path,
) -> Plan:
    """Jobs for the runs that are not done, suspects of a worker's death last and one by one.

    Raises if no cell at all makes a run.
    """
    mine = _dealt(spec, cells, shard) if shard else None
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
                items += _items(
                    spec,
                    cell,
                    left,
                    threads=threads,
                    together=together,
                    checkpoints=checkpoints,
                )
        except Exception as error:
            signals.reraise_signal(error)
            first = first or error
            for seeds in runs_of(sorted(left)):
                impossible += failure_rows(_item(cell, seeds, 0.0), error)
    if first is not None and shard is None and not items and not done:
        raise first
    items.sort(key=lambda item: (-item.seconds, item.cell, item.seeds.start))
    under, clear = list[Item](), list[Item]()
    for item in items:
        suspect = any((item.cell, seed) in suspects for seed in item.seeds)
        (under if suspect else clear).append(item)

    def job(together: tuple[Item, ...], alone: bool) -> Job:
        return Job(
            items=together,
            measures=spec.measures,
            records=spec.records,
            keep=spec.keep,
            keep_rows=spec.keep_rows,
            threads=threads,
            alone=alone,
        )

    jobs = [job(together, False) for together in _together(clear)]
    singles = [_only(item, seed) for item in under for seed in item.seeds]
    # A killer from elsewhere, which takes whoever is there, does not meet the same one each time.
    singles.sort(key=lambda item: suspects.get((item.cell, item.seeds.start), 0))
    jobs += [job((item,), True) for item in singles]
    runs = len(impossible) + sum(len(item.seeds) for item in items)
    return Plan(jobs=jobs, impossible=impossible, runs=runs)


def _item(cell: Cell, seeds: range, seconds: float, checkpoint: str | None = None) -> Item:
    return Item(
        cell=cell.name,
        values=cell.values,
        arguments=cell.arguments,
        seeds=seeds,
        seconds=seconds,
        checkpoint=checkpoint,
    )


def _only(item: Item, seed: int) -> Item:
    """One run of an item; its checkpoint is its own already, where it has one."""
    return replace(item, seeds=range(seed, seed + 1), seconds=item.seconds / len(item.seeds))


def _dealt(spec: Spec, cells: Iterable[Cell], shard: tuple[int, int]) -> set[Key]:
    """Runs of a shard: the order is a hash's, so that no axis of the grid falls to one shard."""
    keys = [(cell.name, seed) for cell in cells for seed in spec.seeds]
    keys.sort(key=lambda key: blake2b(f"{key}".encode(), digest_size=8).digest())
    number, count = shard
    return set(keys[number - 1 :: count])


def _items(
    spec: Spec,
    cell: Cell,
    seeds: Sequence[int],
    *,
    threads: int | None,
    together: bool,
    checkpoints: Path,
) -> list[Item]:
    """Seeds of a cell, as many in a call as are done soon, each in its own where that is long."""
    config = configure_cell(cell.arguments, trials=1, record=spec.records, threads=threads)
    seconds = needs(config).seconds + START_SECONDS
    at_once = max(1, int((CALL_SECONDS if together else JOB_SECONDS) / seconds))
    maker = version_and_level().replace(" ", "-")
    found = []
    for run in runs_of(sorted(seeds)):
        for start in range(run.start, run.stop, at_once):
            some = range(start, min(start + at_once, run.stop))
            file = checkpoints / f"{cell.name}-{start}-{maker}.npz"
            long = str(file) if seconds > LONG_SECONDS else None
            found.append(_item(cell, some, seconds * len(some), long))
    return found


def _together(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """Short items in groups that are worth sending."""
    group: list[Item] = []
    for item in items:
        if group and (
            len(group) >= JOB_ITEMS or sum(i.seconds for i in group) + item.seconds > JOB_SECONDS
        ):
            yield tuple(group)
            group = []
        group.append(item)
    if group:
        yield tuple(group)
