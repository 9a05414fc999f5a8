r"""A thread that answers the latest question, and drops those that it overtakes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from .point import CancelledError

Task = Callable[[Callable[[], bool]], None]


class Worker:
    r"""Runs one task at a time in a thread; a new task cancels the one before.

    Parameters
    ----------
    name : str
        Name of the thread.

    Notes
    -----
    A task is a function of one argument, which is a function that says whether the task is
    cancelled. A task that raises `CancelledError` ends quietly; other exceptions of a task go to
    `threading.excepthook`, and later tasks still run.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._waiting: Task | None = None
        self._number = 0  # of the latest task
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Run a task as soon as the thread is free, and cancel all earlier tasks."""
        with self._changed:
            self._waiting = task
            self._number += 1
            self._changed.notify()

    def close(self, wait: bool = False) -> None:
        """Cancel all tasks, and end the thread; return after its end if `wait` is true."""
        with self._changed:
            self._closed = True
            self._waiting = None
            self._number += 1
            self._changed.notify()
        if wait:
            self._thread.join()

    def _work(self) -> None:
        """Run tasks until `close`."""
        while True:
            with self._changed:
                while self._waiting is None and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                task, number = self._waiting, self._number
                self._waiting = None
            assert task is not None
            try:
                task(lambda number=number: number != self._number)  # type: ignore[misc]
            except CancelledError:
                pass
            except Exception:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))
