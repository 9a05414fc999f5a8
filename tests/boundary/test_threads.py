"""Calls from several Python threads at once, and forks while others work."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import metaspan as ms
from control_groups import control_group

PATIENCE = 60  # seconds, to end a test that hangs


def problem():
    """Enough arithmetic that a call lasts, little enough that it does not last long."""
    rng = np.random.default_rng(0)
    d, k = 20_000, 8
    X = rng.standard_normal((20, 30, d), np.float32)
    y = rng.standard_normal((20, 30), np.float32)
    B = np.linalg.qr(rng.standard_normal((d, k)))[0]
    return X, y, B, np.ones(k)


X, Y, B, W = problem()
BATCH = ms.TaskBatch.split(X, Y, m_in=10)
TASKS = ms.LinearTasks(d=400_000, k=8)
MAML = ms.MAML(alpha=0.01, inner_steps=2)

CALLS = {
    "meta_gradient": lambda threads: ms.meta_gradient(B, W, BATCH, MAML, threads=threads).B,
    "population_gradient": lambda threads: (
        ms.population_gradient(B, W, B[::-1].copy(), np.ones((20_000, 8)), MAML, threads=threads).B
    ),
    "adapt": lambda threads: ms.adapt(B, W, X, Y, MAML, return_B=True, threads=threads)[1],
    "sample": lambda threads: ms.LinearTasks(d=20_000, k=8).sample(8, 9, 9, threads=threads).X_in,
    "ground_truth": lambda threads: TASKS.ground_truth(threads=threads),
    "train": lambda threads: ms.train(
        ms.LinearTasks(d=100, k=3), MAML, rounds=3, n=100_000, threads=threads, record="loss_out"
    ).trace["loss_out"],
}


@pytest.mark.parametrize("name", CALLS)
def test_other_threads_go_on_during_a_call(name):
    """Python would switch threads after 1000 s only, so the call itself must release the lock."""
    ticks, over = [0], threading.Event()

    def tick():
        while not over.is_set():
            ticks[0] += 1
            time.sleep(1e-4)  # lets go, so that the call can start and come back

    before = sys.getswitchinterval()
    other = threading.Thread(target=tick)
    sys.setswitchinterval(1000.0)
    try:
        other.start()
        least = min(counted(CALLS[name], ticks) for _ in range(2))
    finally:
        over.set()
        sys.setswitchinterval(before)
        other.join()
    assert least >= 10


def counted(call, ticks):
    """How often the other thread had its turn while `call` ran."""
    start = ticks[0]
    call(1)
    return ticks[0] - start


def test_different_calls_at_once_get_the_bits_of_each_alone():
    """Also with other numbers of threads below each, and each more than once."""
    alone = {name: call(2) for name, call in CALLS.items()}
    found, begin = [], threading.Barrier(len(CALLS))

    def work(name, threads):
        begin.wait(PATIENCE)
        for more in (0, 1):
            found.append((name, CALLS[name](threads + more)))

    workers = [
        threading.Thread(target=work, args=(name, 1 + i % 3)) for i, name in enumerate(CALLS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert len(found) == 2 * len(CALLS)
    for name, values in found:
        np.testing.assert_array_equal(values, alone[name], err_msg=name)


def test_a_callers_function_of_heads_runs_in_the_callers_thread():
    seen = set()

    def heads(generator, n, k):
        seen.add(threading.get_ident())
        return generator.standard_normal((n, k))

    tasks = ms.LinearTasks(d=20, k=3, heads=heads)
    worker = threading.Thread(
        target=ms.train, args=(tasks, MAML), kwargs={"rounds": 5, "n": 4, "threads": 2}
    )
    worker.start()
    ident = worker.ident
    worker.join(PATIENCE)
    assert seen == {ident}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of POSIX")
@pytest.mark.parametrize("forker", ["main", "other"])
def test_fork_while_another_thread_computes_does_not_hang(forker):
    """Forks of a thread with idle workers of its own, while workers of a second thread are busy."""
    body = """\
        import os, sys, threading
        import metaspan as ms

        def run():
            tasks = ms.LinearTasks(d=100, k=3)
            r = ms.train(tasks, "maml", rounds=6, n=30_000, threads=3, record="loss_out")
            return r.trace["loss_out"].tobytes()

        def fork():
            run()  # leaves idle workers
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    os._exit(0 if run() == expected else 3)
                codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            over.set()

        def busy():
            while not over.is_set():
                same.append(run() == expected)

        expected, codes, same, over = run(), [], [], threading.Event()
        here, there = (fork, busy) if sys.argv[1] == "main" else (busy, fork)
        beside = threading.Thread(target=there)
        beside.start()
        here()
        beside.join()
        print(codes, all(same) and len(same) > 0)
        """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(body), forker],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0, 0, 0] True"


@pytest.mark.parametrize("limit", [1, 1000])
def test_the_limit_of_openmp_holds_for_calls_that_give_no_number(limit):
    """But none that is above the CPUs of the process."""
    script = "import metaspan as ms; c = ms.show_config(); print(c['threads'])"

    def told(**environment):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return int(done.stdout)

    assert told(OMP_NUM_THREADS=str(limit)) == min(limit, told())


@pytest.fixture
def half_a_cpu():
    """Make a control group with half a CPU and return the path of its list of processes."""
    with control_group(
        ("/sys/fs/cgroup", "cpu.max", "50000 100000"),
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"),
        ("/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us", "50000"),
    ) as folder:
        yield folder / "cgroup.procs"


def test_the_quota_of_a_control_group_holds_for_calls_that_give_no_number(half_a_cpu):
    body = """\
        import os, sys
        from pathlib import Path
        Path(sys.argv[1]).write_text(str(os.getpid()))
        import metaspan as ms
        def run(**threads):
            tasks = ms.LinearTasks(d=100, k=3)
            ms.train(tasks, "maml", rounds=2, n=30_000, record="loss_out", **threads)
            return len(os.listdir("/proc/self/task"))
        run(threads=1)  # threads of a start may end during the first call
        before = run(threads=1)
        print(ms.show_config()["threads"], run() - before, run(threads=3) - before)
        """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(body), half_a_cpu],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "0", "2"]
