"""Studies on pools of threads and processes, which are interrupted and killed.

Time limits are far above the usual times: they only end a test that hangs.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import metaspan as ms
from boundary.study_scripts import PATIENCE, STUDY, alive, process, said, wait_for_end
from studies import keys, runs, table

pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, forks and /proc of Linux")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the table of the study, run without interruption in this process."""
    study = ms.Study(tmp_path_factory.mktemp("undisturbed"), **STUDY)
    assert study.run(progress=False, threads=1).statuses == {"finished": 160}
    return table(study)


def assert_done_once(folder, undisturbed):
    """Every run has one row, and the table is that of an undisturbed study."""
    study = ms.Study(folder, **STUDY)
    assert study.status().complete
    assert Counter(keys(study)) == Counter(runs(study))
    pd.testing.assert_frame_equal(table(study), undisturbed)


def test_thread_pools_give_the_table_of_one_process(tmp_path, undisturbed):
    with ThreadPoolExecutor(3) as pool:
        ms.Study(tmp_path, **STUDY).run(pool, progress=False)
    assert_done_once(tmp_path, undisturbed)


@pytest.mark.parametrize("script", ["pooled", "forked"])
def test_process_pools_give_the_table_of_one_process(tmp_path, undisturbed, script):
    """A process whose threads have run is forked; its children must not hang."""
    with process(script, tmp_path) as child:
        assert said(child) == ["True"]
    assert_done_once(tmp_path, undisturbed)


def test_process_pools_need_no_short_folder_of_temporary_files(tmp_path):
    """A socket's path has a limit that the folder of a batch job may exceed."""
    folder = tmp_path / ("t" * 100)
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    with process("summed", env=environment) as child:
        assert said(child) == ["7"]


def test_killed_workers_leave_what_was_finished(tmp_path, undisturbed):
    with process("with_a_killed_worker", tmp_path) as child:
        done, message, complete = said(child)
    assert 0 < int(done) < 160
    words = message.split("_")
    assert words[:5] == ["a", "worker", "died", "while", "cells"]
    names = {cell.name for cell in ms.Study(tmp_path).cells}
    told = {word.rstrip(",") for word in words[5 : words.index("were")]} - {"..."}
    assert told
    assert told <= names
    assert complete == "True"
    assert_done_once(tmp_path, undisturbed)


def test_workers_end_with_a_parent_that_is_killed(tmp_path, undisturbed):
    with process("until_killed", tmp_path) as child:
        workers = [int(word) for word in child.stdout.readline().split()]
        child.kill()
        child.wait(PATIENCE)
    assert len(workers) == 2
    wait_for_end(workers)
    study = ms.Study(tmp_path, **STUDY)
    assert 0 < study.status().done < 160
    study.run(progress=False, threads=1)
    assert_done_once(tmp_path, undisturbed)


TOML = """
folder = "s"
seeds = 6
measure = ["dist", "w_norm", "floor"]
[base]
k = 3
noise = 0.1
n = 10
method = "maml"
stop = false
[grid]
d = [10, 20, 30, 40]
beta = [0.1, 0.08, 0.06, 0.04]
rounds = [100, 300, 500, 700, 900]
"""


def children_of(pid):
    """Return the ids of the living processes in the session of a process."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.getsid(int(name)) == pid and alive(int(name)):
                found.append(int(name))
        except ProcessLookupError:
            continue
    return found


@pytest.mark.parametrize("whom", ["group", "parent"])
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_ctrl_c_ends_the_command_with_130(tmp_path, undisturbed, whom, workers):
    file = tmp_path / "study.toml"
    file.write_text(TOML)
    command = [sys.executable, "-m", "metaspan", "study", "run", file, "--threads", "1", *workers]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        rows = tmp_path / "s" / "rows" / "all.jsonl"
        end = time.monotonic() + PATIENCE
        while not (rows.exists() and rows.stat().st_size):
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
        all_of_them = children_of(child.pid)
        if whom == "group":
            os.killpg(child.pid, signal.SIGINT)
        else:
            os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "metaspan: interrupted; finished work is kept"
    assert "Traceback" not in err
    wait_for_end(all_of_them)
    study = ms.Study(tmp_path / "s")
    kept = keys(study)
    assert 0 < len(kept) < len(runs(study)) == 480
    assert len(set(kept)) == len(kept)
    found = table(study)
    found = found[found["seed"] < 2]
    assert 0 < len(found) == len(found.merge(undisturbed))  # the same rows in every number
    if not workers:
        study.run(progress=False, threads=1)
        assert keys(study)[: len(kept)] == kept
        assert sorted(keys(study)) == sorted(runs(study))


def assert_kills_lose_nothing(tmp_path, undisturbed, kills, seed):
    with process("killed_again_and_again", tmp_path, kills, seed) as child:
        studies, *met = map(int, said(child, 10 * PATIENCE))
    assert sum(met) == kills
    assert min(met) > 0
    assert studies > 0  # one is enough where starting takes longer than all its runs
    for number in range(studies):
        assert_done_once(tmp_path / str(number), undisturbed)


def test_kills_at_random_lose_and_repeat_nothing(tmp_path, undisturbed):
    assert_kills_lose_nothing(tmp_path, undisturbed, 50, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_more_kills_lose_and_repeat_nothing(tmp_path, undisturbed, seed):
    assert_kills_lose_nothing(tmp_path, undisturbed, 300, seed)
