r"""Rates, waits, limits and floors of a run, (22) and (23)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .._support import check
from .._support.types import F64
from ..methods import Method, core_method, resolve
from ..metrics import Diversity
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import diversity, second_moment

CENTRED = 1e-12  # a mean head this short, relative to the heads, is rounding


def rate(tasks: LinearTasks, method: Method | str, **steps: float) -> float:
    r"""Fall of log dist per round near the solution, (22).

    .. math:: -\log(1 - \beta \alpha \mu_{*}^2)

    It holds for population losses and J = 1 once :math:`\alpha B^\top B \approx I`, as long as
    w = 0: from there, with centred heads (for exact MAML also without third moments) and many
    tasks a round. With a few fresh tasks a round, trials scatter around it.

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
        The rate, natural logarithm; 0 where the heads leave a direction out.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If the method has no inner step or several, if the heads have a mean, or if the step sizes
        are so large that :math:`\alpha B^\top B = I` does not attract: for
        :math:`\beta \alpha L_{*}^2` of 1 or more, of 1/2 or more for exact methods.

    Examples
    --------
    >>> import metaspan as ms
    >>> round(rate(ms.LinearTasks(d=100, k=3), "anil", alpha=0.1, beta=0.1), 5)
    0.01005
    """
    found = resolve(method, steps)
    numbers = core_method(found)
    if numbers.inner_steps != 1:
        raise ValueError(f"method must be ANIL or MAML with inner_steps = 1 for (22); got {found}")
    spread = _centred(tasks, "(22)")
    bound, reach = 0.5 if numbers.exact else 1.0, numbers.beta * numbers.alpha * spread.L**2
    if reach >= bound:
        raise ValueError(
            f"beta alpha L_star^2 must be below {bound:g} for alpha B^T B = I to attract, which "
            f"(22) assumes; got {reach:.3g}"
        )
    return -math.log1p(-numbers.beta * numbers.alpha * spread.mu**2)


def plateau(tasks: LinearTasks, method: Method | str, **steps: float) -> float:
    r"""Rounds that a random start waits before dist falls, to order one.

    .. math:: \frac{\log(d k)}{2 \beta \alpha \mu_{*}^2}

    An estimate, under the assumptions of `rate`: dist = 1/2 comes up to a few times
    :math:`1 / (\beta \alpha \mu_{*}^2)` rounds later, as the start has it, at any d.

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
        Rounds; infinite where the rate is 0.

    Raises
    ------
    TypeError, ValueError
        As `rate`.

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
    r"""Where first-order ANIL settles with infinitely many tasks, (23).

    .. math:: M M^\top = \tfrac1\alpha \Bigl[ \tfrac{m_\text{in} + 1}{m_\text{in}} I
              + c\, \Sigma_{*}^{-1} \Bigr]^{-1}, \qquad
              c = \frac{\operatorname{tr} \Sigma_{*} + \text{noise}^2}{m_\text{in}}

    with :math:`M = B_{*}^\top B` and :math:`\Sigma_{*}` the covariance of the heads, for J = 1,
    Gaussian features, independent inner and outer sets, a width of at least ``tasks.k``, w = 0,
    and any `m_out`: what `B` has off the truth vanishes, and this is what remains.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred heads that reach every direction.
    method : ANIL or str
        First-order ANIL with one inner step, or its name.
    m_in : int or None
        Samples of an inner set. None: infinitely many, for which it is ``I / alpha``.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    ndarray of shape (k, k), float64
        :math:`M M^\top` at the end, k = ``tasks.k``.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If the method is another one or its alpha is 0, the heads have a mean or leave a direction
        out, or `m_in` is finite and the features are not Gaussian.

    Examples
    --------
    >>> import metaspan as ms
    >>> fixed_point(ms.LinearTasks(d=100, k=2), "fo-anil", m_in=4, alpha=0.5)
    array([[1.14285714, 0.        ],
           [0.        , 1.14285714]])
    """
    alpha, _ = _fo_anil(method, steps)
    if alpha < 1e-300:  # below, the limit overflows
        raise ValueError(f"alpha must be positive for (23) to have a limit; got {alpha:g}")
    if _centred(tasks, "(23)").mu == 0.0:
        raise ValueError("the heads must reach every direction for (23); their mu_star is 0")
    c = _crosstalk(tasks, m_in)
    growth = 1.0 if m_in is None else (m_in + 1) / m_in
    values, vectors = np.linalg.eigh(second_moment(tasks.heads, tasks.k))
    limit: F64 = vectors / (alpha * (growth + c / values)) @ vectors.T
    return limit


