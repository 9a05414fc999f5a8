r"""Warnings about the configuration of a run, issued before its first round."""

from __future__ import annotations

import math
import warnings

import numpy as np

from ..config.config import TrainConfig
from ..config.options import Init, column_length
from ..engines.isotropic_noise import isotropic_noise
from ..linear_methods import LinearMAML
from ..methods import ANIL, MAML, FedAvg, Reptile
from ..sharding.agreement import agreed
from ..tasks.batch import TaskBatch
from ..tasks.linear import LinearTasks
from ..tasks.moments import moments
from .outcome import FewSamplesWarning, GrowingHeadWarning, LocalStepsWarning

# A run warns if it has fewer samples per unknown than this: `theory.error_scale` is then above 3,
# while dist is at most 1.
FEW_SAMPLES = 0.1
LONG_LOCAL_STEP = 2.0  # the factor of (25) beyond which a residual grows
MUCH_GROWTH = 3.0  # logarithm of the growth of a head within a run, beyond which the run warns
LEVELS = 200  # most iterations for the level of R^T R


def warn_of_few_samples(config: TrainConfig) -> None:
    """Warn if the samples of a batch or a pool are too few to determine a representation."""
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
        return  # every round has new samples, or infinitely many
    is_vector = isinstance(config.method, LinearMAML)
    unknowns = tasks.d * (1 if is_vector else config.k_star or config.width)
    if samples < FEW_SAMPLES * unknowns:
        message = (
            f"the run trains on {samples} samples in all, far fewer than the d k = {unknowns} "
            "unknowns of a representation: it may fit them and learn nothing for new tasks, and "
            "loss_out is the loss of these samples"
        )
        _warn(config, message, FewSamplesWarning)


def _warn(config: TrainConfig, message: str, kind: type[Warning]) -> None:
    """Issue a warning for the caller's caller's caller, on rank 0 alone."""
    with agreed(config.exchange):
        if config.is_root:
            warnings.warn(message, kind, stacklevel=4)


def warn_of_local_steps(config: TrainConfig) -> None:
    """Warn if the second local step on a data set would make its residual grow, (25).

    The step multiplies the residual by about 1 - alpha d ||w||^2 / m_in, for a head w that fits the
    tasks and has the squared length E ||theta||^2 / scale^2.
    """
    method, tasks = config.method, config.tasks
    if not isinstance(method, (FedAvg, Reptile)) or method.local_steps < 2 or method.fresh_steps:
        return
    if isinstance(tasks, TaskBatch):
        m, signal = tasks.least_m_in, tasks.signal
    elif config.m_in is None or callable(config.drawn_tasks.heads):
        return
    else:
        mean, cov = moments(config.drawn_tasks.heads, tasks.k)
        m, signal = config.m_in, float(np.trace(cov) + mean @ mean)
    if isinstance(config.init, Init):
        squared = column_length(config.init, method) ** 2
    else:
        squared = float(np.sum(np.square(config.init[0]))) / config.width
        if config.exchange is not None:
            squared = math.fsum(config.exchange.share(squared))
    factor = method.alpha * tasks.d / m * signal / max(squared, 1e-300)
    if factor > LONG_LOCAL_STEP:
        message = (
            f"local steps with alpha = {method.alpha:g} are probably unstable at d = {tasks.d} and "
            f"m_in = {m}: once heads fit the tasks, a step moves a residual by {factor:.3g} times "
            f"its size, and the limit is {LONG_LOCAL_STEP:g}"
        )
        _warn(config, message, LocalStepsWarning)


def warn_of_growing_head(config: TrainConfig) -> None:
    """Warn if the head of a first-order method grows in the noise of finite samples, (68).

    For centred heads, grad_w = G (I - alpha G) w to first order in w, with G = B^T B. The noise of
    the outer samples keeps R^T R, and thus G, at a level at which alpha G may exceed I.
    """
    method, tasks = config.method, config.tasks
    if (
        isinstance(tasks, TaskBatch)
        or not isinstance(method, (ANIL, MAML))
        or not (method.first_order and method.inner_steps == 1 and method.outer != "body")
        or (isinstance(method, MAML) and method.moves != "both")
        or (method.step is not None and method.step.schedule != "constant")
        or (method.step is not None and method.step.by_coordinate)
        or (isinstance(tasks, LinearTasks) and tasks.spectrum is not None)
        or None in (config.n, config.m_out)
        or (config.pool is not None or config.shared_samples)
        or callable(config.drawn_tasks.heads)
        or method.alpha == 0.0
    ):
        return
    mean, cov = moments(config.drawn_tasks.heads, tasks.k)
    signal = float(np.trace(cov)) / tasks.k
    if np.any(mean) or not 0.0 < signal < math.inf:
        return
    excess = _excess_of_noise(config, signal)
    beta = method.beta if method.beta_head is None else method.beta_head
    growth = config.rounds * beta / method.alpha * (1.0 + excess) * excess
    if MUCH_GROWTH < growth < math.inf:
        message = (
            f"the head of a first-order method probably grows on m_out = {config.m_out} outer "
            f"samples of n = {config.n} tasks: their noise keeps alpha B^T B at {1.0 + excess:.3g},"
            " above 1, where w = 0 is unstable; train with outer='body' or by exact ANIL"
        )
        _warn(config, message, GrowingHeadWarning)


def _excess_of_noise(config: TrainConfig, s: float) -> float:
    """Return alpha G - 1 at the level of the noise for w = 0 and heads N(0, s I), (68).

    Returns infinity where the noise does not level off.
    """
    method, tasks, k = config.method, config.drawn_tasks, config.k_star
    assert isinstance(method, (ANIL, MAML))
    assert config.m_out is not None
    i = 0.0 if config.m_in is None else 1.0 / config.m_in
    noise = (tasks.noise**2 + tasks.spread**2) / s  # in units of s
    c = (k + noise) * i
    step = method.alpha * method.beta * s
    scale = step * max(tasks.d - k, 0) / (config.n_tasks * config.m_out)
    level, before = 0.0, -1.0
    for _ in range(LEVELS):  # from below, to the least level that the noise maintains
        a = (1.0 - c * level) / (1.0 + i + c)
        if a <= 0.0 or step >= 2.0 or level - before <= 1e-9 * level:
            break
        before = level
        S = isotropic_noise(a, a + level, k=k, scale=1.0, variance=noise, inverse_m=i)
        level = scale * S / (2.0 - step)
    else:
        return math.inf
    return a + level - 1.0 if a > 0.0 and step < 2.0 else math.inf
