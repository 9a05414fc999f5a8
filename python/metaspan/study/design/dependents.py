r"""Values of a study that depend on others: expressions, functions, objects with either inside."""

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
    r"""An object whose fields may be expressions, such as a law of heads.

    Parameters
    ----------
    kind : str
        Name of a class of the package.
    fields : mapping of str to object
        Its arguments; strings are expressions.
    """

    kind: str
    fields: Mapping[str, Any]

    @property
    def names(self) -> frozenset[str]:
        """Names that its expressions use."""
        parts = (value.names for value in self.fields.values() if isinstance(value, Expression))
        return frozenset().union(*parts)

    def value(self, values: Mapping[str, Any]) -> Any:
        """The object, for values of the names."""
        found = {
            name: value.value(values) if isinstance(value, Expression) else value
            for name, value in self.fields.items()
        }
        return codec.KINDS[self.kind](**found)


@dataclass(frozen=True, kw_only=True)
class Computed:
    r"""A value that a function of other values gives.

    Parameters
    ----------
    function : callable
        Its parameters are the names of what it takes.
    names : frozenset of str
        Those names.
    """

    function: Callable[..., Any]
    names: frozenset[str]

    def value(self, values: Mapping[str, Any]) -> Any:
        """What the function gives for values of the names."""
        return self.function(**{name: values[name] for name in self.names})


@dataclass(frozen=True, kw_only=True)
class Listed:
    r"""What a function gave for every cell, read from a file.

    Parameters
    ----------
    items : tuple
        A value for each cell.
    """

    items: tuple[Any, ...]
    names: frozenset[str] = frozenset()

    def value(self, values: Mapping[str, Any]) -> Any:
        """The value of the cell whose number stands among the values."""
        return self.items[values[NUMBER]]


Dependent = Expression | Template | Computed | Listed
NUMBER = "number of the cell"  # no identifier, so no name of a study


def parse_expression(path: str, text: str) -> Expression:
    """Parse an expression; the word "none" alone is None, for which TOML has nothing."""
    try:
        return Expression("None" if text.strip() == "none" else text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_template(path: str, given: Mapping[str, Any]) -> Template:
    """Check a table that stands for an object of the package, with its kind."""
    kind = given.get("kind")
    if kind not in codec.TYPED:
        known = ", ".join(codec.TYPED)
        raise ValueError(f"{path}.kind must be one of {known}; got {check.show(kind)}")
    parts = {
        name: parse_expression(f"{path}.{name}", value) if isinstance(value, str) else value
        for name, value in given.items()
        if name != "kind"
    }
    check_fields(kind, parts, path)
    return Template(kind=kind, fields=parts)


def check_fields(kind: str, names: Iterable[str], path: str = "fields") -> None:
    """Raise ValueError unless all names are fields of a kind."""
    accepted = [field.name for field in fields(codec.KINDS[kind])]
    for name in names:
        if name not in accepted:
            raise ValueError(
                f"{path} must hold {check.words(accepted, 'and')}; got {check.show(name)}"
            )


def computed_of(path: str, function: Callable[..., Any]) -> Computed:
    """Check a function of other values, which its parameters name."""
    parameters = inspect.signature(function).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for parameter in parameters:
        if parameter.kind not in plain:
            raise TypeError(f"{path}: parameters must be names of the study; got {parameter}")
    return Computed(function=function, names=frozenset(p.name for p in parameters))
