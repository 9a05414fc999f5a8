r"""The distribution that tasks and their samples are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._load import core
from .._support import check, cpus, memory
from .._support.types import F64
from ..sharding.agreement import agreed
from ..sharding.columns import Columns
from . import features as feature_laws
from . import heads as laws
from .batch import TaskBatch

MAX_D = 2**53  # d is also a number of degrees of freedom, in double precision
# Parameters of LinearTasks that its text and files leave out while they have their defaults.
OPTIONS = ("spread",)
MAX_COUNT = 2**31 - 1  # indices of tasks, samples and trials are 32-bit words of the random key


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LinearTasks:
    r"""A distribution of linear regression tasks whose regression vectors share a subspace.

    Task i has the regression vector :math:`\theta_i = B_{*} w_{*,i}` and samples (x, y) with
    :math:`y = \langle x, \theta_i \rangle + z`, where :math:`E x = 0`, :math:`E x x^\top = I` (or
    diagonal, with a `spectrum`) and :math:`z \sim N(0, \text{noise}^2)`. With a `spread`, tasks
    share the subspace only approximately: :math:`\theta_i = B_{*} w_{*,i} + \xi_i`, (33).

    Parameters
    ----------
    d : int
        Number of features, 1 <= d <= 2**53. Apart from arrays passed here, nothing of this size is
        stored, so d = 10**12 is fine.
    k : int
        Rank of the ground truth, 1 <= k <= d; where k means the learner's width, this rank is
        called k_star.
    noise : float
        Standard deviation of the label noise, >= 0.
    heads : GaussianHeads, SphereHeads, array_like of shape (n, k), or callable
        Distribution of the tasks' true heads; by default N(0, I). An array holds fixed heads, one
        per row. A function ``(generator, n, k) -> (n, k)`` is called once per round and trial, with
        a `numpy.random.Generator`.
    features : {"gaussian", "student-t", "sphere", "rademacher", "uniform"}, StudentT or callable
        Distribution of the features; all named distributions have mean 0 and covariance I.
        "gaussian": N(0, I). "student-t": ``StudentT(dof=5)``. "sphere": uniform on the sphere of
        radius sqrt(d). "rademacher": independent entries -1 or 1. "uniform": independent entries,
        uniform on an interval. A function ``(generator, m, d) -> (m, d)`` draws m <= 8 rows per
        call, with a new `numpy.random.Generator` each time. These rows should have mean 0 and
        covariance I, and training on finitely many such samples needs the engine "sampled" or
        "arrays".
    spectrum : array_like of shape (d,), float or None
        Eigenvalues of the diagonal covariance of the features; features drawn as above are
        multiplied by the square roots of the eigenvalues. A number `a` stands for the eigenvalues
        ``j**-a``, j = 1, 2, ..., d. None: all eigenvalues are 1. The records "dist" and "angles"
        stay Euclidean.
    B_star : ndarray of shape (d, k), float32 or float64, or None
        Ground truth with orthonormal columns, C-contiguous; it is not copied. None: every trial has
        a Haar-distributed ground truth of its own, which is drawn only where it is needed at full
        size.
    spread : float
        Root mean square length of the part :math:`\xi_i \sim N(0, \text{spread}^2 / d \; I_d)` that
        a task does not share, >= 0. The parts of different tasks are independent; they are drawn
        anew in every round, except for a pool, whose tasks keep them. A run on population losses of
        features with a `spectrum`, or of a pool, needs ``spread=0``. For large d the spread acts as
        more label noise, of variance ``noise**2 + spread**2``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, out of range or of the wrong shape, or if the columns
        of `B_star` are not orthonormal.

    References
    ----------
    Collins, Mokhtari, Oh, Shakkottai, "MAML and ANIL provably learn representations", ICML 2022.

    Examples
    --------
    >>> LinearTasks(d=10**12, k=10).k
    10
    """

    d: int
    k: int
    noise: float = 0.0
    heads: laws.Heads = field(default_factory=laws.GaussianHeads)
    features: feature_laws.Features = "gaussian"
    spectrum: float | ArrayLike | None = None
    B_star: NDArray[Any] | None = None
    spread: float = 0.0

    def __repr__(self) -> str:
        shown = [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if item.name not in OPTIONS or getattr(self, item.name) != item.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __post_init__(self) -> None:
        d = check.integer("d", self.d, 1, MAX_D)
        k = check.integer("k", self.k, 1)
        if k > d:
            raise ValueError(f"k must be at most d = {d}; got {k}")
        object.__setattr__(self, "d", d)
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "noise", check.real("noise", self.noise))
        object.__setattr__(self, "spread", check.real("spread", self.spread))
        object.__setattr__(self, "heads", laws.check_heads(self.heads, k))
        object.__setattr__(self, "features", feature_laws.check_features(self.features))
        object.__setattr__(self, "spectrum", feature_laws.spectrum(self.spectrum, d))
        if self.B_star is not None:
            B_star = check.matrix("B_star", self.B_star, (d, k))
            check.orthonormal("B_star", B_star, cpus.default_threads())
            object.__setattr__(self, "B_star", B_star)

    @property
    def xi_variance(self) -> float:
        """Variance of an entry of the part of a task that it does not share, (33)."""
        return self.spread * self.spread / self.d

    @property
    def is_symmetric(self) -> bool:
        """Whether the distribution of the features is invariant under rotations."""
        law_is_symmetric = (
            not callable(self.features) and self.features not in feature_laws.INDEPENDENT
        )
        return self.spectrum is None and law_is_symmetric

    @property
    def roots(self) -> F64 | None:
        """Standard deviations of the features, shape (d,), float64; None if all are 1."""
        return feature_laws.roots(self.spectrum, self.d)  # type: ignore[arg-type]

    def ground_truth(
        self, seed: int = 0, trial: int = 0, threads: int | None = None
    ) -> NDArray[Any]:
        r"""Return the `B_star` of a trial: the array that was passed, or one that is drawn.

        Parameters
        ----------
        seed, trial : int
            Keys of the random numbers for a `B_star` that is drawn, as `train` uses them.
        threads : int or None
            Number of threads; None: the CPUs that this process may use. The bits do not depend on
            the number of threads.

        Returns
        -------
        ndarray of shape (d, k)
            Orthonormal columns: the array passed as `B_star`, or a new array in float64.

        Raises
        ------
        TypeError, ValueError
            If an argument is not an integer or out of range.
        MemoryError
            If the array, of 8 d k bytes, does not fit into memory; this is checked before it is
            allocated.
        """
        seed, trial, _ = _check_key(seed, trial, 0)
        return self._truth(seed, trial, check.threads(threads), None)

    def _truth(self, seed: int, trial: int, threads: int, columns: Columns | None) -> NDArray[Any]:
        """Return the rows of the `B_star` of a trial that this process holds, by default all."""
        if self.B_star is not None:
            return self.B_star if columns is None else columns.rows_of(self.B_star)
        rows, shard = (self.d, None) if columns is None else (columns.size, columns.core)
        with agreed(None if columns is None else columns.exchange):
            memory.require(f"B_star of shape ({rows}, {self.k})", 8 * rows * self.k)
        return core.haar(seed, trial, core.STREAM_B_STAR, self.d, self.k, None, threads, shard)

    def _roots(self, columns: Columns | None) -> F64 | None:
        """Return the standard deviations of the features that this process holds."""
        if columns is None or self.spectrum is None:
            return self.roots
        if isinstance(self.spectrum, float):
            with agreed(columns.exchange):
                return feature_laws.power_roots(self.spectrum, columns.lo, columns.hi)
        return np.sqrt(np.asarray(self.spectrum, np.float64)[columns.lo : columns.hi])

    def draw_heads(self, n: int, seed: int = 0, trial: int = 0, round: int = 0) -> F64:
        r"""Return the true heads that `train` uses in one round.

        Parameters
        ----------
        n : int
            Number of tasks; if the heads are fixed, at most the number of heads.
        seed, trial, round : int
            Keys of the random numbers: equal keys give equal bits.

        Returns
        -------
        ndarray of shape (n, k), float64
            One head per row.

        Raises
        ------
        TypeError, ValueError
            If an argument is not an integer or out of range, or a function returns something other
            than finite heads of shape (n, k).

        Examples
        --------
        >>> tasks = LinearTasks(d=100, k=3)
        >>> bool((tasks.draw_heads(5, seed=1) == tasks.draw_heads(5, seed=1)).all())
        True
        """
        n = check.integer("n", n, 1, MAX_COUNT)
        if isinstance(self.heads, np.ndarray):
            check.integer("n", n, 1, self.heads.shape[0])
        return laws.draw(self.heads, n, self.k, _check_key(seed, trial, round))

    def sample(
        self,
        n: int,
        m_in: int,
        m_out: int | None = None,
        *,
        seed: int = 0,
        trial: int = 0,
        round: int = 0,
        shared_samples: bool = False,
        dtype: DTypeLike | None = None,
        threads: int | None = None,
    ) -> TaskBatch:
        r"""Draw tasks and their data as arrays of full size.

        Parameters
        ----------
        n : int
            Number of tasks; if the heads are fixed, at most the number of heads.
        m_in, m_out : int
            Samples per task in the inner and the outer set. `m_out` may be left out if
            `shared_samples` is true.
        seed, trial, round : int
            Keys of the random numbers: equal keys give equal bits.
        shared_samples : bool
            Whether the inner and the outer set of a task are the same samples.
        dtype : {float32, float64} or None
            Dtype of features and responses. None: the dtype of `B_star`, or float64 without a
            `B_star`.
        threads : int or None
            Number of threads; None: the CPUs that this process may use. The bits do not depend on
            the number of threads.

        Returns
        -------
        TaskBatch
            The data, with the ground truth as `B_star` and the true heads as `heads`. With a
            `spread`, the responses are those of :math:`\theta_i = B_{*} w_{*,i} + \xi_i`, and
            `heads` still holds :math:`w_{*,i}`.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range.
        MemoryError
            If the arrays do not fit into memory; this is checked before they are allocated.

        Notes
        -----
        The features have ``n (m_in + m_out) d`` numbers. Most of the time is spent on drawing these
        numbers and on multiplying them by `B_star`. With a `spread`, the n d numbers of the
        :math:`\xi_i` are drawn too; the batch does not hold them.

        Examples
        --------
        >>> LinearTasks(d=50, k=3, noise=0.1).sample(4, 10, 20)
        TaskBatch(n=4, m_in=10, m_out=20, d=50, dtype=float64)
        """
        n = check.integer("n", n, 1, MAX_COUNT)
        m_in = check.integer("m_in", m_in, 1, MAX_COUNT)
        shared = check.flag("shared_samples", shared_samples)
        if m_out is None and not shared:
            raise ValueError("m_out must be an integer unless shared_samples=True; got None")
        m_out = m_in if m_out is None else check.integer("m_out", m_out, 1, MAX_COUNT)
        if shared and m_out != m_in:
            raise ValueError(f"m_out must equal m_in = {m_in} for shared samples; got {m_out}")
        workers = check.threads(threads)
        key = _check_key(seed, trial, round)
        kind = self._dtype(dtype)
        samples = m_in if shared else m_in + m_out
        of_xi = 8 * n * self.d if self.spread else 0
        memory.require("the batch", n * samples * self.d * kind.itemsize + of_xi)
        B_star = self.ground_truth(seed, trial, workers)
        w_star = self.draw_heads(n, *key)
        xi = draw_xi(self, key, n, self.d, workers)

        law, roots = feature_laws.core_law(self.features), self.roots

        def draw_set(features: int, noise: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
            if callable(self.features):
                X = self._call_features(core.derive_key(*key, features), n, m).astype(kind)
            else:
                X = core.features(law, roots, *key, features, n, m, self.d, kind.name, workers)
            z = core.normals(*key, noise, n, m, 1, "float64", workers)[:, :, 0]
            # Responses are computed by a sum, since the bits of NumPy's matrix product depend on
            # the machine.
            y = (core.project(X, B_star, workers) * w_star[:, None, :]).sum(axis=2)
            if xi is not None:
                y += responses_of(X, xi, workers)
            return X, (y + self.noise * z).astype(kind)

        X_in, y_in = draw_set(core.STREAM_FEATURES_IN, core.STREAM_NOISE_IN, m_in)
        X_out, y_out = X_in, y_in
        if not shared:
            X_out, y_out = draw_set(core.STREAM_FEATURES_OUT, core.STREAM_NOISE_OUT, m_out)
        return TaskBatch(X_in, y_in, X_out, y_out, B_star=B_star, heads=w_star, check_finite=False)

    def _call_features(self, key: int, n: int, m: int) -> F64:
        """Draw (n, m, d) samples by the user's function of the features."""
        assert callable(self.features)
        X = feature_laws.all_rows(self.features, key, n, m, self.d)
        return X if self.roots is None else X * self.roots

    def _dtype(self, dtype: DTypeLike | None) -> np.dtype[Any]:
        """Return the requested dtype; by default that of B_star, or float64 without a B_star."""
        if dtype is not None:
            return check.float_dtype("dtype", dtype)
        return np.dtype(np.float64) if self.B_star is None else self.B_star.dtype


