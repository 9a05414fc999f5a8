r"""Methods of meta-learning and their step sizes.

A method adapts parameters to the inner (support) set of each task, starting at the representation
`B` and the head `w`, and its outer step moves `B` and `w` by what the tasks of a round contribute.
MAML and ANIL adapt by gradient steps, and a task contributes the gradient of the loss on its outer
(query) set. In FedAvg and Reptile a task contributes the moves of its inner loop. RidgeANIL, and
FedRep and AltGDmin of `solved_methods`, solve for the head of each task. LinearMAML and
LinearAttention, of `linear_methods`, learn no head: they learn an initial regression vector and a
layer with two factors. MetaSGD and CoLearner, of `learned_methods`, learn a representation, a head
and, beside them, an inner step size or a second head.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_args

import numpy as np

from ._core_types import CoreMethod
from ._support import check
from .learned_methods import CoLearner, MetaSGD
from .linear_methods import LinearAttention, LinearMAML
from .method_bases import MOVES, Adaptive, BaseMethod, fields_in_order
from .outer_step import core_step
from .solved_methods import AltGDmin, FedRep

# Values of the core's Contribution.
OUTER_GRADIENT, INNER_MOVES, INNER_GRADIENT, ATTENTION = 0, 1, 2, 3
FIXED, ONE, PER_ENTRY = 0, 1, 2  # values of the core's StepSizes


@dataclass(frozen=True, kw_only=True, repr=False)
class ANIL(Adaptive):
    r"""ANIL, "almost no inner loop": the inner steps move only the head.

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
    outer : {"both", "body", "head"}
        What the outer step moves: `B` and `w`, `B` alone, or `w` alone. With "body" and w = 0, ANIL
        with one inner step is a linear-attention layer with the tied weights alpha B B^T.
    beta_head : float or None
        Outer step size of `w`, >= 0; None: `beta`.
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
    Raghu, Raghu, Bengio, Vinyals, "Rapid learning or feature reuse?", ICLR 2020.

    Examples
    --------
    >>> ANIL(alpha=0.05)
    ANIL(alpha=0.05, beta=0.1, inner_steps=1, first_order=False)
    """


@dataclass(frozen=True, kw_only=True, repr=False)
class MAML(Adaptive):
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
    outer : {"both", "body", "head"}
        What the outer step moves: `B` and `w`, `B` alone, or `w` alone.
    beta_head : float or None
        Outer step size of `w`, >= 0; None: `beta`.
    moves : {"both", "head", "body"}
        What the inner loop moves. "head" is ANIL. "body" moves `B` alone; while w = 0 the inner
        loop then moves nothing, so a run needs a nonzero head at its start.
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
    Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep networks",
    ICML 2017.

    Examples
    --------
    >>> MAML(inner_steps=3, first_order=True)
    MAML(alpha=0.1, beta=0.1, inner_steps=3, first_order=True)
    """

    moves: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        check.choice("moves", self.moves, MOVES)


@dataclass(frozen=True, kw_only=True, repr=False)
class AverageRisk(BaseMethod):
    r"""Average risk minimisation (4): the baseline without an inner loop.

    The step follows the gradient of the outer loss at (B, w) itself. Since (B, w) is not adapted to
    tasks, `B` learns no more of the subspace than the direction of the mean head.

    Parameters
    ----------
    beta : float
        Step size, >= 0.
    outer : {"both", "body", "head"}
        What the step moves: `B` and `w`, `B` alone, or `w` alone.
    beta_head : float or None
        Step size of `w`, >= 0; None: `beta`.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> AverageRisk(beta=0.2)
    AverageRisk(beta=0.2)
    """

    beta: float = 0.1
    outer: str = "both"
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_outer()


@dataclass(frozen=True, kw_only=True, repr=False)
class _LocalSteps(BaseMethod):
    """The settings of methods that average the moves of local steps: FedAvg and Reptile."""

    alpha: float = 0.1
    local_steps: int = 2
    server_step: float = 1.0
    fresh_steps: bool = False
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("alpha")
        self._set_real("server_step")
        self._set_beta_head()
        steps = check.integer("local_steps", self.local_steps, 1, 10_000)
        object.__setattr__(self, "local_steps", steps)
        object.__setattr__(self, "fresh_steps", check.flag("fresh_steps", self.fresh_steps))


