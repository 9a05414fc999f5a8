r"""Predicts memory and time of a training run, or of a fit, before it starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import DTypeLike

from .._support import check
from ..config.config import TrainConfig
from ..config.configure import configure
from ..config.counts import DEFAULT_N, DEFAULT_ROUNDS, round_text
from ..config.fit_config import FitConfig
from ..config.options import DEFAULT_STOP, Checkpoint, FittedStart, Stop
from ..config.sharded import check_sharded_run
from ..cost.device import on_device
from ..cost.estimate import Estimate
from ..engines import engine_of
from ..estimators import names
from ..estimators.configure import configure_fit, width_until_chosen
from ..estimators.fitted import counts_of_start, source_of
from ..methods import Method
from ..solved_methods import AltGDmin
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks

if TYPE_CHECKING:
    from ..config.start import StartLike
    from ..estimators.estimator import Estimator

CALLS = ("auto", "train", "fit")
MOST_RANKS = 2**31 - 1  # of a communicator of MPI


def estimate(
    tasks: LinearTasks | TaskBatch,
    method: Method | Estimator | str,
    *,
    rounds: int = DEFAULT_ROUNDS,
    n: int | None = DEFAULT_N,
    m_in: int | None = None,
    m_out: int | None = None,
    d_over_n: float | None = None,
    width: int | str | None = None,
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
    ranks: int | None = None,
    m: int | None = None,
    call: str = "auto",
    **steps: Any,
) -> Estimate:
    r"""Predict the memory and the time of a call of `train` or `fit` with the same arguments.

    Parameters
    ----------
    tasks, method : object
        As in `train`, which describes all arguments; or, as `method`, an estimator of `fit` or its
        name. Then all other arguments are those of `fit`.
    rounds, n, m_in, m_out, d_over_n, width, init, engine, route, accumulate : object
        As in `train`. The default of n does not apply to a `TaskBatch`: by default, a round uses
        all tasks of the batch.
    pool, shared_samples, track_start, seed, trials, threads, device, dtype, record : object
        As in `train`.
    record_every, stop, checkpoint, progress, on_failure, comm, **steps : object
        As in `train`.
    ranks : int or None
        Number of ranks of a communicator that share the run, see `train`. None: the ranks of
        `comm` or of the batch's communicator, or one. A number needs no MPI, and no `comm`. With
        several ranks, the estimate is that of the rank with the most columns, and the time assumes
        the network of a common cluster. Fits are estimated for one process.
    m : int or None
        As in `fit`: samples of each task.
    call : {"auto", "train", "fit"}
        The function whose call is estimated. "auto": `fit` for an estimator, and `train` for a
        method. "altgdmin", which is both, counts as an estimator only if `m` is given; on a batch,
        which takes no `m`, pass "fit".

    Returns
    -------
    Estimate
        Memory in bytes and time in seconds of all rounds of all trials, if no trial stops early.
        For a fit, the time is that of all iterations that `rounds` or the estimator's own limit
        allows, or of all passes that the option `passes` allows; a fit that converges takes less.

    Raises
    ------
    TypeError, ValueError
        If `train` or `fit` would raise the error for these arguments, or if the call is a fit on a
        device or on several ranks. What an estimator needs of the samples, such as a number of
        tasks or of samples of a task, is checked by `fit` alone.
    MemoryError
        If the samples of one thread's tasks do not fit into memory.

    Notes
    -----
    The core counts operations, and the predicted time is these counts divided by the rates of this
    machine; see `show_config`. The first call on a machine measures the rates, which takes about a
    second, and keeps them in a file. On a quiet machine the predicted time is right within a factor
    of two. The predicted time includes neither the time of a user's function of heads or features,
    nor the fraction of a millisecond that every call takes. With ``device="cuda"``, the estimate
    also has the device memory, and a model predicts the time. This model was not calibrated on a
    card.

    The numbers of iterations and passes of a fit depend on the samples, and so does the number of
    steps of conjugate gradients in an iteration of "altmin", here 12, or 50 if there are fewer than
    2 d k samples. The memory is that of a search for eigenvectors that converges in about 20
    passes. The memory for "trace-norm" is an upper bound, for coefficients of full rank, min(n, d).
    With ``width="cv"``, memory and time are those of the cross-validation over all widths and of a
    fit at the largest width.

    Examples
    --------
    >>> import metaspan as ms
    >>> e = ms.estimate(ms.LinearTasks(d=10**12, k=10), "anil", rounds=1000)
    >>> e.engine, e.memory_bytes < 10**6
    ('population', True)
    >>> e = ms.estimate(ms.LinearTasks(d=10**4, k=5), "altmin", n=100, m=20, rounds=30)
    >>> e.engine, e.rounds, e.unit
    ('law', 30, 'iteration')
    """
    shared: dict[str, Any] = {
        "n": n,
        "width": width,
        "engine": engine,
        "seed": seed,
        "trials": trials,
        "threads": threads,
        "device": device,
        "record": record,
        "stop": stop,
        "progress": progress,
        "on_failure": on_failure,
        "comm": comm,
        **steps,
    }
    of_training: dict[str, Any] = {
        "m_in": m_in,
        "m_out": m_out,
        "d_over_n": d_over_n,
        "init": init,
        "route": route,
        "accumulate": accumulate,
        "pool": pool,
        "shared_samples": shared_samples,
        "track_start": track_start,
        "dtype": dtype,
        "record_every": record_every,
        "checkpoint": checkpoint,
    }
    if _is_fit(method, call, m):
        _refuse(of_training)
        limit = None if rounds is DEFAULT_ROUNDS else rounds
        of_fit = {**shared, "width": width_until_chosen(width), "m": m}
        fit = configure_fit(tasks, cast("Any", method), rounds=limit, **of_fit)
        return (needs_of_choice if isinstance(width, str) else needs_of_fit)(fit, ranks)
    if m is not None:
        raise ValueError(
            "m must be None for a training run, whose numbers of samples are m_in and m_out; got "
            f"{check.show(m)}"
        )
    trained = cast("Method | str", method)  # `configure` checks its type
    return needs(configure(tasks, trained, rounds=rounds, **of_training, **shared), ranks)


def needs(config: TrainConfig, ranks: int | None = None) -> Estimate:
    """Predict the memory and the time of a configured run, of one rank if ranks share it."""
    tasks, count = config.tasks, 1 if config.exchange is None else config.exchange.ranks
    assert isinstance(tasks, (LinearTasks, TaskBatch))
    if ranks is not None:
        count = check.integer("ranks", ranks, 1, MOST_RANKS)
    check_sharded_run(
        tasks, config.engine, None, pool=config.pool, device=config.device, ranks=count
    )
    counts = config.m_in, config.m_out
    described = round_text(config.tasks, config.n, counts, config.pool, config.d_over_n)
    on_cpu = replace(
        engine_of(config).cost(config, count), round=described, ranks=count, rounds=config.rounds
    )
    if isinstance(config.init, FittedStart) and count == 1:
        on_cpu = _with_start(config, config.init, on_cpu)
    if config.device == "cpu":
        return on_cpu
    return on_device(config, on_cpu)


def _with_start(config: TrainConfig, init: FittedStart, run: Estimate) -> Estimate:
    """Add the fits of the trials' starts, whose memory is free again before the first round."""
    tasks = config.tasks
    assert isinstance(tasks, (LinearTasks, TaskBatch))
    # A fit to a batch takes all of its tasks.
    n, m = (DEFAULT_N, None) if isinstance(tasks, TaskBatch) else counts_of_start(config)
    fit = configure_fit(
        tasks,
        init.estimator,
        n=n,
        m=m,
        width=config.width,
        threads=config.threads,
        engine=source_of(config),
    )
    more = max(needs_of_fit(fit).memory_bytes - run.memory_bytes, 0)
    return replace(
        run,
        memory_bytes=run.memory_bytes + more,
        seconds=run.seconds + len(config.trials) * usual_seconds(fit),
        bytes={**run.bytes, "start": run.bytes.get("start", 0) + more},
    )


