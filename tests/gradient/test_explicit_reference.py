"""The batched reference `reference.explicit` agrees with the reference of single tasks.

Detects an error in its gradients, losses or means over tasks. The tests in `law` compare laws of
random samples with `reference.explicit`.
"""

import numpy as np
import pytest

import reference as ref
from matching import relative_error
from reference import explicit

# runs, n, d, k, m_in, m_out; None is infinite.
SHAPES = {
    "square": (3, 2, 7, 2, 4, 5),
    "wide": (2, 3, 5, 4, 3, 1),
    "tall": (2, 2, 4, 2, 9, 11),
    "single": (2, 1, 3, 1, 1, 2),
    "in-infinite": (2, 2, 5, 2, None, 4),
    "out-infinite": (2, 2, 5, 2, 4, None),
    "infinite": (2, 2, 5, 2, None, None),
    "shared": (2, 2, 5, 2, 4, 4),
}
METHODS = [
    ref.Method(0.1, 0.1, inner_steps, adapt_B, exact)
    for inner_steps in range(4)
    for adapt_B in (False, True)
    for exact in (False, True)
]
NOISE = 0.3


def single(theta, data, run, task):
    """Return the data set of one task in the form that the other reference expects."""
    X, y, variance = data
    if variance:
        return ref.Population(theta[run, task], NOISE)
    return ref.Samples(X[run, task], y[run, task])


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def problem(request, rng):
    """Draw the states of several runs, and their data in the forms of both references."""
    runs, n, d, k, m_in, m_out = request.param
    B, w = 0.7 * rng.standard_normal((runs, d, k)), 0.7 * rng.standard_normal((runs, k))
    theta = rng.standard_normal((runs, n, d))
    inner = explicit.data(rng, theta, m_in, NOISE)
    shared = request.param == SHAPES["shared"]
    outer = inner if shared else explicit.data(rng, theta, m_out, NOISE)
    tasks = [
        [tuple(single(theta, data, run, task) for data in (inner, outer)) for task in range(n)]
        for run in range(runs)
    ]
    return B, w, inner, outer, tasks


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_batched_gradients_equal_those_of_single_tasks(problem, method):
    B, w, inner, outer, tasks = problem
    by_B, by_w, _, _ = explicit.meta_gradient(B, w, inner, outer, method._asdict())
    for run, own in enumerate(tasks):
        expected_B, expected_w = ref.meta_gradient(B[run], w[run], own, method)
        assert relative_error(by_B[run], expected_B) < 1e-12
        assert relative_error(by_w[run], expected_w) < 1e-12


@pytest.mark.parametrize("method", [m for m in METHODS if m.exact], ids=str)
def test_batched_gradients_equal_derivatives_of_the_loss(problem, method):
    B, w, inner, outer, tasks = problem
    by_B, by_w, _, _ = explicit.meta_gradient(B, w, inner, outer, method._asdict())

    def loss(B, w):
        return ref.meta_loss(B, w, tasks[0], method)

    expected_B, expected_w = ref.complex_step(loss, B[0], w[0])
    assert relative_error(by_B[0], expected_B) < 1e-12
    assert relative_error(by_w[0], expected_w) < 1e-12


@pytest.mark.parametrize("method", [m for m in METHODS if not m.exact], ids=str)
def test_batched_losses_and_heads_equal_those_of_single_tasks(problem, method):
    B, w, inner, outer, tasks = problem
    _, _, heads, losses = explicit.meta_gradient(B, w, inner, outer, method._asdict())
    for run, own in enumerate(tasks):
        ends = [ref.adapt(B[run], w[run], one, method) for one, _ in own]
        expected = (
            [one.loss(B[run], w[run]) for one, _ in own],
            [one.loss(*end) for (one, _), end in zip(own, ends, strict=True)],
            [other.loss(*end) for (_, other), end in zip(own, ends, strict=True)],
        )
        assert relative_error(heads[run], [head for _, head in ends]) < 1e-12
        for found, wanted in zip(losses, expected, strict=True):
            assert relative_error(found[run], wanted) < 1e-12


@pytest.mark.parametrize("k", [1, 2, 4], ids=["narrow", "square", "wide"])
def test_batched_distances_equal_single_ones(rng, k):
    B, B_star = rng.standard_normal((5, 7, k)), np.eye(7, 2)
    found = explicit.dist(B, B_star)
    assert relative_error(found, [ref.distance(one, B_star) for one in B]) < 1e-12


@pytest.mark.parametrize(("features", "dof"), [("gaussian", 0), ("student-t", 30), ("sphere", 0)])
def test_explicit_rows_have_unit_covariance(rng, features, dof):
    """A law of features with a wrong radius would change the mean of x x^T."""
    X = explicit.rows(rng, features, dof, (20_000, 2, 4)).reshape(-1, 4)
    assert abs(X.T @ X / len(X) - np.eye(4)).max() < 5 * np.sqrt(2.5 / len(X))
    if features == "sphere":
        assert abs((X**2).sum(axis=1) - 4).max() < 1e-12
