"""Clipped contributions and noise on data, against arrays of full size, (29) and (30)."""

import h5py
import numpy as np
import pytest

import metaspan as ms
from data_runs import Case
from matching import assert_same_bits, batch_of, gradient_error, problem, relative_error
from metaspan.methods import core_method
from reference import privacy
from sparse_data import pair

CASES = {
    "ragged": Case(9, 3, 3, (5, 4, 8, 6), (4, 7, 1, 3)),
    "many": Case(
        67, 4, 3, tuple(5 + i % 7 for i in range(37)), tuple(9 - i % 5 for i in range(37))
    ),
    # The vector route computes the inner loop of ANIL from X B.
    "long rows": Case(9001, 3, 2, (7, 10, 4), (8, 2, 3)),
}
METHODS = {
    "anil": ms.ANIL(alpha=0.05, inner_steps=2),
    "fo-anil": ms.ANIL(alpha=0.05, first_order=True),
    "maml": ms.MAML(alpha=0.003, inner_steps=2),
    "fo-maml": ms.MAML(alpha=0.003, first_order=True),
    "body": ms.MAML(alpha=0.003, moves="body"),
    "average-risk": ms.AverageRisk(),
    "fedavg": ms.FedAvg(alpha=1e-4, local_steps=3),
    "ridge-anil": ms.RidgeANIL(lam=0.3),
    "fedrep": ms.FedRep(),
}
ROUTES = ("gram", "vector")


def build(rng, name):
    sizes = CASES[name]._asdict()
    del sizes["shared"]
    return problem(rng, **sizes)


def private(method, clip, multiplier=0.0):
    fields = {name: getattr(method, name) for name in type(method).__dataclass_fields__}
    return type(method)(**{**fields, "privacy": ms.UserDP(clip=clip, multiplier=multiplier)})


def settings_of(method):
    """The settings of a method without its clipping, by the names of the core."""
    return core_method(method)._replace(clip=0.0, multiplier=0.0)._asdict()


def middle_norm(B, w, tasks, method):
    """A limit between the norms of the contributions: some are clipped, and some are not."""
    parts = [privacy.contribution(B, w, *task, settings_of(method)) for task in tasks]
    return float(np.median([privacy.norm(*part) for part in parts]))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_contributions_are_clipped_task_by_task(rng, case, name, route):
    B, w, tasks = build(rng, case)
    method = METHODS[name]
    clip = middle_norm(B, w, tasks, method)
    found = ms.meta_gradient(B, w, batch_of(tasks), private(method, clip), route=route)
    expected = privacy.clipped_mean(B, w, tasks, settings_of(method), clip)
    assert relative_error(found.B, expected[0]) < 1e-9
    assert abs(found.w - expected[1]).max() < 1e-9 * max(1.0, abs(expected[1]).max())
    whole = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    np.testing.assert_array_equal(found.heads, whole.heads)
    np.testing.assert_array_equal(found.loss_out, whole.loss_out)
    assert relative_error(found.B, whole.B) > 1e-3
    # A limit that no task reaches changes nothing but rounding errors.
    loose = ms.meta_gradient(B, w, batch_of(tasks), private(method, 1e9), route=route)
    assert relative_error(loose.B, whole.B) < 1e-12


@pytest.mark.parametrize("name", METHODS)
def test_one_data_set_for_both_loops(rng, name):
    B, w, tasks = build(rng, "ragged")
    method, tasks = METHODS[name], [(inner, inner) for inner, _ in tasks]
    X, y = (list(part) for part in zip(*(inner for inner, _ in tasks), strict=True))
    clip = middle_norm(B, w, tasks, method)
    expected = privacy.clipped_mean(B, w, tasks, settings_of(method), clip)
    for route in ROUTES:
        batch = ms.TaskBatch([np.ascontiguousarray(x) for x in X], y)
        found = ms.meta_gradient(B, w, batch, private(method, clip), route=route)
        assert relative_error(found.B, expected[0]) < 1e-10


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_sparse_features(name, shared):
    given = pair(m_in=(5, 7, 6, 9), shared=shared)
    plain = METHODS[name] if name != "fedrep" else ms.RidgeANIL(lam=0.1, first_order=True)
    whole = ms.meta_gradient(given.B, given.w, given.dense, plain, route="gram")
    method = private(plain, privacy.norm(whole.B, whole.w))
    dense = ms.meta_gradient(given.B, given.w, given.dense, method, route="gram")
    assert relative_error(dense.B, whole.B) > 1e-3
    for route in ROUTES:
        if route == "vector" and core_method(method).solves_head:
            continue
        found = ms.meta_gradient(given.B, given.w, given.sparse, method, route=route)
        assert gradient_error(found, (dense.B, dense.w)) < 1e-11


