r"""Named tuples that the compiled core takes: it reads them by the names of their fields."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class CoreMethod(NamedTuple):
    """A method, by the numbers that tell it from the others."""

    alpha: float
    beta: float
    inner_steps: int  # 0: average risk minimisation
    adapt_B: bool  # the inner loop moves B too: MAML
    exact: bool  # the gradient goes through the inner loop


class FeatureLaw(NamedTuple):
    """A law of features."""

    name: str  # "gaussian", "student-t", "sphere", "rademacher" or "uniform"
    dof: float = 0.0  # of "student-t"


class HeadLaw(NamedTuple):
    """A law of heads."""

    kind: str  # "gaussian", "sphere", "table" or, handed in round by round, "given"
    mean: F64 | None = None  # (k_star,)
    factor: F64 | None = None  # of the covariance: (k_star,) or (k_star, k_star) lower triangular
    radius: float = 1.0
    table: F64 | None = None  # (N, k_star), or (trials, N, k_star)


class SampleLaw(NamedTuple):
    """Tasks with random samples."""

    d: float
    m_in: int  # 0: infinitely many
    m_out: int
    shared: bool
    noise: float
    features: FeatureLaw


class RoundSizes(NamedTuple):
    """Sizes of a round, for what it costs."""

    n: int
    rows: int  # of [M; R], or of B
    k: int
    k_star: int
    draws_heads: bool = False  # the core draws them; otherwise they are copied
    chooses: bool = False  # some tasks of a pool or a table
    losses: float = 0.0  # share of the rounds that record losses


class CoreData(NamedTuple):
    """Arrays of a batch.

    The sets of the tasks are a stack with a leading axis of tasks, or one array per task; X of one
    task may be (starts, columns, values) of sparse rows. Without outer sets theirs are None.
    """

    X_in: Any  # None where there is a reader, as X_out is
    y_in: Any
    X_out: Any = None
    y_out: Any = None
    B_star: NDArray[Any] | None = None  # (d, k_star)
    heads: NDArray[Any] | None = None  # (N, k_star)
    reader: Any = None  # of features on disk
