r"""Settings of a training run that consist of several values: start, stop rule, and checkpoint."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._support import check
from .._support.types import F64
from ..methods import Method, step_size


@dataclass(frozen=True, kw_only=True)
class Init:
    r"""The distribution of a start: `B0` has orthogonal columns of equal length, and `w0` is zero.

    LinearMAML has the frozen head `w0` = 1 instead.

    Parameters
    ----------
    dist : float or None
        Sine of every principal angle between the columns of B_0 and the ground truth, in [0, 1].
        None: the columns span a Haar-random subspace.
    scale : float or None
        Length of the columns, > 0. None: :math:`1/\sqrt{\alpha}`, so that
        :math:`\alpha B_0^\top B_0 = I`; 1 for a method without :math:`\alpha` or with
        :math:`\alpha \le 0`.

    Raises
    ------
    TypeError, ValueError
        If a value is not a number or out of range.

    Examples
    --------
    >>> Init(dist=0.7)
    Init(dist=0.7, scale=None)
    """

    dist: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.dist is not None:
            object.__setattr__(self, "dist", check.real("init dist", self.dist, 0.0, 1.0))
        if self.scale is not None:
            scale = check.real("init scale", self.scale)
            if scale == 0.0:
                raise ValueError("init scale must be positive; got 0")
            object.__setattr__(self, "scale", scale)


@dataclass(frozen=True, kw_only=True)
class Stop:
    r"""A stop rule: a trial has converged once a quantity is at most its bound.

    The rule is checked in the rounds whose rows are recorded, see ``record_every`` of `train`.

    Parameters
    ----------
    dist : float or None
        Bound on the distance (20). None or 0: the distance never stops a trial.
    loss_out : float or None
        Bound on the outer loss after adaptation, a training loss. None or 0: the loss never stops a
        trial.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a number of at least 0.

    Examples
    --------
    >>> Stop(dist=1e-6)
    Stop(dist=1e-06, loss_out=None)
    """

    dist: float | None = 1e-10
    loss_out: float | None = None

    def __post_init__(self) -> None:
        for name in ("dist", "loss_out"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check.real(f"stop {name}", value))


DEFAULT_STOP = Stop()


@dataclass(frozen=True, kw_only=True)
class ZeroStart(Init):
    """The start B = 0, at which LinearMAML begins unless `init` is given."""


@dataclass(frozen=True, kw_only=True)
class FittedStart(Init):
    r"""The start at the representation that an estimator computes, scaled as ``Init()``.

    Parameters
    ----------
    estimator : Moments, another estimator, or AltGDmin
        The estimator.
    """

    estimator: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class CoordinateStart(Init):
    r"""The start at the representation of a `Result` in coordinates (13), scaled as ``Init()``.

    Parameters
    ----------
    M, R : ndarray of shape (k_star, k) and (e, k), float64
        Coordinates of a representation with orthonormal columns.
    """

    M: F64
    R: F64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CoordinateStart):
            return NotImplemented
        return np.array_equal(self.M, other.M) and np.array_equal(self.R, other.R)

    def __hash__(self) -> int:
        return hash((self.M.shape, self.R.shape, *self.M.ravel()[:64].tolist()))


@dataclass(frozen=True)
class Checkpoint:
    r"""The file from which an interrupted run continues, and how often it is written.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Every write goes to a temporary file that replaces it, so it is never left half
        written.
    every_seconds : float
        Seconds between writes, >= 0. The file is also written at the end of the run and on Ctrl-C.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value.

    Examples
    --------
    >>> Checkpoint("run.npz", every_seconds=600).every_seconds
    600.0
    """

    path: str | os.PathLike[str]
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", check.path("checkpoint path", self.path))
        seconds = check.real("checkpoint every_seconds", self.every_seconds)
        object.__setattr__(self, "every_seconds", seconds)


def column_length(init: Init, method: Method) -> float:
    """Return the length of the columns of a start for a method."""
    if isinstance(init, ZeroStart):
        return 0.0
    if init.scale is not None:
        return init.scale
    alpha = step_size(method)
    return 1.0 / math.sqrt(alpha) if alpha > 0.0 else 1.0
