r"""The configuration of a fit: the arguments of `fit`, checked and resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from .config import TrainConfig
from .layout import Layout
from .options import Init

if TYPE_CHECKING:
    from ..estimators.estimator import Estimator
    from ..solved_methods import AltGDmin


@dataclass(frozen=True, kw_only=True)
class FitConfig(TrainConfig):
    r"""The configuration of a fit: the arguments of `fit`, checked and resolved.

    Parameters
    ----------
    tasks : LinearTasks, TaskBatch or BatchSummary
        The source of the tasks. A result that was loaded from a file has a `BatchSummary` in place
        of a `TaskBatch`.
    method : Moments, AltMin, another estimator, or AltGDmin
        The estimator as an object, even if it was passed by name.
    rounds : int or None
        The most iterations of the estimator; None: the estimator's own limit.
    n : int
        Number of tasks.
    m_in : int or None
        Samples per task, the argument `m` of `fit`; None for a batch, whose data determine them.
    width, seed, threads : int
        The numbers that the fit uses, even if `width` or `threads` was passed as None.
    engine : str
        Where the samples come from: "arrays" for a batch; "law" or "sampled" for tasks from a
        distribution.
    trials : range
        Numbers of the trials.
    record : tuple of str
        Names of the records.
    stop : Stop or None
        As passed.
    progress : bool or callable
        As passed, except that in a result False replaces a function.
    on_failure : str
        As passed.
    m_out, d_over_n, init, route, accumulate, pool, shared_samples : object
        Fixed values of fields of `TrainConfig` that have no meaning for a fit.
    device : str
        The device that computes the products with the samples.
    track_start, dtype, record_every, checkpoint : object
        As `init`; `dtype` is that of `B`, float64.
    comm : mpi4py.MPI.Intracomm or None
        The communicator, even if only the batch in `tasks` had it.
    """

    method: Estimator | AltGDmin  # type: ignore[assignment]
    rounds: int | None  # type: ignore[assignment]
    n: int
    m_in: int | None
    m_out: None = field(default=None, init=False, repr=False)
    d_over_n: None = field(default=None, init=False, repr=False)
    init: Init = field(default=Init(), init=False, repr=False)
    route: None = field(default=None, init=False, repr=False)
    accumulate: str = field(default="float64", init=False, repr=False)
    pool: None = field(default=None, init=False, repr=False)
    shared_samples: bool = field(default=False, init=False, repr=False)
    track_start: bool = field(default=False, init=False, repr=False)
    dtype: str = field(default="float64", init=False, repr=False)
    record_every: int = field(default=1, init=False, repr=False)
    checkpoint: None = field(default=None, init=False, repr=False)

    @property
    def m(self) -> int | None:
        """Samples per task; None for a batch, whose data determine them."""
        return self.m_in

    @property
    def samples(self) -> int:
        """Number of the samples of all tasks."""
        if self.m_in is not None:
            return self.n * self.m_in
        tasks = self.tasks
        assert not isinstance(tasks, LinearTasks)
        shared = isinstance(tasks, TaskBatch) and tasks.shared
        sizes = (tasks.m_in,) if shared else (tasks.m_in, tasks.m_out)
        return sum(sum(m) if isinstance(m, tuple) else tasks.n * m for m in sizes)

    @cached_property
    def layout(self) -> Layout:
        """Sizes and shapes of the representation."""
        d = self.tasks.d
        angles = min(self.width, self.k_star)
        names = [[name] * (angles if name == "angles" else 1) for name in self.record]
        height = min(self.width, d - self.k_star)
        return Layout(
            engine=self.engine,
            D=self.k_star + height,
            features=d,
            height=height,
            columns=tuple(name for each in names for name in each),
            full_size=self.engine != "law",
            follows_start=False,
            calls_heads=False,
        )
