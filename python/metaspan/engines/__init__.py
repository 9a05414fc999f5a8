r"""Engines compute the rounds of a run: one module per engine, behind one protocol."""

from __future__ import annotations

from ..config.config import TrainConfig
from .arrays import Arrays
from .collapsed import Collapsed
from .limit import Limit
from .pooled import Pooled
from .population import Population
from .protocol import Engine
from .sampled import Sampled
from .spectral import Spectral

ENGINES: dict[str, Engine] = {
    "population": Population(),
    "spectral": Spectral(),
    "collapsed": Collapsed(),
    "limit": Limit(),
    "pooled": Pooled(),
    "sampled": Sampled(),
    "arrays": Arrays(),
}


def engine_of(config: TrainConfig) -> Engine:
    """Return the engine that runs a configuration."""
    return ENGINES[config.layout.engine]


def advances_together(config: TrainConfig) -> bool:
    """Return whether a run advances all its trials together, on a device."""
    return config.device != "cpu" and config.layout.engine in ("population", "collapsed")
