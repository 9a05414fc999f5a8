r"""The outer step: how `B` and `w` move along the mean gradient of a round."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ._core_types import CoreStep
from ._load import core
from ._support import check
from ._support.types import F64

RULES = ("gradient", "adam", "sign")
SCHEDULES = ("constant", "1/t", "cosine")


@dataclass(frozen=True, kw_only=True, repr=False)
class OuterStep:
    r"""How the outer step uses the gradients of a run, (28).

    In round t = 0, 1, ..., with the mean gradient G_t of the round, the factor f_t of the schedule
    and V_0 = 0, the rule "gradient" computes

    .. math:: V_{t+1} = \mu V_t + G_t, \qquad B_{t+1} = B_t - \beta f_t D_t

    with :math:`D_t = V_{t+1}`, or :math:`D_t = G_t + \mu V_{t+1}` for Nesterov's momentum. The head
    `w` moves in the same way with its own step size. Under the rule "gradient" all iterates, and
    all their means, stay in the span of the start and the gradients, so every engine computes them
    exactly.

    Gradients, losses and adapted heads are always those at the iterate (B_t, w_t). With
    `average=True` the result, and the records of `B` and `w` themselves, are those of the running
    mean.

    Parameters
    ----------
    momentum : float
        Momentum :math:`\mu`, 0 <= momentum < 1.
    nesterov : bool
        Whether the momentum is Nesterov's; needs momentum > 0.
    average : bool
        Whether the result is the mean, with equal weights, of the iterates that the steps so far
        have produced (Polyak's average). Before the first step the result is the start.
    lookahead : (int, float) or None
        Steps s >= 1 and size a, 0 < a <= 1: after every s-th round the slow weights S, which begin
        at the start, become S + a (B - S), and B continues from S. Lookahead leaves V unchanged.
    schedule : {"constant", "1/t", "cosine"} or callable
        Factor :math:`f_t` of the step sizes `beta` and `beta_head` in round t: 1;
        :math:`t_0 / (t_0 + \max(0, t - t_1))` with :math:`t_0` = `offset` and :math:`t_1` = `hold`,
        which by default is 1 / (t + 1); (1 + cos(pi t / rounds)) / 2; or a function of t that
        returns a number >= 0. A run with "cosine" continues from a checkpoint only with the same
        number of rounds.
    hold : int
        Number of rounds :math:`t_1` before the factor of the schedule "1/t" begins to decrease,
        >= 0.
    offset : float
        Number of rounds :math:`t_0` > 0 after which the factor of the schedule "1/t" has halved.
        With :math:`\beta = 1 / (\psi t_0)` the step sizes are :math:`1 / (\psi (t + t_0))` for
        `hold` = 0, which average the noise of all rounds with equal weights where a round
        multiplies errors by :math:`1 - \beta \psi`.
    clip : float or None
        Largest norm of a task's contribution, > 0, as the `clip` of `UserDP` (29); None: no limit.
    rule : {"gradient", "adam", "sign"}
        How D_t is computed. "adam" and "sign" treat every coordinate separately: by Adam's rule
        with the constants 0.9, 0.999 and 1e-8, or by the sign of V_{t+1}. Steps by these two rules
        leave the span of the gradients, and need the engine "arrays" or "sampled" and a route other
        than "dual".

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on
    Control and Optimization, 1992. Sutskever, Martens, Dahl, Hinton, "On the importance of
    initialization and momentum in deep learning", ICML 2013. Kingma, Ba, "Adam: a method for
    stochastic optimization", ICLR 2015. Zhang, Lucas, Hinton, Ba, "Lookahead optimizer: k steps
    forward, 1 step back", NeurIPS 2019.

    Examples
    --------
    >>> OuterStep(momentum=0.9, schedule="1/t")
    OuterStep(momentum=0.9, schedule='1/t')
    """

    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False
    lookahead: tuple[int, float] | None = None
    schedule: str | Callable[[int], float] = "constant"
    hold: int = 0
    offset: float = 1.0
    clip: float | None = None
    rule: str = "gradient"

    def __post_init__(self) -> None:
        momentum = check.real("momentum", self.momentum)
        if momentum >= 1:
            raise ValueError(f"momentum must be below 1; got {momentum:g}")
        object.__setattr__(self, "momentum", momentum)
        for name in ("nesterov", "average"):
            object.__setattr__(self, name, check.flag(name, getattr(self, name)))
        if self.lookahead is not None:
            object.__setattr__(self, "lookahead", _check_lookahead(self.lookahead))
        if not callable(self.schedule):
            check.choice("schedule", self.schedule, SCHEDULES)
        self._check_decay()
        if self.clip is not None:
            clip = check.real("clip", self.clip)
            if clip == 0.0:
                raise ValueError("clip must be positive or None; got 0")
            object.__setattr__(self, "clip", clip)
        check.choice("rule", self.rule, RULES)
        if self.nesterov and not momentum:
            raise ValueError("momentum must be above 0 for nesterov=True; got 0")
        if self.nesterov and self.rule == "sign":
            raise ValueError("nesterov must be False for rule='sign'; got True")
        if self.rule == "adam" and momentum:
            raise ValueError(
                f"momentum must be 0 for rule='adam', which has its own; got {momentum:g}"
            )

    def _check_decay(self) -> None:
        """Check the two settings of the schedule "1/t", which other schedules do not have."""
        object.__setattr__(self, "hold", check.integer("hold", self.hold, 0, 2**62))
        offset = check.real("offset", self.offset)
        if offset == 0.0:
            raise ValueError("offset must be positive; got 0")
        object.__setattr__(self, "offset", offset)
        if self.schedule != "1/t" and (self.hold, offset) != (0, 1.0):
            raise ValueError(
                f"schedule must be '1/t' for hold and offset; got {check.show(self.schedule)}"
            )

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"OuterStep({', '.join(shown)})"

    @property
    def by_coordinate(self) -> bool:
        """Whether the rule treats every coordinate separately, and leaves the span of gradients."""
        return self.rule != "gradient"

    @property
    def memory(self) -> tuple[str, ...]:
        """Names of the arrays beside `B` that the step remembers, in the order of the core."""
        return tuple(core.step_memory(_core_step(self)))


def step_factors(step: OuterStep, begin: int, end: int, rounds: int) -> F64:
    """Return the factors of the step sizes in rounds begin to end - 1, of `rounds` in all."""
    if step.schedule == "1/t":
        late = np.maximum(np.arange(begin, end, dtype=np.float64) - step.hold, 0.0)
        decreasing: F64 = step.offset / (step.offset + late)
        return decreasing
    if step.schedule == "cosine":
        # math.cos, since the last bits of NumPy's cosine may differ between processors.
        angles = [math.pi * min(1.0, t / max(rounds, 1)) for t in range(begin, end)]
        return np.array([(1.0 + math.cos(angle)) / 2.0 for angle in angles])
    if not callable(step.schedule):
        return np.ones(end - begin)
    return np.array(
        [check.real(f"schedule({t})", step.schedule(t)) for t in range(begin, end)], float
    )


def _check_lookahead(value: Any) -> tuple[int, float]:
    """Return the pair (steps, size) of a lookahead; raise if it is something else."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"lookahead must be a pair (steps, size) or None; got {check.show(value)}")
    size = check.real("the size of lookahead", value[1])
    if not 0 < size <= 1:
        raise ValueError(f"the size of lookahead must be above 0 and at most 1; got {size:g}")
    return check.integer("the steps of lookahead", value[0], 1, 2**31 - 1), size


def check_step(step: object) -> OuterStep | None:
    """Check an argument `step`; return None for a step without options, which is the default."""
    if step is None:
        return None
    if not isinstance(step, OuterStep):
        raise TypeError(f"step must be an OuterStep or None; got {check.show(step)}")
    return None if step == OuterStep() else step


def core_step(step: OuterStep | None, *, orthonormal: bool) -> CoreStep | None:
    """Convert an outer step for the compiled core; None stands for B <- B - beta G alone."""
    if step is None:
        return CoreStep(orthonormal=True) if orthonormal else None
    return _core_step(step)._replace(orthonormal=orthonormal)


def _core_step(step: OuterStep) -> CoreStep:
    """Convert an outer step without a factorisation."""
    steps, size = step.lookahead or (0, 1.0)
    return CoreStep(
        rule=RULES.index(step.rule),
        momentum=step.momentum,
        nesterov=step.nesterov,
        average=step.average,
        lookahead=steps,
        lookahead_size=size,
    )
