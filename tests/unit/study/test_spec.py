"""Specifications of studies: names, dependent values, cells and their random numbers."""

import itertools
from collections import deque
from dataclasses import fields

import numpy as np
import pytest

import metaspan as ms
from metaspan.methods import KINDS
from metaspan.study.design.cells import configure_cell, method_of
from metaspan.study.design.dependents import WORDS

BASE = dict(d=20, k=2, method="anil", n=4)


def study(folder, grid=None, **rest):
    base = {**BASE, **rest.pop("base", {})}
    for name in grid or {}:
        base.pop(name, None)
    return ms.Study(folder, base=base, grid=grid, **rest)


def arguments(folder, grid=None, **rest):
    """What the runs of each cell take, but for the seed."""
    cells = study(folder, grid, **rest).cells
    return [{n: v for n, v in cell.arguments.items() if n != "seed"} for cell in cells]


def test_grids_are_all_combinations_the_last_axis_fastest(tmp_path):
    grid = dict(d=[30, 20, 10], m_in=range(5, 7), beta=np.array([0.1, 0.2]), m_out="m_in")
    found = study(tmp_path, grid).cells
    values = itertools.product([30, 20, 10], [5, 6], [0.1, 0.2])
    assert [dict(cell.values) for cell in found] == [
        dict(d=d, m_in=m, beta=beta, m_out=m) for d, m, beta in values
    ]
    assert {type(cell.values["beta"]) for cell in found} == {float}


def test_expressions_may_stand_anywhere(tmp_path):
    """In constants, for names of the grid, in lists, and on names that no run takes."""
    found = arguments(
        tmp_path,
        dict(c=[2, 3], d=["10*c", "10*c + 1"], m_in="d//c", m_out="m_in + k"),
        base=dict(n="c*k", rounds="10*n"),
    )
    assert [(a["d"], a["m_in"], a["m_out"], a["n"], a["rounds"]) for a in found] == [
        (20, 10, 12, 4, 40),
        (21, 10, 12, 4, 40),
        (30, 10, 12, 6, 60),
        (31, 10, 12, 6, 60),
    ]
    assert not [a for a in found if "c" in a]


def test_functions_take_names_of_the_study(tmp_path):
    def heads(k, *, mu):
        return ms.GaussianHeads(cov=[1.0] * (k - 1) + [mu])

    grid = dict(mu=[1.0, 0.5], heads=heads, n=lambda k, mu: np.int64(k / mu))
    found = arguments(tmp_path, grid)
    assert [a["heads"].cov.tolist() for a in found] == [[1.0, 1.0], [1.0, 0.5]]
    assert [a["n"] for a in found] == [2, 4]
    assert {type(a["n"]) for a in found} == {int}


def test_objects_may_have_fields_that_are_expressions(tmp_path):
    template = dict(kind="GaussianHeads", cov="diag([1]*(k-1) + [mu])")
    inits = [dict(kind="Init", dist="mu/2"), "random"]
    found = arguments(tmp_path, dict(mu=[1.0, 0.5], heads=template, init=inits))
    assert [(a["heads"].cov.tolist(), a["init"]) for a in found] == [
        ([[1.0, 0.0], [0.0, 1.0]], ms.Init(dist=0.5)),
        ([[1.0, 0.0], [0.0, 1.0]], "random"),
        ([[1.0, 0.0], [0.0, 0.5]], ms.Init(dist=0.25)),
        ([[1.0, 0.0], [0.0, 0.5]], "random"),
    ]


def test_ranges_on_a_logarithmic_axis_are_values(tmp_path):
    found = study(tmp_path, dict(d=ms.log_range(10, 1000, 3))).cells
    assert [cell.values["d"] for cell in found] == [10, 100, 1000]


@pytest.mark.parametrize(
    "values",
    [
        np.array([5, 8]),
        np.ma.array([5, 8]),
        memoryview(np.array([5, 8])),
        deque([5, 8]),
        {5: "a", 8: "b"}.keys(),
        {"a": 5, "b": 8}.values(),
        range(5, 9, 3),
    ],
    ids=lambda values: type(values).__name__,
)
def test_whatever_holds_values_in_order_is_an_axis(tmp_path, values):
    assert [cell.values["d"] for cell in study(tmp_path, dict(d=values)).cells] == [5, 8]


