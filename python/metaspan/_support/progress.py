r"""Shows the progress of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Errors that a use of `sys.stderr` may raise: `sys.stderr` can be None, closed, or any object.
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
    """Yield a function that takes the number of rounds done, for a bar or for `progress`."""
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
    """Open tqdm's bar; return None if standard error is no terminal or tqdm is not installed."""
    if not on_terminal():
        return None
    try:
        from tqdm import tqdm  # noqa: PLC0415  (optional)
    except ImportError:
        return None
    return tqdm(total=total, initial=done, **looks)
