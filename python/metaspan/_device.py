r"""Loads the device module and opens the device of ``device="cuda"``."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

from ._load import core

# The extension of a build with METASPAN_CUDA=ON, and that of the distribution metaspan-cuda.
MODULES = ["metaspan._cuda", "metaspan_cuda._cuda"]


def _load_module(names: tuple[str, ...]) -> ModuleType:
    """Import the first of the device modules that is installed.

    Raises
    ------
    ImportError
        If none is installed, or if an installed one cannot be loaded.
    """
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.rpartition(".")[0]):
                raise
    raise ImportError(
        'device="cuda" needs the device module, which is not installed: install metaspan-cuda, or '
        "build it with nvcc by `pip install . -C cmake.define.METASPAN_CUDA=ON`, or use "
        'device="cpu"'
    )


@cache
def _open(names: tuple[str, ...]) -> tuple[core.Device, int]:
    """Open the device; also return the number of the process that did."""
    return core.Device(_load_module(names).module()), os.getpid()


def open_device() -> core.Device:
    r"""Return the device of ``device="cuda"``; every call returns the same object.

    Returns
    -------
    core.Device
        The first device that this process sees.

    Raises
    ------
    ImportError
        If no device module is installed, or if it is of another version.
    RuntimeError
        If the machine has no driver, an old one, or no device, or if this process was forked from
        a process that had opened the device.
    """
    device, process = _open(tuple(MODULES))
    if process != os.getpid():
        raise RuntimeError(
            'device="cuda" cannot be used in a process that was forked after its parent had opened '
            'the device: start processes by multiprocessing.get_context("spawn")'
        )
    return device


def use_modules(*names: str) -> None:
    """Load the device module from other names, such as the emulated one; for tests."""
    MODULES[:] = names


def describe_device() -> str:
    """Return one line about the device, or the reason why there is none, for `show_config`."""
    try:
        info = open_device().info
    except (ImportError, RuntimeError) as error:
        return f"none ({error})"
    gib = info["total_bytes"] / 2**30
    return f"{info['name']} ({gib:.3g} GiB, compute capability {info['capability']})"
