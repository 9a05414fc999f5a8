r"""Fits a representation to the samples of tasks by an estimator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._load import core
from ._support import progress as meters
from ._support import signals
from ._support.blas import one_blas_thread
from ._support.types import F64
from .config.counts import DEFAULT_N
from .config.fit_config import FitConfig
from .config.options import DEFAULT_STOP, Stop
from .engines.trials import Trials
from .estimators.configure import configure_fit, width_until_chosen
from .estimators.estimator import Estimate, Estimator, Unrecorded
from .estimators.names import algorithm_of
from .estimators.rank import choose_width
from .estimators.samples import Samples
from .estimators.solvers import WidthError, least_squares_heads
from .estimators.sources import open_samples
from .estimators.space import Space
from .runs.assemble import assemble
from .runs.outcome import Interrupted, Outcome, Status, report_failures
from .runs.result import Result
from .runs.sharded import check_ranks_agree
from .sharding.agreement import agreed, guarded
from .solved_methods import AltGDmin
from .tasks.batch import TaskBatch
from .tasks.linear import LinearTasks

Parts = dict[str, NDArray[Any]]


def fit(
    tasks: LinearTasks | TaskBatch,
    estimator: Estimator | AltGDmin | str,
    *,
    n: int | None = DEFAULT_N,
    m: int | None = None,
    width: int | str | None = None,
    seed: int = 0,
    trials: int | range = 1,
    threads: int | None = None,
    engine: str = "auto",
    rounds: int | None = None,
    record: str | Iterable[str] | None = None,
    stop: Stop | None = DEFAULT_STOP,
    progress: bool | Callable[[int, int], object] = False,
    on_failure: str = "return",
    device: str = "cpu",
    comm: Any = None,
    **options: Any,
) -> Result:
    r"""Estimate a representation from the samples of n tasks, drawn once or the user's own.

    An estimator sees every sample of every task; for a batch, it sees the inner and the outer
    samples together.

    Parameters
    ----------
    tasks : LinearTasks or TaskBatch
        The source of the tasks: a distribution, or a batch with the user's own data.
    estimator : Moments, AltMin, another estimator, AltGDmin, or str
        The estimator, or one of the names "moments", "duchi", "split-spectral", "burer-monteiro",
        "altmin", "altmin-gd", "altgdmin", "trace-norm", "meta-sp", "reduced-rank", "oracle",
        "single-task", "pooled". "altgdmin" starts at a spectral estimate; its `beta` is 0.1 unless
        given, as in `train`, and 1 divided by the largest eigenvalue of the second moment of the
        heads converges much faster if that is larger.
    n : int or None
        Number of tasks to draw from a distribution, by default 100, or, if the heads are fixed, all
        of them. Must be left out for a batch.
    m : int or None
        Samples of each task, >= 1. Must be left out for a batch, whose data determine it.
    width : int, "cv" or None
        Number of columns k of the representation, 1 <= width <= d. "cv": the smallest number from 1
        to 10 whose error in predicting the samples of held-out tasks of the first trial exceeds the
        least error by at most one standard error; ``result.config.width`` gives the chosen number.
        None: ``tasks.k``; a batch without a `B_star` needs a number or "cv".
    seed : int
        Key of all random numbers, 0 <= seed < 2**64.
    trials : int or range
        Independent repetitions, each on separately drawn tasks. On a batch, trials differ only for
        an estimator that starts at random. A range holds the numbers of the trials, and an integer
        t stands for ``range(t)``.
    threads : int or None
        Number of threads of the passes over the samples; None: the CPUs that this process may use.
        The bits do not depend on it.
    engine : {"auto", "arrays", "law", "sampled"}
        Where the samples come from. "arrays": a batch. "law": only the numbers on which the
        estimate depends are drawn, from their exact joint distribution; memory and time do not
        depend on d. Features must be symmetric under rotations. N = n m samples take about 4 N^2
        bytes; for an estimator of averages, such as `SplitSpectral`, the averages take about 16 n^2
        bytes. "sampled": samples are generated at full size, once if their rows have at most 256
        MiB, and otherwise again in every pass. "auto": "arrays" for a batch. For a distribution,
        "auto" chooses "law" if features are symmetric under rotations and the number of rows drawn
        is at most d - k and at most a limit; otherwise it chooses "sampled". The number of rows is
        N, with the limit 10,000, or, for an estimator of averages, 2 n, with the limit 20,000.
        ``result.config.engine`` says which engine ran.
    rounds : int or None
        The largest number of iterations of an iterative estimator, >= 0. None: the estimator's own
        limit.
    record : str, iterable of str, or None
        Quantities that the trace holds: "dist" and "angles" (20), and "objective", the function
        that the estimator minimises, or NaN if it minimises none. Row i belongs to iterate i, and
        row 0 to the start; an estimator with a closed form has one row. None: "dist", or nothing
        for a batch without a `B_star`.
    stop : Stop or None
        The rule that ends an iteration before it converges, by default dist <= 1e-10. None: the
        iteration ends only by the estimator's own rule or after `rounds` iterations.
    progress : bool or callable
        True shows a bar if standard error is a terminal and tqdm is installed. A function is called
        with the number of trials done and their total.
    on_failure : {"return", "raise"}
        What happens if trials diverge or do not converge. "return": the status of the result says
        which trials failed, and one `DivergenceWarning` or `NotConvergedWarning` is issued.
        "raise": `Diverged` or `NotConverged` is raised at the end.
    device : {"cpu", "cuda"}
        The device that computes the products with the samples, which must be those of a batch, or
        be generated once and kept. The features must be dense.
    comm : mpi4py.MPI.Intracomm or None
        Communicator whose ranks share the fit, as in `train`: each holds some of the d columns of X
        and the same rows of `B`. It needs a batch, or the engine "sampled", which then generates
        the samples in every pass. "burer-monteiro", and "meta-sp" with `semigradient`, do not take
        it. Ctrl-C on a rank ends all of them. None: the communicator of the batch, or one process.
    **options : object
        Options of an estimator given by name.

    Returns
    -------
    Result
        The result has `B` and `state`, `heads` of shape (n, k), `w`, which is the mean of the
        heads, and trace, status and timings. The heads belong to `B`; if the estimator computes no
        heads, they are those of least squares on the features `X B`. For the engine "law", the
        result holds the coordinates (13) of `B`, and `full_B` draws a representation of full size.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, or the estimator cannot run on these samples.
        If the samples of some trials, but not of all, determine fewer directions than `width`,
        these trials do not converge.
    MemoryError
        If the samples do not fit into memory; this is checked before they are allocated.
    Diverged, NotConverged
        If a trial failed and `on_failure` is "raise"; the attribute `result` is the `Result`.
    Interrupted
        On Ctrl-C. The attribute `result` of the exception holds the finished trials and the last
        iterate of the interrupted trial. The values of a trial without an iterate are NaN.

    Warns
    -----
    DivergenceWarning, NotConvergedWarning
        If a trial failed and `on_failure` is "return".

    Notes
    -----
    An estimator sees the samples through the products ``X B`` and ``X^T C``. A product takes
    ``O(N d k)`` operations on dense arrays and on generated samples, and ``O(N^2 k)`` in law.

    Examples
    --------
    >>> import metaspan as ms
    >>> batch = ms.LinearTasks(d=50, k=2, noise=0.1).sample(20, 30, 30)
    >>> r = ms.fit(batch, "altgdmin", beta=0.5)
    >>> r.heads.shape, bool(r.trace["dist"][-1] < 0.1)
    ((20, 2), True)
    """
    config = configure_fit(
        tasks,
        estimator,
        n=n,
        m=m,
        width=width_until_chosen(width),
        seed=seed,
        trials=trials,
        threads=threads,
        engine=engine,
        rounds=rounds,
        record=record,
        stop=stop,
        progress=progress,
        on_failure=on_failure,
        device=device,
        comm=comm,
        **options,
    )
    finished = run_fit(_choose_width(config) if isinstance(width, str) else config)
    with agreed(config.exchange):
        report_failures(finished, "iteration")
    return finished


@one_blas_thread()
def run_fit(config: FitConfig) -> Result:
    r"""Run a configured fit; unlike `fit`, issue no warning and raise no exception about failures.

    Parameters
    ----------
    config : FitConfig
        The configuration.

    Returns
    -------
    Result
        Trace, state, status and timings.

    Raises
    ------
    ValueError
        If the estimator cannot run on the samples.
    Interrupted
        On Ctrl-C; its attribute `result` holds the finished trials and iterations.
    """
    with _guarded(config):
        check_ranks_agree(config)
        return _run_trials(config)


def _guarded(config: FitConfig) -> AbstractContextManager[None]:
    """End all ranks if one of them fails in the block."""
    return guarded(config.exchange, lambda: "failed in a fit")


def _run_trials(config: FitConfig) -> Result:
    """Run all trials; on Ctrl-C, raise `Interrupted` with what is finished."""
    began = time.perf_counter()
    ends = [_Trial(config) for _ in config.trials]
    prepared, refusal = 0.0, None

    def build() -> Result:
        total = time.perf_counter() - began
        seconds = {"prepare": prepared, "run": total - prepared, "total": total}
        return _build(config, ends, seconds)

    try:
        shown = config.progress if config.is_root else False
        with meters.reporter(shown, 0, len(ends)) as report:
            for number, (trial, end) in enumerate(zip(config.trials, ends, strict=True)):
                started = time.perf_counter()
                samples = _open(config, trial)
                prepared += time.perf_counter() - started
                try:
                    end.run(samples)
                except WidthError as error:  # the samples of other trials may suffice
                    refusal = error.with_traceback(None)  # which would keep the samples
                    end.outcome = Outcome(
                        Status.NOT_CONVERGED, 0, f"{Status.NOT_CONVERGED.text}: {error}"
                    )
                del samples  # before those of the next trial are opened
                report(number + 1)
        if refusal is not None and all(end.B is None for end in ends):
            raise refusal
        return build()
    except KeyboardInterrupt:
        finished = build()
        at = [i for i, end in enumerate(ends) if end.outcome is None][:1]
        place = (
            f"in iteration {finished.outcomes[at[0]].round} of trial {config.trials[at[0]]}"
            if at
            else "after its last trial"
        )
        raise Interrupted(
            f"the fit was interrupted {place}; .result holds what is finished", finished
        ) from None


@one_blas_thread()
def _choose_width(config: FitConfig) -> FitConfig:
    """Return the configuration with a width chosen on held-out tasks of the first trial."""
    began = time.perf_counter()
    try:
        with _guarded(config):
            check_ranks_agree(config)
            samples = _open(config, config.trials[0], checked=False)
            choice = choose_width(
                algorithm_of(config.method),
                samples,
                seed=config.seed,
                monitor=partial(Unrecorded, config.rounds, samples.space),
            )
    except KeyboardInterrupt:
        total = time.perf_counter() - began
        seconds = {"prepare": total, "run": 0.0, "total": total}
        raise Interrupted(
            "the fit was interrupted before its width was chosen; .result holds no iterate",
            _build(config, [_Trial(config) for _ in config.trials], seconds),
        ) from None
    chosen = replace(config, width=choice.width)
    vars(chosen)["shard"] = config.shard  # otherwise it would be made again
    return chosen


def _open(config: FitConfig, trial: int, checked: bool = True) -> Samples:
    """Open the samples of a trial; by default, check that the estimator can run on them."""
    assert isinstance(config.tasks, (LinearTasks, TaskBatch))
    samples = open_samples(
        config.engine,
        config.tasks,
        config.method,
        counts=(config.n, config.m),
        width=config.width,
        seed=config.seed,
        trial=trial,
        threads=config.threads,
        device=config.device,
        columns=config.shard,
    )
    if checked:
        with agreed(config.exchange):
            algorithm_of(config.method).check(samples, config.width)
    return samples


@dataclass(eq=False)
class _Trial:
    """One trial of a fit: the recorded rows, the last iterate, and the outcome."""

    config: FitConfig
    rows: list[list[float]] = field(default_factory=list)
    B: F64 | None = None
    heads: F64 | None = None
    B_star: F64 | None = None
    space: Space = field(init=False)  # of the iterates; set before the first of them
    outcome: Outcome | None = None
    ended_by: Status | None = None  # why `record` asked the estimator to stop

    @property
    def rounds(self) -> int | None:
        """The most iterations; None: the estimator's own limit."""
        return self.config.rounds

    def run(self, samples: Samples) -> None:
        """Run the estimator; if it raises, the last iterate and the recorded rows stay."""
        config, algorithm = self.config, algorithm_of(self.config.method)
        self.B_star, self.space = samples.B_star, samples.space
        estimate = algorithm.estimate(samples, config.width, self)
        with signals.defer_interrupts():
            self.B, self.heads = estimate.B, estimate.heads
            if not self.rows:
                self.rows.append(self._measure(estimate.B, None))
        if self.heads is None:
            Z = samples.features(estimate.B)
            self.heads = least_squares_heads(Z, samples.y, samples.offsets)
        self.outcome = self._conclude(estimate, algorithm.iterates)

    def record(self, B: F64, heads: F64 | None = None, objective: float | None = None) -> bool:
        """Record one iterate; return whether the estimator must stop at it."""
        with signals.defer_interrupts():
            self.rows.append(self._measure(B, objective))
            self.B = B.copy()
            self.heads = None if heads is None else heads.copy()
            if not self.space.is_finite(B):
                self.ended_by = Status.DIVERGED
            elif self._meets_rule():
                self.ended_by = Status.CONVERGED
            elif self.rounds is not None and len(self.rows) > self.rounds:
                self.ended_by = Status.FINISHED
        return self.ended_by is not None

    def _measure(self, B: F64, objective: float | None) -> list[float]:
        """Return a row: dist, or NaN if it is unknown, and then the values of the records."""
        config = self.config
        angles: list[float] = [math.nan] * min(config.width, config.k_star)
        if self.B_star is not None and config.measures_distance and self.space.is_finite(B):
            angles = _angles(B, self.B_star, self.space)
        dist = _dist(angles, config)
        values = [dist]
        for name in config.record:
            if name == "objective":
                values.append(math.nan if objective is None else float(objective))
            else:
                values += angles if name == "angles" else [dist]
        return values

    def _meets_rule(self) -> bool:
        """Return whether the last row meets the stop rule."""
        stop = self.config.stop
        return stop is not None and bool(stop.dist) and self.rows[-1][0] <= (stop.dist or 0.0)

    def _conclude(self, estimate: Estimate, iterates: bool) -> Outcome:
        """Return how the trial ended."""
        done = max(estimate.iterations, len(self.rows) - 1)
        heads_are_finite = self.heads is None or bool(np.isfinite(self.heads).all())
        if not (self.space.is_finite(estimate.B) and heads_are_finite):
            return Outcome(Status.DIVERGED, done)
        if self.ended_by is not None:
            return Outcome(self.ended_by, done)
        if not estimate.converged:
            detail = f"{Status.NOT_CONVERGED.text}: {estimate.reason}" if estimate.reason else ""
            return Outcome(Status.NOT_CONVERGED, done, detail)
        return Outcome(
            Status.CONVERGED, done, "converged" if iterates else "was solved in closed form"
        )


