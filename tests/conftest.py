"""Shared by all tests: reproducible generators, no display, deterministic property tests."""

import os
import zlib

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("metaspan", deadline=None, derandomize=True)
settings.load_profile("metaspan")


@pytest.fixture
def rng(request):
    """A generator of the test's own: the same numbers alone, in any order, in any subset."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
