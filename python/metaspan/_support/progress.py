r"""Shows the progress of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Errors that `sys.stderr` may raise when it is used, since it can be None, closed, or any object.
NO_STREAM = (AttributeError, OSError, TypeError, ValueError)


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    try:
        return bool(sys.stderr.isatty())
    except NO_STREAM:
        return False


@contextmanager
def reporter(
    progress: bool | Callable[[int, int], object], done: int, total: int
) -> Iterator[Callable[[int], object]]:
    """Yield a function that passes the number of rounds done to a bar, `progress` or nothing."""
    if callable(progress):
        yield lambda finished: progress(finished, total)
        return
    bar = terminal_bar(total, done, unit=" rounds", unit_scale=True) if progress else None
    if bar is None:
        yield lambda finished: None
        return
    with bar:
        yield lambda finished: bar.update(finished - bar.n)


def terminal_bar(total: int, done: int = 0, **looks: Any) -> Any:
    """Open a bar of tqdm; return None unless standard error is a terminal and tqdm is installed."""
    if not on_terminal():
        return None
    try:
        from tqdm import tqdm  # noqa: PLC0415  (optional)
    except ImportError:
        return None
    return tqdm(total=total, initial=done, **looks)
