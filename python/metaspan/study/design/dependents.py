r"""Values of a study that are computed from other values: by expressions, functions and objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..._support import check
from ...runs import codec
from .expressions import Expression

# Fields of objects whose values may be words; a string in any other field is an expression.
WORDS = ("moves", "outer", "per", "reduce", "schedule", "rule", "start", "solver")


@dataclass(frozen=True, kw_only=True)
class Template:
    r"""An object of the package, such as a distribution of heads, whose fields may be expressions.

    Parameters
    ----------
    kind : str
        Name of a class of the package.
    fields : mapping of str to object
        Arguments of the class. An argument that depends on other names of the study is an
        `Expression`, and an argument that is an object with such arguments is a `Template`.
    """

    kind: str
    fields: Mapping[str, Any]

    @property
    def names(self) -> frozenset[str]:
        """The names that the expressions in the fields use."""
        parts = (part.names for part in self.fields.values() if isinstance(part, _DEPENDS))
        return frozenset().union(*parts)

    def value(self, values: Mapping[str, Any]) -> Any:
        """Construct the object; `values` holds the value of each name."""
        arguments = {
            name: value.value(values) if isinstance(value, _DEPENDS) else value
            for name, value in self.fields.items()
        }
        return codec.kind_of(self.kind)(**arguments)


_DEPENDS = (Expression, Template)


@dataclass(frozen=True, kw_only=True)
class Computed:
    r"""A value that a user's function computes from the values of other names.

    Parameters
    ----------
    function : callable
        The user's function; its parameters are names of the study.
    names : frozenset of str
        Names of the function's parameters.
    """

    function: Callable[..., Any]
    names: frozenset[str]

    def value(self, values: Mapping[str, Any]) -> Any:
        """Call the function; `values` holds the value of each of its parameters."""
        return self.function(**{name: values[name] for name in self.names})


@dataclass(frozen=True, kw_only=True)
class Listed:
    r"""The values that a function returned, one for each cell; they are read from a study's file.

    Parameters
    ----------
    items : tuple
        One value for each cell, in the order of the cells.
    """

    items: tuple[Any, ...]
    names: frozenset[str] = frozenset()

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value for the cell whose number is ``values[NUMBER]``."""
        return self.items[values[NUMBER]]


Dependent = Expression | Template | Computed | Listed
NUMBER = "number of the cell"  # a name of a study cannot equal this text, which is no identifier


def parse_expression(path: str, text: str) -> Expression:
    """Parse an expression; the text "none" stands for None, since TOML has no such value."""
    try:
        return Expression("None" if text.strip() == "none" else text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_template(path: str, table: Mapping[str, Any]) -> Template:
    """Check a mapping that describes an object of the package: its ``kind`` and its fields."""
    kind = table.get("kind")
    if kind not in codec.TYPED:
        known = ", ".join(codec.TYPED)
        raise ValueError(f"{path}.kind must be one of {known}; got {check.show(kind)}")
    parts = {
        name: _parse_field(f"{path}.{name}", name, value)
        for name, value in table.items()
        if name != "kind"
    }
    check_fields(kind, parts, path)
    return Template(kind=kind, fields=parts)


def _parse_field(path: str, name: str, value: Any) -> Any:
    """Parse a field of an object: a word, an expression, an object or a constant."""
    if isinstance(value, str) and name not in WORDS:
        return parse_expression(path, value)
    return parse_template(path, value) if isinstance(value, Mapping) else value


def check_fields(kind: str, names: Iterable[str], path: str = "fields") -> None:
    """Raise ValueError unless every name in `names` is a field of the class `kind`."""
    accepted = [field.name for field in fields(codec.kind_of(kind))]
    for name in names:
        if name not in accepted:
            raise ValueError(
                f"{path} must hold {check.words(accepted, 'and')}; got {check.show(name)}"
            )


def computed_of(path: str, function: Callable[..., Any]) -> Computed:
    """Check that the parameters of a user's function can be names of the study."""
    parameters = inspect.signature(function).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for parameter in parameters:
        if parameter.kind not in plain:
            raise TypeError(f"{path}: parameters must be names of the study; got {parameter}")
    return Computed(function=function, names=frozenset(p.name for p in parameters))
