"""The folder of a study: files of rows, exports, shards, progress and status."""

import csv
import math
import os
import pty
import re
import select
import sys
import termios
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import metaspan as ms
from metaspan.build import version_and_level
from metaspan.study.execution import plan, progress
from studies import SMALL, keys, lines, runs, table

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the small study after an uninterrupted run."""
    study = ms.Study(tmp_path_factory.mktemp("done") / "s", **SMALL)
    study.run(progress=False)
    return study


@pytest.fixture
def small(tmp_path):
    return ms.Study(tmp_path / "s", **SMALL)


def test_kept_traces_are_those_of_the_runs(tmp_path):
    base = dict(k=2, d=9, n=4, rounds=40, stop=None, noise=0.1)
    grid = dict(method=["anil", "maml"])
    arguments = dict(seeds=2, keep=("dist", "w_norm"), keep_rows=5)
    study = ms.Study(tmp_path, base=base, grid=grid, **arguments)
    study.run(progress=False)
    found = study.traces()
    assert list(found.columns) == ["method", "seed", "round", "dist", "w_norm"]
    assert found["round"].tolist() == 4 * [0, 10, 20, 30, 40]
    for cell in study.cells:
        for seed in (0, 1):
            r = ms.train(
                ms.LinearTasks(d=9, k=2, noise=0.1), cell.values["method"], n=4, rounds=40,
                stop=None, seed=cell.arguments["seed"], trials=range(seed, seed + 1),
                record=("dist", "w_norm"),
            )  # fmt: skip
            own = study.traces(where=dict(method=cell.values["method"]))
            own = own[own["seed"] == seed]
            for name in ("dist", "w_norm"):
                assert own[name].tolist() == r.trace[name][::10].tolist()


def test_studies_without_traces_say_how_to_keep_them(done):
    with pytest.raises(ValueError, match=r"keeps no trace: give keep=\('dist',\)"):
        done.traces()


def test_exports_read_back_equal(tmp_path, done):
    whole = done.table()
    done.export(tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        found = list(csv.DictReader(file))
    for name in whole.columns:
        kind = str if name in ("method", "status") else float
        assert [kind(row[name]) for row in found] == [kind(value) for value in whole[name]]
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet; got 't\.xls'"):
        done.export(tmp_path / "t.xls")


def test_parquet_reads_back_equal(tmp_path, done):
    pytest.importorskip("pyarrow")
    done.export(tmp_path / "t.parquet", where=dict(d=10))
    expected = done.table(where=dict(d=10))
    expected["method"] = expected["method"].map(str)
    found = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def test_where_chooses_rows_by_value(done):
    whole = done.table()
    found = done.table(where=dict(d=10.0, method=ms.MAML(alpha=0.05), m_out=5))
    wanted = (whole["d"] == 10) & (whole["m_in"] == 5) & (whole["method"] == ms.MAML(alpha=0.05))
    assert len(found) == wanted.sum() == 3
    pd.testing.assert_frame_equal(found, whole[wanted].reset_index(drop=True))
    with pytest.raises(ValueError, match=r"must hold names that vary \(d, method, m_in, m_out\)"):
        done.table(where=dict(noise=0.1))
    with pytest.raises(ValueError, match=r"no cell has \{'d': 11\}"):
        done.table(where=dict(d=11))


def test_studies_open_by_their_folder_alone(small, done):
    with pytest.raises(FileNotFoundError, match="there is no study in"):
        ms.Study(small.folder)
    small.run(progress=False, shard="1/2")
    again = ms.Study(small.folder)
    assert repr(again) == repr(small)
    pd.testing.assert_frame_equal(table(again), table(small))
    assert again.run(progress=False).complete
    assert sorted(keys(again)) == sorted(runs(small))
    pd.testing.assert_frame_equal(table(again), table(done))


def by_name(result):
    return 1.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict(measure=("dist", by_name)), "measure by_name"),
        (dict(base=dict(heads=lambda rng, n, k: np.ones((n, k)))), r"base\.heads"),
        (dict(base=dict(init=(np.eye(40_000, 2), np.ones(2)), d=40_000)), r"base\.init"),
    ],
)
def test_folders_name_what_they_do_not_hold(tmp_path, changes, named):
    base = dict(d=40, k=2, n=4, method="anil", rounds=3) | changes.get("base", {})
    rest = dict(grid=dict(beta=[0.1, 0.05]), measure=changes.get("measure", "dist"))
    study = ms.Study(tmp_path, base=base, **rest)
    study.run(progress=False, shard="1/2")
    again = ms.Study(tmp_path)
    with pytest.raises(ValueError, match=rf"only names {named}: pass base, grid and measure"):
        again.run(progress=False)
    pd.testing.assert_frame_equal(again.table(), study.table())
    assert ms.Study(tmp_path, base=base, **rest).run(progress=False).statuses == {"finished": 2}
    assert again.run(progress=False).complete  # nothing is left that would need it


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_share_the_runs_between_them(small, done, order):
    seen = set()
    for number in order:
        totals = []
        status = small.run(shard=f"{number}/3", progress=lambda *at, to=totals: to.append(at))
        assert totals[-1] == (8, 8)
        new = set(keys(small)) - seen
        assert len(new) == 8
        seen |= new
        assert status.done == len(seen)
    assert seen == set(runs(small))
    files = [path.name for path in sorted((small.folder / "rows").iterdir())]
    assert files == ["1-of-3.jsonl", "2-of-3.jsonl", "3-of-3.jsonl"]
    pd.testing.assert_frame_equal(table(small), table(done))
    assert small.run(progress=False).complete
    assert len(keys(small)) == 24


def test_shards_run_at_once(tmp_path, done):
    """Each opens the study for itself, and all begin together."""
    together = threading.Barrier(6)

    def one(number):
        together.wait()
        return ms.Study(tmp_path, **SMALL).run(shard=f"{number}/6", progress=False, threads=1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(1, 7)))
    study = ms.Study(tmp_path)
    assert sorted(keys(study)) == sorted(runs(study))
    pd.testing.assert_frame_equal(table(study), table(done))
    assert not [path for path in tmp_path.iterdir() if path.name not in ("rows", "study.json")]


def test_shards_of_slurm_are_tasks_of_an_array(small, monkeypatch):
    def task(at, least, most, count, **step):
        names = dict(ID=at, MIN=least, MAX=most, COUNT=count, **step)
        return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}

    assert plan.shard_of("slurm", task(0, 0, 63, 64)) == (1, 64)
    assert plan.shard_of("slurm", task(5, 3, 7, 5)) == (3, 5)
    assert plan.shard_of("slurm", task(9, 1, 9, 3, STEP=4)) == (3, 3)
    with pytest.raises(ValueError, match=r"array without gaps; this one has 3 of the tasks 1\.\.9"):
        plan.shard_of("slurm", task(9, 1, 9, 3))
    with pytest.raises(ValueError, match="a job array; SLURM_ARRAY_TASK_ID is not set"):
        plan.shard_of("slurm", {})
    for name, value in task(12, 11, 13, 3).items():
        monkeypatch.setenv(name, value)
    small.run(shard="slurm", progress=False)
    assert [path.name for path in (small.folder / "rows").iterdir()] == ["2-of-3.jsonl"]


@pytest.mark.parametrize(
    ("shard", "kind", "named"),
    [
        (3, TypeError, 'a text such as "3/64"; got 3'),
        ("3", ValueError, "got '3'"),
        ("3/", ValueError, "got '3/'"),
        ("-1/2", ValueError, "got '-1/2'"),
        ("0/2", ValueError, "from 1/2 to 2/2; got '0/2'"),
        ("3/2", ValueError, "from 1/2 to 2/2; got '3/2'"),
        ("1/0", ValueError, "got '1/0'"),
    ],
)
def test_other_shards_are_refused(small, shard, kind, named):
    with pytest.raises(kind, match=named):
        small.run(shard=shard, progress=False)
    assert not small.folder.exists()


def test_damaged_and_repeated_lines_are_told(small, done):
    small.run(progress=False)
    path = small.folder / "rows" / "all.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    nonsense = [
        "{}\n",
        "[1]\n",
        "\n",
        "\0\0\0\n",
        '{"cell": 3}\n',
        whole[4].replace('"seed"', '"S"'),
    ]
    nonsense += ["[" * 100_000 + "\n", whole[4].replace('"round": 40', '"round": "40"')]
    path.write_text("".join([*nonsense, *whole[:3], whole[0], *whole[6:], whole[1]]))
    status = small.status()
    assert (status.done, status.damaged) == (21, 7)  # an empty line is no damage
    assert "damaged    7 lines, whose runs will be done again" in str(status)
    assert small.run(progress=False).complete
    pd.testing.assert_frame_equal(table(small), table(done))


def test_finished_rows_count_before_failed_ones(small):
    small.run(progress=False, shard="1/24")
    row = (small.folder / "rows" / "1-of-24.jsonl").read_text()
    failed = row.replace('"status": "finished"', '"status": "failed", "error": "E: no"')
    for before, after in ((failed, row), (row, failed)):
        (small.folder / "rows" / "1-of-24.jsonl").write_text(before + after)
        assert small.status().statuses == {"finished": 1}


def test_progress_counts_all_runs(small):
    heard = []
    small.run(progress=lambda *at: heard.append(at), shard="1/2")
    assert heard[-1] == (12, 12)
    heard.clear()
    small.run(progress=lambda *at: heard.append(at))
    assert heard[0][0] > 12
    assert heard[-1] == (24, 24)
    heard.clear()
    small.run(progress=lambda *at: heard.append(at))
    assert not heard


@pytest.fixture
def no_scheduler(monkeypatch):
    for name in progress.BATCH:
        monkeypatch.delenv(name, raising=False)


def in_a_pipe(monkeypatch, study):
    """What a run writes to standard error where that is a pipe."""
    end, start = os.pipe()
    with os.fdopen(end) as reader:
        with os.fdopen(start, "w") as writer:
            monkeypatch.setattr(sys, "stderr", writer)
            study.run()
        return reader.read()


@pytest.mark.usefixtures("no_scheduler")
def test_pipes_hear_nothing_but_logs_of_batch_jobs_do(monkeypatch, tmp_path):
    assert in_a_pipe(monkeypatch, ms.Study(tmp_path / "a", **SMALL)) == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    said = in_a_pipe(monkeypatch, ms.Study(tmp_path / "b", **SMALL)).splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d b: "
    assert re.fullmatch(stamp + r"3/24 runs \(12 %\), 0 failed, \S+ runs/s, \d.* left", said[0])
    assert re.fullmatch(stamp + r"24/24 runs \(100 %\), 0 failed, \S+ runs/s", said[1])
    assert len(said) == 2
    assert in_a_pipe(monkeypatch, ms.Study(tmp_path / "b", **SMALL)) == ""


@pytest.mark.usefixtures("no_scheduler")
def test_files_hear_a_line_a_minute(monkeypatch, tmp_path, small):
    minutes = iter(range(0, 60 * 100, 60))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(minutes))
    with open(tmp_path / "log", "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        small.run()
    said = (tmp_path / "log").read_text().splitlines()
    counts = [int(re.search(r" s: (\d+)/24 runs", line)[1]) for line in said]
    assert counts == [*range(3, 25, 3), 24]


@pytest.mark.usefixtures("no_scheduler")
def test_terminals_see_a_bar(monkeypatch, small):
    pytest.importorskip("tqdm")
    reader, writer = pty.openpty()
    termios.tcsetwinsize(reader, (24, 100))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        small.run()
        said = ""
        while "24/24" not in said and select.select([reader], [], [], 5)[0]:
            said += os.read(reader, 10**5).decode()
    os.close(reader)
    assert "s: 100%" in said
    assert "24/24" in said


def test_sync_waits_for_the_disk_after_every_row(small, monkeypatch):
    calls = []
    synced = os.fsync

    def counted(handle):
        calls.append(os.readlink(f"/proc/self/fd/{handle}"))
        synced(handle)

    monkeypatch.setattr(os, "fsync", counted)
    small.run(progress=False, shard="1/2")
    assert not [path for path in calls if path.endswith(".jsonl")]
    small.run(progress=False, sync=True)
    synced_rows = [path for path in calls if path.endswith("all.jsonl")]
    assert len(synced_rows) >= len({cell for cell, _ in keys(small)[12:]})


def test_long_runs_go_on_from_a_checkpoint(tmp_path, monkeypatch):
    """After an interruption in the middle of a run, the rounds before it are not computed again."""
    monkeypatch.setattr(sys.modules["metaspan.runs.train"], "HEADS_AT_ONCE", 64)
    cut, rounds = 200, 300
    log = types.ModuleType("log")  # of which a function's identity has the name alone
    log.drawn = drawn = []

    def heads(rng, n, k):
        log.drawn.append(n)
        if len(log.drawn) == cut:
            raise KeyboardInterrupt
        return rng.standard_normal((n, k))

    arguments = dict(
        base=dict(d=9, k=2, n=4, m_in=5, m_out=5, method="anil", stop=None, heads=heads),
        grid=dict(rounds=[rounds]),
    )
    undisturbed = ms.Study(tmp_path / "whole", **arguments)
    drawn += [0] * cut
    undisturbed.run(progress=False)
    monkeypatch.setattr(plan, "LONG_SECONDS", 0.0)
    study = ms.Study(tmp_path / "cut", **arguments)
    drawn.clear()
    with pytest.raises(KeyboardInterrupt):
        study.run(progress=False)
    assert study.status().done == 0
    maker = version_and_level().replace(" ", "-")
    name = f"{study.cells[0].name}-0-{maker}.npz"
    assert [path.name for path in (study.folder / "checkpoints").iterdir()] == [name]
    assert study.run(progress=False).complete
    assert len(drawn) < cut + rounds / 2
    assert not (study.folder / "checkpoints").exists()
    pd.testing.assert_frame_equal(study.table(), undisturbed.table())


def test_status_says_where_the_study_stands(small):
    assert str(small.status()) == "s: 0 of 24 runs (0 %), 8 cells\n  ended      none"
    small.run(progress=False, shard="1/3")
    said = str(small.status()).splitlines()
    assert said[:2] == ["s: 8 of 24 runs (33 %), 8 cells", "  ended      8 finished"]
    seconds = sum(row["seconds"] for row in lines(small))
    assert said[2] == f"  run time   {seconds:.3g} s in all"
    assert said[3:] == [
        f"  last row   {max(row['at'] for row in lines(small))}",
        f"  made by    metaspan {lines(small)[0]['by']}",
    ]
    assert math.isclose(small.status().seconds, seconds)
