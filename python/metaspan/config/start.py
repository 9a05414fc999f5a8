r"""Checks the arguments `init` and `width`: the start of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._support import check
from .._support.types import F64
from ..linear_methods import LinearAttention, LinearMAML
from ..methods import Method
from ..parameters import check_point
from .options import Init, ZeroStart, column_length

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
    init: str | Init | tuple[NDArray[Any], ArrayLike] | None,
    width: int | None,
    d: int,
    k_star: int,
    method: Method,
) -> tuple[Init | GivenStart, int]:
    """Check and return the start and the learner's width; `k_star` is 0 without a ground truth."""
    if width is not None:
        width = check.integer("width", width, 1)
        if width > d:
            raise ValueError(f"width must be at most d = {d}; got {width}")
    if isinstance(init, tuple):
        if len(init) != 2:
            raise ValueError(f"init must be a pair (B0, w0); got {len(init)} values")
        if isinstance(method, LinearAttention):
            return _check_pair(init, width, d)
        given, size = _check_arrays(init, width, d)
        check_point(method, size, given.w0)
        return given, size
    is_linear = isinstance(method, LinearMAML)
    if init is None:
        init = ZeroStart() if is_linear else Init()
    if isinstance(init, str):
        check.choice("init", init, STARTS)
        init = Init() if init == "random" else Init(dist=0.7)
    if not isinstance(init, Init):
        raise TypeError(
            f"init must be {check.words(STARTS, 'or')}, an Init or a pair (B0, w0); "
            f"got {check.show(init)}"
        )
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


def _check_room(dist: float, d: int, k_star: int, width: int) -> None:
    """Raise ValueError unless d leaves room for columns orthogonal to the ground truth."""
    needed = width if dist > 0.0 else width - min(width, k_star)
    room = d - k_star
    if room < needed:
        raise ValueError(
            f"init dist = {dist:g} needs {needed} dimensions beside the ground truth; "
            f"d - k = {d} - {k_star} leaves {room}"
        )


def _check_arrays(init: tuple[Any, Any], width: int | None, d: int) -> tuple[GivenStart, int]:
    """Check and return a start given as arrays, and its width."""
    B0, w0 = init
    B0 = check.matrix("B0", B0, (d, "width" if width is None else width))
    size = check.integer("the width of B0", B0.shape[1], 1)
    if size > d:
        raise ValueError(f"B0 must have at most d = {d} columns; got {size}")
    check.finite("B0", B0, check.threads(None))
    return GivenStart(B0, check.small("w0", w0, (size,))), size


def _check_pair(init: tuple[Any, Any], width: int | None, d: int) -> tuple[GivenStart, int]:
    """Check the start (A0, B0) of linear attention; return it and its width."""
    A0, B0 = init
    shape = (d, "width" if width is None else width)
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
