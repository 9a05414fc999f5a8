r"""Risk of regression on few samples of a new task, in closed form, (65)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._support import check
from .._support.types import F64
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import centred_moments
from .risk import (
    HeadMoments,
    check_coordinates,
    learned_regression,
    least_squares_risk,
)
from .shrinkage import Directions

ROUNDING = 1e-10  # relative asymmetry and negative eigenvalues that count as rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class FewShotRisk:
    r"""Risk of shaped ridge regression on a new task; ``float`` returns `risk`.

    Parameters
    ----------
    risk : float
        Mean square error of the prediction of a new label, which includes the variance of the
        noise.
    excess : float
        Half of the difference between `risk` and the variance of the noise: the mean of
        :math:`\tfrac12 \|\hat\theta - \theta\|^2`, which `metaspan.evaluate` computes.
    penalty : float
        The penalty :math:`\lambda` of the regression, the `ridge` of `metaspan.evaluate`; infinite
        if it is best to predict 0.
    kappa : float
        The effective penalty :math:`\kappa` of (65).
    shrinkage : ndarray of shape (directions,)
        The factors :math:`\theta_i`, in the order of the entries of the prior; for matrices and
        for tasks, in the order of decreasing shaping. For tasks, the last entry is that of all
        other directions. If `rank` keeps only a part of these, one more entry is that of the rest.
    exact : bool
        True if the risk is exact for Gaussian features; False if it is the deterministic
        equivalent.
    """

    risk: float
    excess: float
    penalty: float
    kappa: float
    shrinkage: F64
    exact: bool

    def __float__(self) -> float:
        return self.risk


def few_shot_risk(
    prior: LinearTasks | ArrayLike,
    m: int | None,
    noise: float | None = None,
    *,
    shaping: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    rank: int | None = None,
    penalty: float | None = None,
) -> FewShotRisk:
    r"""Compute the mean risk of a representation after regression on m samples of a new task, (65).

    The labels are :math:`y = X \theta + z` with features of covariance I. The learner minimises
    :math:`\tfrac1m \|y - X t\|^2 + \lambda\, t^\top \Omega^{-1} t`, which is ridge regression with
    the penalty :math:`\lambda` on the features `X B` for :math:`\Omega = B B^\top`. In an
    eigenbasis of :math:`\Omega`, with eigenvalues :math:`\psi_i^2`, and with the second moments
    :math:`\lambda_i` of the task's vector along this basis, the risk is

    .. math:: \frac{\sigma^2 + \sum_i (1 - \theta_i)^2 \lambda_i}{1 - \sum_i \theta_i^2 / m},
              \qquad \theta_i = \frac{\psi_i^2}{\psi_i^2 + \kappa}, \qquad
              \lambda = \kappa \Bigl( 1 - \tfrac1m \sum_i \theta_i \Bigr).

    Parameters
    ----------
    prior : array_like of shape (d,) or (d, d), or LinearTasks
        The second moment of the tasks' vectors: its eigenvalues, or a symmetric matrix. A
        `LinearTasks` gives the second moment of its vectors, which includes its `spread`, (33);
        its features must be Gaussian without a spectrum, and the cost does not depend on d.
    m : int or None
        Samples of a new task; None: infinitely many.
    noise : float or None
        Standard deviation of the label noise; None: that of the `LinearTasks`.
    shaping : array_like of shape (d,) or (d, d), B of `metaspan.evaluate`, or None
        The eigenvalues :math:`\psi_i^2 \ge 0`, in the basis of `prior`, or the matrix
        :math:`\Omega`. For a `LinearTasks`, `shaping` is a representation B instead, as an array
        (d, k) or as coordinates (M, R). None: :math:`\Omega` is the prior itself, the best
        shaping (66).
    rank : int or None
        Number of directions to keep: those of largest shaping and, among equals, of largest prior.
        None: all directions with a positive shaping.
    penalty : float or None
        The penalty :math:`\lambda`. 0: least squares, of minimum norm if there are more directions
        than samples. None: the penalty with the least risk.

    Returns
    -------
    FewShotRisk
        The risk, with its :math:`\lambda`, :math:`\kappa` and :math:`\theta_i`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If a shape or a value does not fit, a second moment is not positive semidefinite, or the
        features are not Gaussian with covariance I.

    See Also
    --------
    optimal_shaping : The shaping of least risk, for one prior or for several.
    metaspan.evaluate : Monte Carlo estimates of the same risks, and exact forms of least squares.

    Notes
    -----
    The formula is the limit of many samples and directions. Its relative error is of order 1 / m,
    and larger where :math:`\sum_i \theta_i^2` is close to m; for least squares on r < m directions
    it is :math:`r / (m (m - r - 1))`. It depends on the features only through their
    covariance. Where an exact form for Gaussian features exists, the function returns the exact
    form and sets `exact`: for a penalty of 0 with at most m directions, or with equal shaping in
    all directions, and where the estimate is 0. For features of another covariance C, give
    :math:`C^{1/2} \Sigma C^{1/2}` and :math:`C^{1/2} \Omega C^{1/2}` in place of the prior
    :math:`\Sigma` and the shaping :math:`\Omega`.

    The cost is a few hundred sums over directions; matrices need O(d^3) operations.

    References
    ----------
    Sun, Narang, Gulluk, Oymak, Fazel, "Towards sample-efficient overparameterized meta-learning",
    NeurIPS 2021.

    Jin, Balasubramanian, Paul, "Meta-learning with generalized ridge regression: high-dimensional
    asymptotics, optimality and hyper-covariance estimation", 2024.

    Examples
    --------
    >>> prior = np.arange(1.0, 201.0) ** -1.2
    >>> best = few_shot_risk(prior, 60, 0.5)
    >>> round(best.risk, 4), round(60 * best.kappa, 4)
    (1.2861, 1.2861)
    >>> round(float(few_shot_risk(prior, 60, 0.5, penalty=0.0)), 4)
    1.3353
    """
    count = number_of_samples(m)
    if isinstance(prior, LinearTasks):
        directions = _directions_of(prior, noise, shaping, count)
    else:
        if noise is None:
            raise TypeError("noise must be a number where prior is an array; got None")
        variance = check.real("noise", noise, 0.0, 1e100) ** 2
        moment = second_moment_of("prior", prior)
        values, shapes = moment, moment
        if shaping is not None:
            values, shapes = align(moment, second_moment_of("shaping", shaping))
        elif moment.ndim == 2:
            values = shapes = eigenvalues(moment)
        directions = Directions(values, shapes, np.ones_like(values), variance, count)
    kept = (
        directions if rank is None else directions.keep(check.integer("rank", rank, 0, MAX_COUNT))
    )
    if penalty is not None:
        penalty = check.real("penalty", penalty, 0.0, 1e100)
    elif shaping is None:
        penalty = kept.inverse_m * (kept.variance + kept.outside)  # the optimum, (66)
    return solve(kept, penalty)


def solve(directions: Directions, penalty: float | None) -> FewShotRisk:
    """Return the risk at a penalty of the user's loss; for None, at the best penalty."""
    if penalty is None:
        kappa = directions.best_kappa()
        penalty = directions.penalty_of(kappa)
    else:
        kappa = directions.kappa_of(penalty)
    theta = directions.shrink(kappa)
    exact = directions.exact_excess(kappa, penalty)
    excess = directions.excess(theta) if exact is None else exact
    return FewShotRisk(
        risk=directions.variance + 2.0 * excess,
        excess=excess,
        penalty=penalty,
        kappa=kappa,
        shrinkage=theta,
        exact=exact is not None,
    )


