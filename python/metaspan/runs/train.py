r"""Training: rounds in the compiled core, everything else between its chunks."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._load import core
from .._support import memory, progress, signals
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.configure import configure
from ..config.counts import DEFAULT_N
from ..config.options import DEFAULT_STOP, Checkpoint, Init, Stop
from ..cost.routes import chosen_route
from ..engines import engine_of
from ..engines.trials import Trials
from ..methods import Method
from ..tasks import heads
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from . import result
from .checkpoint import Journal
from .outcome import Diverged, DivergenceWarning, FewSamplesWarning, Interrupted, Status
from .result import Result

CHUNK_SECONDS = 0.05
FEW_SAMPLES = (
    0.1  # of the unknowns: `theory.error_floor` is then above 3, and 1 is no result at all
)
HEADS_AT_ONCE = 2**22  # numbers that a user's function may have drawn ahead: 32 MiB


@overload
def train(
    tasks: LinearTasks,
    method: Method | str,
    *,
    rounds: int = ...,
    n: int | None = ...,
    m_in: int | None = ...,
    m_out: int | None = ...,
    width: int | None = ...,
    init: str | Init | tuple[NDArray[Any], ArrayLike] = ...,
    engine: str = ...,
    route: str = ...,
    accumulate: str = ...,
    pool: int | None = ...,
    shared_samples: bool = ...,
    track_start: bool = ...,
    seed: int = ...,
    trials: int | range = ...,
    threads: int | None = ...,
    device: str = ...,
    dtype: DTypeLike | None = ...,
    record: str | Iterable[str] | None = ...,
    record_every: int = ...,
    stop: Stop | None = ...,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = ...,
    progress: bool | Callable[[int, int], object] = ...,
    on_failure: str = ...,
    **steps: float,
) -> Result: ...


@overload
def train(
    tasks: TaskBatch,
    method: Method | str,
    *,
    rounds: int = ...,
    n: int | None = ...,
    m_in: None = ...,
    m_out: None = ...,
    width: int | None = ...,
    init: str | Init | tuple[NDArray[Any], ArrayLike] = ...,
    engine: str = ...,
    route: str = ...,
    accumulate: str = ...,
    pool: None = ...,
    shared_samples: bool = ...,
    track_start: Literal[False] = ...,
    seed: int = ...,
    trials: int | range = ...,
    threads: int | None = ...,
    device: str = ...,
    dtype: DTypeLike | None = ...,
    record: str | Iterable[str] | None = ...,
    record_every: int = ...,
    stop: Stop | None = ...,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = ...,
    progress: bool | Callable[[int, int], object] = ...,
    on_failure: str = ...,
    **steps: float,
) -> Result: ...


def train(
    tasks: LinearTasks | TaskBatch,
    method: Method | str,
    *,
    rounds: int = 1000,
    n: int | None = DEFAULT_N,
    m_in: int | None = None,
    m_out: int | None = None,
    width: int | None = None,
    init: str | Init | tuple[NDArray[Any], ArrayLike] = "random",
    engine: str = "auto",
    route: str = "auto",
    accumulate: str = "float64",
    pool: int | None = None,
    shared_samples: bool = False,
    track_start: bool = False,
    seed: int = 0,
    trials: int | range = 1,
    threads: int | None = None,
    device: str = "cpu",
    dtype: DTypeLike | None = None,
    record: str | Iterable[str] | None = None,
    record_every: int = 1,
    stop: Stop | None = DEFAULT_STOP,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    progress: bool | Callable[[int, int], object] = False,
    on_failure: str = "return",
    **steps: float,
) -> Result:
    r"""Train a representation and a head, on tasks from a law or on data of the user's own.

    Each round takes n tasks, adapts to each with the inner steps of the method, and moves
    :math:`(B, w)` along the mean of what (8)-(10) give per task:
    :math:`B \leftarrow B - \beta\, \nabla_B`, :math:`w \leftarrow w - \beta\, \nabla_w`.
    With infinitely many samples a task, tasks are drawn afresh every round and the run lives in the
    coordinates (13), at a cost that does not depend on d. A batch, or a pool of tasks with finite
    samples, stays the same for all rounds, which choose from its tasks.

    Parameters
    ----------
    tasks : LinearTasks or TaskBatch
        Where the tasks come from: a law, or tasks with data of the user's own.
    method : ANIL, MAML, AverageRisk or str
        The method, or one of "anil", "fo-anil", "maml", "fo-maml", "average-risk".
    rounds : int
        Number of rounds, >= 0.
    n : int or None
        Tasks per round, without replacement where there is a batch, a pool or fixed heads. None:
        all of them, which is the default for a batch; where tasks are drawn afresh, infinitely
        many, which (23) covers: first-order ANIL with one inner step from w_0 = 0, centred heads.
    m_in, m_out : int or None
        Samples per task in the inner and the outer set; None: infinitely many. A batch has its
        own.
    width : int or None
        Columns k of the learner's `B`, at most d. None: ``tasks.k``, or the width of a given start.
    init : {"random", "methodical"}, Init or (B0, w0)
        Start: ``"random"`` is ``Init()``, ``"methodical"`` is ``Init(dist=0.7)``. A given `B0`
        (d, k) is C-contiguous, float32 or float64.
    engine : {"auto", "population", "collapsed", "sampled", "arrays"}
        How rounds are computed; what ran is in ``result.config.engine``. "auto": a batch by
        "arrays"; infinitely many samples by "population"; finitely many by "collapsed", which
        draws from the law of what matters of them, where features are symmetric under rotations
        and d >= k + width, and otherwise by "sampled", which draws all of them, in every round
        anew. "arrays" draws the samples of a `pool` at full size.
    route : {"auto", "gram", "vector", "dual"}
        Where data stay the same for all rounds: by Z = X B and Gram matrices, by one vector at a
        time, or by the Gram matrix of all samples. All give the same numbers up to rounding; "auto"
        takes what the cost model finds cheapest, and what ran is in ``result.config.route``.
    accumulate : {"float64", "float32"}
        In what sums over float32 data are taken. "float32" is faster where the data are in the
        cache, and right to some 1e-7 of the largest term; it needs float32 data and the vector
        route.
    pool : int or None
        Number of tasks to draw once, with their data where `m_in` and `m_out` are numbers: for
        "collapsed" in law, for "arrays" those of
        ``tasks.sample(pool, m_in, m_out, seed=seed, trial=trial)``.
    shared_samples : bool
        Whether inner and outer set are one; the same for infinitely many samples.
    track_start : bool
        Whether "collapsed" follows the directions of the start, with k coordinates more, so that
        `full_B` gives the end jointly with it and not only given `B_star`.
    seed : int
        Key of all random numbers, 0 <= seed < 2**64.
    trials : int or range
        Independent repetitions: the number t stands for ``range(t)``. A trial gives the same bits
        alone as among others.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    device : {"cpu"}
        Where rounds are computed.
    dtype : {float32, float64} or None
        Of a full-size `B`, and of the data of a pool. None: that of the arrays given, else float64.
    record : str or iterable of str
        What the trace holds, at the start of a round: "dist", "angles", "loss_in",
        "loss_adapted", "loss_out", "w_norm", "delta_norm", "sigma_min", "sigma_max", "perp_norm",
        "diversity_min", "diversity_max", "mu", "L", "eta"; see (20) and (21). Losses, "loss_out"
        too, are training losses. None: "dist", or "loss_out" for a batch without a B_star.
    record_every : int
        Rounds between rows; the start and the end are always recorded.
    stop : Stop or None
        When a trial has converged. None: never.
    checkpoint : str, os.PathLike, Checkpoint or None
        File from which the same call goes on; `rounds`, `threads`, `progress` and `stop` may then
        differ. A function of the heads or features must be made of the same code and values.
    progress : bool or callable
        True shows a bar on a terminal where tqdm is installed; a function is called with the
        rounds done and their total.
    on_failure : {"return", "raise"}
        What a trial that diverges leads to: its status and one warning for all, or `Diverged`.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    Result
        Trace, state, status and timings.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, or the checkpoint is of another run.
    Diverged
        If a trial diverged and `on_failure` is "raise"; `.result` holds what there is.
    Interrupted
        On Ctrl-C; `.result` holds the rounds that were finished, and the message names the
        checkpoint that does.

    Warns
    -----
    DivergenceWarning
        If trials diverged and `on_failure` is "return".
    FewSamplesWarning
        If all samples of a batch or a pool are fewer than a tenth of the d k unknowns of the
        representation. Nothing is said of sparse features, whose columns are of many sizes.

    Notes
    -----
    A round costs at most ``O(n (k_star + k) k (J + 1)^2)`` per trial with infinitely many samples.
    On arrays it reads every X once or a few times, or, by the dual route (24), costs ``O(N^2 k)``
    for N samples whatever d is, after one pass of ``O(N^2 d)``; `estimate` tells. Every random
    number is a function of seed, trial, round and place: at one instruction-set level, and by one
    route, the bits do not depend on threads or on interruptions.

    References
    ----------
    Collins, Mokhtari, Oh, Shakkottai, "MAML and ANIL provably learn representations", ICML 2022.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10**6, k=3)
    >>> r = ms.train(tasks, "anil", alpha=0.1, beta=0.1, rounds=2000, n=10, stop=None)
    >>> print(r.status)
    did all its rounds (round 2000)
    >>> r.trace["dist"].shape
    (2001,)
    """
    config = configure(
        tasks,
        method,
        rounds=rounds,
        n=n,
        m_in=m_in,
        m_out=m_out,
        width=width,
        init=init,
        engine=engine,
        route=route,
        accumulate=accumulate,
        pool=pool,
        shared_samples=shared_samples,
        track_start=track_start,
        seed=seed,
        trials=trials,
        threads=threads,
        device=device,
        dtype=dtype,
        record=record,
        record_every=record_every,
        stop=stop,
        checkpoint=checkpoint,
        progress=progress,
        on_failure=on_failure,
        **steps,
    )
    _warn_of_few_samples(config)
    found = run(config)
    _report_divergence(found)
    return found


def run(config: TrainConfig) -> Result:
    r"""Do a run that has been configured; trials that diverge are in its result, and no more.

    Parameters
    ----------
    config : TrainConfig
        The run.

    Returns
    -------
    Result
        Trace, state, status and timings.

    Raises
    ------
    ValueError
        If the checkpoint is of another run.
    Interrupted
        On Ctrl-C; `.result` holds the rounds that were finished.
    """
    began = time.perf_counter()
    journal = None if config.checkpoint is None else Journal(config)
    trials = journal.resume() if journal else None
    if trials is None:
        trials = begin(config)
    config = replace(config, route=trials.route)
    prepared = time.perf_counter()

    def build() -> Result:
        now = time.perf_counter()
        seconds = {"prepare": prepared - began, "run": now - prepared, "total": now - began}
        return result.build(config, trials, seconds)

    try:
        if trials.live:
            drive(config, trials, journal)
    except KeyboardInterrupt:
        found = build()
        raise Interrupted(_interruption(found), found) from None
    return build()


def _interruption(found: Result) -> str:
    """Say in which round a run was interrupted, and how it goes on."""
    config = found.config
    standing = [end.round for end in found.outcomes if end == Status.INTERRUPTED]
    first, last = min(standing, default=config.rounds), max(standing, default=config.rounds)
    rounds = f"round {first}" if first == last else f"rounds {first} to {last}"
    message = f"training was interrupted in {rounds} of {config.rounds}; "
    path = None if config.checkpoint is None else Path(config.checkpoint.path)
    if path is not None and path.is_file():
        return f"{message}{str(path)!r} holds it, and the same call goes on from there"
    return f"{message}.result holds the rounds that were finished"


def begin(config: TrainConfig) -> Trials:
    """Return the trials of a run at round 0."""
    count, names = len(config.trials), config.layout.columns
    memory.require(f"{count} trials", 8 * count * (config.width * (config.k_star + 1) + 64))
    return Trials(
        parts=engine_of(config).start(config, config.trials),
        rounds=[0] * count,
        status=[core.TrialStatus.LIVE] * count,
        columns=names,
        rows=[(np.empty(0, np.int64), np.empty((0, len(names))))] * count,
        route=chosen_route(config),
    )


def drive(config: TrainConfig, trials: Trials, journal: Journal | None) -> None:
    """Do all rounds, and leave the trials and the checkpoint up to date whatever happens."""
    live = trials.live
    groups = [[i] for i in live] if engine_of(config).own_data(config) else [live]
    total = config.rounds * len(groups)
    done = min((trials.rounds[i] for i in groups[0]), default=0)
    with progress.reporter(config.progress, done, total) as report:
        for number, indices in enumerate(groups):
            first = number * config.rounds
            Group(config, trials, indices).run(journal, partial(_report_shifted, report, first))


def _report_shifted(report: Callable[[int], object], first: int, at: int) -> None:
    """Report rounds of a group that comes after others."""
    report(first + at)


class Group:
    r"""Trials that the core holds at a time.

    Parameters
    ----------
    config : TrainConfig
        The run.
    trials : Trials
        Where all its trials stand.
    indices : list of int
        Those of the group, all live.
    """

    def __init__(self, config: TrainConfig, trials: Trials, indices: list[int]) -> None:
        self._config = config
        self._trials = trials
        self._indices = indices
        self._trial_ids = [config.trials[i] for i in indices]
        self._user_heads = config.layout.calls_heads
        self._run = engine_of(config).open(config, trials, indices)
        assert trials.columns == tuple(self._run.columns)

    @property
    def _slowest(self) -> int:
        """Round of the live trial that is furthest behind; the last round where all have ended."""
        standing = zip(self._run.rounds, self._run.status, strict=True)
        return min(
            (done for done, status in standing if status == core.TrialStatus.LIVE),
            default=self._config.rounds,
        )

    def run(self, journal: Journal | None, report: Callable[[int], object]) -> None:
        """Do all rounds, and leave the trials and the checkpoint up to date whatever happens."""
        try:
            self._to_end(journal, report)
        finally:
            self._keep(journal)
        self._measure_end()

    def _to_end(self, journal: Journal | None, report: Callable[[int], object]) -> None:
        """Advance every live trial to the last round."""
        config = self._config
        stop_dist, stop_loss = _stop_values(config)
        chunk = 16 if config.engine == "population" else 1
        at = self._slowest
        # At least one call, also where no round is left: it is what tells the core the plan.
        while True:
            end = min(config.rounds, at + self._fitting(chunk))
            started = time.perf_counter()
            given = self._given_heads(at, end)
            self._run.advance(end, config.record_every, stop_dist, stop_loss, given, config.threads)
            elapsed = time.perf_counter() - started
            chunk = max(1, round(chunk * min(8.0, CHUNK_SECONDS / max(elapsed, 1e-9))))
            at = self._slowest
            report(at)
            if at >= config.rounds:
                return
            if journal and journal.due:
                self._keep(journal)

    def _measure_end(self) -> None:
        """Record the end of every trial that did all rounds, on the tasks of the next one.

        Comes after the last checkpoint: a longer run has no row here, and must resume as if there
        had been none.
        """
        config, trials = self._config, self._trials
        live = [place for place in self._indices if trials.status[place] == core.TrialStatus.LIVE]
        self._run.measure(self._given_heads(config.rounds, config.rounds + 1), config.threads)
        self._keep(None)
        for place in live:
            # The state is finite, but the next round's gradient would not be.
            if not np.isfinite(trials.rows[place][1][-1]).all():
                trials.status[place] = core.TrialStatus.DIVERGED

    def _keep(self, journal: Journal | None) -> None:
        """Bring the trials and the checkpoint up to date; a Ctrl-C meanwhile comes after it."""
        trials, run = self._trials, self._run
        with signals.defer_interrupts():
            parts = run.state()
            if "A" in parts:
                parts["B"] = run.representation(self._config.threads)
            trials.put(self._indices, parts)
            for place, done, status in zip(self._indices, run.rounds, run.status, strict=True):
                trials.rounds[place], trials.status[place] = done, status
            for place, new in zip(self._indices, run.rows(), strict=True):
                known = trials.rows[place]
                trials.rows[place] = (
                    np.concatenate([known[0], new[0]]),
                    np.concatenate([known[1], new[1]]),
                )
            run.drop_rows()
            if journal:
                journal.save(trials)

    def _fitting(self, chunk: int) -> int:
        """As many rounds of a chunk as there is room for the heads of."""
        if not self._user_heads:
            return chunk
        config = self._config
        per_round = len(self._indices) * config.n_tasks * config.k_star
        return max(1, min(chunk, HEADS_AT_ONCE // per_round))

    def _given_heads(self, begin: int, end: int) -> F64 | None:
        """Heads of the user's function for rounds begin..end-1, (trials, rounds, n, k_star)."""
        if not self._user_heads:
            return None
        config, law = self._config, self._config.drawn_tasks
        given = np.zeros((len(self._trial_ids), end - begin, config.n_tasks, law.k))
        standing = zip(self._trial_ids, self._run.rounds, self._run.status, strict=True)
        for i, (number, done, status) in enumerate(standing):
            for round in range(max(begin, done), end if status == core.TrialStatus.LIVE else begin):
                given[i, round - begin] = heads.draw(
                    law.heads, config.n_tasks, law.k, (config.seed, number, round)
                )
        return given


