r"""The number of CPUs of this process, from its affinity mask and the quota of its container."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .._load import core

PROCESS = Path("/proc/self")
# Matches a mounted hierarchy of control groups in mountinfo, and captures the group at its top, the
# folder where it is mounted, the version and the options.
MOUNT = re.compile(r"\S+ \S+ \S+ (\S+) (\S+) .*- (cgroup2?) \S+ (\S+)")


def available() -> int:
    """Return the number of CPUs in the affinity mask, or a smaller number that a quota allows."""
    return min(core.available_cpus(), _whole_quota())


def default_threads() -> int:
    """Return the default number of threads: at most the limit of OpenMP or threadpoolctl."""
    return min(core.default_threads(), _whole_quota())


@cache
def _whole_quota() -> int:
    """Return the quota in whole CPUs, rounded up; it is read once per process."""
    return max(1, math.ceil(min(quota(), 2**20)))


def quota() -> float:
    """Return the CPUs that the control groups of this process allow; infinity without a limit.

    The limit of a group holds for all groups within it, so the smallest limit counts.
    """
    return min((_quota_of(folder) for folder in _group_folders()), default=math.inf)


def _quota_of(folder: Path) -> float:
    """Return the quota of one control group, of version 2 or 1, in CPUs."""
    try:
        if (limit := folder / "cpu.max").exists():
            time, period = limit.read_text().split()
        else:
            time = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        limit_in_cpus = float(time) / float(period)  # "max" and -1 mean that there is no limit
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return limit_in_cpus if limit_in_cpus > 0 else math.inf


def _group_folders() -> Iterator[Path]:
    """Yield the folders of the control groups of this process, and of the groups above them."""
    try:
        members = (PROCESS / "cgroup").read_text().splitlines()
        mounts = (PROCESS / "mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return
    paths = {}  # the groups of this process in the hierarchies that can limit CPUs
    for line in members:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in mounts:
        if (mount := MOUNT.match(line)) is None:
            continue
        root, top, system, options = mount.groups()
        if system in paths and (system == "cgroup2" or "cpu" in options.split(",")):
            yield from _upwards(Path(_unescape(top)), _unescape(root), paths[system])


def _upwards(top: Path, root: str, path: str) -> Iterator[Path]:
    """Yield the folders from a group's own up to `top`, where the group `root` is mounted."""
    inside = Path(path)
    try:
        folder = top / inside.relative_to(root)
    except ValueError:  # a container sees no groups above its own, which is mounted at `top`
        folder = top
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _unescape(field: str) -> str:
    """Decode a field of mountinfo, which writes spaces and other characters as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
