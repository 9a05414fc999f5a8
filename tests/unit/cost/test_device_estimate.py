"""Estimates of runs on a device: the memory that the emulator counts, and a time of a model."""

import numpy as np
import pytest

import metaspan as ms
from devices import emulator, limited_memory
from lent_arrays import Tensor

pytestmark = pytest.mark.cuda

TASKS = ms.LinearTasks(d=200, k=3, noise=0.1)
RUN = {"rounds": 4, "alpha": 0.1, "beta": 0.1, "stop": None, "device": "cuda"}


@pytest.mark.parametrize("kind", ["host", "lent", "sampled"])
@pytest.mark.parametrize("method", ["fo-anil", "maml"])
def test_memory_is_that_which_a_run_takes(kind, method):
    module = emulator()
    if module is None:
        pytest.skip("a card counts no bytes")
    batch, rest = TASKS.sample(40, 5, 6), {}
    if kind == "lent":
        parts = [Tensor(part) for part in (batch.X_in, batch.y_in, batch.X_out, batch.y_out)]
        batch = ms.TaskBatch(*parts, B_star=batch.B_star)
    if kind == "sampled":
        batch, rest = TASKS, {"n": 40, "m_in": 5, "m_out": 6, "engine": "sampled"}
    before, seen = module.live_bytes(), []
    ms.train(
        batch, method, progress=lambda *_: seen.append(module.live_bytes() - before), **RUN, **rest
    )
    predicted = ms.estimate(batch, method, **RUN, **rest).device_bytes
    assert 0.5 * max(seen) <= predicted <= 2 * max(seen)


def test_estimate_names_the_device_and_prints_its_memory():
    batch = TASKS.sample(40, 5, 6)
    on_card, on_cpu = (ms.estimate(batch, "maml", **{**RUN, "device": d}) for d in ("cuda", "cpu"))
    assert (on_cpu.device, on_cpu.device_bytes) == ("cpu", 0)
    assert on_card.device in ms.show_config()["device"]
    assert "the time is a model" in str(on_card)
    assert "device memory" in str(on_card)
    assert on_card.device_bytes > batch.X_in.nbytes + batch.X_out.nbytes
    assert 0 < on_card.seconds_per_round < on_card.seconds
    assert on_card.memory_bytes == sum(on_card.bytes.values())


def test_data_beyond_the_device_are_streamed():
    batch = TASKS.sample(200, 10, 10)
    size = batch.X_in.nbytes + batch.X_out.nbytes
    whole = ms.estimate(batch, "fo-anil", **RUN)
    total = whole.device_bytes
    with limited_memory(total - size // 2):
        streamed = ms.estimate(batch, "fo-anil", **RUN)
    assert streamed.seconds_per_round > 2 * whole.seconds_per_round  # copies the features again
    assert np.isfinite(streamed.seconds)


@pytest.mark.parametrize("trials", [1, 1000])
def test_trials_on_population_losses(trials):
    ours = ms.estimate(ms.LinearTasks(d=20, k=3), "anil", n=3, trials=trials, **RUN)
    host = ms.estimate(
        ms.LinearTasks(d=20, k=3), "anil", n=3, trials=trials, **{**RUN, "device": "cpu"}
    )
    assert 0 < ours.seconds_per_round <= host.seconds_per_round
    assert ours.device_bytes > 0
