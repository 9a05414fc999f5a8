"""Distances, angles and diversity on arrays."""

import math

import numpy as np
import pytest

import metaspan as ms


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [2, 3, 5])
def test_angles_are_those_that_were_built_in(rng, width, dtype):
    Q = np.linalg.qr(rng.standard_normal((40, 8)))[0]
    angles = np.array([1.2, 0.5, 1e-3])[: min(width, 3)]
    B = np.cos(angles) * Q[:, : angles.size] + np.sin(angles) * Q[:, 3 : 3 + angles.size]
    B = np.concatenate([B, Q[:, 6 : 6 + width - angles.size]], axis=1)
    B = (B @ rng.standard_normal((width, width))).astype(dtype)
    B_star = np.ascontiguousarray(Q[:, :3])
    found = ms.principal_angles(B, B_star)
    np.testing.assert_allclose(found, angles, atol=1e3 * np.finfo(dtype).eps)
    expected = 1.0 if width < 3 else math.sin(1.2)
    assert ms.subspace_distance(B, B_star) == pytest.approx(expected, abs=1e-3)


def test_small_distances_keep_their_digits():
    B = np.eye(9, 3) + 3e-200 * np.eye(9, 3, -5)
    assert ms.subspace_distance(B, np.eye(9, 3)) == pytest.approx(3e-200, rel=1e-12)


@pytest.mark.parametrize("k", range(1, 11))
@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-9, 1e-4, 1.0])
def test_distances_of_close_angles_keep_their_digits(rng, k, gap):
    """Eigenvalues that agree in some, or in all, of their digits, at both sides of a limit of k."""
    for scale in (1e-200, 1e-3, 1.0, 1e3):
        tangents = np.geomspace(1.0, max(1.0 - gap, 1e-3), k)
        U, V = (np.linalg.qr(rng.standard_normal((k, k)))[0] for _ in range(2))
        B = np.concatenate([np.eye(k), scale * (U * tangents) @ V])
        B = B @ np.linalg.qr(rng.standard_normal((k, k)))[0]
        expected = scale / math.hypot(1.0, scale)
        found = ms.subspace_distance(B, np.eye(2 * k, k))
        assert found == pytest.approx(expected, rel=1e-13)


def test_orthogonal_subspaces_are_at_distance_one():
    assert ms.subspace_distance(np.eye(9, 3, -3), np.eye(9, 3)) == 1.0
    angles = ms.principal_angles(np.eye(9, 3, -3), np.eye(9, 3))
    np.testing.assert_allclose(angles, np.full(3, np.pi / 2), rtol=1e-15)


def test_some_right_angles_leave_the_others_alone():
    B = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0.5, 0], [0, 0, 1], [0, 0, 0]])
    expected = [np.pi / 2, math.atan(0.5), 0.0]
    np.testing.assert_allclose(ms.principal_angles(B, np.eye(6, 3)), expected, atol=1e-15)


def test_whole_space_contains_every_subspace(rng):
    B = rng.standard_normal((5, 5))
    assert ms.subspace_distance(B, np.eye(5, 2)) < 1e-12


def test_diversity_is_that_of_the_second_moment(rng):
    heads = rng.standard_normal((50, 4)) + 1.0
    found = ms.diversity(heads)
    values = np.linalg.eigvalsh(heads.T @ heads / 50)
    assert found.mu == pytest.approx(math.sqrt(values[0]), rel=1e-12)
    assert pytest.approx(math.sqrt(values[-1]), rel=1e-12) == found.L
    assert found.kappa == pytest.approx(found.L / found.mu)
    assert found.eta == pytest.approx(np.linalg.norm(heads.mean(axis=0)))


@pytest.mark.parametrize("heads", [[[1, 1], [-1, -1]], np.ones((4, 2)), [[1, 2, 3], [2, 4, 6]] * 3])
def test_heads_on_a_line_have_no_diversity(heads):
    """The smallest singular value differs from 0 by rounding errors."""
    found = ms.diversity(heads)
    assert found.mu == 0.0
    assert found.kappa == np.inf


def test_a_small_diversity_keeps_its_digits():
    rng = np.random.default_rng(0)
    heads = rng.standard_normal((200_000, 2)) * [1.0, 1e-11]
    found = ms.diversity(heads).mu
    np.testing.assert_allclose(found, 1e-11, rtol=0.02)


def test_too_few_heads_have_no_diversity():
    found = ms.diversity([[1.0, 2.0, 3.0]])
    assert (found.mu, found.kappa) == (0.0, math.inf)
