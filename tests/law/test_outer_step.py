"""Collapsed runs whose outer step remembers blocks have the law of explicit sampling, (28).

As in `test_collapsed.py`, Holm's procedure treats all steps and shapes as one family of tests,
which fails for two samples of one law with a probability of at most 10^-3; planted errors show
that the tests find what they are for.
"""

import pytest

from collapsed_runs import METHODS, SHAPES, Case, compare_cases, count_caught, every_other, refused

STEPS = {
    "momentum": dict(momentum=0.7),
    "nesterov": dict(momentum=0.6, nesterov=True),
    "average": dict(average=True),
    "lookahead": dict(lookahead=(2, 0.6)),
    "everything": dict(momentum=0.5, average=True, lookahead=(2, 0.7)),
    "orthonormal": dict(orthonormal=True),
    "orthonormal, average": dict(orthonormal=True, average=True, momentum=0.4),
}
SHAPE_NAMES = ("plain", "wide", "many tasks", "none left", "kept", "outer infinite", "shared",
               "student-t", "sphere")  # fmt: skip


def case_of(method, step, shape):
    """A case of a shape with enough dimensions for the blocks of a step, or with none left."""
    case = SHAPES[shape]._replace(**METHODS[method], step=STEPS[step], rounds=4)
    rows = case.k_star + case.kept + len(case.blocks) * case.k
    return case._replace(d=rows if shape == "none left" else rows + case.d % 4 + 1)


# The steps that remember the most have all shapes, the others every other one.
ALL_SHAPES = [("anil", "everything"), ("anil", "orthonormal, average")]
SOME_SHAPES = [("fo-maml", "momentum"), *(("anil", step) for step in STEPS), ("maml", "everything")]
CASES = {
    f"{method}, {step}, {shape}": case_of(method, step, shape)
    for (method, step), shape in (
        *((pair, shape) for pair in ALL_SHAPES for shape in SHAPE_NAMES),
        *every_other([pair for pair in SOME_SHAPES if pair not in ALL_SHAPES], SHAPE_NAMES),
    )
}
# With what other options draw off the span.
PLAIN = case_of("anil", "everything", "plain")
CASES["anil, everything, clipped and noisy"] = PLAIN._replace(clip=1.0, multiplier=0.5)
CASES["anil, everything, spread"] = PLAIN._replace(spread=0.7)
# Long steps on many samples, after which B depends on the outer step more than on chance.
LONG = Case(7, 1, 1, n=4, m_in=16, m_out=16, noise=0.2, alpha=0.3, beta=0.3, inner_steps=1,
            exact=True, rounds=4)  # fmt: skip
CASES["anil, momentum, long steps"] = LONG._replace(step=STEPS["momentum"])
CASES["anil, nesterov, long steps"] = LONG._replace(step=STEPS["nesterov"])
FAULTS = {
    "momentum 10 % too small": ("anil, momentum, long steps", dict(step=dict(momentum=0.63))),
    "a dimension too many": ("anil, momentum, none left", dict(d=7)),
    "no Nesterov": ("anil, nesterov, long steps", dict(step=dict(momentum=0.6))),
}


def test_collapsed_runs_have_the_law_of_explicit_ones():
    """Detects a difference in the law of a record; names the case, the record and the test."""
    p = compare_cases("outer", CASES)
    assert len(p) > 1000
    assert refused(p) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error, beside as many tests as the family has."""
    name, wrong = FAULTS[fault]
    wrong = CASES[name]._replace(**wrong)
    assert count_caught("outer", CASES, name, fault, wrong) >= 9
