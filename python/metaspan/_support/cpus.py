r"""How many CPUs there are for this process: its affinity mask, and the quota of its container."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .._load import core

PROCESS = Path("/proc/self")
# A mounted hierarchy: the group at its top, the folder, the version and the options.
MOUNT = re.compile(r"\S+ \S+ \S+ (\S+) (\S+) .*- (cgroup2?) \S+ (\S+)")


def available() -> int:
    """CPUs of this process: those of its affinity mask, or fewer where a quota says so."""
    return min(core.available_cpus(), _whole_quota())


def default_threads() -> int:
    """Threads of a call that gives no number: at most the limit of OpenMP or threadpoolctl."""
    return min(core.default_threads(), _whole_quota())


@cache
def _whole_quota() -> int:
    """The quota in whole CPUs, rounded up; it is read once per process."""
    return max(1, math.ceil(min(quota(), 2**20)))


def quota() -> float:
    """CPUs that the control groups of this process allow; infinity where none sets a limit.

    A limit of any group holds for all groups within it, so the least of them counts.
    """
    return min((_quota_of(folder) for folder in _groups()), default=math.inf)


def _quota_of(folder: Path) -> float:
    """The quota that one group sets, by version 2 of control groups or by version 1."""
    try:
        if (limit := folder / "cpu.max").exists():
            time, period = limit.read_text().split()
        else:
            time = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        found = float(time) / float(period)  # "max" and -1 say that there is no limit
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return found if found > 0 else math.inf


def _groups() -> Iterator[Path]:
    """Folders of the control groups that hold this process and of those above them."""
    try:
        members = (PROCESS / "cgroup").read_text().splitlines()
        mounts = (PROCESS / "mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return
    paths = {}  # of this process, in the hierarchies that can limit CPUs
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
            yield from _upwards(Path(_unescaped(top)), _unescaped(root), paths[system])


def _upwards(top: Path, root: str, path: str) -> Iterator[Path]:
    """Folders from a group's up to `top`, where the group `root` is mounted."""
    inside = Path(path)
    try:
        folder = top / inside.relative_to(root)
    except ValueError:  # the group is not in sight: a container sees its own as the top
        folder = top
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _unescaped(field: str) -> str:
    """A field of mountinfo, where spaces and the like stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
