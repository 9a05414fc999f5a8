r"""One gradient, one adaptation: the building blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

from numpy.typing import ArrayLike, NDArray

from ._load import core
from ._support import check
from ._support.types import F64
from .config.engine_choice import check_accumulate, check_sparse
from .cost.routes import cheapest_sweep
from .methods import Method, core_method, resolve
from .tasks.arrays import Data, check_sets, core_sets
from .tasks.batch import TaskBatch, core_data


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    r"""Gradient of the meta-loss (3), and the losses of the tasks on the way.

    Parameters
    ----------
    B : ndarray of shape (d, k)
        Gradient by the representation, the mean over tasks, in the dtype of `B`.
    w : ndarray of shape (k,), float64
        Gradient by the head, the mean over tasks.
    heads : ndarray of shape (n, k), float64
        Adapted heads of the tasks.
    loss_in, loss_adapted, loss_out : ndarray of shape (n,), float64, or None
        Losses (1) of every task: on the inner set before and after adaptation, on the outer set
        after. None where they were not asked for.
    """

    B: NDArray[Any]
    w: F64
    heads: F64
    loss_in: F64 | None = None
    loss_adapted: F64 | None = None
    loss_out: F64 | None = None


def meta_gradient(
    B: NDArray[Any],
    w: ArrayLike,
    batch: TaskBatch,
    method: Method | str,
    *,
    losses: bool = True,
    route: str = "auto",
    accumulate: str = "float64",
    threads: int | None = None,
    **steps: float,
) -> Gradient:
    r"""Gradient of a method's meta-loss on given data.

    .. math:: \nabla_B = \operatorname{mean}_i (X_i^\top C_i + X_i'^\top C_i'), \qquad
              \nabla_w = \operatorname{mean}_i \omega_i

    as in (10). First-order methods return what they step along in place of the gradient.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous.
    w : array_like of shape (k,)
        Head.
    batch : TaskBatch
        Tasks with their data.
    method : ANIL, MAML, AverageRisk or str
        The method, or its name.
    losses : bool
        Whether to compute the losses; for MAML they may need a Gram matrix that the gradient
        does not.
    route : {"auto", "gram", "vector"}
        By Z = X B and Gram matrices, or by one vector at a time: the same numbers up to rounding.
        "auto" takes what the cost model finds cheapest.
    accumulate : {"float64", "float32"}
        In what sums over float32 data are taken; "float32" needs the vector route.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    Gradient
        Gradients and losses.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a layout does not fit.

    Notes
    -----
    The Gram route reads every X at most twice; for a width k and m samples a task it takes
    ``n m d k`` multiplications for `X B`, and ``n m^2 d`` more where MAML needs Gram matrices. The
    vector route takes ``n m d`` for each of its 2 J + 2 passes, 2 J more for exact methods, and
    reads X once where a task fits the cache. Of sparse samples, entries count in place of ``m d``,
    and every pass of the vector route takes ``n d k`` more for products with B.

    References
    ----------
    Collins, Mokhtari, Oh, Shakkottai, "MAML and ANIL provably learn representations", ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import metaspan as ms
    >>> batch = ms.LinearTasks(d=30, k=2).sample(4, 10, 10)
    >>> meta_gradient(np.eye(30, 2), np.zeros(2), batch, "anil", alpha=0.1).B.shape
    (30, 2)
    """
    chosen = resolve(method, steps, meta_gradient)
    if not isinstance(batch, TaskBatch):
        raise TypeError(f"batch must be a TaskBatch; got {check.show(batch)}")
    workers = check.threads(threads)
    B, head = _point(B, w, batch.d, workers)
    wanted = check.flag("losses", losses)
    check.choice("route", route, ("auto", "gram", "vector"))
    check_accumulate(accumulate, route, str(batch.dtype))
    check_sparse(batch, accumulate)
    if accumulate == "float32":
        route = "vector_float32"
    elif route == "auto":
        route = cheapest_sweep(batch, chosen, B.shape[1], wanted)
    found = core.gradient_arrays(
        core_method(chosen), route, B, head, core_data(batch), workers, wanted
    )
    return Gradient(**found)


def population_gradient(
    B: NDArray[Any],
    w: ArrayLike,
    B_star: NDArray[Any],
    heads: ArrayLike,
    method: Method | str,
    *,
    noise: float = 0.0,
    threads: int | None = None,
    **steps: float,
) -> Gradient:
    r"""Gradient of a method's meta-loss on infinitely many samples.

    The losses are :math:`\tfrac12 \|B w - B_{*} w_{*,i}\|^2 + \tfrac12 \text{noise}^2`; everything
    happens in the coordinates (13) of `B` and `B_star`.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous.
    w : array_like of shape (k,)
        Head.
    B_star : ndarray of shape (d, k_star)
        Ground truth with orthonormal columns, C-contiguous.
    heads : array_like of shape (n, k_star)
        Heads of the tasks.
    method : ANIL, MAML, AverageRisk or str
        The method, or its name.
    noise : float
        Standard deviation of the noise; it enters the losses alone.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    Gradient
        Gradients and losses.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a layout does not fit, or `B_star` is not orthonormal.

    Notes
    -----
    ``O(d (k + k_star)^2)`` for the coordinates; the tasks cost the same whatever d is.

    Examples
    --------
    >>> import numpy as np
    >>> B, B_star = np.eye(30, 2), np.eye(30, 2, -1)
    >>> g = population_gradient(B, [1.0, 0.0], B_star, [[1.0, 0.0]], "average-risk")
    >>> g.B[:2].tolist(), g.w.tolist()
    ([[1.0, 0.0], [-1.0, 0.0]], [1.0, -1.0])
    """
    chosen = resolve(method, steps, population_gradient)
    workers = check.threads(threads)
    check.shape("B", check.floats("B", B), ("d", "k"))
    B, head = _point(B, w, B.shape[0], workers)
    B_star = check.matrix("B_star", B_star, (B.shape[0], "k_star"))
    check.orthonormal("B_star", B_star, workers)
    w_star = check.small("heads", heads, ("n", B_star.shape[1]))
    check.integer("the number of heads", w_star.shape[0], 1)
    spread = check.real("noise", noise)
    M, R, E = core.coordinates(B, B_star, workers)
    found = core.gradient_population(core_method(chosen), M, R, head, w_star, spread, workers)
    grad_B = core.assemble(B_star, found.pop("grad_M"), E, found.pop("grad_R"), workers)
    return Gradient(B=grad_B.astype(B.dtype, copy=False), w=found.pop("grad_w"), **found)


@overload
def adapt(
    B: NDArray[Any],
    w: ArrayLike,
    X: Data,
    y: Data,
    method: Method | str,
    *,
    return_B: Literal[False] = False,
    check_finite: bool = True,
    threads: int | None = None,
    **steps: float,
) -> F64: ...
@overload
def adapt(
    B: NDArray[Any],
    w: ArrayLike,
    X: Data,
    y: Data,
    method: Method | str,
    *,
    return_B: Literal[True],
    check_finite: bool = True,
    threads: int | None = None,
    **steps: float,
) -> tuple[F64, NDArray[Any]]: ...
def adapt(
    B: NDArray[Any],
    w: ArrayLike,
    X: Data,
    y: Data,
    method: Method | str,
    *,
    return_B: bool = False,
    check_finite: bool = True,
    threads: int | None = None,
    **steps: float,
) -> F64 | tuple[F64, NDArray[Any]]:
    r"""Adapt to tasks: the inner loop (2) of a method.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous.
    w : array_like of shape (k,)
        Head.
    X : ndarray of shape (n, m, d), or sequence of n arrays or CSR matrices of shape (m_i, d)
        Features of the tasks' samples.
    y : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
        Responses.
    method : ANIL, MAML, AverageRisk or str
        The method, or its name.
    return_B : bool
        Whether to return the adapted representations too: n arrays of the size of `B`.
    check_finite : bool
        Whether to look for NaN and infinity in the data.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    **steps : float
        ``alpha``, ``beta`` and ``inner_steps`` of a method given by name.

    Returns
    -------
    heads : ndarray of shape (n, k), float64
        Adapted heads.
    representations : ndarray of shape (n, d, k)
        Adapted representations, where `return_B` asks for them; those of ANIL are `B`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a layout does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.ones((3, 5, 8)), np.ones((3, 5))
    >>> adapt(np.eye(8, 2), np.zeros(2), X, y, "anil", alpha=0.5)[0].round(12).tolist()
    [0.5, 0.5]
    """
    chosen = resolve(method, steps, adapt)
    want_B = check.flag("return_B", return_B)
    workers = check.threads(threads)
    data = check_sets(("X", X), ("y", y), None, check_finite)
    B, head = _point(B, w, data.X.d, workers)
    sets = core_sets(data, names=("X", "y", "", ""))
    heads, representations = core.adapt_arrays(core_method(chosen), B, head, sets, want_B, workers)
    return heads if representations is None else (heads, representations)


def _point(B: NDArray[Any], w: ArrayLike, d: int, workers: int) -> tuple[NDArray[Any], F64]:
    """Representation and head, checked."""
    B = check.matrix("B", B, (d, "k"))
    width = check.integer("the width of B", B.shape[1], 1)
    if width > d:
        raise ValueError(f"B must have at most d = {d} columns; got {width}")
    check.finite("B", B, workers)
    return B, check.small("w", w, (width,))
