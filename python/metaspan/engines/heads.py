r"""The heads of a run's rounds, as the compiled core takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config.config import TrainConfig
from ..tasks import heads
from .protocol import rounds_of, trial_ids
from .trials import Trials

Drawn = tuple[heads.CoreLaw, int, int, list[int], list[int], tuple[str, ...]]


def head_law(config: TrainConfig, trial_ids: Sequence[int]) -> heads.CoreLaw:
    """Return the law of heads, or the table of a pool of every trial."""
    tasks = config.drawn_tasks
    if config.pool is None:
        return heads.core_law(tasks.heads)
    pools = [
        heads.draw_pool(tasks.heads, config.pool, tasks.k, config.seed, number)
        for number in trial_ids
    ]
    return ("table", np.stack(pools))


def drawn_tasks(config: TrainConfig, trials: Trials, indices: list[int]) -> Drawn:
    """Return the last arguments of runs on drawn tasks, from the law of heads to the records."""
    numbers = trial_ids(config, indices)
    rounds = rounds_of(trials, indices)
    return (
        head_law(config, numbers),
        config.n_tasks,
        config.seed,
        numbers,
        rounds,
        config.record,
    )
