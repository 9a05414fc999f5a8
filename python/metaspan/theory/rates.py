r"""Rates, plateaus and limits of a run, (22) and (23), and the scale of its errors."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike

from .._support import check
from .._support.types import F64
from ..methods import ANIL, MAML, Method, core_method, resolve
from ..metrics import Diversity
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import diversity, second_moment

CENTRED = 1e-12  # relative length up to which the mean head counts as 0


def rate(tasks: LinearTasks, method: Method | str, **steps: float) -> float:
    r"""Return the decrease of log dist per round near the solution, (22).

    .. math:: -\log(1 - \beta \alpha \mu_{*}^2)

    The rate assumes population losses, J = 1, :math:`\alpha B^\top B \approx I` and w = 0. The
    learner's head w stays at zero if it starts at zero, if the heads of the tasks are centred (for
    exact MAML, if their third moments are zero too), and if each round has many tasks. With few
    fresh tasks in each round, the rates of trials scatter about this value. A `spread` of the
    tasks does not change the rate, but dist decreases only to a floor, which the parts that tasks
    do not share cause.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred heads.
    method : ANIL, MAML or str
        The method, with one inner step, or its name.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    float
        Decrease of the natural logarithm per round; 0 if the heads do not span all k dimensions.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If the method does not have exactly one inner step, if the heads are not centred, if the
        features have a spectrum, or if the step sizes are so large that training does not converge
        to :math:`\alpha B^\top B = I`: :math:`\beta \alpha L_{*}^2` must be below 1, and below 1/2
        for exact methods.

    See Also
    --------
    plateau : Rounds before dist begins to decrease at this rate.
    rate_line : The rate as a line through the curve of a run.

    Notes
    -----
    The function computes the eigenvalues of a k x k matrix; its cost does not depend on d.

    Examples
    --------
    >>> import metaspan as ms
    >>> round(rate(ms.LinearTasks(d=100, k=3), "anil", alpha=0.1, beta=0.1), 5)
    0.01005
    """
    resolved = resolve(method, steps)
    numbers = core_method(resolved)
    one_step = numbers.inner_steps == 1 and numbers.adapt_head and not numbers.clip
    if not isinstance(resolved, (ANIL, MAML)) or not one_step or resolved.step is not None:
        raise ValueError(
            "method must be ANIL or MAML with inner_steps = 1 and a plain outer step for (22); got "
            f"{resolved}"
        )
    spread = _require_centred(tasks, "(22)")
    bound, reach = 0.5 if numbers.exact else 1.0, numbers.beta * numbers.alpha * spread.L * spread.L
    if reach >= bound:
        raise ValueError(
            f"beta alpha L_star^2 must be below {bound:g} for alpha B^T B = I to attract, which "
            f"(22) assumes; got {reach:.3g}"
        )
    return -math.log1p(-numbers.beta * numbers.alpha * spread.mu * spread.mu)


def plateau(tasks: LinearTasks, method: Method | str, **steps: float) -> float:
    r"""Estimate the rounds before dist decreases from a random start, to leading order, (22).

    .. math:: \frac{\log(d k)}{2 \beta \alpha \mu_{*}^2}

    The assumptions are those of `rate`. Runs reach dist = 1/2 later than this number of rounds, by
    up to a few times :math:`1 / (\beta \alpha \mu_{*}^2)` rounds; this delay depends on the start
    but not on d.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred heads.
    method : ANIL, MAML or str
        The method, with one inner step, or its name.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    float
        Number of rounds; infinite if the rate is 0.

    Raises
    ------
    TypeError, ValueError
        If `rate` raises the error for these arguments.

    Examples
    --------
    >>> import metaspan as ms
    >>> [round(plateau(ms.LinearTasks(d=d, k=3), "anil", alpha=0.1, beta=0.1))
    ...  for d in (10**3, 10**6)]
    [400, 746]
    """
    contraction = -math.expm1(-rate(tasks, method, **steps))
    if contraction == 0.0:
        return math.inf
    return math.log(tasks.d * tasks.k) / (2 * contraction)


def fixed_point(
    tasks: LinearTasks, method: Method | str, m_in: int | None = None, **steps: float
) -> F64:
    r"""Return the limit of first-order ANIL with infinitely many tasks, (23).

    .. math:: M M^\top = \tfrac1\alpha \Bigl[ \tfrac{m_\text{in} + 1}{m_\text{in}} I
              + c\, \Sigma_{*}^{-1} \Bigr]^{-1}, \qquad
              c = \frac{\operatorname{tr} \Sigma_{*} + \text{noise}^2}{m_\text{in}}

    Here :math:`M = B_{*}^\top B`, and :math:`\Sigma_{*}` is the covariance of the heads. The part
    of `B` orthogonal to the truth vanishes in the limit. If the tasks have a `spread`, (33) adds
    ``spread**2`` to the numerator of c and ``spread**2 / d`` to the eigenvalues of
    :math:`\Sigma_{*}` in the first formula; the part orthogonal to the truth then vanishes only
    for a width of ``tasks.k``. The result assumes J = 1, Gaussian features, independent inner and
    outer sets, a width of at least ``tasks.k`` and w = 0. The limit does not depend on `m_out`.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with centred heads that span all k dimensions.
    method : ANIL or str
        First-order ANIL with one inner step, or its name.
    m_in : int or None
        Samples of an inner set. None: infinitely many; the limit is then ``I / alpha``.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    ndarray of shape (k, k), float64
        The limit of :math:`M M^\top`, with k = ``tasks.k``.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If the method is not first-order ANIL with one inner step, if it does not move B or its
        alpha is 0, if the heads are not centred or do not span all k dimensions, if the features
        have a spectrum, or if `m_in` is finite and they are not Gaussian.

    References
    ----------
    Yuksel, Boursier, Flammarion, "First-order ANIL provably learns representations despite
    overparametrization", 2023.

    Examples
    --------
    >>> import metaspan as ms
    >>> fixed_point(ms.LinearTasks(d=100, k=2), "fo-anil", m_in=4, alpha=0.5)
    array([[1.14285714, 0.        ],
           [0.        , 1.14285714]])
    """
    alpha, beta = _require_fo_anil(method, steps)
    if beta == 0.0:
        raise ValueError(
            f"method must move B, with beta > 0, for (23) to have a limit; got {method}"
        )
    if alpha < 1e-300:  # 1 / alpha would overflow
        raise ValueError(f"alpha must be positive for (23) to have a limit; got {alpha:g}")
    if _require_centred(tasks, "(23)").mu == 0.0:
        raise ValueError("the heads must reach every direction for (23); their mu_star is 0")
    c = _crosstalk(tasks, m_in)
    growth = 1.0 if m_in is None else (m_in + 1) / m_in
    values, vectors = np.linalg.eigh(second_moment(tasks.heads, tasks.k))
    values = values + tasks.xi_variance
    limit: F64 = vectors / (alpha * (growth + c / values)) @ vectors.T
    return limit


def fading(
    tasks: LinearTasks, method: Method | str, m_in: int | None, rounds: ArrayLike, **steps: float
) -> F64:
    r"""Return the surplus singular values of R under first-order ANIL with infinitely many tasks.

    .. math:: \sigma_R \sim (2 \beta \alpha^2 c\, t)^{-1/2}, \qquad
              c = \frac{\operatorname{tr} \Sigma_{*} + \text{noise}^2 + \text{spread}^2}
              {m_\text{in}}

    The formula is the slow decrease in (23) for a width above ``tasks.k``, under the assumptions of
    `fixed_point`. For each surplus column of `B`, one singular value of :math:`R = E^\top B`
    decreases this slowly, for any start; the other singular values decrease exponentially. A
    `spread` counts as noise, which is exact in the limit of large d. For finite d, the surplus
    singular values end near :math:`\text{spread} / \sqrt{d \alpha c}`, (33).

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred heads.
    method : ANIL or str
        First-order ANIL with one inner step, or its name.
    m_in : int or None
        Samples of an inner set. None: infinitely many; the singular values then do not decrease.
    rounds : array_like
        Rounds t, >= 0.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    ndarray of the shape of `rounds`, float64
        The asymptotic value, which the singular values approach from below. The asymptotic value is
        infinite in round 0, and in every round if c or a step size is 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, if the method is not first-order ANIL with one inner
        step, if the heads are not centred, if a round is negative, if the features have a spectrum,
        or if `m_in` is finite and they are not Gaussian.

    References
    ----------
    Yuksel, Boursier, Flammarion, "First-order ANIL provably learns representations despite
    overparametrization", 2023.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=100, k=2)
    >>> fading(tasks, "fo-anil", 4, [100, 10_000], alpha=0.5, beta=0.5).round(3)
    array([0.283, 0.028])
    """
    alpha, beta = _require_fo_anil(method, steps)
    _require_centred(tasks, "(23)")
    times = check.reals("rounds", rounds)
    if times.size and not times.min() >= 0.0:
        raise ValueError(f"rounds must be >= 0; got {times.min():g}")
    root = math.sqrt(2.0 * beta * _crosstalk(tasks, m_in)) * alpha
    if root == 0.0:
        return np.full(times.shape, np.inf)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.asarray(np.where(times == 0.0, np.inf, 1.0 / (root * np.sqrt(times))))


def error_scale(d: int, k: int, n: int, m_out: int) -> float:
    r"""Return the scale of the error of a subspace estimated from the outer samples of one round.

    .. math:: \sqrt{\frac{d k}{n\, m_\text{out}}}

    The ratio under the root is the number of unknowns divided by the number of outer samples of a
    round. Errors average out over rounds on fresh samples, by an amount that depends on the step
    sizes and the noise, so runs end below this value, often far below. `floor` predicts where they
    end.

    Parameters
    ----------
    d, k : int
        Number of features, and rank of the ground truth.
    n, m_out : int
        Number of tasks in a round, and number of samples in an outer set.

    Returns
    -------
    float
        The scale, which may exceed 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1.

    Examples
    --------
    >>> error_scale(d=100, k=4, n=100, m_out=400)
    0.1
    """
    sizes = {"d": d, "k": k, "n": n, "m_out": m_out}.items()
    d, k, n, m_out = (check.integer(name, size, 1, 2**63 - 1) for name, size in sizes)
    return math.sqrt(d * k / (n * m_out))


def error_floor(d: int, k: int, n: int, m_out: int) -> float:
    r"""Return `error_scale`; deprecated, since no run levels off at this value.

    Parameters
    ----------
    d, k, n, m_out : int
        As for `error_scale`.

    Returns
    -------
    float
        The scale.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1.

    Warns
    -----
    DeprecationWarning
        Always: use `error_scale` for the scale, and `floor` for the floor of a run.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", DeprecationWarning)
    ...     error_floor(d=100, k=4, n=100, m_out=400)
    0.1
    """
    warnings.warn(
        "theory.error_floor is deprecated, since it is a scale and not a floor: use "
        "theory.error_scale, or theory.floor for the floor of a run",
        DeprecationWarning,
        stacklevel=2,
    )
    return error_scale(d, k, n, m_out)


def require_no_spectrum(tasks: LinearTasks, equation: str) -> None:
    """Raise ValueError unless the covariance of the features is I, as an equation assumes."""
    if tasks.spectrum is not None:
        raise ValueError(
            f"tasks.spectrum must be None for {equation}, which is that of covariance I; got one"
        )


def _require_centred(tasks: LinearTasks, equation: str) -> Diversity:
    """Return the diversity of the heads; raise ValueError unless they and the features are plain.

    The features must have the covariance I, and the heads the mean 0.
    """
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    require_no_spectrum(tasks, equation)
    spread = diversity(tasks.heads, tasks.k)
    if spread.eta > CENTRED * spread.L:
        raise ValueError(
            f"the heads must be centred for {equation}; their mean has length {spread.eta:.3g}"
        )
    return spread


def _require_fo_anil(method: Method | str, steps: dict[str, float]) -> tuple[float, float]:
    """Return alpha and beta of first-order ANIL with one inner step; reject other methods."""
    resolved = resolve(method, steps)
    numbers = core_method(resolved)
    fo_anil = (numbers.inner_steps, numbers.adapt_B, numbers.exact) == (1, False, False)
    more = numbers.clip or numbers.step_sizes or numbers.private_head or resolved.step
    if not fo_anil or numbers.solves_head or more:
        raise ValueError(
            "method must be ANIL with first_order=True, inner_steps = 1 and a plain outer step for "
            "(23); "
            f"got {resolved}"
        )
    return numbers.alpha, numbers.beta


def _crosstalk(tasks: LinearTasks, m_in: int | None) -> float:
    """Compute c of (23), the effect of finite inner sets; c is 0 for infinite inner sets."""
    if m_in is None:
        return 0.0
    m_in = check.integer("m_in", m_in, 1, MAX_COUNT)
    if tasks.features != "gaussian":
        raise ValueError(f"features must be 'gaussian' for (23); got {tasks.features!r}")
    trace = float(np.trace(second_moment(tasks.heads, tasks.k)))
    return (trace + tasks.noise * tasks.noise + tasks.spread * tasks.spread) / m_in
