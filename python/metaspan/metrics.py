r"""Metrics of representations and of sets of tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._load import core
from ._support import check
from ._support.types import F64


@dataclass(frozen=True, kw_only=True)
class Diversity:
    r"""Task diversity (21): the extents of a set of heads in its weakest and strongest directions.

    Parameters
    ----------
    mu, L : float
        Square roots of the smallest and the largest eigenvalue of the heads' second moment.
    kappa : float
        Condition number ``L / mu``; infinite if the heads do not span the whole space.
    eta : float
        Euclidean length of the mean head.
    """

    mu: float
    L: float
    kappa: float
    eta: float


def subspace_distance(
    B: NDArray[Any], B_star: NDArray[Any], *, threads: int | None = None
) -> float:
    r"""Return the sine of the largest principal angle between `B` and the ground truth, (20).

    .. math:: \operatorname{dist}(B, B_{*}) = \|(I - Q Q^\top) B_{*}\|_2, \qquad B = Q S

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation of full column rank, C-contiguous.
    B_star : ndarray of shape (d, k_star)
        Ground truth with orthonormal columns, C-contiguous.
    threads : int or None
        Number of threads; None: the CPUs that this process may use.

    Returns
    -------
    float
        The distance, between 0 and 1; it is 1 if k < k_star. The distance is as accurate as the
        rounded entries of `B` allow, so small distances lose no digits.

    Raises
    ------
    TypeError, ValueError
        If an array is of the wrong kind or shape, if `B` does not have full column rank, or if the
        columns of `B_star` are not orthonormal.

    Notes
    -----
    The principal angles are Euclidean: they depend only on the column spaces of `B` and `B_star`,
    and not on the covariance of the features. The records ``dist`` and ``angles`` of a run are
    Euclidean too. The time is ``O(d (k + k_star)^2)``, and the memory is about three times that of
    `B` in float64.

    References
    ----------
    Collins, Mokhtari, Oh, Shakkottai, "MAML and ANIL provably learn representations", ICML 2022.

    Examples
    --------
    >>> B = np.array([[1.0], [1e-9], [0.0]])
    >>> subspace_distance(B, np.eye(3, 1))
    1e-09
    """
    tangents = _tangents(B, B_star, threads)
    if B.shape[1] < B_star.shape[1]:
        return 1.0
    largest = float(tangents.max(initial=0.0))
    return 1.0 if math.isinf(largest) else largest / math.hypot(1.0, largest)


def principal_angles(B: NDArray[Any], B_star: NDArray[Any], *, threads: int | None = None) -> F64:
    r"""Return the principal angles between a representation and the ground truth.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation of full column rank, C-contiguous.
    B_star : ndarray of shape (d, k_star)
        Ground truth with orthonormal columns, C-contiguous.
    threads : int or None
        Number of threads; None: the CPUs that this process may use.

    Returns
    -------
    ndarray of shape (min(k, k_star),), float64
        Angles in radians, largest first.

    Raises
    ------
    TypeError, ValueError
        If an array is of the wrong kind or shape, if `B` does not have full column rank, or if the
        columns of `B_star` are not orthonormal.

    Notes
    -----
    The time is ``O(d (k + k_star)^2)``, and the memory is about three times that of `B` in float64.

    Examples
    --------
    >>> principal_angles(np.eye(4, 2, -1), np.eye(4, 2)).round(3).tolist()
    [1.571, 0.0]
    """
    angles: F64 = np.arctan(_tangents(B, B_star, threads))
    return angles


def diversity(heads: ArrayLike) -> Diversity:
    r"""Return the task diversity of a set of heads, (21).

    .. math:: \mu^2 = \lambda_{\min}, \quad L^2 = \lambda_{\max} \quad\text{of}\quad
              \operatorname{mean}_i w_i w_i^\top, \qquad \eta = \|\operatorname{mean}_i w_i\|

    Parameters
    ----------
    heads : array_like of shape (n, k)
        One head per row.

    Returns
    -------
    Diversity
        The numbers mu, L, kappa and eta.

    Raises
    ------
    TypeError, ValueError
        If `heads` is not an array of finite numbers with at least one row.

    Examples
    --------
    >>> diversity([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, -2.0]]).kappa
    1.0
    """
    table = check.small("heads", heads, ("n", "k"))
    n, k = table.shape
    check.integer("the number of heads", n, 1)
    check.integer("the size of the heads", k, 1)
    # mu and L are computed from singular values of the matrix of heads. The eigenvalues of the
    # second moment would lose half of the digits of mu, because the second moment contains squares.
    scale = float(np.abs(table).max()) or 1.0  # prevents overflow of squares
    table = table / scale
    values = np.linalg.svd(table, compute_uv=False) * (scale / math.sqrt(n))
    mu, largest = float(values[-1]) if n >= k else 0.0, float(values[0])
    if mu <= 8 * k * np.finfo(np.float64).eps * largest:  # zero up to rounding
        mu = 0.0
    return Diversity(
        mu=mu,
        L=largest,
        kappa=largest / mu if mu > 0.0 else math.inf,
        eta=scale * float(np.linalg.norm(table.mean(axis=0))),
    )


def _tangents(B: NDArray[Any], B_star: NDArray[Any], threads: int | None) -> F64:
    """Return the tangents of the principal angles between B and B_star, largest first."""
    workers = check.threads(threads)
    B = check.matrix("B", B, ("d", "k"))
    B_star = check.matrix("B_star", B_star, (B.shape[0], "k_star"))
    for name, array in (("B", B), ("B_star", B_star)):
        columns = check.integer(f"the width of {name}", array.shape[1], 1)
        if columns > array.shape[0]:
            raise ValueError(
                f"{name} must have at most d = {array.shape[0]} columns; got {columns}"
            )
    check.finite("B", B, workers)
    check.orthonormal("B_star", B_star, workers)
    M, R, _ = core.coordinates(B, B_star, workers)
    check.full_rank("B", np.concatenate([M, R]))
    return core.tangents(M, R)
