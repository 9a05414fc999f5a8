r"""Estimates that learners make from m samples of a task, and closed forms of excess risks.

Vectors are given by coordinates: first the coordinates of (13), along `B_star` and E, and then
further coordinates that the samples need. Data X (b, rows, columns) and y (b, rows) of b tasks give
estimates (b, columns). The rows represent m samples, but there may be fewer than m rows, since
estimates depend on X^T X and X^T y alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .._core_types import CoreMethod
from .._load import core
from .._support import check, memory
from .._support.types import F64
from ..tasks.arrays import core_sets, sets_of
from ..tasks.linear import LinearTasks

ChiSquare = Callable[[int, int], F64]  # maps degrees of freedom and a place to (n,) draws
BLOCK = 2**20  # random numbers of samples that are drawn at once
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class HeadMoments:
    """Moments of the tasks that closed forms need."""

    mean: F64  # (k_star,), mean of the heads
    cov: F64  # (k_star, k_star), covariance of the heads
    variance: float  # variance of the noise
    known: bool  # whether mean and cov are exact; otherwise they come from a sample of heads
    xi_variance: float = 0.0  # variance of an entry of xi, (33)
    d: int = 0  # number of features, which is used with xi only

    def inside(self, p: int) -> float:
        """E ||theta||^2 in the span of p orthonormal vectors that contains B_star."""
        return self.signal + p * self.xi_variance

    def xi_outside(self, p: int) -> float:
        """E ||xi||^2 orthogonal to p orthonormal vectors."""
        return (self.d - p) * self.xi_variance

    @property
    def second(self) -> F64:
        """Second moment of the heads, E w_star w_star^T: (k_star, k_star)."""
        return self.cov + np.outer(self.mean, self.mean)

    @property
    def signal(self) -> float:
        """Mean squared length of the heads, E ||w_star||^2."""
        return float(np.trace(self.second))


@dataclass(frozen=True)
class InnerLoop:
    """The inner loop (2) of a method, started from [M; R] and w."""

    method: CoreMethod
    C: F64  # (D, k): [M; R]
    w: F64  # (k,)
    m: int
    threads: int
    more: F64 = field(default_factory=partial(np.empty, 0))  # step sizes that follow w in the core

    @property
    def reach(self) -> bool:
        """Whether the estimate may have components outside the first D coordinates."""
        return self.method.adapt_B and self.method.inner_steps > 0

    @property
    def keeps_rows(self) -> bool:
        """Whether the estimate depends on each sample: fresh steps use blocks of the samples."""
        return self.method.fresh_steps

    def expected(self, law: HeadMoments) -> float | None:
        r"""Compute the mean excess risk; None if it has no short closed form.

        Without an inner step, the estimate is B w. One step of ANIL on Gaussian samples moves the
        estimate by alpha B B^T times a gradient whose mean and covariance are known. One step of
        MAML moves the estimate in the same way only if w is zero; otherwise the step also moves B.
        """
        alpha, steps, adapt_B = self.method.alpha, self.method.inner_steps, self.method.adapt_B
        if self.method.solves_head or self.more.size:
            return None
        at_rest = not self.method.adapt_head and not self.w.any()
        still = alpha == 0.0 or steps == 0 or at_rest
        if not law.known or not (still or (steps == 1 and not (adapt_B and self.w.any()))):
            return None
        D, k_star = self.C.shape[0], law.mean.size
        error = self.C @ self.w - _pad(law.mean, D)
        A = np.outer(error, error)
        A[:k_star, :k_star] += law.cov
        A[np.diag_indices(D)] += law.xi_variance
        outside = law.xi_outside(D)  # off the D coordinates the estimate is zero
        if still:
            return 0.5 * (float(np.trace(A)) + outside)
        H = self.C @ self.C.T
        variance = law.variance + outside
        scatter = _trace_product(H, A) + (float(np.trace(A)) + variance) * float((H * H).sum())
        shrunk = _trace_product(np.eye(D) - alpha * H, A) + outside
        return 0.5 * (shrunk + alpha * alpha / self.m * scatter)

    def estimate(self, X: F64, y: F64) -> F64:
        """Return B_J w_J of every task, (b, columns)."""
        scale = math.sqrt(y.shape[1] / self.m)  # the core divides by the number of rows
        B = _pad(self.C.T, X.shape[2]).T.copy()
        sets = core_sets(sets_of(X * scale, y * scale))
        w = np.concatenate([self.w, self.more])
        heads, moved = core.adapt_arrays(self.method, B, w, sets, self.reach, self.threads)
        return heads @ B.T if moved is None else _multiply(moved, heads)


@dataclass(frozen=True)
class ContextLayer:
    """The layer of linear attention, (32), in the coordinates [M; R] of A and of B."""

    alpha: float
    A: F64  # (D, k)
    C: F64  # (D, k): B
    m: int
    reach = False
    keeps_rows = False

    def expected(self, law: HeadMoments) -> float | None:
        r"""Compute the mean excess risk; None if the moments of the heads are unknown.

        The estimate is G (S theta + X^T z / m) with G = alpha A B^T. The Wishart moment of
        `InnerLoop.expected` gives its mean and covariance.
        """
        if not law.known:
            return None
        D, k_star = self.C.shape[0], law.mean.size
        G = self.alpha * self.A @ self.C.T
        second = np.diag(np.full(D, law.xi_variance))
        second[:k_star, :k_star] += law.second
        outside = law.xi_outside(D)  # off the D coordinates the estimate is zero
        squared = float(np.trace(second)) + outside + law.variance
        scatter = _trace_product(G, second) + squared * float((G * G).sum())
        return 0.5 * (_trace_product(G - np.eye(D), second) + outside + scatter / self.m)

    def estimate(self, X: F64, y: F64) -> F64:
        """Return alpha A B^T X^T y / m of every task, (b, columns)."""
        moment = self.alpha / self.m * _multiply(X.transpose(0, 2, 1), y)
        h = moment @ _pad(self.C.T, X.shape[2]).T
        return h @ _pad(self.A.T, X.shape[2])


@dataclass(frozen=True)
class Regression:
    r"""Ridge regression on the features X B with B = [M; R].

    A penalty of 0 means the least-squares solution of minimum norm.
    """

    C: F64  # (D, k): [M; R]
    rank: int
    inside: float  # E ||theta||^2 of the part of theta in the span of B
    outside: float  # E ||theta||^2 of the part orthogonal to that span
    m: int
    penalty: float = 0.0
    reach = False
    keeps_rows = False

    def expected(self, law: HeadMoments) -> float | None:
        """Compute the mean excess risk; None if it has no closed form."""
        mean = least_squares_risk(self.m, self.rank, self.inside, self.outside, law.variance)
        settled = law.known or self.outside == 0.0
        certain = (settled and self.m >= self.rank) or mean == math.inf
        return mean if certain and not self.penalty else None

    def estimate(self, X: F64, y: F64) -> F64:
        """Return B v of every task, (b, columns), with the regression's coefficients v."""
        # Singular values are used instead of normal equations, since columns of B may differ much
        # in length.
        D = self.C.shape[0]
        U, s, Vt = np.linalg.svd(X[:, :, :D] @ self.C, full_matrices=False)
        kept = s > max(U.shape[1], Vt.shape[2]) * EPS * s.max(axis=1, keepdims=True)
        v: F64 = np.where(kept, s, 0.0) / np.where(kept, s * s + self.m * self.penalty, 1.0)
        v *= _multiply(U.transpose(0, 2, 1), y)
        return _pad(_multiply(Vt.transpose(0, 2, 1), v) @ self.C.T, X.shape[2])