def _is_fit(method: object, call: str, m: int | None) -> bool:
    """Return whether `call`, or the method for "auto", means a call of `fit`."""
    if check.choice("call", call, CALLS) != "auto":
        return call == "fit"
    name = method if isinstance(method, str) else ""
    if name == "altgdmin" or isinstance(method, AltGDmin):
        return m is not None
    return name in names.CLASSES or names.is_estimator(method)


def _refuse(of_training: dict[str, object]) -> None:
    """Raise ValueError if an argument that `fit` does not have differs from its default."""
    defaults = {field.name: field.metadata.get("default") for field in fields(TrainConfig)}
    for name, value in of_training.items():
        default = defaults[name]
        if value is not default and not (type(value) is type(default) and value == default):
            raise ValueError(
                f"{name} must be left out for a fit, which has no such argument; got "
                f"{check.show(value)}"
            )


def needs_of_fit(config: FitConfig, ranks: int | None = None) -> Estimate:
    """Predict the memory and the time of a configured fit on the CPU of one process."""
    count = 1 if ranks is None else check.integer("ranks", ranks, 1, MOST_RANKS)
    if config.exchange is not None or count > 1:
        ran = count if config.exchange is None else config.exchange.ranks
        raise ValueError(f"ranks must be 1 for the estimate of a fit; got {ran}")
    if config.device != "cpu":
        raise ValueError(f"device must be 'cpu' for the estimate of a fit; got {config.device!r}")
    from ..estimators.fit_costs import fit_cost  # noqa: PLC0415  (imports all estimators)
    from ..estimators.pass_costs import sample_costs  # noqa: PLC0415

    samples, trials = sample_costs(config), len(config.trials)
    cost = fit_cost(config, samples)
    held = int(8 * cost.numbers)
    # Each trial keeps B and the heads; the result has copies of all of them.
    kept = 8 * config.width * (samples.dim + config.n)
    parts = {
        **dict(samples.parts),
        "estimator": held,
        "results": max((trials - 1) * kept, 2 * trials * kept - held),
    }
    parts["opening"] = max(samples.opening_bytes - sum(parts.values()), 0)
    m = "m of the batch" if config.m is None else f"m={config.m}"
    return Estimate(
        engine=config.engine,
        route=None,
        memory_bytes=sum(parts.values()),
        seconds=trials * (cost.setup.seconds + cost.most * cost.each.seconds),
        seconds_per_round=trials * cost.each.seconds,
        flops_per_round=trials * cost.each.flops,
        bytes=parts,
        round=f"n={config.n}, {m}",
        rounds=cost.most,
        unit=cost.unit,
    )


