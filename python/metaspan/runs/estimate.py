r"""What a training run will need, before it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..config.config import TrainConfig, configure, takes
from ..config.counts import round_text
from ..cost.estimate import Estimate
from ..engines import engine_of


@takes(configure)
def estimate(*args: Any, **kwargs: Any) -> Estimate:
    r"""Say what a call of `train` with the same arguments will need.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    Estimate
        Memory and time, for all rounds, as if no trial stopped early.

    Raises
    ------
    TypeError, ValueError
        As `train` does.

    Notes
    -----
    The time is the work that the core counts over rates that are measured once on a machine and
    kept (`show_config`); on a quiet machine it is within a factor of two. It leaves out what a
    user's function of heads or features takes, and the fraction of a millisecond of any call.

    Examples
    --------
    >>> import metaspan as ms
    >>> e = ms.estimate(ms.LinearTasks(d=10**12, k=10), "anil", rounds=1000)
    >>> e.engine, e.memory_bytes < 10**6
    ('population', True)
    """
    return needs(configure(*args, **kwargs))


def needs(config: TrainConfig) -> Estimate:
    """What a run that has been configured will need."""
    counts = config.m_in, config.m_out
    said = round_text(config.tasks, config.n, counts, config.pool)
    return replace(engine_of(config).cost(config), round=said)
