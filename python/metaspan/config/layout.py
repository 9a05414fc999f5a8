r"""Sizes and shapes that a configuration determines; they are computed once.

A run in coordinates has the state ``[M; R]`` of (13), with M of shape (k_star, k) and R of shape
(height, k). D is the number of rows of the state that the start determines; in the collapsed
engine and in the limit, rounds may fill further rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..methods import block_count
from ..tasks.linear import LinearTasks
from .options import Init

if TYPE_CHECKING:
    from .config import TrainConfig


class Layout(NamedTuple):
    r"""Sizes and shapes of a run.

    Parameters
    ----------
    engine : str
        Key in the table of engines. One value of the argument `engine` may stand for several keys.
    D : int
        Rows of [M; R] that the start determines.
    features : int
        Number of features of the arrays that rounds work on: d, or the number of basis vectors of a
        pool that is drawn in law.
    height : int
        Number of rows of R, or an upper bound of this number for a start given as an array.
    columns : tuple of str
        Names of the columns of a recorded row; "angles" is repeated for every angle.
    full_size : bool
        Whether the state is B itself.
    follows_start : bool
        Whether the state keeps coordinates along the start apart from those along samples.
    calls_heads : bool
        Whether a user's function draws the heads of every round.
    """

    engine: str
    D: int
    features: int
    height: int
    columns: tuple[str, ...]
    full_size: bool
    follows_start: bool
    calls_heads: bool


def layout_of(config: TrainConfig) -> Layout:
    """Compute the layout of a configuration."""
    engine, tasks = _engine_key(config), config.tasks
    d, k_star, columns = tasks.d, config.k_star, config.columns
    D = k_star + min(columns, d - k_star)
    features, height = d, D - k_star
    if engine == "pooled":
        size, m_in, m_out = config.pooled
        samples = size * (m_in if config.shared_samples else m_in + m_out)
        features = min(d, D + samples)
        height = features - k_star
    elif engine == "collapsed":
        # The samples of a round move all blocks that the outer step remembers, (28), along the same
        # new directions, but by different combinations of them.
        height = min(block_count(config.method) * columns, d - k_star)
        height += columns if config.track_start else 0
    elif config.d_over_n:  # rounds of the limit add rows off the span, (55)
        height = block_count(config.method) * columns
    angles = min(config.width, k_star)
    names = [name for name in config.record for _ in range(angles if name == "angles" else 1)]
    drawn = isinstance(tasks, LinearTasks) and config.pool is None
    return Layout(
        engine=engine,
        D=D,
        features=features,
        height=height,
        columns=tuple(names),
        full_size=engine in ("arrays", "sampled", "spectral"),
        follows_start=config.track_start
        or not (engine in ("collapsed", "pooled") or config.d_over_n),
        calls_heads=drawn and callable(config.drawn_tasks.heads),
    )


def _engine_key(config: TrainConfig) -> str:
    """Return the key of the engine in the table of engines."""
    if config.engine == "collapsed" and config.pool is not None and config.m_in is not None:
        return "pooled"
    if config.n is None:
        return "limit"
    tasks = config.tasks
    if config.engine == "population" and isinstance(tasks, LinearTasks):
        return "population" if tasks.spectrum is None else "spectral"
    return config.engine


def height_of(config: TrainConfig, rows: int) -> int:
    """Return the number of rows that R must have if the array given as R has `rows`.

    The part of a given start that is orthogonal to the ground truth may be of lower rank, and R
    then has fewer rows than the layout says.
    """
    fixed = isinstance(config.init, Init) or has_fixed_height(config)
    return config.layout.height if fixed else min(config.layout.height, rows)


def has_fixed_height(config: TrainConfig) -> bool:
    """Return whether R has as many rows as the layout says, whatever the rank of a given start."""
    return config.engine == "collapsed" or bool(config.d_over_n)
