"""The moments (51), (52) agree with sampled tasks; the gradients (53) and second moments (54) agree
with exact integration over the samples of a task.

Sampled means: Holm's procedure at 1e-3 in each test, on p-values of a normal law, and the same
comparison rejects planted faults. Seeds are fixed.
"""

import numpy as np
import pytest

from reference import explicit, limit, limit_moments
from sampled_means import refused_means


def one_task(rng, D=3, k=2):
    """Return e (D,), C (D, k) and sigma^2 of one task."""
    return 0.6 * rng.standard_normal(D), 0.7 * rng.standard_normal((D, k)), 0.3


def products(u, t, F, G):
    """The products of (51) for tasks with u (N, k) and |r|^2 / v = t (N,), by name."""
    Fu, uGu = u @ F, np.einsum("ak,kl,al->a", u, G, u)
    uu = u[:, :, None] * u[:, None, :]
    return {
        "u": u,
        "uu": uu,
        "(F.u) u": Fu[:, None] * u,
        "u'Gu": uGu,
        "(u'Gu) u": uGu[:, None] * u,
        "(F.u) uu": Fu[:, None, None] * uu,
        "(u'Gu) uu": uGu[:, None, None] * uu,
        "t u": t[:, None] * u,
        "t uu": t[:, None, None] * uu,
    }


@pytest.mark.parametrize("m", [1, 2, 3])
def test_moments_of_what_a_task_sees(rng, m):
    """Samples are t and u drawn from (51), and u computed from sampled rows of X and labels."""
    e, C, variance = one_task(rng)
    F, G, v, N = C.T @ e, C.T @ C, e @ e + variance, 100_000
    t = rng.chisquare(m, N)
    root = np.linalg.cholesky(v * G - np.outer(F, F))
    normals = rng.standard_normal((N, len(F))) @ root.T
    by_law = t[:, None] / m * F + np.sqrt(t)[:, None] / m * normals
    X = rng.standard_normal((N, m, len(e)))
    r = X @ e + np.sqrt(variance) * rng.standard_normal((N, m))
    Z = X @ C
    by_rows = np.einsum("amk,am->ak", Z, r) / m
    of_rows = products(by_rows, (r**2).sum(axis=1) / (v * m), F, G)
    sampled = {("law", name): x for name, x in products(by_law, t / m, F, G).items()}
    sampled |= {("rows", name): x for name, x in of_rows.items()}
    W = np.einsum("amk,aml->akl", Z, Z) / m
    sampled["rows", "W u"] = np.einsum("akl,ap->aklp", W, by_rows)
    sampled["rows", "W uu"] = np.einsum("akl,ap,aq->aklpq", W, by_rows, by_rows)

    def expected(**changed):
        c = limit_moments.constants(m, None) | changed
        values = limit_moments.moments_of_u(F, G, v, c) | limit_moments.moments_of_W(F, G, v, c)
        return {name: values[name[1]] for name in sampled}

    assert not refused_means(sampled, expected())
    for fault in (dict(c1=1.0), dict(c2=1 + 1 / m), dict(c3=1 + 1 / m), dict(i=0.0)):
        assert refused_means(sampled, expected(**fault)), fault


HEADS = {
    "gaussian": lambda rng, N: (
        [0.4, -0.3] + rng.standard_normal((N, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
    ),
    "sphere": lambda rng, N: (
        1.3 * (g := rng.standard_normal((N, 2))) / np.linalg.norm(g, axis=1, keepdims=True)
    ),
    "array": lambda rng, N: ROWS[rng.choice(len(ROWS), N, p=[0.2, 0.3, 0.5])],
}
ROWS = np.array([[1.0, 0.2], [-0.4, 0.7], [0.1, -1.1]])
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.34]])


def residual_law(name, C, w, *, kappa=True):
    """The closed forms of (52) for the heads of this name; without kappa, a planted fault."""
    if name == "sphere":
        law = limit_moments.sphere_residuals(1.3, 2, C, w)
        law.kappa *= kappa
        return law
    if name == "array":
        return limit_moments.ArrayResiduals(ROWS, np.array([0.2, 0.3, 0.5]), C, w)
    return limit_moments.GaussianResiduals(np.array([0.4, -0.3]), COVARIANCE, C, w)


@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize("name", HEADS)
def test_moments_over_heads(rng, name, spread):
    """For two symmetric matrices that do not commute; products of lower moments are rejected."""
    C, w, N = 0.5 * rng.standard_normal((3, 2)), rng.standard_normal(2), 200_000
    first, second = (x + x.T for x in 0.5 * rng.standard_normal((2, 3, 3)))
    heads = HEADS[name](rng, N)
    e = C @ w - np.hstack([heads, np.zeros((N, 1))]) + spread * rng.standard_normal((N, 3))
    x, y = (np.einsum("ad,de,ae->a", e, M, e) for M in (first, second))
    ee = e[:, :, None] * e[:, None, :]
    sampled = {
        "mean": e,
        "A": ee,
        "q": x,
        "q1": x[:, None] * e,
        "q2": x[:, None, None] * ee,
        "qq": x * y,
    }

    def expected(**fault):
        law = residual_law(name, C, w, **fault)
        law = limit_moments.SpreadResiduals(law, spread**2) if spread else law
        q2 = law.q2(first)
        return {
            **{"mean": law.mean, "A": law.A, "q": law.q(first)},
            **{"q1": law.q1(first), "q2": q2, "qq": np.trace(second @ q2)},
        }

    assert not refused_means(sampled, expected())
    q, mean, A = (expected()[name] for name in ("q", "mean", "A"))
    for moment, product in {"q1": q * mean, "q2": q * A, "qq": q * np.trace(second @ A)}.items():
        assert refused_means(sampled, expected() | {moment: product}), moment
    if name == "sphere":
        assert refused_means(sampled, expected(kappa=False))


