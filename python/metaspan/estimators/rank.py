r"""Chooses the width of a representation by cross-validation over tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .._support import check
from .._support.types import F64
from .estimator import Estimator, Monitor, Unrecorded
from .ridge import loo_errors, mean_eigenvalue, penalties
from .samples import I64, Samples, lengths
from .solvers import WidthError
from .space import EstimateError
from .subset import take_tasks

MOST = 10  # the largest width that is tried unless candidates are given
FOLDS = 5  # of cross-validation, by default


@dataclass(frozen=True)
class WidthChoice:
    """The width that cross-validation chose, and the errors of all candidates.

    Parameters
    ----------
    width : int
        The smallest width whose error exceeds the least error by at most one standard error of the
        difference between the two errors.
    candidates : tuple of int
        The widths that were tried, increasing.
    errors : ndarray
        Mean error on held-out tasks for each candidate: the squared error of a predicted sample;
        for an estimator that sees only averages, the squared error of a predicted average less a
        constant.
    standard_errors : ndarray
        Standard error of the difference between each error and the least error; 0 for the least
        error.
    """

    width: int
    candidates: tuple[int, ...]
    errors: F64
    standard_errors: F64


def choose_width(  # noqa: PLR0917
    estimator: Estimator,
    samples: Samples,
    candidates: Sequence[int] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    monitor: Callable[[], Monitor] = Unrecorded,
) -> WidthChoice:
    r"""Choose the width of a representation by cross-validation over tasks.

    The tasks are split into folds at random. For each fold, the estimator is fitted to the tasks of
    all other folds. For each task of the fold and each of its samples, a ridge head is fitted to
    the task's other samples and predicts this sample. A closed form gives the errors of these
    predictions. For each fold and width, the penalty is the one with the least error over the tasks
    of the fold.

    If the estimator sees only averages, one average v of a held-out task predicts the other average
    u through the representation. The error is ``||u - c B B^T v||^2 - ||u||^2``, with the best c
    for the tasks of the fold.

    Errors of two widths are compared task by task. The choice is the smallest width whose error is
    within one standard error of the least error. An additional direction must therefore reduce the
    error, and the smallest of equally good widths is chosen.

    Parameters
    ----------
    estimator : Estimator
        The estimator. If its ``nested`` is true, the columns of a wide representation begin with
        those of narrower ones, and one fit for each fold serves all candidates.
    samples : Samples
        The samples of all tasks.
    candidates : sequence of int or None
        The widths to try; None: those from 1 to 10 that are below the number of tasks and that the
        estimator accepts. A candidate is left out if the training tasks of a fold do not determine
        so wide a representation.
    folds : int
        Number of folds, at most the number of tasks.
    seed : int
        Seed of the random split.
    monitor : callable
        Returns a new monitor, which can stop the iterations of a fit early; one is used for each
        fit.

    Returns
    -------
    WidthChoice
        The width, and the error of each candidate.

    Raises
    ------
    ValueError
        If there are fewer than two tasks, a task has fewer than two samples, a candidate is not a
        width, or the estimator cannot run on the samples.

    Notes
    -----
    The cost is that of `folds` fits if the estimator is nested, and otherwise of `folds` fits for
    each candidate. In addition, for each candidate the features of each task are decomposed by an
    SVD.
    """
    if getattr(estimator, "holds_rows", False):
        raise EstimateError(
            "width must be a number for meta-sp with semigradient, whose X_next has the rows of "
            'all tasks; got "cv"'
        )
    widths = _check_candidates(estimator, samples, candidates)
    folds = min(check.integer("folds", folds, 2), samples.n)
    if samples.n < 2 or lengths(samples).min() < 2:
        raise EstimateError(
            'width="cv" needs at least two tasks with at least two samples each; got '
            f"{samples.n} tasks and at least {lengths(samples).min()} samples"
        )
    order = np.random.default_rng(seed).permutation(samples.n)
    errors = np.full((samples.n, len(widths)), np.nan)
    for fold in range(folds):
        held = np.sort(order[fold::folds])
        rest = take_tasks(samples, np.setdiff1d(np.arange(samples.n), held))
        representations = _fit_widths(estimator, rest, widths, monitor)
        errors[held, : len(representations)] = _held_out_errors(
            estimator, samples, held, representations
        )
    return _choose(widths, errors, samples.weights)


def usual_widths(dim: int, n: int) -> range:
    """Return the widths that are tried by default, for samples of n tasks with `dim` features."""
    return range(1, min(MOST, dim, max(n - 1, 1)) + 1)


def _check_candidates(
    estimator: Estimator, samples: Samples, candidates: Sequence[int] | None
) -> tuple[int, ...]:
    """Check the candidates and sort them; by default, the widths that the estimator accepts."""
    if candidates is not None:
        chosen = {check.integer("candidates", k, 1, samples.dim) for k in candidates}
        if not chosen:
            raise ValueError("candidates must have at least one width; got none")
        for k in chosen:
            estimator.check(samples, k)
        return tuple(sorted(chosen))
    widths = usual_widths(samples.dim, samples.n)
    refusals = [_refusal(estimator, samples, k) for k in widths]
    accepted = tuple(k for k, refusal in zip(widths, refusals, strict=True) if refusal is None)
    if not accepted:
        raise EstimateError(str(refusals[0])) from refusals[0]
    return accepted


def _refusal(estimator: Estimator, samples: Samples, width: int) -> ValueError | None:
    """Return the error by which an estimator refuses a width for these samples, if it does."""
    try:
        estimator.check(samples, width)
    except ValueError as error:
        return error
    return None


def _fit_widths(
    estimator: Estimator,
    samples: Samples,
    widths: tuple[int, ...],
    monitor: Callable[[], Monitor],
) -> list[F64]:
    """Return representations of all widths that the samples determine, narrow ones first."""
    if getattr(estimator, "nested", False):
        try:
            B = estimator.estimate(samples, widths[-1], monitor()).B
        except WidthError as error:
            widths = tuple(k for k in widths if k <= error.most)
            if not widths:
                raise
            B = estimator.estimate(samples, widths[-1], monitor()).B
        return [B[:, :k] for k in widths]
    representations: list[F64] = []
    for k in widths:
        # A fold has fewer tasks than all samples, for which the widths were checked.
        if representations and _refusal(estimator, samples, k) is not None:
            break
        try:
            representations.append(estimator.estimate(samples, k, monitor()).B)
        except WidthError:
            if not representations:
                raise
            break
    return representations


def _held_out_errors(
    estimator: Estimator, samples: Samples, held: I64, representations: list[F64]
) -> F64:
    """Return the mean error of each held-out task for each representation, (tasks, widths)."""
    finite = [j for j, B in enumerate(representations) if samples.space.is_finite(B)]
    if len(finite) < len(representations):  # the iterations of some widths diverged
        errors = np.full((len(held), len(representations)), np.inf)
        if finite:
            found = [representations[j] for j in finite]
            errors[:, finite] = _held_out_errors(estimator, samples, held, found)
        return errors
    bases = [samples.space.orthonormal(B) for B in representations]
    ends = np.cumsum([0, *(B.shape[1] for B in bases)])
    stacked = np.ascontiguousarray(np.concatenate(bases, axis=1))
    columns = [slice(*pair) for pair in pairwise(ends)]
    subset = take_tasks(samples, held)
    if estimator.uses_averages:
        averages = subset.averages()
        first, second = averages.products(stacked)
        scores = [_half_errors(first[:, c], second[:, c], averages.weights) for c in columns]
        return np.stack(scores, axis=1)
    Z = subset.features(stacked)
    errors = np.empty((len(held), len(bases)))
    for j, c in enumerate(columns):
        tried = penalties(mean_eigenvalue(Z[:, c], subset.offsets))
        sums = loo_errors(np.ascontiguousarray(Z[:, c]), subset.y, subset.offsets, tried)
        best = np.argmin(subset.weights @ sums)
        errors[:, j] = sums[:, best] / lengths(subset)
    return errors


def _half_errors(first: F64, second: F64, weights: F64) -> F64:
    """Return the squared errors (n,) of predicting average u from average v, less ||u||^2.

    The prediction of u is c B B^T v, with the one factor c that is best for all these tasks.
    """
    inner = np.sum(first * second, axis=1)
    squares = np.sum(first * first + second * second, axis=1) / 2
    factor = max(float(weights @ inner), 0.0) / max(float(weights @ squares), np.finfo(float).tiny)
    return np.asarray(factor**2 * squares - 2 * factor * inner)


def _choose(widths: tuple[int, ...], errors: F64, weights: F64) -> WidthChoice:
    """Apply the rule of one standard error to the errors (tasks, widths).

    An error is NaN if the width was not fitted, and infinite if its iterations diverged.
    """
    tried = np.isfinite(errors).all(axis=0)
    if not tried.any():
        raise EstimateError(
            "at least one width must have finite errors on held-out tasks; none of "
            f"{', '.join(map(str, widths))} has"
        )
    errors, widths = errors[:, tried], tuple(np.array(widths)[tried].tolist())
    shares = weights / weights.sum()
    means = shares @ errors
    differences = errors - errors[:, [int(np.argmin(means))]]
    excess = shares @ differences
    spread = np.sqrt(shares**2 @ np.square(differences - excess))
    chosen = int(np.flatnonzero(excess <= spread)[0])
    return WidthChoice(widths[chosen], widths, means, spread)
