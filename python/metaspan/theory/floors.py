r"""Floors and boundaries of runs on finitely many samples: fixed points of the limit, (59)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .._support import check
from .._support.types import F64
from ..config.engine_choice import check_limit
from ..methods import ANIL, MAML, Method, core_method, resolve
from ..tasks.heads import GaussianHeads, SphereHeads
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import moments
from .closed_forms import finite_inner_sets, infinite_inner_sets
from .fixed_points import (
    MUCH_ROUNDING,
    ROUNDING,
    FloorNotFoundError,
    Recursion,
    State,
    find_attractor,
)
from .limit import rounds_of

SAME = 1e-12  # relative difference up to which eigenvalues of a covariance count as equal
TOLERANCE = 1e-5  # relative width of the interval that encloses the largest step size
# The flow from afar leads to a fixed point up to at least this part of the largest step size. From
# there the point is followed in steps of at least the second part of beta.
CERTAIN, FOLLOWED = 0.75, 2e-3
EPS = float(np.finfo(np.float64).eps)
LEAST = 1e-24  # squared tangent below which a floor counts as 0
EXTREME = 1e50  # step sizes from 1 / EXTREME to EXTREME are covered
# Multiples of a guess, and of the boundary of runs without noise, at which a search ends.
SMALLEST, LARGEST = 1e-30, 1e6


@dataclass(frozen=True)
class Floor:
    r"""The angles at which a run on fresh tasks levels off; ``float(floor)`` is `dist`.

    Parameters
    ----------
    dist : float
        Sine of the largest principal angle; infinite if no fixed point attracts.
    tan2 : float
        Squared tangent of the largest principal angle; infinite if no fixed point attracts.
    angles : ndarray of shape (k,), float64
        All principal angles in radians, the largest first; NaN if no fixed point attracts.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> method = ms.ANIL(alpha=1.0, beta=0.01, first_order=True, outer="body")
    >>> round(floor(tasks, method, n=50, m_out=1).tan2, 4)
    0.0151
    """

    dist: float
    tan2: float
    angles: F64

    def __float__(self) -> float:
        return self.dist


def floor(
    tasks: LinearTasks,
    method: Method | str,
    *,
    n: int | None,
    m_in: int | None = None,
    m_out: int | None = None,
    **steps: Any,
) -> Floor:
    r"""Compute the principal angles at which a run on fresh tasks and samples levels off, (59).

    The floor is the attracting fixed point of the deterministic limit (55) with
    :math:`\gamma = (d - k_{*}) / n`, including all constants. Runs on n tasks scatter about it:
    averages of tan^2 over rounds and directions deviate by O(1/n), and single angles of heads with
    equal variances by O(n^(-1/2)).

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with heads that span all k dimensions.
    method : ANIL, MAML or str
        ANIL, or MAML where it has a limit, with a plain outer step, or its name.
    n : int or None
        Tasks per round. None: infinitely many.
    m_in, m_out : int or None
        Samples in an inner and an outer set. None: infinitely many.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    Floor
        The angles of a learner whose width is ``tasks.k``; infinite or NaN if no fixed point
        attracts at these step sizes, so that a run diverges. If the head moves, w = 0 may be
        unstable, (63), and the floor is then that of the fixed point to which w grows.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if the configuration has no limit, if
        the method has no floor, or if the heads do not span all k dimensions.
    FloorNotFoundError
        If the search neither found an attracting fixed point nor showed that none exists.

    See Also
    --------
    stable : Whether a fixed point attracts.
    largest_beta : The largest stable step size.
    floor_line : The floor as a line to draw with the curves of a run.

    Notes
    -----
    A search takes about 10 k evaluations of the recursion, of microseconds each for small k; the
    cost does not depend on d, on n or on beta. Heads from an array, or with a mean that is not
    along an axis of their covariance, take up to k^2 evaluations for each of about five steps.
    First-order methods with infinite inner sets and a head that stays at 0 use (60). Where no fixed
    point attracts, a search takes up to 15 times as long. Within a few percent of the boundary, the
    fixed point may attract only runs that start near it.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=8000, k=2, noise=0.3)
    >>> round(float(floor(tasks, "fo-anil", n=1000, m_in=20, m_out=10, alpha=0.1, beta=0.05)), 4)
    0.0392
    """
    return Setting.of(tasks, method, (n, m_in, m_out), steps).floor()


def stable(
    tasks: LinearTasks,
    method: Method | str,
    *,
    n: int | None,
    m_in: int | None = None,
    m_out: int | None = None,
    **steps: Any,
) -> bool:
    r"""Return whether a run levels off at the step sizes of the method, in the limit (55).

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with heads that span all k dimensions.
    method : ANIL, MAML or str
        ANIL, or MAML where it has a limit, with a plain outer step, or its name.
    n : int or None
        Tasks per round. None: infinitely many.
    m_in, m_out : int or None
        Samples in an inner and an outer set. None: infinitely many.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    bool
        Whether the recursion has a fixed point, and no eigenvalue of the recursion linearised at
        this point is outside the unit circle.

    Raises
    ------
    TypeError, ValueError, FloorNotFoundError
        As `floor` does.

    Notes
    -----
    The answer holds for n, d -> infinity. At small n, heavy tails make runs diverge at smaller
    steps: at gamma = 5, alpha = .2, beta = .5 and m_in = m_out = 5, 1 of 8 runs of first-order ANIL
    diverged at n = 1,000 and 7 of 16 at n = 250, although the limit levels off.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> steps = dict(alpha=1.0, first_order=True, outer="body")
    >>> [stable(tasks, ms.ANIL(beta=beta, **steps), n=50, m_out=1) for beta in (0.023, 0.027)]
    [True, False]
    """
    return Setting.of(tasks, method, (n, m_in, m_out), steps).tan2() is not None


def largest_beta(
    tasks: LinearTasks,
    method: Method | str,
    *,
    n: int | None,
    m_in: int | None = None,
    m_out: int | None = None,
    **steps: Any,
) -> float:
    r"""Compute the largest outer step size at which a run levels off, by bisection of `stable`.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks, with heads that span all k dimensions.
    method : ANIL, MAML or str
        ANIL, or MAML where it has a limit, with a plain outer step, or its name. Its
        `beta` is not used, and a `beta_head` keeps its value.
    n : int or None
        Tasks per round. None: infinitely many.
    m_in, m_out : int or None
        Samples in an inner and an outer set. None: infinitely many.
    **steps : float
        Settings of a method given by name.

    Returns
    -------
    float
        The boundary, to five digits; to four for tasks without noise, and to fewer where
        (d - k) / n is above 10^9. 0 if no step size is stable, as for first-order ANIL with centred
        heads, infinite inner sets and a head that moves, (63). Infinite if every step size is
        stable.

    Raises
    ------
    TypeError, ValueError, FloorNotFoundError
        As `floor` does.

    Notes
    -----
    The search computes about 25 fixed points, each from the previous one. A step size of half the
    boundary is a safe choice; near the boundary the floor is high, and runs take long to level off.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> method = ms.ANIL(alpha=1.0, first_order=True, outer="body")
    >>> round(largest_beta(tasks, method, n=50, m_out=1), 5)
    0.02474
    """
    setting = Setting.of(tasks, method, (n, m_in, m_out), steps)
    return setting.boundary()


@dataclass(frozen=True)
class Setting:
    """The arguments of a floor, with the heads in coordinates in which their law is diagonal."""

    tasks: LinearTasks
    method: ANIL | MAML
    d_over_n: float  # gamma; noise falls on all directions off B_star
    m_in: int | None
    m_out: int | None
    axes: frozenset[int]  # coordinates under whose change of sign the law of heads changes
    classes: tuple[int, ...]  # (k,): coordinates of one class have the same law

    @staticmethod
    def of(
        tasks: LinearTasks,
        method: Method | str,
        counts: tuple[int | None, int | None, int | None],
        steps: Mapping[str, Any],
    ) -> Setting:
        """Check the arguments of a floor; `counts` are n, m_in and m_out."""
        if not isinstance(tasks, LinearTasks):
            raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
        resolved = resolve(method, steps)
        n, m_in, m_out = (
            None if count is None else check.integer(name, count, 1, MAX_COUNT)
            for name, count in zip(("n", "m_in", "m_out"), counts, strict=True)
        )
        d_over_n = 0.0 if n is None else (tasks.d - tasks.k) / n
        return Setting.at_ratio(tasks, resolved, d_over_n, m_in, m_out)

    @staticmethod
    def at_ratio(
        tasks: LinearTasks, method: Method, d_over_n: float, m_in: int | None, m_out: int | None
    ) -> Setting:
        """Check the tasks and the method of a floor, for gamma in place of n."""
        numbers = core_method(method)
        if numbers.step is not None or numbers.multiplier or numbers.clip:
            raise ValueError(f"method must have a plain outer step for a floor; got {method}")
        lead = "a floor is that of the limit"
        check_limit(tasks, method, False, lead, m_in=m_in, width=tasks.k)
        # Other methods with a limit leave the scale of B free, or do not learn the subspace.
        learns = numbers.inner_steps > 0 and numbers.alpha > 0.0 and numbers.beta > 0.0
        if not isinstance(method, (ANIL, MAML)) or not learns:
            raise ValueError(
                "method must be ANIL or MAML with alpha > 0, and move B with beta > 0, for a "
                f"floor; got {method}"
            )
        for name, size in (("alpha", numbers.alpha), ("beta", numbers.beta)):
            if not 1.0 / EXTREME <= size <= EXTREME:
                raise ValueError(
                    f"{name} must be between {1 / EXTREME:g} and {EXTREME:g} for a floor; got "
                    f"{size:g}"
                )
        noise = math.hypot(tasks.noise, tasks.spread)
        if noise > math.sqrt(EXTREME):
            raise ValueError(
                "the noise and the spread of tasks must be at most "
                f"{math.sqrt(EXTREME):g} for a floor; got {noise:g}"
            )
        tasks, axes, classes = _diagonalize(tasks)
        return Setting(tasks, method, d_over_n, m_in, m_out, axes, classes)

    def at(self, beta: float) -> Setting:
        """Return the same setting with another outer step size."""
        return replace(self, method=replace(self.method, beta=beta))

    @cached_property
    def moments(self) -> tuple[F64, F64]:
        """Mean (k,) and covariance (k, k) of the heads, with the part of a spread in their span."""
        mean, cov = moments(self.tasks.heads, self.tasks.k)
        return mean, cov + self.tasks.xi_variance * np.eye(self.tasks.k)

    @cached_property
    def second(self) -> F64:
        """Second moment of the heads."""
        mean, cov = self.moments
        return cov + np.outer(mean, mean)

    @cached_property
    def signal(self) -> float:
        """Largest eigenvalue of the second moment of the heads."""
        return float(np.linalg.eigvalsh(self.second)[-1])

    @property
    def faint(self) -> float:
        """Noise that is above the rounding errors of beta gamma S, but too small to matter."""
        numbers = core_method(self.method)
        scale = numbers.alpha * numbers.beta * self.d_over_n * self.inverses * self.signal
        return self.signal * (LEAST + 1024.0 * self.tasks.k * EPS * scale)

    @property
    def rounding(self) -> float:
        """Relative rounding errors of S, which are large if its terms cancel for small noise."""
        inverse = 0.0 if self.m_in is None else 1.0 / self.m_in
        noise = self.tasks.noise**2 + self.tasks.spread**2 + self.signal * inverse
        rounding = 64.0 * self.tasks.k * EPS * self.signal
        return min(max(ROUNDING, rounding / max(noise, rounding)), MUCH_ROUNDING)

    @property
    def inverses(self) -> float:
        """Return 1 / m_in + 1 / m_out."""
        return sum(1.0 / m for m in (self.m_in, self.m_out) if m is not None)

    @property
    def is_plain(self) -> bool:
        """Return whether (60) or (61) may hold: first order, w = 0 and centred heads of a law."""
        numbers, (mean, _) = core_method(self.method), self.moments
        return (
            not numbers.exact
            and numbers.inner_steps == 1
            and numbers.beta_head == 0.0
            and not isinstance(self.tasks.heads, np.ndarray)
            and not mean.any()
            and self.tasks.spread == 0.0
        )

    @property
    def has_closed_form(self) -> bool:
        """Return whether (60) holds."""
        return self.is_plain and self.m_in is None

    @property
    def has_one_root(self) -> bool:
        """Return whether (61) holds."""
        is_equal = isinstance(self.tasks.heads, GaussianHeads) and len(set(self.classes)) == 1
        return self.is_plain and self.m_in is not None and self.load > 0.0 and is_equal

    @property
    def is_trapped(self) -> bool:
        """Return whether (63) makes w grow: with infinite inner sets any noise suffices."""
        numbers, (mean, _) = core_method(self.method), self.moments
        has_noise = self.load > 0.0 and (self.tasks.noise > 0.0 or self.tasks.spread > 0.0)
        is_plain = not numbers.exact and numbers.inner_steps == 1
        is_free = is_plain and numbers.beta_head > 0.0 and self.m_in is None
        return is_free and has_noise and not mean.any()

    @property
    def load(self) -> float:
        """Return gamma / m_out, nu of (60)."""
        return 0.0 if self.m_out is None else self.d_over_n / self.m_out

    def closed_form(self, beta: float) -> F64 | None:
        """Return the squared tangents (60) of the floor at this step size; None if unstable."""
        return infinite_inner_sets(
            np.diag(self.moments[1]),
            self.tasks.noise**2,
            reach=core_method(self.method).alpha * beta,
            load=self.load,
            on_sphere=isinstance(self.tasks.heads, SphereHeads),
        )

    def tan2(self) -> F64 | None:
        """Return the squared tangents (k,) of the floor, or None if no fixed point attracts."""
        if self.has_closed_form:
            return self.closed_form(core_method(self.method).beta)
        state = None if self.is_trapped else self.solve()
        if state is None:
            return None
        tan2 = state.tan2
        # With faint noise alone, tan^2 is at most faint / (2 lambda_min).
        tan2[tan2 < 10.0 * self.faint / np.linalg.eigvalsh(self.second)[0]] = 0.0
        return tan2

    def recursion(self) -> Recursion:
        """Return the recursion of this setting."""
        numbers = core_method(self.method)
        return Recursion(
            rounds_of(self.tasks, self.method, m_in=self.m_in, m_out=self.m_out),
            numbers.beta,
            numbers.beta_head,
            self.d_over_n,
            self.faint,
            self.rounding,
        )

    def floor(self) -> Floor:
        """Return the floor."""
        tan2 = self.tan2()
        if tan2 is None:
            return Floor(math.inf, math.inf, np.full(self.tasks.k, math.nan))
        tangents = np.sqrt(tan2)
        dist = float(tangents[0] / math.hypot(1.0, tangents[0]))
        return Floor(dist, float(tan2[0]), np.arctan(tangents))

    def solve(self) -> State | None:
        """Return the attracting fixed point of the recursion, or None.

        Just below the boundary a fixed point may attract so small a neighbourhood that the flow
        does not lead to it from afar. The point is then followed from a smaller step size.
        """
        state = self._find(None)
        if state is not None or self.has_one_root:
            return state
        beta = core_method(self.method).beta
        share, step = CERTAIN, 1.0 - CERTAIN
        state = self._found_at(share * beta)
        while state is not None and share < 1.0 and step > FOLLOWED:
            further = self._found_at(min(share + step, 1.0) * beta, state)
            if further is None:
                step *= 0.5
            else:
                share, step, state = min(share + step, 1.0), 2.0 * step, further
        return state if share == 1.0 else None

    def _found_at(self, beta: float, near: State | None = None) -> State | None:
        """Return the attracting fixed point at another step size; None if the search fails."""
        try:
            return self.at(beta)._find(near)
        except FloorNotFoundError:
            return None

    def _find(self, near: State | None) -> State | None:
        """Return the fixed point to which the flow leads from a start, by default a cold one."""
        recursion = self.recursion()
        if self.has_one_root:
            near = self._one_root()
            if near is None:
                return None
        elif near is None:
            near = recursion.with_small_angles(*self._at_many_tasks())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return find_attractor(recursion, near, self.classes, self.axes, math.sqrt(self.signal))

    def _one_root(self) -> State | None:
        """Return the fixed point (61), which may be unstable, or None."""
        assert self.m_in is not None
        numbers, k = core_method(self.method), self.tasks.k
        root = finite_inner_sets(
            k,
            float(self.moments[1][0, 0]),
            self.tasks.noise**2,
            m_in=self.m_in,
            reach=numbers.alpha * numbers.beta,
            load=self.load,
        )
        if root is None:
            return None
        a, y = root
        A = a / numbers.alpha * np.eye(k)
        return State(A, y / numbers.alpha * A, np.zeros(k))

    def _at_many_tasks(self) -> tuple[F64, F64]:
        """Return M M^T and M w near the fixed point (23) of infinitely many tasks."""
        numbers, (mean, cov) = core_method(self.method), self.moments
        values, vectors = np.linalg.eigh(cov if numbers.beta_head else self.second)
        # If w learns the mean, (23) has no signal in directions in which the heads do not vary.
        values = np.maximum(values, 1e-3 * self.signal)
        i = 0.0 if self.m_in is None else 1.0 / self.m_in
        c = i * (values.sum() + self.tasks.noise**2 + self.tasks.spread**2)
        A = vectors / (numbers.alpha * (1.0 + i + c / values)) @ vectors.T
        return A, mean if numbers.beta_head else np.zeros_like(mean)

    def boundary(self) -> float:
        """Return the largest step size with an attracting fixed point."""
        if self.is_trapped:
            return 0.0
        near: State | None = None

        def attracts(beta: float) -> bool:
            nonlocal near
            if self.has_closed_form:
                return self.closed_form(beta) is not None
            state = self.at(beta)._find(near)
            near = state or near
            return state is not None

        noiseless = 1.0 / (core_method(self.method).alpha * self.signal)
        guess = noiseless / (1.0 + (self.tasks.k + 2) * self.d_over_n * self.inverses)
        low, high, shrink = 0.1 * guess, math.inf, 0.25
        while not attracts(low):
            low, high, shrink = shrink * low, low, shrink**1.5
            if low < SMALLEST * guess:
                return 0.0
        while high == math.inf:
            if low > LARGEST * noiseless:
                return math.inf
            if attracts(2.0 * low):
                low *= 2.0
            else:
                high = 2.0 * low
        # At the boundary itself a search may not end, so the middle is not the only point to try.
        share = 0.5
        while high - low > TOLERANCE * high:
            middle = low + share * (high - low)
            try:
                low, high = (middle, high) if attracts(middle) else (low, middle)
            except FloorNotFoundError:
                if share != 0.5:
                    raise
                share = 0.4
            else:
                share = 0.5
        return low


def _diagonalize(tasks: LinearTasks) -> tuple[LinearTasks, frozenset[int], tuple[int, ...]]:
    """Turn the heads to axes of their covariance, with their mean on as few axes as possible.

    Returns the tasks, the axes that are not symmetric under a change of sign, and the classes of
    coordinates with the same law. Angles do not depend on the axes.
    """
    k = tasks.k
    law = tasks.heads
    mean, cov = moments(law, k)
    second = cov + np.outer(mean, mean) + tasks.xi_variance * np.eye(k)
    values = np.linalg.eigvalsh(second)
    if not values[0] > k * np.finfo(float).eps * values[-1]:
        raise ValueError("the heads must reach every direction for a floor; their mu_star is 0")
    if isinstance(law, np.ndarray):
        return tasks, frozenset(range(k)), tuple(range(k))
    if isinstance(law, SphereHeads):
        return tasks, frozenset(), (0,) * k
    variances, vectors = np.linalg.eigh(cov)
    gaps = np.diff(variances) > SAME * variances[-1]
    classes = np.concatenate([[0], np.cumsum(gaps)])
    along = np.zeros(k)
    for label in range(classes[-1] + 1):
        (members,) = np.nonzero(classes == label)
        part = float(np.linalg.norm(mean @ vectors[:, members]))
        along[members[0]] = part if part > SAME * np.linalg.norm(mean) else 0.0
        variances[members] = variances[members].mean()
    heads = GaussianHeads(cov=np.maximum(variances, 0.0), mean=along)
    axes = frozenset(np.flatnonzero(along).tolist())
    return replace(tasks, heads=heads, B_star=None), axes, tuple(classes.tolist())


__all__ = ["Floor", "FloorNotFoundError", "floor", "largest_beta", "stable"]
