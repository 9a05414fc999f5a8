r"""Hashes of functions: two functions that compute different values have different hashes.

A study and a checkpoint keep numbers that may depend on a user's function, and numbers that depend
on different functions must not be mixed. The files cannot hold a function, but they can hold a hash
of its code and values.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import json
import types
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import check

LONGEST_NAME = 200  # characters of the arguments in the name of a partial

# Attributes of a class that do not affect what its objects compute.
SILENT = (
    *("__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__"),
    *("__annotate__", "__annotate_func__"),  # since Python 3.14: functions that compute annotations
)
# Python 3.13 and later set this flag in the code of a function that has a docstring. Earlier
# versions do not use this bit.
HAS_DOCSTRING = 0x4000000


def name_of(function: object) -> str:
    """Return the module and qualified name of a callable; for a partial, add its arguments."""
    if isinstance(function, functools.partial):
        return f"functools.partial({name_of(function.func)}, {arguments_of(function)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    # A process that multiprocessing starts imports the main script under another name.
    module = "__main__" if named.__module__ == "__mp_main__" else named.__module__
    return f"{module}.{named.__qualname__}"


def arguments_of(function: functools.partial[Any]) -> str:
    """Format the arguments of a partial as Python code, with objects shown as their type names."""
    arguments = [_describe(value) for value in function.args]
    arguments += [f"{name}={_describe(value)}" for name, value in function.keywords.items()]
    return ", ".join(arguments)[:LONGEST_NAME]


def contents(function: object) -> str:
    r"""Hash the code and the values that determine what a callable computes.

    Parameters
    ----------
    function : callable
        A function, a partial, a bound method or a callable object.

    Returns
    -------
    str
        The hash. Callables with equal parts have equal hashes, in any process that runs this minor
        version of Python. The parts of a function are its bytecode, its defaults, its closure, and
        the globals of its own module that it reads. The parts of a partial are its function and its
        arguments. The parts of an object are its state and the methods of its class. The parts of a
        part are hashed too. If a function refers to a module, or to a class or a function of
        another module, only the name of the module, class or function is hashed.

    Raises
    ------
    TypeError
        If a part has no content to hash, such as a lock or an open file.
    """
    try:
        tree = _Walk().root(function)
    except RecursionError:
        tree = None
    except _Untellable as error:
        raise TypeError(
            f"{name_of(function)} holds {error}, which a study or a checkpoint cannot tell from "
            "another: let it hold numbers, text, arrays and functions"
        ) from None
    if tree is None:
        raise TypeError(f"{name_of(function)} holds objects that are nested too deeply")
    return blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=16).hexdigest()


def digest(array: NDArray[Any]) -> str:
    """Return the dtype, the shape and a hash of the content of an array."""
    content = blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
    return f"{array.dtype} {array.shape} {content}"


class _Untellable(TypeError):
    """Raised for a part of a callable that cannot be hashed; the message describes the part."""


class _Walk:
    """Visits every function and object among the parts of a callable once."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, object]] = {}  # keeps objects alive: no id is reused
        self._open: list[object] = []  # containers around the current part

    def root(self, function: object) -> Any:
        """Return the JSON tree for the whole callable; that of an object includes its class."""
        if isinstance(function, types.MethodType):
            bound = function.__self__
            kind = bound if isinstance(bound, type) else type(bound)
            return [self.part(function.__func__), self.part(bound), self._class(kind)]
        if isinstance(function, functools.partial):
            inner = self.root(function.func)
            return ["partial", inner, self.part(function.args), self.part(function.keywords)]
        if isinstance(function, types.FunctionType):
            return self.part(function)
        return [self.part(function), self._class(type(function))]

    def part(self, value: object) -> Any:
        """Return the JSON tree for a value; two trees are equal only if the contents are equal."""
        if isinstance(value, (*NUMBERS, *NAMED)):
            return _atom(value)
        if type(value) is np.ndarray and not value.dtype.hasobject:
            return ["array", digest(value)]
        if type(value) in (list, tuple, dict, set, frozenset):
            return self._container(value)
        if id(value) in self._seen:
            return ["seen", self._seen[id(value)][0]]
        self._seen[id(value)] = (len(self._seen), value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        return self._object(value)

    def _container(self, value: Any) -> Any:
        if any(value is other for other in self._open):
            raise _Untellable(f"a {type(value).__name__} that contains itself")
        self._open.append(value)
        if isinstance(value, Mapping):
            items = [[self.part(name), self.part(item)] for name, item in value.items()]
        else:
            items = [self.part(item) for item in value]
        if isinstance(value, (set, frozenset)):  # their order differs between processes
            items.sort(key=json.dumps)
        self._open.pop()
        return [type(value).__name__, items]

    def _function(self, function: types.FunctionType) -> list[Any]:
        """Return the JSON tree for a function that is written in Python."""
        cells = [_cell_contents(cell) for cell in function.__closure__ or ()]
        read = {
            name: function.__globals__[name]
            for name in sorted(_globals_read(function.__code__))
            if name in function.__globals__
        }
        return [
            "function",
            name_of(function),
            self._code(function.__code__),
            self.part(function.__defaults__),
            self.part(function.__kwdefaults__),
            self.part(cells),
            self.part(dict(vars(function))),
            [[name, self._global(value, function.__module__)] for name, value in read.items()],
        ]

    def _global(self, value: object, module: str | None) -> Any:
        """Return the JSON tree for the value of a global that a function in `module` reads."""
        inside = getattr(value, "__module__", None) == module
        if isinstance(value, types.FunctionType) and not inside:
            return ["function", name_of(value)]
        if isinstance(value, type) and inside and id(value) not in self._seen:
            self._seen[id(value)] = (len(self._seen), value)
            return self._class(value)
        return self.part(value)

    def _code(self, code: types.CodeType) -> list[Any]:
        """Return the JSON tree for a code object, without the docstring and the line numbers."""
        steps = [
            [step.opname, self._constant(step.argval)]
            if step.opcode in dis.hasconst
            else [step.opname, repr(step.argval)]
            for step in dis.get_instructions(code)
        ]
        table = getattr(code, "co_exceptiontable", b"")
        flags = code.co_flags & ~HAS_DOCSTRING
        counts = [code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, flags]
        return [steps, table.hex(), list(code.co_varnames), counts]

    def _constant(self, value: object) -> Any:
        """Return the tree of a constant in bytecode; a constant may be an inner function's code."""
        return self._code(value) if isinstance(value, types.CodeType) else self.part(value)

    def _class(self, kind: type) -> Any:
        """Return the JSON tree for a class: its functions, data, and bases in the same module."""
        if not kind.__flags__ & HEAP_TYPE:
            return ["class", name_of(kind)]
        members: list[Any] = []
        for name, member in sorted(vars(kind).items()):
            silent = name in SILENT or name.startswith(("_abc_", "__dataclass_"))
            generated = name.startswith("__") and not isinstance(member, types.FunctionType)
            if silent or generated or isinstance(member, DESCRIPTORS):
                continue
            members.append([name, self.part(_unwrap(member))])
        bases = [
            self._class(base) if base.__module__ == kind.__module__ else ["class", name_of(base)]
            for base in kind.__bases__
        ]
        return ["class", name_of(kind), members, bases]

    def _object(self, value: object) -> Any:
        """Return the JSON tree for an object: the parts from which pickle would rebuild it."""
        registered = copyreg.dispatch_table.get(type(value))
        try:
            reduced: Any = registered(value) if registered else value.__reduce_ex__(4)
        except Exception:
            raise _Untellable(f"an object of {name_of(type(value))}") from None
        if isinstance(reduced, str):  # the name of a global object, which may wrap a function
            wrapped = getattr(value, "__wrapped__", None)
            return ["global", type(value).__module__, reduced, self.part(wrapped)]
        maker, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        tree = [name_of(maker), self.part(arguments), self.part(state)]
        for further in (items, pairs):
            tree.append(None if further is None else self.part(list(further)))
        return ["object", *tree]


HEAP_TYPE = 1 << 9  # flag of a class written in Python
NUMBERS = (type(None), bool, int, float, complex, str, bytes, bytearray, np.generic)
NAMED = (type, types.ModuleType)
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _atom(value: Any) -> Any:
    """Return the JSON tree for a number, text, class or module; np.float64 counts as float."""
    if isinstance(value, NAMED):
        return ["named", name_of(value) if isinstance(value, type) else value.__name__]
    if isinstance(value, (np.bool_, np.int64, np.float64)):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    return [type(value).__name__, repr(value)]


def _describe(value: object) -> str:
    """Describe an argument in a text that is the same in every process."""
    if isinstance(value, NUMBERS):
        return check.show(value.item() if isinstance(value, np.generic) else value)
    return name_of(value) if callable(value) else f"<{type(value).__name__}>"


def _cell_contents(cell: types.CellType) -> list[object]:
    """Return a list with the one object in a closure's cell; an empty list if the cell is empty."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _globals_read(code: types.CodeType) -> set[str]:
    """Return the names of the globals that a code object and its inner functions read."""
    names = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (item for item in code.co_consts if isinstance(item, types.CodeType))
    return names.union(*map(_globals_read, inner))


def _unwrap(member: object) -> object:
    """Return the functions of a property, static or class method, or any other member itself."""
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    if isinstance(member, functools.cached_property):
        return member.func
    if isinstance(member, (staticmethod, classmethod)):
        wrapped: Callable[..., Any] = member.__func__
        return wrapped
    return member
