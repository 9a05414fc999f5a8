"""Runs in separate processes: python scripts.py NAME [ARGUMENT ...].

Tests start one with `process`, wait for its end with `said`, and get the words that it printed.
"""

import random
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np

import metaspan as ms

PATIENCE = 60  # seconds, to end a test that hangs

# Runs that processes begin and tests take up again.
POPULATION_RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1),
    "method": ms.ANIL(alpha=0.1, beta=0.1),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
}
DATA_RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1).sample(6, 5, 4, seed=1, threads=1),
    "method": ms.MAML(alpha=0.01, beta=1e-3, inner_steps=2),
    "init": ms.Init(scale=1.0),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
    "record_every": 100,
    "threads": 1,
}
COLLAPSED_RUN = {
    "tasks": ms.LinearTasks(d=1000, k=3, noise=0.1),
    "method": ms.MAML(alpha=1e-3, beta=1e-6, inner_steps=2),
    "n": 4,
    "m_in": 5,
    "m_out": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
    "record_every": 100,
    "threads": 1,
}
SAMPLED_RUN = {**COLLAPSED_RUN, "engine": "sampled", "trials": 1}  # others would come after it
LONG_ROUNDS = {
    "tasks": ms.LinearTasks(d=100_000, k=2, noise=0.1),
    "method": ms.MAML(alpha=1e-6, beta=1e-3),
    "n": 25,
    "m_in": 50,
    "m_out": 50,
    "init": ms.Init(scale=1.0),
    "engine": "sampled",
    "stop": None,
    "threads": 1,
}
# One that a test kills: long enough to be met in the middle.
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


@contextmanager
def process(*arguments):
    """One of the functions below, running; gone at the end whatever happens."""
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def said(child):
    """Wait for a process to succeed, and return the words that it printed."""
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, err
    return out.split()


def interrupted(*arguments):
    """Presses Ctrl-C in `until_interrupted`: rounds it had told of by then, and at its end."""
    with process("until_interrupted", *arguments) as child:
        for _ in range(5):
            seen = int(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        word, slowest, done = said(child)[-3:]
    assert word == "Interrupted"
    assert int(done) >= int(slowest) >= seen
    return seen, int(done)


def say(*words):
    print(*words, flush=True)


def many_rounds():
    """Train until interrupted between rounds, and print which rounds were kept."""
    tasks = ms.LinearTasks(d=100, k=3)
    say("ready")
    try:
        ms.train(tasks, ms.ANIL(alpha=1e-3, beta=1e-6), rounds=10**12, n=3, record_every=10**6)
    except KeyboardInterrupt as error:
        r = error.result
        say(type(error).__name__, r.status.status.name, r.status.round, r.trace["round"].size)


def one_long_round(m=None):
    """Interrupted within a round that would take hours: the state is the one before it."""
    tasks, n = ms.LinearTasks(d=100, k=20), 2**31 - 1
    m = m and int(m)
    say("ready")
    try:
        ms.train(tasks, ms.MAML(inner_steps=3), rounds=2, n=n, m_in=m, m_out=m)
    except KeyboardInterrupt as error:
        r = error.result
        finite = all(np.isfinite(part).all() for part in r.state)
        say(type(error).__name__, r.status.status.name, r.status.round, finite)


def one_long_gradient():
    """Interrupted within a gradient of hours."""
    B, w, batch, method = one_row_seen_many_times(500)
    say("ready")
    try:
        while True:
            ms.meta_gradient(B, w, batch, method)
    except KeyboardInterrupt as error:
        say(type(error).__name__)


def one_long_first_round(route):
    """Train until interrupted within a first round that would take minutes."""
    B, w, batch, method = one_row_seen_many_times(60 if route == "dual" else 5000)
    say("ready")
    try:
        ms.train(batch, method, rounds=2, init=(B, w), route=route, threads=2, width=20)
    except ms.Interrupted as error:
        r = error.result
        say("Interrupted", r.status.round, (r.B == B).all(), r.trace["round"].size)


def long_rounds():
    """Interrupted within a round of a second or so: those before it are kept."""
    say("ready")
    try:
        ms.train(**LONG_ROUNDS, rounds=10**6, progress=lambda done, _: say(done))
    except ms.Interrupted as error:
        r = error.result
        say("Interrupted", r.status.round, r.trace["round"].size, *map(float, r.w))


def one_row_seen_many_times(n):
    """A point, n tasks that take no memory though each is 40 MB to look at, and a method."""
    d, m = 100_000, 50
    row = np.random.default_rng(0).standard_normal(d)
    X, y = np.broadcast_to(row, (n, m, d)), np.broadcast_to(np.ones(m), (n, m))
    batch = ms.TaskBatch.split(X, y, m_in=20, check_finite=False)
    return np.full((d, 20), 0.01), np.ones(20), batch, ms.MAML(alpha=1e-9, inner_steps=2)


def until_interrupted(path, name="population"):
    """Writes a checkpoint when it is interrupted: in an engine, or on data by a route."""
    engines = {"population": POPULATION_RUN, "collapsed": COLLAPSED_RUN, "sampled": SAMPLED_RUN}
    settings = engines.get(name) or {**DATA_RUN, "route": name}
    kept = ms.Checkpoint(path, every_seconds=1e9)
    try:
        ms.train(**settings, rounds=10**9, checkpoint=kept, progress=lambda done, total: say(done))
    except ms.Interrupted as error:
        ends = sorted(end.round for end in error.result.outcomes)
        say("Interrupted", ends[0], ends[-1])


def alarmed(path, result):
    """An alarm presses Ctrl-C again and again until the run is done."""

    def handler(number, frame):
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGALRM, handler)
    moments = random.Random(7)
    cuts = 0
    while True:
        try:
            try:
                delay = moments.uniform(0.001, 0.02) * (1 + cuts / 20)
                signal.setitimer(signal.ITIMER_REAL, delay)
                kept = ms.Checkpoint(path, every_seconds=0)
                r = ms.train(**POPULATION_RUN, rounds=30_000, checkpoint=kept)
                break
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            cuts += 1
    r.save(result)
    say(cuts)


def until_done(path, result, rounds):
    """Goes on from its checkpoint, which it writes after every chunk, and saves its result."""
    kept = ms.Checkpoint(path, every_seconds=0)
    r = ms.train(
        **POPULATION_RUN,
        rounds=int(rounds),
        checkpoint=kept,
        progress=lambda done, total: say(done),
    )
    r.save(result)
    say("done")


def checkpointed(path):
    """Train with a checkpoint after every chunk of rounds, until the process is killed."""
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
