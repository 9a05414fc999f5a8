r"""What the theory predicts of a run: rates, waits, limits and floors, to lay beside its curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._support import check
from ..methods import Method, core_method, resolve
from ..metrics import Diversity
from ..runs.summary import config_of, summarize
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import diversity, second_moment

if TYPE_CHECKING:
    from ..runs.result import Result

__all__ = ["decay", "diversity", "error_floor", "fading", "fixed_point", "floor_line"]
__all__ += ["plateau", "rate", "rate_line", "second_moment"]

F64 = NDArray[np.float64]
Prediction = Callable[[NDArray[Any]], F64]

CENTRED = 1e-12  # a mean head this short, relative to the heads, is rounding
ANCHOR = 1e-8  # where a rate line meets its curve: late, and above what stop rules ask for


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
    alpha, beta, inner_steps, _, exact = core_method(found)
    if inner_steps != 1:
        raise ValueError(f"method must be ANIL or MAML with inner_steps = 1 for (22); got {found}")
    spread = _centred(tasks, "(22)")
    bound, reach = 0.5 if exact else 1.0, beta * alpha * spread.L**2
    if reach >= bound:
        raise ValueError(
            f"beta alpha L_star^2 must be below {bound:g} for alpha B^T B = I to attract, which "
            f"(22) assumes; got {reach:.3g}"
        )
    return -math.log1p(-beta * alpha * spread.mu**2)


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


def decay(rate: float, through: tuple[float, float]) -> Prediction:
    r"""Exponential decay through a point, as a function of rounds.

    Parameters
    ----------
    rate : float
        Fall of the logarithm per round.
    through : (float, float)
        A round and the value there.

    Returns
    -------
    callable
        Rounds (rows,) to values (rows,), for the `predictions` of `metaspan.plot`.

    Examples
    --------
    >>> decay(0.5, through=(10, 1e-3))(np.array([10, 12])).round(6)
    array([0.001   , 0.000368])
    """
    rate = check.real("rate", rate)
    at, value = (check.real("through", x) for x in check.small("through", through, (2,)))
    # Far before the point, where no plot reaches, it stays at a number that does not overflow.
    return lambda t: value * np.exp(np.minimum(rate * (at - check.reals("rounds", t)), 650.0))


def rate_line(result: Result) -> Prediction:
    r"""Decay of (22) through the late part of a population run.

    Parameters
    ----------
    result : Result
        A run on population losses that recorded ``"dist"``.

    Returns
    -------
    callable
        The `decay` at `rate`, through the mean of dist over trials (geometric, as plots show it)
        in the last recorded round where it is above 1e-8.

    Raises
    ------
    TypeError, ValueError
        As `rate`, and if the run is on samples or on a pool, or did not record dist.

    Examples
    --------
    >>> import metaspan as ms
    >>> r = ms.train(ms.LinearTasks(d=20, k=3), "anil", rounds=1500, n=50, trials=3)
    >>> ax = ms.plot(r, predictions={"(22)": ms.theory.rate_line(r)})
    """
    tasks = (config := config_of(result)).tasks
    samples = (config.m_in, config.m_out, config.pool)
    if not isinstance(tasks, LinearTasks) or samples != (None, None, None):
        raise ValueError(
            "result must be of a law on population losses, without a pool, for (22); got "
            f"m_in, m_out, pool = {samples}"
        )
    row = summarize(result, "dist", band=None)
    if not row.rounds.size:
        raise ValueError("result must have a row that all trials reached; got none")
    above = np.flatnonzero(row.mean > ANCHOR)
    at = int(above[-1]) if above.size else 0
    through = (float(row.rounds[at]), float(row.mean[at]))
    return decay(rate(tasks, config.method), through)


def floor_line(result: Result) -> Prediction:
    r"""Error floor of a run on finitely many samples, at most 1, as a constant function of rounds.

    Parameters
    ----------
    result : Result
        A run on a law of tasks with a finite `m_out`. With a pool, its tasks are all that count.

    Returns
    -------
    callable
        Rounds (rows,) to `error_floor`, for the `predictions` of `metaspan.plot`.

    Raises
    ------
    ValueError
        If the run is on population losses or on a batch, or its tasks are infinitely many.

    Examples
    --------
    >>> import metaspan as ms
    >>> r = ms.train(ms.LinearTasks(d=20, k=2), "fo-anil", rounds=5, n=16, m_in=10, m_out=10,
    ...              pool=16)
    >>> float(floor_line(r)(np.array([0]))[0])
    0.5
    """
    tasks = (config := config_of(result)).tasks
    n = config.n if config.pool is None else config.pool
    if not isinstance(tasks, LinearTasks) or n is None or config.m_out is None:
        raise ValueError(f"result must be of a law with finite n and m_out; got {result}")
    floor = min(1.0, error_floor(tasks.d, tasks.k, n, config.m_out))
    return lambda rounds: np.full(np.shape(rounds), floor)


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
    alpha, beta, *kind = core_method(found)
    if kind != [1, False, False]:
        raise ValueError(
            f"method must be ANIL with first_order=True and inner_steps = 1 for (23); got {found}"
        )
    return alpha, beta


def _crosstalk(tasks: LinearTasks, m_in: int | None) -> float:
    """The c of (23), by which finite inner sets mix directions."""
    if m_in is None:
        return 0.0
    m_in = check.integer("m_in", m_in, 1, MAX_COUNT)
    if tasks.features != "gaussian":
        raise ValueError(f"features must be 'gaussian' for (23); got {tasks.features!r}")
    trace = float(np.trace(second_moment(tasks.heads, tasks.k)))
    return (trace + tasks.noise**2) / m_in
