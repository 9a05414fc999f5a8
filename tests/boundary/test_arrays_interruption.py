"""Ctrl-C interrupts runs on data between rounds, within a round, and before the first round."""

import os
import signal
import time

import pytest

import metaspan as ms
from boundary.scripts import DATA_RUN, interrupted, process, said
from data_runs import ROUTES
from matching import assert_same_bits

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.mark.parametrize("route", ROUTES)
def test_ctrl_c_writes_the_checkpoint_and_the_run_goes_on(route, tmp_path):
    path = tmp_path / "run"
    seen, done = interrupted(path, route)
    first = []
    options = {**DATA_RUN, "rounds": done + 50, "route": route}
    resumed = ms.train(**options, checkpoint=path, progress=lambda at, _: first.append(at))
    assert first[0] >= seen  # not from the beginning
    assert_same_bits(resumed, ms.train(**options))


@pytest.mark.parametrize("route", ROUTES)
def test_ctrl_c_within_the_first_round_leaves_the_start(route):
    with process("one_long_first_round", route) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(1)  # into the compiled round
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert said(child) == ["Interrupted", "0", "True", "0"]
        assert time.monotonic() - began < 5
