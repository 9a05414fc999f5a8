"""The memory that a run takes beside its data is the estimated memory, to 15 percent."""

import json
import select
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PATIENCE = 120  # seconds, to end a test that hangs

# The peak of a process that has forgotten the one of its parent; only Linux can.
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="of Linux")

SCRIPT = textwrap.dedent("""\
    import json
    import os
    import sys
    from functools import partial
    from pathlib import Path

    import numpy as np
    from scipy import sparse

    import metaspan as ms

    def memory(name):
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.split(name + ":")[1].split()[0])

    def measure(case):
        d, n, m, k = case["d"], case["n"], case["m"], case["k"]
        dtype, k_star = np.dtype(case.get("dtype", "float64")), case.get("k_star", 0)
        first_order = partial(ms.ANIL, first_order=True)
        kinds = {"maml": ms.MAML, "anil": ms.ANIL, "fo-anil": first_order}
        privacy = ms.UserDP(clip=1.0, multiplier=1.0) if case.get("private") else None
        method = kinds[case.get("method", "anil")](alpha=1e-7, beta=1e-9, privacy=privacy)
        options = {
            "rounds": 2, "route": case["route"], "threads": 1, "stop": None, "width": k,
            "record": case.get("record", "loss_out"), "trials": case.get("trials", 1),
        }

        # What the first run of a process takes whatever its size.
        small = ms.LinearTasks(d=20, k=2).sample(3, 2, 2)
        start = {"init": ms.Init(scale=1.0), "record": ("dist", "loss_out"), "width": 2}
        ms.train(small, method, **{**options, **start})

        if case.get("pool"):
            tasks = ms.LinearTasks(d=d, k=k_star)
            options |= {"pool": n, "n": n, "m_in": m, "m_out": m, "engine": case["engine"]}
            options["init"] = ms.Init(scale=1.0)
        elif "engine" in case:
            tasks = ms.LinearTasks(d=d, k=k_star, spectrum=case.get("spectrum"))
            options |= {"n": n, "route": "auto", "engine": case["engine"]}
            options["init"] = ms.Init(scale=1.0)
            if m:
                options |= {"m_in": m, "m_out": m}
        else:
            rng, y = np.random.default_rng(0), np.ones((n, 2 * m), dtype)
            if "entries" in case:
                e = case["entries"]
                columns = rng.integers(d // e, size=(n, 2 * m, e)) + np.arange(e) * (d // e)
                starts = np.arange(2 * m + 1) * e
                X = [
                    sparse.csr_matrix((np.ones(2 * m * e, dtype), c.ravel(), starts), (2 * m, d))
                    for c in columns.astype(np.int32)
                ]
                del columns
            else:
                X = rng.standard_normal((n, 2 * m, d), dtype)
            B_star = np.zeros((d, k_star), dtype)
            B_star[np.arange(k_star), np.arange(k_star)] = 1
            B = np.full((d, k), 1e-3, dtype)
            B[:k] += np.eye(k, dtype=dtype)
            tasks = ms.TaskBatch.split(X, y, m, B_star if k_star else None, check_finite=False)
            options["init"] = (B, np.ones(k))
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = memory("VmRSS")
        r = ms.train(tasks, method, **options)
        taken = memory("VmHWM") - before
        assert np.isfinite(r.w).all()
        found = ms.estimate(tasks, method, **options)
        print(json.dumps([taken, found.memory_bytes, found.bytes]))

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            measure(json.loads(line))
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            print("null", flush=True)
""")

