r"""The configuration of a training run, with the properties of each of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from .._load import core
from ..methods import Method, state_columns
from ..parameters import count_inner
from ..sharding.columns import Columns
from ..sharding.exchange import Exchange
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from ..tasks.summary import BatchSummary
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
    r"""Declare a field of `TrainConfig` and the properties of the argument of that name.

    Parameters
    ----------
    default : object
        Default of the argument. The field has no default, since it holds the resolved value.
    resumable : bool
        Whether a run that continues from a checkpoint may change the value.
    in_studies : bool
        Whether a study accepts the argument in `base` and `grid`.
    is_word : bool
        Whether the argument accepts words. If it does not, a study evaluates strings given for it
        as expressions.
    is_count : bool
        Whether the argument is a count. A study converts a float such as 3.0 to an integer for it.
    """
    properties = dict(default=default, resumable=resumable, in_studies=in_studies)
    return field(metadata=properties | dict(is_word=is_word, is_count=is_count))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    r"""The configuration of a run: the arguments of `train`, checked and resolved.

    `train` describes the arguments; the fields differ from them as follows.

    Parameters
    ----------
    tasks : LinearTasks, TaskBatch or BatchSummary
        The source of the tasks. A result that was loaded from a file has a `BatchSummary` in place
        of a `TaskBatch`.
    method : ANIL, MAML or another method
        The method as an object, even if it was passed by name.
    rounds, width, record_every, seed, threads : int
        The numbers that the run uses, even where `width` or `threads` was passed as None.
    n : int or None
        Tasks per round; for a batch the default is all its tasks. None: infinitely many.
    m_in, m_out, pool : int or None
        As passed; `m_out` equals `m_in` if only `m_in` was passed for shared samples. All three are
        None for a batch.
    d_over_n : float or None
        Dimensions per task in the limit of infinitely many tasks; None for a finite `n`.
    init : Init or (ndarray, ndarray)
        The distribution of the start, or the arrays ``(B0, w0)``.
    engine, device : str
        The engine that computes the rounds, and the device on which it runs.
    route : str or None
        The route by which rounds on stored data are computed: "gram", "vector" or "dual" ("auto"
        before the run). None if the engine has no routes.
    accumulate : str
        Dtype of the accumulators of sums over float32 data: "float64" or "float32".
    shared_samples, track_start : bool
        As passed.
    trials : range
        Numbers of the trials.
    dtype : str
        Dtype of a `B` of full size: "float64" or "float32".
    record : tuple of str
        Names of the records.
    stop : Stop or None
        As passed.
    checkpoint : Checkpoint or None
        The file and the seconds between writes.
    progress : bool or callable
        As passed, except that in a result False replaces a function.
    on_failure : str
        As passed.
    comm : mpi4py.MPI.Intracomm or None
        The communicator, even if only the batch in `tasks` had it.
    """

    tasks: LinearTasks | TaskBatch | BatchSummary
    method: Method
    rounds: int = setting(1000, resumable=True, is_count=True)
    n: int | None = setting(DEFAULT_N, is_count=True)
    m_in: int | None = setting(None, is_count=True)
    m_out: int | None = setting(None, is_count=True)
    d_over_n: float | None = setting(None)
    width: int = setting(None, is_count=True)
    init: Init | GivenStart = setting(None, is_word=True)
    engine: str = setting("auto", is_word=True)
    route: str | None = setting("auto", resumable=True, is_word=True)
    accumulate: str = setting("float64", is_word=True)
    pool: int | None = setting(None, is_count=True)
    shared_samples: bool = setting(False)
    track_start: bool = setting(False)
    seed: int = setting(0, is_count=True)
    trials: range = setting(1, in_studies=False)
    threads: int = setting(None, resumable=True, in_studies=False)
    device: str = setting("cpu", resumable=True, is_word=True)
    dtype: str = setting(None, is_word=True)
    record: tuple[str, ...] = setting(None, in_studies=False)
    record_every: int = setting(1, is_count=True)
    stop: Stop | None = setting(DEFAULT_STOP, resumable=True)
    checkpoint: Checkpoint | None = setting(None, resumable=True, in_studies=False)
    progress: bool | Callable[[int, int], object] = setting(False, resumable=True, in_studies=False)
    on_failure: str = setting("return", in_studies=False)
    comm: Any = setting(None, resumable=True, in_studies=False)

    def __post_init__(self) -> None:
        if isinstance(self.init, tuple) and len(self.init) == 2:  # files hold plain pairs
            object.__setattr__(self, "init", GivenStart(*self.init))

    @property
    def k_star(self) -> int:
        """Rank of the ground truth; 0 if the ground truth is unknown (a batch without `B_star`)."""
        return self.tasks.k

    @cached_property
    def layout(self) -> Layout:
        """Sizes and shapes that the configuration determines."""
        return layout_of(self)

    @cached_property
    def shard(self) -> Columns | None:
        """The columns of X, and rows of B, that this rank holds; None for a run of one process."""
        if self.comm is None:
            return None
        if isinstance(self.tasks, TaskBatch):
            return self.tasks._columns
        return Columns(self.tasks.d, Exchange(self.comm))

    @property
    def exchange(self) -> Exchange | None:
        """The exchange between the ranks; None for a run of one process."""
        return None if self.shard is None else self.shard.exchange

    @property
    def core_shard(self) -> core.Shard | None:
        """The columns of this rank for calls of the core."""
        return None if self.shard is None else self.shard.core

    @property
    def is_root(self) -> bool:
        """Whether this process shows progress and issues warnings: all do but ranks above 0."""
        return self.shard is None or self.shard.is_root

    @property
    def rows(self) -> int:
        """Number of rows of a B of full size that this process holds."""
        return self.layout.features if self.shard is None else self.shard.size

    @property
    def columns(self) -> int:
        """Number of columns of the core's state, which is [A, B] for linear attention."""
        return state_columns(self.method, self.width)

    @property
    def n_tasks(self) -> int:
        """Tasks per round; requires that this number is finite."""
        assert self.n is not None
        return self.n

    @property
    def drawn_tasks(self) -> LinearTasks:
        """The distribution of the tasks; requires that the run is not on a batch."""
        assert isinstance(self.tasks, LinearTasks)
        return self.tasks

    @property
    def measures_distance(self) -> bool:
        """Whether the records or the stop rule use the angles to the ground truth."""
        stops = self.stop is not None and bool(self.stop.dist) and self.k_star > 0
        return stops or "dist" in self.record or "angles" in self.record

    @property
    def inner_samples(self) -> int | None:
        """Samples of all local steps of a task together; None: infinitely many, or a batch."""
        return None if self.m_in is None else count_inner(self.method, self.m_in)

    @property
    def outer_samples(self) -> int | None:
        """Samples in the outer set of a task, which may be those of the inner set."""
        return self.inner_samples if self.shared_samples else self.m_out

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Tasks of a pool, and inner and outer samples per task; requires finite samples."""
        assert self.pool is not None
        m_in, m_out = self.inner_samples, self.outer_samples
        assert m_in is not None
        assert m_out is not None
        return self.pool, m_in, m_out


def settings(name: str) -> tuple[str, ...]:
    """Return the names of the arguments that have a property declared by `setting`."""
    return tuple(field.name for field in fields(TrainConfig) if field.metadata.get(name))
