"""Population training agrees with plain iteration in d dimensions."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import METHODS, reference_method, relative_error

ROUNDS = 200


def given_start(rng, d, width, k_star, alpha):
    """An explicit ground truth and a start with alpha B_0^T B_0 below I and w_0 off zero."""
    B_star = ref.frame(rng, d, k_star)
    B0 = 0.7 * ref.frame(rng, d, width) / np.sqrt(alpha) + 0.1 * rng.standard_normal((d, width))
    return B_star, B0, 0.2 * rng.standard_normal(width)


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_fixed_heads_follow_direct_descent(rng, name, inner_steps, width):
    method = METHODS[name](alpha=0.1, beta=0.05, inner_steps=inner_steps)
    B_star, B0, w0 = given_start(rng, 12, width, 3, 0.1)
    heads = 0.7 * rng.standard_normal((4, 3))
    tasks = ms.LinearTasks(d=12, k=3, heads=heads, B_star=B_star)
    r = ms.train(
        tasks, method, rounds=ROUNDS, n=4, width=width, init=(B0, w0), stop=None,
        record=("dist", "angles", "loss_out", "w_norm", "delta_norm", "sigma_min", "sigma_max"),
    )  # fmt: skip
    states = ref.descend(B0, w0, B_star, [heads] * ROUNDS, reference_method(method))
    B, w = states[-1]
    assert relative_error(r.B, B) < 1e-11
    assert relative_error(r.w, w) < 1e-11
    np.testing.assert_array_equal(r.trace["round"], np.arange(ROUNDS + 1))
    losses = [
        ref.meta_loss(B, w, ref.population_tasks(B_star, heads), reference_method(method))
        for B, w in states
    ]
    assert relative_error(r.trace["loss_out"], losses) < 1e-11
    assert relative_error(r.trace["w_norm"], [np.linalg.norm(w) for _, w in states]) < 1e-11
    defects = [ref.step_defect(B, method.alpha) for B, _ in states]
    assert relative_error(r.trace["delta_norm"], defects) < 1e-11
    spectra = np.array([ref.singular_values(B) for B, _ in states])
    assert relative_error(r.trace["sigma_max"], spectra[:, 0]) < 1e-11
    assert relative_error(r.trace["sigma_min"], spectra[:, -1]) < 1e-11
    np.testing.assert_allclose(
        r.trace["dist"], [ref.distance(B, B_star) for B, _ in states], rtol=1e-10, atol=1e-14
    )
    sines = [ref.principal_sines(B, B_star)[-min(width, 3) :] for B, _ in states]
    np.testing.assert_allclose(np.sin(r.trace["angles"]), sines, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_fresh_heads_follow_direct_descent(rng, name):
    """Heads of the user's own law, new in every round and each used in its own."""
    method = METHODS[name](alpha=0.1, beta=0.1)
    B_star, B0, w0 = given_start(rng, 9, 3, 2, 0.1)
    drawn = []

    def law(generator, n, k_star):
        drawn.append(generator.standard_normal((n, k_star)))
        return drawn[-1]

    tasks = ms.LinearTasks(d=9, k=2, heads=law, B_star=B_star, noise=0.5)
    r = ms.train(
        tasks, method, rounds=ROUNDS, n=5, width=3, init=(B0, w0), stop=None, record=("loss_out",)
    )
    rounds = {heads.tobytes(): heads for heads in drawn}  # a head may be asked for more than once
    heads = list(rounds.values())[:ROUNDS]
    states = ref.descend(B0, w0, B_star, heads, reference_method(method))
    assert relative_error(r.B, states[-1][0]) < 1e-11
    assert relative_error(r.w, states[-1][1]) < 1e-11
    losses = [
        ref.meta_loss(B, w, ref.population_tasks(B_star, h, 0.5), reference_method(method))
        for (B, w), h in zip(states, heads, strict=False)
    ]
    assert relative_error(r.trace["loss_out"][:ROUNDS], losses) < 1e-11


def test_average_risk_follows_direct_descent(rng):
    method = ms.AverageRisk(beta=0.1)
    B_star, B0, w0 = given_start(rng, 9, 3, 3, 1.0)
    heads = rng.standard_normal((4, 3)) + 1
    tasks = ms.LinearTasks(d=9, k=3, heads=heads, B_star=B_star)
    r = ms.train(tasks, method, rounds=ROUNDS, n=4, init=(B0, w0), stop=None)
    B, w = ref.descend(B0, w0, B_star, [heads] * ROUNDS, reference_method(method))[-1]
    assert relative_error(r.B, B) < 1e-11
    assert relative_error(r.w, w) < 1e-11


