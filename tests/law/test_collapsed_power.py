"""The tests of `test_collapsed.py` catch small errors in the law of collapsed runs.

An error is planted in the arguments of the core; the explicit runs are unchanged. A case with the
error is tested as a member of the whole family, whose other tests are assigned the p-value 1.
"""

import functools

import pytest

from collapsed_runs import CASES, RUNS, collapsed, compare, drawn, refused, seed_of

REPETITIONS = 20
LEAST_POWER = 0.95
FAMILY = 21 * len(CASES)  # at most: seven records, three tests of each

# The case, what is wrong in it, and the runs on either side, at most as many as the tests have.
FAULTS = {
    "a dimension too many, MAML": ("maml, single column, one left", dict(d=4), RUNS),
    "a dimension too many, sphere": ("maml, sphere, one left", dict(d=6), RUNS),
    "a dimension too many, no outer samples": ("anil, outer infinite, one left", dict(d=4), RUNS),
    "an inner sample too many": ("maml, one step", dict(m_in=3), RUNS),
    "an outer sample too many": ("fo-anil, plain", dict(m_out=5), RUNS),
    "alpha 5 % too large": ("anil, strong", dict(alpha=0.6 * 1.05), RUNS),
    "beta 12 % too large": ("fo-anil, plain", dict(beta=0.112), RUNS),
    "noise variance 2 % too large": ("fo-anil, noisy", dict(noise=2 * 1.02**0.5), RUNS),
    "normal features for the sphere": ("anil, sphere", dict(features="gaussian"), RUNS),
    "normal features for Student's": (
        "fo-anil, student-t, few degrees",
        dict(features="gaussian"),
        2500,
    ),
    "own outer samples for shared ones": (
        "anil, shared, one left",
        dict(shared=False, m_out=4),
        700,
    ),
}


@functools.cache
def explicit_sample(name, runs, repetition):
    return drawn(CASES[name], runs, seed_of("power, explicit", name, repetition))


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error: it must be found in nearly every repetition."""
    name, wrong, runs = FAULTS[fault]
    case, caught = CASES[name], 0
    for repetition in range(REPETITIONS):
        seed = seed_of("power, collapsed", fault, repetition)
        found = collapsed(case._replace(**wrong), runs, seed, start=case)
        p = compare(found, explicit_sample(name, runs, repetition))
        others = dict.fromkeys(range(FAMILY - len(p)), 1.0)
        caught += bool(refused(p | others))
    assert caught >= LEAST_POWER * REPETITIONS
