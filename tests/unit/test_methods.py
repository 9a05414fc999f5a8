"""Methods and their names."""

import dataclasses
import pickle

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence
from metaspan.methods import KINDS, core_method, resolve

NAMES = {
    "anil": ms.ANIL(alpha=0.2, beta=0.3),
    "fo-anil": ms.ANIL(alpha=0.2, beta=0.3, first_order=True),
    "maml": ms.MAML(alpha=0.2, beta=0.3),
    "fo-maml": ms.MAML(alpha=0.2, beta=0.3, first_order=True),
}


@pytest.mark.parametrize(("name", "method"), NAMES.items(), ids=NAMES)
def test_name_with_steps_is_the_method(name, method):
    assert resolve(name, {"alpha": 0.2, "beta": 0.3}) == method
    assert resolve(method, {}) is method


def test_average_risk_has_no_inner_loop():
    assert resolve("average-risk", {"beta": 0.4}) == ms.AverageRisk(beta=0.4)
    assert core_method(ms.AverageRisk(beta=0.4))[:6] == (0.0, 0.4, 0, False, False, 0.4)


def test_core_sees_what_the_loops_move():
    assert core_method(ms.ANIL(alpha=1, inner_steps=3))[:6] == (1.0, 0.1, 3, False, True, 0.1)
    assert core_method(ms.MAML(beta=2, first_order=True))[:6] == (0.1, 2.0, 1, True, False, 2.0)
    body = core_method(ms.MAML(moves="body", outer="body", beta_head=0.3))
    assert (body.adapt_B, body.adapt_head, body.beta, body.beta_head) == (True, False, 0.1, 0.0)
    head = core_method(ms.ANIL(outer="head", beta_head=0.3))
    assert (head.adapt_B, head.adapt_head, head.beta, head.beta_head) == (False, True, 0.0, 0.3)
    local = core_method(ms.FedAvg(local_steps=4, server_step=0.7))
    assert (local.beta, local.beta_head, local.contribution) == (0.7, 0.7, 1)
    apart = core_method(ms.Reptile(local_steps=4, server_step=0.7, beta_head=0.2))
    assert apart == local._replace(beta_head=0.2)
    assert core_method(ms.FedRep()).contribution == 2
    assert core_method(ms.FedRep(separate=True)).contribution == 0


