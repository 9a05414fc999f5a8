"""Predictions agree with recursions of their equations and with runs."""

import itertools
import math

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS, assert_one_sentence
from metaspan import theory
from metaspan.tasks.heads import NamedFunction
from reference import infinite_tasks

SIGMA_STAR = np.array([[1.5, 0.4], [0.4, 0.6]])
MEAN = np.array([1.0, -2.0])
PAIRS = np.sqrt(3) * np.concatenate([np.eye(3), -np.eye(3)]) * [1.0, 0.9, 0.7]
LAWS = {
    "standard": (ms.GaussianHeads(), np.eye(2)),
    "diagonal": (ms.GaussianHeads(cov=[2.0, 0.5]), np.diag([2.0, 0.5])),
    "mean": (ms.GaussianHeads(cov=SIGMA_STAR, mean=MEAN), SIGMA_STAR + np.outer(MEAN, MEAN)),
    "sphere": (ms.SphereHeads(radius=3.0), 4.5 * np.eye(2)),
    "table": ([[1.0, 1.0], [3.0, 0.0]], np.array([[5.0, 0.5], [0.5, 0.5]])),
}


@pytest.mark.parametrize(("law", "expected"), LAWS.values(), ids=LAWS)
def test_moment_is_that_of_very_many_heads(law, expected):
    """Every entry within 6 standard errors."""
    np.testing.assert_allclose(theory.second_moment(law, 2), expected, rtol=1e-14)
    tasks = ms.LinearTasks(d=5, k=2, heads=law)
    heads = tasks.draw_heads(len(law) if isinstance(law, list) else 100_000)
    each = heads[:, :, None] * heads[:, None, :]
    error = each.std(axis=0) / math.sqrt(len(heads)) if len(heads) > 2 else 1e-15
    assert (abs(each.mean(axis=0) - expected) <= 6 * error + 1e-12).all()


@pytest.mark.parametrize(("law", "expected"), LAWS.values(), ids=LAWS)
def test_diversity_is_that_of_the_law(law, expected):
    values = np.linalg.eigvalsh(expected)
    found = theory.diversity(law, 2)
    assert found.mu == pytest.approx(math.sqrt(values[0]), rel=1e-12)
    assert pytest.approx(math.sqrt(values[1]), rel=1e-12) == found.L
    assert found.kappa == pytest.approx(found.L / found.mu, rel=1e-12)
    means = {"mean": math.sqrt(5.0), "table": math.sqrt(4.25)}
    name = next(name for name, pair in LAWS.items() if pair[0] is law)
    assert found.eta == pytest.approx(means.get(name, 0.0))


def test_heads_that_leave_a_direction_out_have_no_rate(rng):
    """Also where rounding hides it: mu is 0, and nothing is promised."""
    U = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for law in (ms.GaussianHeads(cov=(U * [1.0, 2.0, 3.0, 0.0]) @ U.T), ms.SphereHeads(radius=0)):
        tasks = ms.LinearTasks(d=9, k=4, heads=law)
        assert theory.diversity(law, 4).kappa == math.inf
        assert theory.rate(tasks, "maml") == 0.0
        assert theory.plateau(tasks, "maml") == math.inf


@pytest.mark.parametrize("name", METHODS)
def test_rate_is_that_of_a_run(name):
    """All tasks in every round: the late slope agrees to 1e-6."""
    tasks, method = ms.LinearTasks(d=20, k=3, heads=PAIRS), METHODS[name](alpha=0.3, beta=0.3)
    r = ms.train(tasks, method, rounds=2000, n=None, stop=None, threads=1)
    log_dist = np.log(r.trace["dist"])
    slope = (log_dist[1000] - log_dist[2000]) / 1000
    assert slope == pytest.approx(theory.rate(tasks, method), rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("share", "attracts"), [(0.9, True), (1.1, False)])
def test_rate_is_refused_where_the_solution_does_not_attract(name, share, attracts):
    bound = 1.0 if name.startswith("fo") else 0.5
    heads = np.sqrt(2) * np.concatenate([np.eye(2), -np.eye(2)]) * [1.0, 0.6]
    tasks = ms.LinearTasks(d=6, k=2, heads=heads, B_star=np.eye(6, 2))
    method = METHODS[name](alpha=0.5, beta=2 * share * bound)
    near = 1.001 * np.sqrt(2) * np.eye(6, 2)
    r = ms.train(
        tasks, method, rounds=400, n=None, init=(near, np.zeros(2)), stop=None, threads=1,
        record="delta_norm",
    )  # fmt: skip
    assert (r.trace["delta_norm"][-1] < 1e-9) == attracts
    if attracts:
        assert theory.rate(tasks, method) > 0
    else:
        message = f"must be below {bound:g} for alpha B^T B = I to attract"
        assert_one_sentence(lambda: theory.rate(tasks, method), ValueError, [message])


