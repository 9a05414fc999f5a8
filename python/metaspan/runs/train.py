r"""Training: the core does rounds in chunks; checkpoints and progress come between the chunks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from .._device import open_device
from .._load import core
from .._support import memory, progress, signals
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.configure import configure
from ..config.counts import DEFAULT_N
from ..config.options import DEFAULT_STOP, Checkpoint, Stop
from ..cost.routes import chosen_route
from ..cost.workload import workload_of
from ..engines import engine_of
from ..engines.trials import LIVE, Trials
from ..methods import Method
from ..outer_step import step_factors
from ..sharding.agreement import agree, agreed, guarded
from ..tasks import heads
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from .assemble import build
from .checkpoint import Journal
from .outcome import Interrupted, Status, report_failures
from .result import Result
from .sharded import check_ranks_agree
from .warn import warn_of_few_samples, warn_of_growing_head, warn_of_local_steps

if TYPE_CHECKING:
    from ..config.start import StartLike

CHUNK_SECONDS = 0.05  # seconds that one call of the core should take
FACTORS_AT_ONCE = 2**16  # most rounds whose factors of a schedule are computed in advance
HEADS_AT_ONCE = 2**22  # most numbers (32 MiB) that a user's function draws in advance for a chunk


@overload
def train(
    tasks: LinearTasks,
    method: Method | str,
    *,
    rounds: int = ...,
    n: int | None = ...,
    m_in: int | None = ...,
    m_out: int | None = ...,
    d_over_n: float | None = ...,
    width: int | None = ...,
    init: StartLike = ...,
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
    comm: Any = ...,
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
    d_over_n: None = ...,
    width: int | None = ...,
    init: StartLike = ...,
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
    comm: Any = ...,
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
    d_over_n: float | None = None,
    width: int | None = None,
    init: StartLike = None,
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
    comm: Any = None,
    **steps: float,
) -> Result:
    r"""Train a representation and a head, on tasks from a distribution or on the user's own data.

    Each round takes n tasks, adapts to each of them by the inner steps of the method, and then
    makes one outer step :math:`B \leftarrow B - \beta\, \nabla_B`,
    :math:`w \leftarrow w - \beta\, \nabla_w` with the mean over tasks of (8)-(10),
    or with the weighted mean (47) if a batch has weights.

    By default every task has infinitely many samples and every round draws new tasks. Unless the
    features have a spectrum, such a run takes place in the coordinates (13), at a cost that does
    not depend on d. The tasks of a batch and of a `pool` stay the same for all rounds, and each
    round chooses n of them.

    Parameters
    ----------
    tasks : LinearTasks or TaskBatch
        The source of the tasks: a distribution, or a batch with the user's own data.
    method : ANIL, MAML, another method, or str
        The method, or one of the names "anil", "fo-anil", "maml", "fo-maml", "average-risk",
        "fedavg", "reptile", "ridge-anil", "fedrep", "altgdmin", "linear-maml", "linear-attention",
        "meta-sgd", "co-learner".
    rounds : int
        Number of rounds, >= 0.
    n : int or None
        Tasks per round. The default of 100 in the signature is for tasks from a distribution; a
        `TaskBatch` by default uses all its tasks. None: all tasks of the batch, the pool or the
        fixed heads; infinitely many if tasks are drawn afresh. This limit (55) exists for ANIL and,
        under conditions that an error states, for other methods (56)-(58). It needs features that
        are "gaussian" or "sphere" of covariance I, and separate inner and outer samples. From a
        batch, a pool or fixed heads, n tasks are chosen without replacement.
    m_in, m_out : int or None
        Samples per task in the inner and the outer set. None: infinitely many, that is, the
        population loss. Must be None for a batch, whose data determine them.
    d_over_n : float or None
        Dimensions per task, >= 0, in the limit n=None. 0: infinitely many tasks in d dimensions,
        where the state follows the mean gradient. Above 0: n and d go to infinity together with
        d / n = `d_over_n`, and every round adds rows off the span, as the samples of a run of n
        tasks do. ``(d - k_star) / n`` approximates a run of n tasks best. The start is drawn in
        ``tasks.d`` dimensions, which must be at least k_star + width. In the limit, fixed heads are
        equally likely. None: 0 for infinitely many tasks; for fixed heads there is then no limit,
        since n=None takes each of them once a round.
    width : int or None
        Number of columns k of the learner's `B`, 1 <= width <= d. None: the number of columns of
        `B0` if `init` is a pair, 1 for LinearMAML, and otherwise ``tasks.k``; for a batch without a
        `B_star`, `width` or a pair is needed.
    init : {"random", "methodical"}, Init, (B0, w0), estimator, str, Result or None
        The start. ``"random"`` is ``Init()``, and ``"methodical"`` is ``Init(dist=0.7)``. A pair
        holds `B0` of shape (d, k), C-contiguous, float32 or float64, and `w0` of shape (k,). If
        `init` is an estimator of `fit` or its name, the run starts at the estimated subspace,
        scaled as for ``Init()``. On a batch, the estimator uses all samples of the batch. For tasks
        from a distribution, each trial draws n separate tasks for its start, with the finite sample
        counts of a round. If `init` is a `Result` of `fit` or `train` with one trial, the run
        starts at the subspace of its `B`, or, if `B` is None, at that of its coordinates (13) in
        `state`, scaled in the same way. None: "random", or B = 0 for LinearMAML, whose `w0` is 1 at
        every start. LinearAttention takes a pair ``(A0, B0)`` of equal shapes, and has A0 = B0 at
        every start that is drawn.
    engine : {"auto", "population", "collapsed", "limit", "sampled", "arrays"}
        How rounds are computed. "population": infinitely many samples, in coordinates (13).
        "collapsed": finitely many samples, of which only the statistics that a round uses are
        drawn, from their exact law (16)-(19), at a cost that does not depend on d; features must be
        symmetric under rotations and d >= tasks.k + width. With infinitely many samples on both
        sides, "collapsed" computes what "population" does, for features of covariance I.
        "limit": infinitely many tasks a round, by the deterministic recursion (55). "sampled":
        draws all samples at full size, anew in every round (12). "arrays": works on stored data
        (11), which are a batch or a pool that is drawn at full size. "auto": "arrays" for a batch;
        "limit" for infinitely many tasks; "population" if `m_in` and `m_out` are None, unless the
        tasks have a `spread`; otherwise "collapsed" if it applies, or else "arrays" for a pool and
        "sampled" without a pool. ``result.config.engine`` says which engine ran.
    route : {"auto", "gram", "vector", "dual"}
        How a round is computed on data that stay the same, that is, on a batch or a pool. "gram":
        from Z = X B and Gram matrices (5). "vector": by products of X with one vector at a time
        (11). "dual": from the Gram matrix of all samples (24). Results differ only by rounding.
        "auto": the cheapest route according to the cost model; for runs without such data "auto" is
        the only accepted value. ``result.config.route`` says which route ran.
    accumulate : {"float64", "float32"}
        Dtype of the accumulators of sums over float32 data. "float32" is faster if the data fit in
        the cache; its errors are some 1e-7 of the largest term. It needs float32 data, the engine
        "arrays" and the vector route.
    pool : int or None
        Number of tasks that each trial draws once; every round chooses n of them. If `m_in` and
        `m_out` are numbers, the samples of these tasks are drawn once too: "collapsed" draws only
        what it needs of them, from its exact distribution, and "arrays" draws all of
        ``tasks.sample(pool, m_in, m_out, seed=seed, trial=trial)``.
        None: every round draws new tasks.
    shared_samples : bool
        Whether the inner and the outer set of a task are the same samples. It makes no difference
        if the samples are infinitely many.
    track_start : bool
        Whether the engine "collapsed" keeps k more coordinates, those along the directions of the
        start. `Result.full_B` then samples the final B jointly with the start; without these
        coordinates it samples the final B given `B_star` alone. Needs d >= tasks.k + 2 width.
    seed : int
        Key of all random numbers, 0 <= seed < 2**64.
    trials : int or range
        Independent repetitions of the run, all done by one call. A range holds the numbers of the
        trials, and an integer t stands for ``range(t)``. A trial draws from (seed, its number), so
        its bits are the same whether it runs alone or among others. The seeds of a `Study` are
        numbers of trials.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    device : {"cpu", "cuda"}
        The device that computes the rounds. "cuda" needs the device module, a driver and a card.
    dtype : {float32, float64} or None
        Dtype of a `B` of full size and of the data of a pool. None: the dtype of the batch; without
        a batch, that of `B0` or else of `B_star` if it is an array, and otherwise float64.
    record : str, iterable of str, or None
        Quantities that the trace holds, measured before the outer step of a round. "dist" and
        "angles": see (20). "loss_in", "loss_adapted", "loss_out": mean losses (1) over the round's
        tasks, on the inner sets before and after adaptation, and on the outer sets after
        adaptation; all three are training losses. "w_norm", "delta_norm", "sigma_min", "sigma_max",
        "perp_norm", "signal_min", "signal_max", "diversity_min", "diversity_max", "mu", "L", "eta":
        see (21). "alpha": the inner step size, or the mean of several. None: "dist", or "loss_out"
        for a batch without a `B_star`, or both for LinearMAML, whose B = 0 has the distance 1.
    record_every : int
        Rounds from one recorded row to the next; the start and the end are always recorded.
    stop : Stop or None
        The rule by which a trial has converged and stops, by default dist <= 1e-10, or none
        for LinearMAML and LinearAttention. None: no rule.
    checkpoint : str, os.PathLike, Checkpoint or None
        File that holds the state of the run. If the call is repeated, the run continues from this
        file, with the same bits as without an interruption; only `rounds`, `threads`, `progress`,
        `stop`, `device`, `comm` and the checkpoint's settings may differ, and `rounds` not with
        ``schedule="cosine"``. A change of the device changes the rounding errors. A function of
        heads or features must have the same code and values in both calls. A str or a path stands
        for ``Checkpoint(path)``, which is written every 60 s.
    progress : bool or callable
        True shows a bar if standard error is a terminal and tqdm is installed. A function is called
        with the number of rounds done and their total.
    on_failure : {"return", "raise"}
        What happens if trials diverge. "return": the result says so in its status, and one
        `DivergenceWarning` is issued. "raise": `Diverged` is raised at the end.
    comm : mpi4py.MPI.Intracomm or None
        Communicator whose ranks share the run: each holds some of the d columns of X and the same
        rows of B, see `shard`. All ranks make the call with the same arguments, except for
        `threads`, `progress`, and arrays of columns. It needs the engine "arrays" on a batch, or
        "sampled". None: the communicator of the batch, or one process. See docs/cluster.md.
    **steps : float
        Settings of a method given by name, such as ``alpha``, ``beta`` and ``inner_steps``.

    Returns
    -------
    Result
        Trace, state, status and timings.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, or if the checkpoint is of another run.
    FileNotFoundError
        If the folder of the checkpoint does not exist.
    MemoryError
        If the run needs arrays that do not fit into memory; this is checked before they are
        allocated.
    Diverged
        If a trial diverged and `on_failure` is "raise"; its attribute `result` is the `Result`.
    Interrupted
        On Ctrl-C; its attribute `result` holds the rounds that were finished, and its message names
        the checkpoint that holds them too. All ranks of a sharded run raise it in the same round.

    Warns
    -----
    DivergenceWarning
        If trials diverged and `on_failure` is "return".
    NotConvergedWarning
        If the estimator of a start did not converge.
    FewSamplesWarning
        If the number of all samples of a batch or a pool is less than a tenth of the d k unknowns
        of the representation. The warning is not issued for sparse features, which may have few
        entries in most columns.
    GrowingHeadWarning
        If the head of first-order ANIL or MAML probably grows on the finite samples of new tasks,
        since their noise keeps alpha B^T B above I: see docs/choose.md.
    LocalStepsWarning
        If two or more local steps of `FedAvg` or `Reptile` on one data set are probably unstable,
        (25), because d is much larger than the number of samples in this set.

    Notes
    -----
    With infinitely many samples, a round of one trial costs ``O(n (k_star + k) k (J + 1)^2)``
    operations at most. On arrays a round reads every X once or a few times; by the dual route (24)
    it costs ``O(N^2 k)`` for N samples, whatever d is, after one pass over the data in
    ``O(N^2 d)``. `estimate` predicts time and memory.

    Every random number is a function of seed, trial, round, task, row and column. At a given
    instruction-set level, and with a given route, the bits of a run depend neither on the number of
    threads nor on interruptions, nor, with a `comm`, on the number of ranks: see docs/cluster.md.

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
        d_over_n=d_over_n,
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
        comm=comm,
        **steps,
    )
    warn_of_few_samples(config)
    warn_of_local_steps(config)
    warn_of_growing_head(config)
    finished = run(config)
    with agreed(config.exchange):
        report_failures(finished, "round")
    return finished


