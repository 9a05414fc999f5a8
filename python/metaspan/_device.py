r"""Loads the device module and opens the device of ``device="cuda"``."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

from ._load import core

# The extensions of a build with METASPAN_CUDA=ON and of the distribution metaspan-cuda.
MODULES = ["metaspan._cuda", "metaspan_cuda._cuda"]


def _load_module(names: tuple[str, ...]) -> ModuleType:
    """Import the first installed device module.

    Raises
    ------
    ImportError
        If no device module is installed, or if the installed one cannot be loaded.
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
    r"""Open the device of ``device="cuda"``; every call returns the same object.

    Returns
    -------
    core.Device
        The current device of CUDA: the first that this process sees, unless another library has
        selected another one.

    Raises
    ------
    ImportError
        If no device module is installed, or if its version differs from that of the package.
    RuntimeError
        If the machine has no device, no driver, or a driver that is too old, or if this process was
        forked from a process that had opened the device.
    """
    device, process = _open(tuple(MODULES))
    if process != os.getpid():
        raise RuntimeError(
            'device="cuda" cannot be used in a process that was forked after its parent had opened '
            'the device: start processes by multiprocessing.get_context("spawn")'
        )
    return device


def use_modules(*names: str) -> None:
    """Set the names from which the device module is loaded; tests choose the emulated module."""
    MODULES[:] = names


def describe_device() -> str:
    """Return one line about the device, or the reason why there is none, for `show_config`."""
    try:
        info = open_device().info
    except (ImportError, RuntimeError) as error:
        return f"none ({error})"
    gib = info["total_bytes"] / 2**30
    return f"{info['name']} ({gib:.3g} GiB, compute capability {info['capability']})"