@pytest.mark.parametrize("name", METHODS)
def test_all_routes_train_alike_with_clipping(rng, name):
    B, w, tasks = build(rng, "ragged")
    method = private(METHODS[name], middle_norm(B, w, tasks, METHODS[name]))
    batch, options = batch_of(tasks), {"rounds": 6, "init": (B, w), "stop": None}
    runs = {
        route: ms.train(batch, method, route=route, **options)
        for route in ("gram", "vector", "dual")
    }
    for r in runs.values():
        assert relative_error(r.B, runs["gram"].B) < 1e-9
        assert relative_error(r.trace["loss_out"], runs["gram"].trace["loss_out"]) < 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("name", METHODS)
def test_population_losses(rng, name, k, noise):
    """Infinitely many samples are the design sqrt(d) I of the explicit gradient."""
    d, method = 11, METHODS[name]
    B_star, heads = np.linalg.qr(rng.standard_normal((d, 3)))[0], rng.standard_normal((19, 3))
    B, w = 0.6 * rng.standard_normal((d, k)), 0.5 * rng.standard_normal(k)
    design = np.sqrt(d) * np.eye(d)
    tasks = [2 * ((design, design @ theta),) for theta in heads @ B_star.T]
    clip = middle_norm(B, w, tasks, method)
    found = ms.population_gradient(B, w, B_star, heads, private(method, clip), noise=noise)
    expected = privacy.clipped_mean(B, w, tasks, settings_of(method), clip)
    assert relative_error(found.B, expected[0]) < 1e-10
    assert abs(found.w - expected[1]).max() < 1e-10 * max(1.0, abs(expected[1]).max())


def descend(B, w, tasks_of, method, *, clip, multiplier, n, trial=0):
    """B and w after three rounds of seed 9; `tasks_of` returns the tasks of a round."""
    numbers = core_method(method)
    for round in range(3):
        by_B, by_w = privacy.clipped_mean(B, w, tasks_of(round), settings_of(method), clip)
        N, v = privacy.noise(9, trial, round, *B.shape)
        s = multiplier * clip / n
        B = B - numbers.beta * (by_B + s * N)
        w = w - numbers.beta_head * (by_w + s * v)
    return B, w


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["anil", "maml", "fedavg", "ridge-anil"])
def test_noise_on_arrays_is_that_of_its_counters(rng, name, route, dtype):
    B, w, tasks = build(rng, "ragged")
    B = B.astype(dtype)
    tasks = [tuple(type(s)(*(a.astype(dtype).astype(float) for a in s)) for s in t) for t in tasks]
    method, clip = METHODS[name], 0.7
    r = ms.train(batch_of(tasks, dtype), private(method, clip, 1.3), route=route, rounds=3, seed=9,
                 init=(B, w), trials=range(5, 6), stop=None)  # fmt: skip
    expected = descend(
        B.astype(float), w, lambda _: tasks, method, clip=clip, multiplier=1.3, n=4, trial=5
    )
    assert relative_error(r.B, expected[0]) < (1e-10 if dtype is np.float64 else 1e-5)
    assert relative_error(r.w, expected[1]) < (1e-10 if dtype is np.float64 else 1e-5)


def test_noise_on_samples_that_are_drawn_anew():
    tasks = ms.LinearTasks(d=12, k=2, noise=0.3, features="uniform")
    method, w = ms.ANIL(alpha=0.05), np.array([0.3, -0.2])
    B = 0.5 * np.random.default_rng(3).standard_normal((12, 2))

    def tasks_of(round):
        batch = tasks.sample(6, 4, 5, seed=9, round=round)
        inner = zip(batch.X_in, batch.y_in, strict=True)
        return list(zip(inner, zip(batch.X_out, batch.y_out, strict=True), strict=True))

    r = ms.train(tasks, private(method, 0.6, 0.8), n=6, m_in=4, m_out=5, seed=9, rounds=3,
                 init=(B, w), stop=None)  # fmt: skip
    assert r.config.engine == "sampled"
    expected = descend(B, w, tasks_of, method, clip=0.6, multiplier=0.8, n=6)
    assert relative_error(r.B, expected[0]) < 1e-11
    assert relative_error(r.w, expected[1]) < 1e-11


