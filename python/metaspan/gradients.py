r"""The meta-gradient of one round, and the inner loop alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core_types import CoreMethod
from ._load import core
from ._support import check, cpus
from ._support.types import F64
from .config.devices import DEVICES, core_device
from .config.engine_choice import (
    check_accumulate,
    check_device_data,
    check_route,
    check_sparse,
    check_weights,
)
from .cost.routes import cheapest_sweep
from .learned_methods import CoLearner, MetaSGD
from .linear_methods import LinearAttention
from .methods import ANIL, Method, core_method, resolve
from .parameters import (
    check_blocks,
    check_point,
    check_solvable,
    inner_loop,
    split_more,
    start_more,
)
from .sharding.agreement import agreed, guarded, require_equal
from .tasks.arrays import Data, check_sets, core_sets, require_finite
from .tasks.batch import TaskBatch, core_data
from .tasks.on_device import borrow, is_device_array, like, to_host


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    r"""A gradient of the meta-loss (3), with the adapted heads and the losses of the tasks.

    Parameters
    ----------
    B : ndarray of shape (d, k)
        Gradient with respect to the representation, the mean over tasks, in the dtype of the
        argument `B`.
    w : ndarray of shape (k,), float64
        Gradient with respect to the head, the mean over tasks.
    heads : ndarray of shape (n, k), float64
        Adapted head of every task.
    loss_in, loss_adapted, loss_out : ndarray of shape (n,), float64, or None
        Losses (1) of every task: on the inner set before and after adaptation, and on the outer set
        after adaptation. None if ``losses=False``.
    alpha : ndarray of shape (1,) or (k,), float64, or None
        Gradient with respect to the step sizes of `MetaSGD`, (34); None for other methods.
    v : ndarray of shape (k,), float64, or None
        Gradient with respect to the head of `CoLearner`, (35); None for other methods.
    A : ndarray of shape (d, k) or None
        Gradient with respect to the first factor of `LinearAttention`; None for other methods.
    """

    B: NDArray[Any]
    w: F64
    heads: F64
    loss_in: F64 | None = None
    loss_adapted: F64 | None = None
    loss_out: F64 | None = None
    alpha: F64 | None = None
    v: F64 | None = None
    A: NDArray[Any] | None = None

    @classmethod
    def _of_core(cls, parts: dict[str, Any]) -> Gradient:
        """Make a gradient from the core's arrays; faster than `__init__` of a frozen dataclass."""
        gradient = cls.__new__(cls)
        gradient.__dict__.update(parts)
        return gradient


