"""Properties of the estimator on drawn inputs: ragged, with NaN, constant, repeated and tiny."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import metaspan as ms
from metaspan.people.heads import TaskSums, fit_prior, loo_residuals, ridge_heads
from metaspan.people.task_rows import Contrasts
from reference import people
from reference.estimator_samples import DenseSamples

FEW = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

# Parts of sentences with which fit refuses inputs that tell too little.
REFUSALS = (
    "at least 2 rows",
    "must vary within at least one task",
    "must have values",
    "must have differences within tasks",
    "number of components that the tasks determine",
    "number of tasks",
    "number of features",
    "samples",
    "no components were found",
)


@st.composite
def ragged_tasks(draw):
    """Few small tasks, some of whose features and responses are constant, repeated or far away."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=7))
    d = draw(st.integers(1, 5))
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.standard_normal((len(tasks), d)) * 10.0 ** draw(st.integers(-3, 3))
    y = rng.standard_normal(len(tasks)) + np.sum(X * rng.standard_normal((len(sizes), d))[tasks], 1)
    kinds = draw(st.sets(st.sampled_from(KINDS)))
    if "constant feature" in kinds:
        X[:, 0] = 5.0
    if "feature constant in each task" in kinds:
        X[:, 0] = tasks
    if "repeated feature" in kinds:
        X[:, -1] = X[:, 0]
    if "repeated rows" in kinds:
        X[1::2] = X[: len(X) // 2 * 2 : 2]
        y[1::2] = y[: len(y) // 2 * 2 : 2]
    if "equal rows" in kinds:
        X[tasks == 0] = X[0]
    if "constant responses" in kinds:
        y[tasks == tasks[-1]] = -2.0
    if "integers" in kinds:
        X, y = np.round(X), np.round(y)
    if "offset" in kinds:
        y = y + 1e6 * tasks
    return X, y, tasks


KINDS = [
    "constant feature",
    "feature constant in each task",
    "repeated feature",
    "repeated rows",
    "equal rows",
    "constant responses",
    "integers",
    "offset",
]


def fit_or_refuse(model, X, y, tasks=None):
    """Fit a model; None if the input is refused with one of the known sentences."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ms.NotConvergedWarning)
        try:
            return model.fit(X, y, tasks)
        except ValueError as error:
            sentence = str(error)
    assert "\n" not in sentence
    assert any(part in sentence for part in REFUSALS), sentence
    return None


OPTIONS = st.fixed_dictionaries(
    {
        "rank": st.sampled_from([1, 2, 3]),
        "method": st.sampled_from(["altmin-gd", "altmin", "moments", "single-task"]),
        "fit_mean": st.booleans(),
        "fit_intercept": st.booleans(),
        "scale_targets": st.booleans(),
        "ridge": st.sampled_from(["loo", 0.0, 1.0]),
    }
)


@FEW
@given(ragged_tasks(), OPTIONS)
def test_a_fit_is_finite_or_refused_in_one_sentence(drawn, options):
    X, y, tasks = drawn
    model = fit_or_refuse(ms.SharedRepresentation(**options, rounds=30, threads=1), X, y, tasks)
    if model is None:
        return
    for name in ("components_", "heads_", "intercepts_", "mean_head_", "explained_", "scales_"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert model.noise_ > 0
    assert model.explained_.sum() < 1 + 1e-12
    assert (np.diff(model.explained_) < 1e-9).all()
    assert model.ridge_ >= 0
    assert np.isfinite(model.predict(X, tasks)).all()
    new = model.adapt(X[:1], y[:1])
    assert np.isfinite(new.predict(X)).all()
    score = model.score(X, y, tasks)
    assert np.isnan(score) or score <= 1


@FEW
@given(ragged_tasks(), OPTIONS, st.integers(0, 2**32))
def test_names_and_the_order_of_rows_do_not_matter(drawn, options, seed):
    """Models agree to rounding if rows are reordered and tasks renamed in the same order.

    Penalties are given: those of leave-one-out errors leave out contrasts, which are other
    combinations of rows where the rows have another order.
    """
    X, y, tasks = drawn
    order = np.random.default_rng(seed).permutation(len(tasks))
    names = np.array([f"task {i}" for i in tasks])
    options = options | {"rank": 1, "method": ms.SingleTask(ridge=0.1), "ridge": 1.0, "threads": 1}
    model = fit_or_refuse(ms.SharedRepresentation(**options), X, y, tasks)
    other = fit_or_refuse(ms.SharedRepresentation(**options), X[order], y[order], names[order])
    assert (model is None) == (other is None)
    if model is not None:
        np.testing.assert_array_equal(other.tasks_, np.unique(names))
        found, expected = other.predict(X, names), model.predict(X, tasks)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * (1 + np.abs(y).max()))


@FEW
@given(ragged_tasks(), st.integers(0, 2**32))
def test_columns_with_nan_are_ragged_tasks(drawn, seed):
    """Predictions are equal for rows of a shared table and for the same rows with labels.

    Penalties are given: rounding errors decide between penalties of equal leave-one-out errors.
    """
    X, _, _ = drawn
    rng = np.random.default_rng(seed)
    Y = rng.standard_normal((len(X), 4)) + X @ rng.standard_normal((X.shape[1], 4))
    Y[rng.random(Y.shape) < rng.random()] = np.nan
    options = {"rank": 1, "method": ms.SingleTask(ridge=0.1), "ridge": 1.0, "threads": 1}
    if np.isnan(Y).all(axis=0).any():
        with pytest.raises(ValueError, match="value that is not NaN"):
            ms.SharedRepresentation(**options).fit(X, Y)
        return
    model = fit_or_refuse(ms.SharedRepresentation(**options), X, Y)
    number, rows = np.nonzero(~np.isnan(Y.T))
    other = fit_or_refuse(ms.SharedRepresentation(**options), X[rows], Y[rows, number], number)
    assert (model is None) == (other is None)
    if model is not None:
        size = 1 + np.abs(Y[~np.isnan(Y)]).max()
        found, expected = model.predict(X)[rows, number], other.predict(X[rows], number)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * size)


def offsets_and_lists(tasks, *values):
    offsets = np.concatenate([[0], np.cumsum(np.bincount(tasks))])
    return offsets, *(people.split(v, offsets) for v in values)


@FEW
@given(ragged_tasks(), st.booleans(), st.sampled_from([1e-2, 1.0, 1e3]))
def test_heads_and_left_out_rows_are_those_of_refits(drawn, intercept, ridge):
    X, y, tasks = drawn
    X = X / max(np.abs(X).max(), 1e-3)
    mean = np.linspace(1, -1, X.shape[1])
    offsets, Z, responses = offsets_and_lists(tasks, X, y)
    sums = TaskSums.of(X, y, offsets, intercept)
    heads = ridge_heads(sums.A, sums.b, ridge, mean)
    residuals = people.split(loo_residuals(X, y, offsets, ridge, mean, intercept), offsets)
    size = 1e-7 * (1 + np.abs(y).max())
    for head, mine, features, values in zip(heads, residuals, Z, responses, strict=True):
        expected, _ = people.ridge_model(features, values, ridge, mean, intercept)
        np.testing.assert_allclose(head, expected, rtol=0, atol=size / ridge**0.5)
        expected = people.left_out_residuals(features, values, ridge, mean, intercept)
        np.testing.assert_allclose(mine, expected, rtol=0, atol=size / ridge**0.5)


@FEW
@given(ragged_tasks(), st.booleans(), st.booleans())
def test_the_fitted_law_is_likelier_than_the_start(drawn, intercept, fit_mean):
    """It is likelier than the start and than three explicit steps, whose likelihoods rise."""
    X, y, tasks = drawn
    offsets, Z, responses = offsets_and_lists(tasks, X, y)
    if intercept:
        Z, responses = people.without_intercept(Z, responses)
    count = sum(map(len, responses))
    total = sum(z.T @ z for z in Z) / max(count, 1)
    values, vectors = np.linalg.eigh(total)
    assume(values[0] > 1e-8 * max(values[-1], np.sum(X * X) / len(X)))
    whiten = vectors / np.sqrt(values)  # the features have the covariance I, as in `standardise`
    sums = TaskSums.of(X @ whiten, y, offsets, intercept)
    variance = sums.squares / count
    assume(variance > 0)  # `fit` refuses responses that are constant within tasks
    prior = fit_prior(sums, fit_mean)
    assume(prior.noise > 1e-6 * variance)  # or else the law explains all responses
    Z, k = [z @ whiten for z in Z], len(values)
    best = people.log_likelihood(Z, responses, prior.mean, prior.covariance, prior.noise)
    step = (np.zeros(k), np.eye(k) * variance / 2, variance / 2)
    before = -np.inf
    for _ in range(4):
        likelihood = people.log_likelihood(Z, responses, *step)
        assert before - 1e-7 * abs(likelihood) <= likelihood <= best + 1e-7 * (1 + abs(best))
        before, step = likelihood, people.em_step(Z, responses, *step, fit_mean=fit_mean)


@FEW
@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(0, 2**32))
def test_contrasts_are_reflections_of_any_sizes(sizes, seed):
    rng = np.random.default_rng(seed)
    X = [rng.standard_normal((m, 3)) for m in sizes]
    y = [rng.standard_normal(m) for m in sizes]
    samples = Contrasts(DenseSamples(X, y))
    mirrors = [people.reflection(m)[1:] for m in sizes]
    expected = np.concatenate([H @ task for H, task in zip(mirrors, X, strict=True)])
    np.testing.assert_allclose(samples.features(np.eye(3)), expected, rtol=0, atol=1e-12)
    expected = np.concatenate([H @ task for H, task in zip(mirrors, y, strict=True)])
    np.testing.assert_allclose(samples.y, expected, rtol=0, atol=1e-12)
