"""Training on population losses of features with a diagonal covariance Sigma.

The expected values are gradient steps on the design sqrt(d) Sigma^(1/2), which has these losses.
"""

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS, assert_same_bits
from reference import explicit

LOSSES = ("loss_in", "loss_adapted", "loss_out")


def descent(tasks, method, start, *, rounds, n, seed):
    """Iterate rounds directly; return B, w and the mean losses of every round."""
    B, w, rows = start[0], start[1], []
    roots = np.sqrt(tasks.d) * np.diag(tasks.roots)
    of_method = {
        "alpha": getattr(method, "alpha", 0.0),
        "inner_steps": getattr(method, "inner_steps", 0),
        "adapt_B": isinstance(method, ms.MAML),
        "exact": not getattr(method, "first_order", True),
    }
    for t in range(rounds):
        theta = tasks.draw_heads(n, seed=seed, round=t) @ tasks.B_star.T
        X = np.broadcast_to(roots, (1, n, *roots.shape))
        data = (X, (theta @ roots)[None], tasks.noise**2)
        by_B, by_w, _, losses = explicit.meta_gradient(B[None], w[None], data, data, of_method)
        rows.append([loss.mean() for loss in losses])
        B, w = B - method.beta * by_B[0], w - method.beta * by_w[0]
    return B, w, np.array(rows)


@pytest.mark.parametrize("spectrum", [0.0, 0.7, "array"])
@pytest.mark.parametrize("sizes", [(12, 2, 2, 5), (7, 3, 2, 9), (30, 2, 3, 21)])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_runs_agree_with_descent_on_the_design(name, steps, sizes, spectrum, rng):
    d, k, k_star, n = sizes
    given = np.linspace(0.0, 1.5, d) if spectrum == "array" else spectrum
    B_star = np.linalg.qr(rng.standard_normal((d, k_star)))[0]
    tasks = ms.LinearTasks(d=d, k=k_star, noise=0.3, spectrum=given, B_star=B_star)
    method = METHODS[name](alpha=0.1, beta=0.1, inner_steps=steps)
    start = (0.5 * rng.standard_normal((d, k)), 0.2 * rng.standard_normal(k))
    r = ms.train(tasks, method, rounds=4, n=n, init=start, seed=2, record=LOSSES, stop=None)
    assert r.config.engine == "population"
    B, w, losses = descent(tasks, method, start, rounds=4, n=n, seed=2)
    np.testing.assert_allclose(r.B, B, rtol=0, atol=1e-13 * np.abs(B).max())
    np.testing.assert_allclose(r.w, w, rtol=0, atol=1e-13)
    for i, record in enumerate(LOSSES):
        np.testing.assert_allclose(r.trace[record][:-1], losses[:, i], rtol=1e-12)


def test_average_risk_too(rng):
    B_star = np.linalg.qr(rng.standard_normal((12, 2)))[0]
    tasks = ms.LinearTasks(d=12, k=2, spectrum=1.0, B_star=B_star)
    start = (0.5 * rng.standard_normal((12, 2)), 0.2 * rng.standard_normal(2))
    method = ms.AverageRisk(beta=0.1)
    r = ms.train(tasks, method, rounds=3, n=4, init=start, seed=2, record="w_norm", stop=None)
    B, w, _ = descent(tasks, method, start, rounds=3, n=4, seed=2)
    np.testing.assert_allclose(r.B, B, rtol=0, atol=1e-14)
    np.testing.assert_allclose(r.w, w, rtol=0, atol=1e-14)


def test_a_spectrum_of_ones_is_the_population_itself(rng):
    """The same heads, coordinates against full size: 1e-12 after 200 rounds."""
    start = (rng.standard_normal((50, 3)), np.zeros(3))
    runs = []
    for spectrum in (None, np.ones(50)):
        tasks = ms.LinearTasks(d=50, k=3, spectrum=spectrum)
        options = {"rounds": 200, "n": 10, "init": start, "record": ("dist", "loss_out")}
        runs.append(ms.train(tasks, "maml", alpha=0.02, beta=0.1, stop=None, **options))
    for record in ("dist", "loss_out"):
        np.testing.assert_allclose(runs[1].trace[record], runs[0].trace[record], rtol=1e-10)
    np.testing.assert_allclose(runs[1].B, runs[0].B, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", METHODS)
def test_bits_do_not_depend_on_threads_company_or_interruptions(name, tmp_path):
    method = METHODS[name](alpha=0.05, beta=0.1, inner_steps=2)
    tasks = ms.LinearTasks(d=5000, k=2, noise=0.1, spectrum=0.4)
    options = {"rounds": 6, "n": 40, "seed": 3, "record": ("dist", "loss_out"), "stop": None}
    one = ms.train(tasks, method, threads=1, **options)
    for threads in (2, 4):
        assert_same_bits(ms.train(tasks, method, threads=threads, **options), one)
    many = ms.train(tasks, method, trials=3, **options)
    np.testing.assert_array_equal(many.B[0], one.B)
    path = tmp_path / "run.npz"
    ms.train(tasks, method, checkpoint=path, **{**options, "rounds": 2})
    assert_same_bits(ms.train(tasks, method, checkpoint=path, **options), one)
    one.save(tmp_path / "result.npz")
    assert_same_bits(ms.load(tmp_path / "result.npz"), one)


def test_samples_of_a_spectrum_tend_to_its_population(rng):
    """With many samples a task, the losses are within a few per cent of the population's."""
    tasks = ms.LinearTasks(d=40, k=2, noise=0.2, spectrum=0.6, heads=rng.standard_normal((3, 2)))
    options = {"n": 3, "rounds": 3, "init": ms.Init(scale=1.0), "seed": 1, "stop": None}
    options |= {"record": ("loss_in", "loss_out", "w_norm"), "alpha": 0.1, "beta": 0.1}
    exact = ms.train(tasks, "anil", **options)
    near = ms.train(tasks, "anil", m_in=20_000, m_out=20_000, **options)
    assert (exact.config.engine, near.config.engine) == ("population", "sampled")
    for record in ("loss_in", "loss_out", "w_norm"):
        np.testing.assert_allclose(near.trace[record], exact.trace[record], rtol=0.05, atol=1e-3)