def meta_gradient(
    B: NDArray[Any],
    w: ArrayLike,
    batch: TaskBatch,
    method: Method | str,
    *,
    losses: bool = True,
    route: str = "auto",
    accumulate: str = "float64",
    v: ArrayLike | None = None,
    threads: int | None = None,
    device: str = "cpu",
    **steps: float,
) -> Gradient:
    r"""Compute the gradient of a method's meta-loss on a batch of tasks.

    .. math:: \nabla_B = \operatorname{mean}_i (X_i^\top C_i + X_i'^\top C_i'), \qquad
              \nabla_w = \operatorname{mean}_i \omega_i

    as in (10). For a first-order method the result is the direction that its outer step uses in
    place of the gradient; see (8). Contributions are clipped (29) where the method has
    `privacy`; the noise of (30) belongs to `train`.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous; or an array of CuPy, PyTorch or JAX in the memory of a GPU.
        For a batch with a `comm`, `B` has the rows of this rank, as has the gradient.
    w : array_like of shape (k,)
        Head. `LinearAttention` takes its factors A and B in place of `B` and `w`.
    batch : TaskBatch
        The tasks, all of which are used. All ranks of its `comm` make the call.
    method : ANIL, MAML, another method, or str
        The method, or its name.
    losses : bool
        Whether to compute the losses too. For MAML, the losses may need a Gram matrix that the
        gradient does not need.
    route : {"auto", "gram", "vector"}
        "gram": from Z = X B and Gram matrices (5). "vector": by products of X with one vector at a
        time (11). The results of the two routes differ only by rounding. "auto": the cheaper route
        according to the cost model.
    accumulate : {"float64", "float32"}
        Dtype of the accumulators of sums over float32 data. "float32" needs float32 data and the
        vector route.
    v : array_like of shape (k,), or None
        Head of a `CoLearner`; None: zeros. Must be None for other methods.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    device : {"cpu", "cuda"}
        The device that computes the gradient: see docs/cuda.md.
    **steps : float
        Settings of a method given by name, such as ``alpha``, ``beta`` and ``inner_steps``.

    Returns
    -------
    Gradient
        Gradients, adapted heads and losses. If `B` is in the memory of a GPU, gradients of shape
        (d, k) are arrays of the library of `B`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a memory layout does not fit.
    ImportError, RuntimeError
        If `device` is "cuda", and the device module or the card is missing.
    MemoryError
        If the device has too little memory.

    Notes
    -----
    The Gram route reads every X at most twice. For m samples per task it takes ``n m d k``
    multiplications for `X B`, and ``n m^2 d`` more if MAML needs Gram matrices. The vector route
    makes 2 J + 2 passes of ``n m d`` multiplications each, and 2 J more passes for exact methods;
    it reads X from memory once if the data of a task fit in the cache. For sparse samples, the
    number of entries replaces ``m d``. Every pass of the vector route also takes ``n d k``
    multiplications for products with B.

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
    options = (losses, type(losses), route, accumulate, device)
    if isinstance(batch, TaskBatch) and batch._columns is not None:
        return _shared_gradient((B, w), batch, method, options, v=v, threads=threads, steps=steps)
    call = _read_call(meta_gradient, method, threads, options, **steps)
    if not isinstance(batch, TaskBatch):
        raise TypeError(f"batch must be a TaskBatch; got {check.show(batch)}")
    workers = call.threads or cpus.default_threads()
    B, w, lent = _to_host(B, w)
    B, w, route = _check_gradient(call, (B, w), batch, options, workers, v=v)
    if route == "auto":
        route = _choose_route(batch, call, B.shape[1], device)
    data = core_data(batch, one_round=True)
    parts = core.gradient_arrays(
        call.core_method, route, B, w, data, workers, call.losses, core_device(device)
    )
    _require_solved(call, parts["B"])
    parts = _split_gradient(call, parts, B.shape[1], v)
    if lent is not None:
        parts |= {name: like(lent, parts[name]) for name in ("B", "A") if name in parts}
    return Gradient._of_core(parts)


_Options = tuple[bool, type, str, str, str]
"""Arguments of `meta_gradient`: losses, the type of losses, route, accumulate, device."""


def _check_gradient(
    call: _Call,
    point: tuple[NDArray[Any], ArrayLike],
    batch: TaskBatch,
    options: _Options,
    workers: int,
    *,
    v: ArrayLike | None,
) -> tuple[NDArray[Any], F64, str]:
    """Check the point and the data of a gradient; return B, the core's w and the route."""
    _, _, route, accumulate, device = options
    B, w = _check_point(call, *point, batch.d, workers, rows=batch.rows)
    if device != "cpu":
        check_device_data(batch.is_sparse, B.shape[1], accumulate=accumulate)
    if accumulate == "float32":
        check_accumulate(accumulate, route, str(batch.dtype))
        check_sparse(batch, accumulate)
        route = "vector_float32"
    if call.core_method.solves_head:
        check_solvable(call.method, batch.least_m_in, B.shape[1])
        check_route(batch, call.method, route)
    if batch.weights is not None:
        check_weights(batch, call.method)
    if call.learns_more or v is not None:
        w = np.concatenate([w, start_more(call.method, B.shape[1], v)])
    if call.core_method.fresh_steps:
        check_blocks(call.method, batch.m_in)
    return B, w, route


def _split_gradient(
    call: _Call, parts: dict[str, Any], width: int, v: ArrayLike | None
) -> dict[str, Any]:
    """Split the core's gradient into the parts of what the method learns."""
    if call.learns_more or v is not None:
        parts |= split_more(call.method, width, parts["w"])
    return _split(call, parts)


