"""The estimator within scikit-learn: its own checks, pipelines, searches, metadata, pickles."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import metaspan as ms
from related_tasks import draw_related, make


@pytest.fixture(scope="module")
def data():
    return draw_related(np.random.default_rng(1), n=15, noise=0.1)


@pytest.fixture
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# The checks pass rows without task labels, which are one task and give one component, and tables of
# responses. No check is expected to fail. The default rank, "cv", is checked with a quick method.
CHECKED = [
    ms.SharedRepresentation(rank=1, threads=1),
    ms.SharedRepresentation(rank=1, method="single-task", fit_intercept=False, threads=1),
    ms.SharedRepresentation("cv", "moments", fit_mean=False, scale_targets=True, threads=1),
]


@parametrize_with_checks(CHECKED)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_clones_have_the_options_and_no_fit(data):
    model = make(method=ms.AltMin(tol=1e-6), ridge=0.5, whiten="pca:5").fit(
        data.X, data.y, data.tasks
    )
    copy = clone(model)
    assert {k: repr(v) for k, v in copy.get_params().items()} == {
        k: repr(v) for k, v in model.get_params().items()
    }
    with pytest.raises(NotFittedError):
        copy.predict(data.X, data.tasks)


def test_names_of_features_and_of_scores(data):
    frame = pd.DataFrame(data.X, columns=list("abcdef"), index=[f"row {i}" for i in range(135)])
    model = make().fit(frame, data.y, tasks=data.tasks)
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert model.get_feature_names_out().tolist() == ["component0", "component1"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[list("bacdef")])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.transform(data.X)
    scores = model.set_output(transform="pandas").transform(frame)
    assert scores.columns.tolist() == ["component0", "component1"]
    assert scores.index.tolist() == frame.index.tolist()
    expected = (data.X - model.feature_mean_) @ model.components_.T
    np.testing.assert_allclose(scores.to_numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["altmin-gd", "anil"])
def test_a_pickled_model_predicts_the_same_bits(data, method):
    model = make(method=method, rounds=500).fit(data.X, data.y, tasks=data.tasks)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        copy.predict(data.X, data.tasks), model.predict(data.X, data.tasks)
    )
    new, again = (m.adapt(data.X[:4], data.y[:4]) for m in (model, copy))
    np.testing.assert_array_equal(new.coef_, again.coef_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(new)).coef_, new.coef_)


def test_a_pipeline_gives_labels_to_its_steps(data):
    """Without metadata routing, a pipeline passes ``STEP__tasks``."""
    pipeline = make_pipeline(StandardScaler(), make())
    pipeline.fit(data.X, data.y, sharedrepresentation__tasks=data.tasks)
    scaled = StandardScaler().fit_transform(data.X)
    model = make().fit(scaled, data.y, tasks=data.tasks)
    np.testing.assert_array_equal(pipeline[-1].components_, model.components_)
    np.testing.assert_array_equal(pipeline.transform(data.X), model.transform(scaled))


@pytest.mark.usefixtures("_routing")
def test_a_pipeline_routes_labels(data):
    model = make().set_fit_request(tasks=True).set_predict_request(tasks=True)
    pipeline = make_pipeline(StandardScaler(), model.set_score_request(tasks=True))
    pipeline.fit(data.X, data.y, tasks=data.tasks)
    scaled = StandardScaler().fit_transform(data.X)
    alone = make().fit(scaled, data.y, tasks=data.tasks)
    np.testing.assert_array_equal(
        pipeline.predict(data.X, tasks=data.tasks), alone.predict(scaled, data.tasks)
    )
    score = pipeline.score(data.X, data.y, tasks=data.tasks)
    assert score == alone.score(scaled, data.y, data.tasks)


@pytest.mark.usefixtures("_routing")
def test_a_grid_search_over_rank(data):
    """Rows of the tasks are held out: two components beat one, and three gain little."""
    model = make(method="altmin").set_fit_request(tasks=True).set_score_request(tasks=True)
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(model, {"rank": [1, 2]}, cv=folds)
    search.fit(data.X, data.y, tasks=data.tasks)
    assert search.best_params_ == {"rank": 2}
    by_hand = []
    for train, test in folds.split(data.X):
        fitted = make(method="altmin").fit(data.X[train], data.y[train], tasks=data.tasks[train])
        by_hand.append(fitted.score(data.X[test], data.y[test], data.tasks[test]))
    assert search.best_score_ == np.mean(by_hand)
    assert search.best_score_ > search.cv_results_["mean_test_score"][0] + 0.02


@pytest.mark.usefixtures("_routing")
def test_a_grid_search_over_a_pipeline(data):
    model = make(method="altmin").set_fit_request(tasks=True).set_score_request(tasks=True)
    pipeline = make_pipeline(StandardScaler(), model)
    grid = {"sharedrepresentation__rank": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(3))
    search.fit(data.X, data.y, tasks=data.tasks, groups=data.tasks)
    assert search.best_params_ == {"sharedrepresentation__rank": 2}
    assert search.best_score_ > 0.8


@pytest.mark.usefixtures("_routing")
def test_folds_of_whole_tasks(data):
    """GroupKFold holds out tasks: each of their rows is predicted from the other rows."""
    model = make().set_fit_request(tasks=True).set_score_request(tasks=True)
    scores = cross_val_score(
        model,
        data.X,
        data.y,
        cv=GroupKFold(5),
        params={"tasks": data.tasks, "groups": data.tasks},
    )
    expected = []
    for train, test in GroupKFold(5).split(data.X, groups=data.tasks):
        assert not set(data.tasks[train]) & set(data.tasks[test])
        fitted = make().fit(data.X[train], data.y[train], tasks=data.tasks[train])
        expected.append(
            score_without_each_row(fitted, data.X[test], data.y[test], data.tasks[test])
        )
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert scores.min() > 0.8


def score_without_each_row(fitted, X, y, tasks):
    """R^2 within tasks of predictions by `adapt` on the other rows of the task."""
    errors = squares = 0.0
    for task in np.unique(tasks):
        rows = np.flatnonzero(tasks == task)
        for row in rows:
            others = rows[rows != row]
            predicted = fitted.adapt(X[others], y[others]).predict(X[[row]])[0]
            errors += (y[row] - predicted) ** 2
        squares += np.sum((y[rows] - y[rows].mean()) ** 2)
    return 1 - errors / squares


@pytest.mark.parametrize(
    "options", [{}, {"fit_intercept": False}, {"scale_targets": True, "ridge": 0.0}]
)
def test_score_of_fitted_and_of_new_tasks(data, options):
    """The scale of a new task is that of all its rows, which matters to a penalty alone."""
    known = data.tasks < 10
    model = make(**options).fit(data.X[known], data.y[known], data.tasks[known])
    X, y, tasks = data.X, data.y, data.tasks
    errors = np.empty(len(y))
    errors[known] = y[known] - model.predict(X[known], tasks[known])
    off = y.copy()
    for task in range(15):
        rows = np.flatnonzero(tasks == task)
        off[rows] -= y[rows].mean() * model.fit_intercept
        for row in rows[task < 10 and len(rows) :]:
            others = rows[rows != row]
            errors[row] = y[row] - model.adapt(X[others], y[others]).predict(X[[row]])[0]
    expected = 1 - errors @ errors / (off @ off)
    assert model.score(X, y, tasks) == pytest.approx(expected, rel=1e-10)


def test_weights_of_rows_count_rows_in_the_score(data, rng):
    """A row of weight 2 of a fitted task counts as two rows, and one of weight 0 as none."""
    model = make().fit(data.X, data.y, data.tasks)
    weights = rng.integers(0, 3, len(data.y))
    rows = np.repeat(np.arange(len(data.y)), weights)
    assert model.score(data.X, data.y, data.tasks, sample_weight=weights) == pytest.approx(
        model.score(data.X[rows], data.y[rows], data.tasks[rows]), rel=1e-12
    )
    Y = data.columns(rng)
    model = make().fit(data.X, Y)
    assert model.score(data.X, Y, sample_weight=weights) == pytest.approx(
        model.score(data.X[rows], Y[rows]), rel=1e-12
    )
    alone = make(rank=1).fit(data.X[:9], data.y[:9])
    repeated = np.repeat(np.arange(9), 3)[::2]
    assert alone.score(
        data.X[:9], data.y[:9], sample_weight=np.bincount(repeated)
    ) == pytest.approx(alone.score(data.X[repeated], data.y[repeated]), rel=1e-12)
    for wrong in (weights[:-1], -weights):
        with pytest.raises(ValueError, match="sample_weight must have 135 numbers >= 0"):
            model.score(data.X, Y, sample_weight=wrong)


def test_a_task_with_one_row_has_no_score(data):
    model = make().fit(data.X, data.y, data.tasks)
    rows = np.arange(0, 135, 9)
    assert np.isnan(model.score(data.X[rows], data.y[rows], data.tasks[rows]))
    assert np.isnan(model.score(data.X[rows], data.y[rows], data.tasks[rows] + 100))


def run_python(script):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_is_imported_without_scikit_learn():
    done = run_python("""
        import sys
        import metaspan as ms
        assert "SharedRepresentation" in dir(ms)
        assert not any(name.split(".")[0] in ("sklearn", "pandas") for name in sys.modules)
        ms.SharedRepresentation
        assert "sklearn" in sys.modules
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SharedRepresentation", "AdaptedModel", "SharingGain"])
def test_scikit_learn_is_named_where_it_is_missing(name):
    done = run_python(f"""
        import sys
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "sklearn":
                    raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        sys.meta_path.insert(0, Blocker())
        import metaspan as ms
        try:
            ms.{name}
        except ImportError as error:
            print(error)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name} needs scikit-learn: pip install 'metaspan[sklearn]'\n"
