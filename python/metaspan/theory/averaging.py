r"""Decreasing step sizes that average the noise of a run, (68), in units with alpha = 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._support.types import F64
from ..methods import ANIL
from ..tasks.linear import LinearTasks
from ..tasks.moments import second_moment
from .limit import LimitRound, limit_round

SHARE = 0.25  # first step size of a plan, relative to the largest stable one
FEW_TASKS = 8.0  # weight of the noise of few tasks within the span, which has heavy tails
REST = 0.3  # tan^2 due to the start, relative to the noise, below which the start is forgotten
GROWING = 0.2  # change of M in a round, relative to beta psi, above which M still grows
STRIDE = 0.01  # largest change of an error, relative to its size, for rounds taken as one
SMALL = 1e-4  # size of R^T R at which differences of S are taken
ITERATIONS = 8  # of the power method for the growth of noise
DRAWS = 400  # normal matrices whose largest singular values are averaged


@dataclass(frozen=True)
class Split:
    r"""A split of a task's samples, with the constants of a run with small steps near its end.

    The head is frozen at 0 and the columns of B are in units of :math:`1 / \sqrt\alpha`, so that
    only the product of alpha and beta matters. This product is called beta here.

    Parameters
    ----------
    tasks : LinearTasks
        The law of the tasks.
    exact : bool
        Whether the outer step differentiates through the inner loop.
    m_in, m_out : int
        Inner and outer samples of a task.
    """

    tasks: LinearTasks
    exact: bool
    m_in: int
    m_out: int

    @property
    def rest(self) -> int:
        """Number of directions off the span of the truth."""
        return self.tasks.d - self.tasks.k

    @property
    def samples(self) -> int:
        """Samples of a task."""
        return self.m_in + self.m_out

    @cached_property
    def method(self) -> ANIL:
        """The method in units with alpha = 1; its beta is not used."""
        return ANIL(alpha=1.0, first_order=not self.exact, outer="body")

    @cached_property
    def moment(self) -> tuple[F64, F64]:
        """Eigenvalues (k,) of the heads' second moment, ascending, and eigenvectors (k, k)."""
        values, vectors = np.linalg.eigh(second_moment(self.tasks.heads, self.tasks.k))
        return values, vectors

    def round(self, M: F64, R: F64) -> LimitRound:
        """Compute a round of the limit, (53)-(54), at M and R."""
        C, w = np.concatenate([M, R]), np.zeros(self.tasks.k)
        return limit_round(self.tasks, self.method, C, w, m_in=self.m_in, m_out=self.m_out)

    @cached_property
    def _end(self) -> tuple[F64, F64, F64]:
        """M at the fixed point (23), eigenvalues (k,) of Psi, and S there; Psi is diagonal."""
        values, vectors = self.moment
        noise = self.tasks.noise**2 + self.tasks.spread**2
        inner = (1.0 + 1.0 / self.m_in) * values
        crosstalk = (values.sum() + noise) / self.m_in
        M = vectors * np.sqrt(values / (inner + crosstalk))
        rates = values.copy()
        if self.exact:
            rates *= (inner + 2.0 * crosstalk) / (inner + crosstalk)
        return M, rates, self.round(M, np.zeros_like(M)).S

    @property
    def slowest(self) -> float:
        """The smallest rate psi: a round multiplies errors by 1 - beta psi or less."""
        return float(self._end[1].min())

    @property
    def fastest(self) -> float:
        """The largest eigenvalue of Psi."""
        return float(self._end[1].max())

    @cached_property
    def constant(self) -> float:
        r"""V of (68): tan^2 tends to (d - k) V / (n (t + t_0)) with steps 1 / (psi (t + t_0))."""
        M, rates, S = self._end
        q = S / (self.slowest * (rates[:, None] + rates - self.slowest))
        lengths = np.linalg.norm(M, axis=0)
        return float(np.linalg.eigvalsh(q / np.outer(lengths, lengths))[-1])

    @cached_property
    def growth(self) -> float:
        r"""r of (68): the noise amplifies itself if beta (d - k) r / n exceeds 1.

        It is the spectral radius of Q -> X, the solution of Psi X + X Psi = S(Q) - S(0).
        """
        M, rates, S = self._end
        Q, radius = np.eye(rates.size), 0.0
        for _ in range(ITERATIONS):
            more = (self.round(M, math.sqrt(SMALL) * root_of(Q)).S - S) / SMALL
            X = more / (rates[:, None] + rates)
            size = float(np.linalg.norm(X))
            radius = size / float(np.linalg.norm(Q))
            Q = X / max(size, 1e-300)
        return radius

    def first_step(self, n: int) -> float:
        """Return the step size at which a plan with n tasks a round begins."""
        values = self.moment[0]
        tails = values.size + 2 + (values.size + 2) ** 2 / self.m_in
        noise = self.rest * self.growth + FEW_TASKS * tails * float(values[-1])
        return SHARE * min(1.0 / self.fastest, n / noise)


