"""Fuzzers of the loaders and of the public interface, in processes with limited memory.

A crash, a hang or a large allocation of such a process fails the test.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from boundary import interface_calls
from boundary.loader_fuzz import LOADERS

TESTS = Path(__file__).parents[1]
PATIENCE = 120  # seconds beyond what was asked for
SECONDS = 150  # of a loader, or of a part of the interface, under the marker slow
# Right arguments of these name what is not there, or take long.
TAKEN = interface_calls.CALLS.keys() - {
    *("load", "Result.save", "process_pool", "Study.report"),
    *("shard", "TaskBatch.sharded"),  # need a communicator
}
PARTS = 4  # of the interface, each in a process of its own

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


def said(script, *arguments, patience=PATIENCE):
    """What a fuzzer said at its end."""
    path = os.pathsep.join([str(TESTS), *sys.path])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", TESTS / "boundary" / script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr[:4000]} ... {done.stderr[-1000:]}"
    return json.loads(done.stdout)


def ends(counts):
    """Count the files by outcome, summed over the kinds of damage."""
    found = Counter()
    for name, count in counts.items():
        found[name.split(": ")[-1]] += count
    return found


@pytest.mark.parametrize("loader", LOADERS)
def test_broken_files_are_refused_by_name_or_read_whole(loader):
    counts = ends(said("loader_fuzz.py", loader, 100)["counts"])
    assert counts["refused"] > 10
    assert counts["read"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
def test_many_broken_files_are_refused_by_name_or_read_whole(loader):
    found = said("loader_fuzz.py", loader, 0, SECONDS, patience=SECONDS + PATIENCE)
    assert not found["wrong"]
    assert ends(found["counts"])["refused"] > 1000


def test_every_public_name_has_wrong_arguments():
    assert not interface_calls.uncovered()
    assert not interface_calls.unused()


@pytest.mark.filterwarnings("ignore:theory.error_floor is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(TAKEN))
def test_right_arguments_are_taken(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = interface_calls.CALLS[name]
    assert isinstance(call(), call.returns)


@pytest.mark.parametrize("kind", interface_calls.RECORDS)
def test_records_hold_what_they_are_given(kind):
    assert isinstance(interface_calls.record(kind)(), kind)


@pytest.mark.parametrize("part", range(PARTS))
def test_wrong_arguments_are_one_sentence_or_a_value(part):
    assert said("interface_fuzz.py", part, PARTS, 10)["calls"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_all_wrong_arguments_are_one_sentence_or_a_value(part):
    patience = SECONDS + PATIENCE
    found = said("interface_fuzz.py", part, PARTS, 0, SECONDS, patience=patience)
    assert not found["wrong"]
    assert found["calls"] > 1000
