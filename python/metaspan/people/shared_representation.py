r"""The estimator for many small related regressions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted

from .._support import check
from .._support.types import F64
from ..estimators.reference_lines import SingleTask
from ..estimators.ridge import check_ridge
from ..estimators.samples import I64, Samples, spread, task_sums
from ..estimators.subset import take_tasks
from .adapted import AdaptedModel
from .finders import find, resolve_finder
from .heads import (
    Options,
    Prior,
    TaskSums,
    center,
    choose_ridge,
    loo_residuals,
    ridge_heads,
    standardise,
)
from .inputs import (
    COLUMNS,
    LISTS,
    Table,
    count_axes,
    is_list_of_tasks,
    names_of_columns,
    read,
    read_features,
    read_labels,
    read_lists,
    read_long,
    read_responses,
    show_label,
)
from .sharing import SharingGain, compare
from .task_rows import Contrasts, TaskRows, multiply
from .whitening import Features, whiten

LOO = "loo"
EXTREME = 1e60  # the largest accepted response; squares of products of two responses must be finite
BORROWED = 3.0  # weight of the mean variance of the tasks in the squared scale of each task


class SharedRepresentation(TransformerMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Linear regression of many related tasks whose coefficients share a few directions.

    The model (69) of task i is ``y = c_i + x^T C w_i + noise``, with `rank` components, the columns
    of C, for all tasks, and a head w_i and an intercept c_i for each task. Components found on many
    tasks make a regression on few rows of a new task accurate: `adapt`.

    Parameters
    ----------
    rank : int or "cv"
        Number of components, at most the number of tasks. "cv": the smallest number from 1 to 10
        whose error in predicting rows of held-out tasks exceeds the least error by at most one
        standard error.
    method : str, estimator or method
        How the components are found. An estimator of `ms.fit`: "altmin-gd", "altmin", "altgdmin",
        "moments", "duchi", "split-spectral", "burer-monteiro", "trace-norm", "meta-sp",
        "reduced-rank" or "single-task". A method of `ms.train`: "anil", "fo-anil", "maml",
        "fo-maml", "fedavg", "reptile", "ridge-anil" or "fedrep", which trains on copies of the
        rows, half of them inner samples; its step sizes suit features with a variance of about 1,
        as those of `whiten`. An object, such as ``ms.ANIL(alpha=0.1, beta=0.1)``, sets options.
    fit_mean : bool
        Whether heads shrink towards their mean over the tasks, `mean_head_`, instead of zero.
    fit_intercept : bool
        Whether every task has an intercept.
    whiten : None or str
        "pca:40": the components are found in the space of the first 40 principal components of the
        rows, each with variance 1. Whitening helps if features are strongly correlated.
    scale_targets : bool
        Whether the responses of each task are divided by a scale of the task; this helps if the
        responses of tasks differ in size or unit. The squared scale of a task with m rows is a
        weighted mean: the task's own variance has the weight m - 1 (m without intercepts), and the
        mean variance of all tasks has the weight 3.
    ridge : float or "loo"
        The penalty of the heads (70): ``||y - c - X C w||^2 + ridge ||w - mean_head_||^2``. The
        components are scaled so that heads have a variance of 1 over the tasks; the best penalty is
        then the variance of the noise, if the model holds. "loo": the penalty that is nearest to
        the estimated variance of the noise, among those whose leave-one-out error is within one
        standard error of the least.
    rounds : int or None
        The largest number of iterations of an iterative estimator, which may converge earlier, or
        the number of rounds of training. None: an iterative estimator ends once ten iterations
        lower the loss by less than a thousandth, or after 100 iterations, since more iterations
        hardly improve predictions; training takes 1000 rounds.
    random_state : int
        Seed of all random numbers, >= 0: the same seed gives the same bits.
    threads : int or None
        Number of threads; None: the number of CPUs that this process may use. The bits of the
        results do not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (rank, d), float64
        The components, in descending order of `explained_`. Scores ``transform(X) = (X -
        feature_mean_) @ components_.T`` are uncorrelated within tasks. A component along which no
        row differs from the others of its task is zero.
    heads_ : ndarray of shape (n, rank), float64
        The heads of the tasks.
    intercepts_ : ndarray of shape (n,), float64
        The intercepts of the tasks: the predictions where all scores are zero.
    mean_head_ : ndarray of shape (rank,), float64
        The mean of the heads over tasks; zeros without `fit_mean`, or if there is one task.
    explained_ : ndarray of shape (rank,), float64
        Share of the variance of the responses within tasks that each component explains by the
        fitted model, with the part that the mean head explains: the variance of the scores times
        ``1 + mean_head_**2``, divided by the sum of all these products and `noise_`. The shares of
        the components and of the noise add up to 1. If components fit the noise of the rows, their
        shares are too large.
    noise_ : float
        Estimated variance of the noise; with `scale_targets`, of the noise of scaled responses.
    ridge_ : float
        The penalty of the heads.
    rank_ : int
        Number of components.
    tasks_ : ndarray of shape (n,)
        Labels of the tasks, sorted; the columns of y; or the numbers of the tasks in a list.
    scales_ : ndarray of shape (n,), float64
        The scales of the tasks; 1 unless `scale_targets`.
    feature_mean_ : ndarray of shape (d,), float64
        Mean of the features over rows; zeros without `fit_intercept`.
    sharing_gain_ : SharingGain
        The last result of `sharing_gain`.
    n_features_in_, feature_names_in_ : int, ndarray of str
        As in scikit-learn.

    Notes
    -----
    The features are read in place, in float32 or float64, dense or as a CSR matrix; a list of tasks
    is copied once into one table. Beside the features, a fit needs memory for about 6 d rank
    numbers and for a few matrices (N, rank), where N is the number of rows of all tasks. An
    iteration reads the features once if the rows are sorted by the labels of their tasks, and
    otherwise, or if y is a matrix, twice. Whitening stores the principal components of all rows,
    and a method of training copies all rows.

    Examples
    --------
    >>> import numpy as np, metaspan as ms
    >>> rng = np.random.default_rng(0)
    >>> heads = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))  # 40 tasks, 30 features
    >>> X, tasks = rng.normal(size=(1000, 30)), np.repeat(np.arange(40), 25)
    >>> y = np.sum(X * heads[tasks], axis=1) + rng.normal(size=1000)
    >>> model = ms.SharedRepresentation(rank=2).fit(X, y, tasks=tasks)
    >>> model.components_.shape, model.heads_.shape
    ((2, 30), (40, 2))
    >>> new = model.adapt(X[:5], X[:5] @ heads[0])
    >>> new.predict(X[:2]).shape
    (2,)
    """

    components_: F64
    heads_: F64
    intercepts_: F64
    mean_head_: F64
    explained_: F64
    noise_: float
    ridge_: float
    rank_: int
    tasks_: NDArray[Any]
    scales_: F64
    feature_mean_: F64
    sharing_gain_: SharingGain
    n_features_in_: int

    def __init__(
        self,
        rank: int | str = "cv",
        method: Any = "altmin-gd",
        *,
        fit_mean: bool = True,
        fit_intercept: bool = True,
        whiten: str | None = None,
        scale_targets: bool = False,
        ridge: float | str = LOO,
        rounds: int | None = None,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.rank = rank
        self.method = method
        self.fit_mean = fit_mean
        self.fit_intercept = fit_intercept
        self.whiten = whiten
        self.scale_targets = scale_targets
        self.ridge = ridge
        self.rounds = rounds
        self.random_state = random_state
        self.threads = threads

    def fit(self, X: Any, y: Any, tasks: Any = None) -> SharedRepresentation:
        r"""Find the components, and fit the heads of all tasks.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (rows, d), or list of n arrays of shape (m_i, d)
            The features, float32 or float64.
        y : array_like of shape (rows,) or (rows, n), or list of n arrays of shape (m_i,)
            The responses. Each column of a matrix is a task on the rows of X, and NaN marks values
            that are missing.
        tasks : array_like of shape (rows,), or None
            The label of the task of each row: strings or numbers. None: all rows are one task.

        Returns
        -------
        SharedRepresentation
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value, or the tasks do not determine
            `rank` components.
        """
        seed, threads = self._check_options()
        table = read(self, X, y, tasks)
        self._fit_table(table, seed, threads)
        return self

    def predict(self, X: Any, tasks: Any = None) -> Any:
        r"""Predict responses of the tasks that were fitted.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (rows, d), or list of n arrays of shape (m_i, d)
            The features; a list has an array for each task, in the order of `fit`.
        tasks : array_like of shape (rows,), scalar, or None
            The label of the task of each row, or of all rows. None: the only task; all tasks, after
            a fit on a matrix y.

        Returns
        -------
        ndarray of shape (rows,) or (rows, n), or list of ndarray
            The predictions: for each task a column after a fit on a matrix y, unless `tasks` is
            given, and for each task an array if X is a list.

        Raises
        ------
        ValueError
            If a task is unknown, or `tasks` is missing.
        """
        check_is_fitted(self)
        if is_list_of_tasks(X):
            self._check_list(X, tasks)
            return [self.predict(task, i) for i, task in enumerate(X)]
        Z = self._scores(X)
        if tasks is None and self._form == COLUMNS:
            return (Z @ self.heads_.T) + self.intercepts_
        return self._predict_rows(Z, self._task_numbers(tasks, len(Z)))

    def transform(self, X: Any) -> F64:
        r"""Compute the scores of rows on the components.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (rows, d)
            The features.

        Returns
        -------
        ndarray of shape (rows, rank), float64
            ``(X - feature_mean_) @ components_.T``.
        """
        return self._scores(X)

    def adapt(self, X: Any, y: Any) -> AdaptedModel:
        r"""Fit the head and the intercept of a new task on the components.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (m, d)
            The features of a few rows of the task.
        y : array_like of shape (m,)
            The responses.

        Returns
        -------
        AdaptedModel
            The model of the task, with the penalty `ridge_` and the prior `mean_head_`.
        """
        Z = self._scores(X)
        y = read_responses(y, len(Z))
        offsets = np.array([0, len(y)])
        scale = self._scales(y, offsets)
        heads, intercepts = self._solve(Z, y / scale, offsets)
        head, intercept = heads[0] * scale[0], float(intercepts[0] * scale[0])
        coef = head @ self.components_
        return AdaptedModel(head, coef, intercept - float(coef @ self.feature_mean_))

    def score(self, X: Any, y: Any, tasks: Any = None, sample_weight: Any = None) -> float:
        r"""Compute the coefficient of determination, R^2, within tasks.

        It is one minus the squared errors, summed over all rows, divided by the squared deviations
        of the responses from the mean of their task. A row of a task that was not fitted is
        predicted by the head that `adapt` gives for the other rows of this task in X, so held-out
        tasks have a score too.

        Parameters
        ----------
        X, y, tasks : array_like
            As in `fit`; a list has an array for each task, in the order of `fit`.
        sample_weight : array_like of shape (rows,), or None
            Weights of the rows in the sums and in the means of the tasks, >= 0; not for a list.
            None: all weights are 1.

        Returns
        -------
        float
            The score; 1 is best. For a matrix y, the mean of the R^2 of the columns that have at
            least two values. NaN if the responses do not vary within any task, so that no score is
            defined.
        """
        check_is_fitted(self)
        if is_list_of_tasks(X):
            self._check_list(X, tasks)
            if sample_weight is not None:
                raise ValueError("sample_weight must be left out where X is a list")
            table = read_lists(self, X, y, reset=False)
            weights = np.ones(len(table.rows.y))
        else:
            X = read_features(self, X, reset=False)
            weights = _read_weights(sample_weight, X.shape[0])
            if count_axes(y) == 2:
                if tasks is not None:
                    raise ValueError("tasks must be left out where each column of y is a task")
                return self._score_columns(X, y, weights)
            y = read_responses(y, X.shape[0])
            if tasks is None:
                predicted = self._predict_rows(self._project(X), self._task_numbers(None, len(y)))
                return float(r2_score(y, predicted, sample_weight=weights))
            table = read_long(X, y, tasks)
        rows = table.rows
        errors = self._errors(self._project(rows.X)[rows.order], rows, table.labels)
        weights = weights[rows.order]
        off = rows.y - self._levels(rows, weights)
        used = np.isfinite(errors)
        total = float(np.sum(weights[used] * off[used] ** 2))
        return 1 - float(np.sum((weights * errors**2)[used])) / total if total > 0 else math.nan

    def sharing_gain(self, X: Any, y: Any, tasks: Any = None, *, folds: int = 5) -> SharingGain:
        r"""Judge by cross-validation whether tasks gain from shared components.

        The rows of each task are split into folds. On the rows outside a fold, three models are
        fitted: a copy of this estimator, ridge regression of each task alone, and one ridge
        regression for all tasks with an intercept for each. Each predicts the rows of the fold.

        Parameters
        ----------
        X, y, tasks : array_like
            As in `fit`. Every task needs at least four rows, or three without intercepts.
        folds : int
            Number of folds, >= 2; at most as many as the smallest task has rows are used. Outside a
            fold, every task must have at least three rows, or two without intercepts.

        Returns
        -------
        SharingGain
            The errors of the three models, and the gain with its standard error. It is also stored
            as the attribute `sharing_gain_`.
        """
        seed, _ = self._check_options()
        table = read(clone(self), X, y, tasks)  # which leaves what a fit has set
        self.sharing_gain_ = compare(self, table, check.integer("folds", folds, 2), seed)
        return self.sharing_gain_

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        r"""Return names of the scores that `transform` computes.

        Parameters
        ----------
        input_features : object
            Not used; an argument of the interface of scikit-learn.

        Returns
        -------
        ndarray of shape (rank,), object
            "component0", "component1", ...
        """
        check_is_fitted(self)
        return np.array([f"component{j}" for j in range(self.rank_)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "components_")

    def _check_options(self) -> tuple[int, int]:
        """Check the parameters of the constructor; return the seed and the number of threads."""
        if isinstance(self.rank, str):
            check.choice("rank", self.rank, ("cv",))
        else:
            check.integer("rank", self.rank, 1)
        for name in ("fit_mean", "fit_intercept", "scale_targets"):
            check.flag(name, getattr(self, name))
        check_ridge(self.ridge)
        if self.rounds is not None:
            check.integer("rounds", self.rounds, 1)
        seed = check.integer("random_state", self.random_state, 0, 2**64 - 1)
        return seed, check.threads(self.threads)

    def _fit_table(
        self, table: Table, seed: int, threads: int, whitened: Features | None = None
    ) -> None:
        """Fit the components, the heads and the intercepts to the rows of all tasks.

        `whitened` has the features of the table after `whiten`, if they are known.
        """
        rows, offsets = table.rows, table.rows.offsets
        _check_responses(rows, self.fit_intercept)
        self.tasks_, self._form = table.labels, table.form
        self._common_variance = _common_variance(rows.y, offsets, self.fit_intercept)
        self.scales_ = self._scales(rows.y, offsets)
        y = rows.y / spread(self.scales_, offsets)
        if whitened is None:
            whitened = whiten(self.whiten, rows.X, self.fit_intercept, seed)
        samples = TaskRows(whitened.X, rows.order, offsets, y).open(seed, threads)
        B = self._find(samples, seed)
        options = Options(self.fit_intercept, self.fit_mean)
        features = samples.features(B)
        C, prior = standardise(B, features, y, offsets, options)
        self.components_ = np.ascontiguousarray(whitened.restore(C).T)
        self.feature_mean_ = whitened.mean
        # B is orthonormal and C is in its span: X C needs no further pass over X.
        Z = features @ (B.T @ C) - whitened.shift(C)
        self._fit_heads(Z, y, offsets, prior)

    def _find(self, samples: Samples, seed: int) -> F64:
        """Find the components from the tasks that have enough rows to inform about them."""
        for most, what in ((samples.n, "tasks"), (samples.dim, "features")):
            if not isinstance(self.rank, str) and self.rank > most:
                of_whitened = " after whitening" if self.whiten and what == "features" else ""
                raise ValueError(
                    f"rank must be at most {most}, the number of {what}{of_whitened}; "
                    f"got {self.rank}"
                )
        finder = resolve_finder(self.method, seed)
        if samples.n == 1:  # the one component is the direction of its coefficients
            finder = SingleTask()
        rank = 1 if samples.n == 1 else self.rank
        spare = np.diff(samples.offsets) - int(self.fit_intercept)
        _check_features(samples, self.fit_intercept)
        enough = np.flatnonzero(spare >= min(2, int(spare.max())))
        if len(enough) < samples.n:
            samples = take_tasks(samples, enough)
        if self.fit_intercept:
            samples = Contrasts(samples)
        return find(finder, samples, rank, seed, self.rounds)

    def _fit_heads(self, Z: F64, y: F64, offsets: I64, prior: Prior) -> None:
        """Choose the penalty, and fit the heads of all tasks to scores Z and scaled responses y."""
        self.rank_, self.noise_, self.mean_head_ = Z.shape[1], prior.noise, prior.mean
        self.ridge_ = (
            choose_ridge(Z, y, offsets, prior, self.fit_intercept)
            if isinstance(self.ridge, str)
            else float(self.ridge)
        )
        heads, intercepts = self._solve(Z, y, offsets)
        self.heads_ = heads * self.scales_[:, None]
        self.intercepts_ = intercepts * self.scales_
        sums = TaskSums.of(Z, y, offsets, self.fit_intercept)
        variances = np.einsum("njj->j", sums.A) / max(sums.count, 1) * (1 + self.mean_head_**2)
        self.explained_ = variances / (variances.sum() + self.noise_)

    def _solve(self, Z: F64, y: F64, offsets: I64) -> tuple[F64, F64]:
        """Return the heads (n, rank) and the intercepts (n,) of tasks with scaled responses."""
        sums = TaskSums.of(Z, y, offsets, self.fit_intercept)
        heads = ridge_heads(sums.A, sums.b, self.ridge_, self.mean_head_)
        if not self.fit_intercept:
            return heads, np.zeros(len(heads))
        residuals = y - np.sum(Z * spread(heads, offsets), axis=1)
        return heads, task_sums(residuals[:, None], offsets)[:, 0] / np.diff(offsets)

    def _scales(self, y: F64, offsets: I64) -> F64:
        """Return the scales (n,) by which the responses of tasks are divided."""
        if not self.scale_targets:
            return np.ones(len(offsets) - 1)
        spare = np.diff(offsets) - int(self.fit_intercept)
        squares = _squares(y, offsets, self.fit_intercept)
        variances = (squares + BORROWED * self._common_variance) / (spare + BORROWED)
        return np.sqrt(np.where(variances > 0, variances, 1.0))

    def _scores(self, X: Any) -> F64:
        """Return the scores of rows on the components, (rows, rank)."""
        check_is_fitted(self)
        return self._project(read_features(self, X, reset=False))

    def _project(self, X: Any) -> F64:
        """Return the scores of checked rows, (rows, rank)."""
        return multiply(X, self.components_.T) - self.components_ @ self.feature_mean_

    def _predict_rows(self, Z: F64, number: I64) -> F64:
        """Return the predictions of rows from their scores and the numbers of their tasks."""
        predicted: F64 = np.sum(Z * self.heads_[number], axis=1) + self.intercepts_[number]
        return predicted

    def _check_list(self, X: Any, tasks: Any) -> None:
        """Raise ValueError unless the fit was on a list of the same length, and `tasks` is None."""
        if self._form != LISTS:
            raise ValueError(
                f"X must be one table of rows, since the fit was on {self._form}; got a list"
            )
        if len(X) != len(self.tasks_):
            raise ValueError(
                f"X must have {len(self.tasks_)} arrays, one for each task; got {len(X)}"
            )
        if tasks is not None:
            raise ValueError("tasks must be left out where X is a list with an array for each task")

    def _task_numbers(self, tasks: Any, rows: int) -> I64:
        """Return the number of the task of each row, from labels that must be known."""
        if tasks is None:
            if len(self.tasks_) > 1:
                raise ValueError(
                    f"tasks must be given, since {len(self.tasks_)} tasks were fitted; got None"
                )
            return np.zeros(rows, np.int64)
        if np.ndim(tasks) == 0:
            labels = np.repeat(read_labels([np.asarray(tasks)[()]], 1), rows)
        else:
            labels = read_labels(tasks, rows)
        number, known = _find_labels(self.tasks_, labels)
        if not known.all():
            raise ValueError(
                f"tasks must be among the {len(self.tasks_)} fitted ones, and a new task needs "
                f"adapt(X, y); got {show_label(labels[~known][0])}"
            )
        return number

    def _errors(self, Z: F64, rows: TaskRows, labels: NDArray[Any]) -> F64:
        """Return the errors of predictions; of an unknown task, each row's from the other rows."""
        y, offsets = rows.y, rows.offsets
        number, known = _find_labels(self.tasks_, labels)
        errors = y - self._predict_rows(Z, np.repeat(number, np.diff(offsets)))
        if not known.all():
            scale = spread(self._scales(y, offsets), offsets)
            left_out = loo_residuals(
                Z, y / scale, offsets, self.ridge_, self.mean_head_, self.fit_intercept
            )
            errors = np.where(np.repeat(known, np.diff(offsets)), errors, left_out * scale)
        return np.asarray(errors)

    def _levels(self, rows: TaskRows, weights: F64) -> F64 | float:
        """Return the weighted mean response of the task of each row, or 0 without intercepts."""
        if not self.fit_intercept:
            return 0.0
        shares = np.stack([weights * rows.y, weights], axis=1)
        sums = task_sums(shares, rows.offsets)
        means = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(rows.n), where=sums[:, 1] > 0)
        return spread(means, rows.offsets)

    def _score_columns(self, X: Any, Y: Any, weights: F64) -> float:
        """Return the mean R^2 of the columns of a matrix of responses, which may have NaN."""
        if self._form != COLUMNS:
            raise ValueError(
                f"y must have one axis, since the fit was on {self._form}; got {count_axes(Y)} axes"
            )
        if hasattr(Y, "columns") and list(names_of_columns(Y)) != self.tasks_.tolist():
            raise ValueError("y must have the columns of the fit, in the same order")
        Y = check_array(Y, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
        predicted = (self._project(X) @ self.heads_.T) + self.intercepts_
        if Y.shape != predicted.shape:
            raise ValueError(f"y must have the shape {predicted.shape}; got {Y.shape}")
        measured = ~np.isnan(Y)
        scores = [
            r2_score(Y[rows, i], predicted[rows, i], sample_weight=weights[rows])
            for i, rows in enumerate(measured.T)
            if np.count_nonzero(weights[rows]) > 1
        ]
        return float(np.mean(scores)) if scores else math.nan

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags


def _check_responses(rows: TaskRows, intercept: bool) -> None:
    """Raise ValueError unless the responses of a task carry information about its coefficients."""
    sizes = np.diff(rows.offsets)
    if sizes.max() <= intercept:
        raise ValueError("fit needs a task with at least 2 rows; the largest task has 1 sample")
    largest = _largest_values(rows.y, rows.offsets, intercept)
    if largest == 0 and intercept:
        raise ValueError("y must vary within at least one task; it is constant in each")
    if not 1 / EXTREME <= largest <= EXTREME:
        what = "differences within tasks" if intercept else "values"
        raise ValueError(
            f"y must have {what} of at least {1 / EXTREME:g} and at most {EXTREME:g}; the largest "
            f"is {largest:g}"
        )


def _check_features(samples: Samples, intercept: bool) -> None:
    """Raise ValueError if the features are zero, or with an intercept constant in each task.

    The features are multiplied by a random vector; equal rows then differ by rounding errors alone.
    """
    Z = samples.features(samples.normals(1, 0))[:, 0]
    size = float(np.abs(Z).max())
    if size == 0:
        raise ValueError("X must have values other than zero; got only zeros")
    if _largest_values(Z, samples.offsets, intercept) <= 1e3 * np.finfo(float).eps * size:
        raise ValueError("X must vary within at least one task; it is constant in each")


def _largest_values(values: F64, offsets: I64, intercept: bool) -> float:
    """Return the largest absolute value, or with an intercept the largest range of a task."""
    if not intercept:
        return float(np.abs(values).max())
    highest, lowest = (f.reduceat(values, offsets[:-1]) for f in (np.maximum, np.minimum))
    with np.errstate(over="ignore"):
        return float((highest - lowest).max())


def _read_weights(sample_weight: Any, rows: int) -> F64:
    """Check the weights of rows, which are 1 by default."""
    if sample_weight is None:
        return np.ones(rows)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (rows,) or weights.min() < 0:
        raise ValueError(
            f"sample_weight must have {rows} numbers >= 0, one for each row of X; got the shape "
            f"{weights.shape} and at least {weights.min():g}"
        )
    return np.asarray(weights)


def _squares(y: F64, offsets: I64, intercept: bool) -> F64:
    """Return the sum of squared responses (n,) of every task; with intercepts, about its mean."""
    off = center(y, offsets) if intercept else y
    return task_sums(off[:, None] ** 2, offsets)[:, 0]


def _common_variance(y: F64, offsets: I64, intercept: bool) -> float:
    """Return the mean variance of the responses of a task."""
    spare = np.maximum(np.diff(offsets) - int(intercept), 1)
    return float(np.mean(_squares(y, offsets, intercept) / spare))


def _find_labels(known: NDArray[Any], labels: NDArray[Any]) -> tuple[I64, NDArray[np.bool_]]:
    """Return the index of each label among the known ones, or 0, and whether it is known."""
    if known.dtype.kind == labels.dtype.kind == "M":  # dates may have different units
        unit = np.result_type(known, labels)
        known, labels = known.astype(unit).view(np.int64), labels.astype(unit).view(np.int64)
    places = {label: i for i, label in enumerate(known.tolist())}
    found = np.array([places.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    return np.maximum(found, 0), found >= 0
