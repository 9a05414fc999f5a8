r"""Closed forms for linear MAML, (31): risks, the best test step, and the error of training."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._support import check
from .._support.types import F64
from ..linear_methods import LinearMAML
from ..methods import Method, resolve
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import centred_moments
from .risk import check_coordinates

Vector = NDArray[Any] | tuple[ArrayLike, ArrayLike]


def meta_weights(
    tasks: LinearTasks, method: Method | str, *, m: int | None, **steps: float
) -> float | F64:
    r"""Return the eigenvalues of the matrix H by which linear MAML weighs errors, (31).

    .. math:: H(\alpha, m) = E (I - \alpha S) \Sigma (I - \alpha S)
              = (I - \alpha \Sigma)^2 \Sigma
              + \tfrac{\alpha^2}{m} (\Sigma \operatorname{tr} \Sigma^2 + \Sigma^3)

    where S is the sample covariance of m Gaussian features of covariance :math:`\Sigma`. An error e
    of the initial vector adds :math:`\tfrac12 e^\top H e` to the mean loss after adaptation.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with Gaussian features.
    method : LinearMAML or str
        The method, with at most one inner step, or its name.
    m : int or None
        Inner samples per task; None: infinitely many.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    float or ndarray of shape (d,)
        For features with covariance I, the only eigenvalue
        :math:`1 - 2 \alpha + \alpha^2 (1 + (d + 1) / m)`. For features with a spectrum, the
        eigenvalues in the order of ``tasks.spectrum``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value.

    Examples
    --------
    >>> import metaspan as ms
    >>> meta_weights(ms.LinearTasks(d=9, k=2), "linear-maml", alpha=0.5, m=10)
    0.5
    """
    alpha = _step_of(method, steps)
    spectrum, inverse_m = _spectrum(tasks), _inverse("m", m)
    if spectrum is None:
        return _isotropic_weight(alpha, tasks.d, inverse_m)
    squares = float(spectrum @ spectrum)
    weights: F64 = (1.0 - alpha * spectrum) ** 2 * spectrum
    return weights + alpha * alpha * inverse_m * (spectrum * squares + spectrum**3)


def linear_maml_risk(
    tasks: LinearTasks,
    method: Method | str,
    *,
    m: int,
    B: Vector | None = None,
    distance: float | None = None,
    **steps: float,
) -> float:
    r"""Compute the mean excess risk of an initial vector after one step on a new task, (31).

    .. math:: \tfrac12 \bigl[ (\theta - \bar\theta)^\top H (\theta - \bar\theta)
              + \operatorname{tr}(H \Sigma_\theta) \bigr]
              + \tfrac{\sigma^2 \alpha^2}{2 m} \operatorname{tr} \Sigma^2

    with H of `meta_weights`, and with the mean :math:`\bar\theta` and the covariance
    :math:`\Sigma_\theta` of the tasks' vectors, to which a `spread` adds
    :math:`\text{spread}^2 / d \; I`, (33). This risk is the exact value of the `adapted` entry of
    `evaluate`, without sampling. The step size and m are those of the test, and may differ from
    those of training.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the new tasks, with Gaussian features.
    method : LinearMAML or str
        The method whose inner loop adapts the vector, with at most one inner step, or its name.
    m : int
        Samples per task.
    B : ndarray of shape (d, 1), pair of array_like (M, R), or None
        The initial vector, or its coordinates (13), in the forms that `evaluate` takes. If `B` is
        an array or the features have a spectrum, ``tasks.B_star`` must be an array; for
        features with a spectrum, `B` must be an array or None. None: :math:`\bar\theta`, to which
        training converges on infinitely many tasks.
    distance : float or None
        :math:`E \|\theta - \bar\theta\|^2` of a random initial vector, such as the value of
        `linear_maml_error` or `linear_maml_distance` for the alpha of training. Features must have
        covariance I, and `B` must then be None.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    float
        The mean excess risk: the population loss after the step minus half the noise variance.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If an argument has a wrong shape or value.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10**12, k=3, noise=0.1)
    >>> linear_maml_risk(tasks, "linear-maml", alpha=0.0, m=10)
    1.5

    The risk after training on 100 tasks with one step size and testing with another:

    >>> tasks = ms.LinearTasks(d=10, k=2, noise=1.0)
    >>> squared = linear_maml_error(tasks, "linear-maml", alpha=-0.2, n=100, m_in=20, m_out=20)
    >>> round(linear_maml_risk(tasks, "linear-maml", alpha=0.4, m=5, distance=squared), 4)
    0.8848
    """
    alpha = _step_of(method, steps)
    if distance is not None:
        if B is not None:
            raise ValueError("B must be None where distance is a number; got both")
        if _spectrum(tasks) is not None:
            raise ValueError("tasks.spectrum must be None where distance is a number; got one")
    error = _errors(tasks, B)
    if distance is not None:
        error = _Errors(error.second + check.real("distance", distance), error.squares)
    weights = meta_weights(tasks, LinearMAML(alpha=alpha), m=check.integer("m", m, 1, MAX_COUNT))
    noise = tasks.noise * tasks.noise * alpha * alpha / m * error.squares
    return _or_infinite(0.5 * (float(np.sum(weights * error.second)) + noise))


def linear_maml_step(tasks: LinearTasks, *, m: int, B: Vector | None = None) -> float:
    r"""Return the inner step size at which the risk of an initial vector is least, (31).

    For features of covariance I, with
    :math:`R = \|\theta - \bar\theta\|^2 + \operatorname{tr} \Sigma_\theta`, the step size is

    .. math:: \alpha = 1 \big/ \bigl( 1 + \tfrac{d + 1}{m} + \tfrac{\sigma^2 d}{m R} \bigr) .

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the new tasks, with Gaussian features.
    m : int
        Samples per task.
    B : ndarray of shape (d, 1), pair of array_like (M, R), or None
        The initial vector, as in `linear_maml_risk`.

    Returns
    -------
    float
        The best step size; 0 if the initial vector has no error and all tasks are equal.

    Raises
    ------
    TypeError, ValueError
        If `linear_maml_risk` raises this error for these arguments.

    Examples
    --------
    >>> import metaspan as ms
    >>> linear_maml_step(ms.LinearTasks(d=9, k=2), m=10)
    0.5
    """
    inverse_m = _inverse("m", check.integer("m", m, 1, MAX_COUNT))
    error = _errors(tasks, B)
    spectrum = _spectrum(tasks)
    at = np.ones(1) if spectrum is None else spectrum
    slope = float((at**2 * error.second).sum())
    curvature = at**3 * (1.0 + inverse_m) + at * inverse_m * error.squares
    curved = float((curvature * error.second).sum())
    curved += tasks.noise * tasks.noise * inverse_m * error.squares
    return slope / curved if slope > 0.0 else 0.0


def linear_maml_error(
    tasks: LinearTasks,
    method: Method | str,
    *,
    n: int,
    m_in: int | None,
    m_out: int | None,
    **steps: float,
) -> float:
    r"""Compute how far training on n fixed tasks ends from the mean vector of all tasks, (31).

    .. math:: E \| \hat\theta - \bar\theta \|^2 = \frac{V}{n h^2} + O(n^{-2})

    Training on a pool or a batch converges to the minimiser :math:`\hat\theta` of the mean outer
    loss. The covariance of this minimiser follows from an estimating equation: V is the mean
    squared length of a task's gradient at :math:`\bar\theta`, and h is the mean slope of this
    gradient; for the exact method, h is `meta_weights`. V and h depend on the step size of
    training, and the best step size is often negative.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with Gaussian features of covariance I.
    method : LinearMAML or str
        The method of training, with at most one inner step, or its name.
    n : int
        Number of tasks. The formula is accurate if n is large and ``n * m_out`` is large compared
        with d.
    m_in, m_out : int or None
        Inner and outer samples per task; None: infinitely many.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    float
        The leading term of the mean squared distance; infinite if h is 0.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If an argument has a wrong value, or the features have a spectrum.

    References
    ----------
    Bernacchia, "Meta-learning with negative learning rates", ICLR 2021.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10, k=2, noise=1.0)
    >>> [round(linear_maml_error(tasks, "linear-maml", alpha=a, n=100, m_in=20, m_out=20), 3)
    ...  for a in (-0.2, 0.0, 0.2)]
    [0.036, 0.036, 0.041]
    """
    chosen = _resolve(method, steps)
    n = check.integer("n", n, 1, MAX_COUNT)
    moments = _gradient_moments(tasks, chosen, m_in, m_out)
    V, h = moments.noise + moments.growth * _variance_of(tasks), moments.slope
    return _or_infinite(V / (n * h * h)) if h != 0.0 else np.inf


def linear_maml_distance(
    tasks: LinearTasks,
    method: Method | str,
    *,
    n: int | None,
    m_in: int | None,
    m_out: int | None,
    rounds: ArrayLike,
    B: Vector | None = None,
    **steps: float,
) -> F64:
    r"""Compute the mean squared distance from the tasks' mean after rounds of fresh tasks, (67).

    .. math:: E \|\theta_t - \bar\theta\|^2 = a^t \|\theta_0 - \bar\theta\|^2
              + b \frac{1 - a^t}{1 - a}, \qquad
              a = 1 - 2 \beta h + \beta^2 \Bigl[ \bigl( 1 - \tfrac1n \bigr) h^2
              + \tfrac{V_1}{n} \Bigr], \qquad b = \frac{\beta^2 V_0}{n}

    Every round draws n new tasks with new samples. A task's gradient at :math:`\theta` has the
    mean :math:`h (\theta - \bar\theta)` and the mean squared length
    :math:`V_0 + V_1 \|\theta - \bar\theta\|^2`. As the `distance` of `linear_maml_risk`, the value
    gives the risk on new tasks after any number of rounds, for every pair of step sizes of training
    and test.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with Gaussian features of covariance I and heads that are
        drawn anew in every round.
    method : LinearMAML or str
        The method of training, with at most one inner step and a plain outer step, or its name.
    n : int or None
        Tasks per round; None: infinitely many.
    m_in, m_out : int or None
        Inner and outer samples per task; None: infinitely many.
    rounds : array_like of int
        Numbers of rounds t, >= 0. Infinity gives the floor at which training levels off.
    B : ndarray of shape (d, 1), pair of array_like (M, R), or None
        The vector at the start, as in `linear_maml_risk`, but None is B = 0, where training starts
        by default.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    ndarray of the shape of `rounds`, float64
        The exact mean of the squared distance. It tends to b / (1 - a) if a < 1, that is, if
        :math:`\beta < 2 h / (h^2 + (V_1 - h^2) / n)`, and grows without bound otherwise.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If an argument has a wrong value, the features have a spectrum, the heads are fixed, or the
        outer step is not plain.

    See Also
    --------
    linear_maml_error : The distance after training on a fixed set of tasks.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10, k=2, noise=1.0, heads=ms.GaussianHeads(mean=[3.0, 4.0]))
    >>> linear_maml_distance(tasks, "linear-maml", alpha=0.1, beta=0.2, n=100, m_in=20, m_out=20,
    ...                      rounds=[0, 10, 50]).round(3)
    array([2.50e+01, 7.15e-01, 3.00e-03])
    """
    chosen = _resolve(method, steps)
    if chosen.step is not None or chosen.privacy is not None:
        raise ValueError(f"method must have a plain outer step for (67); got {chosen}")
    if isinstance(tasks, LinearTasks) and isinstance(tasks.heads, np.ndarray):
        raise ValueError("the heads must be drawn in every round for (67); got an array")
    moments = _gradient_moments(tasks, chosen, m_in, m_out)
    inverse_n, beta, h = _inverse("n", n), chosen.beta, moments.slope
    mean, variance_of_tasks = centred_moments(tasks.heads, tasks.k)[0], _variance_of(tasks)
    start = float(mean @ mean)
    if B is not None:
        start = float(_errors(tasks, B).second.sum()) - variance_of_tasks
    times = check.reals("rounds", rounds)
    if times.size and not (times.min() >= 0.0 and (times == np.floor(times)).all()):
        raise ValueError("rounds must hold integers >= 0, or infinity")
    V0 = moments.noise + moments.growth * variance_of_tasks
    variance = beta * beta * inverse_n * (moments.growth - h * h)
    gap = beta * h * (2.0 - beta * h) - variance  # 1 - a
    noise = beta * beta * inverse_n * V0
    left, sums = np.ones(times.shape), times
    with np.errstate(over="ignore", invalid="ignore"):
        if gap >= 0.5:
            left = ((1.0 - beta * h) * (1.0 - beta * h) + variance) ** times
            sums = (1.0 - left) / gap
        elif gap != 0.0:  # a is close to 1 if beta is small
            exponents = times * math.log1p(-gap)
            left, sums = np.exp(exponents), -np.expm1(exponents) / gap
        # Zeros are left out, since left and sums are infinite where training diverges.
        distances = (start and start * left) + (noise and noise * sums)
    distances = np.where(np.isnan(distances), np.inf, distances)  # moments have overflowed
    return np.where(times == 0.0, start, np.broadcast_to(distances, times.shape))


class _GradientMoments(NamedTuple):
    """Moments of the gradient of one task at an initial vector theta, (31)."""

    slope: float  # h: the mean is h (theta - theta_bar)
    growth: float  # V_1: the mean squared length is this times E ||theta - theta_i||^2, plus noise
    noise: float


def _gradient_moments(
    tasks: LinearTasks, method: LinearMAML, m_in: int | None, m_out: int | None
) -> _GradientMoments:
    """Compute the moments of a task's gradient from those of Wishart matrices, (31)."""
    if _spectrum(tasks) is not None:
        raise ValueError("tasks.spectrum must be None for the error of training; got one")
    alpha = 0.0 if method.inner_steps == 0 else method.alpha
    i, j = _inverse("m_in", m_in), _inverse("m_out", m_out)
    d, variance = tasks.d, tasks.noise * tasks.noise
    # Moments of S = X^T X / m and A = I - alpha S, each divided by d. The moments of one trace are
    # those of a real Wishart matrix; tr S times a function of degree q has the mean of this
    # function times (d m + 2 q) / m.
    S2 = 1 + (d + 1) * i
    S3 = 1 + 3 * (d + 1) * i + (d * d + 3 * d + 4) * i**2
    S4 = 1 + 6 * (d + 1) * i + (6 * d * d + 17 * d + 21) * i**2
    S4 += (d**3 + 6 * d * d + 21 * d + 20) * i**3
    S_S, S_S2 = d + 2 * i, (d + 4 * i) * S2  # E (tr S)^2 and E (tr S tr S^2)
    S2_S2 = d + (2 * d * d + 2 * d + 8) * i + (d**3 + 2 * d * d + 21 * d + 20) * i**2
    S2_S2 += (8 * d * d + 20 * d + 20) * i**3  # E (tr S^2)^2
    # Products in place of powers, since a power of a large float raises OverflowError.
    alpha2 = alpha * alpha
    alpha3, alpha4 = alpha2 * alpha, alpha2 * alpha2
    A2 = 1 - 2 * alpha + alpha2 * S2
    # r is the variance that the noise of the inner set adds to each entry of the adapted vector.
    r = variance * alpha2 * i
    if method.first_order:
        growth = (1 + j) * A2 + j * d * A2
        noise = (1 + j) * r * d + j * d * r * d + j * d * variance
        return _GradientMoments(1 - alpha, growth, noise)
    A4 = 1 - 4 * alpha + 6 * alpha2 * S2 - 4 * alpha3 * S3 + alpha4 * S4
    ASA = 1 - 2 * alpha * S2 + alpha2 * S3
    A2_A2 = d - 4 * alpha * d + alpha2 * (4 * S_S + 2 * d * S2) - 4 * alpha3 * S_S2
    A2_A2 += alpha4 * S2_S2
    S_A2 = d - 2 * alpha * S_S + alpha2 * S_S2
    growth = (1 + j) * A4 + j * A2_A2
    noise = (1 + j) * r * d * ASA + j * r * d * S_A2 + j * d * variance * A2
    return _GradientMoments(A2, growth, noise)


