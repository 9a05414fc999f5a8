"""The estimator of related tasks against its formulas, and against the estimators it calls."""

import numpy as np
import pytest
import scipy.sparse

import metaspan as ms
from matching import relative_error
from reference import people
from related_tasks import draw_related, make


@pytest.fixture(scope="module")
def data():
    return draw_related(np.random.default_rng(2), n=40, m=15, d=8)


@pytest.fixture(scope="module")
def fitted(data):
    return make().fit(data.X, data.y, data.tasks)


def projection(components):
    Q = np.linalg.qr(components.T)[0]
    return Q @ Q.T


def contrasts(data):
    """The features and responses of each task without its intercept, by reflections."""
    mirrors = [people.reflection(len(y))[1:] for y in data.lists()[1]]
    return tuple(
        [np.ascontiguousarray(H @ values) for H, values in zip(mirrors, part, strict=True)]
        for part in data.lists()
    )


SPECTRAL = ["moments", "duchi", "split-spectral", "single-task", "trace-norm"]
# Its iterations end by the objective, whose error is of the order of the square of the span's.
BURER_MONTEIRO = ms.BurerMonteiro(tol=1e-15)
ALTERNATING = ["altmin-gd", "altmin", "altgdmin", "meta-sp"]


@pytest.mark.parametrize("method", [*SPECTRAL, BURER_MONTEIRO, *ALTERNATING], ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_components_are_those_of_fit(data, method, intercept):
    """The span is that of `ms.fit` on the explicit contrasts of the rows."""
    X, y = contrasts(data) if intercept else data.lists()
    expected = ms.fit(ms.TaskBatch(X, y), method, width=2, threads=1, stop=None)
    model = make(method=method, fit_intercept=intercept).fit(data.X, data.y, data.tasks)
    # Iterations stop once the span turns by less than their tolerance, and rounding differs.
    Q = np.linalg.qr(expected.B)[0]
    np.testing.assert_allclose(projection(model.components_), Q @ Q.T, rtol=0, atol=1e-6)


def test_components_of_columns_are_those_of_fit(data):
    """The tasks share their rows, since one of the estimators needs such tasks."""
    rng = np.random.default_rng(3)
    Y = data.X @ data.coefficients.T + rng.standard_normal((len(data.X), 40))
    H = people.reflection(len(data.X))[1:]
    X = np.ascontiguousarray(H @ data.X)
    batch = ms.TaskBatch([X] * 40, [np.ascontiguousarray(y) for y in (H @ Y).T])
    for method in ("reduced-rank", "moments", "altmin"):
        expected = ms.fit(batch, method, width=2, threads=1, stop=None).B
        model = make(method=method).fit(data.X, Y)
        Q = np.linalg.qr(expected)[0]
        np.testing.assert_allclose(projection(model.components_), Q @ Q.T, rtol=0, atol=1e-6)


def scores_of(model, data):
    scores = (data.X - data.X.mean(axis=0)) @ model.components_.T
    order = [data.tasks == i for i in range(len(data.coefficients))]
    return [scores[rows] for rows in order], [data.y[rows] for rows in order]


@pytest.mark.parametrize("fit_mean", [False, True])
def test_attributes_are_those_of_the_formulas(data, fit_mean):
    """The components alone determine the other attributes, by (69) and (70)."""
    model = make(fit_mean=fit_mean).fit(data.X, data.y, data.tasks)
    np.testing.assert_allclose(model.feature_mean_, data.X.mean(axis=0), rtol=0, atol=1e-15)
    Z, y = scores_of(model, data)
    np.testing.assert_allclose(model.transform(data.X)[:15], Z[0], rtol=0, atol=1e-12)
    inner, off = people.without_intercept(Z, y)
    total = sum(z.T @ z for z in inner)
    np.testing.assert_allclose(total, np.diag(np.diag(total)), rtol=0, atol=1e-9 * total[0, 0])
    variances = np.diag(total) * (1 + model.mean_head_**2) / sum(map(len, off))
    expected = variances / (variances.sum() + model.noise_)
    np.testing.assert_allclose(model.explained_, expected, rtol=1e-10)
    assert (np.diff(model.explained_) < 0).all()
    # The law of the heads, whose covariance is I, is a fixed point of the explicit step.
    mean, covariance, noise = people.em_step(
        inner, off, model.mean_head_, np.eye(2), model.noise_, fit_mean=fit_mean
    )
    np.testing.assert_allclose(covariance, np.eye(2), rtol=0, atol=1e-4)
    np.testing.assert_allclose(mean, model.mean_head_, rtol=0, atol=1e-4)
    assert noise == pytest.approx(model.noise_, rel=1e-4)
    assert model.mean_head_.any() == fit_mean
    chosen = people.chosen_penalty(Z, y, model.noise_, model.mean_head_, True)
    assert model.ridge_ == pytest.approx(chosen, rel=1e-9)
    for i, (features, values) in enumerate(zip(Z, y, strict=True)):
        head, intercept = people.augmented_ridge_model(
            features, values, model.ridge_, model.mean_head_
        )
        np.testing.assert_allclose(model.heads_[i], head, rtol=1e-8)
        assert model.intercepts_[i] == pytest.approx(intercept, rel=1e-8, abs=1e-10)
    rows = data.tasks == 7
    predicted = Z[7] @ model.heads_[7] + model.intercepts_[7]
    np.testing.assert_allclose(model.predict(data.X[rows], 7), predicted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 0.3, 1e3])
