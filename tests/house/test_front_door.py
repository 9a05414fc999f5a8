"""Every function that takes the arguments of a training run declares the same ones."""

import inspect
from dataclasses import fields
from typing import get_overloads

import pytest

import metaspan as ms
from metaspan.config.config import TrainConfig, settings
from metaspan.config.configure import configure
from metaspan.runs import estimate, train

CALLS = {"train": (ms.train, train), "estimate": (ms.estimate, estimate)}


def arguments(function):
    return list(inspect.signature(function).parameters.values())


@pytest.mark.parametrize("name", CALLS)
def test_signatures_are_one(name):
    found, expected = arguments(CALLS[name][0]), arguments(configure)
    if name == "estimate":  # it also takes estimators, whose options have other types
        found = [p.replace(annotation="") for p in found if p.name not in ("ranks", "m", "call")]
        expected = [p.replace(annotation="") for p in expected]
    assert found == expected


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_is_passed_on(monkeypatch, name):
    function, module = CALLS[name]
    given = {p.name: object() for p in arguments(configure) if p.name != "steps"}
    seen = {}

    def take(tasks, method, **others):
        seen.update(tasks=tasks, method=method, **others)
        raise StopIteration

    monkeypatch.setattr(module, "configure", take)
    with pytest.raises(StopIteration):
        function(**given, alpha=0.3)
    assert seen == given | {"alpha": 0.3}


def test_defaults_are_declared_on_the_fields():
    declared = {f.name: f.metadata["default"] for f in fields(TrainConfig) if f.metadata}
    written = {p.name: p.default for p in arguments(configure) if p.default is not p.empty}
    assert declared == written


def test_fields_are_the_arguments_of_train():
    assert [f.name for f in fields(TrainConfig)] == [
        p.name for p in arguments(configure) if p.name != "steps"
    ]


def test_overloads_have_the_arguments_of_train():
    names = [p.name for p in arguments(ms.train)]
    overloads = get_overloads(ms.train)
    assert len(overloads) == 2
    assert all([p.name for p in arguments(each)] == names for each in overloads)


def test_what_may_differ_after_a_checkpoint_is_what_the_page_promises():
    assert set(settings("resumable")) == {
        *("rounds", "threads", "progress", "stop", "checkpoint", "route", "device", "comm")
    }
