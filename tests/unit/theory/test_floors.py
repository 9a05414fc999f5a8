"""Floors are fixed points of the oracle's recursion and of the engine; boundaries are where they
cease to attract.
"""

import dataclasses
import math

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence
from metaspan import theory
from metaspan.theory import closed_forms, fixed_points, floors
from reference import limit

COV = np.array([[1.5, 0.4], [0.4, 0.6]])
ROWS = np.array([[1.0, 0.3], [-0.5, 1.2], [0.8, -0.9], [-1.4, 0.2], [0.3, 0.1]])
FROZEN = dict(first_order=True, outer="body")
UNIT, MEAN = np.eye(2), [0.5, -0.3]
PLAIN = limit.gaussian_heads([0, 0], UNIT)
# Law of heads, its nodes in the oracle, method, m_in, m_out.
SETTINGS = {
    "frozen": (ms.GaussianHeads(cov=COV), limit.gaussian_heads([0, 0], COV), FROZEN, None, 3),
    "first order": (ms.GaussianHeads(), PLAIN, dict(first_order=True), 5, 4),
    "exact": (ms.GaussianHeads(cov=COV), limit.gaussian_heads([0, 0], COV), {}, 6, 4),
    "exact, m_out infinite": (ms.GaussianHeads(), PLAIN, {}, 6, None),
    "mean": (ms.GaussianHeads(cov=COV, mean=MEAN), limit.gaussian_heads(MEAN, COV), {}, 5, 4),
    "mean, isotropic": (ms.GaussianHeads(mean=MEAN), limit.gaussian_heads(MEAN, UNIT), {}, 5, 4),
    "sphere": (ms.SphereHeads(radius=1.3), limit.sphere_heads(1.3, 2), dict(outer="body"), 5, 4),
    "array": (ROWS, limit.array_heads(ROWS), dict(first_order=True), 7, 4),
}
D, N, ALPHA, BETA, NOISE = 302, 100, 0.3, 0.08, 0.4


def tan2_of(M, R):
    """The squared tangents of the principal angles, the largest first."""
    return np.linalg.svd(R @ np.linalg.inv(M), compute_uv=False) ** 2


def factors(state):
    """M, R and w with the invariants of a state."""
    values, vectors = np.linalg.eigh(state.A)
    M = vectors * np.sqrt(values) @ vectors.T
    Q = np.linalg.solve(M, np.linalg.solve(M, state.V).T)
    return M, np.linalg.cholesky(0.5 * (Q + Q.T)).T, np.linalg.solve(M, state.b)


def axes_of(heads):
    """The axes to which the search turns a law of heads, as columns: means are positive there."""
    if not isinstance(heads, ms.GaussianHeads):
        return UNIT
    mean = np.zeros(2) if heads.mean is None else np.asarray(heads.mean)
    if heads.cov is None:
        along = mean / np.linalg.norm(mean) if mean.any() else UNIT[0]
        return np.stack([along, [-along[1], along[0]]], axis=1)
    vectors = np.linalg.eigh(heads.cov)[1]
    return vectors * np.where(mean @ vectors < 0, -1.0, 1.0)


def setting_of(name, **changes):
    heads, _, method, m_in, m_out = SETTINGS[name]
    tasks = ms.LinearTasks(d=D, k=2, noise=NOISE, heads=heads)
    method = ms.ANIL(alpha=ALPHA, **{"beta": BETA, **method, **changes})
    return tasks, method, dict(n=N, m_in=m_in, m_out=m_out)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_round_of_the_oracle_leaves_a_floor_as_it_is(name):
    """The oracle takes the heads as they are, and the search turns them to their axes."""
    tasks, method, counts = setting_of(name)
    nodes = SETTINGS[name][1]
    state = floors.Setting.of(tasks, method, tuple(counts.values()), {}).solve()
    predicted = theory.floor(tasks, method, **counts)
    np.testing.assert_allclose(predicted.tan2, state.tan2[0], rtol=1e-9)
    np.testing.assert_allclose(np.tan(predicted.angles) ** 2, state.tan2, rtol=1e-9)
    assert predicted.dist == float(predicted) == pytest.approx(np.sin(predicted.angles[0]))
    M, R, w = factors(state)
    M = axes_of(tasks.heads) @ M

    def gradient(C, w):
        return limit.gradient(
            C, w, nodes, alpha=ALPHA, noise=NOISE, m_in=counts["m_in"], m_out=counts["m_out"],
            exact=not method.first_order,
        )  # fmt: skip

    head = {"beta_head": 0.0} if method.outer == "body" else {}
    steps = dict(beta=BETA, d_over_n=(D - 2) / N, **head)
    moved = limit.descend(M, R, w, gradient, 3, **steps)
    np.testing.assert_allclose(tan2_of(*moved[:2]), state.tan2, rtol=1e-9)
    # Sharp enough for an error of 0.1 %, which 3 rounds begin to undo.
    nudged = limit.descend(M, math.sqrt(1.001) * R, w, gradient, 3, **steps)
    assert abs(tan2_of(*nudged[:2]) / (1.001 * state.tan2) - 1).max() > 1e-6


