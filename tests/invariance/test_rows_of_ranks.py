"""Products with rows of X, and matrices with d rows, have the same bits for any number of ranks."""

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from metaspan._core_types import CoreData
from metaspan._load import core
from metaspan.estimators.space import Space
from metaspan.tasks.features import core_law
from ranks import rows_of, run_ranks

SIZES = [(700, 1), (5001, 2), (9001, 4), (40_000, 5)]  # d, and the most ranks that are tested
COUNTS = [(3, 4), (7, 2), (50, 1)]  # samples of the tasks, inner and outer


def data_of(d, dtype, rng, shard=None):
    """Tasks of different sizes; with a shard, the columns of a rank."""
    X = [[rng.standard_normal((m, d)).astype(dtype) for m in counts] for counts in COUNTS]
    y = [[rng.standard_normal(m).astype(dtype) for m in counts] for counts in COUNTS]
    part = (
        (lambda x: x) if shard is None else (lambda x: np.ascontiguousarray(rows_of(shard, x.T).T))
    )
    sides = [([part(x[side]) for x in X], [z[side] for z in y]) for side in (0, 1)]
    (X_in, y_in), (X_out, y_out) = sides
    return CoreData(X_in, y_in, X_out, y_out, shard=shard)


def compare(results, expected):
    """Require the bits of all ranks; results by upper-case names have the rows of a rank."""
    for name, whole in expected.items():
        if name.isupper():
            joined = np.concatenate([result[name] for result in results])
            np.testing.assert_array_equal(joined, whole, err_msg=name)
            continue
        for result in results:
            np.testing.assert_array_equal(result[name], whole, err_msg=name)


def products(data, part, d, shard=None, threads=1):
    """All products of a batch: those with d rows by upper-case names."""
    rng, size = np.random.default_rng(4), d if shard is None else shard.size
    N, n, k = sum(map(sum, COUNTS)), len(COUNTS), 3
    B, C = rng.standard_normal((d, k)) / np.sqrt(d), rng.standard_normal((N, k))
    heads, weights = rng.standard_normal((n, k)), rng.uniform(1, 2, n)
    left, right = rng.standard_normal((N, 2)), rng.standard_normal((N, 2))
    own_B = np.ascontiguousarray(part(B))

    def batch():  # each product gets its own
        return core.Batch(data, size)

    y = core.batch_rows(batch())[1]
    fitted = core.batch_fit_heads(batch(), own_B, y, weights, False, threads)
    with_intercepts = core.batch_fit_heads(batch(), own_B, y, weights, True, threads)
    return {
        "features": core.batch_features(batch(), own_B, threads),
        "COMBINE": core.batch_combine(batch(), C, threads),
        "BOTH": core.batch_combine_features(batch(), own_B, lambda Z, *_: Z**2, threads),
        "FORMS": core.batch_combine_forms(batch(), own_B, C[:, 0].copy(), left, right, threads),
        "FIT": fitted[0],
        "heads": fitted[1],
        "loss": np.array([fitted[2], with_intercepts[2]]),
        "INTERCEPTS": with_intercepts[0],
        "CURVATURE": core.batch_curvature(batch(), own_B, heads, weights, False, threads),
        "CENTRED": core.batch_curvature(batch(), own_B, heads, weights, True, threads),
        "grams": np.concatenate([K.ravel() for K in core.batch_grams(batch(), 0, n, threads)]),
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("d", "most"), SIZES)
def test_products_of_a_batch(d, most, dtype):
    plain = products(data_of(d, dtype, np.random.default_rng(1)), lambda B: B, d)
    for ranks in range(1, most + 1):

        def body(shard):
            data = data_of(d, dtype, np.random.default_rng(1), shard)
            threads = 1 + shard.rank % 2
            return products(data, lambda B: rows_of(shard, B), d, shard, threads)

        compare(run_ranks(d, ranks, body), plain)


