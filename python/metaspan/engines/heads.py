r"""Converts distributions of heads, and other arguments of drawn tasks, for the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from .._core_types import HeadLaw
from ..config.config import TrainConfig
from ..tasks import heads
from .protocol import rounds_of, trial_ids_of
from .trials import Trials


class DrawnTasks(TypedDict):
    """Arguments that the core takes for every engine on drawn tasks."""

    law: HeadLaw
    n: int
    seed: int
    trials: list[int]
    rounds: list[int]
    records: tuple[str, ...]


def head_law(config: TrainConfig, trial_ids: Sequence[int]) -> HeadLaw:
    """Return the law of heads; for a pool, a table with the heads of every trial's pool."""
    tasks = config.drawn_tasks
    if config.pool is None:
        return heads.core_law(tasks.heads)
    pools = [
        heads.draw_pool(tasks.heads, config.pool, tasks.k, config.seed, number)
        for number in trial_ids
    ]
    return HeadLaw("table", table=np.stack(pools))


def drawn_tasks(config: TrainConfig, trials: Trials, indices: list[int]) -> DrawnTasks:
    """Return the arguments that the core takes for every engine on drawn tasks."""
    trial_ids = trial_ids_of(config, indices)
    return {
        "law": head_law(config, trial_ids),
        "n": config.n_tasks,
        "seed": config.seed,
        "trials": trial_ids,
        "rounds": rounds_of(trials, indices),
        "records": config.record,
    }
