r"""Runs the jobs of a study, in this process or on an executor."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..._support import check, signals
from .store import Row, RunId, Writer
from .work import Job, JobResult, allow_interrupts, failure_rows, work

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

Advance = Callable[[Sequence[Row]], object]

IN_FLIGHT = 64  # jobs submitted at a time to an executor of unknown size
DEATHS = 3  # a run has failed if this number of workers died while the run was alone
SHORT_SECONDS = 0.2  # a job is short if its expected time is less
SOCKET_PATH = 104  # longest path of a socket on every system, in bytes, with the final zero
SOCKET_NAME = 34  # most bytes of /pymp-12345678/listener-12345678 in the temporary folder
# Seconds between two checks for Ctrl-C. Not every system interrupts a wait on a queue.
POLL_SECONDS = 0.2


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    r"""Make a pool of worker processes for `Study.run`.

    Each worker process starts from a clean interpreter and is no fork of the calling process. A
    worker process ignores Ctrl-C while it waits for work, and exits when the calling process is
    killed.

    Parameters
    ----------
    workers : int or None
        Number of processes, from 1 to 4096. None: the CPUs that this process may use.

    Returns
    -------
    concurrent.futures.ProcessPoolExecutor
        The pool; use it as a context manager.

    Raises
    ------
    TypeError, ValueError
        If `workers` is not an integer in this range.

    Notes
    -----
    Every worker imports the main script. A script that makes a pool must therefore do its work
    under ``if __name__ == "__main__":``.

    Examples
    --------
    >>> with process_pool(2) as pool:
    ...     pool.submit(max, 3, 4).result()
    4
    """
    import multiprocessing  # noqa: PLC0415  (slow to import, as are its pools)
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    if workers is not None:
        workers = check.integer("workers", workers, 1, 4096)
    count = check.threads(workers)
    served = "forkserver" in multiprocessing.get_all_start_methods() and _has_room_for_a_socket()
    method = "forkserver" if served else "spawn"
    return ProcessPoolExecutor(count, multiprocessing.get_context(method), _start_worker)


def _has_room_for_a_socket() -> bool:
    """Tell whether the path of a fork server's socket would be short enough for every system."""
    import tempfile  # noqa: PLC0415

    return len(os.fsencode(tempfile.gettempdir())) + SOCKET_NAME < SOCKET_PATH


def _start_worker() -> None:
    """Prepare a worker process, which ignores Ctrl-C between jobs and exits with its parent."""
    import multiprocessing  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    allow_interrupts()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent.join,), daemon=True).start()


def _exit_with_parent(wait_for_parent: Callable[[], object]) -> None:
    """Exit when the parent process ends: a parent that is killed cannot shut down its pool."""
    wait_for_parent()
    os._exit(1)


def execute(
    jobs: Sequence[Job],
    executor: Executor | None,
    writer: Writer,
    advance: Advance,
    suspects: Mapping[RunId, int],
) -> None:
    r"""Run all jobs; write the rows of each job, and then call `advance` with these rows.

    Parameters
    ----------
    jobs : sequence of Job
        Jobs, in the order in which they start.
    executor : concurrent.futures.Executor or None
        Executor that runs the jobs. None: the jobs run in this process, one after the other.
    writer : Writer
        Appends the rows to a file.
    advance : callable
        Function that is called with rows after they have been written.
    suspects : mapping of (str, int) to int
        For each run that may have killed a worker, the number of workers that died while this run
        was alone.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after the rows of finished runs have been written.
    BrokenExecutor
        If a worker died, after the rows of finished runs have been written.
    """
    done = _run_here(jobs) if executor is None else _run_on(jobs, executor)
    interrupted = False
    try:
        for job, result in done:
            try:
                with signals.defer_interrupts():
                    writer.put(result.rows)
                    advance(result.rows)
                    if not result.interrupted:
                        _remove_checkpoints(job)
            except BaseException as error:  # raised by a signal handler or a progress function
                for _, late in _collect_late(done, error):
                    writer.put(late.rows)
                raise
            interrupted |= result.interrupted
    except WorkerDied as error:
        # If several runs were in flight, it is unknown which of them killed the worker. A line in
        # the file of rows lists all runs that were in flight, and the next call does these runs one
        # by one. A run has failed if DEATHS workers died while the run was alone.
        runs = [run for job in error.jobs for run in job.runs]
        if len(runs) == 1 and suspects.get(runs[0], 0) + 1 >= DEATHS:
            writer.put(failure_rows(error.jobs[0].items[0], error))
        elif runs:
            writer.put([{"died": runs}])
        raise
    if interrupted:
        raise KeyboardInterrupt