@pytest.mark.parametrize(
    ("name", "changes", "rounds"),
    [
        ("first order", {}, 4000),
        ("mean", {}, 4000),
        ("array", {}, 4000),
        ("exact", {"inner_steps": 2}, 1000),  # a round takes milliseconds
    ],
)
def test_the_engine_ends_at_the_floor(name, changes, rounds):
    tasks, method, counts = setting_of(name, **changes)
    r = ms.train(
        tasks, method, rounds=rounds, **{**counts, "n": None}, d_over_n=(D - 2) / N, stop=None,
        record=("dist", "angles"), record_every=rounds, threads=1,
        init=ms.Init(dist=0.3, scale=0.5 / math.sqrt(ALPHA)),
    )  # fmt: skip
    expected = theory.floor(tasks, method, **counts)
    np.testing.assert_allclose(r.trace["angles"][-1], expected.angles, rtol=1e-8)


def test_a_spread_counts_as_noise_in_the_limit():
    quiet = ms.LinearTasks(d=10**9, k=2, noise=math.hypot(0.3, 0.4))
    spread = dataclasses.replace(quiet, noise=0.3, spread=0.4)
    counts = dict(n=10**7, m_in=5, m_out=4)
    with_noise, with_spread = (float(theory.floor(t, "anil", **counts)) for t in (quiet, spread))
    assert with_spread == pytest.approx(with_noise, rel=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.6, 0.97])
def test_infinite_inner_sets_have_the_closed_form(share):
    """(60) against the recursion: variances that differ, and the sphere."""
    for heads in (ms.GaussianHeads(cov=[2.0, 1.0, 0.4]), ms.SphereHeads(radius=1.5)):
        tasks = ms.LinearTasks(d=5003, k=3, noise=NOISE, heads=heads)
        counts = dict(n=1000, m_in=None, m_out=2)
        boundary = theory.largest_beta(tasks, ms.ANIL(alpha=ALPHA, **FROZEN), **counts)
        method = ms.ANIL(alpha=ALPHA, beta=share * boundary, **FROZEN)
        state = floors.Setting.of(tasks, method, tuple(counts.values()), {}).solve()
        computed = np.tan(theory.floor(tasks, method, **counts).angles) ** 2
        np.testing.assert_allclose(computed, state.tan2, rtol=1e-8)


@pytest.mark.parametrize("load", [0.0, 0.05, 0.2, 3.0])
def test_the_closed_boundary_has_two_parts(load):
    """The condition on M binds for small loads, the growth of R for large ones."""
    heads = ms.GaussianHeads(cov=[0.5, 0.5])
    tasks = ms.LinearTasks(d=2 + round(2000 * load), k=2, noise=0.3, heads=heads)
    counts = dict(n=2000, m_in=None, m_out=1)
    computed = theory.largest_beta(tasks, ms.ANIL(alpha=1.0, **FROZEN), **counts)
    assert computed * 0.5 == pytest.approx(min(1.0, 2 / (1 + 4 * load)), rel=1e-4)
    setting = floors.Setting.of(tasks, ms.ANIL(alpha=1.0, **FROZEN), tuple(counts.values()), {})
    near = [setting.at(share * computed).solve() is not None for share in (0.999, 1.001)]
    assert near == [True, False]