@pytest.mark.parametrize("d", [10**2, 10**5, 10**9])
def test_plateau_is_right_to_order_one(d):
    """In units of 1 / (beta alpha mu_star^2), dist = 1/2 comes 1 later, for 30 trials at any d."""
    tasks = ms.LinearTasks(d=d, k=3)
    r = ms.train(
        tasks, "fo-anil", alpha=0.3, beta=0.3, rounds=400, n=100, trials=30, stop=None, threads=1
    )
    waits = np.argmax(r.trace["dist"] < 0.5, axis=1)
    assert waits.min() > 0
    later = 0.09 * (waits - theory.plateau(tasks, "fo-anil", alpha=0.3, beta=0.3))
    assert 0.5 < later.mean() < 2.5
    assert later.min() > -2
    assert later.max() < 6


@pytest.mark.parametrize("m_in", [1, 4, 25, None])
@pytest.mark.parametrize("width", [2, 3, 4])
def test_recursion_ends_in_the_fixed_point_and_fades_as_predicted(rng, width, m_in):
    steps = dict(alpha=0.4, beta=0.3)
    law = ms.GaussianHeads(cov=SIGMA_STAR)
    tasks = ms.LinearTasks(d=7, k=2, noise=0.7, heads=law)
    # From a larger M, steps of this size can diverge.
    M, R = 0.5 * rng.standard_normal((2, width)), 0.5 * rng.standard_normal((5, width))
    rounds, surplus = 3000, width - 2
    M, R = infinite_tasks.descend(M, R, SIGMA_STAR, rounds, noise=0.7, m_in=m_in, **steps)
    limit = theory.fixed_point(tasks, "fo-anil", m_in, **steps)
    np.testing.assert_allclose(M @ M.T, limit, atol=1e-13)
    found = np.linalg.svd(R, compute_uv=False)
    assert (found[surplus:] < 1e-14).all()
    predicted = theory.fading(tasks, "fo-anil", m_in, rounds, **steps)
    if m_in is None:
        assert math.isinf(predicted)
        assert (found[:surplus] > 0.01).all()
    else:
        np.testing.assert_allclose(found[:surplus], predicted, rtol=0.05)
        assert (found[:surplus] < predicted).all()


def test_fixed_point_is_where_a_run_ends():
    tasks = ms.LinearTasks(d=50, k=3, noise=0.5, heads=ms.GaussianHeads(cov=[2.0, 1.0, 0.5]))
    method = ms.ANIL(alpha=0.3, beta=0.3, first_order=True)
    r = ms.train(
        tasks, method, rounds=1500, n=None, m_in=5, m_out=5, init="methodical", stop=None,
        threads=1,
    )  # fmt: skip
    M = r.state[0]
    np.testing.assert_allclose(M @ M.T, theory.fixed_point(tasks, method, 5), atol=1e-12)


def test_fading_is_given_round_by_round():
    tasks = ms.LinearTasks(d=7, k=2)
    found = theory.fading(tasks, ms.ANIL(first_order=True), 8, np.array([[0, 1], [4, 100]]))
    assert math.isinf(found[0, 0])
    np.testing.assert_allclose(found[1] / found[0, 1], [0.5, 0.1])


def test_error_floor_is_a_scale_under_an_old_name():
    assert theory.error_scale(50, 2, 10, 25) == math.sqrt(100 / 250)
    with pytest.warns(DeprecationWarning, match="use theory.error_scale, or theory.floor"):
        assert theory.error_floor(50, 2, 10, 25) == theory.error_scale(50, 2, 10, 25)


def test_rate_line_lies_on_the_late_part_of_a_run():
    tasks = ms.LinearTasks(d=20, k=3, heads=PAIRS)
    r = ms.train(
        tasks, "fo-anil", alpha=0.3, beta=0.3, rounds=1500, n=None, trials=3, stop=None,
        record_every=10, threads=1,
    )  # fmt: skip
    line = theory.rate_line(r)(r.trace["round"])
    mean = np.exp(np.log(r.trace["dist"]).mean(axis=0))
    assert mean[-1] < 1e-15
    late = mean < 1e-6
    np.testing.assert_allclose(line[late], mean[late], rtol=1e-3)
    assert line[0] > mean[0]


