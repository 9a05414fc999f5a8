"""Seeded runs give the bits that they gave when they were recorded, at the level that runs."""

import pytest

import metaspan as ms
from recorded_runs import RUNS, digest, recorded

LEVEL = ms.show_config()["instruction_set"]


@pytest.mark.parametrize("name", RUNS)
def test_seeded_runs_give_the_recorded_bits(name):
    known = recorded().get(LEVEL)
    if known is None:
        pytest.skip(f"no bits were recorded at {LEVEL}")
    assert digest(name) == known[name]


def test_all_runs_are_recorded_at_every_level():
    for known in recorded().values():
        assert set(known) == set(RUNS)