@pytest.mark.parametrize("m_in", [3, 8, 40])
def test_finite_inner_sets_have_one_root(m_in, monkeypatch):
    """(61) against the recursion, up to the boundary."""
    tasks = ms.LinearTasks(d=2003, k=3, noise=NOISE, heads=ms.GaussianHeads(cov=[0.7] * 3))
    counts = dict(n=1000, m_in=m_in, m_out=2)
    boundary = theory.largest_beta(tasks, ms.ANIL(alpha=ALPHA, **FROZEN), **counts)
    roots = [
        closed_forms.finite_inner_sets(
            3, 0.7, NOISE**2, m_in=m_in, reach=ALPHA * share * boundary, load=1.0
        )
        for share in (0.01, 0.3, 0.9, 4.0)
    ]
    monkeypatch.setattr(floors.Setting, "has_one_root", False)
    for share, (a, y) in zip((0.01, 0.3, 0.9), roots, strict=False):
        method = ms.ANIL(alpha=ALPHA, beta=share * boundary, **FROZEN)
        assert theory.floor(tasks, method, **counts).tan2 == pytest.approx(y / a, rel=1e-8)
    assert roots[3] is None
    computed = theory.largest_beta(tasks, ms.ANIL(alpha=ALPHA, **FROZEN), **counts)
    assert computed == pytest.approx(boundary, rel=3e-5)


@pytest.mark.parametrize("name", ["first order", "exact", "mean", "array"])
def test_the_error_of_small_steps_is_of_their_order(name):
    """The relative error of (62) is O(beta): it halves with beta."""
    errors = []
    for beta in (0.02, 0.01, 0.005):
        tasks, method, counts = setting_of(name, beta=beta)
        setting = floors.Setting.of(tasks, method, tuple(counts.values()), {})
        state = setting.solve()
        small = setting.recursion().with_small_angles(state.A, state.b)
        errors.append(abs(small.tan2 / state.tan2 - 1).max())
    assert errors[0] < 0.1
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2.0, rtol=0.15)


def test_tiny_steps_have_floors_in_proportion():
    tasks, method, counts = setting_of("exact", beta=1e-9)
    tiny = theory.floor(tasks, method, **counts).tan2
    more = theory.floor(tasks, dataclasses.replace(method, beta=1e-6), **counts).tan2
    assert more == pytest.approx(1000 * tiny, rel=1e-4)


def test_a_head_that_moves_leaves_zero_unless_inner_sets_are_small():
    """(63): w grows where alpha tan^2 / alpha exceeds (1 + k + sigma^2 / s) / (m_in + 1)."""
    tasks = ms.LinearTasks(d=300, k=2, noise=0.5)
    method = ms.ANIL(alpha=0.2, beta=0.2, first_order=True)

    def solve(m_in, **changes):
        arguments = (tasks, dataclasses.replace(method, **changes), (200, m_in, 1), {})
        return floors.Setting.of(*arguments).solve()

    for m_in in (20, 200):
        assert not solve(m_in).b.any()
    grown = solve(1000)
    assert np.linalg.norm(factors(grown)[2]) == pytest.approx(0.786, abs=1e-3)
    assert solve(None) is None
    assert not solve(None, outer="body").b.any()
    assert not solve(None, first_order=False).b.any()
    assert theory.largest_beta(tasks, method, n=200, m_out=1) == 0.0


def test_w_grows_from_the_threshold_on():
    """alpha R^T R at the symmetric floor crosses (1 + k + sigma^2 / s) / (m_in + 1) there."""
    tasks = ms.LinearTasks(d=300, k=2, noise=0.5)
    method = ms.ANIL(alpha=0.2, beta=0.2, first_order=True)
    for m_in in range(200, 1000, 100):
        frozen = floors.Setting.of(
            tasks, dataclasses.replace(method, outer="body"), (200, m_in, 1), {}
        ).solve()
        free = floors.Setting.of(tasks, method, (200, m_in, 1), {}).solve()
        R = factors(frozen)[1]
        grows = 0.2 * (R.T @ R)[0, 0] > (1 + 2 + 0.25) / (m_in + 1)
        assert free.b.any() == grows


def test_runs_that_circle_do_not_level_off():
    tasks = ms.LinearTasks(d=8000, k=2, noise=0.3)
    steps = dict(n=1000, m_in=100, m_out=10, alpha=0.1, beta=3.0)
    assert not theory.stable(tasks, "fo-anil", **steps)
    lost = theory.floor(tasks, "fo-anil", **steps)
    assert math.isinf(float(lost))
    assert math.isinf(lost.tan2)
    assert np.isnan(lost.angles).all()