def run(config: TrainConfig) -> Result:
    r"""Do a configured run, without the warnings and exceptions of `train` about divergence.

    Parameters
    ----------
    config : TrainConfig
        The configuration.

    Returns
    -------
    Result
        Trace, state, status and timings.

    Raises
    ------
    ValueError
        If the checkpoint is of another run.
    ImportError, RuntimeError
        If `device` is "cuda", and the device module or the card is missing.
    Interrupted
        On Ctrl-C; its attribute `result` holds the rounds that were finished.
    """
    began = time.perf_counter()
    if config.device == "cuda":
        open_device()
    with guarded(config.exchange, lambda: "failed before its first round"):
        check_ranks_agree(config)
        journal = None if config.checkpoint is None else Journal(config)
        trials = journal.resume() if journal else None
        if trials is not None and config.device != "cpu":
            _leave_dual_route(config, trials)
        config = _with_route(config, trials.route if trials else _choose_route(config))
        if trials is None:
            trials = begin(config)
    prepared = time.perf_counter()

    def build_result() -> Result:
        now = time.perf_counter()
        seconds = {"prepare": prepared - began, "run": now - prepared, "total": now - began}
        return build(config, trials, seconds)

    try:
        if trials.live:
            drive(config, trials, journal)
    except KeyboardInterrupt:  # of all ranks of a sharded run
        finished = build_result()
        raise Interrupted(_describe_interruption(finished), finished) from None
    return build_result()


