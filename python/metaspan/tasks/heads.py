r"""Distributions of the tasks' true heads `w_star`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core_types import HeadLaw, HeadMoments
from .._load import core
from .._support import check
from .._support.types import F64

HeadFunction = Callable[[np.random.Generator, int, int], ArrayLike]


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianHeads:
    r"""Gaussian heads, :math:`w_{*} \sim N(\text{mean}, \text{cov})`.

    Parameters
    ----------
    cov : array_like of shape (k, k) or (k,), or None
        Covariance, symmetric and positive semi-definite, or its diagonal. None: the identity.
    mean : array_like of shape (k,), or None
        Mean. None: zero.

    Raises
    ------
    ValueError
        If `cov` is neither a symmetric positive semi-definite matrix nor a vector of variances, or
        if `mean` is not a vector. `LinearTasks` raises ValueError if the size of `cov` or `mean` is
        not k.

    Examples
    --------
    >>> GaussianHeads(cov=[1.0, 1.0, 0.1])
    GaussianHeads(cov=array([1. , 1. , 0.1]), mean=None)
    """

    cov: ArrayLike | None = None
    mean: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.cov is not None:
            object.__setattr__(self, "cov", _freeze(_check_covariance(self.cov)))
        if self.mean is not None:
            object.__setattr__(self, "mean", _freeze(check.small("mean", self.mean, ("k",))))


@dataclass(frozen=True, kw_only=True)
class SphereHeads:
    r"""Heads distributed uniformly on a sphere, :math:`\|w_{*}\| = \text{radius}`.

    Parameters
    ----------
    radius : float
        Radius of the sphere, >= 0.

    Raises
    ------
    TypeError, ValueError
        If `radius` is not a finite number of at least 0.

    Examples
    --------
    >>> SphereHeads(radius=2.0)
    SphereHeads(radius=2.0)
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", check.real("radius", self.radius))


@dataclass(frozen=True)
class NamedFunction:
    r"""A user's function as a file records it: its name and a hash, without its code.

    Parameters
    ----------
    name : str
        Module and qualified name of the function.
    contents : str
        Hash of the function's code and values; empty if the file contains no hash.
    """

    name: str
    contents: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and isinstance(self.contents, str)):
            raise TypeError(f"a function must be known by text; got {check.show(self.name)}")

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise TypeError(f"{self.name} cannot be called: the file holds its name, not its code")


Heads = GaussianHeads | SphereHeads | NDArray[Any] | HeadFunction


def check_heads(heads: object, k: int) -> Heads:
    """Check a law of heads of size k and return it in the form that `LinearTasks` keeps."""
    if isinstance(heads, (GaussianHeads, SphereHeads)):
        for name in ("cov", "mean"):
            moment = getattr(heads, name, None)
            if moment is not None:
                check.shape(f"the heads' {name}", moment, (k,) * moment.ndim)
        return heads
    if isinstance(heads, type):
        raise TypeError(f"heads must be an instance: use {heads.__name__}()")
    if callable(heads):
        return heads
    if not isinstance(heads, (np.ndarray, list, tuple)):
        raise TypeError(
            "heads must be a GaussianHeads, a SphereHeads, an array (n, k) or a function "
            f"(generator, n, k) -> (n, k); got {check.show(heads)}"
        )
    table = check.small("heads", heads, ("n", k))
    check.integer("the number of fixed heads", table.shape[0], 1)
    return _freeze(table)


def core_law(heads: Heads) -> HeadLaw:
    """Convert a law of heads for the core; heads drawn by a function are passed to every round."""
    if isinstance(heads, GaussianHeads):
        factor = None if heads.cov is None else _factorize(np.asarray(heads.cov))
        mean = None if heads.mean is None else np.asarray(heads.mean)
        return HeadLaw("gaussian", mean=mean, factor=factor)
    if isinstance(heads, SphereHeads):
        return HeadLaw("sphere", radius=heads.radius)
    if isinstance(heads, np.ndarray):
        return HeadLaw("table", table=heads)
    return HeadLaw("given")