@dataclass(frozen=True, kw_only=True, repr=False)
class FedAvg(_LocalSteps):
    r"""Federated averaging: B and w step towards their mean over tasks after local steps.

    .. math:: B \leftarrow B + \epsilon \operatorname{mean}_i (B_{i,\tau} - B), \qquad
              w \leftarrow w + \epsilon \operatorname{mean}_i (w_{i,\tau} - w)

    where each task takes :math:`\tau` gradient steps on `B` and `w` over its inner set, as the
    inner loop of MAML does; see (25). If there is an outer set, it serves only to measure losses.
    With one local step the method is `AverageRisk` on the inner set, with
    ``beta = alpha * server_step`` and, for `w`, ``alpha`` times the server's step of `w`.

    By default all local steps of a task in a round use one data set. If the number of features d is
    much larger than the number of samples m in this set, two or more steps are stable only for step
    sizes of order m / d once the head has grown. With `fresh_steps` every local step has samples of
    its own, so no step sees a residual that an earlier step has fitted.

    Parameters
    ----------
    alpha : float
        Step size of the local steps, >= 0.
    local_steps : int
        Number of local steps :math:`\tau`, 1 to 10,000.
    server_step : float
        Step :math:`\epsilon` of the server along the mean move, >= 0; 1 moves B and w to the mean
        itself.
    beta_head : float or None
        Step size of the server for `w`, >= 0; `server_step` is then the step size for `B` only.
        None: `server_step`. The server adds `beta_head` times the mean change
        :math:`\operatorname{mean}_i (w_{i,\tau} - w)` to `w`; this change already contains `alpha`.
        With 0, `w` keeps its value from the start of the run, although local steps still change the
        tasks' copies of `w`.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.
    fresh_steps : bool
        Whether every local step uses samples of its own. If samples are drawn, each local step has
        `m_in` samples; the inner set of a task of a batch is cut into `local_steps` blocks of equal
        size, one for each local step.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-efficient learning of deep
    networks from decentralized data", AISTATS 2017.

    Examples
    --------
    >>> FedAvg(local_steps=5)
    FedAvg(alpha=0.1, local_steps=5, server_step=1.0)
    """


@dataclass(frozen=True, kw_only=True, repr=False)
class Reptile(_LocalSteps):
    r"""Reptile: `FedAvg` whose server step is 0.5 by default.

    Parameters
    ----------
    alpha : float
        Step size of the local steps, >= 0.
    local_steps : int
        Number of local steps, 1 to 10,000.
    server_step : float
        Step of the server along the mean move, >= 0.
    beta_head : float or None
        Step size of the server for `w`, >= 0, as in `FedAvg`. None: `server_step`.
    step : OuterStep or None
        How the outer step uses earlier gradients, and its schedule; None: a plain step.
    privacy : UserDP or None
        Clipping of the tasks' contributions, and noise; None: neither.
    fresh_steps : bool
        Whether every local step uses samples of its own, see `FedAvg`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    Nichol, Achiam, Schulman, "On first-order meta-learning algorithms", 2018.

    Examples
    --------
    >>> Reptile(local_steps=3)
    Reptile(alpha=0.1, local_steps=3, server_step=0.5)
    """

    server_step: float = 0.5


@dataclass(frozen=True, kw_only=True, repr=False)
class RidgeANIL(BaseMethod):
    r"""ANIL that solves for the head of a task in closed form, by ridge regression on `X B`.

    .. math:: w_i = \operatorname{argmin}_v \tfrac{1}{2 m_\text{in}} \| X B v - y \|^2
              + \tfrac{\lambda}{2} \| v - w \|^2

    See (26). The exact outer gradient differentiates through the solution; the first-order gradient
    does not.

    Parameters
    ----------
    lam : float
        Penalty :math:`\lambda`, >= 0. With 0 the head is the least-squares solution, which needs at
        least as many inner samples as `B` has columns.
    beta : float
        Outer step size, >= 0.
    first_order : bool
        Whether the outer step leaves out the derivative of the solution.
    outer : {"both", "body", "head"}
        What the outer step moves: `B` and `w`, `B` alone, or `w` alone.
    beta_head : float or None
        Outer step size of `w`, >= 0; None: `beta`.
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
    Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers",
    ICLR 2019.

    Examples
    --------
    >>> RidgeANIL(lam=0.01)
    RidgeANIL(lam=0.01, beta=0.1, first_order=False)
    """

    lam: float = 0.1
    beta: float = 0.1
    first_order: bool = False
    outer: str = "both"
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("lam")
        self._set_outer()
        object.__setattr__(self, "first_order", check.flag("first_order", self.first_order))


Method = (
    ANIL
    | MAML
    | AverageRisk
    | FedAvg
    | Reptile
    | RidgeANIL
    | FedRep
    | AltGDmin
    | LinearMAML
    | LinearAttention
    | MetaSGD
    | CoLearner
)
KINDS: tuple[type[Method], ...] = get_args(Method)

