"""Ranks end together: by one error, or by one line on standard error and a usable checkpoint."""

import json
import os
import re
import signal

import numpy as np
import pytest

import metaspan as ms
import mpiexec
import rank_scripts

pytestmark = pytest.mark.mpi

RANKS = 3
# Class and message of the error of each call that `rank_scripts.refused_runs` makes.
REFUSALS = {
    "nan": ("ValueError", r"rank 2 of 3: X_in must be finite; it holds a NaN .*"),
    "dtype": ("TypeError", r"rank 2 of 3: X_in must be float32 or float64 .*; got int64: .*"),
    "columns": (
        "ValueError",
        r"X_in must have the columns of ms\.shard\(d, comm\), where d = \d+ is .* rank \d of 3; .*",
    ),
    "responses": (
        "ValueError",
        r"y_in must be the same on all ranks; rank 0 of 3 has .* rank 2 .*",
    ),
    "tasks": ("ValueError", r"the number of tasks of X_in must be the same .* has 5, .* has 4"),
    "storage": ("ValueError", r"the storage of X_in must be .* in memory, and rank 2 has .* disk"),
    "processor": (
        "ValueError",
        r"version and instruction set must be the same on all ranks; .* x86-64-v3, and .*-v4",
    ),
    "truth": ("ValueError", r"B_star must have orthonormal columns; .*"),
    "weights": ("ValueError", r"weights must be the same on all ranks; .*"),
    "seed": (
        "ValueError",
        r"seed must be the same on all ranks; rank 0 of 3 has 0, and rank 2 has 1",
    ),
    "beta": ("ValueError", r"method must be the same on all ranks; .*beta=0\.1.*beta=0\.2.*"),
    "n": ("ValueError", r"rank 2 of 3: n must be at most 5, .*; got 99"),
    "method": ("ValueError", r"rank 2 of 3: .*'none'"),
    "start": ("ValueError", r"rank 2 of 3: B0 must be finite; .*"),
    "head": ("ValueError", r"w0 must be the same on all ranks; .*"),
    "width": ("ValueError", r"width must be the same on all ranks; .* has 2, .* has 3"),
    "folder": ("FileNotFoundError", r"rank 2 of 3: checkpoint: there is no folder .*"),
    "engine": ("ValueError", r"ranks 0 and 1 of 3: comm must be None for the engine 'collapsed'.*"),
    "collapsed": ("ValueError", r"comm must be None for the engine 'collapsed', whose cost .*"),
    "pool": ("ValueError", r"pool must be None for a run with comm, .*; got 3"),
    "device": ("ValueError", r"device must be 'cpu' for a run with comm; got 'cuda'"),
    "kind": ("ValueError", r"the type of tasks must be the same .* LinearTasks, .* TaskBatch"),
    "law": ("ValueError", r"tasks\.noise must be the same .* has 0\.1, and rank 2 has 1\.1"),
    "ranks": ("ValueError", r"comm must have at most 1 rank for d = 300, .* one leaf; got 3"),
    "heads": ("RuntimeError", r"rank 2 of 3: no heads today"),
    "memory": ("MemoryError", r"rank 2 of 3: B needs 7 bytes; 3 are available"),
    "disk": ("OSError", r"rank 0 of 3: no space is left"),
    "estimator": ("ValueError", r"init must not be an estimator .*"),
    "diverged": ("Diverged", r"1 of 1 trials diverged \(trial 0 in round \d+\)"),
    "no communicator": ("TypeError", r"comm must be an intracommunicator .*; got 'COMM_WORLD'"),
    "gradient": ("ValueError", r"w must be the same on all ranks; .*"),
    "risks": ("ValueError", r"rank 2 of 3: m must be at most 4, .*; got 11"),
    "fit": ("EstimateError", r"burer-monteiro cannot run on a batch with a comm, because .*"),
    "option": ("ValueError", r"method must be the same on all ranks; .*0\.0001.*0\.001.*"),
    "directions": ("WidthError", r"width must be at most \d+, the number of directions .*; got 30"),
    "rows of a function": ("EstimateError", r"fit with features from a function cannot run on .*"),
    "result": ("ValueError", r"init must not be a Result whose rows are spread over ranks; .*"),
    "copy": ("TypeError", r"a Result with a comm cannot be copied or pickled; .*"),
    "copy of the batch": ("TypeError", r"a TaskBatch with a comm cannot be copied or pickled; .*"),
    "root": ("ValueError", r"root must be at most 2; got 99"),
    "sparse and far": ("", ""),
    "threads may differ": ("", ""),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    status, out, err = mpiexec.run(RANKS, "rank_scripts.py", "refusals", folder)
    assert status == 0, err
    return dict(map(json.loads, out.splitlines()))


@pytest.mark.parametrize("name", REFUSALS)
def test_all_ranks_raise_the_same_error(refusals, name):
    kind, message = REFUSALS[name]
    assert refusals[name] == [refusals[name][0]] * RANKS
    assert refusals[name][0][0] == kind
    assert re.fullmatch(message, refusals[name][0][1])


def test_warnings_are_issued_by_one_rank():
    status, out, err = mpiexec.run(2, "rank_scripts.py", "warned")
    assert status == 0, err
    assert json.loads(out) == [1, 0]


def restarted(folder, rounds, **given):
    """Continue a run from its checkpoint in this process; return its result."""
    batch = rank_scripts.batch_of(None, rank_scripts.data())
    given = {"checkpoint": folder / "run.npz", **rank_scripts.ON_DATA, **given}
    return ms.train(batch, "anil", rounds=rounds, **given)


def assert_usable(folder):
    """The checkpoint goes on in one process, with the bits of a run without an end."""
    with np.load(folder / "run.npz") as archive:
        done = json.loads(archive["metaspan"].tobytes())["rounds"][0]
    assert done > 0
    r = restarted(folder, done + 3)
    again = restarted(folder, done + 3, checkpoint=None)
    np.testing.assert_array_equal(r.B, again.B)


def test_rank_out_of_memory_ends_all_ranks_with_one_line(tmp_path):
    status, _, err = mpiexec.run(2, "rank_scripts.py", "out_of_memory", tmp_path)
    assert status != 0
    (line,) = [line for line in err.splitlines() if line.startswith("metaspan:")]
    pattern = (
        r"metaspan: rank 1 of 2 failed in round (\d+): MemoryError: no room for a row; the "
        r"checkpoint .*run\.npz holds round (\d+), from which the same call continues"
    )
    failed, held = map(int, re.fullmatch(pattern, line).groups())
    assert 0 < held <= failed


def test_killed_rank_ends_all_ranks(tmp_path):
    with mpiexec.started(2, "rank_scripts.py", "endless", tmp_path) as child:
        os.kill(int(child.stdout.readline()), signal.SIGKILL)
        child.communicate(timeout=mpiexec.PATIENCE)
        assert child.returncode != 0
    assert_usable(tmp_path)


def test_interrupt_of_all_ranks_ends_them_in_one_round(tmp_path):
    with mpiexec.started(2, "rank_scripts.py", "endless", tmp_path) as child:
        child.stdout.readline()
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        out, _ = child.communicate(timeout=mpiexec.PATIENCE)
    if out:  # mpiexec lets ranks end by themselves
        rounds, message, is_finite = json.loads(out.splitlines()[-1])
        assert rounds[0] == rounds[1] > 0
        assert "run.npz" in message
        assert is_finite
    assert_usable(tmp_path)


def test_interrupt_of_one_rank_ends_all_in_one_round():
    status, out, err = mpiexec.run(3, "rank_scripts.py", "interrupted_rank")
    assert status == 0, err
    rounds = json.loads(out)
    assert rounds == [rounds[0]] * 3
    assert rounds[0] >= 2


def test_checkpoints_go_on_with_other_numbers_of_ranks(tmp_path):
    """One process, two ranks, three ranks, and one process again."""
    for count, rounds in ((0, 2), (2, 4), (3, 6), (1, 8), (0, 9)):
        if count:
            given = "rank_scripts.py", "continued", rounds, tmp_path
            status, _, err = mpiexec.run(count, *given)
            assert status == 0, err
        else:
            rank_scripts.continued(None, rounds, tmp_path)
    for name in rank_scripts.STARTED:
        alone = rank_scripts.go_on(None, name, 9, None)
        r = ms.load(tmp_path / f"{name}.result")
        for key, part in alone.parts.items():
            np.testing.assert_array_equal(r.parts[key], part, err_msg=name)
        for key, values in alone.trace.items():
            np.testing.assert_array_equal(r.trace[key], values, err_msg=name)


def test_ranks_save_the_result_of_one_process(tmp_path):
    status, _, err = mpiexec.run(2, "rank_scripts.py", "continued", 3, tmp_path)
    assert status == 0, err
    for name in rank_scripts.STARTED:
        alone = rank_scripts.go_on(None, name, 3, None)
        r = ms.load(tmp_path / f"{name}.result")
        assert r.config.tasks == alone.config.tasks or r.config.tasks.d == rank_scripts.D
        np.testing.assert_array_equal(r.B, alone.B, err_msg=name)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_numbers_arrive_in_one_message_and_in_many(count):
    status, out, err = mpiexec.run(count, "rank_scripts.py", "exchanged")
    assert status == 0, err
    assert all(all(sound) for sound in json.loads(out))
