"""After Ctrl-C at any step of the Python layer, the saved state is valid and the run can resume."""

import gc
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from boundary.scripts import POPULATION_RUN
from matching import assert_same_bits

PACKAGE = Path(ms.__file__).parent
RUN = {**POPULATION_RUN, "threads": 1}

# What strikes may leave a half-made archive or file to the garbage collector, which says so.
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Strike:
    """Sends this process SIGINT at one step of the given source files.

    A step is a line, and in the files of `finely` an instruction of the interpreter.
    """

    def __init__(self, at, files, finely=()):
        self.at, self.steps, self.where = at, 0, "nowhere"
        self._files, self._finely = {*files, *finely}, set(finely)

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _call(self, frame, event, argument):
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = frame.f_code.co_filename in self._finely
        return self._step

    def _step(self, frame, event, argument):
        if event == ("opcode" if frame.f_trace_opcodes else "line"):
            self.steps += 1
            if self.steps == self.at:
                name = Path(frame.f_code.co_filename).name
                self.where = f"{name}:{frame.f_lineno} ({frame.f_code.co_qualname})"
                signal.raise_signal(signal.SIGINT)  # raises here, unless the package waits
        return self._step


def in_package(*names):
    paths = [PACKAGE / name for name in names]
    assert all(path.is_file() for path in paths)
    return list(map(str, paths))


def assert_true_so_far(found, uninterrupted, states, note):
    """Every round that the status counts has its row, and the state is the one after them."""
    for trial, outcome in enumerate(found.status):
        done = outcome.round
        rows = int(np.searchsorted(found.trace["round"], done))
        assert rows == done, f"{note}: {rows} rows of {done} rounds"
        for name in RUN["record"]:
            assert name in found.trace, note
            np.testing.assert_array_equal(
                found.trace[name][trial, :done], uninterrupted.trace[name][trial, :done], note
            )
        if done not in states:
            states[done] = ms.train(**RUN, rounds=done).state
        for mine, theirs in zip(found.state, states[done], strict=True):
            np.testing.assert_array_equal(mine[trial], theirs[trial], err_msg=note)


def test_ctrl_c_at_any_step_of_the_layer_loses_nothing(tmp_path, monkeypatch):
    """Between two chunks, within a write, while rows are being taken over, at the very end."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # what takes the time
    rounds = 40
    whole = ms.train(**RUN, rounds=rounds)
    files = (
        in_package("runs/checkpoint.py", "engines/trials.py", "_support/files.py"),
        in_package("runs/train.py"),
    )
    path, states = tmp_path / "run", {}

    def struck(at):
        with Strike(at, *files) as strike:
            ms.train(**RUN, rounds=rounds, checkpoint=ms.Checkpoint(path, every_seconds=0))
        return strike

    total = struck(0).steps
    assert total > 300
    interrupted = 0
    for at in range(1, total + 1, 2):
        path.unlink(missing_ok=True)
        note = f"step {at} of {total}"
        try:
            strike = struck(at)
            assert strike.steps < at, f"{note}: {strike.where} swallowed it"
        except ms.Interrupted as error:
            interrupted += 1
            assert_true_so_far(error.result, whole, states, note)
        except KeyboardInterrupt:
            pass  # before the first round, or when all is done
        assert {file.name for file in tmp_path.iterdir()} <= {"run"}, note
        assert_same_bits(ms.train(**RUN, rounds=rounds, checkpoint=path), whole, note)
    assert interrupted > total / 8
    gc.collect()


def test_ctrl_c_at_any_line_of_a_write_keeps_the_old_file(tmp_path, monkeypatch):
    """Also within the archive's own code: a KeyboardInterrupt, and not what it leads to there."""
    import zipfile  # noqa: PLC0415

    monkeypatch.setattr(os, "fsync", lambda handle: None)
    old, new = ms.train(**RUN, rounds=3), ms.train(**RUN, rounds=4)
    path = tmp_path / "result"
    files = [*in_package("_support/files.py"), zipfile.__file__]
    with Strike(0, files) as strike:
        new.save(path)
    total = strike.steps
    assert total > 100
    for at in range(1, total + 1, 11):
        old.save(path)
        with pytest.raises(KeyboardInterrupt), Strike(at, files):
            new.save(path)
        assert [file.name for file in tmp_path.iterdir()] == ["result"]
        assert ms.load(path).status[0].round in (3, 4)
    gc.collect()  # what was struck, while its words are still awaited
