r"""Batches of tasks with data of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check
from ._load import core

Data = NDArray[Any] | Sequence[NDArray[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class TaskBatch:
    r"""Tasks with data of the user's own, used where it lies.

    Parameters
    ----------
    X_in, X_out : ndarray of shape (n, m, d), or sequence of n arrays of shape (m_i, d)
        Features of the inner and the outer sets. Rows are contiguous, the strides of the other axes
        are free; arrays may be memory-mapped and read-only.
    y_in, y_out : ndarray of shape (n, m), or sequence of n arrays of shape (m_i,)
        Responses, in the dtype of the features: float32 or float64.
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
    Nothing is copied. A layout that the compiled code cannot use is an error that says how to
    mend it.

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

    def __post_init__(self, check_finite: bool) -> None:
        dtype = None
        sizes: dict[str, int] = {}
        for side in ("in", "out"):
            X, y = checked_data(
                (f"X_{side}", getattr(self, f"X_{side}")),
                (f"y_{side}", getattr(self, f"y_{side}")),
                dtype,
                check_finite,
            )
            object.__setattr__(self, f"X_{side}", X)
            object.__setattr__(self, f"y_{side}", y)
            dtype = X[0].dtype
            sizes[side] = len(X)
        if sizes["in"] != sizes["out"]:
            raise ValueError(f"X_out must hold {sizes['in']} tasks, as X_in; got {sizes['out']}")
        if self.X_out[0].shape[1] != self.d:
            raise ValueError(
                f"X_out must have {self.d} features, as X_in; got {self.X_out[0].shape[1]}"
            )
        rank: int | str = "k"
        if self.B_star is not None:
            _check.matrix("B_star", self.B_star, (self.d, "k"))
            _check.orthonormal("B_star", self.B_star, core.available_cpus())
            rank = self.B_star.shape[1]
        if self.heads is not None:
            object.__setattr__(self, "heads", _check.small("heads", self.heads, (self.n, rank)))

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
        X : ndarray of shape (n, m, d), or sequence of n arrays of shape (m_i, d)
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
            Views of `X` and `y`.

        Examples
        --------
        >>> TaskBatch.split(np.ones((3, 50, 8)), np.ones((3, 50)), m_in=20)
        TaskBatch(n=3, m_in=20, m_out=30, d=8, dtype=float64)
        """
        X, y = checked_data(("X", X), ("y", y), None, check_finite)
        least = min(len(task) for task in X)
        m_in = _check.integer("m_in", m_in, 1)
        if m_in >= least:
            raise ValueError(
                f"m_in must be less than the {least} samples of the smallest task; got {m_in}"
            )

        def cut(data: Data, part: slice) -> Data:
            return data[:, part] if isinstance(data, np.ndarray) else [task[part] for task in data]

        first, rest = slice(m_in), slice(m_in, None)
        return cls(
            X_in=cut(X, first),
            y_in=cut(y, first),
            X_out=cut(X, rest),
            y_out=cut(y, rest),
            B_star=B_star,
            check_finite=False,
        )

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.X_in)

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.X_in[0].shape[1])

    @property
    def k(self) -> int:
        """Rank of the ground truth; 0 where it is not known."""
        return 0 if self.B_star is None else int(self.B_star.shape[1])

    @cached_property
    def shared(self) -> bool:
        """Whether the inner and the outer sets are the same arrays."""
        sides = ((self.X_in, self.X_out), (self.y_in, self.y_out))
        return all(_same(a, b) for inner, outer in sides for a, b in zip(inner, outer, strict=True))

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
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        dtype: np.dtype[Any] = self.X_in[0].dtype
        return dtype

    @property
    def m_in(self) -> int | tuple[int, ...]:
        """Samples in the inner sets: one number, or one per task where they differ."""
        return _sizes(self.X_in)

    @property
    def m_out(self) -> int | tuple[int, ...]:
        """Samples in the outer sets: one number, or one per task where they differ."""
        return _sizes(self.X_out)

    def __repr__(self) -> str:
        def text(sizes: int | tuple[int, ...]) -> str:
            return str(sizes) if isinstance(sizes, int) else f"{min(sizes)}..{max(sizes)}"

        return (
            f"TaskBatch(n={self.n}, m_in={text(self.m_in)}, m_out={text(self.m_out)}, "
            f"d={self.d}, dtype={self.dtype})"
        )


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


def core_data(batch: TaskBatch) -> tuple[Any, ...]:
    """The arrays of a batch as the compiled core takes them."""
    return (batch.X_in, batch.y_in, batch.X_out, batch.y_out, batch.B_star, batch.heads)


def _fingerprint(batch: TaskBatch) -> str:
    """A hash that another batch will not have: every response, and rows of X at even distances."""
    from hashlib import blake2b  # noqa: PLC0415  (only files need it)

    content = blake2b(digest_size=16)
    for responses in (batch.y_in, batch.y_out):
        for task in responses:
            content.update(np.ascontiguousarray(task).data)
    for features in (batch.X_in, batch.X_out):
        for task in features:
            sample = task[:: max(1, len(task) // 4), :: max(1, task.shape[1] // 64)]
            content.update(np.ascontiguousarray(sample).data)
    for known in (batch.B_star, batch.heads):
        if known is not None:
            content.update(np.ascontiguousarray(known[:: max(1, len(known) // 64)]).data)
    return content.hexdigest()


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are the same memory, seen in the same way."""
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )


def checked_data(
    features: tuple[str, object],
    responses: tuple[str, object],
    dtype: np.dtype[Any] | None,
    check_finite: bool,
) -> tuple[Data, Data]:
    """Features and responses (name, value) of one set of every task, used where they lie."""
    (X_name, X_given), (y_name, y_given) = features, responses
    X = _check.per_task(X_name, X_given, 3, dtype)
    if not len(X):
        raise ValueError(f"{X_name} must hold at least one task; got none")
    d = X[0].shape[1]
    y = _check.per_task(y_name, y_given, 2, X[0].dtype)
    if len(y) != len(X):
        raise ValueError(f"{y_name} must hold {len(X)} tasks, as {X_name}; got {len(y)}")
    if isinstance(X, np.ndarray) and isinstance(y, np.ndarray):
        _check.shape(y_name, y, X.shape[:2])
    for i, (task, response) in enumerate(zip(X, y, strict=True)):
        if 0 in task.shape:
            raise ValueError(f"{X_name} must hold samples and features; task {i} is {task.shape}")
        _check.shape(f"{X_name}[{i}]", task, ("m", d))
        _check.shape(f"{y_name}[{i}]", response, (task.shape[0],))
    if _check.flag("check_finite", check_finite):
        hint = " (check_finite=False skips this check)"
        for name, data in ((X_name, X), (y_name, y)):
            for i, array in enumerate([data] if isinstance(data, np.ndarray) else data):
                place = name if isinstance(data, np.ndarray) else f"{name}[{i}]"
                _check.finite(place, array, core.available_cpus(), hint)
    return X, y


def _sizes(data: Data) -> int | tuple[int, ...]:
    sizes = tuple(len(task) for task in data)
    return sizes[0] if len(set(sizes)) == 1 else sizes
