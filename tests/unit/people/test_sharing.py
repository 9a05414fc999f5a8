"""Errors with and without shared components, against a cross-validation by refits."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError

import metaspan as ms
from matching import assert_one_sentence
from metaspan.people.sharing import _folds
from reference import people
from related_tasks import draw_related, make


@pytest.fixture(scope="module")
def data():
    return draw_related(np.random.default_rng(13), n=10, m=12, d=5)


def by_refits(data, folds, intercept=True):
    """The mean error of each of the three models, and the errors (3, n) of the tasks.

    The penalties of the two other models have the least error on the rows to which these models
    are fitted: the leave-one-out error for single tasks, and one inner fold for the pooled model.
    """
    X, y = data.lists()
    fold = people.split(_folds(12 * np.arange(11), folds, 0), 12 * np.arange(11))
    squares = np.zeros((3, len(y)))
    for f in range(folds):
        train = [part != f for part in fold]
        X_in = [task[rows] for task, rows in zip(X, train, strict=True)]
        y_in = [task[rows] for task, rows in zip(y, train, strict=True)]
        model = make(method="altmin", fit_intercept=intercept).fit(X_in, y_in)
        singles = fit_singles(X_in, y_in, intercept)
        theta = fit_pooled(X_in, y_in, intercept, np.mean(data.X**2))
        for i, rows in enumerate(train):
            held, true = X[i][~rows], y[i][~rows]
            for j, predicted in enumerate(
                (
                    model.predict(held, i),
                    held @ singles[i][0] + singles[i][1],
                    held @ theta + intercept * np.mean(y_in[i] - X_in[i] @ theta),
                )
            ):
                squares[j, i] += np.sum((true - predicted) ** 2)
    return squares / np.array([np.sum((task - task.mean()) ** 2) for task in y])


def removed(X, y, intercept):
    return people.without_intercept(X, y) if intercept else (X, y)


def fit_singles(X, y, intercept):
    """Coefficients and intercepts of each task, with one penalty for all tasks."""
    X_off, y_off = X, y
    if intercept:  # left-out contrasts depend on the basis of the contrasts
        mirrors = [people.reflection(len(task))[1:] for task in y]
        X_off, y_off = ([H @ v for H, v in zip(mirrors, part, strict=True)] for part in (X, y))
    values = [np.sum(z**2) / min(z.shape) / len(z) for z in X_off]
    # The scale of the penalties is the mean eigenvalue of the first tasks, rounded to half decades.
    scale = np.round(2 * np.log10(np.mean(values))) / 2
    tried = 10.0 ** (scale + np.arange(-8, 3.5, 0.5))
    errors = sum(people.single_task_errors(*task, tried) for task in zip(X_off, y_off, strict=True))
    best = tried[np.argmin(errors)]
    zero = np.zeros(X[0].shape[1])
    return [
        people.ridge_model(*task, best * (len(task[1]) - intercept), zero, intercept)
        for task in zip(X, y, strict=True)
    ]


def fit_pooled(X, y, intercept, mean_square):
    fold = people.split(
        _folds(np.cumsum([0, *map(len, y)]), min(5, *map(len, y)), 0),
        np.cumsum([0, *map(len, y)]),
    )
    rest = [part != 0 for part in fold]
    X_rest = [task[rows] for task, rows in zip(X, rest, strict=True)]
    y_rest = [task[rows] for task, rows in zip(y, rest, strict=True)]
    errors = []
    tried = 10.0 ** np.arange(-5, 2) * mean_square
    for ridge in tried:
        theta = people.pooled_model(*removed(X_rest, y_rest, intercept), ridge)
        squares = 0.0
        for task, values, rows in zip(X, y, rest, strict=True):
            level = intercept * np.mean(values[rows] - task[rows] @ theta)
            squares += np.sum((values[~rows] - task[~rows] @ theta - level) ** 2)
        errors.append(squares)
    return people.pooled_model(*removed(X, y, intercept), tried[np.argmin(errors)])


@pytest.mark.parametrize("intercept", [False, True])
def test_errors_are_those_of_refits(data, intercept):
    gain = make(method="altmin", fit_intercept=intercept).sharing_gain(
        data.X, data.y, data.tasks, folds=4
    )
    errors = by_refits(data, 4, intercept)
    means = errors.mean(axis=1)
    np.testing.assert_allclose([gain.shared, gain.single_task, gain.pooled], means, rtol=1e-4)
    best = errors[1 + np.argmin(means[1:])]
    assert gain.gain == pytest.approx(1 - means[0] / best.mean(), rel=1e-4)
    assert gain.tasks == 10
    # The error of the ratio of two means, by its derivatives with respect to each.
    shared, other = errors[0].mean(), best.mean()
    moves = (errors[0] - shared) / other - (best - other) * shared / other**2
    expected = np.sqrt(np.sum(moves**2) / 9 / 10)
    assert gain.standard_error == pytest.approx(expected, rel=1e-3)
    left_out = [1 - np.delete(errors[0], i).mean() / np.delete(best, i).mean() for i in range(10)]
    jackknife = np.sqrt(0.9 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert gain.standard_error == pytest.approx(jackknife, rel=0.3)


def test_folds_are_even_within_each_task():
    sizes = np.array([3, 7, 10, 12])
    offsets = np.cumsum([0, *sizes])
    fold = _folds(offsets, 3, 5)
    for part, m in zip(people.split(fold, offsets), sizes, strict=True):
        counts = np.bincount(part, minlength=3)
        assert counts.sum() == m
        assert np.ptp(counts) <= 1


def drawn(rng, kind):
    """Tasks for which sharing helps, is of no use, or is not enough, and the best model."""
    n, m, d = 30, 15, 10
    tasks = np.repeat(np.arange(n), m)
    X = rng.standard_normal((n * m, d))
    if kind == "shared":
        theta = rng.standard_normal((n, 2)) @ np.linalg.qr(rng.standard_normal((d, 2)))[0].T
    elif kind == "independent":
        theta = rng.standard_normal((n, d)) / np.sqrt(d)
    else:
        theta = np.tile(rng.standard_normal(d) / np.sqrt(d), (n, 1))
    y = np.sum(X * theta[tasks], axis=1) + 0.5 * rng.standard_normal(n * m)
    return X, y, tasks


def test_sharing_helps_where_tasks_share_directions(rng):
    gain = make().sharing_gain(*drawn(rng, "shared"))
    assert gain.helps
    assert gain.shared < 0.75 * min(gain.single_task, gain.pooled)
    assert str(gain).startswith("sharing helps: error ")


def test_sharing_harms_independent_tasks(rng):
    gain = make().sharing_gain(*drawn(rng, "independent"))
    assert not gain.helps
    assert gain.single_task < min(gain.shared, gain.pooled)
    assert str(gain).startswith("sharing harms: error ")


def test_one_model_is_as_good_where_all_tasks_are_equal(rng):
    gain = make(rank=1).sharing_gain(*drawn(rng, "equal"))
    assert not gain.helps
    assert gain.pooled < gain.single_task
    assert gain.pooled < gain.shared + 2 * gain.standard_error


def test_errors_of_noise_are_about_one(rng):
    """Where nothing can be predicted, no model has an error much below that of the mean."""
    X, _, tasks = drawn(rng, "equal")
    gain = make(rank=1).sharing_gain(X, rng.standard_normal(len(X)), tasks)
    assert not gain.helps
    assert min(gain.shared, gain.single_task, gain.pooled) > 0.9


def test_forms_of_the_same_tasks_have_the_same_gain(data):
    model = make(method="altmin")
    expected = dataclasses.astuple(model.sharing_gain(data.X, data.y, data.tasks, folds=2))
    assert dataclasses.astuple(model.sharing_gain_) == expected
    X = scipy.sparse.csr_matrix(data.X)
    found = dataclasses.astuple(model.sharing_gain(X, data.y, data.tasks, folds=2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = dataclasses.astuple(model.sharing_gain(*data.lists(), folds=2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    Y = np.full((len(data.y), 10), np.nan)
    Y[np.arange(len(data.y)), data.tasks] = data.y
    found = dataclasses.astuple(model.sharing_gain(data.X, pd.DataFrame(Y), folds=2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_offsets_and_units_change_no_error(data):
    model = make(method="altmin")
    expected = dataclasses.astuple(model.sharing_gain(data.X, data.y, data.tasks, folds=2))
    y = 100 * (data.y + 1e5 * (1 + data.tasks))
    found = dataclasses.astuple(model.sharing_gain(data.X, y, data.tasks, folds=2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_gain_does_not_change_the_model(data):
    model = make(method="altmin").fit(data.X, data.y, data.tasks)
    before = model.predict(data.X, data.tasks)
    model.sharing_gain(data.X, data.y, data.tasks, folds=2)
    np.testing.assert_array_equal(model.predict(data.X, data.tasks), before)


def test_a_gain_leaves_what_a_fit_has_set(data):
    frame = pd.DataFrame(data.X, columns=list("abcde"))
    model = make(method="altmin").fit(frame, data.y, data.tasks)
    model.sharing_gain(data.X[:, :3], data.y, data.tasks)
    assert model.n_features_in_ == 5
    assert list(model.feature_names_in_) == list("abcde")
    model.predict(frame, data.tasks)


def test_a_gain_is_no_fit(data):
    model = make(method="altmin")
    model.sharing_gain(data.X, data.y, data.tasks)
    with pytest.raises(NotFittedError):
        model.predict(data.X, data.tasks)


@pytest.mark.parametrize("intercept", [True, False])
def test_the_fewest_rows_of_a_task(intercept):
    """Every number of rows and of folds either works or is refused by its sizes."""
    for m in range(2, 7):
        few = draw_related(np.random.default_rng(3), n=12, m=m, d=4)
        for folds in range(2, m + 1):
            model = make(rank=1, method="moments", fit_intercept=intercept)
            least = 2 + intercept
            if m > least and m - -(-m // folds) >= least:
                assert np.isfinite(model.sharing_gain(few.X, few.y, few.tasks, folds=folds).gain)
                continue
            with pytest.raises(ValueError, match=r"sharing_gain needs at least|folds must leave"):
                model.sharing_gain(few.X, few.y, few.tasks, folds=folds)


def test_a_constant_task_is_not_compared(data):
    y = np.where(data.tasks == 3, 2.0, data.y)
    gain = make(method="altmin").sharing_gain(data.X, y, data.tasks)
    assert gain.tasks == 9
    assert np.isfinite(gain.shared)


def test_bad_input_of_a_gain(data):
    model = make(method="altmin")
    pairs = np.array([f"p{i // 2}" for i in range(120)])
    assert_one_sentence(
        lambda: model.sharing_gain(data.X, data.y, pairs),
        ValueError,
        ["at least 4 rows of every task; task 'p0' has 2"],
    )
    fours = np.arange(120) // 4
    assert_one_sentence(
        lambda: model.sharing_gain(data.X, data.y, fours, folds=2),
        ValueError,
        ["folds must leave at least 3 rows of every task for training; 2 folds leave 2"],
    )
    assert_one_sentence(
        lambda: model.sharing_gain(data.X, np.full(120, 0.1), data.tasks),
        ValueError,
        ["y must vary within at least one task; it is constant in each"],
    )
    assert_one_sentence(
        lambda: model.sharing_gain(data.X, data.y, data.tasks, folds=1),
        ValueError,
        ["folds must be at least 2; got 1"],
    )


def test_the_sentence_of_a_gain():
    parts = {"shared": 0.5, "single_task": 0.6, "pooled": 0.8, "tasks": 7}
    for gain, verdict in ((0.2, "helps"), (0.1, "does not clearly help"), (-0.2, "harms")):
        text = str(ms.SharingGain(**parts, gain=gain, standard_error=0.06))
        assert text == (
            f"sharing {verdict}: error 0.500, against 0.600 of each task alone and 0.800 of one "
            f"model for all tasks; gain {100 * gain:.1f} % +/- 6.0 % over 7 tasks"
        )