def test_products_of_ranks_are_those_of_numpy():
    d = 5001
    whole = data_of(d, np.float64, np.random.default_rng(1))
    X = np.concatenate([x for pair in zip(whole.X_in, whole.X_out, strict=True) for x in pair])
    rng = np.random.default_rng(4)
    B = rng.standard_normal((d, 3)) / np.sqrt(d)
    C = rng.standard_normal((len(X), 3))

    def body(shard):
        data = data_of(d, np.float64, np.random.default_rng(1), shard)
        return products(data, lambda B: rows_of(shard, B), d, shard)

    first, second = run_ranks(d, 2, body)
    np.testing.assert_allclose(first["features"], X @ B, rtol=0, atol=1e-12)
    for name, expected in {"COMBINE": X.T @ C, "BOTH": X.T @ (X @ B) ** 2}.items():
        both = np.concatenate([first[name], second[name]])
        np.testing.assert_allclose(both, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_of_sparse_rows(dtype):
    """Sums over a sparse row are cut at leaves where ranks hold columns, even on one rank."""
    d, k, counts = 9001, 3, (4, 9, 5)
    rng = np.random.default_rng(3)
    X = [sparse.random(m, d, 0.02, "csr", dtype, random_state=rng) for m in counts]
    y = [rng.standard_normal(m).astype(dtype) for m in counts]
    B, C = rng.standard_normal((d, k)), rng.standard_normal((sum(counts), k))

    def body(shard):
        parts = [task[:, shard.first : shard.first + shard.size].tocsr() for task in X]
        rows = [(p.indptr.astype(np.int64), p.indices.astype(np.int32), p.data) for p in parts]
        threads = 1 + shard.rank % 2
        data, own_B = CoreData(rows, y, rows, y, shard=shard), rows_of(shard, B)

        def batch():
            return core.Batch(data, shard.size)

        fitted = core.batch_fit_heads(batch(), own_B, batch_responses, weights, True, threads)
        return {
            "features": core.batch_features(batch(), own_B, threads),
            "COMBINE": core.batch_combine(batch(), C, threads),
            "BOTH": core.batch_combine_features(batch(), own_B, lambda Z, *_: Z**2, threads),
            "grams": np.concatenate([K.ravel() for K in core.batch_grams(batch(), 0, 3, threads)]),
            "fit": np.array([np.nan]) if fitted is None else fitted[1],
        }

    batch_responses, weights = np.concatenate(y).astype(np.float64), np.ones(len(counts))
    first = run_ranks(d, 1, body)[0]
    for ranks in (2, 3, 4):
        compare(run_ranks(d, ranks, body), first)
    whole = np.concatenate([task.toarray() for task in X]).astype(np.float64)
    np.testing.assert_allclose(first["features"], whole @ B, rtol=0, atol=1e-12)
    np.testing.assert_allclose(first["COMBINE"], whole.T @ C, rtol=0, atol=1e-12)


def made(law, shard, threads, d):
    """All products of generated rows, with a spectrum and with xi."""
    rng, n, m, k = np.random.default_rng(6), 5, 7, 3
    roots, B_star = rng.uniform(0.5, 2, d), np.linalg.qr(rng.standard_normal((d, 2)))[0]
    B, C, heads = (rng.standard_normal(shape) for shape in ((d, k), (n * m, k), (n, 2)))
    part = (lambda x: x) if shard is None else (lambda x: rows_of(shard, x))
    samples = core.MadeSamples(core_law(law), part(roots), 3, 1, n, m, d, shard)
    y, radii = samples.responses(part(B_star), heads, 0.01, threads)
    return {
        "y": y,
        "radii": radii,
        "features": samples.features(part(B), threads),
        "COMBINE": samples.combine(C, threads),
        "BOTH": samples.combine_features(part(B), lambda Z, *_: Z**2, threads),
        "ROWS": np.ascontiguousarray(samples.rows(1, 3, threads).T),
    }


@pytest.mark.parametrize(
    "law", ["gaussian", "sphere", ms.StudentT(dof=5.0), "rademacher", "uniform"]
)
@pytest.mark.parametrize(("d", "most"), SIZES[1:3])
def test_products_of_generated_rows(d, most, law):
    plain = made(law, None, 1, d)
    for ranks in range(1, most + 1):
        compare(run_ranks(d, ranks, lambda shard: made(law, shard, 1 + shard.rank % 2, d)), plain)


def algebra(space):
    """All methods of a space on matrices of ordinary, of nearly dependent and of zero columns."""
    rng = np.random.default_rng(2)
    rows = slice(space.first, space.first + space.rows)
    A, B = (rng.standard_normal((space.dim, q)) for q in (6, 4))
    S = rng.standard_normal((6, 5))
    A[:, 3] = A[:, 1] - A[:, 2]
    B[:, 2] = B[:, 0] + 1e-9 * B[:, 1]
    zero = B.copy()
    zero[:, 1] = 0
    a, b, zero = (np.ascontiguousarray(M[rows]) for M in (A, B, zero))
    orthonormal = {"A": space.factor(a), "B": space.factor(b), "zero": space.factor(zero)}
    results = {f"Q {name}".upper(): Q for name, (Q, _) in orthonormal.items()}
    results |= {f"r {name}": R for name, (_, R) in orthonormal.items()}
    return results | {
        "inner": space.inner(a, b),
        "inner of columns": space.inner(a[:, 2:], b[:, :3]),
        "column products": space.column_products(a[:, :4], b),
        "norms": np.array([space.norm(a), space.spectral_norm(a), space.product(b, zero)]),
        "triangle": space.triangle(a),
        "TIMES": space.times(a, S),
        "OFF": space.project_off(orthonormal["B"][0], a),
        "all rows": space.all_rows(a),
        "IDENTITY": space.identity(5, 8),
    }


@pytest.mark.parametrize(("d", "most"), SIZES)
def test_algebra_of_matrices_with_d_rows(d, most):
    plain = algebra(Space.whole(d, 2))
    for ranks in range(1, most + 1):
        compare(run_ranks(d, ranks, lambda shard: algebra(Space(shard, 1))), plain)


def test_algebra_is_that_of_numpy():
    d = 3000
    rng = np.random.default_rng(2)
    A, B = rng.standard_normal((d, 6)), rng.standard_normal((d, 4))
    space, S = Space.whole(d, 1), rng.standard_normal((6, 2))
    np.testing.assert_allclose(space.inner(A, B), A.T @ B, rtol=0, atol=1e-10)
    np.testing.assert_allclose(space.times(A, S), A @ S, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        space.column_products(A[:, :4], B), np.sum(A[:, :4] * B, axis=0), rtol=0, atol=1e-10
    )
    Q, R = np.linalg.qr(A)
    signs = np.sign(np.diagonal(R))
    np.testing.assert_allclose(space.factor(A)[0], Q * signs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(space.factor(A)[1], R * signs[:, None], rtol=0, atol=1e-11)
    assert abs(space.spectral_norm(A) - np.linalg.norm(A, 2)) < 1e-11


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_dependent_columns_are_replaced(scale):
    """The factors reproduce A, the columns of Q are orthonormal, and R shows what depends."""
    d, rng = 2100, np.random.default_rng(5)
    A = scale * rng.standard_normal((d, 5))
    A[:, 2], A[:, 3] = A[:, 0] + A[:, 1], 0
    Q, R = Space.whole(d, 1).factor(A)
    np.testing.assert_allclose(Q.T @ Q, np.eye(5), rtol=0, atol=1e-13)
    np.testing.assert_allclose(Q @ R, A, rtol=0, atol=1e-12 * scale)
    assert (np.diagonal(R) > 0).tolist() == [True, True, False, False, True]
    np.testing.assert_array_equal(R, np.triu(R))
