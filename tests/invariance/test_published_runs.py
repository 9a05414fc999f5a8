"""Runs reproduce published statements and figures about the methods, with fixed seeds.

Panels of Collins, Mokhtari, Oh, Shakkottai (ICML 2022): d = 20, n = k = 3, population losses,
fresh heads. Expected values are geometric means over a few seeds, to about 20 % of their logarithm.
"""

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS


def typical_dist(method, mu_squared, at, **settings):
    """Geometric mean over twenty trials of dist at some rounds."""
    heads = ms.GaussianHeads(cov=np.diag([1.0, 1.0, mu_squared]))
    r = ms.train(
        ms.LinearTasks(d=20, k=3, heads=heads), method, rounds=max(at), n=3, seed=1, trials=20,
        stop=None, record_every=50, **settings,
    )  # fmt: skip
    assert all(status == ms.Status.FINISHED for status in r.status)
    rows = np.searchsorted(r.trace["round"], at)
    return np.exp(np.log(r.trace["dist"][:, rows]).mean(0))


@pytest.mark.parametrize("name", METHODS)
def test_four_methods_recover_the_subspace_alike(name):
    method = METHODS[name](alpha=0.1, beta=0.1)
    found = np.log10(typical_dist(method, 1.0, [150, 750, 1500]))
    np.testing.assert_allclose(found, np.log10([9e-1, 5e-3, 3e-6]), rtol=0.25, atol=0.1)


@pytest.mark.parametrize(("mu_squared", "expected"), [(0.5, 1e-3), (0.1, 0.4), (0.01, 0.9)])
def test_less_diverse_tasks_are_slower(mu_squared, expected):
    for name in METHODS:
        found = np.log10(typical_dist(METHODS[name](alpha=0.1, beta=0.1), mu_squared, [1500]))
        np.testing.assert_allclose(found, np.log10([expected]), rtol=0.25, atol=0.15)


def test_average_risk_does_not_recover_the_subspace():
    found = typical_dist(ms.AverageRisk(beta=0.1), 1.0, [0, 150, 750, 1500])
    assert found.min() > 0.9


def test_a_mean_head_spoils_maml_more_than_anil():
    """Heads N(10 1, I) from a start at distance 0.7 with small steps, for 10^4 rounds."""

    def train(method):
        heads = ms.GaussianHeads(mean=np.full(3, 10.0))
        return ms.train(
            ms.LinearTasks(d=20, k=3, heads=heads), method, rounds=10_000, n=3, seed=0, trials=5,
            init=ms.Init(dist=0.7), stop=None, record_every=100,
        )  # fmt: skip

    steps = {"alpha": 0.03, "beta": 0.01}
    for first_order in (True, False):
        r = train(ms.ANIL(first_order=first_order, **steps))
        assert all(status == ms.Status.FINISHED for status in r.status)
        at_end = np.median(r.trace["dist"][:, -1])
        assert 0.01 < at_end < 0.2
    maml = train(ms.MAML(**steps))
    assert np.median(maml.trace["dist"][:, -1]) > at_end
    with pytest.warns(ms.DivergenceWarning, match="diverged"):
        fo_maml = train(ms.MAML(first_order=True, **steps))
    assert any(status == ms.Status.DIVERGED for status in fo_maml.status)
    baseline = train(ms.AverageRisk(beta=0.01))
    np.testing.assert_allclose(baseline.trace["dist"][:, 0], 0.7, rtol=1e-12)
    assert np.median(baseline.trace["dist"][:, -1]) > 0.6


def test_methodical_start_is_at_its_distance():
    """All principal angles are equal, alpha B_0^T B_0 = I, and w_0 = 0."""
    r = ms.train(
        ms.LinearTasks(d=20, k=3), ms.ANIL(alpha=0.2), rounds=0, n=3, trials=4, init="methodical",
        stop=None, record=("angles", "delta_norm", "w_norm"),
    )  # fmt: skip
    np.testing.assert_allclose(np.sin(r.trace["angles"]), 0.7, rtol=1e-12)
    assert r.trace["delta_norm"].max() < 1e-14
    assert r.trace["w_norm"].max() == 0
