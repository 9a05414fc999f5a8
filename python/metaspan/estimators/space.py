r"""Linear algebra of matrices with one row for every dimension of the samples."""

from __future__ import annotations

import numpy as np

from .._load import core
from .._support.types import F64
from ..sharding.agreement import MARK


class Space:
    r"""The space of the rows of X, and linear algebra of matrices with ``dim`` rows.

    In a fit that is sharded, the columns of X are spread over the ranks, and so are the rows of
    matrices with ``dim`` rows: their arrays have the rows of this rank, and all ranks call the same
    methods. Results without ``dim`` rows are equal on all ranks. All methods cut the rows into the
    same pieces and add sums over them in the same order, whatever the number of ranks or threads,
    so the bits depend on neither. Rows are contiguous: a matrix in another order is copied.

    Parameters
    ----------
    shard : core.Shard
        The rows of this rank among those of all ranks.
    threads : int
        Number of threads.
    """

    def __init__(self, shard: core.Shard, threads: int) -> None:
        self.dim, self.rows, self.first = shard.d, shard.size, shard.first
        self.shard, self.threads = shard, threads

    @classmethod
    def whole(cls, dim: int, threads: int) -> Space:
        """Return the space whose matrices have all rows."""
        return cls(core.Shard(dim), threads)

    @property
    def is_shared(self) -> bool:
        """Whether the rows are spread over ranks."""
        return self.shard.is_shared

    def zeros(self, columns: int) -> F64:
        """Return a matrix of zeros."""
        return np.zeros((self.rows, columns))

    def identity(self, first: int, end: int) -> F64:
        """Return the columns `first` to `end` of the identity of order ``dim``."""
        return np.eye(self.rows, end - first, self.first - first)

    def inner(self, A: F64, B: F64) -> F64:
        """Return ``A^T B``, (p, q), for A (dim, p) and B (dim, q)."""
        if not (A.shape[1] and B.shape[1]):
            return np.zeros((A.shape[1], B.shape[1]))
        return core.inner(A, B, self.threads, self.shard)

    def column_products(self, A: F64, B: F64) -> F64:
        """Return the inner products of the columns of A and B, (q,), both of them (dim, q)."""
        return core.column_products(A, B, self.threads, self.shard)

    def product(self, A: F64, B: F64) -> float:
        """Return the inner product of two matrices (dim, q), the trace of ``A^T B``."""
        return float(np.sum(self.column_products(A, B)))

    def norm(self, A: F64) -> float:
        """Return the Frobenius norm of A (dim, q)."""
        return float(np.sqrt(self.product(A, A)))

    def times(self, A: F64, S: F64) -> F64:
        """Return ``A S``, (dim, q), for A (dim, p) and a small S (p, q).

        A product by NumPy may have other bits for other numbers of rows.
        """
        if not len(S):
            return self.zeros(S.shape[1])
        return core.times(A, S, self.threads, self.shard)

    def project_off(self, V: F64, A: F64) -> F64:
        """Return A without its component along orthonormal columns V, removed twice."""
        for _ in range(2):
            A = A - self.times(V, self.inner(V, A))
        return A

    def triangle(self, A: F64) -> F64:
        """Return R of ``A = Q R``, (min(dim, q), q), with the singular values of A (dim, q)."""
        return core.r_factor(A, self.threads, self.shard)

    def factor(self, A: F64) -> tuple[F64, F64]:
        """Return Q (dim, p), orthonormal columns, and R (p, q), with ``A = Q R``, p = min(dim, q).

        Where a column of A depends on those before it, up to rounding errors, the column of Q is
        arbitrary and the diagonal entry of R is 0.
        """
        if A.shape[1] <= self.dim:
            return core.factor(A, self.threads, self.shard)
        Q, _ = core.factor(A[:, : self.dim], self.threads, self.shard)
        return Q, self.inner(Q, A)

    def orthonormal(self, A: F64) -> F64:
        """Return orthonormal columns whose span has that of the columns of A (dim, q)."""
        return self.factor(A)[0]

    def spectral_norm(self, A: F64) -> float:
        """Return the largest singular value of A (dim, q)."""
        return float(np.linalg.norm(self.triangle(A), 2)) if A.size else 0.0

    def all_rows(self, A: F64) -> F64:
        """Return all rows of A (dim, q) on every rank."""
        return self.shard.gather_rows(A)

    def own_rows(self, A: F64) -> F64:
        """Return the rows of this rank of an array that has all rows."""
        return A[self.first : self.first + self.rows]

    def is_finite(self, A: F64) -> bool:
        """Return whether all numbers of A (dim, q) are finite, on all ranks."""
        return self.shard.largest(0.0 if np.isfinite(A).all() else 1.0) == 0.0


class EstimateError(ValueError):
    """Raised by all ranks together, because it follows from numbers that all of them have."""


setattr(EstimateError, MARK, True)


def refuse_shared(name: str, space: Space, why: str) -> None:
    """Raise ValueError for an estimator that cannot run on a batch with a communicator."""
    if space.is_shared:
        raise EstimateError(f"{name} cannot run on a batch with a comm, because {why}")
