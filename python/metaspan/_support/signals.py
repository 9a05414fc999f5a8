r"""Signals, kept waiting while something must not be cut, and told from what a run raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

NUMBERS = tuple(map(int, signal.valid_signals()))
_raised: list[BaseException] = []  # by signal handlers within the blocks of `mark_handlers`


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Defer the handlers of all signals until the block ends; a no-op outside the main thread."""
    deferred = _Deferred(_handlers())
    try:
        deferred.install()
        yield
    finally:
        deferred.waiting = False
        try:
            deferred.remove()
        finally:
            with ExitStack() as calls:  # every handler is called, also where another one raises
                for number, frame in deferred.came.items():
                    calls.callback(deferred.handlers[number], number, frame)


@contextmanager
def mark_handlers() -> Iterator[None]:
    """Let what signal handlers raise within the block out of it, as `reraise_signal` does.

    Python's own handler of Ctrl-C needs no mark: nothing takes a KeyboardInterrupt for a failure.
    """
    handlers = {
        number: handler
        for number, handler in _handlers().items()
        if not (handler is signal.default_int_handler or isinstance(handler, _Marking))
    }
    marking, before = _Marking(handlers), len(_raised)
    try:
        marking.install()
        yield
    except BaseException as error:
        reraise_signal(error)
        raise
    finally:
        marking.remove()
        if handlers:  # else what was raised is that of a block around this one
            del _raised[before:]


def reraise_signal(error: BaseException) -> None:
    """Raise the exception of a signal handler that `error` is, or that led to it, if there is one.

    Every place that takes an exception for the failure of a run, or for one of another kind, asks
    this first. A signal is not the fault of the run that it meets.
    """
    seen = set[int]()
    reason: BaseException | None = error
    while reason is not None and id(reason) not in seen:
        if any(reason is raised for raised in _raised):
            raise reason
        seen.add(id(reason))
        reason = reason.__cause__ or reason.__context__


class _Replacement:
    """Stands for the handlers of signals; one that is left behind behaves as what it replaced."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        self.handlers = handlers

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.handlers[number](number, frame)

    def install(self) -> None:
        for number in self.handlers:
            signal.signal(number, self)

    def remove(self) -> None:
        for number, handler in self.handlers.items():
            if signal.getsignal(number) is self:  # else something within the block has set another
                signal.signal(number, handler)


class _Deferred(_Replacement):
    """Remembers signals instead of handling them, as long as it is to wait."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        super().__init__(handlers)
        self.came: dict[int, FrameType | None] = {}
        self.waiting = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.waiting:
            self.came.setdefault(number, frame)
        else:
            super().__call__(number, frame)


class _Marking(_Replacement):
    """Remembers what a handler raises."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            super().__call__(number, frame)
        except BaseException as error:
            _raised.append(error)
            raise


def _handlers() -> dict[int, Handler]:
    """Functions that handle signals; none outside the main thread, which alone can set others."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in NUMBERS}
    return {number: handler for number, handler in found.items() if callable(handler)}
