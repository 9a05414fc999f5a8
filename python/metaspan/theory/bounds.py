r"""The Cramer-Rao bound for a shared representation, (64)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .._support import check
from .._support.types import F64
from ..tasks.linear import MAX_COUNT, LinearTasks
from ..tasks.moments import second_moment
from .rates import require_no_spectrum


def cramer_rao(
    tasks: LinearTasks, n: ArrayLike, m: int, *, known_heads: bool = False
) -> float | F64:
    r"""Return the least dist of an unbiased estimate of the subspace, to leading order, (64).

    The Fisher information of n tasks of m samples about the entries of B off the truth is
    :math:`I_j = n (m - k) \lambda_j / \sigma^2` in column j, where :math:`\lambda_j` are the
    eigenvalues of the heads' second moment; for known heads m replaces m - k. The errors then form
    a normal matrix (d - k, k) whose columns have variances :math:`1 / I_j`. Its norm is the tangent
    of the largest angle. The function approximates it by its value for large matrices, the upper
    edge of the spectrum.

    Parameters
    ----------
    tasks : LinearTasks
        The distribution of the tasks; a `spread` counts as noise. The heads must span all k
        dimensions.
    n : array_like
        Numbers of tasks, > 0. For known heads only the number of samples, n times m, matters.
    m : int
        Number of samples of a task, above k unless the heads are known.
    known_heads : bool
        Whether the estimate knows the heads of the tasks.

    Returns
    -------
    float or ndarray of the shape of `n`, float64
        The sine of the largest angle.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if the heads do not span all k
        dimensions, or if the features have a spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=100, k=5, noise=1.0, heads=ms.GaussianHeads(cov=np.full(5, 0.2)))
    >>> cramer_rao(tasks, [400, 1600], m=25).round(3)
    array([0.287, 0.148])
    """
    if not isinstance(tasks, LinearTasks):
        raise TypeError(f"tasks must be a LinearTasks; got {check.show(tasks)}")
    require_no_spectrum(tasks, "(64)")
    least = 1 if check.flag("known_heads", known_heads) else tasks.k + 1
    m = check.integer("m", m, least, MAX_COUNT)
    counts = check.reals("n", n)
    if counts.size and not counts.min() > 0.0:
        raise ValueError(f"n must be > 0; got {counts.min():g}")
    values = np.linalg.eigvalsh(second_moment(tasks.heads, tasks.k)).astype(np.float64, copy=False)
    if not values[0] > tasks.k * np.finfo(float).eps * values[-1]:
        raise ValueError("the heads must reach every direction for a bound; their mu_star is 0")
    noise = math.hypot(tasks.noise, tasks.spread)
    edge = _largest_eigenvalue(1.0 / ((m - least + 1) * values), tasks.d - tasks.k)
    with np.errstate(over="ignore"):
        tan2 = noise * noise * edge / counts
    sine: F64 = np.sin(np.arctan(np.sqrt(tan2)))
    return float(sine) if np.ndim(n) == 0 else sine


def _largest_eigenvalue(variances: F64, rows: int) -> float:
    """Return the upper edge of the spectrum of X^T X, with normal columns of these variances.

    The edge is the least value of rows / h + sum v / (1 - v h) for 0 < h < 1 / max v, which is v
    (sqrt(rows) + sqrt(k))^2 for equal variances.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415

    top = float(variances.max())
    if rows == 0 or top == 0.0:
        return 0.0
    shares = variances / top
    if shares.min() == 1.0:
        return top * (math.sqrt(rows) + math.sqrt(shares.size)) ** 2
    edge = minimize_scalar(
        lambda h: rows / h + float((shares / (1.0 - shares * h)).sum()),
        bounds=(1e-12, 1.0 - 1e-12),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return top * float(edge.fun)
