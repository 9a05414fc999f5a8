r"""Studies in TOML files: what may stand where; what names mean is for the study to say."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

from ..._support import check
from .expressions import Expression
from .ranges import log_range

LARGEST_FILE = 10**6  # bytes
RANGE = ("log", "num")


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    r"""Read the arguments of a study from a TOML file.

    Parameters
    ----------
    path : str or os.PathLike
        The file, in UTF-8, with or without a byte-order mark. It may hold ``folder`` (text),
        ``seeds`` (a number of seeds or a list of them), ``measure``, ``keep`` and ``common`` (lists
        of names), ``keep_rows`` (a number), and the tables ``base`` (constants) and ``grid`` (for
        every name a list of values, an expression, a table with a ``kind``, or a range such as
        ``{ log = [1, 100], num = 5 }``); one of the tables at least.

    Returns
    -------
    dict
        Arguments by name, those alone that the file holds. Ranges are lists; ``folder`` is
        relative to the folder of the file; tables with a ``kind`` are dictionaries.

    Raises
    ------
    TypeError
        If `path` is not a path.
    ValueError
        If the file is not UTF-8 or not TOML (with line and column), or a key is not known or has
        another kind of value; the file and the key are named.
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
        given = tomllib.loads(content.decode("utf-8-sig"))  # some editors begin with a mark
        _known("", given, KEYS)
        found = {key: KEYS[key](key, value) for key, value in given.items()}
        if not found.keys() & {"base", "grid"}:
            raise ValueError("a table 'base' or 'grid' is missing")
    except RecursionError:
        raise ValueError(f"{name}: values are nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: the text is not UTF-8 at byte {error.start}") from None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    if "folder" in found:
        found["folder"] = os.path.join(os.path.dirname(name), found["folder"])
    return found


def _known(where: str, keys: Iterable[str], accepted: Iterable[str]) -> None:
    """Keys are among those accepted, or the closest of these is named."""
    accepted = list(accepted)
    for key in keys:
        if key not in accepted:
            hint = check.meant(key, accepted) or f"known are {', '.join(accepted)}"
            place = f" in {where}" if where else ""
            raise ValueError(f"unknown key {check.show(key)}{place}: {hint}")


def _key(path: str, name: str) -> str:
    return f"{path}.{name if name.isidentifier() else check.show(name)}"


def _wrong(path: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{path} must be {expected}; got {check.show(value)}")


def _folder(path: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(path, "the name of a folder", value)
    return value


def _integer(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _seeds(path: str, value: Any) -> int | list[int]:
    if isinstance(value, list):
        if not value:
            raise _wrong(path, "a list of one seed at least", value)
        for i, seed in enumerate(value):
            if not _integer(seed, 0):
                raise _wrong(f"{path}[{i}]", "an integer of at least 0", seed)
    elif not _integer(value, 1):
        raise _wrong(path, "an integer of at least 1 or a list of integers", value)
    seeds: int | list[int] = value
    return seeds


def _names(path: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _wrong(path, "a list of names", value)
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise _wrong(f"{path}[{i}]", "a name in quotes", item)
    return value


def _base(path: str, value: Any) -> dict[str, Any]:
    return {name: _constant(_key(path, name), item) for name, item in _table(path, value).items()}


def _grid(path: str, value: Any) -> dict[str, Any]:
    return {name: _varied(_key(path, name), item) for name, item in _table(path, value).items()}


def _table(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(path, f"a table, [{path}]", value)
    return value


def _varied(path: str, value: Any) -> Any:
    """Values of a name in the grid, or what they are computed from."""
    if isinstance(value, str):
        try:
            Expression(value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return value
    if isinstance(value, list):
        if not value:
            raise _wrong(path, "a list of one value at least", value)
        return _constant(path, value)
    if not isinstance(value, dict):
        raise _wrong(path, "a list of values, an expression in quotes, or a table", value)
    if "kind" in value:
        return _constant(path, value)
    if not value.keys() & set(RANGE):
        raise _wrong(path, "a table with 'kind', or with 'log' and 'num'", value)
    return _range(path, value)


def _range(path: str, value: dict[str, Any]) -> list[int] | list[float]:
    _known(path, value, RANGE)
    for key in RANGE:
        if key not in value:
            raise ValueError(f"{path}.{key} is missing beside {path}.{next(iter(value))}")
    ends, num = value["log"], value["num"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise _wrong(f"{path}.log", "a list of the first and the last value", ends)
    if not _integer(num, 2):
        raise _wrong(f"{path}.num", "an integer of at least 2", num)
    try:
        return log_range(ends[0], ends[1], num)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _constant(path: str, value: Any) -> Any:
    """Text, a number, a truth value, a list of constants, or a table with a kind."""
    if isinstance(value, list):
        return [_constant(f"{path}[{i}]", item) for i, item in enumerate(value)]
    if isinstance(value, dict):
        if "kind" not in value:
            raise _wrong(path, "a table with a 'kind' and its fields", value)
        if not isinstance(value["kind"], str):
            raise _wrong(f"{path}.kind", "a name in quotes", value["kind"])
        return {name: _constant(_key(path, name), item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        raise _wrong(path, "a number", value)
    if not isinstance(value, bool | int | float | str):
        raise _wrong(path, "a number, text, a list or a table", value)
    return value


def _rows(path: str, value: Any) -> int:
    if not _integer(value, 2):
        raise _wrong(path, "an integer of at least 2", value)
    return int(value)


KEYS: dict[str, Callable[[str, Any], Any]] = {
    "folder": _folder,
    "seeds": _seeds,
    "measure": _names,
    "keep": _names,
    "keep_rows": _rows,
    "common": _names,
    "base": _base,
    "grid": _grid,
}
