"""A study refuses rows of a study with other laws, features, measures or numbers."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest

import metaspan as ms
from metaspan._support import identity

BASE = dict(d=12, k=2, method="anil", rounds=20, n=4, stop=None)


def draw(generator, n, k, scale=1.0):
    return scale * generator.standard_normal((n, k))


def rows(generator, m, d, scale=1.0):
    return scale * generator.standard_normal((m, d))


def above(result, level=0.5):
    return float((result.trace["dist"] > level).sum())


def drawn_tasks(result):
    return float(result.config.n)


class Law:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, generator, n, k):
        return draw(generator, n, k, self.scale)


def study(folder, measure="dist", grid=None, **base):
    return ms.Study(folder, {**BASE, **base}, grid or {}, measure=measure)


@pytest.mark.parametrize(
    ("name", "mine", "others"),
    [
        ("heads", partial(draw, scale=0.5), partial(draw, scale=1.5)),
        ("heads", Law(0.5), Law(1.5)),
        ("heads", Law(0.5).__call__, Law(1.5).__call__),
        ("features", partial(rows, scale=0.5), partial(rows, scale=1.5)),
        ("spectrum", list(np.arange(1, 13)), list(np.arange(2, 14))),
        ("spectrum", list(np.arange(1, 13, dtype=np.float32)), [1.0] * 12),
        ("spectrum", pd.Series(np.arange(1.0, 13.0)), pd.Series(np.arange(2.0, 14.0))),
        ("heads", [list(row) for row in np.eye(4, 2, dtype=int)], np.ones((4, 2)).tolist()),
    ],
)
def test_rows_of_another_law_are_refused(tmp_path, name, mine, others):
    samples = dict(m_in=4, m_out=4, engine="sampled") if name == "features" else {}
    first = study(tmp_path / "a", **{name: mine}, **samples)
    first.run(progress=False)
    assert study(tmp_path / "a", **{name: mine}, **samples).run(progress=False).complete
    with pytest.raises(ValueError, match=rf"has base\.{name} = .*; this one has .*another folder"):
        study(tmp_path / "a", **{name: others}, **samples)
    other = study(tmp_path / "b", **{name: others}, **samples)
    other.run(progress=False)
    assert other.table()["dist"][0] != first.table()["dist"][0]


def test_laws_of_different_arguments_are_values_of_an_axis(tmp_path):
    laws = [partial(draw, scale=0.5), partial(draw, scale=1.5), Law(0.5), Law(1.5)]
    found = study(tmp_path, grid=dict(heads=laws))
    assert found.run(progress=False).done == 4
    assert found.table()["dist"].nunique() == 4
    for i, law in enumerate(laws):
        tasks = ms.LinearTasks(d=12, k=2, heads=law)
        seed = found.cells[i].arguments["seed"]
        r = ms.train(tasks, "anil", rounds=20, n=4, stop=None, seed=seed)
        assert found.table()["dist"][i] == r.trace["dist"][-1]
    grown = study(tmp_path, grid=dict(heads=[*laws, partial(draw, scale=2.0)]))
    assert grown.run(progress=False).done == 5
    assert ms.Study(tmp_path).status().complete


def test_measures_are_told_by_their_arguments(tmp_path):
    def last(result, level=0.5):
        return 1.0

    measures = ("dist", partial(above, level=0.9), last)
    found = study(tmp_path, measure=measures)
    found.run(progress=False)
    assert [*found.table().columns] == ["seed", "status", "dist", "above(level=0.9)", "last"]
    assert ms.Study(tmp_path).table()["last"][0] == 1.0
    found.report(tmp_path / "report.html")
    assert "dist, above(level=0.9), last" in (tmp_path / "report.html").read_text()
    assert study(tmp_path, measure=measures).run(progress=False).complete
    with pytest.raises(ValueError, match=r"has measure = \['dist', 'above\(level=0.9\)', 'last'\]"):
        study(tmp_path, measure=("dist", partial(above, level=0.5), last))

    def last(result, level=0.0):
        return 2.0

    with pytest.raises(ValueError, match=r"has measure 'last' = .*last \(contents .*\); this one"):
        study(tmp_path, measure=(*measures[:2], last))


@pytest.mark.parametrize(
    "changes",
    [
        dict(features=dict(kind="StudentT", dof=np.int64(5)), m_in=4, m_out=4),
        dict(heads=dict(kind="GaussianHeads", cov=[np.float32(1.0), np.float32(0.5)])),
        dict(dtype=np.float32, engine="sampled", m_in=4, m_out=4),
        dict(dtype=np.dtype("float32"), engine="sampled", m_in=4, m_out=4),
        dict(noise=np.float32(0.5), rounds=np.int16(20), shared_samples=np.bool_(True)),
        dict(method=np.str_("maml")),
    ],
)
def test_numpy_scalars_open_and_grow_again(tmp_path, changes):
    found = study(tmp_path, grid=dict(beta=[0.01, 0.02]), **changes)
    assert found.run(progress=False).statuses == {"finished": 2}
    again = ms.Study(tmp_path)
    assert again.run(progress=False).complete
    pd.testing.assert_frame_equal(again.table(), found.table())
    grown = study(tmp_path, grid=dict(beta=[0.01, 0.02, 0.03]), **changes)
    assert grown.run(progress=False).done == 3


def test_tables_are_asked_by_values_of_tables(tmp_path):
    found = study(tmp_path, grid=dict(noise=[0.0, 0.5], alpha=[0.1, 0.2]))
    found.run(progress=False)
    for name in ("noise", "alpha"):
        for value in found.table()[name].unique():
            assert (found.table(where={name: value})[name] == value).sum() == 2


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32, np.datetime64("2026-01-01")])
def test_values_that_no_file_can_hold_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match=r"base\.spectrum must be a number.* file"):
        study(tmp_path, spectrum=value)
    assert not (tmp_path / "study.json").exists()


MASKED = np.ma.masked_equal([5.0, -999.0], -999.0)


@pytest.mark.parametrize(
    ("base", "grid", "name"),
    [
        (dict(heads=np.ma.masked_equal([[1.0, -999.0]], -999.0)), {}, "base.heads"),
        (dict(noise=MASKED[1]), {}, "base.noise"),
        ({}, dict(m_in=MASKED), "grid.m_in"),
        ({}, dict(noise=[0.0, MASKED[1]]), "grid.noise"),
    ],
)
def test_masked_values_are_missing(tmp_path, base, grid, name):
    with pytest.raises(ValueError, match=f"{name} must have no missing values"):
        study(tmp_path, grid=grid, **base)
    unmasked = {n: np.ma.masked_equal(np.arange(1.0, 3.0), 7) for n in grid}
    assert len(study(tmp_path, grid=unmasked).cells) == (2 if grid else 1)


def test_studies_that_only_named_their_functions_can_be_read(tmp_path):
    """Early files lack the contents of functions, and their cells are named by the name alone."""
    found = study(tmp_path / "new", ("dist", drawn_tasks), heads=draw)
    found.run(progress=False)
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "new", old)
    contents = f', "contents": "{identity.contents(draw)}"'
    spec = (old / "study.json").read_text().replace(contents, "")
    tree = json.loads(spec) | {"measure": ["dist", "drawn_tasks"]}
    (old / "study.json").write_text(json.dumps(tree))
    (cell,) = ms.Study(old).cells
    for path in (old / "rows").iterdir():
        path.write_text(path.read_text().replace(found.cells[0].name, cell.name))
    assert cell.name != found.cells[0].name
    pd.testing.assert_frame_equal(ms.Study(old).table(), found.table())
    assert ms.Study(old).run(progress=False).complete
    with pytest.raises(ValueError, match=r"has base\.heads = .*draw; this one has .*\(contents"):
        study(old, ("dist", drawn_tasks), heads=draw)