def test_floors_without_noise_or_without_dimensions_are_zero():
    quiet, full = ms.LinearTasks(d=500, k=3), ms.LinearTasks(d=3, k=3, noise=0.3)
    assert float(theory.floor(quiet, "anil", n=100, m_out=5)) == 0.0
    assert float(theory.floor(full, "fo-anil", n=100, m_in=5, m_out=5)) == 0.0
    assert float(theory.floor(quiet, "fo-anil", n=None, m_in=5, m_out=5)) == 0.0
    heads = ms.GaussianHeads(cov=[0.3, 2.2, 0.5], mean=[-1.8, -0.2, -0.3])
    mean = ms.LinearTasks(d=286, k=3, noise=0.9, heads=heads)
    steps = dict(alpha=0.04, beta=0.04)
    assert float(theory.floor(mean, "fo-anil", n=19, m_in=150, **steps)) == 0.0
    assert theory.largest_beta(quiet, "fo-anil", n=None, alpha=0.1) == pytest.approx(10, rel=1e-4)


@pytest.mark.parametrize("outer", ["both", "body"])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-6])
def test_heads_that_differ_have_floors_without_noise(noise, outer):
    """S is then hardly above its rounding errors; they must neither stop the search nor count."""
    heads = ms.GaussianHeads(cov=[0.57, 2.66, 0.73, 0.72])
    tasks = ms.LinearTasks(d=484, k=4, noise=noise, heads=heads)
    for beta in (1e-5, 0.1):
        method = ms.ANIL(alpha=0.5, beta=beta, outer=outer)
        assert float(theory.floor(tasks, method, n=18_000, m_out=1)) < 1e-7


def test_noise_above_rounding_has_a_floor_in_proportion():
    """No rounding may be left in floors of little noise, nor count as noise."""
    tasks = ms.LinearTasks(d=484, k=4, heads=ms.GaussianHeads(cov=[0.57, 2.66, 0.73, 0.72]))
    method = ms.ANIL(alpha=0.5, beta=0.1)
    small, large = (
        float(theory.floor(dataclasses.replace(tasks, noise=noise), method, n=18_000, m_out=28))
        for noise in (1e-4, 1e-2)
    )
    assert small == pytest.approx(1e-2 * large, rel=1e-3)


def test_a_faint_error_that_grows_is_found_to_be_unstable():
    """The error grows by ten orders of magnitude before it is large."""
    tasks = ms.LinearTasks(d=644, k=10, noise=1e-5, heads=ms.SphereHeads())
    method = ms.ANIL(alpha=0.0488, beta=3.84, outer="body")
    assert not theory.stable(tasks, method, n=14, m_out=1)


def test_the_boundary_separates_step_sizes():
    tasks, method, counts = setting_of("exact")
    boundary = theory.largest_beta(tasks, method, **counts)
    near = [
        theory.stable(tasks, dataclasses.replace(method, beta=share * boundary), **counts)
        for share in (0.999, 1.001)
    ]
    assert near == [True, False]


def test_boundaries_far_below_those_of_the_representation_are_found():
    """A head that moves bounds beta by a multiple of alpha, much noise by 1 / noise^4."""
    tasks = ms.LinearTasks(d=1000, k=3, noise=0.5)
    counts = dict(n=100, m_in=20, m_out=10)
    near, far = (theory.largest_beta(tasks, "anil", alpha=a, **counts) / a for a in (1e-3, 1e-7))
    assert far == pytest.approx(near, rel=1e-3)
    near, far = (
        theory.largest_beta(ms.LinearTasks(d=1000, k=3, noise=s), "anil", **counts) * s**4
        for s in (100.0, 3000.0)
    )
    assert far == pytest.approx(near, rel=0.01)


def test_the_boundary_is_found_although_a_search_at_it_does_not_end(monkeypatch):
    """The middle of the first interval, 1.25 times a stable step size, may be the boundary."""
    tasks, method, counts = setting_of("exact")
    expected = theory.largest_beta(tasks, method, **counts)
    find, failed = floors.Setting._find, []

    def fail_once(setting, near=None):
        share = setting.method.beta / expected
        if not failed and 0.9 < share < 1.1:
            failed.append(share)
            raise theory.FloorNotFoundError("the search did not end")
        return find(setting, near)

    monkeypatch.setattr(floors.Setting, "_find", fail_once)
    assert theory.largest_beta(tasks, method, **counts) == pytest.approx(expected, rel=2e-5)
    assert failed


