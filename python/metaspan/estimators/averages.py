r"""Averages of the halves of all tasks, from products with the rows of the samples."""

from __future__ import annotations

import numpy as np

from .._support.types import F64
from .samples import Samples, lengths, spread, task_sums
from .transforms import RowForms


class RowAverages:
    r"""The averages of the two halves of every task, as sums over the rows of X.

    The averages are not stored; a product takes one pass over X. Every task needs two samples.
    """

    def __init__(self, samples: Samples) -> None:
        self.n, self.dim, self.space = samples.n, samples.dim, samples.space
        self.weights, self.B_star = samples.weights, samples.B_star
        self.wants_few_passes = samples.wants_few_passes
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

        scales = spread(factors[:, None], self._samples.offsets)
        left, right = np.hstack([self._u, self._v]), np.hstack([self._v, self._u])
        zeros = np.zeros(len(left))
        return self._samples.combine_features(
            Q, RowForms(self._samples, zeros, scales * left, right)
        )

    def start_factors(self, G: F64) -> F64:
        """Return G, (2 n, k): a random start suits averages of samples."""
        return G

    def preconditioner(self, factors: F64) -> None:
        """Return None: the samples give no approximate inverse."""
