r"""Laws of the features: what the samples of a task are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from . import _check

NAMES = ("gaussian", "student-t", "sphere")


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


def core_law(features: Features) -> tuple[str, float]:
    """The law as the compiled core takes it."""
    if isinstance(features, StudentT):
        return ("student-t", features.dof)
    return (features, 0.0)
