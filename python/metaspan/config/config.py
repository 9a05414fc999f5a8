r"""The record of a training run, with what each of its arguments may do elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from ..methods import Method
from ..tasks.batch import BatchSummary, TaskBatch
from ..tasks.linear import LinearTasks
from .counts import DEFAULT_N
from .layout import Layout, layout_of
from .options import DEFAULT_STOP, Checkpoint, Init, Stop
from .start import GivenStart


def setting(
    default: Any,
    *,
    resumable: bool = False,
    in_studies: bool = True,
    is_word: bool = False,
    is_count: bool = False,
) -> Any:
    r"""Declare a field of `TrainConfig`, and what the argument of that name may do elsewhere.

    Parameters
    ----------
    default : object
        Default of the argument; the field itself has none, since it holds what became of it.
    resumable : bool
        Whether a run that goes on from a checkpoint may have another value.
    in_studies : bool
        Whether studies take it by name.
    is_word : bool
        Whether its values may be words: a study takes other strings for expressions.
    is_count : bool
        Whether it counts something: a study turns a whole float into an integer.
    """
    told = dict(default=default, resumable=resumable, in_studies=in_studies)
    return field(metadata=told | dict(is_word=is_word, is_count=is_count))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    r"""What ran: the arguments of `train`, checked and resolved.

    Parameters
    ----------
    tasks : LinearTasks, TaskBatch or BatchSummary
        Where the tasks come from; of a batch, a file keeps a summary.
    method : ANIL, MAML or AverageRisk
        The method.
    rounds, width, record_every, seed, threads : int
        Numbers, where `train` also takes None for ``tasks.k`` or all CPUs.
    n : int or None
        Tasks a round; None for infinitely many.
    m_in, m_out, pool : int or None
        As given.
    init : Init or (ndarray, ndarray)
        The start by its law, or the arrays ``(B0, w0)``.
    engine, device : str
        What ran, and where.
    route : str or None
        How the arrays engine computed a round: "gram", "vector" or "dual".
    accumulate : str
        In what sums over float32 data were taken.
    shared_samples, track_start : bool
        As given.
    trials : range
        Numbers of the trials.
    dtype : str
        Of a full-size `B`.
    record : tuple of str
        Names of the records.
    stop : Stop or None
        As given.
    checkpoint : Checkpoint or None
        The file, and how often it is written.
    progress : bool or callable
        As given; in a result, a function has become False.
    on_failure : str
        As given.
    """

    tasks: LinearTasks | TaskBatch | BatchSummary
    method: Method
    rounds: int = setting(1000, resumable=True, is_count=True)
    n: int | None = setting(DEFAULT_N, is_count=True)
    m_in: int | None = setting(None, is_count=True)
    m_out: int | None = setting(None, is_count=True)
    width: int = setting(None, is_count=True)
    init: Init | GivenStart = setting("random", is_word=True)
    engine: str = setting("auto", is_word=True)
    route: str | None = setting("auto", resumable=True, is_word=True)
    accumulate: str = setting("float64", is_word=True)
    pool: int | None = setting(None, is_count=True)
    shared_samples: bool = setting(False)
    track_start: bool = setting(False)
    seed: int = setting(0, is_count=True)
    trials: range = setting(1, in_studies=False)
    threads: int = setting(None, resumable=True, in_studies=False)
    device: str = setting("cpu", is_word=True)
    dtype: str = setting(None, is_word=True)
    record: tuple[str, ...] = setting(None, in_studies=False)
    record_every: int = setting(1, is_count=True)
    stop: Stop | None = setting(DEFAULT_STOP, resumable=True)
    checkpoint: Checkpoint | None = setting(None, resumable=True, in_studies=False)
    progress: bool | Callable[[int, int], object] = setting(False, resumable=True, in_studies=False)
    on_failure: str = setting("return", in_studies=False)

    def __post_init__(self) -> None:
        if isinstance(self.init, tuple) and len(self.init) == 2:  # a plain pair comes from a file
            object.__setattr__(self, "init", GivenStart(*self.init))

    @property
    def k_star(self) -> int:
        """Rank of the ground truth; 0 where it is not known."""
        return self.tasks.k

    @cached_property
    def layout(self) -> Layout:
        """Sizes and shapes that follow from the configuration."""
        return layout_of(self)

    @property
    def n_tasks(self) -> int:
        """Tasks a round, where there are finitely many."""
        assert self.n is not None
        return self.n

    @property
    def drawn_tasks(self) -> LinearTasks:
        """The tasks, where they are drawn from laws."""
        assert isinstance(self.tasks, LinearTasks)
        return self.tasks

    @property
    def measures_distance(self) -> bool:
        """Whether rows or the stop rule look at the angles to the ground truth."""
        stops = self.stop is not None and bool(self.stop.dist) and self.k_star > 0
        return stops or "dist" in self.record or "angles" in self.record

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Tasks and samples a task, inner and outer, of a pool with data."""
        assert self.pool is not None
        assert self.m_in is not None
        assert self.m_out is not None
        return self.pool, self.m_in, self.m_out


def settings(name: str) -> tuple[str, ...]:
    """Names of the arguments of which a property of `setting` holds."""
    return tuple(each.name for each in fields(TrainConfig) if each.metadata.get(name))