def test_columns_and_indices_are_axes(tmp_path):
    pd = pytest.importorskip("pandas")
    numbers, words = pd.Series([5, 8]), pd.Series(["anil", "maml"])
    for kind in (pd.Series, pd.Index, pd.Categorical):
        cells = study(tmp_path, dict(d=kind(numbers), method=kind(words))).cells
        found = [(cell.values["d"], cell.values["method"]) for cell in cells]
        assert found == [(5, "anil"), (5, "maml"), (8, "anil"), (8, "maml")]
        assert {type(d) for d, _ in found} == {int}


def test_counts_may_be_whole_floats(tmp_path):
    whole = dict(d=1e3, k=2.0, n=4.0, rounds=1e2, record_every=10.0, m_in=5.0, m_out=5.0)
    (found,) = arguments(tmp_path, base={**whole, "noise": 1.0})
    assert {name: found[name] for name in whole} == {n: int(v) for n, v in whole.items()}
    assert {type(found[name]) for name in whole} == {int}
    assert type(found["noise"]) is float
    with pytest.raises(TypeError, match="n must be an integer"):
        configure_cell({**found, "n": 4.5})


@pytest.mark.parametrize(
    ("method", "steps", "expected"),
    [
        ("maml", dict(alpha=0.2, beta=0.3), ms.MAML(alpha=0.2, beta=0.3)),
        ("fo-anil", dict(inner_steps=3), ms.ANIL(first_order=True, inner_steps=3)),
        (ms.MAML(alpha=0.2, beta=0.3), dict(beta=0.4), ms.MAML(alpha=0.2, beta=0.4)),
        (ms.ANIL(), dict(first_order=True), ms.ANIL(first_order=True)),
        ("average-risk", dict(alpha=0.2, beta=0.3, inner_steps=2), ms.AverageRisk(beta=0.3)),
        (ms.AverageRisk(beta=0.1), dict(alpha=0.2), ms.AverageRisk(beta=0.1)),
    ],
)
def test_step_sizes_replace_those_of_the_method(tmp_path, method, steps, expected):
    (found,) = study(tmp_path, base=dict(method=method, **steps)).cells
    assert method_of(found.arguments) == expected
    assert configure_cell(found.arguments, trials=1).method == expected


def test_none_is_a_word_for_files(tmp_path):
    """TOML has no null: `none` and `None` as strings mean None, and so does False for `stop`."""
    found = arguments(tmp_path, dict(m_in=["none", 5]), base=dict(stop="none", m_out="None"))
    assert [a["m_in"] for a in found] == [None, 5]
    assert {(a["stop"], a["m_out"]) for a in found} == {(None, None)}
    assert [a["stop"] for a in arguments(tmp_path, base=dict(stop=False))] == [None]
    assert [a["stop"] for a in arguments(tmp_path, dict(stop=[False, ms.Stop()]))] == [
        None,
        ms.Stop(),
    ]


def one(**changes):
    return {**dict(base=BASE, grid=dict(beta=[0.1])), **changes}


