"""Random subspaces: Haar frames, and starts that are drawn in coordinates without them.

Seeds are fixed. With fresh seeds each comparison would fail with a probability of 10^-5.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan._load import core

COUNT = 6000
SIGMAS = 4.42
ERROR_RATE = 1e-5


def haar(trial, d, k, off=None, *, seed=21, stream=core.STREAM_B_STAR):
    return core.haar(seed, trial, stream, d, k, off, 1)


def explicit_frames(d, k, count=COUNT, seed=31):
    """Haar frames of NumPy's: QR of normals with a positive diagonal."""
    Q, S = np.linalg.qr(np.random.default_rng(seed).standard_normal((count, d, k)))
    return Q * np.sign(np.diagonal(S, axis1=1, axis2=2))[:, None, :]


@pytest.mark.parametrize(("d", "k"), [(1, 1), (5, 5), (40, 7), (5003, 11), (2048, 1)])
def test_haar_columns_are_orthonormal(d, k):
    Q = haar(0, d, k)
    assert abs(Q.T @ Q - np.eye(k)).max() < 1e-14


@pytest.mark.parametrize(("d", "p", "k"), [(6, 2, 4), (5003, 5, 7), (9, 8, 1)])
def test_haar_columns_avoid_a_given_subspace(d, p, k):
    off = haar(0, d, p)
    Q = haar(0, d, k, off, stream=core.STREAM_FRAME)
    assert abs(Q.T @ Q - np.eye(k)).max() < 1e-14
    assert abs(off.T @ Q).max() < 1e-15


@pytest.mark.parametrize(("d", "k"), [(2, 2), (3, 2), (5, 3)])
def test_haar_entries_have_the_law_of_a_uniform_frame(d, k):
    """A coordinate of a unit vector: its square Beta(1/2, (d-1)/2), its sign even; in any basis."""
    frames = np.array([haar(trial, d, k) for trial in range(COUNT)])
    turned = explicit_frames(d, d, 1)[0] @ frames @ explicit_frames(k, k, 1, seed=32)[0]
    for Q in (frames, turned):
        assert abs(Q.mean(0)).max() < SIGMAS * np.sqrt(1 / (d * COUNT))
        for i, j in np.ndindex(d, k):
            law = stats.kstest(Q[:, i, j] ** 2, "beta", args=(0.5, (d - 1) / 2))
            assert law.pvalue > ERROR_RATE, (i, j)
    # Products over two columns as for explicit frames: a wrong sign would change them.
    other = explicit_frames(d, k)
    found = stats.ks_2samp(frames[:, 0, 0] * frames[:, 1, 1], other[:, 0, 0] * other[:, 1, 1])
    assert found.pvalue > ERROR_RATE


def test_haar_in_a_complement_is_uniform_there():
    """Orthogonal to two directions of five: a uniform direction of the other three."""
    off, rest = np.split(explicit_frames(5, 5, 1)[0], [2], axis=1)
    off = np.ascontiguousarray(off)
    inside = np.array([rest.T @ haar(trial, 5, 1, off)[:, 0] for trial in range(COUNT)])
    assert abs((inside**2).sum(1) - 1).max() < 1e-14
    for column in inside.T:
        assert stats.kstest((column + 1) / 2, "uniform").pvalue > ERROR_RATE


@pytest.mark.parametrize(
    ("d", "k_star", "k"), [(20, 3, 3), (7, 3, 5), (5, 3, 4), (4, 4, 2), (10**12, 3, 4)]
)
def test_random_start_is_a_scaled_frame(d, k_star, k):
    M, R = core.random_start(5, 0, d, k_star, k, 2.5)
    assert M.shape == (k_star, k)
    assert R.shape == (min(k, d - k_star), k)
    B = np.concatenate([M, R])
    np.testing.assert_allclose(B.T @ B, 6.25 * np.eye(k), atol=1e-13)


def squared_distance(M, R):
    """Square of the distance of one column from one direction."""
    return float((R**2).sum() / ((R**2).sum() + (M**2).sum()))


@pytest.mark.parametrize("d", [2, 3, 6, 1000])
def test_random_line_is_at_a_beta_distance(d):
    found = [squared_distance(*core.random_start(6, i, d, 1, 1, 1.0)) for i in range(COUNT)]
    assert stats.kstest(found, "beta", args=((d - 1) / 2, 0.5)).pvalue > ERROR_RATE


def test_random_line_in_vast_dimension_has_normal_coordinates():
    d = 10**12
    M = [core.random_start(6, i, d, 1, 1, 1.0)[0][0, 0] * np.sqrt(d) for i in range(COUNT)]
    assert stats.kstest(M, "norm").pvalue > ERROR_RATE


@pytest.mark.parametrize(("d", "k_star", "k"), [(4, 2, 2), (3, 2, 2), (6, 2, 3), (5, 3, 2)])
def test_random_start_has_the_law_of_explicit_frames(d, k_star, k):
    """Compare entries, products of rows and columns, and angles of a frame on the first axes."""
    starts = np.array([core.random_start(7, i, d, k_star, k, 1.0)[0] for i in range(COUNT)])
    frames = explicit_frames(d, k)[:, :k_star]
    statistics = {
        "first": lambda M: M[:, 0, 0],
        "last": lambda M: M[:, -1, -1],
        "row": lambda M: M[:, 0, 0] * M[:, 0, 1],
        "column": lambda M: M[:, 0, 0] * M[:, 1, 0],
        "diagonal": lambda M: M[:, 0, 0] * M[:, 1, 1],
        "closest": lambda M: np.linalg.svd(M, compute_uv=False)[:, 0],
        "farthest": lambda M: np.linalg.svd(M, compute_uv=False)[:, -1],
    }
    for name, statistic in statistics.items():
        assert stats.ks_2samp(statistic(starts), statistic(frames)).pvalue > ERROR_RATE, name


@pytest.mark.parametrize("off_span", [1.0, 1e-8, 1e-13])
@pytest.mark.parametrize("shortest", [1.0, 1e-80])
@pytest.mark.parametrize("apart", [1.0, 1e-5])
@pytest.mark.parametrize("shape", [(50, 3, 2), (50, 17, 33), (5003, 5, 11)])
def test_coordinates_are_exact_however_close_columns_are(shape, apart, shortest, off_span):
    # Bs that are regular, nearly in the span of B_star, nearly dependent, or of extreme lengths.
    d, k_star, k = shape
    B_star = haar(0, d, k_star)
    F = haar(1, d, k, B_star)
    F[:, -1] = F[:, 0] + apart * F[:, -1]
    lengths = np.where(np.arange(k) == 0, shortest, 1.0)
    B = (B_star @ np.ones((k_star, k)) + off_span * F) * lengths
    M, R, E = core.coordinates(B, B_star, 1)
    assert abs(E.T @ E - np.eye(E.shape[1])).max() < 1e-14
    assert abs(B_star.T @ E).max() < 1e-15
    assert (abs(B_star @ M + E @ R - B).max(axis=0) / abs(B).max(axis=0)).max() < 1e-14
    for part, same in zip((M, R, E), core.coordinates(B, B_star, 2), strict=True):
        np.testing.assert_array_equal(part, same)
