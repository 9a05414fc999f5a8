"""Ctrl-C and kill -9 at random moments: what is kept is true, and a run goes on from it."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import metaspan as ms

PATIENCE = 60  # seconds, to end a test that hangs

RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1),
    "method": ms.ANIL(alpha=0.1, beta=0.1),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
    "threads": 1,
}
# The same in a process of its own.
SCRIPT_RUN = """\
RUN = {
    "tasks": ms.LinearTasks(d=20, k=3, noise=0.1),
    "method": ms.ANIL(alpha=0.1, beta=0.1),
    "n": 4,
    "trials": 2,
    "stop": None,
    "record": ("dist", "loss_out"),
}
"""

# What strikes may leave a half-made archive or file to the garbage collector, which says so.
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def assert_same_bits(found, expected, note=""):
    assert found.trace.keys() == expected.trace.keys(), note
    for name in expected.trace:
        np.testing.assert_array_equal(found.trace[name], expected.trace[name], err_msg=note)
    for mine, theirs in zip(found.state, expected.state, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=note)
    assert found.status == expected.status, note


def script(body, *arguments):
    """A Python process that runs `body`."""
    source = "import signal, sys\nimport metaspan as ms\n" + SCRIPT_RUN + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(child):
    """What a process said until its end; it is gone in any case."""
    try:
        return child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
        child.wait()


def test_ctrl_c_writes_the_checkpoint_and_the_run_goes_on(tmp_path):
    path = tmp_path / "run"
    child = script(
        """\
        def progress(done, total):
            print(done, flush=True)

        kept = ms.Checkpoint(sys.argv[1], every_seconds=1e9)
        try:
            ms.train(**RUN, rounds=10**9, checkpoint=kept, progress=progress)
        except ms.Interrupted as error:
            print("Interrupted", *sorted(end.round for end in error.result.status))
        """,
        path,
    )
    for _ in range(5):
        seen = int(child.stdout.readline())
    child.send_signal(signal.SIGINT)
    out, err = ended(child)
    assert child.returncode == 0, err
    word, slowest, done = out.split()[-3:]
    assert word == "Interrupted"
    assert int(done) >= int(slowest) >= seen
    first = []
    resumed = ms.train(
        **RUN, rounds=int(done) + 50, checkpoint=path, progress=lambda at, _: first.append(at)
    )
    assert first[0] >= seen  # the trial that is furthest behind: not from the beginning
    assert_same_bits(resumed, ms.train(**RUN, rounds=int(done) + 50))


def test_signals_at_random_moments_do_not_change_a_run(tmp_path):
    """An alarm that presses Ctrl-C hits the process again and again until it is done."""
    child = script(
        """\
        import random

        def handler(number, frame):
            signal.raise_signal(signal.SIGINT)

        signal.signal(signal.SIGALRM, handler)
        moments = random.Random(7)
        path, cuts = sys.argv[1], 0
        while True:
            try:
                try:
                    delay = moments.uniform(0.001, 0.02) * (1 + cuts / 20)
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    kept = ms.Checkpoint(path, every_seconds=0)
                    r = ms.train(**RUN, rounds=30_000, checkpoint=kept)
                    break
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                cuts += 1
        r.save(sys.argv[2])
        print(cuts)
        """,
        tmp_path / "run",
        tmp_path / "result",
    )
    out, err = ended(child)
    assert child.returncode == 0, err
    assert int(out) > 3
    assert_same_bits(ms.load(tmp_path / "result"), ms.train(**RUN, rounds=30_000))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["result", "run"]


def test_a_run_killed_again_and_again_has_the_same_bits(tmp_path):
    """No process can defend itself against kill -9: the file is whole at every moment."""
    path, result, rounds = tmp_path / "run", tmp_path / "result", 60_000
    body = """\
        def progress(done, total):
            print(done, flush=True)

        kept = ms.Checkpoint(sys.argv[1], every_seconds=0)
        r = ms.train(**RUN, rounds=int(sys.argv[3]), checkpoint=kept, progress=progress)
        r.save(sys.argv[2])
        print("done", flush=True)
        """
    moments = random.Random(3)
    reached = 0
    for _ in range(5):
        child = script(body, path, result, rounds)
        first = child.stdout.readline()
        for _ in range(moments.randrange(6)):
            child.stdout.readline()
        child.kill()
        _, err = ended(child)
        assert first, err
        assert int(first) >= min(reached + 1, rounds)  # it went on, and did not begin anew
        now = written(path) if path.exists() else 0
        assert now >= reached
        reached = now
    assert reached > 0
    child = script(body, path, result, rounds)
    out, err = ended(child)
    assert child.returncode == 0, err
    assert out.splitlines()[-1] == "done"
    assert_same_bits(ms.load(result), ms.train(**RUN, rounds=rounds))


def written(path):
    """Rounds at which a checkpoint stands."""
    with np.load(path, allow_pickle=False) as members:
        return json.loads(members["metaspan"].tobytes())["rounds"][0]
