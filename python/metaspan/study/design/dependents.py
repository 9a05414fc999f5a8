r"""Values of a study that depend on other values: expressions, functions and objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..._support import check
from ...runs import codec
from .expressions import Expression


@dataclass(frozen=True, kw_only=True)
class Template:
    r"""An object whose fields may be expressions, such as a distribution of heads.

    Parameters
    ----------
    kind : str
        Name of a class of the package.
    fields : mapping of str to object
        Arguments of the class; an argument that depends on other names is an `Expression`.
    """

    kind: str
    fields: Mapping[str, Any]

    @property
    def names(self) -> frozenset[str]:
        """Names that the expressions of the object use."""
        parts = (value.names for value in self.fields.values() if isinstance(value, Expression))
        return frozenset().union(*parts)

    def value(self, values: Mapping[str, Any]) -> Any:
        """Construct the object from the values of the names."""
        arguments = {
            name: value.value(values) if isinstance(value, Expression) else value
            for name, value in self.fields.items()
        }
        return codec.KINDS[self.kind](**arguments)


@dataclass(frozen=True, kw_only=True)
class Computed:
    r"""A value that a user's function computes from other values.

    Parameters
    ----------
    function : callable
        The user's function; its parameters are names of the study.
    names : frozenset of str
        The names of the function's parameters.
    """

    function: Callable[..., Any]
    names: frozenset[str]

    def value(self, values: Mapping[str, Any]) -> Any:
        """Call the function with the values of its parameters."""
        return self.function(**{name: values[name] for name in self.names})


@dataclass(frozen=True, kw_only=True)
class Listed:
    r"""Values that a function returned for every cell, read from a study's file.

    Parameters
    ----------
    items : tuple
        One value for each cell, in the order of the cells.
    """

    items: tuple[Any, ...]
    names: frozenset[str] = frozenset()

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the cell whose number is among `values`."""
        return self.items[values[NUMBER]]


Dependent = Expression | Template | Computed | Listed
NUMBER = "number of the cell"  # not an identifier, so no name of a study can equal it


def parse_expression(path: str, text: str) -> Expression:
    """Parse an expression; the text "none" means None, which TOML cannot write."""
    try:
        return Expression("None" if text.strip() == "none" else text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_template(path: str, table: Mapping[str, Any]) -> Template:
    """Check a mapping that describes an object of the package by its ``kind`` and fields."""
    kind = table.get("kind")
    if kind not in codec.TYPED:
        known = ", ".join(codec.TYPED)
        raise ValueError(f"{path}.kind must be one of {known}; got {check.show(kind)}")
    parts = {
        name: parse_expression(f"{path}.{name}", value) if isinstance(value, str) else value
        for name, value in table.items()
        if name != "kind"
    }
    check_fields(kind, parts, path)
    return Template(kind=kind, fields=parts)


def check_fields(kind: str, names: Iterable[str], path: str = "fields") -> None:
    """Raise ValueError unless all names are fields of the class `kind`."""
    accepted = [field.name for field in fields(codec.KINDS[kind])]
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
