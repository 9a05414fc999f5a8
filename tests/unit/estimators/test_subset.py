"""Some tasks of given samples against samples made of these tasks alone."""

import numpy as np
import pytest

import metaspan as ms
from estimator_draws import Rows, Whole, draw, draw_weights, projection
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.spectral import Duchi, SplitSpectral
from metaspan.estimators.subset import Subset, take_tasks
from reference.estimator_samples import DenseSamples

TASKS = np.array([0, 3, 4, 10])


def stored(X, y, B_star, weights):
    """Samples of a batch, which can leave tasks out."""
    return ArraySamples(ms.TaskBatch(list(X), list(y), B_star=B_star, weights=weights), threads=1)


@pytest.fixture(params=[DenseSamples, Whole, Rows, stored])
def pair(request, rng):
    """A subset of ragged tasks, and the same tasks alone."""
    X, y, B_star = draw(rng, m=rng.integers(2, 9, 12))
    weights = draw_weights(rng, 12)
    chosen = weights[TASKS] / weights[TASKS].mean()
    alone = DenseSamples([X[i] for i in TASKS], [y[i] for i in TASKS], B_star, chosen)
    samples = request.param(X, y, B_star, weights)
    subset = take_tasks(samples, TASKS)
    assert isinstance(subset, Subset) == (not hasattr(samples, "take"))
    return subset, alone


def test_numbers_are_those_of_the_tasks(pair):
    subset, alone = pair
    assert (subset.n, subset.dim) == (alone.n, alone.dim)
    for name in ("offsets", "y", "weights", "B_star"):
        np.testing.assert_allclose(getattr(subset, name), getattr(alone, name), rtol=1e-14)


def test_products_are_those_of_the_tasks(pair, rng):
    subset, alone = pair
    B, C = rng.standard_normal((9, 2)), rng.standard_normal((len(alone.y), 2))
    np.testing.assert_allclose(subset.features(B), alone.features(B), rtol=1e-12)
    np.testing.assert_allclose(subset.combine(C), alone.combine(C), rtol=1e-11)
    for K, expected in zip(subset.grams(range(1, 4)), alone.grams(range(1, 4)), strict=True):
        np.testing.assert_allclose(K, expected, rtol=1e-12)


def test_transform_sees_the_chosen_tasks_in_order(pair, rng):
    subset, alone = pair
    B, C = rng.standard_normal((9, 2)), rng.standard_normal((len(alone.y), 2))
    seen = []

    def transform(Z, tasks):
        rows = slice(alone.offsets[tasks.start], alone.offsets[tasks.stop])
        np.testing.assert_allclose(Z, (alone.X @ B)[rows], rtol=1e-12)
        seen.extend(tasks)
        return C[rows]

    np.testing.assert_allclose(subset.combine_features(B, transform), alone.combine(C), rtol=1e-11)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("estimator", [Duchi(), SplitSpectral()], ids=lambda e: e.name)
def test_estimates_are_those_of_the_tasks(pair, estimator):
    B, expected = (estimator.estimate(samples, 2, None).B for samples in pair)
    np.testing.assert_allclose(projection(B), projection(expected), rtol=0, atol=1e-9)


def test_shared_features_stay_shared(rng):
    X, y, _ = draw(rng, n=4)
    samples = DenseSamples([X[0]] * 4, y)
    shared = Subset(samples, np.array([1, 3])).shared()
    np.testing.assert_array_equal(shared.y, y[1])
    np.testing.assert_allclose(shared.features(np.eye(9)), X[0])
    assert Subset(DenseSamples(X, y), np.array([1, 3])).shared() is None
