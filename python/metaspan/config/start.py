r"""Checks the arguments `init` and `width`: the start of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._load import core
from .._support import check
from .._support.types import F64
from ..linear_methods import LinearAttention, LinearMAML
from ..methods import Method
from ..parameters import check_point
from ..sharding.columns import Columns
from ..solved_methods import AltGDmin
from ..tasks.on_device import to_host
from .options import CoordinateStart, FittedStart, Init, ZeroStart, column_length

if TYPE_CHECKING:
    from ..estimators.estimator import Estimator
    from ..runs.result import Result

    StartLike: TypeAlias = (
        str | Init | tuple[NDArray[Any], ArrayLike] | Estimator | AltGDmin | Result | None
    )

HASHED = 64  # entries of w0 that a hash reads
STARTS = ("random", "methodical")


class GivenStart(NamedTuple):
    """The arrays (B0, w0) at which a run starts; starts with equal arrays are equal."""

    B0: NDArray[Any]
    w0: F64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GivenStart):
            return NotImplemented
        return self.B0.dtype == other.B0.dtype and all(map(np.array_equal, self, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.B0.shape, *self.w0.ravel()[:HASHED].tolist()))


def resolve_start(
    init: StartLike,
    width: int | None,
    d: int,
    k_star: int,
    method: Method,
    *,
    shard: Columns | None = None,
) -> tuple[Init | GivenStart, int]:
    """Check and return the start and the learner's width; `k_star` is 0 without a ground truth.

    Arrays of the start of a sharded run may have all rows or the rows of this rank, which are kept.
    """
    if width is not None:
        width = check.integer("width", width, 1)
        if width > d:
            raise ValueError(f"width must be at most d = {d}; got {width}")
    if isinstance(init, tuple):
        if len(init) != 2:
            raise ValueError(f"init must be a pair (B0, w0); got {len(init)} values")
        init = (to_host(init[0]), to_host(init[1]))
        if shard is not None:
            init = (_rows_of(shard, init[0]), _rows_of(shard, init[1]))
        rows = d if shard is None else shard.size
        if isinstance(method, LinearAttention):
            return _check_pair(init, width, d, rows)
        given, size = _check_arrays(init, width, d, rows)
        check_point(method, size, given.w0)
        return given, size
    from ..runs.result import Result  # noqa: PLC0415  (results build on configurations)

    if isinstance(init, Result):
        start, columns = _start_of_result(init, width, d, k_star, method)
        if shard is not None and isinstance(start, GivenStart):
            start = GivenStart(_rows_of(shard, start.B0), _rows_of(shard, start.w0))
        return start, columns
    is_linear = isinstance(method, LinearMAML)
    init = _law_of_start(init, method)
    if width is None and k_star == 0 and not is_linear:
        raise ValueError("width must be given for a batch without a B_star; got None")
    default = 1 if is_linear else k_star
    size = default if width is None else width
    check_point(method, size)
    column_length(init, method)
    if init.dist is not None:
        if k_star == 0:
            raise ValueError(
                f"init dist must be None for a batch without a B_star; got {init.dist:g}"
            )
        _check_room(init.dist, d, k_star, size)
    return init, size


def named_start(name: str) -> Init:
    """Return the law of a start in `STARTS`."""
    return Init() if name == "random" else Init(dist=0.7)


def _law_of_start(init: object, method: Method) -> Init:
    """Return the law of a start; it is given by a name, as an estimator or as an Init."""
    from ..estimators import names  # noqa: PLC0415  (estimators build on configurations)

    if init is None:
        return ZeroStart() if isinstance(method, LinearMAML) else Init()
    if isinstance(init, str):
        check.choice("init", init, (*STARTS, *names.NAMES))
        if init in STARTS:
            return named_start(init)
        init = names.resolve_estimator(init, {})
    if isinstance(init, AltGDmin) or names.is_estimator(init):
        init = FittedStart(estimator=init)
    if not isinstance(init, Init):
        raise TypeError(
            f"init must be {check.words(STARTS, 'or')}, an estimator or its name, a Result, an "
            f"Init or a pair (B0, w0); got {check.show(init)}"
        )
    if isinstance(init, (FittedStart, CoordinateStart)):
        _check_learns_subspace(method)
    return init


def _check_learns_subspace(method: Method) -> None:
    """Raise ValueError if the method has no subspace at which it could start."""
    if isinstance(method, LinearMAML):
        raise ValueError(
            "init must be an Init or a pair (B0, w0) for LinearMAML, whose B is a regression "
            "vector and no subspace; got an estimate of a subspace"
        )


def _start_of_result(
    result: Result, width: int | None, d: int, k_star: int, method: Method
) -> tuple[Init | GivenStart, int]:
    """Return the start at the subspace of a result, as arrays or as coordinates, and its width."""
    _check_learns_subspace(method)
    config = result.config
    if len(config.trials) > 1:
        raise ValueError(
            f"init must be a Result of one trial, such as r.trial({config.trials[0]}); got one of "
            f"{len(config.trials)} trials"
        )
    size = config.width
    if width is not None and width != size:
        raise ValueError(f"width must be {size}, that of the Result in init; got {width}")
    if config.tasks.d != d:
        raise ValueError(f"init must be a Result with d = {d}; got one with d = {config.tasks.d}")
    check_point(method, size)
    if config.shard is not None:
        raise ValueError(
            "init must not be a Result whose rows are spread over ranks; got one with a comm: use "
            "init=(r.B, r.w)"
        )
    length, B = column_length(Init(), method), result._host_B
    if B is not None:
        B = B.astype(np.float64, copy=False)
        check.finite("the B of the Result in init", B, check.threads(None))
        B0 = np.ascontiguousarray(length * np.linalg.qr(B)[0])
        attends = isinstance(method, LinearAttention)
        return GivenStart(B0, B0.copy() if attends else np.zeros(size)), size
    M, R, _ = result.state
    if len(M) != k_star:
        raise ValueError(f"init must be a Result with k = {k_star}; got one with k = {len(M)}")
    columns = np.linalg.qr(np.concatenate([M, R]))[0]
    check.finite("the state of the Result in init", columns, 1)
    # The basis orthogonal to the truth is drawn at random, so its coordinates may be rotated.
    rest = np.linalg.qr(columns[k_star:])[1]
    return CoordinateStart(M=columns[:k_star], R=rest), size


def _check_room(dist: float, d: int, k_star: int, width: int) -> None:
    """Raise ValueError unless d leaves room for columns orthogonal to the ground truth."""
    needed = width if dist > 0.0 else width - min(width, k_star)
    room = d - k_star
    if room < needed:
        raise ValueError(
            f"init dist = {dist:g} needs {needed} dimensions beside the ground truth; "
            f"d - k = {d} - {k_star} leaves {room}"
        )


def _rows_of(shard: Columns, array: Any) -> Any:
    """Return this rank's rows of a matrix; return all else, such as a head, as it is."""
    is_matrix = isinstance(array, np.ndarray) and array.ndim == 2
    return shard.rows_of(array) if is_matrix else array


