"""Time and memory of a study, predicted before it runs."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.study.execution.forecast import schedule
from metaspan.study.execution.plan import START_SECONDS

# A run takes seconds, so every seed has a call of its own; nothing of it is run.
LONG = dict(k=3, n=50, rounds=10**7, method="anil", noise=0.1, m_out=10, stop=None)
GRID = dict(d=[100, 10**6], m_in=[10, 20])


def test_core_hours_and_memory_are_those_of_the_runs(tmp_path):
    study = ms.Study(tmp_path / "s", LONG, GRID, seeds=3)
    found = study.estimate(processes=4)
    each = [
        ms.estimate(
            ms.LinearTasks(d=d, k=3, noise=0.1),
            "anil",
            **dict(n=50, m_in=m_in, m_out=10, rounds=10**7, stop=None, threads=1),
        )
        for d in GRID["d"]
        for m_in in GRID["m_in"]
    ]
    seconds = np.array([one.seconds for one in each]) + START_SECONDS
    assert seconds.min() > 1
    assert found.core_hours == pytest.approx(3 * seconds.sum() / 3600, rel=1e-9)
    assert found.longest == pytest.approx(seconds.max())
    assert found.memory_bytes == max(one.memory_bytes for one in each)
    assert (found.cells, found.runs, found.left) == (4, 12, 12)
    assert 3 * seconds.sum() / 4 <= found.seconds <= 3 * seconds.sum() / 4 + seconds.max()
    alone = study.estimate(threads=1)
    assert alone.seconds == pytest.approx(3 * seconds.sum())
    assert not (tmp_path / "s").exists()


def test_an_estimate_reads_as_lines(tmp_path):
    grid = {"d": [10**6], "m_in": [10, 20]}
    lines = str(ms.Study(tmp_path / "s", LONG, grid, seeds=3).estimate(4)).splitlines()
    assert lines[0] == "s: 6 of 6 runs left, 2 cells"
    assert lines[1].endswith(" core-hours")
    assert " in 4 processes of 1 thread; the longest run takes " in lines[2]
    assert "for the largest runs (d = 1,000,000, m_in = 10), so at most" in lines[3]


def test_two_threads_of_a_run_are_two_cores(tmp_path):
    found = ms.Study(tmp_path / "s", LONG, GRID, seeds=3).estimate(2, threads=2)
    assert found.core_hours == pytest.approx(found.seconds * 2 * 2 / 3600, rel=0.5)
    assert found.threads == 2


def test_runs_that_are_done_are_left_out(tmp_path):
    base = dict(k=2, method="anil", rounds=20, stop=None)
    ms.Study(tmp_path, base, dict(d=[10, 20]), seeds=2).run(progress=False)
    study = ms.Study(tmp_path, base, dict(d=[10, 20, 40]), seeds=2)
    assert study.estimate().left == 2
    study.run(progress=False)
    found = study.estimate()
    assert (found.left, found.core_hours, found.seconds, found.memory_bytes) == (0, 0, 0, 0)


def test_runs_that_train_refuses_are_counted_with_their_reason(tmp_path):
    study = ms.Study(tmp_path, dict(k=2, method="anil"), dict(d=[1, 10]), seeds=2)
    found = study.estimate()
    assert (found.impossible, found.left) == (2, 4)
    assert "refused    2 x ValueError: " in str(found)
    with pytest.raises(ValueError, match="k must be"):
        ms.Study(tmp_path, dict(k=2, method="anil"), dict(d=[1]), seeds=2).estimate()


def test_fits_have_a_time_and_a_memory(tmp_path):
    base = dict(d=10**5, k=2, m_in=5, m_out=5, rounds=10, noise=0.1)
    study = ms.Study(tmp_path / "s", base, dict(method=["moments", "anil"], n=[50]))
    found = study.estimate()
    assert found.fits == 1
    assert "fits       1 cell that is a fit, timed for a typical number of passes" in str(found)
    tasks = ms.LinearTasks(d=10**5, k=2, noise=0.1)
    fit = ms.estimate(tasks, "moments", n=50, m=10)
    assert found.memory_bytes == fit.memory_bytes > 8 * 500**2 / 2
    assert found.largest == "method = moments, n = 50"
    slow = ms.Study(tmp_path / "t", base | {"n": 50}, dict(method=["altmin"]))
    limit = ms.estimate(tasks, "altmin", n=50, m=10, rounds=10)
    assert slow.estimate(threads=1).longest < 2 * limit.seconds + START_SECONDS


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "processes must be"),
        (("2",), TypeError, "processes must be"),
        ((1, 0), ValueError, "threads must be"),
    ],
)
def test_bad_numbers_are_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        ms.Study(tmp_path, LONG, GRID).estimate(*arguments)


def test_each_process_takes_the_next_job_when_it_is_free():
    rng = np.random.default_rng(0)
    for processes in (1, 2, 3, 7):
        times = sorted(rng.exponential(size=20), reverse=True)
        ends = np.zeros(processes)
        for time in times:
            ends[np.argmin(ends)] += time
        assert schedule(times, processes) == pytest.approx(ends.max())
    assert schedule([], 3) == 0
    assert schedule([3.0, 1.0], 5) == 3.0
