"""Runs a bench in a separate process, on the number of cores that its figures state."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bench.harness import Figure, Options, cpus
from bench.machine import limits, processor


@dataclass(frozen=True)
class Part:
    """A function of a bench module, and the number of cores on which it runs."""

    module: str
    function: str
    cores: int


@contextmanager
def confined(cores: int) -> Iterator[None]:
    r"""Confine the processes that start in the block to the last `cores` CPUs of this process.

    A library chooses the size of its thread pool when it is loaded, so a process must be confined
    before its first import.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = cpus()
    os.sched_setaffinity(0, before[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _child(part: Part, options: Options, pipe: Connection) -> None:
    """Run a part; send its figures and their context, or a traceback, through the pipe."""
    try:
        figures = getattr(importlib.import_module(f"bench.{part.module}"), part.function)(options)
        about = {
            "cores": len(cpus()),
            "processor": processor(),
            "limits": limits(options.repeats),
            "config": dict(importlib.import_module("metaspan").show_config()),
        }
        pipe.send((figures, about))
    except Exception:
        pipe.send(traceback.format_exc())


def measure(part: Part, options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Run a part in a separate process; if it fails, raise RuntimeError with the traceback."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(part, options, theirs))
    with confined(part.cores):
        process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        process.join()
        answer = f"the process died with exit code {process.exitcode}"
    except BaseException:  # the child is no daemon, since it has children, so it must be ended here
        process.terminate()
        raise
    process.join()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer
