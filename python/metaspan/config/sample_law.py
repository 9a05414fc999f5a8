r"""Converts the law of a task's samples for the compiled core."""

from __future__ import annotations

from .._core_types import SampleLaw
from .._load import core
from .._support import memory
from ..methods import core_method
from ..tasks import features
from .config import TrainConfig


def sample_law(config: TrainConfig) -> SampleLaw:
    """Convert the law of a task's samples for the compiled core.

    Raises MemoryError if the samples of the tasks that one thread holds do not fit into memory: for
    MAML they take about m_in^2 / 2 numbers per task.
    """
    law = config.drawn_tasks
    m_in, m_out = config.inner_samples or 0, config.outer_samples or 0
    samples = SampleLaw(
        float(law.d),
        m_in,
        m_out,
        config.shared_samples,
        law.noise,
        features.core_law(law.features if m_in or m_out else "gaussian"),
        law.spread,
    )
    if config.engine == "sampled":
        return samples
    # The collapsed engine draws arrays of rows_in and rows_out rows for a task. For Gaussian
    # features, a triangular factor of at most D + 1 rows replaces the samples (16). MAML, and
    # features on the sphere, also need the components of the samples outside the span: `frame` more
    # columns (17); for a co-learner with MAML, those of the outer samples too. The parts that tasks
    # do not share need one column more (33).
    method, name = core_method(config.method), samples.features.name
    D = config.layout.D + (law.spread > 0.0)
    sphere, gaussian = name == "sphere", name == "gaussian"
    moves = core.method_needs(method)["cross_gram"]
    both = sphere or (moves and method.private_head)
    frame = min(m_in + m_out if both else m_in * moves, law.d)
    rows_in = m_in if frame or not gaussian else min(m_in, D + 1)
    rows_out = min(m_out, D + frame + 1) if gaussian else m_out
    numbers = (rows_in + rows_out) * (D + 1 + frame) // (2 if frame or gaussian else 1)
    memory.require("the samples of a thread's tasks", core.PANEL_TASKS * 8 * numbers)
    return samples
