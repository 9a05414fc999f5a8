"""Gradients of the methods beside MAML and ANIL, against their losses written out at full size."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from data_runs import Case
from matching import batch_of, gradient_error, problem, relative_error
from reference import family
from sparse_data import pair

CASES = {
    "ragged": Case(9, 3, 3, (5, 4, 8), (4, 7, 1)),
    "wide": Case(31, 5, 3, (8, 6, 9), (3, 2, 7)),
    "tall": Case(6, 2, 2, (11, 30), (7, 13)),
    "many": Case(
        67, 4, 3, tuple(5 + i % 7 for i in range(37)), tuple(9 - i % 5 for i in range(37))
    ),
    "long rows": Case(9001, 3, 2, (7, 10), (8, 2)),
}
SMALL = ("ragged", "tall")
ROUTES = ("gram", "vector")


def build(rng, name):
    sizes = CASES[name]._asdict()
    del sizes["shared"]
    return problem(rng, **sizes)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("case", CASES)
def test_fedavg_contributes_the_moves_of_local_steps(rng, case, steps, route):
    B, w, tasks = build(rng, case)
    alpha = 0.3 / max(10, B.shape[0])
    found = ms.meta_gradient(B, w, batch_of(tasks), "fedavg", alpha=alpha, local_steps=steps,
                             route=route)  # fmt: skip
    assert gradient_error(found, family.mean_move(B, w, tasks, alpha, steps)) < 1e-11
    ends = [family.local_steps(B, w, inner, alpha, steps) for inner, _ in tasks]
    outer = [outer.loss(*end) for (_, outer), end in zip(tasks, ends, strict=True)]
    assert relative_error(found.loss_out, outer) < 1e-11
    assert relative_error(found.loss_in, [inner.loss(B, w) for inner, _ in tasks]) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
def test_fedavg_of_one_step_is_average_risk_on_the_inner_set(rng, route):
    B, w, tasks = build(rng, "wide")
    batch = batch_of(tasks)
    moved = ms.meta_gradient(B, w, batch, "fedavg", alpha=0.3, local_steps=1, route=route)
    one_set = ms.TaskBatch(batch.X_in, batch.y_in)
    risk = ms.meta_gradient(B, w, one_set, "average-risk", route=route)
    assert gradient_error(moved, (0.3 * risk.B, 0.3 * risk.w)) < 1e-13


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("lam", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("case", SMALL)
def test_ridge_anil_is_the_derivative_through_the_solved_head(rng, case, lam, route, losses):
    B, w, tasks = build(rng, case)
    batch, options = batch_of(tasks), {"route": route, "losses": losses}
    found = ms.meta_gradient(B, w, batch, ms.RidgeANIL(lam=lam), **options)
    expected = family.ridge_gradient(B, w, tasks, lam)
    assert relative_error(found.B, expected[0]) < 1e-10
    assert abs(found.w - expected[1]).max() < 1e-10 * max(1.0, abs(expected[1]).max())

    def loss(B, w):
        return family.ridge_loss(B, w, tasks, lam)

    assert relative_error(found.B, ref.central_differences(loss, B, w, 1e-3)[0]) < 1e-9
    first_order = ms.RidgeANIL(lam=lam, first_order=True)
    found = ms.meta_gradient(B, w, batch, first_order, **options)
    expected = family.first_order_ridge_gradient(B, w, tasks, lam)
    assert relative_error(found.B, expected[0]) < 1e-10
    assert abs(found.w - expected[1]).max() < 1e-10 * max(1.0, abs(expected[1]).max())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", CASES)
def test_solved_heads_and_losses_are_those_of_ridge_regression(rng, case, route):
    B, w, tasks = build(rng, case)
    method = ms.RidgeANIL(lam=0.2)
    found = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    heads = [family.ridge_head(B, w, inner, 0.2) for inner, _ in tasks]
    batch = batch_of(tasks)
    assert relative_error(ms.adapt(B, w, batch.X_in, batch.y_in, method), heads) < 1e-10
    inner = [inner.loss(B, head) for (inner, _), head in zip(tasks, heads, strict=True)]
    outer = [outer.loss(B, head) for (_, outer), head in zip(tasks, heads, strict=True)]
    assert relative_error(found.loss_in, [inner.loss(B, w) for inner, _ in tasks]) < 1e-12
    assert relative_error(found.loss_adapted, inner) < 1e-10
    assert relative_error(found.loss_out, outer) < 1e-10


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", SMALL)
def test_fedrep_is_the_derivative_of_the_loss_minimised_over_heads(rng, case, route):
    B, w, tasks = build(rng, case)
    batch = batch_of(tasks)
    found = ms.meta_gradient(B, w, batch, "fedrep", route=route)
    assert relative_error(found.B, family.fedrep_gradient(B, tasks)) < 1e-10
    assert not found.w.any()
    one_set = ms.TaskBatch(batch.X_in, batch.y_in)
    same = ms.meta_gradient(B, w, one_set, ms.RidgeANIL(lam=0.0), route=route)
    assert relative_error(same.B, found.B) < 1e-10
    apart = ms.meta_gradient(B, w, batch, ms.FedRep(separate=True), route=route)
    expected = family.first_order_ridge_gradient(B, w, tasks, 0.0)
    assert relative_error(apart.B, expected[0]) < 1e-10


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_maml_may_move_the_body_alone(rng, steps, route):
    B, w, tasks = build(rng, "ragged")
    method = ms.MAML(alpha=0.05, inner_steps=steps, moves="body")

    def loss(B, w):
        ends = [family.local_steps(B, w, inner, 0.05, steps, adapt_head=False)
                for inner, _ in tasks]  # fmt: skip
        return sum(o.loss(*end) for (_, o), end in zip(tasks, ends, strict=True)) / len(tasks)

    found = ms.meta_gradient(B, w, batch_of(tasks), method, route=route)
    assert gradient_error(found, ref.complex_step(loss, B, w)) < 1e-11


def test_maml_that_moves_the_head_is_anil(rng):
    B, w, tasks = build(rng, "wide")
    batch = batch_of(tasks)
    found = ms.meta_gradient(B, w, batch, ms.MAML(alpha=0.1, inner_steps=2, moves="head"))
    expected = ms.meta_gradient(B, w, batch, ms.ANIL(alpha=0.1, inner_steps=2))
    np.testing.assert_array_equal(found.B, expected.B)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_population_gradients(rng, k, noise):
    B_star, heads = ref.frame(rng, 11, 3), rng.standard_normal((19, 3))
    B, w = 0.6 * rng.standard_normal((11, k)), 0.5 * rng.standard_normal(k)
    tasks = ref.population_tasks(B_star, heads, noise)

    def gradient(method, **steps):
        return ms.population_gradient(B, w, B_star, heads, method, noise=noise, **steps)

    found = gradient("fedavg", alpha=0.2, local_steps=3)
    assert gradient_error(found, family.mean_move(B, w, tasks, 0.2, 3)) < 1e-12
    for lam in (0.1, 1.0):
        found = gradient(ms.RidgeANIL(lam=lam))
        assert gradient_error(found, family.ridge_gradient(B, w, tasks, lam)) < 1e-11
        found = gradient(ms.RidgeANIL(lam=lam, first_order=True))
        expected = family.first_order_ridge_gradient(B, w, tasks, lam)
        assert gradient_error(found, expected) < 1e-11
        solved = [family.ridge_head(B, w, inner, lam) for inner, _ in tasks]
        outer = [o.loss(B, head) for (_, o), head in zip(tasks, solved, strict=True)]
        assert relative_error(found.loss_out, outer) < 1e-12
    found = gradient("fedrep")
    assert relative_error(found.B, family.fedrep_gradient(B, tasks)) < 1e-11


@pytest.mark.parametrize("method", ["fedavg", "ridge-anil", "fedrep"])
def test_sparse_gradients_are_those_of_the_same_dense_data(rng, method):
    given = pair(m_in=(6, 7, 9, 6), m_out=(5, 2, 6, 1))
    B, w = 0.5 * rng.standard_normal((60, 4)), rng.standard_normal(4)
    found = ms.meta_gradient(B, w, given.sparse, method)
    expected = ms.meta_gradient(B, w, given.dense, method, route="gram")
    assert gradient_error(found, (expected.B, expected.w)) < 1e-12


FAMILY = {
    "fedavg": ms.FedAvg(alpha=0.004, local_steps=3),
    "reptile": ms.Reptile(alpha=0.01, local_steps=1),
    "fedavg-two-steps": ms.FedAvg(alpha=0.004, local_steps=3, beta_head=0.3),
    "ridge-anil": ms.RidgeANIL(lam=0.1, beta=0.05),
    "fo-ridge-anil": ms.RidgeANIL(lam=0.1, beta=0.05, first_order=True),
    "fedrep": ms.FedRep(beta=0.05),
    "fedrep-apart": ms.FedRep(beta=0.05, separate=True),
    "body": ms.MAML(alpha=0.01, beta=0.05, inner_steps=2, moves="body"),
    "frozen-head": ms.ANIL(alpha=0.05, beta=0.05, outer="body"),
    "frozen-body": ms.ANIL(alpha=0.05, beta=0.05, outer="head"),
    "two-steps": ms.MAML(alpha=0.02, beta=0.05, beta_head=0.2),
}


def stepped(B, w, g, method):
    """(B, w) after an outer step along a gradient."""
    outer = getattr(method, "outer", "both")
    step = method.server_step if isinstance(method, (ms.FedAvg, ms.Reptile)) else method.beta
    step_B = 0.0 if outer == "head" else step
    step_w = 0.0 if outer == "body" else step if method.beta_head is None else method.beta_head
    return B - step_B * g.B, w - step_w * g.w


def mixture(generator, m, d):
    """Rows around one of two centres."""
    return generator.choice([-0.5, 0.5], (m, 1)) + generator.standard_normal((m, d))


LAWS = {"gaussian": "gaussian", "sphere": "sphere", "t": ms.StudentT(dof=9), "function": mixture}


@pytest.mark.parametrize("features", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
@pytest.mark.parametrize("name", FAMILY)
def test_sampled_rounds_are_those_on_the_arrays_that_sample_draws(rng, name, shared, features):
    method, tasks = FAMILY[name], ms.LinearTasks(d=41, k=2, noise=0.3, features=features)
    B, w = 0.4 * rng.standard_normal((41, 3)), 0.1 * np.ones(3)
    sizes = {"n": 11, "m_in": 13, "m_out": None if shared else 9, "shared_samples": shared}
    r = ms.train(tasks, method, rounds=3, engine="sampled", init=(B, w), seed=3, stop=None,
                 record="loss_out", **sizes)  # fmt: skip
    losses = []
    for t in range(3):
        sample = {**sizes, "m_out": 13 if shared else 9}
        g = ms.meta_gradient(B, w, tasks.sample(**sample, seed=3, round=t), method)
        losses.append(g.loss_out.mean())
        B, w = stepped(B, w, g, method)
    assert relative_error(r.B, B) < 1e-11
    assert abs(r.w - w).max() < 1e-11
    assert relative_error(r.trace["loss_out"][:-1], losses) < 1e-10


@pytest.mark.parametrize("name", ["ridge-anil", "fedrep"])
def test_long_generated_rows_are_projected_in_blocks(rng, name):
    """Inner sets too large to be kept while their Z is formed."""
    method, tasks = FAMILY[name], ms.LinearTasks(d=200_001, k=2, features="sphere")
    B, w = 0.002 * rng.standard_normal((200_001, 3)), 0.1 * np.ones(3)
    sizes = {"n": 9, "m_in": 17, "m_out": 3}
    r = ms.train(tasks, method, rounds=1, engine="sampled", init=(B, w), seed=3, stop=None, **sizes)
    g = ms.meta_gradient(B, w, tasks.sample(**sizes, seed=3), method)
    assert relative_error(r.B, B - 0.05 * g.B) < 1e-11


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("name", FAMILY)
def test_rounds_on_fixed_data_are_steps_along_the_gradient(rng, name, route):
    B, w, tasks = build(rng, "wide")
    batch, method = batch_of(tasks), FAMILY[name]
    r = ms.train(batch, method, rounds=6, width=5, init=(B, w), route=route, stop=None)
    for _ in range(6):
        B, w = stepped(B, w, ms.meta_gradient(B, w, batch, method, route="gram"), method)
    assert relative_error(r.B, B) < 1e-9
    assert relative_error(r.w, w) < 1e-9


@pytest.mark.parametrize("spectrum", [None, 0.7])
@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("k", [2, 3])
def test_population_rounds_are_those_written_out(rng, name, k, spectrum):
    """Population losses, with and without a covariance, as data sets that have it exactly."""
    method, d = FAMILY[name], 12
    heads = rng.standard_normal((4, 2))
    B_star = np.ascontiguousarray(np.eye(d, 2))
    tasks = ms.LinearTasks(d=d, k=2, heads=heads, B_star=B_star, spectrum=spectrum)
    B, w = 0.4 * rng.standard_normal((d, k)), 0.2 * np.ones(k)
    r = ms.train(tasks, method, rounds=5, n=4, init=(B, w), width=k, stop=None)
    roots = np.arange(1.0, d + 1) ** (-0.5 * (spectrum or 0.0))
    X = np.repeat((np.sqrt(d) * np.diag(roots))[None], 4, axis=0)
    batch = ms.TaskBatch(X, np.einsum("nij,nj->ni", X, heads @ B_star.T))
    for _ in range(5):
        B, w = stepped(B, w, ms.meta_gradient(B, w, batch, method, route="gram"), method)
    assert relative_error(r.full_B() if r.B is None else r.B, B) < 1e-10
    assert abs(r.w - w).max() < 1e-10


@pytest.mark.parametrize("pool", [None, 7])
@pytest.mark.parametrize("fresh", [False, True])
def test_the_step_of_the_server_along_w_in_law(fresh, pool):
    """One round from equal samples: B moves by server_step alone, and w by beta_head alone."""
    B, w = np.eye(30, 2), np.array([0.3, -0.2])
    tasks = ms.LinearTasks(d=30, k=2, noise=0.3, B_star=np.eye(30, 2))
    ends = []
    for steps in ({"server_step": 1.0}, {"server_step": 0.4, "beta_head": 0.25}):
        method = ms.FedAvg(alpha=0.01, local_steps=3, fresh_steps=fresh, **steps)
        r = ms.train(tasks, method, rounds=1, n=5, m_in=6, m_out=None if pool is None else 4,
                     pool=pool, engine="collapsed", init=(B, w), stop=None)  # fmt: skip
        ends.append((r.state[0], r.w))
    (M_1, w_1), (M_2, w_2) = ends
    np.testing.assert_allclose(M_2 - np.eye(2), 0.4 * (M_1 - np.eye(2)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(w_2 - w, 0.25 * (w_1 - w), rtol=1e-12, atol=1e-15)
    assert abs(w_1 - w).min() > 1e-5


@pytest.mark.parametrize("method", ["fedrep", "average-risk", ms.ANIL(alpha=0.0)], ids=str)
def test_a_start_has_columns_of_length_one_without_an_inner_step_size(method):
    r = ms.train(ms.LinearTasks(d=50, k=2), method, rounds=0, n=3)
    assert np.allclose(np.linalg.norm(r.full_B(), axis=0), 1.0)


def test_few_samples_in_many_dimensions_are_warned_of_before_local_steps():
    tasks = ms.LinearTasks(d=10_000, k=3)
    sizes = {"rounds": 0, "n": 3, "m_in": 10, "m_out": 10}
    with pytest.warns(ms.LocalStepsWarning, match=r"d = 10000 and m_in = 10.* the limit is 2"):
        ms.train(tasks, "fedavg", alpha=0.1, **sizes)
    for fine in ({"local_steps": 1}, {"alpha": 0.01}, {"m_in": 3000}, {"m_in": None}):
        ms.train(tasks, "fedavg", **{"alpha": 0.1, **sizes, **fine})
    batch = tasks.sample(3, 10, 10, seed=0)
    with pytest.warns(ms.LocalStepsWarning), pytest.warns(ms.FewSamplesWarning):
        ms.train(batch, "reptile", rounds=0, width=3, alpha=0.1)


def test_heads_on_sparse_data_are_solved_for_by_other_routes_than_the_vector_one(rng):
    given = pair(m_in=(6, 7, 9, 6), m_out=(5, 2, 6, 1))
    B, w = 0.5 * rng.standard_normal((60, 4)), np.zeros(4)
    with pytest.raises(ValueError, match="solved for on sparse data; got 'vector'"):
        ms.meta_gradient(B, w, given.sparse, "fedrep", route="vector")
    with pytest.raises(ValueError, match="solved for on sparse data; got 'vector'"):
        ms.train(given.sparse, "fedrep", width=4, route="vector", rounds=1)


def test_a_singular_system_ends_the_trial_with_its_round():
    """Nearly equal columns of B: no head is determined, and no number is made up."""
    B = np.ones((9, 2)) / 3
    B[0, 1] += 1e-9
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(ms.LinearTasks(d=9, k=2), "fedrep", rounds=3, n=4, m_in=5, m_out=5,
                     init=(B, np.zeros(2)))  # fmt: skip
    assert r.status.round == 0
    batch = ms.LinearTasks(d=9, k=2).sample(4, 5, 5, seed=0)
    told = "cannot be solved for in double precision"
    with pytest.raises(ValueError, match=told):
        ms.meta_gradient(B, np.zeros(2), batch, "fedrep", losses=False)
    with pytest.raises(ValueError, match=told):
        ms.adapt(B, np.zeros(2), batch.X_in, batch.y_in, "fedrep")
    with pytest.raises(ValueError, match=told):
        ms.population_gradient(B, np.zeros(2), np.eye(9, 2), np.ones((3, 2)), "fedrep")


@pytest.mark.parametrize("name", FAMILY)
def test_evaluate_adapts_by_the_method(rng, name):
    """The adapted risk of evaluate is the mean over explicitly drawn tasks, within its error."""
    method, tasks = FAMILY[name], ms.LinearTasks(d=9, k=2, noise=0.2, B_star=np.eye(9, 2))
    B, w = 0.5 * rng.standard_normal((9, 3)), 0.3 * np.ones(3)
    risk = ms.evaluate(B, w, tasks, method, m=12, n=4000, seed=1).adapted
    batch = tasks.sample(4000, 12, 1, seed=5)
    adapted = ms.adapt(B, w, batch.X_in, batch.y_in, method, return_B=True)
    heads, moved = adapted
    errors = np.einsum("nij,nj->ni", moved, heads) - batch.heads @ np.eye(9, 2).T
    explicit = 0.5 * (errors**2).sum(axis=1)
    spread = np.hypot(explicit.std() / np.sqrt(4000), risk.standard_error)
    assert abs(explicit.mean() - risk.mean) < 4.5 * spread


@pytest.mark.parametrize("name", FAMILY)
def test_a_spectrum_needs_no_more_memory_than_it_takes(name):
    """Many sizes of panels and pieces: a moment too far would be read beyond its end."""
    for n in (1, 4, 5, 9, 30):
        tasks = ms.LinearTasks(d=12, k=2, spectrum=0.7)
        r = ms.train(tasks, FAMILY[name], rounds=3, n=n, width=3, seed=n)
        assert np.isfinite(r.trace["dist"]).all()


@pytest.mark.parametrize(
    "method",
    [
        ms.MAML(alpha=50, inner_steps=8),
        ms.MAML(alpha=2, inner_steps=12, first_order=True),
        ms.FedAvg(alpha=2, local_steps=10),
    ],
    ids=str,
)
def test_inner_loops_that_overflow_on_a_spectrum_end_the_trial(method):
    B = 2 * np.eye(50, 2) + 0.1
    tasks = ms.LinearTasks(d=50, k=2, spectrum=0.5)
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(tasks, method, rounds=3, n=8, init=(B, np.full(2, 0.5)))
    assert r.status.status == ms.Status.DIVERGED


@pytest.mark.parametrize(
    "method",
    [ms.FedAvg(alpha=0.5, local_steps=20), ms.MAML(alpha=0.5, inner_steps=20, first_order=True)],
    ids=str,
)
def test_columns_without_a_task_do_not_end_a_trial(method):
    """Only tasks whose heads are those of the start stay finite: with no head, steps overflow."""
    tasks = ms.LinearTasks(d=50, k=2, heads=np.ones((9, 2)), B_star=np.eye(50, 2))
    start = (2 * np.eye(50, 2), np.full(2, 0.5))
    for n in (8, 9):
        r = ms.train(tasks, method, rounds=2, n=n, m_in=10, m_out=10, init=start, stop=None)
        assert r.status.round == 2


def test_body_moves_do_not_hide_missing_values(rng):
    X, y = rng.standard_normal((3, 5, 9)), rng.standard_normal((3, 5))
    X[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="X"):
        ms.adapt(np.eye(9, 2), np.ones(2), X, y, ms.MAML(moves="body"))


def test_a_checkpoint_of_another_option_names_its_default(tmp_path):
    tasks, path = ms.LinearTasks(d=9, k=2), tmp_path / "run.npz"
    ms.train(tasks, ms.MAML(), rounds=2, n=3, checkpoint=path)
    with pytest.raises(ValueError, match=r"moves.*'both'"):
        ms.train(tasks, ms.MAML(moves="body"), rounds=2, n=3, checkpoint=path)
