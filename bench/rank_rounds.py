"""Times the rounds of one run on every rank that mpiexec starts; `bench_mpi` reads what it prints.

::

    mpiexec -n 2 python -m bench.rank_rounds arrays fo-anil 400000 4 --quick
    python -m bench.rank_rounds arrays fo-anil 400000 4 --plain
"""

from __future__ import annotations

import argparse
import hashlib
import json
from typing import Any

import numpy as np

import metaspan as ms

K, N, M_IN, M_OUT = 10, 20, 50, 50
QUICK_N = 2
METHODS = ("fo-anil", "maml")
REPEATED = 2**20 + 7  # normals that fill the features, again and again


def columns(comm: Any, d: int) -> tuple[int, int]:
    """Return the columns of this rank, or all without a communicator."""
    return (0, d) if comm is None else ms.shard(d, comm)


def batch(comm: Any, d: int, n: int) -> ms.TaskBatch:
    """Make tasks whose numbers depend on their place among all d columns alone."""
    normals = np.random.default_rng(1).standard_normal(REPEATED)
    lo, hi = columns(comm, d)

    def features(first: int, m: int) -> np.ndarray:
        X = np.empty((n, m, hi - lo))
        for i in range(n):
            for row in range(m):
                begin = (first + (i * m + row) * 7919 + lo) % REPEATED
                X[i, row] = np.take(normals, np.arange(begin, begin + hi - lo), mode="wrap")
        return X

    rng = np.random.default_rng(2)
    y_in, y_out = rng.standard_normal((n, M_IN)), rng.standard_normal((n, M_OUT))
    return ms.TaskBatch(features(0, M_IN), y_in, features(101, M_OUT), y_out, comm=comm)


def rounds(options: argparse.Namespace, comm: Any) -> ms.Result:
    """Do the rounds that the command line asks for."""
    n = QUICK_N if options.quick else N
    common: dict[str, Any] = {
        "rounds": options.rounds,
        "alpha": 0.3 / options.d,
        "beta": 0.3 / options.d,
        "stop": None,
        "threads": 1,
        "record": ("loss_out",),
        "record_every": options.rounds,
        "comm": comm,
    }
    if options.source == "sampled":
        tasks = ms.LinearTasks(d=options.d, k=K)
        sizes = {"n": n, "m_in": M_IN, "m_out": M_OUT}
        return ms.train(tasks, options.method, engine="sampled", **sizes, **common)
    return ms.train(batch(comm, options.d, n), options.method, width=K, **common)


def main() -> None:
    """Print the seconds of a round and a digest of the result on rank 0, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", choices=("arrays", "sampled"))
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("d", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--plain", action="store_true", help="without a communicator")
    parser.add_argument("--quick", action="store_true", help="fewer tasks")
    options = parser.parse_args()
    comm = None
    if not options.plain:
        from mpi4py import MPI  # noqa: PLC0415  (a plain run does not need it)

        comm = MPI.COMM_WORLD
    result = rounds(options, comm)
    digest = hashlib.sha256(result.w.tobytes())
    digest.update(result.trace["loss_out"].tobytes())
    if comm is None or comm.Get_rank() == 0:
        seconds = result.timings["run"] / options.rounds
        print(json.dumps({"seconds": seconds, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main()
