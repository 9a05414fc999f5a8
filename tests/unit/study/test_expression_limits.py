"""Errors of expressions of studies, when they are built and when they are evaluated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaspan.study.design.arithmetic import FUNCTIONS
from metaspan.study.design.expressions import Expression

REFUSED = {
    "2^d": r"'2\^d': '\^' is not allowed; \*\* is the power",
    "'a'": "strings",
    '"a"*10**9': "strings",
    "f'{d}'": "strings",
    "d.real": "attributes",
    "d.real()": "not a known function",
    "().__class__": "attributes",
    "[].__class__.__base__": "attributes",
    "(1).__class__.__mro__[1]": "attributes",
    "__import__": "underscore",
    "__builtins__": "underscore",
    "_": "underscore",
    "__import__(1)": "not a known function",
    "eval(1)": "'eval' is not a known function",
    "open(0)": "not a known function",
    "pow(9, 9)": "not a known function",
    "range(9)": "not a known function",
    "logg(2)": "did you mean 'log'",
    "log": "'log' is a function",
    "[log][0](2)": "not a known function",
    "log(2)(3)": "not a known function",
    "d(3)": "'d' is not a known function",
    "lambda: 1": "':' is not allowed",
    "(y := 3)": "':' is not allowed",
    "a[1:2]": "':' is not allowed",
    "{1}": "is not allowed",
    "a[1, 2]": "tuples",
    "(1, 2)": "tuples",
    "1,": "tuples",
    "[*a]": "stars",
    "max(*a)": "stars",
    "max(**a)": "by name",
    "log(x=2)": "by name",
    "max(a, default=2)": "by name",
    "[x for x in a]": "comprehensions",
    "sum(x for x in a)": "comprehensions",
    "await a": "Await",
    "(yield)": "Yield",
    "(yield from a)": "YieldFrom",
    "...": "Ellipsis",
    "1j": "1j is not allowed",
    "1e999": "not finite",
    "2**1024 + " + "9" * 400: "beyond",
    "a is None": "comparison Is",
    "a is not b": "comparison IsNot",
    "a in b": "comparison In",
    "a not in b": "comparison NotIn",
    "a @ b": "'@'",
    "~a": "'~'",
    "a | b": r"'\|'",
    "a & b": "'&'",
    "a << 2": "LShift",
    "a >> 2": "RShift",
    "a; b": "';'",
    "a # b": "'#'",
    "a\\\n+ b": "is not allowed",
    "a = 3": "not an expression",
    "": "not an expression",
    "  ": "not an expression",
    "4*": "not an expression",
    "a b": "not an expression",
    "import os": "not an expression",
    "007": "not an expression",
    "log()": "'log' takes 1 or 2 arguments; got 0",
    "full(1)": "'full' takes 2 arguments; got 1",
    "sum([1], 2)": "'sum' takes 1 argument; got 2",
    "min()": "'min' takes at least 1 argument; got 0",
    "a\0": "is not allowed",
    "a\f+ b": "is not allowed",
    "ｄ": "is not allowed",
    "𝑑 + 1": "is not allowed",
    "e\u0301": "is not allowed",
    "ﬁ": "is not allowed",
    "a\u00a0+ b": "is not allowed",
    "a\u2028+ b": "is not allowed",
    "\ud800": "is not allowed",
    "(" * 400 + "1" + ")" * 400: "nested|nesting",
    "[" * 190 + "]" * 190 + "+" + "-" * 300 + "1": "nest",
    "-" * 999 + "1": "nesting",
    "not " * 249 + "1": "nesting",
    "1" + "+1" * 400: "nesting",
    "2" + "**2" * 300: "nesting",
    "a" + "[0]" * 300: "nesting",
    "f" + "()" * 400: "not a known function",
    "1" * 1001: "at most 1000 characters; got 1001",
    "a" * 10**7: "at most 1000 characters",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:30]))
def test_what_is_not_an_expression_is_refused(text):
    with pytest.raises(ValueError, match=REFUSED[text]) as caught:
        Expression(text)
    assert str(caught.value).startswith(" ".join(repr(text).split())[:20])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, 4, b"4*d", ["4*d"], Expression("d")])
def test_expressions_are_text(text):
    with pytest.raises(TypeError, match="an expression must be text; got"):
        Expression(text)


FAILS = {
    "log(m - 5)": r"^'log\(m - 5\)' with m=5: ",
    "sqrt(-m)": "m=5: ",
    "1/(m - 5)": "zero",
    "m % 0": "zero",
    "0**-1": "zero|0.0 cannot",
    "(-1)**0.5": "not real",
    "exp(1000)": "range",
    "1e308*10": "not finite",
    "-1e308*10": "not finite",
    "1e308 + 1e308": "not finite",
    "10.0**400": "range|large",
    "2**1024 + 1": "beyond 2",
    "2**1024*2": "beyond 2",
    "-2**1024 - 1": "beyond 2",
    "10**10**10": "beyond 2",
    "9**9**9**9": "beyond 2",
    "(-3)**10**300": "beyond 2",
    "2**1025": "beyond 2",
    "10**400/1.0": "beyond 2",
    "2**1024/1": "large",
    "[1]*10**10": "1000000 entries",
    "10**300*[1]": "1000000 entries",
    "[[1]*1000]*1001": "1000000 entries",
    "ones(10**6)": "1000000 entries",
    "zeros(10**12)": "1000000 entries",
    "full(10**12, 0)": "1000000 entries",
    "eye(1000)": "1000000 entries",
    "diag(ones(1000))": "1000000 entries",
    "[[[1]*100]*100]*100": "1000000 entries",
    "ones(400000) + ones(400000)": "1000000 entries",
    "[long, long]": "1000000 entries",
    "round(m, -10**10)": "digits of round",
    "round(1.5, 10**10)": "digits of round",
    "round(m, 1.0)": "float",
    "ones(-1)": "at least 0; got -1",
    "ones(2.0)": "must be an integer; got 2.0",
    "ones(m/5)": "must be an integer; got 1.0",
    "ones(True)": "must be an integer; got True",
    "full(2, [1])": "must be a number",
    "full(2, None)": "must be a number",
    "diag(m)": "must be a list of numbers; got 5",
    "diag([[1]])": "must be a list of numbers",
    "diag([None])": "must be a list of numbers",
    "heads[3]": "range",
    "heads[-4]": "range",
    "heads[10**30]": "index",
    "heads[0.0]": "integer",
    "heads[True]": "integer",
    "m[0]": "subscript",
    "None + 1": "NoneType",
    "None < 1": "NoneType",
    "-heads": "list",
    "heads - heads": "list",
    "[1]*(m/5)": "float",
    "heads < 3": "list",
    "sum([[1], [2]])": "list",
    "len(m)": "int",
    "max(m)": "int",
    "max([])": "empty|iterable",
    "log(heads)": "list|number",
    "kind": "a name must have a number or a list of numbers; got 'maml'",
    "object": "a name must have a number",
    "names": "a name must have a number",
    "unknown + m": "^'unknown \\+ m': 'unknown' has no value$",
    "large": "an integer is beyond 2",
    "deep": "recursion",
    "loop": "recursion",
    "longer": "1000000 entries",
    "array": "1000000 entries",
}


@pytest.fixture(scope="module")
def hostile():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    loop = []
    loop.append(loop)
    values = {"m": 5, "heads": [0.5, 2, 1], "kind": "maml", "object": object(), "names": ["a"]}
    values |= {"large": 10**5000, "deep": deep, "loop": loop, "array": np.ones((1001, 1000))}
    return values | {"long": [1] * 400_000, "longer": [0] * 10**6}


@pytest.mark.parametrize("text", FAILS)
def test_what_has_no_value_says_so_with_the_values_of_names(text, hostile):
    with pytest.raises(ValueError, match=FAILS[text]) as caught:
        Expression(text).value(hostile)
    assert str(caught.value).startswith(repr(text))
    assert len(str(caught.value)) < 400


PLAIN = (int, float, bool, type(None), list)
PIECES = ["a", "b", "heads", "1", "0", "2.5", "1e300", "10**9", "**", "*", "+", "-", "/", "//", "%"]
PIECES += ["(", ")", "[", "]", ",", " if ", " else ", " and ", "not ", "<", "==", *FUNCTIONS]


@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
        st.recursive(
            st.sampled_from(["a", "b", "heads", "9", "1e200", "None"]),
            lambda x: st.one_of(
                st.builds(
                    "({}){}({})".format,
                    x,
                    st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]),
                    x,
                ),
                st.builds("{}({})".format, st.sampled_from(sorted(FUNCTIONS)), x),
                st.builds("[{}, {}]".format, x, x),
            ),
            max_leaves=15,
        ),
    )
)
def test_any_text_is_an_expression_or_a_value_error(text):
    values = {"a": 7, "b": -0.5, "heads": [1.0, 2]}
    try:
        expression = Expression(text)
        found = expression.value(values)
    except ValueError:
        return
    assert type(found) in PLAIN
    assert expression.names <= values.keys()
