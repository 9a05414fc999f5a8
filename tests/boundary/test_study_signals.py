"""Exceptions raised by signal handlers leave `Study.run` and do not count as failed runs."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import metaspan as ms
from metaspan._support import signals as _signals
from metaspan.study.execution import plan, store
from studies import keys, table

pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

BASE = dict(k=2, method="anil", rounds=20, n=4, stop=None)
STRIKES = []  # what is to be struck; emptied by the strike


class Preempted(Exception):
    """The exception that a handler raises for the signal of a scheduler."""


class PreemptedLikeCtrlC(KeyboardInterrupt):
    """The same exception for programs that end by a KeyboardInterrupt."""


@pytest.fixture(params=[Preempted, PreemptedLikeCtrlC, SystemExit, MemoryError])
def preempted(request):
    """Install a handler of SIGTERM that raises an exception of the returned type."""

    def handler(number, frame):
        raise request.param("by the scheduler")

    before = signal.signal(signal.SIGTERM, handler)
    yield request.param
    assert signal.getsignal(signal.SIGTERM) is handler
    signal.signal(signal.SIGTERM, before)
    STRIKES.clear()


def strike(what):
    """Send SIGTERM to this process, once, if `what` is among the planned strikes."""
    if what in STRIKES:
        STRIKES.remove(what)
        os.kill(os.getpid(), signal.SIGTERM)


def measured(result):
    strike(("measure", result.config.tasks.d, result.config.trials[0]))
    return 1.0


def converting(result):
    """Measure a result, and re-raise any exception as a ValueError."""
    try:
        return measured(result)
    except Exception as error:
        raise ValueError("the measure failed") from error


def drawn(generator, n, k):
    strike("heads")
    return generator.standard_normal((n, k))


def assert_struck(study, kind, executor=None):
    with pytest.raises(kind) as found:
        study.run(executor, progress=False)
    assert type(found.value) is kind
    assert found.value.args == ("by the scheduler",)


@pytest.mark.parametrize("measure", [measured, converting])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_signal_in_a_measure_comes_out_and_leaves_no_row(tmp_path, preempted, measure, seeds):
    study = ms.Study(tmp_path, BASE, dict(d=[5, 6, 7]), seeds=seeds, measure=("dist", measure))
    STRIKES.append(("measure", 6, 0))
    assert_struck(study, preempted)
    kept = keys(study)
    assert len(kept) < 3 * seeds
    assert (study.cells[1].name, 0) not in kept
    assert study.run(progress=False).statuses == {"finished": 3 * seeds}
    assert len(keys(study)) == len(set(keys(study))) == 3 * seeds


def test_a_signal_in_a_law_of_heads_comes_out_and_leaves_no_row(tmp_path, preempted):
    study = ms.Study(tmp_path, {**BASE, "heads": drawn}, dict(d=[5, 6]), seeds=2)
    STRIKES.append("heads")
    assert_struck(study, preempted)
    assert keys(study) == []
    assert study.run(progress=False).statuses == {"finished": 4}


def test_a_signal_in_the_middle_of_rounds_comes_out(tmp_path, preempted):
    study = ms.Study(tmp_path, {**BASE, "rounds": 10**8, "beta": 1e-9}, dict(d=[5]), seeds=2)
    sent = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    sent.start()
    assert_struck(study, preempted)
    assert keys(study) == []


def test_a_signal_while_runs_are_planned_is_no_impossible_run(tmp_path, preempted, monkeypatch):
    needs = plan.needs

    def struck(config):
        strike("plan")
        return needs(config)

    monkeypatch.setattr(plan, "needs", struck)
    study = ms.Study(tmp_path, BASE, dict(d=[5, 6]))
    STRIKES.append("plan")
    assert_struck(study, preempted)
    assert study.run(progress=False).statuses == {"finished": 2}


def test_a_signal_while_a_row_is_written_finds_it_whole(tmp_path, preempted, monkeypatch):
    put = store.Writer.put

    def struck(self, rows):
        strike("row")
        put(self, rows)

    monkeypatch.setattr(store.Writer, "put", struck)
    study = ms.Study(tmp_path, BASE, dict(d=[5, 6]))
    STRIKES.append("row")
    assert_struck(study, preempted)
    assert len(keys(study)) == 1
    assert study.run(progress=False).statuses == {"finished": 2}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_while_an_executor_works_keeps_what_was_finished(tmp_path, preempted, workers):
    grid, measures = dict(d=list(range(5, 25))), ("dist", measured)
    undisturbed = ms.Study(tmp_path / "whole", BASE, grid, seeds=2, measure=measures)
    undisturbed.run(progress=False)
    study = ms.Study(tmp_path / "struck", BASE, grid, seeds=2, measure=measures)
    STRIKES.append(("measure", 14, 1))
    with ThreadPoolExecutor(workers) as pool:
        assert_struck(study, preempted, pool)
    assert len(keys(study)) == len(set(keys(study)))
    with ThreadPoolExecutor(workers) as pool:
        assert study.run(pool, progress=False).statuses == {"finished": 40}
    assert len(keys(study)) == len(set(keys(study)))
    pd.testing.assert_frame_equal(table(study), table(undisturbed))


class TimeIsUp(Exception):
    """What a measure that is given up raises."""


def limited(result):
    """A measure that gives itself time, and says so by a number."""

    def ring(*_):
        raise TimeIsUp("the measure takes too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        time.sleep(30)
    except TimeIsUp:
        if result.config.trials[0]:
            return -1.0
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_alarms_of_a_measure_are_its_own(tmp_path, preempted):
    study = ms.Study(tmp_path, BASE, dict(d=[5]), seeds=2, measure=("dist", limited))
    status = study.run(progress=False)
    assert status.errors == {"TimeIsUp: the measure takes too long": 1}
    assert list(study.table()["limited"])[1] == -1.0


def fragile(result):
    raise RuntimeError("not today")


def test_failures_after_a_signal_are_failures(tmp_path, preempted):
    """A study that is run where a signal's exception is handled has that as the context of all."""
    first = ms.Study(tmp_path / "a", BASE, dict(d=[5]), measure=("dist", measured))
    second = ms.Study(tmp_path / "b", BASE, dict(d=[5]), seeds=2, measure=("dist", fragile))
    STRIKES.append(("measure", 5, 0))
    try:
        first.run(progress=False)
    except preempted:
        status = second.run(progress=False)
    assert status.errors == {"RuntimeError: not today": 2}


def test_all_signals_wait_for_the_end_of_what_must_not_be_cut():
    came = []

    def handler(number, frame):
        came.append(number)
        raise Preempted(number)

    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, handler) for number in numbers]

    @_signals.defer_interrupts()
    def strike_all():
        for number in (*numbers, *numbers):
            os.kill(os.getpid(), number)
        assert came == []

    try:
        with pytest.raises(Preempted):
            strike_all()
        assert sorted(came) == sorted(numbers)  # each once, also where another raised
        assert [signal.getsignal(number) for number in numbers] == [handler, handler]
    finally:
        for number, known in zip(numbers, before, strict=True):
            signal.signal(number, known)
