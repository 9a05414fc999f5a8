"""Rounds of the limit for methods other than ANIL with one step, (56)-(58), in the core: against
the reference to rounding, and against sampled tasks.

Sampled means: Holm's procedure at 1e-3 over all entries of all methods, and the same comparison
rejects planted faults. Seeds are fixed.
"""

import numpy as np
import pytest

import metaspan as ms
from limit_methods import ALPHA, LAM, NOISE, many_steps, reference_of
from metaspan._core_types import HeadMoments
from metaspan._load import core
from metaspan.methods import core_method
from reference import explicit, limit
from sampled_means import refused_means

MEAN, COV = np.array([0.5, -0.4]), np.array([[1.0, 0.3], [0.3, 0.6]])
ROWS = np.array([[1.0, 0.2], [-0.4, 0.7], [0.1, -1.1], [0.3, 0.5]])
LAWS = {
    "gaussian": (HeadMoments("gaussian", MEAN, COV), limit.gaussian_heads(MEAN, COV)),
    "sphere": (HeadMoments("sphere", radius=1.3), limit.sphere_heads(1.3, 2)),
    "array": (HeadMoments("array", rows=ROWS), limit.array_heads(ROWS)),
}
K_STAR = 2

# Each method with the (m_in, m_out) of its rounds.
SIMPLE = [
    (ms.AverageRisk(), (None, 3)),
    (many_steps(0, False), (4, 3)),
    (ms.MAML(inner_steps=0, first_order=True), (4, None)),
    (ms.FedAvg(alpha=ALPHA, local_steps=1), (3, 5)),
    (ms.Reptile(alpha=ALPHA, local_steps=1), (None, 5)),
]
SOLVED = [
    (kind, counts)
    for kind in (ms.FedRep(), ms.FedRep(separate=True))
    for counts in ((7, 3), (9, None), (None, 4))
] + [
    (ms.RidgeANIL(lam=0.0, first_order=first_order), counts)
    for first_order in (False, True)
    for counts in ((9, 3), (12, None), (None, 4), (None, None))
]
KNOWN = [
    (method, (None, m_out))
    for m_out in (3, None)
    for method in (
        *(many_steps(J, first_order) for J in (1, 2, 5) for first_order in (False, True)),
        ms.RidgeANIL(lam=LAM),
        ms.RidgeANIL(lam=LAM, first_order=True),
    )
]
STEPS = [
    (many_steps(J, first_order), counts)
    for J, counts in ((1, (2, 3)), (2, (4, 3)), (2, (2, None)), (3, (6, 2)))
    for first_order in (False, True)
]


def core_round(method, heads, C, w, counts, *, spread=0.0, d=50.0, noise=NOISE):
    """grad_C, grad_w and S of the core; `counts` are m_in and m_out."""
    m_in, m_out = counts
    (grad_C,), (grad_w,), (S,) = core.limit_rounds(
        method=core_method(method), m_in=m_in or 0, m_out=m_out or 0, noise=noise, spread=spread,
        d=d, heads=heads, k_star=K_STAR, C=C[None], w=w[None],
    )  # fmt: skip
    return grad_C, grad_w, S


def assert_agree(computed, expected, error):
    for a, b in zip(computed, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=error * max(abs(b).max(), 1.0))


@pytest.mark.parametrize("spread", [0.0, 0.9])
@pytest.mark.parametrize("law", LAWS)
def test_rounds_agree_with_the_reference(rng, law, spread):
    """Methods whose rounds have closed forms agree to a relative 1e-11."""
    heads, nodes = LAWS[law]
    d = 50.0
    for e, k in ((0, 1), (1, 2), (1, 3)) if spread else ((0, 1), (1, 2), (2, 2), (1, 3)):
        D = K_STAR + e
        theta, p = limit.targets(nodes, D, spread**2 / d)
        variance = NOISE**2 + spread**2 * (1 - D / d)
        C, w = rng.standard_normal((D, k)), 0.5 * rng.standard_normal(k)
        for method, (m_in, m_out) in SIMPLE + SOLVED + KNOWN:
            computed = core_round(method, heads, C, w, (m_in, m_out), spread=spread, d=d)
            expected = reference_of(method)(
                C, w, theta, p, variance=variance, m_in=m_in, m_out=m_out
            )
            assert_agree(computed, expected, 1e-11)


