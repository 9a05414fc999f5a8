r"""Averages of the halves of all tasks, from products with the rows of the samples."""

from __future__ import annotations

import numpy as np

from .._support.types import F64
from .samples import Samples, lengths, offsets_of, rows_of, spread, task_sums


class RowAverages:
    r"""The averages of the two halves of every task, as sums over the rows of X.

    The averages are not stored; a product takes one pass over X. Every task needs two samples.
    """

    def __init__(self, samples: Samples) -> None:
        self.n, self.dim = samples.n, samples.dim
        self.weights, self.B_star = samples.weights, samples.B_star
        self._samples = samples
        sizes = lengths(samples)
        first = sizes // 2
        place = np.arange(len(samples.y)) - np.repeat(samples.offsets[:-1], sizes)
        in_first = place < np.repeat(first, sizes)
        count = np.where(in_first, np.repeat(first, sizes), np.repeat(sizes - first, sizes))
        self._u = np.where(in_first, samples.y / count, 0.0)[:, None]  # factors of the rows in U
        self._v = np.where(in_first, 0.0, samples.y / count)[:, None]

    def products(self, Q: F64) -> tuple[F64, F64]:
        """Return ``U Q`` and ``V Q``, (n, k) each, for Q (dim, k); one pass over X."""
        Z, offsets = self._samples.features(Q), self._samples.offsets
        return task_sums(self._u * Z, offsets), task_sums(self._v * Z, offsets)

    def combine(self, P: F64, Q: F64) -> F64:
        """Return ``U^T P + V^T Q``, (dim, k), for P and Q (n, k); one pass over X."""
        offsets = self._samples.offsets
        return self._samples.combine(self._u * spread(P, offsets) + self._v * spread(Q, offsets))

    def mean_products(self, Q: F64, factors: F64) -> F64:
        """Return ``sum_i factors_i (u_i v_i^T + v_i u_i^T) Q``, (dim, k); one pass over X."""

        def transform(Z: F64, tasks: range) -> F64:
            offsets = offsets_of(self._samples, tasks)
            rows, scale = rows_of(self._samples, tasks), factors[tasks.start : tasks.stop, None]
            u, v = self._u[rows], self._v[rows]
            first, second = (scale * task_sums(own * Z, offsets) for own in (u, v))
            C: F64 = u * spread(second, offsets) + v * spread(first, offsets)
            return C

        return self._samples.combine_features(Q, transform)

    def start_factors(self, G: F64) -> F64:
        """Return G, (2 n, k): a random start suits averages of samples."""
        return G

    def preconditioner(self, factors: F64) -> None:
        """Return None: the samples give no approximate inverse."""
