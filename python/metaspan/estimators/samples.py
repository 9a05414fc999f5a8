r"""The operators through which an estimator sees the samples of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .._support.types import F64
from .space import Space

I64 = NDArray[np.int64]

Transform = Callable[[F64, range], F64]
"""Maps the rows of Z = X B of a range of tasks to a matrix C with as many rows."""

Preconditioner = Callable[[F64, F64], F64]
"""Maps residuals R (dim, c) and Ritz values (c,) to approximations of ``(A - value_j)^-1 r_j``."""


class Samples(Protocol):
    """The samples of n tasks: X (N, dim), the rows of all tasks in the order of the tasks, and y.

    ``dim`` is d unless the samples are drawn in law. For samples in law, vectors are coordinates in
    an orthonormal basis of a subspace of dimension ``dim``, which contains `B_star`, every row of
    X, and the columns of every matrix that `normals` returns; inner products are those of the full
    space. All arrays are float64.

    If the columns of X are spread over ranks, X and every matrix with ``dim`` rows have the part of
    this rank, and all ranks call the same methods. Linear algebra of such matrices is that of
    `space`.
    """

    n: int  # tasks
    dim: int  # length of a row of X
    space: Space  # of the rows of X
    offsets: I64  # (n + 1,); task i has the rows offsets[i] to offsets[i + 1]
    weights: F64  # (n,) weights of the tasks, with mean 1
    threads: int
    wants_few_passes: bool  # whether a pass takes much longer than its arithmetic

    @property
    def B_star(self) -> F64 | None:
        """The ground truth, (dim, k_star), orthonormal columns; None if it is unknown."""

    @property
    def y(self) -> F64:
        """The responses, (N,)."""

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), with one pass over X where that is possible.

        `transform` is called with the features of consecutive ranges of tasks, in order.
        """

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""

    def shared(self) -> Samples | None:
        """Return the samples of one task if all tasks have the same X; None otherwise.

        The returned samples have the responses of task 0.
        """

    def averages(self) -> HalfAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows."""

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers.

        In law these are the coordinates of a normal matrix (d, k). The numbers depend on seed,
        trial and `stream` alone.
        """


class HalfAverages(Protocol):
    """The averages ``u_i = X_a^T y_a / m_a``, ``v_i = X_b^T y_b / m_b`` of the halves of tasks."""

    n: int
    dim: int
    space: Space
    weights: F64  # (n,)
    B_star: F64 | None
    wants_few_passes: bool  # as in `Samples`

    def products(self, Q: F64) -> tuple[F64, F64]:
        """Return ``U Q`` and ``V Q``, (n, k) each, for Q (dim, k)."""

    def combine(self, P: F64, Q: F64) -> F64:
        """Return ``U^T P + V^T Q``, (dim, k), for P and Q (n, k)."""

    def mean_products(self, Q: F64, factors: F64) -> F64:
        """Return ``sum_i factors_i (u_i v_i^T + v_i u_i^T) Q``, (dim, k), for factors (n,).

        The stored numbers are read in one pass where that is possible.
        """

    def start_factors(self, G: F64) -> F64:
        """Return coefficients (2 n, k) of u_1, ..., u_n, v_1, ..., v_n in the start of a search.

        The search looks for the top eigenvectors of `mean_products`. G (2 n, k) is normal.
        """

    def preconditioner(self, factors: F64) -> Preconditioner | None:
        """Return a preconditioner for the search for the top eigenvectors of `mean_products`.

        None: no good preconditioner is known for these averages.
        """


def rows_of(samples: Samples, tasks: range) -> slice:
    """Return the rows of X that belong to consecutive tasks."""
    return slice(int(samples.offsets[tasks.start]), int(samples.offsets[tasks.stop]))


def offsets_of(samples: Samples, tasks: range) -> I64:
    """Return the offsets of consecutive tasks, and their end, in the rows of all tasks."""
    return samples.offsets[tasks.start : tasks.stop + 1]


def rows_of_chosen(offsets: I64, tasks: I64) -> tuple[I64, I64]:
    """Return the indices of the rows of chosen tasks, (N,), and the offsets of these tasks."""
    sizes = np.diff(offsets)[tasks]
    chosen = np.concatenate([[0], np.cumsum(sizes)])
    return np.repeat(offsets[:-1][tasks] - chosen[:-1], sizes) + np.arange(chosen[-1]), chosen


def lengths(samples: Samples) -> I64:
    """Return the number of samples of every task, (n,)."""
    return np.diff(samples.offsets)


def task_sums(rows: F64, offsets: I64) -> F64:
    """Return the sums of the rows of each task: (n, k) from rows (N, k)."""
    return np.add.reduceat(rows, offsets[:-1] - offsets[0], axis=0)


def spread(values: F64, offsets: I64) -> F64:
    """Repeat the row of each task for all of its samples: (N, k) from values (n, k)."""
    return np.repeat(values, np.diff(offsets), axis=0)


def by_length(offsets: I64) -> Iterator[tuple[I64, I64]]:
    """Yield the tasks with equal numbers m of rows, (t,), and the indices of their rows, (t, m)."""
    sizes, first = np.diff(offsets), offsets[:-1] - offsets[0]
    for m in np.unique(sizes):
        tasks = np.flatnonzero(sizes == m)
        yield tasks, first[tasks, None] + np.arange(m)


def task_weights(samples: Samples, tasks: range) -> F64:
    """Return, for every row of a range of tasks, the weight of its task, (rows,)."""
    return spread(samples.weights[tasks.start : tasks.stop], offsets_of(samples, tasks))
