"""Runs that are started as processes of their own: python scripts.py NAME [PATH]."""

import sys

import numpy as np

import metaspan as ms

# A run that a test kills and takes up again: long enough to be met in the middle.
KILLED = {
    "tasks": ms.LinearTasks(d=50, k=4, noise=0.1),
    "method": ms.MAML(alpha=0.05, beta=0.05, inner_steps=2),
    "n": 40,
    "width": 6,
    "trials": 2,
    "seed": 3,
    "stop": None,
    "record": ("dist", "loss_out"),
}


def say(*words):
    print(*words, flush=True)


def many_rounds():
    """Interrupted between rounds: what is finished is kept."""
    tasks = ms.LinearTasks(d=100, k=3)
    say("ready")
    try:
        ms.train(tasks, ms.ANIL(alpha=1e-3, beta=1e-6), rounds=10**12, n=3, record_every=10**6)
    except KeyboardInterrupt as error:
        r = error.result
        say(type(error).__name__, r.status.status.name, r.status.round, r.trace["round"].size)


def one_long_round():
    """Interrupted within a round that would take hours: the state is the one before it."""
    tasks = ms.LinearTasks(d=100, k=20)
    say("ready")
    try:
        ms.train(tasks, ms.MAML(inner_steps=3), rounds=2, n=2**31 - 1, trials=1)
    except KeyboardInterrupt as error:
        r = error.result
        finite = all(np.isfinite(part).all() for part in r.state)
        say(type(error).__name__, r.status.status.name, r.status.round, finite)


def one_long_gradient():
    """Interrupted within a gradient of hours: 20 GB of data, which are one row seen many times."""
    d, n, m = 100_000, 500, 50
    row = np.random.default_rng(0).standard_normal(d)
    X, y = np.broadcast_to(row, (n, m, d)), np.broadcast_to(np.ones(m), (n, m))
    batch = ms.TaskBatch.split(X, y, m_in=20, check_finite=False)
    B, w = np.full((d, 20), 0.01), np.ones(20)
    method = ms.MAML(alpha=1e-9, inner_steps=2)
    say("ready")
    try:
        while True:
            ms.meta_gradient(B, w, batch, method)
    except KeyboardInterrupt as error:
        say(type(error).__name__)


def checkpointed(path):
    """Writes its checkpoint after every chunk, until it is killed."""
    ms.train(
        **KILLED,
        rounds=10**9,
        checkpoint=ms.Checkpoint(path, every_seconds=0),
        progress=lambda done, total: say(done),
    )


def forked():
    """A child of a process whose threads have worked can work with threads of its own."""
    import multiprocessing  # noqa: PLC0415

    expected = work(4)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(work, [4, 2, 1, 4])
    say(all(answer == expected for answer in found), work(4) == expected)


def work(threads):
    """A gradient and a run with threads, as bytes."""
    tasks = ms.LinearTasks(d=300, k=3)
    batch = tasks.sample(40, 9, 7, seed=1, threads=threads)
    B, w = np.full((300, 4), 0.1), np.ones(4)
    g = ms.meta_gradient(B, w, batch, ms.MAML(alpha=0.01, inner_steps=2), threads=threads)
    r = ms.train(tasks, ms.ANIL(), rounds=30, n=200, trials=4, threads=threads)
    return g.B.tobytes() + r.trace["dist"].tobytes()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
