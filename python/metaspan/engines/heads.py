r"""The heads of a run's rounds, as the compiled core takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from .._core_types import HeadLaw
from ..config.config import TrainConfig
from ..tasks import heads
from .protocol import rounds_of, trial_ids
from .trials import Trials


class DrawnTasks(TypedDict):
    """Arguments that runs on drawn tasks have in common."""

    law: HeadLaw
    n: int
    seed: int
    trials: list[int]
    rounds: list[int]
    records: tuple[str, ...]


def head_law(config: TrainConfig, trial_ids: Sequence[int]) -> HeadLaw:
    """Return the law of heads, or the table of a pool of every trial."""
    tasks = config.drawn_tasks
    if config.pool is None:
        return heads.core_law(tasks.heads)
    pools = [
        heads.draw_pool(tasks.heads, config.pool, tasks.k, config.seed, number)
        for number in trial_ids
    ]
    return HeadLaw("table", table=np.stack(pools))


def drawn_tasks(config: TrainConfig, trials: Trials, indices: list[int]) -> DrawnTasks:
    """Return the arguments that runs on drawn tasks have in common."""
    numbers = trial_ids(config, indices)
    return {
        "law": head_law(config, numbers),
        "n": config.n_tasks,
        "seed": config.seed,
        "trials": numbers,
        "rounds": rounds_of(trials, indices),
        "records": config.record,
    }
