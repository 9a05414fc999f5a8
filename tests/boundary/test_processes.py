"""Signals, kills, forks and other threads of the interpreter.

Time limits are far above the usual times: they only end a test that hangs.
"""

import os
import pickle
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import metaspan as ms
from boundary.scripts import KILLED, PATIENCE, process, said, work
from matching import assert_same_bits

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")


@pytest.mark.parametrize("script", [("many_rounds",), ("one_long_round",), ("one_long_round", "8")])
def test_ctrl_c_ends_a_run_and_keeps_the_finished_rounds(script):
    with process(*script) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)  # into the compiled loop
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
        error, status, done, detail = said(child)
    assert (error, status) == ("Interrupted", "INTERRUPTED")
    if script == ("many_rounds",):
        assert int(done) > 0
        assert int(detail) == -(-int(done) // 10**6)
    else:
        assert (done, detail) == ("0", "True")


def test_ctrl_c_ends_a_gradient():
    with process("one_long_gradient") as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        assert said(child) == ["KeyboardInterrupt"]


def test_interruption_that_nobody_catches_ends_the_process():
    """The exit status is that of any KeyboardInterrupt, which shells and schedulers recognise."""
    script = (
        "import metaspan as ms; print('ready', flush=True); "
        "ms.train(ms.LinearTasks(d=9, k=2), ms.ANIL(beta=1e-9), rounds=10**12, n=3, "
        "record_every=10**6)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    assert child.returncode in (-signal.SIGINT, 1, 130)
    assert "Interrupted: training was interrupted" in err


def test_a_killed_run_resumes_with_the_same_bits(tmp_path):
    """kill -9 between two writes or within one: the file is whole, and the run goes on from it."""
    path = tmp_path / "run.npz"
    with process("checkpointed", path) as child:
        done = [int(child.stdout.readline()) for _ in range(4)]
        child.kill()
        done += [int(line) for line in child.communicate(timeout=PATIENCE)[0].split()]
    assert child.returncode == -signal.SIGKILL
    from_file = []
    resumed = ms.train(
        **KILLED, rounds=done[-1] + 300, checkpoint=path, threads=1,
        progress=lambda at, total: from_file.append(at),
    )  # fmt: skip
    assert from_file[0] > done[0]
    assert_same_bits(resumed, ms.train(**KILLED, rounds=done[-1] + 300, threads=2))
    assert {file.name for file in tmp_path.iterdir()} - {path.name} <= {
        f".{path.name}.{platform.node()}.{child.pid}.part"
    }


def test_forks_of_a_process_with_threads_work():
    with process("forked") as child:
        assert said(child) == ["True", "True"]


def test_two_python_threads_get_the_bits_of_one():
    expected = work(2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, [1, 2, 3, 4] * 3))
    assert all(answer == expected for answer in found)


def test_other_python_threads_run_during_a_round():
    """One call into the compiled core, of 16 rounds at least: a clock ticks beside it.

    On a busy machine the clock may miss a third of a call, but not of every call.
    """

    def ticks_throughout():
        ticks, over = [], threading.Event()

        def clock():
            while not over.wait(0.002):
                ticks.append(time.perf_counter())

        beside = threading.Thread(target=clock)
        beside.start()
        began = time.perf_counter()
        ms.train(ms.LinearTasks(d=9, k=5), "maml", rounds=1, n=300_000, stop=None, threads=1)
        ended = time.perf_counter()
        over.set()
        beside.join()
        third = (ended - began) / 3
        starts = (began, began + third, began + 2 * third)
        return all(any(start < tick < start + third for tick in ticks) for start in starts)

    assert any(ticks_throughout() for _ in range(10))


def test_runs_in_other_threads_are_not_interrupted_for_good():
    """A run off the main thread cannot see Ctrl-C; it ends by itself and is whole."""
    with ThreadPoolExecutor(1) as pool:
        r = pool.submit(
            ms.train, ms.LinearTasks(d=9, k=2), "anil", rounds=50, n=3, stop=None
        ).result(PATIENCE)
    assert r.status == ms.Status.FINISHED
    assert r.trace["round"].size == 51


def test_results_of_other_processes_come_back(tmp_path):
    """A result that one process pickles and one that it saves, read by another."""
    script = (
        "import pickle, sys, metaspan as ms; "
        "r = ms.train(ms.LinearTasks(d=9, k=2), 'anil', rounds=20, n=3, trials=2, stop=None); "
        "r.save(sys.argv[1]); open(sys.argv[2], 'wb').write(pickle.dumps(r))"
    )
    paths = tmp_path / "result.npz", tmp_path / "result.pickle"
    subprocess.run([sys.executable, "-c", script, *map(str, paths)], check=True, timeout=PATIENCE)
    here = ms.train(ms.LinearTasks(d=9, k=2), "anil", rounds=20, n=3, trials=2, stop=None)
    for there in (ms.load(paths[0]), pickle.loads(paths[1].read_bytes())):
        assert there.status == here.status
        np.testing.assert_array_equal(there.trace["dist"], here.trace["dist"])
        np.testing.assert_array_equal(there.full_B(), here.full_B())