def fading(
    tasks: LinearTasks, method: Method | str, m_in: int | None, rounds: ArrayLike, **steps: float
) -> F64:
    r"""Surplus singular values of R under first-order ANIL with infinitely many tasks, (23).

    .. math:: \sigma_R \sim (2 \beta \alpha^2 c\, t)^{-1/2}, \qquad
              c = \frac{\operatorname{tr} \Sigma_{*} + \text{noise}^2}{m_\text{in}}

    Under the assumptions of `fixed_point`, for a width above ``tasks.k``: of the singular values
    of :math:`R = E^\top B`, as many fade this slowly as there are surplus columns, whatever the
    start; the others fall exponentially.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with centred heads.
    method : ANIL or str
        First-order ANIL with one inner step, or its name.
    m_in : int or None
        Samples of an inner set. None: infinitely many, for which nothing fades.
    rounds : array_like
        Rounds t, >= 0.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    ndarray of the shape of `rounds`, float64
        The singular values, which come near it from below; infinite at round 0 and where nothing
        fades.

    Raises
    ------
    TypeError, ValueError
        As `fixed_point`, and if a round is negative.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=100, k=2)
    >>> fading(tasks, "fo-anil", 4, [100, 10_000], alpha=0.5, beta=0.5).round(3)
    array([0.283, 0.028])
    """
    alpha, beta = _fo_anil(method, steps)
    _centred(tasks, "(23)")
    times = check.reals("rounds", rounds)
    if times.size and not times.min() >= 0.0:
        raise ValueError(f"rounds must be >= 0; got {times.min():g}")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        values: F64 = (2.0 * beta * alpha * alpha * _crosstalk(tasks, m_in) * times) ** -0.5
    return values


def error_floor(d: int, k: int, n: int, m_out: int) -> float:
    r"""Order of magnitude of dist at the end of training on finitely many samples.

    .. math:: \sqrt{\frac{d k}{n\, m_\text{out}}}

    Unknowns over the samples of a round: the scale, not the value. Rounds on fresh samples
    average, so that small step sizes, and tasks with little noise, end several times lower.

    Parameters
    ----------
    d, k : int
        Number of features, and rank of the ground truth.
    n, m_out : int
        Tasks of a round, and samples of an outer set.

    Returns
    -------
    float
        The floor; from 1 on, where dist ends, nothing is promised.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1.

    Examples
    --------
    >>> error_floor(d=100, k=4, n=100, m_out=400)
    0.1
    """
    sizes = {"d": d, "k": k, "n": n, "m_out": m_out}.items()
    d, k, n, m_out = (check.integer(name, size, 1, 2**63 - 1) for name, size in sizes)
    return math.sqrt(d * k / (n * m_out))


def _centred(tasks: LinearTasks, equation: str) -> Diversity:
    """Diversity of the tasks' heads; raises unless they are centred."""
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    found = diversity(tasks.heads, tasks.k)
    if found.eta > CENTRED * found.L:
        raise ValueError(
            f"the heads must be centred for {equation}; their mean has length {found.eta:.3g}"
        )
    return found


def _fo_anil(method: Method | str, steps: dict[str, float]) -> tuple[float, float]:
    """Step sizes of first-order ANIL with one inner step; raises for another method."""
    found = resolve(method, steps)
    numbers = core_method(found)
    if (numbers.inner_steps, numbers.adapt_B, numbers.exact) != (1, False, False):
        raise ValueError(
            f"method must be ANIL with first_order=True and inner_steps = 1 for (23); got {found}"
        )
    return numbers.alpha, numbers.beta


def _crosstalk(tasks: LinearTasks, m_in: int | None) -> float:
    """The c of (23), by which finite inner sets mix directions."""
    if m_in is None:
        return 0.0
    m_in = check.integer("m_in", m_in, 1, MAX_COUNT)
    if tasks.features != "gaussian":
        raise ValueError(f"features must be 'gaussian' for (23); got {tasks.features!r}")
    trace = float(np.trace(second_moment(tasks.heads, tasks.k)))
    return (trace + tasks.noise**2) / m_in