def _choose_route(config: TrainConfig) -> str | None:
    """Return the chosen route; rank 0 chooses, since rates and free memory differ between ranks."""
    if isinstance(config.tasks, TaskBatch):
        config.tasks.sparsity  # noqa: B018  (computed by all ranks, and kept)
    return agree(config.exchange, lambda: chosen_route(config) if config.is_root else None)


def _describe_interruption(interrupted: Result) -> str:
    """Say in which round a run was interrupted, and where the finished rounds are kept."""
    config = interrupted.config
    standing = [end.round for end in interrupted.outcomes if end == Status.INTERRUPTED]
    first, last = min(standing, default=config.rounds), max(standing, default=config.rounds)
    rounds = f"round {first}" if first == last else f"rounds {first} to {last}"
    message = f"training was interrupted in {rounds} of {config.rounds}; "
    path = None if config.checkpoint is None else Path(config.checkpoint.path)
    if path is not None and path.is_file():
        return f"{message}{str(path)!r} holds its state, from which the same call continues"
    return f"{message}.result holds the finished rounds"


def _leave_dual_route(config: TrainConfig, trials: Trials) -> None:
    """Let a device, which has no dual route (24), continue a run of this route from its B.

    A checkpoint of the dual route does not contain the blocks beside B, (28). A run with such
    blocks therefore keeps its route, and `open_on` refuses it.
    """
    if trials.route == "dual" and "A_memory" not in trials.parts:
        del trials.parts["A"]
        trials.route = workload_of(config).device_route


