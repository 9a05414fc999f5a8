"""Files that are missing, foreign, broken or of another kind are refused and left unchanged."""

import errno
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from metaspan import cli

TASKS = ms.LinearTasks(d=9, k=2)


def train(**settings):
    return ms.train(TASKS, "anil", **{"rounds": 20, "n": 3, "stop": None, **settings})


def load(path):
    return ms.load(path)


def resume(path):
    return train(checkpoint=path)


@pytest.fixture
def files(tmp_path):
    """Make an intact result file and checkpoint, damaged copies of both, and foreign files."""
    train().save(tmp_path / "result")
    train(checkpoint=tmp_path / "checkpoint")
    whole = {name: (tmp_path / name).read_bytes() for name in ("result", "checkpoint")}
    for name, content in whole.items():
        (tmp_path / f"{name}-cut").write_bytes(content[: len(content) // 2])
        (tmp_path / f"{name}-turned").write_bytes(
            content[:200] + bytes(255 - byte for byte in content[200:260]) + content[260:]
        )
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("round,dist\n0,1.0\n")
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "foreign.npz", dist=np.ones(3))
    np.savez(tmp_path / "objects.npz", metaspan=np.array([{"format": "x"}], dtype=object))
    return tmp_path


BROKEN = ["empty", "text", "array.npy", "foreign.npz", "objects.npz"]


@pytest.mark.parametrize(
    ("use", "name"),
    [(load, name) for name in [*BROKEN, "result-cut", "result-turned", "checkpoint"]]
    + [(resume, name) for name in [*BROKEN, "checkpoint-cut", "checkpoint-turned", "result"]],
)
def test_bad_files_are_refused_by_name_and_left_alone(files, use, name):
    path = files / name
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"{name}.*metaspan (result|checkpoint)") as caught:
        use(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_missing_files_are_refused_or_begun(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        ms.load(tmp_path / "missing")
    train(checkpoint=tmp_path / "begun")
    assert (tmp_path / "begun").is_file()


def test_folders_are_no_files(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        train(checkpoint=tmp_path)
    with pytest.raises((ValueError, OSError), match=tmp_path.name):
        ms.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "seed"),
        ({"n": 4}, "n"),
        ({"trials": 2}, "trials"),
        ({"alpha": 0.2}, "alpha"),
        ({"record": ("loss_out",)}, "record"),
        ({"record_every": 2}, "record_every"),
        ({"init": "methodical"}, "init"),
        ({"rounds": 19}, "rounds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_checkpoint_of_another_run_is_refused_by_its_field(files, change, field):
    before = (files / "checkpoint").read_bytes()
    with pytest.raises(ValueError, match=rf"\b{field}\b.*checkpoint"):
        train(checkpoint=files / "checkpoint", **change)
    assert (files / "checkpoint").read_bytes() == before


def test_saving_twice_replaces_and_leaves_no_parts(files):
    r = train(seed=5)
    r.save(files / "result")
    np.testing.assert_array_equal(ms.load(files / "result").trace["dist"], r.trace["dist"])
    assert not [file for file in files.iterdir() if "part" in file.name]


def test_checkpoint_moves_with_its_file(files):
    """A run can go on from a checkpoint that was moved: its path is not among its arguments."""
    shutil.move(files / "checkpoint", files / "elsewhere")
    seen = []
    train(checkpoint=files / "elsewhere", rounds=40, progress=lambda at, total: seen.append(at))
    assert seen[0] >= 20


def study_of(path):
    base = {"d": 9, "k": 2, "method": "anil", "rounds": 3, "n": 3}
    return ms.Study(path, base=base, grid={"alpha": [0.1, 0.2]})


def report(path):
    study = study_of(path.parent.with_name("study"))
    study.run(progress=False)
    study.report(path)


def export(path):
    study_of(path.parent.with_name("study")).export(path)


WRITERS = [
    pytest.param(lambda path: train().save(path), "r.npz", id="save"),
    pytest.param(resume, "c.npz", id="checkpoint"),
    pytest.param(export, "t.csv", id="export"),
    pytest.param(export, "t.parquet", id="parquet"),
    pytest.param(report, "r.html", id="report"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path, write, name):
    disk = tmp_path / "disk"
    disk.mkdir()
    link = tmp_path / name
    link.symlink_to(disk / "kept")
    write(link)  # creates what the link leads to
    assert link.is_symlink()
    assert not (disk / "kept").is_symlink()
    assert [file.name for file in disk.iterdir()] == ["kept"]
    before = (disk / "kept").stat().st_ino
    (disk / "kept").chmod(0o600)
    write(link)  # replaces it
    assert link.is_symlink()
    if write is not resume:  # a finished run writes nothing
        assert (disk / "kept").stat().st_ino != before
    assert (disk / "kept").stat().st_mode & 0o777 == 0o600
    assert not [file for file in tmp_path.rglob("*") if "part" in file.name]


def test_study_files_are_written_through_a_symbolic_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").symlink_to(tmp_path / "disk" / "kept")
    study_of(tmp_path / "s").run(progress=False)
    assert (tmp_path / "s" / "study.json").is_symlink()
    assert (tmp_path / "disk" / "kept").is_file()


def test_links_that_lead_in_a_circle_are_left_alone(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).symlink_to(tmp_path / other)
    with pytest.raises(OSError, match=f"{tmp_path}/a'"):
        train().save(tmp_path / "a")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").is_symlink()


def test_a_pipe_is_written_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    receive = lambda: read.append((tmp_path / "pipe").read_bytes())  # noqa: E731
    reader = threading.Thread(target=receive, daemon=True)
    reader.start()
    train().save(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    reader.join()
    (tmp_path / "copy").write_bytes(read[0])
    assert ms.load(tmp_path / "copy").status.round == 20


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_what_cannot_be_written_is_named_as_the_user_named_it(tmp_path, write, name):
    (tmp_path / "folder.csv").mkdir()
    absent = tmp_path / "absent" / name
    for target in (absent, tmp_path / "folder.csv"):
        if write is resume and target == absent:
            continue  # refused before anything runs
        with pytest.raises((OSError, ValueError), match=re.escape(f"{str(target)!r}")) as caught:
            write(target)
        assert ".part" not in str(caught.value)
    assert not [file for file in tmp_path.rglob("*") if "part" in file.name]


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    r = train()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/r\.npz'$"):
        r.save(tmp_path / "r.npz")
    assert not list(tmp_path.iterdir())


def test_a_name_as_long_as_file_systems_take_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".npz")
    train().save(path)
    assert ms.load(path).status.round == 20


def test_a_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train().save("~/r.npz")
    assert ms.load("~/r.npz").status.round == 20
    train(checkpoint="~/c.npz")
    train(checkpoint=ms.Checkpoint(Path("~/d.npz")))
    study = study_of("~/runs/first")
    study.run(progress=False)
    study.export("~/t.csv")
    study.report("~/r.html")
    assert len(ms.Study("~/runs/first").cells) == 2
    (tmp_path / "home" / "s.toml").write_text(
        "[base]\nd = 9\nk = 2\nrounds = 3\nn = 3\nmethod = 'anil'\n"
    )
    assert cli.main(["study", "run", "~/s.toml", "--out", "~/runs/second"]) == 0
    assert cli.main(["study", "status", "~/runs/second"]) == 0
    assert cli.main(["reproduce", "methods", "--out", "~/s.toml"]) == 2  # a file is there
    assert sorted(path.name for path in (tmp_path / "home").glob("[!.]*")) == [
        "c.npz", "d.npz", "r.html", "r.npz", "runs", "s.toml", "t.csv"
    ]  # fmt: skip
    assert not list((tmp_path / "here").iterdir())
