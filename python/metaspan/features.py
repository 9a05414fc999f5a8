r"""Laws of the features: what the samples of a task are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check, _memory

F64 = NDArray[np.float64]

NAMES = ("gaussian", "student-t", "sphere", "rademacher", "uniform")
INDEPENDENT = ("rademacher", "uniform")  # of entries, and not symmetric under rotations


@dataclass(frozen=True, kw_only=True)
class StudentT:
    r"""Multivariate Student-t features with covariance I: Gaussian rows, each with its own scale.

    .. math:: x = \sqrt{(\text{dof} - 2) / u}\; g, \qquad
              g \sim N(0, I),\; u \sim \chi^2_{\text{dof}}

    Parameters
    ----------
    dof : float
        Degrees of freedom, > 2; the smaller, the heavier the tails.

    Raises
    ------
    TypeError, ValueError
        If `dof` is not a number above 2.

    Examples
    --------
    >>> StudentT(dof=5)
    StudentT(dof=5.0)
    """

    dof: float = 5.0

    def __post_init__(self) -> None:
        dof = _check.real("dof", self.dof)
        if dof <= 2.0:
            raise ValueError(f"dof must be above 2, where the covariance is finite; got {dof:g}")
        object.__setattr__(self, "dof", dof)


Features = str | StudentT


def checked(features: object) -> Features:
    """Features as `LinearTasks` keeps them; raises unless they are known."""
    if isinstance(features, StudentT):
        return features
    if isinstance(features, type):
        raise TypeError(f"features must be an instance: use {features.__name__}()")
    if not isinstance(features, str):
        raise TypeError(
            f"features must be {_check.words(NAMES, 'or')}, or a StudentT; "
            f"got {_check.show(features)}"
        )
    name = _check.choice("features", features, NAMES)
    return StudentT() if name == "student-t" else name


def spectrum(value: ArrayLike | None, d: int) -> float | F64 | None:
    """Eigenvalues of a diagonal covariance as `LinearTasks` keeps them; raises unless they are."""
    if value is None:
        return None
    if np.ndim(value) == 0:
        return _check.real("spectrum", value)
    array = _check.small("spectrum", value, (d,))
    if array.min() < 0.0:
        raise ValueError(f"spectrum must hold eigenvalues >= 0; got {array.min():g}")
    array.flags.writeable = False
    return array


def roots(kept: float | F64 | None, d: int) -> F64 | None:
    """Standard deviations (d,) of the features, or None where all are 1."""
    if kept is None:
        return None
    if isinstance(kept, float):
        _memory.require(f"the spectrum of {d} features", 2 * 8 * d)
        return np.arange(1.0, d + 1.0) ** (-0.5 * kept)
    return np.sqrt(kept)


def core_law(features: Features) -> tuple[str, float]:
    """The law as the compiled core takes it."""
    if isinstance(features, StudentT):
        return ("student-t", features.dof)
    return (features, 0.0)
