r"""Counts the CPUs that this process may use, by its affinity mask and its container's quota."""

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
    """Return the number of CPUs in the affinity mask, or the quota in CPUs if that is smaller."""
    return min(core.available_cpus(), _whole_quota())


def default_threads() -> int:
    """Return the number of CPUs, or the limit of OpenMP or threadpoolctl if it is smaller."""
    return min(core.default_threads(), _whole_quota())


@cache
def _whole_quota() -> int:
    """Return the quota rounded up to whole CPUs; the quota is read once per process."""
    return max(1, math.ceil(min(quota(), 2**20)))


def quota() -> float:
    """Return the number of CPUs that the control groups allow; infinity if there is no limit.

    The limit of a control group also holds for all groups within that group, so the smallest of all
    limits is returned.
    """
    return min((_quota_of(folder) for folder in _group_folders()), default=math.inf)


def _quota_of(folder: Path) -> float:
    """Return, in CPUs, the quota of one control group; the group may be of version 1 or 2."""
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
    """Yield the folder of a group and all folders above it up to `top`, the folder of `root`."""
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
    """Replace the octal escapes in a field of mountinfo, such as that of a space, by characters."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
