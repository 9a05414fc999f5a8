"""Collapsed runs with learned step sizes, a co-learner or fresh steps have their explicit law.

As in `test_collapsed.py`, Holm's procedure treats all methods and shapes as one family of tests,
which fails for two samples of one law with a probability of at most 10^-3; planted errors show
that the tests find what they are for.
"""

import pytest

from collapsed_runs import SHAPES, Case, compare_cases, count_caught, refused

MOVES = 1
CO_LEARNER = dict(private_head=True, private_weight=0.6)
METHODS = {
    "meta-sgd": dict(exact=True, step_sizes=1, beta_alpha=0.001),
    "fo-meta-sgd, per entry": dict(step_sizes=2, beta_alpha=0.001),
    "meta-sgd, both": dict(adapt_B=True, exact=True, step_sizes=1, beta_alpha=2e-4),
    "co-learner": dict(exact=True, **CO_LEARNER),
    "co-learner, both": dict(adapt_B=True, exact=True, **CO_LEARNER),
    "fresh": dict(adapt_B=True, contribution=MOVES, fresh_steps=True),
}
SHAPE_NAMES = (
    *("plain", "wide", "one left", "none left", "kept", "inner infinite", "outer infinite"),
    *("shared", "student-t", "sphere", "sphere, one left"),
)


def case_of(method, shape):
    """A case of a shape; fresh steps have as many samples for each step."""
    case = SHAPES[shape]._replace(**METHODS[method])
    if case.fresh_steps and case.m_in is not None:
        case = case._replace(m_in=case.m_in * case.inner_steps)
        if case.shared:
            case = case._replace(m_out=case.m_in)
    return case


CASES = {f"{m}, {shape}": case_of(m, shape) for m in METHODS for shape in SHAPE_NAMES}
# The norm (29) includes what is learned.
CASES |= {
    f"{name}, clipped": CASES[name]._replace(clip=0.8)
    for name in ("meta-sgd, plain", "meta-sgd, both, plain", "co-learner, plain",
                 "co-learner, both, plain", "co-learner, both, shared")
}  # fmt: skip
# `test_spread.py` has the other methods, and other shapes.
CASES |= {
    f"{name}, spread": CASES[name]._replace(spread=1.5)
    for name in ("meta-sgd, both, plain", "fresh, inner infinite")
}
# One round, in which the term of the co-learner, or the second step on other samples, is large.
ONE = Case(4, 1, 1, n=8, m_in=2, m_out=2, alpha=0.3, beta=0.7, inner_steps=2, rounds=1)
CASES["co-learner, both, one round"] = ONE._replace(
    adapt_B=True, private_head=True, private_weight=1.5, alpha=0.1
)
CASES["fresh, one round"] = ONE._replace(**METHODS["fresh"])._replace(m_in=4, alpha=0.15)
CASES["meta-sgd, one round"] = ONE._replace(
    exact=True, step_sizes=1, beta_alpha=0.1, alpha=0.1, inner_steps=1, beta=0.2
)
FAULTS = {
    "a weight 30 % too large": ("co-learner, both, one round", dict(private_weight=1.95)),
    "a dimension too many, co-learner": ("co-learner, both, one round", dict(d=5)),
    "both steps on all samples": ("fresh, one round", dict(fresh_steps=False)),
    "a step size that stays": ("meta-sgd, one round", dict(beta_alpha=0.0)),
}


def test_collapsed_runs_have_the_law_of_explicit_ones():
    """Detects a difference in the law of a record; names the case, the record and the test."""
    p = compare_cases("learned", CASES)
    assert len(p) > 1000
    assert refused(p) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error, beside as many tests as the family has."""
    name, wrong = FAULTS[fault]
    wrong = CASES[name]._replace(**wrong)
    assert count_caught("learned", CASES, name, fault, wrong) >= 9
