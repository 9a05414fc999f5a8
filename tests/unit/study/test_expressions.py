"""Expressions of studies have the values of Python, and depend on each other in order."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaspan.study.design.expressions import Expression, order

NAMES = {"a": 3, "b": 0.5, "k": 4, "d": 10**12, "yes": True, "heads": [0.5, 2, 1], "none": None}
OF_MATH = (math.ceil, math.floor, math.exp, math.log, math.log2, math.log10, math.sqrt)
BUILT_IN = (abs, min, max, round, int, float, len, sum)
PYTHON = {"__builtins__": {}} | {f.__name__: f for f in (*OF_MATH, *BUILT_IN)}
ARITHMETIC = ["+", "-", "*", "/", "//", "%"]
TESTS = ["<", "<=", ">", ">=", "==", "!=", "and", "or"]


def python(text, values):
    """What Python itself computes."""
    return eval(text, dict(PYTHON), dict(values))


def same(found, expected):
    return type(found) is type(expected) and repr(found) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "4*d*k",
        "d**2 + 1",
        "-a**2 + +k - (-b)",
        "2**-1",
        "2**1024",
        "-2**1024",
        "7/2",
        "8/2",
        "-7//2",
        "-7 % 3",
        "7.5 // 2",
        "7.5 % -2",
        "ceil(log(d))",
        "floor(sqrt(d/k)) + round(b)",
        "round(2.5, 0)",
        "round(1.2345, 2)",
        "round(12345, -2)",
        "round(a, none)",
        "log(8, 2)",
        "log2(d) + log10(d) + exp(-a)",
        "int(2.9) + int(-2.9)",
        "float(a)",
        "abs(-a)",
        "min(a, k, b)",
        "max(heads)",
        "sum(heads) / len(heads)",
        "heads[0] + heads[-1] + heads[a - 2]",
        "[[1, 2], [a]][1][0]",
        "[1]*(k - 1) + [b]",
        "k*[a]",
        "[1]*-1",
        "[1]*yes",
        "[]",
        "1 < a <= 3 < k != 5",
        "a == 3 > 4",
        "heads == [0.5, 2, 1]",
        "a and b",
        "0 or b",
        "a and 0 and 1/0",
        "none or heads",
        "1 or 1/0",
        "not a",
        "a if k > 3 else 1/0",
        "1/0 if k < 3 else (b if yes else a)",
        "True + True",
        "None",
        "1e308 * 1.5",
        "1_000 + 0x10 + 0b11",
        " a \n + \t k ",
        "max(1, 2,)",
        "len([[], [1]])",
    ],
)
def test_expressions_have_the_values_of_python(text):
    expected = python(" ".join(text.split()), NAMES)
    assert same(Expression(text).value(NAMES), expected)


LEAVES = st.one_of(
    st.integers(0, 12).map(str),
    st.sampled_from(["0.25", "1.5", "3e2", "a", "b", "c", "True", "False"]),
)


def grown(inner):
    infix = st.sampled_from([*ARITHMETIC, *TESTS])
    one = st.sampled_from(["-({})", "+({})", "(not ({}))", "abs({})", "ceil({})", "floor({})"])
    one |= st.sampled_from(["sqrt({})", "log({})", "int({})", "float({})", "round({})", "[{}][0]"])
    two = st.sampled_from(["min({}, {})", "max({}, {})", "sum([{}, {}])", "[{}, {}][-1]"])
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, infix, inner),
        st.builds("{} {} {}".format, inner, infix, inner),
        st.builds("({})**{}".format, LEAVES, st.integers(0, 3)),
        st.builds("({}) if ({}) else ({})".format, inner, inner, inner),
        st.builds(lambda form, x: form.format(x), one, inner),
        st.builds(lambda form, x, y: form.format(x, y), two, inner, inner),
    )


@given(
    text=st.recursive(LEAVES, grown, max_leaves=12),
    values=st.fixed_dictionaries(
        {"a": st.integers(-5, 5), "b": st.floats(-4, 4).map(lambda x: round(x, 3))}
    ),
)
def test_random_expressions_have_the_values_of_python(text, values):
    values = {**values, "c": 10**20}
    expression = Expression(text)
    try:
        expected = python(text, values)
    except (ArithmeticError, ValueError, TypeError):
        with pytest.raises(ValueError, match=" "):
            expression.value(values)
    else:
        assert same(expression.value(values), expected)


def test_matrices_are_those_of_numpy():
    values = {"k": 3, "mu": 0.25, "v": [1, 2, 5]}
    for text, expected in {
        "diag([1]*(k - 1) + [mu])": np.diag([1, 1, 0.25]),
        "diag(v)": np.diag([1, 2, 5]),
        "diag([])": np.zeros((0, 0)).tolist(),
        "eye(k)": np.eye(3),
        "ones(k)": np.ones(3),
        "zeros(k + 1)": np.zeros(4),
        "full(k, mu)": np.full(3, 0.25),
        "ones(0)": [],
    }.items():
        np.testing.assert_array_equal(Expression(text).value(values), expected)
    found = Expression("diag(v)").value(values)
    assert found is not values["v"]
    assert all(x is not y for x, y in itertools.combinations(found, 2))


def test_values_may_be_of_numpy():
    values = {"n": np.int64(7), "x": np.float32(0.5), "h": np.arange(3.0), "t": (1, np.bool_(True))}
    assert same(Expression("n//2").value(values), 3)
    assert same(Expression("x*2").value(values), 1.0)
    assert same(Expression("h").value(values), [0.0, 1.0, 2.0])
    assert same(Expression("t").value(values), [1, True])
    assert same(Expression("n**40").value(values), 7**40)


def test_values_of_names_are_never_changed_or_handed_out():
    heads = [[1, 2], [3]]
    found = Expression("heads").value({"heads": heads})
    found[0].append(9)
    assert heads == [[1, 2], [3]]
    again = Expression("[1, 2]")
    again.value({}).append(3)
    assert again.value({}) == [1, 2]


def test_names_are_those_that_need_a_value():
    assert Expression("ceil(log(d))*k + [1, None][0]").names == {"d", "k"}
    assert Expression("4").names == frozenset()
    assert isinstance(Expression("d").names, frozenset)
    # Names of the part that is not taken are asked for all the same.
    with pytest.raises(ValueError, match="'n' has no value"):
        Expression("1 if k else n").value({"k": 1})


def test_expressions_compare_by_text_and_survive_a_copy():
    one = Expression("4*d*k")
    assert one == Expression(" 4*d*k\n")
    assert one != Expression("4*k*d")
    assert len({one, Expression("4*d*k"), Expression("4 * d*k")}) == 2
    assert repr(one) == "Expression('4*d*k')"
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert other == one
        assert hash(other) == hash(one)
        assert other.names == one.names
        assert other.value({"d": 2, "k": 3}) == 24
    with pytest.raises(AttributeError):
        one.text = "1"


def test_order_puts_what_is_needed_first():
    needs = {
        "m_out": {"m_in"},
        "n": {"k", "d"},
        "m_in": {"n", "k"},
        "d": set(),
        "cov": {"m_out", "d", "elsewhere"},
    }
    found = order({name: frozenset(needed) for name, needed in needs.items()})
    assert sorted(found) == sorted(needs)
    for name, needed in needs.items():
        assert all(found.index(other) < found.index(name) for other in needed & needs.keys())
    assert order({}) == []


@given(
    st.dictionaries(
        st.sampled_from("abcdefg"), st.frozensets(st.sampled_from("abcdefg"), max_size=3)
    )
)
def test_order_is_found_unless_there_is_a_circle(needs):
    reached = {name: set(needed) for name, needed in needs.items()}
    for _ in needs:
        for name in needs:
            reached[name].update(*(reached.get(other, set()) for other in set(reached[name])))
    if any(name in found for name, found in reached.items()):
        with pytest.raises(ValueError, match="names must not depend on themselves; got") as caught:
            order(needs)
        circle = str(caught.value).split("got ")[1].split(" -> ")
        assert circle[0] == circle[-1]
        assert len(circle) == len(set(circle)) + 1
        assert all(b in needs[a] for a, b in itertools.pairwise(circle))
    else:
        found = order(needs)
        assert sorted(found) == sorted(needs)
        for name in needs:
            assert not needs[name] & set(found[found.index(name) :])


@pytest.mark.parametrize(
    ("needs", "spelled"),
    [
        ({"n": {"m_in"}, "m_in": {"n"}}, "n -> m_in -> n"),
        ({"d": set(), "n": {"n"}}, "n -> n"),
        ({"a": {"n"}, "n": {"m"}, "k": {"n"}, "m": {"k", "d"}}, "n -> m -> k -> n"),
    ],
)
def test_circles_are_spelled_from_the_name_that_comes_first(needs, spelled):
    with pytest.raises(ValueError, match=f"got {spelled}$"):
        order({name: frozenset(needed) for name, needed in needs.items()})
