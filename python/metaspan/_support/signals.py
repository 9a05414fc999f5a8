r"""Defers signals in critical blocks; tells exceptions of handlers from other errors."""

from __future__ import annotations

import signal
import threading
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

# `getsignal` and `set_handler` are of `_signal`, because the functions of `signal` also convert
# handlers to an enumeration, which takes a microsecond for each of 64 signals.
Handler = Callable[[int, FrameType | None], object]

NUMBERS = tuple(map(int, signal.valid_signals()))
_raised: list[BaseException] = []  # exceptions of signal handlers in blocks of `mark_handlers`


@contextmanager
def defer_interrupts() -> Iterator[Callable[[], None]]:
    """Defer all signal handlers until the block ends; outside the main thread, do nothing.

    The block may call the handlers of the signals that have come by the function that it gets.
    """
    deferred = _Deferred(_handlers())
    try:
        deferred.install()
        yield deferred.call_handlers
    finally:
        deferred.waiting = False
        try:
            deferred.remove()
        finally:
            if deferred.came:
                deferred.call_handlers()


@contextmanager
def mark_handlers() -> Iterator[None]:
    """Record the exceptions that signal handlers raise in the block, for `reraise_signal`.

    If an exception of a signal handler makes the block fail, that exception is raised in place of
    the block's own error. Exceptions of Python's own handler of Ctrl-C are not recorded: this
    handler raises KeyboardInterrupt, which no code mistakes for the failure of a run.
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
        if handlers:  # otherwise an enclosing block still needs the list
            del _raised[before:]


def reraise_signal(error: BaseException) -> None:
    """Raise the exception of a signal handler that caused `error`; return if there is none.

    Code that treats every exception as the failure of a run must call `reraise_signal` first,
    because a run does not fail when a signal arrives.
    """
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if any(cause is raised for raised in _raised):
            raise cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


class _Replacement:
    """Replaces signal handlers and calls the replaced handlers, so it may stay installed."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        self.handlers = handlers

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.handlers[number](number, frame)

    def install(self) -> None:
        for number in self.handlers:
            set_handler(number, self)

    def remove(self) -> None:
        for number, handler in self.handlers.items():
            if getsignal(number) is self:  # code in the block may have set another handler
                set_handler(number, handler)


class _Deferred(_Replacement):
    """Records signals while `waiting` is true, and otherwise calls the replaced handlers."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        super().__init__(handlers)
        self.came: dict[int, FrameType | None] = {}
        self.waiting = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.waiting:
            self.came.setdefault(number, frame)
        else:
            super().__call__(number, frame)

    def call_handlers(self) -> None:
        """Call the handlers of the recorded signals: all of them, even if one raises."""
        came, self.came = self.came, {}
        with ExitStack() as calls:
            for number, frame in came.items():
                calls.callback(self.handlers[number], number, frame)


class _Marking(_Replacement):
    """Calls the replaced handlers and records the exceptions that they raise."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            super().__call__(number, frame)
        except BaseException as error:
            _raised.append(error)
            raise


def _handlers() -> dict[int, Handler]:
    """Return the signal handlers that can be called; an empty dict outside the main thread.

    Only the main thread can set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: handler for number in NUMBERS if callable(handler := getsignal(number))}
