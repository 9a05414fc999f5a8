"""The tests of `test_collapsed.py` catch small errors in the law of collapsed runs.

An error is planted in the arguments of the core; the explicit runs are unchanged. A case with the
error is tested as a member of the whole family, whose other tests are assigned the p-value 1.
"""

import pytest

from collapsed_runs import CASES, count_caught

# The case, and what is wrong in it.
FAULTS = {
    "a dimension too many, MAML": ("maml, single column, one left", dict(d=4)),
    "a dimension too many, sphere": ("maml, sphere, one left", dict(d=6)),
    "a dimension too many, no outer samples": ("anil, outer infinite, one left", dict(d=4)),
    "an inner sample too many": ("maml, one step", dict(m_in=3)),
    "an outer sample too many": ("fo-anil, plain", dict(m_out=5)),
    "alpha 5 % too large": ("anil, strong", dict(alpha=0.6 * 1.05)),
    "beta 12 % too large": ("fo-anil, plain", dict(beta=0.112)),
    "noise variance 2 % too large": ("fo-anil, noisy", dict(noise=2 * 1.02**0.5)),
    "normal features for the sphere": ("anil, sphere", dict(features="gaussian")),
    "normal features for Student's": ("fo-anil, student-t, few degrees", dict(features="gaussian")),
    "own outer samples for shared ones": ("anil, shared, one left", dict(shared=False, m_out=4)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error, beside as many tests as the family has."""
    name, wrong = FAULTS[fault]
    wrong = CASES[name]._replace(**wrong)
    assert count_caught("gradients", CASES, name, fault, wrong) >= 9
