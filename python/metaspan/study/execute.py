r"""Doing the jobs of a study: here, or on an executor that exists."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from .. import _check, _signals
from .store import Writer
from .work import Job, Outcome, Row, work

Advance = Callable[[Sequence[Row]], object]

IN_FLIGHT = 64  # jobs that an executor of unknown size holds at a time
POLL_SECONDS = 0.2  # between looks for Ctrl-C, which a wait for a queue would not see everywhere


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    r"""A pool of processes in which studies run well.

    Parameters
    ----------
    workers : int or None
        Number of processes. None: the CPUs that this process may use.

    Returns
    -------
    concurrent.futures.ProcessPoolExecutor
        Use it as a context manager. Its processes are started afresh, not forked from this one,
        leave Ctrl-C to it while they wait, and end when it is killed.

    Notes
    -----
    A script that makes one keeps its own work under ``if __name__ == "__main__":``, since every
    process imports it.

    Examples
    --------
    >>> with process_pool(2) as pool:
    ...     pool.submit(max, 3, 4).result()
    4
    """
    import multiprocessing  # noqa: PLC0415  (slow to import)

    count = _check.threads(workers)
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return ProcessPoolExecutor(count, multiprocessing.get_context(method), _begin)


def _begin() -> None:
    """Make a new process a worker."""
    import multiprocessing  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), daemon=True).start()


def _follow(ended: Callable[[], object]) -> None:
    """End with the process that this one works for; a killed one cannot say goodbye."""
    ended()
    os._exit(1)


def execute(
    jobs: Sequence[Job], executor: Executor | None, writer: Writer, advance: Advance
) -> None:
    r"""Do all jobs, each row on the disk before `advance` hears of it.

    Parameters
    ----------
    jobs : sequence of Job
        What to do, in this order.
    executor : concurrent.futures.Executor or None
        Where; None: here, one after the other.
    writer : Writer
        Takes the rows.
    advance : callable
        Called with rows that have been written.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, with what was finished written.
    BrokenExecutor
        If a worker died; what was finished is written.
    """
    done = _here(jobs) if executor is None else _there(jobs, executor)
    interrupted = False
    for job, outcome in done:
        with _signals.held():
            writer.put(outcome.rows)
            advance(outcome.rows)
            if not outcome.interrupted:
                _clear(job)
        interrupted |= outcome.interrupted
    if interrupted:
        raise KeyboardInterrupt


def _here(jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
    for job in jobs:
        for item in job.items:
            one = replace(job, items=(item,))
            outcome = work(one)
            yield one, outcome
            if outcome.interrupted:
                return


def _there(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, Outcome]]:
    """Outcomes as they come, with a window of jobs in flight."""
    ready: SimpleQueue[Future[Outcome]] = SimpleQueue()
    flying: dict[Future[Outcome], Job] = {}
    left = iter(jobs)
    window = 2 * getattr(executor, "_max_workers", IN_FLIGHT // 2)

    def send() -> None:
        for job in left:
            future = executor.submit(work, job)
            flying[future] = job
            future.add_done_callback(ready.put)
            if len(flying) >= window:
                return

    try:
        send()
        while flying:
            with suppress(Empty):
                future = ready.get(timeout=POLL_SECONDS)
                job = flying[future]
                outcome = future.result()
                del flying[future]
                yield job, outcome
                if outcome.interrupted:
                    yield from _last(flying)
                    return
                send()
    except BrokenExecutor as error:
        names = sorted({item.cell for job in flying.values() for item in job.items})
        raise BrokenExecutor(
            f"a worker died while cells {', '.join(names[:8])}{', ...' if names[8:] else ''} were "
            "with the executor; what was finished is kept, and the same call goes on"
        ) from error
    except KeyboardInterrupt:
        yield from _last(flying)
        raise
    finally:
        for future in flying:
            future.cancel()


def _last(flying: dict[Future[Outcome], Job]) -> Iterator[tuple[Job, Outcome]]:
    """Outcomes of jobs that had begun when Ctrl-C came: it reaches workers, too."""
    for future, job in flying.items():
        if not future.cancel():
            with suppress(Exception):
                yield job, future.result()


def _clear(job: Job) -> None:
    """Remove what long runs kept in order to go on."""
    for item in job.items:
        if item.checkpoint:
            with suppress(OSError):
                Path(item.checkpoint).unlink()
