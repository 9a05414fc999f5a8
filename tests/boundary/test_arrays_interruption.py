"""Ctrl-C in runs on data: between rounds, within a round, and before the first one."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import metaspan as ms
from data_runs import ROUTES, assert_same_bits

PATIENCE = 60  # seconds, to end a test that hangs
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1).sample(6, 5, 4, seed=1),
    "method": ms.MAML(alpha=0.01, beta=1e-3, inner_steps=2),
    "init": ms.Init(scale=1.0),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
    "record_every": 100,
    "threads": 1,
}
# The same in a process of its own.
SCRIPT_RUN = """\
RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1).sample(6, 5, 4, seed=1),
    "method": ms.MAML(alpha=0.01, beta=1e-3, inner_steps=2),
    "init": ms.Init(scale=1.0),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
    "record_every": 100,
    "threads": 1,
}
"""


def script(body, *arguments):
    """A Python process that runs `body`."""
    source = "import sys\nimport numpy as np\nimport metaspan as ms\n" + SCRIPT_RUN
    return subprocess.Popen(
        [sys.executable, "-c", source + textwrap.dedent(body), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(child):
    """What a process said until its end; it is gone in any case."""
    try:
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, err
    return out.split()


@pytest.mark.parametrize("route", ROUTES)
def test_ctrl_c_writes_the_checkpoint_and_the_run_goes_on(route, tmp_path):
    path = tmp_path / "run"
    child = script(
        """\
        def progress(done, total):
            print(done, flush=True)

        kept = ms.Checkpoint(sys.argv[1], every_seconds=1e9)
        try:
            ms.train(**RUN, rounds=10**9, route=sys.argv[2], checkpoint=kept, progress=progress)
        except ms.Interrupted as error:
            print("Interrupted", *sorted(end.round for end in error.result.status))
        """,
        path,
        route,
    )
    for _ in range(5):
        seen = int(child.stdout.readline())
    child.send_signal(signal.SIGINT)
    word, slowest, done = ended(child)[-3:]
    assert word == "Interrupted"
    assert int(done) >= int(slowest) >= seen
    first = []
    options = {**RUN, "rounds": int(done) + 50, "route": route}
    resumed = ms.train(**options, checkpoint=path, progress=lambda at, _: first.append(at))
    assert first[0] >= seen  # not from the beginning
    assert_same_bits(resumed, ms.train(**options))


@pytest.mark.parametrize("route", ROUTES)
def test_ctrl_c_within_the_first_round_leaves_the_start(route):
    """Minutes of a round on tens of GB, which are one row seen many times, or of all products."""
    child = script(
        """\
        route = sys.argv[1]
        d, m, n = 100_000, 50, 60 if route == "dual" else 5000
        row = np.random.default_rng(0).standard_normal(d)
        X, y = np.broadcast_to(row, (n, m, d)), np.broadcast_to(np.ones(m), (n, m))
        batch = ms.TaskBatch.split(X, y, m_in=20, check_finite=False)
        B, w = np.full((d, 20), 0.01), np.ones(20)
        method = ms.MAML(alpha=1e-9, inner_steps=2)
        print("ready", flush=True)
        try:
            ms.train(batch, method, rounds=2, init=(B, w), route=route, threads=2, width=20)
        except ms.Interrupted as error:
            r = error.result
            print("Interrupted", r.status.round, (r.B == B).all(), r.trace["round"].size)
        """,
        route,
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert ended(child) == ["Interrupted", "0", "True", "0"]
    assert time.monotonic() - began < 5
