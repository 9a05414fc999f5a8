"""Puts the package's objects beside those of the reference."""

import numpy as np

import metaspan as ms
from reference import Method, sample_tasks

# The four methods and the baseline, by published name.
METHODS = {
    "fo-anil": lambda **steps: ms.ANIL(first_order=True, **steps),
    "anil": ms.ANIL,
    "fo-maml": lambda **steps: ms.MAML(first_order=True, **steps),
    "maml": ms.MAML,
}
EXACT = ("anil", "maml")


def reference_method(method):
    """What the equations know of a method of the package."""
    if isinstance(method, ms.AverageRisk):
        return Method(0.0, method.beta, 0, False, False)
    adapt_B = isinstance(method, ms.MAML)
    return Method(method.alpha, method.beta, method.inner_steps, adapt_B, not method.first_order)


def relative_error(found, expected):
    """The largest difference over the largest entry expected: one number for a whole array."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    if expected.size == 0:
        return 0.0
    scale = abs(expected).max()
    return float(abs(found - expected).max() / (scale if scale else 1))


def batch_of(tasks, dtype=np.float64):
    """The package's batch of the reference's tasks (inner, outer): ragged, unless sizes agree."""
    lists = [
        [np.ascontiguousarray(array, dtype=dtype) for array in arrays]
        for arrays in zip(*(inner + outer for inner, outer in tasks), strict=True)
    ]
    if all(len({len(array) for array in arrays}) == 1 for arrays in lists):
        lists = [np.stack(arrays) for arrays in lists]
    return ms.TaskBatch(*lists)


def problem(rng, *, d, width, k_star, m_in, m_out, scale=0.7):
    """A point (B, w) and tasks there, well off any minimum."""
    B_star = np.linalg.qr(rng.standard_normal((d, k_star)))[0]
    B = scale * rng.standard_normal((d, width)) / np.sqrt(d / 9)
    w = scale * rng.standard_normal(width)
    return B, w, sample_tasks(rng, B_star, m_in, m_out)
