r"""Moments of laws of heads, and the task diversity that follows from them."""

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
    """Mean (k,) and covariance (k, k) of a law of heads, or of a table of them."""
    if isinstance(heads, (GaussianHeads, SphereHeads)):
        memory.require(f"moments of heads of size {k}", 8 * k * k)
        mean = getattr(heads, "mean", None)
        return np.zeros(k) if mean is None else np.asarray(mean), laws.covariance(heads, k)
    table = np.asarray(heads)
    with np.errstate(over="ignore", invalid="ignore"):  # squares of heads near 1e308 are infinite
        centred = table - table.mean(axis=0)
        return table.mean(axis=0), centred.T @ centred / table.shape[0]


def second_moment(heads: laws.Heads | ArrayLike, k: int) -> F64:
    r"""Second moment of a law of heads.

    Parameters
    ----------
    heads : GaussianHeads, SphereHeads or array_like of shape (n, k)
        The law; an array holds fixed heads, each as likely as the others.
    k : int
        Size of a head.

    Returns
    -------
    ndarray of shape (k, k), float64
        :math:`E\, w_{*} w_{*}^\top`.

    Raises
    ------
    TypeError
        If `heads` is a function: its moments are not known.
    ValueError
        If the heads are of another size.

    Examples
    --------
    >>> second_moment(GaussianHeads(cov=[1.0, 0.5], mean=[0.0, 2.0]), 2)
    array([[1. , 0. ],
           [0. , 4.5]])
    """
    mean, cov = moments(_known(heads, k), k)
    with np.errstate(over="ignore", invalid="ignore"):
        found: F64 = cov + np.outer(mean, mean)
    if not np.isfinite(found).all():
        raise ValueError("heads must have a second moment that double precision holds")
    return found


def diversity(heads: laws.Heads | ArrayLike, k: int) -> metrics.Diversity:
    r"""Task diversity of a law of heads: what (21) tends to as tasks become many.

    Parameters
    ----------
    heads : GaussianHeads, SphereHeads or array_like of shape (n, k)
        The law; an array holds fixed heads.
    k : int
        Size of a head.

    Returns
    -------
    Diversity
        ``mu``, ``L``, ``kappa`` and ``eta`` of the law, not of a sample. An eigenvalue of the
        second moment that rounding explains counts as 0.

    Raises
    ------
    TypeError
        If `heads` is a function: its moments are not known.
    ValueError
        If the heads are of another size.

    Examples
    --------
    >>> diversity(SphereHeads(radius=6.0), 4)
    Diversity(mu=3.0, L=3.0, kappa=1.0, eta=0.0)
    """
    law = _known(heads, k)
    if isinstance(law, np.ndarray):
        return metrics.diversity(law)  # from the heads themselves: no digits are squared away
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


def _known(heads: laws.Heads | ArrayLike, k: int) -> laws.Heads:
    """Checked heads of size k; raises for a function."""
    law = laws.check_heads(heads, check.integer("k", k, 1))
    if callable(law):
        raise TypeError(
            "heads must be a law or an array for a prediction, since the moments of a function "
            f"are not known; got {check.show(law)}"
        )
    return law
