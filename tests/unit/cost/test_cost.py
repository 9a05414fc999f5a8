"""The cost model's constants are measured, kept in a file, and measured again if that is wrong."""

import json
import types

import numpy as np
import pytest

from metaspan.cost import machine as cost

RATES = dict.fromkeys(cost.ORDER, 1000000000.0)
HOUR = 3600.0


class Clock:
    """A clock that calls of `take` move on: seconds, and how many of them this process had."""

    def __init__(self):
        self.wall = self.cpu = 0.0
        self.date = 1e9

    def take(self, seconds, own=1.0):
        self.wall += seconds
        self.cpu += own * seconds

    def as_module(self):
        return types.SimpleNamespace(
            perf_counter=lambda: self.wall,
            process_time=lambda: self.cpu,
            time=lambda: self.date,
        )


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(cost, "time", found.as_module())
    return found


@pytest.fixture
def machine(clock, tmp_path, monkeypatch):
    """Replace the full and the short measurement of the machine by values that a test sets."""
    found = types.SimpleNamespace(rates=dict(RATES), steady=True, seen={}, measured=0, clock=clock)

    def measure(watch):
        found.measured += 1
        watch.steady = found.steady
        return dict(found.rates)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cost, "_measure", measure)
    monkeypatch.setattr(cost, "look", lambda: dict(found.seen))
    return found


def new_process():
    """What the first call in a process finds."""
    return cost.cost_model.__wrapped__()


def test_constants_are_measured_and_kept_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cost, "look", dict)
    found = new_process()
    assert tuple(found) == cost.ORDER
    assert all(np.isfinite(value) and value > 0 for value in found.values())
    assert new_process() == found  # read, not measured again
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_the_look_sees_rates_that_are_kept():
    found = cost.look()
    assert set(found) in (set(), set(cost.LOOKED_AT))
    assert set(cost.LOOKED_AT) <= set(cost.ORDER)
    assert all(value > 0 for value in found.values())


def test_constants_of_a_quiet_machine_are_kept_for_good(machine):
    first = new_process()
    machine.rates = dict.fromkeys(cost.ORDER, 5000000000.0)
    machine.clock.date += 10_000 * HOUR
    assert new_process() == first
    assert machine.measured == 1


def test_constants_of_a_busy_machine_are_measured_again_after_an_hour(machine):
    machine.steady = False
    spoilt = new_process()
    machine.steady, machine.rates = True, dict.fromkeys(cost.ORDER, 5000000000.0)
    machine.clock.date += 0.9 * HOUR
    assert new_process() == spoilt  # choices do not change from call to call
    machine.clock.date += 0.2 * HOUR
    assert new_process() == machine.rates
    machine.clock.date += 100 * HOUR
    assert new_process() == machine.rates
    assert machine.measured == 2


@pytest.mark.parametrize(
    ("seen", "again"), [(1.0, False), (1.4, False), (0.3, False), (2.0, True), (0.2, True)]
)
def test_constants_that_a_short_look_contradicts_are_measured_again(machine, seen, again):
    """Neighbours slow a machine down; nothing makes it faster than it is."""
    new_process()
    machine.seen = {"features_1": seen * RATES["features_1"]}
    new_process()
    assert machine.measured == 1 + again


@pytest.mark.parametrize(
    "broken", ["", "[]", "{}", '{"read_1": -1}', "not JSON"], ids=lambda text: text or "empty"
)
def test_a_file_that_holds_no_constants_is_replaced(machine, broken):
    new_process()
    path = cost._path()
    path.write_text(broken)
    assert new_process() == RATES
    assert json.loads(path.read_text())["steady"] is True


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_constants_that_no_machine_has_are_measured_again(machine, value):
    new_process()
    path = cost._path()
    path.write_text(json.dumps({**json.loads(path.read_text()), "read_1": value}))
    assert new_process() == RATES


def test_least_times_are_steady_when_they_agree(clock):
    watch = cost.Stopwatch()
    assert watch.least(lambda: clock.take(0.01)) == pytest.approx(0.01)
    assert watch.steady


def test_least_times_wait_for_a_quiet_moment(clock):
    """Repeats that disagree are followed by more, up to a limit."""
    laps = iter([0.02, 0.09, 0.05, 0.03, 0.01, 0.01] + [0.02] * 100)
    watch = cost.Stopwatch()
    assert watch.least(lambda: clock.take(next(laps))) == pytest.approx(0.01)
    assert watch.steady


def test_a_processor_that_others_had_is_noticed(clock):
    watch = cost.Stopwatch()
    watch.least(lambda: clock.take(0.01, own=0.5))
    assert not watch.steady


def test_repeats_that_never_agree_are_noticed(clock):
    laps = iter(0.01 * 1.5**i for i in range(100))
    watch = cost.Stopwatch()
    watch.least(lambda: clock.take(next(laps)))
    assert not watch.steady


def test_threads_that_wait_for_each_other_are_noticed(clock):
    watch = cost.Stopwatch()
    watch.least(lambda: clock.take(0.01, own=1.0), threads=2)
    assert not watch.steady
