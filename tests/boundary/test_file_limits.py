"""Reading a damaged or hostile file takes memory and time in proportion to its size."""

import io
import json
import os
import time
import zipfile

import numpy as np
import pytest

import metaspan as ms
from metaspan._support import memory as _memory
from metaspan.study import commands

HUGE = 2**40  # bytes, more than there is for a test


def result(path):
    ms.train(ms.LinearTasks(d=9, k=2), "anil", rounds=3, n=3, stop=None, threads=1).save(path)
    with np.load(path) as members:
        return {name: members[name] for name in members.files}


def rewritten(path, arrays, change):
    """The result with another document."""
    document = json.loads(arrays["metaspan"].tobytes())
    change(document)
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **{**arrays, "metaspan": text})


def header_of(shape, dtype="<f8"):
    """An npy file without content."""
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "result"


def test_compressed_members_are_refused(path):
    """A megabyte could become a gigabyte."""
    arrays = result(path)
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)
    with pytest.raises(ValueError, match=r"result'.*compressed"):
        ms.load(path)


@pytest.mark.parametrize("shape", [(2**37,), (2**61, 4), (2**62, 2**62)])
def test_headers_promise_no_more_than_their_members_hold(path, shape):
    arrays = result(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            large = name == "state.M"
            archive.writestr(f"{name}.npy", header_of(shape) if large else content.getvalue())
    with pytest.raises(ValueError, match=r"result'.*has 0 bytes"):
        ms.load(path)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(path, monkeypatch):
    """A sparse file: a terabyte of nothing before an archive."""
    result(path)
    content = path.read_bytes()
    with open(path, "wb") as file:
        file.seek(HUGE)
        file.write(content)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 2**36)
    began = time.monotonic()
    with pytest.raises(MemoryError, match=r"result' needs \d+ bytes.*available"):
        ms.load(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tree: tree["config"]["fields"]["trials"].update(range=[0, 10**18, 1]), "trials"),
        (lambda tree: tree["config"]["fields"]["trials"].update(range=[0, 2**31 - 1, 1]), "trials"),
        (lambda tree: tree["config"]["fields"].update(rounds=10**30), "rounds"),
        (lambda tree: tree["config"]["fields"].update(rounds=9), "finished in round 3 of 9"),
        (lambda tree: tree["config"]["fields"].update(engine="sampled"), "engine"),
        (lambda tree: tree["config"]["fields"].update(seed=True), "seed"),
        (lambda tree: tree["trace"].append("dist"), "trace"),
        (lambda tree: tree["status"].append(["FINISHED", 3]), "2 trials"),
        (lambda tree: tree["status"].__setitem__(0, ["FINISHED", 2]), "round 2"),
        (lambda tree: tree["timings"].update(total="soon"), "timings total"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_documents_that_contradict_the_arrays_are_refused(path, change, says):
    rewritten(path, result(path), change)
    began = time.monotonic()
    with pytest.raises(ValueError, match=rf"result'.*{says}"):
        ms.load(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("trace.round", lambda a: a[::-1], "ascend"),
        ("trace.dist", lambda a: a[:-1], "trace.dist"),
        ("trace.dist", lambda a: a.astype(np.float32), "float64"),
        ("state.M", lambda a: a * np.nan, "M must be finite"),
        ("state.R", lambda a: np.zeros((7, 2)), "R must be"),
        ("state.w", lambda a: a[:1], "w must be"),
    ],
)
def test_arrays_that_contradict_the_document_are_refused(path, name, change, says):
    arrays = result(path)
    with open(path, "wb") as file:
        np.savez(file, **{**arrays, name: change(arrays[name])})
    with pytest.raises(ValueError, match=rf"result'.*{says}"):
        ms.load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("d = {log = [1, 1000000000], num = 1000000000000}", r"grid\.d"),
        ("d = [9]\nn = '10**10**10'", r"n of cell 0.*beyond 2"),
        ("d = [9]\nn = 'ones(10**6)'", r"n of cell 0.*entries"),
        (
            "\n".join(f"{name} = {{log = [1, 100000000], num = 100000}}" for name in ("d", "n")),
            r"at most 1000000 cells",
        ),
    ],
    ids=["range", "power", "list", "cells"],
)
def test_study_files_that_ask_for_too_much_are_refused_by_name(tmp_path, text, says):
    file = tmp_path / "study.toml"
    file.write_text(f"folder = 's'\n[base]\nk = 2\nmethod = 'anil'\n[grid]\n{text}\n")
    with pytest.raises(ValueError, match=rf"study\.toml: .*{says}"):
        commands._open(str(file))


