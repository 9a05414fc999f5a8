"""Runs on sums drawn in law: choice of the engine, errors, results and files."""

import dataclasses

import numpy as np
import pytest

import metaspan as ms
from finite_runs import B_STAR, FIRST_ORDER, KINDS, START, run
from matching import assert_one_sentence, assert_same_bits
from metaspan._load import core

TASKS = ms.LinearTasks(d=8, k=2)
SMALL = ms.LinearTasks(d=3, k=2)
FIXED = ms.LinearTasks(d=8, k=2, heads=np.ones((4, 2)))
BATCH = TASKS.sample(4, 3, 3)
NOISY = ms.ANIL(privacy=ms.UserDP(clip=1.0, multiplier=1.0))
CLIPPED = ms.ANIL(first_order=True, privacy=ms.UserDP(clip=1.0, multiplier=0.0))
FINITE = {"m_in": 3, "m_out": 4}
POOL = {**FINITE, "pool": 5, "n": 3}
AT_ONCE = {"m_in": 3, "shared_samples": True}
INFINITE = {"n": None, "method": FIRST_ORDER}


def train(tasks=TASKS, method="anil", **changes):
    return ms.train(tasks, method, rounds=1, **changes)


# What is asked, and what runs.
ENGINES = [
    (TASKS, {}, "population"),
    (TASKS, {"method": CLIPPED}, "population"),
    (TASKS, {"method": NOISY}, "collapsed"),
    (SMALL, {"method": NOISY}, "collapsed"),
    (ms.LinearTasks(d=8, k=2, spectrum=1.0), {"method": NOISY}, "population"),
    (TASKS, {"method": NOISY, **FINITE}, "collapsed"),
    (TASKS, {"method": CLIPPED, **POOL}, "collapsed"),
    (TASKS, {"method": NOISY, **POOL}, "arrays"),
    (BATCH, {"method": NOISY}, "arrays"),
    (SMALL, {}, "population"),
    (TASKS, {"pool": 5, "n": 3}, "population"),
    (TASKS, {"shared_samples": True}, "population"),
    (TASKS, {"engine": "population"}, "population"),
    (TASKS, INFINITE, "limit"),
    (SMALL, INFINITE, "limit"),
    (TASKS, {"n": None}, "limit"),
    (TASKS, {"n": None, "engine": "limit", "d_over_n": 2.0}, "limit"),
    (FIXED, {"n": None, "d_over_n": 0}, "limit"),
    (FIXED, {"n": None}, "population"),
    (TASKS, FINITE, "collapsed"),
    (TASKS, AT_ONCE, "collapsed"),
    (TASKS, {"m_in": 3}, "collapsed"),
    (TASKS, {"m_out": 3}, "collapsed"),
    (TASKS, {**FINITE, "engine": "collapsed"}, "collapsed"),
    (TASKS, {**FINITE, "width": 6}, "collapsed"),
    (TASKS, {**FINITE, **INFINITE}, "limit"),
    (FIXED, {**FINITE, "n": None}, "collapsed"),
    (TASKS, {**FINITE, "method": "average-risk"}, "collapsed"),
    (TASKS, POOL, "collapsed"),
    (TASKS, {**POOL, "n": None}, "collapsed"),
    (TASKS, {**POOL, "engine": "collapsed"}, "collapsed"),
    (TASKS, {**POOL, "engine": "arrays"}, "arrays"),
    (TASKS, {**POOL, "width": 6}, "collapsed"),
    (TASKS, {**POOL, "width": 7}, "arrays"),
    (SMALL, POOL, "arrays"),
    (dataclasses.replace(TASKS, spectrum=1.0), {}, "population"),
    (SMALL, FINITE, "sampled"),
    (SMALL, {**FINITE, **INFINITE}, "limit"),
    (TASKS, {**FINITE, "width": 7}, "sampled"),
    (TASKS, {**FINITE, "engine": "sampled"}, "sampled"),
    (dataclasses.replace(TASKS, features="rademacher"), FINITE, "sampled"),
    (dataclasses.replace(TASKS, spectrum=1.0), FINITE, "sampled"),
    (dataclasses.replace(TASKS, spectrum=1.0), POOL, "arrays"),
    (SMALL, {**POOL, "engine": "arrays"}, "arrays"),
    (FIXED, {**POOL, "pool": 4}, "collapsed"),
    (BATCH, {}, "arrays"),
    (BATCH, {"engine": "arrays", "n": 2}, "arrays"),
]


