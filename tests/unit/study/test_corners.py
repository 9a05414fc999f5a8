"""Corner cases of studies: failing runs, orders of a grid, shared folders, dying workers."""

import io
import math
import sys
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from metaspan.build import version_and_level
from metaspan.study.design import toml
from metaspan.study.execution import plan, progress
from streams import no_terminals
from studies import SMALL, deadly, lines, runs, table

BASE = dict(k=2, method="anil", rounds=20, n=8)


def picky(result):
    """A measure that fails for one seed."""
    if result.config.trials[0] == 3:
        raise RuntimeError("not this one")
    return 1.0


def test_a_measure_that_fails_costs_its_own_run_alone(tmp_path):
    study = ms.Study(tmp_path, BASE, dict(d=[50]), seeds=5, measure=("dist", picky))
    study.run(progress=False)
    rows = study.table()
    assert list(rows["status"] == "failed") == [False, False, False, True, False]
    assert list(rows["picky"].isna()) == [False, False, False, True, False]


def head_function(generator, n, k):
    """A law of heads that fails for one trial of two, by its first number."""
    heads = generator.standard_normal((n, k))
    if heads[0, 0] > 0:
        raise RuntimeError("no heads today")
    return heads


def test_seeds_of_a_call_that_fails_are_done_one_by_one(tmp_path):
    base = {**BASE, "heads": head_function, "rounds": 1}
    study = ms.Study(tmp_path, base, dict(d=[50]), seeds=12)
    study.run(progress=False)
    statuses = set(study.table()["status"])
    assert "failed" in statuses
    assert len(statuses) == 2


def test_equal_numbers_are_one_configuration(tmp_path):
    first = ms.Study(tmp_path, {**BASE, "rounds": 100, "noise": 0}, dict(d=[50]), seeds=2)
    first.run(progress=False)
    again = ms.Study(tmp_path, {**BASE, "rounds": 1e2, "noise": 0.0}, dict(d=[50.0]), seeds=2)
    assert again.status().complete


def test_order_of_the_grid_changes_nothing(tmp_path):
    one = ms.Study(tmp_path / "a", BASE | {"k": 2}, dict(d=[50, 60], noise=[0.1, 0.2]))
    other = ms.Study(tmp_path / "b", BASE, dict(noise=[0.1, 0.2], d=[50, 60]))
    seeds = [{cell.name: cell.arguments["seed"] for cell in study.cells} for study in (one, other)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0].values())) == 4


def test_common_numbers_reach_expressions_on_an_axis(tmp_path):
    grid = dict(n=[10, 20], m_in=["n", "2*n"], m_out=[5])
    study = ms.Study(tmp_path, {k: v for k, v in BASE.items() if k != "n"} | {"d": 50}, grid,
                     common="n")  # fmt: skip
    by_axis = [cell.arguments["seed"] for cell in study.cells]
    assert by_axis[0] == by_axis[2] != by_axis[1] == by_axis[3]


def test_another_study_does_not_take_over_a_folder(tmp_path):
    first = ms.Study(tmp_path, BASE, dict(d=[50]))
    second = ms.Study(tmp_path, {**BASE, "rounds": 21}, dict(d=[50]))
    first.run(progress=False)
    with pytest.raises(ValueError, match=r"base.rounds = 20; this one has 21"):
        second.run(progress=False)
    assert first.status().complete


def test_a_study_that_could_not_begin_leaves_no_trace(tmp_path):
    wrong = ms.Study(tmp_path / "s", {**BASE, "method": "aniil"}, dict(d=[50]))
    with pytest.raises(ValueError, match="aniil"):
        wrong.run(progress=False)
    assert ms.Study(tmp_path / "s", BASE, dict(d=[50])).run(progress=False).complete


def test_columns_of_the_table_are_no_names_of_a_grid(tmp_path):
    for name in ("seed", "status", "round"):
        with pytest.raises(ValueError, match=f"{name} is a column of every table"):
            ms.Study(tmp_path, BASE, {"d": [50], name: [1, 2]})

    def status(result):
        return 3.0

    with pytest.raises(ValueError, match="measure must hold every name once"):
        ms.Study(tmp_path, BASE, dict(d=[50]), measure=status)
    with pytest.raises(ValueError, match="keep must hold no names of the grid"):
        ms.Study(tmp_path, BASE, dict(d=[50], mu=[1.0], noise="mu"), keep="mu")


def test_values_that_no_file_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^alpha must be finite; got inf"):
        _ = ms.Study(tmp_path, BASE, dict(d=[50], alpha=[math.inf, 0.1])).cells
    with pytest.raises(ValueError, match=r"^alpha of cell 0 must be finite; got nan"):
        _ = ms.Study(tmp_path, BASE, dict(d=[50], alpha=lambda d: math.nan)).cells
    with pytest.raises(TypeError, match=r"grid\.d must be a list or a range"):
        ms.Study(tmp_path, BASE, dict(d=(n for n in (50, 60))))


