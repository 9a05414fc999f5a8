"""Excess risks on new tasks agree with independently coded explicit samples in d dimensions.

Seeds are fixed. With fresh seeds each of some 150 comparisons would fail with a probability of
about 10^-6.
"""

import numpy as np
import pytest

import metaspan as ms

SIGMAS = 5.0
N = 3_000  # tasks on either side
ROUNDING = 1e-9
RIDGE = 0.07
COV = np.array([[1.0, 0.4, 0.0], [0.4, 0.7, -0.2], [0.0, -0.2, 0.5]])
MEAN = np.array([0.3, -0.5, 0.2])

# d, k, m, noise with k_star = 3: widths below, at and above the truth; nothing or little left
# over outside the coordinates; fewer samples than features, and more than dimensions.
SHAPES = {
    "square": (14, 3, 8, 0.5),
    "narrow": (12, 2, 9, 0.0),
    "wide": (20, 5, 14, 0.3),
    "no-rest": (6, 3, 14, 0.4),
    "short-rest": (8, 3, 7, 0.0),
    "few-samples": (20, 12, 3, 0.3),
    "tall": (8, 3, 40, 0.5),
}
METHODS = {
    "average-risk": ms.AverageRisk(),
    "anil-1": ms.ANIL(alpha=0.3),
    "anil-3": ms.ANIL(alpha=0.2, inner_steps=3),
    "maml-1": ms.MAML(alpha=0.1),
    "maml-2": ms.MAML(alpha=0.08, inner_steps=2, first_order=True),
}


def problem(shape):
    d, k, _, noise = SHAPES[shape]
    rng = np.random.default_rng(sorted(SHAPES).index(shape))
    B_star = np.linalg.qr(rng.standard_normal((d, 3)))[0]
    B = 0.6 * np.linalg.qr(rng.standard_normal((d, k)))[0] * rng.uniform(0.5, 1.5, k)
    B += 0.6 * B_star @ rng.standard_normal((3, k)) / np.sqrt(max(1, k / 3))
    w = 0.3 * rng.standard_normal(k)
    return B, w, B_star, noise


def draw_heads(rng, n, k=3):
    return MEAN + rng.standard_normal((n, k)) @ np.linalg.cholesky(COV).T


def tasks_of(B_star, noise, sampled):
    """A law that is known, or the same as a function, of which nothing is known."""
    heads = draw_heads if sampled else ms.GaussianHeads(cov=COV, mean=MEAN)
    d, k = B_star.shape
    return ms.LinearTasks(d=d, k=k, noise=noise, heads=heads, B_star=B_star)


def regression(F, X, y, penalty):
    """Least squares of minimum norm or ridge on X F, for every task: (n, d)."""
    Z = X @ F
    if penalty == 0.0:
        return (np.linalg.pinv(Z) @ y[:, :, None])[:, :, 0] @ F.T
    m, Zt = X.shape[1], Z.transpose(0, 2, 1)
    system = Zt @ Z / m + penalty * np.eye(F.shape[1])
    return np.linalg.solve(system, Zt @ y[:, :, None] / m)[:, :, 0] @ F.T


def inner_loop(B, w, X, y, method):
    """B_J w_J by (2), in d dimensions."""
    n, m, _ = X.shape
    B, w = np.repeat(B[None], n, axis=0), np.repeat(w[None], n, axis=0)
    for _ in range(getattr(method, "inner_steps", 0)):
        r = np.einsum("nmd,ndk,nk->nm", X, B, w, optimize=True) - y
        g = np.einsum("nmd,nm->nd", X, r) / m
        step = method.alpha * np.einsum("ndk,nd->nk", B, g)
        if isinstance(method, ms.MAML):
            B = B - method.alpha * g[:, :, None] * w[:, None, :]
        w = w - step
    return np.einsum("ndk,nk->nd", B, w)


def explicit(shape, methods, seed):
    """Excess risks (N,) of every learner, by name."""
    B, w, B_star, noise = problem(shape)
    d, _, m, _ = SHAPES[shape]
    rng = np.random.default_rng([seed, 99])
    theta = draw_heads(rng, N) @ B_star.T
    X = rng.standard_normal((N, m, d))
    y = np.einsum("nmd,nd->nm", X, theta) + noise * rng.standard_normal((N, m))
    estimates = {name: inner_loop(B, w, X, y, method) for name, method in methods.items()}
    estimates |= {
        "least_squares": regression(B, X, y, 0.0),
        "ridge": regression(B, X, y, RIDGE),
        "oracle_least_squares": regression(B_star, X, y, 0.0),
        "oracle_ridge": regression(B_star, X, y, RIDGE),
        "single_task_ridge": regression(np.eye(d), X, y, RIDGE),
    }
    return {name: 0.5 * ((found - theta) ** 2).sum(axis=1) for name, found in estimates.items()}


