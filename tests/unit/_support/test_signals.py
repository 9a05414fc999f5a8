"""Signals that are deferred to a place where they can be handled."""

import os
import signal

import pytest

from metaspan._support import signals


def test_deferred_handlers_are_called_on_request():
    seen = []
    with signals.defer_interrupts() as call_handlers:
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("deferred")
        with pytest.raises(KeyboardInterrupt):
            call_handlers()
        call_handlers()  # none is due
        seen.append("handled once")
    assert seen == ["deferred", "handled once"]


def test_deferred_handlers_are_called_at_the_end_otherwise():
    seen = []

    def interrupt():
        with signals.defer_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("deferred")

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert seen == ["deferred"]