@pytest.mark.parametrize("law", LAWS)
def test_rounds_of_several_steps_agree_with_the_reference(rng, law):
    """Quadrature over the Gram matrix on both sides; the core integrates all else in closed form.

    One step has another route in the core, (52)-(54).
    """
    heads, nodes = LAWS[law]
    for e, k, spread in ((0, 2, 0.0), (1, 2, 0.0), (0, 1, 0.9), (1, 1, 0.0)):
        D = K_STAR + e
        theta, p = limit.targets(nodes, D, spread**2 / 50)
        variance = NOISE**2 + spread**2 * (1 - D / 50)
        C, w = 0.8 * rng.standard_normal((D, k)), 0.5 * rng.standard_normal(k)
        for method, (m_in, m_out) in STEPS if k == 1 else STEPS[:-2]:
            computed = core_round(method, heads, C, w, (m_in, m_out), spread=spread)
            expected = reference_of(method)(
                C, w, theta, p, variance=variance, m_in=m_in, m_out=m_out
            )
            assert_agree(computed, expected, 1e-10)


@pytest.mark.parametrize("J", [2, 3])
def test_large_inner_sets_approach_infinite_ones(rng, J):
    C, w = rng.standard_normal((3, 2)), rng.standard_normal(2)
    heads = LAWS["gaussian"][0]
    for first_order in (False, True):
        method = many_steps(J, first_order)
        limit_of = core_round(method, heads, C, w, (None, 3))
        errors = []
        for m_in in (10**4, 10**6):
            computed = core_round(method, heads, C, w, (m_in, 3))
            errors.append(abs(computed[2] - limit_of[2]).max() / abs(limit_of[2]).max())
        assert errors[1] < 1e-2
        assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)


OFF = 4  # directions off the span in which sampled gradients are recorded


def sampled_round(rng, method, C, w, counts):
    """Each task's gradient by C and by w, and the mean over directions off the span of s s^T."""
    (D, k), (m_in, m_out), tasks = C.shape, counts, 40_000
    numbers = core_method(method)._asdict()
    B = np.broadcast_to(np.vstack([C, np.zeros((OFF, k))]), (tasks, D + OFF, k))
    theta = np.zeros((tasks, 1, D + OFF))
    theta[:, 0, :K_STAR] = ROWS[rng.integers(len(ROWS), size=tasks)]
    inner = explicit.data(rng, theta, m_in, NOISE)
    outer = explicit.data(rng, theta, m_out, NOISE)
    by_B, by_w, *_ = explicit.meta_gradient(
        B, np.broadcast_to(w, (tasks, k)), inner, outer, numbers, losses=False
    )
    off = by_B[:, D:]
    return by_B[:, :D], by_w, np.einsum("tak,tal->tkl", off, off) / OFF


SAMPLED = [
    *SIMPLE[:4],
    (ms.FedRep(), (12, 3)),
    (ms.RidgeANIL(lam=0.0, first_order=True), (20, 3)),
    (ms.RidgeANIL(lam=0.0), (24, 3)),
    (ms.RidgeANIL(lam=LAM), (None, 3)),
    (many_steps(3, True), (None, 3)),
    (many_steps(2, True), (6, 3)),
    (many_steps(2, False), (6, 3)),
    (many_steps(2, False), (1, 3)),
    (many_steps(3, False), (8, None)),
    (ms.MAML(alpha=ALPHA, outer="body"), (4, 3)),
]


def test_rounds_agree_with_sampled_tasks(rng):
    """A wrong m_in, m_out, noise or number of steps is rejected."""
    heads = LAWS["array"][0]
    C, w = 0.6 * rng.standard_normal((3, 2)), 0.5 * rng.standard_normal(2)
    sampled, expected = {}, {}
    wrong = {"noise": {}, "m_in": {}, "m_out": {}, "steps": {}}
    for method, counts in SAMPLED:
        frozen = isinstance(method, ms.MAML)
        head = np.zeros(2) if frozen else w
        names = [(str(method), counts, part) for part in ("C", "w", "S")]
        drawn = dict(zip(names, sampled_round(rng, method, C, head, counts), strict=True))
        if frozen:  # its gradient by w is not used
            del drawn[names[1]]
        sampled |= drawn

        def of_core(method=method, counts=counts, head=head, names=names, **changed):
            parts = core_round(method, heads, C, head, counts, **changed)
            return zip(names, parts, strict=True)

        m_in, m_out = counts
        expected |= of_core()
        wrong["noise"] |= of_core(noise=1.05 * NOISE)
        wrong["m_in"] |= of_core(counts=(m_in and m_in + 1, m_out))
        wrong["m_out"] |= of_core(counts=(m_in, m_out and m_out + 1))
        fewer = many_steps(1, False) if method == many_steps(2, False) else method
        wrong["steps"] |= of_core(method=fewer)
    assert not refused_means(sampled, expected)
    for fault, means in wrong.items():
        assert refused_means(sampled, means), fault
