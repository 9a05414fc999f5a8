"""Studies with `device="cuda"`: the seeds of a cell are trials of one call."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.cost import device as device_cost
from metaspan.study.design.cells import configure_cell
from metaspan.study.execution import work

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("samples", [{}, {"m_in": 3, "m_out": 3}], ids=["population", "collapsed"])
def test_seeds_of_a_cell_go_to_the_device_together(tmp_path, monkeypatch, samples):
    calls = []

    def run(config):
        calls.append(len(config.trials))
        return real(config)

    real = work.run
    monkeypatch.setattr(work, "run", run)
    base = {"d": 9, "k": 2, "n": 4, "rounds": 3, "method": "maml", **samples}
    tables = []
    for device in ("cpu", "cuda"):
        study = ms.Study(
            tmp_path / device, {**base, "device": device}, {"alpha": [0.05, 0.1]}, seeds=7
        )
        calls.clear()
        assert study.run(progress=False).complete
        tables.append(study.table())
    assert calls == [7, 7]
    # The name of a device is part of a cell, but not of the key of its random numbers.
    np.testing.assert_allclose(tables[1]["dist"], tables[0]["dist"], 1e-9)


def test_fits_of_a_study_use_the_device(tmp_path, monkeypatch):
    opened = []

    def run(config):
        opened.append((config.engine, config.device))
        return real(config)

    real = work.run_fit
    monkeypatch.setattr(work, "run_fit", run)
    base = {"d": 9, "k": 2, "n": 4, "m_in": 3, "m_out": 3, "method": "moments"}
    tables = []
    for device in ("cpu", "cuda"):
        study = ms.Study(
            tmp_path / device, {**base, "device": device}, {"engine": ["auto", "sampled"]}, seeds=2
        )
        opened.clear()
        assert study.run(progress=False).complete
        tables.append(study.table())
    assert set(opened) == {("sampled", "cuda")}
    np.testing.assert_allclose(tables[1]["dist"], tables[0]["dist"], 1e-9)


def test_fits_in_law_stay_on_the_host():
    base = {"d": 900, "k": 2, "n": 4, "m_in": 3, "m_out": 3, "method": "moments", "seed": 0}
    engines = {device: configure_cell({**base, "device": device}) for device in ("cpu", "cuda")}
    assert {config.engine for config in engines.values()} == {"law"}
    assert {config.device for config in engines.values()} == {"cpu"}
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda'; got 'gpu'"):
        configure_cell({**base, "device": "gpu"})


def test_planning_does_not_open_the_device(tmp_path, monkeypatch):
    """A plan may be made without a device, and processes may be forked after it."""

    def refuse():
        raise AssertionError("the device was opened")

    monkeypatch.setattr(device_cost, "open_device", refuse)
    base = {"d": 9, "k": 2, "n": 4, "rounds": 3, "method": "maml", "device": "cuda"}
    study = ms.Study(tmp_path, base, {"m_in": [None, 3]}, seeds=2)
    assert study.run(progress=False).complete