class Path:
    r"""The limit (55) from a start, with rounds of small steps taken many at a time.

    R^T R is kept in two parts: the remainder of the start, and the noise of the rounds.
    """

    def __init__(
        self, split: Split, n: int, overlap: float, length: float, typical: float = 1.0
    ) -> None:
        """Start from columns of this length, of which M has the share `overlap`.

        `typical` is the share of the remainder of the start that counts in `dist`; it is below 1 if
        the start is worse than usual.
        """
        k = split.tasks.k
        self.split, self.n, self.rounds = split, n, 0
        self.M = overlap * length * np.eye(k)
        self.typical = typical
        self.growth = math.inf  # of the smallest singular value of M, relative to the rate
        self.start = (1.0 - overlap**2) * length**2 * np.eye(k)
        self.noise = np.zeros((k, k))

    def advance(self, beta: float, most: int) -> None:
        """Take at most `most` rounds with the step size beta, at least one."""
        k = self.split.tasks.k
        rounds = max(1, min(most, int(STRIDE / (beta * self.split.fastest))))
        small = 1e-6 * float(np.linalg.norm(self.M) + math.sqrt(np.trace(self.start)))
        R = np.concatenate([root_of(self.start + self.noise), small * np.eye(k)])
        grad, _, S = self.split.round(self.M, R)
        step = beta * rounds
        kept = np.eye(k) - step / small * grad[2 * k :]  # the gradient of R is R Psi
        before, self.M = self.M, self.M - step * grad[:k]
        sizes = [float(np.linalg.svd(M, compute_uv=False)[-1]) for M in (self.M, before)]
        self.growth = (sizes[0] / sizes[1] - 1.0) / (step * self.split.slowest)
        self.start = kept.T @ self.start @ kept
        fresh = step * beta * self.split.rest / self.n * S
        self.noise = kept.T @ self.noise @ kept + fresh
        self.rounds += rounds

    def tan2(self, part: F64) -> float:
        """Return the largest squared tangent that a part of R^T R contributes."""
        return float(np.linalg.eigvalsh(self._in_angles(part))[-1])

    @property
    def is_past_start(self) -> bool:
        """Whether M has stopped growing, and the start is small beside the noise."""
        if abs(self.growth) > GROWING or np.trace(self.start) > REST * np.trace(self.noise):
            return False
        return self.tan2(self.start) <= REST * self.tan2(self.noise)

    @property
    def dist(self) -> float:
        """The mean of dist at the dimension of the tasks, where R is a normal matrix."""
        total = self.typical * self.start + self.noise
        tangents = normal_norms(self.split.rest, self._in_angles(total))
        return float((tangents / np.hypot(1.0, tangents)).mean())

    def _in_angles(self, Q: F64) -> F64:
        inverse = np.linalg.inv(self.M)
        product: F64 = inverse.T @ Q @ inverse
        return product


def normal_norms(rows: int, covariance: F64) -> F64:
    r"""Draw norms of normal matrices (rows, k), rows >= k, with rows of `covariance` / rows.

    The R-factor of such a matrix is drawn by its chi-squares and normals; the numbers are the same
    in every call.
    """
    k = len(covariance)
    rng = np.random.default_rng(0)
    factors = np.triu(rng.standard_normal((DRAWS, k, k)), 1)
    for j in range(k):
        factors[:, j, j] = np.sqrt(rng.chisquare(rows - j, DRAWS))
    products = factors @ (root_of(covariance).T / math.sqrt(rows))
    norms = np.linalg.svd(products, compute_uv=False)[:, 0]
    return norms.astype(np.float64, copy=False)


def root_of(Q: F64) -> F64:
    """Return a matrix X with X^T X = Q, for symmetric Q; negative eigenvalues count as 0."""
    values, vectors = np.linalg.eigh(0.5 * (Q + Q.T))
    root: F64 = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return root