BAD = [
    (one(base=[1]), TypeError, r"base must be a mapping of names to values; got "),
    (one(grid=dict(d=[1])), ValueError, "d must be in base or in grid; it is in both"),
    (one(base={**BASE, "a b": 1}), ValueError, "base must hold names; got 'a b'"),
    (one(base={**BASE, 3: 1}), ValueError, "base must hold names; got 3"),
    (one(base={**BASE, "trials": 3}), ValueError, r"base\.trials: trials is seeds of the study"),
    (one(grid=dict(threads=[1])), ValueError, r"grid\.threads: threads is an argument of run\(\)"),
    (one(base={**BASE, "checkpoint": "f"}), ValueError, "checkpoint is the study's own"),
    (one(base={**BASE, "noize": 0.1}), ValueError, "'noize' is no name of .*mean 'noise'"),
    (one(base={**BASE, "n": "4*q"}), ValueError, "n needs 'q', which has no value"),
    (one(base={**BASE, "n": "4*noise"}), ValueError, "n needs 'noise', which has no value"),
    (
        one(base={**BASE, "alhpa": 0.1, "rounds": "round(1 / alpha)"}),
        ValueError,
        "'alhpa' is no name of .*: did you mean 'alpha'",
    ),
    (
        one(base={**BASE, "alpha": 0.1, "rounds": "round(1 / alhpa)"}),
        ValueError,
        "rounds needs 'alhpa', which has no value: did you mean 'alpha'",
    ),
    (
        one(base={**BASE, "speed": 0.1, "rounds": "round(1 / sped)"}),
        ValueError,
        "rounds needs 'sped', which has no value: did you mean 'speed'",
    ),
    (
        one(grid=dict(beta=np.ma.masked_equal([0.1, -999.0], -999.0))),
        ValueError,
        r"grid\.beta must have no missing values",
    ),
    (one(grid=dict(beta={0.1, 0.2})), TypeError, r"grid\.beta must be a list or a range; got "),
    (one(base={**BASE, "n": "4*"}), ValueError, r"base\.n: "),
    (one(base={**BASE, "n": "m", "m": "n"}), ValueError, "m|n"),
    (one(base=dict(d=3, k=2)), ValueError, "base or grid must hold 'method'; it is in neither"),
    (one(base={**BASE, "n": lambda k: k}), TypeError, r"base\.n must be a constant; functions"),
    (one(base={**BASE, "heads": {}}), ValueError, r"base\.heads\.kind must be one of ANIL, "),
    (one(base={**BASE, "heads": dict(kind="Checkpoint")}), ValueError, "got 'Checkpoint'"),
    (one(base={**BASE, "init": dict(kind="Init", dits=1)}), ValueError, "got 'dits'"),
    (one(grid=dict(beta=[])), ValueError, r"grid\.beta must hold at least one value; got none"),
    (one(grid=dict(beta=["2*"])), ValueError, r"grid\.beta: "),
    (one(grid=dict(beta=lambda *a: 1)), TypeError, r"grid\.beta: parameters must be names .*\*a"),
    (one(grid=dict(beta=lambda q: 1)), ValueError, "beta needs 'q', which has no value"),
    (one(seeds=0), ValueError, "seeds must be at least 1; got 0"),
    (one(seeds=[]), ValueError, r"seeds must hold different numbers, at least one; got \[\]"),
    (one(seeds=[1, 1]), ValueError, r"different numbers, at least one; got \[1, 1\]"),
    (one(seeds=[-1]), ValueError, "seeds must be .*0.*; got -1"),
    (one(seeds="3"), TypeError, "seeds must be an integer; got "),
    (one(measure="dits"), ValueError, "measure must be 'dist', .* or a function; got 'dits'"),
    (one(measure=["dist", "dist"]), ValueError, "every name once, none of the grid; got 'dist'"),
    (one(measure=lambda r: 1), ValueError, "functions with a name; got a lambda"),
    (one(measure=[3]), TypeError, "measure must hold names and functions; got "),
    (one(measure="rounds_to:x"), ValueError, "'rounds_to:x' must end in a positive float"),
    (one(measure="risk:2.5"), ValueError, "'risk:2.5' must end in a positive int"),
    (one(keep="angles"), ValueError, "keep must be .*; got 'angles'"),
    (one(keep=3), TypeError, "keep must hold names; got 3"),
    (one(keep_rows=1), ValueError, "keep_rows must be at least 2; got 1"),
    (one(common="method"), ValueError, r"names that the grid varies \(beta\); got 'method'"),
]


@pytest.mark.parametrize(("given", "kind", "message"), BAD)
def test_bad_studies_are_refused_by_name(tmp_path, given, kind, message):
    with pytest.raises(kind, match=message):
        ms.Study(tmp_path, **given)


def test_values_that_do_not_fit_name_their_cell(tmp_path):
    with pytest.raises(ValueError, match="n of cell 1: "):
        _ = study(tmp_path, dict(c=[1, 0], n="4/c")).cells
    with pytest.raises(ValueError, match="two cells are the same"):
        _ = study(tmp_path, dict(d=[1000, 1e3])).cells


def names(folder, grid, **rest):
    return [cell.name for cell in study(folder, grid, **rest).cells]


def test_names_of_cells_last(tmp_path):
    """Files of rows contain the names: if they changed, every run would be done again."""
    grid = dict(d=[10, 1000], noise=[0.1])
    assert names(tmp_path, grid) == PINNED
    assert names(tmp_path, {"noise": [0.1], "d": [10, 1000]}) == PINNED  # in any order
    assert names(tmp_path, dict(d=[10.0, 1e3], noise=[0.1])) == PINNED
    assert names(tmp_path, dict(d=[np.int32(10), np.int64(1000)], noise=np.array([0.1]))) == PINNED
    assert names(tmp_path, grid, seeds=7, measure="w_norm", keep="dist") == PINNED