def test_shards_of_impossible_cells_write_their_rows(tmp_path):
    grid = dict(d=[1, 60])
    for i in range(1, 5):
        ms.Study(tmp_path, BASE, grid, seeds=2).run(shard=f"{i}/4", progress=False)
    study = ms.Study(tmp_path)
    assert study.status().complete
    assert list(study.table()["status"]) == ["failed"] * 2 + ["finished"] * 2


def test_lines_of_a_log_need_no_finished_run(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    meter = progress.meter(True, "s", 0, 10)
    meter.advance(0, 0)
    meter.close()
    said = sys.stderr.getvalue()
    assert said.count("\n") == 1
    assert "0/10 runs" in said
    assert "left" not in said


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("stream", no_terminals())
def test_studies_need_no_terminal(tmp_path, monkeypatch, capsys, stream, batch):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if batch:
        monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(sys, "stderr", stream)
    assert ms.Study(tmp_path, BASE, dict(d=[50, 60])).run().complete
    assert capsys.readouterr().out == ""


def test_a_run_that_fails_again_says_why_it_did_so_last(tmp_path, monkeypatch):
    study = ms.Study(tmp_path, BASE, dict(d=[50]), measure=("dist", picky_now))
    for said in ("first", "second"):
        monkeypatch.setitem(MOOD, "said", said)
        study.run(progress=False, retry_failed=True)
        assert study.status().errors == {f"RuntimeError: {said}": 1}


MOOD = {"said": ""}


def picky_now(result):
    """A measure that fails, and says what it is told to."""
    raise RuntimeError(MOOD["said"])


def test_large_arrays_do_not_stand_in_every_row(tmp_path):
    laws = [np.ones((1000, 2)), np.full((1000, 2), 2.0)]
    study = ms.Study(tmp_path, BASE, dict(d=[50], heads=laws), seeds=4)
    study.run(progress=False)
    assert all(len(str(row)) < 1000 for row in lines(study))
    assert ms.Study(tmp_path).status().complete


def test_a_finished_shard_leaves_the_files_of_long_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "LONG_SECONDS", 0.0)
    study = ms.Study(tmp_path, **SMALL)
    study.run(shard="1/2", progress=False)
    assert (tmp_path / "checkpoints").is_dir()  # of another shard's, it may be
    study.run(progress=False)
    assert not (tmp_path / "checkpoints").exists()
    assert len(lines(study)) == len(runs(study))


def test_functions_that_cannot_be_sent_are_said(tmp_path):
    def local(result):
        return 1.0

    study = ms.Study(tmp_path, BASE, dict(d=[50]), measure=local)
    with (
        ms.process_pool(1) as pool,
        pytest.raises(TypeError, match="must be defined at the top level of a module"),
    ):
        study.run(pool, progress=False)
    with ThreadPoolExecutor(1) as pool:
        assert study.run(pool, progress=False).complete


def test_arguments_beside_a_folder_alone_are_refused(tmp_path):
    ms.Study(tmp_path, BASE, dict(d=[50])).run(progress=False)
    with pytest.raises(ValueError, match="other arguments need base or grid"):
        ms.Study(tmp_path, seeds=20)


