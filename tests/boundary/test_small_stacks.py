"""Calls work on threads with small stacks, both those of OpenMP and the caller's.

Some C libraries give a thread 128 KiB by default; 96 KiB are enough for every route and engine.
"""

import os
import subprocess
import sys

import pytest

PATIENCE = 120  # seconds, to end a test that hangs
BYTES = 96 * 1024

SCRIPT = """
import os, sys, tempfile, threading
import numpy as np
import scipy.sparse  # on this thread: compiling modules takes a larger stack
import metaspan as ms

where, group = sys.argv[1:]
d, k, n, m = 300, 20, 6, 30
rng = np.random.default_rng(0)
law = ms.LinearTasks(d=d, k=k, noise=0.1)
B_star = law.ground_truth(0)
known = ms.LinearTasks(d=d, k=k, B_star=B_star)
batch, single = law.sample(n, m, m, seed=1), law.sample(n, m, m, seed=1, dtype="float32")
odd = ms.LinearTasks(d=d, k=k, features=lambda rng, n, d: rng.standard_normal((n, d)))
B, w = np.linalg.qr(rng.standard_normal((d, k)))[0], np.ones(k)
methods = {
    "anil": ms.ANIL(alpha=0.01, beta=0.01, inner_steps=2),
    "maml": ms.MAML(alpha=0.01, beta=0.01, inner_steps=3),
    "fo-maml": ms.MAML(alpha=0.01, beta=0.01, first_order=True),
    "average risk": ms.AverageRisk(beta=0.01),
}
records = ("dist", "angles", "loss_out", "w_norm", "sigma_min", "perp_norm", "mu", "diversity_min")
common = dict(rounds=2, n=n, stop=None, record=records, threads=2)

def compressed():
    shape = (2 * m, d)
    X = [scipy.sparse.random_array(shape, density=0.1, format="csr", rng=rng) for _ in range(n)]
    return ms.TaskBatch.split(X, batch_y(), m_in=m)

def batch_y():
    return rng.standard_normal((n, 2 * m))

def on_disk(folder):
    path = os.path.join(folder, "X.npy")
    np.save(path, rng.standard_normal((n, 2 * m, d)))
    return ms.TaskBatch.split(np.load(path, mmap_mode="r"), batch_y(), m_in=m)

def engines():
    for name, method in methods.items():
        for width in (k - 2, k, k + 3):
            ms.train(law, method, width=width, **common)
            ms.train(law, method, width=width, m_in=m, m_out=m, **common)
        ms.train(law, method, m_in=m, m_out=m, engine="sampled", **common)
        ms.train(law, method, m_in=m, m_out=m, pool=9, **common)
        ms.train(odd, method, m_in=m, m_out=m, engine="sampled", **common)
        ms.train(ms.LinearTasks(d=d, k=k, spectrum=np.linspace(1, 2, d)), method, **common)
    ms.train(ms.LinearTasks(d=d, k=k), "fo-anil", alpha=0.01, beta=0.01, m_in=m, **common | {
        "n": None, "record": ("dist",)})
    for features in ("student-t", "sphere", "rademacher", "uniform"):
        tasks = ms.LinearTasks(d=d, k=k, features=features)
        ms.train(tasks, methods["maml"], m_in=m, m_out=m, engine="sampled", **common)

def routes():
    lean = common | {"n": 3, "record": ("loss_out",)}
    with tempfile.TemporaryDirectory() as folder:
        for data in (batch, single, compressed(), on_disk(folder)):
            for method in methods.values():
                for route in ("gram", "vector", "dual"):
                    ms.train(data, method, width=k, route=route, **lean)
        ms.train(single, methods["maml"], route="vector", accumulate="float32", **lean)

def calls():
    for method in methods.values():
        ms.meta_gradient(B, w, batch, method, threads=2)
        ms.meta_gradient(B, w, single, method, threads=2)
        ms.population_gradient(B, w, B_star, np.ones((n, k)), method, threads=2)
        ms.evaluate(B, w, known, method, m=m, n=9, threads=2)
        if not isinstance(method, ms.AverageRisk):
            ms.adapt(B, w, batch.X_in, batch.y_in, method, return_B=True, threads=2)
    ms.subspace_distance(B, B_star)
    ms.principal_angles(B, B_star)

def works():
    {"engines": engines, "routes": routes, "calls": calls}[group]()
    print("worked", flush=True)

if where == "OpenMP":
    works()
else:
    threading.stack_size(int(where))
    worker = threading.Thread(target=works)
    worker.start()
    worker.join()
"""


def worked(where, group, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, where, group],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("group", ["engines", "routes", "calls"])
def test_small_stacks_of_openmp(group):
    assert worked("OpenMP", group, OMP_STACKSIZE=f"{BYTES}B") == (0, "worked\n", "")


@pytest.mark.parametrize("group", ["engines", "routes", "calls"])
def test_small_stacks_of_the_callers_threads(group):
    assert worked(str(BYTES), group) == (0, "worked\n", "")