def test_rate_line_of_a_run_that_is_all_late_goes_through_its_start():
    near = np.sqrt(10) * (np.eye(9, 3) + 1e-12 * np.eye(9, 3, -3))
    tasks = ms.LinearTasks(d=9, k=3, heads=PAIRS, B_star=np.eye(9, 3))
    r = ms.train(tasks, "fo-anil", rounds=50, n=None, init=(near, np.zeros(3)), stop=None)
    line = theory.rate_line(r)(r.trace["round"])
    np.testing.assert_allclose(line, r.trace["dist"], rtol=1e-4)


RUN = dict(n=1000, m_in=20, m_out=10, alpha=0.3, beta=0.3, stop=None, threads=1)


def test_lines_of_the_limit_and_the_floor_lie_on_a_run():
    """At n = 1000; from the start to the end, where they meet."""
    tasks = ms.LinearTasks(d=1000, k=2, noise=0.3, heads=ms.GaussianHeads(cov=[1.0, 0.6]))
    r = ms.train(tasks, "fo-anil", rounds=400, trials=2, record=("dist", "w_norm"), **RUN)
    rounds = r.trace["round"]
    limit, floor = theory.limit_line(r)(rounds), theory.floor_line(r)(rounds)
    assert limit[0] == pytest.approx(np.exp(np.log(r.trace["dist"][:, 0]).mean()), rel=1e-9)
    assert (floor == floor[0]).all()
    assert limit[-1] == pytest.approx(floor[0], rel=1e-3)
    late = r.trace["dist"][:, -200:].mean()
    assert late == pytest.approx(floor[0], rel=0.03)
    assert abs(late / theory.error_scale(1000, 2, 1000, 10) - 1) > 0.5  # not the scale
    early = slice(0, 60)
    np.testing.assert_allclose(
        limit[early], np.exp(np.log(r.trace["dist"]).mean(axis=0))[early], rtol=0.15
    )
    assert np.isnan(theory.limit_line(r)(np.array([401.0]))).all()
    np.testing.assert_allclose(theory.limit_line(r, "w_norm")(rounds), 0.0, atol=1e-12)


def test_lines_of_a_run_that_diverges_end():
    tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    steps = dict(RUN, beta=30.0)
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(tasks, "fo-anil", rounds=40, **steps)
    limit = theory.limit_line(r)(np.array([0, 39]))  # the limit ends with the run
    assert np.isfinite(limit[0])
    assert np.isnan(limit[1])
    assert np.isnan(theory.floor_line(r)(np.arange(3))).all()


def test_lines_of_a_run_in_the_limit_are_its_own():
    tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    steps = dict(RUN, n=None, d_over_n=0.998)
    r = ms.train(tasks, "fo-anil", rounds=400, **steps)
    rounds = r.trace["round"]
    np.testing.assert_allclose(theory.limit_line(r)(rounds), r.trace["dist"], rtol=1e-14)
    np.testing.assert_allclose(theory.floor_line(r)(rounds), r.trace["dist"][-1], rtol=1e-6)
    many = ms.train(tasks, "fo-anil", rounds=1, **RUN)
    assert theory.floor_line(many)(0) == pytest.approx(float(theory.floor_line(r)(0)), rel=1e-12)


def test_fading_line_lies_on_the_late_part_of_a_wide_run():
    tasks = ms.LinearTasks(d=60, k=2, noise=0.2)
    r = ms.train(
        tasks, "fo-anil", alpha=0.5, beta=0.5, rounds=4000, n=None, m_in=4, m_out=4, width=3,
        record="perp_norm", record_every=1000, stop=None, threads=1,
    )  # fmt: skip
    line = theory.fading_line(r)(r.trace["round"][2:])
    np.testing.assert_allclose(r.trace["perp_norm"][2:], line, rtol=0.05)


def test_decay_far_before_its_point_is_finite():
    line = theory.decay(1.0, through=(10_000, 1e-3))(np.array([0, 10_000, 10_001]))
    assert np.isfinite(line).all()
    np.testing.assert_allclose(line[1:], [1e-3, 1e-3 / math.e])


