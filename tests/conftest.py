"""Set-up shared by all tests: two processes, generators with a seed for each test, no display, and
property tests that draw the same examples in every run.
"""

import os
import signal
import zlib

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of the processes of pytest-xdist
if WORKER:
    # Read when OpenMP is loaded, with the package: beside another process, threads that wait for
    # each other by spinning take its processors, and most of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell starts background jobs with Ctrl-C ignored, and what is ignored is inherited: processes
# that tests interrupt would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The asserts of helpers explain themselves as those of tests do.
pytest.register_assert_rewrite("matching", "data_runs", "boundary.scripts")
settings.register_profile("metaspan", deadline=None, derandomize=True)
settings.load_profile("metaspan")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in two processes, if pytest-xdist is there and no option says otherwise.

    A file runs in one process, which keeps what its tests share. Runs of the package use all
    processors themselves, so more processes would not be faster. Tests that are chosen on the
    command line, by name or mark, run in one process, as does everything with `-n 0` or
    `-p no:xdist`.
    """
    if WORKER:  # which runs what it is given, and starts no others
        return
    option = config.option
    chosen = config.args_source == pytest.Config.ArgsSource.ARGS or option.keyword
    whole = not chosen and "not slow" in option.markexpr
    undecided = getattr(option, "numprocesses", 0) is None and option.dist == "no"
    if whole and undecided and not (option.usepdb or option.collectonly or option.tx):
        option.numprocesses, option.dist = 2, "loadfile"
        # In the order of the folders: the files that take long come before those of tests/unit.
        option.loadscopereorder = False


@pytest.fixture
def rng(request):
    """Return a generator seeded by the test's name: its numbers do not depend on other tests."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def stop_at():
    """Make a `progress` callback that raises KeyboardInterrupt once `round` rounds are done."""

    def at(round):
        def progress(done, total):
            if done >= round:
                raise KeyboardInterrupt

        return progress

    return at