def _dist(angles: list[float], config: FitConfig) -> float:
    """Return the distance (20) from the angles, largest first."""
    if not angles:
        return math.nan
    if config.width < config.k_star:
        return 1.0 if math.isfinite(angles[0]) else math.nan
    return math.sin(angles[0])


def _angles(B: F64, B_star: F64, space: Space) -> list[float]:
    """Return the principal angles, largest first; 90 degrees for each missing column."""
    M, R = _coordinates(B, B_star, space)
    k_star, angles = len(M), min(M.shape[1], len(M))
    U, lengths, _ = np.linalg.svd(np.concatenate([M, R]), full_matrices=False)
    rank = int(np.count_nonzero(lengths > np.finfo(float).eps * max(U.shape) * lengths[0]))
    if rank == len(lengths):  # of a full-rank B, small angles keep their relative accuracy
        return [math.atan(t) for t in core.tangents(M, R)[:angles]]
    basis = U[:, :rank]
    known = min(rank, angles)
    tangents = core.tangents(basis[:k_star], basis[k_star:])[:known] if rank else np.empty(0)
    return [math.pi / 2] * (angles - known) + [math.atan(t) for t in tangents]


def _coordinates(B: F64, B_star: F64, space: Space) -> tuple[F64, F64]:
    """Return M and R of the coordinates (13) of B."""
    M, R, _ = core.coordinates(
        np.ascontiguousarray(B), np.ascontiguousarray(B_star), space.threads, space.shard
    )
    return M, R


