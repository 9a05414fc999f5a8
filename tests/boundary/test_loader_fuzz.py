"""Fuzzers of loaders and of the interface, each in a process that has little memory to lose.

A crash, a hang or a large allocation there is a failed test here.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from boundary.loader_fuzz import LOADERS

TESTS = Path(__file__).parents[1]
PATIENCE = 120  # seconds beyond what was asked for
SECONDS = 150  # of a loader under the marker slow

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
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def ends(counts):
    """How many files came to which end, whatever was wrong with them."""
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