def draw_xi(
    tasks: LinearTasks,
    key: tuple[int, int, int],
    n: int,
    columns: int,
    workers: int,
    *,
    first_task: int = 0,
) -> F64 | None:
    """Draw (n, columns) coordinates of the parts that tasks do not share, (33); None if zero.

    The tasks are those starting at `first_task`. The law of the coordinates is the same in every
    orthonormal basis.
    """
    if tasks.spread == 0.0:
        return None
    normals = core.normals(*key, core.STREAM_SPREAD, n, 1, columns, "float64", workers, first_task)
    xi: F64 = math.sqrt(tasks.xi_variance) * normals[:, 0]
    return xi


def responses_of(X: NDArray[Any], xi: F64, workers: int) -> F64:
    """Compute X xi of every task, (n, m), where X is (n, m, d) and xi is (n, d)."""
    columns = np.ascontiguousarray(xi[:, :, None])
    products = [core.project(X[i : i + 1], columns[i], workers) for i in range(len(X))]
    responses: F64 = np.concatenate(products)[:, :, 0]
    return responses


def _check_key(seed: int, trial: int, round: int) -> tuple[int, int, int]:
    """Check the keys of the random numbers."""
    return (
        check.integer("seed", seed, 0, 2**64 - 1),
        check.integer("trial", trial, 0, MAX_COUNT),
        check.integer("round", round, 0, 2**63 - 1),
    )