def test_plot_of_an_axis_that_was_not_named_has_columns(tmp_path):
    """The call is that of the documentation; k varies too, and gets a panel for each value."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    study = ms.Study(
        Path(tmp_path),
        base=dict(method=ms.MAML(alpha=0.05, beta=0.05), rounds=30, noise=0.1),
        grid=dict(d=[10**3, 10**4, 10**6], k=[2, 3], n="4*k", m_in=[10, 25], m_out="m_in"),
        seeds=2,
        measure=("dist", "rounds_to:1e-3"),
    )
    study.run(progress=False)
    figure = study.plot(x="d", y="dist", hue="m_in", fit=True)
    assert len(figure.axes) == 2  # a column for each k
    assert study.plot(x="d", y="dist").get_suptitle() == r"$m_{\mathrm{in}}$ = 10"
    assert table(study).shape == (24, 9)


def test_a_run_on_which_workers_die_fails_alone(tmp_path):
    """Once the runs that kill their workers are known, each is given up after three deaths."""
    study = ms.Study(tmp_path, BASE, dict(d=[50, 60, 70, 80]), seeds=2, measure=deadly)
    for _ in range(8):
        with ms.process_pool(2) as pool:
            try:
                status = study.run(pool, progress=False)
            except BrokenExecutor:
                status = study.status()
    assert status.complete
    rows = study.table()
    assert list(rows["d"][rows["status"] == "failed"]) == [60, 60]
    assert all("a worker died" in said for said in status.errors)


def test_a_damaged_checkpoint_only_costs_its_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "LONG_SECONDS", 0.0)
    study = ms.Study(tmp_path, BASE, dict(d=[50]))
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    maker = version_and_level().replace(" ", "-")
    (checkpoints / f"{study.cells[0].name}-0-{maker}.npz").write_bytes(b"half a file")
    status = study.run(progress=False)
    assert status.statuses == {"finished": 1}


SMALL_RUNS = dict(k=2, method="fo-anil", rounds=4, n=5, d=20)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (dict(n=["4*k"]), dict(n=["k*4"])),
        (dict(n=["4*k"]), dict(n=[8])),
        (
            dict(heads=[dict(kind="GaussianHeads", mean=[0, 1])]),
            dict(heads=[dict(kind="GaussianHeads", mean=[0.0, 1.0])]),
        ),
        (
            dict(heads=[dict(kind="GaussianHeads", mean=[0, 1], cov=[1, 2])]),
            dict(heads=[dict(kind="GaussianHeads", cov=[1, 2], mean=[0, 1])]),
        ),
    ],
    ids=["order", "number", "float", "fields"],
)
def test_a_value_that_is_written_otherwise_has_other_random_numbers(tmp_path, before, after):
    """A study cannot grow by rows whose keys differ from those of its own rows."""
    base = {name: value for name, value in SMALL_RUNS.items() if name not in before}
    ms.Study(tmp_path, base, before, seeds=1).run(progress=False)
    with pytest.raises(ValueError, match="write it as before, or use another folder"):
        ms.Study(tmp_path, base, after, seeds=2).run(progress=False)
    ms.Study(tmp_path, base, before, seeds=2).run(progress=False)


def test_a_whole_float_is_the_seed_of_the_integer(tmp_path):
    tables = []
    for name, seed in (("int", 1), ("float", 1.0)):
        study = ms.Study(tmp_path / name, {**SMALL_RUNS, "seed": seed}, dict(beta=[0.1, 0.2]))
        study.run(progress=False)
        tables.append(study.table()["dist"].to_numpy())
    np.testing.assert_array_equal(*tables)


def test_a_large_array_inside_an_object_is_read_again(tmp_path):
    base = dict(k=300, d=300, n=1, rounds=0, method="anil", heads=ms.GaussianHeads(cov=np.eye(300)))
    ms.Study(tmp_path, base, dict(alpha=[0.1]), seeds=1).run(progress=False)
    assert len(ms.Study(tmp_path).table()) == 1
    ms.Study(tmp_path, base, dict(alpha=[0.1]), seeds=2).run(progress=False)
    assert len(ms.Study(tmp_path).table()) == 2


def test_measures_have_an_order(tmp_path):
    for measure in ({"dist", "rate"}, {"dist": 1}):
        with pytest.raises(TypeError, match="measure must be a list or a tuple"):
            ms.Study(tmp_path, SMALL_RUNS, dict(beta=[0.1]), measure=measure)


def test_none_beside_words_stays_none(tmp_path):
    grid = dict(init=[None, "methodical"])
    study = ms.Study(tmp_path, SMALL_RUNS, grid, seeds=1, keep="dist")
    study.run(progress=False)
    rows = study.table()
    assert rows["init"].tolist() == [None, "methodical"]
    assert set(study.traces()["init"]) == {None, "methodical"}
    assert len(study.table(where=dict(init=None))) == 1


def test_a_study_that_is_opened_takes_nothing_else(tmp_path):
    ms.Study(tmp_path, SMALL_RUNS, dict(beta=[0.1]), seeds=1).run(progress=False)
    for other in (dict(keep_rows=500), dict(seeds=np.arange(3)), dict(measure=("rate",))):
        with pytest.raises(ValueError, match="other arguments need base or grid; got neither"):
            ms.Study(tmp_path, **other)


@pytest.mark.parametrize("name", ["dtype", "init"])
def test_none_is_a_word_in_files(tmp_path, name):
    text = f'base = {{k = 2, d = 20, n = 4, rounds = 2, method = "anil", {name} = "none"}}\n'
    (tmp_path / "s.toml").write_text(f"{text}[grid]\nbeta = [0.1]\n", encoding="utf-8")
    study = ms.Study(tmp_path / "s", **toml.read(tmp_path / "s.toml"))
    study.run(progress=False)
    assert study.table()["status"].tolist() == ["finished"]


def test_seeds_of_short_runs_share_the_time_of_a_call(tmp_path):
    grid = dict(beta=[0.1, 0.2, 0.3])
    few, many = (
        ms.Study(tmp_path / str(seeds), SMALL_RUNS, grid, seeds=seeds).estimate().seconds
        for seeds in (1, 20)
    )
    assert few < many < 4 * few


def test_a_distance_below_all_numbers_is_no_value_of_a_law(tmp_path):
    base = dict(k=2, method="anil", rounds=30_000, n=50, stop=None, beta=0.5, alpha=0.5)
    study = ms.Study(tmp_path, base, dict(d=[10, 20, 40, 80]), seeds=1, measure=("dist", "floor"))
    study.run(progress=False)
    assert set(study.table()["status"]) == {"underflow"}
    for measure in ("dist", "floor"):
        with pytest.raises(ValueError, match=r"the end of the run set"):
            study.fit(measure, "d")
