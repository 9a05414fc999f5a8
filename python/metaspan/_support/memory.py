r"""Checks how much memory is available, before arrays with d rows are allocated."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CGROUP = Path("/sys/fs/cgroup")
ASSUMED = 2**20  # requests up to this number of bytes are not checked: a check takes longer


def available_bytes() -> int | None:
    """Return the number of bytes that can be allocated without swapping; None if unknown."""
    limits = [limit for limit in (_of_machine(), _of_group()) if limit is not None]
    return min(limits, default=None)


def require(what: str, count: int) -> None:
    """Raise MemoryError unless `count` bytes are available; the message begins with `what`."""
    if count <= ASSUMED:
        return
    free = available_bytes()
    if free is not None and count > free:
        raise MemoryError(
            f"{what} needs {count} bytes ({count / 2**30:.3g} GiB); "
            f"{free} ({free / 2**30:.3g} GiB) are available"
        )


def size_text(count: int) -> str:
    """Format a number of bytes in a suitable unit."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.3g} {units[0]}"


class Arena:
    """A buffer that is reused, because the first use of new memory is as slow as a read of data."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._used = 0

    def __reduce__(self) -> tuple[type[Arena], tuple[()]]:
        """Make copies and pickles of an arena that have an empty buffer."""
        return Arena, ()

    def begin(self, size: int) -> None:
        """Make room for `size` bytes; the arrays that `take` returned before become invalid."""
        if size > self._memory.size:
            self._memory = np.empty(size, np.uint8)
        self._used = 0

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an uninitialised array in the buffer, which `begin` must have made room for."""
        begin = self._used
        self._used += math.prod(shape) * dtype.itemsize
        return self._memory[begin : self._used].view(dtype).reshape(shape)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_group() -> int | None:
    """Return how many bytes the control group still allows; None if the group has no limit."""
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return max(0, limit - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