def _variance_of(tasks: LinearTasks) -> float:
    """Return the trace of the covariance of the tasks' vectors, (33)."""
    return float(np.trace(centred_moments(tasks.heads, tasks.k)[1])) + tasks.spread * tasks.spread


class _Errors(NamedTuple):
    """Moments of the errors of an initial vector, and of the features, that the risk needs."""

    second: F64  # (d,)  E (theta - theta_i)_j^2, or (1,)  its sum if all eigenvalues are 1
    squares: float  # tr Sigma^2


def _errors(tasks: LinearTasks, B: Vector | None) -> _Errors:
    """Return second moments of an initial vector's errors; for `B` None, of the tasks' mean."""
    spectrum = _spectrum(tasks)
    mean, cov = centred_moments(tasks.heads, tasks.k)
    if spectrum is None:
        distance = 0.0
        if B is not None:
            theta = check_coordinates(B, tasks, check.threads(None))
            _require_column(theta.shape[1])
            distance = float(((theta[:, 0] - np.pad(mean, (0, len(theta) - tasks.k))) ** 2).sum())
        second = distance + _variance_of(tasks)
        return _Errors(np.array([second]), float(tasks.d))
    if tasks.B_star is None:
        raise ValueError("tasks.B_star must be an array where features have a spectrum; got None")
    B_star = tasks.B_star.astype(np.float64, copy=False)
    second = ((B_star @ cov) * B_star).sum(axis=1) + tasks.xi_variance
    if B is not None:
        if isinstance(B, tuple):
            raise TypeError("B must be an array (d, 1) where features have a spectrum; got a pair")
        array = check.matrix("B", B, (tasks.d, "k"))
        _require_column(array.shape[1])
        second = second + (array[:, 0] - B_star @ mean) ** 2
    return _Errors(second, float(spectrum @ spectrum))


