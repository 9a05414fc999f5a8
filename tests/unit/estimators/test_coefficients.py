"""Leading singular values of a matrix given by its products, against dense decompositions."""

import numpy as np
import pytest

from metaspan.estimators.coefficients import leading_singular
from metaspan.estimators.space import Space


def products(A):
    return lambda Q: (A @ Q, A.T @ (A @ Q))


@pytest.mark.parametrize(
    "values",
    [
        np.concatenate([[3.0, 2.9, 2.0], np.linspace(1.9, 0.1, 27)]),
        np.concatenate([[3.0, 2.0, 1.0], np.zeros(27)]),
        np.concatenate([[1.0, 1e-2, 1e-4], np.full(27, 1e-5)]),
    ],
    ids=["bulk", "low rank", "three scales"],
)
def test_singular_vectors_are_those_of_the_dense_matrix(rng, values):
    U = np.linalg.qr(rng.standard_normal((60, 30)))[0]
    V = np.linalg.qr(rng.standard_normal((40, 30)))[0]
    A = (U * values) @ V.T
    pairs = leading_singular(
        products(A), Space.whole(40, 1), rng.standard_normal((40, 6)), lambda _: 3, 1e-12
    )
    np.testing.assert_allclose(pairs.values[:3], values[:3], rtol=0, atol=1e-12 * values[0])
    top = (pairs.left[:, :3] * pairs.values[:3]) @ pairs.right[:, :3].T
    np.testing.assert_allclose(top, (U[:, :3] * values[:3]) @ V[:, :3].T, rtol=0, atol=1e-10)
    for vectors in (pairs.left[:, :3], pairs.right[:, :3]):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_squares_that_overflow_give_values_all_the_same(rng):
    """The square of the largest value overflows, and no entry of the products does."""
    U, V = (np.linalg.qr(rng.standard_normal((d, 8)))[0] for d in (60, 40))
    A = (U * np.linspace(1.4e154, 1e153, 8)) @ V.T
    pairs = leading_singular(
        products(A), Space.whole(40, 1), rng.standard_normal((40, 3)), lambda _: 1, 1e-6
    )
    assert np.isfinite(pairs.left).all()
    assert pairs.values[0] > 1e153


def test_no_tall_matrix_is_decomposed_in_a_pass(rng, monkeypatch):
    """NumPy decomposes matrices of the order of the space, and the left vectors of the result."""
    A = rng.standard_normal((500, 90)) * np.linspace(2, 1, 90)
    start, shapes = rng.standard_normal((90, 6)), []
    for name in ("svd", "qr"):
        decompose = getattr(np.linalg, name)

        def watch(a, *args, decompose=decompose, **options):
            shapes.append(a.shape)
            return decompose(a, *args, **options)

        monkeypatch.setattr(np.linalg, name, watch)
    leading_singular(products(A), Space.whole(90, 1), start, lambda _: 2, 1e-8)
    assert sum(rows == 500 for rows, _ in shapes) == 1  # the left vectors of the result
    assert all(columns <= 6 for rows, columns in shapes if rows != columns)
