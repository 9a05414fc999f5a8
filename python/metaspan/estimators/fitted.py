r"""Starts of training at the representation that an estimator finds."""

from __future__ import annotations

import warnings
from dataclasses import replace

from .._load import core
from .._support.blas import one_blas_thread
from .._support.types import F64
from ..config.config import TrainConfig
from ..config.options import FittedStart
from ..sharding.agreement import agreed
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from .configure import choose_engine
from .estimator import Unrecorded
from .names import algorithm_of
from .sources import open_samples
from .space import EstimateError

FIT_ROUND = 2**62 + 1  # round number in the key of the start's tasks; no run reaches it


def source_of(config: TrainConfig) -> str:
    """Return the source of the samples to which a start is fitted: "arrays", "law", "sampled"."""
    if not config.layout.full_size:
        return "law"
    tasks, (n, m) = config.tasks, counts_of_start(config)
    assert isinstance(config.init, FittedStart)
    assert isinstance(tasks, (LinearTasks, TaskBatch))
    return choose_engine("auto", tasks, config.init.estimator, n, m)


@one_blas_thread()
def fit_start(config: TrainConfig, init: FittedStart, trial: int) -> tuple[F64, F64 | None]:
    r"""Fit the start of one trial to the batch, or to tasks that the run does not use.

    Parameters
    ----------
    config : TrainConfig
        The run. If the tasks come from a distribution, a trial draws n separate tasks for its
        start, with the finite sample counts of a round.
    init : FittedStart
        The estimator.
    trial : int
        Number of the trial.

    Returns
    -------
    B : ndarray of shape (dim, width)
        Orthonormal columns.
    B_star : ndarray of shape (dim, k_star) or None
        The ground truth in the same coordinates.

    Raises
    ------
    ValueError
        If the estimator cannot run on these samples, or diverges.
    """
    tasks, seed = config.tasks, config.seed
    engine = source_of(config)
    if isinstance(tasks, LinearTasks):
        if engine == "sampled":  # B_star is drawn from another seed than the one below
            tasks = replace(tasks, B_star=tasks.ground_truth(seed, trial, config.threads))
        seed = core.derive_key(seed, trial, FIT_ROUND, core.STREAM_START)
    assert isinstance(tasks, (LinearTasks, TaskBatch))
    samples = open_samples(
        engine,
        tasks,
        init.estimator,
        counts=counts_of_start(config),
        width=config.width,
        seed=seed,
        trial=trial,
        threads=config.threads,
    )
    algorithm = algorithm_of(init.estimator)
    with agreed(config.exchange):
        algorithm.check(samples, config.width)
    estimate = algorithm.estimate(samples, config.width, Unrecorded(space=samples.space))
    if not samples.space.is_finite(estimate.B):
        raise EstimateError(
            f"init must not diverge; {init.estimator} did on the tasks of the start"
        )
    if not estimate.converged and config.is_root:
        from ..runs.outcome import NotConvergedWarning  # noqa: PLC0415

        message = f"the start by {init.estimator} did not converge: {estimate.reason}"
        warnings.warn(message, NotConvergedWarning, stacklevel=3)
    return samples.space.orthonormal(estimate.B), samples.B_star


def counts_of_start(config: TrainConfig) -> tuple[int, int | None]:
    """Return the number of tasks to which a start is fitted, and the samples of each task."""
    if isinstance(config.tasks, TaskBatch):
        return config.tasks.n, None
    sides = [config.inner_samples, None if config.shared_samples else config.outer_samples]
    return config.n_tasks, sum(m for m in sides if m is not None)