@dataclass(frozen=True)
class IsotropicRegression:
    r"""Ridge regression on p orthonormal features whose span contains B_star w_star.

    The features are X B_star or X itself. The part of theta orthogonal to their span, which only
    xi of (33) has, acts as further label noise and adds its own square to the risk. A penalty of 0
    means the least-squares solution of minimum norm.
    """

    p: int
    m: int
    penalty: float = 0.0

    def expected(self, law: HeadMoments) -> float | None:
        """Compute the mean excess risk; None if it has no closed form."""
        outside = law.xi_outside(self.p)
        mean = least_squares_risk(self.m, self.p, law.inside(self.p), outside, law.variance)
        certain = law.known or self.m >= self.p or mean == math.inf
        return mean if certain and not self.penalty else None

    def averaged(self, signal: F64, variance: float, chi_square: ChiSquare) -> F64:
        r"""Return excess risks (n,) averaged over directions of theta, for ||theta||^2 = `signal`.

        The averaged risk depends on X only through the r nonzero eigenvalues t of X^T X. With c = m
        lambda the risk is

            1/2 [(signal / p) (p - r + sum c^2 / (t + c)^2) + variance sum t / (t + c)^2].

        The eigenvalues are drawn as those of a tridiagonal matrix T with chi-square entries
        (Dumitriu and Edelman 2002). Both sums over t follow from derivatives of the
        log-determinant of T + c I with respect to c. The pivots of T + c I, s + x in the code, give
        these derivatives, so no eigenvalue is computed.
        """
        r, c = min(self.m, self.p), self.m * self.penalty
        s, ds, dds = np.full(signal.size, c), np.ones(signal.size), np.zeros(signal.size)
        first, second = np.zeros(signal.size), np.zeros(signal.size)  # sums of 1 / (t + c)^1, 2
        for j in range(r):
            x = chi_square(max(self.m, self.p) - j, 2 * j)
            pivot = s + x
            first += ds / pivot
            second += (ds / pivot) ** 2 + dds / pivot
            if j < r - 1:
                ratio = chi_square(r - 1 - j, 2 * j + 1) / pivot
                dds = ratio * x / pivot * (dds + 2.0 * ds * ds / pivot)
                ds = 1.0 + ratio * x / pivot * ds
                s = c + ratio * s
        kept = (self.p - r) / self.p + c * c * second / self.p
        return 0.5 * (signal * kept + variance * (first - c * second))


