r"""The folder of a study: what it is, and a file of rows for every writer.

``study.json`` says what the study is; ``rows/*.jsonl`` hold a line of JSON for every finished run,
and for every death of a worker a line with the runs that were under way.
A line is written whole and at once, at the end of a file that no other writer has: what a kill
leaves of a line that was being written is not a row, and its run is done again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

from .. import _files

KIND = "metaspan study"
VERSION = 1
FAILED = "failed"  # the status of a run that could not be done
KINDS = (("cell", str), ("seed", int), ("status", str), ("values", dict), ("by", str), ("at", str))
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
    suspects : dict of (str, int) to int
        Runs that were with an executor when a worker died, with how often they were alone then.
    """

    rows: dict[Key, Row]
    damaged: int
    suspects: dict[Key, int]


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

    def clear(self) -> None:
        """Remove what long runs needed to go on, once the study is complete."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def files(self) -> list[Path]:
        """Files of rows, in the order of their names."""
        return sorted((self.folder / "rows").glob("*.jsonl"))

    def read(self) -> Found:
        """All rows, each run once."""
        rows: dict[Key, Row] = {}
        suspects: dict[Key, int] = {}
        damaged = 0
        for path in self.files():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                row = _row(line)
                if row is None:
                    died = _died(line)
                    for key in died:
                        suspects[key] = suspects.get(key, 0) + (len(died) == 1)
                    damaged += not died and bool(line.strip())
                    continue
                key = (row["cell"], row["seed"])
                known = rows.get(key)
                if known is None or _supersedes(row, known):
                    rows[key] = row
        return Found(rows=rows, damaged=damaged, suspects=suspects)

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
            if sync:
                _files.sync_folder(path.parent)  # a new file's name, too
            yield Writer(handle, sync)
        finally:
            os.close(handle)


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


def _died(line: str) -> list[Key]:
    """Runs of a line that says which were under way when a worker died."""
    try:
        return [(str(cell), int(seed)) for cell, seed in json.loads(line)["died"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []


def _supersedes(row: Row, known: Row) -> bool:
    """Whether a row of a run that has one counts: one that was done, or the last that failed."""
    if known["status"] != FAILED:
        return False
    return bool(row["status"] != FAILED or row["at"] >= known["at"])


def _row(line: str) -> Row | None:
    """A row from a line, or None where it is none."""
    try:
        row = json.loads(line)
        known = all(isinstance(row[name], kind) for name, kind in KINDS)
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return None
    if not known:
        return None
    # What the study knows of its cells, and texts that all rows share, need no room of their own.
    del row["values"]
    row["by"], row["status"] = intern(row["by"]), intern(row["status"])
    if row["status"] == FAILED:
        return row  # type: ignore[no-any-return]
    measures = row.get("measures")
    if not isinstance(measures, dict) or not isinstance(row.get("round"), int):
        return None
    for value in measures.values():
        if not (value is None or isinstance(value, (int, float)) or value in ("inf", "-inf")):
            return None
    return row  # type: ignore[no-any-return]
