"""Arrays in float32 are summed in double, so that storage alone causes an error."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import METHODS, batch_of, problem, reference_method, relative_error

EPS = float(np.finfo(np.float32).eps)


def in_float32(tasks):
    """The same tasks with the values that float32 can hold, in double."""

    def rounded(samples):
        return ref.Samples(*(array.astype(np.float32).astype(np.float64) for array in samples))

    return [tuple(rounded(samples) for samples in task) for task in tasks]


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("d", [9, 2053])
def test_float32_gradient_is_accurate_to_its_storage(rng, d, name, inner_steps):
    B, w, tasks = problem(rng, d=d, width=4, k_star=3, m_in=(5, 12, 8), m_out=(7, 3, 10))
    B, tasks = B.astype(np.float32), in_float32(tasks)
    method = METHODS[name](alpha=0.05, inner_steps=inner_steps)
    found = ms.meta_gradient(B, w, batch_of(tasks, np.float32), method)
    expected_B, expected_w = ref.meta_gradient(
        B.astype(np.float64), w, tasks, reference_method(method)
    )
    assert found.B.dtype == np.float32
    assert found.w.dtype == np.float64
    assert relative_error(found.B, expected_B) < 8 * EPS
    assert relative_error(found.w, expected_w) < 8 * EPS


@pytest.mark.parametrize("name", METHODS)
def test_float32_losses_and_heads_are_accurate_to_their_storage(rng, name):
    B, w, tasks = problem(rng, d=301, width=4, k_star=3, m_in=(5, 12, 8), m_out=(7, 3, 10))
    B, tasks = B.astype(np.float32), in_float32(tasks)
    method = METHODS[name](alpha=0.05, inner_steps=2)
    batch = batch_of(tasks, np.float32)
    found = ms.meta_gradient(B, w, batch, method)
    heads = ms.adapt(B, w, batch.X_in, batch.y_in, method)
    wide = B.astype(np.float64)
    ends = [ref.adapt(wide, w, inner, reference_method(method)) for inner, _ in tasks]
    outer = [outer.loss(*end) for (_, outer), end in zip(tasks, ends, strict=True)]
    assert relative_error(found.loss_in, [inner.loss(wide, w) for inner, _ in tasks]) < 8 * EPS
    assert relative_error(found.loss_out, outer) < 8 * EPS
    assert relative_error(heads, [w_J for _, w_J in ends]) < 8 * EPS


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("of_B", [np.float32, np.float64])
def test_representation_and_data_may_be_stored_differently(rng, name, of_B):
    """Each is taken as it is, and the gradient comes in the dtype of B."""
    B, w, tasks = problem(rng, d=301, width=4, k_star=3, m_in=(5, 12, 8), m_out=(7, 3, 10))
    B, of_data = B.astype(of_B), np.float64
    if of_B == np.float64:
        tasks, of_data = in_float32(tasks), np.float32
    method = METHODS[name](alpha=0.05, inner_steps=2)
    found = ms.meta_gradient(B, w, batch_of(tasks, of_data), method)
    expected_B, expected_w = ref.meta_gradient(
        B.astype(np.float64), w, tasks, reference_method(method)
    )
    assert found.B.dtype == of_B
    assert relative_error(found.B, expected_B) < 8 * EPS
    assert relative_error(found.w, expected_w) < 8 * EPS
