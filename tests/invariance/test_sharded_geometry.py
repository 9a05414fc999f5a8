"""Frames, coordinates and distances of a B whose rows are spread over several processes."""

from functools import partial

import numpy as np
import pytest

from metaspan._load import core
from ranks import rows_of, run_ranks

SIZES = (700, 5000, 9001, 40_000)  # of 1, 2, 4 and 8 leaves
RANKS = (1, 2, 3, 4, 5, 7)
EPS = np.finfo(np.float64).eps


def spread_of(d):
    """Numbers of ranks that d rows can be spread over."""
    return [ranks for ranks in RANKS if ranks <= core.Shard.leaves(d)]


CUTS = [(d, ranks) for d in SIZES for ranks in spread_of(d)]


def regular(rng, d, k, B_star):
    return rng.standard_normal((d, k))


def near(rng, d, k, B_star):
    """Columns near the span of B_star, whose parts off it differ by many powers of ten."""
    inside = B_star @ rng.standard_normal((B_star.shape[1], k))
    return inside + rng.standard_normal((d, k)) * 10.0 ** -np.arange(1, 1 + 2 * k, 2)


def ill_conditioned(rng, d, k, B_star):
    """Singular values from 1 down to 1e-12."""
    U, V = (np.linalg.qr(rng.standard_normal((rows, k)))[0] for rows in (d, k))
    return U * np.geomspace(1, 1e-12, k) @ V.T


def deficient(rng, d, k, B_star):
    """A column of zeros, and one that is twice another."""
    B = rng.standard_normal((d, k))
    B[:, k - 1] = 0 if k > 1 else B[:, k - 1]
    if k > 2:
        B[:, 1] = 2 * B[:, 0]
    return B


def few_rows(rng, d, k, B_star):
    """Rows of zeros but in the first leaf, so that the other leaves have singular R-factors."""
    B = np.zeros((d, k))
    B[:300] = rng.standard_normal((300, k))
    return B


SHAPES = [(regular, 10, 10), (regular, 13, 4), (regular, 1, 1), (regular, 3, 6), (near, 5, 5)]
SHAPES += [(ill_conditioned, 8, 3), (deficient, 6, 2), (few_rows, 7, 7)]
shapes = pytest.mark.parametrize(
    ("make", "k", "k_star"), SHAPES, ids=[f"{f.__name__}-{k}-{k_star}" for f, k, k_star in SHAPES]
)


def problem(make, d, k, k_star):
    """Return B (d, k) and an orthonormal B_star (d, k_star) that NumPy has drawn."""
    rng = np.random.default_rng([d, k, k_star])
    B_star = np.linalg.qr(rng.standard_normal((d, k_star)))[0]
    return make(rng, d, k, B_star), B_star


