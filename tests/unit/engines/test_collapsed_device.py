"""Runs on samples in law with `device="cuda"` have the results of the CPU, within rounding."""

import os
import signal
import threading

import numpy as np
import pytest

import metaspan as ms
from devices import assert_device_is_free, limited_memory

pytestmark = pytest.mark.cuda
TASKS = ms.LinearTasks(d=23, k=2, noise=0.1)
SETTINGS = {"rounds": 4, "n": 9, "m_in": 4, "m_out": 3, "seed": 5, "trials": 3, "stop": None}
METHODS = {
    "anil": "anil",
    "maml": ms.MAML(alpha=0.1, beta=0.05, inner_steps=2),
    "clipped": ms.ANIL(alpha=0.1, privacy=ms.UserDP(clip=0.1, multiplier=1.0)),
    "clipped maml": ms.MAML(alpha=0.1, privacy=ms.UserDP(clip=0.1, multiplier=0)),
    "learned": ms.MetaSGD(alpha=0.1, beta_alpha=1e-3, per="head"),
    "co-learner": ms.CoLearner(alpha=0.1),
    "attention": ms.LinearAttention(alpha=0.1),
    "ridge": ms.RidgeANIL(),
    "reptile": ms.Reptile(alpha=0.1),
    "memory": ms.ANIL(alpha=0.1, step=ms.OuterStep(momentum=0.5, average=True)),
}
LAWS = {
    "student_t": ({"features": ms.StudentT(dof=5)}, {}),
    "sphere": ({"features": "sphere"}, {}),
    "spread": ({"spread": 0.5}, {}),
    "shared": ({}, {"m_out": None, "shared_samples": True}),
    "infinite": ({}, {"m_in": None}),
    "tracked": ({}, {"track_start": True}),
    "pool of heads": ({"heads": np.linspace(-1.0, 1.2, 30).reshape(15, 2) ** 3}, {}),
    "pool": ({}, {"pool": 12}),  # on the arrays of the pool in law
}


def run_both(tasks, method, **settings):
    return [ms.train(tasks, method, **settings, device=device) for device in ("cpu", "cuda")]


def assert_same(on_cpu, on_device, rtol=1e-9):
    """Assert that two results agree within the rounding errors of a few rounds."""
    assert on_cpu.status == on_device.status
    for name, values in on_cpu.trace.items():
        np.testing.assert_allclose(on_device.trace[name], values, rtol, 1e-12, err_msg=name)
    for one, other in zip(on_cpu.state, on_device.state, strict=True):
        np.testing.assert_allclose(other, one, rtol, 1e-11)


@pytest.mark.parametrize("name", METHODS)
def test_methods_agree(name):
    record = ("dist", "loss_in", "loss_out", "diversity_min", "delta_norm")
    assert_same(*run_both(TASKS, METHODS[name], **SETTINGS, record=record, record_every=3))
    assert_device_is_free()


@pytest.mark.parametrize("name", LAWS)
def test_laws_agree(name):
    law, changes = LAWS[name]
    tasks = ms.LinearTasks(d=23, k=2, noise=0.3, **law)
    assert_same(*run_both(tasks, "maml", **SETTINGS | changes))


def test_many_tasks_on_several_threads():
    assert_same(*run_both(TASKS, "maml", **SETTINGS | {"n": 150, "trials": 5, "threads": 3}))


def test_trials_that_stop_leave_the_others():
    settings = {"rounds": 60, "n": 20, "m_in": 10, "m_out": 10, "seed": 5, "trials": 5}
    method, stop = ms.ANIL(alpha=0.3, beta=0.1), ms.Stop(dist=0.7)
    on_cpu, on_device = run_both(TASKS, method, **settings, stop=stop)
    kinds = {status.status for status in on_cpu.status}
    assert kinds == {ms.Status.CONVERGED, ms.Status.FINISHED}
    assert_same(on_cpu, on_device, rtol=1e-7)


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_checkpoint_continues_on_either_device(tmp_path, devices):
    whole = ms.train(TASKS, "maml", **SETTINGS)
    path = tmp_path / "run"
    ms.train(TASKS, "maml", **SETTINGS | {"rounds": 2}, device=devices[0], checkpoint=path)
    resumed = ms.train(TASKS, "maml", **SETTINGS, device=devices[1], checkpoint=path)
    assert_same(whole, resumed)


def test_trials_do_not_depend_on_those_beside_them():
    many = ms.train(TASKS, "maml", **SETTINGS | {"trials": 7}, device="cuda")
    for trial in (0, 6):
        changes = {"trials": range(trial, trial + 1)}
        alone = ms.train(TASKS, "maml", **SETTINGS | changes, device="cuda")
        for one, of_all in zip(alone.state, many.state, strict=True):
            np.testing.assert_array_equal(one, of_all[trial])


def test_ctrl_c_releases_the_device():
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ms.train(TASKS, "maml", **SETTINGS | {"rounds": 10**9}, record_every=10**6, device="cuda")
    timer.join()
    assert_device_is_free()


def test_a_full_device_is_one_sentence():
    with limited_memory(1000), pytest.raises(MemoryError, match="device"):
        ms.train(TASKS, "maml", **SETTINGS, device="cuda")
    assert_device_is_free()


def test_a_small_device_cuts_rounds():
    settings = SETTINGS | {"n": 100, "rounds": 2}
    whole = ms.train(TASKS, "maml", **settings, device="cuda")
    with limited_memory(400_000):
        cut = ms.train(TASKS, "maml", **settings, device="cuda")
    for one, other in zip(whole.state, cut.state, strict=True):
        np.testing.assert_array_equal(one, other)
