r"""The folder of a study: what it is, and a file of rows for every writer.

``study.json`` says what the study is; ``rows/*.jsonl`` hold a line of JSON for every finished run.
A line is written whole and at once, at the end of a file that no other writer has: what a kill
leaves of a line that was being written is not a row, and its run is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _files

KIND = "metaspan study"
VERSION = 1
Row = dict[str, Any]
Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Found:
    r"""What the files of a study hold.

    Parameters
    ----------
    rows : dict of (str, int) to dict
        One row per cell and seed: that of a run that was done rather than of one that failed.
    damaged : int
        Lines that are no rows.
    repeated : int
        Rows of runs that stand twice.
    """

    rows: dict[Key, Row]
    damaged: int
    repeated: int


class Store:
    r"""Reads and writes the folder of a study.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder; made when something is written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def checkpoints(self) -> Path:
        """Folder of what long runs need to go on."""
        return self.folder / "checkpoints"

    def specification(self) -> dict[str, Any] | None:
        """What the study is, or None where the folder holds none."""
        path = self.folder / "study.json"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tree = json.loads(content)
            kind, version = tree["format"], tree["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{str(path)!r} is not a {KIND}, or it is broken ({error})") from error
        if kind != KIND:
            raise ValueError(f"{str(path)!r} must be a {KIND}; it is a {kind}")
        if version != VERSION:
            raise ValueError(
                f"{str(path)!r} has format version {version}; this release reads {VERSION}"
            )
        found: dict[str, Any] = tree
        return found

    def specify(self, tree: Mapping[str, Any]) -> None:
        """Write what the study is, unless that stands there."""
        path = self.folder / "study.json"
        content = _lines({"format": KIND, "version": VERSION, **tree}).encode()
        if not (path.exists() and path.read_bytes() == content):
            self.folder.mkdir(parents=True, exist_ok=True)
            _files.replace(path, content)

    def files(self) -> list[Path]:
        """Files of rows, in the order of their names."""
        return sorted((self.folder / "rows").glob("*.jsonl"))

    def read(self) -> Found:
        """All rows, each run once."""
        rows: dict[Key, Row] = {}
        damaged = repeated = 0
        for path in self.files():
            for line in path.read_bytes().splitlines():
                row = _row(line)
                if row is None:
                    damaged += bool(line.strip())
                    continue
                key = (row["cell"], row["seed"])
                known = rows.get(key)
                repeated += known is not None
                if known is None or (known["status"] == "failed" != row["status"]):
                    rows[key] = row
        return Found(rows=rows, damaged=damaged, repeated=repeated)

    @contextmanager
    def writer(self, name: str, sync: bool) -> Iterator[Writer]:
        """The one writer of a file of rows; `sync` makes every row last through a power loss."""
        path = self.folder / "rows" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            # What a kill cut short ends here, so that the next row stands on a line of its own.
            if size and os.pread(handle, 1, size - 1) != b"\n":
                os.write(handle, b"\n")
            yield Writer(handle, sync)
        finally:
            os.close(handle)
        with suppress(OSError):
            self.checkpoints.rmdir()  # empty unless long runs were cut


class Writer:
    r"""Appends rows to a file.

    Parameters
    ----------
    handle : int
        The open file.
    sync : bool
        Whether every call waits for the disk.
    """

    def __init__(self, handle: int, sync: bool) -> None:
        self._handle = handle
        self._sync = sync

    def put(self, rows: Iterable[Row]) -> None:
        """Append rows, whole lines at once."""
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        while content:
            content = content[os.write(self._handle, content) :]
        if self._sync:
            os.fsync(self._handle)


def _lines(tree: Mapping[str, Any], depth: int = 1) -> str:
    """JSON with a line for every entry of the first two levels."""
    parts = []
    for name, value in tree.items():
        nested = depth < 2 and isinstance(value, Mapping) and value
        text = _lines(value, depth + 1) if nested else json.dumps(value, allow_nan=False)
        parts.append(f"{'  ' * depth}{json.dumps(name)}: {text}")
    body = ",\n".join(parts)
    return f"{{\n{body}\n{'  ' * (depth - 1)}}}" + ("\n" if depth == 1 else "")


def _row(line: bytes) -> Row | None:
    """A row from a line, or None where it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    kinds = {"cell": str, "seed": int, "status": str, "values": dict, "by": str, "at": str}
    if not all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
        return None
    if row["status"] == "failed":
        return row
    measures = row.get("measures")
    if not isinstance(measures, dict) or not isinstance(row.get("round"), int):
        return None
    numbers = (int, float, type(None))
    good = all(isinstance(v, numbers) or v in ("inf", "-inf") for v in measures.values())
    return row if good else None