def heavy(name, shape):
    """Whether least squares there has no mean, or too few moments for its mean to be normal."""
    _, k, m, noise = SHAPES[shape]
    if name == "oracle_least_squares":
        return noise > 0 and abs(m - 3) < 5
    return name in ("least_squares", "learned") and abs(m - k) < 5


@pytest.mark.parametrize("shape", SHAPES)
def test_risks_are_those_of_explicit_samples(shape):
    """Means of all learners; standard errors where single tasks are drawn."""
    B, w, B_star, noise = problem(shape)
    m = SHAPES[shape][2]
    expected = explicit(shape, METHODS, seed=sorted(SHAPES).index(shape))
    known, unknown = (tasks_of(B_star, noise, sampled) for sampled in (False, True))
    found = {}
    for name, method in METHODS.items():
        short = name in ("average-risk", "anil-1")
        setting = dict(m=m, n=2 if short else N, ridge=RIDGE, seed=1)
        risk = ms.evaluate(B, w, known if short else unknown, method, **setting)
        found[name] = risk.adapted
        assert risk.adapted.exact == short
    for name in ("least_squares", "ridge", "oracle_ridge", "single_task_ridge"):
        found[name] = getattr(risk, name)
        assert not found[name].exact or heavy(name, shape)
    closed = ms.evaluate(B, w, known, "anil", m=m, n=2)
    found["oracle_least_squares"] = closed.oracle_least_squares
    found["learned"] = closed.least_squares
    expected["learned"] = expected["least_squares"]
    for name, risk in found.items():
        if heavy(name, shape) or (name == "learned" and not risk.exact):
            continue
        check_moments(risk, expected[name], name)


def check_moments(risk, draws, name):
    """Mean, and where the risk is one of single tasks variance, against explicit draws."""
    centred = draws - draws.mean()
    variance = (centred**2).mean()
    error = np.hypot(risk.standard_error, np.sqrt(variance / N))
    assert abs(risk.mean - draws.mean()) <= SIGMAS * error + ROUNDING, name
    if risk.exact or name in ("oracle_ridge", "single_task_ridge"):
        return
    error = np.sqrt(((centred**4).mean() - variance**2) * 2 / N)
    assert abs(risk.standard_error**2 * N - variance) < SIGMAS * error, name


@pytest.mark.parametrize("m", [2, 8])
@pytest.mark.parametrize("d", [2, 3, 4])
def test_every_dimension_that_is_left_counts(d, m):
    """MAML where a single dimension more would change the risk by a quarter or more."""
    rng, n, method = np.random.default_rng([d, m]), 10_000, ms.MAML(alpha=0.3)
    B, w, B_star = np.array([[0.06], [0.08], [0.0], [0.0]])[:d], np.array([2.0]), np.eye(d, 1)
    X, heads = rng.standard_normal((n, m, d)), rng.standard_normal((n, 1))
    y = X[:, :, 0] * heads + 0.5 * rng.standard_normal((n, m))
    draws = 0.5 * ((inner_loop(B, w, X, y, method) - heads @ B_star.T) ** 2).sum(axis=1)
    tasks = ms.LinearTasks(d=d, k=1, noise=0.5, B_star=B_star)
    risk = ms.evaluate(B, w, tasks, method, m=m, n=n).adapted
    error = np.hypot(risk.standard_error, draws.std() / np.sqrt(n))
    assert abs(risk.mean - draws.mean()) < SIGMAS * error


@pytest.mark.parametrize(
    ("m", "d", "noise"),
    [(1, 13, 0.8), (4, 10**12, 0.8), (9, 13, 0.0), (9, 10**12, 0.8), (30, 13, 0.8)],
)
def test_closed_forms_are_the_means_of_samples(m, d, noise):
    """Heads are a law and a function, at k_star = 4; for ANIL, MAML from w = 0, and regressions."""
    rng = np.random.default_rng(m)
    M, R, w = 0.5 * np.eye(4), 0.2 * rng.standard_normal((4, 4)), 0.3 * rng.standard_normal(4)
    law, unknown = (
        ms.LinearTasks(d=d, k=4, noise=noise, heads=heads)
        for heads in (ms.SphereHeads(radius=1.5), sphere)
    )
    pairs = []
    for method, head in ((ms.MAML(alpha=0.7), np.zeros(4)), (ms.ANIL(alpha=0.7), w)):
        exact = ms.evaluate((M, R), head, law, method, m=m, n=2, ridge=0.0)
        found = ms.evaluate((M, R), head, unknown, method, m=m, n=6_000, ridge=0.0, seed=3)
        pairs.append((exact.adapted, found.adapted))
    assert all(risk.exact and not other.exact for risk, other in pairs)
    pairs.append((exact.oracle_least_squares, found.oracle_least_squares))
    pairs.append((exact.single_task_ridge, found.single_task_ridge))
    if m >= 9:  # four moments
        pairs.append((exact.least_squares, found.least_squares))
    for risk, other in pairs:
        allowed = SIGMAS * other.standard_error + ROUNDING
        assert risk.mean == other.mean or abs(risk.mean - other.mean) < allowed


