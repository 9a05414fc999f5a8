"""Locals and parameters say what they hold: a few vague names are rare."""

import ast
import re

import pytest

VAGUE = ("found", "one", "given", "own", "there")
MOST = 10
# A declaration in C++: a type, a name, and what follows the name of a variable or a parameter.
KEYWORDS = "return|else|case|throw|new|delete|goto|operator|using|typename"
DECLARED = re.compile(
    rf"(?:\b(?!(?:{KEYWORDS})\b)[A-Za-z_]\w*|(?<=\S)[>&*\]])[&*]*\s+(\w+)\s*(?=[=;:,){{\[(])"
)
BOUND_TOGETHER = re.compile(r"\bauto[&\s]*\[([\w\s,]+)\]")


def bindings_in_python(tree):
    """Every name that a module binds: by assignment, loop, parameter, import or pattern."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            yield node.name


def bindings_in_cpp(code):
    """Names of variables and parameters; what cannot be told from them, such as calls, too."""
    yield from DECLARED.findall(code)
    for names in BOUND_TOGETHER.findall(code):
        yield from re.findall(r"\w+", names)


@pytest.mark.parametrize("name", VAGUE)
def test_vague_names_are_rare(house, name):
    count = {p: list(bindings_in_cpp(house.code(p))).count(name) for p in house.cpp()}
    for path in house.python().values():
        count[path] = list(bindings_in_python(house.tree(path))).count(name)
    where = {path: number for path, number in count.items() if number}
    assert sum(where.values()) <= MOST, where


def test_bindings_are_counted_in_python():
    text = """
def f(one, *, own=1):
    one, (own, x) = 1, (2, 3)
    for one in [own for own in x if (one := 2)]:
        pass
    with open(one) as own, f() as (one, x):
        pass
    try:
        one.own = own[one]
    except ValueError as own:
        pass
"""
    names = list(bindings_in_python(ast.parse(text)))
    assert (names.count("one"), names.count("own")) == (5, 5)


def test_bindings_are_counted_in_cpp():
    text = """
void f(Index one, const Rows<double>& own);
Index one = 1;
for (const double* one : rows) sum(one);
const auto [one, x] = pair();
double own[2];
return one;
x = a * one + b > own;
if (a < one || b > one) g(one, own);
"""
    names = list(bindings_in_cpp(text))
    assert (names.count("one"), names.count("own")) == (4, 2)
