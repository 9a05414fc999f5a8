"""What ranks do in tests: python rank_scripts.py NAME [ARGUMENT ...] on each rank.

Each function below takes the communicator and the arguments. Rank 0 prints what tests read.
"""

import json
import os
import pickle
import signal
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse

import metaspan as ms
from metaspan._support import files, memory
from metaspan.sharding.exchange import Exchange
from metaspan.tasks import sharded
from rank_runs import START, TASKS, D, K, batch_of, data, draw_rows, part

SAMPLED = dict(engine="sampled", n=2, m_in=3, m_out=3, alpha=0.01, threads=1, stop=None)
ON_DATA = dict(alpha=0.01, beta=0.1, route="gram", threads=1, stop=None)
PLAIN = ms.LinearTasks(d=D, k=K)  # of covariance I
LONG = 10**6  # rounds that no test waits for
VOLUME = dict(n=16, m_in=8, m_out=9)  # sizes of `volumes`


def caught(call):
    """Return the class and the message of the error that a call raises."""
    try:
        call()
    except BaseException as error:
        return [type(error).__name__, str(error)]
    return ["", ""]


@contextmanager
def replaced(module, name, function):
    """Replace a function of a module in the block."""
    before = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, before)


def refuse(*_, **__):
    raise MemoryError("B needs 7 bytes; 3 are available")


def full_disk(*_, **__):
    raise OSError("no space is left")


def refused_runs(comm, folder):
    """Return calls that all ranks must refuse, by name; the last rank is at fault in most."""
    last = comm.rank == comm.size - 1
    whole = data()
    X, y = part(comm, whole.X_in), whole.y_in
    batch = batch_of(comm, whole)

    def spoilt(array, value):
        array = array.copy()
        array[-1, -1] = value if last else array[-1, -1]
        return array

    def train(**changes):
        return ms.train(batch, "anil", **{**ON_DATA, "rounds": 2, **changes})

    def sample(tasks=TASKS, **changes):
        return ms.train(tasks, "fo-anil", comm=comm, **{**SAMPLED, "rounds": 2, **changes})

    def on_little_memory():
        with replaced(memory, "require", refuse) if last else replaced(memory, "ASSUMED", 2**20):
            train()

    def on_full_disk():
        with replaced(files, "write", full_disk):
            train(checkpoint=f"{folder}/full.npz")

    def on_other_processor():
        build = {"version and instruction set": f"1.0 x86-64-v{3 + last}"}
        with replaced(sharded, "describe_build", lambda: build):
            ms.TaskBatch(X, y, comm=comm)

    def mapped(array):
        np.save(f"{folder}/X.npy", array)
        return np.load(f"{folder}/X.npy", mmap_mode="r")

    B0 = np.ones((D, K)) + np.eye(D, K)
    return {
        "nan": lambda: ms.TaskBatch(spoilt(X, np.nan), y, comm=comm),
        "dtype": lambda: ms.TaskBatch(X.astype(np.int64) if last else X, y, comm=comm),
        "columns": lambda: ms.TaskBatch(X[:, :, : -256 if comm.rank == 1 else None], y, comm=comm),
        "responses": lambda: ms.TaskBatch(X, spoilt(y, 9.0), comm=comm),
        "tasks": lambda: ms.TaskBatch(X[:-1], y[:-1], comm=comm) if last
        else ms.TaskBatch(X, y, comm=comm),
        "storage": lambda: ms.TaskBatch(mapped(X) if last else X, y, comm=comm),
        "processor": on_other_processor,
        "truth": lambda: ms.TaskBatch(X, y, B_star=part(comm, np.ones((D, 2)), 0), comm=comm),
        "weights": lambda: ms.TaskBatch(X, y, weights=[1, 1, 1, 1, 2 + last], comm=comm),
        "seed": lambda: train(seed=int(last)),
        "beta": lambda: train(beta=0.2 if last else 0.1),
        "n": lambda: train(n=99 if last else 2),
        "method": lambda: ms.train(batch, "none" if last else "anil", rounds=2, stop=None),
        "start": lambda: train(init=(spoilt(part(comm, B0, 0), np.nan), np.zeros(K))),
        "head": lambda: train(init=(part(comm, B0, 0), np.full(K, float(last)))),
        "width": lambda: ms.train(ms.TaskBatch(X, y), "anil", comm=comm, width=2 + last),
        "folder": lambda: train(checkpoint=f"{folder}/none/a.npz" if last else f"{folder}/a.npz"),
        "engine": lambda: sample(PLAIN, engine="sampled" if last else "auto"),
        "collapsed": lambda: sample(PLAIN, engine="auto"),
        "pool": lambda: sample(pool=3, engine="arrays"),
        "device": lambda: train(device="cuda"),
        "kind": lambda: sample(batch if last else TASKS),
        "law": lambda: sample(ms.LinearTasks(d=D, k=K, noise=0.1 + last, spectrum=1.0)),
        "ranks": lambda: sample(ms.LinearTasks(d=300, k=2)),
        "heads": lambda: sample(ms.LinearTasks(d=D, k=K, spectrum=1.0, heads=draw)),
        "memory": on_little_memory,
        "disk": on_full_disk,
        "estimator": lambda: sample(init="moments"),
        "diverged": lambda: train(beta=1e6, rounds=20, on_failure="raise"),
        "no communicator": lambda: train(comm="COMM_WORLD"),
        "gradient": lambda: ms.meta_gradient(part(comm, B0, 0), [float(last), 1.0, 1.0], batch,
                                             "anil"),
        "risks": lambda: ms.evaluate(part(comm, B0, 0), np.ones(K), batch, "anil", m=2 + 9 * last),
        "fit": lambda: ms.fit(batch, "burer-monteiro"),
        "option": lambda: ms.fit(batch, "moments", tol=1e-3 if last else 1e-4),
        "directions": lambda: ms.fit(batch, "duchi", width=30),
        "rows of a function": lambda: ms.fit(
            ms.LinearTasks(d=D, k=K, features=draw_rows), "moments", n=3, m=4, comm=comm,
            engine="sampled",
        ),
        "result": lambda: train(init=train()),
        "copy": lambda: pickle.dumps(train()),
        "copy of the batch": lambda: pickle.dumps(batch),
        "root": lambda: train().gather(root=99),
        "sparse and far": lambda: train_far(comm),
        "threads may differ": lambda: train(threads=1 + last, progress=not last),
    }  # fmt: skip


