r"""Run the jobs of a study in this process or on an executor."""

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
DEATHS = 3  # a run has failed if this number of workers died while it ran alone
SHORT_SECONDS = 0.2  # a job of less expected time is short
SOCKET_PATH = 104  # smallest limit of any system on a socket's path, in bytes with the final zero
SOCKET_NAME = 34  # most bytes of /pymp-12345678/listener-12345678 in the temporary folder
# Seconds between two checks for Ctrl-C, since not every system interrupts a wait on a queue.
POLL_SECONDS = 0.2


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    r"""Make a pool of worker processes for `Study.run`.

    The processes start from a clean interpreter and are not forks of the calling process. They
    ignore Ctrl-C while they wait for work, and exit when the calling process is killed.

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
    """Tell whether a fork server's socket path is short enough; if not, processes are spawned."""
    import tempfile  # noqa: PLC0415

    return len(os.fsencode(tempfile.gettempdir())) + SOCKET_NAME < SOCKET_PATH


def _start_worker() -> None:
    """Make a new process a worker: ignore Ctrl-C between jobs, and exit with the parent."""
    import multiprocessing  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    allow_interrupts()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent.join,), daemon=True).start()


def _exit_with_parent(wait_for_parent: Callable[[], object]) -> None:
    """Exit when the parent process ends, since a killed parent cannot shut its pool down."""
    wait_for_parent()
    os._exit(1)


def execute(
    jobs: Sequence[Job],
    executor: Executor | None,
    writer: Writer,
    advance: Advance,
    suspects: Mapping[RunId, int],
) -> None:
    r"""Run all jobs and write their rows; each row is in its file before `advance` is called.

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
        For each run on which a worker may have died, the number of workers that died while the run
        was alone.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after finished rows have been written.
    BrokenExecutor
        If a worker died, after finished rows have been written.
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
        # It is unknown which run killed the worker, unless the run was alone. The file lists all
        # runs that were in flight, and the next call runs them one by one. A run has failed if
        # DEATHS workers died while the run was alone.
        runs = [run for job in error.jobs for run in job.runs]
        if len(runs) == 1 and suspects.get(runs[0], 0) + 1 >= DEATHS:
            writer.put(failure_rows(error.jobs[0].items[0], error))
        elif runs:
            writer.put([{"died": runs}])
        raise
    if interrupted:
        raise KeyboardInterrupt


class WorkerDied(BrokenExecutor):
    r"""Raised when a process of an executor died while it was running jobs.

    Parameters
    ----------
    jobs : list of Job
        Jobs that the executor had when the process died.
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
    """Throw an exception into the iterator of results; yield the results that remain in it."""
    try:
        yield done.throw(error)  # type: ignore[attr-defined]
        yield from done
    except BaseException as raised:
        if raised is not error and not isinstance(raised, StopIteration):
            raise


def _run_here(jobs: Iterable[Job]) -> Iterator[tuple[Job, JobResult]]:
    """Run jobs in this process, one item at a time, so that rows are written after each call."""
    for job in jobs:
        for item in job.items:
            single = replace(job, items=(item,))
            result = work(single)
            yield single, result
            if result.interrupted:
                return


def _run_on(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, JobResult]]:
    r"""Run jobs on an executor and yield results as they arrive.

    Only a limited number of jobs is submitted at a time, because an interrupt must not wait for a
    long queue and a suspect must run alone.
    """
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    if isinstance(executor, ProcessPoolExecutor):  # other executors may not use pickle
        _require_sendable(jobs)
    ready: SimpleQueue[Future[JobResult]] = SimpleQueue()
    flying: dict[Future[JobResult], Job] = {}
    left = deque(jobs)
    workers = getattr(executor, "_max_workers", None)

    def send() -> None:
        while left and not (flying and left[0].alone):
            # If Ctrl-C interrupted the pool while it starts a process, the pool would not know of
            # that process and would later wait for another process without end.
            with signals.defer_interrupts():
                job = left.popleft()
                future = executor.submit(work, job)
                flying[future] = job
                future.add_done_callback(ready.put)
            # A job that waits inside a pool can no longer be cancelled. Short jobs may wait there
            # to keep workers busy, whereas a long job is submitted only when a worker is free.
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
        # Ctrl-C reaches the workers as well, so their jobs end soon; wait for their rows.
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
    """Yield results of ended jobs; if `wait`, also wait for jobs that have begun."""
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
