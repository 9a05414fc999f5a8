"""Collapsed runs with clipping and noise have the law of explicit ones, (29) and (30).

As in `test_collapsed.py`, Holm's procedure treats all cases as one family of tests, which fails for
two samples of one law with a probability of at most 10^-3; planted errors show that the tests find
what they are for.
"""

import numpy as np
import pytest
from scipy import stats

from collapsed_runs import METHODS as GRADIENTS
from collapsed_runs import (
    SHAPES,
    Case,
    clip_of,
    collapsed,
    compare_cases,
    count_caught,
    drawn,
    every_other,
    refused,
    seed_of,
)
from reference.privacy import noisy_factor, r_factor, stacked_in_quadrature

METHODS = {
    **{name: GRADIENTS[name] for name in ("fo-anil", "anil")},
    "fedavg": dict(adapt_B=True, contribution=1),
    "maml": GRADIENTS["maml"],
    "ridge-anil": dict(exact=True, solves_head=True, inner_steps=1, penalty=0.3),
}
SHAPE_NAMES = (
    *("plain", "wide", "one left", "none left", "kept", "inner infinite", "outer infinite"),
    *("both infinite", "shared", "student-t", "sphere"),
)
# Half of the tasks of the first round are clipped, or hardly any.
KINDS = {
    "clipped": dict(quantile=0.5, multiplier=0.0),
    "clipped, noisy": dict(quantile=0.5, multiplier=1.0),
    "noisy": dict(quantile=1.0, multiplier=0.3),
}


def case_of(method, shape, quantile, multiplier):
    case = SHAPES[shape]._replace(**METHODS[method])
    return case._replace(clip=clip_of(case, quantile), multiplier=multiplier)


# The methods other than ANIL have noise in every other shape.
WITHOUT_NOISE = every_other([method for method in METHODS if method != "anil"], SHAPE_NAMES)
CASES = {
    f"{method}, {shape}, {kind}": case_of(method, shape, **options)
    for method in METHODS
    for shape in SHAPE_NAMES
    for kind, options in KINDS.items()
    if method == "anil"
    or kind == ("clipped" if (method, shape) in WITHOUT_NOISE else "clipped, noisy")
}
# A step in which the noise off the span and the gradient off the span are of one size.
CASES["cross terms"] = Case(
    4, 1, 1, n=1, m_in=2, m_out=1, beta=1.0, inner_steps=1, rounds=1, clip=2.0, multiplier=0.5
)
CASES["many tasks"] = case_of("anil", "many tasks", 0.5, 1.0)
# Tasks with parts of their own, (33): the norm has a row along the part, too. `test_spread.py` has
# such cases of ANIL, and of MAML in other shapes.
for method, shape in (
    *(("fedavg", shape) for shape in ("plain", "one left", "shared", "both infinite")),
    *(("maml", shape) for shape in ("plain", "shared")),
):
    case = case_of(method, shape, 0.5, 0.5)
    CASES[f"{method}, {shape}, spread"] = case._replace(spread=0.8)
# Learned step sizes and co-learners: the norm and the noise take all that is learned.
for shape in ("plain", "one left", "both infinite"):
    for name, learned in {
        "meta-sgd": dict(step_sizes=2, beta_alpha=0.001, exact=True),
        "meta-sgd, maml": dict(step_sizes=1, beta_alpha=2e-4, exact=True, adapt_B=True),
        "co-learner": dict(private_head=True, private_weight=0.5, exact=True),
        "fresh steps": dict(fresh_steps=True, adapt_B=True, contribution=1),
    }.items():
        case = SHAPES[shape]._replace(inner_steps=2, m_in=SHAPES[shape].m_in and 4)
        clip = clip_of(case._replace(exact=True), 0.5)
        case = case._replace(clip=clip, multiplier=0.5, **learned)
        CASES[f"{name}, {shape}"] = case
