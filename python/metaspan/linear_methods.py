r"""Methods without a head: a learned initial vector, and a layer that learns in context."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .method_bases import BaseMethod


@dataclass(frozen=True, kw_only=True, repr=False)
class LinearMAML(BaseMethod):
    r"""MAML on a linear model: it learns the regression vector from which every task starts.

    .. math:: \theta_{j+1} = \theta_j - \alpha X^\top (X \theta_j - y) / m_\text{in}

    The initial vector :math:`\theta` is the representation `B` with one column; the head is frozen
    at 1 in both loops. See (31). A run starts at B = 0 unless `init` says otherwise, and
    `theory.linear_maml_risk` gives the risk of the adapted vector in closed form.

    Parameters
    ----------
    alpha : float
        Inner step size, of either sign.
    beta : float
        Outer step size, >= 0.
    inner_steps : int
        Number of inner steps, 0 <= J <= 10,000.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop.
    beta_head : None
        Must be None: the head is never changed. `MAML` changes its head.
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
    Bernacchia, "Meta-learning with negative learning rates", ICLR 2021.

    Examples
    --------
    >>> LinearMAML(alpha=-0.2)
    LinearMAML(alpha=-0.2, beta=0.1, inner_steps=1, first_order=False)
    """

    alpha: float = 0.1
    beta: float = 0.1
    inner_steps: int = 1
    first_order: bool = False
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("alpha", -math.inf)
        self._set_real("beta")
        self._set_inner_loop()
        self._refuse_beta_head("which freezes the head at 1: MAML moves a head")


@dataclass(frozen=True, kw_only=True, repr=False)
class LinearAttention(BaseMethod):
    r"""A linear-attention layer that learns in context, with the weights A B^T.

    .. math:: \hat y' = x'^\top A \, \frac{\alpha}{m_\text{in}} B^\top X^\top y

    Each task is one context of inner samples, and its outer samples are the queries. A round steps
    `A` and `B` against the gradient of the mean outer loss, (32). The layer has no head: `A` and
    `B` take the places of `B` and `w` in ``init=(A0, B0)``, `meta_gradient`, `population_gradient`,
    `adapt` and `evaluate`, and a result has ``r.A`` and ``r.B``. A start that is drawn has A = B.
    ANIL with ``outer="body"``, one inner step and w = 0 is the layer with the tied weights B B^T.

    Parameters
    ----------
    alpha : float
        Factor of the weights, >= 0.
    beta : float
        Step size of `A` and `B`, >= 0.
    beta_head : None
        Must be None: the layer has no head, and `beta` is the step size of `A` and `B`.
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
    von Oswald, Niklasson, Randazzo, Sacramento, Mordvintsev, Zhmoginov, Vladymyrov, "Transformers
    learn in-context by gradient descent", ICML 2023.

    Examples
    --------
    >>> LinearAttention(alpha=0.2)
    LinearAttention(alpha=0.2, beta=0.1)
    """

    alpha: float = 0.1
    beta: float = 0.1
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("alpha")
        self._set_real("beta")
        self._refuse_beta_head("which has no head: beta is the step size of A and B")
