"""Other packages with thread pools in the same process: threadpoolctl, scikit-learn, PyTorch."""

import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.neighbours
PATIENCE = 300  # seconds, to end a test that hangs

# Each gives what it computes with all its threads, to be the same before and after others work.
PACKAGES = {
    "metaspan": """
        import metaspan as ms
        def metaspan():
            tasks = ms.LinearTasks(d=100, k=3)
            r = ms.train(tasks, "maml", rounds=3, n=30_000, threads=THREADS, record="loss_out")
            return r.trace["loss_out"].tolist()
        """,
    "sklearn": """
        from sklearn.cluster import KMeans
        def sklearn():
            points = np.random.default_rng(0).standard_normal((20_000, 3))
            points[::2] += 50
            fitted = KMeans(2, n_init=1, random_state=0).fit(points)
            return np.sort(fitted.cluster_centers_, 0).round(6).tolist()
        """,
    "torch": """
        import torch
        def torch(torch=torch):
            a = torch.arange(1_000_000, dtype=torch.float64)
            ones = torch.ones(300, 300)
            return [round(float((a * a).sum().log()), 9), float(ones.mm(ones).sum())]
        """,
}
PAIRS = [
    ("metaspan", "sklearn"),
    ("sklearn", "metaspan"),
    ("metaspan", "torch"),
    ("torch", "metaspan"),
]


def finished(code):
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def alone(package):
    """What a package computes where no other is loaded."""
    return finished(
        f"import numpy as np\nTHREADS = 1\n{textwrap.dedent(PACKAGES[package])}\nprint({package}())"
    )


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
def test_all_compute_right_after_the_others_in_either_order_of_imports(order):
    for package in order:
        if find_spec(package) is None:
            pytest.skip(f"no {package}")
    lines = ["import numpy as np", "THREADS = 3"]
    lines += [textwrap.dedent(PACKAGES[package]) for package in order]
    lines += [f"print({package}())" for package in (*order, *order)]
    expected = [alone(package) for package in order]
    assert finished("\n".join(lines)) == "".join(2 * expected)


def test_a_limit_of_threadpoolctl_holds_for_calls_that_give_no_number():
    pytest.importorskip("threadpoolctl")
    said = finished(
        """
import os
import metaspan as ms
from threadpoolctl import threadpool_info, threadpool_limits

def default():
    return ms.show_config()["threads"]

def work(**threads):
    ms.train(ms.LinearTasks(d=100, k=3), "maml", rounds=3, n=30_000, record="loss_out", **threads)
    return len(os.listdir("/proc/self/task"))

first = len(os.listdir("/proc/self/task"))  # the first show_config on a machine fills the pool
whole = default()
print(any(pool["user_api"] == "openmp" for pool in threadpool_info()))
with threadpool_limits(1, user_api="openmp"):
    before = len(os.listdir("/proc/self/task"))
    print(default() == 1, work() == before)
    print(work(threads=3) == first + 2)
print(default() == whole)
"""
    )
    assert said.split() == 5 * ["True"]
