r"""Training: rounds in the compiled core, everything else between its chunks."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _progress, heads, result
from ._load import core
from .checkpoint import Journal
from .config import TrainConfig, configure, takes
from .methods import core_method
from .result import Diverged, DivergenceWarning, Interrupted, Result, Status
from .state import Trials, begin

F64 = NDArray[np.float64]

CHUNK_SECONDS = 0.05
HEADS_AT_ONCE = 2**22  # numbers that a user's function may have drawn ahead: 32 MiB


@takes(configure)
def train(*args: Any, **kwargs: Any) -> Result:
    r"""Train a representation and a head on tasks drawn afresh every round.

    Each round takes n tasks, adapts to each with the inner steps of the method, and moves
    :math:`(B, w)` along the mean of what (8)-(10) give per task:
    :math:`B \leftarrow B - \beta\, \nabla_B`, :math:`w \leftarrow w - \beta\, \nabla_w`.
    Losses are those of infinitely many samples, so that the run lives in the coordinates (13) and
    its cost does not depend on d.

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
        On Ctrl-C; `.result` holds the rounds that were finished.

    Warns
    -----
    DivergenceWarning
        If trials diverged and `on_failure` is "return".

    Notes
    -----
    A round costs at most ``O(n (k_star + k) k (J + 1)^2)`` per trial. Every random number is a
    function of seed, trial, round and place: at one instruction-set level the bits do not depend on
    threads or on interruptions.

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
    began = time.perf_counter()
    config = configure(*args, **kwargs)
    journal = None if config.checkpoint is None else Journal(config)
    trials = journal.resume() if journal else None
    if trials is None:
        trials = begin(config)
    prepared = time.perf_counter()

    def build() -> Result:
        now = time.perf_counter()
        seconds = {"prepare": prepared - began, "run": now - prepared, "total": now - began}
        return result.build(config, trials, seconds)

    try:
        if trials.live:
            Drive(config, trials).run(journal)
    except KeyboardInterrupt:
        message = "training was interrupted; .result holds the rounds that were finished"
        raise Interrupted(message, build()) from None
    found = build()
    _report_divergence(found)
    return found


