r"""Moments of distributions of heads, and the task diversity that the moments determine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .. import metrics
from .._support import check, memory
from .._support.types import F64
from . import heads as laws
from .heads import GaussianHeads, SphereHeads


def moments(heads: object, k: int) -> tuple[F64, F64]:
    """Return the mean (k,) and covariance (k, k) of a distribution of heads, or of fixed heads."""
    if isinstance(heads, (GaussianHeads, SphereHeads)):
        memory.require(f"moments of heads of size {k}", 8 * k * k)
        mean = getattr(heads, "mean", None)
        return np.zeros(k) if mean is None else np.asarray(mean), laws.covariance(heads, k)
    table = np.asarray(heads)
    with np.errstate(over="ignore", invalid="ignore"):  # squares of heads near 1e308 are infinite
        centred = table - table.mean(axis=0)
        return table.mean(axis=0), centred.T @ centred / table.shape[0]


def centred_moments(heads: laws.Heads | ArrayLike, k: int) -> tuple[F64, F64]:
    """Check a law of heads of size k, and return its mean (k,) and covariance (k, k)."""
    return moments(_check_law(heads, k), k)


def second_moment(heads: laws.Heads | ArrayLike, k: int) -> F64:
    r"""Return the second moment of a distribution of heads.

    Parameters
    ----------
    heads : GaussianHeads, SphereHeads or array_like of shape (n, k)
        Distribution of the heads. An array holds fixed heads, which are equally likely.
    k : int
        Size of a head.

    Returns
    -------
    ndarray of shape (k, k), float64
        :math:`E\, w_{*} w_{*}^\top`.

    Raises
    ------
    TypeError
        If `heads` is a function, whose moments are unknown.
    ValueError
        If the heads are not of size `k`, or a moment exceeds double precision.

    Examples
    --------
    >>> second_moment(GaussianHeads(cov=[1.0, 0.5], mean=[0.0, 2.0]), 2)
    array([[1. , 0. ],
           [0. , 4.5]])
    """
    mean, cov = moments(_check_law(heads, k), k)
    with np.errstate(over="ignore", invalid="ignore"):
        moment: F64 = cov + np.outer(mean, mean)
    if not np.isfinite(moment).all():
        raise ValueError("heads must have a second moment that double precision holds")
    return moment


def diversity(heads: laws.Heads | ArrayLike, k: int) -> metrics.Diversity:
    r"""Return the task diversity of a distribution of heads: the limit of (21) for many tasks.

    Parameters
    ----------
    heads : GaussianHeads, SphereHeads or array_like of shape (n, k)
        Distribution of the heads. An array holds fixed heads, which are equally likely.
    k : int
        Size of a head.

    Returns
    -------
    Diversity
        ``mu``, ``L``, ``kappa`` and ``eta`` of the distribution, not of a sample. If the smallest
        eigenvalue of the second moment differs from 0 by rounding alone, it counts as 0.

    Raises
    ------
    TypeError
        If `heads` is a function, whose moments are unknown.
    ValueError
        If the heads are not of size `k`, or a moment exceeds double precision.

    Examples
    --------
    >>> diversity(SphereHeads(radius=6.0), 4)
    Diversity(mu=3.0, L=3.0, kappa=1.0, eta=0.0)
    """
    law = _check_law(heads, k)
    if isinstance(law, np.ndarray):
        # The diversity is computed from the heads themselves, since mu would lose half of its
        # digits if it were computed from the second moment.
        return metrics.diversity(law)
    mean = moments(law, k)[0]
    values = np.linalg.eigvalsh(second_moment(law, k))
    rounding = k * np.finfo(np.float64).eps * values[-1]
    mu, largest = math.sqrt(values[0]) if values[0] > rounding else 0.0, math.sqrt(values[-1])
    return metrics.Diversity(
        mu=mu,
        L=largest,
        kappa=largest / mu if mu > 0.0 else math.inf,
        eta=float(np.linalg.norm(mean)),
    )


def _check_law(heads: laws.Heads | ArrayLike, k: int) -> laws.Heads:
    """Check a law of heads of size k; raise TypeError for a function."""
    law = laws.check_heads(heads, check.integer("k", k, 1))
    if callable(law):
        raise TypeError(
            "heads must be a law or an array for a prediction, since the moments of a function "
            f"are not known; got {check.show(law)}"
        )
    return law
