"""Block Krylov iteration, conjugate gradients and least squares against dense decompositions."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

from estimator_draws import projection, sine
from metaspan.estimators import solvers
from metaspan.estimators.solvers import (
    WidthError,
    fixed_normals,
    least_squares_heads,
    solve_by_cg,
    start_columns,
    top_eigenvectors,
)
from metaspan.estimators.space import Space


def with_eigenvalues(rng, values):
    Q = np.linalg.qr(rng.standard_normal((len(values),) * 2))[0]
    return (Q * values) @ Q.T, Q


def search(A, k, few_passes=True, **options):
    return top_eigenvectors(
        lambda Q: A @ Q,
        Space.whole(len(A), 1),
        lambda: fixed_normals(len(A), start_columns(k, few_passes)),
        k,
        **options,
    )


@pytest.mark.parametrize("d", [20, 128, 129, 300])
@pytest.mark.parametrize("k", [1, 4, 19])
@pytest.mark.parametrize("few_passes", [True, False])
def test_eigenvectors_are_the_algebraically_largest(rng, d, k, few_passes):
    values = np.concatenate([rng.uniform(-3, -2, d // 2), rng.uniform(0, 1, d - d // 2)])
    values[: d // 2 : 3] *= -1
    A, _ = with_eigenvalues(rng, np.where(np.arange(d) < 19, 4 + np.arange(d), values))
    pairs = search(A, k, few_passes)
    expected, vectors = np.linalg.eigh(A)
    assert not pairs.reason
    np.testing.assert_allclose(pairs.values, expected[::-1][:k], rtol=1e-9)
    P = projection(vectors[:, ::-1][:, :k])
    np.testing.assert_allclose(projection(pairs.vectors), P, rtol=0, atol=1e-8)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(k), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [150, 199, 200])
def test_width_near_the_dimension_is_found(rng, k):
    A, Q = with_eigenvalues(rng, np.arange(200.0, 0, -1))
    P = projection(Q[:, :k])
    np.testing.assert_allclose(projection(search(A, k).vectors), P, rtol=0, atol=1e-8)


def test_equal_eigenvalues_give_an_invariant_subspace(rng):
    """Between equal eigenvalues there is no gap, and the search ends at rounding errors."""
    A, _ = with_eigenvalues(rng, np.concatenate([np.full(6, 5.0), rng.uniform(0, 1, 194)]))
    pairs = search(A, 4)
    assert not pairs.reason
    np.testing.assert_allclose(A @ pairs.vectors, 5 * pairs.vectors, rtol=0, atol=1e-10)


def test_narrow_blocks_find_every_copy_of_an_eigenvalue(rng):
    A, Q = with_eigenvalues(rng, np.concatenate([np.full(9, 5.0), rng.uniform(0, 1, 191)]))
    pairs = search(A, 9, few_passes=False)
    assert not pairs.reason
    P = projection(Q[:, :9])
    np.testing.assert_allclose(projection(pairs.vectors), P, rtol=0, atol=1e-8)


def test_narrow_blocks_need_more_products_with_fewer_columns(rng):
    A, _ = with_eigenvalues(rng, np.concatenate([[2.0, 1.9, 1.8], np.linspace(1.5, 0, 297)]))
    calls = {}
    for few_passes in (True, False):
        columns = calls[few_passes] = []

        def product(Q, columns=columns):
            columns.append(Q.shape[1])
            return A @ Q

        start = fixed_normals(300, start_columns(3, few_passes))
        top_eigenvectors(product, Space.whole(300, 1), start, 3)
    assert len(calls[True]) < len(calls[False])
    assert sum(calls[False]) < sum(calls[True])


def test_matrix_of_low_rank_ends_the_search(rng):
    A, Q = with_eigenvalues(rng, np.concatenate([[5.0, 3.0, 1.0], np.zeros(197)]))
    pairs = search(A, 3)
    np.testing.assert_allclose(pairs.values, [5, 3, 1], rtol=1e-10)
    np.testing.assert_allclose(projection(pairs.vectors), projection(Q[:, :3]), rtol=0, atol=1e-8)
    with pytest.raises(WidthError, match="width must be at most 3") as error:
        search(A, 4)
    assert error.value.most == 3


@pytest.mark.parametrize("d", [30, 200])
def test_negative_eigenvalues_are_no_directions(rng, d):
    A, _ = with_eigenvalues(rng, np.concatenate([[2.0], -np.arange(1.0, d)]))
    with pytest.raises(ValueError, match="width must be at most 1, the number of directions"):
        search(A, 2)


def test_restarts_lose_nothing(rng, monkeypatch):
    monkeypatch.setattr("metaspan.estimators.solvers._BLOCKS", (3, 3))
    A, Q = with_eigenvalues(rng, np.concatenate([[2.0, 1.9, 1.8], np.linspace(1.7, 0, 297)]))
    pairs = search(A, 3, passes=300)
    assert not pairs.reason
    np.testing.assert_allclose(projection(pairs.vectors), projection(Q[:, :3]), rtol=0, atol=1e-8)


def diagonal_of(A):
    """Return the inverse of the diagonal of A minus a shift, as a preconditioner."""

    def precondition(R, values):
        distance = np.diagonal(A)[:, None] - values
        return R / np.where(np.abs(distance) < 1e-3, 1e-3, distance)

    return precondition


def nearly_diagonal(rng, d, size):
    E = rng.standard_normal((d, d)) * size
    return np.diag(np.concatenate([[2.0, 1.9, 1.8], np.linspace(1.7, 0, d - 3)])) + E + E.T


@pytest.mark.parametrize(("blocks", "tol"), [((8, 30), 1e-8), ((3, 3), 1e-8), ((8, 30), 1e-3)])
def test_preconditioned_search_finds_the_same_eigenvectors(rng, monkeypatch, blocks, tol):
    """Also through restarts of a small space, and within the bound of a loose tolerance."""
    monkeypatch.setattr("metaspan.estimators.solvers._BLOCKS", blocks)
    A = nearly_diagonal(rng, 300, 2e-3)
    pairs = search(A, 3, tol=tol, precondition=diagonal_of(A))
    values, vectors = np.linalg.eigh(A)
    assert not pairs.reason
    assert sine(pairs.vectors, vectors[:, :-4:-1]) < max(tol, 2e-8)
    np.testing.assert_allclose(pairs.values, values[:-4:-1], rtol=max(tol**2, 1e-12))
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(3), rtol=0, atol=1e-12)


def test_preconditioner_of_a_nearly_diagonal_matrix_saves_passes(rng):
    A, calls = nearly_diagonal(rng, 300, 1e-4), []

    def product(Q):
        calls.append(Q)
        return A @ Q

    start = np.eye(300, 8) + 1e-5 * fixed_normals(300, 8)
    top_eigenvectors(product, Space.whole(300, 1), start, 3)
    plain = len(calls)
    top_eigenvectors(product, Space.whole(300, 1), start, 3, precondition=diagonal_of(A))
    assert 2 * (len(calls) - plain) < plain


def test_preconditioned_search_that_ends_early_says_so(rng):
    A = nearly_diagonal(rng, 300, 2e-3)
    pairs = search(A, 3, passes=2, precondition=diagonal_of(A))
    assert "after 2 products with the samples" in pairs.reason
    broken = top_eigenvectors(
        lambda Q: np.full_like(Q, np.inf),
        Space.whole(200, 1),
        np.eye(200, 4),
        2,
        precondition=diagonal_of(A),
    )
    assert broken.reason == "products with the samples are not finite numbers"


def test_search_that_ends_with_a_full_space_says_so():
    """Without a gap the space is full in the last pass: Ritz vectors are those of this space."""
    A = np.linspace(1, 1.0001, 2000)[:, None]  # the diagonal of a matrix
    start, passes = fixed_normals(2000, start_columns(5)), 67
    pairs = top_eigenvectors(lambda Q: A * Q, Space.whole(2000, 1), start, 5, passes=passes)
    assert f"after {passes} products with the samples" in pairs.reason
    products = np.sum(pairs.vectors * (A * pairs.vectors), axis=0)
    np.testing.assert_allclose(products, pairs.values, rtol=1e-12)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(5), rtol=0, atol=1e-12)


def test_bound_on_the_sine_holds(rng):
    A, Q = with_eigenvalues(rng, np.concatenate([[2.0, 1.9, 1.8], np.linspace(1.7, 0, 297)]))
    errors = []
    for tol in (1e-2, 1e-4, 1e-6):
        B = search(A, 3, tol=tol).vectors
        errors.append(sine(B, Q[:, :3]))
        assert errors[-1] < tol
    assert errors[0] > 1e-6


def test_search_needs_a_third_of_the_products_of_single_vectors(rng):
    """At the spectrum of the method of moments: a bulk, and k eigenvalues close above it."""
    k, calls = 10, {"block": 0, "single": 0}
    A, U = with_eigenvalues(
        rng, np.concatenate([np.linspace(1.1, 1.02, k), np.linspace(0, 1, 590) ** 0.5])
    )

    def product(Q, name):
        calls[name] += 1
        return A @ Q

    start = fixed_normals(600, start_columns(k))
    block = top_eigenvectors(lambda Q: product(Q, "block"), Space.whole(600, 1), start, k).vectors
    operator = LinearOperator(A.shape, matvec=lambda q: product(q, "single"), dtype=float)
    single = eigsh(operator, k=k, which="LA", v0=start[:, 0], tol=1e-10)[1]
    assert 3 * calls["block"] < calls["single"]
    assert sine(block, U[:, :k]) < sine(single, U[:, :k])


def test_decompositions_are_fewer_than_products(rng, monkeypatch):
    A, _ = with_eigenvalues(rng, np.concatenate([[2.0, 1.9, 1.8], np.linspace(1.7, 0, 297)]))
    calls = {"products": 0, "decompositions": 0}

    def decompose(H, count):
        calls["decompositions"] += 1
        return top_ritz(H, count)

    def product(Q):
        calls["products"] += 1
        return A @ Q

    top_ritz = solvers._top_ritz
    monkeypatch.setattr(solvers, "_top_ritz", decompose)
    top_eigenvectors(product, Space.whole(300, 1), fixed_normals(300, start_columns(3)), 3)
    assert 5 * calls["decompositions"] < 2 * calls["products"]


@pytest.mark.parametrize("d", [20, 200])
def test_products_that_overflow_are_reported(d):
    pairs = top_eigenvectors(
        lambda Q: np.full_like(Q, np.inf), Space.whole(d, 1), np.ones((d, 4)), 2
    )
    assert pairs.reason == "products with the samples are not finite numbers"


@pytest.mark.parametrize("rank", [12, 30])
def test_conjugate_gradients_give_the_solution_of_least_norm(rng, rank):
    M = rng.standard_normal((rank, 30))
    A, right = M.T @ M, M.T @ rng.standard_normal((rank, 3))
    right[:, 1] = 0
    x, reason = solve_by_cg(lambda P: A @ P, Space.whole(30, 1), right, 1e-12, 500)
    assert not reason
    np.testing.assert_allclose(x, np.linalg.pinv(A, rcond=1e-10) @ right, rtol=1e-5, atol=1e-8)


def test_conjugate_gradients_that_end_early_say_so(rng):
    M = rng.standard_normal((30, 30))
    _, reason = solve_by_cg(
        lambda P: M.T @ (M @ P), Space.whole(30, 1), rng.standard_normal((30, 2)), 1e-12, 4
    )
    assert "after 4 products" in reason


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_heads_solve_the_problem_of_each_task(rng, ridge):
    """Tasks with more and fewer samples than columns, and one with linearly dependent columns."""
    sizes = [6, 2, 6, 9, 2, 6, 1]
    offsets = np.cumsum([0, *sizes]) + 5  # those of a range of tasks
    Z, y = rng.standard_normal((sum(sizes), 4)), rng.standard_normal(sum(sizes))
    Z[8:14, 3] = Z[8:14, 0]
    heads = least_squares_heads(Z, y, offsets, ridge)
    for i, m in enumerate(sizes):
        rows = slice(offsets[i] - 5, offsets[i + 1] - 5)
        X = np.vstack([Z[rows], np.sqrt(m * ridge) * np.eye(4)])
        expected = np.linalg.lstsq(X, np.concatenate([y[rows], np.zeros(4)]), rcond=1e-12)[0]
        np.testing.assert_allclose(heads[i], expected, rtol=1e-9, atol=1e-12)
