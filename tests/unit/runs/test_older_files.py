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


def make_older(path, **fields):
    """Remove the fields that files of 0.1 lack, and replace some others."""
    with np.load(path) as archive:
        arrays = dict(archive)
    document = json.loads(arrays["metaspan"].tobytes())
    for name in ADDED["TrainConfig"]:
        del document["config"]["fields"][name]
    document["config"]["fields"] |= fields
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


@pytest.mark.parametrize("m_in", [None, 5])
def test_runs_of_infinitely_many_tasks_were_of_other_engines(m_in, tmp_path):
    """Results are read, and checkpoints are refused, since the rounds have other bits now."""
    engine = "population" if m_in is None else "collapsed"
    settings = {"n": None, "m_in": m_in}
    r, path = run(**settings), tmp_path / "result.npz"
    r.save(path)
    make_older(path, engine=engine)
    again = ms.load(path)
    assert repr(again.config) == repr(r.config)
    np.testing.assert_array_equal(again.full_B(), r.full_B())
    path = tmp_path / "checkpoint.npz"
    run(rounds=10, checkpoint=path, **settings)
    make_older(path, engine=engine)
    with pytest.raises(ValueError, match=r"^d_over_n must be as in the checkpoint .* None; got 0"):
        run(checkpoint=path, **settings)


def fields_of_tasks(path):
    """The names of the fields of the tasks in a file of a result or of a checkpoint."""
    with np.load(path) as archive:
        document = json.loads(archive["metaspan"].tobytes())
    return set(document["config"]["fields"]["tasks"]["fields"])


def test_files_and_text_name_a_spread_only_where_it_is_not_zero(tmp_path):
    """Files of runs without one are those of releases without the parameter."""
    plain, spread = ms.LinearTasks(d=20, k=3), ms.LinearTasks(d=20, k=3, spread=0.5)
    assert "spread" not in repr(plain)
    assert repr(spread).endswith("spread=0.5)")
    for tasks in (plain, spread):
        path = tmp_path / "run.npz"
        r = ms.train(tasks, "anil", rounds=5, n=4, m_in=3, m_out=3)
        r.save(path)
        assert ("spread" in fields_of_tasks(path)) == (tasks is spread)
        again = ms.load(path)
        assert again.config.tasks.spread == tasks.spread
        assert_same_bits(again, r)


def test_a_checkpoint_of_another_spread_is_refused(tmp_path):
    path = tmp_path / "checkpoint.npz"
    settings = {"method": "anil", "n": 4, "m_in": 3, "m_out": 3, "checkpoint": path}
    ms.train(TASKS, rounds=2, **settings)
    with pytest.raises(ValueError, match=r"tasks.spread must be as in the checkpoint .*0.0; got"):
        ms.train(ms.LinearTasks(d=20, k=3, spread=0.5), rounds=4, **settings)


def test_a_study_varies_the_spread(tmp_path):
    study = ms.Study(
        tmp_path / "study",
        base=dict(method="anil", rounds=3, n=4, m_in=3, m_out=3, d=20, k=2),
        grid=dict(spread=[0.0, 1.0]), seeds=1, measure="loss_out",
    )  # fmt: skip
    study.run(progress=False)
    table = study.table()
    assert list(table["spread"]) == [0.0, 1.0]
    assert table["loss_out"].nunique() == 2
