"""Collapsed runs of the other methods have the law of explicit sampling, (25)-(27) and (32).

As in `test_collapsed.py`, Holm's procedure treats all methods and shapes as one family of tests,
which fails for two samples of one law with a probability of at most 10^-3; planted errors show
that the tests find what they are for.
"""

import pytest

from collapsed_runs import SHAPES, Case, compare_cases, count_caught, every_other, refused

MOVES, INNER_GRADIENT, ATTENTION = 1, 2, 3
SOLVED = dict(solves_head=True, inner_steps=1, penalty=0.3)
METHODS = {
    "fedavg": dict(adapt_B=True, contribution=MOVES),
    "ridge-anil": dict(exact=True, **SOLVED),
    "fo-ridge-anil": SOLVED,
    "fedrep": dict(contribution=INNER_GRADIENT, **{**SOLVED, "penalty": 0.0}),
    "linear-attention": dict(contribution=ATTENTION, inner_steps=1, alpha=0.3),
    "body": dict(adapt_B=True, adapt_head=False, exact=True),
}
SHAPE_NAMES = (
    *("plain", "strong", "wide", "many tasks", "one left", "none left", "kept"),
    *(
        "single column, one left",
        "inner infinite",
        "outer infinite",
        "shared",
        "student-t",
        "sphere",
        "sphere, one left",
    ),
)


def case_of(method, shape):
    """Return a case of a shape; least squares has more samples, and so fewer tails."""
    case = SHAPES[shape]._replace(**METHODS[method])
    if method == "linear-attention":  # the state has the columns of A and of B
        case = case._replace(k=2 * case.k, d=case.d + case.k)
    if method == "fedrep" and case.m_in is not None:
        case = case._replace(m_in=max(case.m_in, 4 * case.k))
        if case.shared:
            case = case._replace(m_out=case.m_in)
    return case


# Two methods that do a part of what others do have every other shape.
PARTS = ("fo-ridge-anil", "body")
CASES = {
    f"{method}, {shape}": case_of(method, shape)
    for method, shape in (
        *((method, shape) for method in METHODS if method not in PARTS for shape in SHAPE_NAMES),
        *every_other(PARTS, SHAPE_NAMES),
    )
}
# Steps that are long enough for the samples off the span to matter in a second one.
LONG = Case(4, 1, 1, n=8, m_in=2, m_out=2, alpha=0.3, beta=0.7, inner_steps=2, rounds=1)
CASES["fedavg, long steps"] = LONG._replace(**METHODS["fedavg"])
CASES["linear-attention, long steps"] = LONG._replace(**{**METHODS["linear-attention"], "k": 2})
CASES["fedrep, few tasks"] = Case(
    6, 1, 1, n=4, m_in=4, m_out=4, noise=0.3, alpha=0.3, beta=0.5, rounds=1
)._replace(**METHODS["fedrep"])
FAULTS = {
    "a dimension too many, fedavg": ("fedavg, long steps", dict(d=5)),
    "local steps 25 % too long": ("fedavg, long steps", dict(alpha=0.3 * 1.25)),
    "a penalty 30 % too large": ("ridge-anil, plain", dict(penalty=0.39)),
    "an inner sample too many, fedrep": ("fedrep, few tasks", dict(m_in=5)),
    "a factor 30 % too large": ("linear-attention, strong", dict(alpha=0.39)),
    "a dimension too many, attention": ("linear-attention, long steps", dict(d=5)),
    "a dimension too many, ridge": ("ridge-anil, one left", dict(d=6)),
}


def test_collapsed_runs_have_the_law_of_explicit_ones():
    """Detects a difference in the law of a record; names the case, the record and the test."""
    p = compare_cases("family", CASES)
    assert len(p) > 1000
    assert refused(p) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error, beside as many tests as the family has."""
    name, wrong = FAULTS[fault]
    wrong = CASES[name]._replace(**wrong)
    assert count_caught("family", CASES, name, fault, wrong) >= 9