PINNED = ["194a1f6e1b6b", "40b15ca9d681"]


def test_names_of_cells_tell_all_values_apart(tmp_path):
    base = dict(method=ms.ANIL(), noise=0.1)
    laws = [ms.GaussianHeads(), ms.SphereHeads(), ms.GaussianHeads(cov=[1.0, 2.0])]
    changes = [
        {},
        dict(noise=0.1 + 1e-12),
        dict(noise=0),
        dict(method="anil"),
        dict(method=ms.ANIL(alpha=0.2)),
        dict(method=ms.MAML()),
        *(dict(heads=law) for law in laws),
        dict(n=5),
        dict(n=None),
        dict(stop=None),
        dict(stop=ms.Stop()),
        dict(seed=1),
        dict(first_order=True),
        dict(init=(np.eye(20, 2), np.ones(2))),
        dict(init=(np.eye(20, 2), np.zeros(2))),
    ]
    found = [names(tmp_path, dict(beta=[0.1]), base={**base, **c})[0] for c in changes]
    found += names(tmp_path, dict(beta=[0.2, 0.3, "2*noise + 0.3"]), base=base)
    found += names(tmp_path, dict(first_order=[True, False, 1]), base=base)
    assert len(set(found)) == len(found)


def test_names_of_cells_tell_values_not_how_they_came(tmp_path):
    by_value = names(tmp_path, dict(m_in=[5, 6], beta=[0.1]))
    assert names(tmp_path, dict(m_in=["k + 3", 6], beta=["k/20"])) == by_value
    functions = dict(m_in=lambda beta: [5, 6][round(100 * beta) - 10], beta=[0.1, 0.11])
    assert names(tmp_path, functions)[0] == by_value[0]


def test_cells_have_random_numbers_of_their_own(tmp_path):
    grid = dict(d=[10, 20], method=["anil", "maml"], n=[4, 5])
    found = [cell.arguments["seed"] for cell in study(tmp_path, grid).cells]
    assert len(set(found)) == 8
    assert all(0 <= seed < 2**64 for seed in found)
    other = [cell.arguments["seed"] for cell in study(tmp_path, grid, base=dict(seed=1)).cells]
    assert not set(found) & set(other)


def test_common_numbers_are_shared_across_an_axis(tmp_path):
    """Methods start from one state, and see the tasks that each would see in a run by hand."""
    pytest.importorskip("pandas")
    grid = dict(d=[10, 20], method=["anil", "maml", "average-risk"])
    base = dict(noise=0.1, rounds=30, stop=None)
    engines = {
        "population": {},
        "collapsed": dict(m_in=5, m_out=5),
        "sampled": dict(m_in=5, m_out=5, engine="sampled"),
    }
    for name, further in engines.items():
        given = study(
            tmp_path / name, grid, base={**base, **further}, common="method", seeds=2, keep="dist"
        )
        keys = [cell.arguments["seed"] for cell in given.cells]
        assert len(set(keys)) == 2
        assert keys[0] == keys[1] == keys[2]
        given.run(progress=False)
        traces = given.traces()
        # Average risk has no alpha, and starts at another scale: from the same subspace, rounded.
        first = traces[traces["round"] == 0].groupby(["d", "seed"])["dist"]
        assert (first.max() - first.min() < 1e-14).all()
        for row in given.table().itertuples():
            (key,) = {cell.arguments["seed"] for cell in given.cells if cell.values["d"] == row.d}
            tasks = ms.LinearTasks(d=row.d, k=2, noise=0.1)
            r = ms.train(
                tasks, row.method, rounds=30, n=4, stop=None, **further,
                seed=key, trials=range(row.seed, row.seed + 1),
            )  # fmt: skip
            assert r.config.engine == name
            assert r.trace["dist"][-1] == row.dist


def test_words_of_methods_are_not_expressions():
    """A field of a method whose type is str takes words, which a study does not evaluate."""
    words = {field.name for kind in KINDS for field in fields(kind) if field.type == "str"}
    assert {"moves", "outer", "per"} <= words <= set(WORDS)