def _build(config: FitConfig, ends: list[_Trial], seconds: dict[str, float]) -> Result:
    """Build a result from the trials so far; the values of a trial without an iterate are NaN."""
    outcomes = tuple(
        end.outcome or Outcome(Status.INTERRUPTED, max(0, len(end.rows) - 1)) for end in ends
    )
    columns = config.layout.columns
    records = Trials(
        parts={},
        rounds=[outcome.round for outcome in outcomes],
        status=[],
        columns=columns,
        rows=[
            (np.arange(len(end.rows)), np.array(end.rows).reshape(len(end.rows), -1)[:, 1:])
            if end.rows
            else (np.empty(0, np.int64), np.empty((0, len(columns))))
            for end in ends
        ],
    )
    return assemble(config, outcomes, records.trace(), _parts(config, ends), seconds)


def _parts(config: FitConfig, ends: list[_Trial]) -> Parts:
    """Return the states of the trials, with a leading axis of trials: see `Result.parts`."""
    count, width, layout = len(ends), config.width, config.layout
    heads = np.full((count, config.n, width), np.nan)
    if layout.full_size:
        B = np.full((count, config.rows, width), np.nan)
        parts: Parts = {"B": B}
    else:
        M = np.full((count, config.k_star, width), np.nan)
        R = np.full((count, layout.height, width), np.nan)
        parts = {"M": M, "R": R}
    for i, end in enumerate(ends):
        if end.B is None:
            continue
        if end.heads is not None:
            heads[i] = end.heads
        if layout.full_size:
            B[i] = end.B
            continue
        assert end.B_star is not None
        with suppress(ValueError):  # raised for the infinite or NaN values of a diverged trial
            M[i], small = _coordinates(end.B, end.B_star, end.space)
            R[i] = np.pad(small, ((0, layout.height - len(small)), (0, 0)))
    return parts | {"w": heads.mean(axis=1), "heads": heads}