def call(heads=None, method="fo-anil", spectrum=None, **steps):
    heads = ms.GaussianHeads() if heads is None else heads
    tasks = ms.LinearTasks(d=9, k=2, heads=heads, spectrum=spectrum)
    return [
        lambda: theory.rate(tasks, method, **steps),
        lambda: theory.plateau(tasks, method, **steps),
        lambda: theory.fixed_point(tasks, method, 5, **steps),
        lambda: theory.fading(tasks, method, 5, [1, 2], **steps),
    ]


@pytest.mark.parametrize("which", range(4), ids=["rate", "plateau", "fixed_point", "fading"])
@pytest.mark.parametrize(
    ("given", "kind", "fragment"),
    [
        ({"method": "average-risk"}, ValueError, "inner_steps = 1"),
        ({"method": "fo-anil", "inner_steps": 2}, ValueError, "inner_steps = 1"),
        ({"heads": ms.GaussianHeads(mean=[0.0, 2.0])}, ValueError, "centred"),
        ({"heads": [[1.0, 0.0], [0.0, 1.0]]}, ValueError, "their mean has length 0.707"),
        ({"spectrum": np.linspace(0.5, 1.5, 9)}, ValueError, "that of covariance I; got one"),
        ({"heads": lambda g, n, k: g.normal(size=(n, k))}, TypeError, "moments of a function"),
        ({"heads": NamedFunction("module.f")}, TypeError, "moments of a function"),
    ],
)
def test_what_an_equation_does_not_cover_is_refused(which, given, kind, fragment):
    assert_one_sentence(call(**given)[which], kind, [fragment])