def test_a_fixed_point_with_a_small_basin_is_found_up_to_the_boundary():
    """The flow from afar does not lead to it; the recursion settles there if it starts near it."""
    tasks = ms.LinearTasks(d=47658, k=1, noise=1.0, heads=ms.GaussianHeads(cov=[0.56]))
    counts = dict(n=100, m_in=27, m_out=11)

    def at(beta):
        return ms.ANIL(alpha=0.5, beta=beta, first_order=True)

    largest = theory.largest_beta(tasks, at(0.1), **counts)
    # The values of dist are those of a recursion whose step size was raised little by little.
    for share, dist in ((0.9, 0.62499), (0.96, 0.66595), (0.99, 0.68686), (0.999, 0.69318)):
        assert float(theory.floor(tasks, at(share * largest), **counts)) == pytest.approx(
            dist, abs=2e-5
        )
    assert theory.stable(tasks, at(0.999 * largest), **counts)
    assert not theory.stable(tasks, at(1.01 * largest), **counts)
    frozen = ms.ANIL(alpha=0.5, first_order=True, outer="body")
    tasks = ms.LinearTasks(d=200_002, k=2, noise=2.0, heads=ms.GaussianHeads(cov=[1.5, 0.9]))
    counts = dict(n=1, m_in=14, m_out=1000)
    largest = theory.largest_beta(tasks, frozen, **counts)
    for share, dist in ((0.95, 0.9717), (0.96, 0.9768), (0.98, 0.9862)):
        near = dataclasses.replace(frozen, beta=share * largest)
        assert float(theory.floor(tasks, near, **counts)) == pytest.approx(dist, abs=5e-4)


@pytest.mark.parametrize("n", [1, 100])
def test_infinite_outer_sets_have_the_same_boundary_in_every_dimension(n):
    """First-order methods then have no noise off the span, however many directions there are."""
    found = [
        theory.largest_beta(ms.LinearTasks(d=d, k=3, noise=0.3), "fo-anil", alpha=0.1, n=n, m_in=10)
        for d in (10**3, 10**9, 10**10)
    ]
    np.testing.assert_allclose(found, 0.97079, rtol=1e-4)


def test_a_search_that_does_not_end_says_so(monkeypatch):
    monkeypatch.setattr(fixed_points, "MAX_STEPS", 2)
    tasks, method, counts = setting_of("exact")
    with pytest.raises(theory.FloorNotFoundError, match="did not settle in 2 steps"):
        theory.floor(tasks, method, **counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(tasks=ms.LinearTasks(d=9, k=2, noise=1e100)), "the spread of tasks must be at most"),
        (dict(method="fo-anil", alpha=0.0), "alpha > 0"),
        (dict(method=ms.ANIL(outer="head")), "move B with beta > 0"),
        (dict(method="fedrep"), "got FedRep"),
        (dict(method=ms.ANIL(step=ms.OuterStep(momentum=0.5))), "plain outer step"),
        (dict(method=ms.ANIL(inner_steps=40)), "inner_steps=1"),
        (dict(n=0), "n must be at least 1; got 0"),
        (dict(m_in=-1), "m_in must be at least 1; got -1"),
        (dict(tasks=ms.LinearTasks(d=9, k=2, heads=ms.GaussianHeads(cov=[1, 0]))), "mu_star is 0"),
        (dict(tasks=ms.LinearTasks(d=9, k=2, features="uniform")), "features="),
    ],
)  # fmt: skip
def test_settings_without_a_floor_are_refused(change, message):
    arguments = dict(tasks=ms.LinearTasks(d=9, k=2), method="anil", n=4, m_in=3, m_out=3)
    for function in (theory.floor, theory.stable, theory.largest_beta):
        assert_one_sentence(lambda f=function: f(**{**arguments, **change}), ValueError, [message])
    with pytest.raises(TypeError, match="tasks must be a LinearTasks"):
        theory.floor(3, "anil", n=4)
