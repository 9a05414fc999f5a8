"""Studies in TOML files and ranges on a logarithmic axis: values and errors."""

import math
import os
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaspan.study.design.ranges import log_range
from metaspan.study.design.toml import read

STUDY = """
folder = "runs/sc"
seeds = 20
measure = ["dist", "rounds_to:1e-3"]
keep = ["dist"]
common = ["method"]

[base]
rounds = 3000
noise = 0.1
stop = false
m_in = "k"
method = { kind = "MAML", alpha = 0.05, beta = 0.05 }

[grid]
d = [1000, 10_000]
k = { log = [1, 100], num = 5 }
beta = { log = [0.1, 10.0], num = 3 }
n = "4*k"
mu2 = [1.0, 0.25]
heads = { kind = "GaussianHeads", cov = "diag([1]*(k-1) + [mu2])" }
init = [{ kind = "Init", dist = 0.5 }, { kind = "Init" }]
cov = [[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]

[grid.features]
kind = "StudentT"
df = 5
"""


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a study file and returns its path."""

    def write(content):
        path = tmp_path / "study.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_study_files_hold_the_arguments_of_a_study(written, tmp_path):
    found = read(written(STUDY))
    expected = {
        "folder": str(tmp_path / "runs/sc"),
        "seeds": 20,
        "measure": ["dist", "rounds_to:1e-3"],
        "keep": ["dist"],
        "common": ["method"],
        "base": {
            "rounds": 3000,
            "noise": 0.1,
            "stop": False,
            "m_in": "k",
            "method": {"kind": "MAML", "alpha": 0.05, "beta": 0.05},
        },
        "grid": {
            "d": [1000, 10000],
            "k": [1, 3, 10, 32, 100],
            "beta": [0.1, 1.0, 10.0],
            "n": "4*k",
            "mu2": [1.0, 0.25],
            "heads": {"kind": "GaussianHeads", "cov": "diag([1]*(k-1) + [mu2])"},
            "init": [{"kind": "Init", "dist": 0.5}, {"kind": "Init"}],
            "cov": [[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]],
            "features": {"kind": "StudentT", "df": 5},
        },
    }
    assert repr(found) == repr(expected)


def test_arguments_that_a_file_leaves_out_are_left_out(written):
    assert read(written("[grid]\nd = [10]")) == {"grid": {"d": [10]}}
    assert read(os.fspath(written("seeds = [0, 5, 7]\n[base]"))) == {"seeds": [0, 5, 7], "base": {}}


def test_a_byte_order_mark_is_no_text(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("seeds = 2\n[base]\nk = 3\n", encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert read(file) == {"seeds": 2, "base": {"k": 3}}


def test_folders_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "s.toml").write_text("folder = 'out'\n[base]")
    monkeypatch.chdir(tmp_path)
    assert read("sub/s.toml")["folder"] == os.path.join("sub", "out")
    monkeypatch.chdir(tmp_path / "sub")
    assert read("s.toml")["folder"] == "out"
    elsewhere = str(tmp_path / "elsewhere")
    (tmp_path / "sub" / "s.toml").write_text(f"folder = '{elsewhere}'\n[base]")
    assert read("s.toml")["folder"] == elsewhere


WRONG = {
    "seed = 3\n[grid]": "unknown key 'seed': did you mean 'seeds'?",
    "measures = []\n[grid]": "unknown key 'measures': did you mean 'measure'?",
    "[gird]\nd = [1]": "unknown key 'gird': did you mean 'grid'?",
    "zzz = 3\n[grid]": "unknown key 'zzz': known are folder, seeds, measure, keep, keep_rows, "
    "common, base, grid",
    "": "a table 'base' or 'grid' is missing",
    "seeds = 3": "a table 'base' or 'grid' is missing",
    "base = 3": "base must be a table, [base]; got 3",
    "grid = [1]": "grid must be a table, [grid]; got [1]",
    "[[grid]]\nd = [1]": "grid must be a table, [grid]; got [{'d': [1]}]",
    "folder = 3\n[grid]": "folder must be the name of a folder; got 3",
    "folder = ''\n[grid]": "folder must be the name of a folder; got ''",
    'folder = "a\\u0000"\n[grid]': "folder must be the name of a folder; got 'a\\x00'",
    "seeds = 0\n[grid]": "seeds must be an integer of at least 1 or a list of integers; got 0",
    "seeds = true\n[grid]": "seeds must be an integer of at least 1 or a list of integers; got "
    "True",
    "seeds = 1.5\n[grid]": "seeds must be an integer of at least 1 or a list of integers; got 1.5",
    "seeds = '3'\n[grid]": "seeds must be an integer of at least 1 or a list of integers; got '3'",
    "seeds = []\n[grid]": "seeds must be a list of one seed at least; got []",
    "seeds = [0, -1]\n[grid]": "seeds[1] must be an integer of at least 0; got -1",
    "seeds = [0, 1.0]\n[grid]": "seeds[1] must be an integer of at least 0; got 1.0",
    "measure = 'dist'\n[grid]": "measure must be a list of names; got 'dist'",
    "measure = ['dist', 3]\n[grid]": "measure[1] must be a name in quotes; got 3",
    "keep = {}\n[grid]": "keep must be a list of names; got {}",
    "common = [[]]\n[grid]": "common[0] must be a name in quotes; got []",
    "[grid]\nd = 1000": "grid.d must be a list of values, an expression in quotes, or a table; got "
    "1000",
    "[grid]\nd = true": "grid.d must be a list of values, an expression in quotes, or a table; got "
    "True",
    "[grid]\nd = []": "grid.d must be a list of one value at least; got []",
    "[grid]\nn = '4*'": "grid.n: '4*': this is not an expression: invalid syntax",
    "[grid]\nn = '2^d'": "grid.n: '2^d': '^' is not allowed; ** is the power",
    "[grid]\nk = {}": "grid.k must be a table with 'kind', or with 'log' and 'num'; got {}",
    "[grid]\nk = {lo = 1}": "grid.k must be a table with 'kind', or with 'log' and 'num'; got "
    "{'lo': 1}",
    "[grid]\nk = {log = [1, 9]}": "grid.k.num is missing beside grid.k.log",
    "[grid]\nk = {num = 5}": "grid.k.log is missing beside grid.k.num",
    "[grid]\nk = {log = [1, 9], nun = 5}": "unknown key 'nun' in grid.k: did you mean 'num'?",
    "[grid]\nk = {log = [1, 9], num = 1}": "grid.k.num must be an integer of at least 2; got 1",
    "[grid]\nk = {log = [1, 9], num = 5.0}": "grid.k.num must be an integer of at least 2; got 5.0",
    "[grid]\nk = {log = [1, 9], num = true}": "grid.k.num must be an integer of at least 2; got "
    "True",
    "[grid]\nk = {log = 9, num = 3}": "grid.k.log must be a list of the first and the last value; "
    "got 9",
    "[grid]\nk = {log = [1, 2, 3], num = 3}": "grid.k.log must be a list of the first and the last "
    "value; got [1, 2, 3]",
    "[grid]\nk = {log = [0, 9], num = 3}": "grid.k: first must be at least 1; got 0",
    "[grid]\nk = {log = [0.0, 9], num = 3}": "grid.k: first must be positive; got 0",
    "[grid]\nk = {log = [1.0, -2.0], num = 3}": "grid.k: last must be finite and at least 0; got "
    "-2",
    "[grid]\nk = {log = [1.0, inf], num = 3}": "grid.k: last must be finite and at least 0; got "
    "inf",
    "[grid]\nk = {log = ['a', 3], num = 3}": "grid.k: first must be a number; got 'a'",
    "[grid]\nk = {log = [7, 7], num = 3}": "grid.k: first and last must differ; got 7 twice",
    "[grid]\nk = {log = [1, 7], num = 10000000000}": "grid.k: num must be at most 100000; got "
    "10000000000",
    "[grid]\nk = {kind = 3}": "grid.k.kind must be a name in quotes; got 3",
    "[grid]\nk = [1, {a = 3}]": "grid.k[1] must be a table with a 'kind' and its fields; "
    "got {'a': 3}",
    "[grid]\nk = [[1], [1979-05-27]]": "grid.k[1][0] must be a number, text, a list or a table; "
    "got datetime.date(1979, 5, 27)",
    "[base]\nk = nan": "base.k must be a number; got nan",
    "[base]\nk = {kind = 'A', x = {y = 1}}": "base.k.x must be a table with a 'kind' and its "
    "fields; got {'y': 1}",
    "[base]\nk = {log = [1, 9], num = 3}": "base.k must be a table with a 'kind' and its fields; "
    "got {'log': [1, 9], 'num': 3}",
    "[base]\nk = 07:32:00": "base.k must be a number, text, a list or a table; got "
    "datetime.time(7, 32)",
    '[grid]\n"a\\nb" = 3': "grid.'a\\nb' must be a list of values, an expression in quotes, or a "
    "table; got 3",
}


@pytest.mark.parametrize("content", WRONG)
def test_errors_name_the_file_and_the_key(written, content):
    path = written(content)
    with pytest.raises(ValueError, match=r"study\.toml: ") as caught:
        read(path)
    assert str(caught.value).split("study.toml: ", 1) == [f"{path.parent}{os.sep}", WRONG[content]]


@pytest.mark.parametrize(
    ("content", "line"),
    [("seeds = \n[grid]", 1), ("seeds = 3\nseeds = 4", 2), ("[grid]\nd = [1,\n", 3)],
)
def test_syntax_errors_name_the_line_and_the_column(written, content, line):
    place = rf"\(at line {line}, column \d+\)|\(at end of document\)"
    with pytest.raises(ValueError, match=rf"study\.toml: .*({place})$"):
        read(written(content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "the text is not UTF-8 at byte 0"),
        (b"seeds = 3\n# \xe9\n[grid]", "the text is not UTF-8 at byte 12"),
        (b"\0", "line 1, column 1"),
        (b"[base]\na = " + b"9" * 5000, "digits"),
        (b"[base]\na = " + b"[" * 20_000, "nested"),
        (
            b"[base]\na = " + b"[" * 300 + b"]" * 300 + b"\n[base.b" + b".b" * 2000 + b"]",
            "nest|kind",
        ),
        (b"[base" + b".a" * 2000 + b"]", r"nested|base\.a must be"),
        (b"[base]\n" + b"#" * 10**6, "at most 1000000 bytes"),
    ],
    ids=["utf16", "latin1", "zero", "digits", "brackets", "both", "keys", "size"],
)
def test_hostile_files_are_value_errors(written, content, says):
    with pytest.raises(ValueError, match=rf"study\.toml: .*({says})"):
        read(written(content))


def test_files_that_are_not_there_are_errors_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.toml")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(TypeError, match="path must be a path; got 0"):
        read(0)


KEYS = ["seeds", "measure", "folder", "base", "grid", "grid.d", "base.k", "grid.k.kind", "x"]
VALUES = ["3", "-1", "0.5", "'4*d'", "[1, 2]", "['dist']", "{}", "{log = [1, 9], num = 3}", "nan"]
VALUES += ["{kind = 'MAML'}", "[[[]]]", "true", "1979-05-27", "'\\'", "[{}]", "'''4*\nd'''"]
LINES = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds("[{}]".format, st.sampled_from(KEYS)),
    st.text(max_size=6),
)


@given(
    st.one_of(
        st.binary(max_size=60), st.lists(LINES, max_size=5).map(lambda x: "\n".join(x).encode())
    )
)
def test_any_bytes_are_a_study_or_a_value_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    try:
        found = read(path)
    except ValueError as error:
        message = str(error)
    else:
        message = None
        assert found.keys() == tomllib.loads(content.decode()).keys()
        assert found.keys() & {"base", "grid"}
    assert message is None or message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("first", "last", "num", "expected"),
    [
        (1, 100, 5, [1, 3, 10, 32, 100]),
        (10**3, 10**6, 4, [10**3, 10**4, 10**5, 10**6]),
        (100, 1, 3, [100, 10, 1]),
        (1, 3, 20, [1, 2, 3]),
        (5, 7, 2, [5, 7]),
        (0.1, 10.0, 3, [0.1, 1.0, 10.0]),
        (1, 100.0, 3, [1.0, 10.0, 100.0]),
        (1e-300, 1e300, 3, [1e-300, 1.0, 1e300]),
        (np.int64(1), np.int64(100), 3, [1, 10, 100]),
        (np.float32(1.0), 4, 2, [1.0, 4.0]),
    ],
)
def test_log_range_has_these_values(first, last, num, expected):
    assert repr(log_range(first, last, num)) == repr(expected)


ENDS = st.one_of(st.integers(1, 10**15), st.floats(1e-12, 1e12))


@given(first=ENDS, last=ENDS, num=st.integers(2, 40))
def test_log_range_is_even_on_a_logarithmic_axis(first, last, num):
    if first == last:
        with pytest.raises(ValueError, match="first and last must differ"):
            log_range(first, last, num)
        return
    found = log_range(first, last, num)
    assert found[0] == first
    assert found[-1] == last
    steps = np.sign(np.diff(found))
    assert (steps == np.sign(last - first)).all()
    whole = isinstance(first, int) and isinstance(last, int)
    assert {type(x) for x in found} == {int if whole else float}
    exact = [
        math.exp(math.log(first) + i / (num - 1) * (math.log(last) - math.log(first)))
        for i in range(num)
    ]
    for value in exact:
        nearest = min(found, key=lambda x: abs(x - value))
        assert abs(nearest - value) <= 1e-11 * value + (0.5 if whole else 0.0)
    assert len(found) <= num
    if abs(math.log(last / first)) > 1e-9 and not whole:
        assert len(found) == num


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((1, 10, 1), ValueError, "num must be at least 2; got 1"),
        ((1, 10, 3.0), TypeError, "num must be an integer; got 3.0"),
        ((0, 10, 3), ValueError, "first must be at least 1; got 0"),
        ((1, -10, 3), ValueError, "last must be at least 1; got -10"),
        ((1, 0.0, 3), ValueError, "last must be positive; got 0"),
        ((1, math.nan, 3), ValueError, "last must be finite"),
        ((1, 10**400, 3), ValueError, "last must be at most"),
        ((True, 10, 3), TypeError, "first must be an integer; got True"),
        (("1", 10, 3), TypeError, "first must be a number; got '1'"),
        ((2, 2.0, 3), ValueError, "first and last must differ; got 2 twice"),
    ],
)
def test_log_range_says_what_is_wrong(arguments, error, says):
    with pytest.raises(error, match=says):
        log_range(*arguments)