def integrated(C, w, heads, *, alpha, noise, m_in, m_out, exact):
    """grad_C, grad_w and S by nodes for X, z, X' and z', in D + 1 dimensions.

    The last coordinate is a direction off the span. The gradient of a task is that of
    `explicit.meta_gradient`; the rules are exact at the degrees 8 and 4 of the integrands.
    """
    D, k = C.shape
    rows, probabilities = heads
    inner, p_inner = limit.normal_nodes(m_in * (D + 2), 5)
    outer, p_outer = limit.normal_nodes(m_out * (D + 2), 3)
    p = np.outer(p_inner, p_outer).ravel()
    inner = np.repeat(inner, len(outer), axis=0).reshape(len(p), 1, m_in, D + 2)
    outer = np.tile(outer, (len(p_inner), 1)).reshape(len(p), 1, m_out, D + 2)
    B, w = np.vstack([C, np.zeros(k)]), np.repeat(w[None], len(p), axis=0)
    B = np.repeat(B[None], len(p), axis=0)
    method = {"alpha": alpha, "inner_steps": 1, "adapt_B": False, "exact": exact}
    sums = [0.0, 0.0, 0.0]
    for row, q in zip(rows, probabilities, strict=True):
        theta = np.concatenate([row, np.zeros(D + 1 - len(row))])
        sets = [
            (s[..., :-1], s[..., :-1] @ theta + noise * s[..., -1], 0.0) for s in (inner, outer)
        ]
        by_B, by_w, *_ = explicit.meta_gradient(B, w, *sets, method, losses=False)
        sums[0] += q * np.einsum("a,adk->dk", p, by_B)[:-1]
        sums[1] += q * np.einsum("a,ak->k", p, by_w)
        sums[2] += q * np.einsum("a,ak,al->kl", p, by_B[:, -1], by_B[:, -1])
    return sums


def laws_of(rng, k_star, C, w):
    """Pairs of nodes of a law of heads and the closed forms of its moments."""
    L, mean, rows = rng.standard_normal((k_star, k_star)), rng.standard_normal(k_star), ROWS
    rows, p = rows[:, :k_star], np.array([0.2, 0.3, 0.5])
    return {
        "gaussian": (
            limit.gaussian_heads(mean, L @ L.T),
            limit_moments.GaussianResiduals(mean, L @ L.T, C, w),
        ),
        "sphere": (
            limit.sphere_heads(1.3, k_star),
            limit_moments.sphere_residuals(1.3, k_star, C, w),
        ),
        "array": (limit.array_heads(rows, p), limit_moments.ArrayResiduals(rows, p, C, w)),
    }


def error_of(found, expected):
    """The largest error of grad_C, grad_w and S, each relative to its largest entry."""
    return max(
        abs(a - b).max() / max(abs(b).max(), 1e-300) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        *(((1, 1, 1), (1, 1)), ((1, 2, 1), (1, 1)), ((2, 1, 0), (1, 1))),
        *(((1, 1, 0), (2, 1)), ((1, 1, 0), (1, 2))),
    ],
)
def test_gradients_by_exact_integration_over_samples(rng, shape, counts, exact):
    (k_star, k, e), (m_in, m_out) = shape, counts
    C, w = rng.standard_normal((k_star + e, k)), rng.standard_normal(k)
    options = {"alpha": 0.4, "m_in": m_in, "m_out": m_out, "exact": exact}
    laws = laws_of(rng, k_star, C, w)
    for heads, law in laws.values() if counts == (1, 1) else [laws["sphere"]]:
        expected = integrated(C, w, heads, noise=0.7, **options)
        assert error_of(limit.gradient(C, w, heads, noise=0.7, **options), expected) < 1e-12
        closed = limit_moments.gradient(law, C, w, variance=0.49, **options)
        assert error_of(closed, expected) < 1e-12


COUNTS = [(1, 1), (2, 3), (3, 1), (5, None), (None, 4), (None, None)]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 1), (2, 2, 2), (2, 3, 1), (3, 2, 1)])
def test_closed_forms_agree_with_quadrature(rng, shape, exact):
    """A spread is included at sizes at which the quadrature is cheap."""
    k_star, k, e = shape
    D, d = k_star + e, 10
    C, w = rng.standard_normal((D, k)), rng.standard_normal(k)
    for m_in, m_out in COUNTS:
        options = {"alpha": 0.4, "m_in": m_in, "m_out": m_out, "exact": exact}
        for heads, law in laws_of(rng, k_star, C, w).values():
            for spread in (0.0, 0.8) if D == 2 else (0.0,):
                expected = limit.gradient(C, w, heads, noise=0.7, spread=spread, d=d, **options)
                in_span = spread**2 / d
                more = limit_moments.SpreadResiduals(law, in_span) if spread else law
                variance = 0.49 + spread**2 - D * in_span
                closed = limit_moments.gradient(more, C, w, variance=variance, **options)
                assert error_of(closed, expected) < 1e-11, (m_in, m_out)
