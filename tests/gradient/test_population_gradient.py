"""population_gradient, against the recursion (8)-(9), complex steps and the closed forms (15)."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import EXACT, METHODS, gradient_error, reference_method, relative_error

STEPS = range(6)
# (d, width, k_star, n): width below, at and above k_star; nothing or little left off the two spans.
SHAPES = [(9, 3, 3, 4), (9, 2, 3, 5), (9, 4, 2, 3), (5, 3, 3, 2), (3, 3, 3, 2), (6, 1, 1, 1)]
MANY = [(41, 6, 4, 131), (301, 20, 20, 37), (60, 7, 3, 32)]


def build(rng, d, width, k_star, n):
    B_star = ref.frame(rng, d, k_star)
    B = 0.7 * rng.standard_normal((d, width)) / np.sqrt(max(d / 9, 1))
    return B, 0.7 * rng.standard_normal(width), B_star, rng.standard_normal((n, k_star))


@pytest.mark.parametrize("inner_steps", STEPS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", SHAPES + MANY, ids=str)
def test_equals_literal_recursion(rng, shape, name, inner_steps):
    B, w, B_star, heads = build(rng, *shape)
    method = METHODS[name](alpha=0.1, inner_steps=inner_steps)
    found = ms.population_gradient(B, w, B_star, heads, method)
    tasks = ref.population_tasks(B_star, heads)
    expected = ref.meta_gradient(B, w, tasks, reference_method(method))
    assert gradient_error(found, expected) < 1e-11


@pytest.mark.parametrize("inner_steps", STEPS)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_equals_derivatives_of_the_two_level_loss(rng, shape, name, inner_steps):
    B, w, B_star, heads = build(rng, *shape)
    method = METHODS[name](alpha=0.1, inner_steps=inner_steps)
    found = ms.population_gradient(B, w, B_star, heads, method)
    tasks = ref.population_tasks(B_star, heads)

    def loss(B, w):
        return ref.meta_loss(B, w, tasks, reference_method(method))

    for differentiate, tolerance in ((ref.complex_step, 1e-12), (ref.central_differences, 1e-9)):
        assert gradient_error(found, differentiate(loss, B, w)) < tolerance


@pytest.mark.parametrize(
    ("name", "closed_form"),
    [("fo-anil", ref.fo_anil), ("fo-maml", ref.fo_maml), ("anil", ref.exact_anil)],
)
@pytest.mark.parametrize("shape", SHAPES + MANY, ids=str)
def test_one_step_equals_the_closed_form(rng, shape, name, closed_form):
    B, w, B_star, heads = build(rng, *shape)
    found = ms.population_gradient(B, w, B_star, heads, METHODS[name](alpha=0.2))
    parts = [closed_form(B, w, B_star @ head, 0.2) for head in heads]
    assert relative_error(found.B, np.mean([B_i for B_i, _ in parts], axis=0)) < 1e-12
    assert relative_error(found.w, np.mean([w_i for _, w_i in parts], axis=0)) < 1e-12


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [SHAPES[1], MANY[0]], ids=str)
def test_losses_are_those_before_and_after_adaptation(rng, shape, name, inner_steps):
    B, w, B_star, heads = build(rng, *shape)
    method = METHODS[name](alpha=0.1, inner_steps=inner_steps)
    found = ms.population_gradient(B, w, B_star, heads, method)
    tasks = [inner for inner, _ in ref.population_tasks(B_star, heads)]
    before = [task.loss(B, w) for task in tasks]
    after = [task.loss(*ref.adapt(B, w, task, reference_method(method))) for task in tasks]
    assert relative_error(found.loss_in, before) < 1e-12
    assert relative_error(found.loss_adapted, after) < 1e-12
    assert relative_error(found.loss_out, after) < 1e-12


def test_average_risk_is_the_gradient_of_the_mean_loss(rng):
    B, w, B_star, heads = build(rng, 9, 3, 2, 5)
    found = ms.population_gradient(B, w, B_star, heads, ms.AverageRisk())
    error = B @ w - B_star @ heads.mean(0)
    assert relative_error(found.B, np.outer(error, w)) < 1e-13
    assert relative_error(found.w, B.T @ error) < 1e-13


@pytest.mark.parametrize("off", [0.0, 1e-280, 1e-10, 1e-3])
@pytest.mark.parametrize("name", METHODS)
def test_gradient_off_the_span_is_as_small_as_its_part_of_the_representation(rng, name, off):
    """B is in span(B_star) except for a part of any size, down to the rounding of B."""
    M, R, w = rng.standard_normal((3, 3)), rng.standard_normal((6, 3)), rng.standard_normal(3)
    heads, B_star = rng.standard_normal((4, 3)), np.eye(9, 3)
    B = np.concatenate([0.5 * M, off * R])
    method = METHODS[name](alpha=0.1)
    found = ms.population_gradient(B, 0.5 * w, B_star, heads, method)
    tasks = ref.population_tasks(B_star, heads)
    expected_B, expected_w = ref.meta_gradient(B, 0.5 * w, tasks, reference_method(method))
    assert relative_error(found.w, expected_w) < 1e-12
    assert relative_error(found.B[:3], expected_B[:3]) < 1e-12
    assert abs(found.B[3:] - expected_B[3:]).max() <= max(1e-12 * off, 1e-275 * (off < 1e-16))


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
def test_first_order_anil_contracts_the_complement_by_its_filter(rng, inner_steps):
    """(22): with w = 0 the gradient off the span is B_perp S B^T Psi B S, for any J."""
    B, w, B_star, heads = build(rng, 9, 4, 3, 5)
    method = ms.ANIL(alpha=0.1, inner_steps=inner_steps, first_order=True)
    found = ms.population_gradient(B, 0 * w, B_star, heads, method)
    Delta = np.eye(4) - 0.1 * B.T @ B
    S = 0.1 * sum(np.linalg.matrix_power(Delta, j) for j in range(inner_steps))
    thetas = heads @ B_star.T
    perp = B - B_star @ (B_star.T @ B)
    expected = perp @ S @ B.T @ (thetas.T @ thetas / 5) @ B @ S
    assert relative_error(found.B - B_star @ (B_star.T @ found.B), expected) < 1e-12