def _shared_gradient(
    point: tuple[NDArray[Any], ArrayLike],
    batch: TaskBatch,
    method: Method | str,
    options: _Options,
    *,
    v: ArrayLike | None,
    threads: int | None,
    steps: dict[str, float],
) -> Gradient:
    """Compute the gradient on a batch whose columns are spread over ranks, see `meta_gradient`."""
    exchange = batch._exchange
    with agreed(exchange):
        call = _read_call(meta_gradient, method, threads, options, **steps)
        workers = call.threads or cpus.default_threads()
        B, w, route = _check_gradient(call, point, batch, options, workers, v=v)
        device = options[-1]
        if device != "cpu":
            raise ValueError(f"device must be 'cpu' for a batch with a comm; got {device!r}")
    described = {
        "method": str(call.method),
        "losses": str(call.losses),
        "route": route,
        "B": f"{B.shape[1]} columns of {B.dtype}",
        "w": str(w.tolist()),
    }
    require_equal(exchange, described)
    with guarded(exchange):
        if route == "auto":
            route = _choose_route(batch, call, B.shape[1], device)
        data = core_data(batch, one_round=True)
        parts = core.gradient_arrays(call.core_method, route, B, w, data, workers, call.losses)
    with agreed(exchange):
        _require_solved(call, parts["B"])
    return Gradient._of_core(_split_gradient(call, parts, B.shape[1], v))


