r"""Spectral estimators: the top eigenvectors of sums over samples, (38)-(40)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._support.types import F64
from .estimator import Estimate, Monitor
from .samples import (
    Samples,
    lengths,
    spread,
    task_weights,
)
from .solvers import (
    PASSES,
    TOL,
    check_lengths,
    check_search,
    check_width,
    fixed_normals,
    least_squares_heads,
    start_columns,
    top_eigenvectors,
)
from .transforms import RowForms, scaled_rows


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options of the search for eigenvectors that spectral estimators share."""

    tol: float = TOL
    passes: int = PASSES

    def __post_init__(self) -> None:
        check_search(self)

    def _estimate_from_rows(self, samples: Samples, width: int, forms: RowForms) -> Estimate:
        """Return the top eigenvectors of ``Q -> X^T forms(X Q)`` and least-squares heads."""
        pairs = top_eigenvectors(
            lambda Q: samples.combine_features(Q, forms),
            samples.space,
            _start(samples, width),
            width,
            self.tol,
            self.passes,
        )
        heads = least_squares_heads(samples.features(pairs.vectors), samples.y, samples.offsets)
        return pairs.with_heads(heads)


def _start(samples: Samples, width: int) -> Callable[[], F64]:
    """Return a function that computes ``X^T diag(y) G``, the start of a Krylov space.

    G has normal entries, so the start has the law of the square root of the matrix (38), times a
    normal matrix.
    """

    def compute() -> F64:
        G = fixed_normals(len(samples.y), start_columns(width, samples.wants_few_passes))
        return samples.combine(samples.y[:, None] * G)

    return compute


@dataclass(frozen=True, kw_only=True)
class Moments(_Options):
    r"""The method of moments: the top eigenvectors of the mean of ``y^2 x x^T``, (38).

    The mean is over all samples, weighted by the weights of the tasks. The heads are those of least
    squares on the features `X B`; if a task has fewer samples than `B` has columns, its head is the
    solution of least norm.

    One sample of each task suffices. The cost is that of 10 to 40 passes over X, each with c
    columns. For arrays in memory and in law, c is the width, and at least 6. Where a pass takes
    much longer than its arithmetic (on a disk, on a device, or for generated samples), c is 1.5
    times the width or the width plus 5, so that fewer passes suffice. The memory is that of 8 to 45
    blocks of c columns of length d; it is that of 45 blocks if these take less than 0.5 GB.

    Parameters
    ----------
    tol : float
        The search ends once the sine of the largest angle between the computed and the exact
        eigenvectors is at most `tol`, by a bound from the residual and the gap between eigenvalues.
    passes : int
        The largest number of passes over X; a search that needs more ends with ``converged=False``.

    References
    ----------
    N. Tripuraneni, C. Jin, M. I. Jordan. *Provable meta-learning of linear representations.* ICML
    2021.
    """

    name: ClassVar[str] = "moments"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False
    nested: ClassVar[bool] = True  # narrower representations are the first columns of wider ones

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads.

        Raises
        ------
        ValueError
            If the matrix (38) has fewer than `width` positive eigenvalues.
        """
        self.check(samples, width)
        scales: F64 = samples.y**2 * task_weights(samples, range(samples.n)) / len(samples.y)
        return self._estimate_from_rows(samples, width, scaled_rows(samples, scales))


@dataclass(frozen=True, kw_only=True)
class Duchi(_Options):
    r"""The spectral estimator of Duchi et al., from pairs of different samples of a task, (39).

    A task with the parameter theta contributes the mean of ``y_j y_l x_j x_l^T`` over its pairs of
    different samples. For features of identity covariance, the expectation of this mean is ``theta
    theta^T``. Every task needs two samples. The heads, the cost and the options are those of
    `Moments`.

    Parameters
    ----------
    tol : float
        As in `Moments`.
    passes : int
        As in `Moments`.

    References
    ----------
    J. Duchi, V. Feldman, L. Hu, K. Talwar. *Subspace recovery from heterogeneous data with
    non-isotropic noise.* NeurIPS 2022.
    """

    name: ClassVar[str] = "duchi"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False
    nested: ClassVar[bool] = True  # narrower representations are the first columns of wider ones

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)
        check_lengths(self.name, samples, 2)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads.

        Raises
        ------
        ValueError
            If a task has one sample, or the matrix (39) has fewer than `width` positive
            eigenvalues.
        """
        self.check(samples, width)
        sizes, y = lengths(samples), samples.y[:, None]
        factors = spread(samples.weights / (samples.n * sizes * (sizes - 1.0)), samples.offsets)
        left: F64 = factors[:, None] * y
        forms = RowForms(samples, -(left * y)[:, 0], left, y)
        return self._estimate_from_rows(samples, width, forms)


@dataclass(frozen=True, kw_only=True)
class SplitSpectral(_Options):
    r"""The spectral estimator from independent averages over two halves of every task, (40).

    The samples of a task are split into two halves, and u and v are the averages of ``y_j x_j``
    over the halves. For features of identity covariance, both are unbiased estimates of the
    parameter of the task. The representation has the top eigenvectors of the mean of ``(u v^T + v
    u^T) / 2``. The average of this matrix over all splits into equal halves is the matrix of (39).
    Every task needs two samples.

    The heads are ``B^T (u + v) / 2``, and not those of least squares, because the estimator sees
    only the averages. In law it therefore needs 2 n vectors instead of all samples.

    Parameters
    ----------
    tol : float
        As in `Moments`.
    passes : int
        As in `Moments`. In law a pass reads all averages once, and if d is much larger than n, a
        search preconditioned by the averages of single tasks takes as few as 3 passes.

    References
    ----------
    X. Niu, L. Su, J. Xu, P. Yang. *Learning with shared representations: statistical rates and
    efficient algorithms.* 2024, arXiv:2409.04919.
    """

    name: ClassVar[str] = "split-spectral"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = True
    nested: ClassVar[bool] = True

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the estimator cannot run on these samples."""
        check_width(samples, width)
        check_lengths(self.name, samples, 2)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads.

        Raises
        ------
        ValueError
            If a task has one sample, or the matrix (40) has fewer than `width` positive
            eigenvalues.
        """
        self.check(samples, width)
        averages = samples.averages()
        factors: F64 = averages.weights / (2 * averages.n)

        def start() -> F64:
            G = averages.start_factors(
                fixed_normals(2 * averages.n, start_columns(width, averages.wants_few_passes))
            )
            return averages.combine(G[: averages.n], G[averages.n :])

        pairs = top_eigenvectors(
            lambda Q: averages.mean_products(Q, factors),
            averages.space,
            start,
            width,
            self.tol,
            self.passes,
            averages.preconditioner(factors),
        )
        first, second = averages.products(pairs.vectors)
        return pairs.with_heads(np.ascontiguousarray((first + second) / 2))
