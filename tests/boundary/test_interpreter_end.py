"""A process whose interpreter ends while a daemon thread is in a call exits with status 0.

Before Python 3.14, such a thread is terminated when it next requests the interpreter's lock.
"""

import os
import subprocess
import sys

import pytest

PATIENCE = 60  # seconds, to end a test that hangs

SCRIPT = """
import os, sys, threading, time
import numpy as np
import metaspan as ms

name, folder = sys.argv[1:]
d, k, n, m = 4000, 8, 20, 30
rng = np.random.default_rng(0)
X, y = rng.standard_normal((n, m, d)), rng.standard_normal((n, m))
B, w = np.linalg.qr(rng.standard_normal((d, k)))[0], np.ones(k)
batch = ms.TaskBatch.split(X, y, m_in=10)
np.save(os.path.join(folder, "X.npy"), X)
on_disk = ms.TaskBatch.split(np.load(os.path.join(folder, "X.npy"), mmap_mode="r"), y, m_in=10)
small = ms.LinearTasks(d=40, k=3)
given_heads = ms.LinearTasks(d=40, k=3, heads=lambda rng, n, k: rng.standard_normal((n, k)))
given_rows = ms.LinearTasks(d=40, k=3, features=lambda rng, n, d: rng.standard_normal((n, d)))
long = dict(rounds=10**7, stop=None, record_every=10**7, threads=2)
short = dict(rounds=1, n=1, stop=None, threads=2)
steps = dict(alpha=1e-5, beta=1e-9)
calls = {
    "train": lambda: ms.train(small, "maml", n=100, **long, **steps),
    "short runs": lambda: ms.train(small, "maml", **short, **steps),
    "fresh samples": lambda: ms.train(small, "maml", n=100, m_in=5, m_out=5, **long, **steps),
    "arrays": lambda: ms.train(batch, "maml", width=3, **long, **steps),
    "dual": lambda: ms.train(batch, "maml", width=3, route="dual", **long, **steps),
    "disk": lambda: ms.train(on_disk, "maml", width=3, route="gram", **long, **steps),
    "heads": lambda: ms.train(given_heads, "maml", n=100, **long, **steps),
    "features": lambda: ms.train(
        given_rows, "maml", n=9, m_in=9, m_out=9, engine="sampled", **long, **steps
    ),
    "meta_gradient": lambda: ms.meta_gradient(B, w, batch, "maml", threads=2, alpha=0.01),
    "population_gradient": lambda: ms.population_gradient(
        B, w, B[::-1].copy(), np.ones((999, k)), "maml", threads=2, alpha=0.01
    ),
    "adapt": lambda: ms.adapt(B, w, X, y, "maml", threads=2, alpha=0.01),
    "evaluate": lambda: ms.evaluate(
        B, w, ms.LinearTasks(d=d, k=k, B_star=B), "maml", n=99, threads=2, alpha=0.01
    ),
    "sample": lambda: ms.LinearTasks(d=d, k=k).sample(9, 9, 9, threads=2),
    "study": lambda: ms.Study(
        os.path.join(folder, "study"),
        base=dict(k=3, n=100, method="maml", stop=None, rounds=10**7, **steps),
        grid=dict(d=[40, 50]), seeds=2,
    ).run(progress=False),
}

def work():
    while True:
        calls[name]()

def told(failure):
    # An executor, such as that of features on disk, refuses work once the interpreter ends.
    if "cannot schedule new futures" not in str(failure.exc_value):
        print(failure.exc_value)

threading.excepthook = told
threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
"""


@pytest.mark.parametrize(
    "call",
    [
        *("train", "short runs", "fresh samples", "arrays", "dual", "disk", "heads", "features"),
        *("meta_gradient", "population_gradient", "adapt", "evaluate", "sample", "study"),
    ],
)
def test_a_daemon_thread_in_a_call_does_not_disturb_the_end(call, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, call, tmp_path],
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