# Linear attention: the norm takes the columns of A and of B.
ATTENTION = dict(contribution=3, inner_steps=1, alpha=0.3, k=4)
for shape in ("plain", "one left", "none left", "both infinite", "shared"):
    for spread in (0.0, 0.8):
        case = SHAPES[shape]._replace(spread=spread, **ATTENTION)
        case = case._replace(d=case.d + 2)
        name = f"linear-attention, {shape}, spread {spread}"
        CASES[name] = case._replace(clip=clip_of(case, 0.5))
FAULTS = {
    "a limit 20 % too small": ("anil, plain, clipped", dict(clip=0.8)),
    "a limit 20 % too small, MAML": ("maml, plain, clipped", dict(clip=0.8)),
    "a limit 20 % too small, attention": ("linear-attention, plain, spread 0.0", dict(clip=0.8)),
    "no limit": ("ridge-anil, none left, clipped", dict(clip=1e6)),
    "noise 25 % too large": ("anil, wide, noisy", dict(multiplier=1.25)),
    "noise 25 % too small": ("fo-anil, both infinite, clipped, noisy", dict(multiplier=0.75)),
}


def test_collapsed_runs_have_the_law_of_explicit_ones():
    """Detects a difference in the law of a record; names the case, the record and the test."""
    p = compare_cases("privacy", CASES)
    assert len(p) > 1000
    assert refused(p) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_errors_are_caught(fault):
    """Detects tests too weak for the error, beside as many tests as the family has."""
    name, factors = FAULTS[fault]
    case = CASES[name]
    wrong = case._replace(**{key: factor * getattr(case, key) for key, factor in factors.items()})
    assert count_caught("privacy", CASES, name, fault, wrong) >= 9


MORE_RUNS = 20_000


def rule_p_values(rule, rest, k, seed):
    """Compare singular values of a matrix (rest, k) plus noise, explicit and by a rule."""
    rng = np.random.default_rng(seed)
    F, s = np.triu(np.ones((k, k))), 0.8
    whole = rng.standard_normal((MORE_RUNS, rest, k)) @ F
    expected = whole + s * rng.standard_normal(whole.shape)
    T = r_factor(rng.standard_normal((MORE_RUNS, rest, k)) @ F)
    a, b = (
        np.linalg.svd(A, compute_uv=False)[:, : min(rest, k)]
        for A in (rule(rng, T, s, rest), expected)
    )
    return {
        (rest, k, i, name): test(a[:, i], b[:, i]).pvalue
        for i in range(min(rest, k))
        for name, test in (("distribution", stats.ks_2samp), ("variance", stats.levene))
    }


@pytest.mark.parametrize(("rule", "holds"), [(noisy_factor, True), (stacked_in_quadrature, False)])
def test_noise_off_the_span_is_not_stacked_in_quadrature(rule, holds):
    """Detects a rule without the cross terms of the gradient and its noise off the span."""
    p = {}
    for rest, k in ((1, 1), (2, 1), (3, 2), (5, 2), (12, 3)):
        p |= rule_p_values(rule, rest, k, seed_of("quadrature", rest, k))
    assert (refused(p) == []) == holds


def test_quadrature_is_rejected_by_the_runs_too():
    """Detects runs that are too few, or cases too mild, for the missing cross terms to matter."""
    case, rng = CASES["cross terms"], np.random.default_rng(5)
    runs = collapsed(case._replace(multiplier=0.0), MORE_RUNS, 11)
    s = case.beta * case.multiplier * case.clip / case.n
    noise = s * np.sqrt(rng.chisquare(case.d - case.k_star, MORE_RUNS))
    quadrature = np.hypot(runs["perp_norm"], noise)
    expected = drawn(case, MORE_RUNS, 12)["perp_norm"]
    found = collapsed(case, MORE_RUNS, 13)["perp_norm"]
    assert stats.ks_2samp(np.log(found), np.log(expected)).pvalue > 1e-3
    assert stats.ks_2samp(np.log(quadrature), np.log(expected)).pvalue < 1e-6