def _require_column(width: int) -> None:
    """Raise ValueError unless the initial vector is one column."""
    if width != 1:
        raise ValueError(f"B must have one column; got {width}")


def _spectrum(tasks: LinearTasks) -> F64 | None:
    """Check the features; return the eigenvalues of their covariance, or None if all are 1."""
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    if tasks.features != "gaussian":
        raise ValueError(f"features must be 'gaussian' for (31); got {tasks.features!r}")
    roots = tasks.roots
    return None if roots is None else np.square(roots)


def _or_infinite(value: float) -> float:
    """Return a value, or infinity if an overflow has made it NaN."""
    return math.inf if math.isnan(value) else float(value)


def _isotropic_weight(alpha: float, d: int, inverse_m: float) -> float:
    """Return the eigenvalue of H for features of covariance I."""
    return 1.0 - 2.0 * alpha + alpha * alpha * (1.0 + (d + 1) * inverse_m)


def _inverse(name: str, m: int | None) -> float:
    """Return 1 / m, which is 0 for infinitely many samples."""
    return 0.0 if m is None else 1.0 / check.integer(name, m, 1, MAX_COUNT)


def _resolve(method: Method | str, steps: dict[str, float]) -> LinearMAML:
    """Resolve a method, which must be a LinearMAML with at most one inner step."""
    chosen = resolve(method, steps)
    if not isinstance(chosen, LinearMAML) or chosen.inner_steps > 1:
        raise ValueError(f"method must be LinearMAML with inner_steps <= 1 for (31); got {chosen}")
    return chosen


def _step_of(method: Method | str, steps: dict[str, float]) -> float:
    """Return the inner step size, which is 0 without an inner step."""
    chosen = _resolve(method, steps)
    return chosen.alpha if chosen.inner_steps else 0.0
