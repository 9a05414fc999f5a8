r"""Distributions of the features x of a task's samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core_types import FeatureLaw
from .._load import core
from .._support import check, memory
from .._support.types import F64

NAMES = ("gaussian", "student-t", "sphere", "rademacher", "uniform")
# Features with independent entries, whose distributions are not symmetric under rotations.
INDEPENDENT = ("rademacher", "uniform")


@dataclass(frozen=True, kw_only=True)
class StudentT:
    r"""Multivariate Student-t features with covariance I: Gaussian rows, each with a random scale.

    .. math:: x = \sqrt{(\text{dof} - 2) / u}\; g, \qquad
              g \sim N(0, I),\; u \sim \chi^2_{\text{dof}}

    Parameters
    ----------
    dof : float
        Degrees of freedom, > 2. Fewer degrees of freedom give heavier tails.

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
        dof = check.real("dof", self.dof)
        if dof <= 2.0:
            raise ValueError(f"dof must be above 2, where the covariance is finite; got {dof:g}")
        object.__setattr__(self, "dof", dof)


FeatureFunction = Callable[[np.random.Generator, int, int], NDArray[Any]]
Features = str | StudentT | FeatureFunction


def check_features(features: object) -> Features:
    """Check a law of features and return it in the form that `LinearTasks` keeps."""
    if isinstance(features, StudentT):
        return features
    if isinstance(features, type):
        raise TypeError(f"features must be an instance: use {features.__name__}()")
    if callable(features):
        return features
    if not isinstance(features, str):
        raise TypeError(
            f"features must be {check.words(NAMES, 'or')}, a StudentT or a function "
            f"(generator, m, d) -> (m, d); got {check.show(features)}"
        )
    name = check.choice("features", features, NAMES)
    return StudentT() if name == "student-t" else name


def spectrum(value: ArrayLike | None, d: int) -> float | F64 | None:
    """Check the eigenvalues of a diagonal covariance and return the form `LinearTasks` keeps."""
    if value is None:
        return None
    if np.ndim(check.rectangular("spectrum", value)) == 0:
        return check.real("spectrum", value)
    array = check.small("spectrum", value, (d,))
    if array.min() < 0.0:
        raise ValueError(f"spectrum must hold eigenvalues >= 0; got {array.min():g}")
    array.flags.writeable = False
    return array


def roots(eigenvalues: float | F64 | None, d: int) -> F64 | None:
    """Return the standard deviations (d,) of the features; None if all are 1.

    A number `a` stands for the eigenvalues ``j**-a``, j = 1, ..., d.
    """
    if eigenvalues is None:
        return None
    if isinstance(eigenvalues, float):
        return power_roots(eigenvalues, 0, d)
    return np.sqrt(eigenvalues)


def power_roots(a: float, first: int, end: int) -> F64:
    """Return ``j**(-a / 2)`` of the features `first` to `end` - 1, whose j is one more."""
    memory.require(f"the spectrum of {end - first} features", 8 * (end - first))
    return core.power_roots(a, first, end - first)


def core_law(features: Features) -> FeatureLaw:
    """Convert a law of features for the compiled core.

    If the law is a user's function, the converted law is a placeholder, and the core obtains rows
    of features by calling the function.
    """
    if isinstance(features, StudentT):
        return FeatureLaw("student-t", features.dof)
    return FeatureLaw("gaussian" if callable(features) else features)


def rows(
    features: FeatureFunction, key: int, place: tuple[int, int], count: int, d: int
) -> NDArray[Any]:
    """Draw `count` rows by one call of the user's function; `place` is (task, first row)."""
    bits = np.random.Philox(key=key, counter=np.array([0, 0, *place], dtype=np.uint64))
    drawn = features(np.random.Generator(bits), count, d)
    return check.small("what features() returns", drawn, (count, d))


def all_rows(
    features: FeatureFunction, key: int, n: int, m: int, d: int, *, first_task: int = 0
) -> F64:
    """Draw (n, m, d) samples by the user's function, in blocks of core.ROW_BLOCK rows."""
    X = np.empty((n, m, d))
    for task in range(n):
        for first in range(0, m, core.ROW_BLOCK):
            count = min(core.ROW_BLOCK, m - first)
            X[task, first : first + count] = rows(
                features, key, (first_task + task, first), count, d
            )
    return X
