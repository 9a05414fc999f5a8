r"""Heads of tasks on given components: their prior, ridge regression, leave-one-out errors.

All functions work on the features Z of the components, with the rows of all tasks in the order of
the tasks, and never see the d features of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._support.types import F64
from ..estimators.samples import I64, by_length, spread, task_sums

STEPS = 200  # the most steps of the expectation-maximisation for the prior
TOL = 1e-6  # the prior has converged once the covariance and the noise change by less than this
FLOOR = 1e-6  # the least variance of a component, relative to the largest one
CONSTANT = 1e-12  # variance of features that counts as zero, relative to the largest one
# Penalties among which leave-one-out errors choose, relative to the variance of the noise.
RELATIVE_PENALTIES = 10.0 ** np.arange(-4.0, 4.25, 0.5)


@dataclass(frozen=True, eq=False)
class TaskSums:
    """The sums over rows on which the heads of n tasks depend, with or without intercepts."""

    A: F64  # (n, k, k), Z_i^T Z_i
    b: F64  # (n, k), Z_i^T y_i
    squares: float  # the sum of all squared responses
    count: int  # number of rows, less one for each intercept

    @classmethod
    def of(cls, Z: F64, y: F64, offsets: I64, intercept: bool) -> TaskSums:
        """Sum over the rows of every task; with intercepts, after subtracting the task's means."""
        if intercept:
            Z, y = center(Z, offsets), center(y, offsets)
        n, k = len(offsets) - 1, Z.shape[1]
        A = np.empty((n, k, k))
        for tasks, rows in by_length(offsets):
            if rows.shape[1]:
                A[tasks] = np.matmul(Z[rows].transpose(0, 2, 1), Z[rows])
        return cls(A, task_sums(Z * y[:, None], offsets), float(y @ y), len(y) - n * intercept)


@dataclass(frozen=True)
class Options:
    """Whether every task has an intercept, and whether the heads have a mean other than zero."""

    intercept: bool
    fit_mean: bool


@dataclass(frozen=True, eq=False)
class Prior:
    """The normal law of the heads across tasks, and the variance of the noise."""

    mean: F64  # (k,)
    covariance: F64  # (k, k)
    noise: float


def center(values: F64, offsets: I64) -> F64:
    """Subtract the mean over the rows of each task from the values (N,) or (N, k) of this task."""
    columns = values.reshape(len(values), -1)
    means = task_sums(columns, offsets) / np.diff(offsets)[:, None]
    return (columns - spread(means, offsets)).reshape(values.shape)


def fit_prior(sums: TaskSums, fit_mean: bool) -> Prior:
    """Fit the law of the heads (69) by maximum likelihood, with expectation-maximisation.

    The model is ``y_i = Z_i w_i + noise`` with ``w_i ~ N(mean, covariance)``. The first
    prior is one whose heads explain half of the variance of the responses. The mean is zero unless
    `fit_mean` is true.
    """
    n, k = sums.b.shape
    variance = max(sums.squares / max(sums.count, 1), np.finfo(float).tiny)
    scale = max(float(np.trace(sums.A.sum(axis=0))) / max(sums.count, 1), np.finfo(float).tiny)
    prior = Prior(np.zeros(k), np.eye(k) * variance / (2 * scale), variance / 2)
    least = 1e-12 * variance
    for _ in range(STEPS):
        inverse = np.linalg.inv(prior.covariance)
        spreads = prior.noise * np.linalg.inv(sums.A + prior.noise * inverse)
        right = sums.b / prior.noise + inverse @ prior.mean
        heads = np.matmul(spreads, right[:, :, None])[:, :, 0]
        mean = heads.mean(axis=0) if fit_mean else np.zeros(k)
        off = heads - mean
        covariance = spreads.mean(axis=0) + off.T @ off / n
        covariance = (covariance + covariance.T) / 2
        values, vectors = np.linalg.eigh(covariance)
        covariance = (vectors * np.maximum(values, FLOOR * values[-1])) @ vectors.T
        fitted = np.einsum("nij,nj->ni", sums.A, heads)
        residual = sums.squares - 2 * np.sum(sums.b * heads) + np.sum(fitted * heads)
        noise = (residual + np.sum(sums.A * spreads)) / max(sums.count, 1)
        following = Prior(mean, covariance, max(float(noise), least))
        moved = abs(following.noise - prior.noise) / prior.noise
        moved = max(moved, float(np.abs(covariance - prior.covariance).max() / values[-1]))
        prior = following
        if moved <= TOL:
            break
    return prior


def ridge_heads(A: F64, b: F64, ridge: float, mean: F64) -> F64:
    """Return the minimisers (n, k) of ``||y_i - Z_i w||^2 + ridge ||w - mean||^2``.

    If ``ridge=0`` and A_i is singular, the head is the minimiser that is nearest to the mean.
    """
    right = b - np.einsum("nij,j->ni", A, mean)
    if ridge > 0:
        moves = np.linalg.solve(A + ridge * np.eye(len(mean)), right[:, :, None])
    else:
        moves = np.matmul(np.linalg.pinv(A, hermitian=True), right[:, :, None])
    return np.asarray(mean + moves[:, :, 0])


def loo_residuals(  # noqa: PLR0917
    Z: F64, y: F64, offsets: I64, ridge: float, mean: F64, intercept: bool
) -> F64:
    """Return the residual of every row, (N,), for the head fitted to the task's other rows, (70).

    The closed form is the residual divided by one minus the leverage. With an intercept, a row
    that is the only one of its task has the residual NaN.
    """
    y = y - Z @ mean
    if intercept:
        Z, y = center(Z, offsets), center(y, offsets)
    residuals = np.empty(len(y))
    for _, rows in by_length(offsets):
        m = rows.shape[1]
        if not m:
            continue
        stacked, responses = Z[rows], y[rows]
        U, values, _ = np.linalg.svd(stacked, full_matrices=False)
        squares = values**2
        cut = squares > np.finfo(float).eps * max(m, Z.shape[1]) * squares[:, :1]
        kept = np.divide(squares, squares + ridge, out=np.zeros_like(squares), where=cut)
        products = np.matmul(U.transpose(0, 2, 1), responses[:, :, None])[:, :, 0]
        fitted = np.matmul(U, (kept * products)[:, :, None])[:, :, 0]
        complement = 1.0 - np.sum(U * U * kept[:, None, :], axis=2) - intercept / m
        known = complement > np.finfo(float).eps * m
        residuals[rows] = np.divide(
            responses - fitted, complement, out=np.full_like(responses, np.nan), where=known
        )
    return residuals


def choose_ridge(Z: F64, y: F64, offsets: I64, prior: Prior, intercept: bool) -> float:
    """Choose one penalty for all tasks by leave-one-out errors, for the prior covariance I.

    If the model holds, the best penalty is the variance of the noise. Among the penalties whose
    squared error, averaged over the tasks, exceeds the least such error by at most one standard
    error of the difference, the choice is the one nearest to this variance.
    """
    tried = prior.noise * RELATIVE_PENALTIES
    usable = np.diff(offsets) > intercept
    if not usable.any():
        return prior.noise
    errors = np.empty((int(usable.sum()), len(tried)))
    for j, ridge in enumerate(tried):
        residuals = loo_residuals(Z, y, offsets, ridge, prior.mean, intercept)
        sums = task_sums(np.square(residuals)[:, None], offsets)[:, 0]
        errors[:, j] = (sums / np.maximum(np.diff(offsets), 1))[usable]
    errors = errors[np.isfinite(errors).all(axis=1)]
    if not len(errors):
        return prior.noise
    best = int(np.argmin(errors.mean(axis=0)))
    excess = errors - errors[:, [best]]
    spread_of_mean = excess.std(axis=0, ddof=1 if len(errors) > 1 else 0) / np.sqrt(len(errors))
    near = np.flatnonzero(excess.mean(axis=0) <= spread_of_mean)
    return float(tried[near[np.argmin(np.abs(np.log10(RELATIVE_PENALTIES[near])))]])


def standardise(B: F64, Z: F64, y: F64, offsets: I64, options: Options) -> tuple[F64, Prior]:
    r"""Rotate and scale the columns of B so that the prior covariance of the heads is the identity.

    The scores ``X C`` of the returned columns C (dim, k) are uncorrelated within the tasks, and
    ridge regression on them needs a single penalty. The variance of score j is the part of the
    variance of the responses that the deviations of head j from its mean explain in an average
    task. The columns are in descending order of this variance times ``1 + mean_j^2``, a product
    that includes the part that the mean explains. In every column, the entry of largest size is
    positive. A direction of B along which no rows vary within tasks gets a column of zeros, at the
    end.

    Returns
    -------
    C : ndarray of shape (dim, k)
        The columns, with the span of B.
    prior : Prior
        The law of the heads for C.
    """
    sums = TaskSums.of(Z, y, offsets, options.intercept)
    G = sums.A.sum(axis=0) / max(sums.count, 1)
    values, vectors = np.linalg.eigh(G)
    varied = values > max(CONSTANT * values[-1], np.finfo(float).tiny)
    # The features Z whiten have the covariance I, apart from those that do not vary.
    whiten = vectors * np.where(varied, 1 / np.sqrt(np.where(varied, values, 1.0)), 0.0)
    white = TaskSums(whiten.T @ sums.A @ whiten, sums.b @ whiten, sums.squares, sums.count)
    prior = fit_prior(white, options.fit_mean and len(sums.b) > 1)
    explained, turn = np.linalg.eigh(prior.covariance)
    explained = np.maximum(explained, np.finfo(float).tiny)
    mean = (turn.T @ prior.mean) / np.sqrt(explained)
    shares = (varied @ turn**2) * explained * (1 + mean**2)
    order = np.argsort(-shares, kind="stable")
    C = (B @ whiten @ (turn * np.sqrt(explained)))[:, order]
    largest = np.abs(C).argmax(axis=0)
    signs = np.where(C[largest, np.arange(C.shape[1])] < 0, -1.0, 1.0)
    return C * signs, Prior(mean[order] * signs, np.eye(len(mean)), prior.noise)
