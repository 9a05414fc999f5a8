"""Runs with outer steps that remember blocks, (28), against the equation unrolled at full size."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import batch_of, problem, reference_method
from reference import family, infinite_tasks, outer

STEPS = {
    "momentum": dict(momentum=0.8),
    "nesterov": dict(momentum=0.7, nesterov=True),
    "average": dict(average=True),
    "lookahead": dict(lookahead=(3, 0.4)),
    "1/t": dict(schedule="1/t"),
    "1/t, later": dict(schedule="1/t", hold=2, offset=1.5),
    "cosine": dict(schedule="cosine"),
    "function": dict(schedule=lambda t: 1.0 / (2 + t) ** 0.5),
    "everything": dict(momentum=0.6, nesterov=True, average=True, lookahead=(2, 0.7),
                       schedule="1/t"),
}  # fmt: skip
BY_COORDINATE = {
    "adam": dict(rule="adam"),
    "sign": dict(rule="sign"),
    "sign of momentum": dict(rule="sign", momentum=0.5),
    "adam, averaged": dict(rule="adam", average=True, lookahead=(2, 0.5), schedule="1/t"),
}
ROUNDS = 7
FACTORS = {
    "1/t": lambda t: 1.0 / (t + 1),
    "cosine": lambda t: (1.0 + np.cos(np.pi * t / ROUNDS)) / 2.0,
    "constant": lambda t: 1.0,
}
METHODS = {
    "anil": ms.ANIL(alpha=0.05, beta=0.02, beta_head=0.05),
    "maml": ms.MAML(alpha=0.03, beta=0.02, inner_steps=2, first_order=True),
}


def later_factor(hold, offset, t):
    """The factor of the schedule "1/t" that begins to decrease in round `hold`."""
    return 1.0 if t < hold else offset / (t - hold + offset)


def with_step(method, options):
    """The method with an outer step."""
    kind = {name: getattr(method, name) for name in method.__dataclass_fields__}
    return type(method)(**{**kind, "step": ms.OuterStep(**options)})


def unrolled(B, w, gradient, method, options, **more):
    """Results of every round by the reference."""
    chosen = dict(options)
    schedule = chosen.pop("schedule", "constant")
    factor = FACTORS.get(schedule, schedule)
    if "hold" in chosen:
        factor = partial(later_factor, chosen.pop("hold"), chosen.pop("offset"))
    head = getattr(method, "beta_head", None)
    return outer.train(
        B, w, gradient, ROUNDS, beta=method.beta, beta_head=head, factor=factor, **chosen, **more
    )


def assert_close(found, expected, start, tolerance=1e-12):
    """Compare B and w with those of the reference; the run must have moved."""
    B, w = expected
    assert abs(B - start).max() > 1e-4
    np.testing.assert_allclose(found.B if found.B is not None else found.full_B(), B, rtol=0,
                               atol=tolerance * abs(B).max())  # fmt: skip
    np.testing.assert_allclose(found.w, w, rtol=0, atol=tolerance * max(1, abs(w).max()))


@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", METHODS)
def test_steps_on_arrays(rng, name, step, route):
    B, w, tasks = problem(rng, d=9, width=3, k_star=3, m_in=(5, 4, 8), m_out=(4, 7, 1))
    method, batch = METHODS[name], batch_of(tasks)

    def gradient(t, B, w):
        return ref.meta_gradient(B, w, tasks, reference_method(method))

    r = ms.train(batch, with_step(method, STEPS[step]), rounds=ROUNDS, init=(B, w), route=route,
                 stop=None)  # fmt: skip
    expected = unrolled(B, w, gradient, method, STEPS[step])
    assert_close(r, expected[-1], B)
    small = ms.train(batch_of(tasks, np.float32), with_step(method, STEPS[step]), rounds=ROUNDS,
                     init=(B.astype(np.float32), w), route=route, stop=None)  # fmt: skip
    assert_close(small, expected[-1], B, 1e-5)


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("step", BY_COORDINATE)
def test_steps_by_coordinate_on_arrays(rng, step, route):
    B, w, tasks = problem(rng, d=311, width=3, k_star=3, m_in=(5, 4, 8), m_out=(4, 7, 1))
    method, batch = METHODS["anil"], batch_of(tasks)

    def gradient(t, B, w):
        return ref.meta_gradient(B, w, tasks, reference_method(method))

    r = ms.train(batch, with_step(method, BY_COORDINATE[step]), rounds=ROUNDS, init=(B, w),
                 route=route, stop=None)  # fmt: skip
    assert_close(r, unrolled(B, w, gradient, method, BY_COORDINATE[step])[-1], B, 1e-9)


@pytest.mark.parametrize("step", STEPS | BY_COORDINATE)
def test_steps_on_new_samples(step):
    rng, options = np.random.default_rng(1), (STEPS | BY_COORDINATE)[step]
    tasks, method = ms.LinearTasks(d=41, k=2, noise=0.3, features="uniform"), METHODS["anil"]
    B, w = 0.4 * rng.standard_normal((41, 3)), 0.1 * np.ones(3)
    sizes = {"n": 11, "m_in": 6, "m_out": 9}

    def gradient(t, B, w):
        g = ms.meta_gradient(B, w, tasks.sample(**sizes, seed=3, round=t), method)
        return g.B, g.w

    r = ms.train(tasks, with_step(method, options), rounds=ROUNDS, init=(B, w), seed=3, stop=None,
                 **sizes)  # fmt: skip
    assert r.config.engine == "sampled"
    assert_close(r, unrolled(B, w, gradient, method, options)[-1], B, 1e-9)


@pytest.mark.parametrize("spectrum", [None, 0.6])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", METHODS)
def test_steps_on_population_losses(rng, name, step, k, spectrum):
    """Also the records of the representation and of the head, which are those of the result."""
    B_star, heads = ref.frame(rng, 11, 3), rng.standard_normal((19, 3))
    B, w = 0.6 * rng.standard_normal((11, k)), 0.5 * rng.standard_normal(k)
    method = METHODS[name]
    law = ms.LinearTasks(d=11, k=3, heads=heads, B_star=B_star, spectrum=spectrum)
    root = np.ones(11) if law.roots is None else law.roots
    tasks = [
        (ref.Samples(np.sqrt(11) * np.diag(root), np.sqrt(11) * root * (B_star @ h)),) * 2
        for h in heads
    ]

    def gradient(t, B, w):
        return ref.meta_gradient(B, w, tasks, reference_method(method))

    r = ms.train(law, with_step(method, STEPS[step]), rounds=ROUNDS, n=19, init=(B, w), stop=None,
                 record=("dist", "w_norm"))  # fmt: skip
    expected = unrolled(B, w, gradient, method, STEPS[step])
    assert_close(r, expected[-1], B)
    dist = [ref.distance(B, B_star) if k >= 3 else 1.0 for B, _ in expected]
    np.testing.assert_allclose(r.trace["dist"], dist, rtol=1e-9)
    np.testing.assert_allclose(r.trace["w_norm"], [np.linalg.norm(w) for _, w in expected])


@pytest.mark.parametrize("step", STEPS)
def test_steps_with_infinitely_many_tasks(rng, step):
    B_star = ref.frame(rng, 9, 2)
    B = 0.5 * rng.standard_normal((9, 3))
    cov = np.array([2.0, 0.5])
    law = ms.LinearTasks(d=9, k=2, noise=0.3, B_star=B_star, heads=ms.GaussianHeads(cov=cov))
    method = ms.ANIL(alpha=0.2, beta=0.1, first_order=True)

    def gradient(t, B, w):
        M, R = B_star.T @ B, B - B_star @ (B_star.T @ B)
        by = infinite_tasks.gradient(M, R, np.diag(cov), alpha=0.2, noise=0.3, m_in=6)
        return B_star @ by[0] + by[1], 0 * w

    r = ms.train(law, with_step(method, STEPS[step]), n=None, m_in=6, rounds=ROUNDS,
                 init=(B, np.zeros(3)), stop=None)  # fmt: skip
    expected = unrolled(B, np.zeros(3), gradient, method, STEPS[step])
    assert_close(r, expected[-1], B)


ORTHONORMAL = {"plain": {}, "momentum": dict(momentum=0.5), "averages": dict(
    momentum=0.5, average=True, lookahead=(3, 0.5), schedule="1/t")}  # fmt: skip


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("step", ORTHONORMAL)
def test_altgdmin_on_arrays(rng, step, route):
    B, w, tasks = problem(rng, d=31, width=3, k_star=3, m_in=(5, 9, 8), m_out=(4, 7, 1))
    method = ms.AltGDmin(beta=0.2, step=ms.OuterStep(**ORTHONORMAL[step]))

    def gradient(t, B, w):
        return family.fedrep_gradient(B, tasks), 0 * w

    r = ms.train(batch_of(tasks), method, rounds=ROUNDS, init=(B, w), route=route, stop=None)
    expected = unrolled(B, w, gradient, method, ORTHONORMAL[step], orthonormal=True)
    assert_close(r, expected[-1], B, 1e-11)


@pytest.mark.parametrize("spectrum", [None, 0.6])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("step", ORTHONORMAL)
def test_altgdmin_on_population_losses(rng, step, k, spectrum):
    B_star, heads = ref.frame(rng, 11, 3), rng.standard_normal((19, 3))
    B, w = 0.6 * rng.standard_normal((11, k)), np.zeros(k)
    law = ms.LinearTasks(d=11, k=3, heads=heads, B_star=B_star, spectrum=spectrum)
    root = np.sqrt(11) * (np.ones(11) if law.roots is None else law.roots)
    tasks = [(ref.Samples(np.diag(root), root * (B_star @ h)),) * 2 for h in heads]
    method = ms.AltGDmin(beta=0.3, step=ms.OuterStep(**ORTHONORMAL[step]))

    def gradient(t, B, w):
        return family.fedrep_gradient(B, tasks), 0 * w

    r = ms.train(law, method, rounds=ROUNDS, n=19, init=(B, w), stop=None)
    expected = unrolled(B, w, gradient, method, ORTHONORMAL[step], orthonormal=True)
    assert_close(r, expected[-1], B, 1e-11)


def test_reduce_multiplies_the_step_by_the_number_of_tasks(rng):
    B, w, tasks = problem(rng, d=9, width=2, k_star=2, m_in=(5, 4, 8), m_out=(4, 7, 1))
    batch = batch_of(tasks)
    options = {"init": (B, w), "rounds": 5, "n": 2, "stop": None}
    for kind in (ms.FedRep, ms.AltGDmin):
        total = ms.train(batch, kind(beta=0.1, reduce="sum"), **options)
        mean = ms.train(batch, kind(beta=0.2), **options)
        np.testing.assert_array_equal(total.B, mean.B)


LEARNED = {
    "one step size": ms.MetaSGD(alpha=0.05, beta=0.02, beta_alpha=1e-3),
    "step sizes": ms.MetaSGD(alpha=0.05, beta=0.02, beta_alpha=1e-3, per="head"),
    "second head": ms.CoLearner(alpha=0.05, beta=0.02, gamma=0.5),
}


@pytest.mark.parametrize("engine", ["population", "collapsed"])
@pytest.mark.parametrize("name", LEARNED)
def test_momentum_moves_learned_parameters(rng, name, engine):
    method, mu, k = LEARNED[name], 0.5, 2
    B_star = np.linalg.qr(rng.standard_normal((20, 2)))[0]
    heads = rng.standard_normal((4, 2))
    tasks = ms.LinearTasks(d=20, k=2, B_star=B_star, heads=heads)
    B, w = 0.5 * rng.standard_normal((20, k)), 0.2 * rng.standard_normal(k)
    found = ms.train(
        tasks, with_step(method, {"momentum": mu}), rounds=6, n=4, engine=engine, init=(B, w),
        stop=None,
    )  # fmt: skip
    learns_alpha = isinstance(method, ms.MetaSGD)
    more = np.atleast_1d(0.05 * np.ones(k) if name == "step sizes" else 0.05) * learns_alpha
    more = more if learns_alpha else np.zeros(k)
    size = method.beta_alpha if learns_alpha else method.beta
    state, speed = [B, w, more], [0.0, 0.0, 0.0]
    for _ in range(6):
        B, w, more = state
        now, extra = method, {}
        if learns_alpha:
            now = replace(method, alpha=tuple(more) if name == "step sizes" else float(more[0]))
        else:
            extra = {"v": more}
        g = ms.population_gradient(B, w, B_star, heads, now, **extra)
        gradient = [g.B, g.w, np.atleast_1d(g.alpha if learns_alpha else g.v)]
        speed = [mu * v + part for v, part in zip(speed, gradient, strict=True)]
        steps = zip(state, (method.beta, method.beta, size), speed, strict=True)
        state = [part - beta * v for part, beta, v in steps]
    np.testing.assert_allclose(found.state[0], B_star.T @ state[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.w, state[1], rtol=0, atol=1e-12)
    last = np.atleast_1d(found.alpha if learns_alpha else found.v)
    np.testing.assert_allclose(last, state[2], rtol=0, atol=1e-12)
