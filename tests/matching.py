"""Compare results of the package with expected values, mostly those of the reference."""

import re

import numpy as np
import pytest

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
    """Return the method of the reference that corresponds to a method of the package."""
    if isinstance(method, ms.AverageRisk):
        return Method(0.0, method.beta, 0, False, False)
    adapt_B = isinstance(method, ms.MAML)
    return Method(method.alpha, method.beta, method.inner_steps, adapt_B, not method.first_order)


def relative_error(found, expected):
    """Return the largest difference over the largest expected entry, for a whole array."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    if expected.size == 0:
        return 0.0
    scale = abs(expected).max()
    return float(abs(found - expected).max() / (scale if scale else 1))


def gradient_error(found, expected):
    """The larger of the relative errors of a gradient's B and w; NaN if either is NaN."""
    expected_B, expected_w = expected
    errors = relative_error(found.B, expected_B), relative_error(found.w, expected_w)
    return float(np.max(errors))


def assert_same_bits(found, expected, note=""):
    """Check that two runs have the same traces, states and statuses, bit for bit."""
    for kind in ("trace", "parts"):
        mine, theirs = getattr(found, kind), getattr(expected, kind)
        assert mine.keys() == theirs.keys(), note
        for name, values in theirs.items():
            np.testing.assert_array_equal(mine[name], values, err_msg=f"{note} {name}")
            assert mine[name].dtype == values.dtype, f"{note} {name}"
    assert found.status == expected.status, note


def assert_one_sentence(call, kind, fragments):
    """Check that a call raises exactly this type, with one sentence that contains all fragments."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    sentence = str(caught.value)
    for fragment in fragments:
        assert fragment in sentence, sentence
    assert "\n" not in sentence
    assert len(sentence) < 250
    assert not re.search(r"\.\s+[A-Z]", sentence), "more than one sentence"


def batch_of(tasks, dtype=np.float64):
    """Build a batch from the reference's tasks (inner, outer), stacked if all sizes agree."""
    lists = [
        [np.ascontiguousarray(array, dtype=dtype) for array in arrays]
        for arrays in zip(*(inner + outer for inner, outer in tasks), strict=True)
    ]
    if all(len({len(array) for array in arrays}) == 1 for arrays in lists):
        lists = [np.stack(arrays) for arrays in lists]
    return ms.TaskBatch(*lists)


def problem(rng, *, d, width, k_star, m_in, m_out, scale=0.7):
    """Draw a point (B, w), and tasks for which this point is far from any minimum."""
    B_star = np.linalg.qr(rng.standard_normal((d, k_star)))[0]
    B = scale * rng.standard_normal((d, width)) / np.sqrt(d / 9)
    w = scale * rng.standard_normal(width)
    return B, w, sample_tasks(rng, B_star, m_in, m_out)
