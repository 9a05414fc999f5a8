r"""FedRep and AltGDmin, which solve for the heads of tasks and step on the representation alone."""

from __future__ import annotations

from dataclasses import dataclass

from ._support import check
from .method_bases import BaseMethod


@dataclass(frozen=True, kw_only=True, repr=False)
class _SolvedHeads(BaseMethod):
    """The settings of FedRep and AltGDmin, which solve for the heads and step on B alone."""

    beta: float = 0.1
    separate: bool = False
    reduce: str = "mean"
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("beta")
        object.__setattr__(self, "separate", check.flag("separate", self.separate))
        check.choice("reduce", self.reduce, ("mean", "sum"))
        self._refuse_beta_head("which solves for the heads and moves no w: RidgeANIL moves w")


@dataclass(frozen=True, kw_only=True, repr=False)
class FedRep(_SolvedHeads):
    r"""FedRep: heads by least squares, then a gradient step on the representation.

    Every task solves for its head on its inner set, (26) with :math:`\lambda = 0`. Then `B` takes a
    step against the mean gradient of the inner losses at these heads, (27), which is the exact
    gradient of the losses minimised over the heads. The head `w` has no effect. If there is an
    outer set, it serves only to measure losses.

    Parameters
    ----------
    beta : float
        Step size, >= 0.
    separate : bool
        Whether the gradient is that of the loss on the outer set, at the heads solved for on the
        inner set.
    reduce : {"mean", "sum"}
        Whether the step follows the mean of the tasks' gradients, or their sum as in the FedRep
        paper. "sum" multiplies `beta` by the number of tasks in a round; `meta_gradient` returns
        the mean in both cases.
    beta_head : None
        Must be None: the outer step moves `B` alone. `RidgeANIL` also moves `w`.
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
    Collins, Hassani, Mokhtari, Shakkottai, "Exploiting shared representations for personalized
    federated learning", ICML 2021.

    Examples
    --------
    >>> FedRep(beta=0.5)
    FedRep(beta=0.5, separate=False)
    """


@dataclass(frozen=True, kw_only=True, repr=False)
class AltGDmin(_SolvedHeads):
    r"""AltGDmin: `FedRep` that makes the columns of `B` orthonormal after every step.

    After the step, `B` is replaced by the factor Q of its QR decomposition B = Q S, where Q (d, k)
    has orthonormal columns and S (k, k) is upper triangular with a positive diagonal.

    Parameters
    ----------
    beta : float
        Step size, >= 0.
    separate : bool
        Whether the gradient is that of the loss on the outer set, at the heads solved for on the
        inner set.
    reduce : {"mean", "sum"}
        Whether the step follows the mean of the tasks' gradients or their sum. "sum" multiplies
        `beta` by the number of tasks in a round.
    beta_head : None
        Must be None: the outer step moves `B` alone. `RidgeANIL` also moves `w`.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step. The
        factorisation precedes lookahead and averaging, whose results need not have orthonormal
        columns.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Nayer, Vaswani, "Fast and sample-efficient federated low rank matrix recovery from column-wise
    linear and quadratic projections", IEEE Transactions on Information Theory, 2023.

    Examples
    --------
    >>> AltGDmin(beta=0.5)
    AltGDmin(beta=0.5, separate=False)
    """
