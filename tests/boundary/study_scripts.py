"""Studies in separate processes, some of which are killed: python study_scripts.py NAME ...

Tests start one with `process`, wait for its end with `said`, and get the words that it printed.
"""

import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import metaspan as ms

PATIENCE = 60  # seconds, to end a test that hangs
STARTS = 5000  # at most, so that a study that never ends is an error

# 160 runs in 80 cells, of some milliseconds each.
STUDY = {
    "base": dict(k=3, noise=0.1, n=10, method="maml", stop=None),
    "grid": dict(
        d=[10, 20, 30, 40], beta=[0.1, 0.08, 0.06, 0.04], rounds=[100, 300, 500, 700, 900]
    ),
    "seeds": 2,
    "measure": ("dist", "w_norm", "floor"),
}


@contextmanager
def process(*arguments, **options):
    """One of the functions below, running; gone at the end whatever happens."""
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def said(child, patience=PATIENCE):
    """The words of a process until its end, which must be a good one."""
    out, err = child.communicate(timeout=patience)
    assert child.returncode == 0, err
    return out.split()


def alive(pid):
    """Whether a process runs; one that has ended and that nobody asked about does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for_end(pids):
    """Returns once processes have ended, whose parent has."""
    end = time.monotonic() + PATIENCE
    while any(map(alive, pids)):
        assert time.monotonic() < end, f"still running: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.01)


def say(*words):
    print(*words, flush=True)


def pooled(folder):
    """A study on a pool of processes."""
    with ms.process_pool(2) as pool:
        say(ms.Study(folder, **STUDY).run(pool, progress=False).complete)


def summed():
    """A sum, by a process of a pool."""
    with ms.process_pool(1) as pool:
        say(pool.submit(sum, (3, 4)).result())


def forked(folder):
    """A study on a pool of forks, of a process whose threads have worked."""
    ms.train(ms.LinearTasks(d=300, k=3), "anil", rounds=30, n=200, trials=4, threads=4)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        say(ms.Study(folder, **STUDY).run(pool, progress=False).complete)


def worker(result):
    """Return the id of the process that computed a run (a measure of a study)."""
    return os.getpid()


def on(executor, folder):
    """Do the study on an executor, and say by how many processes, this one not among them."""
    study = ms.Study(folder, **{**STUDY, "measure": (*STUDY["measure"], worker)})
    complete = study.run(executor, progress=False).complete
    say(complete, len(set(study.table()["worker"]) - {os.getpid()}))


def on_mpi(folder):
    """Ranks of an MPI job that wait for work."""
    from mpi4py.futures import MPIPoolExecutor  # noqa: PLC0415

    with MPIPoolExecutor() as executor:
        on(executor, folder)


def on_dask(folder):
    """Workers of a Dask cluster."""
    from distributed import Client, LocalCluster  # noqa: PLC0415

    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        on(client.get_executor(), folder)


def on_loky(folder):
    """Processes that loky keeps."""
    from loky import get_reusable_executor  # noqa: PLC0415

    on(get_reusable_executor(max_workers=2), folder)


def with_a_killed_worker(folder):
    """A worker dies; the same process goes on with another pool."""
    study = ms.Study(folder, **STUDY)
    killed = []

    def kill(*_):
        if not killed:  # what has come by then is told afterwards too
            killed.append(min(pool._processes))
            os.kill(killed[0], signal.SIGKILL)

    try:
        with ms.process_pool(2) as pool:
            study.run(pool, progress=kill)
    except BrokenExecutor as error:
        say(study.status().done, str(error).replace(" ", "_"))
    with ms.process_pool(2) as pool:
        say(study.run(pool, progress=False).complete)


def until_killed(folder):
    """Says which processes work for it, once they do."""
    with ms.process_pool(2) as pool:
        heard = []

        def told(*_):
            if not heard:
                heard.append(True)
                say(*pool._processes)

        ms.Study(folder, **STUDY).run(pool, progress=told)


def killed_again_and_again(folder, kills, seed):
    """Starts studies, kills what does their runs, and starts again, until all are done."""
    moments = random.Random(int(seed))
    left, number, counts = int(kills), 0, dict.fromkeys(("alone", "parent", "worker"), 0)
    while left:
        path = os.path.join(folder, str(number))
        for _ in range(STARTS):
            kind = moments.choices(("alone", "parent", "worker"), (8, 1, 1))[0]
            killed, complete = disturbed(path, kind, moments, strike=left > 0)
            counts[kind] += killed
            left -= killed
            if complete:
                break
        else:
            raise RuntimeError(f"study {number} is not done after {STARTS} starts")
        number += 1
    say(number, *counts.values())


def disturbed(path, kind, moments, strike):
    """Start a study; kill it or a worker at a random moment. Whether that met it, and whether
    the study is done."""
    begun, begins = os.pipe()
    struck, strikes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begun)
        code = 1
        try:
            code = run_and_tell(path, kind, begins, struck)
        finally:
            os._exit(code)
    os.close(begins)
    assert select.select([begun], [], [], PATIENCE)[0], "the study did not begin"
    workers = [int(word) for word in os.read(begun, 1000).split()]
    time.sleep(moments.uniform(0.0, 0.06))
    target = moments.choice(workers) if kind == "worker" and workers else child
    killed = strike and alive(target)
    if killed:
        os.kill(target, signal.SIGKILL)
    os.write(strikes, b"!" if killed else b".")
    select.select([begun], [], [], PATIENCE)
    for end in (begun, struck, strikes):
        os.close(end)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    wait_for_end(workers)
    assert code in (0, BROKEN if target != child else -signal.SIGKILL)
    return killed and code != 0, code == 0


BROKEN = 3  # exit status of a process whose worker died


def run_and_tell(path, kind, begins, struck):
    """Do a study's runs, here or by workers, whose numbers it tells once there are rows."""
    study = ms.Study(path, **STUDY)
    if kind == "alone":
        os.write(begins, b" ")
        study.run(progress=False, threads=1)
        return 0
    heard = []

    def told(*_):
        if not heard:
            heard.append(os.write(begins, " ".join(map(str, pool._processes)).encode()))

    try:
        with ms.process_pool(2) as pool:
            study.run(pool, progress=told)
            if not heard:
                os.write(begins, b" ")
            # A pool that is shutting down does not look whether its workers live.
            met = os.read(struck, 1) == b"!" and kind == "worker" and heard
            while met and not pool._broken:
                time.sleep(0.001)
    except BrokenExecutor:
        return BROKEN
    return 0


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
