"""Estimates of cost, and what an installation says of itself."""

import subprocess
import sys

import numpy as np
import pytest

import metaspan as ms

TASKS = ms.LinearTasks(d=10**12, k=5)


def test_estimate_takes_the_arguments_of_train_and_refuses_the_same():
    options = {"rounds": 10, "n": 5, "trials": 3, "record": ("dist", "angles")}
    assert ms.estimate(TASKS, "maml", alpha=0.1, **options).engine == (
        ms.train(TASKS, "maml", alpha=0.1, **options).config.engine
    )
    with pytest.raises(ValueError, match="n must be at least 1"):
        ms.estimate(TASKS, "maml", n=0)


def test_work_grows_with_trials_and_tasks():
    one = ms.estimate(TASKS, "anil", n=64)
    assert ms.estimate(TASKS, "anil", n=64, trials=6).flops_per_round == 6 * one.flops_per_round
    assert ms.estimate(TASKS, "anil", n=640).flops_per_round == 10 * one.flops_per_round
    assert ms.estimate(TASKS, "anil", n=64, rounds=5000).seconds == pytest.approx(5 * one.seconds)


def test_memory_names_what_it_is_made_of():
    found = ms.estimate(ms.LinearTasks(d=1000, k=5), "anil", init=(np.ones((1000, 6)), np.ones(6)))
    assert set(found.bytes) == {"state", "trace", "start"}
    assert found.memory_bytes == sum(found.bytes.values())
    assert found.bytes["start"] >= 8 * 1000 * 6
    assert "start" in str(found)
    assert "pool" in ms.estimate(TASKS, "anil", pool=1000).bytes


def test_memory_does_not_know_d():
    assert ms.estimate(TASKS, "anil").memory_bytes == (
        ms.estimate(ms.LinearTasks(d=10**4, k=5), "anil").memory_bytes
    )


def test_configuration_is_a_mapping_that_prints():
    config = ms.show_config()
    assert config["version"] == ms.__version__
    assert {"compiler", "instruction_set", "threads", "numpy", "flops_per_second"} <= set(config)
    assert len(str(config).splitlines()) == len(config)


def test_import_takes_no_optional_package():
    code = (
        "import sys, metaspan; "
        "print([m for m in ('pandas', 'matplotlib', 'tqdm', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
