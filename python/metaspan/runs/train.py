r"""Training: rounds in the compiled core, everything else between its chunks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import memory, progress, signals
from ..config.config import TrainConfig, configure, takes
from ..cost.routes import chosen_route
from ..engines import engine_of
from ..engines.trials import Trials
from ..tasks import heads
from ..tasks.batch import TaskBatch
from . import result
from .checkpoint import Journal
from .outcome import Diverged, DivergenceWarning, FewSamplesWarning, Interrupted, Status
from .result import Result

F64 = NDArray[np.float64]

CHUNK_SECONDS = 0.05
FEW_SAMPLES = (
    0.1  # of the unknowns: `theory.error_floor` is then above 3, and 1 is no result at all
)
HEADS_AT_ONCE = 2**22  # numbers that a user's function may have drawn ahead: 32 MiB


@takes(configure)
def train(*args: Any, **kwargs: Any) -> Result:
    r"""Train a representation and a head, on tasks from a law or on data of the user's own.

    Each round takes n tasks, adapts to each with the inner steps of the method, and moves
    :math:`(B, w)` along the mean of what (8)-(10) give per task:
    :math:`B \leftarrow B - \beta\, \nabla_B`, :math:`w \leftarrow w - \beta\, \nabla_w`.
    With infinitely many samples a task, tasks are drawn afresh every round and the run lives in the
    coordinates (13), at a cost that does not depend on d. A batch, or a pool of tasks with finite
    samples, stays the same for all rounds, which choose from its tasks.

    Parameters
    ----------
    {parameters}

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
    config = configure(*args, **kwargs)
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
        status=[core.LIVE] * count,
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
            Group(config, trials, indices).run(journal, partial(_shifted, report, first))


def _shifted(report: Callable[[int], object], first: int, at: int) -> None:
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
    places : list of int
        Those of the group, all live.
    """

    def __init__(self, config: TrainConfig, trials: Trials, places: list[int]) -> None:
        self._config = config
        self._trials = trials
        self._places = places
        self._numbers = [config.trials[i] for i in places]
        self._user_heads = config.layout.calls_heads
        self._run = engine_of(config).open(config, trials, places)
        assert trials.columns == tuple(self._run.columns)

    @property
    def _slowest(self) -> int:
        """Round of the live trial that is furthest behind; the last round where all have ended."""
        standing = zip(self._run.rounds, self._run.status, strict=True)
        return min(
            (done for done, status in standing if status == core.LIVE), default=self._config.rounds
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
        live = [place for place in self._places if trials.status[place] == core.LIVE]
        self._run.measure(self._given_heads(config.rounds, config.rounds + 1), config.threads)
        self._keep(None)
        for place in live:
            # The state is finite, but the next round's gradient would not be.
            if not np.isfinite(trials.rows[place][1][-1]).all():
                trials.status[place] = core.DIVERGED

    def _keep(self, journal: Journal | None) -> None:
        """Bring the trials and the checkpoint up to date; a Ctrl-C meanwhile comes after it."""
        trials, run = self._trials, self._run
        with signals.held():
            parts = run.state()
            if "A" in parts:
                parts["B"] = run.representation(self._config.threads)
            trials.put(self._places, parts)
            for place, done, status in zip(self._places, run.rounds, run.status, strict=True):
                trials.rounds[place], trials.status[place] = done, status
            for place, new in zip(self._places, run.rows(), strict=True):
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
        per_round = len(self._places) * config.n_tasks * config.k_star
        return max(1, min(chunk, HEADS_AT_ONCE // per_round))

    def _given_heads(self, begin: int, end: int) -> F64 | None:
        """Heads of the user's function for rounds begin..end-1, (trials, rounds, n, k_star)."""
        if not self._user_heads:
            return None
        config, law = self._config, self._config.law
        given = np.zeros((len(self._numbers), end - begin, config.n_tasks, law.k))
        standing = zip(self._numbers, self._run.rounds, self._run.status, strict=True)
        for i, (number, done, status) in enumerate(standing):
            for round in range(max(begin, done), end if status == core.LIVE else begin):
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
