"""Features with independent entries: the law of 10^7 draws, and the law of runs on them."""

import numpy as np
from scipy import stats

import metaspan as ms
from metaspan._core_types import FeatureLaw
from metaspan._load import core

N, M, D = 10, 1000, 1000  # 10^7 entries


def entries(name):
    return core.features(
        FeatureLaw(name), None, 7, 0, 0, core.STREAM_FEATURES_IN, N, M, D, "float64", 1
    )


def test_rademacher_entries_are_signs_of_fair_coins():
    """Counts of signs, of neighbours in a row, and of columns across rows: p > 1e-5 each."""
    X = entries("rademacher")
    assert set(np.unique(X)) == {-1.0, 1.0}
    for products in (X, X[:, :, 1:] * X[:, :, :-1], X[:, 1:] * X[:, :-1], X[1:] * X[:-1]):
        assert stats.binomtest(int((products > 0).sum()), products.size).pvalue > 1e-5
    by_column = (X > 0).reshape(-1, D).sum(axis=0)  # binomial, each
    z = (by_column - N * M / 2) / np.sqrt(N * M / 4)
    assert stats.kstest(z, stats.norm.cdf).pvalue > 1e-5


def test_uniform_entries():
    """The law, moments up to the fourth, and correlations of neighbours: 5 standard errors."""
    X = entries("uniform")
    half = np.sqrt(3.0)
    assert np.abs(X).max() < half
    assert stats.kstest(X.reshape(-1)[::7], stats.uniform(-half, 2 * half).cdf).pvalue > 1e-5
    for power, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 9 / 5)):
        values = X**power
        assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(X.size)
    for products in (X[:, :, 1:] * X[:, :, :-1], X[:, 1:] * X[:, :-1], X[1:] * X[:-1]):
        assert abs(products.mean()) < 5 / np.sqrt(products.size)


def test_sampled_runs_have_the_law_of_collapsed_ones():
    """2,000 runs a side of exact MAML, two-sample Kolmogorov-Smirnov of four records: p > 1e-5.

    Seen by it: a fifth of a standard deviation.
    """
    for features in ("gaussian", "sphere"):
        tasks = ms.LinearTasks(d=12, k=2, noise=0.3, features=features)
        records = ("dist", "w_norm", "sigma_max", "loss_out")
        sides = [
            ms.train(
                tasks,
                ms.MAML(alpha=0.03, beta=0.1, inner_steps=2),
                rounds=3,
                n=3,
                m_in=3,
                m_out=4,
                engine=engine,
                seed=11,
                trials=2000,
                init=ms.Init(scale=1.0),
                stop=None,
                record=records,
                threads=1,
            ).trace
            for engine in ("sampled", "collapsed")
        ]
        for name in records:
            ends = [side[name][:, -1] for side in sides]
            assert stats.ks_2samp(*ends).pvalue > 1e-5, (features, name)
