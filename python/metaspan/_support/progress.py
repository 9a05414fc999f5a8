r"""Showing how far a run is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NO_STREAM = (AttributeError, OSError, TypeError, ValueError)  # of what stands for a stream, or None


def on_terminal() -> bool:
    """Tell whether standard error is a terminal; it may be missing, closed, or any object."""
    try:
        return bool(sys.stderr.isatty())
    except NO_STREAM:
        return False


@contextmanager
def reporter(
    progress: bool | Callable[[int, int], object], done: int, total: int
) -> Iterator[Callable[[int], object]]:
    """A function to call with the rounds done; it draws a bar, calls the user, or does nothing."""
    if callable(progress):
        yield lambda finished: progress(finished, total)
    elif not (progress and on_terminal()):
        yield lambda finished: None
    else:
        with _bar(done, total) as show:
            yield show


@contextmanager
def _bar(done: int, total: int) -> Iterator[Callable[[int], object]]:
    """A bar where tqdm is installed, otherwise nothing."""
    try:
        from tqdm import tqdm  # noqa: PLC0415  (optional)
    except ImportError:
        yield lambda finished: None
        return
    with tqdm(total=total, initial=done, unit=" rounds", unit_scale=True) as bar:
        yield lambda finished: bar.update(finished - bar.n)
