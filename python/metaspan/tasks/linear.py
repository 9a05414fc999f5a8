r"""Environments that tasks are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._load import core
from .._support import check, cpus, memory
from .._support.types import F64
from . import features as feature_laws
from . import heads as laws
from .batch import TaskBatch

MAX_D = 2**53  # sizes pass through double precision, where the degrees of freedom of d live
MAX_COUNT = 2**31 - 1  # indices of tasks, samples and trials are 32-bit words of the random key


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearTasks:
    r"""Multi-task linear regression on a shared subspace.

    Task i has the regression vector :math:`\theta_i = B_{*} w_{*,i}` and samples
    :math:`y = \langle x, \theta_i \rangle + z` with :math:`E x = 0`, :math:`E x x^\top = I` (or
    diagonal) and :math:`z \sim N(0, \text{noise}^2)`.

    Parameters
    ----------
    d : int
        Number of features. Nothing of this size is stored, so 10**12 is fine.
    k : int
        Rank of the ground truth, 1 <= k <= d.
    noise : float
        Standard deviation of the noise, >= 0.
    heads : GaussianHeads, SphereHeads, array_like of shape (n, k), or callable
        Law of the tasks' heads. An array holds fixed heads; a function
        ``(generator, n, k) -> (n, k)`` is called once a round.
    features : {"gaussian", "student-t", "sphere", "rademacher", "uniform"}, StudentT or callable
        Law of the features, all of mean 0 and covariance I: N(0, I); multivariate Student-t, with
        5 degrees of freedom by its name alone; uniform on the sphere of radius sqrt(d); independent
        entries -1 or 1, or uniform on an interval. A function ``(generator, m, d) -> (m, d)`` draws
        rows of its own, at most 8 a call, with a generator for each call; engine "sampled".
    spectrum : array_like of shape (d,), float or None
        Eigenvalues of a diagonal covariance, by which the features are scaled; a number a stands
        for ``j**-a``, j = 1, 2, ..., d. None: all are 1. `dist` and the angles stay Euclidean.
    B_star : ndarray of shape (d, k), float32 or float64, or None
        Ground truth with orthonormal columns, used where it lies. None: implicit, Haar-distributed,
        drawn only when something asks for it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, out of range or of the wrong shape, or if the columns
        of `B_star` are not orthonormal.

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

    def __post_init__(self) -> None:
        d = check.integer("d", self.d, 1, MAX_D)
        k = check.integer("k", self.k, 1)
        if k > d:
            raise ValueError(f"k must be at most d = {d}; got {k}")
        object.__setattr__(self, "d", d)
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "noise", check.real("noise", self.noise))
        object.__setattr__(self, "heads", laws.check_heads(self.heads, k))
        object.__setattr__(self, "features", feature_laws.check_features(self.features))
        object.__setattr__(self, "spectrum", feature_laws.spectrum(self.spectrum, d))
        if self.B_star is not None:
            B_star = check.matrix("B_star", self.B_star, (d, k))
            check.orthonormal("B_star", B_star, cpus.default_threads())
            object.__setattr__(self, "B_star", B_star)

    @property
    def is_symmetric(self) -> bool:
        """Whether the law of the features is symmetric under rotations."""
        of_law = not callable(self.features) and self.features not in feature_laws.INDEPENDENT
        return self.spectrum is None and of_law

    @property
    def roots(self) -> F64 | None:
        """Standard deviations (d,) of the features; None where all are 1."""
        return feature_laws.roots(self.spectrum, self.d)  # type: ignore[arg-type]

    def ground_truth(
        self, seed: int = 0, trial: int = 0, threads: int | None = None
    ) -> NDArray[Any]:
        r"""Return `B_star`, drawing it where it is implicit.

        Parameters
        ----------
        seed, trial : int
            What an implicit `B_star` is drawn from.
        threads : int or None
            Number of threads; None: the CPUs that this process may use.

        Returns
        -------
        ndarray of shape (d, k)
            Orthonormal columns; the given array itself, or a new one in float64.

        Raises
        ------
        MemoryError
            If it does not fit into memory.
        """
        seed, trial, _ = _key(seed, trial, 0)
        workers = check.threads(threads)
        if self.B_star is not None:
            return self.B_star
        memory.require(f"B_star of shape ({self.d}, {self.k})", 8 * self.d * self.k)
        return core.haar(seed, trial, core.STREAM_B_STAR, self.d, self.k, None, workers)

    def draw_heads(self, n: int, seed: int = 0, trial: int = 0, round: int = 0) -> F64:
        r"""Return the heads that `train` uses in one round.

        Parameters
        ----------
        n : int
            Number of tasks.
        seed, trial, round : int
            What the heads are drawn from.

        Returns
        -------
        ndarray of shape (n, k), float64
            One head per row.

        Examples
        --------
        >>> tasks = LinearTasks(d=100, k=3)
        >>> bool((tasks.draw_heads(5, seed=1) == tasks.draw_heads(5, seed=1)).all())
        True
        """
        n = check.integer("n", n, 1, MAX_COUNT)
        if isinstance(self.heads, np.ndarray):
            check.integer("n", n, 1, self.heads.shape[0])
        return laws.draw(self.heads, n, self.k, _key(seed, trial, round))

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
        r"""Draw tasks and their data as real arrays.

        Parameters
        ----------
        n : int
            Number of tasks.
        m_in, m_out : int
            Samples per task in the inner and the outer set; `m_out` may be left out where the
            samples are shared.
        seed, trial, round : int
            What everything is drawn from: the same three give the same bits.
        shared_samples : bool
            Whether inner and outer set are one.
        dtype : {float32, float64} or None
            Of the arrays. None: that of `B_star`, float64 where it is implicit.
        threads : int or None
            Number of threads; None: the CPUs that this process may use. The bits do not depend
            on it.

        Returns
        -------
        TaskBatch
            The data with `B_star` and `heads`.

        Raises
        ------
        MemoryError
            If the arrays do not fit into memory.

        Notes
        -----
        Time is that of ``n (m_in + m_out) d`` normals and one product with `B_star`.

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
        key = _key(seed, trial, round)
        kind = self._dtype(dtype)
        samples = m_in if shared else m_in + m_out
        memory.require("the batch", n * samples * self.d * kind.itemsize)
        B_star = self.ground_truth(seed, trial, workers)
        w_star = self.draw_heads(n, *key)

        law, roots = feature_laws.core_law(self.features), self.roots

        def draw(features: int, noise: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
            if callable(self.features):
                X = self._of_function(core.derive_key(*key, features), n, m).astype(kind)
            else:
                X = core.features(law, roots, *key, features, n, m, self.d, kind.name, workers)
            z = core.normals(*key, noise, n, m, 1, "float64", workers)[:, :, 0]
            # Summed by hand: a matrix product of NumPy's has other bits on other machines.
            y = (core.project(X, B_star, workers) * w_star[:, None, :]).sum(axis=2)
            return X, (y + self.noise * z).astype(kind)

        X_in, y_in = draw(core.STREAM_FEATURES_IN, core.STREAM_NOISE_IN, m_in)
        X_out, y_out = X_in, y_in
        if not shared:
            X_out, y_out = draw(core.STREAM_FEATURES_OUT, core.STREAM_NOISE_OUT, m_out)
        return TaskBatch(X_in, y_in, X_out, y_out, B_star=B_star, heads=w_star, check_finite=False)

    def _of_function(self, key: int, n: int, m: int) -> F64:
        """(n, m, d) samples from the user's function of the features."""
        assert callable(self.features)
        X = feature_laws.all_rows(self.features, key, n, m, self.d)
        return X if self.roots is None else X * self.roots

    def _dtype(self, dtype: DTypeLike | None) -> np.dtype[Any]:
        """The dtype asked for, or else that of B_star, or else float64."""
        if dtype is not None:
            return check.float_dtype("dtype", dtype)
        return np.dtype(np.float64) if self.B_star is None else self.B_star.dtype


def _key(seed: int, trial: int, round: int) -> tuple[int, int, int]:
    """What random numbers are keyed by, checked."""
    return (
        check.integer("seed", seed, 0, 2**64 - 1),
        check.integer("trial", trial, 0, MAX_COUNT),
        check.integer("round", round, 0, 2**63 - 1),
    )
