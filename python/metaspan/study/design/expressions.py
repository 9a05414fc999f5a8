r"""Parses and evaluates expressions in the names of a study, without running code from the file.

The grammar is a small part of Python's grammar. The module `ast` parses the text of an expression,
and `Compiler` compiles the resulting tree to closures once. The length and the nesting of an
expression are bounded, and so are the sizes of its numbers and lists, because a study file may come
from anybody.
"""

from __future__ import annotations

import ast
import graphlib
import operator
import reprlib
import string
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..._support import check
from .arithmetic import (
    BINARY,
    COMPARE,
    ENTRIES,
    FUNCTIONS,
    LARGEST,
    LISTS,
    SCALARS,
    UNARY,
    Value,
    charge,
    entries,
    finite,
    plain,
)

# A compiled expression: a function of one list. The list holds the budget of list entries, followed
# by the values of the names.
Run = Callable[[list[Any]], Any]

LONGEST = 1000  # most characters of an expression
DEEPEST = 200  # levels of nesting, well below Python's recursion limit
CHARACTERS = frozenset(string.ascii_letters + string.digits + "_.,()[]+-*/%<>=! \t\r\n")
FAILURES = (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
HINTS = {"^": "; ** is the power", "'": "; it holds no strings", '"': "; it holds no strings"}
REFUSED = {
    ast.Attribute: "attributes are not allowed",
    ast.Tuple: "tuples are not allowed; a list is written in brackets",
    ast.Slice: "slices are not allowed; an index is an integer",
    ast.Starred: "stars are not allowed",
    ast.ListComp: "comprehensions are not allowed",
    ast.GeneratorExp: "comprehensions are not allowed",
}


class Compiler:
    r"""Compiles a syntax tree to closures, and refuses what the grammar does not contain.

    `places` maps each name of the expression to the index of the name's value in the list that the
    closures take.
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.depth = 0

    def build(self, node: ast.AST) -> Run:
        """Compile a node; raise ValueError if the grammar does not contain this kind of node."""
        make = getattr(self, f"build_{type(node).__name__}", None)
        if make is None:
            default = f"{type(node).__name__} is not allowed"
            raise ValueError(REFUSED.get(cast(Any, type(node)), default))
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"at most {DEEPEST} levels of nesting are allowed")
        run = cast(Run, make(node))
        self.depth -= 1
        return run

    def build_Constant(self, node: ast.Constant) -> Run:
        value = node.value
        if type(value) not in SCALARS:
            raise ValueError(f"{check.show(value)} is not allowed")
        finite(value)
        return lambda env: value

    def build_Name(self, node: ast.Name) -> Run:
        name = node.id
        if name.startswith("_"):
            raise ValueError(f"names that begin with an underscore are not allowed; got {name!r}")
        if name in FUNCTIONS:
            raise ValueError(f"{name!r} is a function and needs its arguments in parentheses")
        return operator.itemgetter(self.places.setdefault(name, len(self.places) + 1))

    def build_BinOp(self, node: ast.BinOp) -> Run:
        operate = BINARY.get(type(node.op))
        if operate is None:
            raise ValueError(f"the operator {type(node.op).__name__} is not allowed")
        left, right = self.build(node.left), self.build(node.right)
        return lambda env: operate(env[0], left(env), right(env))

    def build_UnaryOp(self, node: ast.UnaryOp) -> Run:
        operate = UNARY.get(type(node.op))
        if operate is None:
            raise ValueError(f"the operator {type(node.op).__name__} is not allowed")
        operand = self.build(node.operand)
        return lambda env: operate(operand(env))

    def build_Compare(self, node: ast.Compare) -> Run:
        tests = []
        for kind, side in zip(node.ops, node.comparators, strict=True):
            if type(kind) not in COMPARE:
                raise ValueError(f"the comparison {type(kind).__name__} is not allowed")
            tests.append((COMPARE[type(kind)], self.build(side)))
        first = self.build(node.left)

        def run(env: list[Any]) -> bool:
            left = first(env)
            for test, side in tests:
                right = side(env)
                if not test(left, right):
                    return False
                left = right
            return True

        return run

    def build_BoolOp(self, node: ast.BoolOp) -> Run:
        *others, last = [self.build(part) for part in node.values]
        ends = isinstance(node.op, ast.Or)

        def run(env: list[Any]) -> Any:
            for part in others:
                value = part(env)
                if bool(value) is ends:
                    return value
            return last(env)

        return run

    def build_IfExp(self, node: ast.IfExp) -> Run:
        test, yes, no = self.build(node.test), self.build(node.body), self.build(node.orelse)
        return lambda env: yes(env) if test(env) else no(env)

    def build_List(self, node: ast.List) -> Run:
        items = [self.build(item) for item in node.elts]

        def run(env: list[Any]) -> list[Any]:
            values = [item(env) for item in items]
            charge(env[0], entries(values))
            return values

        return run

    def build_Subscript(self, node: ast.Subscript) -> Run:
        whole, index = self.build(node.value), self.build(node.slice)
        return lambda env: whole(env)[check.integer("an index", index(env), -ENTRIES)]

    def build_Call(self, node: ast.Call) -> Run:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in FUNCTIONS:
            known = check.meant(name or "", FUNCTIONS) or f"known are {', '.join(FUNCTIONS)}"
            called = repr(name) if name else "what is called"
            raise ValueError(f"{called} is not a known function: {known}")
        if node.keywords:
            raise ValueError(f"{name!r} takes no arguments by name")
        function, least, most = FUNCTIONS[name]
        passed = len(node.args)
        if passed < least or (most is not None and passed > most):
            expected = (
                f"at least {least}"
                if most is None
                else " or ".join(map(str, sorted({least, most})))
            )
            plural = "" if expected.endswith("1") else "s"
            raise ValueError(f"{name!r} takes {expected} argument{plural}; got {passed}")
        items = [self.build(item) for item in node.args]
        if name in LISTS:
            return lambda env: function(env[0], *[item(env) for item in items])
        if passed == 1:
            only = items[0]
            return lambda env: finite(function(only(env)))
        return lambda env: finite(function(*[item(env) for item in items]))


def parse(text: str) -> tuple[Run, tuple[str, ...]]:
    """Compile a text; return the closure, and the names in the order in which it takes values."""
    for character in text:
        if character not in CHARACTERS:
            raise ValueError(f"{character!r} is not allowed{HINTS.get(character, '')}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's parser warns about a text such as 1if
            tree = ast.parse(" ".join(text.split()), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"this is not an expression: {error.msg}") from None
    compiler = Compiler()
    run = compiler.build(tree.body)
    return run, tuple(compiler.places)


def show(value: object) -> str:
    """Return a short text for the value of a name, however large or deeply nested the value is."""
    if isinstance(value, list | tuple):
        return reprlib.repr(value)
    large = isinstance(value, int) and not -LARGEST <= value <= LARGEST
    return "an integer beyond 2**1024" if large else check.show(value)


@dataclass(frozen=True, repr=False)
class Expression:
    r"""A number, truth value or list that is computed from the values of names.

    An expression may contain numbers, ``True``, ``False``, ``None``, names, ``+ - * / // % **``,
    comparisons, ``and``, ``or``, ``not``, ``a if test else b``, lists in brackets and indices. An
    expression may call abs, ceil, exp, float, floor, int, len, log, log10, log2, max, min, round,
    sqrt and sum, and the functions that make lists: ``diag(list)``, ``eye(n)``, ``full(n, value)``,
    ``ones(n)`` and ``zeros(n)``.

    Parameters
    ----------
    text : str
        The expression, of at most 1000 characters. White space is reduced to single spaces.
    names : frozenset of str
        The names that need a value; the names of functions need none.

    Raises
    ------
    TypeError
        If `text` is not a string.
    ValueError
        If `text` is not an expression, or contains an element that is not listed above.

    Notes
    -----
    Integers are exact up to :math:`2^{1024}`. The lists that one evaluation makes hold at most
    :math:`10^6` entries in total. An evaluation takes a few microseconds.

    Examples
    --------
    >>> Expression("4*d*k").value({"d": 10**12, "k": 5})
    20000000000000
    >>> Expression("diag([1]*(k - 1) + [mu2])").value({"k": 2, "mu2": 0.25})
    [[1, 0.0], [0.0, 0.25]]
    >>> sorted(Expression("ceil(log(d)) if k > 1 else None").names)
    ['d', 'k']
    """

    text: str
    names: frozenset[str] = field(init=False, compare=False)
    _order: tuple[str, ...] = field(init=False, compare=False)
    _run: Run = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text = self.text
        if not isinstance(text, str):
            raise TypeError(f"an expression must be text; got {check.show(text)}")
        if len(text) > LONGEST:
            raise ValueError(
                f"{check.show(text[:100])}: an expression has at most {LONGEST} characters; "
                f"got {len(text)}"
            )
        try:
            run, order = parse(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{check.show(text)}: {error}") from None
        except (RecursionError, MemoryError):
            deep = f"at most {DEEPEST} levels of nesting are allowed"
            raise ValueError(f"{check.show(text)}: {deep}") from None
        object.__setattr__(self, "text", " ".join(text.split()))
        object.__setattr__(self, "names", frozenset(order))
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_run", run)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        return Expression, (self.text,)

    def value(self, values: Mapping[str, object]) -> Value:
        r"""Compute the value of the expression.

        Parameters
        ----------
        values : mapping of str to object
            The value of every name in `names`: a number, ``None``, or a list or array of numbers.
            Other names in `values` are ignored.

        Returns
        -------
        int, float, bool, list or None
            The value, made of objects of Python's built-in types.

        Raises
        ------
        ValueError
            If a name has no value, if the value of a name is of another kind, or if the computation
            fails or gives a number that is not finite.

        Examples
        --------
        >>> Expression("n//2").value({"n": 5})
        2
        >>> Expression("log(m - 5)").value({"m": 5})
        Traceback (most recent call last):
        ValueError: 'log(m - 5)' with m=5: ...
        """
        room = [ENTRIES]
        env: list[Any] = [room]
        try:
            for name in self._order:
                value = values[name]
                env.append(value if type(value) is float else plain(value, room))
        except KeyError as error:
            missing = f"{check.show(self.text)}: {error.args[0]!r} has no value"
            raise ValueError(missing) from None
        except Exception as error:
            raise ValueError(self._failure(error, values)) from error
        try:
            return cast(Value, self._run(env))
        except FAILURES as error:
            raise ValueError(self._failure(error, values)) from error

    def _failure(self, error: Exception, values: Mapping[str, object]) -> str:
        """Describe a failed evaluation: the expression, the values of its names, and the error."""
        known = ", ".join(f"{name}={show(values.get(name))}" for name in self._order)
        reason = error.args[-1] if error.args else type(error).__name__
        return f"{check.show(self.text)}{f' with {known}' if known else ''}: {reason}"


def order(dependencies: Mapping[str, frozenset[str]]) -> list[str]:
    r"""Sort names so that each name comes after all names on which it depends.

    Parameters
    ----------
    dependencies : mapping of str to frozenset of str
        For each name, the names in its expression. Names in expressions that are not keys of the
        mapping are ignored.

    Returns
    -------
    list of str
        The keys in sorted order. Equal mappings give the same order.

    Raises
    ------
    ValueError
        If some names depend on each other in a cycle; the message lists these names.

    Examples
    --------
    >>> order({"m_out": frozenset({"m_in"}), "m_in": frozenset({"n", "k"}), "n": frozenset()})
    ['n', 'm_in', 'm_out']
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, needed in dependencies.items():
        sorter.add(name, *sorted(needed & dependencies.keys()))
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        circle = error.args[1][:0:-1]  # graphlib lists a name before the names that need it
        names = list(dependencies)
        first = min(range(len(circle)), key=lambda i: names.index(circle[i]))
        spelled = " -> ".join([*circle[first:], *circle[:first], circle[first]])
        raise ValueError(f"names must not depend on themselves; got {spelled}") from None
