"""Runs of studies: the table holds the results of `train`, and a restart does missing runs."""

import itertools
import math
import warnings

import numpy as np
import pytest

import metaspan as ms
from studies import SMALL, keys, lines, runs, table

pd = pytest.importorskip("pandas")

STEPS = dict(alpha=0.1, beta=0.1)
METHODS = {"anil": ms.ANIL(**STEPS), "maml": ms.MAML(inner_steps=2, **STEPS)}


def own_rate(rounds, dist):
    """Return the slope of log dist per round, from 0.1 down to max(1e-9, ten times its minimum)."""
    end = max(1e-9, 10 * min(dist))
    first = next((i for i, value in enumerate(dist) if value < 0.1), len(dist))
    last = next((i for i, value in enumerate(dist) if value <= end), len(dist))
    x, y = np.array(rounds[first:last], float), np.log(dist[first:last])
    if last - first < 3:
        return math.nan
    x -= x.mean()
    return -(x @ y) / (x @ x)


def own_floor(dist):
    """Geometric mean of dist over the last quarter of the rows."""
    tail = dist[-(len(dist) // 4) :]
    return math.exp(sum(map(math.log, tail)) / len(tail))


def rows_recorded(result):
    return float(len(result.trace["round"]))


def settings(d, method, m):
    """Arguments of a run of the study below."""
    rest = {"anil": dict(n=8), "maml": dict(n=8, m_in=m, m_out=m)}[method]
    return ms.LinearTasks(d=d, k=2, noise=0.1), METHODS[method], dict(rest, rounds=2500, stop=None)


def test_table_holds_what_train_gives(tmp_path):
    tolerances = (0.5, 1e-3, 1e-30)
    study = ms.Study(
        tmp_path / "s",
        base=dict(k=2, noise=0.1, n="4*k", rounds=2500, stop=None, inner_steps="1 + long", **STEPS),
        grid=dict(
            long=[0, 1],
            d=[8, 30],
            method=lambda long: "maml" if long else "anil",
            m_in=lambda long: 25 if long else None,
            m_out="m_in",
        ),
        seeds=[0, 3],
        measure=(
            *("dist", "rate", "floor", "risk:25", "w_norm", rows_recorded),
            *(f"rounds_to:{tolerance}" for tolerance in tolerances),
        ),
    )
    assert study.run(progress=False).complete
    own = []
    for cell, (long, d) in zip(study.cells, itertools.product((0, 1), (8, 30)), strict=True):
        name = ("anil", "maml")[long]
        tasks, method, rest = settings(d, name, 25)
        key = cell.arguments["seed"]
        for seed in (0, 3):
            r = ms.train(tasks, method, **rest, seed=key, trials=range(seed, seed + 1))
            rounds, dist = r.trace["round"].tolist(), r.trace["dist"].tolist()
            of_risk = (key + seed) % 2**64  # other new tasks for every trial
            risk = ms.evaluate(r.state[:2], r.w, tasks, method, m=25, seed=of_risk).mean
            row = dict(long=long, d=d, method=name, m_in=rest.get("m_in"), m_out=rest.get("m_in"))
            row |= dict(seed=seed, status="finished", dist=dist[-1], rate=own_rate(rounds, dist))
            row |= {"floor": own_floor(dist), "risk:25": risk, "w_norm": np.linalg.norm(r.w)}
            row["rows_recorded"] = 2501.0
            for tolerance in tolerances:
                there = (at for at, value in zip(rounds, dist, strict=True) if value <= tolerance)
                row[f"rounds_to:{tolerance}"] = next(there, math.nan)
            own.append(row)
    found = study.table()
    assert list(found.columns) == list(own[0])
    expected = pd.DataFrame(own)
    expected[["m_in", "m_out"]] = found[["m_in", "m_out"]] = found[["m_in", "m_out"]].fillna(0)
    assert found["m_in"].tolist() == [0] * 4 + [25] * 4
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, check_dtype=False)
    assert found["dist"].tolist() == expected["dist"].tolist()
    # The study says something: some runs converge, and none comes to 1e-30.
    assert found["rounds_to:0.001"].notna().any()
    assert found["rate"].notna().any()
    assert found["rounds_to:1e-30"].isna().all()


def test_rows_come_in_the_order_of_the_grid(tmp_path):
    """Runs are done longest first; the table does not tell."""
    grid = dict(d=[20, 10, 15], beta=[0.1, 0.05], rounds=lambda d: 900 if d == 15 else 20)
    seeds = [4, 1, 2]
    study = ms.Study(tmp_path, base=dict(k=2, n=4, method="anil"), grid=grid, seeds=seeds)
    study.run(progress=False)
    found = study.table()[["d", "beta", "seed"]].itertuples(index=False, name=None)
    assert list(found) == list(itertools.product([20, 10, 15], [0.1, 0.05], seeds))
    first = keys(study)[0][0]
    assert next(cell.values["d"] for cell in study.cells if cell.name == first) == 15


def test_cut_files_lead_to_the_same_table(tmp_path, rng):
    """Wherever a kill cuts the file of rows, the next start does what is not whole in it."""
    whole = ms.Study(tmp_path / "whole", **SMALL)
    whole.run(progress=False)
    content = (whole.folder / "rows" / "all.jsonl").read_bytes()
    ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
    cuts = [0, 1, ends[0], ends[0] + 1, ends[5] - 1, len(content) - 1, len(content)]
    for cut in [*cuts, *rng.integers(0, len(content), 25).tolist()]:
        study = ms.Study(tmp_path / str(cut), **SMALL)
        (study.folder / "rows").mkdir(parents=True, exist_ok=True)
        (study.folder / "rows" / "all.jsonl").write_bytes(content[:cut])
        kept = sum(end <= cut for end in ends)  # a row is whole without its line's end
        partial = cut not in {0, *ends, *(end + 1 for end in ends)}
        ran = []
        status = study.run(progress=lambda done, total, ran=ran: ran.append((done, total)))
        assert (status.complete, status.damaged) == (True, partial)
        assert ran == [(done, 24) for done in sorted({at for at, _ in ran})]
        assert sorted(keys(study)) == sorted(runs(study))
        assert (ran[0][0] > kept) if kept < 24 else not ran
        pd.testing.assert_frame_equal(table(study), table(whole))


def test_added_values_and_seeds_run_only_what_is_new(tmp_path):
    base, grid = SMALL["base"], {**SMALL["grid"], "d": [10]}
    small = ms.Study(tmp_path / "s", base=base, grid=grid, seeds=2, measure=SMALL["measure"])
    small.run(progress=False)
    before = keys(small)
    assert len(before) == 8
    grown = ms.Study(tmp_path / "s", **SMALL)
    assert (grown.status().done, grown.status().runs) == (8, 24)
    grown.run(progress=False)
    assert keys(grown)[:8] == before
    assert sorted(keys(grown)) == sorted(runs(grown))
    fresh = ms.Study(tmp_path / "fresh", **SMALL)
    fresh.run(progress=False)
    pd.testing.assert_frame_equal(table(grown), table(fresh))
    assert grown.run(progress=False).complete
    assert len(keys(grown)) == 24


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(base=dict(noise=0.2)), r"base\.noise = 0\.1; this one has 0\.2"),
        (dict(base=dict(n="2*k")), r"base\.n = 4; this one has 2\*k"),
        (dict(base=dict(pool=9)), r"no base\.pool; this one has 9"),
        (dict(grid=dict(m_out="2*m_in")), r"grid\.m_out = m_in; this one has 2\*m_in"),
        (dict(grid=dict(d=[10, 30])), r"a cell with d = 20, method = 'anil', m_in = 5, m_out = 5;"),
        (dict(grid=dict(method=["anil"])), r"a cell with d = 10, method = MAML\(alpha=0\.05, "),
        (dict(base=dict(init=None)), r"no base\.init; this one has None"),
        (dict(grid=dict(beta=[0.1])), r"no grid\.beta; this one has"),
        (dict(seeds=2), r"has seed 2; this one has not: keep it"),
        (dict(measure="dist"), r"has measure = \['dist', 'w_norm'\]; this one has \['dist'\]"),
        (dict(keep="dist"), r"has keep = \[\]; this one has \['dist'\]"),
        (dict(keep_rows=9), r"has keep_rows = 200; this one has 9"),
        (dict(common="method"), r"has common = \[\]; this one has \['method'\]"),
    ],
)
def test_changed_studies_need_another_folder(tmp_path, change, named):
    ms.Study(tmp_path, **SMALL).run(progress=False, shard="1/24")
    kept = (tmp_path / "study.json").read_bytes()
    changed = {
        name: {**SMALL[name], **value} if isinstance(value, dict) else value
        for name, value in change.items()
    }
    with pytest.raises(ValueError, match=named):
        ms.Study(tmp_path, **{**SMALL, **changed})
    assert (tmp_path / "study.json").read_bytes() == kept


def test_what_is_left_out_is_not_what_is_none(tmp_path):
    ms.Study(tmp_path, **SMALL).run(progress=False, shard="1/24")
    base = {name: value for name, value in SMALL["base"].items() if name != "stop"}
    with pytest.raises(ValueError, match=r"base\.stop = None; this one has no base\.stop: use"):
        ms.Study(tmp_path, **{**SMALL, "base": base})


def test_rows_of_another_version_are_noticed(tmp_path):
    study = ms.Study(tmp_path, **SMALL)
    study.run(progress=False)
    path = tmp_path / "rows" / "all.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    by = lines(study)[0]["by"]
    path.write_text(first.replace(by, "0.0.1 older") + "".join(others[:10]))
    with pytest.raises(ValueError, match=r"has rows of metaspan 0\.0\.1 older; this is .*mixed="):
        study.run(progress=False)
    assert study.status().done == 11
    status = study.run(progress=False, mixed=True)
    assert status.complete
    assert status.versions == {"0.0.1 older": 1, by: 23}
    assert "0.0.1 older" in str(status)


def unlucky(rng, n, k):
    """A law of heads that has none."""
    raise RuntimeError("no heads\n  today")


def test_runs_that_fail_are_rows_that_say_why(tmp_path):
    base = dict(k=3, rounds=3, n=4, method="anil", engine="sampled", m_in=5, m_out=5)
    study = ms.Study(tmp_path / "a", base=base, grid=dict(d=[2, 10, 10**13]), seeds=2)
    status = study.run(progress=False)
    assert status.complete
    assert status.statuses == {"failed": 4, "finished": 2}
    found = study.table()
    assert found["status"].tolist() == ["failed"] * 2 + ["finished"] * 2 + ["failed"] * 2
    assert found["dist"].isna().tolist() == [True, True, False, False, True, True]
    errors = found.attrs["errors"]
    assert set(errors) == {0, 1, 4, 5}
    assert errors[0] == errors[1] == "ValueError: k must be at most d = 2; got 3"
    assert errors[4].startswith("MemoryError: ")
    assert errors[5].startswith("MemoryError: ")
    assert "failed     2 x ValueError: k must be" in str(status)
    # They are done, until they are asked for again.
    assert study.run(progress=False).done == 6
    assert len(keys(study)) == 6
    ran = []
    study.run(progress=lambda *at: ran.append(at), retry_failed=True)
    assert len(keys(study)) == 10
    assert ran[-1] == (6, 6)
    assert study.status().statuses == status.statuses