_NAMED: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "anil": (ANIL, {}),
    "fo-anil": (ANIL, {"first_order": True}),
    "maml": (MAML, {}),
    "fo-maml": (MAML, {"first_order": True}),
    "average-risk": (AverageRisk, {}),
    "fedavg": (FedAvg, {}),
    "reptile": (Reptile, {}),
    "ridge-anil": (RidgeANIL, {}),
    "fedrep": (FedRep, {}),
    "altgdmin": (AltGDmin, {}),
    "linear-maml": (LinearMAML, {}),
    "linear-attention": (LinearAttention, {}),
    "meta-sgd": (MetaSGD, {}),
    "co-learner": (CoLearner, {}),
}

SETTINGS = tuple(dict.fromkeys(field.name for kind in KINDS for field in fields(kind)))


def core_method(method: Method, tasks: int = 1) -> CoreMethod:
    """Convert a method for the compiled core.

    `tasks` is the number of tasks in a round, by which reduce="sum" multiplies the step size.
    """
    numbers = _core_method(method, tasks)
    step = core_step(method.step, orthonormal=isinstance(method, AltGDmin))
    if step is not None:
        numbers = numbers._replace(step=step)
    if method.step is not None and method.step.clip is not None:
        return numbers._replace(clip=method.step.clip)
    if method.privacy is None:
        return numbers
    return numbers._replace(clip=method.privacy.clip, multiplier=method.privacy.multiplier)


def block_count(method: Method) -> int:
    """Return the number of arrays of the size of B that the outer step uses, B included."""
    return 1 if method.step is None else 1 + len(method.step.memory)


def adds_noise(method: Method) -> bool:
    """Return whether a round adds noise to the mean gradient, (30)."""
    return core_method(method).multiplier > 0.0


def _core_method(method: Method, tasks: int) -> CoreMethod:
    """Convert a method for the compiled core, except for the outer step, clipping and noise."""
    if isinstance(method, (FedAvg, Reptile)):
        step = method.server_step
        return CoreMethod(
            method.alpha,
            step,
            method.local_steps,
            adapt_B=True,
            exact=False,
            beta_head=step if method.beta_head is None else method.beta_head,
            contribution=INNER_MOVES,
            fresh_steps=method.fresh_steps and method.local_steps > 1,
        )
    if isinstance(method, (FedRep, AltGDmin)):
        contribution = OUTER_GRADIENT if method.separate else INNER_GRADIENT
        return CoreMethod(
            0.0,
            method.beta * (tasks if method.reduce == "sum" else 1),
            1,
            adapt_B=False,
            exact=False,
            beta_head=0.0,
            contribution=contribution,
            solves_head=True,
        )
    if isinstance(method, LinearMAML):
        return _core_linear_maml(method)
    return _core_outer_gradient(method)


def _core_outer_gradient(
    method: ANIL | MAML | AverageRisk | RidgeANIL | LinearAttention | MetaSGD | CoLearner,
) -> CoreMethod:
    """Convert a method that contributes the gradient of an outer loss."""
    if isinstance(method, LinearAttention):
        return _core_linear_attention(method)
    beta = method.beta if method.outer != "head" else 0.0
    beta_head = method.beta if method.beta_head is None else method.beta_head
    if method.outer == "body":
        beta_head = 0.0
    if isinstance(method, AverageRisk):
        return CoreMethod(0.0, beta, 0, adapt_B=False, exact=False, beta_head=beta_head)
    if isinstance(method, RidgeANIL):
        return CoreMethod(
            0.0,
            beta,
            1,
            adapt_B=False,
            exact=not method.first_order,
            beta_head=beta_head,
            solves_head=True,
            penalty=method.lam,
        )
    return _with_more(method, beta, beta_head)


def _with_more(
    method: ANIL | MAML | MetaSGD | CoLearner, beta: float, beta_head: float
) -> CoreMethod:
    """Convert a method with inner gradient steps, and what its outer loop learns beside B and w."""
    moves = "head" if isinstance(method, ANIL) else method.moves
    numbers = CoreMethod(
        float(np.mean(method.alpha)) if isinstance(method.alpha, tuple) else method.alpha,
        beta,
        method.inner_steps,
        adapt_B=moves != "head",
        exact=not method.first_order,
        beta_head=beta_head,
        adapt_head=moves != "body",
    )
    if isinstance(method, MetaSGD):
        return numbers._replace(
            step_sizes=PER_ENTRY if method.per == "head" else ONE,
            beta_alpha=method.beta if method.beta_alpha is None else method.beta_alpha,
        )
    if isinstance(method, CoLearner):
        return numbers._replace(private_head=True, private_weight=method.gamma)
    return numbers


