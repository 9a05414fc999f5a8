"""Files of earlier releases, which lack fields that came later."""

import json

import numpy as np
import pytest

import metaspan as ms
from matching import assert_same_bits
from metaspan.runs.codec import ADDED

TASKS = ms.LinearTasks(d=20, k=3)


def run(**options):
    return ms.train(TASKS, "anil", **{"rounds": 20, "n": 4, "threads": 1, "stop": None} | options)


def make_older(path):
    """Remove the fields that files of 0.1 lack."""
    with np.load(path) as archive:
        arrays = dict(archive)
    document = json.loads(arrays["metaspan"].tobytes())
    for name in ADDED["TrainConfig"]:
        del document["config"]["fields"][name]
    arrays["metaspan"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(path, **arrays)


def test_results_of_0_1_are_read(tmp_path):
    path = tmp_path / "result.npz"
    r = run()
    r.save(path)
    make_older(path)
    again = ms.load(path)
    assert repr(again.config) == repr(r.config)
    assert_same_bits(again, r)


def test_checkpoints_of_0_1_go_on(tmp_path):
    path = tmp_path / "checkpoint.npz"
    run(rounds=10, checkpoint=path)
    make_older(path)
    r = run(checkpoint=path)
    assert_same_bits(r, run())


def test_checkpoints_of_0_1_are_refused_where_a_later_field_differs(tmp_path):
    path = tmp_path / "checkpoint.npz"
    settings = {"m_in": 5, "m_out": 5}
    run(rounds=10, checkpoint=path, **settings)
    make_older(path)
    with pytest.raises(ValueError, match=r"track_start must be as in the checkpoint .* False; got"):
        run(checkpoint=path, track_start=True, **settings)