def train_far(comm):
    """Train on sparse sets for which one process would make copies by bands."""
    d, width = 240_000, 40
    lo, hi = ms.shard(d, comm)
    X = [scipy.sparse.random_array((20, d), density=0.004, format="csr", rng=i) for i in range(2)]
    y = [np.ones(20)] * 2
    batch = ms.TaskBatch([task[:, lo:hi] for task in X], y, comm=comm)
    ms.train(batch, "anil", width=width, rounds=2, **ON_DATA)


def rank():
    """Return the rank of this process, which no function of a law may hold or read."""
    from mpi4py import MPI  # noqa: PLC0415

    return MPI.COMM_WORLD.rank


def draw(generator, n, k):
    if rank() == 2:
        raise RuntimeError("no heads today")
    return generator.standard_normal((n, k))


def refusals(comm, folder):
    """Print, for each refused call, the errors of all ranks."""
    warnings.simplefilter("ignore")
    for name, call in refused_runs(comm, folder).items():
        errors = comm.gather(caught(call))
        if comm.rank == 0:
            print(json.dumps([name, errors]), flush=True)


def warned(comm):
    """Print how many warnings each rank issues."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        ms.train(batch_of(comm, data(m_in=1, m_out=1)), "anil", rounds=1, stop=None, threads=1)
    counts = comm.gather(len([w for w in issued if w.category is ms.FewSamplesWarning]))
    if comm.rank == 0:
        print(json.dumps(counts))


# Runs that other numbers of ranks continue from a checkpoint.
STEP = ms.OuterStep(momentum=0.5, average=True)
STARTED = {
    "gram": dict(method=ms.ANIL(alpha=0.01, step=STEP), route="gram", trials=2, n=3),
    "vector": dict(method=ms.MAML(alpha=0.01, step=ms.OuterStep(rule="adam")), route="vector"),
    "dual": dict(method=ms.MAML(alpha=0.01, step=STEP), route="dual"),
    "given start": dict(method=ms.ANIL(alpha=0.01), route="gram"),
    "sampled": dict(method=ms.ANIL(alpha=0.01, step=STEP), n=2, m_in=3, m_out=3, trials=2,
                    engine="sampled"),
}  # fmt: skip


def go_on(comm, name, rounds, checkpoint):
    """Train up to a number of rounds from a checkpoint, if there is one."""
    given = dict(STARTED[name])
    tasks = TASKS if name == "sampled" else batch_of(comm, data())
    if name == "given start":
        B0 = np.random.default_rng(13).standard_normal((D, K)) / 50
        given["init"] = part(comm, B0, 0), np.ones(K)
    return ms.train(
        tasks, rounds=rounds, checkpoint=checkpoint, comm=comm, threads=1, stop=None,
        record=("dist", "loss_out"), **given,
    )  # fmt: skip


def continued(comm, rounds, folder):
    """Continue all runs of STARTED, and save their results."""
    for name in STARTED:
        r = go_on(comm, name, int(rounds), f"{folder}/{name}.npz")
        r.save(f"{folder}/{name}.result")


CALLS = []


def draw_some(generator, m, d):
    """Draw rows, until rank 1 runs out of memory."""
    CALLS.append(m)
    if len(CALLS) > 40 and rank() == 1:
        raise MemoryError("no room for a row")
    return generator.standard_normal((m, d))


def out_of_memory(comm, folder):
    """Rank 1 runs out of memory within a round, after some checkpoints."""
    tasks = ms.LinearTasks(d=D, k=K, spectrum=1.0, features=draw_some)
    checkpoint = ms.Checkpoint(f"{folder}/run.npz", every_seconds=0.0)
    ms.train(tasks, "fo-anil", rounds=LONG, comm=comm, checkpoint=checkpoint, **SAMPLED)


def endless(comm, folder):
    """Run until something ends it; print the process of the last rank once a checkpoint exists."""
    file = Path(folder, "run.npz")
    started = time.monotonic()

    def progress(done, total):
        if file.exists() and time.monotonic() - started > 1.0 and not progress.said:
            progress.said = True
            print(pids[-1], flush=True)

    progress.said = False
    pids = comm.allgather(os.getpid())
    try:
        ms.train(
            batch_of(comm, data()), "anil", rounds=LONG, progress=progress,
            checkpoint=ms.Checkpoint(file, every_seconds=0.0), **ON_DATA,
        )  # fmt: skip
    except ms.Interrupted as stopped:
        rounds = comm.gather(stopped.result.outcomes[0].round)
        B = stopped.result.gather()
        if comm.rank == 0:
            print(json.dumps([rounds, str(stopped), bool(np.isfinite(B).all())]), flush=True)


def draw_and_interrupt(generator, n, k):
    CALLS.append(n)
    if rank() == 2 and len(CALLS) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return generator.standard_normal((n, k))


def interrupted_rank(comm):
    """Interrupt one rank alone, while it draws heads; print how the ranks end."""

    tasks = ms.LinearTasks(d=D, k=K, spectrum=1.0, heads=draw_and_interrupt)
    try:
        ms.train(tasks, "fo-anil", rounds=LONG, comm=comm, **SAMPLED)
    except ms.Interrupted as stopped:
        rounds = comm.gather(stopped.result.outcomes[0].round)
        if comm.rank == 0:
            print(json.dumps(rounds))


def volumes(comm):
    """Print the numbers that rank 0 sends in a round, by method and route."""
    batch = batch_of(comm, data(n=VOLUME["n"], m_in=VOLUME["m_in"], m_out=VOLUME["m_out"]))
    sent = {}
    for method, route in (("anil", "gram"), ("maml", "gram"), ("maml", "dual")):
        given = ON_DATA | dict(route=route, width=K, record=None, record_every=100, init=START)
        # The numbers are those that the exchange of the batch has sent so far.
        totals = [
            ms.train(batch, method, rounds=rounds, **given).sent_numbers for rounds in (2, 2, 7)
        ]
        sent[f"{method} {route}"] = (totals[2] - 2 * totals[1] + totals[0]) / 5
    if comm.rank == 0:
        print(json.dumps(sent))


def exchanged(comm):
    """Exchange numbers in one message, and in many; print whether all arrive in order."""
    sound = []
    for most in (None, 7, 1000):
        exchange = Exchange(comm, most=most)
        rank, ranks = comm.rank, comm.size
        counts = [5 * r + 1 for r in range(ranks)]
        numbers = [np.arange(count) + 100.0 * r for r, count in enumerate(counts)]
        everything = np.full(sum(counts), -1.0)
        exchange.gather(numbers[rank], counts, everything)
        sound.append(bool((everything == np.concatenate(numbers)).all()))
        sent, received = [3 * rank + r for r in range(ranks)], [3 * r + rank for r in range(ranks)]
        out = np.full(sum(received), -1.0)
        exchange.swap(np.concatenate([np.full(c, rank * 10.0 + r) for r, c in enumerate(sent)]),
                      sent, received, out)  # fmt: skip
        expected = [np.full(c, r * 10.0 + rank) for r, c in enumerate(received)]
        sound.append(bool((out == np.concatenate(expected)).all()))
        others = sum(sent) - sent[rank] + counts[rank] * (ranks > 1)
        sound.append((exchange.calls, exchange.sent_numbers) == (2, others))
        rows = np.arange(2.0 * (rank + 1)).reshape(1, rank + 1, 2) + 100 * rank
        lengths = [r + 1 for r in range(ranks)]
        if rank == ranks - 1:
            pieces = [part.copy() for part in exchange.receive_rows(rows, lengths)]
            wanted = [np.arange(2.0 * (r + 1)).reshape(-1, 2) + 100 * r for r in range(ranks)]
            sound.append(bool(np.array_equal(np.concatenate(pieces), np.concatenate(wanted))))
        else:
            exchange.send_rows(rows, ranks - 1)
    everywhere = comm.gather(sound)
    if comm.rank == 0:
        print(json.dumps(everywhere))


if __name__ == "__main__":
    from mpi4py import MPI

    globals()[sys.argv[1]](MPI.COMM_WORLD, *sys.argv[2:])
