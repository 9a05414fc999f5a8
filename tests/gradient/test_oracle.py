"""Independent parts of the reference agree with each other."""

import numpy as np
import pytest

import reference as ref

METHODS = [
    ref.Method(0.1, 0.1, inner_steps, adapt_B, exact)
    for inner_steps in range(6)
    for adapt_B in (False, True)
    for exact in (False, True)
]


def _close(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert abs(a - b).max() <= tolerance * abs(b).max()


@pytest.fixture
def point(rng):
    return 0.7 * rng.standard_normal((7, 3)), 0.7 * rng.standard_normal(3)


@pytest.fixture
def tasks(rng):
    return ref.sample_tasks(rng, ref.frame(rng, 7, 2), (4, 9, 1), (8, 3, 5))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_recursion_equals_sample_space_algebra(point, tasks, method):
    expected = ref.sample_space_gradient(*point, tasks, method)
    _close(ref.meta_gradient(*point, tasks, method), expected, 1e-12)


@pytest.mark.parametrize("method", [m for m in METHODS if m.exact], ids=str)
def test_exact_recursion_equals_derivatives_of_the_loss(point, tasks, method):
    def loss(B, w):
        return ref.meta_loss(B, w, tasks, method)

    found = ref.exact_gradient(*point, tasks, method)
    _close(found, ref.complex_step(loss, *point), 1e-13)
    _close(found, ref.central_differences(loss, *point), 1e-9)


@pytest.mark.parametrize(
    ("closed_form", "adapt_B", "exact"),
    [(ref.fo_anil, False, False), (ref.fo_maml, True, False), (ref.exact_anil, False, True)],
)
def test_closed_forms_equal_the_recursion(rng, point, closed_form, adapt_B, exact):
    B, w = point
    theta = rng.standard_normal(7)
    method = ref.Method(0.3, 0.1, 1, adapt_B, exact)
    tasks = [(ref.Population(theta),) * 2]
    _close(closed_form(B, w, theta, 0.3), ref.meta_gradient(B, w, tasks, method), 1e-13)


def test_population_is_the_limit_of_many_samples(rng, point):
    """A full orthogonal design of covariance I is the population, up to its constant noise term."""
    theta, method = rng.standard_normal(7), ref.Method(0.2, 0.1, 3, True, True)
    X = np.sqrt(7) * np.linalg.qr(rng.standard_normal((7, 7)))[0]
    finite = [(ref.Samples(X, X @ theta),) * 2]
    population = [(ref.Population(theta, noise=0.5),) * 2]
    _close(
        ref.exact_gradient(*point, finite, method),
        ref.exact_gradient(*point, population, method),
        1e-13,
    )
    gap = ref.meta_loss(*point, population, method) - ref.meta_loss(*point, finite, method)
    assert gap == pytest.approx(0.125, rel=1e-12)


def test_contraction_of_the_complement_equals_a_round(rng):
    """(22): with w = 0 and heads in pairs, every method moves B off the span in the same way."""
    B_star, heads = ref.frame(rng, 9, 3), rng.standard_normal((4, 3))
    heads = np.concatenate([heads, -heads])
    thetas = heads @ B_star.T
    B = rng.standard_normal((9, 3))
    for adapt_B in (False, True):
        for exact in (False, True):
            method = ref.Method(0.1, 0.2, 1, adapt_B, exact)
            B_next, w_next = ref.population_round(B, np.zeros(3), B_star, heads, method)
            factor = ref.contraction_factor(B, thetas.T @ thetas / 8, method)
            off = np.eye(9) - B_star @ B_star.T
            assert abs(off @ B_next - off @ B @ factor).max() < 1e-14
            assert abs(w_next).max() < 1e-14


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-280])
def test_distance_in_coordinates_is_accurate_at_any_size(rng, width, size):
    """For axis-aligned B_star: plain linear algebra where that works, linear below it."""
    M = rng.standard_normal((3, width))
    R_small = np.zeros((6, width))
    R_small[:, :3] = rng.standard_normal((6, 3))
    R_surplus = np.zeros((6, width))
    R_surplus[:, 3:] = rng.standard_normal((6, width - 3))
    M[:, 3:] = 0
    found = ref.distance_in_coordinates(M, R_surplus + size * R_small)
    if size > 1e-6:
        B = np.concatenate([M, R_surplus + size * R_small])
        assert found == pytest.approx(ref.distance(B, np.eye(9, 3)), rel=1e-11)
    else:
        tangent = ref.distance_in_coordinates(M, R_surplus + 1e-9 * R_small)
        assert found / size == pytest.approx(tangent / 1e-9, rel=1e-13)


def test_philox_gives_the_published_words():
    """The known answers that its authors publish with the generator."""
    ones = 0xFFFFFFFF
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    known = {
        ((0, 0), (0, 0, 0, 0)): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ((ones, ones), (ones,) * 4): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ((0xA4093822, 0x299F31D0), pi): (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    }
    for (key, counter), words in known.items():
        assert ref.philox4x32(key, counter) == words
