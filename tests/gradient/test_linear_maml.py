"""LinearMAML: gradients against its loss written out, and the same rounds on every engine."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
import reference as ref
from matching import assert_one_sentence, assert_same_bits, batch_of, problem, relative_error
from metaspan.runs import codec
from reference import family

METHODS = {
    "negative": ms.LinearMAML(alpha=-0.1, beta=0.05),
    "positive": ms.LinearMAML(alpha=0.03, beta=0.05),
    "two-steps": ms.LinearMAML(alpha=0.02, beta=0.05, inner_steps=2),
    "first-order": ms.LinearMAML(alpha=-0.05, beta=0.05, first_order=True),
    "no-step": ms.LinearMAML(beta=0.05, inner_steps=0),
}
HEADS = ms.GaussianHeads(mean=[1.0, -0.5])


def loss_of(tasks, method):
    """The mean outer loss at the adapted vectors."""

    def loss(B, w):
        total = 0.0
        for inner, outer in tasks:
            steps = (method.alpha, method.inner_steps)
            total += outer.loss(*family.local_steps(B, w, inner, *steps, adapt_head=False))
        return total / len(tasks)

    return loss


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "first-order"])
def test_the_exact_gradient_is_that_of_the_loss_written_out(rng, name, route):
    B, _, tasks = problem(rng, d=9, width=1, k_star=2, m_in=(5, 4, 8), m_out=(4, 7, 1))
    method, w = METHODS[name], np.ones(1)
    g = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    loss = loss_of(tasks, method)
    assert relative_error(g.B, ref.complex_step(loss, B, w)[0]) < 1e-11
    assert relative_error(g.B, ref.central_differences(loss, B, w, 1e-3)[0]) < 1e-9
    assert relative_error(g.loss_out.mean(), loss(B, w)) < 1e-12


@pytest.mark.parametrize("route", ["gram", "vector"])
def test_the_first_order_gradient_is_taken_at_the_adapted_vectors(rng, route):
    B, _, tasks = problem(rng, d=9, width=1, k_star=2, m_in=(5, 4, 8), m_out=(4, 7, 1))
    method, w = METHODS["first-order"], np.ones(1)
    expected = [
        outer.feature_gradient(*family.local_steps(B, w, inner, method.alpha, 1, adapt_head=False))
        for inner, outer in tasks
    ]
    g = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    assert relative_error(g.B[:, 0], np.mean(expected, axis=0)) < 1e-12


@pytest.mark.parametrize("name", METHODS)
def test_adapt_returns_the_adapted_vectors(rng, name):
    B, _, tasks = problem(rng, d=9, width=1, k_star=2, m_in=(5, 5, 5), m_out=(4, 4, 4))
    batch, method = batch_of(tasks), METHODS[name]
    heads, moved = ms.adapt(B, [1.0], batch.X_in, batch.y_in, method, return_B=True)
    assert (heads == 1.0).all()
    steps = (method.alpha, method.inner_steps)
    for theta, (inner, _) in zip(moved, tasks, strict=True):
        expected = family.local_steps(B, np.ones(1), inner, *steps, adapt_head=False)[0]
        assert relative_error(theta, expected) < 1e-12


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("name", METHODS)
def test_rounds_on_data_start_at_zero_and_follow_the_gradient(rng, name, route):
    _, _, tasks = problem(rng, d=31, width=1, k_star=3, m_in=(8, 6, 9), m_out=(3, 2, 7))
    batch, method, B = batch_of(tasks), METHODS[name], np.zeros((31, 1))
    r = ms.train(batch, method, rounds=5, route=route)
    for _ in range(5):
        B = B - method.beta * ms.meta_gradient(B, [1.0], batch, method, route="gram").B
    assert relative_error(r.B, B) < 1e-10
    assert r.w.tolist() == [1.0]


@pytest.mark.parametrize("name", METHODS)
def test_sampled_rounds_are_those_on_the_arrays_that_sample_draws(name):
    method, tasks, B = METHODS[name], ms.LinearTasks(d=21, k=2, noise=0.3), np.zeros((21, 1))
    sizes = {"n": 7, "m_in": 13, "m_out": 9}
    r = ms.train(tasks, method, rounds=3, engine="sampled", seed=3, **sizes)
    for t in range(3):
        batch = tasks.sample(**sizes, seed=3, round=t)
        B = B - method.beta * ms.meta_gradient(B, [1.0], batch, method).B
    assert relative_error(r.B, B) < 1e-11


@pytest.mark.parametrize("name", METHODS)
def test_collapsed_rounds_on_a_spread_have_the_law_of_sampled_ones(name):
    """A correct law fails with a probability of at most 1e-3; without the spread, all fail."""
    tasks = ms.LinearTasks(d=5, k=2, noise=0.3, heads=HEADS, spread=1.5)
    run = {"rounds": 2, "n": 3, "m_in": 4, "m_out": 3, "trials": 2000, "stop": None, "threads": 1}
    record = ("dist", "sigma_max", "perp_norm", "loss_in", "loss_adapted", "loss_out")
    sampled, collapsed, wrong = (
        ms.train(law, METHODS[name], engine=engine, seed=seed, record=record, **run).trace
        for seed, (law, engine) in enumerate(
            [
                (tasks, "sampled"),
                (tasks, "collapsed"),
                (dataclasses.replace(tasks, spread=0.0), "collapsed"),
            ]
        )
    )
    bound = 1e-3 / (len(record) * len(METHODS))
    p, caught = (
        [stats.ks_2samp(sampled[r][:, -1], other[r][:, -1]).pvalue for r in record]
        for other in (collapsed, wrong)
    )
    assert min(p) > bound
    assert min(caught) < bound


@pytest.mark.parametrize("spectrum", [None, 0.7])
@pytest.mark.parametrize("name", METHODS)
def test_population_rounds_are_those_written_out(rng, name, spectrum):
    method, d, heads = METHODS[name], 12, rng.standard_normal((4, 2))
    B_star = np.ascontiguousarray(np.eye(d, 2))
    tasks = ms.LinearTasks(d=d, k=2, heads=heads, B_star=B_star, spectrum=spectrum)
    r = ms.train(tasks, method, rounds=5, n=4)
    roots = np.arange(1.0, d + 1) ** (-0.5 * (spectrum or 0.0))
    X = np.repeat((np.sqrt(d) * np.diag(roots))[None], 4, axis=0)
    batch, B = ms.TaskBatch(X, np.einsum("nij,nj->ni", X, heads @ B_star.T)), np.zeros((d, 1))
    for _ in range(5):
        B = B - method.beta * ms.meta_gradient(B, [1.0], batch, method, route="gram").B
    assert relative_error(r.full_B() if r.B is None else r.B, B) < 1e-10


ENGINES = {
    "population": {},
    "collapsed": {"m_in": 4, "m_out": 3},
    "inner infinite": {"m_in": None, "m_out": 3},
    "outer infinite": {"m_in": 4, "m_out": None},
    "pool": {"m_in": 4, "m_out": 3, "pool": 6},
    "shared": {"m_in": 4, "shared_samples": True},
    "sampled": {"m_in": 4, "m_out": 3, "engine": "sampled"},
}
RECORD = ("dist", "angles", "delta_norm", "sigma_min", "sigma_max", "perp_norm", "loss_in",
          "loss_adapted", "loss_out", "w_norm", "diversity_min", "mu")  # fmt: skip


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_records_of_a_zero_start_are_defined(engine, k):
    tasks = ms.LinearTasks(d=9, k=k, noise=0.1, heads=ms.GaussianHeads(mean=np.ones(k)))
    run = {"rounds": 4, "n": 5, "record": RECORD, **ENGINES[engine]}
    r = ms.train(tasks, "linear-maml", alpha=-0.05, **run)
    assert r.status == ms.Status.FINISHED
    assert all(np.isfinite(values).all() for values in r.trace.values())
    assert r.trace["dist"][0] == 1.0
    assert r.trace["angles"][0] == pytest.approx(np.pi / 2)
    assert r.trace["sigma_max"][0] == r.trace["perp_norm"][0] == 0.0


@pytest.mark.parametrize("engine", ENGINES)
def test_bits_depend_on_neither_threads_nor_an_interruption(engine, tmp_path):
    tasks = ms.LinearTasks(d=9, k=2, noise=0.1, heads=HEADS)
    run = {"n": 6 if engine == "pool" else 40, "seed": 2, **ENGINES[engine]}
    method, path = METHODS["negative"], tmp_path / "run.npz"
    whole = ms.train(tasks, method, rounds=6, threads=1, **run)
    ms.train(tasks, method, rounds=3, threads=2, checkpoint=path, **run)
    resumed = ms.train(tasks, method, rounds=6, threads=2, checkpoint=path, **run)
    assert_same_bits(whole, resumed)
    whole.save(tmp_path / "result.npz")
    loaded = ms.load(tmp_path / "result.npz")
    assert loaded.config.method == method
    assert loaded.config.init == whole.config.init


def test_starts_have_the_length_that_init_says():
    tasks = ms.LinearTasks(d=9, k=2)
    lengths = {
        None: 0.0,
        "random": 1.0,
        ms.Init(scale=0.5): 0.5,
        ms.Init(dist=0.3): 1.0,
    }
    for init, length in lengths.items():
        r = ms.train(tasks, "linear-maml", alpha=-0.2, rounds=0, init=init)
        assert np.linalg.norm(r.full_B()) == pytest.approx(length)
        assert r.w.tolist() == [1.0]
    for B in (np.zeros((9, 1)), np.ones((9, 1))):
        r = ms.train(tasks, "linear-maml", rounds=0, init=(B, [1.0]))
        np.testing.assert_allclose(r.B, B, rtol=1e-14)
    assert "ZeroStart" in codec.KINDS


def test_a_distance_of_zero_ends_no_trial():
    """From B = 0 and with k = 1, the first step reaches the span of the truth exactly."""
    tasks = ms.LinearTasks(d=9, k=1, heads=ms.GaussianHeads(mean=[2.0]))
    r = ms.train(tasks, "linear-maml", rounds=20, n=10)
    assert (r.trace["dist"][0], r.trace["dist"][-1]) == (1.0, 0.0)
    assert r.status == ms.Status.FINISHED
    panels = ms.train(tasks, "linear-maml", rounds=20, n=10, trials=40)
    assert set(panels.status) == {ms.Status.FINISHED}
    stopped = ms.train(tasks, "linear-maml", rounds=20, n=10, stop=ms.Stop(dist=1e-9))
    assert stopped.status == ms.Status.CONVERGED


BATCH = ms.LinearTasks(d=9, k=2).sample(3, 4, 4)
EXPLICIT = ms.LinearTasks(d=9, k=2, B_star=np.eye(9, 2))
REFUSED = {
    "width": (lambda: ms.train(BATCH, "linear-maml", width=2), "one column .* got width = 2"),
    "head": (lambda: ms.train(BATCH, "linear-maml", init=(np.zeros((9, 1)), [0.0])),
             "w must be 1 for LinearMAML, .* got 0"),
    "gradient": (lambda: ms.meta_gradient(np.ones((9, 2)), [1, 1], BATCH, "linear-maml"), "one co"),
    "adapt": (lambda: ms.adapt(np.ones((9, 1)), [2], BATCH.X_in, BATCH.y_in, "linear-maml"),
              "w must be 1 .* got 2"),
    "evaluate": (lambda: ms.evaluate(np.ones((9, 1)), [0], EXPLICIT, "linear-maml"), "must be 1"),
    "alpha": (lambda: ms.LinearMAML(alpha=np.inf), "alpha must be finite; got inf"),
    "other": (lambda: ms.MAML(alpha=-0.1), "alpha must be finite and at least 0; got -0.1"),
    "infinite": (lambda: ms.train(EXPLICIT, "linear-maml", n=None, m_in=3, m_out=3),
                 "except in the limit, which covers .* got LinearMAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(name):
    call, told = REFUSED[name]
    with pytest.raises(ValueError, match=told):
        call()
    assert_one_sentence(call, ValueError, [])


def test_a_study_varies_the_inner_step(tmp_path):
    study = ms.Study(
        tmp_path,
        base={"method": "linear-maml", "d": 9, "k": 2, "rounds": 3, "n": 4},
        grid={"alpha": [-0.2, 0.2]},
        seeds=2,
        measure=("loss_out",),
    )
    study.run(progress=False)
    table = study.table()
    assert np.isfinite(table["loss_out"]).all()
    assert len(table) == 4
