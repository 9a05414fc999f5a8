"""After Ctrl-C or kill -9 at a random moment, the saved state is valid and the run can resume."""

import json
import os
import random
import signal

import numpy as np
import pytest

import metaspan as ms
from boundary.scripts import (
    COLLAPSED_RUN,
    LONG_ROUNDS,
    PATIENCE,
    POPULATION_RUN,
    SAMPLED_RUN,
    interrupted,
    process,
    said,
)
from matching import assert_same_bits

RUN = {**POPULATION_RUN, "threads": 1}  # the processes take as many threads as they like

# What strikes may leave a half-made archive or file to the garbage collector, which says so.
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize(
    ("name", "run"),
    [("population", RUN), ("collapsed", COLLAPSED_RUN), ("sampled", SAMPLED_RUN)],
)
def test_ctrl_c_writes_the_checkpoint_and_the_run_goes_on(name, run, tmp_path):
    path = tmp_path / "run"
    seen, done = interrupted(path, name)
    first = []
    resumed = ms.train(
        **run, rounds=done + 50, checkpoint=path, progress=lambda at, _: first.append(at)
    )
    assert first[0] >= seen  # the trial that is furthest behind: not from the beginning
    assert_same_bits(resumed, ms.train(**run, rounds=done + 50))


def test_ctrl_c_within_a_round_that_makes_its_rows_keeps_the_finished_ones():
    with process("long_rounds") as child:
        assert [child.stdout.readline() for _ in range(3)] == ["ready\n", "1\n", "2\n"]
        child.send_signal(signal.SIGINT)
        word, done, recorded, *w = said(child)
    assert (word, done) == ("Interrupted", "2")  # the third was not waited for
    expected = ms.train(**LONG_ROUNDS, rounds=2)
    np.testing.assert_array_equal(np.array(w, float), expected.w)
    assert int(recorded) == 2


def test_signals_at_random_moments_do_not_change_a_run(tmp_path):
    """A timer sends SIGINT to the process at random moments until the run is complete."""
    with process("alarmed", tmp_path / "run", tmp_path / "result") as child:
        [cuts] = said(child)
    assert int(cuts) > 3
    assert_same_bits(ms.load(tmp_path / "result"), ms.train(**RUN, rounds=30_000))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["result", "run"]


def test_a_run_killed_again_and_again_has_the_same_bits(tmp_path):
    """No process can defend itself against kill -9: the file is whole at every moment."""
    path, result, rounds = tmp_path / "run", tmp_path / "result", 60_000
    moments = random.Random(3)
    reached = 0
    for _ in range(5):
        with process("until_done", path, result, rounds) as child:
            first = child.stdout.readline()
            for _ in range(moments.randrange(6)):
                child.stdout.readline()
            child.kill()
            _, err = child.communicate(timeout=PATIENCE)
        assert first, err
        assert int(first) >= min(reached + 1, rounds)  # it went on, and did not begin anew
        now = written(path) if path.exists() else 0
        assert now >= reached
        reached = now
    assert reached > 0
    with process("until_done", path, result, rounds) as child:
        assert said(child)[-1] == "done"
    assert_same_bits(ms.load(result), ms.train(**RUN, rounds=rounds))


def written(path):
    """Return the number of rounds that a checkpoint has completed."""
    with np.load(path, allow_pickle=False) as members:
        return json.loads(members["metaspan"].tobytes())["rounds"][0]