LONG = {"d": 250_000, "n": 4, "m": 2, "k": 8}
CASES = {
    "gram": {"route": "gram", **LONG},
    "gram-records": {"route": "gram", **LONG, "k_star": 4, "record": ["dist"]},
    "gram-trials": {"route": "gram", **LONG, "k": 4, "trials": 3},
    "gram-float32": {"route": "gram", **LONG, "k": 16, "dtype": "float32"},
    # Norms of contributions take the Gram matrices of all sets.
    "gram-private": {"route": "gram", "d": 300, "n": 200, "m": 100, "k": 4, "private": True},
    "sparse-private": {
        "route": "gram", "d": 10**4, "n": 200, "m": 100, "k": 4, "entries": 20, "private": True,
    },
    "vector": {"route": "vector", **LONG, "method": "maml"},
    # Vectors so long, beside a B so small, that tasks are taken one by one.
    "vector-alone": {
        "route": "vector", "d": 250_000, "n": 20, "m": 2, "k": 2, "method": "fo-anil",
        "record": ["w_norm"],
    },
    "dual-long": {"route": "dual", **LONG},
    "dual-many": {"route": "dual", "d": 900, "n": 60, "m": 20, "k": 5},
    "dual-many-records": {
        "route": "dual", "d": 2100, "n": 45, "m": 20, "k": 5, "k_star": 2, "record": ["dist"],
    },
    "dual-singular": {
        "route": "dual", "d": 900, "n": 60, "m": 20, "k": 5, "k_star": 2, "record": ["dist"],
    },
    **{
        f"sparse-{name}": {"k": 8, "entries": 20, **sizes}
        for name, sizes in {
            "gram": {"route": "gram", "d": 10**6, "n": 20, "m": 50},
            "maml": {"route": "gram", "d": 10**6, "n": 20, "m": 50, "method": "maml"},
            "float32": {"route": "gram", "d": 1_200_000, "n": 20, "m": 50, "dtype": "float32"},
            "samples": {"route": "gram", "d": 10**4, "n": 400, "m": 800},
            "copies": {"route": "gram", "d": 3 * 10**5, "n": 20, "m": 500, "entries": 200},
            "vector": {"route": "vector", "d": 10**6, "n": 20, "m": 50},
            "vector-maml": {"route": "vector", "d": 10**6, "n": 20, "m": 50, "method": "maml"},
            "vector-many": {"route": "vector", "d": 10**5, "n": 200, "m": 50, "method": "fo-anil"},
            "dual": {"route": "dual", "d": 10**6, "n": 20, "m": 50},
            "dual-samples": {"route": "dual", "d": 10**5, "n": 30, "m": 50},
        }.items()
    },
    "pool": {
        "route": "gram", "d": 200_000, "n": 8, "m": 4, "k": 4, "k_star": 4, "pool": True,
        "engine": "arrays",
    },
    **{
        f"pool-in-law-{route}": {
            "route": route, "d": 10**6, "n": 60, "m": 25, "k": 4, "k_star": 4, "pool": True,
            "engine": "collapsed",
        }
        for route in ("gram", "vector", "dual")
    },
    "collapsed": {
        "route": "auto", "d": 10**6, "n": 20, "m": 1200, "k": 4, "k_star": 4, "method": "maml",
        "engine": "collapsed",
    },
    **{
        f"sampled-{name}-{method}": {
            "route": "auto", "engine": "sampled", "method": method, "k_star": 4, **sizes,
        }
        for name, sizes in {
            "long": {"d": 300_000, "n": 4, "m": 20, "k": 8},
            "many": {"d": 20_000, "n": 300, "m": 25, "k": 4},
        }.items()
        for method in ("fo-anil", "maml")
    },
    **{
        f"spectrum-{record}": {
            "route": "auto", "d": 200_000, "n": 20, "m": 0, "k": 6, "k_star": 6, "spectrum": 1.0,
            "engine": "population", "method": "maml", "trials": 2, "record": [record],
        }
        for record in ("loss_out", "dist")
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """A function that measures a case in a fork of one process.

    All cases share the imports of that process, which take longer than most cases.
    """
    errors = tmp_path_factory.mktemp("errors") / "errors"
    with errors.open("w") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip

    def ask(case):
        server.stdin.write(json.dumps(case) + "\n")
        server.stdin.flush()
        assert select.select([server.stdout], [], [], PATIENCE)[0], "the case does not end"
        answer = json.loads(server.stdout.readline() or "null")
        assert answer, errors.read_text()
        return answer

    try:
        yield ask
    finally:
        server.kill()
        server.communicate()


@pytest.mark.peak_memory
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_memory_taken_is_the_memory_estimated(case, measure):
    taken, estimated, parts = measure(case)
    assert taken > 40 * 2**20
    assert estimated == pytest.approx(taken, rel=0.15), parts
