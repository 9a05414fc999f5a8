"""A round of the limit in the core: the gradient in coordinates (53) and the second moment S of a
task's gradient off the span, (54), against quadrature, closed forms and sampled tasks.
"""

import numpy as np
import pytest

from metaspan._core_types import CoreMethod, HeadMoments
from metaspan._load import core
from reference import explicit, infinite_tasks, limit, limit_moments
from reference.closed_forms import exact_anil, fo_anil
from sampled_means import refused_means

COVARIANCE = np.array([[1.0, 0.3, 0.1], [0.3, 0.6, 0.2], [0.1, 0.2, 0.5]])
MEAN = np.array([0.5, -0.4, 0.2])
ROWS = np.array([[1.0, 0.2, 0.4], [-0.4, 0.7, -0.3], [0.1, -1.1, 0.6], [0.3, 0.5, -0.7]])
RADIUS = 1.3
NO_ROWS = np.empty((0, 0))


def heads_of(name, k_star, C, w):
    """The law `name` as the core takes it, its nodes, the moments (52), and a sampler."""
    mean, cov, rows = MEAN[:k_star], COVARIANCE[:k_star, :k_star], ROWS[:, :k_star]
    p = np.full(len(rows), 1 / len(rows))
    if name == "gaussian":
        root = np.linalg.cholesky(cov)
        return (
            HeadMoments("gaussian", mean, cov),
            limit.gaussian_heads(mean, cov),
            limit_moments.GaussianResiduals(mean, cov, C, w),
            lambda rng, N: mean + rng.standard_normal((N, k_star)) @ root.T,
        )
    if name == "sphere":
        return (
            HeadMoments("sphere", radius=RADIUS),
            limit.sphere_heads(RADIUS, k_star),
            limit_moments.sphere_residuals(RADIUS, k_star, C, w),
            lambda rng, N: on_sphere(rng.standard_normal((N, k_star))),
        )
    return (
        HeadMoments("array", rows=rows),
        limit.array_heads(rows),
        limit_moments.ArrayResiduals(rows, p, C, w),
        lambda rng, N: rows[rng.integers(len(rows), size=N)],
    )


def on_sphere(normals):
    return RADIUS * normals / np.linalg.norm(normals, axis=1, keepdims=True)


def round_of(heads, C, w, *, alpha, noise, m_in, m_out, exact, spread=0.0, d=100.0, k_star):
    """Return grad_C, grad_w and S of the core."""
    (grad_C,), (grad_w,), (S,) = core.limit_rounds(
        method=CoreMethod(alpha, 0.1, 1, False, exact, beta_head=0.1),
        **{"m_in": m_in or 0, "m_out": m_out or 0, "noise": noise},
        **{"spread": spread, "d": d, "heads": heads, "k_star": k_star, "C": C[None], "w": w[None]},
    )
    return grad_C, grad_w, S


def error_of(computed, expected):
    """The largest error of grad_C, grad_w and S, each relative to its largest entry."""
    return max(
        abs(a - b).max() / max(abs(b).max(), 1e-300)
        for a, b in zip(computed, expected, strict=True)
    )


COUNTS = [(1, 1), (2, 3), (5, None), (None, 4), (None, None)]
LAWS = ("gaussian", "sphere", "array")


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", LAWS)
def test_rounds_agree_with_quadrature(rng, name, exact):
    """R has from 0 to k rows; a spread is included at sizes at which the quadrature is cheap."""
    for k_star, k, e in ((1, 1, 0), (1, 2, 1), (2, 2, 2), (2, 3, 1), (3, 2, 1)):
        C, w = rng.standard_normal((k_star + e, k)), rng.standard_normal(k)
        law, nodes, *_ = heads_of(name, k_star, C, w)
        for m_in, m_out in COUNTS:
            options = {"alpha": 0.4, "noise": 0.7, "m_in": m_in, "m_out": m_out, "exact": exact}
            for spread in (0.0, 0.9) if k_star + e < 3 else (0.0,):
                options |= {"spread": spread, "d": 7.0}
                computed = round_of(law, C, w, k_star=k_star, **options)
                assert error_of(computed, limit.gradient(C, w, nodes, **options)) < 1e-11


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", LAWS)
def test_wide_rounds_agree_with_closed_forms(rng, name, exact):
    """At k = 7 and 10, where quadrature would need too many nodes, also at w = 0."""
    for k, e in ((7, 7), (10, 4)):
        C = 0.5 * rng.standard_normal((3 + e, k))
        for w in (np.zeros(k), 0.5 * rng.standard_normal(k)):
            law, _, residuals, _ = heads_of(name, 3, C, w)
            for m_in, m_out in COUNTS:
                options = {"alpha": 0.3, "m_in": m_in, "m_out": m_out, "exact": exact}
                computed = round_of(law, C, w, k_star=3, noise=0.7, **options)
                expected = limit_moments.gradient(residuals, C, w, variance=0.49, **options)
                assert error_of(computed, expected) < 1e-11


