"""The means over tasks in (23) agree with explicit gradients of very many tasks."""

import numpy as np
import pytest

import metaspan as ms
from reference import explicit, infinite_tasks

D, K_STAR, K = 5, 2, 3
SIGMA_STAR = np.array([[1.5, 0.4], [0.4, 0.6]])
ALPHA, NOISE = 0.5, 0.7
BATCHES, TASKS = 300, 1000
METHOD = {"alpha": ALPHA, "inner_steps": 1, "adapt_B": False, "exact": False}


def start():
    """M (k_star, k) and R (d - k_star, k), the rows of B where B_star is the first axes."""
    rng = np.random.default_rng(23)
    return rng.standard_normal((K_STAR, K)), 0.5 * rng.standard_normal((D - K_STAR, K))


def explicit_gradients(rng, m_in, m_out, heads):
    """Means over tasks of the gradients by B (batch, d, k) and w (batch, k), of every batch."""
    theta = heads.reshape(BATCHES, TASKS, K_STAR) @ np.eye(D, K_STAR).T
    by_B, by_w = [], []
    for part in np.split(theta, 20):
        inner = explicit.data(rng, part, m_in, NOISE)
        outer = explicit.data(rng, part, m_out, NOISE)
        B = np.repeat(np.concatenate(start())[None], len(part), axis=0)
        found = explicit.meta_gradient(B, np.zeros((len(part), K)), inner, outer, METHOD)
        by_B.append(found[0])
        by_w.append(found[1])
    return np.concatenate(by_B), np.concatenate(by_w)


@pytest.mark.parametrize(("m_in", "m_out"), [(1, 2), (3, 2), (8, 1)])
@pytest.mark.parametrize("law", ["gaussian", "sphere"])
def test_mean_gradient_is_that_of_infinitely_many_tasks(rng, law, m_in, m_out):
    """Every entry within 5 standard errors: 1e-5 for a test to err."""
    normals = rng.standard_normal((BATCHES * TASKS, K_STAR))
    if law == "gaussian":
        heads, Sigma_star = normals @ np.linalg.cholesky(SIGMA_STAR).T, SIGMA_STAR
    else:
        heads = 1.3 * normals / np.linalg.norm(normals, axis=1, keepdims=True)
        Sigma_star = 1.3**2 / K_STAR * np.eye(K_STAR)
    by_B, by_w = explicit_gradients(rng, m_in, m_out, heads)
    expected = np.concatenate(
        infinite_tasks.gradient(*start(), Sigma_star, alpha=ALPHA, noise=NOISE, m_in=m_in)
    )
    for found, mean in ((by_B, expected), (by_w, np.zeros(K))):
        error = found.std(axis=0, ddof=1) / np.sqrt(BATCHES)
        assert (abs(found.mean(axis=0) - mean) < 5 * error).all()
    # Sharp enough to notice a wrong (m + 1) / m or c: both act on this scale.
    assert 20 * (by_B.std(axis=0, ddof=1) / np.sqrt(BATCHES)).max() < abs(expected).max()


def test_infinitely_many_samples_are_population_training():
    """c = 0, against a run whose rounds take all of some heads with this second moment."""
    factor = np.linalg.cholesky(SIGMA_STAR)
    heads = np.sqrt(K_STAR) * np.concatenate([factor.T, -factor.T])
    B_star, rounds = np.eye(D, K_STAR), 200
    r = ms.train(
        ms.LinearTasks(d=D, k=K_STAR, heads=heads, B_star=B_star),
        ms.ANIL(alpha=0.3, beta=0.2, first_order=True), rounds=rounds, n=None, width=K,
        init=(np.concatenate(start()), np.zeros(K)), stop=None, threads=1,
    )  # fmt: skip
    M, R = infinite_tasks.descend(
        *start(), SIGMA_STAR, rounds, alpha=0.3, beta=0.2, noise=0.0, m_in=None
    )
    np.testing.assert_allclose(r.full_B(), np.concatenate([M, R]), atol=1e-12)


@pytest.mark.parametrize("law", [ms.GaussianHeads(cov=SIGMA_STAR), ms.SphereHeads(radius=1.3)])
@pytest.mark.parametrize("m_in", [4, 50])
def test_a_run_on_infinitely_many_tasks_follows_the_recursion(law, m_in):
    settings = dict(alpha=0.3, beta=0.2)
    Sigma_star = ms.theory.second_moment(law, K_STAR)
    tasks = ms.LinearTasks(d=D, k=K_STAR, heads=law, noise=NOISE, B_star=np.eye(D, K_STAR))
    r = ms.train(
        tasks, ms.ANIL(**settings, first_order=True), rounds=100, n=None, m_in=m_in, m_out=7,
        width=K, init=(np.concatenate(start()), np.zeros(K)), stop=None, threads=1,
    )  # fmt: skip
    M, R = infinite_tasks.descend(*start(), Sigma_star, 100, **settings, noise=NOISE, m_in=m_in)
    found_M, found_R, w = r.state
    np.testing.assert_allclose(found_M, M, atol=1e-12)
    # What the start has off the truth points anywhere: R is known up to a rotation of its rows.
    np.testing.assert_allclose(found_R.T @ found_R, R.T @ R, atol=1e-12)
    assert not w.any()
