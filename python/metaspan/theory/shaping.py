r"""The representation of least risk on few samples, for one or several kinds of tasks, (66)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._support import check
from .._support.types import F64
from ..tasks.linear import MAX_COUNT
from .few_shot import FewShotRisk, align, number_of_samples, second_moment_of, solve, truncate
from .shrinkage import Directions

STEEPEST = 1e6  # bound on the relative risks that the search for the worst mixture sees
GAP = 1e-6  # accepted relative gap between the worst risk and its lower bound


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimalShaping:
    r"""The shaping of least risk, and its risk on each distribution of tasks.

    Parameters
    ----------
    shaping : ndarray of shape (d,) or (d, d)
        The eigenvalues :math:`\psi_i^2`, in the basis of the priors, or the matrix :math:`\Omega`:
        the `shaping` of `few_shot_risk`.
    penalty, kappa : float
        The penalty :math:`\lambda` of the regression, and the effective penalty :math:`\kappa`.
    risk : float
        The risk that the shaping minimises: the weighted mean over the priors. ``float`` returns
        it.
    risks : tuple of FewShotRisk
        The risk on each prior.
    weights : ndarray of shape (priors,)
        The weights of the mean, which add up to 1; for ``weights="worst"`` those of the least
        favourable mixture of the priors.
    """

    shaping: F64
    penalty: float
    kappa: float
    risk: float
    risks: tuple[FewShotRisk, ...]
    weights: F64

    def __float__(self) -> float:
        return self.risk


def optimal_shaping(
    priors: ArrayLike | Sequence[ArrayLike],
    m: int | None,
    noise: float,
    *,
    rank: int | None = None,
    ridgeless: bool = False,
    weights: ArrayLike | Literal["worst"] | None = None,
) -> OptimalShaping:
    r"""Compute the representation of least risk after regression on m samples of a task, (66).

    For one prior, the best :math:`\Omega` of `few_shot_risk` is the prior itself, with the penalty
    :math:`\sigma^2 / m`; the risk is then :math:`m \kappa`. Among `rank` directions, the best are
    those of the largest eigenvalues, and the part left out adds to :math:`\sigma^2`. Without a
    penalty, the best eigenvalues in r > m directions are :math:`\lambda_i + \sigma^2 / (r - m)`.

    The risk is linear in the prior. Among representations that several distributions of tasks
    share, the one of least mean risk is therefore the best one for the mean of their priors. The
    largest of their risks is least at the best representation for the worst mixture of priors, the
    mixture whose least risk is largest.

    Parameters
    ----------
    priors : array_like of shape (d,) or (d, d), or sequence of them
        Second moments of the tasks' vectors, as in `few_shot_risk`: those of one distribution of
        tasks, or a list or tuple with an array for each of several distributions.
    m : int or None
        Samples of a new task; None: infinitely many.
    noise : float
        Standard deviation of the label noise.
    rank : int or None
        Number of directions of the representation; None: all d.
    ridgeless : bool
        Whether the regression has no penalty; beyond m directions it has minimum norm.
    weights : array_like of shape (priors,), "worst", or None
        Weights >= 0 of the priors in the mean risk; None: equal weights. "worst": the largest risk
        is minimised instead of a mean, which excludes a `rank`.

    Returns
    -------
    OptimalShaping
        The shaping, its penalty, and its risk on every prior.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    RuntimeError
        If the weights of the worst risk were not found.

    See Also
    --------
    few_shot_risk : The risk of any shaping.

    Notes
    -----
    The shaping has a closed form, and its :math:`\kappa` is the root of one equation. "worst"
    maximises a concave function of the weights, whose gradient is the vector of risks. The maximum
    is a lower bound of the largest risk, and the function checks that the largest risk exceeds it
    by at most 1e-6 of its value. The risks are deterministic equivalents unless their `exact` is
    true.

    References
    ----------
    Sun, Narang, Gulluk, Oymak, Fazel, "Towards sample-efficient overparameterized meta-learning",
    NeurIPS 2021.

    Examples
    --------
    >>> prior = np.arange(1.0, 201.0) ** -1.2
    >>> [round(float(optimal_shaping(prior, 60, 0.5, ridgeless=r)), 4) for r in (False, True)]
    [1.2861, 1.3191]

    Two families of tasks compete for a representation: as its rank grows, one family gains and the
    other loses:

    >>> first, second = np.repeat([1.0, 0.0], 10), np.repeat([0.0, 0.5], 10)
    >>> for rank in (5, 10, 15, 20):
    ...     shared = optimal_shaping([first, second], 30, 0.5, rank=rank, ridgeless=True)
    ...     print(rank, [round(float(risk), 2) for risk in shared.risks])
    5 [6.34, 6.34]
    10 [0.38, 8.01]
    15 [0.52, 5.7]
    20 [0.81, 0.81]
    """
    moments = _check_priors(priors)
    samples = number_of_samples(m)
    variance = check.real("noise", noise, 0.0, 1e100) ** 2
    kept = None if rank is None else check.integer("rank", rank, 0, MAX_COUNT)
    without_penalty = check.flag("ridgeless", ridgeless)

    def share(mixture: F64) -> OptimalShaping:
        """Return the best shaping for the mean risk with the weights of `mixture`."""
        moment: F64 = np.tensordot(mixture, moments, 1)
        values, U = _decompose(moment)
        alone = Directions(values, values, np.ones_like(values), variance, samples)
        shapes, penalty = _shape(alone, kept, without_penalty)
        shaping = shapes if U is None else (U * shapes) @ U.T
        risks = tuple(_risk_of(prior, shaping, penalty, alone) for prior in moments)
        return OptimalShaping(
            shaping=shaping,
            penalty=penalty,
            kappa=risks[0].kappa,
            risk=sum(w * risk.risk for w, risk in zip(mixture.tolist(), risks, strict=True) if w),
            risks=risks,
            weights=mixture,
        )

    if isinstance(weights, str):
        check.choice("weights", weights, ("worst",))
        if kept is not None:
            raise ValueError(f"rank must be None where weights is 'worst'; got {kept}")
        return _worst(share, len(moments))
    return share(_check_weights(weights, len(moments)))


def _shape(alone: Directions, rank: int | None, ridgeless: bool) -> tuple[F64, float]:
    """Return the best shaping for one prior, as eigenvalues, and its penalty, (66)."""
    values = alone.prior
    top = np.ones(values.size, dtype=bool)
    if rank is not None:
        top[np.argsort(-values, kind="stable")[rank:]] = False
    cut = replace(alone, shaping=np.where(top, values, 0.0))
    noise = alone.variance + cut.outside
    if not ridgeless:
        return cut.shaping, alone.inverse_m * noise
    surplus = float(top.sum()) - alone.m
    if surplus <= 0.0:
        return top.astype(np.float64), 0.0  # shaping changes nothing
    return np.where(top, values + noise / surplus, 0.0), 0.0


def _risk_of(prior: F64, shaping: F64, penalty: float, alone: Directions) -> FewShotRisk:
    """Return the risk of a shaping on one prior."""
    values, shapes = align(prior, shaping)
    return solve(replace(alone, prior=values, shaping=shapes), penalty)


def _worst(share: Callable[[F64], OptimalShaping], count: int) -> OptimalShaping:
    """Return the shaping whose largest risk is least, by the least favourable weights."""
    from scipy.optimize import minimize  # noqa: PLC0415

    scale = float(share(np.full(count, 1.0 / count)))
    if count == 1 or scale == 0.0 or math.isinf(scale):
        return share(np.full(count, 1.0 / count))

    def negative(weights: F64) -> tuple[float, F64]:
        """Return the negative risk of a mixture and its gradient, the risks of the priors."""
        mixed = share(_normalise(weights))
        # A prior of weight 0 can have an infinite risk, which still has to give a direction.
        risks = np.minimum([float(risk) / scale for risk in mixed.risks], STEEPEST)
        return -min(mixed.risk / scale, STEEPEST), -risks

    optimum = minimize(
        negative,
        np.full(count, 1.0 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints={
            "type": "eq",
            "fun": lambda weights: weights.sum() - 1.0,
            "jac": np.ones_like,
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    shared = share(_normalise(optimum.x))
    largest = max(float(risk) for risk in shared.risks)
    if largest > (1.0 + GAP) * shared.risk:
        raise RuntimeError(
            "the weights of the worst risk were not found: the largest risk is "
            f"{largest:.10g}, and its lower bound is {shared.risk:.10g}"
        )
    return shared


def _normalise(weights: F64) -> F64:
    """Return weights >= 0 that add up to 1."""
    clipped = np.maximum(weights, 0.0)
    result: F64 = clipped / clipped.sum()
    return result


def _decompose(moment: F64) -> tuple[F64, F64 | None]:
    """Return eigenvalues and eigenvectors; a vector holds eigenvalues already."""
    if moment.ndim == 1:
        return moment, None
    values, U = np.linalg.eigh(moment)
    return truncate(values[::-1]), U[:, ::-1]


def _check_priors(priors: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Check one prior or several; return them as (priors, d) or (priors, d, d)."""
    several = isinstance(priors, (list, tuple)) and any(np.ndim(prior) for prior in priors)
    each: list[Any] = list(cast("Sequence[Any]", priors)) if several else [priors]
    names = [f"priors[{i}]" for i in range(len(each))] if several else ["priors"]
    moments = [second_moment_of(name, prior) for name, prior in zip(names, each, strict=True)]
    sizes = {len(moment) for moment in moments}
    if len(sizes) > 1:
        raise ValueError(f"priors must all have the same size d; got {sorted(sizes)}")
    if any(moment.ndim == 2 for moment in moments):
        moments = [moment if moment.ndim == 2 else np.diag(moment) for moment in moments]
    return np.stack(moments)


def _check_weights(weights: ArrayLike | None, count: int) -> F64:
    """Check the weights of the priors; return them so that they add up to 1."""
    if weights is None:
        return np.full(count, 1.0 / count)
    values = check.small("weights", weights, (count,))
    if values.min() < 0.0 or not values.any():
        raise ValueError("weights must be >= 0, and not all of them 0")
    return _normalise(values / values.max())  # whose sum does not overflow