@pytest.mark.parametrize("exact", [False, True])
def test_infinite_sets_give_population_rounds(rng, exact):
    """The mean of (15) over an array of heads, and nothing off the span."""
    C, w = rng.standard_normal((4, 3)), rng.standard_normal(3)
    grad_C, grad_w, S = round_of(
        HeadMoments("array", rows=ROWS), C, w, k_star=3, alpha=0.4, noise=0.7, m_in=None,
        m_out=None, exact=exact,
    )  # fmt: skip
    of_task = exact_anil if exact else fo_anil
    parts = [of_task(C, w, np.append(row, 0.0), 0.4) for row in ROWS]
    for computed, expected in zip((grad_C, grad_w), zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(computed, np.mean(expected, axis=0), rtol=1e-12, atol=1e-13)
    assert not S.any()


@pytest.mark.parametrize("m_in", [1, 7, None])
def test_centred_heads_and_no_head_give_the_recursion_of_infinitely_many_tasks(rng, m_in):
    """(23) at w = 0, first order, any m_out."""
    M, R = rng.standard_normal((3, 2)), rng.standard_normal((2, 2))
    heads = HeadMoments("gaussian", np.zeros(3), COVARIANCE)
    grad_C, grad_w, _ = round_of(
        heads, np.vstack([M, R]), np.zeros(2), k_star=3, alpha=0.4, noise=0.7, m_in=m_in, m_out=3,
        exact=False,
    )  # fmt: skip
    expected = infinite_tasks.gradient(M, R, COVARIANCE, alpha=0.4, noise=0.7, m_in=m_in)
    np.testing.assert_allclose(grad_C, np.vstack(expected), rtol=1e-12, atol=1e-13)
    assert not grad_w.any()


# The samples of a task, and k_star, k and the rows of R.
SAMPLED = {
    "gaussian": [((1, 1), (2, 2, 1)), ((3, 2), (1, 3, 2)), ((None, 1), (2, 2, 2))],
    "sphere": [((2, 1), (3, 2, 1)), ((2, None), (2, 1, 1)), ((None, 2), (2, 2, 1))],
    "array": [((1, 3), (3, 3, 1)), ((3, 1), (2, 2, 2))],
}
ALPHA, NOISE, TASKS = 0.5, 0.6, 100_000
OFF = 4  # directions off the span of which a task's products are averaged


def start(rng, k_star, k, e):
    """C (D, k) with singular values near alpha^(-1/2), where S is small and most sensitive, and w.

    With as many columns as rows or fewer, alpha C^T C = 1.2 I.
    """
    D = k_star + e
    frame = np.linalg.qr(rng.standard_normal((max(D, k), min(D, k))))[0]
    C = np.sqrt(1.2 / ALPHA) * (frame if k <= D else frame.T)
    return C + 0.1 * rng.standard_normal((D, k)), 0.3 * rng.standard_normal(k)


def sampled_gradients(rng, C, w, heads, options):
    """Gradients of TASKS tasks by C, by w, and products of the rows of directions off the span."""
    D, k = C.shape
    theta = np.hstack([heads, np.zeros((TASKS, D + OFF - heads.shape[1]))])[:, None]
    sets = [explicit.data(rng, theta, options[m], NOISE) for m in ("m_in", "m_out")]
    B = np.repeat(np.vstack([C, np.zeros((OFF, k))])[None], TASKS, axis=0)
    method = {"alpha": ALPHA, "inner_steps": 1, "adapt_B": False, "exact": options["exact"]}
    w = np.repeat(w[None], TASKS, axis=0)
    by_B, by_w, *_ = explicit.meta_gradient(B, w, *sets, method, losses=False)
    rows = by_B[:, D:]
    products = np.einsum("ahk,ahl->akl", rows, rows) / OFF
    return {"C": by_B[:, :D], "w": by_w, "row": rows[:, 0], "S": products}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", LAWS)
def test_rounds_agree_with_sampled_tasks(rng, name, exact):
    """Samples X, z, X', z' of whole tasks, w != 0: Holm's procedure at 1e-3 for each law of heads.

    The same samples reject wrong values, those of the closed forms with a planted fault.
    """
    sampled, expected, wrong = {}, {}, {}
    for counts, (k_star, k, e) in SAMPLED[name]:
        C, w = start(rng, k_star, k, e)
        law, _, residuals, draw_heads = heads_of(name, k_star, C, w)
        options = {"alpha": ALPHA, "m_in": counts[0], "m_out": counts[1], "exact": exact}
        computed = round_of(law, C, w, k_star=k_star, noise=NOISE, **options)
        values = sampled_gradients(rng, C, w, draw_heads(rng, TASKS), options)
        means = dict(zip(("C", "w", "S"), computed, strict=True)) | {"row": np.zeros(k)}
        sampled |= {(counts, part): values[part] for part in means}
        expected |= {(counts, part): means[part] for part in means}
        for fault, planted in faults(residuals, C, w, options).items():
            new = dict(zip(("C", "w", "S"), planted, strict=True)) | {"row": np.zeros(k)}
            wrong.setdefault(fault, {}).update({(counts, part): new[part] for part in new})
    assert not refused_means(sampled, expected)
    for fault, means in wrong.items():
        assert refused_means(sampled, means), fault


def faults(residuals, C, w, options):
    """Rounds of the closed forms, each with one mistake."""
    m_in, m_out = options["m_in"], options["m_out"]
    options = {**options, "variance": NOISE**2}
    right = limit_moments.constants(m_in, m_out)
    planted = {
        "c1 = 1": {"c1": 1.0},
        "c2 = 1": {"c2": 1.0},
        "1 / m_in for 1 / m_out": {"o": right["i"]},
        "no noise": {"variance": 0.0},
    }
    if options["exact"]:
        planted["no T"] = None
    rounds = {}
    for fault, changed in planted.items():
        if changed is None:
            first = limit_moments.gradient(residuals, C, w, **{**options, "exact": False})
            rounds[fault] = (*limit_moments.gradient(residuals, C, w, **options)[:2], first[2])
        else:
            rounds[fault] = limit_moments.gradient(residuals, C, w, **{**options, **changed})
    if getattr(residuals, "kappa", 0.0):
        kappa, residuals.kappa = residuals.kappa, 0.0
        rounds["no kappa"] = limit_moments.gradient(residuals, C, w, **options)
        residuals.kappa = kappa
    return rounds
