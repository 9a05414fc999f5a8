"""The forms in which tasks come, and the sentences about what does not fit."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import metaspan as ms
from matching import assert_one_sentence
from related_tasks import draw_related, make

COLUMNS = list("abcdef")


@pytest.fixture(scope="module")
def data():
    return draw_related(np.random.default_rng(1), noise=0.1)


@pytest.fixture(scope="module")
def fitted(data):
    return make().fit(data.X, data.y, tasks=data.tasks)


def assert_same_model(model, expected, atol=1e-9):
    for name in ("components_", "heads_", "intercepts_", "mean_head_", "ridge_", "noise_"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(expected, name), rtol=0, atol=atol, err_msg=name
        )


LABELS = {
    "int": lambda t: t,
    "list of int": lambda t: t.tolist(),
    "int in object": lambda t: t.astype(object),
    "int and numpy int": lambda t: [np.int64(i) if j % 2 else int(i) for j, i in enumerate(t)],
    "long int": lambda t: [2**80 + int(i) for i in t],
    "float": lambda t: t / 4,
    "str": lambda t: np.array([f"p{i:02d}" for i in t]),
    "str in object": lambda t: np.array([f"p{i:02d}" for i in t], dtype=object),
    "tuple of str": lambda t: tuple(f"p{i:02d}" for i in t),
    "bytes": lambda t: np.array([f"p{i:02d}" for i in t], dtype="S"),
    "series": lambda t: pd.Series([f"p{i:02d}" for i in t]),
    "string series": lambda t: pd.Series([f"p{i:02d}" for i in t], dtype="string"),
    "index": lambda t: pd.Index([f"p{i:02d}" for i in t]),
    "categorical": lambda t: pd.Categorical([f"p{i:02d}" for i in t]),
    "category of int": lambda t: pd.Series(t).astype("category"),
    "nullable int": lambda t: pd.Series(t, dtype="Int64"),
    "date": lambda t: np.datetime64("2020-01-01") + t,
    "date series": lambda t: pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(t, unit="D")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(data, fitted, kind):
    """All labels sort in the order of the numbers, so that the models are equal bit for bit."""
    labels = LABELS[kind](data.tasks)
    model = make().fit(data.X, data.y, tasks=labels)
    assert_same_model(model, fitted, 0)
    assert len(model.tasks_) == 12
    expected = fitted.predict(data.X, data.tasks)
    np.testing.assert_array_equal(model.predict(data.X, labels), expected)
    np.testing.assert_array_equal(
        model.predict(data.X[18:27], model.tasks_[2]), expected[18:27]
    )  # one label for all rows
    assert model.score(data.X, data.y, labels) == fitted.score(data.X, data.y, data.tasks)


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_dates_of_another_unit_are_the_same_labels(data, fitted, unit):
    days = np.datetime64("2020-01-01") + data.tasks
    model = make().fit(data.X, data.y, tasks=days)
    found = model.predict(data.X, days.astype(f"datetime64[{unit}]"))
    np.testing.assert_array_equal(found, fitted.predict(data.X, data.tasks))
    noon = days.astype("datetime64[h]") + 12
    with pytest.raises(ValueError, match="tasks must be among"):
        model.predict(data.X, noon)


def test_rows_in_any_order(data, fitted, rng):
    """Rows that are not grouped by task are read through an index, and rounded differently."""
    order = rng.permutation(len(data.y))
    model = make().fit(data.X[order], data.y[order], tasks=data.tasks[order])
    assert_same_model(model, fitted, 1e-6)
    np.testing.assert_array_equal(model.tasks_, np.arange(12))


STORAGES = {
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "nested list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(X, columns=COLUMNS),
    "nullable frame": lambda X: pd.DataFrame(X).astype("Float64"),
    "csr": scipy.sparse.csr_matrix,
    "csr array": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_matrix,
    "coo": scipy.sparse.coo_matrix,
    "read-only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_storages_of_features(data, fitted, kind):
    X = STORAGES[kind](data.X)
    model = make().fit(X, data.y, tasks=data.tasks)
    assert_same_model(model, fitted, 1e-7)
    np.testing.assert_allclose(
        model.predict(X, data.tasks), fitted.predict(data.X, data.tasks), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("kind", ["float32", "float32 csr", "int"])
def test_other_types_of_features(data, kind):
    X = data.X.astype(np.float32)
    if kind == "int":
        X = np.round(10 * data.X)
    expected = make().fit(X.astype(float), data.y, tasks=data.tasks)
    X = {"float32": X, "float32 csr": scipy.sparse.csr_matrix(X), "int": X.astype(int)}[kind]
    assert_same_model(make().fit(X, data.y, tasks=data.tasks), expected, 1e-4)


RESPONSES = {
    "list": lambda y: y.tolist(),
    "object": lambda y: y.astype(object),
    "series": lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    "nullable series": lambda y: pd.Series(y).astype("Float64"),
}


@pytest.mark.parametrize("kind", RESPONSES)
def test_responses_of_every_kind(data, fitted, kind):
    assert_same_model(make().fit(data.X, RESPONSES[kind](data.y), tasks=data.tasks), fitted, 0)


@pytest.mark.parametrize("dtype", [int, bool, np.int8, np.float32, "Int64"])
def test_responses_are_converted_to_float64(data, dtype):
    y = np.round(data.y) if dtype is not bool else data.y > 0
    expected = make().fit(data.X, y.astype(float), tasks=data.tasks)
    converted = pd.Series(y).astype(dtype) if dtype == "Int64" else y.astype(dtype)
    assert_same_model(make().fit(data.X, converted, tasks=data.tasks), expected, 0)


LISTS = {
    "arrays": lambda X: X,
    "tuple": tuple,
    "nested lists": lambda X: [task.tolist() for task in X],
    "frames": lambda X: [pd.DataFrame(task, columns=COLUMNS) for task in X],
    "csr": lambda X: [scipy.sparse.csr_matrix(task) for task in X],
    "dense and csr": lambda X: [scipy.sparse.csr_matrix(X[0]), *X[1:]],
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_tasks(data, fitted, kind):
    X, y = data.lists()
    X = LISTS[kind](X)
    model = make().fit(X, y)
    assert_same_model(model, fitted, 1e-7)
    np.testing.assert_array_equal(model.tasks_, np.arange(12))
    predicted = np.concatenate(model.predict(X))
    expected = fitted.predict(data.X, data.tasks)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.predict(X[3], 3), expected[27:36], rtol=0, atol=1e-6)
    expected = fitted.score(data.X, data.y, data.tasks)
    assert model.score(X, y) == pytest.approx(expected, abs=1e-7)
    if kind == "frames":
        assert model.feature_names_in_.tolist() == COLUMNS


@pytest.mark.parametrize("frame", [False, True])
def test_columns_of_responses_are_tasks(data, rng, frame):
    """Each column is a task with the rows where it is measured, as if these were stacked."""
    Y = data.columns(rng)
    number, rows = np.nonzero(~np.isnan(Y.T))
    expected = make().fit(data.X[rows], Y[rows, number], tasks=number)
    names = [f"drug {i}" for i in range(12)]
    given = pd.DataFrame(Y, columns=names) if frame else Y
    model = make().fit(data.X, given)
    for name in ("heads_", "components_", "noise_"):
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=0, atol=1e-6)
    assert model.tasks_.tolist() == (names if frame else list(range(12)))
    predicted = model.predict(data.X)
    assert predicted.shape == Y.shape
    np.testing.assert_allclose(
        predicted[:, 4], model.predict(data.X, names[4] if frame else 4), rtol=1e-12
    )
    mean = 0.0
    for mine, theirs in zip(predicted.T, Y.T, strict=True):
        known = ~np.isnan(theirs)
        off = theirs[known] - theirs[known].mean()
        mean += (1 - np.sum((theirs - mine)[known] ** 2) / np.sum(off**2)) / 12
    assert model.score(data.X, given) == pytest.approx(mean, rel=1e-12)


def test_columns_with_one_value_have_no_score(data, rng):
    Y = data.columns(rng)
    model = make().fit(data.X, Y)
    few = Y.copy()
    few[:, 3:] = np.nan
    few[0, 3] = 1.0
    assert model.score(data.X, few) == pytest.approx(
        np.mean([ms_score(Y[:, i], model.predict(data.X)[:, i]) for i in range(3)])
    )
    assert np.isnan(model.score(data.X[:1], Y[:1]))


def ms_score(y, predicted):
    known = ~np.isnan(y)
    off = y[known] - y[known].mean()
    return 1 - np.sum((y - predicted)[known] ** 2) / np.sum(off**2)


def test_a_column_of_one_value_and_pandas_missing_values(data, rng):
    Y = data.columns(rng)
    Y[:, 4] = np.nan
    Y[3, 4] = 7.0
    model = make().fit(data.X, pd.DataFrame(Y).astype("Float64"))
    np.testing.assert_allclose(model.heads_[4], model.mean_head_, rtol=1e-12)
    assert model.predict(data.X[3:4])[0, 4] == pytest.approx(7.0)


def bad(data, **changes):
    return lambda: make().fit(**{"X": data.X, "y": data.y, "tasks": data.tasks} | changes)


def with_nan(values, at=3):
    values = np.array(values, dtype=float)
    values[at] = np.nan
    return values


BAD_FITS = {
    "few labels": (
        lambda d: {"tasks": d.tasks[:-1]},
        ValueError,
        ["tasks must have 108 labels", "(107,)"],
    ),
    "one label": (lambda d: {"tasks": "a"}, ValueError, ["tasks must have 108 labels", "()"]),
    "two columns of labels": (
        lambda d: {"tasks": np.stack([d.tasks, d.tasks], axis=1)},
        ValueError,
        ["tasks must have 108 labels", "(108, 2)"],
    ),
    "nested labels": (
        lambda d: {"tasks": [[0] * (1 + i % 2) for i in d.tasks]},
        ValueError,
        ["lists of different lengths"],
    ),
    "labels of mixed type": (
        lambda d: {"tasks": [i if i % 2 else str(i) for i in d.tasks.tolist()]},
        TypeError,
        ["tasks must have labels of one kind", "'int' and 'str'"],
    ),
    "labels that are int and float": (
        lambda d: {"tasks": [i if i % 2 else float(i) for i in d.tasks.tolist()]},
        TypeError,
        ["'float' and 'int'"],
    ),
    "labels that are objects": (
        lambda d: {"tasks": [range(i) for i in d.tasks]},
        (TypeError, ValueError),
        ["tasks must have"],
    ),
    "labels that are time stamps": (
        lambda d: {"tasks": [pd.Timestamp("2020-01-01")] * 108},
        TypeError,
        ["strings, numbers or datetime64; got Timestamp"],
    ),
    "NaN label": (
        lambda d: {"tasks": with_nan(d.tasks)},
        ValueError,
        ["label for every row; got nan"],
    ),
    "None label": (
        lambda d: {"tasks": [None, *["a"] * 107]},
        ValueError,
        ["label for every row; got None"],
    ),
    "NA label": (
        lambda d: {"tasks": pd.Series([pd.NA, *["a"] * 107], dtype="string")},
        ValueError,
        ["label for every row; got <NA>"],
    ),
    "NaT label": (
        lambda d: {"tasks": np.array(["NaT", *["2020-01-01"] * 107], dtype="datetime64[D]")},
        ValueError,
        ["label for every row; got NaT"],
    ),
    "NaN in y": (
        lambda d: {"y": with_nan(d.y)},
        ValueError,
        ["y contains NaN", "column of y for each task"],
    ),
    "short y": (lambda d: {"y": d.y[:-1]}, ValueError, ["y must have 108 entries", "107"]),
    "constant y": (
        lambda d: {"y": np.full(108, 0.1)},
        ValueError,
        ["y must vary within at least one task"],
    ),
    "y constant in each task": (
        lambda d: {"y": 0.1 * d.tasks},
        ValueError,
        ["y must vary within at least one task"],
    ),
    "tiny y": (lambda d: {"y": d.y * 1e-100}, ValueError, ["y must have differences", "e-99"]),
    "huge y": (lambda d: {"y": d.y * 1e290}, ValueError, ["y must have differences", "1e+60"]),
    "constant X": (
        lambda d: {"X": np.full((108, 6), 1e3 / 7)},
        ValueError,
        ["X must vary within at least one task"],
    ),
    "X constant in each task": (
        lambda d: {"X": d.coefficients[d.tasks]},
        ValueError,
        ["X must vary within at least one task"],
    ),
    "tasks beside a matrix y": (
        lambda d: {"y": np.stack([d.y, d.y], axis=1)},
        ValueError,
        ["tasks must be left out where each column of y is a task"],
    ),
    "tasks beside a list": (
        lambda d: {"X": d.lists()[0], "y": d.lists()[1]},
        ValueError,
        ["tasks must be left out where X is a list"],
    ),
    "one table y beside a list": (
        lambda d: {"X": d.lists()[0], "tasks": None},
        ValueError,
        ["y must be a list of 12 arrays"],
    ),
    "a list y of another length": (
        lambda d: {"X": d.lists()[0], "y": d.lists()[1][1:], "tasks": None},
        ValueError,
        ["y must be a list of 12 arrays", "got 11"],
    ),
    "a task without rows": (
        lambda d: {
            "X": [*d.lists()[0], np.empty((0, 6))],
            "y": [*d.lists()[1], np.empty(0)],
            "tasks": None,
        },
        ValueError,
        ["task 12 must have at least one row; X[12] has none"],
    ),
    "a task without responses": (
        lambda d: {"X": d.lists()[0], "y": [*d.lists()[1][:-1], np.empty(0)], "tasks": None},
        ValueError,
        ["y[11] must have 9 entries"],
    ),
    "a task of other features": (
        lambda d: {"X": [*d.lists()[0][:-1], d.X[:9, :3]], "y": d.lists()[1], "tasks": None},
        ValueError,
        ["X has 3 features"],
    ),
    "all targets missing": (
        lambda d: {"y": np.full((108, 3), np.nan), "tasks": None},
        ValueError,
        ["value that is not NaN; all are NaN throughout"],
    ),
    "targets of a task missing": (
        lambda d: {"y": with_nan(np.ones((108, 3)), (slice(None), 1)), "tasks": None},
        ValueError,
        ["value that is not NaN; column 1 is NaN throughout"],
    ),
    "targets of a named task missing": (
        lambda d: {
            "y": pd.DataFrame({"x": d.y, "z": np.full(108, np.nan)}),
            "tasks": None,
        },
        ValueError,
        ["column z is NaN throughout"],
    ),
    "a matrix y of other rows": (
        lambda d: {"y": np.ones((107, 3)), "tasks": None},
        ValueError,
        ["y must have 108 rows, as X has; got 107"],
    ),
    "y with a name twice": (
        lambda d: {"y": pd.DataFrame(np.ones((108, 2)), columns=["a", "a"]), "tasks": None},
        ValueError,
        ["columns of y must have different names; 'a' is repeated"],
    ),
    "X with a name twice": (
        lambda d: {"X": pd.DataFrame(d.X, columns=list("abcdea"))},
        ValueError,
        ["columns of X must have different names; 'a' is repeated"],
    ),
    "no y": (lambda d: {"y": None}, ValueError, ["requires y to be passed"]),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_input_of_fit(data, case):
    changes, kind, fragments = BAD_FITS[case]
    if isinstance(kind, tuple):
        with pytest.raises(kind, match=re.escape(fragments[0])):
            bad(data, **changes(data))()
    else:
        assert_one_sentence(bad(data, **changes(data)), kind, fragments)


BAD_OPTIONS = {
    "rank above the tasks": ({"rank": 13}, ValueError, ["at most 12, the number of tasks; got 13"]),
    "rank above the features": ({"rank": 7}, ValueError, ["at most 6, the number of features"]),
    "rank above the whitened": (
        {"rank": 4, "whiten": "pca:3"},
        ValueError,
        ["at most 3, the number of features after whitening; got 4"],
    ),
    "rank 0": ({"rank": 0}, ValueError, ["rank must be at least 1"]),
    "rank True": ({"rank": True}, TypeError, ["rank must be an integer"]),
    "rank auto": ({"rank": "auto"}, ValueError, ["rank must be 'cv'"]),
    "method": ({"method": "pooled"}, ValueError, ["from data alone; got 'pooled'"]),
    "method object": ({"method": ms.Oracle()}, ValueError, ["from data alone", "Oracle"]),
    "method without B": ({"method": ms.LinearMAML()}, ValueError, ["learn a representation"]),
    "method None": ({"method": None}, TypeError, ["method must be", "got None"]),
    "ridge": ({"ridge": -1.0}, ValueError, ["ridge must be between 0 and"]),
    "ridge cv": ({"ridge": "cv"}, ValueError, ["ridge must be 'loo'"]),
    "rounds": ({"rounds": 0}, ValueError, ["rounds must be at least 1"]),
    "random_state": ({"random_state": None}, TypeError, ["random_state must be an integer"]),
    "threads": ({"threads": 0}, ValueError, ["threads must be at least 1"]),
    "fit_mean": ({"fit_mean": 1}, TypeError, ["fit_mean must be True or False"]),
    "fit_intercept": ({"fit_intercept": "no"}, TypeError, ["fit_intercept must be True or False"]),
    "scale_targets": ({"scale_targets": 0}, TypeError, ["scale_targets must be True or False"]),
    "whiten True": ({"whiten": True}, ValueError, ["whiten must be None or a string"]),
    "whiten 7": ({"whiten": "pca:7"}, ValueError, ["at most 6 components", "108 rows"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(data, case):
    options, kind, fragments = BAD_OPTIONS[case]
    model = make(**options)
    assert_one_sentence(lambda: model.fit(data.X, data.y, data.tasks), kind, fragments)


def test_few_rows_for_the_rank(data):
    """The sentence is about the rank, and about the sample that an intercept takes."""
    pairs = np.arange(108) // 2
    assert_one_sentence(
        lambda: make().fit(data.X, data.y, pairs),
        ValueError,
        ["more than rank = 2 samples", "has 1 (the intercept of a task takes one of its samples)"],
    )
    assert_one_sentence(
        lambda: make().fit(data.X, data.y, np.arange(108)),
        ValueError,
        ["at least 2 rows; the largest task has 1 sample"],
    )


def test_rank_above_what_the_data_carry(data):
    y = data.X @ data.directions[:, 0] * (1 + data.tasks)
    assert_one_sentence(
        lambda: make(rank=2, method="single-task", ridge=0.0).fit(
            np.repeat(data.X[:, :1], 6, axis=1), y, data.tasks
        ),
        ValueError,
        ["rank must be at most 1, the number of components that the tasks determine; got 2"],
    )


def test_zeros_without_an_intercept(data):
    model = make(fit_intercept=False)
    assert_one_sentence(
        lambda: model.fit(data.X, np.zeros(108), data.tasks), ValueError, ["y must have values"]
    )
    assert_one_sentence(
        lambda: model.fit(0 * data.X, data.y, data.tasks),
        ValueError,
        ["X must have values other than zero"],
    )


def test_whitening_of_sparse_and_of_few_features(data):
    assert_one_sentence(
        lambda: make(whiten="pca:6").fit(scipy.sparse.csr_matrix(data.X), data.y, data.tasks),
        ValueError,
        ["whiten must ask for at most 5 components", "6 sparse features"],
    )
    assert_one_sentence(
        lambda: make(whiten="pca:7").fit(np.hstack([data.X] * 2), data.y, data.tasks),
        ValueError,
        ["at most 6 components, the rank of X"],
    )


def test_unknown_or_missing_tasks_at_predict(data, fitted):
    for labels, got in (([3, 99], "99"), ("zz", "'zz'"), ([3.5, 1.0], "3.5")):
        assert_one_sentence(
            lambda labels=labels: fitted.predict(data.X[:2], labels),
            ValueError,
            ["among the 12 fitted ones, and a new task needs adapt(X, y)", f"got {got}"],
        )
    assert_one_sentence(
        lambda: fitted.predict(data.X), ValueError, ["tasks must be given, since 12 tasks"]
    )
    assert_one_sentence(
        lambda: fitted.predict(data.X[:2], [1, 2, 3]), ValueError, ["tasks must have 2 labels"]
    )


def test_lists_only_after_a_fit_on_a_list(data, fitted):
    X, y = data.lists()
    for call in (lambda: fitted.predict(X), lambda: fitted.score(X, y)):
        assert_one_sentence(call, ValueError, ["X must be one table", "rows with task labels"])
    model = make().fit(X, y)
    for call in (lambda: model.predict(X[:5]), lambda: model.score(X[:5], y[:5])):
        assert_one_sentence(call, ValueError, ["X must have 12 arrays", "got 5"])


def test_labels_beside_a_list_or_columns(data, rng):
    X, y = data.lists()
    model = make().fit(X, y)
    for call in (
        lambda: model.predict(X, tasks=data.tasks),
        lambda: model.score(X, y, tasks=data.tasks),
    ):
        assert_one_sentence(call, ValueError, ["tasks must be left out where X is a list"])
    assert_one_sentence(
        lambda: model.score(X, y, sample_weight=np.ones(108)),
        ValueError,
        ["sample_weight must be left out where X is a list"],
    )
    Y = data.columns(rng)
    model = make().fit(data.X, Y)
    assert_one_sentence(
        lambda: model.score(data.X, Y, data.tasks),
        ValueError,
        ["tasks must be left out where each column of y is a task"],
    )


def test_columns_only_after_a_fit_on_columns(data, fitted, rng):
    Y = data.columns(rng)
    assert_one_sentence(
        lambda: fitted.score(data.X, Y), ValueError, ["y must have one axis", "got 2 axes"]
    )
    frame = pd.DataFrame(Y, columns=list("abcdefghijkl"))
    model = make().fit(data.X, frame)
    assert_one_sentence(
        lambda: model.score(data.X, frame[frame.columns[::-1]]),
        ValueError,
        ["columns of the fit, in the same order"],
    )
    assert_one_sentence(
        lambda: model.score(data.X, Y[:, :5]), ValueError, ["y must have the shape (108, 12)"]
    )


def test_bad_input_of_adapt(data, fitted):
    assert_one_sentence(
        lambda: fitted.adapt(data.X[:3], data.y[:2]), ValueError, ["y must have 3 entries"]
    )
    assert_one_sentence(
        lambda: fitted.adapt(data.X[:3], [1.0, 2.0, np.nan]), ValueError, ["y contains NaN"]
    )
    new = fitted.adapt(data.X[:3], data.y[:3])
    assert_one_sentence(
        lambda: new.predict(data.X[:, :2]), ValueError, ["X must have 6 features; got 2"]
    )
