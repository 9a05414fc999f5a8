"""meta_gradient on arrays, against the recursion (8)-(9), complex steps and central differences."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from data_runs import Case
from matching import (
    EXACT,
    METHODS,
    batch_of,
    gradient_error,
    problem,
    reference_method,
    relative_error,
)

STEPS = range(6)


# Mostly odd, so that no register or panel divides them.
SMALL = {
    "ragged-wide-data": Case(9, 3, 3, (5, 2, 8), (4, 7, 1)),
    "ragged-tall-data": Case(5, 3, 2, (11, 6, 1), (7, 13, 9)),
    "equal-m-below-d": Case(11, 2, 3, (4, 4, 4), (6, 6, 6)),
    "equal-m-above-d": Case(4, 4, 2, (9, 9), (7, 7)),
    "width-one": Case(6, 1, 2, (3, 5), (5, 3)),
}
# More tasks than a panel of any width has, long rows, and odd remainders everywhere.
LARGE = {
    "many-ragged": Case(
        67, 5, 3, tuple(1 + i % 7 for i in range(71)), tuple(9 - i % 5 for i in range(71))
    ),
    "many-equal": Case(33, 7, 4, (6,) * 67, (3,) * 67),
    "long-rows": Case(4099, 6, 6, (3, 10), (8, 2)),
    "tall-tasks": Case(19, 4, 3, (257, 130), (131, 300)),
    "wide-learner": Case(130, 45, 5, (20, 9, 33), (15, 40, 2)),
}


def build(rng, case):
    sizes = case._asdict()
    del sizes["shared"]
    return problem(rng, **sizes)


@pytest.mark.parametrize("inner_steps", STEPS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_equals_literal_recursion(rng, case, name, inner_steps):
    B, w, tasks = build(rng, case)
    method = METHODS[name](alpha=0.07, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks), method)
    expected = ref.meta_gradient(B, w, tasks, reference_method(method))
    assert gradient_error(found, expected) < 1e-12


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_equals_literal_recursion_beyond_one_panel(rng, case, name, inner_steps):
    B, w, tasks = build(rng, case)
    method = METHODS[name](alpha=0.03, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks), method)
    expected = ref.meta_gradient(B, w, tasks, reference_method(method))
    assert gradient_error(found, expected) < 1e-11


@pytest.mark.parametrize("inner_steps", STEPS)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_exact_equals_derivatives_of_the_two_level_loss(rng, case, name, inner_steps):
    B, w, tasks = build(rng, case)
    method = METHODS[name](alpha=0.07, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks), method)

    def loss(B, w):
        return ref.meta_loss(B, w, tasks, reference_method(method))

    for differentiate, tolerance in ((ref.complex_step, 1e-12), (ref.central_differences, 1e-9)):
        assert gradient_error(found, differentiate(loss, B, w)) < tolerance


@pytest.mark.parametrize("inner_steps", STEPS)
@pytest.mark.parametrize("name", ["fo-anil", "fo-maml"])
def test_first_order_equals_derivatives_of_the_outer_loss(rng, name, inner_steps):
    """The gradient in (B_J, w_J), with the path that led there held fixed."""
    B, w, tasks = build(rng, SMALL["ragged-wide-data"])
    method = METHODS[name](alpha=0.07, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks), method)
    ends = [ref.adapt(B, w, inner, reference_method(method)) for inner, _ in tasks]
    for differentiate, tolerance in ((ref.complex_step, 1e-12), (ref.central_differences, 1e-9)):
        parts = [
            differentiate(outer.loss, *end) for (_, outer), end in zip(tasks, ends, strict=True)
        ]
        assert relative_error(found.B, np.mean([B_i for B_i, _ in parts], axis=0)) < tolerance
        assert relative_error(found.w, np.mean([w_i for _, w_i in parts], axis=0)) < tolerance


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_average_risk_is_the_gradient_of_the_outer_loss(rng, case):
    B, w, tasks = build(rng, case)
    found = ms.meta_gradient(B, w, batch_of(tasks), ms.AverageRisk())

    def loss(B, w):
        return sum(outer.loss(B, w) for _, outer in tasks) / len(tasks)

    expected = ref.complex_step(loss, B, w)
    assert gradient_error(found, expected) < 1e-12


@pytest.mark.parametrize("inner_steps", [0, 1, 4])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", ["ragged-wide-data", "many-ragged", "many-equal"])
def test_losses_are_those_before_and_after_adaptation(rng, case, name, inner_steps):
    B, w, tasks = build(rng, {**SMALL, **LARGE}[case])
    method = METHODS[name](alpha=0.05, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks), method)
    ends = [ref.adapt(B, w, inner, reference_method(method)) for inner, _ in tasks]
    after = [inner.loss(*end) for (inner, _), end in zip(tasks, ends, strict=True)]
    outer = [outer.loss(*end) for (_, outer), end in zip(tasks, ends, strict=True)]
    assert relative_error(found.loss_in, [inner.loss(B, w) for inner, _ in tasks]) < 1e-13
    assert relative_error(found.loss_adapted, after) < 1e-12
    assert relative_error(found.loss_out, outer) < 1e-12


@pytest.mark.parametrize("inner_steps", [0, 1, 2, 5])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", ["ragged-tall-data", "equal-m-below-d", "many-ragged"])
def test_adapt_is_the_end_of_the_inner_loop(rng, case, name, inner_steps):
    B, w, tasks = build(rng, {**SMALL, **LARGE}[case])
    method = METHODS[name](alpha=0.05, inner_steps=inner_steps)
    batch = batch_of(tasks)
    ends = [ref.adapt(B, w, inner, reference_method(method)) for inner, _ in tasks]
    heads = ms.adapt(B, w, batch.X_in, batch.y_in, method)
    assert relative_error(heads, [w_J for _, w_J in ends]) < 1e-12


@pytest.mark.parametrize("name", METHODS)
def test_method_may_be_a_name_with_step_sizes(rng, name):
    B, w, tasks = build(rng, SMALL["ragged-wide-data"])
    batch = batch_of(tasks)
    by_name = ms.meta_gradient(B, w, batch, name, alpha=0.07, inner_steps=2)
    by_object = ms.meta_gradient(B, w, batch, METHODS[name](alpha=0.07, inner_steps=2))
    np.testing.assert_array_equal(by_name.B, by_object.B)
    np.testing.assert_array_equal(by_name.w, by_object.w)