def test_a_given_penalty(data, ridge):
    model = make(ridge=ridge).fit(data.X, data.y, data.tasks)
    assert model.ridge_ == ridge
    Z, y = scores_of(model, data)
    heads = [
        people.ridge_model(*task, ridge, model.mean_head_, True)[0]
        for task in zip(Z, y, strict=True)
    ]
    np.testing.assert_allclose(model.heads_, heads, rtol=1e-8, atol=1e-10)


def test_models_without_intercepts(data):
    model = make(fit_intercept=False).fit(data.X, data.y, data.tasks)
    assert not model.feature_mean_.any()
    assert not model.intercepts_.any()
    np.testing.assert_allclose(
        model.transform(data.X), data.X @ model.components_.T, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(0 * data.X[:3], 5), np.zeros(3))


@pytest.mark.parametrize("options", [{}, {"scale_targets": True}, {"fit_intercept": False}])
def test_adapt_gives_a_fitted_task_its_own_model(data, options):
    model = make(**options).fit(data.X, data.y, data.tasks)
    for task in (0, 17):
        rows = data.tasks == task
        new = model.adapt(data.X[rows], data.y[rows])
        np.testing.assert_allclose(new.head_, model.heads_[task], rtol=1e-9)
        expected = model.predict(data.X, task)
        np.testing.assert_allclose(new.predict(data.X), expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            data.X @ new.coef_ + new.intercept_, expected, rtol=0, atol=1e-10
        )
        y = data.y[rows]
        errors = y - new.predict(data.X[rows])
        expected = 1 - errors @ errors / np.sum((y - y.mean()) ** 2)
        assert new.score(data.X[rows], y) == pytest.approx(expected, rel=1e-12)


def test_adapt_of_one_row_moves_the_intercept_alone(data, fitted):
    new = fitted.adapt(data.X[:1], data.y[:1])
    np.testing.assert_allclose(new.head_, fitted.mean_head_, rtol=1e-12)
    assert new.predict(data.X[:1])[0] == pytest.approx(data.y[0], rel=1e-12)


def test_scales_of_responses(data):
    """The squared scale of a task averages its variance and, with weight 3, the mean variance."""
    factors = 10.0 ** np.linspace(-2, 2, 40)
    y = data.y * factors[data.tasks]
    model = make(scale_targets=True).fit(data.X, y, data.tasks)
    variances = np.array([np.var(y[data.tasks == i], ddof=1) for i in range(40)])
    expected = np.sqrt((14 * variances + 3 * variances.mean()) / 17)
    np.testing.assert_allclose(model.scales_, expected, rtol=1e-12)
    scaled = make().fit(data.X, y / expected[data.tasks], data.tasks)
    np.testing.assert_allclose(model.heads_, scaled.heads_ * expected[:, None], rtol=1e-9)
    np.testing.assert_allclose(model.components_, scaled.components_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        model.predict(data.X, data.tasks),
        scaled.predict(data.X, data.tasks) * expected[data.tasks],
        rtol=1e-8,
        atol=1e-8,
    )


def test_a_constant_task_among_scaled_ones(data):
    y = np.where(data.tasks == 4, 5.0, data.y)
    model = make(scale_targets=True).fit(data.X, y, data.tasks)
    assert np.isfinite(model.heads_).all()
    assert model.scales_[4] > 0
    assert np.abs(model.predict(data.X[data.tasks == 4], 4) - 5.0).max() < 1.0