def same(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def joined(parts):
    return np.concatenate(parts)


@pytest.mark.parametrize(("d", "ranks"), CUTS)
@shapes
def test_coordinates_have_the_bits_of_one_process(make, k, k_star, d, ranks):
    B, B_star = problem(make, d, k, k_star)
    M, R, E = core.coordinates(B, B_star, 1)
    whole = core.assemble(B_star, M, E, R, 1)

    def on_rank(shard):
        b, star = rows_of(shard, B), rows_of(shard, B_star)
        found = core.coordinates(b, star, 1 + shard.rank % 2, shard)
        rebuilt = core.assemble(star, found[0], found[2], found[1], 1, shard)
        return *found, rebuilt, core.r_factor(b, 1, shard), core.deviation(b, 1, shard)

    results = run_ranks(d, ranks, on_rank)
    S, off = core.r_factor(B, 1), core.deviation(B, 1)
    for result in results:
        assert same(result[0], M)
        assert same(result[1], R)
        assert same(result[4], S)
        assert result[5] == off
    assert same(joined([result[2] for result in results]), E)
    assert same(joined([result[3] for result in results]), whole)


@pytest.mark.parametrize("d", SIZES)
@shapes
def test_coordinates_describe_B(make, k, k_star, d):
    """Against NumPy's projections, ranks and R-factors, which share no code with the core."""
    B, B_star = problem(make, d, k, k_star)
    ranks = spread_of(d)[-1]

    def on_rank(shard):
        b, star = rows_of(shard, B), rows_of(shard, B_star)
        return *core.coordinates(b, star, 1, shard), core.r_factor(b, 1, shard)

    results = run_ranks(d, ranks, on_rank)
    M, R, S = results[0][0], results[0][1], results[0][3]
    E = joined([result[2] for result in results])
    lengths = np.linalg.norm(B, axis=0)
    tolerance = 40 * EPS * np.sqrt(k) * lengths.max()
    np.testing.assert_allclose(M, B_star.T @ B, atol=tolerance)
    np.testing.assert_allclose(B_star @ M + E @ R, B, atol=tolerance)
    assert abs(E.T @ E - np.eye(E.shape[1])).max() < 1e-14
    assert abs(B_star.T @ E).max() < 1e-14
    assert (np.diagonal(S) >= 0).all()
    assert (S[np.tril_indices(k, -1)] == 0).all()
    np.testing.assert_allclose(S.T @ S, B.T @ B, atol=tolerance * lengths.max())
    np.testing.assert_allclose(
        np.linalg.svd(S, compute_uv=False),
        np.linalg.svd(B, compute_uv=False),
        atol=tolerance,
    )
    off = B - B_star @ (B_star.T @ B)
    off -= B_star @ (B_star.T @ off)
    longest = abs(off).max(axis=0)
    values = np.linalg.svd(off / np.where(longest > 0, longest, 1), compute_uv=False)
    assert E.shape[1] == (values > 4 * EPS * k * values[0]).sum()


@pytest.mark.parametrize("d", SIZES)
def test_distances_have_the_bits_of_one_process(d):
    B, B_star = problem(near, d, 5, 5)
    angles = core.tangents(*core.coordinates(B, B_star, 1)[:2])

    def on_rank(shard):
        M, R, _ = core.coordinates(rows_of(shard, B), rows_of(shard, B_star), 1, shard)
        return core.tangents(M, R)

    for found in run_ranks(d, spread_of(d)[-1], on_rank):
        assert same(found, angles)
    # By NumPy: tan of the angle between B and B_star from the singular values of the two parts.
    inside = B_star.T @ B
    off = B - B_star @ inside
    off -= B_star @ (B_star.T @ off)
    largest = np.linalg.svd(off @ np.linalg.inv(inside), compute_uv=False)[0]
    np.testing.assert_allclose(angles[0], largest, rtol=1e-11)


@pytest.mark.parametrize(("d", "ranks"), CUTS)
@pytest.mark.parametrize(("k", "p"), [(10, 0), (1, 0), (6, 9), (33, 2)])
def test_haar_frames_have_the_bits_of_one_process(k, p, d, ranks):
    off = core.haar(5, 1, core.STREAM_B_STAR, d, p, None, 1) if p else None
    Q = core.haar(5, 1, core.STREAM_START, d, k, off, 1)

    def on_rank(shard):
        others = rows_of(shard, off) if p else None
        part = core.haar(5, 1, core.STREAM_START, d, k, others, 1, shard)
        return part, core.deviation(part, 1, shard)

    parts, deviations = zip(*run_ranks(d, ranks, on_rank), strict=True)
    assert same(joined(parts), Q)
    assert abs(Q.T @ Q - np.eye(k)).max() < 1e-14
    assert max(deviations) < 1e-14
    if p:
        assert abs(off.T @ Q).max() < 1e-14


def test_a_wide_matrix_has_the_r_factor_of_one_process():
    B = np.random.default_rng(3).standard_normal((300, 400))
    S = core.r_factor(B, 1)
    assert S.shape == B.shape
    np.testing.assert_allclose(S.T @ S, B.T @ B, atol=1e-11)
    for found in run_ranks(300, 1, lambda shard: core.r_factor(B, 1, shard)):
        assert same(found, S)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (partial(core.r_factor, np.ones((9, 1)), 1), "the rows of the shard"),
        (partial(core.deviation, np.ones((9, 1)), 1), "the rows of the shard"),
        (partial(core.coordinates, np.ones((9, 1)), np.ones((9, 1)), 1), "the rows of the shard"),
        (partial(core.haar, 1, 0, core.STREAM_START, 9, 1, None, 1), "that of the shard"),
    ],
)
def test_matrices_have_the_rows_of_the_shard(function, message):
    with pytest.raises(ValueError, match=message):
        function(core.Shard(10))
