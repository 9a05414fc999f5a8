"""The rate (22), and the accuracy of dist, (14), far below the rounding of d-dimensional arrays."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import METHODS, reference_method


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("name", METHODS)
def test_distance_falls_at_the_predicted_rate(name, width):
    """log dist falls by -log(1 - beta alpha mu_star^2) a round: within 5 % over 40 e-folds."""
    method = METHODS[name](alpha=0.1, beta=0.1)
    r = ms.train(
        ms.LinearTasks(d=20, k=3), method, rounds=6000, n=200, width=width, seed=2, stop=None,
        record_every=10, threads=1,
    )  # fmt: skip
    dist, rounds = r.trace["dist"], r.trace["round"]
    begin = int(np.argmax(dist < 1e-2))
    end = len(dist) - 1
    assert np.log(dist[begin] / dist[end]) > 40
    slope = -np.log(dist[end] / dist[begin]) / (rounds[end] - rounds[begin])
    assert slope == pytest.approx(ref.log_rate(reference_method(method), 1.0), rel=0.05)


def test_weak_head_directions_set_the_rate():
    """mu_star^2, not L_star^2: the same with one weak direction of variance 1/2."""
    method = ms.ANIL(alpha=0.1, beta=0.1, first_order=True)
    heads = ms.GaussianHeads(cov=np.diag([1.0, 1.0, 0.5]))
    r = ms.train(
        ms.LinearTasks(d=20, k=3, heads=heads), method, rounds=12_000, n=200, seed=3, stop=None,
        record_every=10, threads=1,
    )  # fmt: skip
    dist, rounds = r.trace["dist"], r.trace["round"]
    begin = int(np.argmax(dist < 1e-2))
    assert np.log(dist[begin] / dist[-1]) > 40
    slope = -np.log(dist[-1] / dist[begin]) / (rounds[-1] - rounds[begin])
    assert slope == pytest.approx(ref.log_rate(reference_method(method), np.sqrt(0.5)), rel=0.05)


def tiny_start(rng, width, off):
    """Axis-aligned: plain iteration keeps the digits of what is off the span, whatever its size."""
    B0 = np.zeros((9, width))
    B0[:3, :3] = ref.frame(rng, 3, 3) + 0.1 * rng.standard_normal((3, 3))
    B0[3:, :3] = off * rng.standard_normal((6, 3))
    B0[3:, 3:] = rng.standard_normal((6, width - 3))
    return B0, np.eye(9, 3)


@pytest.mark.parametrize("name", METHODS)
def test_distance_keeps_its_digits_down_to_1e_280(rng, name):
    """Against the same iteration in d dimensions, in long double: far more exponents."""
    method = METHODS[name](alpha=0.5, beta=0.5)
    off, rounds = 1e-279, 60
    B0, B_star = tiny_start(rng, 3, off)
    heads = np.concatenate([np.eye(3), -np.eye(3)]) * np.array([1.0, 0.9, 0.8])
    r = ms.train(
        ms.LinearTasks(d=9, k=3, heads=heads, B_star=B_star), method, rounds=rounds, n=6,
        init=(B0, np.zeros(3)), stop=None,
    )  # fmt: skip
    wide = [np.asarray(x, dtype=np.longdouble) for x in (B0, np.zeros(3), B_star, heads)]
    states = ref.descend(*wide[:3], [wide[3]] * rounds, reference_method(method))
    expected = np.array(
        [float(ref.distance_in_coordinates(B[:3], B[3:])) for B, _ in states[: rounds + 1]]
    )
    assert 1e-290 < expected[-1] < 1e-279
    np.testing.assert_allclose(r.trace["dist"], expected, rtol=1e-11)


@pytest.mark.parametrize("width", [3, 4])
def test_measured_distance_keeps_its_digits(rng, width):
    B0, B_star = tiny_start(rng, width, 1e-279)
    wide = B0.astype(np.longdouble)
    expected = float(ref.distance_in_coordinates(wide[:3], wide[3:]))
    assert 1e-281 < expected < 1e-277
    assert ms.subspace_distance(B0, B_star) == pytest.approx(expected, rel=1e-12)


def test_a_long_run_keeps_its_digits_all_the_way_down(rng):
    """In one run the distance falls from about 1 to 1e-265, and its relative error stays small."""
    method, rounds = ms.ANIL(alpha=0.4, beta=0.5, first_order=True), 2000
    heads = 2 * np.concatenate([np.eye(3), -np.eye(3)])
    B_star = np.eye(9, 3)
    B0 = ref.frame(rng, 9, 3)
    r = ms.train(
        ms.LinearTasks(d=9, k=3, heads=heads, B_star=B_star), method, rounds=rounds, n=6,
        init=(B0, np.zeros(3)), stop=None, record_every=100,
    )  # fmt: skip
    B, w = B0.astype(np.longdouble), np.zeros(3, dtype=np.longdouble)
    thetas = (heads @ B_star.T).astype(np.longdouble)
    expected = []
    for t in range(rounds + 1):
        if t % 100 == 0:
            expected.append(float(ref.distance_in_coordinates(B[:3], B[3:])))
        B, w = _closed_form_round(B, w, thetas, method)
    assert 1e-300 < expected[-1] < 1e-250
    np.testing.assert_allclose(r.trace["dist"], expected, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_too_wide_a_learner_keeps_its_digits_all_the_way_down(rng, name):
    """k > k_star with w off zero, (14): against 330 decimal digits, where nothing is lost."""
    method, rounds, every = METHODS[name](alpha=0.3, beta=0.4), 2600, 100
    B_star, table = np.eye(4, 1), np.array([[1.8], [-1.5], [0.1]])
    B0, w0 = 0.3 * rng.standard_normal((4, 2)), 0.1 * rng.standard_normal(2)
    B0[0] = 1.2, -0.8
    r = ms.train(
        ms.LinearTasks(d=4, k=1, heads=table, B_star=B_star), method, rounds=rounds, n=3,
        width=2, init=(B0, w0), stop=None, record_every=every,
    )  # fmt: skip
    exactly = np.vectorize(lambda x: Decimal(float(x)), otypes=[object])
    with localcontext(prec=330):
        model = reference_method(method)
        model = model._replace(alpha=Decimal(model.alpha), beta=Decimal(model.beta))
        B, w, truth, exact_heads = map(exactly, (B0, w0, B_star, table))
        expected = []
        for t in range(rounds + 1):
            if t % every == 0:
                expected.append(float(_distance_of_two_columns(B)))
            B, w = ref.population_round(B, w, truth, exact_heads, model)
    assert 1e-300 < expected[-1] < 1e-250
    np.testing.assert_allclose(r.trace["dist"], expected, rtol=1e-9)


def _closed_form_round(B, w, thetas, method):
    """A round of first-order ANIL, (15), in long double."""
    parts = [ref.fo_anil(B, w, theta, np.longdouble(method.alpha)) for theta in thetas]
    step = np.longdouble(method.beta) / len(thetas)
    return B - step * sum(B_i for B_i, _ in parts), w - step * sum(w_i for _, w_i in parts)


def _distance_of_two_columns(B):
    """(20) for B_star = e_1 and k = 2, by hand: the span is that of [1; off] and [0; surplus]."""
    off = B[1:, 0] / B[0, 0]
    surplus = B[1:, 1] - off * B[0, 1]
    off = off - surplus * ((surplus @ off) / (surplus @ surplus))
    tangent_squared = off @ off
    return (tangent_squared / (1 + tangent_squared)).sqrt()


@pytest.mark.parametrize(("scale", "record_every"), [(2.0, 1), (2.0, 7), (2.0, 4000), (2.6, 4000)])
def test_distances_below_the_range_of_a_double_are_reported(scale, record_every):
    """Underflow is a status, also where no row is recorded between 1e-300 and plain 0."""
    heads = scale * np.concatenate([np.eye(3), -np.eye(3)])
    r = ms.train(
        ms.LinearTasks(d=9, k=3, heads=heads), ms.ANIL(alpha=0.5, beta=0.5, first_order=True),
        rounds=8000, n=6, stop=None, record_every=record_every,
    )  # fmt: skip
    assert r.status == ms.Status.UNDERFLOW