def _stop_values(config: TrainConfig) -> tuple[float, float]:
    """Bounds on `dist` and `loss_out` as the core takes them: 0 is never."""
    if config.stop is None:
        return 0.0, 0.0
    dist = config.stop.dist if config.k_star else None
    return dist or 0.0, config.stop.loss_out or 0.0


def _report_divergence(found: Result) -> None:
    """Warn once, or raise, if trials diverged."""
    failed = [
        f"trial {number} in round {outcome.round}"
        for number, outcome in zip(found.config.trials, found.outcomes, strict=True)
        if outcome == Status.DIVERGED
    ]
    if not failed:
        return
    shown = ", ".join(failed[:3]) + (", ..." if len(failed) > 3 else "")
    message = f"{len(failed)} of {len(found.outcomes)} trials diverged ({shown})"
    if found.config.on_failure == "raise":
        raise Diverged(message, found)
    warnings.warn(message, DivergenceWarning, stacklevel=3)


def _warn_of_few_samples(config: TrainConfig) -> None:
    """Warn where data that stay the same are too few to tell a representation."""
    tasks = config.tasks
    if isinstance(tasks, TaskBatch):
        if tasks.is_sparse:
            return
        n, shared = tasks.n, tasks.shared
        sizes = [tasks.m_out] if shared else [tasks.m_in, tasks.m_out]
        samples = sum(sum(m) if isinstance(m, tuple) else n * m for m in sizes)
    elif config.pool is not None and config.m_in is not None:
        pool, m_in, m_out = config.pooled
        samples = pool * (m_out if config.shared_samples else m_in + m_out)
    else:
        return  # new samples every round, or infinitely many
    unknowns = tasks.d * (config.k_star or config.width)
    if samples < FEW_SAMPLES * unknowns:
        message = (
            f"the run trains on {samples} samples in all, far fewer than the d k = {unknowns} "
            "unknowns of a representation: it may fit them and learn nothing for new tasks, and "
            "loss_out is the loss of these samples"
        )
        warnings.warn(message, FewSamplesWarning, stacklevel=3)