GRIDS = [
    (dict(d=range(10**18)), {}, "grid.d must hold at most 1000000 values"),
    (dict(d=range(1, 2000), n=range(1, 2000)), {}, "at most 1000000 cells; got 1999 d x 1999 n"),
    (dict(d=[9]), dict(seeds=10**9), "seeds must be at most 10000000"),
    (dict(d=[9]), dict(seeds=range(10**18)), "seeds must be at most 10000000 for 1 cells"),
    (dict(d=range(1, 1001)), dict(seeds=10**5), "seeds must be at most 10000"),
    (dict(d=[9]), dict(keep_rows=10**6), "keep_rows must be at most 100000"),
]


@pytest.mark.parametrize(("grid", "further", "says"), GRIDS)
def test_studies_have_a_largest_size(tmp_path, grid, further, says):
    began = time.monotonic()
    with pytest.raises(ValueError, match=says):
        ms.Study(tmp_path, dict(k=1, method="anil"), grid, **further)
    assert time.monotonic() - began < 20


@pytest.fixture
def study(tmp_path):
    study = ms.Study(tmp_path, dict(k=2, method="anil", rounds=2, n=2), dict(d=[5]), keep="dist")
    study.run(progress=False, threads=1)
    return study


@pytest.mark.parametrize(
    "change",
    [
        {"seed": True},
        {"status": "done"},
        {"round": -1},
        {"round": 2.0},
        {"seconds": "soon"},
        {"seconds": None},
        {"measures": {}},
        {"measures": {"dist": "0.5"}},
        {"measures": {"dist": True}},
        {"measures": {"dist": 10**400}},
        {"trace": None},
        {"trace": {"round": [0, 1, 2]}},
        {"trace": {"round": [0, 1], "dist": [0.5]}},
        {"trace": {"round": [1, 0], "dist": [0.5, 0.5]}},
        {"status": "failed", "error": ["x"]},
        {"died": [["x", 1e999]]},
    ],
    ids=str,
)
def test_rows_that_no_run_wrote_are_done_again(study, change):
    (file,) = (study.folder / "rows").iterdir()
    row = json.loads(file.read_text())
    file.write_text(json.dumps({**row, **change}).replace("Infinity", "1e999") + "\n")
    again = ms.Study(study.folder)
    if "died" in change:  # beside what makes it a row
        assert again.status().done == 1
        return
    status = again.status()
    assert (status.done, status.damaged) == (0, 1)
    assert len(again.table()) == len(again.traces()) == 0
    assert study.run(progress=False, threads=1).complete
    assert len(ms.Study(study.folder).table()) == 1


def test_a_row_of_which_a_name_stands_twice_is_none(study):
    (file,) = (study.folder / "rows").iterdir()
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1, "seed": 0'))
    assert study.status().damaged == 1


def test_a_line_without_end_takes_little_memory(study, monkeypatch):
    """A sparse gigabyte without a line's end: one damaged line, read in pieces."""
    monkeypatch.setattr("metaspan.study.execution.store.LONGEST", 2**20)
    file = study.folder / "rows" / "long.jsonl"
    file.touch()
    os.truncate(file, 2**28)
    status = study.status()
    assert (status.done, status.damaged) == (1, 1)
