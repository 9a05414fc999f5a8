"""The engine of the limit against quadrature of (51)-(55), and against other engines."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.theory.limit import limit_round
from reference import limit, outer

D, K_STAR = 12, 2
COV = np.array([[1.5, 0.4], [0.4, 0.6]])
ROWS = np.array([[1.0, 0.5], [-0.8, 1.2], [0.3, -1.1]])
MEAN = np.array([0.4, -0.2])
LAWS = {
    "gaussian": (ms.GaussianHeads(cov=COV, mean=MEAN), limit.gaussian_heads(MEAN, COV)),
    "sphere": (ms.SphereHeads(radius=1.3), limit.sphere_heads(1.3, K_STAR)),
    "array": (ROWS, limit.array_heads(ROWS)),
}
STEPS = {"alpha": 0.3, "beta": 0.2}
COUNTS = [(3, 2), (None, 2), (3, None), (None, None)]


def start(width, rank):
    """B_star (D, k_star), and B (D, width) with `rank` directions off the truth, and w."""
    rng = np.random.default_rng(23)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    M, R = 0.5 * rng.standard_normal((2, max(K_STAR, rank), width))
    B_star, E = Q[:, :K_STAR].copy(), Q[:, K_STAR : K_STAR + rank]
    return B_star, B_star @ M[:K_STAR] + E @ R[:rank], 0.3 * rng.standard_normal(width)


def train(law, B_star, B, w, *, first_order=False, spread=0.0, **changes):
    method = ms.ANIL(**STEPS, first_order=first_order, **changes.pop("method", {}))
    tasks = ms.LinearTasks(d=D, k=K_STAR, noise=0.4, heads=law, B_star=B_star, spread=spread)
    options = {"n": None, "d_over_n": 0.0, "init": (B, w), "stop": None, "threads": 1}
    return ms.train(tasks, method, **options | changes)


def descend(M, R, w, nodes, rounds, *, d_over_n, **settings):
    """The state after `rounds` rounds of quadrature over the nodes of the law of heads."""

    def gradient(C, w):
        return limit.gradient(C, w, nodes, **settings, alpha=STEPS["alpha"], noise=0.4)

    return limit.descend(M, R, w, gradient, rounds, beta=STEPS["beta"], d_over_n=d_over_n)


def assert_state(r, M, R, w, tolerance=1e-11):
    """Compare M, R^T R and w; a basis off the truth is not determined."""
    its_M, its_R, its_w = r.state
    np.testing.assert_allclose(its_M, M, atol=tolerance)
    np.testing.assert_allclose(its_R.T @ its_R, R.T @ R, atol=tolerance)
    np.testing.assert_allclose(its_w, w, atol=tolerance)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("m_in", "m_out"), COUNTS)
@pytest.mark.parametrize("law", LAWS)
def test_rounds_are_those_of_the_definition(law, m_in, m_out, first_order):
    """R has one row at the start and as many as columns after it, for widths around k_star."""
    heads, nodes = LAWS[law]
    settings = dict(m_in=m_in, m_out=m_out, exact=not first_order, d_over_n=2.0)
    for width in (1, 2, 3) if law == "gaussian" and m_in and m_out else (2,):
        B_star, B, w = start(width, 1)
        r = train(heads, B_star, B, w, first_order=first_order, m_in=m_in, m_out=m_out,
                  d_over_n=2.0, rounds=2)  # fmt: skip
        M, R = B_star.T @ B, np.linalg.qr(B - B_star @ (B_star.T @ B), mode="r")[:1]
        assert_state(r, *descend(M, R, w, nodes, 2, **settings))
        assert (r.state[1].shape, r.B) == ((width, width), None)


@pytest.mark.parametrize("law", ["sphere", "array"])
def test_a_spread_in_finitely_many_dimensions(law):
    heads, nodes = LAWS[law]
    B_star, B, w = start(1, 1)
    r = train(heads, B_star, B, w, spread=0.9, m_in=3, m_out=2, d_over_n=0.5, rounds=2)
    M, R = B_star.T @ B, np.linalg.qr(B - B_star @ (B_star.T @ B), mode="r")[:1]
    settings = dict(m_in=3, m_out=2, exact=True, d_over_n=0.5, spread=0.9, d=D)
    assert_state(r, *descend(M, R, w, nodes, 2, **settings))


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_fixed_heads_are_population_losses_of_all_of_them(first_order, width):
    """Infinite sets and gamma = 0: the records agree too, with heads that are not centred."""
    record = ("dist", "angles", "loss_in", "loss_adapted", "loss_out", "w_norm", "delta_norm")
    record += ("sigma_min", "perp_norm", "diversity_min", "diversity_max", "mu", "L", "eta")
    start_of = start(width, width)
    options = {"first_order": first_order, "rounds": 30, "record": record}
    every = train(ROWS, *start_of, **options, d_over_n=None)
    drawn = train(ROWS, *start_of, **options)
    assert (every.config.engine, drawn.config.engine) == ("population", "limit")
    for name in every.trace:
        np.testing.assert_allclose(drawn.trace[name], every.trace[name], atol=1e-12, err_msg=name)
    np.testing.assert_allclose(drawn.B, every.B, atol=1e-12)


@pytest.mark.parametrize(
    "step",
    [
        dict(momentum=0.6, nesterov=True),
        dict(momentum=0.5, average=True, lookahead=(3, 0.5)),
        dict(schedule="1/t"),
    ],
)
def test_steps_with_memory_take_the_rows_off_the_span(step):
    """Rows that are new in each round, on arrays of full size, have the Gram matrix of (55)."""
    heads, gamma, rounds = LAWS["gaussian"][0], 2.0, 8
    B_star, B, w = start(2, 2)
    plain = ms.LinearTasks(d=D, k=K_STAR, noise=0.4, heads=heads)
    M = B_star.T @ B
    C = np.zeros((K_STAR + 2 * (rounds + 1), 2))
    C[:K_STAR], C[K_STAR : K_STAR + 2] = M, np.linalg.qr(B - B_star @ M, mode="r")

    def gradient(t, C, w):
        # The part of theta off the truth is zero, so rows of zeros change nothing.
        by = limit_round(plain, ms.ANIL(**STEPS), C, w, m_in=3, m_out=2)
        fresh = K_STAR + 2 * (t + 1)
        by.grad_C[fresh : fresh + 2] += np.sqrt(gamma) * limit.root(by.S)
        return by.grad_C, by.grad_w

    factors = {"factor": lambda t: 1 / (1 + t)} if step.get("schedule") else {}
    memory = {name: value for name, value in step.items() if name != "schedule"}
    expected = outer.train(C, w, gradient, rounds, beta=0.2, **memory, **factors)[-1]
    r = train(heads, B_star, B, w, m_in=3, m_out=2, d_over_n=gamma, rounds=rounds,
              method={"step": ms.OuterStep(**step)})  # fmt: skip
    assert_state(r, expected[0][:K_STAR], expected[0][K_STAR:], expected[1])


@pytest.mark.parametrize("moved", ["body", "head"])
def test_what_the_outer_step_leaves_out_stays(moved):
    B_star, B, w = start(2, 2)
    r = train(ROWS, B_star, B, w, m_in=3, m_out=2, d_over_n=2.0, rounds=5, method={"outer": moved})
    if moved == "body":
        np.testing.assert_array_equal(r.w, w)
        assert abs(r.state[0] - B_star.T @ B).max() > 0.01
    else:
        np.testing.assert_allclose(r.state[0], B_star.T @ B, atol=1e-15)
        off = B - B_star @ (B_star.T @ B)
        np.testing.assert_allclose(r.state[1].T @ r.state[1], off.T @ off, atol=1e-14)
        assert abs(r.w - w).max() > 0.01


@pytest.mark.parametrize("first_order", [False, True])
def test_small_distances_keep_their_digits(first_order):
    """Without new rows R is only multiplied: the rate holds down to 1e-250, with a finite m_in."""
    tasks = ms.LinearTasks(d=10**6, k=3, noise=0.5)
    method = ms.ANIL(alpha=0.4, beta=0.8, first_order=first_order)
    r = ms.train(tasks, method, n=None, m_in=30, m_out=5, rounds=4000, stop=ms.Stop(dist=1e-250))
    assert r.status == ms.Status.CONVERGED
    rates = np.diff(np.log(r.trace["dist"][500:]))
    np.testing.assert_allclose(rates, rates[0], rtol=1e-10)
    exactly = ms.train(tasks, method, n=None, m_in=30, rounds=4000, d_over_n=3.0,
                       stop=ms.Stop(dist=1e-250))  # fmt: skip
    assert (exactly.status == ms.Status.CONVERGED) == first_order  # rows are added by T alone


def test_long_steps_diverge():
    tasks = ms.LinearTasks(d=100, k=2, noise=0.5)
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(tasks, "fo-anil", alpha=0.5, beta=3.0, n=None, m_in=2, m_out=1, d_over_n=9.0)
    assert r.status == ms.Status.DIVERGED
    assert all(np.isfinite(part).all() for part in r.state)


def test_a_round_of_the_theory_is_a_round_of_the_engine():
    B_star, B, w = start(3, 3)
    M = B_star.T @ B
    R = np.linalg.qr(B - B_star @ M, mode="r")
    tasks = ms.LinearTasks(d=D, k=K_STAR, noise=0.4, heads=LAWS["gaussian"][0])

    def gradient(C, w):
        return limit_round(tasks, ms.ANIL(**STEPS), C, w, m_in=3, m_out=2)

    for gamma in (0.0, 2.0):
        expected = limit.descend(M, R, w, gradient, 1, beta=STEPS["beta"], d_over_n=gamma)
        r = train(tasks.heads, B_star, B, w, m_in=3, m_out=2, d_over_n=gamma, rounds=1)
        assert_state(r, *expected, 1e-14)


def test_an_estimate_knows_the_rows_that_rounds_add():
    tasks = ms.LinearTasks(d=10**6, k=10)
    plain, growing = (
        ms.estimate(tasks, "anil", n=None, m_in=5, m_out=5, d_over_n=gamma) for gamma in (0.0, 1.0)
    )
    assert (plain.engine, growing.engine) == ("limit", "limit")
    assert plain.flops_per_round < growing.flops_per_round < 20 * plain.flops_per_round
    assert (plain.round, growing.round) == (
        "n=infinite, m_in=5, m_out=5",
        "n=infinite, m_in=5, m_out=5, d_over_n=1",
    )