def test_functions_of_the_user_that_raise_are_rows(tmp_path):
    base = dict(k=2, rounds=3, n=4, method="anil", heads=unlucky)
    study = ms.Study(tmp_path / "a", base=base, grid=dict(d=[9]))
    assert study.run(progress=False).errors == {"RuntimeError: no heads today": 1}
    luck = []

    def lucky(result):
        if not luck:
            raise KeyError("luck")
        return luck[0]

    base = {name: value for name, value in base.items() if name != "heads"}
    study = ms.Study(tmp_path / "b", base=base, grid=dict(d=[9]), measure=("dist", lucky))
    assert study.run(progress=False).errors == {"KeyError: 'luck'": 1}
    luck.append(7)
    status = study.run(progress=False, retry_failed=True)
    assert (status.done, status.statuses, status.errors) == (1, {"finished": 1}, {})
    assert study.table()["lucky"].tolist() == [7.0]


def test_diverged_runs_have_no_numbers_but_a_time(tmp_path):
    measure = ("dist", "floor", "rate", "rounds_to:1", "risk:5", "seconds", rows_recorded)
    base = dict(k=3, d=10, n=4, rounds=50, alpha=0.01, method="anil")
    study = ms.Study(tmp_path, base=base, grid=dict(beta=[0.1, 50.0]), measure=measure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status = study.run(progress=False)
    assert status.statuses == {"diverged": 1, "finished": 1}
    good, bad = (row for _, row in study.table().iterrows())
    assert (good["status"], bad["status"]) == ("finished", "diverged")
    assert bad[[name for name in bad.index[3:] if name != "seconds"]].isna().all()
    assert bad["seconds"] > 0
    assert good[["dist", "floor", "risk:5", "rows_recorded"]].notna().all()
    assert study.table().attrs["errors"] == {}


def test_studies_of_impossible_cells_alone_raise(tmp_path):
    base = dict(k=3, n=4, rounds=5, method="anil")
    study = ms.Study(tmp_path, base=base, grid=dict(d=[1, 2]))
    with pytest.raises(ValueError, match="k must be at most d = 1; got 3"):
        study.run(progress=False)
    assert study.status().done == 0
