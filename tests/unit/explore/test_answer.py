"""The order of the parts of an answer, and the thread that drops overtaken questions."""

import queue
import threading

import numpy as np
import pytest

from metaspan.explore.answer import Answers, Picture, Progress, Refused
from metaspan.explore.knobs import Knobs
from metaspan.explore.point import CancelledError, Curves
from metaspan.explore.worker import Worker

FAST = Knobs(method="fo-anil", outer="body", m_in=None)  # a floor by a closed form
AXES = "beta over alpha"


def parts_of(knobs, cancelled=lambda: False):
    parts = []
    Answers(parts.append).answer(knobs, AXES, cancelled)
    return parts


def test_curves_come_first_and_the_diagram_last():
    parts = parts_of(FAST)
    assert isinstance(parts[0], Curves)
    assert isinstance(parts[-1], Picture)
    assert parts[-1].complete
    assert not np.isnan(parts[-1].values).any()


def test_a_long_run_shows_its_first_rounds_then_its_progress_then_all():
    parts = parts_of(Knobs(method="maml", rounds=3000, d=50, k=2))
    kinds = [type(part) for part in parts if not isinstance(part, Picture)]
    curves = [part for part in parts if isinstance(part, Curves)]
    assert kinds[0] is kinds[-1] is Curves
    assert set(kinds[1:-1]) == {Progress}
    assert [part.complete for part in curves] == [False, True]


def test_a_finished_diagram_is_kept():
    parts = []
    answers = Answers(parts.append)
    answers.answer(FAST, AXES, lambda: False)
    before = len(parts)
    answers.answer(Knobs(**{**vars(FAST), "alpha": 0.5}), AXES, lambda: False)
    assert [type(part) for part in parts[before:]] == [Curves, Picture]
    np.testing.assert_array_equal(parts[-1].values, parts[before - 1].values)


def test_a_cancelled_answer_still_draws_its_first_curves():
    parts = []
    with pytest.raises(CancelledError):
        Answers(parts.append).answer(FAST, AXES, lambda: True)
    assert [type(part) for part in parts] == [Curves]


def test_a_wrong_setting_is_refused_in_one_sentence():
    (part,) = parts_of(Knobs(k=2000))
    assert isinstance(part, Refused)
    assert "must be at most" in part.reason
    assert "\n" not in part.reason


def test_a_newer_task_cancels_the_one_before():
    worker, order, started = Worker("test"), queue.Queue(), threading.Event()

    def first(cancelled):
        started.set()
        while not cancelled():
            pass
        order.put("first ended")
        raise CancelledError

    worker.submit(first)
    assert started.wait(10)
    worker.submit(lambda cancelled: order.put(cancelled()))
    assert order.get(timeout=10) == "first ended"
    assert order.get(timeout=10) is False
    worker.close(wait=True)


def test_of_waiting_tasks_the_latest_alone_runs():
    worker, ran, started, free = Worker("test"), queue.Queue(), threading.Event(), threading.Event()

    def first(cancelled):
        started.set()
        free.wait(10)

    worker.submit(first)
    assert started.wait(10)
    worker.submit(lambda cancelled: ran.put(2))
    worker.submit(lambda cancelled: ran.put(3))
    free.set()
    assert ran.get(timeout=10) == 3
    worker.close(wait=True)
    assert ran.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_task_that_fails_does_not_end_the_thread(monkeypatch):
    seen, ran = queue.Queue(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", seen.put)
    worker = Worker("test")

    def fail(cancelled):
        raise RuntimeError("a defect")

    worker.submit(fail)
    assert str(seen.get(timeout=10).exc_value) == "a defect"
    worker.submit(lambda cancelled: ran.set())
    assert ran.wait(10)
    worker.close(wait=True)
