"""Products and least squares of many tasks at once, against one task at a time."""

from itertools import pairwise

import numpy as np
import pytest

from metaspan.estimators.task_algebra import combine_rows, outer_rows, predict, solve_heads

LENGTHS = {"equal": [5, 5, 5, 5], "ragged": [7, 3, 5, 3], "one task": [6]}


@pytest.fixture(params=LENGTHS.values(), ids=LENGTHS)
def rows(request, rng):
    """Features Z (rows, 3), responses, and offsets that begin after 11 rows of earlier tasks."""
    offsets = 11 + np.cumsum([0, *request.param])
    total = sum(request.param)
    return rng.standard_normal((total, 3)), rng.standard_normal(total), offsets


def blocks(offsets):
    starts = offsets - offsets[0]
    return [slice(first, last) for first, last in pairwise(starts)]


def test_products_are_those_of_each_task(rows, rng):
    Z, c, offsets = rows
    heads = rng.standard_normal((len(offsets) - 1, 3))
    predicted, outer = predict(Z, heads, offsets), outer_rows(c, heads, offsets)
    combined = combine_rows(Z, c, offsets)
    for i, block in enumerate(blocks(offsets)):
        np.testing.assert_allclose(predicted[block], Z[block] @ heads[i], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(outer[block], np.outer(c[block], heads[i]), rtol=1e-13)
        np.testing.assert_allclose(combined[i], Z[block].T @ c[block], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("fault", ["none", "dependent columns", "zero", "badly scaled", "close"])
def test_heads_are_least_squares_of_the_least_norm(rows, fault, rng):
    Z, y, offsets = rows
    first = blocks(offsets)[0]
    if fault == "dependent columns":
        Z[first, 2] = Z[first, 0] - Z[first, 1]
    elif fault == "zero":
        Z[first] = 0
    elif fault == "badly scaled":
        Z[first] *= [1e-7, 1, 1e7]
    elif fault == "close":
        Z[first, 2] = Z[first, 0] + 1e-5 * rng.standard_normal(len(Z[first]))
    heads = solve_heads(Z, y, offsets)
    for i, block in enumerate(blocks(offsets)):
        expected = np.linalg.lstsq(Z[block], y[block], rcond=None)[0]
        np.testing.assert_allclose(heads[i], expected, rtol=1e-9, atol=1e-13)


def test_heads_of_fewer_samples_than_entries_have_the_least_norm(rng):
    Z, y = rng.standard_normal((6, 4)), rng.standard_normal(6)
    heads = solve_heads(Z, y, np.array([0, 2, 4, 6]))
    for i in range(3):
        block = slice(2 * i, 2 * i + 2)
        expected = np.linalg.lstsq(Z[block], y[block], rcond=None)[0]
        np.testing.assert_allclose(heads[i], expected, rtol=1e-10)


def test_heads_of_features_that_are_not_finite_are_not_finite():
    Z = np.ones((4, 1))
    Z[0] = np.nan
    heads = solve_heads(Z, np.ones(4), np.array([0, 2, 4]))
    assert not np.isfinite(heads[0]).any()
