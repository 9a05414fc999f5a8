"""The command ``metaspan study``: its effects, output and exit status."""

import json
import re

import pytest

import metaspan as ms
from metaspan import cli
from studies import keys, runs, table

pd = pytest.importorskip("pandas")

BASE = dict(k=2, n=4, rounds=40, noise=0.1, method="anil", stop=None)
GRID = dict(d=[10, 20], m_in=[5, 10], m_out="m_in")
TOML = """
folder = "s"
seeds = 2
measure = ["dist", "w_norm"]
[base]
k = 2
n = 4
rounds = 40
noise = 0.1
method = "anil"
stop = false
[grid]
d = [10, 20]
m_in = [5, 10]
m_out = "m_in"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def expected(tmp_path):
    """Return the table of the same study, run from Python."""
    study = ms.Study(tmp_path / "own", BASE, GRID, seeds=2, measure=("dist", "w_norm"))
    study.run(progress=False)
    return table(study)


def test_run_makes_the_study_of_the_file(file, expected, capsys):
    assert cli.main(["study", "run", str(file)]) == 0
    study = ms.Study(file.parent / "s")
    assert capsys.readouterr().out == f"{study.status()}\n"
    pd.testing.assert_frame_equal(table(study), expected)
    # Again, by the file or by the folder: nothing is left.
    assert cli.main(["study", "run", str(file)]) == 0
    assert cli.main(["study", "run", str(file.parent / "s")]) == 0
    assert sorted(keys(study)) == sorted(runs(study))


def test_run_goes_where_it_is_told(file, expected):
    out = file.parent / "elsewhere"
    for shard in ("2/2", "1/2"):
        words = ["--out", str(out), "--shard", shard, "--threads", "1", "--sync"]
        assert cli.main(["study", "run", str(file), *words]) == 0
    assert sorted(path.name for path in (out / "rows").iterdir()) == [
        "1-of-2.jsonl",
        "2-of-2.jsonl",
    ]
    pd.testing.assert_frame_equal(table(ms.Study(out)), expected)
    assert not (file.parent / "s").exists()


def test_run_by_workers_gives_the_same_table(file, expected):
    assert cli.main(["study", "run", str(file), "--workers", "1"]) == 0
    pd.testing.assert_frame_equal(table(ms.Study(file.parent / "s")), expected)


def test_failed_and_older_rows_are_for_the_user_to_choose(file, capsys):
    cli.main(["study", "run", str(file)])
    rows = file.parent / "s" / "rows" / "all.jsonl"
    first, *rest = (json.loads(line) for line in rows.read_text().splitlines())
    failed = {name: first[name] for name in ("cell", "seed", "values", "at")}
    failed |= dict(status="failed", error="E: no", by="0.0.1 older")
    rows.write_text("".join(json.dumps(row) + "\n" for row in (failed, *rest)))
    capsys.readouterr()
    assert cli.main(["study", "run", str(file), "--retry-failed"]) == 2
    assert "has rows of metaspan 0.0.1 older" in capsys.readouterr().err
    assert cli.main(["study", "run", str(file), "--mixed"]) == 0
    assert "failed     1 x E: no" in capsys.readouterr().out
    assert cli.main(["study", "run", str(file), "--mixed", "--retry-failed"]) == 0
    assert "ended      8 finished" in capsys.readouterr().out


def test_status_reads_and_does_nothing(file, capsys):
    assert cli.main(["study", "status", str(file)]) == 0
    assert capsys.readouterr().out == "s: 0 of 8 runs (0 %), 4 cells\n  ended      none\n"
    assert not (file.parent / "s").exists()
    cli.main(["study", "run", str(file), "--shard", "1/4"])
    said = capsys.readouterr().out
    assert said.startswith("s: 2 of 8 runs (25 %), 4 cells\n  ended      2 finished\n")
    for study in (file, file.parent / "s"):
        assert cli.main(["study", "status", str(study)]) == 0
        assert capsys.readouterr().out == said


def test_estimate_predicts_and_does_nothing(file, capsys):
    assert cli.main(["study", "estimate", str(file), "--workers", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("s: 8 of 8 runs left, 4 cells\n  work       ")
    assert " in 2 processes of 1 thread; " in said
    assert not (file.parent / "s").exists()
    assert cli.main(["study", "estimate", str(file), "--workers", "0"]) == 2
    assert "--workers must be" in capsys.readouterr().err


def test_report_writes_a_page_and_the_table(file, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    cli.main(["study", "run", str(file)])
    capsys.readouterr()
    assert cli.main(["study", "report", str(file)]) == 0
    page = file.parent / "s" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    other, rows = file.parent / "r.html", file.parent / "t.csv"
    words = ["--out", str(other), "--table", str(rows)]
    assert cli.main(["study", "report", str(file.parent / "s"), *words]) == 0
    assert capsys.readouterr().out == f"{rows}\n{other}\n"
    assert other.exists()
    assert len(rows.read_text().splitlines()) == 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 2", "seeds = 2.5", "seeds must be an integer of at least 1 or a list"),
        ("seeds = 2", "seed = 2", "unknown key 'seed': did you mean 'seeds'"),
        ("rounds = 40", "round = 40", "'round' is no name of .* did you mean 'rounds'"),
        ("rounds = 40", "rounds = '4*'", r"base\.rounds: "),
        ("rounds = 40", "rounds = -1", "rounds must be .*-1"),
        ("rounds = 40", "rounds = 4.5", "rounds must be an integer"),
        ("stop = false", "stop = true", "stop must be a Stop or None; got True"),
        ('"m_in"', '"2*q"', "m_out needs 'q', which has no value"),
        ("m_in = [5, 10]", "m_in = []", r"grid\.m_in must be a list of one value at least"),
        ("m_in = [5, 10]", "m_in = 5..6", r"line 14"),
        ('"w_norm"', '"norm"', "measure must be .* got 'norm'"),
        ('folder = "s"', "", "folder must be given, or `run --out DIR`"),
    ],
)
def test_bad_files_are_one_line_that_names_the_key(file, capsys, old, new, message):
    assert TOML.count(old) == 1
    file.write_text(TOML.replace(old, new))
    assert cli.main(["study", "run", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("metaspan: ")
    assert re.search(message, line)
    assert not (file.parent / "s" / "rows").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nothing.toml"], "No such file or directory: 'nothing.toml'"),
        (["run", "FOLDER"], "there is no study in"),
        (["run", "FOLDER", "--out", "s"], "--out goes with a study file; .* is a folder"),
        (["status", "FOLDER"], "there is no study in"),
        (["report", "FILE"], "the study 's' must have a run that has ended; it has none"),
        (["run", "FILE", "--shard", "3"], 'shard must be "slurm" or a text such as "3/64"'),
        (["run", "FILE", "--shard", "slurm"], "SLURM_ARRAY_TASK_ID is not set"),
        (["run", "FILE", "--workers", "0"], "must be at least 1; got 0"),
        (["run", "FILE", "--threads", "-1"], "must be at least 1; got -1"),
    ],
)
def test_bad_usage_is_one_line(file, monkeypatch, capsys, words, message):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    empty = file.parent / "empty"
    empty.mkdir()
    named = {"FILE": str(file), "FOLDER": str(empty)}
    assert cli.main(["study", *(named.get(word, word) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.search(message, line)
    assert not (file.parent / "s").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "the following arguments are required: STUDY"),
        (["run", "s", "--workers", "x"], "argument --workers: invalid int value: 'x'"),
    ],
)
def test_unknown_words_are_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        cli.main(["study", *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
