"""Methods and their names."""

import dataclasses
import pickle

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
