r"""Batches of tasks with the user's own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._load import core
from .._support import check, cpus
from ..sharding.agreement import agreed, guarded, require_equal
from ..sharding.columns import Columns
from ..sharding.exchange import Exchange, check_comm
from . import sharded
from .arrays import Data, DataSets, check_sets, core_sets, require_files, require_finite
from .on_device import to_host
from .sparse import Sparsity, sparsity_of
from .splits import choose_tasks, held_count, normalise_weights, range_tasks, task_indices
from .summary import BatchSummary, counts_text, fingerprint


@dataclass(frozen=True, eq=False, repr=False)
class TaskBatch:
    r"""A batch of n tasks with the user's own data, which are not copied.

    Parameters
    ----------
    X_in, X_out : ndarray of shape (n, m, d), or sequence of n arrays of shape (m_i, d)
        Features of the inner (support) and the outer (query) sets, float32 or float64. Each row of
        features must be contiguous in memory; the other axes may have any strides. Arrays may be
        read-only or memory-mapped (`numpy.load` with ``mmap_mode="r"``). An ``h5py.Dataset`` or a
        ``zarr.Array`` stays on disk; see Notes. Sparse features are given, for both sets, as
        sequences of SciPy matrices of shape (m_i, d) in CSR format, with column indices that are
        sorted and unique within each row. Arrays of CuPy, PyTorch or JAX in the memory of a GPU
        stay there; see Notes.
    y_in, y_out : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
        Responses, in the dtype of the features. Responses in a dataset on disk are read into
        memory. Without `X_out` and `y_out`, every task has one data set, which the inner and the
        outer loop share.
    B_star : ndarray of shape (d, k), float32 or float64, or None
        Ground truth if it is known: C-contiguous, with orthonormal columns. None: the ground truth
        is unknown, and the attribute `k` is 0.
    heads : array_like of shape (n, k), or None
        True heads of the tasks if they are known.
    weights : array_like of shape (n,), or None
        Positive weights of the tasks in means over tasks, (47). They are divided by their mean, so
        that the mean weight is 1. None: all tasks have the weight 1. Gradients and recorded losses
        are weighted means; losses of single tasks and records of heads do not use the weights.
    comm : mpi4py.MPI.Intracomm or None
        Communicator whose ranks hold the columns of the data together; see Notes. None: this
        process holds all columns.
    check_finite : bool
        Whether to check the data for NaN and infinity; the check reads all data once.

    Raises
    ------
    TypeError
        If an array is of the wrong kind or dtype.
    ValueError
        If shapes do not match, rows are not contiguous, or a value is not finite. With a `comm`,
        also if the ranks pass other columns than those of `shard`, or different responses, heads
        or weights. All ranks raise the same error, which names the rank that caused it.

    Notes
    -----
    The batch copies only the row starts of sparse matrices, and column indices that are
    not int32. Data that are not copied must not change while the batch is in use. A layout that the
    compiled core cannot use, a masked value, and a quantity with a physical unit raise errors that
    say how to convert the data.

    Features in the memory of a GPU are borrowed by DLPack without a copy, after the work of their
    library on them is done. Such a batch needs ``device="cuda"`` in every function that reads its
    features. Responses, `B_star`, `heads` and `weights` in the memory of a GPU are copied to the
    host.

    Features on disk may be larger than memory. A round reads features on disk once, in the order of
    the file, in blocks of tasks. A block has 128 MiB, the size of one task or four times the bytes
    of B, whichever is largest, and is read while the core works on the previous block. Datasets
    need memory for two blocks; memory-mapped files need no memory beyond the system's cache. To
    compute the Gram matrix of the dual route, the features are read once, in stripes of columns; if
    the chunks of a dataset span whole rows, the whole dataset is read for every stripe. By the same
    route, results have the same bits as for arrays in memory; "auto" may choose another route. If a
    dataset is closed or resized while the batch is in use, or a memory-mapped file has become
    shorter, the next use of the batch raises ValueError. If another program truncates a
    memory-mapped file during a read, the system ends the process with a signal.

    With a `comm`, all ranks call the constructor. `X_in` and `X_out` have the columns that `shard`
    gives the rank, where d is the number of columns of all ranks; `B_star` has the rows of the same
    range. A memory-mapped array is cut by ``X[:, :, lo:hi]``, which reads nothing. An
    ``h5py.Dataset`` or a ``zarr.Array`` has all columns on every rank, and each rank reads only its
    own. All other arguments are the same on all ranks. The attribute `d` is the number of columns
    of all ranks. A batch with a `comm` cannot be copied or pickled. See `train`.

    Examples
    --------
    >>> X, y = np.ones((3, 5, 8)), np.ones((3, 5))
    >>> TaskBatch(X, y, X, y)
    TaskBatch(n=3, m_in=5, m_out=5, d=8, dtype=float64)
    """

    X_in: Data
    y_in: Data
    X_out: Data | None = None
    y_out: Data | None = None
    B_star: NDArray[Any] | None = None
    heads: NDArray[Any] | None = field(default=None, kw_only=True)
    weights: NDArray[Any] | None = field(default=None, kw_only=True)
    comm: Any = field(default=None, kw_only=True)
    check_finite: InitVar[bool] = field(default=True, kw_only=True)
    _inner: DataSets = field(init=False, repr=False)  # the same data, wrapped by kind of storage
    _outer: DataSets = field(init=False, repr=False)
    _core: core.Batch | None = field(init=False, repr=False, default=None)  # see core_data
    _columns: Columns | None = field(init=False, repr=False, default=None)  # of a batch with a comm
    # Routes chosen for gradients before, by method, width and whether losses are computed.
    _routes: dict[tuple[Any, ...], str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self, check_finite: bool) -> None:
        exchange, columns = sharded.open_exchange(self.comm)
        agreed_before = columns is not None
        with agreed(exchange):
            self._check_data(check_finite if exchange is None else False)
        if exchange is not None:
            columns, inner, outer = sharded.share_columns(exchange, self._inner, self._outer)
            with agreed(exchange):
                if check.flag("check_finite", check_finite):
                    require_finite(inner, ("X_in", "y_in"))
                    require_finite(outer, ("X_out", "y_out"))
            self._keep_sets(inner, outer)
        if columns is not None:
            object.__setattr__(self, "comm", columns.comm)
            object.__setattr__(self, "_columns", columns)
        with agreed(exchange):
            self._check_known()
        if self.B_star is not None and not agreed_before:
            shard = None if columns is None else columns.core
            with guarded(exchange):
                deviation = core.deviation(self.B_star, cpus.default_threads(), shard)
            with agreed(exchange):
                check.deviation("B_star", self.B_star.dtype, deviation)
        if exchange is not None:
            known = {"heads": self.heads, "weights": self.weights}
            require_equal(exchange, {"k": str(self.k)} | sharded.describe_known(known))

    def _check_data(self, check_finite: bool) -> None:
        """Check the data sets of the tasks, and wrap them by kind of storage."""
        if (self.X_out is None) != (self.y_out is None):
            missing = "X_out" if self.X_out is None else "y_out"
            raise TypeError(f"{missing} must be given where the other outer array is; got None")
        if self.X_out is None:
            object.__setattr__(self, "X_out", self.X_in)
            object.__setattr__(self, "y_out", self.y_in)
        shares_X, shares_y = self.X_out is self.X_in, self.y_out is self.y_in
        inner = check_sets(("X_in", self.X_in), ("y_in", self.y_in), None, check_finite)
        X_out = inner.X.as_passed if shares_X else self.X_out
        y_out = inner.y.as_passed if shares_y else self.y_out  # not copied to the host again
        outer = check_sets(("X_out", X_out), ("y_out", y_out), inner.X.dtype, check_finite)
        self._keep_sets(inner, outer)
        if inner.X.is_sparse != outer.X.is_sparse:
            kinds = ("sparse", "dense") if inner.X.is_sparse else ("dense", "sparse")
            raise TypeError(f"X_out must be {kinds[0]}, as X_in is; got {kinds[1]} features")
        if outer.X.n != self.n:
            raise ValueError(f"X_out must hold {self.n} tasks, as X_in; got {outer.X.n}")
        if outer.X.d != inner.X.d:
            raise ValueError(f"X_out must have {inner.X.d} features, as X_in; got {outer.X.d}")
        if inner.X.on_device != outer.X.on_device:
            places = ("device", "host") if inner.X.on_device else ("host", "device")
            raise TypeError(
                f"X_out must be in {places[0]} memory, as X_in is; got {places[1]} memory"
            )
        if self.comm is not None:
            sharded.check_host(inner)

    def _keep_sets(self, inner: DataSets, outer: DataSets) -> None:
        """Store the data sets, and the arrays in the form in which they are passed."""
        for side, sets in (("in", inner), ("out", outer)):
            object.__setattr__(self, f"X_{side}", sets.X.as_passed)
            object.__setattr__(self, f"y_{side}", sets.y.as_passed)
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_outer", outer)

    def _check_known(self) -> None:
        """Check what is known of the tasks, except that the columns of B_star are orthonormal."""
        rank: int | str = "k"
        if self.B_star is not None:
            B_star = to_host(self.B_star)
            if self._columns is not None and isinstance(B_star, np.ndarray):
                B_star = self._columns.rows_of(B_star) if B_star.ndim == 2 else B_star
            B_star = check.matrix("B_star", B_star, (self.rows, "k"))
            check.integer("the width of B_star", B_star.shape[1], 1)
            object.__setattr__(self, "B_star", B_star)
            rank = B_star.shape[1]
        if self.heads is not None:
            heads = check.small("heads", to_host(self.heads), (self.n, rank))
            check.integer("the size of the heads", heads.shape[1], 1)
            object.__setattr__(self, "heads", heads)
        if self.weights is not None:
            weights = normalise_weights(to_host(self.weights), self.n)
            object.__setattr__(self, "weights", weights)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a copy or a pickle, without the object made by the core."""
        if self._columns is not None:
            raise TypeError("a TaskBatch with a comm cannot be copied or pickled; got comm")
        return {**self.__dict__, "_core": None}

    @classmethod
    def split(
        cls,
        X: Data,
        y: Data,
        m_in: int,
        B_star: NDArray[Any] | None = None,
        *,
        weights: ArrayLike | None = None,
        comm: Any = None,
        check_finite: bool = True,
    ) -> TaskBatch:
        r"""Make a batch by splitting the samples of every task into an inner and an outer set.

        The inner set has the first `m_in` samples, and the outer set has the other samples.

        Parameters
        ----------
        X : ndarray of shape (n, m, d), or sequence of n arrays or CSR matrices of shape (m_i, d)
            Features of all samples, of the kinds that `TaskBatch` takes.
        y : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
            Responses, in the dtype of `X`.
        m_in : int
            Samples per task in the inner set: at least 1, and fewer than the samples of any task.
        B_star : ndarray of shape (d, k), float32 or float64, or None
            Ground truth if it is known: C-contiguous, with orthonormal columns.
        weights : array_like of shape (n,), or None
            Weights of the tasks, as in `TaskBatch`.
        comm : mpi4py.MPI.Intracomm or None
            Communicator whose ranks hold the columns together, as in `TaskBatch`.
        check_finite : bool
            Whether to check the data for NaN and infinity; the check reads all data once.

        Returns
        -------
        TaskBatch
            The batch, whose arrays are views of `X` and `y`; data on disk stay on disk.

        Raises
        ------
        TypeError, ValueError
            If `TaskBatch` would raise the error for these data, or if `m_in` is not an integer or
            out of range.

        Examples
        --------
        >>> TaskBatch.split(np.ones((3, 50, 8)), np.ones((3, 50)), m_in=20)
        TaskBatch(n=3, m_in=20, m_out=30, d=8, dtype=float64)
        """
        with agreed(sharded.open_exchange(comm)[0]):
            sets = check_sets(("X", X), ("y", y), None, check_finite)
            pair = split_at(sets, "m_in", m_in)
        return cls._of_sets(*pair, B_star=B_star, weights=weights, comm=comm)

    @classmethod
    def stacked(
        cls,
        X: Any,
        y: ArrayLike,
        offsets: ArrayLike,
        m_in: int | None = None,
        B_star: NDArray[Any] | None = None,
        *,
        weights: ArrayLike | None = None,
        comm: Any = None,
        check_finite: bool = True,
    ) -> TaskBatch:
        r"""Make a batch whose tasks are ranges of rows in one array, file or dataset.

        Parameters
        ----------
        X : ndarray, dataset on disk or CSR matrix, of shape (rows, d)
            Features of all samples; the samples of each task are consecutive rows. A memory-mapped
            array, an ``h5py.Dataset`` or a ``zarr.Array`` stays on disk; tasks whose rows are
            adjacent in a dataset are read together.
        y : ndarray of shape (rows,), or dataset on disk
            Responses, in the dtype of `X`. Responses in a dataset are read into memory.
        offsets : array_like of shape (n + 1,), integers
            Task i has the rows ``offsets[i]`` to ``offsets[i + 1] - 1``, and every task has at
            least one row.
        m_in : int or None
            Number of samples per task in the inner set. The first `m_in` samples of a task are its
            inner set, and the others are its outer set. None: one data set per task, which both
            loops share.
        B_star : ndarray of shape (d, k), float32 or float64, or None
            Ground truth if it is known: C-contiguous, with orthonormal columns.
        weights : array_like of shape (n,), or None
            Weights of the tasks, as in `TaskBatch`.
        comm : mpi4py.MPI.Intracomm or None
            Communicator whose ranks hold the columns together, as in `TaskBatch`.
        check_finite : bool
            Whether to check the data for NaN and infinity; the check reads all data once.

        Returns
        -------
        TaskBatch
            The batch, whose arrays are views of `X` and `y`; data on disk stay on disk.

        Raises
        ------
        TypeError, ValueError
            If `TaskBatch` would refuse the data, if `offsets` do not rise strictly between 0 and
            the number of rows of `X`, or if `m_in` is not an integer or is out of range.

        Examples
        --------
        >>> TaskBatch.stacked(np.ones((9, 8)), np.ones(9), [0, 4, 9], m_in=3)
        TaskBatch(n=2, m_in=3, m_out=1..2, d=8, dtype=float64)
        """
        with agreed(sharded.open_exchange(comm)[0]):
            features, responses = range_tasks(X, y, offsets)
            sets = check_sets(("X", features), ("y", responses), None, check_finite)
            pair = (sets, None) if m_in is None else split_at(sets, "m_in", m_in)
        return cls._of_sets(*pair, B_star=B_star, weights=weights, comm=comm)

    @classmethod
    def _of_sets(
        cls,
        inner: DataSets,
        outer: DataSets | None,
        *,
        B_star: NDArray[Any] | None = None,
        heads: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
        comm: Any = None,
    ) -> TaskBatch:
        """Make a batch of checked sets; if `outer` is None, both loops use the inner set.

        `comm` may be the columns on which a batch of other sets of the same data has agreed.
        """
        return cls(
            X_in=inner.X.as_passed,
            y_in=inner.y.as_passed,
            X_out=None if outer is None else outer.X.as_passed,
            y_out=None if outer is None else outer.y.as_passed,
            B_star=B_star,
            heads=heads,
            weights=weights,  # type: ignore[arg-type]
            comm=comm,
            check_finite=False,
        )

    def hold_out(
        self, *, tasks: Any = None, samples: float | None = None, seed: int = 0
    ) -> tuple[TaskBatch, TaskBatch]:
        r"""Split the batch into a part to train on and a part that is held out, without copies.

        Exactly one of `tasks` and `samples` must be given.

        Parameters
        ----------
        tasks : int, float, array_like of int, or None
            Tasks to hold out: their number, their fraction of all tasks, or their indices. If a
            number or a fraction is given, the tasks are chosen at random, by `seed`.
        samples : int, float or None
            Samples to hold out of every data set of every task: their number, or their fraction.
            The last samples are held out; if their order carries information, shuffle them first.
        seed : int
            Key of the random choice of tasks. The choice is the same on every machine.

        Returns
        -------
        train, held_out : TaskBatch
            Two batches with views of the same memory; data on disk stay on disk. Both keep the
            order of the tasks, the ground truth, and the heads and weights of their tasks. A
            fraction holds out at least one task or sample.

        Raises
        ------
        TypeError
            If both `tasks` and `samples` are given, if neither is, or if one is of the wrong kind.
        ValueError
            If an index is out of range, or one of the two parts would be empty.

        Examples
        --------
        >>> batch = TaskBatch(np.ones((10, 5, 8)), np.ones((10, 5)))
        >>> train, held_out = batch.hold_out(tasks=0.2)
        >>> train.n, held_out.n
        (8, 2)
        >>> [part.m_in for part in batch.hold_out(samples=1)]
        [4, 1]
        """
        if (tasks is None) == (samples is None):
            given = "neither" if tasks is None else "both"
            raise TypeError(f"hold_out needs one of tasks and samples; got {given}")
        if tasks is not None:
            stay, held = choose_tasks(tasks, self.n, seed)
            return self.take(stay), self.take(held)
        heads, weights, outer = self.heads, self.weights, None if self.shared else self._outer
        parts: list[list[DataSets]] = [[], []]
        for side in (self._inner, outer):
            if side is None:
                continue
            lengths = side.X.lengths()
            kept = [m - held_count("samples", samples, m) for m in lengths]
            parts[0].append(side.rows([slice(m) for m in kept]))
            parts[1].append(side.rows([slice(m, None) for m in kept]))
        first, second = (
            self._of_sets(
                part[0],
                part[1] if part[1:] else None,
                B_star=self.B_star,
                heads=heads,
                weights=weights,
                comm=self._columns,
            )
            for part in parts
        )
        return first, second

    def take(self, tasks: Sequence[int]) -> TaskBatch:
        r"""Return a batch of some of the tasks, without copying their data.

        Parameters
        ----------
        tasks : sequence of int
            Indices of the tasks, in the order that the new batch has; an index may be repeated.

        Returns
        -------
        TaskBatch
            The tasks, with views of the same memory; data on disk stay on disk. The weights of the
            tasks are divided by their mean again.

        Raises
        ------
        TypeError, ValueError
            If `tasks` is not a sequence of integers, is empty, or an index is out of range.

        Examples
        --------
        >>> TaskBatch(np.ones((10, 5, 8)), np.ones((10, 5))).take([0, 7])
        TaskBatch(n=2, m_in=5, m_out=5, d=8, dtype=float64)
        """
        indices = task_indices(tasks, self.n)
        return self._of_sets(
            self._inner.take(indices),
            None if self.shared else self._outer.take(indices),
            B_star=self.B_star,
            heads=None if self.heads is None else self.heads[indices],
            weights=None if self.weights is None else self.weights[indices],
            comm=self._columns,
        )

    @property
    def n(self) -> int:
        """Number of tasks."""
        return self._inner.X.n

    @cached_property
    def d(self) -> int:
        """Number of features, of all ranks together in a batch with a `comm`."""
        return self._inner.X.d if self._columns is None else self._columns.d

    @cached_property
    def rows(self) -> int:
        """Number of rows of B that belong to the columns of this process."""
        return self._inner.X.d

    @property
    def _exchange(self) -> Exchange | None:
        """The exchange between the ranks; None without a `comm`."""
        return None if self._columns is None else self._columns.exchange

    @property
    def shard(self) -> tuple[int, int] | None:
        """First column of this rank, and the first after its last; None without a `comm`."""
        return None if self._columns is None else (self._columns.lo, self._columns.hi)

    def sharded(self, comm: Any) -> TaskBatch:
        r"""Return the same batch as one whose columns are those of a rank of a communicator.

        Parameters
        ----------
        comm : mpi4py.MPI.Intracomm
            The communicator; all of its ranks make this call.

        Returns
        -------
        TaskBatch
            The batch, with views of the same memory. The data are not checked for NaN and infinity
            again.

        Raises
        ------
        TypeError, ValueError
            If `TaskBatch` would raise the error for these data and this communicator, or if the
            batch has another communicator.
        """
        check_comm(comm)
        if self.comm is not None:
            if comm != self.comm:
                raise ValueError("comm must be that of the batch, which has one; got another")
            return self
        return self._of_sets(
            self._inner,
            None if self.shared else self._outer,
            B_star=self.B_star,
            heads=self.heads,
            weights=self.weights,
            comm=comm,
        )

    @property
    def k(self) -> int:
        """Rank of the ground truth; 0 if the ground truth is unknown (`B_star` is None)."""
        return 0 if self.B_star is None else int(self.B_star.shape[1])

    @cached_property
    def shared(self) -> bool:
        """Whether the inner and the outer sets are the same arrays."""
        return self._inner.is_same(self._outer)

    @cached_property
    def core_weights(self) -> NDArray[Any] | None:
        """Weights that the core multiplies by; None if all of them are 1."""
        equal = self.weights is None or bool((self.weights == 1.0).all())
        return None if equal else self.weights

    @property
    def on_disk(self) -> bool:
        """Whether some features are on disk, in a memory-mapped file or in a dataset."""
        return self._inner.X.on_disk or self._outer.X.on_disk

    @property
    def on_device(self) -> bool:
        """Whether the features are in the memory of a device."""
        return self._inner.X.on_device

    @property
    def lent(self) -> core.DeviceArray | None:
        """The features of the first task in device memory; None for features elsewhere."""
        return self._inner.X.apart()[0].as_passed if self.on_device else None

    @cached_property
    def mean_sizes(self) -> tuple[float, float]:
        """Mean numbers of samples per task in the inner and in the outer sets."""
        return float(np.mean(self.m_in)), float(np.mean(self.m_out))

    def summary(self) -> BatchSummary:
        r"""Return the sizes and a fingerprint of the batch; files hold these in place of the data.

        Returns
        -------
        BatchSummary
            Sizes, dtype, and a hash. Computing the hash reads all responses and a sample of the
            features. All ranks of a `comm` make the call together.
        """
        _require_files(self)
        return BatchSummary(
            n=self.n,
            m_in=self.m_in,
            m_out=self.m_out,
            d=self.d,
            k=self.k,
            dtype=str(self.dtype),
            fingerprint=fingerprint(self),
        )

    @property
    def is_sparse(self) -> bool:
        """Whether the features are sparse matrices."""
        return self._inner.X.is_sparse

    @cached_property
    def sparsity(self) -> Sparsity | None:
        """Statistics of sparse samples, which determine costs; None for dense features."""
        if not self.is_sparse:
            return None
        if self._columns is not None:
            return sharded.sparsity_of((self._inner.X, self._outer.X), self._columns)
        return sparsity_of(self.X_in, self.X_out)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of features and responses: float32 or float64."""
        return self._inner.X.dtype

    @cached_property
    def m_in(self) -> int | tuple[int, ...]:
        """Inner samples per task: one number, or a tuple with a number per task if tasks differ."""
        return self._inner.sizes

    @cached_property
    def least_m_in(self) -> int:
        """Number of samples in the smallest inner set."""
        return min(self._inner.X.lengths())

    @cached_property
    def signal(self) -> float:
        """Mean square of the inner responses, averaged over the tasks."""
        return float(
            np.mean([np.square(np.asarray(y.as_passed)).mean() for y in self._inner.y.apart()])
        )

    @cached_property
    def m_out(self) -> int | tuple[int, ...]:
        """Outer samples per task: one number, or a tuple with a number per task if tasks differ."""
        return self._outer.sizes

    def __repr__(self) -> str:
        kind = ", sparse" if self.is_sparse else ", in device memory" if self.on_device else ""
        return (
            f"TaskBatch({counts_text(self.n, self.m_in, self.m_out)}, "
            f"d={self.d}, dtype={self.dtype}{kind})"
        )


def require_whole(batch: TaskBatch, caller: str) -> None:
    """Raise ValueError for a batch with a `comm`, in a function that works in one process."""
    if batch._exchange is not None:
        raise ValueError(
            f"{caller} needs a batch without a comm, which has all columns; got one of "
            f"{batch._exchange.ranks} ranks"
        )


def split_at(sets: DataSets, name: str, m: int) -> tuple[DataSets, DataSets]:
    """Split the samples of every task after the first m, of which every task must have more."""
    least = min(sets.X.lengths())
    m = check.integer(name, m, 1)
    if m >= least:
        raise ValueError(
            f"{name} must be less than the {least} samples of the smallest task; got {m}"
        )
    return sets.samples(slice(m)), sets.samples(slice(m, None))


def core_data(batch: TaskBatch, one_round: bool = False) -> core.Batch:
    """Convert a batch for the core: data in memory only once, data on disk in every call.

    `one_round` says that data on disk are read for only one round. Raises ValueError if a
    memory-mapped file was truncated.
    """
    if batch._core is not None:
        return batch._core
    on_disk = _require_files(batch)
    known, shared = (batch.B_star, batch.heads), batch.on_disk and batch.shared
    converted = core_sets(
        batch._inner,
        batch._outer,
        known=known,
        shared=shared,
        weights=batch.core_weights,
        one_round=one_round,
        shard=None if batch._columns is None else batch._columns.core,
    )
    if not on_disk:
        object.__setattr__(batch, "_core", converted)
    return converted


def _require_files(batch: TaskBatch) -> bool:
    """Return whether any array is on disk; raise ValueError if its file was truncated."""
    names = ("X_in", "y_in", "X_out", "y_out")
    return require_files(zip(names, (*batch._inner, *batch._outer), strict=True))


def bytes_to_read(batch: TaskBatch, B_bytes: int) -> int:
    """Return the bytes of memory needed to read features from disk, given the bytes of B."""
    sides = [batch._inner] if batch.shared else [batch._inner, batch._outer]
    return sum(side.X.reading_bytes(B_bytes) for side in sides)