def _check_arrays(
    init: tuple[Any, Any], width: int | None, d: int, rows: int
) -> tuple[GivenStart, int]:
    """Check and return a start given as arrays with `rows` of the d rows, and its width."""
    B0, w0 = init
    if core.is_plain_point(B0, w0, rows, check.threads(None)) and width in (None, B0.shape[1]):
        return GivenStart(B0, w0.copy()), B0.shape[1]
    B0 = check.matrix("B0", B0, (rows, "width" if width is None else width))
    size = check.integer("the width of B0", B0.shape[1], 1)
    if size > d:
        raise ValueError(f"B0 must have at most d = {d} columns; got {size}")
    check.finite("B0", B0, check.threads(None))
    return GivenStart(B0, check.small("w0", w0, (size,))), size


def _check_pair(
    init: tuple[Any, Any], width: int | None, d: int, rows: int
) -> tuple[GivenStart, int]:
    """Check the start (A0, B0) of linear attention, with `rows` of the d rows; return its width."""
    A0, B0 = init
    shape = (rows, "width" if width is None else width)
    A0, B0 = check.matrix("A0", A0, shape), check.matrix("B0", B0, shape)
    size = check.integer("the width of B0", B0.shape[1], 1)
    if (A0.shape, A0.dtype) != (B0.shape, B0.dtype):
        raise ValueError(
            f"A0 must have the shape and dtype of B0, {B0.shape} and {B0.dtype}; "
            f"got {A0.shape} and {A0.dtype}"
        )
    if size > d:
        raise ValueError(f"B0 must have at most d = {d} columns; got {size}")
    for name, array in (("A0", A0), ("B0", B0)):
        check.finite(name, array, check.threads(None))
    return GivenStart(A0, B0), size