def core_moments(heads: Heads, k: int) -> HeadMoments:
    """Convert a law of heads for the limit; raise TypeError for a function."""
    if isinstance(heads, SphereHeads):
        return HeadMoments("sphere", radius=heads.radius)
    if isinstance(heads, GaussianHeads):
        mean = np.zeros(k) if heads.mean is None else np.asarray(heads.mean)
        return HeadMoments("gaussian", mean=mean, covariance=covariance(heads, k))
    if isinstance(heads, np.ndarray):
        return HeadMoments("array", rows=heads)
    raise TypeError(
        "heads must be a law or an array in the limit, since the moments of a function are not "
        f"known; got {check.show(heads)}"
    )


def covariance(heads: Heads, k: int) -> F64:
    """Return the (k, k) covariance of heads that are Gaussian, or uniform on a sphere."""
    if isinstance(heads, SphereHeads):
        return heads.radius**2 / k * np.eye(k)
    assert isinstance(heads, GaussianHeads)
    if heads.cov is None:
        return np.eye(k)
    cov = np.asarray(heads.cov)
    return np.diag(cov) if cov.ndim == 1 else cov


def draw(heads: Heads, n: int, k: int, key: tuple[int, int, int]) -> F64:
    """Draw the (n, k) heads of one round; `key` is (seed, trial, round)."""
    if callable(heads):
        return call(heads, n, k, core.derive_key(*key, core.STREAM_USER))
    return core.heads(core_law(heads), *key, n, k)


def draw_pool(heads: Heads, size: int, k: int, seed: int, trial: int) -> F64:
    """Draw the (size, k) heads of one trial's pool, from a random stream that no round uses."""
    key = core.derive_key(seed, trial, 0, core.STREAM_POOL)
    if callable(heads):
        return call(heads, size, k, key)
    return core.heads(core_law(heads), key, trial, 0, size, k)


def call(heads: HeadFunction, n: int, k: int, key: int) -> F64:
    """Draw (n, k) heads by one call of the user's function; `key` seeds its generator."""
    generator = np.random.Generator(np.random.Philox(key=key))
    return check.small("what heads() returns", heads(generator, n, k), (n, k))


def _check_covariance(cov: ArrayLike) -> F64:
    """Check a covariance; return an exactly symmetric matrix, or a vector of variances."""
    ndim = np.ndim(check.rectangular("cov", cov))
    array = check.small("cov", cov, ("k",) if ndim == 1 else ("k", "k"))
    if ndim == 1:
        if array.size and array.min() < 0:
            raise ValueError(f"cov must hold variances >= 0; got {array.min():g}")
        return array
    check.shape("cov", array, (array.shape[0], array.shape[0]))
    scale = float(np.abs(array).max(initial=0.0))
    asymmetry = 2.0 * float(np.abs(0.5 * array - 0.5 * array.T).max(initial=0.0))
    if asymmetry > 1e-10 * scale:
        raise ValueError(
            f"cov must be symmetric; the largest entry of |cov - cov^T| is {asymmetry:.2g}"
        )
    array = 0.5 * array + 0.5 * array.T
    least = float(np.linalg.eigvalsh(array).min(initial=0.0))
    if least < -1e-10 * scale:
        raise ValueError(
            f"cov must be positive semi-definite; its smallest eigenvalue is {least:.2g}"
        )
    return array


def _factorize(cov: F64) -> F64:
    """Return L with L L^T = cov: a lower triangular matrix, or its diagonal if cov is diagonal.

    The nested loops compute a Cholesky factorisation that skips pivots which are zero up to
    rounding. LAPACK is not called, since its results have different bits on different machines, and
    heads must have the same bits on all machines.
    """
    if cov.ndim == 1 or not np.any(cov - np.diag(np.diagonal(cov))):
        return np.sqrt(np.maximum(cov if cov.ndim == 1 else np.diagonal(cov), 0.0))
    k = cov.shape[0]
    rest = cov.tolist()
    lower = np.zeros((k, k))
    floor = k * np.finfo(np.float64).eps * max(rest[j][j] for j in range(k))
    for j in range(k):
        if rest[j][j] <= floor:
            continue
        root = math.sqrt(rest[j][j])
        column = [rest[i][j] / root for i in range(j, k)]
        lower[j:, j] = column
        for i in range(j + 1, k):
            for l in range(j + 1, i + 1):  # noqa: E741
                rest[i][l] -= column[i - j] * column[l - j]
    return lower


def _freeze(array: F64) -> F64:
    """Make an array read-only, and return it."""
    array.flags.writeable = False
    return array
