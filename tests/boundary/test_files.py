"""Files that are missing, foreign, broken or of another kind: refused and left as they were."""

import shutil

import numpy as np
import pytest

import metaspan as ms

TASKS = ms.LinearTasks(d=9, k=2)


def train(**settings):
    return ms.train(TASKS, "anil", **{"rounds": 20, "n": 3, "stop": None, **settings})


def load(path):
    return ms.load(path)


def resume(path):
    return train(checkpoint=path)


@pytest.fixture
def files(tmp_path):
    """A good file of either kind, and what may lie about instead of one."""
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
    """The path is where a run is kept, not part of what it is."""
    shutil.move(files / "checkpoint", files / "elsewhere")
    seen = []
    train(checkpoint=files / "elsewhere", rounds=40, progress=lambda at, total: seen.append(at))
    assert seen[0] >= 20
