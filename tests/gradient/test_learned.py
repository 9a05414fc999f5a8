"""Learned step sizes (34), a co-learner (35) and fresh local steps (25), against their losses."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from data_runs import Case
from matching import (
    assert_one_sentence,
    assert_same_bits,
    batch_of,
    gradient_error,
    problem,
    relative_error,
)
from reference import learned
from sparse_data import pair

CASES = {
    "ragged": Case(9, 3, 3, (5, 4, 8), (4, 7, 1)),
    "wide": Case(31, 5, 3, (8, 6, 9), (3, 2, 7)),
    "many": Case(
        67, 4, 3, tuple(5 + i % 7 for i in range(19)), tuple(9 - i % 5 for i in range(19))
    ),
    "long rows": Case(4099, 3, 2, (7, 10), (8, 2)),
}
ROUTES = ("gram", "vector")
ALPHA = 0.06


def build(rng, name):
    sizes = CASES[name]._asdict()
    del sizes["shared"]
    return problem(rng, **sizes)


def derivative(function, x):
    """The gradient of a function of one vector, by complex steps."""
    return ref.complex_step(lambda _, x: function(x), np.zeros((0, 0)), np.atleast_1d(x))[1]


def differences(function, x, step=3e-3):
    """The gradient of a function of one vector, by central differences."""
    x = np.atleast_1d(x)
    return ref.central_differences(lambda _, x: function(x), np.zeros((0, 0)), x, step)[1]


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("steps", [0, 1, 2, 4])
@pytest.mark.parametrize("case", ["ragged", "wide"])
@pytest.mark.parametrize("moves", ["head", "both"])
def test_the_gradient_of_a_step_size(rng, moves, case, steps, route, losses):  # noqa: PLR0917
    B, w, tasks = build(rng, case)
    options = {"moves_B": moves == "both"}
    alpha = ALPHA if moves == "head" else ALPHA / B.shape[0]

    def loss(alpha):
        return learned.learned_loss(B, w, alpha[0], tasks, steps, **options)

    method = ms.MetaSGD(alpha=alpha, inner_steps=steps, moves=moves)
    g = ms.meta_gradient(B, w, batch_of(tasks), method, route=route, losses=losses)
    expected = derivative(loss, np.array(alpha))
    assert relative_error(g.alpha, expected) < 1e-11
    by_differences = differences(loss, np.array(alpha), 0.003 * alpha)
    scale = max(abs(expected).max(), loss([alpha]) / alpha)
    assert abs(by_differences - expected).max() < 1e-9 * scale
    same = (ms.ANIL if moves == "head" else ms.MAML)(alpha=alpha, inner_steps=steps)
    other = ms.meta_gradient(B, w, batch_of(tasks), same, route=route, losses=losses)
    np.testing.assert_array_equal(g.B, other.B)
    np.testing.assert_array_equal(g.w, other.w)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_a_step_size_for_each_entry(rng, case, steps, route):
    B, w, tasks = build(rng, case)
    alpha = ALPHA * (1.0 + rng.random(w.size)) * np.where(np.arange(w.size) == 1, -1.0, 1.0)
    method = ms.MetaSGD(alpha=alpha, inner_steps=steps, per="head")
    g = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    by = {
        "alpha": derivative(lambda a: learned.learned_loss(B, w, a, tasks, steps), alpha),
        "w": derivative(lambda w: learned.learned_loss(B, w, alpha, tasks, steps), w),
    }
    assert relative_error(g.alpha, by["alpha"]) < 1e-11
    assert relative_error(g.w, by["w"]) < 1e-11
    if B.size < 1000:
        expected = ref.complex_step(
            lambda B, _: learned.learned_loss(B, w, alpha, tasks, steps), B, w
        )
        assert relative_error(g.B, expected[0]) < 1e-11
    heads = [learned.adapt(B, w, inner, alpha, steps)[1] for inner, _ in tasks]
    batch = batch_of(tasks)
    assert relative_error(ms.adapt(B, w, batch.X_in, batch.y_in, method), heads) < 1e-11


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("steps", "moves", "per"),
    [(1, "both", "scalar"), (3, "both", "scalar"), (3, "head", "scalar"), (3, "head", "head")],
)
def test_first_order_gradients_of_step_sizes(rng, steps, moves, per, route):
    B, w, tasks = build(rng, "wide")
    method = ms.MetaSGD(alpha=0.01, inner_steps=steps, first_order=True, moves=moves, per=per)
    g = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    options = {"moves_B": moves == "both"}
    expected = learned.first_order_alpha(
        B, w, 0.01, tasks, steps, per_entry=per == "head", **options
    )
    assert relative_error(g.alpha, expected) < 1e-11
    if steps == 1:
        exact = derivative(
            lambda a: learned.learned_loss(B, w, a[0], tasks, 1, **options), np.array(0.01)
        )
        assert relative_error(g.alpha, exact) < 1e-11


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("moves", ["head", "both"])
def test_the_gradient_of_a_co_learner(  # noqa: PLR0917
    rng, moves, case, steps, first_order, route, losses
):
    B, w, tasks = build(rng, case)
    v, batch = 0.5 * rng.standard_normal(w.size), batch_of(tasks)
    options = {"alpha": ALPHA / B.shape[0], "inner_steps": steps, "first_order": first_order}
    method = ms.CoLearner(gamma=0.7, moves=moves, **options)
    g = ms.meta_gradient(B, w, batch, method, v=v, route=route, losses=losses)
    adapted = (ms.ANIL if moves == "head" else ms.MAML)(**options)
    base = ms.meta_gradient(B, w, batch, adapted, route=route, losses=losses)
    risk = ms.meta_gradient(B, v, batch, "average-risk", route=route, losses=False)
    assert gradient_error(g, (base.B + 0.7 * risk.B, base.w)) < 1e-12
    assert relative_error(g.v, 0.7 * risk.w) < 1e-12
    if losses:
        np.testing.assert_array_equal(g.loss_out, base.loss_out)
    at_rest = ms.meta_gradient(B, w, batch, method, route=route, losses=losses)
    assert gradient_error(at_rest, (base.B, base.w)) < 1e-13
    assert at_rest.v.any()
    if first_order or B.size > 1000:
        return
    sizes = {"alpha": options["alpha"], "steps": steps, "gamma": 0.7, "moves_B": moves == "both"}

    def loss(B, w, v=v):
        return learned.co_learner_loss(B, w, v, tasks, **sizes)

    assert gradient_error(g, ref.complex_step(loss, B, w)) < 1e-11
    assert relative_error(g.v, derivative(lambda v: loss(B, w, v), v)) < 1e-11
    assert relative_error(g.v, differences(lambda v: loss(B, w, v), v)) < 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_population_gradients(rng, k, noise):
    B_star, heads = ref.frame(rng, 11, 3), rng.standard_normal((19, 3))
    B, w, v = (0.5 * rng.standard_normal(shape) for shape in ((11, k), k, k))
    tasks = ref.population_tasks(B_star, heads, noise)

    def gradient(method, **more):
        return ms.population_gradient(B, w, B_star, heads, method, noise=noise, **more)

    for moves_B in (False, True):
        method = ms.MetaSGD(alpha=0.2, inner_steps=3, moves="both" if moves_B else "head")
        by_alpha = derivative(
            lambda a, moves_B=moves_B: learned.learned_loss(B, w, a[0], tasks, 3, moves_B=moves_B),
            np.array(0.2),
        )
        assert relative_error(gradient(method).alpha, by_alpha) < 1e-12
        method = ms.CoLearner(alpha=0.2, inner_steps=2, gamma=0.4, moves=method.moves)
        options = {"alpha": 0.2, "steps": 2, "gamma": 0.4, "moves_B": moves_B}

        def loss(B, w, options=options):
            return learned.co_learner_loss(B, w, v, tasks, **options)

        g = gradient(method, v=v)
        assert gradient_error(g, ref.complex_step(loss, B, w)) < 1e-11
        by_v = derivative(
            lambda v, options=options: learned.co_learner_loss(B, w, v, tasks, **options), v
        )
        assert relative_error(g.v, by_v) < 1e-12
    alpha = 0.1 + 0.1 * rng.random(k)
    g = gradient(ms.MetaSGD(alpha=alpha, inner_steps=2, per="head"))
    by_alpha = derivative(lambda a: learned.learned_loss(B, w, a, tasks, 2), alpha)
    assert relative_error(g.alpha, by_alpha) < 1e-12


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("d", [9, 31, 4099])
def test_fresh_steps_use_a_block_of_samples_each(rng, d, steps, route, losses):
    sizes = {"m_in": (2 * steps, 4 * steps, 3 * steps), "m_out": (4, 7, 1)}
    B, w, tasks = problem(rng, d=d, width=3, k_star=2, **sizes)
    batch, alpha = batch_of(tasks), 0.3 / max(10, d)
    method = ms.FedAvg(alpha=alpha, local_steps=steps, fresh_steps=True)
    g = ms.meta_gradient(B, w, batch, method, route=route, losses=losses)
    ends = [learned.fresh_steps(B, w, inner, alpha, steps) for inner, _ in tasks]
    moves = [B - np.mean([e[0] for e in ends], axis=0), w - np.mean([e[1] for e in ends], axis=0)]
    assert gradient_error(g, moves) < 1e-11
    heads, moved = ms.adapt(B, w, batch.X_in, batch.y_in, method, return_B=True)
    assert relative_error(heads, [end[1] for end in ends]) < 1e-12
    assert relative_error(moved, [end[0] for end in ends]) < 1e-12
    if losses:
        assert relative_error(g.loss_in, [inner.loss(B, w) for inner, _ in tasks]) < 1e-12
        inner = [inner.loss(*end) for (inner, _), end in zip(tasks, ends, strict=True)]
        outer = [outer.loss(*end) for (_, outer), end in zip(tasks, ends, strict=True)]
        assert relative_error(g.loss_adapted, inner) < 1e-11
        assert relative_error(g.loss_out, outer) < 1e-11


@pytest.mark.parametrize(
    "method",
    [
        ms.MetaSGD(alpha=0.01, inner_steps=2, moves="both"),
        ms.CoLearner(alpha=0.01, moves="both"),
        ms.CoLearner(alpha=0.01, first_order=True),
        ms.FedAvg(alpha=0.01, local_steps=3, fresh_steps=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("route", ROUTES)
def test_sparse_gradients_are_those_of_the_same_dense_data(rng, method, route):
    batches = pair(m_in=(6, 9, 3, 12), m_out=(5, 2, 6, 1))
    B, w = 0.5 * rng.standard_normal((60, 4)), rng.standard_normal(4)
    v = {"v": rng.standard_normal(4)} if isinstance(method, ms.CoLearner) else {}
    g = ms.meta_gradient(B, w, batches.sparse, method, route=route, **v)
    expected = ms.meta_gradient(B, w, batches.dense, method, route="gram", **v)
    assert gradient_error(g, (expected.B, expected.w)) < 1e-12
    for name in ("alpha", "v"):
        if getattr(expected, name) is not None:
            assert relative_error(getattr(g, name), getattr(expected, name)) < 1e-12


CLIPPED = {
    "meta-sgd": ms.MetaSGD(alpha=0.01, inner_steps=2),
    "meta-sgd, both": ms.MetaSGD(alpha=0.01, inner_steps=2, moves="both"),
    "per entry": ms.MetaSGD(alpha=0.01, inner_steps=2, per="head", first_order=True),
    "co-learner": ms.CoLearner(alpha=0.01, first_order=True),
    "co-learner, both": ms.CoLearner(alpha=0.01, inner_steps=2, moves="both"),
    "fresh": ms.FedAvg(alpha=0.01, local_steps=3, fresh_steps=True),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", CLIPPED)
def test_the_clipped_norm_includes_what_is_learned(rng, name, route):
    B, w, tasks = problem(rng, d=31, width=3, k_star=2, m_in=(6, 9, 3), m_out=(3, 2, 7))
    more = {"v": rng.standard_normal(3)} if "co-learner" in name else {}
    options = {"route": route, **more}
    gradients = [ms.meta_gradient(B, w, batch_of([t]), CLIPPED[name], **options) for t in tasks]
    parts = [[part for part in (g.B, g.w, g.alpha, g.v) if part is not None] for g in gradients]
    norms = [np.sqrt(sum((part**2).sum() for part in each)) for each in parts]
    clip = float(np.median(norms))
    privacy = ms.UserDP(clip=clip, multiplier=0.0)
    method = type(CLIPPED[name])(**{**vars(CLIPPED[name]), "privacy": privacy})
    g = ms.meta_gradient(B, w, batch_of(tasks), method, **options)
    names = [n for n in ("B", "w", "alpha", "v") if getattr(g, n) is not None]
    for place, part in enumerate(names):
        scaled = [
            min(1.0, clip / norm) * each[place] for norm, each in zip(norms, parts, strict=True)
        ]
        assert relative_error(getattr(g, part), np.mean(scaled, axis=0)) < 1e-11


def test_noise_reaches_what_is_learned():
    """Every learned number gets noise of the standard deviation of (30)."""
    tasks = ms.LinearTasks(d=9, k=2)
    privacy = ms.UserDP(clip=0.5, multiplier=2.0)
    sizes = {"n": 4, "m_in": 3, "m_out": 3, "rounds": 1, "trials": 4000, "stop": None}
    for method in (
        ms.MetaSGD(beta_alpha=1.0, privacy=privacy),
        ms.CoLearner(beta=1.0, privacy=privacy),
    ):
        calm = type(method)(**{**vars(method), "privacy": ms.UserDP(clip=0.5, multiplier=0.0)})
        noisy, still = (ms.train(tasks, each, **sizes) for each in (method, calm))
        values = [
            np.atleast_2d(getattr(r, "alpha" if r.v is None else "v")) for r in (noisy, still)
        ]
        noise = (values[0] - values[1]).ravel()
        assert abs(noise.std() / 0.25 - 1.0) < 5 / np.sqrt(2 * noise.size)
        assert abs(noise.mean()) < 5 * 0.25 / np.sqrt(noise.size)


RUNS = {
    "meta-sgd": ms.MetaSGD(alpha=0.02, beta=0.02, beta_alpha=1e-4, inner_steps=2),
    "meta-sgd, both": ms.MetaSGD(
        alpha=0.01, beta=0.05, beta_alpha=1e-4, inner_steps=2, moves="both", beta_head=0.02
    ),
    "fo-meta-sgd": ms.MetaSGD(
        alpha=0.01, beta=0.05, beta_alpha=1e-4, inner_steps=2, moves="both", first_order=True
    ),
    "per entry": ms.MetaSGD(
        alpha=(0.01, 0.02, 0.03), beta=0.02, beta_alpha=1e-4, inner_steps=2, per="head"
    ),
    "co-learner": ms.CoLearner(alpha=0.02, beta=0.05, gamma=0.3, beta_head=0.04),
    "co-learner, both": ms.CoLearner(
        alpha=0.01, beta=0.05, gamma=0.3, inner_steps=2, moves="both", first_order=True
    ),
    "fresh": ms.FedAvg(alpha=0.004, local_steps=3, fresh_steps=True),
}


def stepped(state, batch, method, route="auto"):
    """(B, w, alpha, v) after an outer step, and the mean outer loss before it."""
    B, w, alpha, v = state
    if isinstance(method, ms.FedAvg):
        g = ms.meta_gradient(B, w, batch, method, route=route)
        return (B - g.B, w - g.w, None, None), g.loss_out.mean()
    step = method.beta if method.beta_head is None else method.beta_head
    if isinstance(method, ms.CoLearner):
        g = ms.meta_gradient(B, w, batch, method, v=v, route=route)
        return (B - method.beta * g.B, w - step * g.w, None, v - step * g.v), g.loss_out.mean()
    here = ms.MetaSGD(**{**vars(method), "alpha": alpha})
    g = ms.meta_gradient(B, w, batch, here, route=route)
    moved = np.atleast_1d(alpha) - method.beta_alpha * g.alpha
    alpha = tuple(moved.tolist()) if method.per == "head" else float(moved[0])
    return (B - method.beta * g.B, w - step * g.w, alpha, None), g.loss_out.mean()


def start_of(B, w, method):
    v = np.zeros(w.size) if isinstance(method, ms.CoLearner) else None
    return B, w, getattr(method, "alpha", None), v


def check_end(r, state, tolerance):
    """Compare the end of a run with the state that written-out steps reach."""
    B, w, alpha, v = state
    assert relative_error(r.full_B() if r.B is None else r.B, B) < tolerance
    assert abs(r.w - w).max() < tolerance
    if isinstance(r.config.method, ms.MetaSGD):
        assert relative_error(np.atleast_1d(r.alpha), np.atleast_1d(alpha)) < tolerance
        assert r.method == ms.MetaSGD(**{**vars(r.config.method), "alpha": r.method.alpha})
        assert relative_error(r.method.alpha, alpha) < tolerance
    if isinstance(r.config.method, ms.CoLearner):
        assert abs(r.v - v).max() < tolerance
    else:
        assert r.v is None


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("name", RUNS)
def test_rounds_on_fixed_data_are_steps_along_the_gradient(rng, name, route):
    B, w, tasks = problem(rng, d=31, width=3, k_star=3, m_in=(6, 9, 3), m_out=(3, 2, 7))
    batch, method = batch_of(tasks), RUNS[name]
    r = ms.train(batch, method, rounds=6, width=3, init=(B, w), route=route, stop=None)
    state = start_of(B, w, method)
    for _ in range(6):
        state, _ = stepped(state, batch, method, "gram")
    check_end(r, state, 1e-9)


@pytest.mark.parametrize("features", ["gaussian", "sphere"])
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("name", RUNS)
def test_sampled_rounds_are_those_on_the_arrays_that_sample_draws(rng, name, shared, features):
    method, tasks = RUNS[name], ms.LinearTasks(d=41, k=2, noise=0.3, features=features)
    B, w = 0.4 * rng.standard_normal((41, 3)), 0.1 * np.ones(3)
    drawn = 4 * (3 if name == "fresh" else 1)  # fresh steps have m_in samples each
    sizes = {"n": 11, "m_in": 4, "m_out": None if shared else 9, "shared_samples": shared}
    r = ms.train(tasks, method, rounds=3, engine="sampled", init=(B, w), seed=3, stop=None,
                 record="loss_out", **sizes)  # fmt: skip
    state, losses = start_of(B, w, method), []
    for t in range(3):
        sample = {**sizes, "m_in": drawn, "m_out": drawn if shared else 9}
        state, loss = stepped(state, tasks.sample(**sample, seed=3, round=t), method)
        losses.append(loss)
    check_end(r, state, 1e-11)
    assert relative_error(r.trace["loss_out"][:-1], losses) < 1e-10


@pytest.mark.parametrize("engine", ["collapsed", "arrays"])
@pytest.mark.parametrize("name", RUNS)
def test_a_pool_at_full_size_has_the_samples_of_all_steps(rng, name, engine):
    """In law only the law of the end is known, which two engines and `sample` have in common."""
    method, tasks = RUNS[name], ms.LinearTasks(d=41, k=2, noise=0.3)
    B, w = 0.4 * rng.standard_normal((41, 3)), 0.1 * np.ones(3)
    sizes = {"n": 4, "pool": 4, "m_in": 4, "m_out": 5}
    r = ms.train(tasks, method, rounds=2, engine=engine, init=(B, w), stop=None, **sizes)
    if engine == "collapsed":
        assert r.status.round == 2
        return
    batch = tasks.sample(4, 12 if name == "fresh" else 4, 5, seed=0)
    state = start_of(B, w, method)
    for _ in range(2):
        state, _ = stepped(state, batch, method)
    check_end(r, state, 1e-11)


@pytest.mark.parametrize("spectrum", [None, 0.7])
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("k_star", [2, 3])
def test_population_rounds_are_those_written_out(rng, name, k_star, spectrum):
    """Population losses, with and without a covariance, as data sets that have it exactly.

    The learner has 3 columns: with k_star = 2 the frame turns, except with a step size for each
    entry.
    """
    method, d = RUNS[name], 12
    if name == "fresh":  # no difference with infinitely many samples
        method = ms.FedAvg(alpha=0.004, local_steps=3)
    heads = rng.standard_normal((4, k_star))
    B_star = np.ascontiguousarray(np.eye(d, k_star))
    tasks = ms.LinearTasks(d=d, k=k_star, heads=heads, B_star=B_star, spectrum=spectrum)
    B, w = 0.4 * rng.standard_normal((d, 3)), 0.2 * np.ones(3)
    r = ms.train(tasks, RUNS[name], rounds=5, n=4, init=(B, w), width=3, stop=None)
    roots = np.arange(1.0, d + 1) ** (-0.5 * (spectrum or 0.0))
    X = np.repeat((np.sqrt(d) * np.diag(roots))[None], 4, axis=0)
    batch = ms.TaskBatch(X, np.einsum("nij,nj->ni", X, heads @ B_star.T))
    state = start_of(B, w, method)
    for _ in range(5):
        state, _ = stepped(state, batch, method, "gram")
    check_end(r, state, 1e-10)
    assert relative_error(r.trace["dist"][-1], ms.subspace_distance(state[0], B_star)) < 1e-8


BASES = {
    "meta-sgd": (ms.MetaSGD(alpha=0.02, beta_alpha=0.0), ms.ANIL(alpha=0.02)),
    "per entry": (ms.MetaSGD(alpha=0.02, beta_alpha=0.0, per="head"), ms.ANIL(alpha=0.02)),
    "meta-sgd, both": (
        ms.MetaSGD(alpha=0.02, beta_alpha=0.0, inner_steps=2, moves="both"),
        ms.MAML(alpha=0.02, inner_steps=2),
    ),
    "co-learner": (ms.CoLearner(alpha=0.02, gamma=0.0), ms.ANIL(alpha=0.02)),
    "co-learner, both": (ms.CoLearner(alpha=0.02, gamma=0.0, moves="both"), ms.MAML(alpha=0.02)),
}


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("name", BASES)
def test_nothing_learned_leaves_the_method(name, width):
    """Population rounds have the same bits, also where the frame turns, up to rounding of steps."""
    method, base = BASES[name]
    tasks = ms.LinearTasks(d=30, k=2, noise=0.1)
    options = {"rounds": 20, "n": 5, "width": width, "stop": None, "record": ("dist", "loss_out")}
    r, expected = (ms.train(tasks, each, **options) for each in (method, base))
    for record in ("dist", "loss_out"):
        np.testing.assert_allclose(r.trace[record], expected.trace[record], rtol=1e-9)
    if isinstance(method, ms.MetaSGD):
        assert np.ptp(np.atleast_1d(r.alpha)) == 0.0
        assert np.atleast_1d(r.alpha)[0] == 0.02
    else:
        assert not r.v.any()


LAWS = {
    "population": {},
    "collapsed": {"m_in": 4, "m_out": 5},
    "sampled": {"m_in": 4, "m_out": 5, "engine": "sampled"},
    "pool": {"m_in": 4, "m_out": 5, "pool": 6, "route": "gram"},
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", RUNS)
def test_threads_and_interruptions_change_no_bit(tmp_path, name, law):
    tasks = ms.LinearTasks(d=30, k=2, noise=0.1)
    options = {"n": 6, "width": 3, "trials": 3, "stop": None, "init": ms.Init(scale=0.5)}
    options |= LAWS[law]
    records = {"record": ("dist", "loss_out", "alpha"), "record_every": 2}
    one = ms.train(tasks, RUNS[name], rounds=7, threads=1, **options, **records)
    two = ms.train(tasks, RUNS[name], rounds=7, threads=2, **options, **records)
    assert_same_bits(two, one)
    path = tmp_path / "run.npz"
    ms.train(tasks, RUNS[name], rounds=3, checkpoint=path, **options, **records)
    resumed = ms.train(tasks, RUNS[name], rounds=7, checkpoint=path, **options, **records)
    assert_same_bits(resumed, one)
    for trial in range(3):
        options["trials"] = range(trial, trial + 1)
        alone = ms.train(tasks, RUNS[name], rounds=7, **options, **records)
        assert_same_bits(one.trial(trial), alone)
    one.save(tmp_path / "result.npz")
    assert_same_bits(ms.load(tmp_path / "result.npz"), one)
    if isinstance(RUNS[name], ms.MetaSGD):
        mean = one.alpha if RUNS[name].per == "scalar" else one.alpha.mean(axis=1)
        assert relative_error(one.trace["alpha"][:, -1], mean) < 1e-15
        assert (abs(mean - one.trace["alpha"][:, 0]) > 0).all()
        with pytest.raises(ValueError, match="trial"):
            _ = one.method


def test_a_learned_method_adapts_by_what_it_learned(rng):
    tasks = ms.LinearTasks(d=30, k=2, noise=0.1, B_star=np.ascontiguousarray(np.eye(30, 2)))
    B = np.ascontiguousarray(np.eye(30, 2)) + 0.1 * rng.standard_normal((30, 2))
    batch = tasks.sample(500, 10, 1, seed=3)
    for name in ("meta-sgd", "per entry"):
        method = ms.MetaSGD(
            **{**vars(RUNS[name]), "alpha": (0.05, 0.1) if name == "per entry" else 0.1}
        )
        r = ms.train(tasks, method, rounds=20, n=10, init=(B, np.zeros(2)), stop=None)
        assert r.method.alpha != method.alpha
        heads = ms.adapt(r.B, r.w, batch.X_in, batch.y_in, r.method)
        errors = heads @ r.B.T - batch.heads @ np.eye(30, 2).T
        explicit = 0.5 * (errors**2).sum(axis=1)
        risk = ms.evaluate(r.B, r.w, tasks, r.method, m=10, n=2000).adapted
        spread = np.hypot(explicit.std() / np.sqrt(500), risk.standard_error)
        assert abs(explicit.mean() - risk.mean) < 4.5 * spread


@pytest.mark.parametrize("m", [6, 15])
def test_evaluate_takes_fresh_steps_on_blocks_of_samples(rng, m):
    """The risk is the mean over explicitly drawn tasks, with fewer and with more samples than d."""
    method = ms.FedAvg(alpha=0.05, local_steps=3, fresh_steps=True)
    tasks = ms.LinearTasks(d=9, k=2, noise=0.2, B_star=np.ascontiguousarray(np.eye(9, 2)))
    B, w = 0.5 * rng.standard_normal((9, 3)), 0.3 * np.ones(3)
    risk = ms.evaluate(B, w, tasks, method, m=m, n=20_000, seed=1).adapted
    batch = tasks.sample(20_000, m, 1, seed=5)
    heads, moved = ms.adapt(B, w, batch.X_in, batch.y_in, method, return_B=True)
    errors = np.einsum("nij,nj->ni", moved, heads) - batch.heads @ np.eye(9, 2).T
    explicit = 0.5 * (errors**2).sum(axis=1)
    spread = np.hypot(explicit.std() / np.sqrt(20_000), risk.standard_error)
    assert abs(explicit.mean() - risk.mean) < 4.5 * spread


def test_fresh_steps_need_no_warning(recwarn):
    tasks = ms.LinearTasks(d=10_000, k=3)
    method = ms.FedAvg(alpha=0.1, fresh_steps=True)
    ms.train(tasks, method, rounds=0, n=3, m_in=10, m_out=10)
    assert not [w for w in recwarn if issubclass(w.category, ms.LocalStepsWarning)]


def test_wrong_options_are_refused_in_one_sentence(rng):
    batch = ms.TaskBatch(rng.standard_normal((3, 7, 9)), rng.standard_normal((3, 7)))
    B, w = np.eye(9, 2), np.zeros(2)
    fresh = ms.Reptile(local_steps=2, fresh_steps=True)
    wrong = {
        lambda: ms.MetaSGD(per="row"): ["per", "'row'"],
        lambda: ms.MetaSGD(moves="body"): ["moves", "'body'"],
        lambda: ms.MetaSGD(per="head", moves="both"): ["per='head'", "moves='head'"],
        lambda: ms.MetaSGD(beta_alpha=-1.0): ["beta_alpha", "-1"],
        lambda: ms.MetaSGD(per="head", alpha=[0.1, np.nan]): ["alpha", "finite"],
        lambda: ms.MetaSGD(per="head", alpha=[]): ["step sizes"],
        lambda: ms.CoLearner(gamma=-1.0): ["gamma", "-1"],
        lambda: ms.CoLearner(moves="body"): ["moves", "'body'"],
        lambda: ms.train(batch, fresh, width=2): ["local_steps = 2", "7 samples"],
        lambda: ms.meta_gradient(B, w, batch, fresh): ["local_steps = 2", "7 samples"],
        lambda: ms.adapt(B, w, batch.X_in, batch.y_in, fresh): ["local_steps = 2", "7 samples"],
        lambda: ms.train(batch, ms.MetaSGD(alpha=(0.1,) * 3, per="head"), width=2): ["width = 2"],
        lambda: ms.meta_gradient(B, w, batch, "anil", v=w): ["v", "CoLearner"],
        lambda: ms.meta_gradient(B, w, batch, "co-learner", v=np.zeros(3)): ["v", "(2,)"],
    }
    for call, fragments in wrong.items():
        assert_one_sentence(call, ValueError, fragments)
    assert_one_sentence(lambda: ms.MetaSGD(alpha=(0.1, 0.2)), TypeError, ["alpha", "number"])
    assert_one_sentence(lambda: ms.FedAvg(fresh_steps=1), TypeError, ["fresh_steps"])
