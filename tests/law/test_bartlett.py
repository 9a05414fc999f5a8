"""Triangular factors of Wishart matrices, (16), and sums with random frames, (17).

Seeds are fixed. With fresh seeds each of some 300 comparisons would fail with a probability of
about 10^-6, and any of them with less than 10^-3.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan._load import core

SIGMAS = 4.9  # two-sided error rate of 1e-6 for a normal statistic
ERROR_RATE = 1e-6
COUNT = 200_000
SUMS = 60_000  # with a frame, on either side


def wishart_moments_agree(L, f):
    """E W = f I and Var W_ij = f (1 + delta_ij) of W = L L^T, within what chance allows."""
    count, p, _ = L.shape
    W = L @ np.swapaxes(L, 1, 2)
    off = (W - f * np.eye(p)) / np.sqrt(f * (1 + np.eye(p)))
    # E off^4 = 3 + 12 / f on the diagonal, 3 + 6 / f elsewhere.
    spread = 2 + 12 / f
    means = abs(off.mean(axis=0)).max() * np.sqrt(count)
    variances = abs((off**2).mean(axis=0) - 1).max() * np.sqrt(count / spread)
    return max(means, variances) < SIGMAS


@pytest.mark.parametrize(
    ("p", "f"), [(1, 1), (1, 4), (3, 1), (4, 2), (3, 3), (2, 3), (4, 7), (3, 1e6), (3, 1e15)]
)
def test_bartlett_factors_are_those_of_a_wishart_matrix(p, f):
    """Detects a wrong number of degrees, of columns, or a dependence between the entries."""
    L = core.bartlett(5, 0, p, f, COUNT)
    assert L.shape == (COUNT, p, min(p, f))
    assert not np.triu(L, 1).any()
    assert (np.diagonal(L, axis1=1, axis2=2) > 0).all()
    assert wishart_moments_agree(L, f)
    for j in range(L.shape[2]):
        if f < 1e4:
            assert stats.kstest(L[:, j, j] ** 2, stats.chi2(f - j).cdf).pvalue > ERROR_RATE
        for i in range(j + 1, p):
            assert stats.kstest(L[:, i, j], "norm").pvalue > ERROR_RATE


@pytest.mark.parametrize(("p", "f"), [(3, 1), (4, 2), (3, 3), (4, 7)])
def test_bartlett_factors_are_those_of_explicit_normals(p, f):
    """Detects a wrong joint law of a trapezoid: eigenvalues and the determinant of L L^T."""
    L = core.bartlett(6, 0, p, f, SUMS)
    N = np.random.default_rng(6).standard_normal((SUMS, p, f))
    for mine, theirs in zip(spectrum(L).T, spectrum(N).T, strict=True):
        assert stats.ks_2samp(mine, theirs, method="asymp").pvalue > ERROR_RATE


def spectrum(A):
    """Singular values (count, least axis), and their product."""
    values = np.linalg.svd(A, compute_uv=False)
    return np.column_stack([values, values.prod(axis=1)])


@pytest.mark.parametrize(("p", "f"), [(1, 4), (3, 3), (4, 7)])
@pytest.mark.parametrize("wrong", ["a degree too many", "2 % in the variance"])
def test_errors_of_bartlett_factors_are_caught(p, f, wrong):
    """Detects tests too weak for one degree of freedom, or for 2 % in a variance."""
    if wrong == "a degree too many":
        L = core.bartlett(5, 0, p, f + 1, COUNT)
    else:
        L = 1.02**0.5 * core.bartlett(5, 0, p, f, COUNT)
    assert not wishart_moments_agree(L, f)


# t rows of T, r rows of A, width k and the dimensions that they are in.
SIZES = {
    "first of all": (0, 2, 3, 4),
    "one and one": (1, 1, 1, 2),
    "plane": (1, 1, 2, 2),
    "little room": (2, 2, 2, 3),
    "no room": (2, 2, 2, 2),
    "overlapping": (2, 3, 3, 4),
    "plenty of room": (2, 1, 3, 9),
    "all filled": (3, 3, 3, 3),
}


def terms(size):
    t, r, k, _ = SIZES[size]
    rng = np.random.default_rng([t, r, k])
    return rng.standard_normal((t, k)), rng.standard_normal((r, k))


def frames(rng, count, d, r, *, positive=True):
    """Haar frames (count, d, r): of QR with a positive diagonal; else not uniform at all."""
    Q, S = np.linalg.qr(rng.standard_normal((count, d, r)))
    return Q * np.sign(np.diagonal(S, axis1=1, axis2=2))[:, None, :] if positive else Q


def explicit_sums(size, *, more_room=0, scale=1.0, positive=True, seed=8):
    """[T; 0] + U A at full size."""
    T, A = terms(size)
    t, r, k, rest = SIZES[size]
    rng = np.random.default_rng([seed, t, r, k])
    rest += more_room
    U = frames(rng, SUMS, rest, r, positive=positive)
    return np.concatenate([T, np.zeros((rest - t, k))]) + scale * U @ A


def least_p_value(found, expected):
    """Return the least p-value over the entries of X^T X, its eigenvalues and G_11 G_kk."""

    def statistics(X):
        G = np.swapaxes(X, 1, 2) @ X
        k = G.shape[-1]
        entries = G[:, *np.triu_indices(k)]
        return np.column_stack([entries, np.linalg.eigvalsh(G), G[:, 0, 0] * G[:, -1, -1]])

    mine, theirs = statistics(found), statistics(expected)
    p = []
    for x, y in zip(mine.T, theirs.T, strict=True):
        if np.ptp(y) > 1e-9 * abs(theirs).max():
            p.append(stats.ks_2samp(x, y, method="asymp").pvalue)
            p.append(stats.ttest_ind(x, y, equal_var=False).pvalue)
            p.append(stats.levene(x, y, center="median").pvalue)
        else:
            p.append(float(abs(x - y.mean()).max() < 1e-9 * abs(theirs).max()))
    return min(p)


@pytest.mark.parametrize("size", SIZES)
def test_sums_with_frames_have_the_law_of_explicit_ones(size):
    """Detects frames that are not uniform: without the sign rule, or with wrong degrees."""
    T, A = terms(size)
    found = core.add_frame(7, 0, T, A, SIZES[size][3], SUMS)
    assert found.shape[1] == min(SIZES[size][2], SIZES[size][3], len(T) + len(A))
    assert not np.tril(found, -1).any()
    assert least_p_value(found, explicit_sums(size)) > ERROR_RATE


FAULTS = {
    "a dimension too many": dict(more_room=1),
    "2 % in the variance": dict(scale=1.02**0.5),
    "signs as they come": dict(positive=False),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", ["plane", "little room", "overlapping"])
def test_errors_of_frames_are_caught(size, fault):
    """The tests are strong enough: they reject explicit frames that contain the error."""
    T, A = terms(size)
    found = core.add_frame(7, 0, T, A, SIZES[size][3], SUMS)
    assert least_p_value(found, explicit_sums(size, **FAULTS[fault])) < ERROR_RATE


def test_frames_in_vast_dimension_are_orthogonal():
    """Detects overlaps that do not fade like rest^-1/2: at 10^12, X^T X = T^T T + A^T A."""
    T, A = terms("little room")
    X = core.add_frame(7, 0, T, A, 1e12, 1000)
    off = np.swapaxes(X, 1, 2) @ X - (T.T @ T + A.T @ A)
    assert 1e-7 < abs(off).max() < 1e-4


@pytest.mark.parametrize("other", [dict(seed=6), dict(trial=1)], ids=str)
def test_other_keys_give_other_factors(other):
    """Detects trials or seeds that share numbers."""
    keys = dict(seed=5, trial=0)
    mine, theirs = (core.bartlett(**key, p=3, f=7, count=1000) for key in (keys, keys | other))
    assert not np.isin(mine[mine != 0], theirs).any()