@pytest.mark.parametrize(("tasks", "asked", "expected"), ENGINES)
def test_engine_depends_on_the_arguments_alone(tasks, asked, expected):
    r = train(tasks, **asked)
    assert r.config.engine == expected
    has_data = expected == "arrays" or (expected == "collapsed" and "pool" in asked)
    assert (r.config.route is not None) == has_data
    found = ms.estimate(tasks, **{"method": "anil", "rounds": 1, **asked})
    assert (found.engine, found.route) == (r.config.engine, r.config.route)


def test_engine_is_the_same_for_all_features():
    for features in ("gaussian", "student-t", ms.StudentT(dof=3), "sphere"):
        tasks = ms.LinearTasks(d=8, k=2, features=features)
        assert train(tasks).config.engine == "population"
        assert train(tasks, **FINITE).config.engine == "collapsed"
        assert train(tasks, **POOL).config.engine == "collapsed"


def of(**changes):
    return ms.LinearTasks(**{"d": 8, "k": 2, **changes})


def infinite(tasks=TASKS, **changes):
    return train(tasks, **{**INFINITE, **FINITE, **changes})


ELSEWHERE = "track_start=True needs engine 'collapsed' with new samples every round"
WANTS = "n must be an integer except in the limit, which covers"
# What is wrong: (call, kind of error, fragments that the sentence must contain).
CASES = {
    "small-d": (lambda: train(SMALL, engine="collapsed", **FINITE), ValueError,
                ["engine must be 'auto' or 'sampled'", "got 'collapsed'"]),
    "wide": (lambda: train(width=7, engine="collapsed", **FINITE), ValueError,
             ["engine must be 'auto' or 'sampled'", "got 'collapsed'"]),
    "small-d-one-side": (lambda: train(SMALL, m_in=3), ValueError,
                         ["m_out must be an integer", "d >= k + width = 4", "got d = 3"]),
    "one-side-entries": (lambda: train(dataclasses.replace(TASKS, features="uniform"), m_out=3),
                         ValueError, ["m_in must be an integer", "got features='uniform'"]),
    "spectrum-shape": (lambda: dataclasses.replace(TASKS, spectrum=np.ones(3)), ValueError,
                       ["spectrum must have shape (8,)", "got (3,)"]),
    "spectrum-sign": (lambda: dataclasses.replace(TASKS, spectrum=-np.ones(8)), ValueError,
                      ["spectrum must hold eigenvalues >= 0", "got -1"]),
    "small-d-forced": (lambda: train(SMALL, engine="collapsed", **POOL), ValueError,
                       ["engine must be 'auto' or 'arrays'", "got 'collapsed'"]),
    "population-finite": (lambda: train(engine="population", **FINITE), ValueError,
                          ["engine must be 'auto', 'collapsed' or 'sampled'", "got 'population'"]),
    "collapsed-spectrum": (lambda: train(dataclasses.replace(TASKS, spectrum=0.5),
                                         engine="collapsed"), ValueError,
                           ["engine must be 'auto' or 'population'", "got 'collapsed'"]),
    "noise-population": (lambda: train(method=NOISY, engine="population"), ValueError,
                         ["engine must be 'auto' or 'collapsed'", "noise", "got 'population'"]),
    "noise-pool": (lambda: train(method=NOISY, engine="collapsed", **POOL), ValueError,
                   ["engine must be 'arrays' for a pool and noise", "got 'collapsed'"]),
    "noise-dual": (lambda: train(BATCH, NOISY, route="dual", width=2), ValueError,
                   ["route must be 'auto', 'gram' or 'vector' where noise is added", "got 'dual'"]),
    "clip-n-none": (lambda: infinite(method=CLIPPED), ValueError,
                    ["n must be an integer where contributions are clipped", "got None"]),
    "sampled-infinite": (lambda: train(engine="sampled"), ValueError,
                         ["engine must be 'auto', 'population' or 'collapsed'", "got 'sampled'"]),
    "collapsed-batch": (lambda: train(BATCH, engine="collapsed"), ValueError,
                        ["engine must be 'auto' or 'arrays'", "got 'collapsed'"]),
    "sampled-pool": (lambda: train(engine="sampled", **POOL), ValueError,
                     ["engine must be 'auto', 'collapsed' or 'arrays'", "got 'sampled'"]),
    "engine-kind": (lambda: train(engine=1), TypeError, ["engine must be", "got 1"]),
    "n-none-engine": (lambda: infinite(engine="collapsed"), ValueError,
                      ["engine must be 'auto' or 'limit'", "got 'collapsed'"]),
    "limit-engine": (lambda: train(engine="limit"), ValueError,
                     ["n must be None for engine 'limit'", "got 100"]),
    "n-none-steps": (lambda: infinite(method=ms.ANIL(inner_steps=6)), ValueError,
                     [WANTS, "ANIL with inner_steps=1, with m_in=None", "inner_steps <= 5",
                      "got ANIL(", "inner_steps=6"]),
    "n-none-width": (lambda: infinite(method=ms.ANIL(inner_steps=2), width=3), ValueError,
                     [WANTS, "width <= 2 (here 3)", "inner_steps=2"]),
    "n-none-maml": (lambda: infinite(method="fo-maml"), ValueError,
                    [WANTS, "MAML with outer='body'", "got MAML("]),
    "n-none-maml-mean": (lambda: infinite(of(heads=ms.GaussianHeads(mean=[1, 0])), method="maml",
                                          m_in=None, m_out=3), ValueError,
                         [WANTS, "m_in=None and centred", "got MAML("]),
    "n-none-maml-head": (lambda: infinite(method=ms.MAML(outer="body"),
                                          init=(np.eye(8, 2), np.ones(2))), ValueError,
                         [WANTS, "w0 = 0", "got MAML("]),
    "n-none-maml-steps": (lambda: infinite(method=ms.MAML(outer="body", inner_steps=2)), ValueError,
                          [WANTS, "MAML with inner_steps=1", "inner_steps=2"]),
    "n-none-fedavg": (lambda: infinite(method="fedavg"), ValueError,
                      [WANTS, "FedAvg with local_steps=1", "local_steps=2"]),
    "n-none-local-loss": (lambda: infinite(method=ms.Reptile(local_steps=1), record="loss_out"),
                          ValueError, ["record must be without losses", "got 'loss_out'"]),
    "n-none-ridge": (lambda: infinite(method="ridge-anil"), ValueError,
                     [WANTS, "RidgeANIL with lam=0 or m_in=None", "lam=0.1"]),
    "n-none-few": (lambda: infinite(method=ms.RidgeANIL(lam=0), m_in=7), ValueError,
                   [WANTS, "RidgeANIL with m_in >= 8 at width=2", "here m_in=7"]),
    "n-none-fedrep": (lambda: infinite(method="fedrep", m_in=3), ValueError,
                      [WANTS, "FedRep with m_in >= 4", "here m_in=3"]),
    "n-none-sum": (lambda: infinite(method=ms.AltGDmin(reduce="sum"), m_in=9), ValueError,
                   [WANTS, "AltGDmin with reduce='mean'", "reduce='sum'"]),
    "n-none-learned": (lambda: infinite(method="meta-sgd"), ValueError,
                       [WANTS, "solved heads and MAML with w = 0", "got MetaSGD("]),
    "n-none-attention": (lambda: infinite(method="linear-attention"), ValueError,
                         [WANTS, "average risk", "got LinearAttention("]),
    "n-none-function": (lambda: infinite(of(heads=lambda g, n, k: np.ones((n, k)))), ValueError,
                        [WANTS, "GaussianHeads", "got <function"]),
    "n-none-entries": (lambda: infinite(of(features="uniform")), ValueError,
                       [WANTS, "features='gaussian' and 'sphere'", "got 'uniform'"]),
    "n-none-tails": (lambda: infinite(of(features="student-t")), ValueError,
                     [WANTS, "features='gaussian'", "got StudentT(dof=5.0)"]),
    "n-none-shared": (lambda: infinite(m_out=3, shared_samples=True), ValueError,
                      [WANTS, "inner and outer samples apart", "got shared_samples=True"]),
    "ratio-n": (lambda: train(d_over_n=2.0), ValueError,
                ["d_over_n must be None unless n=None", "got 2.0 with n=100"]),
    "ratio-pool": (lambda: infinite(d_over_n=2.0, pool=5), ValueError,
                   ["d_over_n must be None unless n=None", "got 2.0 with pool=5"]),
    "ratio-batch": (lambda: train(BATCH, width=2, d_over_n=2.0, n=None), ValueError,
                    ["d_over_n must be None unless n=None", "got 2.0 with a batch"]),
    "ratio-sign": (lambda: infinite(d_over_n=-1), ValueError,
                   ["d_over_n must be finite and at least 0", "got -1"]),
    "ratio-kind": (lambda: infinite(d_over_n="2"), TypeError,
                   ["d_over_n must be a number", "got '2'"]),
    "ratio-room": (lambda: infinite(SMALL, d_over_n=2), ValueError,
                   ["d_over_n must be 0 for d < 4", "got 2 with d = 3"]),
    "track-population": (lambda: train(track_start=True), ValueError,
                         [ELSEWHERE, "got engine 'population'"]),
    "track-arrays": (lambda: train(BATCH, track_start=True), ValueError,
                     [ELSEWHERE, "got engine 'arrays'"]),
    "track-pool": (lambda: train(track_start=True, **POOL), ValueError,
                   [ELSEWHERE, "got pool=5"]),
    "track-infinite": (lambda: infinite(track_start=True), ValueError,
                       [ELSEWHERE, "got engine 'limit'"]),
    "track-room": (lambda: train(of(d=5), track_start=True, **FINITE), ValueError,
                   ["track_start=True needs d >= 6", "got d = 5"]),
    "track-kind": (lambda: train(track_start=1, **FINITE), TypeError,
                   ["track_start must be True or False", "got 1"]),
    "dof-two": (lambda: ms.StudentT(dof=2), ValueError, ["dof must be above 2", "got 2"]),
    "dof-infinite": (lambda: ms.StudentT(dof=np.inf), ValueError, ["dof must be", "got inf"]),
    "dof-kind": (lambda: ms.StudentT(dof="5"), TypeError, ["dof must be a number", "got '5'"]),
    "features-class": (lambda: of(features=ms.StudentT), TypeError,
                       ["features must be an instance", "StudentT()"]),
    "features-kind": (lambda: of(features=3), TypeError, ["features must be", "StudentT", "got 3"]),
    "route": (lambda: train(route="gram", **FINITE), ValueError,
              ["route must be 'auto' unless rounds reuse data", "got 'gram'"]),
    "accumulate": (lambda: train(accumulate="float32", dtype="float32", **POOL), ValueError,
                   ["accumulate='float32' needs engine 'arrays'", "got 'collapsed'"]),
    "pool-one-side": (lambda: train(pool=5, n=3, m_in=3), ValueError,
                      ["m_out must be an integer for a pool", "got None"]),
    "pool-heads": (lambda: train(FIXED, **POOL), ValueError,
                   ["pool must be at most 4, the number of heads", "got 5"]),
    "n-above-heads": (lambda: train(FIXED, n=5, **FINITE), ValueError, ["n must be at most 4",
                                                                        "got 5"]),
    "shared-outer": (lambda: train(m_out=3, shared_samples=True), ValueError,
                     ["m_out must equal m_in = None", "got 3"]),
    "m_in-many": (lambda: train(m_in=2**31, m_out=1), ValueError, ["m_in must be at most", "got"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_sentence_names_argument_expected_and_given(case):
    assert_one_sentence(*case)


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_representation_has_the_coordinates(kind):
    r = run(kind, trials=2, record=("dist", "perp_norm"))
    tolerance = 1e-12 if r.config.dtype == "float64" else 1e-5
    tasks, k = r.config.tasks, r.config.width
    assert r.state[1].shape == (2, k * (1 + r.config.track_start), k)
    for place in range(2):
        M, R, w = (part[place] for part in r.state)
        B, B_star = r.full_B(place), tasks.ground_truth(seed=9, trial=place)
        assert (B.shape, B.dtype) == ((tasks.d, k), r.config.dtype)
        np.testing.assert_allclose(B_star.T @ B, M, atol=tolerance)
        np.testing.assert_allclose(B.T @ B, M.T @ M + R.T @ R, atol=tolerance)
        assert np.linalg.norm(R, 2) == pytest.approx(
            r.trace["perp_norm"][place, -1], rel=10 * tolerance
        )
        dist = ms.subspace_distance(B.astype(np.float64), B_star)
        assert dist == pytest.approx(r.trace["dist"][place, -1], rel=100 * tolerance)
        np.testing.assert_array_equal(w, r.w[place])
    np.testing.assert_array_equal(r.full_B(), [r.full_B(0), r.full_B(1)])


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_back_from_a_file(kind, tmp_path):
    r = run(kind, trials=2)
    r.save(tmp_path / "run")
    back = ms.load(tmp_path / "run")
    assert_same_bits(back, r)
    assert repr(back) == repr(r)
    names = ["n", "m_in", "m_out", "engine", "route", "pool", "shared_samples", "track_start"]
    for name in [*names, "method", "width", "record"]:
        assert getattr(back.config, name) == getattr(r.config, name), name
    assert back.config.tasks.features == r.config.tasks.features
    np.testing.assert_array_equal(back.full_B(1), r.full_B(1))


def test_frame_and_repr_of_a_run():
    pytest.importorskip("pandas")
    for kind in ("gaussian", "pool", "infinite-tasks"):
        frame = run(kind, trials=2, record_every=10).to_frame()
        assert len(frame) == 2 * 5
        assert frame.notna().all(axis=None)
    assert "n=infinite" in repr(run("infinite-tasks"))
    assert repr(run("gaussian")) == (
        "Result(MAML(alpha=0.02, beta=0.05, inner_steps=2, first_order=False), d=30, k=3, width=3, "
        "n=5, m_in=4, m_out=6, engine='collapsed', rounds=40, trials=1: 1 FINISHED)"
    )


@pytest.mark.parametrize("start", ["random", "tilted", "given"])
def test_a_start_that_is_tracked_is_where_the_end_comes_from(start):
    """The steps are so small that B is B_0 up to rounding."""
    init = {"random": ms.Init(scale=1.0), "tilted": ms.Init(dist=0.6, scale=1.0), "given": START}
    options = {"init": init[start], "trials": 2, "method": ms.MAML(alpha=0.01, beta=1e-9)}
    tracked = run("gaussian", track_start=True, **options)
    first = run("gaussian", m_in=None, m_out=None, rounds=0, **options)  # of the population
    np.testing.assert_allclose(tracked.full_B(), first.full_B(), atol=1e-6)
    free = run("gaussian", **options)
    assert free.B is None
    if start == "given":
        np.testing.assert_allclose(tracked.B, [START[0]] * 2, atol=1e-6)
        assert abs(free.full_B() - first.full_B()).max() > 0.01  # its directions are forgotten
    else:
        assert tracked.B is None


def test_infinitely_many_tasks_follow_a_given_start():
    """No sample adds directions: after no steps, and steps along B_0 H alone."""
    B0 = START[0]
    for m_in in (None, 3):
        options = {"B_star": B_STAR, "init": (B0, np.zeros(4)), "m_in": m_in, "m_out": m_in}
        np.testing.assert_allclose(run("infinite-tasks", rounds=0, **options).B, B0, atol=1e-14)
        moved = run("infinite-tasks", **options).B
        span = np.linalg.qr(np.concatenate([B_STAR, B0], axis=1))[0]
        np.testing.assert_allclose(span @ (span.T @ moved), moved, atol=1e-13)
        assert abs(moved - B0).max() > 0.01


@pytest.mark.parametrize("exponents", [(-300, -300), (-170, 0), (100, 170), (300, 300), (-9, 9)])
def test_triangular_factors_keep_their_digits_at_any_length(exponents, rng):
    """Also of columns whose squares are no double."""
    A, scale = rng.standard_normal((6, 2)), 10.0 ** np.array(exponents)
    R = core.r_factor(A * scale, 1) / scale
    np.testing.assert_allclose(R.T @ R, A.T @ A, rtol=1e-13)
    assert R[1, 0] == 0


def test_a_pool_far_out_has_a_finite_state():
    """One round before the run would diverge, entries are so large that their squares overflow."""
    tasks = ms.LinearTasks(d=10**12, k=1, noise=0.3, heads=ms.GaussianHeads(cov=[0.0]))
    method = ms.MAML(alpha=2.0, beta=1e-13, inner_steps=4, first_order=True)
    options = {"n": None, "m_in": 2, "m_out": 1, "pool": 1, "init": ms.Init(scale=1.0)}
    r = train(tasks, method, record=(), **options)
    assert r.status == ms.Status.FINISHED
    assert 1e154 < np.linalg.norm(r.state[1], np.inf) < np.inf


def test_moments_of_heads_out_of_range_are_no_numbers():
    """And the trial has diverged: its state is the last one that is finite."""
    options = {"n": 4, "m_in": 2, "m_out": 8, "pool": 6, "init": ms.Init(dist=0.5, scale=0.1)}
    method = ms.MAML(alpha=0.01, beta=5.0, first_order=True)
    options |= {"heads": np.linspace(-1, 1, 6)[:, None], "noise": 10.0, "d": 8, "k": 1}
    record = ("diversity_min", "diversity_max")
    with pytest.warns(ms.DivergenceWarning):
        r = run("gaussian", method=method, rounds=6, seed=2, record=record, **options)
    assert r.status == ms.Status.DIVERGED
    assert np.isnan([r.trace[name][-1] for name in record]).all()
    assert np.isfinite(r.state[1]).all()


def test_fresh_directions_leave_the_span_of_the_start():
    r = run("tracked-given")
    span = np.linalg.qr(np.concatenate([B_STAR, START[0]], axis=1))[0]
    assert np.linalg.norm(r.B - span @ (span.T @ r.B)) > 0.01