@pytest.mark.parametrize("multiplier", [0.0, 0.8])
@pytest.mark.parametrize("name", METHODS)
def test_features_with_a_spectrum(rng, name, multiplier):
    d, method = 10, METHODS[name]
    eigenvalues = np.linspace(0.4, 2.0, d)
    B_star, heads = np.linalg.qr(rng.standard_normal((d, 2)))[0], rng.standard_normal((7, 2))
    B, w = 0.6 * rng.standard_normal((d, 3)), 0.5 * rng.standard_normal(3)
    design = np.sqrt(d) * np.diag(np.sqrt(eigenvalues))
    data = [2 * ((design, design @ theta),) for theta in heads @ B_star.T]
    clip = middle_norm(B, w, data, method)
    tasks = ms.LinearTasks(d=d, k=2, heads=heads, spectrum=eigenvalues, B_star=B_star)
    r = ms.train(tasks, private(method, clip, multiplier), n=7, seed=9, rounds=3, init=(B, w),
                 stop=None)  # fmt: skip
    assert r.config.engine == "population"
    expected = descend(B, w, lambda _: data, method, clip=clip, multiplier=multiplier, n=7)
    assert relative_error(r.B, expected[0]) < 1e-9
    assert relative_error(r.w, expected[1]) < 1e-9


@pytest.mark.parametrize("engine", ["population", "collapsed", "sampled"])
def test_linear_maml_with_a_negative_step(rng, engine):
    """Its head is frozen, so the noise in grad_w has no effect."""
    tasks = ms.LinearTasks(d=12, k=2, noise=0.3, heads=rng.standard_normal((6, 2)))
    counts = {} if engine == "population" else {"m_in": 4, "m_out": 5}
    options = {"n": 6, "rounds": 4, "stop": None, "record": ("w_norm", "sigma_max"), **counts}
    plain = ms.LinearMAML(alpha=-0.1)
    clipped = ms.train(tasks, private(plain, 1e-3), engine=engine, **options)
    assert 0 < clipped.trace["sigma_max"][-1] < 4 * 0.1 * 1e-3  # four steps of at most beta clip
    noisy = ms.train(tasks, private(plain, 1e-3, 1e4), **options)
    assert noisy.trace["sigma_max"][-1] > 0.1
    assert set(noisy.trace["w_norm"]) == {1.0}


def test_features_on_disk_have_the_bits_of_features_in_memory(rng, tmp_path):
    X, y = rng.standard_normal((5, 9, 40)), rng.standard_normal((5, 9))
    method, options = private(ms.ANIL(alpha=0.02), 1.0, 0.5), dict(width=3, rounds=4, stop=None)
    memory = ms.TaskBatch.split(X, y, m_in=4)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        disk = ms.TaskBatch.split(file.create_dataset("X", data=X), y, m_in=4)
        for route in ROUTES:
            runs = [ms.train(b, method, route=route, **options) for b in (memory, disk)]
            np.testing.assert_array_equal(runs[0].B, runs[1].B)


LAW = ms.LinearTasks(d=9000, k=2, noise=0.1)  # rounds are large enough for two threads
BATCH = LAW.sample(9, 6, 6)
RUNS = {
    "gram": (BATCH, dict(route="gram")),
    "vector": (BATCH, dict(route="vector", dtype="float32")),
    "sampled": (LAW, dict(engine="sampled", m_in=5, m_out=5, n=9)),
    "collapsed": (LAW, dict(m_in=5, m_out=5, n=300)),
    "both infinite": (LAW, dict(engine="collapsed", n=300, track_start=True)),
    "population": (LAW, dict(engine="auto", n=300)),
    "wide": (LAW, dict(engine="auto", n=300, width=4)),
    "spectrum": (ms.LinearTasks(d=9000, k=2, spectrum=0.3), dict(n=9)),
    "pool": (LAW, dict(pool=9, m_in=5, m_out=5, n=4)),
}


@pytest.mark.parametrize("multiplier", [0.0, 0.4])
@pytest.mark.parametrize("name", ["anil", "maml"])
@pytest.mark.parametrize("run", RUNS)
def test_bits_do_not_depend_on_threads_trials_or_interruptions(run, name, multiplier, tmp_path):
    tasks, options = RUNS[run]
    method = private(METHODS[name], 0.5, multiplier)
    options = dict(rounds=6, trials=2, stop=None, threads=1, seed=4) | options
    options["record"] = ("dist", "w_norm", "loss_out")
    one = ms.train(tasks, method, **options)
    assert_same_bits(ms.train(tasks, method, **options | {"threads": 2}), one)
    other = ms.train(tasks, method, **options | {"trials": range(1, 2)})
    np.testing.assert_array_equal(other.trace["w_norm"], one.trace["w_norm"][1])
    checkpoint = tmp_path / "run"
    ms.train(tasks, method, **options | {"rounds": 3, "checkpoint": checkpoint})
    assert_same_bits(ms.train(tasks, method, **options | {"checkpoint": checkpoint}), one)