def after_least_squares(missed: float, m: int, k: int, noise: float) -> float:
    r"""Compute the mean excess risk of least squares on k learned features, exactly.

    .. math:: \tfrac12 \Bigl[ \varepsilon^2
              + (\sigma^2 + \varepsilon^2) \frac{k}{m - k - 1} \Bigr]

    Features are Gaussian with covariance I. The part of a task's vector that the representation
    misses, of second moment :math:`\varepsilon^2`, acts as further label noise. The value is the
    entry `least_squares` of `metaspan.evaluate`.

    Parameters
    ----------
    missed : float
        :math:`\varepsilon^2`, which `missed_signal` computes from a representation.
    m : int
        Samples of a new task, at least k.
    k : int
        Rank of the representation.
    noise : float
        Standard deviation of the label noise.

    Returns
    -------
    float
        Mean of :math:`\tfrac12 \|\hat\theta - \theta\|^2`; infinite for m <= k + 1, unless the
        labels have neither noise nor a missed part.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, or m < k.

    See Also
    --------
    few_shot_risk : Fewer samples than features, and ridge regression.

    Examples
    --------
    >>> round(after_least_squares(0.1, m=25, k=4, noise=0.5), 3)
    0.085
    """
    missed = check.real("missed", missed, 0.0, 1e100)
    k = check.integer("k", k, 1, MAX_COUNT)
    m = check.integer("m", m, k, MAX_COUNT)
    return least_squares_risk(m, k, 0.0, missed, check.real("noise", noise, 0.0, 1e100) ** 2)


def missed_signal(
    B: NDArray[np.floating] | tuple[ArrayLike, ArrayLike], tasks: LinearTasks
) -> float:
    r"""Compute the mean squared part of the tasks' vectors that a representation misses.

    .. math:: \varepsilon^2 = \operatorname{tr} \bigl[ (I - Q Q^\top) E \theta \theta^\top \bigr]

    Q is an orthonormal basis of the span of B. The distance (20) alone does not determine this
    number, which depends on the heads.

    Parameters
    ----------
    B : ndarray of shape (d, k) or pair of array_like (M, R)
        The representation, or its coordinates (13), as in `metaspan.evaluate`.
    tasks : LinearTasks
        The distribution of the tasks. If B is an array, ``tasks.B_star`` must be an array.

    Returns
    -------
    float
        The second moment of the missed part. Parts shorter than about 1e-14 times the length of
        the vectors count as 0.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If an argument has a wrong shape or value.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10**9, k=2, heads=ms.GaussianHeads(cov=[2.0, 0.5]))
    >>> missed_signal((np.array([[1.0], [0.0]]), np.zeros((1, 1))), tasks)
    0.5
    """
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    law = _moments_of(tasks, 0.0)
    return learned_regression(check_coordinates(B, tasks, check.threads(None)), law, 1).outside


