r"""Methods of meta-learning and their step sizes.

Every method takes `inner_steps` gradient steps on a task's inner (support) set, and its outer step
descends the loss on the task's outer (query) set. In the inner loop MAML moves the representation
`B` and the head `w`, and ANIL moves the head alone. First-order variants leave out the derivative
of the inner loop with respect to its start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ._core_types import CoreMethod
from ._support import check


@dataclass(frozen=True, kw_only=True)
class _Adaptive:
    """The settings of methods with an inner loop: ANIL and MAML."""

    alpha: float = 0.1
    beta: float = 0.1
    inner_steps: int = 1
    first_order: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check.real("alpha", self.alpha))
        object.__setattr__(self, "beta", check.real("beta", self.beta))
        steps = check.integer("inner_steps", self.inner_steps, 0, 10_000)
        object.__setattr__(self, "inner_steps", steps)
        object.__setattr__(self, "first_order", check.flag("first_order", self.first_order))


@dataclass(frozen=True, kw_only=True)
class ANIL(_Adaptive):
    r"""ANIL, "almost no inner loop": the inner steps move the head alone.

    .. math:: w_{j+1} = w_j - \alpha B^\top g_j, \qquad B_{j+1} = B_j

    where :math:`g_j` is the gradient of the inner loss with respect to :math:`B w_j`; see (2) and
    (3).

    Parameters
    ----------
    alpha : float
        Inner step size, >= 0.
    beta : float
        Outer step size, >= 0.
    inner_steps : int
        Number of inner steps, 0 <= J <= 10,000.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop: FO-ANIL.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Raghu, Raghu, Bengio, Vinyals, "Rapid learning or feature reuse?", ICLR 2020.

    Examples
    --------
    >>> ANIL(alpha=0.05)
    ANIL(alpha=0.05, beta=0.1, inner_steps=1, first_order=False)
    """


@dataclass(frozen=True, kw_only=True)
class MAML(_Adaptive):
    r"""MAML, model-agnostic meta-learning: the inner steps move the representation and the head.

    .. math:: w_{j+1} = w_j - \alpha B_j^\top g_j, \qquad B_{j+1} = B_j - \alpha g_j w_j^\top

    where :math:`g_j` is the gradient of the inner loss with respect to :math:`B_j w_j`; see (2) and
    (3).

    Parameters
    ----------
    alpha : float
        Inner step size, >= 0.
    beta : float
        Outer step size, >= 0.
    inner_steps : int
        Number of inner steps, 0 <= J <= 10,000.
    first_order : bool
        Whether the outer step leaves out the derivative of the inner loop: FO-MAML.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep networks",
    ICML 2017.

    Examples
    --------
    >>> MAML(inner_steps=3, first_order=True)
    MAML(alpha=0.1, beta=0.1, inner_steps=3, first_order=True)
    """


@dataclass(frozen=True, kw_only=True)
class AverageRisk:
    r"""Average risk minimisation (4): the baseline without an inner loop.

    Its step follows the gradient of the outer loss at (B, w) itself. It has no reason to learn more
    of the subspace than the direction of the mean head.

    Parameters
    ----------
    beta : float
        Step size, >= 0.

    Raises
    ------
    TypeError, ValueError
        If `beta` is not a number of at least 0.

    Examples
    --------
    >>> AverageRisk(beta=0.2)
    AverageRisk(beta=0.2)
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check.real("beta", self.beta))


Method = ANIL | MAML | AverageRisk

_NAMED: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "anil": (ANIL, {}),
    "fo-anil": (ANIL, {"first_order": True}),
    "maml": (MAML, {}),
    "fo-maml": (MAML, {"first_order": True}),
    "average-risk": (AverageRisk, {}),
}


_STEPS = ("alpha", "beta", "inner_steps")


def core_method(method: Method) -> CoreMethod:
    """Convert a method for the compiled core."""
    if isinstance(method, AverageRisk):
        return CoreMethod(0.0, method.beta, 0, adapt_B=False, exact=False)
    adapt_B, exact = isinstance(method, MAML), not method.first_order
    return CoreMethod(method.alpha, method.beta, method.inner_steps, adapt_B, exact)


def resolve(
    method: object, steps: Mapping[str, Any], call: Callable[..., Any] | None = None
) -> Method:
    r"""Return a method, given as an object or by its name with step sizes as keywords.

    Parameters
    ----------
    method : ANIL, MAML, AverageRisk or str
        A method, or one of "anil", "fo-anil", "maml", "fo-maml", "average-risk".
    steps : mapping
        The keywords of the call that none of its arguments took: the step sizes of a method that
        is given by name.
    call : callable or None
        The function that was called, for errors: an unknown keyword may be one of its arguments,
        misspelt.

    Returns
    -------
    ANIL, MAML or AverageRisk
        The method.

    Raises
    ------
    TypeError
        If `method` is of another kind, or a keyword is not a step size of the method.
    ValueError
        If the name is unknown or a step size is out of range.

    Examples
    --------
    >>> resolve("fo-anil", {"alpha": 0.3})
    ANIL(alpha=0.3, beta=0.1, inner_steps=1, first_order=True)
    """
    if isinstance(method, (ANIL, MAML, AverageRisk)):
        for name in steps:
            raise TypeError(_describe_unknown(name, method, (), call))
        return method
    if not isinstance(method, str):
        kinds = "an ANIL, a MAML, an AverageRisk or a name"
        raise TypeError(f"method must be {kinds}; got {check.show(method)}")
    kind, preset = _NAMED[check.choice("method", method, list(_NAMED))]
    accepted = [field.name for field in fields(kind) if field.name != "first_order"]
    for name in steps:
        if name not in accepted:
            raise TypeError(_describe_unknown(name, method, accepted, call))
    return kind(**steps, **preset)


def _describe_unknown(
    name: str, method: Method | str, accepted: Sequence[str], call: Callable[..., Any] | None
) -> str:
    """Make the message for an unknown keyword, with the name that was probably meant."""
    message = f"unknown keyword {name!r}: "
    if name == "first_order":
        return message + "first-order methods are 'fo-anil' and 'fo-maml', or a method with it set"
    if name in _STEPS:
        if isinstance(method, str):
            return message + f"the step sizes that {method!r} takes are {', '.join(accepted)}"
        return message + "step sizes are keywords only where the method is given by its name"
    parameters = inspect.signature(call).parameters.values() if call else ()
    arguments = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if meant := check.meant(name, [*accepted, *arguments]):
        return message + meant
    if not accepted:
        return message + "it is no argument of this call"
    return message + (
        f"it is neither an argument of this call nor one of {method!r}, which takes "
        f"{', '.join(accepted)}"
    )