def test_records_of_heads_and_of_the_complement(rng):
    """Compares the remaining records of (21) at every round of a short run."""
    method = ms.MAML(alpha=0.1, beta=0.1, inner_steps=2)
    B_star, B0, w0 = given_start(rng, 9, 4, 3, 0.1)
    heads = rng.standard_normal((6, 3)) + 0.5
    tasks = ms.LinearTasks(d=9, k=3, heads=heads, B_star=B_star, noise=0.3)
    names = (
        "loss_in",
        "loss_adapted",
        "perp_norm",
        "diversity_min",
        "diversity_max",
        "mu",
        "L",
        "eta",
    )
    r = ms.train(tasks, method, rounds=20, n=6, width=4, init=(B0, w0), stop=None, record=names)
    off = np.eye(9) - B_star @ B_star.T
    data = [inner for inner, _ in ref.population_tasks(B_star, heads, 0.3)]
    model = reference_method(method)
    rows = []
    for B, w in ref.descend(B0, w0, B_star, [heads] * 20, model):
        before = np.mean([task.loss(B, w) for task in data])
        after = np.mean([task.loss(*ref.adapt(B, w, task, model)) for task in data])
        learned = ref.adapted_diversity(B, w, data, model)
        perp = np.linalg.norm(off @ B, 2)
        rows.append((before, after, perp, *learned, *ref.head_spectrum(heads)))
    for name, column in zip(names, np.array(rows).T, strict=True):
        assert relative_error(r.trace[name], column) < 1e-11, name


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("trial", [0, 4])
def test_implicit_ground_truth_materialises_the_same_run(trial, width):
    """full_B lies to the tasks' own B_star as the state and the records say."""
    tasks = ms.LinearTasks(d=15, k=3)
    r = ms.train(
        tasks, ms.ANIL(), rounds=40, n=4, width=width, seed=5, trials=range(trial, trial + 1),
        stop=None, record=("dist", "angles", "sigma_min", "sigma_max", "perp_norm",
                           "signal_min", "signal_max"),
    )  # fmt: skip
    B, B_star = r.full_B(), tasks.ground_truth(seed=5, trial=trial)
    M, R, _ = r.state
    assert relative_error(B.T @ B, M.T @ M + R.T @ R) < 1e-13
    assert relative_error(B_star.T @ B, M) < 1e-13
    last = {name: values[-1] for name, values in r.trace.items()}
    assert last["dist"] == pytest.approx(ref.distance(B, B_star), rel=1e-11)
    sines = ref.principal_sines(B, B_star)[-min(width, 3) :]
    np.testing.assert_allclose(np.sin(last["angles"]), sines, rtol=1e-11)
    assert last["sigma_max"] == pytest.approx(ref.singular_values(B)[0], rel=1e-12)
    assert last["sigma_min"] == pytest.approx(ref.singular_values(B)[-1], rel=1e-12)
    signal = ref.singular_values(B_star.T @ B)[: min(width, 3)]
    assert last["signal_max"] == pytest.approx(signal[0], rel=1e-12)
    assert last["signal_min"] == pytest.approx(signal[-1], rel=1e-12)
    assert last["perp_norm"] == pytest.approx(ref.singular_values(R)[0], rel=1e-12)


def test_drawn_heads_follow_direct_descent(rng):
    """Heads have a mean and a covariance; those of round t of trial i are draw_heads of (t, i)."""
    cov, mean = np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([0.2, -0.1])
    method, rounds, trial = ms.MAML(alpha=0.1, beta=0.1), 50, 3
    B_star, B0, w0 = given_start(rng, 9, 2, 2, 0.1)
    tasks = ms.LinearTasks(d=9, k=2, heads=ms.GaussianHeads(cov=cov, mean=mean), B_star=B_star)
    r = ms.train(
        tasks, method, rounds=rounds, n=7, init=(B0, w0), seed=11, trials=range(trial, trial + 1),
        stop=None, record=("dist", "eta"),
    )  # fmt: skip
    heads = [tasks.draw_heads(7, seed=11, trial=trial, round=t) for t in range(rounds + 1)]
    states = ref.descend(B0, w0, B_star, heads[:-1], reference_method(method))
    assert relative_error(r.B, states[-1][0]) < 1e-12
    assert relative_error(r.w, states[-1][1]) < 1e-12
    etas = [ref.head_spectrum(h)[2] for h in heads]
    np.testing.assert_allclose(r.trace["eta"], etas, rtol=1e-12)
