r"""The samples of a batch on a device, in the form that estimators use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._device import open_device
from .._load import core
from .._support.types import F64
from ..tasks.batch import TaskBatch, core_data
from .on_arrays import ArraySamples, contiguous
from .samples import I64, Samples, Transform
from .subset import Subset

MOST_COLUMNS = 256  # of a factor of one sweep on a device


class DeviceSamples(ArraySamples):
    r"""All samples of a batch, whose products are computed on a device.

    X stays on the device if it fits there; otherwise every product copies it in blocks of tasks.
    Factors and products are in host memory, where the transforms of `combine_features` run. All
    sums are in float64. The parameters are those of `ArraySamples`.
    """

    def __init__(
        self, batch: TaskBatch, seed: int = 0, trial: int = 0, threads: int | None = None
    ) -> None:
        super().__init__(batch, seed, trial, threads)
        self.wants_few_passes = True
        self._rows = core.DeviceRows(open_device(), core_data(batch))

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        return self._by_columns(self._rows.features, B, len(self.y))

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        return self._by_columns(self._rows.combine, C, self.dim)

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), for B (dim, k)."""
        if not 1 <= B.shape[1] <= MOST_COLUMNS:
            return self.combine(transform(self.features(B), range(self.n)))

        def rows(Z: F64, first: int, end: int) -> F64:
            return contiguous(transform(Z, range(first, end)))

        return self._rows.combine_features(contiguous(B), rows, self.threads)

    def take(self, tasks: I64) -> Samples:
        """Return the samples of some tasks, in rising order, from the X that the device has."""
        return Subset(self, tasks)

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        return self._rows.grams(tasks.start, tasks.stop, self.threads)

    def _by_columns(self, product: Callable[[F64, int], F64], factor: F64, rows: int) -> F64:
        """Apply a product of at most MOST_COLUMNS columns to all columns of a factor."""
        parts = [
            product(contiguous(factor[:, first : first + MOST_COLUMNS]), self.threads)
            for first in range(0, factor.shape[1], MOST_COLUMNS)
        ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.empty((rows, 0)), *parts], axis=1)
