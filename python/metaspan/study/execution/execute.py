r"""Doing the jobs of a study: here, or on an executor that exists."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from ..._support import check, signals
from .store import Key, Row, Writer
from .work import Job, JobResult, failure_rows, listen, work

Advance = Callable[[Sequence[Row]], object]

IN_FLIGHT = 64  # jobs that an executor of unknown size holds at a time
DEATHS = 3  # of workers on a run that was alone, after which it has failed
SHORT_SECONDS = 0.2  # a job is short below this
SOCKET_PATH = 104  # bytes of a socket's path, its end included, where a system has the fewest
SOCKET_NAME = 34  # bytes, at most, of /pymp-12345678/listener-12345678 below the temporary folder
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

    if workers is not None:
        workers = check.integer("workers", workers, 1, 4096)
    count = check.threads(workers)
    served = "forkserver" in multiprocessing.get_all_start_methods() and _has_room_for_a_socket()
    method = "forkserver" if served else "spawn"
    return ProcessPoolExecutor(count, multiprocessing.get_context(method), _begin)


def _has_room_for_a_socket() -> bool:
    """Tell whether the server of forks can listen in the folder of temporary files."""
    import tempfile  # noqa: PLC0415

    return len(os.fsencode(tempfile.gettempdir())) + SOCKET_NAME < SOCKET_PATH


def _begin() -> None:
    """Make a new process a worker."""
    import multiprocessing  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), daemon=True).start()


def _follow(ended: Callable[[], object]) -> None:
    """End with the process that this one works for; a killed one cannot say goodbye."""
    ended()
    os._exit(1)


def execute(
    jobs: Sequence[Job],
    executor: Executor | None,
    writer: Writer,
    advance: Advance,
    suspects: Mapping[Key, int],
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
    suspects : mapping of (str, int) to int
        How often a worker has died on a run that was alone.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, with what was finished written.
    BrokenExecutor
        If a worker died; what was finished is written.
    """
    done = _here(jobs) if executor is None else _there(jobs, executor)
    interrupted = False
    try:
        for job, outcome in done:
            try:
                with signals.defer_interrupts():
                    writer.put(outcome.rows)
                    advance(outcome.rows)
                    if not outcome.interrupted:
                        _clear(job)
            except BaseException as error:  # of a signal that came while the rows were written
                for _, last in _stopped(done, error):
                    writer.put(last.rows)
                raise
            interrupted |= outcome.interrupted
    except WorkerDied as error:
        runs = [run for job in error.jobs for run in job.runs]
        if len(runs) == 1 and suspects.get(runs[0], 0) + 1 >= DEATHS:
            writer.put(failure_rows(error.jobs[0].items[0], error))
        elif runs:
            writer.put([{"died": runs}])
        raise
    if interrupted:
        raise KeyboardInterrupt


class WorkerDied(BrokenExecutor):
    r"""A process of an executor has ended in the middle of its work.

    Parameters
    ----------
    jobs : list of Job
        What was with the executor.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        names = sorted({item.cell for job in jobs for item in job.items})
        with_it = f"{', '.join(names[:8])}{', ...' if names[8:] else ''}" if names else "none"
        super().__init__(
            f"a worker died while cells {with_it} were with the executor, or it could not import "
            "what they call; what was finished is kept, and the same call with a new executor goes "
            "on"
        )


def _stopped(
    done: Iterator[tuple[Job, JobResult]], error: BaseException
) -> Iterator[tuple[Job, JobResult]]:
    """Yield what still comes of jobs that had begun when something was raised."""
    try:
        yield done.throw(error)  # type: ignore[attr-defined]
        yield from done
    except BaseException as raised:
        if raised is not error and not isinstance(raised, StopIteration):
            raise


def _here(jobs: Iterable[Job]) -> Iterator[tuple[Job, JobResult]]:
    for job in jobs:
        for item in job.items:
            one = replace(job, items=(item,))
            outcome = work(one)
            yield one, outcome
            if outcome.interrupted:
                return


def _there(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, JobResult]]:
    """Outcomes as they come, with a window of jobs in flight."""
    if isinstance(executor, ProcessPoolExecutor):  # others may send more than pickle can
        _require_sendable(jobs)
    ready: SimpleQueue[Future[JobResult]] = SimpleQueue()
    flying: dict[Future[JobResult], Job] = {}
    left = deque(jobs)
    workers = getattr(executor, "_max_workers", None)

    def send() -> None:
        while left and not (flying and left[0].alone):
            # Ctrl-C while a pool starts a process would leave it one that it does not know of, and
            # wait for another for ever.
            with signals.defer_interrupts():
                job = left.popleft()
                future = executor.submit(work, job)
                flying[future] = job
                future.add_done_callback(ready.put)
            # A job that waits within a pool can no more be cancelled: none should that is long.
            spare = 2 if sum(item.seconds for item in job.items) < SHORT_SECONDS else 1
            if job.alone or len(flying) >= (spare * workers if workers else IN_FLIGHT):
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
                    yield from _last(flying, wait=True)
                    return
                send()
    except BrokenExecutor as error:
        raise WorkerDied(list(flying.values())) from error
    except GeneratorExit:
        raise
    except BaseException as error:
        # Ctrl-C reaches workers, too: what they do ends soon.
        yield from _last(flying, wait=isinstance(error, KeyboardInterrupt))
        raise
    finally:
        for future in flying:
            future.cancel()


def _require_sendable(jobs: Sequence[Job]) -> None:
    """Raise TypeError if a function of the user's cannot go to another process."""
    for job in jobs[:1]:
        try:
            pickle.dumps(job)
        except Exception as error:
            signals.reraise_signal(error)
            raise TypeError(
                "functions that an executor is to call must stand at the top of a module; "
                f"one does not ({error})"
            ) from error


def _last(flying: dict[Future[JobResult], Job], *, wait: bool) -> Iterator[tuple[Job, JobResult]]:
    """Yield the outcomes of jobs that have ended or, if told to wait for them, that had begun."""
    for future, job in flying.items():
        begun = not future.cancel() and (wait or future.done())
        if begun and future.exception() is None:
            yield job, future.result()


def _clear(job: Job) -> None:
    """Remove what long runs kept in order to go on."""
    for item in job.items:
        if item.checkpoint:
            with suppress(OSError):
                Path(item.checkpoint).unlink()
