"""Rounds of the sampled engine are gradient steps on the arrays that `LinearTasks.sample` draws."""

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS
from metaspan.methods import core_method

LAWS = ["gaussian", ms.StudentT(dof=9), "sphere", "rademacher", "uniform"]


def heads(generator, n, k):
    return generator.uniform(-1.5, 1.5, (n, k))


def by_hand(tasks, method, start, *, rounds, sizes, seed=3, trial=0):
    """B and w after some rounds of gradients on real arrays, and the losses of every round."""
    B, w, losses = start[0].astype(np.float64), start[1], []
    for t in range(rounds):
        batch = tasks.sample(**sizes, seed=seed, trial=trial, round=t)
        g = ms.meta_gradient(B, w, batch, method)
        losses.append([g.loss_in.mean(), g.loss_adapted.mean(), g.loss_out.mean()])
        beta = core_method(method).beta
        B, w = B - beta * g.B, w - beta * g.w
    return B, w, np.array(losses)


def compare(tasks, method, width, *, sizes, rounds=3, tolerance=1e-12, dtype=np.float64):
    rng = np.random.default_rng(1)
    start = (0.4 * rng.standard_normal((tasks.d, width)).astype(dtype), 0.1 * np.ones(width))
    options = {"m_out": None, **sizes} if sizes.get("shared_samples") else sizes
    names = ("loss_in", "loss_adapted", "loss_out")
    r = ms.train(
        tasks, method, rounds=rounds, engine="sampled", init=start, seed=3, record=names,
        stop=None, **options,
    )  # fmt: skip
    B, w, losses = by_hand(tasks, method, start, rounds=rounds, sizes=sizes)
    moved = np.abs(B - start[0]).max()
    assert moved > 0
    np.testing.assert_allclose(r.B, B, rtol=0, atol=tolerance * max(1, moved))
    np.testing.assert_allclose(r.w, w, rtol=0, atol=tolerance * np.abs(w).max())
    for name, column in zip(names, losses.T, strict=True):
        np.testing.assert_allclose(r.trace[name][:-1], column, rtol=100 * tolerance)
    assert r.config.engine == "sampled"
    assert r.B.dtype == dtype


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("features", LAWS, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_a_round_is_the_round_on_the_arrays_that_sample_draws(name, features, shared):
    for steps in (1, 2):
        method = METHODS[name](alpha=0.01, beta=0.05, inner_steps=steps)
        tasks = ms.LinearTasks(d=41, k=2, noise=0.3, features=features)
        sizes = {"n": 11, "m_in": 6, "m_out": 6 if shared else 9, "shared_samples": shared}
        compare(tasks, method, 3, sizes=sizes)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("d", [1, 2, 8191, 8193, 20_000])
def test_sizes_around_a_piece_of_a_row(name, d):
    method = METHODS[name](alpha=1e-4, beta=1e-3)
    tasks = ms.LinearTasks(d=d, k=1, noise=0.1)
    compare(tasks, method, 1, sizes={"n": 3, "m_in": 9, "m_out": 10}, rounds=2)


def test_rows_too_long_to_stay_are_made_again():
    """Inner sets of 26 MB a task, of which a panel of eight may keep 67 MB."""
    method = ms.MAML(alpha=1e-6, beta=1e-3, inner_steps=2)
    tasks = ms.LinearTasks(d=200_001, k=2, features="sphere")
    compare(tasks, method, 3, sizes={"n": 2, "m_in": 17, "m_out": 3}, rounds=1, tolerance=1e-11)


@pytest.mark.parametrize("spectrum", [0.0, 1.0, "array"])
def test_a_spectrum_scales_the_features(spectrum):
    given = np.linspace(0.0, 2.0, 50) if spectrum == "array" else spectrum
    tasks = ms.LinearTasks(d=50, k=3, noise=0.2, features="uniform", spectrum=given)
    compare(tasks, ms.MAML(alpha=0.05, beta=0.05), 3, sizes={"n": 4, "m_in": 5, "m_out": 6})
    roots = np.sqrt(given) if spectrum == "array" else np.arange(1.0, 51.0) ** (-0.5 * spectrum)
    plain = ms.LinearTasks(d=50, k=3, features="uniform")
    X, scaled = (law.sample(3, 4, 5, seed=1).X_in for law in (plain, tasks))
    np.testing.assert_allclose(scaled, X * roots, rtol=1e-15)


@pytest.mark.parametrize("law", [heads, np.random.default_rng(4).standard_normal((6, 2))])
def test_heads_of_a_function_and_fixed_ones(law):
    tasks = ms.LinearTasks(d=30, k=2, noise=0.2, heads=law, B_star=np.eye(30, 2))
    compare(tasks, ms.ANIL(alpha=0.05, beta=0.05), 2, sizes={"n": 6, "m_in": 5, "m_out": 6})


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_parts_that_tasks_do_not_share(shared):
    """xi on both sides, by every kind of pass: with and without Z, steps, and solved heads."""
    sizes = {"n": 11, "m_in": 6, "m_out": 6 if shared else 9, "shared_samples": shared}
    methods = [
        ms.ANIL(alpha=0.01, beta=0.05, inner_steps=2),
        ms.MAML(alpha=0.01, beta=0.05, inner_steps=2),
        ms.FedAvg(alpha=0.01, local_steps=2),
        ms.RidgeANIL(lam=0.3, beta=0.05),
        ms.AverageRisk(beta=0.05),
    ]
    tasks = ms.LinearTasks(d=41, k=2, noise=0.3, features="uniform", spread=2.0)
    for method in methods:
        compare(tasks, method, 3, sizes=sizes, tolerance=1e-11)
    tasks = ms.LinearTasks(d=8193, k=2, spread=2.0)  # more than a piece of a row
    compare(tasks, ms.ANIL(alpha=1e-4, beta=1e-3), 3, sizes=sizes, tolerance=1e-11)


def test_float32_rows_of_the_same_numbers():
    tasks = ms.LinearTasks(d=60, k=2, noise=0.2)
    method = ms.ANIL(alpha=0.05, beta=0.05)
    sizes = {"n": 6, "m_in": 5, "m_out": 6}
    compare(tasks, method, 2, sizes=sizes, tolerance=2e-6, dtype=np.float32)


def mixture(generator, m, d):
    """Rows around one of two centres: nothing that the package has a name for."""
    return generator.choice([-0.5, 0.5], (m, 1)) + generator.standard_normal((m, d))


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_features_of_a_function(shared):
    """Sets of more rows than a call draws, on several threads, with a spectrum."""
    tasks = ms.LinearTasks(d=40, k=2, noise=0.1, features=mixture, spectrum=0.5)
    sizes = {"n": 19, "m_in": 13, "m_out": 13 if shared else 18, "shared_samples": shared}
    for method in (ms.ANIL(alpha=0.05, beta=0.05), ms.MAML(alpha=0.02, beta=0.05, inner_steps=2)):
        compare(tasks, method, 3, sizes=sizes, rounds=2)


def test_what_a_function_of_features_does_wrong_is_said():
    def short(generator, m, d):
        return generator.standard_normal((m, d - 1))

    def failing(generator, m, d):
        raise RuntimeError("no more rows")

    options = {"rounds": 2, "n": 20, "m_in": 4, "m_out": 4}
    with pytest.raises(ValueError, match=r"what features\(\) returns must have shape \(4, 9\)"):
        ms.train(ms.LinearTasks(d=9, k=2, features=short), "anil", **options)
    with pytest.raises(RuntimeError, match="no more rows"):
        ms.train(ms.LinearTasks(d=9, k=2, features=failing), "anil", **options)
    tasks = ms.LinearTasks(d=9, k=2, features=mixture)
    assert ms.train(tasks, "anil", **options).config.engine == "sampled"
