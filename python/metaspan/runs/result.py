r"""What a training run gives back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, memory
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.counts import round_text
from ..config.options import Init
from ..engines import engine_of
from ..engines.starts import given_coordinates
from ..engines.trials import Trials
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from .outcome import Outcome, Status

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class Trace(dict[str, NDArray[Any]]):
    """A dict of records that says which there are where one is asked for that there is not."""

    def __missing__(self, name: object) -> NDArray[Any]:
        """Raise KeyError with a sentence."""
        there = check.words((str(key) for key in self), "and")
        raise KeyError(
            f"{check.show(name)} was not recorded; this run has {there}: "
            "name it in record= of train"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    r"""Trace, state and status of a training run.

    Arrays have a leading axis of trials where the run has more than one.

    Parameters
    ----------
    config : TrainConfig
        What ran.
    trace : mapping of str to ndarray
        ``trace["round"]`` of shape (rows,), and (trials, rows) for every record; ``"angles"`` has
        one more axis, radians, largest first. Rows after a trial's end are NaN. Losses are those
        of the tasks that the run trains on, not of new ones.
    parts : mapping of str to ndarray
        The state at the end: coordinates ``"M"``, ``"R"``, ``"w"``, or, where `B` is an array of
        the run's own, ``"B"`` and ``"w"``.
    status : Outcome or tuple of Outcome
        How the trial, or every trial, ended.
    timings : mapping of str to float
        Seconds of this call: ``"prepare"``, ``"run"`` and ``"total"``.
    """

    config: TrainConfig
    trace: Mapping[str, NDArray[Any]]
    parts: Mapping[str, NDArray[Any]]
    status: Outcome | tuple[Outcome, ...]
    timings: Mapping[str, float]

    def __post_init__(self) -> None:
        if isinstance(self.trace, Mapping):
            object.__setattr__(self, "trace", Trace(self.trace))

    @property
    def w(self) -> F64:
        """Head at the end, (k,) or (trials, k)."""
        return self.parts["w"]

    @cached_property
    def B(self) -> NDArray[Any] | None:
        """Full-size representation at the end where the run has one; None otherwise.

        A run on arrays has; one in coordinates has if its start was given at full size and is
        followed, and then computes it when first asked, from the start's own arrays: they must not
        have changed.
        """
        if "B" in self.parts:
            return self.parts["B"]
        config = self.config
        given = not isinstance(config.init, Init)
        return self.full_B() if given and config.layout.follows_start else None

    @cached_property
    def state(self) -> tuple[F64, F64, F64]:
        """Coordinates at the end: ``M`` (k_star, k), ``R`` (e, k) and ``w`` (k,).

        ``B = B_star M + E R``, (13). Those of a run on arrays are computed when first asked for; E
        is then some basis of what `B` has off `B_star`, and M is empty without a `B_star`.
        """
        if "M" in self.parts:
            return self.parts["M"], self.parts["R"], self.w
        one = len(self.config.trials) == 1
        stack = self.parts["B"][None] if one else self.parts["B"]
        found = [self._coordinates(B, i) for i, B in enumerate(stack)]
        height = max(len(R) for _, R in found)
        M = np.stack([M for M, _ in found])
        R = np.stack([np.pad(R, ((0, height - len(R)), (0, 0))) for _, R in found])
        return (M[0], R[0], self.w) if one else (M, R, self.w)

    def _coordinates(self, B: NDArray[Any], place: int) -> tuple[F64, F64]:
        """M and R of a representation at full size."""
        config, tasks = self.config, self.config.tasks
        if isinstance(tasks, LinearTasks):
            B_star = tasks.ground_truth(config.seed, config.trials[place], config.threads)
        elif tasks.k and isinstance(tasks, TaskBatch):
            assert tasks.B_star is not None
            B_star = tasks.B_star
        elif tasks.k:
            raise ValueError("the coordinates of B need B_star, which a file does not hold")
        else:
            return np.empty((0, B.shape[1])), core.r_factor(B, config.threads)
        M, R, _ = core.coordinates(B, B_star.astype(B.dtype, copy=False), config.threads)
        return M, R

    def full_B(self, trial: int | None = None) -> NDArray[Any]:
        r"""Representation at the end, at full size.

        Parameters
        ----------
        trial : int or None
            Number of a trial of the run. None: the only trial, or all of them.

        Returns
        -------
        ndarray of shape (d, k), or (trials, d, k) where `trial` is None and there are several
            ``B_star M + E R``, in the dtype of the run. An implicit `B_star` is drawn from the
            seed and the trial, and so is E where the run began without a `B_0`. The collapsed
            engine draws it from its law given `B_star`; jointly with the start for
            ``track_start=True``.

        Raises
        ------
        MemoryError
            If it does not fit into memory; nothing has been allocated then.
        ValueError
            If the run has no such trial.

        Notes
        -----
        Time and memory ``O(d (k + k_star))`` per trial.
        """
        config = self.config
        if trial is None and len(config.trials) > 1:
            if "B" in self.parts:
                return self.parts["B"]
            self._require(len(config.trials))
            return np.stack([self.full_B(number) for number in config.trials])
        number = config.trials[0] if trial is None else check.integer("trial", trial)
        if number not in config.trials:
            raise ValueError(f"trial must be one of {config.trials}; got {number}")
        if "B" in self.parts:
            place = config.trials.index(number)
            return self.parts["B"] if len(config.trials) == 1 else self.parts["B"][place]
        self._require(1)
        M, R, _ = self._state_of(number)
        B_star, E = self._basis(number, R.shape[0])
        if E.shape[1] > R.shape[0]:  # of a file alone
            raise ValueError(
                f"the state must have {E.shape[1]} rows of R, as the start has; got {R.shape[0]}"
            )
        B = core.assemble(B_star, M, E, R[: E.shape[1]], config.threads)
        return B.astype(config.dtype, copy=False)

    def trial(self, number: int) -> Result:
        r"""One trial of a run, as if it had run alone.

        Parameters
        ----------
        number : int
            Number of a trial of the run.

        Returns
        -------
        Result
            Trace up to the trial's end, state and status; the timings are those of the run.

        Raises
        ------
        ValueError
            If the run has no such trial.
        """
        trials, number = self.config.trials, check.integer("number", number)
        if number not in trials:
            raise ValueError(f"trial must be one of {trials}; got {number}")
        if len(trials) == 1:
            return self
        place = trials.index(number)
        outcome = self.outcomes[place]
        there = self.trace["round"] <= outcome.round
        return replace(
            self,
            config=replace(self.config, trials=range(number, number + 1)),
            trace={
                name: values[there] if name == "round" else values[place][there]
                for name, values in self.trace.items()
            },
            parts={name: part[place] for name, part in self.parts.items()},
            status=outcome,
        )

    def to_frame(self) -> pandas.DataFrame:
        r"""Trace as a tidy table.

        Returns
        -------
        pandas.DataFrame
            A row per trial and recorded round up to the trial's end; columns ``trial``,
            ``round`` and the records (``angle_0``, ``angle_1``, ... for the angles).

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415  (optional and slow to import)
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install 'metaspan[table]'") from error
        rounds = self.trace["round"]
        trials = self.config.trials
        ended = np.array([outcome.round for outcome in self.outcomes])
        there = rounds[None, :] <= ended[:, None]
        columns = {
            "trial": np.repeat(np.asarray(trials), rounds.size).reshape(there.shape)[there],
            "round": np.broadcast_to(rounds, there.shape)[there],
        }
        for name, values in self.trace.items():
            table = values if len(trials) > 1 else values[None]
            if name == "angles":
                columns |= {f"angle_{i}": table[there][:, i] for i in range(table.shape[2])}
            elif name != "round":
                columns[name] = table[there]
        return pd.DataFrame(columns)

    def plot(self, y: str = "dist", **options: Any) -> Axes:
        r"""Plot a record against rounds, with its spread over trials.

        Parameters
        ----------
        y : str
            Name of a record.
        **options : object
            Further arguments of `metaspan.plot`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from .. import plots  # noqa: PLC0415  (plots build on results)

        return plots.plot(self, y, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""Write the result to a file that `metaspan.load` reads; no pickle.

        Parameters
        ----------
        path : str or os.PathLike
            The file, an npz archive; it is whole or absent at any time.
        """
        from .result_file import save  # noqa: PLC0415  (files build on results)

        save(self, path)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How every trial ended, also where there is only one."""
        return self.status if isinstance(self.status, tuple) else (self.status,)

    def __repr__(self) -> str:
        config = self.config
        ends = ", ".join(
            f"{sum(outcome == status for outcome in self.outcomes)} {status.name}"
            for status in Status
            if status in self.outcomes
        )
        counts = config.m_in, config.m_out
        return (
            f"Result({config.method}, d={config.tasks.d}, k={config.k_star}, "
            f"width={config.width}, {round_text(config.tasks, config.n, counts, config.pool)}, "
            f"engine={config.engine!r}, rounds={config.rounds}, "
            f"trials={len(config.trials)}: {ends})"
        )

    def _state_of(self, number: int) -> tuple[F64, F64, F64]:
        if len(self.config.trials) == 1:
            return self.state
        M, R, w = self.state
        place = self.config.trials.index(number)
        return M[place], R[place], w[place]

    def _basis(self, trial: int, height: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Ground truth and E, (d, k_star) and (d, height or less), of a trial."""
        config = self.config
        B_star = config.drawn_tasks.ground_truth(config.seed, trial, config.threads)
        drawn = isinstance(config.init, Init)
        E = np.empty((config.tasks.d, 0))
        if not drawn and config.layout.follows_start:
            E = given_coordinates(config, trial)[2]
        elif config.track_start:  # the start's directions, as other engines draw them
            E = self._frame(trial, core.STREAM_FRAME, height - config.width, B_star)
        if drawn or config.track_start or not config.layout.follows_start:
            stream = core.STREAM_OFF_SPAN if config.track_start else core.STREAM_FRAME
            known = np.concatenate([B_star, E], axis=1)
            E = np.concatenate([E, self._frame(trial, stream, height - E.shape[1], known)], axis=1)
        return B_star, E

    def _frame(self, trial: int, stream: int, columns: int, known: NDArray[Any]) -> NDArray[Any]:
        """Orthonormal columns of a trial, drawn in the complement of those that are known."""
        if columns == 0:
            return np.empty((len(known), 0))
        config = self.config
        return core.haar(config.seed, trial, stream, len(known), columns, known, config.threads)

    def _require(self, count: int) -> None:
        """Raise MemoryError unless `count` representations fit, with one trial's basis."""
        config = self.config
        # B, the ground truth, and E with what it is made from.
        columns = count * config.width + config.k_star + 3 * self.state[1].shape[-2]
        what = "a representation" if count == 1 else f"{count} representations"
        memory.require(
            f"{what} of shape ({config.tasks.d}, {config.width})", 8 * config.tasks.d * columns
        )