class Drive:
    r"""The live trials of a run in the compiled core, and what happens between chunks of rounds.

    Parameters
    ----------
    config : TrainConfig
        The run.
    trials : Trials
        Where its trials stand.
    """

    def __init__(self, config: TrainConfig, trials: Trials) -> None:
        self._config = config
        self._trials = trials
        self._places = trials.live
        self._numbers = [config.trials[i] for i in self._places]
        self._user_heads = callable(config.tasks.heads) and config.pool is None
        self._run = core.Run.population(
            core_method(config.method),
            trials.M[self._places],
            trials.R[self._places],
            trials.w[self._places],
            _law(config, self._numbers),
            config.n,
            config.tasks.noise,
            config.seed,
            self._numbers,
            [trials.rounds[i] for i in self._places],
            config.record,
            None if trials.frames is None else trials.frames[self._places],
        )
        trials.columns = trials.columns or tuple(self._run.columns)

    @property
    def _slowest(self) -> int:
        """Round of the live trial that is furthest behind; the last round where all have ended."""
        standing = zip(self._run.rounds, self._run.status, strict=True)
        return min(
            (done for done, status in standing if status == core.LIVE), default=self._config.rounds
        )

    def run(self, journal: Journal | None) -> None:
        """Do all rounds, and leave the trials and the checkpoint up to date whatever happens."""
        try:
            self._to_end(journal)
        finally:
            self._collect()
            if journal:
                journal.save(self._trials)
        self._measure_end()

    def _to_end(self, journal: Journal | None) -> None:
        """Advance every live trial to the last round."""
        config = self._config
        stop_dist, stop_loss = _stop_values(config)
        chunk = 16
        at = self._slowest
        with _progress.reporter(config.progress, at, config.rounds) as report:
            # At least one call, also where no round is left: it is what tells the core the plan.
            while True:
                end = min(config.rounds, at + self._fitting(chunk))
                started = time.perf_counter()
                given = self._given_heads(at, end)
                self._run.advance(
                    end, config.record_every, stop_dist, stop_loss, given, config.threads
                )
                elapsed = time.perf_counter() - started
                chunk = max(1, round(chunk * min(8.0, CHUNK_SECONDS / max(elapsed, 1e-9))))
                at = self._slowest
                report(at)
                if at >= config.rounds:
                    return
                if journal and journal.due:
                    self._collect()
                    journal.save(self._trials)

    def _measure_end(self) -> None:
        """Record the end of every trial that did all rounds, on the tasks of the next one.

        Comes after the last checkpoint: a longer run has no row here, and must resume as if there
        had been none.
        """
        config, trials = self._config, self._trials
        live = trials.live
        self._run.measure(self._given_heads(config.rounds, config.rounds + 1), config.threads)
        self._collect()
        for place in live:
            # The state is finite, but the next round's gradient would not be.
            if not np.isfinite(trials.rows[place][1][-1]).all():
                trials.status[place] = core.DIVERGED

    def _collect(self) -> None:
        """Bring the trials up to date."""
        trials, run = self._trials, self._run
        M, R, w, frames = run.state()
        if trials.frames is None:
            trials.frames = frames
        places = self._places
        trials.M[places], trials.R[places], trials.w[places] = M, R, w
        trials.frames[places] = frames
        for place, done, status in zip(self._places, run.rounds, run.status, strict=True):
            trials.rounds[place], trials.status[place] = done, status
        self._take_rows()

    def _take_rows(self) -> None:
        """Append what the core has recorded; it forgets it only then.

        A Ctrl-C may strike at any step of this. The rows are then still in the core, and the next
        call takes those that are newer than the last one here: none is lost, and none comes twice.
        """
        for place, (rounds, values) in zip(self._places, self._run.rows(), strict=True):
            known, before = self._trials.rows[place]
            if known.size:
                new = rounds > known[-1]
                rounds = np.concatenate([known, rounds[new]])  # noqa: PLW2901
                values = np.concatenate([before, values[new]])  # noqa: PLW2901
            self._trials.rows[place] = rounds, values
        self._run.drop_rows()

    def _fitting(self, chunk: int) -> int:
        """As many rounds of a chunk as there is room for the heads of."""
        if not self._user_heads:
            return chunk
        config = self._config
        per_round = len(self._places) * config.n * config.tasks.k
        return max(1, min(chunk, HEADS_AT_ONCE // per_round))

    def _given_heads(self, begin: int, end: int) -> F64 | None:
        """Heads of the user's function for rounds begin..end-1, (trials, rounds, n, k_star)."""
        if not self._user_heads:
            return None
        config = self._config
        given = np.zeros((len(self._numbers), end - begin, config.n, config.tasks.k))
        standing = zip(self._numbers, self._run.rounds, self._run.status, strict=True)
        for i, (number, done, status) in enumerate(standing):
            for round in range(max(begin, done), end if status == core.LIVE else begin):
                given[i, round - begin] = heads.draw(
                    config.tasks.heads, config.n, config.tasks.k, (config.seed, number, round)
                )
        return given


def _law(config: TrainConfig, numbers: list[int]) -> heads.CoreLaw:
    """Where the core takes the heads of a round from."""
    tasks = config.tasks
    if config.pool is None:
        return heads.core_law(tasks.heads)
    pools = [
        heads.draw_pool(tasks.heads, config.pool, tasks.k, config.seed, number)
        for number in numbers
    ]
    return ("table", np.stack(pools))


def _stop_values(config: TrainConfig) -> tuple[float, float]:
    """Bounds on `dist` and `loss_out` as the core takes them: 0 is never."""
    if config.stop is None:
        return 0.0, 0.0
    return config.stop.dist or 0.0, config.stop.loss_out or 0.0


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
