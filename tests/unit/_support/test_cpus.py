"""The number of CPUs that a process may use, by quotas of simulated control groups."""

import math

import pytest

from metaspan._load import core
from metaspan._support import cpus as _cpus

LINES = {
    1: "34 25 0:29 {root} {top} rw,nosuid shared:14 - cgroup cgroup rw,cpu,cpuacct",
    2: "31 23 0:27 {root} {top} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate",
}
MEMBER = {1: "7:memory:/elsewhere\n4:cpu,cpuacct:{path}\n1:name=systemd:/\n", 2: "0::{path}\n"}


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Return a function that writes Linux's files on a process and its groups with quotas."""
    monkeypatch.setattr(_cpus, "PROCESS", tmp_path)
    monkeypatch.setattr(_cpus, "_whole_quota", _cpus._whole_quota.__wrapped__)

    def make(version, path, quotas, root="/", name="groups"):
        top = tmp_path / name
        for group, quota in quotas.items():
            folder = top / group
            folder.mkdir(parents=True, exist_ok=True)
            if version == 2:
                (folder / "cpu.max").write_text(f"{quota} 100000\n")
            else:
                (folder / "cpu.cfs_quota_us").write_text(f"{-1 if quota == 'max' else quota}\n")
                (folder / "cpu.cfs_period_us").write_text("100000\n")
        (tmp_path / "cgroup").write_text(MEMBER[version].format(path=path))
        shown = str(top).replace(" ", "\\040")
        other = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\nnonsense\n"
        (tmp_path / "mountinfo").write_text(other + LINES[version].format(root=root, top=shown))

    return make


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("path", "quotas", "expected"),
    [
        ("/", {"": 50_000}, 0.5),
        ("/", {"": "max"}, math.inf),
        ("/", {}, math.inf),
        ("/a/b", {"": "max", "a": 150_000, "a/b": 300_000}, 1.5),  # the group above is tighter
        ("/a/b", {"": 900_000, "a": "max", "a/b": 25_000}, 0.25),
        ("/a/b", {"": "max", "a": "max", "a/b": "max", "c": 1000}, math.inf),
        ("/a/b", {"a": 200_000}, 2.0),  # files of the other groups are missing
        ("/a", {"a": "wrong"}, math.inf),
        ("/a", {"a": 0}, math.inf),
    ],
)
def test_the_tightest_quota_counts(version, path, quotas, expected, process):
    process(version, path, quotas)
    assert _cpus.quota() == expected


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_sees_its_own_group_at_the_top(version, process):
    process(version, "/docker/17", {"": 150_000}, root="/docker/17")
    assert _cpus.quota() == 1.5
    process(version, "/docker/17/inner", {"": 150_000, "inner": 50_000}, root="/docker/17")
    assert _cpus.quota() == 0.5
    process(version, "/../17", {"": 250_000}, root="/docker/17")
    assert _cpus.quota() == 2.5


def test_folders_may_have_blanks(process):
    process(2, "/a", {"a": 50_000}, name="control groups")
    assert _cpus.quota() == 0.5


@pytest.mark.parametrize(
    ("quota", "whole"), [(50_000, 1), (1000, 1), (100_000, 1), (100_001, 2), (150_000, 2)]
)
def test_a_quota_is_rounded_up_to_whole_cpus(quota, whole, process):
    process(2, "/", {"": quota})
    assert _cpus.available() == min(whole, core.available_cpus())
    assert _cpus.default_threads() == min(whole, core.default_threads())


@pytest.mark.parametrize("quota", ["max", 10**12])
def test_a_quota_gives_no_more_cpus_than_there_are(quota, process):
    process(2, "/", {"": quota})
    assert _cpus.available() == core.available_cpus()
    assert _cpus.default_threads() == core.default_threads()


def test_a_system_without_control_groups_sets_no_quota(process, tmp_path):
    assert _cpus.quota() == math.inf
    (tmp_path / "cgroup").write_bytes(b"\xff\xfe")
    (tmp_path / "mountinfo").write_text("")
    assert _cpus.quota() == math.inf
