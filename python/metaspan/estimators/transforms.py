r"""Transforms between ``X B`` and ``X^T C`` that samples on arrays compute in the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._support.types import F64
from .samples import Samples, offsets_of, rows_of, spread, task_sums
from .task_algebra import outer_rows, predict, solve_heads


@dataclass(frozen=True, eq=False)
class RowForms:
    """The transform ``C_i = diag(p_i) Z_i + L_i R_i^T Z_i`` of the features of every task.

    A call with the features (rows, k) of a range of tasks returns C.
    """

    samples: Samples
    scales: F64  # p, (N,)
    left: F64  # L, (N, rank)
    right: F64  # R, (N, rank)

    def __call__(self, Z: F64, tasks: range) -> F64:
        """Return C (rows, k) for the features Z (rows, k) of a range of tasks."""
        rows, offsets = rows_of(self.samples, tasks), offsets_of(self.samples, tasks)
        C: F64 = self.scales[rows, None] * Z
        for left, right in zip(self.left[rows].T, self.right[rows].T, strict=True):
            C += left[:, None] * spread(task_sums(right[:, None] * Z, offsets), offsets)
        return C


def scaled_rows(samples: Samples, scales: F64) -> RowForms:
    """Return the transform ``C = diag(p) Z`` for scales p (N,)."""
    none = np.empty((len(scales), 0))
    return RowForms(samples, scales, none, none)


@dataclass(eq=False)
class HeadFit:
    """The transform to the gradient in B of ``sum_i shares_i ||y_i - X_i B v_i||^2 / 2``.

    The heads v_i minimise the loss at B. A pass over all tasks leaves the heads and the loss in the
    attributes.
    """

    samples: Samples
    shares: F64  # (n,)
    heads: F64  # (n, k)
    loss: float = 0.0

    def __call__(self, Z: F64, tasks: range) -> F64:
        """Return ``shares_i (Z_i v_i - y_i) v_i^T`` of a range of tasks, (rows, k)."""
        offsets, chosen = offsets_of(self.samples, tasks), slice(tasks.start, tasks.stop)
        y = self.samples.y[rows_of(self.samples, tasks)]
        self.heads[chosen] = solve_heads(Z, y, offsets)
        residuals = predict(Z, self.heads[chosen], offsets) - y
        weighted = residuals * spread(self.shares[chosen], offsets)
        self.loss += float(residuals @ weighted) / 2
        return outer_rows(weighted, self.heads[chosen], offsets)


@dataclass(frozen=True, eq=False)
class Curvature:
    """The transform ``C_i = s_i Z_i v_i v_i^T`` for fixed heads v_i.

    ``X^T C`` for ``Z = X P`` is the second derivative in B, at the heads, of the loss of `HeadFit`
    with the shares s_i, applied to P.
    """

    samples: Samples
    heads: F64  # (n, k)
    shares: F64  # (n,)

    def __call__(self, Z: F64, tasks: range) -> F64:
        """Return C (rows, k) for the features Z (rows, k) of a range of tasks."""
        offsets, chosen = offsets_of(self.samples, tasks), slice(tasks.start, tasks.stop)
        products = predict(Z, self.heads[chosen], offsets) * spread(self.shares[chosen], offsets)
        return outer_rows(products, self.heads[chosen], offsets)