def population_gradient(
    B: NDArray[Any],
    w: ArrayLike,
    B_star: NDArray[Any],
    heads: ArrayLike,
    method: Method | str,
    *,
    noise: float = 0.0,
    v: ArrayLike | None = None,
    threads: int | None = None,
    **steps: float,
) -> Gradient:
    r"""Compute the gradient of a method's meta-loss for infinitely many samples per task.

    The losses are :math:`\tfrac12 \|B w - B_{*} w_{*,i}\|^2 + \tfrac12 \text{noise}^2`. The
    gradient is computed in the coordinates (13) of `B` and `B_star`. As in `meta_gradient`,
    contributions are clipped, and no noise is added.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous.
    w : array_like of shape (k,)
        Head. `LinearAttention` takes its factors A and B in place of `B` and `w`.
    B_star : ndarray of shape (d, k_star), float32 or float64
        Ground truth with orthonormal columns, C-contiguous.
    heads : array_like of shape (n, k_star)
        True heads of the tasks, one per row.
    method : ANIL, MAML, another method, or str
        The method, or its name.
    noise : float
        Standard deviation of the label noise, >= 0. It adds a constant to the losses, and does not
        change the gradient.
    v : array_like of shape (k,), or None
        Head of a `CoLearner`; None: zeros. Must be None for other methods.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    **steps : float
        Settings of a method given by name, such as ``alpha``, ``beta`` and ``inner_steps``.

    Returns
    -------
    Gradient
        Gradients, adapted heads and losses.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a memory layout does not fit, or if the columns of `B_star` are not
        orthonormal.

    Notes
    -----
    Computing the coordinates takes ``O(d (k + k_star)^2)`` operations; the cost of the tasks does
    not depend on d.

    Examples
    --------
    >>> import numpy as np
    >>> B, B_star = np.eye(30, 2), np.eye(30, 2, -1)
    >>> g = population_gradient(B, [1.0, 0.0], B_star, [[1.0, 0.0]], "average-risk")
    >>> g.B[:2].tolist(), g.w.tolist()
    ([[1.0, 0.0], [-1.0, 0.0]], [1.0, -1.0])
    """
    call = _read_call(population_gradient, method, threads, **steps)
    workers = call.threads or cpus.default_threads()
    B, w = _check_point(call, B, w, None, workers)
    B_star = check.matrix("B_star", B_star, (B.shape[0], "k_star"))
    check.orthonormal("B_star", B_star, workers)
    w_star = check.small("heads", heads, ("n", B_star.shape[1]))
    check.integer("the number of heads", w_star.shape[0], 1)
    spread = check.real("noise", noise)
    learns_more = call.learns_more or v is not None
    if learns_more:
        w = np.concatenate([w, start_more(call.method, B.shape[1], v)])
    parts = core.gradient_population(call.core_method, B, w, B_star, w_star, spread, workers)
    _require_solved(call, parts["B"])
    if learns_more:
        parts |= split_more(call.method, B.shape[1], parts["w"])
    parts["B"] = parts["B"].astype(B.dtype, copy=False)
    return Gradient._of_core(_split(call, parts))


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
    device: str = "cpu",
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
    device: str = "cpu",
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
    device: str = "cpu",
    **steps: float,
) -> F64 | tuple[F64, NDArray[Any]]:
    r"""Adapt (B, w) to each of n tasks by the inner loop (2) of a method.

    Parameters
    ----------
    B : ndarray of shape (d, k), float32 or float64
        Representation, C-contiguous.
    w : array_like of shape (k,)
        Head. `LinearAttention` takes its factors A and B in place of `B` and `w`.
    X : ndarray of shape (n, m, d), or sequence of n arrays or CSR matrices of shape (m_i, d)
        Features of the tasks' samples, of the kinds that `TaskBatch` takes.
    y : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
        Responses, in the dtype of `X`.
    method : ANIL, MAML, another method, or str
        The method, or its name.
    return_B : bool
        Whether to return the adapted representations too, which have n times the size of `B`.
    check_finite : bool
        Whether to raise ValueError if the data hold a NaN or an infinity.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The bits do not depend on it.
    device : {"cpu", "cuda"}
        The device that adapts the tasks: see docs/cuda.md.
    **steps : float
        Settings of a method given by name, such as ``alpha``, ``beta`` and ``inner_steps``.

    Returns
    -------
    heads : ndarray of shape (n, k), float64
        Adapted heads.
    representations : ndarray of shape (n, d, k)
        Adapted representations, only if `return_B` is true; for ANIL each of them equals `B`. If
        `B` is in the memory of a GPU, they are an array of the library of `B`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind or dtype.
    ValueError
        If a shape, a value or a memory layout does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.ones((3, 5, 8)), np.ones((3, 5))
    >>> adapt(np.eye(8, 2), np.zeros(2), X, y, "anil", alpha=0.5)[0].round(12).tolist()
    [0.5, 0.5]
    """
    options = (True, bool, "auto", "float64", device)
    call = _read_call(adapt, method, threads, options, **steps)
    want_B = check.flag("return_B", return_B)
    want_finite = check.flag("check_finite", check_finite)
    workers = call.threads or cpus.default_threads()
    data = check_sets(("X", X), ("y", y), None, finite=False)
    # A step of the inner loop multiplies every number of dense data, so a NaN or an infinity among
    # them makes the task's head NaN or infinite. If the heads are finite, no pass over the data is
    # needed to check them.
    moves_head = call.core_method.inner_steps > 0 and call.core_method.adapt_head
    heads_tell = moves_head and not data.X.is_sparse
    if want_finite and not heads_tell:
        require_finite(data, ("X", "y"))
    B, w, lent = _to_host(B, w)
    B, w = _check_point(call, B, w, data.X.d, workers)
    if device != "cpu":
        check_device_data(data.X.is_sparse, B.shape[1])
    if call.core_method.solves_head:
        check_solvable(call.method, min(data.X.lengths()), B.shape[1])
    numbers = call.core_method
    if isinstance(call.method, LinearAttention):
        # h is the head of ANIL on B after a step from the head 0.
        B, w = np.ascontiguousarray(B[:, B.shape[1] // 2 :]), w[: w.size // 2]
        numbers = core_method(ANIL(alpha=call.method.alpha))
    if call.learns_more:
        numbers, more = inner_loop(call.method, B.shape[1])
        w = np.concatenate([w, more])
    if numbers.fresh_steps:
        for m in data.X.lengths():
            check_blocks(call.method, m)
    sets = core_sets(data, names=("X", "y", "", ""), one_round=True)
    heads, representations = core.adapt_arrays(
        numbers, B, w, sets, want_B, workers, core_device(device)
    )
    if want_finite and heads_tell and not core.all_finite(heads, 1):
        require_finite(data, ("X", "y"))
    _require_solved(call, heads)
    if representations is None:
        return heads
    return heads, representations if lent is None else like(lent, representations)


def _to_host(B: Any, w: Any) -> tuple[Any, Any, core.DeviceArray | None]:
    """Copy B and w to NumPy if they are in device memory; also return B as it was lent, or None."""
    if not is_device_array(B):
        return B, to_host(w), None
    lent = borrow("B", B)
    return lent.to_numpy(), to_host(w), lent


class _Call(NamedTuple):
    """The arguments of a call except its arrays, checked."""

    method: Method
    core_method: CoreMethod
    threads: int | None
    losses: bool
    learns_more: bool  # the outer loop learns parameters beside B and w


@check.cache_check
def _read_call(
    caller: Callable[..., Any],
    method: Method | str,
    threads: int | None,
    options: tuple[bool, type, str, str, str] = (True, bool, "auto", "float64", "cpu"),
    /,
    **steps: float,
) -> _Call:
    """Check the arguments of a call except its arrays.

    `options` holds arguments of `meta_gradient`: losses, the type of losses, route, accumulate,
    device. The type distinguishes True from 1, which are equal as keys of a cache.
    """
    chosen = resolve(method, steps, caller)
    workers = None if threads is None else check.threads(threads)
    losses, _, route, accumulate, device = options
    with_losses = check.flag("losses", losses)
    check.choice("route", route, ("auto", "gram", "vector"))
    check.choice("accumulate", accumulate, ("float64", "float32"))
    check.choice("device", device, DEVICES)
    learns_more = isinstance(chosen, (MetaSGD, CoLearner))
    return _Call(chosen, core_method(chosen), workers, with_losses, learns_more)


def _check_point(
    call: _Call,
    B: NDArray[Any],
    w: ArrayLike,
    d: int | None,
    workers: int,
    *,
    rows: int | None = None,
) -> tuple[NDArray[Any], F64]:
    """Check the point of a call; linear attention takes (A, B) and becomes [A, B] with head 0.

    B has `rows` of the d rows, or all if `rows` is None.
    """
    if isinstance(call.method, LinearAttention):
        first, second = B, w
        return stacked_factors(first, second, d, workers, rows)
    B, w = _check_arrays(B, w, d, workers, rows)
    check_point(call.method, B.shape[1], w)
    return B, w


def stacked_factors(
    A: object, B: object, d: int | None, workers: int, rows: int | None = None
) -> tuple[NDArray[Any], F64]:
    """Check the factors of linear attention; return the state [A, B] (d, 2k) and the head 0.

    The factors have `rows` of the d rows, or all if `rows` is None.
    """
    first = check.matrix("A", A, (_rows_text(rows or d), "k"))
    second = check.matrix("B", B, first.shape)
    if first.dtype != second.dtype:
        raise ValueError(f"A must have the dtype of B, {second.dtype}; got {first.dtype}")
    width = check.integer("the width of B", second.shape[1], 1)
    most = second.shape[0] if d is None else d
    if width > most:
        raise ValueError(f"B must have at most d = {most} columns; got {width}")
    for name, array in (("A", first), ("B", second)):
        check.finite(name, array, workers)
    return np.concatenate([first, second], axis=1), np.zeros(2 * width)


def _split(call: _Call, parts: dict[str, Any]) -> dict[str, Any]:
    """Split the gradient of linear attention into the parts of A and of B."""
    if not isinstance(call.method, LinearAttention):
        return parts
    k = parts["w"].size // 2
    return parts | {
        "A": parts["B"][:, :k].copy(),
        "B": parts["B"][:, k:].copy(),
        "w": parts["w"][:k],
        "heads": parts["heads"][:, :k].copy(),
    }


def _require_solved(call: _Call, result: NDArray[Any]) -> None:
    """Raise ValueError if a system (26) was singular in double precision, so its result is NaN."""
    if call.core_method.solves_head and not core.all_finite(result, 1):
        raise ValueError(
            "the head of a task cannot be solved for in double precision, since its features X B "
            "are linearly dependent, or nearly so: use RidgeANIL with a larger lam"
        )


def _choose_route(batch: TaskBatch, call: _Call, width: int, device: str) -> str:
    """Choose the cheapest route; a batch in memory remembers the choice. Rank 0 chooses for all."""
    key = (call.core_method, width, call.losses, device)
    route = batch._routes.get(key)
    if route is None:
        columns, choose = batch._columns, partial(cheapest_sweep, batch, call.method, width)
        if columns is None:
            route = choose(call.losses, device)
        else:
            batch.sparsity  # noqa: B018  (computed by all ranks, and kept)
            route = columns.from_root(choose(call.losses, device) if columns.is_root else "")
        if not batch.on_disk:  # the time to read depends on the memory that is free
            batch._routes[key] = route
    return route


def _rows_text(rows: int | None) -> int | str:
    """Return the expected number of rows; None leaves it free."""
    return "d" if rows is None else rows


def _check_arrays(
    B: NDArray[Any], w: ArrayLike, d: int | None, workers: int, rows: int | None = None
) -> tuple[NDArray[Any], F64]:
    """Check and return a representation and a head; `d` None leaves the number of features free.

    B has `rows` of the d rows, or all if `rows` is None.
    """
    rows = d if rows is None else rows
    if core.is_plain_point(B, w, -1 if rows is None else rows, workers):
        return B, w  # type: ignore[return-value]
    B = check.matrix("B", B, (_rows_text(rows), "k"))
    d = B.shape[0] if d is None else d
    width = check.integer("the width of B", B.shape[1], 1)
    if width > d:
        raise ValueError(f"B must have at most d = {d} columns; got {width}")
    check.finite("B", B, workers)
    return B, check.small("w", w, (width,))
