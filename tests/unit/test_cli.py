"""The command line: its output and exit status."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

import metaspan as ms
from metaspan import cli
from metaspan.paper import reproduce
from metaspan.paper.claims import Claim

pytest.importorskip("matplotlib")


PANELS = ["methods", "diversity", "start", "floor"]
BY_NAME = ["fedavg", "linear-maml", "overparametrised", "estimators", "few-samples"]
BY_NAME += ["limit", "phase", "split", "shaping"]
# Sizes with which the experiments run in a second and fail their claims.
FEW_FITS = {"quick_points": ((100, 25),), "quick_seeds": 2, "most_of": {"burer-monteiro": 0}}
SMALL = {
    "ShapingRisks": {"quick_tasks": 2, "m": 20, "sampled": (10, 30)},
    "Overparametrised": {"d": 10, "n": 500, "rounds": 20, "rounds_infinite": 20},
    "Comparison": {
        "quick_points": ((100, 25),),
        "quick_seeds": 2,
        "most_of": {"burer-monteiro": 9},
    },
    "LimitCurves": {"n": (20, 40, 80), "quick_trials": 2, "rounds": 20},
    "Phase": {"m_in": (None,), "quick_n": 20, "quick_cells": (3, 2)},
    "Split": {"noises": (1.0,), "quick_n": 50, "m_in": (4,), "rounds": 20, "averaged": 10},
}


@pytest.fixture
def short(monkeypatch):
    """Limit the curves of panels to 20 rounds and 3 trials."""
    run = reproduce.run_curve

    def few(curve, trials):
        return run(replace(curve, rounds=20), trials=3)

    monkeypatch.setattr(reproduce, "run_curve", few)
    whole = reproduce.run_experiment

    def small(experiment, quick, advanced):
        return whole(replace(experiment, **SMALL[type(experiment).__name__]), quick, advanced)

    monkeypatch.setattr(reproduce, "run_experiment", small)


def test_list_names_the_panels(capsys):
    assert cli.main(["reproduce", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [*PANELS, *BY_NAME]


@pytest.mark.usefixtures("short")
def test_reproduce_writes_figures_with_their_data(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert cli.main(["reproduce", "--out", str(out)]) == 0
    written = [f"{name}.{suffix}" for name in PANELS for suffix in ("csv", "pdf", "png")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*written, "floor.ends.csv"])
    with open(out / "methods.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"] for row in rows} == {
        "Exact ANIL",
        "FO-ANIL",
        "Exact MAML",
        "FO-MAML",
        "average risk",
    }
    assert all(float(r["low"]) <= float(r["mean"]) <= float(r["high"]) for r in rows)
    assert len(capsys.readouterr().out.splitlines()) == 4
    with open(out / "floor.ends.csv", newline="") as file:
        ends = list(csv.DictReader(file))
    assert [int(row["d"]) for row in ends] == 2 * [10**power for power in range(2, 7)]
    assert {row["curve"] for row in ends} == {"FO-ANIL", "Exact ANIL"}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("holds", [False, True])
def test_reproduce_all_prints_and_writes_what_was_expected(tmp_path, monkeypatch, capsys, holds):
    some = Claim(
        **dict(panel="theory", quantity="it", expected=1.0, least=0.0, most=2.0, observed=1.0),
        source="(22)",
    )
    monkeypatch.setattr(reproduce, "limits", lambda advanced: [some])
    if holds:
        # One panel of each kind: all of them are drawn in the other case.
        monkeypatch.setattr(reproduce, "named", lambda everything: ["methods", "limit"])
        monkeypatch.setattr(reproduce, "expect", lambda name, panel, runs: [])
        run = reproduce.run_experiment
        monkeypatch.setattr(
            reproduce, "run_experiment", lambda *given: replace(run(*given), claims=[])
        )
    # Panels of 20 rounds do not show what they must.
    assert cli.main(["reproduce", "--all", "--out", str(tmp_path)]) == (0 if holds else 1)
    said = capsys.readouterr().out
    assert ("NO" in said) == (not holds)
    assert "it" in said
    with open(tmp_path / "expected.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["quantity"] == "it"
    panels = [] if holds else [*PANELS, *BY_NAME]
    assert list(dict.fromkeys(row["panel"] for row in rows)) == [*panels, "theory"]
    assert len((tmp_path / "expected.md").read_text().splitlines()) == len(rows) + 2


@pytest.mark.usefixtures("short")
def test_reproduce_writes_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        assert cli.main(["reproduce", "start", "--out", str(tmp_path / name)]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["reproduce"], "--out DIR is required"),
        (["reproduce", "nothing", "--out", "."], "PANEL must be one of methods, diversity, start"),
        (["reproduce", "--out"], "expected one argument"),
        (["reproduce", "methods", "--all", "--out", "."], "leave out the names or --all"),
        (["info", "--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, message, capsys):
    try:
        status = cli.main(arguments)
    except SystemExit as leave:
        status = leave.code
    said = capsys.readouterr()
    assert status == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert cli.main(["reproduce", "methods", "--out", str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_missing_matplotlib_is_said_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["reproduce", "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "metaspan: plots need matplotlib: pip install 'metaspan[plot]'"
    ]
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("short")
def test_ctrl_c_keeps_finished_panels_and_leaves_no_parts(tmp_path, monkeypatch, capsys):
    run, calls = reproduce.run_curve, []

    def interrupted(curve, trials):
        calls.append(curve)
        if len(calls) > 7:
            raise KeyboardInterrupt
        return run(curve, trials)

    monkeypatch.setattr(reproduce, "run_curve", interrupted)
    assert cli.main(["reproduce", "--out", str(tmp_path)]) == 130
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".pdf", ".png"]
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.usefixtures("short")
def test_existing_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    old = tmp_path / "methods.png"
    old.write_bytes(b"old")
    (tmp_path / "methods.csv").mkdir()  # cannot be replaced
    assert cli.main(["reproduce", "methods", "--out", str(tmp_path)]) == 2
    assert old.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["methods.csv", "methods.png"]


def test_signal_ends_the_process_with_130(tmp_path):
    command = [sys.executable, "-m", "metaspan", "reproduce", "--out", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert line.startswith(os.path.join(str(tmp_path), "methods.png"))
    assert process.returncode == 130
    assert "Traceback" not in err
    assert (tmp_path / "methods.csv").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_quick_takes_seconds(tmp_path):
    began = time.monotonic()
    assert cli.main(["reproduce", "methods", "--quick", "--out", str(tmp_path)]) == 0
    assert time.monotonic() - began < 30


def test_version_and_info_are_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"metaspan {ms.__version__}\n"
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert {"version", "compiler", "threads", "numpy"} <= {
        line.split()[0] for line in said.splitlines()
    }
