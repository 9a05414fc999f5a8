"""Settings of all tests: reproducible generators, no display, deterministic property tests."""

import os
import signal
import zlib

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts background jobs with Ctrl-C ignored, and what is ignored is inherited: processes
# that tests interrupt would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The asserts of helpers explain themselves as those of tests do.
pytest.register_assert_rewrite("matching", "data_runs", "boundary.scripts")
settings.register_profile("metaspan", deadline=None, derandomize=True)
settings.load_profile("metaspan")


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