def build(config: TrainConfig, trials: Trials, timings: Mapping[str, float]) -> Result:
    """A result from where the trials stand."""
    outcomes = tuple(
        Outcome(_status(config, status, done), done)
        for status, done in zip(trials.status, trials.rounds, strict=True)
    )
    trace = trials.trace()
    parts = engine_of(config).export(config, trials.parts)
    if len(outcomes) == 1:
        trace = {name: v if name == "round" else v[0] for name, v in trace.items()}
        parts = {name: part[0] for name, part in parts.items()}
    return Result(
        # A function that shows progress is of no use later, and might keep results from pickling.
        config=replace(config, progress=config.progress is True),
        trace=trace,
        parts=parts,
        status=outcomes if len(outcomes) > 1 else outcomes[0],
        timings=timings,
    )


def _status(config: TrainConfig, status: int, done: int) -> Status:
    """What a status of the core means."""
    if status == core.TrialStatus.LIVE:
        return Status.FINISHED if done >= config.rounds else Status.INTERRUPTED
    ends = {
        core.TrialStatus.CONVERGED: Status.CONVERGED,
        core.TrialStatus.DIVERGED: Status.DIVERGED,
        core.TrialStatus.UNDERFLOW: Status.UNDERFLOW,
    }
    return ends[core.TrialStatus(status)]
