"""Collapsed runs have the law of explicit sampling in d dimensions, (16)-(19).

Detects any error that moves the law of a record, such as a wrong number of degrees of freedom, a
wrong sign or a missing term; `test_collapsed_power.py` checks how small an error they find.
Holm's procedure treats all methods and shapes as one family of tests: with other seeds the family
would fail with a probability of at most 10^-3.
"""

import numpy as np
import pytest

from collapsed_runs import (
    CASES,
    METHODS,
    SHAPES,
    collapsed,
    compare,
    compare_again,
    compare_first,
    drawn,
    refused,
    seed_of,
)

# All of them, and those of two inner steps at one, with more runs.
MORE_CASES = CASES | {
    f"{name}, one step": case._replace(inner_steps=1)
    for name, case in CASES.items()
    if case.inner_steps == 2
}
MORE_RUNS = 20_000


@pytest.fixture(scope="module")
def first():
    """Compute the p-values of the first stage, by case."""
    return compare_first("gradients", CASES)


def test_collapsed_runs_have_the_law_of_explicit_ones(first):
    """Detects a difference in the law of a record, in any case; names case, record and test."""
    assert refused(compare_again("gradients", CASES, first)) == []


def test_p_values_are_those_of_one_law(first):
    """Detects tests that could not fail: p-values near one, or none near zero.

    The bounds are wide because tests of records that differ little between cases are dependent.
    """
    values = np.array(
        [value for p in first.values() for (_, test), value in p.items() if test != "constant"]
    )
    assert len(values) > 2500
    for level in (0.5, 0.1, 0.01):
        assert 0.6 * level < (values < level).mean() < 1.5 * level


@pytest.mark.slow
def test_many_collapsed_runs_have_the_law_of_explicit_ones():
    """Detects differences 0.4 times as large as above, and in more cases."""
    p = {}
    for name, case in MORE_CASES.items():
        found = collapsed(case, MORE_RUNS, seed_of("collapsed", name))
        expected = drawn(case, MORE_RUNS, seed_of("explicit", name))
        p |= {(name, *test): value for test, value in compare(found, expected).items()}
    assert refused(p) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("features", ["gaussian", "sphere"])
def test_collapsed_bits_do_not_depend_on_threads(method, features):
    """Detects sums whose order follows the threads: enough tasks for several pieces of a round."""
    case = SHAPES["many tasks"]._replace(
        n=200, m_in=8, m_out=8, rounds=3, features=features, **METHODS[method]
    )
    one, two, three = (collapsed(case, 2, 5, threads=threads) for threads in (1, 2, 3))
    for record, values in one.items():
        np.testing.assert_array_equal(two[record], values)
        np.testing.assert_array_equal(three[record], values)