@pytest.mark.parametrize(
    ("name", "value", "kind_of_error"),
    [("clip", 0.0, ValueError), ("clip", "1", TypeError), ("multiplier", -1.0, ValueError)],
)
def test_privacy_out_of_range_is_refused(name, value, kind_of_error):
    settings = {"clip": 1.0, "multiplier": 1.0, name: value}
    assert_one_sentence(lambda: ms.UserDP(**settings), kind_of_error, [name, str(value)[:1]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_takes_privacy(kind):
    method = kind(privacy=ms.UserDP(clip=2, multiplier=0.5))
    assert repr(method).endswith("privacy=UserDP(clip=2.0, multiplier=0.5))")
    assert (core_method(method).clip, core_method(method).multiplier) == (2.0, 0.5)
    assert core_method(method)._replace(clip=0.0, multiplier=0.0) == core_method(kind())
    assert pickle.loads(pickle.dumps(method)) == method
    assert method != kind()


def test_options_are_shown_only_where_they_are_used():
    assert repr(ms.MAML()) == "MAML(alpha=0.1, beta=0.1, inner_steps=1, first_order=False)"
    assert repr(ms.AverageRisk(outer="body")) == "AverageRisk(beta=0.1, outer='body')"


@pytest.mark.parametrize(
    ("kind", "wrong", "kind_of_error"),
    [
        (ms.MAML, {"moves": "all"}, ValueError),
        (ms.ANIL, {"outer": "tail"}, ValueError),
        (ms.ANIL, {"beta_head": -1.0}, ValueError),
        (ms.FedAvg, {"beta_head": -1.0}, ValueError),
        (ms.Reptile, {"beta_head": "1"}, TypeError),
        (ms.FedRep, {"beta_head": "1"}, TypeError),
        (ms.FedAvg, {"local_steps": 0}, ValueError),
        (ms.Reptile, {"server_step": "1"}, TypeError),
        (ms.RidgeANIL, {"lam": -0.1}, ValueError),
        (ms.FedRep, {"separate": 2}, TypeError),
        (ms.Reptile, {"privacy": 1.0}, TypeError),
    ],
)
def test_settings_out_of_range_are_refused(kind, wrong, kind_of_error):
    assert_one_sentence(lambda: kind(**wrong), kind_of_error, wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_takes_a_step_size_of_w_or_says_why_not(kind):
    assert kind(beta_head=None) == kind()
    assert "beta_head" not in repr(kind())
    reasons = {
        ms.FedRep: "moves no w: RidgeANIL moves w; got 0.1",
        ms.AltGDmin: "moves no w: RidgeANIL moves w; got 0.1",
        ms.LinearMAML: "freezes the head at 1: MAML moves a head; got 0.1",
        ms.LinearAttention: "no head: beta is the step size of A and B; got 0.1",
    }
    if kind in reasons:
        told = [f"beta_head must be None for {kind.__name__}", reasons[kind]]
        assert_one_sentence(lambda: kind(beta_head=0.1), ValueError, told)
    else:
        assert core_method(kind(beta_head=0.25)).beta_head == 0.25
        assert "beta_head=0.25" in repr(kind(beta_head=0.25))


@pytest.mark.parametrize("method", [*NAMES.values(), ms.AverageRisk()])
def test_methods_are_values(method):
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(dataclasses.replace(method)) == hash(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.beta = 1.0
    with pytest.raises(TypeError):
        type(method)(0.1)


TASKS = ms.LinearTasks(d=9, k=2)
WRONG_NAMES = {
    "m": "did you mean 'm_in' or 'm_out'?",
    "epochs": "did you mean 'rounds'?",
    "round": "did you mean 'rounds'?",
    "alhpa": "did you mean 'alpha'?",
    "lr": "did you mean 'beta'?",
    "k": "did you mean 'width'?",
    "treads": "did you mean 'threads'?",
    "noise": "it is neither an argument of this call nor one of 'fo-anil', which takes "
    "alpha, beta, inner_steps, outer, beta_head, step, privacy",
    "first_order": "first-order methods are 'fo-anil' and 'fo-maml', or a method with it set",
}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call in (ms.train, ms.estimate)
        for name in WRONG_NAMES
        if (call, name) != (ms.estimate, "m")  # an argument of estimates of fits
    ],
)
def test_wrong_keywords_are_named_with_the_name_that_is_near(call, name):
    with pytest.raises(TypeError) as caught:
        call(TASKS, "fo-anil", **{name: 25})
    assert str(caught.value) == f"unknown keyword {name!r}: {WRONG_NAMES[name]}"


def test_wrong_keywords_beside_a_method_are_named_too():
    with pytest.raises(TypeError, match=r"'epochs': did you mean 'rounds'\?"):
        ms.train(TASKS, ms.ANIL(), epochs=100)
    with pytest.raises(TypeError, match="'alpha': settings are keywords only where"):
        ms.train(TASKS, ms.ANIL(), alpha=0.1)
    with pytest.raises(TypeError, match=r"'noise': it is no argument of this call$"):
        ms.train(TASKS, ms.ANIL(), noise=0.1)
    with pytest.raises(TypeError, match="'alpha': the settings that 'average-risk' takes are be"):
        ms.train(TASKS, "average-risk", alpha=0.1)


def test_every_function_that_takes_a_method_names_its_own_arguments():
    B, w, batch = np.eye(9, 2), np.zeros(2), TASKS.sample(2, 3, 3)
    with pytest.raises(TypeError, match=r"'m_in': did you mean 'm'\?"):
        ms.evaluate((np.eye(2), np.zeros((1, 2))), w, TASKS, "anil", m_in=25)
    with pytest.raises(TypeError, match=r"'loss': did you mean 'losses'\?"):
        ms.meta_gradient(B, w, batch, "anil", loss=True)
    with pytest.raises(TypeError, match=r"'noize': did you mean 'noise'\?"):
        ms.population_gradient(B, w, np.eye(9, 2), np.eye(2), "anil", noize=1.0)
    with pytest.raises(TypeError, match=r"'returns_B': did you mean 'return_B'\?"):
        ms.adapt(B, w, batch.X_in, batch.y_in, "anil", returns_B=True)
    with pytest.raises(TypeError, match=r"'alhpa': did you mean 'alpha'\?"):
        ms.theory.rate(TASKS, "anil", alhpa=0.1)


WRONG_STEPS = [
    ({"momentum": 1.0}, ValueError, "momentum must be below 1; got 1"),
    ({"momentum": "big"}, TypeError, "momentum"),
    ({"nesterov": True}, ValueError, "momentum must be above 0 for nesterov=True"),
    ({"average": 2}, TypeError, "average"),
    ({"lookahead": 3}, TypeError, "lookahead must be a pair (steps, size) or None; got 3"),
    ({"lookahead": (0, 0.5)}, ValueError, "the steps of lookahead"),
    ({"lookahead": (3, 0.0)}, ValueError, "the size of lookahead must be above 0 and at most 1"),
    ({"schedule": "linear"}, ValueError, "schedule"),
    ({"schedule": "1/t", "hold": -1}, ValueError, "hold"),
    ({"schedule": "1/t", "offset": 0.0}, ValueError, "offset must be positive; got 0"),
    ({"hold": 3}, ValueError, "schedule must be '1/t' for hold and offset; got 'constant'"),
    ({"clip": 0.0}, ValueError, "clip must be positive or None"),
    ({"rule": "lion"}, ValueError, "rule"),
    ({"rule": "adam", "momentum": 0.5}, ValueError, "momentum must be 0 for rule='adam'"),
    ({"rule": "sign", "momentum": 0.5, "nesterov": True}, ValueError, "nesterov must be False"),
]


@pytest.mark.parametrize(("wrong", "kind", "fragment"), WRONG_STEPS, ids=lambda x: str(x)[:40])
def test_outer_steps_out_of_range_are_refused(wrong, kind, fragment):
    assert_one_sentence(lambda: ms.OuterStep(**wrong), kind, [fragment])


def test_outer_steps_are_values_of_methods():
    step = ms.OuterStep(momentum=0.5, lookahead=[3, 0.5])
    method = ms.ANIL(step=step)
    assert repr(step) == "OuterStep(momentum=0.5, lookahead=(3, 0.5))"
    assert repr(method).endswith(f"first_order=False, step={step!r})")
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(ms.ANIL(step=ms.OuterStep(momentum=0.5, lookahead=(3, 0.5)))) == hash(method)
    assert ms.MAML(step=ms.OuterStep()) == ms.MAML()
    assert core_method(ms.MAML()).step is None
    assert core_method(method).step.lookahead == 3
    assert core_method(ms.AltGDmin()).step.orthonormal
    assert core_method(ms.FedRep(beta=0.1, reduce="sum"), 7).beta == pytest.approx(0.7)
    assert core_method(ms.ANIL(step=ms.OuterStep(clip=2.0))).clip == 2.0
    assert_one_sentence(lambda: ms.ANIL(step=0.9), TypeError, ["step must be an OuterStep or None"])
    both = {"step": ms.OuterStep(clip=1.0), "privacy": ms.UserDP(clip=1.0, multiplier=0.1)}
    assert_one_sentence(lambda: ms.ANIL(**both), ValueError, ["clip=None where privacy clips"])


def test_outer_steps_and_routes_that_cannot_work_are_refused():
    adam = ms.ANIL(step=ms.OuterStep(rule="adam"))
    finite = {"m_in": 5, "m_out": 5}
    refusals = [
        (adam, {}, "step must have rule='gradient'"),
        (adam, {**finite, "engine": "collapsed"}, "steps by coordinate"),
        (adam, {**finite, "pool": 7, "engine": "arrays", "route": "dual"}, "got 'dual'"),
        (ms.AltGDmin(), {**finite, "pool": 7, "route": "dual"}, "got 'dual'"),
        (ms.ANIL(step=ms.OuterStep(average=True)), {**finite, "engine": "collapsed", "d": 5},
         "engine must be"),
        (ms.ANIL(step=ms.OuterStep(schedule=lambda t: -1.0)), {}, "schedule(0)"),
    ]  # fmt: skip
    for method, options, fragment in refusals:
        d = options.pop("d", 20)
        tasks = ms.LinearTasks(d=d, k=2)
        assert_one_sentence(
            lambda t=tasks, m=method, o=options: ms.train(t, m, rounds=3, n=4, **o),
            ValueError,
            [fragment],
        )
