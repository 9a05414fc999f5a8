r"""Meta-SGD and the co-learner, whose outer loop learns more than a representation and a head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ._support import check
from .method_bases import Adaptive


@dataclass(frozen=True, kw_only=True, repr=False)
class MetaSGD(Adaptive):
    r"""Meta-SGD: ANIL or MAML whose outer loop also learns the inner step size.

    .. math:: \alpha \leftarrow \alpha - \beta_\alpha \nabla_\alpha

    The step size is part of the state of a run, like `B` and `w`; see (34). The first-order
    variant treats the derivative of every inner step as the identity; with one inner step its
    gradient with respect to the step size is exact. ``Result.alpha`` is the learned step size.

    Parameters
    ----------
    alpha : float or sequence of float
        Inner step size at the start, of either sign. For ``per="head"``, a sequence has one step
        size for each column of `B`, and a number is the step size of every column.
    beta : float
        Outer step size, >= 0.
    inner_steps : int
        Number of inner steps, 0 <= J <= 10,000.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop.
    outer : {"both", "body", "head"}
        What the outer step moves beside the step size: `B` and `w`, `B` alone, or `w` alone.
    beta_head : float or None
        Outer step size of `w`, >= 0; None: `beta`.
    beta_alpha : float or None
        Outer step size of `alpha`, >= 0; None: `beta`. With 0 the method is ANIL or MAML.
    per : {"scalar", "head"}
        Whether one step size serves all parameters, or each entry of the head has its own.
    moves : {"head", "both"}
        What the inner loop moves: the head, as in ANIL, or the head and the representation, as in
        MAML.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Li, Zhou, Chen, Li, "Meta-SGD: learning to learn quickly for few-shot learning", 2017.

    Examples
    --------
    >>> MetaSGD(alpha=0.05, per="head")
    MetaSGD(alpha=0.05, beta=0.1, inner_steps=1, first_order=False, per='head')
    """

    alpha: float | tuple[float, ...] = 0.1  # type: ignore[assignment]
    beta_alpha: float | None = None
    per: str = "scalar"
    moves: str = "head"

    def __post_init__(self) -> None:
        check.choice("per", self.per, ("scalar", "head"))
        check.choice("moves", self.moves, ("head", "both"))
        if self.per == "head" and self.moves == "both":
            raise ValueError("per='head' needs moves='head': it has no step size for B; got 'both'")
        super().__post_init__()
        if self.beta_alpha is not None:
            self._set_real("beta_alpha")

    def _set_real(self, name: str, least: float = 0.0) -> None:
        if name != "alpha":
            return super()._set_real(name, least)
        if self.per == "head" and np.ndim(self.alpha) == 1:
            values = check.small("alpha", self.alpha, (len(self.alpha),))  # type: ignore[arg-type]
            check.integer("the number of step sizes", values.size, 1)
            object.__setattr__(self, "alpha", tuple(values.tolist()))
        else:
            super()._set_real("alpha", -math.inf)


@dataclass(frozen=True, kw_only=True, repr=False)
class CoLearner(Adaptive):
    r"""ANIL or MAML with a co-learner: a second head that no inner step moves.

    The outer loss of a task becomes its loss after adaptation plus :math:`\gamma` times the outer
    loss at (B, v), with a head :math:`v` that only the outer loop moves; see (35). So `B` also
    follows average risk. The head v starts at 0, where the gradient with respect to v is not
    zero: v moves in the first round, and affects `B` for the first time in the second. ``Result.v``
    is the learned head v.

    Parameters
    ----------
    alpha : float
        Inner step size, >= 0.
    beta : float
        Outer step size, >= 0.
    gamma : float
        Weight of the co-learner, >= 0. With 0 the method is ANIL or MAML.
    inner_steps : int
        Number of inner steps, 0 <= J <= 10,000.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop. The term of the
        co-learner is the same in both cases, since no inner step moves v.
    outer : {"both", "body", "head"}
        What the outer step moves: `B` and both heads, `B` alone, or both heads alone. With "body"
        the co-learner stays at v = 0, where it has no effect on `B`.
    beta_head : float or None
        Outer step size of both heads, >= 0; None: `beta`.
    moves : {"head", "both"}
        What the inner loop moves: the head `w`, as in ANIL, or `w` and the representation, as in
        MAML. The co-learner uses `B` as it is before the inner loop.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Shin, Han, Kim, "Cooperative meta-learning with gradient augmentation", UAI 2024.

    Examples
    --------
    >>> CoLearner(gamma=0.5)
    CoLearner(alpha=0.1, beta=0.1, inner_steps=1, first_order=False, gamma=0.5)
    """

    gamma: float = 1.0
    moves: str = "head"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("gamma")
        check.choice("moves", self.moves, ("head", "both"))