def needs_of_choice(config: FitConfig, ranks: int | None = None) -> Estimate:
    """Predict the memory and the time of a fit that chooses its width, at the largest width."""
    from ..estimators.fit_costs import choice_cost  # noqa: PLC0415  (imports all estimators)
    from ..estimators.rank import usual_widths  # noqa: PLC0415

    assert isinstance(config.tasks, (LinearTasks, TaskBatch))
    widths = usual_widths(config.tasks.d, config.n)
    widest = needs_of_fit(replace(config, width=widths[-1]), ranks)
    seconds, numbers = choice_cost(config, widths)
    more = max(int(8 * numbers) - widest.bytes["estimator"] - widest.bytes["results"], 0)
    return replace(
        widest,
        memory_bytes=widest.memory_bytes + more,
        seconds=widest.seconds + seconds,
        bytes={**widest.bytes, "choice": more},
        round=f"{widest.round}, width at most {widths[-1]}",
    )


def usual_seconds(config: FitConfig) -> float:
    """Predict the seconds of a fit on the CPU with a typical number of iterations or passes."""
    from ..estimators.fit_costs import fit_cost  # noqa: PLC0415  (imports all estimators)
    from ..estimators.pass_costs import sample_costs  # noqa: PLC0415

    return len(config.trials) * fit_cost(config, sample_costs(config)).usual_seconds
