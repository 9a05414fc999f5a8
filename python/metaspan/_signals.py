r"""Ctrl-C, kept waiting while something must not be cut."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held() -> Iterator[None]:
    """Ctrl-C within the block comes at its end; only the main thread sees it, and can wait."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    try:
        signal.signal(signal.SIGINT, lambda *caught: came.append(caught))
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])
