r"""The result of a training run or a fit: trace, final state and status."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, memory
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.counts import round_text
from ..config.fit_config import FitConfig
from ..config.options import Init
from ..engines.starts import given_coordinates, truth_of
from ..learned_methods import MetaSGD
from ..linear_methods import LinearAttention
from ..methods import Method
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from ..tasks.on_device import like
from .outcome import Outcome, Status

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from ..intervals import Interval


class Trace(dict[str, NDArray[Any]]):
    """A dict of records; the KeyError for a missing record lists the records in the dict."""

    def __missing__(self, name: object) -> NDArray[Any]:
        """Raise KeyError with the names of the records."""
        recorded = check.words((str(key) for key in self), "and")
        raise KeyError(
            f"{check.show(name)} was not recorded; this run has {recorded}: "
            "name it in record= of train"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    r"""Trace, final state and status of a training run or a fit.

    If the run has more than one trial, the arrays of the result have a leading axis of trials. For
    the representation at full size see `B` and `full_B`: most engines keep only the coordinates of
    the representation. In the printed form, ``k`` is the rank of the ground truth, or 0 if the
    ground truth is unknown, and ``width`` is the number of columns of the learner's representation.

    Parameters
    ----------
    config : TrainConfig or FitConfig
        The arguments of `train` or `fit`, checked and resolved.
    trace : mapping of str to ndarray
        The records of the run. ``trace["round"]``, of shape (rows,) and dtype int64, is the number
        of rounds, or iterations of an estimator, done before each row. A record has shape (rows,),
        or (trials, rows), and dtype float64; ``"angles"`` has a last axis of min(k, k_star) angles
        in radians, largest first. Rows after a trial's end are NaN. Losses are measured on the
        tasks that the run trains on, not on new tasks.
    parts : mapping of str to ndarray
        The state at the end, by name: the coordinates (13) ``"M"``, ``"R"`` and ``"w"``; or ``"B"``
        and ``"w"`` for the engines "arrays" and "sampled" and for features with a spectrum. For
        `MetaSGD` also ``"alpha"``, of shape (1,) or (k,); for `CoLearner` also ``"v"``; for a fit
        also ``"heads"``.
    status : Outcome or tuple of Outcome
        How the trial ended; a tuple has one outcome per trial.
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

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a copy or a pickle, which a communicator cannot be part of."""
        if self.config.comm is not None:
            raise TypeError(
                "a Result with a comm cannot be copied or pickled; use save, or gather its B"
            )
        return self.__dict__

    @property
    def w(self) -> F64:
        """Learned head at the end, (k,) or (trials, k), float64; 0 for linear attention.

        For a fit, it is the mean of the heads.
        """
        return self._factor(self.parts["w"], 0)

    @property
    def heads(self) -> F64 | None:
        """Heads of the tasks of a fit, (n, k) or (trials, n, k), float64; None for a run."""
        return self.parts.get("heads")

    @property
    def alpha(self) -> float | F64 | None:
        """Inner step size at the end; None if the method has none.

        For `MetaSGD` it is the learned one: with ``per="scalar"`` a float, or an array (trials,);
        with ``per="head"`` an array (k,) or (trials, k).
        """
        method = self.config.method
        if not isinstance(method, MetaSGD):
            return getattr(method, "alpha", None)
        alpha = self.parts["alpha"]
        if method.per == "head":
            return alpha
        return alpha[:, 0] if alpha.ndim == 2 else float(alpha[0])

    @property
    def v(self) -> F64 | None:
        """Head (k,) or (trials, k) of the `CoLearner` at the end; None for other methods."""
        return self.parts.get("v")

    @property
    def method(self) -> Method:
        """Method of the run; a `MetaSGD` has its learned step sizes in place of those at the start.

        With these, `adapt` and `evaluate` adapt as the run does at its end. Several trials have
        learned several step sizes, and `trial` selects one of them.
        """
        method = self.config.method
        if not isinstance(method, MetaSGD):
            return method
        if len(self.config.trials) > 1:
            raise ValueError(
                f"{len(self.config.trials)} trials have learned step sizes of their own: use "
                "trial(number).method"
            )
        return replace(
            method,
            alpha=tuple(self.parts["alpha"].tolist())
            if method.per == "head"
            else float(self.parts["alpha"][0]),
        )

    @cached_property
    def B(self) -> NDArray[Any] | None:
        """Representation at the end, if the run determines it at full size; None if it does not.

        `B` has shape (d, k) or (trials, d, k). A run of an engine at full size ("arrays",
        "sampled", or "population" with a spectrum) holds `B`. A run in coordinates determines `B`
        if the run started from a pair of arrays and kept the coordinates along these arrays; all
        engines keep these coordinates, except "collapsed" without ``track_start=True`` and "limit"
        with ``d_over_n`` above 0, whose rounds add directions at random. For such a run in
        coordinates, `B` is computed on first access, from the arrays of the start, which must not
        have changed. For all other runs the basis of the coordinates is not fixed and `B` is None;
        `full_B` draws a representation. If the features of the tasks are in device memory, `B` is
        an array of their library. In a run with a `comm`, `B` has the rows `shard` of this rank, as
        have `full_B` and the parts ``"B"``; `gather` collects the rows of all ranks.
        """
        return self._as_lent(self._host_B)

    @property
    def shard(self) -> tuple[int, int] | None:
        """First row of B of this rank, and the first after its last; None without a `comm`."""
        shard = self.config.shard
        return None if shard is None else (shard.lo, shard.hi)

    @property
    def sent_numbers(self) -> int:
        """Numbers of eight bytes that this rank has sent to other ranks, 0 without a `comm`.

        They are counted from the call of `train` on, or, for a batch with a `comm`, from the
        making of the batch on.
        """
        exchange = self.config.exchange
        return 0 if exchange is None else exchange.sent_numbers

    def gather(self, name: Literal["B", "A"] = "B", *, root: int = 0) -> NDArray[Any] | None:
        r"""Collect the rows of all ranks on one rank; all ranks make the call.

        Parameters
        ----------
        name : {"B", "A"}
            The attribute to collect: `B`, or `A` of linear attention.
        root : int
            The rank that gets the array.

        Returns
        -------
        ndarray of shape (d, k) or (trials, d, k), or None
            The array on the rank `root`, and None on all others. Without a `comm`, the attribute
            itself.

        Raises
        ------
        TypeError, ValueError
            If `name` is not one of these names, or `root` is not a rank.
        AttributeError
            If `name` is "A", and the method is not `LinearAttention`.
        MemoryError
            If the array does not fit into the memory of the rank `root`; all ranks raise it.
        """
        check.choice("name", name, ("B", "A"))
        shard = self.config.shard
        most = 0 if shard is None else shard.exchange.ranks - 1
        root = check.integer("root", root, 0, most)
        part = self.B if name == "B" else self.A
        return part if shard is None or part is None else shard.gather(part, root)

    @cached_property
    def A(self) -> NDArray[Any] | None:
        """The first factor of linear attention at the end; None where `B` is None.

        Other methods have no such factor, and raise AttributeError.
        """
        self._require_attention("A")
        return self._as_lent(None if self._columns is None else self._factor(self._columns, 0))

    @cached_property
    def _host_B(self) -> NDArray[Any] | None:
        """`B` in host memory."""
        return None if self._columns is None else self._factor(self._columns, 1)

    def _as_lent(self, array: NDArray[Any] | None) -> NDArray[Any] | None:
        """Convert an array to the library of the features if these are in device memory."""
        tasks = self.config.tasks
        if array is None or not isinstance(tasks, TaskBatch) or tasks.lent is None:
            return array
        copied: NDArray[Any] = like(tasks.lent, array)
        return copied

    @cached_property
    def _columns(self) -> NDArray[Any] | None:
        """The state at full size: B, or [A, B] for linear attention; None if not determined."""
        if "B" in self.parts:
            return self.parts["B"]
        config = self.config
        starts_from_arrays = not isinstance(config.init, Init)
        if not (starts_from_arrays and config.layout.follows_start):
            return None
        return self._full_columns(None)

    def _factor(self, columns: NDArray[Any], which: int) -> NDArray[Any]:
        """Return A if `which` is 0, and B if it is 1; a method with B alone has B for both."""
        width = self.config.width
        if columns.shape[-1] == width:
            return columns
        return np.ascontiguousarray(columns[..., which * width : (which + 1) * width])

    def _require_attention(self, name: str) -> None:
        """Raise AttributeError unless the run is one of linear attention."""
        if not isinstance(self.config.method, LinearAttention):
            raise AttributeError(
                f"{name} is a part of LinearAttention only; this run has {self.config.method}"
            )

    @cached_property
    def state(self) -> tuple[F64, F64, F64]:
        """Coordinates (13) at the end: ``M`` (k_star, k), ``R`` (e, k) and ``w`` (k,), float64.

        ``B = B_star M + E R``, where the columns of E are orthonormal, and orthogonal to `B_star`.
        With several trials, M, R and w have a leading axis of trials. If the run holds `B` at full
        size, M and R are computed on first access, for some basis E of the part of `B` orthogonal
        to `B_star`; without a `B_star`, M has no rows. All ranks of a `comm` make the first access
        together. `state_A` has the coordinates of `A` in the same basis.
        """
        M, R, w = self._all_state
        return self._factor(M, 1), self._factor(R, 1), self._factor(w, 0)

    @cached_property
    def state_A(self) -> tuple[F64, F64]:
        """Coordinates ``M`` and ``R`` (13) of `A` of linear attention, in the basis of `state`.

        Other methods have no `A`, and raise AttributeError.
        """
        self._require_attention("state_A")
        M, R, _ = self._all_state
        return self._factor(M, 0), self._factor(R, 0)

    @cached_property
    def _all_state(self) -> tuple[F64, F64, F64]:
        """The coordinates of all columns of the state, and w."""
        if "M" in self.parts:
            return self.parts["M"], self.parts["R"], self.parts["w"]
        single = len(self.config.trials) == 1
        stack = self.parts["B"][None] if single else self.parts["B"]
        pairs = [self._coordinates(B, i) for i, B in enumerate(stack)]
        height = max(len(R) for _, R in pairs)
        M = np.stack([M for M, _ in pairs])
        R = np.stack([np.pad(R, ((0, height - len(R)), (0, 0))) for _, R in pairs])
        w = self.parts["w"]
        return (M[0], R[0], w) if single else (M, R, w)

    def _coordinates(self, B: NDArray[Any], index: int) -> tuple[F64, F64]:
        """Compute M and R of the full-size representation B of the trial at an index."""
        config, tasks, shard = self.config, self.config.tasks, self.config.core_shard
        if isinstance(tasks, LinearTasks):
            B_star = truth_of(config, config.trials[index])
        elif tasks.k and isinstance(tasks, TaskBatch):
            assert tasks.B_star is not None
            B_star = tasks.B_star
        elif tasks.k:
            raise ValueError("the coordinates of B need B_star, which a file does not hold")
        else:
            return np.empty((0, B.shape[1])), core.r_factor(B, config.threads, shard)
        M, R, _ = core.coordinates(B, B_star.astype(B.dtype, copy=False), config.threads, shard)
        return M, R

    def full_B(self, trial: int | None = None) -> NDArray[Any]:
        r"""Return the representation at the end, at full size.

        In contrast to the attribute `B`, which is None for a run that does not determine a
        representation, `full_B` always returns one: if the run holds only coordinates, `full_B`
        draws their basis.

        Parameters
        ----------
        trial : int or None
            Number of a trial of the run, one of ``config.trials``. None: all trials.

        Returns
        -------
        ndarray of shape (d, k), or (trials, d, k) if `trial` is None and there are several
            ``B_star M + E R`` (13), in the dtype ``config.dtype``. If `tasks` has no `B_star`, the
            ground truth of the trial is drawn from seed and trial. E is drawn from seed and trial
            too, unless the run started from an array `B0`. A run of the collapsed engine, or of the
            limit with ``d_over_n`` above 0, does not determine a single B, since new random
            directions are added during the run: `full_B` samples B from its distribution given
            `B_star`, or, on the collapsed engine with ``track_start=True``, given `B_star` and the
            start. Calls with equal arguments return the same bits.

        Raises
        ------
        TypeError, ValueError
            If `trial` is not an integer, or not a trial of the run.
        MemoryError
            If the arrays do not fit into memory; this is checked before they are allocated.

        Notes
        -----
        Each trial takes time ``O(d (k + k_star)^2)`` and memory ``O(d (k + k_star))``.
        """
        return self._factor(self._full_columns(trial), 1)

    def full_A(self, trial: int | None = None) -> NDArray[Any]:
        r"""Return the first factor of linear attention at the end, at full size.

        Parameters
        ----------
        trial : int or None
            Number of a trial of the run, one of ``config.trials``. None: all trials.

        Returns
        -------
        ndarray of shape (d, k), or (trials, d, k) if `trial` is None and there are several
            ``B_star M + E R`` with the coordinates `state_A` and the basis of `full_B`.

        Raises
        ------
        AttributeError
            If the method is not `LinearAttention`.
        TypeError, ValueError
            If `trial` is not an integer, or not a trial of the run.
        MemoryError
            If the arrays do not fit into memory; this is checked before they are allocated.
        """
        self._require_attention("full_A")
        return self._factor(self._full_columns(trial), 0)

    def _full_columns(self, trial: int | None) -> NDArray[Any]:
        """Return the state at full size: `full_B`, or [A, B] for linear attention."""
        config = self.config
        if trial is None and len(config.trials) > 1:
            if "B" in self.parts:
                return self.parts["B"]
            self._require(len(config.trials))
            return np.stack([self._full_columns(number) for number in config.trials])
        number = config.trials[0] if trial is None else check.integer("trial", trial)
        if number not in config.trials:
            raise ValueError(f"trial must be one of {config.trials}; got {number}")
        if "B" in self.parts:
            index = config.trials.index(number)
            return self.parts["B"] if len(config.trials) == 1 else self.parts["B"][index]
        self._require(1)
        M, R, _ = self._state_of(number)
        B_star, E = self._basis(number, R.shape[0])
        if E.shape[1] > R.shape[0]:  # only if the state comes from a file
            raise ValueError(
                f"the state must have {E.shape[1]} rows of R, as the start has; got {R.shape[0]}"
            )
        B = core.assemble(B_star, M, E, R[: E.shape[1]], config.threads)
        with np.errstate(over="ignore"):  # a diverged state may exceed float32
            return B.astype(config.dtype, copy=False)

    def trial(self, number: int) -> Result:
        r"""Return the result of one trial, as if it had run alone.

        Parameters
        ----------
        number : int
            Number of a trial of the run, one of ``config.trials``.

        Returns
        -------
        Result
            Trace up to the trial's end, state and status, without the axis of trials. The timings
            are the times of all trials together.

        Raises
        ------
        TypeError, ValueError
            If `number` is not an integer, or not a trial of the run.
        """
        trials, number = self.config.trials, check.integer("number", number)
        if number not in trials:
            raise ValueError(f"trial must be one of {trials}; got {number}")
        if len(trials) == 1:
            return self
        index = trials.index(number)
        outcome = self.outcomes[index]
        until_end = self.trace["round"] <= outcome.round
        return replace(
            self,
            config=replace(self.config, trials=range(number, number + 1)),
            trace={
                name: values[until_end] if name == "round" else values[index][until_end]
                for name, values in self.trace.items()
            },
            parts={name: part[index] for name, part in self.parts.items()},
            status=outcome,
        )

    def to_frame(self) -> pandas.DataFrame:
        r"""Return the trace as a tidy table.

        Returns
        -------
        pandas.DataFrame
            A row per trial and recorded round, up to the trial's end. Columns are ``trial``,
            ``round`` and the records; the angles are ``angle_0``, ``angle_1``, ..., in radians.

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
        until_end = rounds[None, :] <= ended[:, None]
        numbers = np.repeat(np.asarray(trials), rounds.size).reshape(until_end.shape)
        columns = {
            "trial": numbers[until_end],
            "round": np.broadcast_to(rounds, until_end.shape)[until_end],
        }
        for name, values in self.trace.items():
            table = values if len(trials) > 1 else values[None]
            if name == "angles":
                columns |= {f"angle_{i}": table[until_end][:, i] for i in range(table.shape[2])}
            elif name != "round":
                columns[name] = table[until_end]
        return pd.DataFrame(columns)

    def plot(self, y: str = "dist", **options: Any) -> Axes:
        r"""Plot a record against rounds, with its spread over trials.

        Parameters
        ----------
        y : str
            Name of a record.
        **options : object
            Further arguments of `metaspan.plot`, whose documentation lists their errors.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from .. import plots  # noqa: PLC0415  (plots build on results)

        return plots.plot(self, y, **options)

    def interval(
        self,
        of: Literal["angles", "components", "risk"] = "angles",
        *,
        resamples: int = 200,
        level: float = 0.95,
        seed: int = 0,
        refit: Callable[[TaskBatch], Result | NDArray[Any]] | None = None,
        on: TaskBatch | None = None,
        m: int | None = None,
        learner: str = "adapted",
    ) -> Interval:
        r"""Compute bootstrap intervals, over tasks, for the representation or its risk.

        Parameters
        ----------
        of : {"angles", "components", "risk"}
            "angles": the principal angles between the true span and that of `B`. Each interval
            starts at 0, and its upper end is a quantile of the angles between `B` and refits to
            resampled tasks. "components": the entries of the matrix with orthonormal columns that
            is nearest to `B`. A representation is determined only up to a rotation, so the columns
            of every refit are first rotated to be nearest to this matrix (orthogonal Procrustes).
            "risk": the mean loss (1) on the outer samples of held-out tasks. The representation
            stays fixed, and only the held-out tasks are resampled.
        resamples : int
            Number of resamples, at least 20. For angles and components, each resample takes a new
            fit.
        level : float
            Level of each interval, in (0, 1).
        seed : int
            Key of the resampling.
        refit : callable or None
            Function that returns a `Result` or an array B (d, k) for a batch of resampled tasks.
            None: the fit or the training run is repeated with the same arguments.
        on : TaskBatch or None
            Held-out tasks, for "risk".
        m : int or None
            Samples of each held-out task to adapt on, as in `evaluate`.
        learner : str
            The learner whose risk is computed: "adapted" (the run's method), "least_squares" or
            "ridge" (regressions on the features `X B`), "single_task_ridge" or "pooled", as in
            `Evaluation`.

        Returns
        -------
        Interval
            Estimate, ends of the intervals, and standard errors.

        Raises
        ------
        TypeError
            If an argument is of the wrong kind, or `on` is missing for "risk".
        ValueError
            If an argument is out of range or does not belong to `of`, if the result has several
            trials, if angles or components are requested for a run without a batch, or if fewer
            than half of the refits have full rank.

        Notes
        -----
        The bootstrap resamples whole tasks, because the samples of one task depend on each other
        through its head. The quantiles are accurate only for many tasks. The intervals do not
        correct a bias of the fit, for example by early stopping. The cost is that of the refits,
        or, for "risk", of one evaluation on the held-out tasks.

        Examples
        --------
        >>> import metaspan as ms
        >>> batch = ms.LinearTasks(d=8, k=1, noise=0.1).sample(50, 5, 5)
        >>> r = ms.train(batch, "fo-anil", width=1, rounds=100)
        >>> bounds = r.interval("angles", resamples=20)
        >>> bounds.high.shape, bool(bounds.high[0] < 0.5)
        ((1,), True)
        """
        from .. import intervals  # noqa: PLC0415  (intervals repeat fits and runs)

        return intervals.interval(
            self,
            of,
            resamples=resamples,
            level=level,
            seed=seed,
            refit=refit,
            on=on,
            m=m,
            learner=learner,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""Write the result to a file that `metaspan.load` reads.

        The file is an npz archive without pickles. It holds a `BatchSummary` in place of the data
        of a `TaskBatch`, and names of functions in place of their code. All ranks of a `comm` make
        the call together, and rank 0 writes the whole result, without holding all of `B`.

        Parameters
        ----------
        path : str or os.PathLike
            The file. An existing file is replaced at the end of the write, so no incomplete file is
            left.

        Raises
        ------
        TypeError, ValueError
            If `path` is not a path.
        OSError
            If the file cannot be written.
        """
        from .result_file import save  # noqa: PLC0415  (files build on results)

        save(self, path)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How every trial ended: a tuple even if there is only one trial."""
        return self.status if isinstance(self.status, tuple) else (self.status,)

    def __repr__(self) -> str:
        config = self.config
        ends = ", ".join(
            f"{sum(outcome == status for outcome in self.outcomes)} {status.name}"
            for status in Status
            if status in self.outcomes
        )
        return (
            f"Result({config.method}, d={config.tasks.d}, k={config.k_star}, "
            f"width={config.width}, {self._sizes}, "
            f"engine={config.engine!r}, rounds={config.rounds}, "
            f"trials={len(config.trials)}: {ends})"
        )

    @property
    def _sizes(self) -> str:
        """The numbers of tasks and of samples, as text."""
        config = self.config
        if isinstance(config, FitConfig) and config.m is not None:
            return f"n={config.n}, m={config.m}"
        counts = (config.m_in, config.m_out)
        return round_text(config.tasks, config.n, counts, config.pool, config.d_over_n)

    def _state_of(self, number: int) -> tuple[F64, F64, F64]:
        """Return M, R and w of one trial."""
        if len(self.config.trials) == 1:
            return self._all_state
        M, R, w = self._all_state
        index = self.config.trials.index(number)
        return M[index], R[index], w[index]

    def _basis(self, trial: int, height: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return B_star (d, k_star) and the basis E of (13), with at most `height` columns."""
        config = self.config
        B_star = config.drawn_tasks.ground_truth(config.seed, trial, config.threads)
        drawn = isinstance(config.init, Init)
        E = np.empty((config.tasks.d, 0))
        if not drawn and config.layout.follows_start:
            E = given_coordinates(config, trial)[2]
        elif config.track_start:  # the start's basis, from the stream of the other engines
            E = self._frame(trial, core.STREAM_FRAME, height - config.columns, B_star)
        if drawn or config.track_start or not config.layout.follows_start:
            stream = core.STREAM_OFF_SPAN if config.track_start else core.STREAM_FRAME
            known = np.concatenate([B_star, E], axis=1)
            E = np.concatenate([E, self._frame(trial, stream, height - E.shape[1], known)], axis=1)
        return B_star, E

    def _frame(self, trial: int, stream: int, columns: int, known: NDArray[Any]) -> NDArray[Any]:
        """Draw, for one trial, orthonormal columns in the orthogonal complement of `known`."""
        if columns == 0:
            return np.empty((len(known), 0))
        config = self.config
        return core.haar(config.seed, trial, stream, len(known), columns, known, config.threads)

    def _require(self, count: int) -> None:
        """Raise MemoryError unless `count` representations and one trial's basis fit in memory."""
        config = self.config
        # Columns of B, the ground truth and E, and of two more arrays that are needed to compute E.
        columns = count * config.columns + config.k_star + 3 * self.state[1].shape[-2]
        what = "a representation" if count == 1 else f"{count} representations"
        memory.require(
            f"{what} of shape ({config.tasks.d}, {config.width})", 8 * config.tasks.d * columns
        )
