r"""Samples and averages of tasks in law at any dimension d, (36) and (37)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .._load import core
from .._support import memory
from .._support.types import F64
from ..tasks import features, heads
from ..tasks.features import StudentT
from ..tasks.linear import LinearTasks, draw_xi
from .averages import RowAverages
from .samples import I64, HalfAverages, Preconditioner, Samples, Transform
from .space import Space

# Round numbers in the keys of the parts off the span; each number gives a separate draw.
FRAME, LENGTHS, ALONG_XI = 0, 1, 2

_DIAGONAL = 10  # least ratio of d - k_star to the rows for an almost diagonal Gram matrix
_LEAST_SHIFT = 1e-4  # least distance of a shift from an eigenvalue, relative to the eigenvalue


class LawSamples:
    r"""The samples of n tasks with m samples each, drawn from their exact law, (36).

    The coordinates belong to an orthonormal basis with three parts: `B_star`; the directions of the
    samples orthogonal to `B_star`; and the directions of the matrix of `normals` orthogonal to the
    first two parts. A training run on a pool with the same seed and trial has the same heads, the
    same noise, and the same coordinates of the samples in the span of `B_star`.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks, with features whose distribution is invariant under rotations.
    n, m : int
        Number of tasks, and of samples of each task.
    seed, trial : int
        Keys of all random numbers.
    threads : int
        Number of threads; the bits do not depend on it.
    spare : int
        The largest number of columns of a matrix that `normals` returns.
    averages_only : bool
        Whether the caller uses only `averages`, `normals`, `y` and the ground truth. If true, the N
        = n m rows are drawn only for features on the sphere, whose averages are computed from the
        rows.

    Raises
    ------
    ValueError
        If the distribution of the features is not invariant under rotations.
    MemoryError
        If the random numbers, about N^2 / 2 for the rows and 2 n^2 for the averages, do not fit
        into memory; this is checked before they are allocated.
    """

    B_star: F64 | None  # (dim, k_star), the first columns of the identity
    weights: F64  # (n,), all 1

    def __init__(  # noqa: PLR0917
        self,
        tasks: LinearTasks,
        n: int,
        m: int,
        seed: int,
        trial: int,
        threads: int,
        spare: int,
        averages_only: bool = False,
    ) -> None:
        if not tasks.is_symmetric:
            raise ValueError(
                "samples in law need features whose distribution is invariant under rotations: "
                f"gaussian, student-t or sphere, without a spectrum; got {tasks!r}"
            )
        self.n, self.m, self.threads = n, m, threads
        self.tasks, self.seed, self.trial = tasks, seed, trial
        self.offsets: I64 = np.arange(n + 1, dtype=np.int64) * m
        self.weights = np.ones(n)
        self.wants_few_passes = False
        self.heads = heads.draw(tasks.heads, n, tasks.k, (seed, trial, 0))  # (n, k_star)
        noise = core.normals(seed, trial, 0, core.STREAM_NOISE_IN, n, m, 1, "float64", threads)
        self._noise = tasks.noise * noise[:, :, 0]
        self._rows: core.PackedRows | None = None
        self._averages: LawAverages | None = None
        if averages_only and tasks.features != "sphere":
            self.y, self._averages = _draw_averages(self, self._noise)
            columns = self._averages.columns
        else:
            self._rows = self._draw_rows()
            self.y = self._responses(self._rows)
            columns = self._rows.columns
        self._base = columns  # coordinates of the span of B_star and the rows
        self.dim = columns + min(spare, tasks.d - columns)
        self.space = Space.whole(self.dim, threads)
        self.B_star = np.eye(self.dim, tasks.k)
        if self._averages is not None:
            self._averages.set_space(self.space)

    def features(self, B: F64) -> F64:
        """Return ``Z = X B``, (N, k), for B (dim, k)."""
        return self.rows.features(self._in_rows(B), 0, self.rows.count, self.threads)

    def combine(self, C: F64) -> F64:
        """Return ``X^T C``, (dim, k), the sum over all samples, for C (N, k)."""
        total = np.zeros((self.dim, C.shape[1]))
        self.rows.combine(np.ascontiguousarray(C), 0, total, self.threads)
        return total

    def combine_features(self, B: F64, transform: Transform) -> F64:
        """Return ``X^T transform(X B)``, (dim, k), with one pass over the rows.

        `transform` is called with the features of consecutive ranges of tasks, in order. A range is
        so short that its rows are still in a cache when the second product reads them.
        """
        total, B = np.zeros((self.dim, B.shape[1])), self._in_rows(B)
        for tasks in _ranges(self.n, self.m * 8 * self.rows.columns):
            first, last = tasks.start * self.m, tasks.stop * self.m
            C = transform(self.rows.features(B, first, last, self.threads), tasks)
            self.rows.combine(np.ascontiguousarray(C), first, total, self.threads)
        return total

    def grams(self, tasks: range) -> list[F64]:
        """Return the Gram matrices ``X_i X_i^T``, (m_i, m_i), of some tasks."""
        return list(self.rows.grams(tasks.start * self.m, self.m, len(tasks), self.threads))

    def shared(self) -> Samples | None:
        """Return these samples if there is one task, else None: no two tasks have the same X."""
        return self if self.n == 1 else None

    def averages(self) -> HalfAverages:
        """Return the averages of the two halves of every task; the first half has m // 2 rows.

        If the rows are drawn, the averages are computed from the rows; otherwise they are drawn.
        """
        if self._averages is not None:
            return self._averages
        return RowAverages(self)

    def normals(self, k: int, stream: int) -> F64:
        """Return the coordinates (dim, k) of a standard normal matrix (d, k).

        The columns of one call are independent of each other and of the samples, as at full size.
        Different calls use the same directions orthogonal to the samples, so matrices whose joint
        law matters must be drawn as columns of one call.

        Raises
        ------
        ValueError
            If `k` is larger than `spare`.
        """
        left, spare = float(self.tasks.d - self._base), self.dim - self._base
        if min(k, left) > spare:
            raise ValueError(f"normals in law have at most spare = {spare} columns; got {k}")
        out = np.zeros((self.dim, k))
        out[: self._base] = core.normals(
            self.seed, self.trial, stream, core.STREAM_START, 1, self._base, k, "float64",
            self.threads,
        )[0]  # fmt: skip
        if left:
            key = core.derive_key(self.seed, self.trial, stream, core.STREAM_FRAME)
            factor = core.bartlett(key, self.trial, k, left, 1)[0]  # (k, min(k, left))
            out[self._base : self._base + factor.shape[1]] = factor.T
        return out

    @property
    def rows(self) -> core.PackedRows:
        """The rows of all samples; RuntimeError if only averages were drawn."""
        if self._rows is None:
            raise RuntimeError("samples drawn with averages_only=True have no rows")
        return self._rows

    def _draw_rows(self) -> core.PackedRows:
        """Draw the rows [P, L] of all samples, (36)."""
        tasks, N = self.tasks, self.n * self.m
        size = int(core.PackedRows.bytes(N, tasks.k, float(tasks.d)))
        if tasks.spread:
            size += 8 * self.n * (tasks.k + min(N, tasks.d - tasks.k))
        memory.require(f"the {N} samples in law", size)
        law = features.core_law(tasks.features)
        return core.PackedRows(law, self.seed, self.trial, float(tasks.d), tasks.k, N, self.threads)

    def _responses(self, rows: core.PackedRows) -> F64:
        """Return the responses of all samples, (N,)."""
        tasks = self.tasks
        P = rows.first_columns(tasks.k).reshape(self.n, self.m, tasks.k)
        y = (P * self.heads[:, None, :]).sum(axis=2) + self._noise
        xi = draw_xi(tasks, (self.seed, self.trial, 0), self.n, rows.columns, self.threads)
        if xi is not None:
            for i in range(self.n):
                first = i * self.m
                column = np.ascontiguousarray(xi[i, :, None])
                y[i] += rows.features(column, first, first + self.m, self.threads)[:, 0]
        return np.ascontiguousarray(y.ravel())

    def _in_rows(self, B: F64) -> F64:
        """Return the rows of B (dim, k) that belong to the coordinates of the samples."""
        return np.ascontiguousarray(B[: self._base])


@dataclass(eq=False)
class LawAverages:
    r"""Averages of the halves of tasks in law, (37), without the samples.

    The 2 n averages in the order u_1, v_1, u_2, ... are numbered by j. Average j is ``[inside_j,
    scales_j L_j + along_j L_xi(j)]``, where the L are rows of one Bartlett factor, and xi(j) is the
    row for the spread of the task of j.
    """

    weights: F64  # (n,)
    inside: F64  # (2 n, k_star)
    scales: F64  # (2 n,)
    along: F64 | None  # (2 n,); None without a spread
    rows: core.PackedRows  # 2 n rows; with a spread 3 n: xi, u and v of each task
    threads: int
    rest: float  # d - k_star
    dim: int = field(init=False)
    space: Space = field(init=False)
    B_star: F64 | None = None
    wants_few_passes: bool = True

    def __post_init__(self) -> None:
        self.n = len(self.weights)

    @property
    def columns(self) -> int:
        """Number of coordinates that the averages use."""
        return int(self.inside.shape[1]) + self.rows.columns

    def set_space(self, space: Space) -> None:
        """Set the coordinates, which include those of `LawSamples.normals`."""
        self.space, self.dim = space, space.dim
        self.B_star = np.eye(space.dim, self.inside.shape[1])

    def products(self, Q: F64) -> tuple[F64, F64]:
        """Return ``U Q`` and ``V Q``, (n, k) each, for Q (dim, k)."""
        k_star = self.inside.shape[1]
        off = np.ascontiguousarray(Q[k_star : self.columns])
        stacked = self._stack(self.rows.features(off, 0, self.rows.count, self.threads), 0)
        stacked += self.inside @ Q[:k_star]
        return stacked[::2], stacked[1::2]

    def combine(self, P: F64, Q: F64) -> F64:
        """Return ``U^T P + V^T Q``, (dim, k), for P and Q (n, k)."""
        total, both = np.zeros((self.dim, P.shape[1])), _interleave(P, Q)
        total[: self.inside.shape[1]] = self.inside.T @ both
        self.rows.combine(self._spread(both, 0), 0, self._off(total), self.threads)
        return total

    def mean_products(self, Q: F64, factors: F64) -> F64:
        """Return ``sum_i factors_i (u_i v_i^T + v_i u_i^T) Q``, (dim, k); one pass over the rows.

        The tasks are processed in ranges, whose rows are still in a cache for the second product.
        """
        k_star, parts = self.inside.shape[1], self.rows.count // self.n
        total, off = (
            np.zeros((self.dim, Q.shape[1])),
            np.ascontiguousarray(Q[k_star : self.columns]),
        )
        for tasks in _ranges(self.n, parts * 8 * self.rows.columns):
            inside = self.inside[2 * tasks.start : 2 * tasks.stop]
            first, last = parts * tasks.start, parts * tasks.stop
            products = self.rows.features(off, first, last, self.threads)
            stacked = self._stack(products, tasks.start) + inside @ Q[:k_star]
            scale = factors[tasks.start : tasks.stop, None]
            both = _interleave(scale * stacked[1::2], scale * stacked[::2])
            total[:k_star] += inside.T @ both
            self.rows.combine(
                self._spread(both, tasks.start), first, self._off(total), self.threads
            )
        return total

    def start_factors(self, G: F64) -> F64:
        """Return coefficients (2 n, k) of u_1, ..., u_n, v_1, ..., v_n in the start of a search.

        The search looks for the top eigenvectors of `mean_products`. If d is large, averages of
        different tasks are almost orthogonal, so each of these eigenvectors is almost in the span
        of the two averages of one task, and the tasks are those with the longest averages.
        Therefore column j of the start is the sum of the normalised averages of one such task. A
        small multiple of the normal matrix G (2 n, k) is added, so that the start is not orthogonal
        to any eigenvector.
        """
        a, b = self.scales[::2], self.scales[1::2]
        scales = np.concatenate([a, b])[:, None]
        inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0.0)
        factors: F64 = 1e-5 / np.sqrt(2 * self.n) * inverse * G
        longest = np.argsort(-a * b, kind="stable")[: G.shape[1]]
        columns = np.arange(len(longest))
        factors[longest, columns] += inverse[longest, 0]
        factors[self.n + longest, columns] += inverse[self.n + longest, 0]
        return factors

    def preconditioner(self, factors: F64) -> Preconditioner | None:
        """Return approximate inverses of ``A - value``, for the matrix A of `mean_products`.

        For large d, rows of the Bartlett factor L are almost ``sqrt(d - k_star)`` times rows of the
        identity, so A is almost block diagonal with a block ``f (u v^T + v u^T)`` for each task.
        With ``U = [u, v]`` and ``t = value / f``, the inverse of a block minus the value is
        ``-(I + U ([[0, t], [t, 0]] - U^T U)^-1 U^T) / value``.
        """
        if self.rows.count * _DIAGONAL > self.rest:
            return None
        lengths = self.rest * self.scales.reshape(-1, 2) ** 2
        between = np.zeros(self.n)
        if self.along is not None:
            along = self.along.reshape(-1, 2)
            lengths = lengths + self.rest * along**2
            between = self.rest * along[:, 0] * along[:, 1]

        def apply(R: F64, values: F64) -> F64:
            values = np.maximum(values, _LEAST_SHIFT * float(np.abs(values).max()))
            shift = values / factors[:, None] - between[:, None]
            a, b = lengths[:, :1], lengths[:, 1:]
            det = a * b - shift**2
            small = np.abs(det) < _LEAST_SHIFT**2 * (a * b + shift**2)
            det[small] = -(_LEAST_SHIFT**2) * (a * b + shift**2)[small]
            products = self._stack(math.sqrt(self.rest) * self._off(R), 0)
            u, v = products[::2] / det, products[1::2] / det
            both = math.sqrt(self.rest) * _interleave(-b * u - shift * v, -shift * u - a * v)
            step = R.copy()
            off = self._off(step)
            off += self._spread(both, 0)
            step /= -values
            return step

        return apply

    def _stack(self, products: F64, first: int) -> F64:
        """Return the parts of U Q and V Q off the span, from the products of L with Q."""
        count = len(products) // (2 if self.along is None else 3)
        at = slice(2 * first, 2 * (first + count))
        if self.along is None:
            return self.scales[at, None] * products
        by_task = products.reshape(count, 3, -1)
        stacked = self.scales[at, None] * by_task[:, 1:].reshape(2 * count, -1)
        return stacked + self.along[at, None] * np.repeat(by_task[:, 0], 2, axis=0)

    def _spread(self, both: F64, first: int) -> F64:
        """Apply the transpose of `_stack`: map coefficients of u_i, v_i to those of rows of L."""
        at = slice(2 * first, 2 * first + len(both))
        scaled = self.scales[at, None] * both
        if self.along is None:
            return scaled
        out = np.empty((len(both) // 2, 3, both.shape[1]))
        out[:, 1:] = scaled.reshape(len(out), 2, -1)
        out[:, 0] = (self.along[at, None] * both).reshape(len(out), 2, -1).sum(axis=1)
        return out.reshape(-1, both.shape[1])

    def _off(self, total: F64) -> F64:
        """Return the rows of `total` (dim, k) that belong to the directions off the span."""
        return total[self.inside.shape[1] : self.columns]


def _draw_averages(samples: LawSamples, noise: F64) -> tuple[F64, LawAverages]:
    """Draw the responses (N,) and the averages of the halves of every task, (37).

    Given the responses, the part of ``m_a u_i`` orthogonal to `B_star` and xi is Gaussian, and each
    of its entries has the variance ``sum_j (s_j y_j)^2``, where s_j is the radius of sample j.
    """
    tasks, n, m, threads = samples.tasks, samples.n, samples.m, samples.threads
    seed, trial, k_star = samples.seed, samples.trial, samples.tasks.k
    rest = float(tasks.d - k_star)
    along_xi = bool(tasks.spread) and rest > 0.0  # whether xi has a part off the span of B_star
    count = (3 if along_xi else 2) * n
    memory.require(f"the averages of {n} tasks in law", int(core.PackedRows.bytes(count, 0, rest)))
    frame = core.derive_key(seed, trial, FRAME, core.STREAM_OFF_SPAN)
    gaussian = features.core_law("gaussian")
    rows = core.PackedRows(gaussian, frame, trial, rest, 0, count, threads)
    P = core.normals(
        seed, trial, 0, core.STREAM_FEATURES_IN, 1, n * m, k_star, "float64", threads
    ).reshape(n, m, k_star)
    radii = np.ones((n, m))
    if isinstance(tasks.features, StudentT):
        dof = tasks.features.dof
        key = core.derive_key(seed, trial, LENGTHS, core.STREAM_OFF_SPAN)
        radii = np.sqrt((dof - 2) / core.chi_square(dof, key, trial, n * m)).reshape(n, m)
    vectors, along, xi_length = samples.heads, None, np.zeros(n)
    if tasks.spread:
        tau = math.sqrt(tasks.xi_variance)
        xi = core.normals(seed, trial, 0, core.STREAM_SPREAD, n, 1, k_star, "float64", threads)
        vectors = vectors + tau * xi[:, 0]
    if along_xi:
        inner = rows.grams(0, 3, n, threads)  # (n, 3, 3)
        lengths = np.sqrt(inner[:, 0, 0])
        xi_length = tau * lengths
        key = core.derive_key(seed, trial, ALONG_XI, core.STREAM_OFF_SPAN)
        g = core.normals(key, trial, 0, core.STREAM_SPREAD, n, m, 1, "float64", threads)[:, :, 0]
    y = radii * (P * vectors[:, None, :]).sum(axis=2) + noise
    if along_xi:
        y += radii * g * xi_length[:, None]
    products = radii * y
    halves = (slice(0, m // 2), slice(m // 2, m))
    sizes = [max(m // 2, 1), m - m // 2]
    inside = np.stack(
        [
            np.einsum("nm,nmk->nk", products[:, h], P[:, h]) / c
            for h, c in zip(halves, sizes, strict=True)
        ],
        axis=1,
    )
    scales = np.stack(
        [
            np.sqrt((products[:, h] ** 2).sum(axis=1)) / c
            for h, c in zip(halves, sizes, strict=True)
        ],
        axis=1,
    )
    if along_xi:  # the component along xi has its own law
        means = [
            (products[:, h] * g[:, h]).sum(axis=1) / c for h, c in zip(halves, sizes, strict=True)
        ]
        with_xi = scales * inner[:, 0, 1:] / lengths[:, None]
        along = ((np.stack(means, axis=1) - with_xi) / lengths[:, None]).ravel()
    averages = LawAverages(
        samples.weights, inside.reshape(2 * n, k_star), scales.ravel(), along, rows, threads, rest
    )
    return np.ascontiguousarray(y.ravel()), averages


def _interleave(P: F64, Q: F64) -> F64:
    """Return the rows of P and Q in alternation, (2 n, k)."""
    return np.stack([P, Q], axis=1).reshape(2 * len(P), -1)


def _ranges(n: int, task_bytes: int) -> Iterator[range]:
    """Split n tasks into ranges whose rows stay in a cache between two sweeps."""
    step = max(1, core.KEPT_BYTES // max(1, task_bytes))  # averages with d = k_star have no rows
    for first in range(0, n, step):
        yield range(first, min(n, first + step))
