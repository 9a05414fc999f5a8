"""LinearAttention: gradients against its loss written out, and the same rounds on every engine."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import assert_one_sentence, assert_same_bits, batch_of, problem, relative_error
from sparse_data import pair

ALPHA, BETA = 0.2, 0.05
METHOD = ms.LinearAttention(alpha=ALPHA, beta=BETA)
ROUTES = ("gram", "vector")


def factors(rng, d, k):
    return 0.4 * rng.standard_normal((d, k)), 0.5 * rng.standard_normal((d, k))


def loss_of(batch):
    """Return the mean outer loss as a function of A and B, with the samples of a batch."""

    def loss(A, B):
        total = 0.0
        for X, y, X_out, y_out in zip(
            batch.X_in, batch.y_in, batch.X_out, batch.y_out, strict=True
        ):
            residual = X_out @ A @ (ALPHA * B.T @ X.T @ y / len(y)) - y_out
            total = total + (residual * residual).mean() / 2
        return total / batch.n

    return loss


def derivatives(loss, A, B):
    """Return the derivatives of a loss in A and in B, by complex steps."""
    step = 1e-30
    found = np.zeros((2, *A.shape))
    for place in np.ndindex(A.shape):
        shift = np.zeros(A.shape, complex)
        shift[place] = 1j * step
        found[0][place] = loss(A + shift, B).imag / step
        found[1][place] = loss(A, B + shift).imag / step
    return found


def stepped(A, B, g):
    return A - BETA * g.A, B - BETA * g.B


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_gradient_is_that_of_the_loss_written_out(rng, k, route, losses):
    _, _, tasks = problem(rng, d=9, width=2, k_star=2, m_in=(5, 4, 8), m_out=(4, 7, 1))
    batch, (A, B) = batch_of(tasks), factors(rng, 9, k)
    g = ms.meta_gradient(A, B, batch, METHOD, route=route, losses=losses)
    loss = loss_of(batch)
    by_A, by_B = derivatives(loss, A, B)
    assert relative_error(g.A, by_A) < 1e-12
    assert relative_error(g.B, by_B) < 1e-12
    assert g.w.tolist() == [0.0] * k
    if losses:
        assert g.loss_out.mean() == pytest.approx(loss(A, B), rel=1e-12)
        assert g.loss_in == pytest.approx([0.5 * (y * y).mean() for y in batch.y_in], rel=1e-12)


@pytest.mark.parametrize("route", ROUTES)
def test_long_rows_give_the_same_gradient(rng, route):
    _, _, tasks = problem(rng, d=9001, width=2, k_star=2, m_in=(7, 10), m_out=(8, 2))
    batch, (A, B) = batch_of(tasks), factors(rng, 9001, 3)
    g = ms.meta_gradient(A, B, batch, METHOD, route=route)
    expected = ms.meta_gradient(A, B, batch, METHOD, route="gram")
    assert relative_error(g.A, expected.A) < 1e-11
    assert relative_error(g.B, expected.B) < 1e-11
    loss = loss_of(batch)
    direction = rng.standard_normal(A.shape)
    step = 1e-30j * direction
    assert np.sum(g.A * direction) == pytest.approx(loss(A + step, B).imag / 1e-30, rel=1e-10)
    assert np.sum(g.B * direction) == pytest.approx(loss(A, B + step).imag / 1e-30, rel=1e-10)


def test_the_gradient_of_losses_without_samples_is_the_same(rng):
    B_star, heads = ref.frame(rng, 11, 3), rng.standard_normal((19, 3))
    A, B = factors(rng, 11, 2)
    g = ms.population_gradient(A, B, B_star, heads, METHOD)
    X = np.repeat((np.sqrt(11) * np.eye(11))[None], 19, axis=0)
    batch = ms.TaskBatch(X, np.einsum("nij,nj->ni", X, heads @ B_star.T))
    by_A, by_B = derivatives(loss_of(batch), A, B)
    assert relative_error(g.A, by_A) < 1e-12
    assert relative_error(g.B, by_B) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
def test_the_tied_layer_is_anil_without_a_head(rng, route):
    """At A = B the losses are equal, and the gradients of A and B add up to that of ANIL."""
    _, _, tasks = problem(rng, d=31, width=2, k_star=3, m_in=(8, 6, 9), m_out=(3, 2, 7))
    batch, (B, _) = batch_of(tasks), factors(rng, 31, 3)
    g = ms.meta_gradient(B, B, batch, METHOD, route=route)
    tied = ms.meta_gradient(B, np.zeros(3), batch, ms.ANIL(alpha=ALPHA, outer="body"), route=route)
    assert relative_error(g.A + g.B, tied.B) < 1e-13
    assert relative_error(g.heads, tied.heads) < 1e-13
    assert relative_error(g.loss_out, tied.loss_out) < 1e-13
    X, y = batch.X_in, batch.y_in
    np.testing.assert_array_equal(
        ms.adapt(B, B, X, y, METHOD), ms.adapt(B, np.zeros(3), X, y, ms.ANIL(alpha=ALPHA))
    )


def test_adapt_returns_the_coefficients_of_a(rng):
    _, _, tasks = problem(rng, d=9, width=2, k_star=2, m_in=(5, 5, 5), m_out=(4, 4, 4))
    batch, (A, B) = batch_of(tasks), factors(rng, 9, 3)
    h = ms.adapt(A, B, batch.X_in, batch.y_in, METHOD)
    expected = [ALPHA * B.T @ X.T @ y / 5 for X, y in zip(batch.X_in, batch.y_in, strict=True)]
    assert relative_error(h, expected) < 1e-12


@pytest.mark.parametrize("route", ["gram", "dual"])
def test_sparse_data_give_the_rounds_of_the_same_dense_data(rng, route):
    given = pair(m_in=(6, 7, 9, 6), m_out=(5, 2, 6, 1))
    start = factors(rng, 60, 2)
    run = {"rounds": 4, "init": start, "stop": None}
    sparse = ms.train(given.sparse, METHOD, route=route, **run)
    dense = ms.train(given.dense, METHOD, route="gram", **run)
    assert relative_error(sparse.A, dense.A) < 1e-10
    assert relative_error(sparse.B, dense.B) < 1e-10
    g = ms.meta_gradient(*start, given.sparse, METHOD, route="vector")
    expected = ms.meta_gradient(*start, given.dense, METHOD, route="gram")
    assert relative_error(g.A, expected.A) < 1e-12
    assert relative_error(g.B, expected.B) < 1e-12


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
def test_rounds_on_data_follow_the_gradient(rng, route):
    B_star, _, tasks = problem(rng, d=31, width=3, k_star=3, m_in=(8, 6, 9), m_out=(3, 2, 7))
    B_star = np.linalg.qr(B_star)[0]
    plain = batch_of(tasks)
    batch = ms.TaskBatch(plain.X_in, plain.y_in, plain.X_out, plain.y_out, B_star=B_star)
    A, B = factors(rng, 31, 3)
    r = ms.train(batch, METHOD, rounds=5, init=(A, B), route=route, stop=None,
                 record=("dist", "sigma_max"))  # fmt: skip
    for _ in range(5):
        A, B = stepped(A, B, ms.meta_gradient(A, B, batch, METHOD, route="gram"))
    assert relative_error(r.A, A) < 1e-10
    assert relative_error(r.B, B) < 1e-10
    assert r.trace["dist"][-1] == pytest.approx(ms.subspace_distance(B, B_star), rel=1e-9)
    assert r.trace["sigma_max"][-1] == pytest.approx(np.linalg.norm(B, 2), rel=1e-9)


@pytest.mark.parametrize("shared", [False, True])
def test_sampled_rounds_are_those_on_the_arrays_that_sample_draws(rng, shared):
    tasks = ms.LinearTasks(d=21, k=2, noise=0.3, features="uniform")
    A, B = factors(rng, 21, 3)
    sizes = {"n": 7, "m_in": 13, "m_out": 13 if shared else 9, "shared_samples": shared}
    r = ms.train(tasks, METHOD, rounds=3, init=(A, B), seed=3, stop=None, **sizes)
    assert r.config.engine == "sampled"
    for t in range(3):
        batch = tasks.sample(**sizes, seed=3, round=t)
        A, B = stepped(A, B, ms.meta_gradient(A, B, batch, METHOD))
    assert relative_error(r.A, A) < 1e-11
    assert relative_error(r.B, B) < 1e-11


@pytest.mark.parametrize("spectrum", [None, 0.7])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_population_rounds_are_those_written_out(rng, k, spectrum):
    d, heads = 12, rng.standard_normal((4, 2))
    B_star = np.ascontiguousarray(np.eye(d, 2))
    tasks = ms.LinearTasks(d=d, k=2, heads=heads, B_star=B_star, spectrum=spectrum)
    A, B = factors(rng, d, k)
    r = ms.train(tasks, METHOD, rounds=5, n=4, init=(A, B), stop=None,
                 record=("dist", "sigma_min", "diversity_max"))  # fmt: skip
    roots = np.arange(1.0, d + 1) ** (-0.5 * (spectrum or 0.0))
    X = np.repeat((np.sqrt(d) * np.diag(roots))[None], 4, axis=0)
    batch = ms.TaskBatch(X, np.einsum("nij,nj->ni", X, heads @ B_star.T))
    for _ in range(5):
        A, B = stepped(A, B, ms.meta_gradient(A, B, batch, METHOD, route="gram"))
    assert relative_error(r.A, A) < 1e-10
    assert relative_error(r.B, B) < 1e-10
    assert r.trace["dist"][-1] == pytest.approx(ms.subspace_distance(B, B_star), rel=1e-9)
    assert r.trace["sigma_min"][-1] == pytest.approx(np.linalg.svd(B)[1][-1], rel=1e-9)
    h = ms.adapt(A, B, batch.X_in, batch.y_in, METHOD)
    top = np.linalg.norm(h, 2) ** 2 / 4
    assert r.trace["diversity_max"][-1] == pytest.approx(top, rel=1e-9)


ENGINES = {
    "population": {},
    "collapsed": {"m_in": 4, "m_out": 3},
    "tracked": {"m_in": 4, "m_out": 3, "track_start": True},
    "inner infinite": {"m_in": None, "m_out": 3},
    "outer infinite": {"m_in": 4, "m_out": None},
    "pool": {"m_in": 4, "m_out": 3, "pool": 6},
    "sampled": {"m_in": 4, "m_out": 3, "engine": "sampled"},
    "arrays-gram": {"pool": 6, "m_in": 5, "m_out": 4, "engine": "arrays", "route": "gram"},
    "arrays-vector": {"pool": 6, "m_in": 5, "m_out": 4, "engine": "arrays", "route": "vector"},
    "arrays-dual": {"pool": 6, "m_in": 5, "m_out": 4, "engine": "arrays", "route": "dual"},
}


@pytest.mark.parametrize("start", ["random", "given"])
@pytest.mark.parametrize("engine", ENGINES)
def test_bits_depend_on_neither_threads_nor_an_interruption(rng, engine, start, tmp_path):
    tasks = ms.LinearTasks(d=15, k=2, noise=0.1)
    n = 6 if "pool" in ENGINES[engine] else 40
    run = {"n": n, "seed": 2, "width": 3, "record": ("dist", "angles", "loss_out"), "stop": None}
    run |= ENGINES[engine] | ({"init": factors(rng, 15, 3)} if start == "given" else {})
    path = tmp_path / "run.npz"
    whole = ms.train(tasks, METHOD, rounds=6, threads=1, **run)
    ms.train(tasks, METHOD, rounds=3, threads=2, checkpoint=path, **run)
    resumed = ms.train(tasks, METHOD, rounds=6, threads=2, checkpoint=path, **run)
    assert_same_bits(whole, resumed)
    whole.save(tmp_path / "result.npz")
    loaded = ms.load(tmp_path / "result.npz")
    assert loaded.config.method == METHOD
    np.testing.assert_array_equal(loaded.state_A[0], whole.state_A[0])
    assert whole.full_A().shape == whole.full_B().shape == (15, 3)
    assert whole.w.tolist() == [0.0] * 3
    assert np.isfinite(ms.estimate(tasks, METHOD, rounds=6, **run).seconds)


def test_a_drawn_start_has_equal_factors():
    tasks = ms.LinearTasks(d=9, k=2)
    for init in ("random", "methodical"):
        r = ms.train(tasks, METHOD, rounds=0, init=init, trials=2)
        np.testing.assert_array_equal(r.full_A(), r.full_B())
        tied = ms.train(tasks, ms.ANIL(alpha=ALPHA), rounds=0, init=init, trials=2)
        np.testing.assert_array_equal(r.state[0], tied.state[0])


def test_full_size_factors_have_the_coordinates_of_the_state(rng):
    tasks = ms.LinearTasks(d=9, k=2, B_star=ref.frame(rng, 9, 2))
    r = ms.train(tasks, METHOD, rounds=3, n=5, m_in=6, m_out=6)
    for full, (M, R) in ((r.full_A(), r.state_A), (r.full_B(), r.state[:2])):
        np.testing.assert_allclose(tasks.B_star.T @ full, M, atol=1e-12)
        np.testing.assert_allclose(full.T @ full, M.T @ M + R.T @ R, atol=1e-12)
    a, b = r.state_A, r.state[:2]
    np.testing.assert_allclose(r.full_A().T @ r.full_B(), a[0].T @ b[0] + a[1].T @ b[1], atol=1e-12)


def shifted(generator, n, k):
    return generator.standard_normal((n, k)) + np.eye(k)[0]


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_evaluate_is_exact_and_agrees_with_samples(rng, spread):
    """A correct formula fails with a probability of about 1e-3."""
    B_star, n, m = ref.frame(rng, 9, 2), 40_000, 5
    law = {"d": 9, "k": 2, "noise": 0.4, "B_star": B_star, "spread": spread}
    tasks = ms.LinearTasks(**law, heads=ms.GaussianHeads(mean=[1.0, 0.0]))
    A, B = factors(rng, 9, 3)
    e = ms.evaluate(A, B, tasks, METHOD, m=m)
    assert e.adapted.exact
    theta = (rng.standard_normal((n, 2)) + np.eye(2)[0]) @ B_star.T
    theta += spread / 3 * rng.standard_normal((n, 9))
    X = rng.standard_normal((n, m, 9))
    y = np.einsum("nij,nj->ni", X, theta) + 0.4 * rng.standard_normal((n, m))
    error = ms.adapt(A, B, X, y, METHOD) @ A.T - theta
    risks = 0.5 * (error * error).sum(axis=1)
    assert abs(risks.mean() - e.mean) < 3.5 * risks.std() / np.sqrt(n)
    function = ms.LinearTasks(**law, heads=shifted)
    sampled = ms.evaluate(A, B, function, METHOD, m=m, n=20_000).adapted
    assert not sampled.exact
    assert abs(sampled.mean - e.mean) < 3.5 * sampled.standard_error
    r = ms.train(tasks, METHOD, rounds=3, n=5, m_in=6, m_out=6)
    same = ms.evaluate(r.full_A(), r.full_B(), tasks, METHOD, m=m)
    assert ms.evaluate(r.state_A, r.state[:2], tasks, METHOD, m=m).mean == pytest.approx(same.mean)


PRIVACY = {
    "spread": None,
    "clip": ms.UserDP(clip=0.3, multiplier=0.0),
    "noise": ms.UserDP(clip=0.5, multiplier=0.8),
}


@pytest.mark.parametrize("option", PRIVACY)
def test_collapsed_rounds_have_the_mean_of_sampled_ones(rng, option):
    """Spread tasks, clipping and noise: a correct law fails with a probability of about 1e-3."""
    B_star, start = ref.frame(rng, 9, 2), factors(rng, 9, 2)
    tasks = ms.LinearTasks(d=9, k=2, noise=0.3, B_star=B_star, spread=2.0 * (option == "spread"))
    method = ms.LinearAttention(alpha=0.3, beta=0.5, privacy=PRIVACY[option])
    run = {"rounds": 2, "n": 2, "m_in": 3, "m_out": 3, "init": start, "trials": 2000, "stop": None}
    ends = [
        ms.train(tasks, method, engine=engine, record=("sigma_max", "perp_norm"), **run).trace
        for engine in ("collapsed", "sampled")
    ]
    for name in ("sigma_max", "perp_norm"):
        a, b = (np.log(trace[name][:, -1]) for trace in ends)
        assert abs(a.mean() - b.mean()) < 3.9 * np.sqrt((a.var() + b.var()) / 2000)


def test_a_trained_layer_reaches_the_known_optimum_on_the_span():
    """On population losses and the span, A B^T alpha tends to the identity on B_star."""
    tasks = ms.LinearTasks(d=30, k=2)
    r = ms.train(tasks, METHOD, rounds=3000, n=100, init=ms.Init(dist=0.5))
    layer = ALPHA * r.state_A[0] @ r.state[0].T
    np.testing.assert_allclose(layer, np.eye(2), atol=1e-3)


BATCH = ms.LinearTasks(d=9, k=2).sample(3, 4, 4)
ONES = np.ones((9, 2))
REFUSED = {
    "shapes": (lambda: ms.train(BATCH, METHOD, init=(np.ones((9, 3)), ONES)), ValueError, ["A0"]),
    "width": (lambda: ms.train(BATCH, METHOD, init=(ONES, ONES), width=3), ValueError, ["A0"]),
    "dtype": (lambda: ms.meta_gradient(ONES.astype(np.float32), ONES, BATCH, METHOD), ValueError,
              ["A must have the dtype of B", "float32"]),
    "head": (lambda: ms.meta_gradient(ONES, np.zeros(2), BATCH, METHOD), ValueError, ["B must"]),
    "nan": (lambda: ms.adapt(ONES * np.nan, ONES, BATCH.X_in, BATCH.y_in, METHOD), ValueError,
            ["A must be finite"]),
    "alpha": (lambda: ms.LinearAttention(alpha=-1.0), ValueError, ["alpha", "got -1"]),
    "infinite": (lambda: ms.train(ms.LinearTasks(d=9, k=2), METHOD, n=None, m_in=3, m_out=3),
                 ValueError, ["except in the limit", "got LinearAttention"]),
    "room": (lambda: ms.train(ms.LinearTasks(d=5, k=2), METHOD, m_in=3, m_out=None, n=3),
             ValueError, ["d >= k + width = 6"]),
    "factor": (lambda: ms.train(BATCH, "anil", rounds=0).A, AttributeError, ["A is a part of"]),
    "full": (lambda: ms.train(BATCH, "anil", rounds=0).full_A(), AttributeError, ["full_A"]),
    "columns": (lambda: ms.evaluate((np.ones((2, 2)), np.ones((1, 2))),
                                    (np.ones((2, 1)), np.ones((1, 1))), ms.LinearTasks(d=9, k=2),
                                    METHOD), ValueError, ["A must have as many columns as B"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::metaspan.FewSamplesWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(name):
    assert_one_sentence(*REFUSED[name])


def test_a_study_measures_the_risk_of_the_layer(tmp_path):
    study = ms.Study(
        tmp_path,
        base={"method": "linear-attention", "d": 9, "k": 2, "rounds": 3, "n": 4},
        grid={"alpha": [0.1, 0.2]},
        seeds=2,
        measure=("dist", "risk:5"),
    )
    study.run(progress=False)
    assert np.isfinite(study.table()["risk:5"]).all()


def test_a_layer_whose_A_is_far_from_the_span_has_not_converged():
    tasks = ms.LinearTasks(d=12, k=2, B_star=np.eye(12, 2))
    start = np.zeros((12, 2)), np.eye(12, 2)
    assert ms.train(tasks, METHOD, rounds=5, init=start).status == ms.Status.FINISHED
    stopped = ms.train(tasks, METHOD, rounds=5, init=start, stop=ms.Stop(dist=1e-9))
    assert stopped.status == ms.Status.CONVERGED


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [{}, {"m_in": 6, "m_out": 6}])
def test_angles_are_those_of_B_alone(width, samples):
    """The state has twice the columns of B; both engines record as many angles as B has."""
    tasks = ms.LinearTasks(d=12, k=3)
    r = ms.train(tasks, "linear-attention", width=width, rounds=2, record="angles", **samples)
    assert r.trace["angles"].shape == (3, min(width, 3))