def begin(config: TrainConfig) -> Trials:
    """Make the trials of a run whose route is chosen, at round 0."""
    count, names = len(config.trials), config.layout.columns
    with agreed(config.exchange):
        memory.require(f"{count} trials", 8 * count * (config.columns * (config.k_star + 1) + 64))
    return Trials(
        parts=engine_of(config).start(config, config.trials),
        rounds=[0] * count,
        status=[LIVE] * count,
        columns=names,
        rows=[(np.empty(0, np.int64), np.empty((0, len(names))))] * count,
        route=config.route,
    )


def _with_route(config: TrainConfig, route: str | None) -> TrainConfig:
    """Return the configuration with a route, and with the same layout, which no route changes."""
    if route == config.route:
        return config
    routed = replace(config, route=route)
    for name in ("layout", "shard"):  # otherwise they would be made again
        vars(routed)[name] = getattr(config, name)
    return routed


def drive(config: TrainConfig, trials: Trials, journal: Journal | None) -> None:
    """Do all rounds; the trials and the checkpoint are up to date even if this raises."""
    live = trials.live
    # The core holds all trials at a time unless each has data of its own, which may be large.
    groups = [[i] for i in live] if engine_of(config).own_data(config) else [live]
    total = config.rounds * len(groups)
    done = min((trials.rounds[i] for i in groups[0]), default=0)
    # Ranks must end in the same round. They handle signals together, at the end of a chunk.
    deferral = nullcontext(None) if config.exchange is None else signals.defer_interrupts()
    shown = config.progress if config.is_root else False
    with deferral as call_handlers, progress.reporter(shown, done, total) as report:
        for number, indices in enumerate(groups):
            first = number * config.rounds
            report_here = partial(_report_shifted, report, first, call_handlers)
            # No variable refers to a finished group, since the next group needs its memory.
            TrialGroup(config, trials, indices).advance(journal, report_here)