def _core_linear_maml(method: LinearMAML) -> CoreMethod:
    """Convert a LinearMAML: the inner loop and the outer step move B alone."""
    return CoreMethod(
        method.alpha,
        method.beta,
        method.inner_steps,
        adapt_B=True,
        exact=not method.first_order,
        beta_head=0.0,
        adapt_head=False,
    )


def _core_linear_attention(method: LinearAttention) -> CoreMethod:
    """Convert a LinearAttention: one inner step from the head 0 on the state [A, B]."""
    return CoreMethod(
        method.alpha,
        method.beta,
        1,
        adapt_B=False,
        exact=False,
        beta_head=0.0,
        contribution=ATTENTION,
    )


def state_columns(method: Method, width: int) -> int:
    """Return the number of columns of the core's state: [A, B] for linear attention, else B."""
    return 2 * width if isinstance(method, LinearAttention) else width


def step_size(method: Method) -> float:
    """Return the inner step size, or the largest one of several; 0 for a method without one."""
    alpha = getattr(method, "alpha", 0.0)
    return max(alpha) if isinstance(alpha, tuple) else alpha


def display_name(method: Method) -> str:
    """Name a method as papers do."""
    if isinstance(method, AverageRisk):
        return "average risk"
    if isinstance(method, LinearMAML):
        return f"{'FO ' if method.first_order else ''}linear MAML"
    if isinstance(method, LinearAttention):
        return "linear attention"
    kind = type(method).__name__
    if isinstance(method, (MetaSGD, CoLearner)):
        name = "Meta-SGD" if isinstance(method, MetaSGD) else "Co-learner"
        return f"FO-{name}" if method.first_order else name
    if isinstance(method, (ANIL, MAML)):
        return f"{'FO-' if method.first_order else 'Exact '}{kind}"
    return f"FO-{kind}" if getattr(method, "first_order", False) else kind


def resolve(
    method: object, steps: Mapping[str, Any], call: Callable[..., Any] | None = None
) -> Method:
    r"""Return a method, given as an object or by its name with step sizes as keywords.

    Parameters
    ----------
    method : method or str
        A method, or its name: "anil", "fo-anil", "maml", "fo-maml", "average-risk", "fedavg",
        "reptile", "ridge-anil", "fedrep", "altgdmin", "linear-maml", "linear-attention", "meta-sgd"
        or "co-learner".
    steps : mapping
        The keywords of the call that are not among its named arguments: the settings of a method
        that is given by name.
    call : callable or None
        The function that was called: for an unknown keyword the error suggests an argument of this
        function that may have been misspelt.

    Returns
    -------
    method
        The method.

    Raises
    ------
    TypeError
        If `method` is of another kind, or a keyword is not a setting of the method.
    ValueError
        If the name is unknown or a setting is out of range.

    Examples
    --------
    >>> resolve("fo-anil", {"alpha": 0.3})
    ANIL(alpha=0.3, beta=0.1, inner_steps=1, first_order=True)
    """
    if isinstance(method, KINDS):
        for name in steps:
            raise TypeError(_describe_unknown(name, method, (), call))
        return method
    if not isinstance(method, str):
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise TypeError(f"method must be an {kinds}, or a name; got {check.show(method)}")
    kind, preset = _NAMED[check.choice("method", method, list(_NAMED))]
    accepted = _settings_of(method)
    for name in steps:
        if name not in accepted:
            raise TypeError(_describe_unknown(name, method, accepted, call))
    return kind(**steps, **preset)


@cache
def _settings_of(method: str) -> tuple[str, ...]:
    """Return the settings of a method that is given by its name, which may set `first_order`."""
    kind, _ = _NAMED[method]
    named = "first_order" if kind in (ANIL, MAML) else ""
    return tuple(field.name for field in fields_in_order(kind) if field.name != named)


def _describe_unknown(
    name: str, method: Method | str, accepted: Sequence[str], call: Callable[..., Any] | None
) -> str:
    """Make the message for an unknown keyword, with the name that was probably meant."""
    message = f"unknown keyword {name!r}: "
    by_name = isinstance(method, str)
    if name == "first_order" and by_name:
        return message + "first-order methods are 'fo-anil' and 'fo-maml', or a method with it set"
    if name in SETTINGS:
        if by_name:
            return message + f"the settings that {method!r} takes are {', '.join(accepted)}"
        return message + "settings are keywords only where the method is given by its name"
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
