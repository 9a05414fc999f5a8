r"""Reads studies from TOML files and checks their structure; `spec` checks names and values."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

from ..._support import check
from .expressions import Expression
from .ranges import log_range

LARGEST_FILE = 10**6  # most bytes of a study's file
RANGE = ("log", "num")  # keys of a logarithmic range


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    r"""Read the arguments of a study from a TOML file.

    Parameters
    ----------
    path : str or os.PathLike
        The file, in UTF-8, with or without a byte-order mark, of at most 10^6 bytes. The keys of
        the file, all optional, are ``folder`` (text), ``seeds`` (a number of seeds or a list of
        them), ``measure``, ``keep`` and ``common`` (lists of names), ``keep_rows`` (a number), and
        the tables ``base`` (constants) and ``grid``. The file must hold at least one of the tables
        ``base`` and ``grid``. The value of a name in ``grid`` is a list, an expression, a table
        with a ``kind``, or a range such as ``{ log = [1, 100], num = 5 }``.

    Returns
    -------
    dict
        The arguments that the file holds, by name. Each range is expanded to a list, a relative
        ``folder`` is taken as relative to the file's own folder, and each table with a ``kind``
        becomes a dictionary.

    Raises
    ------
    TypeError
        If `path` is not a path.
    ValueError
        If the file is not UTF-8, if it is not TOML, or if a key is unknown or has a value of the
        wrong kind. The message names the file, and the key or the line and column.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "study.toml")
    ...     _ = file.write_text("seeds = 2\n[grid]\nd = { log = [10, 1000], num = 3 }\nk = 'd//5'")
    ...     read(file)
    {'seeds': 2, 'grid': {'d': [10, 100, 1000], 'k': 'd//5'}}
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path; got {check.show(path)}")
    name = os.fspath(path)
    with open(name, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{name}: a study file has at most {LARGEST_FILE} bytes")
    try:
        tree = tomllib.loads(content.decode("utf-8-sig"))  # some editors write a byte-order mark
        _check_keys("", tree, KEYS)
        arguments = {key: KEYS[key](key, value) for key, value in tree.items()}
        if not arguments.keys() & {"base", "grid"}:
            raise ValueError("a table 'base' or 'grid' is missing")
    except RecursionError:
        raise ValueError(f"{name}: values are nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: the text is not UTF-8 at byte {error.start}") from None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    if "folder" in arguments:
        arguments["folder"] = os.path.join(os.path.dirname(name), arguments["folder"])
    return arguments


def _check_keys(where: str, keys: Iterable[str], accepted: Iterable[str]) -> None:
    """Raise ValueError if a key is not accepted; the message suggests the closest accepted key."""
    accepted = list(accepted)
    for key in keys:
        if key not in accepted:
            hint = check.meant(key, accepted) or f"known are {', '.join(accepted)}"
            place = f" in {where}" if where else ""
            raise ValueError(f"unknown key {check.show(key)}{place}: {hint}")


def _join_key(path: str, name: str) -> str:
    """Return the full path of a key in a table, for error messages."""
    return f"{path}.{name if name.isidentifier() else check.show(name)}"


def _wrong_value(path: str, expected: str, value: object) -> ValueError:
    """Make the error for a value of the wrong kind."""
    return ValueError(f"{path} must be {expected}; got {check.show(value)}")


def _check_folder(path: str, value: Any) -> str:
    """Check that a value is the name of a folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong_value(path, "the name of a folder", value)
    return value


def _is_integer(value: object, least: int) -> bool:
    """Tell whether a value is an integer of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_seeds(path: str, value: Any) -> int | list[int]:
    """Check that a value is a number of seeds or a list of seeds."""
    if isinstance(value, list):
        if not value:
            raise _wrong_value(path, "a list of one seed at least", value)
        for i, seed in enumerate(value):
            if not _is_integer(seed, 0):
                raise _wrong_value(f"{path}[{i}]", "an integer of at least 0", seed)
    elif not _is_integer(value, 1):
        raise _wrong_value(path, "an integer of at least 1 or a list of integers", value)
    seeds: int | list[int] = value
    return seeds


def _check_names(path: str, value: Any) -> list[str]:
    """Check that a value is a list of names."""
    if not isinstance(value, list):
        raise _wrong_value(path, "a list of names", value)
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise _wrong_value(f"{path}[{i}]", "a name in quotes", item)
    return value


def _check_base(path: str, value: Any) -> dict[str, Any]:
    """Check the table ``base`` of constants."""
    return {
        name: _check_constant(_join_key(path, name), item)
        for name, item in _check_table(path, value).items()
    }


def _check_grid(path: str, value: Any) -> dict[str, Any]:
    """Check the table ``grid`` of varied names."""
    return {
        name: _check_varied(_join_key(path, name), item)
        for name, item in _check_table(path, value).items()
    }


def _check_table(path: str, value: Any) -> dict[str, Any]:
    """Check that a value is a table."""
    if not isinstance(value, dict):
        raise _wrong_value(path, f"a table, [{path}]", value)
    return value


def _check_varied(path: str, value: Any) -> Any:
    """Check an entry of the grid: a list of values, an expression, an object or a range."""
    if isinstance(value, str):
        try:
            Expression(value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return value
    if isinstance(value, list):
        if not value:
            raise _wrong_value(path, "a list of one value at least", value)
        return _check_constant(path, value)
    if not isinstance(value, dict):
        raise _wrong_value(path, "a list of values, an expression in quotes, or a table", value)
    if "kind" in value:
        return _check_constant(path, value)
    if not value.keys() & set(RANGE):
        raise _wrong_value(path, "a table with 'kind', or with 'log' and 'num'", value)
    return _expand_range(path, value)


def _expand_range(path: str, value: dict[str, Any]) -> list[int] | list[float]:
    """Expand a logarithmic range to a list of values."""
    _check_keys(path, value, RANGE)
    for key in RANGE:
        if key not in value:
            raise ValueError(f"{path}.{key} is missing beside {path}.{next(iter(value))}")
    ends, num = value["log"], value["num"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise _wrong_value(f"{path}.log", "a list of the first and the last value", ends)
    if not _is_integer(num, 2):
        raise _wrong_value(f"{path}.num", "an integer of at least 2", num)
    try:
        return log_range(ends[0], ends[1], num)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _check_constant(path: str, value: Any) -> Any:
    """Check a constant: text, a number, a truth value, a list, or a table with a kind."""
    if isinstance(value, list):
        return [_check_constant(f"{path}[{i}]", item) for i, item in enumerate(value)]
    if isinstance(value, dict):
        if "kind" not in value:
            raise _wrong_value(path, "a table with a 'kind' and its fields", value)
        if not isinstance(value["kind"], str):
            raise _wrong_value(f"{path}.kind", "a name in quotes", value["kind"])
        return {name: _check_constant(_join_key(path, name), item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        raise _wrong_value(path, "a number", value)
    if not isinstance(value, bool | int | float | str):
        raise _wrong_value(path, "a number, text, a list or a table", value)
    return value


def _check_rows(path: str, value: Any) -> int:
    """Check that a value is a number of rows."""
    if not _is_integer(value, 2):
        raise _wrong_value(path, "an integer of at least 2", value)
    return int(value)


KEYS: dict[str, Callable[[str, Any], Any]] = {
    "folder": _check_folder,
    "seeds": _check_seeds,
    "measure": _check_names,
    "keep": _check_names,
    "keep_rows": _check_rows,
    "common": _check_names,
    "base": _check_base,
    "grid": _check_grid,
}
