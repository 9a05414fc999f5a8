r"""Plans a run from a target accuracy or a budget of samples, without simulations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._support import check
from .config.options import Init
from .config.start import STARTS, named_start
from .methods import ANIL
from .outer_step import OuterStep
from .runs.result import Result
from .runs.train import train
from .tasks.linear import MAX_COUNT, LinearTasks
from .tasks.moments import diversity
from .theory.averaging import REST, SHARE, Path, Split

PLANNED = ("1/t", "constant")
RANDOM = 0.002  # probability that a random start is worse than the planned one
MEDIAN = 0.7  # about the median of the smallest singular value in the same units
SLACK = 1.1  # factor in samples, or in dist^2, that a plan accepts for fewer rounds
MOST_SAMPLES = 2048  # of a task in either set, if neither m nor m_in nor m_out is given
MOST_TASKS = 10**8
MOST_ROUNDS = 2**53
MOST_STRIDES = 100_000  # most steps of a prediction, each of one round or of many with small steps
TARGETS = 1e-8, 0.99  # the range of targets
LEAST_MU = 1e-6  # mu_star relative to L_star, below which rounding decides the rates
SIZES = 1e-50, 1e50  # the range of second moments of heads and noise
FLOORS = np.linspace(0.3, 0.95, 27)  # shares of tan^2 that a constant step may leave as its floor


@dataclass(frozen=True, kw_only=True)
class Plan:
    r"""A planned run and its prediction, made by `plan`.

    Parameters
    ----------
    method : ANIL
        The method, with its step sizes and schedule.
    n, m_in, m_out, rounds : int
        Tasks of a round, inner and outer samples of a task, and number of rounds.
    schedule : str
        Schedule of the step sizes: "1/t" or "constant".
    dist : float
        Predicted mean of dist after the last round.
    samples : int
        Samples of the run: ``rounds * n * (m_in + m_out)``.
    reason : str
        What determines the plan, in words.
    init : Init
        The start for which the plan is made.
    """

    method: ANIL
    n: int
    m_in: int
    m_out: int
    rounds: int
    schedule: str
    dist: float
    samples: int
    reason: str
    init: Init

    def train(self, tasks: LinearTasks, **options: Any) -> Result:
        r"""Run the plan: call `metaspan.train` with its arguments.

        Parameters
        ----------
        tasks : LinearTasks
            The law of tasks for which the plan was made.
        **options : object
            Further arguments of `metaspan.train`, such as `trials` and `seed`. They replace those
            of the plan. The stop rule is None unless it is given.

        Returns
        -------
        Result
            The result of the run.

        Raises
        ------
        TypeError, ValueError
            If `metaspan.train` raises it.

        Examples
        --------
        >>> import metaspan as ms
        >>> tasks = ms.LinearTasks(d=200, k=2, noise=0.3)
        >>> planned = ms.plan(tasks, target=0.1, m=20, init="methodical")
        >>> planned.train(tasks, trials=2).trace["dist"].shape[0]
        2
        """
        planned = {
            **{"n": self.n, "m_in": self.m_in, "m_out": self.m_out, "rounds": self.rounds},
            **{"init": self.init, "stop": None},
        }
        return train(tasks, self.method, **{**planned, **options})


def plan(
    tasks: LinearTasks,
    target: float | None = 1e-3,
    budget: int | None = None,
    *,
    n: int | None = None,
    m: int | None = None,
    m_in: int | None = None,
    m_out: int | None = None,
    first_order: bool = True,
    alpha: float = 1.0,
    init: Init | str = "random",
    schedule: str | None = None,
) -> Plan:
    r"""Choose step sizes, tasks, samples and rounds of a run that reaches a target dist, (68).

    The run is exact or first-order ANIL with one inner step and a head that stays at 0, so that the
    head cannot grow. Until the start is forgotten, its step sizes are constant, a quarter of an
    estimate of the largest stable ones; then they decrease like 1 / t, which averages the noise of
    all later rounds. The plan compares splits of a task's samples into an inner and an outer set,
    and numbers of tasks in a round. Among those that need at most 10 % more samples than the best,
    it takes the one with the fewest rounds. The predicted dist follows from the deterministic limit
    (55) and from the norm of a normal matrix with d - k rows.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks: Gaussian features or features on a sphere, of covariance I, and heads
        that span all k dimensions.
    target : float or None
        The dist to reach, from 1e-8 to 0.99. None: the smallest dist that the budget allows.
    budget : int or None
        Largest number of samples, rounds times n times (m_in + m_out). None: no bound. If the
        target needs more samples, the plan is for the smallest dist that the budget allows.
    n : int or None
        Tasks of a round, at most the number of fixed heads; None: the plan chooses.
    m : int or None
        Samples of a task, >= 2, m_in + m_out; None: the plan chooses.
    m_in, m_out : int or None
        Inner and outer samples of a task; None: the plan chooses.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop.
    alpha : float
        Inner step size, > 0. Only the product of alpha and beta matters while the head is 0.
    init : {"random", "methodical"} or Init
        The start. From a random start, the plan continues until the remaining effect of the start
        is small beside the noise for all but the worst 0.2 % of starts, even if dist is then below
        the target.
    schedule : {"1/t", "constant"} or None
        Schedule of the step sizes; None: "1/t".

    Returns
    -------
    Plan
        The plan; ``Plan.train(tasks)`` runs it.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the heads are a function.
    ValueError
        If an argument is out of range, if the tasks are not covered, or if the budget is too small
        for a run that forgets its start.

    Notes
    -----
    The prediction is asymptotic in the numbers of dimensions and tasks. In settings on which the
    planner was not tuned, the mean of dist at the planned end was within 2.3 % of the prediction,
    see docs/theory.md. The prediction is not reliable for n below 8 (k + 2), for one to three inner
    samples, whose adapted heads have heavy tails, for step sizes that are raised by hand towards
    the boundary, or for a single trial, whose dist scatters by about 1 / sqrt(2 d) of its size.
    The cost does not depend on d: a plan takes a fraction of a second for small k.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=10_000, k=3, noise=0.5)
    >>> planned = ms.plan(tasks, target=0.02, m=20)
    >>> planned.m_in + planned.m_out, planned.schedule
    (20, '1/t')
    >>> bool(ms.plan(tasks, target=None, budget=planned.samples // 4, m=20).dist < 0.05)
    True
    """
    wanted = _Wanted(
        tasks=tasks,
        target=target,
        budget=budget,
        alpha=alpha,
        init=_resolve_start(init),
        exact=not check.flag("first_order", first_order),
        schedule="1/t" if schedule is None else schedule,
    )
    candidates = list(_candidates(wanted, n, m, m_in, m_out))
    if wanted.target is not None:
        chosen = _choose(candidates, [_needed(wanted, each) for each in candidates])
        if wanted.init.dist is not None and wanted.init.dist <= wanted.target:
            return _describe(wanted, _Followed(chosen, 0, 0, None, wanted.init.dist))
        followed = _follow(wanted, chosen, None)
        if wanted.budget is None or followed.samples <= wanted.budget:
            return _describe(wanted, followed)
    assert wanted.budget is not None
    most = [_allowed(wanted, each) for each in candidates]
    if all(math.isinf(cost) for cost, _ in most):
        least = min(_forgetting(wanted, each) * each.per_round for each in candidates)
        raise ValueError(
            f"budget must be at least about {2 * least:.2g} samples for a run to forget its start; "
            f"got {wanted.budget}"
        )
    chosen = _choose(candidates, most)
    rounds = wanted.budget // chosen.per_round
    if n is None and not isinstance(tasks.heads, np.ndarray):
        # The samples that whole rounds leave over go into more tasks a round.
        chosen = chosen._replace(n=wanted.budget // (rounds * chosen.split.samples))
    return _describe(wanted, _follow(wanted, chosen, rounds))


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """The arguments of a plan other than its sizes."""

    tasks: LinearTasks
    target: float | None
    budget: int | None
    alpha: float
    init: Init
    exact: bool
    schedule: str

    def __post_init__(self) -> None:
        _check_tasks(self.tasks)
        if self.target is None and self.budget is None:
            raise ValueError("target or budget must be given; got None for both")
        if self.target is not None:
            object.__setattr__(self, "target", check.real("target", self.target, *TARGETS))
        if self.budget is not None:
            budget = check.integer("budget", self.budget, 1, 2**63 - 1)
            object.__setattr__(self, "budget", budget)
        object.__setattr__(self, "alpha", check.real("alpha", self.alpha))
        if not 1e-50 < self.alpha < 1e50:
            raise ValueError(f"alpha must be positive and moderate; got {self.alpha:g}")
        check.choice("schedule", self.schedule, PLANNED)
        if self.init.dist == 1.0:
            raise ValueError("init dist must be below 1 for a plan, since B has to move; got 1")
        if self.length > 1.0 + 1e-9:
            raise ValueError(
                f"init scale must be at most 1 / sqrt(alpha) = {self.alpha**-0.5:.3g} for a plan; "
                f"got {self.init.scale:g}"
            )

    @property
    def length(self) -> float:
        """Length of the columns at the start, in units with alpha = 1."""
        return 1.0 if self.init.scale is None else self.init.scale * math.sqrt(self.alpha)

    @property
    def overlap(self) -> float:
        """The cosine of the largest angle at the start."""
        if self.init.dist is not None:
            return math.sqrt(1.0 - self.init.dist**2)
        # The smallest singular value of a square matrix of N(0, 1 / d) is below x / sqrt(d k) with
        # a probability of about x (Edelman 1988).
        return min(0.5, RANDOM / math.sqrt(self.tasks.d * self.tasks.k))

    @property
    def is_random(self) -> bool:
        """Whether the angles of the start are random."""
        return self.init.dist is None

    @property
    def typical(self) -> float:
        """The tan^2 that remains of the median start, relative to that of the planned start."""
        return (RANDOM / MEDIAN) ** 2 if self.is_random else 1.0

    @property
    def tan2(self) -> float:
        """The squared tangent of the target."""
        assert self.target is not None
        return self.target**2 / (1.0 - self.target**2)

    @property
    def first_tangent(self) -> float:
        """The tangent at the start."""
        return math.sqrt(1.0 - self.overlap**2) / self.overlap


class _Candidate(NamedTuple):
    """A split of samples, a number of tasks, and the largest step size of a plan with them."""

    split: Split
    n: int
    beta: float  # in units with alpha = 1

    @property
    def per_round(self) -> int:
        """Samples of a round."""
        return self.n * self.split.samples

    @property
    def floor(self) -> float:
        """The squared tangent at which the step size beta levels off, for small beta."""
        return self.level * self.beta * self.split.slowest / 2.0

    @property
    def level(self) -> float:
        """The squared tangent that averaging over one round would leave; it falls like 1 / t."""
        return self.split.rest / self.n * self.split.constant

    @property
    def offset(self) -> float:
        """The number of rounds t_0 in 1 / (psi (t + t_0))."""
        return 1.0 / (self.split.slowest * self.beta)


class _Followed(NamedTuple):
    """The predicted course of a run."""

    candidate: _Candidate
    rounds: int
    plateau: int  # rounds before tan falls below 1
    hold: int | None  # rounds with the first step size; None: all
    dist: float

    @property
    def samples(self) -> int:
        """Samples of the run."""
        return self.rounds * self.candidate.per_round


def _resolve_start(init: Init | str) -> Init:
    """Return the start of a plan."""
    if isinstance(init, str):
        check.choice("init", init, STARTS)
        return named_start(init)
    if type(init) is not Init:
        raise TypeError(f"init must be 'random', 'methodical' or an Init; got {check.show(init)}")
    return init


def _check_tasks(tasks: LinearTasks) -> None:
    """Raise an error unless the limit covers the tasks."""
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    if tasks.features not in ("gaussian", "sphere") or tasks.spectrum is not None:
        shown = "a spectrum" if tasks.spectrum is not None else repr(tasks.features)
        raise ValueError(
            "tasks must have features 'gaussian' or 'sphere' of covariance I for a plan; got "
            f"{shown}"
        )
    if tasks.d < 2 * tasks.k:
        raise ValueError(f"tasks must have d >= 2 k = {2 * tasks.k} for a plan; got d = {tasks.d}")
    spread = diversity(tasks.heads, tasks.k)
    if spread.mu <= LEAST_MU * spread.L:
        raise ValueError(
            f"the heads must reach every direction for a plan; their mu_star is {spread.mu:.2g}"
        )
    largest = max(spread.L, tasks.noise, tasks.spread)
    if spread.mu**2 < SIZES[0] or largest > math.sqrt(SIZES[1]):
        raise ValueError(
            f"tasks must have heads and noise of squares between {SIZES[0]:g} and {SIZES[1]:g} for "
            f"a plan; got {spread.mu:.3g} and {largest:.3g} before squaring"
        )


def _candidates(
    wanted: _Wanted, n: int | None, m: int | None, m_in: int | None, m_out: int | None
) -> Iterator[_Candidate]:
    """Yield the candidates among which a plan chooses."""
    least, heads = 8 * (wanted.tasks.k + 2), wanted.tasks.heads
    most = len(heads) if isinstance(heads, np.ndarray) else MAX_COUNT  # a round takes a head once
    n = None if n is None else check.integer("n", n, 1, most)
    counts = [n] if n is not None else _grid(min(least, most), min(MOST_TASKS, most), 1.3)
    for inner, outer in _splits(m, m_in, m_out):
        split = Split(wanted.tasks, wanted.exact, inner, outer)
        for count in counts:
            yield _Candidate(split, count, split.first_step(count))


def _splits(m: int | None, m_in: int | None, m_out: int | None) -> list[tuple[int, int]]:
    """Return pairs of inner and outer samples."""
    m_in, m_out = (
        None if value is None else check.integer(name, value, 1, MAX_COUNT)
        for name, value in (("m_in", m_in), ("m_out", m_out))
    )
    if m is None and m_in is not None and m_out is not None:
        return [(m_in, m_out)]
    if m is None:
        grid = _grid(1, MOST_SAMPLES, 1.4)
        return [(a, b) for a in ([m_in] if m_in else grid) for b in ([m_out] if m_out else grid)]
    m = check.integer("m", m, 2, MAX_COUNT)
    pairs = [(m - m_out if m_out else m_in or a, m) for a in _grid(1, m - 1, 1.2)]
    fitting = [(a, m - a) for a, _ in pairs if 0 < a < m and m_out in (None, m - a)]
    if not fitting or (m_in is not None and fitting[0][0] != m_in):
        raise ValueError(
            f"m must be m_in + m_out where these are given; got m = {m}, m_in = {m_in} and "
            f"m_out = {m_out}"
        )
    return list(dict.fromkeys(fitting))


def _grid(first: int, last: int, ratio: float) -> list[int]:
    """Return integers from first to last in steps of about this ratio."""
    count = math.ceil(math.log(max(last / first, 1.0)) / math.log(ratio)) + 1
    return list(dict.fromkeys(round(x) for x in np.geomspace(first, last, count).tolist()))


def _forgetting(wanted: _Wanted, candidate: _Candidate, end: float = 0.0) -> float:
    """Estimate the rounds until the tangent due to the start falls to `end` or to the noise."""
    end = max(end, math.sqrt(REST * candidate.floor))
    return candidate.offset * math.log(max(wanted.first_tangent / end, 1.5))


def _needed(wanted: _Wanted, candidate: _Candidate) -> tuple[float, float]:
    """Estimate the samples and the rounds to the target."""
    if wanted.schedule == "constant":
        rounds = _constant_steps(wanted, candidate)[0]
    else:
        # The end of a plan from a random start does not depend on the start.
        end = 0.0 if wanted.is_random else 0.5 * math.sqrt(wanted.tan2)
        rounds = _forgetting(wanted, candidate, end)
        rounds += max(0.0, candidate.level / wanted.tan2 - candidate.offset)
    return rounds * candidate.per_round, rounds


def _constant_steps(wanted: _Wanted, candidate: _Candidate) -> tuple[float, float]:
    """Estimate the fewest rounds to the target with a constant step size, and this step size."""
    beta = np.minimum(candidate.beta, candidate.beta * wanted.tan2 * FLOORS / candidate.floor)
    floors = candidate.floor / candidate.beta * beta
    left = wanted.tan2 - floors
    if wanted.is_random:
        left = np.minimum(left, REST * floors)
    rounds = np.log(np.maximum(wanted.first_tangent / np.sqrt(left), 1.5))
    rounds /= candidate.split.slowest * beta
    best = int(np.argmin(rounds))
    return float(rounds[best]), float(beta[best])


def _allowed(wanted: _Wanted, candidate: _Candidate) -> tuple[float, float]:
    """Estimate dist^2 after the budget, infinite if the start is not forgotten, and the rounds."""
    assert wanted.budget is not None
    rounds = wanted.budget / candidate.per_round
    averaged = rounds - _forgetting(wanted, candidate)
    if rounds < 1.0 or averaged < 0.2 * rounds:
        return math.inf, rounds
    if wanted.schedule == "constant":
        return _steps_of_budget(wanted, candidate, rounds)[0], rounds
    return candidate.level / (averaged + candidate.offset), rounds


def _steps_of_budget(wanted: _Wanted, candidate: _Candidate, rounds: float) -> tuple[float, float]:
    """Estimate the least tan^2 after these rounds with a constant step size, and the step size."""
    beta = candidate.beta * np.geomspace(1e-3, 1.0, 200)
    left = np.exp(-2.0 * candidate.split.slowest * beta * rounds) * wanted.first_tangent**2
    ends = candidate.floor / candidate.beta * beta + left
    best = int(np.argmin(ends))
    return float(ends[best]), float(beta[best])


def _choose(candidates: list[_Candidate], costs: list[tuple[float, float]]) -> _Candidate:
    """Return the candidate with the fewest rounds whose cost is close to the least cost."""
    least = min(cost for cost, _ in costs)
    good = [i for i, (cost, _) in enumerate(costs) if cost <= SLACK * least]
    return candidates[min(good, key=lambda i: costs[i][1])]


def _follow(wanted: _Wanted, candidate: _Candidate, rounds: int | None) -> _Followed:
    """Predict a run of this many rounds, or up to the target for None."""
    if wanted.schedule == "constant":
        # The estimate ignores that dist exceeds its limit at finite d, so the step size is reduced
        # until the run no longer levels off above the target.
        beta = (
            _constant_steps(wanted, candidate)[1]
            if rounds is None
            else _steps_of_budget(wanted, candidate, rounds)[1]
        )
        while (followed := _run(wanted, candidate._replace(beta=beta), rounds)) is None:
            beta *= 0.9
        return followed
    followed = _run(wanted, candidate, rounds)
    assert followed is not None
    return followed


def _run(wanted: _Wanted, candidate: _Candidate, rounds: int | None) -> _Followed | None:
    """Predict a run; None if a constant step size levels off above the target."""
    path = Path(candidate.split, candidate.n, wanted.overlap, wanted.length, typical=wanted.typical)
    beta, hold, plateau = candidate.beta, None, None
    aim = -math.inf if rounds is not None else wanted.tan2
    for _ in range(MOST_STRIDES):
        if path.rounds >= (rounds or MOST_ROUNDS):
            break
        total = path.tan2(path.start + path.noise)
        if plateau is None and total <= 1.0:
            plateau = path.rounds
        if total <= aim and (path.is_past_start or not wanted.is_random):
            if (dist := path.dist) <= (wanted.target or 0.0):
                break
            # dist is the norm of a normal matrix, above the root of the largest eigenvalue
            aim = total * wanted.tan2 * (1.0 - dist**2) / dist**2
        if hold is None and path.is_past_start:
            if wanted.schedule == "1/t":
                hold = path.rounds
            elif rounds is None and path.tan2(path.start) <= 1e-3 * path.tan2(path.noise):
                return None
        if hold is not None:
            beta = candidate.beta / (1.0 + (path.rounds - hold) / candidate.offset)
        path.advance(beta, (rounds or MOST_ROUNDS) - path.rounds)
    if path.rounds < rounds if rounds is not None else path.dist > (wanted.target or 0.0):
        raise ValueError(
            f"tasks and {'target' if rounds is None else 'budget'} must allow a plan of moderately "
            f"many rounds; got a run that has not ended after {path.rounds} rounds of n = "
            f"{candidate.n} tasks"
        )
    return _Followed(candidate, path.rounds, plateau or 0, hold, path.dist)


def _describe(wanted: _Wanted, followed: _Followed) -> Plan:
    """Return the plan of a predicted run."""
    candidate, step = followed.candidate, None
    if followed.hold is not None and followed.hold < followed.rounds:
        step = OuterStep(schedule="1/t", hold=followed.hold, offset=candidate.offset)
    return Plan(
        method=ANIL(
            alpha=wanted.alpha,
            beta=candidate.beta / wanted.alpha,
            first_order=not wanted.exact,
            outer="body",
            step=step,
        ),
        n=candidate.n,
        m_in=candidate.split.m_in,
        m_out=candidate.split.m_out,
        rounds=followed.rounds,
        schedule="constant" if step is None else "1/t",
        dist=followed.dist,
        samples=followed.samples,
        reason=_reason(wanted, followed),
        init=wanted.init,
    )


def _reason(wanted: _Wanted, followed: _Followed) -> str:
    """Say what determines a plan."""
    candidate, split = followed.candidate, followed.candidate.split
    noise_limits = candidate.split.first_step(candidate.n) < 0.999 * SHARE / split.fastest
    limit = (
        f"the boundary at which the noise of n m_out = {candidate.n * split.m_out} outer samples "
        "amplifies itself"
        if noise_limits
        else "the curvature of the loss"
    )
    hold = followed.rounds if followed.hold is None else min(followed.hold, followed.rounds)
    plateau = min(followed.plateau, hold)
    parts = {
        "plateau of the start": (plateau, "leave the plateau of the start"),
        "rate": (
            hold - plateau,
            f"multiply the error by {1.0 - candidate.beta * split.slowest:.3g} each",
        ),
        "floor": (followed.rounds - hold, "average the noise of the samples"),
    }
    binding = max(parts, key=lambda name: parts[name][0])
    spent = [f"{count} {purpose}" for count, purpose in parts.values() if count]
    share = SHARE * candidate.beta / split.first_step(candidate.n)
    sentences = [
        f"The {binding} binds: of {followed.rounds} rounds, {', '.join(spent)}."
        if followed.rounds
        else f"No round is needed, since the start has dist = {followed.dist:g}.",
        f"alpha beta starts at {candidate.beta:.3g}, {share:.2g} times an estimate of the largest "
        f"stable value, which {limit} sets.",
        f"Of {split.samples} samples of a task, {split.m_in} adapt the head and {split.m_out} "
        "correct the representation.",
        "The head stays at 0, since a free head can grow on finite samples.",
    ]
    if wanted.target is not None and followed.dist > wanted.target:
        sentences.insert(0, f"The budget does not suffice for dist = {wanted.target:g}.")
    return " ".join(sentences)
