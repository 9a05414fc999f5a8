r"""The samples of some of the tasks, with the interface of `Samples`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._support.types import F64
from .samples import I64, HalfAverages, Samples, Transform


def take_tasks(samples: Samples, tasks: I64) -> Samples:
    """Return the samples of some tasks, in rising order, without copying X.

    Samples that have a method `take` read the rows of these tasks alone.
    """
    take: Callable[[I64], Samples] | None = getattr(samples, "take", None)
    return Subset(samples, tasks) if take is None else take(tasks)


class Subset:
    """The samples of some tasks, in rising order, of samples that cannot leave tasks out.

    A product still reads the rows of all tasks; rows of tasks that are left out have the
    coefficient zero.

    Parameters
    ----------
    samples : Samples
        The samples of all tasks.
    tasks : ndarray
        The indices of the chosen tasks, increasing.
    """

    def __init__(self, samples: Samples, tasks: I64) -> None:
        self._samples, self._tasks = samples, tasks
        sizes = np.diff(samples.offsets)
        self._chosen = np.zeros(samples.n, dtype=bool)
        self._chosen[tasks] = True
        self._rows = np.flatnonzero(np.repeat(self._chosen, sizes))
        self.n, self.threads = len(tasks), samples.threads
        self.dim, self.space = samples.dim, samples.space
        self.wants_few_passes = samples.wants_few_passes
        self.offsets: I64 = np.concatenate([[0], np.cumsum(sizes[tasks])])
        self.y: F64 = samples.y[self._rows]
        self.weights: F64 = samples.weights[tasks] / np.mean(samples.weights[tasks])
        self.B_star = samples.B_star

    def features(self, B: F64) -> F64:
        """Return ``Z = X B`` of the chosen tasks, (N, k), for B (dim, k)."""
        return self._samples.features(B)[self._rows]

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), for C (N, k)."""
        scattered = np.zeros((len(self._samples.y), C.shape[1]))
        scattered[self._rows] = C
        return self._samples.combine(scattered)

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), with one pass over X where that is possible."""
        before = np.concatenate([[0], np.cumsum(self._chosen)])  # chosen tasks before each task
        offsets = self._samples.offsets

        def scatter(Z: F64, tasks: range) -> F64:
            C = np.zeros_like(Z)
            chosen = range(int(before[tasks.start]), int(before[tasks.stop]))
            if chosen:
                rows = self._rows[self.offsets[chosen.start] : self.offsets[chosen.stop]]
                rows = rows - offsets[tasks.start]
                C[rows] = transform(Z[rows], chosen)
            return C

        return self._samples.combine_features(B, scatter)

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        chosen = (int(i) for i in self._tasks[tasks.start : tasks.stop])
        return [self._samples.grams(range(i, i + 1))[0] for i in chosen]

    def shared(self) -> Samples | None:
        """Return the samples of one task if all tasks have the same X; None otherwise."""
        if self.n == 1:
            return self
        return None if self._samples.shared() is None else Subset(self._samples, self._tasks[:1])

    def averages(self) -> HalfAverages:
        """Return the averages of the two halves of every chosen task."""
        return SubsetAverages(self._samples.averages(), self._tasks)

    def normals(self, k: int, stream: int) -> F64:
        """Return a matrix (dim, k) of independent standard normal numbers."""
        return self._samples.normals(k, stream)


class SubsetAverages:
    """The averages of the halves of some tasks."""

    def __init__(self, averages: HalfAverages, tasks: I64) -> None:
        self._averages, self._tasks = averages, tasks
        self.n, self.B_star = len(tasks), averages.B_star
        self.dim, self.space = averages.dim, averages.space
        self.wants_few_passes = averages.wants_few_passes
        self.weights: F64 = averages.weights[tasks] / np.mean(averages.weights[tasks])

    def products(self, Q: F64) -> tuple[F64, F64]:
        """Return ``U Q`` and ``V Q``, (n, k) each, for Q (dim, k)."""
        first, second = self._averages.products(Q)
        return first[self._tasks], second[self._tasks]

    def combine(self, P: F64, Q: F64) -> F64:
        """Return ``U^T P + V^T Q``, (dim, k), for P and Q (n, k)."""
        scattered = np.zeros((2, self._averages.n, P.shape[1]))
        scattered[0, self._tasks], scattered[1, self._tasks] = P, Q
        return self._averages.combine(scattered[0], scattered[1])

    def mean_products(self, Q: F64, factors: F64) -> F64:
        """Return ``sum_i factors_i (u_i v_i^T + v_i u_i^T) Q``, (dim, k)."""
        scattered = np.zeros(self._averages.n)
        scattered[self._tasks] = factors
        return self._averages.mean_products(Q, scattered)

    def start_factors(self, G: F64) -> F64:
        """Return G, (2 n, k): the averages of the other tasks would decide a better start."""
        return G

    def preconditioner(self, factors: F64) -> None:
        """Return None, as the start is random too."""
