"""Plain iteration and the dual form (24) of the reference agree."""

import numpy as np
import pytest

import reference as ref
from matching import relative_error
from reference.training import stacked, train_dual, train_on_data

METHODS = [
    ref.Method(0.05, 0.1, inner_steps, adapt_B, exact)
    for inner_steps in range(4)
    for adapt_B in (False, True)
    for exact in (False, True)
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_dual_recursion_equals_plain_iteration(rng, method):
    """(24), also where samples come twice, and with rounds that leave tasks out."""
    tasks = ref.sample_tasks(rng, ref.frame(rng, 8, 2), (3, 1, 5, 2), (2, 4, 1, 2))
    tasks.append((tasks[0][0], tasks[0][0]))
    B, w = 0.5 * rng.standard_normal((8, 3)), 0.5 * rng.standard_normal(3)
    choices = [rng.permutation(5)[: 1 + t % 5] for t in range(25)]
    X_all, _ = stacked(tasks)
    plain = train_on_data(B, w, tasks, method, choices)
    dual = train_dual(B, w, tasks, method, choices)
    assert len(plain) == len(dual) == 26
    for (B_t, w_t), (A_t, v_t) in zip(plain, dual, strict=True):
        assert relative_error(B + X_all.T @ A_t, B_t) < 1e-12
        assert relative_error(v_t, w_t) < 1e-12
    assert relative_error(plain[-1][0], B) > 0.01


def test_one_round_is_a_step_along_the_meta_gradient(rng):
    tasks = ref.sample_tasks(rng, ref.frame(rng, 6, 2), (3, 4), (2, 5))
    B, w = rng.standard_normal((6, 2)), rng.standard_normal(2)
    method = ref.Method(0.05, 0.1, 2, True, True)

    def loss(B, w):
        return ref.meta_loss(B, w, tasks, method)

    grad_B, grad_w = ref.complex_step(loss, B, w)
    (B_1, w_1) = train_on_data(B, w, tasks, method, [range(2)])[1]
    np.testing.assert_allclose(B_1, B - 0.1 * grad_B, rtol=0, atol=1e-13)
    np.testing.assert_allclose(w_1, w - 0.1 * grad_w, rtol=0, atol=1e-13)