Learner = InnerLoop | ContextLayer | Regression | IsotropicRegression


@dataclass(frozen=True)
class NewTasks:
    """New tasks of m samples each, drawn independently of the random numbers of training."""

    heads: F64  # (n, k_star)
    law: HeadMoments
    m: int
    d: int
    noise: float
    key: int
    threads: int

    def excess(self, learner: Learner) -> F64:
        """Compute the excess risks (n,) of the tasks."""
        if isinstance(learner, IsotropicRegression):
            return self._averaged(learner)
        return self._sampled(learner)

    def _averaged(self, learner: IsotropicRegression) -> F64:
        """Compute excess risks (n,) of isotropic regression, averaged over directions of theta."""
        signal = (self.heads * self.heads).sum(axis=1) + learner.p * self.law.xi_variance
        if self.law.known:
            signal[:] = self.law.inside(learner.p)
        draw = partial(self._chi_square, 0, signal.size)
        outside = self.law.xi_outside(learner.p)
        return learner.averaged(signal, self.law.variance + outside, draw) + 0.5 * outside

    def _sampled(self, learner: InnerLoop | ContextLayer | Regression) -> F64:
        """Compute the excess risks (n,) from samples that (16) draws in few coordinates."""
        D, k = learner.C.shape
        rest = self.d - D if learner.reach else 0
        # Estimates without reach depend on samples off the D coordinates only along xi, (33), whose
        # direction becomes one more coordinate.
        aside = int(self.law.xi_variance > 0.0 and not learner.reach and self.d > D)
        D += aside
        # Unless estimates keep the rows, they depend on X^T X and X^T y alone. If X has more rows
        # than columns, the R-factor of [X, z] is then used in place of [X, z].
        rows, columns = min(self.m, D + rest + 1), D + min(self.m, rest)
        if learner.keeps_rows:
            rows = self.m
        numbers = columns * (rows + k)
        memory.require("the samples of one task", 4 * 8 * numbers)
        size = max(1, BLOCK // numbers)
        excess = np.empty(len(self.heads))
        for block, first in enumerate(range(0, len(excess), size)):
            part = slice(first, first + size)
            theta = _pad(self.heads[part], columns)
            if self.law.xi_variance > 0.0:
                theta += self._xi(block, len(theta), columns, aside)
            X, z = self._design(block, len(theta), D, rest, reduce=not learner.keeps_rows)
            error = learner.estimate(X, _multiply(X, theta) + self.noise * z) - theta
            excess[part] = 0.5 * (error * error).sum(axis=1)
        # For learners with reach, the part of xi off the span of the samples remains as an error.
        return excess if aside else excess + 0.5 * self.law.xi_outside(columns)

    def _xi(self, block: int, b: int, columns: int, aside: int) -> F64:
        """Draw xi of (33) in coordinates, (b, columns); with `aside`, the last is a length."""
        xi = self._normals(core.STREAM_SPREAD, block, b, 1, columns)[:, 0]
        if aside:
            key = core.derive_key(self.key, 1, block, core.STREAM_SPREAD)
            xi[:, -1] = np.sqrt(core.chi_square(self.d - columns + 1, key, 0, b))
        return math.sqrt(self.law.xi_variance) * xi

    def _design(
        self, block: int, b: int, D: int, rest: int, reduce: bool = True
    ) -> tuple[F64, F64]:
        """Draw features (b, rows, columns) and standard noise (b, rows) of b tasks."""
        m, size = self.m, D + rest + 1
        if m > size and not reduce:
            D, rest = D + rest, 0
        elif m > size:
            R = self._bartlett(block, b, size, m).transpose(0, 2, 1)
            return np.ascontiguousarray(R[:, :, :-1]), R[:, :, -1]
        P = self._normals(core.STREAM_FEATURES_IN, block, b, m, D)
        z = self._normals(core.STREAM_NOISE_IN, block, b, m, 1)[:, :, 0]
        return np.concatenate([P, self._bartlett(block, b, m, rest)], axis=2) if rest else P, z

    def _bartlett(self, block: int, b: int, p: int, f: int) -> F64:
        """Draw the factors (b, p, min(p, f)) of (16)."""
        L = np.tril(self._normals(core.STREAM_FRAME, block, b, p, min(p, f)))
        for j in range(L.shape[2]):
            L[:, j, j] = np.sqrt(self._chi_square(block + 1, b, f - j, j))
        return L

    def _normals(self, stream: int, block: int, b: int, m: int, d: int) -> F64:
        """Draw standard normals (b, m, d)."""
        return core.normals(self.key, 0, block, stream, b, m, d, "float64", self.threads)

    def _chi_square(self, block: int, count: int, dof: int, place: int) -> F64:
        """Draw chi-squares (count,); every place and block has a separate random stream."""
        key = core.derive_key(self.key, place, block, core.STREAM_FRAME)
        return core.chi_square(dof, key, 0, count)


def learned_regression(C: F64, law: HeadMoments, m: int) -> Regression:
    """Make the least-squares regression on the features of [M; R]."""
    D, k_star = C.shape[0], law.mean.size
    # Scaling the columns to a largest entry of 1 changes neither the rank nor the span of C, but
    # reduces rounding errors.
    length = np.abs(C).max(axis=0)
    U, s, _ = np.linalg.svd(C / np.where(length > 0.0, length, 1.0), full_matrices=False)
    U = U[:, s > s.max() * s.size * 4 * EPS]
    top = U[:k_star]
    inside, outside = (
        _trace_product(A, law.second) for A in (top.T, np.eye(D, k_star) - U @ top.T)
    )
    if outside <= (8 * D * EPS) ** 2 * inside:
        outside = 0.0
    rank = U.shape[1]
    inside, outside = inside + rank * law.xi_variance, outside + law.xi_outside(rank)
    return Regression(C, rank, inside, outside, m)


def best_penalty(m: int, size: float, signal: float, noise: float) -> float:
    r"""Return the penalty that is optimal if all directions of the coefficients are equally likely.

    `size` is the squared Frobenius norm of B, `signal` is E ||B v||^2, and `noise` is the variance
    of the part of y that X B v does not explain.
    """
    return noise and noise * size / (m * max(signal, 1e-30 * noise))


def check_coordinates(B: object, tasks: LinearTasks, workers: int, factors: int = 1) -> F64:
    """Check B and return its coordinates [M; R] of (13); B may hold several factors of width <= d.

    `factors` is their number.
    """
    if isinstance(B, (tuple, list)) and len(B) == 2:
        M = check.small("M", B[0], (tasks.k, "k"))
        R = check.small("R", B[1], ("e", M.shape[1]))
        if R.shape[0] > tasks.d - tasks.k:
            raise ValueError(
                f"R must have at most d - k_star = {tasks.d - tasks.k} rows; got {R.shape[0]}"
            )
    else:
        if not isinstance(B, np.ndarray):
            raise TypeError(
                f"B must be an array (d, k) or a pair (M, R) of coordinates; got {check.show(B)}"
                + (": use state[:2] of a result whose B is None" if B is None else "")
            )
        B = check.matrix("B", B, (tasks.d, "k"))
        _check_width(B.shape[1], factors * tasks.d)
        check.finite("B", B, workers)
        if tasks.B_star is None:
            raise ValueError(
                "tasks.B_star must be an array where B is one; got None: use "
                "dataclasses.replace(tasks, B_star=tasks.ground_truth(seed)), or B = (M, R)"
            )
        M, R, _ = core.coordinates(B, tasks.B_star, workers)
        check.lengths("B", np.concatenate([M, R]))
    _check_width(M.shape[1], factors * tasks.d)
    return np.concatenate([M, R])


def _check_width(width: int, d: int) -> None:
    """Raise ValueError unless B has at least one column and at most d."""
    check.integer("the width of B", width, 1)
    if width > d:
        raise ValueError(f"B must have at most d = {d} columns; got {width}")


def _multiply(A: F64, x: F64) -> F64:
    """Compute A x for every task: (b, p, q), (b, q) -> (b, p)."""
    product: F64 = (A @ x[:, :, None])[:, :, 0]
    return product


def _pad(A: F64, columns: int) -> F64:
    """Append zeros along the last axis."""
    return np.pad(A, [(0, 0)] * (A.ndim - 1) + [(0, columns - A.shape[-1])])


def least_squares_risk(m: int, rank: int, inside: float, outside: float, variance: float) -> float:
    r"""Compute the mean excess risk of least squares on features of rank `rank`.

    For m < rank the features must be orthonormal.
    """
    used, gap = min(m, rank), abs(m - rank) - 1
    noise = used * (variance + outside)
    if noise and gap <= 0:
        return math.inf
    missed = (1.0 - used / rank) * inside if used < rank else 0.0
    return 0.5 * (outside + missed + (noise and noise / gap))


def _trace_product(A: F64, S: F64) -> float:
    """Compute tr(A S A^T)."""
    return float(((A @ S) * A).sum())
