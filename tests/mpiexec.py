"""Starts processes on several ranks of MPI, for tests that compare them with one process.

The environment variable MPIEXEC names another command than the `mpiexec` beside Python, with its
options; it is split at spaces. For Open MPI: MPIEXEC="mpiexec.openmpi --oversubscribe" and
MPI4PY_MPIABI=openmpi.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 120  # seconds, to end a test that hangs
TESTS = Path(__file__).parent


def command():
    """Return the command that starts ranks, as a list of words; skip the test if there is none."""
    if find_spec("mpi4py") is None:
        pytest.skip("no mpi4py")
    if "MPIEXEC" in os.environ:
        return os.environ["MPIEXEC"].split()
    beside = Path(sys.executable).with_name("mpiexec")
    path = str(beside) if beside.exists() else shutil.which("mpiexec")
    if path is None:
        pytest.skip("no mpiexec")
    return [path]


@contextmanager
def started(ranks, script, *arguments):
    """The ranks of a script of this folder, running; gone at the end whatever happens."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.Popen(
        [*command(), "-n", str(ranks), sys.executable, str(TESTS / script), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def run(ranks, script, *arguments):
    """Return (exit status, standard output, standard error) of a script on some ranks."""
    with started(ranks, script, *arguments) as child:
        out, err = child.communicate(timeout=PATIENCE)
        return child.returncode, out, err