def number_of_samples(m: int | None) -> float:
    """Check a number of samples; None is infinity."""
    return math.inf if m is None else float(check.integer("m", m, 1, MAX_COUNT))


def second_moment_of(name: str, value: Any) -> F64:
    """Check eigenvalues (d,) or a symmetric matrix (d, d), which must be >= 0; return a copy."""
    array = check.reals(name, value)
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    if not array.size or not (array.ndim == 1 or square):
        raise ValueError(f"{name} must have the shape (d,) or (d, d); got {array.shape}")
    size = float(np.abs(array).max())
    if not size <= 1e100:
        raise ValueError(f"{name} must hold finite numbers up to 1e100; got {size:g}")
    if array.ndim == 1:
        if array.min() < 0.0:
            raise ValueError(f"{name} must be >= 0; its smallest entry is {array.min():g}")
        return array
    if np.abs(array - array.T).max() > ROUNDING * size:
        raise ValueError(f"{name} must be a symmetric matrix; it differs from its transpose")
    least = float(np.linalg.eigvalsh(array)[0])
    if least < -ROUNDING * size:
        raise ValueError(f"{name} must be positive semidefinite; an eigenvalue is {least:g}")
    return 0.5 * (array + array.T)


def eigenvalues(moment: F64) -> F64:
    """Return the eigenvalues of a positive semidefinite matrix in falling order."""
    return truncate(np.linalg.eigvalsh(moment)[::-1])


def align(moment: F64, shaping: F64) -> tuple[F64, F64]:
    """Return the second moments along an eigenbasis of the shaping, and the eigenvalues."""
    if len(moment) != len(shaping):
        raise ValueError(
            f"shaping must have as many rows as prior, {len(moment)}; got {len(shaping)}"
        )
    if shaping.ndim == 1:
        return (moment if moment.ndim == 1 else np.maximum(np.diag(moment), 0.0)), shaping
    values, U = np.linalg.eigh(shaping)
    values, U = values[::-1], U[:, ::-1]
    rotated = moment[:, None] * U if moment.ndim == 1 else moment @ U
    return np.maximum((U * rotated).sum(axis=0), 0.0), truncate(values)


def truncate(values: NDArray[Any]) -> F64:
    """Set to 0 the eigenvalues that differ from 0 by rounding alone."""
    rounding = 4 * values.size * np.finfo(np.float64).eps * max(float(values[0]), 0.0)
    kept: F64 = np.where(values > rounding, values, 0.0)
    return kept


def _moments_of(tasks: LinearTasks, variance: float) -> HeadMoments:
    """Check the features of tasks; return the moments that closed forms need."""
    if tasks.spectrum is not None:
        raise ValueError("tasks.spectrum must be None: risks are those of covariance I; got one")
    if tasks.features != "gaussian":
        raise ValueError(f"tasks.features must be 'gaussian'; got {tasks.features!r}")
    mean, cov = centred_moments(tasks.heads, tasks.k)
    return HeadMoments(mean, cov, variance, True, tasks.xi_variance, tasks.d)


def _directions_of(tasks: LinearTasks, noise: float | None, shaping: Any, m: float) -> Directions:
    """Return the directions of the prior, or of B, and as a last group all other directions."""
    noise = tasks.noise if noise is None else check.real("noise", noise, 0.0, 1e100)
    law = _moments_of(tasks, noise * noise)
    if shaping is None:
        values = eigenvalues(law.second) + law.xi_variance
        prior = shapes = np.append(values, law.xi_variance)
        counts = np.append(np.ones(tasks.k), float(tasks.d - tasks.k))
        return Directions(prior, shapes, counts, law.variance, m)
    pair = isinstance(shaping, (tuple, list)) and len(shaping) == 2
    if not (pair or isinstance(shaping, np.ndarray)):
        raise TypeError(
            "shaping must be an array (d, k) or a pair (M, R) of coordinates for a LinearTasks; "
            f"got {check.show(shaping)}"
        )
    C = check_coordinates(shaping, tasks, check.threads(None))
    U, s, _ = np.linalg.svd(C, full_matrices=False)
    top = U[: tasks.k]
    prior = ((law.second @ top) * top).sum(axis=0) + law.xi_variance
    shapes = truncate(s * s)
    prior = np.where(shapes > 0.0, prior, 0.0)
    outside = learned_regression(C, law, 1).outside
    return Directions(
        np.append(prior, outside),
        np.append(shapes, 0.0),
        np.ones(len(shapes) + 1),
        law.variance,
        m,
    )
