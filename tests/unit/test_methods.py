"""Methods and their names."""

import dataclasses
import pickle

import numpy as np
import pytest

import metaspan as ms
from metaspan.methods import core_method, resolve

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
    assert core_method(ms.AverageRisk(beta=0.4)) == (0.0, 0.4, 0, False, False)


def test_core_sees_five_numbers():
    assert core_method(ms.ANIL(alpha=1, inner_steps=3)) == (1.0, 0.1, 3, False, True)
    assert core_method(ms.MAML(beta=2, first_order=True)) == (0.1, 2.0, 1, True, False)


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
    "alpha, beta, inner_steps",
    "first_order": "first-order methods are 'fo-anil' and 'fo-maml', or a method with it set",
}


@pytest.mark.parametrize("call", [ms.train, ms.estimate])
@pytest.mark.parametrize("name", WRONG_NAMES)
def test_wrong_keywords_are_named_with_the_name_that_is_near(call, name):
    with pytest.raises(TypeError) as caught:
        call(TASKS, "fo-anil", **{name: 25})
    assert str(caught.value) == f"unknown keyword {name!r}: {WRONG_NAMES[name]}"


def test_wrong_keywords_beside_a_method_are_named_too():
    with pytest.raises(TypeError, match=r"'epochs': did you mean 'rounds'\?"):
        ms.train(TASKS, ms.ANIL(), epochs=100)
    with pytest.raises(TypeError, match="'alpha': step sizes are keywords only where"):
        ms.train(TASKS, ms.ANIL(), alpha=0.1)
    with pytest.raises(TypeError, match=r"'noise': it is no argument of this call$"):
        ms.train(TASKS, ms.ANIL(), noise=0.1)
    with pytest.raises(TypeError, match="'alpha': the step sizes that 'average-risk' takes are be"):
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