class WorkerDied(BrokenExecutor):
    r"""Raised when a process of an executor died while the executor was running jobs.

    Parameters
    ----------
    jobs : list of Job
        The jobs that were submitted but not finished when the process died.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        names = sorted({item.cell for job in jobs for item in job.items})
        with_it = f"{', '.join(names[:8])}{', ...' if names[8:] else ''}" if names else "none"
        super().__init__(
            f"a worker died while cells {with_it} were with the executor, or it could not import "
            "what they call; finished runs are kept, and the same call with a new executor does "
            "the rest"
        )


def _collect_late(
    done: Iterator[tuple[Job, JobResult]], error: BaseException
) -> Iterator[tuple[Job, JobResult]]:
    """Throw an exception into the iterator of results; yield the remaining results."""
    try:
        yield done.throw(error)  # type: ignore[attr-defined]
        yield from done
    except BaseException as raised:
        if raised is not error and not isinstance(raised, StopIteration):
            raise


def _run_here(jobs: Iterable[Job]) -> Iterator[tuple[Job, JobResult]]:
    """Run jobs in this process; yield after each item, so that its rows are written at once."""
    for job in jobs:
        for item in job.items:
            single = replace(job, items=(item,))
            result = work(single)
            yield single, result
            if result.interrupted:
                return


def _run_on(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, JobResult]]:
    r"""Run jobs on an executor; yield each result as soon as it arrives.

    Few jobs are in flight at a time: Ctrl-C must not have to wait for many queued jobs, and a job
    that may have killed a worker must run alone.
    """
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    if isinstance(executor, ProcessPoolExecutor):  # other executors need not pickle jobs
        _require_sendable(jobs)
    ready: SimpleQueue[Future[JobResult]] = SimpleQueue()
    flying: dict[Future[JobResult], Job] = {}
    left = deque(jobs)
    workers = getattr(executor, "_max_workers", None)

    def send() -> None:
        while left and not (flying and left[0].alone):
            # If Ctrl-C interrupted the pool while the pool starts a process, the pool would not
            # know of this process, and would later wait without end for a process that does not
            # exist.
            with signals.defer_interrupts():
                job = left.popleft()
                future = executor.submit(work, job)
                flying[future] = job
                future.add_done_callback(ready.put)
            # A job that waits inside a pool can no longer be cancelled. A short job may wait there,
            # which keeps the workers busy. A long job is submitted only when a worker is free.
            spare = 2 if sum(item.seconds for item in job.items) < SHORT_SECONDS else 1
            if job.alone or len(flying) >= (spare * workers if workers else IN_FLIGHT):
                return

    try:
        send()
        while flying:
            with suppress(Empty):
                future = ready.get(timeout=POLL_SECONDS)
                job = flying[future]
                result = future.result()
                del flying[future]
                yield job, result
                if result.interrupted:
                    yield from _collect_begun(flying, wait=True)
                    return
                send()
    except BrokenExecutor as error:
        raise WorkerDied(list(flying.values())) from error
    except GeneratorExit:
        raise
    except BaseException as error:
        # Ctrl-C also reaches the workers, so the jobs that have begun end soon; wait for their
        # rows.
        yield from _collect_begun(flying, wait=isinstance(error, KeyboardInterrupt))
        raise
    finally:
        for future in flying:
            future.cancel()


def _require_sendable(jobs: Sequence[Job]) -> None:
    """Raise TypeError if a user's function cannot be pickled for another process."""
    for job in jobs[:1]:
        try:
            pickle.dumps(job)
        except Exception as error:
            signals.reraise_signal(error)
            raise TypeError(
                "functions that an executor calls must be defined at the top level of a module; "
                f"one is not ({error})"
            ) from error


def _collect_begun(
    flying: dict[Future[JobResult], Job], *, wait: bool
) -> Iterator[tuple[Job, JobResult]]:
    """Yield the results of jobs that have ended; if `wait`, first wait for jobs that have begun."""
    for future, job in flying.items():
        begun = not future.cancel() and (wait or future.done())
        if begun and future.exception() is None:
            yield job, future.result()


def _remove_checkpoints(job: Job) -> None:
    """Remove the checkpoints of a finished job."""
    for item in job.items:
        if item.checkpoint:
            with suppress(OSError):
                Path(item.checkpoint).unlink()
