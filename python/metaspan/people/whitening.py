r"""Features in the space of their first principal components, each with variance 1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from .._support import check
from .._support.types import F64
from .task_rows import multiply

_BLOCK = 1 << 20  # sparse entries that are converted to float64 at a time


@dataclass(frozen=True, eq=False)
class Features:
    """The features in which components are found, and the map back to the user's features."""

    X: Any  # (rows, q); without whitening the user's own table
    mean: F64  # (d,) the mean that scores subtract from the user's features
    whitener: F64 | None  # (d, q)

    def restore(self, C: F64) -> F64:
        """Return columns (d, k) for the user's features, from columns C (q, k) for X."""
        return C if self.whitener is None else self.whitener @ C

    def shift(self, C: F64) -> F64 | float:
        """Return what scores subtract from ``X C``: 0 for whitened features, which are centred."""
        return self.mean @ C if self.whitener is None else 0.0


def whiten(option: Any, X: Any, intercept: bool, seed: int) -> Features:
    """Whiten features (rows, d) by their first q principal components if the option is "pca:q".

    If the option is None, the features stay as they are. With an intercept, the mean over the rows
    is subtracted, so that scores have the mean zero.
    """
    count = _read_option(option)
    mean = _mean(X)
    mean = mean if intercept else np.zeros_like(mean)
    if count is None:
        return Features(X, mean, None)
    # The solver of PCA for sparse features finds all components but one.
    most = min(X.shape[0] - 1, X.shape[1] - (not isinstance(X, np.ndarray)))
    if count > most:
        raise ValueError(
            f"whiten must ask for at most {most} components, for {X.shape[0]} rows and "
            f"{X.shape[1]} {'' if isinstance(X, np.ndarray) else 'sparse '}features; got {option!r}"
        )
    with np.errstate(invalid="ignore"):  # shares of the variance, where it is zero
        pca = PCA(count, random_state=seed % 2**32).fit(X)
    variances = np.asarray(pca.explained_variance_, dtype=np.float64)
    rank = int(np.sum(variances > 1e-12 * variances[0])) if variances[0] > 0 else 0
    if rank < count:
        raise ValueError(
            f"whiten must ask for at most {rank} components, the rank of X; got {option!r}"
        )
    whitener = np.asarray(pca.components_.T / np.sqrt(variances), dtype=np.float64)
    return Features(np.ascontiguousarray(multiply(X, whitener) - mean @ whitener), mean, whitener)


def _mean(X: Any) -> F64:
    """Return the mean of the rows, (d,), by sums in float64, without a copy of X."""
    if isinstance(X, np.ndarray):
        return np.asarray(X.mean(axis=0, dtype=np.float64))
    sums: F64 = np.zeros(X.shape[1])
    for first in range(0, len(X.data), _BLOCK):
        part = slice(first, first + _BLOCK)
        sums += np.bincount(X.indices[part], X.data[part], minlength=len(sums))
    return np.asarray(sums / X.shape[0])


def _read_option(option: Any) -> int | None:
    """Return the number of components that an option "pca:q" names; None if it is None."""
    if option is None:
        return None
    matched = re.fullmatch(r"pca:([1-9][0-9]*)", option) if isinstance(option, str) else None
    if not matched:
        raise ValueError(
            f'whiten must be None or a string such as "pca:40"; got {check.show(option)}'
        )
    return int(matched[1])
