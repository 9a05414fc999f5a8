"""Seeded runs give the recorded bits, on builds of the same kind."""

import pytest

from recorded_runs import RUNS, build, digest, recorded

pytestmark = pytest.mark.recorded_bits


@pytest.mark.parametrize("name", RUNS)
def test_seeded_runs_give_the_recorded_bits(name):
    known = recorded().get(build())
    if known is None:
        pytest.skip(f"no bits were recorded at {build()}")
    assert digest(name) == known[name]


def test_all_runs_are_recorded_of_every_build():
    for known in recorded().values():
        assert set(known) == set(RUNS)