def sphere(generator, n, k):
    heads = generator.standard_normal((n, k))
    return 1.5 * heads / np.linalg.norm(heads, axis=1, keepdims=True)


def test_learned_features_are_sampled_where_the_truth_lies_off_them():
    """Least squares with an unknown law, m = 30, against the closed form of the law."""
    M, R = np.eye(3, 2), 0.5 * np.ones((2, 2))
    law, unknown = (
        ms.LinearTasks(d=10**6, k=3, noise=0.2, heads=heads)
        for heads in (ms.GaussianHeads(cov=COV, mean=MEAN), draw_heads)
    )
    exact = ms.evaluate((M, R), np.zeros(2), law, "anil", m=30).least_squares
    found = ms.evaluate((M, R), np.zeros(2), unknown, "anil", m=30, n=10_000).least_squares
    assert exact.exact
    assert not found.exact
    assert found.standard_error < 0.02 * exact.mean
    assert abs(found.mean - exact.mean) < SIGMAS * found.standard_error


@pytest.mark.parametrize(("m", "d"), [(5, 40), (20, 40), (60, 40), (3, 4), (7, 7)])
def test_eigenvalue_sums_are_those_of_a_wishart_matrix(m, d):
    """Single-task ridge with noise, at a penalty that matters, against traces of X^T X."""
    rng = np.random.default_rng(d + m)
    X = rng.standard_normal((4000, m, d))
    t = np.linalg.svd(X, compute_uv=False) ** 2
    c, variance = 0.8 * d, 0.6**2
    traces = (c / (t + c)) ** 2, t / (t + c) ** 2
    kept = (d - t.shape[1]) + traces[0].sum(axis=1)
    expected = 0.5 * (2.0 / d * kept + variance * traces[1].sum(axis=1))
    tasks = ms.LinearTasks(d=d, k=2, noise=0.6)  # E ||theta||^2 = 2
    state = np.eye(2), np.zeros((0, 2))
    found = ms.evaluate(state, np.zeros(2), tasks, "anil", m=m, n=4000, ridge=c / m)
    error = np.hypot(found.single_task_ridge.standard_error, expected.std() / np.sqrt(4000))
    assert abs(found.single_task_ridge.mean - expected.mean()) < SIGMAS * error
    ratio = found.single_task_ridge.standard_error * np.sqrt(4000) / expected.std()
    assert 0.8 < ratio < 1.25


@pytest.mark.parametrize("shape", ["square", "narrow", "no-rest", "few-samples", "tall"])
def test_risks_include_the_parts_that_tasks_do_not_share(shape):
    """(33): closed forms and samples against explicit tasks in d dimensions."""
    B, w, B_star, noise = problem(shape)
    (d, _, m, _), spread = SHAPES[shape], 1.3
    rng = np.random.default_rng([sorted(SHAPES).index(shape), 33])
    theta = draw_heads(rng, N) @ B_star.T + spread / np.sqrt(d) * rng.standard_normal((N, d))
    X = rng.standard_normal((N, m, d))
    y = np.einsum("nmd,nd->nm", X, theta) + noise * rng.standard_normal((N, m))
    known, unknown = (
        ms.LinearTasks(d=d, k=3, noise=noise, heads=heads, B_star=B_star, spread=spread)
        for heads in (ms.GaussianHeads(cov=COV, mean=MEAN), draw_heads)
    )
    for name, method in METHODS.items():
        short = name in ("average-risk", "anil-1")
        draws = 0.5 * ((inner_loop(B, w, X, y, method) - theta) ** 2).sum(axis=1)
        for tasks in (known, unknown):
            risk = ms.evaluate(B, w, tasks, method, m=m, n=N, ridge=RIDGE, seed=4)
            assert risk.adapted.exact == (short and tasks is known)
            error = np.hypot(risk.adapted.standard_error, draws.std() / np.sqrt(N))
            assert abs(risk.adapted.mean - draws.mean()) < SIGMAS * error, name
    for name, F, penalty in (
        ("least_squares", B, 0.0),
        ("ridge", B, RIDGE),
        ("oracle_least_squares", B_star, 0.0),
        ("oracle_ridge", B_star, RIDGE),
        ("single_task_ridge", np.eye(d), RIDGE),
    ):
        if penalty == 0.0 and abs(m - F.shape[1]) < 5:
            continue  # too few moments
        draws = 0.5 * ((regression(F, X, y, penalty) - theta) ** 2).sum(axis=1)
        for tasks in (known, unknown):
            fitted = ms.evaluate(B, w, tasks, "anil", m=m, n=N, seed=5, ridge=penalty)
            risk = getattr(fitted, name)
            error = np.hypot(risk.standard_error, draws.std() / np.sqrt(N))
            assert abs(risk.mean - draws.mean()) < SIGMAS * error, name
