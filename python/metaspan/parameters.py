r"""What the outer loop learns beside B and w, and which inner sets a method can use.

In the core the learned numbers follow w in one vector of parameters: learned step sizes (34), then
the head of a co-learner (35).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core_types import CoreMethod
from ._support import check
from ._support.types import F64
from .learned_methods import CoLearner, MetaSGD
from .linear_methods import LinearMAML
from .methods import FIXED, PER_ENTRY, Method, RidgeANIL, core_method


def count_more(method: Method, width: int) -> dict[str, int]:
    """Count the numbers that the outer loop learns beside B and w, by the name of their record.

    In the core's vector of parameters, these numbers follow w in the order of the returned names.
    """
    counts = {}
    if isinstance(method, MetaSGD):
        counts["alpha"] = width if method.per == "head" else 1
    if isinstance(method, CoLearner):
        counts["v"] = width
    return counts


def start_more(method: Method, width: int, v: ArrayLike | None = None) -> F64:
    """Return the numbers that `count_more` counts, at the start of a run or with a given head v.

    Raises ValueError if `alpha` has several step sizes but not one for each column of B, or if v
    does not fit the method or the width.
    """
    if isinstance(method, MetaSGD):
        if not isinstance(method.alpha, tuple):
            return np.full(count_more(method, width)["alpha"], method.alpha)
        if len(method.alpha) != width:
            raise ValueError(
                f"alpha must be a number or have width = {width} entries; got {len(method.alpha)}"
            )
        return np.array(method.alpha)
    if not isinstance(method, CoLearner):
        if v is not None:
            raise ValueError(f"v must be None unless the method is a CoLearner; got {method}")
        return np.empty(0)
    return np.zeros(width) if v is None else check.small("v", v, (width,))


def split_more(method: Method, width: int, parameters: F64) -> dict[str, F64]:
    """Split the parameters (..., k + more) into "w" (..., k) and the parts `count_more` names."""
    parts, first = {"w": parameters[..., :width]}, width
    for name, count in count_more(method, width).items():
        parts[name] = parameters[..., first : first + count]
        first += count
    return parts


def inner_loop(method: Method, width: int) -> tuple[CoreMethod, F64]:
    """Convert a method for the inner loop alone; also return the parameters that must follow w."""
    numbers = core_method(method)
    if numbers.step_sizes == PER_ENTRY:
        return numbers, start_more(method, width)
    return numbers._replace(step_sizes=FIXED, private_head=False), np.empty(0)


def count_inner(method: Method, m_in: int) -> int:
    """Count the inner samples of a task; with fresh steps every local step has m_in of them."""
    numbers = core_method(method)
    return m_in * numbers.inner_steps if numbers.fresh_steps else m_in


def check_blocks(method: Method, m_in: int | tuple[int, ...]) -> None:
    """Raise ValueError if the inner sets of a batch cannot be cut into equal blocks."""
    if not getattr(method, "fresh_steps", False):
        return
    numbers = core_method(method)
    for m in (m_in,) if isinstance(m_in, int) else m_in:
        if m % numbers.inner_steps:
            raise ValueError(
                f"fresh_steps=True cuts every inner set into local_steps = {numbers.inner_steps} "
                f"blocks of equal size; got an inner set of {m} samples"
            )


def check_solvable(method: Method, m: int | None, width: int) -> None:
    """Raise ValueError if m inner samples do not determine the head that a method solves for."""
    if m is None or m >= width:
        return
    numbers = core_method(method)
    if not numbers.solves_head or numbers.penalty > 0:
        return
    raise ValueError(
        f"m_in must be at least width = {width} where the head is solved for without a penalty "
        f"(26); got {m}" + (": set lam" if isinstance(method, RidgeANIL) else "")
    )


def check_point(method: Method, width: int, w: NDArray[Any] | None = None) -> None:
    """Raise ValueError if a learner of this width, or its head, does not fit the method."""
    if not isinstance(method, LinearMAML):
        return
    if width != 1:
        raise ValueError(
            f"B must have one column (width = 1) for LinearMAML, whose initial vector it is; got "
            f"width = {width}"
        )
    if w is not None and w[0] != 1.0:
        raise ValueError(
            f"w must be 1 for LinearMAML, which freezes the head at 1; got {float(w[0]):g}"
        )
