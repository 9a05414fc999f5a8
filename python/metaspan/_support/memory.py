r"""How much memory there is, asked before something of size d is allocated."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Bytes that can still be had without swapping; None where the system does not say."""
    limits = [limit for limit in (_of_machine(), _of_group()) if limit is not None]
    return min(limits, default=None)


def require(what: str, count: int) -> None:
    """Raise MemoryError if `count` bytes are more than there are."""
    free = available_bytes()
    if free is not None and count > free:
        raise MemoryError(
            f"{what} needs {count} bytes ({count / 2**30:.3g} GiB); "
            f"{free} ({free / 2**30:.3g} GiB) are available"
        )


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
    """What the control group of the process leaves, where it sets a limit."""
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return max(0, limit - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