def test_whitened_components_are_those_of_principal_components(data):
    """The features are correlated, of different scales, and not centred."""
    rng = np.random.default_rng(4)
    X = data.X @ rng.standard_normal((8, 8)) + 10.0
    _, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    whitener = Vt[:5].T / (s[:5] / np.sqrt(len(X) - 1))
    scores = (X - X.mean(axis=0)) @ whitener
    np.testing.assert_allclose(np.var(scores, axis=0, ddof=1), np.ones(5), rtol=1e-10)
    model = make(whiten="pca:5", method="moments").fit(X, data.y, data.tasks)
    expected = make(method="moments").fit(scores, data.y, data.tasks)
    np.testing.assert_allclose(
        np.abs(model.transform(X)), np.abs(expected.transform(scores)), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(
        model.predict(X, data.tasks), expected.predict(scores, data.tasks), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(
        model.components_.T, whitener @ (np.linalg.pinv(whitener) @ model.components_.T), atol=1e-9
    )


def test_recovery_of_the_directions(rng):
    """The span nears the truth as rows grow, like one over the root of their number.

    With N rows and noise s, the sine of the largest angle is at most about s sqrt(d k / N) over
    the least root of the second moment of the coefficients, here 1; the test allows five times this
    bound.
    """
    angles = []
    for m in (20, 320):
        data = draw_related(rng, n=30, m=m, d=10, noise=0.5)
        model = make(method="altmin").fit(data.X, data.y, data.tasks)
        off = data.directions - projection(model.components_) @ data.directions
        angles.append(np.linalg.norm(off, 2))
        assert angles[-1] < 5 * 0.5 * np.sqrt(10 * 2 / (30 * m))
    assert angles[1] < angles[0] / 2


def truth_of(rng, n, m):
    """A model whose heads have known variances and means, and the shares that these explain."""
    directions = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    mean, deviations, noise = np.array([1.0, 0.0]), np.array([1.5, 0.7]), 1.0
    heads = mean + deviations * rng.standard_normal((n, 2))
    tasks = np.repeat(np.arange(n), m)
    X = rng.standard_normal((n * m, 6))
    y = np.sum(X * (heads @ directions.T)[tasks], axis=1) + noise * rng.standard_normal(n * m)
    # The mean of squares of a head is the share's numerator, for features of variance 1.
    shares = (deviations**2 + mean**2) / (np.sum(deviations**2 + mean**2) + noise**2)
    return X, y, tasks, shares, noise


def deviates(rng, fault=1.0):
    """How many standard errors the explained shares and the noise are from the truth.

    The heads of n tasks give the shares a relative standard error of about sqrt(2 / n); the scatter
    between seeds includes all other errors, so that it is the standard error here.
    """
    found = []
    for _ in range(12):
        X, y, tasks, shares, noise = truth_of(rng, 100, 12)
        model = make(method="altmin").fit(X, y, tasks)
        found.append([*(model.explained_ * fault / shares), model.noise_ / noise**2])
    found = np.array(found)
    errors = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return np.abs(found.mean(axis=0) - 1) / errors


def test_explained_shares_and_noise_are_near_the_truth():
    """Three means of 12 fits are within 6 standard errors: by Student's law with 11 degrees of
    freedom, a correct model fails at a rate of 3e-4. A share that is wrong by a third is caught.
    """
    assert deviates(np.random.default_rng(5)).max() < 6
    assert deviates(np.random.default_rng(5), fault=4 / 3)[0] > 6


def test_components_are_ordered_by_what_they_explain_with_their_mean():
    """One direction has a large mean and small deviations: it explains more than the other one."""
    rng = np.random.default_rng(15)
    tasks, X = np.repeat(np.arange(40), 15), rng.standard_normal((600, 6))
    heads = np.array([0.0, 5.0]) + rng.standard_normal((40, 2)) * [1.5, 0.3]
    y = np.sum(X[:, :2] * heads[tasks], axis=1) + 0.3 * rng.standard_normal(600)
    model = make(method="altmin").fit(X, y, tasks)
    assert np.abs(model.components_).argmax(axis=1).tolist() == [1, 0]
    assert model.explained_[0] > 0.8
    assert model.explained_[1] < 0.2


def test_forms_of_the_same_tasks_agree():
    """Rows with labels, a list, and columns of a matrix describe the same tasks."""
    rng = np.random.default_rng(6)
    data = draw_related(rng, n=10, m=3)
    Y = data.X @ data.coefficients.T + 0.1 * rng.standard_normal((30, 10))
    X, tasks = np.tile(data.X, (10, 1)), np.repeat(np.arange(10), 30)
    rows = make().fit(X, Y.T.ravel(), tasks)
    lists = make().fit([data.X] * 10, list(Y.T))
    columns = make().fit(data.X, Y)
    for model in (lists, columns):
        np.testing.assert_allclose(model.components_, rows.components_, rtol=0, atol=1e-7)
        np.testing.assert_allclose(model.heads_, rows.heads_, rtol=0, atol=1e-6)
    predicted = columns.predict(data.X)
    np.testing.assert_allclose(predicted, np.stack(lists.predict([data.X] * 10), axis=1), atol=1e-7)
    np.testing.assert_allclose(predicted.T.ravel(), rows.predict(X, tasks), atol=1e-7)


@pytest.mark.parametrize("method", ["altmin-gd", "single-task"])
def test_one_task(data, method):
    """One task has one component: the direction of its ridge regression."""
    X, y = data.lists()
    for rank in (1, "cv"):
        model = make(rank=rank, method=method).fit(X[0], y[0])
        assert model.rank_ == 1
        np.testing.assert_array_equal(model.tasks_, [0])
        errors = y[0] - model.predict(X[0])
        expected = 1 - errors @ errors / np.sum((y[0] - y[0].mean()) ** 2)
        assert model.score(X[0], y[0]) == pytest.approx(expected, rel=1e-12)
        assert expected > 0.5


def test_tasks_with_few_rows_share_the_components(data):
    """Tasks with one or two rows do not inform about components, but have heads."""
    few = (data.tasks >= 35) & (np.arange(len(data.y)) % 15 > (data.tasks == 35))
    rest = ~few
    model = make().fit(data.X[rest], data.y[rest], data.tasks[rest])
    many = data.tasks < 35
    expected = make().fit(data.X[many], data.y[many], data.tasks[many])
    np.testing.assert_allclose(
        projection(model.components_), projection(expected.components_), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(model.heads_[36], model.mean_head_, rtol=1e-12)
    assert np.abs(model.heads_[35] - model.mean_head_).max() > 1e-3


@pytest.mark.parametrize("method", ["single-task", "duchi"])
def test_rank_by_cross_validation(data, method):
    """The rank is the width that `ms.fit` chooses on the explicit contrasts of the rows."""
    X, y = contrasts(data)
    expected = ms.fit(ms.TaskBatch(X, y), method, width="cv", threads=1).config.width
    model = make(rank="cv", method=method).fit(data.X, data.y, data.tasks)
    assert model.rank_ == expected
    assert model.components_.shape == (expected, 8)
    assert model.get_params()["rank"] == "cv"


def test_rank_by_cross_validation_is_that_of_the_tasks():
    data = draw_related(np.random.default_rng(10), n=30, m=40, d=5)
    assert make(rank="cv", method="single-task").fit(data.X, data.y, data.tasks).rank_ == 2


@pytest.mark.parametrize("method", ["altmin-gd", "moments", "anil"])
@pytest.mark.parametrize("columns", [False, True])
def test_same_seed_same_bits_on_one_and_two_threads(data, method, columns):
    y = data.columns(np.random.default_rng(7)) if columns else data.y
    models = [
        make(method=method, rounds=200, threads=threads).fit(
            data.X, y, None if columns else data.tasks
        )
        for threads in (1, 1, 2)
    ]
    for model in models[1:]:
        for name in ("components_", "heads_", "intercepts_", "ridge_", "noise_"):
            np.testing.assert_array_equal(getattr(model, name), getattr(models[0], name))


def test_large_offsets_of_responses(data, fitted):
    """Eight of 16 digits are those of the offset, and eight are left for the heads."""
    offsets = 1e8 * (1 + np.arange(40))
    model = make().fit(data.X, data.y + offsets[data.tasks], data.tasks)
    np.testing.assert_allclose(model.heads_, fitted.heads_, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.intercepts_ - offsets, fitted.intercepts_, atol=1e-4)


def test_large_means_of_features(data, fitted):
    moved = make().fit(data.X + 1e6, data.y, data.tasks)
    np.testing.assert_allclose(moved.components_, fitted.components_, rtol=0, atol=1e-4)
    found = moved.predict(data.X + 1e6, data.tasks)
    np.testing.assert_allclose(found, fitted.predict(data.X, data.tasks), rtol=0, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-30, 1e-8, 1e8, 1e30])
def test_units_of_responses_and_of_features(data, fitted, factor):
    expected = fitted.predict(data.X, data.tasks)
    model = make().fit(data.X, data.y * factor, data.tasks)
    assert relative_error(model.predict(data.X, data.tasks), expected * factor) < 1e-5
    assert model.noise_ == pytest.approx(fitted.noise_ * factor**2, rel=1e-5)
    model = make().fit(data.X * factor, data.y, data.tasks)
    assert relative_error(model.predict(data.X * factor, data.tasks), expected) < 1e-5


@pytest.mark.parametrize("storage", [np.asarray, scipy.sparse.csr_matrix])
def test_mean_of_many_features_in_float32(storage):
    """A running sum in float32 is off by 1e-4 after this many rows."""
    rng = np.random.default_rng(18)
    X = (rng.standard_normal((50_000, 2)) + 100.3).astype(np.float32)
    y, tasks = X[:, 0] + rng.standard_normal(50_000), np.arange(50_000) % 10
    model = make(rank=1, method="moments").fit(storage(X), y, tasks)
    np.testing.assert_allclose(model.feature_mean_, X.mean(axis=0, dtype=float), rtol=1e-12)


def test_constant_and_repeated_features_change_nothing(data, fitted):
    rng = np.random.default_rng(8)
    X = np.column_stack([data.X, np.full(len(data.X), 3.0), np.zeros(len(data.X))])
    model = make().fit(X, data.y, data.tasks)
    np.testing.assert_allclose(model.components_[:, :8], fitted.components_, rtol=0, atol=1e-6)
    assert np.abs(model.components_[:, 8:]).max() < 1e-6
    repeated = np.column_stack([data.X, data.X[:, rng.permutation(8)]])
    model = make().fit(repeated, data.y, data.tasks)
    found = model.predict(repeated, data.tasks)
    np.testing.assert_allclose(found, fitted.predict(data.X, data.tasks), rtol=0, atol=1e-5)


def test_columns_are_fitted_without_copies_of_the_features(monkeypatch):
    """The samples see a user's table itself, though every row belongs to many tasks."""
    rng = np.random.default_rng(9)
    data = draw_related(rng, n=10, m=20)
    Y = data.columns(rng)
    opened = []
    batches = ms.TaskBatch.stacked

    def watch(X, *rest, **options):
        opened.append(X)
        return batches(X, *rest, **options)

    monkeypatch.setattr(ms.TaskBatch, "stacked", watch)
    for X in (data.X, data.X.astype(np.float32)):
        opened.clear()
        make().fit(X, Y)
        assert opened
        assert all(np.shares_memory(table, X) and table.shape == X.shape for table in opened)
    opened.clear()
    make().fit(data.X, data.y, data.tasks)
    assert all(np.shares_memory(table, data.X) for table in opened)


def test_options_are_not_changed_by_a_fit(data):
    model = make(rank=2, method="altmin")
    before = dict(model.get_params())
    X, y, tasks = data.X.copy(), data.y.copy(), data.tasks.copy()
    model.fit(X, y, tasks)
    assert model.get_params() == before
    for mine, theirs in ((X, data.X), (y, data.y), (tasks, data.tasks)):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_as_many_components_as_features_need_no_signal(rng, d):
    """Every basis has the same span, so the start of the iterations does not matter."""
    X, tasks = rng.standard_normal((96, d)), np.repeat(np.arange(12), 8)
    for _ in range(10):
        model = ms.SharedRepresentation(rank=d).fit(X, rng.standard_normal(96), tasks)
        assert model.components_.shape == (d, d)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_widths_whose_training_diverges_are_left_out():
    """With features twenty times as large, most step sizes of the training are too long."""
    data = draw_related(np.random.default_rng(5), n=20, m=15, d=6)
    with pytest.raises(ValueError, match="at least one rank must have finite errors on held-out"):
        ms.SharedRepresentation(method="anil").fit(200 * data.X, data.y, data.tasks)


@pytest.mark.parametrize("unit", ["ns", "D"])
def test_unknown_dates_are_named_as_dates(rng, unit):
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    days = np.datetime64("2021-01-01", unit) + np.repeat(np.arange(4), 10)
    model = ms.SharedRepresentation(rank=1).fit(X, y, days)
    with pytest.raises(ValueError, match=r"adapt\(X, y\); got 2031-01-01"):
        model.predict(X, np.full(40, np.datetime64("2031-01-01", unit)))
    with pytest.raises(TypeError, match="strings, numbers or datetime64; got timedelta64"):
        model.fit(X, y, days - days[0])
