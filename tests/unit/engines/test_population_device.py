"""Runs on population losses with `device="cuda"` have the results of the CPU, within rounding."""

import os
import signal
import threading

import numpy as np
import pytest

import metaspan as ms
from devices import assert_device_is_free, limited_memory
from metaspan import _device

pytestmark = pytest.mark.cuda
TASKS = ms.LinearTasks(d=11, k=3, noise=0.1)
SETTINGS = {"rounds": 7, "n": 3, "seed": 5, "trials": 3, "stop": None}
METHODS = {
    "maml": ms.MAML(alpha=0.1, beta=0.05, inner_steps=2),
    "clipped": ms.ANIL(alpha=0.1, privacy=ms.UserDP(clip=0.1, multiplier=0)),
    "learned": ms.MetaSGD(alpha=0.1, beta_alpha=1e-3, per="head"),
    "co-learner": ms.CoLearner(alpha=0.1),
    "attention": ms.LinearAttention(alpha=0.1),
    "memory": ms.ANIL(alpha=0.1, step=ms.OuterStep(momentum=0.5, average=True)),
}
HEADS = {
    "skewed": ms.GaussianHeads(
        cov=[[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 0.3]], mean=[1, 0, 0]
    ),
    "sphere": ms.SphereHeads(radius=1.5),
    "table": np.linspace(-1.0, 2.0, 30).reshape(10, 3) ** 3,
    "function": lambda generator, n, k: generator.uniform(-1.0, 1.0, (n, k)),
}


def assert_same(on_cpu, on_device, rtol=1e-10):
    """Assert that two results agree within the rounding errors of a few rounds."""
    assert on_cpu.status == on_device.status
    for name, values in on_cpu.trace.items():
        np.testing.assert_allclose(on_device.trace[name], values, rtol, 1e-12, err_msg=name)
    for one, other in zip(on_cpu.state, on_device.state, strict=True):
        np.testing.assert_allclose(other, one, rtol, 1e-12)


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_results_of_the_cpu(name, width):
    settings = SETTINGS | {"width": width, "method": METHODS[name]}
    record = ("dist", "loss_out", "w_norm")
    for more in ({}, {"record": record, "record_every": 3}):
        on_cpu, on_device = (
            ms.train(TASKS, **settings, **more, device=device) for device in ("cpu", "cuda")
        )
        assert_same(on_cpu, on_device)
    assert_device_is_free()


@pytest.mark.parametrize("name", HEADS)
def test_heads_have_the_results_of_the_cpu(name):
    tasks = ms.LinearTasks(d=11, k=3, heads=HEADS[name])
    results = [ms.train(tasks, "maml", **SETTINGS, device=device) for device in ("cpu", "cuda")]
    assert_same(*results)


def test_many_tasks_and_trials_that_stop():
    settings = SETTINGS | {"rounds": 60, "n": 13, "trials": 40, "stop": ms.Stop(dist=0.5)}
    method = ms.MAML(alpha=0.2, beta=0.8)
    results = [ms.train(TASKS, method, **settings, device=device) for device in ("cpu", "cuda")]
    assert {status.status for status in results[0].status} >= {ms.Status.CONVERGED}
    assert_same(*results, rtol=1e-8)


@pytest.mark.filterwarnings("ignore::metaspan.DivergenceWarning")
def test_divergence_has_the_round_of_the_cpu():
    method = ms.MAML(alpha=0.3, beta=5.0)
    settings = SETTINGS | {"rounds": 200, "n": 1}
    on_cpu, on_device = (
        ms.train(TASKS, method, **settings, device=device) for device in ("cpu", "cuda")
    )
    assert ms.Status.DIVERGED in {status.status for status in on_cpu.status}
    assert [status.status for status in on_cpu.status] == [
        status.status for status in on_device.status
    ]
    for one, other in zip(on_cpu.status, on_device.status, strict=True):
        assert abs(one.round - other.round) <= 1


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_checkpoint_continues_on_either_device(tmp_path, devices):
    whole = ms.train(TASKS, "maml", **SETTINGS)
    path = tmp_path / "run"
    ms.train(TASKS, "maml", **SETTINGS | {"rounds": 4}, device=devices[0], checkpoint=path)
    resumed = ms.train(TASKS, "maml", **SETTINGS, device=devices[1], checkpoint=path)
    assert_same(whole, resumed)


def test_a_result_is_read_on_a_machine_without_the_device(tmp_path, monkeypatch):
    result = ms.train(TASKS, "maml", **SETTINGS, device="cuda")
    result.save(tmp_path / "result.npz")
    monkeypatch.setattr(_device, "MODULES", ["metaspan._absent"])
    assert ms.load(tmp_path / "result.npz").config.device == "cuda"


def test_trials_do_not_depend_on_those_beside_them():
    many = ms.train(TASKS, "maml", **SETTINGS | {"n": 6, "trials": 37}, device="cuda")
    for trial in (0, 36):
        alone = ms.train(
            TASKS, "maml", **SETTINGS | {"n": 6, "trials": range(trial, trial + 1)}, device="cuda"
        )
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