@pytest.mark.parametrize(
    ("function", "kind", "fragment"),
    [
        (lambda t: theory.rate(t, "anil", alpha=1.0, beta=0.5), ValueError, "got 0.5"),
        (lambda t: theory.rate(3, "anil"), TypeError, "tasks must be a LinearTasks; got 3"),
        (lambda t: theory.fixed_point(t, "anil", 5), ValueError, "first_order=True"),
        (lambda t: theory.fixed_point(t, "fo-maml", 5), ValueError, "must be ANIL"),
        (lambda t: theory.fixed_point(t, "fo-anil", 0), ValueError, "m_in must be at least 1"),
        (lambda t: theory.fixed_point(t, "fo-anil", 5, alpha=0), ValueError, "alpha must be"),
        (lambda t: theory.fixed_point(t, "fo-anil", beta=0), ValueError, "method must move B"),
        (lambda t: theory.fading(t, "fo-anil", 5, [-1]), ValueError, "rounds must be >= 0"),
        (lambda t: theory.error_scale(10, 2, 0, 5), ValueError, "n must be at least 1; got 0"),
        (lambda t: theory.second_moment([[1.0]], 2), ValueError, "shape (n, 2)"),
        (lambda t: theory.decay(-1.0, (0, 1)), ValueError, "rate must be finite and at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused(function, kind, fragment):
    assert_one_sentence(lambda: function(ms.LinearTasks(d=9, k=2)), kind, [fragment])


def test_equations_of_gaussian_features_refuse_others():
    tasks = ms.LinearTasks(d=9, k=2, features="sphere")
    message = ["features must be 'gaussian' for (23); got 'sphere'"]
    assert_one_sentence(lambda: theory.fixed_point(tasks, "fo-anil", 5), ValueError, message)
    assert theory.fixed_point(tasks, "fo-anil", None)[0, 0] == pytest.approx(10.0)
    assert theory.rate(tasks, "fo-anil") > 0


def test_lines_refuse_runs_that_their_equation_does_not_cover():
    tasks = ms.LinearTasks(d=9, k=2)
    settings = dict(rounds=2, n=5, threads=1)
    on_samples = ms.train(tasks, "fo-anil", m_in=3, m_out=3, **settings)
    assert_one_sentence(lambda: theory.rate_line(on_samples), ValueError, ["population losses"])
    samples = dict(m_in=3, m_out=3)
    refused = {
        "of a law of tasks": ms.train(tasks.sample(3, 4, 4), "anil", rounds=1, width=2, threads=1),
        "pool=7": ms.train(tasks, "fo-anil", pool=7, **samples, **settings),
        "got MAML": ms.train(tasks, "maml", **samples, **settings),
    }
    for (message, run), line in itertools.product(
        refused.items(), (theory.floor_line, theory.limit_line, theory.fading_line)
    ):
        assert_one_sentence(lambda f=line, r=run: f(r), ValueError, [message])
    wide = ms.train(tasks, "fo-anil", m_in=3, m_out=3, width=3, **settings)
    assert_one_sentence(lambda: theory.floor_line(wide), ValueError, ["width must be k = 2"])
    assert_one_sentence(lambda: theory.limit_line(wide, "angles"), ValueError, ["one value per"])
    assert_one_sentence(lambda: theory.fading_line(on_samples), ValueError, ["width above k = 2"])
    moved = ms.train(
        tasks, ms.ANIL(outer="body"), m_in=3, m_out=3, init=(np.eye(9, 2), np.ones(2)), **settings
    )
    assert_one_sentence(lambda: theory.floor_line(moved), ValueError, ["w0 must be 0"])
    pooled = ms.train(tasks, "fo-anil", pool=7, **settings)
    assert_one_sentence(lambda: theory.rate_line(pooled), ValueError, ["without a pool"])
    unmeasured = ms.train(tasks, "fo-anil", record="w_norm", **settings)
    with pytest.raises(ValueError, match="y must be one of the recorded quantities"):
        theory.rate_line(unmeasured)


def test_closed_forms_of_linear_maml_overflow_to_infinity():
    tasks = ms.LinearTasks(d=5, k=2, noise=0.1)
    method = ms.LinearMAML(alpha=1e200)
    assert theory.meta_weights(tasks, method, m=5) == np.inf
    assert theory.linear_maml_risk(tasks, method, m=5) == np.inf
    assert theory.linear_maml_error(tasks, method, n=4, m_in=5, m_out=5) == np.inf


def test_the_bound_of_huge_noise_is_a_right_angle():
    tasks = ms.LinearTasks(d=100, k=2, noise=1e200)
    assert theory.cramer_rao(tasks, 10**6, m=20) == 1.0


def test_heads_on_a_line_are_a_clear_case():
    tasks = ms.LinearTasks(d=20, k=2, noise=0.1, heads=[[1.0, 1.0], [-1.0, -1.0]])
    assert theory.rate(tasks, "anil", alpha=0.1, beta=0.1) == 0.0
    assert theory.plateau(tasks, "anil", alpha=0.1, beta=0.1) == np.inf
    with pytest.raises(ValueError, match="must reach every direction"):
        theory.fixed_point(tasks, "fo-anil", 5, alpha=0.1, beta=0.1)


def test_fading_at_the_ends_of_its_arguments():
    tasks = ms.LinearTasks(d=100, k=2)
    for m_in, alpha in ((None, 0.5), (4, 0.0)):
        faded = theory.fading(tasks, "fo-anil", m_in, [0, 9, np.inf], alpha=alpha, beta=0.5)
        np.testing.assert_array_equal(faded, np.inf)
    small = theory.fading(tasks, "fo-anil", 4, [0, 100], alpha=1e-200, beta=0.5)
    np.testing.assert_allclose(small, [np.inf, 1e200 * np.sqrt(1 / 50)], rtol=1e-12)


@pytest.mark.parametrize("change", [dict(noise=1e160), dict(spread=1e160)])
def test_huge_noise_is_infinite_risk(change):
    tasks = ms.LinearTasks(d=10, k=2, **change)
    assert theory.linear_maml_risk(tasks, "linear-maml", alpha=0.1, m=5) == np.inf
    ends = theory.linear_maml_distance(
        tasks, "linear-maml", alpha=0.1, beta=0.1, n=10, m_in=5, m_out=5, rounds=[0, 1, np.inf]
    )
    np.testing.assert_array_equal(ends, [0.0, np.inf, np.inf])


def test_floor_of_tiny_steps_keeps_its_digits():
    """For small beta, the end of (67) is proportional to beta."""
    tasks = ms.LinearTasks(d=10, k=2, noise=1.0, heads=ms.GaussianHeads(mean=[3.0, 4.0]))

    def shares(rounds):
        return [
            theory.linear_maml_distance(
                tasks, "linear-maml", alpha=0.1, beta=beta, n=100, m_in=20, m_out=20, rounds=rounds
            )
            / beta
            for beta in (1e-6, 1e-10, 1e-14, 1e-17, 1e-100)
        ]

    np.testing.assert_allclose(shares(np.inf), shares(np.inf)[0], rtol=1e-5)