def _report_shifted(
    report: Callable[[int], object],
    first: int,
    call_handlers: Callable[[], None] | None,
    at: int,
) -> None:
    """Report the rounds of a group, after the `first` rounds of the groups before it.

    Then call the handlers of signals that were deferred.
    """
    report(first + at)
    if call_handlers is not None:
        call_handlers()


class TrialGroup:
    r"""The trials that the core advances side by side.

    Parameters
    ----------
    config : TrainConfig
        The configuration of the run.
    trials : Trials
        The states of all trials of the run.
    indices : list of int
        Indices of the group's trials, all live.
    """

    def __init__(self, config: TrainConfig, trials: Trials, indices: list[int]) -> None:
        self._config = config
        self._trials = trials
        self._indices = indices
        self._trial_ids = [config.trials[i] for i in indices]
        self._user_heads = config.layout.calls_heads
        step = config.method.step
        self._has_schedule = step is not None and step.schedule != "constant"
        self._run = engine_of(config).open(config, trials, indices)
        assert trials.columns == tuple(self._run.columns)

    @property
    def _slowest(self) -> int:
        """Round of the live trial that is furthest behind; the last round if all trials ended."""
        standing = zip(self._run.rounds, self._run.status, strict=True)
        return min(
            [done for done, status in standing if status == LIVE],
            default=self._config.rounds,
        )

    def advance(self, journal: Journal | None, report: Callable[[int], object]) -> None:
        """Do all rounds; the trials and the checkpoint are up to date even if this raises."""
        exchange = self._config.exchange
        guard = partial(
            guarded,
            exchange,
            lambda: f"failed in round {self._slowest}",
            lambda: journal.hint if journal else "",
        )
        with guard():
            try:
                with guard():  # ends all ranks before this rank saves a state alone
                    self._advance_to_end(journal, report)
            finally:
                self._keep(journal)
            self._measure_end()

    def _advance_to_end(self, journal: Journal | None, report: Callable[[int], object]) -> None:
        """Advance every live trial to the last round, in chunks of about CHUNK_SECONDS."""
        config = self._config
        stop_dist, stop_loss = _stop_values(config)
        chunk = 16 if config.engine == "population" else 1
        at = self._slowest
        # The core is called at least once, even if no round is left, since the call also sets what
        # the core records.
        while True:
            end = min(config.rounds, at + self._limit_chunk(chunk))
            started = time.perf_counter()
            w_star, factors = self._call_heads(at, end), self._call_schedule(at, end)
            self._run.advance(
                end, config.record_every, stop_dist, stop_loss, w_star, config.threads, factors
            )
            elapsed = time.perf_counter() - started
            at = self._slowest
            finish = partial(_finish_chunk, partial(report, at), chunk, elapsed, journal)
            chunk, is_due = agree(config.exchange, finish)
            if at >= config.rounds:
                return
            if is_due:
                self._keep(journal)

    def _measure_end(self) -> None:
        """Record the end of every trial that did all rounds, on the tasks of the next round.

        This row is recorded after the last checkpoint is written. A longer run does not have the
        row, and a checkpoint must not depend on where a shorter run ended.
        """
        config, trials = self._config, self._trials
        live = [i for i in self._indices if trials.status[i] == LIVE]
        self._run.measure(self._call_heads(config.rounds, config.rounds + 1), config.threads)
        self._keep(None, stepped=False)
        for i in live:
            # The state is finite, but the next round's gradient would not be.
            if not all(map(math.isfinite, trials.rows[i][1][-1].tolist())):
                trials.status[i] = core.TrialStatus.DIVERGED

    def _keep(self, journal: Journal | None, stepped: bool = True) -> None:
        """Copy the core's states and rows to the trials and the checkpoint; defers Ctrl-C.

        A state at full size, which may be large, is copied only if the trials `stepped` since the
        last copy. Coordinates are always copied, since the core may have changed their basis
        without a step.
        """
        trials, run = self._trials, self._run
        with signals.defer_interrupts():
            if stepped or not self._config.layout.full_size:
                parts = run.state()
                if "A" in parts:
                    parts["B"] = run.representation(self._config.threads)
                trials.put(self._indices, parts)
            for i, done, status in zip(self._indices, run.rounds, run.status, strict=True):
                trials.rounds[i], trials.status[i] = done, status
            for i, new in zip(self._indices, run.rows(), strict=True):
                trials.add_rows(i, *new)
            run.drop_rows()
            if journal:
                journal.save(trials)

    def _limit_chunk(self, chunk: int) -> int:
        """Shorten a chunk if Python has to draw its heads or compute factors of a schedule.

        A chunk always has at least one round.
        """
        if self._has_schedule:
            chunk = min(chunk, FACTORS_AT_ONCE)
        if not self._user_heads:
            return chunk
        config = self._config
        per_round = len(self._indices) * config.n_tasks * config.k_star
        return max(1, min(chunk, HEADS_AT_ONCE // per_round))

    def _call_schedule(self, begin: int, end: int) -> F64 | None:
        """Return the factors of the step sizes in rounds begin to end - 1; None if all are 1."""
        step = self._config.method.step
        if step is None or not self._has_schedule:
            return None
        return step_factors(step, begin, end, self._config.rounds)

    def _call_heads(self, begin: int, end: int) -> F64 | None:
        """Draw heads by the user's function, if there is one, for rounds begin to end - 1.

        Returns an array of shape (trials, rounds, n, k_star), with zeros where a trial is ahead of
        a round or has ended.
        """
        if not self._user_heads:
            return None
        with agreed(self._config.exchange):
            return self._draw_heads(begin, end)

    def _draw_heads(self, begin: int, end: int) -> F64:
        """Call the user's function of heads, for `_call_heads`."""
        config, law = self._config, self._config.drawn_tasks
        w_star = np.zeros((len(self._trial_ids), end - begin, config.n_tasks, law.k))
        standing = zip(self._trial_ids, self._run.rounds, self._run.status, strict=True)
        for i, (number, done, status) in enumerate(standing):
            for round in range(max(begin, done), end if status == LIVE else begin):
                w_star[i, round - begin] = heads.draw(
                    law.heads, config.n_tasks, law.k, (config.seed, number, round)
                )
        return w_star


def _finish_chunk(
    report: Callable[[], object], chunk: int, elapsed: float, journal: Journal | None
) -> tuple[int, bool]:
    """Report the rounds of a chunk; return the length of the next, and if the state must be saved.

    The ranks of a sharded run take the answer of rank 0.
    """
    report()
    longer = max(1, round(chunk * min(8.0, CHUNK_SECONDS / max(elapsed, 1e-9))))
    return longer, journal is not None and journal.due


def _stop_values(config: TrainConfig) -> tuple[float, float]:
    """Return the bounds on `dist` and `loss_out` at which the core stops a trial; 0 means never."""
    if config.stop is None:
        return 0.0, 0.0
    dist = config.stop.dist if config.k_star else None
    return dist or 0.0, config.stop.loss_out or 0.0
