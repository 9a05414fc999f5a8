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
WORKER = "PYTEST_XDIST_WORKER" in os.environ  # true in a worker process of pytest-xdist
if WORKER:
    # OpenMP reads this variable when it is loaded with the package: beside another process, threads
    # that wait by spinning would take the processors of that process, and the waits most of the
    # time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell starts background jobs with Ctrl-C ignored, and child processes inherit ignored signals:
# processes that tests interrupt would not notice the signal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Failed asserts in helper modules show their values, as failed asserts in tests do.
pytest.register_assert_rewrite("matching", "data_runs", "boundary.scripts")
settings.register_profile("metaspan", deadline=None, derandomize=True)
settings.load_profile("metaspan")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in two processes, if pytest-xdist is installed and no option forbids it.

    All tests of a file run in the same process, which keeps the objects that they share. Runs of
    the package use all processors themselves, so more processes would not be faster. Tests that are
    chosen on the command line, by name or mark, run in one process, as does everything with `-n 0`
    or `-p no:xdist`.
    """
    if WORKER:  # a worker runs the tests it is given, and starts no others
        return
    option = config.option
    chosen = config.args_source == pytest.Config.ArgsSource.ARGS or option.keyword
    whole = not chosen and "not slow" in option.markexpr
    undecided = getattr(option, "numprocesses", 0) is None and option.dist == "no"
    if whole and undecided and not (option.usepdb or option.collectonly or option.tx):
        option.numprocesses, option.dist = 2, "loadfile"
        # Keep the order of the folders: the files that take long come before those of tests/unit.
        option.loadscopereorder = False


def pytest_runtest_setup(item):
    """Give tests marked `cuda` a device, or skip them where no device module is built."""
    if item.get_closest_marker("cuda"):
        from devices import select_module  # noqa: PLC0415 - loads the package, not before its time

        if not select_module():
            pytest.skip("no device module is built")


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
