"""Run a bench in a separate process, confined to the number of cores that its figures state."""

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
from bench.machine import limits


@dataclass(frozen=True)
class Part:
    """A function of a bench module, and the number of cores for its figures."""

    module: str
    function: str
    cores: int


@contextmanager
def confined(cores: int) -> Iterator[None]:
    r"""Confine processes that start within the block to the last `cores` CPUs of this process.

    Libraries choose the size of their thread pools when they are loaded, so the processes must be
    confined before the child's first import.
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
    """Send the figures of a part and their context, or a traceback."""
    try:
        figures = getattr(importlib.import_module(f"bench.{part.module}"), part.function)(options)
        about = {
            "cores": len(cpus()),
            "limits": limits(options.repeats),
            "config": dict(importlib.import_module("metaspan").show_config()),
        }
        pipe.send((figures, about))
    except Exception:
        pipe.send(traceback.format_exc())


def measure(part: Part, options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Run a part in a process of its own; raise RuntimeError with its traceback if it fails."""
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
    except BaseException:  # no daemon, as daemons have no children: end it here
        process.terminate()
        raise
    process.join()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer
