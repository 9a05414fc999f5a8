r"""Cross-validated errors with and without shared components."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from .._support import check
from .._support.types import F64
from ..estimators.estimator import Unrecorded
from ..estimators.reference_lines import Pooled, dual_coefficients
from ..estimators.samples import I64, Samples, spread, task_sums
from .heads import center
from .inputs import Table, show_label
from .task_rows import Contrasts, TaskRows, multiply
from .whitening import Features, whiten

if TYPE_CHECKING:
    from .shared_representation import SharedRepresentation

# Penalties of the pooled model, relative to the mean nonzero eigenvalue of X^T X / rows.
PENALTIES = 10.0 ** np.arange(-5.0, 2.0)
MODELS = ("shared", "single_task", "pooled")


@dataclass(frozen=True)
class SharingGain:
    r"""Errors with and without shared components: the result of `sharing_gain`.

    An error is the mean squared error of a task on rows that were left out, divided by the variance
    of the responses of the task, averaged over the tasks: predicting the mean of the task has the
    error 1.

    Parameters
    ----------
    shared : float
        Error of shared components.
    single_task : float
        Error of ridge regression of each task alone, with one leave-one-out penalty for all tasks.
    pooled : float
        Error of one ridge regression for all tasks, with an intercept for each.
    gain : float
        ``1 - shared / min(single_task, pooled)``; negative if sharing harms.
    standard_error : float
        Standard error of `gain` over the tasks.
    tasks : int
        Number of tasks that were compared: those whose responses vary.
    """

    shared: float
    single_task: float
    pooled: float
    gain: float
    standard_error: float
    tasks: int

    @property
    def helps(self) -> bool:
        """Whether the gain exceeds two standard errors."""
        return self.gain > 2 * self.standard_error

    def __str__(self) -> str:
        verdict = "helps" if self.helps else "does not clearly help"
        if self.gain < -2 * self.standard_error:
            verdict = "harms"
        return (
            f"sharing {verdict}: error {self.shared:.3f}, against {self.single_task:.3f} of each "
            f"task alone and {self.pooled:.3f} of one model for all tasks; "
            f"gain {100 * self.gain:.1f} % +/- {100 * self.standard_error:.1f} % over "
            f"{self.tasks} tasks"
        )


def compare(model: SharedRepresentation, table: Table, folds: int, seed: int) -> SharingGain:
    """Compare a model with each task alone and with one model for all tasks by cross-validation."""
    rows = table.rows
    sizes = np.diff(rows.offsets)
    least = 2 + int(model.fit_intercept)  # for training: the pooled model splits its rows again
    if sizes.min() <= least:
        raise ValueError(
            f"sharing_gain needs at least {least + 1} rows of every task; task "
            f"{show_label(table.labels[sizes.argmin()])} has {int(sizes.min())}"
        )
    folds = min(folds, int(sizes.min()))
    left = int((sizes - -(-sizes // folds)).min())
    if left < least:
        raise ValueError(
            f"folds must leave at least {least} rows of every task for training; {folds} folds "
            f"leave {left}"
        )
    fold = _folds(rows.offsets, folds, seed)
    squares = np.empty((len(MODELS), len(rows.y)))
    features = whiten(model.whiten, rows.X, model.fit_intercept, seed)
    for f in range(fold.max() + 1):
        train, held = _select(rows, fold != f), _select(rows, fold == f)
        predictions = _predict(model, replace(table, rows=train), held, features, seed)
        squares[:, fold == f] = np.square(held.y - predictions)
    variances = task_sums(center(rows.y, rows.offsets)[:, None] ** 2, rows.offsets)[:, 0]
    varied = variances > 0
    if not varied.any():
        raise ValueError("y must vary within at least one task; it is constant in each")
    errors = task_sums(squares.T, rows.offsets)[varied].T / variances[varied]
    means = errors.mean(axis=1)
    best = 1 + int(np.argmin(means[1:]))
    ratio = float(means[0] / means[best]) if means[best] > 0 else 1.0
    # The standard error of a ratio of means over tasks, to first order.
    off = errors[0] - ratio * errors[best]
    count = int(varied.sum())
    deviation = float(off.std(ddof=1)) if count > 1 else float("nan")
    standard_error = deviation / np.sqrt(count) / float(means[best] or 1.0)
    return SharingGain(
        shared=float(means[0]),
        single_task=float(means[1]),
        pooled=float(means[2]),
        gain=1 - ratio,
        standard_error=float(standard_error),
        tasks=count,
    )


def _folds(offsets: I64, folds: int, seed: int) -> I64:
    """Return a fold for every row, (N,), chosen at random and evenly within each task."""
    rng = np.random.default_rng(seed)
    sizes = np.diff(offsets).tolist()
    return np.concatenate([rng.permutation(np.arange(m) % folds) for m in sizes])


def _select(rows: TaskRows, chosen: I64) -> TaskRows:
    """Return the chosen entries of every task, without copying features."""
    counts = task_sums(chosen[:, None].astype(float), rows.offsets)[:, 0].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return TaskRows(rows.X, rows.order[chosen], offsets, rows.y[chosen])


def _predict(
    model: SharedRepresentation, train: Table, held: TaskRows, features: Features, seed: int
) -> F64:
    """Return the predictions of the three models for held-out rows, (3, N).

    All three are fitted to responses that are divided by the scales of the tasks.
    """
    shared = clone(model)
    threads = check.threads(model.threads)
    shared.n_features_in_ = int(train.rows.X.shape[1])
    shared._fit_table(train, seed, threads, features)
    number = np.repeat(np.arange(held.n), np.diff(held.offsets))
    ours = shared._predict_rows(shared._project(held.X)[held.order], number)
    work = replace(
        train.rows, X=features.X, y=train.rows.y / spread(shared.scales_, train.rows.offsets)
    )
    held = replace(held, X=features.X)
    single = _predict_single_tasks(work, held, model.fit_intercept, threads)
    pooled = _predict_pooled(work, held, model, seed, threads)
    scales = spread(shared.scales_, held.offsets)
    return np.stack([ours, single * scales, pooled * scales])


def _predict_single_tasks(train: TaskRows, held: TaskRows, intercept: bool, threads: int) -> F64:
    """Return the predictions of ridge regression of each task alone, (N,)."""
    samples = train.open(0, threads)
    contrasts: Samples = Contrasts(samples) if intercept else samples
    a = dual_coefficients(contrasts, "loo")[:, None]
    if isinstance(contrasts, Contrasts):
        a = contrasts.expand(a)
    predicted = np.empty(len(held.y))
    for fitted, new in zip(_ranges(train), _ranges(held), strict=True):
        X = train.X[train.order[fitted]]
        theta = np.asarray(X.T @ a[fitted, 0])
        offset = np.mean(train.y[fitted] - X @ theta) if intercept else 0.0
        predicted[new] = held.X[held.order[new]] @ theta + offset
    return predicted


def _predict_pooled(
    train: TaskRows, held: TaskRows, model: SharedRepresentation, seed: int, threads: int
) -> F64:
    """Return the predictions of one ridge regression for all tasks, (N,).

    The penalty has the least error on a fifth of the rows, chosen at random within each task.
    """
    fold = _folds(train.offsets, min(5, int(np.diff(train.offsets).min())), seed)
    rest, inner = _select(train, fold != 0), _select(train, fold == 0)
    scale = _mean_square(train.X) * train.X.shape[1] / min(train.X.shape)
    errors = [
        np.mean(np.square(inner.y - _fit_pooled(rest, inner, ridge, model.fit_intercept, threads)))
        for ridge in PENALTIES * scale
    ]
    best = float(PENALTIES[int(np.argmin(errors))] * scale)
    return _fit_pooled(train, held, best, model.fit_intercept, threads)


def _fit_pooled(
    train: TaskRows, held: TaskRows, ridge: float, intercept: bool, threads: int
) -> F64:
    """Return the predictions of one ridge regression with a given penalty, (N,)."""
    samples = train.open(0, threads)
    estimate = Pooled(ridge=ridge, tol=1e-6).estimate(
        Contrasts(samples) if intercept else samples, 1, Unrecorded()
    )
    assert estimate.heads is not None
    theta = estimate.B[:, 0] * estimate.heads[0, 0]
    predicted = multiply(held.X, theta)[held.order]
    if intercept:
        off = train.y - multiply(train.X, theta)[train.order]
        means = task_sums(off[:, None], train.offsets)[:, 0] / np.diff(train.offsets)
        predicted = predicted + np.repeat(means, np.diff(held.offsets))
    return np.asarray(predicted)


def _mean_square(X: Any) -> float:
    """Return the mean of the squared features of dense or sparse rows, without copying them."""
    values = X.ravel() if isinstance(X, np.ndarray) else X.data
    return float(np.einsum("i,i->", values, values, dtype=np.float64) / (X.shape[0] * X.shape[1]))


def _ranges(rows: TaskRows) -> list[slice]:
    """Return the range of the entries of each task."""
    return [slice(*pair) for pair in pairwise(rows.offsets.tolist())]
