r"""Batches of tasks with data of the user's own."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core_types import CoreData
from .._support import check, cpus
from .arrays import Data, DataSets, check_sets, core_sets, require_files
from .sparse import Sparsity, sparsity_of


@dataclass(frozen=True, eq=False, repr=False)
class TaskBatch:
    r"""Tasks with data of the user's own, used where it lies.

    Parameters
    ----------
    X_in, X_out : ndarray of shape (n, m, d), or sequence of n arrays of shape (m_i, d)
        Features of the inner and the outer sets. Rows are contiguous, the strides of the other axes
        are free. Arrays may be read-only, memory-mapped (`numpy.load` with ``mmap_mode="r"``), or
        an ``h5py.Dataset`` or ``zarr.Array``, which stay on disk: see Notes. Or both are sequences
        of SciPy's sparse matrices in CSR format, columns sorted, none twice in a row: see Notes.
    y_in, y_out : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
        Responses, in the dtype of the features: float32 or float64. Those of a dataset are read.
    B_star : ndarray of shape (d, k), or None
        Ground truth where it is known, with orthonormal columns.
    heads : array_like of shape (n, k), or None
        Heads of the tasks where they are known.
    check_finite : bool
        Whether to look for NaN and infinity: one read of the data.

    Raises
    ------
    TypeError
        If an array is of another kind or dtype.
    ValueError
        If shapes do not belong together, rows are not contiguous, or a value is not finite.

    Notes
    -----
    Nothing is copied, but for the row starts of sparse matrices and column indices that are not
    int32, which are converted. What is not copied must not change as long as the batch is in use. A
    layout that the compiled code cannot use is an error that says how to mend it, and so is a
    masked value, or a quantity with a physical unit.

    Features on disk may be larger than memory. A round reads them once, in the order of the file:
    some tasks at a time, of 128 MiB or four times the bytes of B together, while the core works on
    those before; datasets take twice that memory, memory-mapped files the system's cache alone.
    The dual route reads them once for its Gram matrix, in stripes of columns: datasets whose chunks
    hold whole rows are read over for every stripe. The numbers are those of arrays in memory, bit
    for bit. A dataset that is closed or resized while the batch is in use is an error, and so is a
    memory-mapped file that was found shorter; one that another program truncates during a read ends
    the process with a signal.

    Examples
    --------
    >>> X, y = np.ones((3, 5, 8)), np.ones((3, 5))
    >>> TaskBatch(X, y, X, y)
    TaskBatch(n=3, m_in=5, m_out=5, d=8, dtype=float64)
    """

    X_in: Data
    y_in: Data
    X_out: Data
    y_out: Data
    B_star: NDArray[Any] | None = None
    heads: NDArray[Any] | None = field(default=None, kw_only=True)
    check_finite: InitVar[bool] = field(default=True, kw_only=True)
    _inner: DataSets = field(init=False, repr=False)  # the same, by the kinds of their storage
    _outer: DataSets = field(init=False, repr=False)

    def __post_init__(self, check_finite: bool) -> None:
        one = self.X_out is self.X_in
        inner = check_sets(("X_in", self.X_in), ("y_in", self.y_in), None, check_finite)
        X_out = inner.X.given if one else self.X_out
        outer = check_sets(("X_out", X_out), ("y_out", self.y_out), inner.X.dtype, check_finite)
        for side, sets in (("in", inner), ("out", outer)):
            object.__setattr__(self, f"X_{side}", sets.X.given)
            object.__setattr__(self, f"y_{side}", sets.y.given)
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_outer", outer)
        if inner.X.is_sparse != outer.X.is_sparse:
            kinds = ("sparse", "dense") if inner.X.is_sparse else ("dense", "sparse")
            raise TypeError(f"X_out must be {kinds[0]}, as X_in is; got {kinds[1]} features")
        if outer.X.n != self.n:
            raise ValueError(f"X_out must hold {self.n} tasks, as X_in; got {outer.X.n}")
        if outer.X.d != self.d:
            raise ValueError(f"X_out must have {self.d} features, as X_in; got {outer.X.d}")
        rank: int | str = "k"
        if self.B_star is not None:
            B_star = check.matrix("B_star", self.B_star, (self.d, "k"))
            check.orthonormal("B_star", B_star, cpus.default_threads())
            object.__setattr__(self, "B_star", B_star)
            rank = B_star.shape[1]
        if self.heads is not None:
            object.__setattr__(self, "heads", check.small("heads", self.heads, (self.n, rank)))

    @classmethod
    def split(
        cls,
        X: Data,
        y: Data,
        m_in: int,
        B_star: NDArray[Any] | None = None,
        *,
        check_finite: bool = True,
    ) -> TaskBatch:
        r"""Give the first `m_in` samples of every task to the inner set, the rest to the outer.

        Parameters
        ----------
        X : ndarray of shape (n, m, d), or sequence of n arrays or CSR matrices of shape (m_i, d)
            Features.
        y : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
            Responses.
        m_in : int
            Size of the inner sets, at least 1 and less than every task's number of samples.
        B_star : ndarray of shape (d, k), or None
            Ground truth where it is known.
        check_finite : bool
            Whether to look for NaN and infinity.

        Returns
        -------
        TaskBatch
            Views of `X` and `y`; what is on disk stays there.

        Examples
        --------
        >>> TaskBatch.split(np.ones((3, 50, 8)), np.ones((3, 50)), m_in=20)
        TaskBatch(n=3, m_in=20, m_out=30, d=8, dtype=float64)
        """
        sets = check_sets(("X", X), ("y", y), None, check_finite)
        least = min(sets.X.lengths())
        m_in = check.integer("m_in", m_in, 1)
        if m_in >= least:
            raise ValueError(
                f"m_in must be less than the {least} samples of the smallest task; got {m_in}"
            )

        inner, outer = sets.samples(slice(m_in)), sets.samples(slice(m_in, None))
        return cls(
            X_in=inner.X.given,
            y_in=inner.y.given,
            X_out=outer.X.given,
            y_out=outer.y.given,
            B_star=B_star,
            check_finite=False,
        )

    @property
    def n(self) -> int:
        """Number of tasks."""
        return self._inner.X.n

    @property
    def d(self) -> int:
        """Number of features."""
        return self._inner.X.d

    @property
    def k(self) -> int:
        """Rank of the ground truth; 0 where it is not known."""
        return 0 if self.B_star is None else int(self.B_star.shape[1])

    @cached_property
    def shared(self) -> bool:
        """Whether the inner and the outer sets are the same arrays."""
        return self._inner.is_same(self._outer)

    @property
    def on_disk(self) -> bool:
        """Whether features lie on disk, memory-mapped or in a dataset."""
        return self._inner.X.on_disk or self._outer.X.on_disk

    @cached_property
    def mean_sizes(self) -> tuple[float, float]:
        """Samples a task in the inner and the outer set, on average."""
        return float(np.mean(self.m_in)), float(np.mean(self.m_out))

    def summary(self) -> BatchSummary:
        r"""Return what stands for this batch where its data are not kept.

        Returns
        -------
        BatchSummary
            Sizes, and a fingerprint of the data.
        """
        return BatchSummary(
            n=self.n,
            m_in=self.m_in,
            m_out=self.m_out,
            d=self.d,
            k=self.k,
            dtype=str(self.dtype),
            fingerprint=_fingerprint(self),
        )

    @property
    def is_sparse(self) -> bool:
        """Whether of the features only the entries are stored."""
        return self._inner.X.is_sparse

    @cached_property
    def sparsity(self) -> Sparsity | None:
        """Entries of a sample where features are sparse, and how often their columns meet."""
        if not self.is_sparse:
            return None
        return sparsity_of(self.X_in, self.X_out)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._inner.X.dtype

    @property
    def m_in(self) -> int | tuple[int, ...]:
        """Samples in the inner sets: one number, or one per task where they differ."""
        return self._inner.sizes

    @property
    def m_out(self) -> int | tuple[int, ...]:
        """Samples in the outer sets: one number, or one per task where they differ."""
        return self._outer.sizes

    def __repr__(self) -> str:
        return (
            f"TaskBatch({counts_text(self.n, self.m_in, self.m_out)}, "
            f"d={self.d}, dtype={self.dtype}{', sparse' if self.is_sparse else ''})"
        )


def counts_text(
    n: int | None, m_in: int | tuple[int, ...] | None, m_out: int | tuple[int, ...] | None
) -> str:
    """Say how many tasks there are and how many samples each has; None is infinitely many."""

    def text(sizes: int | tuple[int, ...] | None) -> str:
        if isinstance(sizes, tuple):
            return f"{min(sizes)}..{max(sizes)}"
        return "infinite" if sizes is None else str(sizes)

    return f"n={text(n)}, m_in={text(m_in)}, m_out={text(m_out)}"


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    r"""Stands for a batch in a file, which does not hold its data.

    Parameters
    ----------
    n : int
        Number of tasks.
    m_in, m_out : int or tuple of int
        Samples in the inner and outer sets.
    d, k : int
        Number of features, and rank of the ground truth (0 where it is not known).
    dtype : str
        Of the data.
    fingerprint : str
        A hash of all responses and of a sample of the features and the ground truth.
    """

    n: int
    m_in: int | tuple[int, ...]
    m_out: int | tuple[int, ...]
    d: int
    k: int
    dtype: str
    fingerprint: str


def core_data(batch: TaskBatch) -> CoreData:
    """The arrays of a batch as the compiled core takes them."""
    known, shared = (batch.B_star, batch.heads), batch.on_disk and batch.shared
    return core_sets(batch._inner, batch._outer, known=known, shared=shared)


def bytes_to_read(batch: TaskBatch, B_bytes: int) -> int:
    """Bytes that reading features from the disk takes, for a representation of `B_bytes`."""
    sides = [batch._inner] if batch.shared else [batch._inner, batch._outer]
    return sum(side.X.reading_bytes(B_bytes) for side in sides)


def _fingerprint(batch: TaskBatch) -> str:
    """A hash that another batch will not have: every response, and rows of X at even distances."""
    from hashlib import blake2b  # noqa: PLC0415  (only files need it)

    inner, outer = batch._inner, batch._outer
    features, responses = (inner.X, outer.X), (inner.y, outer.y)
    require_files(zip(("X_in", "X_out", "y_in", "y_out"), (*features, *responses), strict=True))
    content = blake2b(digest_size=16)
    for side in responses:
        for response in side.given:
            content.update(np.ascontiguousarray(response).data)
    for side in features:
        for sample in side.sample():
            content.update(np.ascontiguousarray(sample).data)
    for known in (batch.B_star, batch.heads):
        if known is not None:
            content.update(np.ascontiguousarray(known[:: max(1, len(known) // 64)]).data)
    return content.hexdigest()
