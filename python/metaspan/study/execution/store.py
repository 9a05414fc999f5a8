r"""Reads and writes the folder of a study: the description of the study, and its files of rows.

``study.json`` describes the study. Each line of the files ``rows/*.jsonl`` is JSON: either the row
of a run that has ended, or a list of the runs that were under way when a worker died. Each process
that writes rows has a file of its own, to which it appends whole lines. If a kill cuts a line
short, the line is not a valid row, and its run is done again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from sys import intern
from typing import Any

from ..._support import files, memory
from ...runs.outcome import Status

KIND = "metaspan study"
VERSION = 1
FAILED = "failed"  # status of a run that raised an error
ENDED = frozenset(status.name.lower() for status in Status) - {"interrupted"}
LONGEST = 2**26  # most bytes of a line
LARGEST = 2**1023  # bound of the integers in a row, below which every integer converts to a float
BYTES_READ = 32  # bytes of memory that parsing takes, at most, per byte of JSON
# Names and types of the entries that every row has.
KINDS = (("cell", str), ("seed", int), ("status", str), ("values", dict), ("by", str), ("at", str))
Row = dict[str, Any]
RunId = tuple[str, int]  # name of the cell, and seed


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    r"""The contents of the files of rows of a study.

    Parameters
    ----------
    rows : dict of (str, int) to dict
        One row for each cell and seed. If the files hold several rows of a run, a row without an
        error is preferred to a row with the status "failed".
    damaged : int
        Number of lines that are neither a valid row nor the record of a worker's death.
    suspects : dict of (str, int) to int
        For each run that may have killed a worker, the number of workers that died while this run
        was alone.
    """

    rows: dict[RunId, Row]
    damaged: int
    suspects: dict[RunId, int]


class StudyFolder:
    r"""Reads and writes the folder of a study.

    Parameters
    ----------
    folder : str or os.PathLike
        Path of the folder; the first write creates the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def file(self) -> Path:
        """Path of the file that describes the study."""
        return self.folder / "study.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of long runs."""
        return self.folder / "checkpoints"

    def read_description(self) -> dict[str, Any] | None:
        """Read the description of the study; None if the folder holds no description."""
        path = self.file
        try:
            size = path.stat().st_size
            memory.require(f"{str(path)!r}", BYTES_READ * size)
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        with files.name_file_in_errors(f"{str(path)!r} is not a {KIND}, or it is broken"):
            tree = files.parse(content)
            kind, version = tree["format"], tree["version"]
        if kind != KIND:
            raise ValueError(f"{str(path)!r} must be a {KIND}; it is a {files.shorten(kind)}")
        if version != VERSION:
            raise ValueError(
                f"{str(path)!r} has format version {files.shorten(version)}; "
                f"this release reads {VERSION}"
            )
        description: dict[str, Any] = tree
        return description

    def write_description(self, tree: Mapping[str, Any]) -> None:
        """Write the description of the study, unless the file holds the same description."""
        path = self.file
        content = _format_tree({"format": KIND, "version": VERSION, **tree}).encode()
        if not (path.exists() and path.read_bytes() == content):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, content)

    def clear(self) -> None:
        """Remove all checkpoints; this is done when the study is complete."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def row_files(self) -> list[Path]:
        """List the files of rows in the order of their names."""
        return sorted((self.folder / "rows").glob("*.jsonl"))

    def read(self, measures: Collection[str], keep: Collection[str]) -> StoredRows:
        r"""Read the rows that have all given measures and records; keep one row for each run.

        A row that lacks one of the measures or records counts as damaged, and its run is done
        again.
        """
        kept = {"round", *keep} if keep else set[str]()
        rows: dict[RunId, Row] = {}
        suspects: dict[RunId, int] = {}
        damaged = 0
        for line in chain.from_iterable(map(_read_lines, self.row_files())):
            entry = _parse_line(line)
            row = _parse_row(entry)
            if row is not None and row["status"] != FAILED:
                complete = row["measures"].keys() >= {*measures}
                row = row if complete and row.get("trace", {}).keys() >= kept else None
            if row is None:
                died = _parse_death(entry)
                for key in died:
                    suspects[key] = suspects.get(key, 0) + (len(died) == 1)
                damaged += not died and bool(line.strip())
                continue
            key = (row["cell"], row["seed"])
            known = rows.get(key)
            if known is None or _supersedes(row, known):
                rows[key] = row
        return StoredRows(rows=rows, damaged=damaged, suspects=suspects)

    @contextmanager
    def writer(self, name: str, sync: bool) -> Iterator[Writer]:
        """Open a file of rows; if `sync` is true, a written row survives a power loss."""
        path = self.folder / "rows" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            # A kill may have cut the last line short. End that line, so that the next row starts on
            # a new line.
            if size and os.pread(handle, 1, size - 1) != b"\n":
                os.write(handle, b"\n")
            if sync:
                files.sync_folder(path.parent)  # the file's name then also survives a power loss
            yield Writer(handle, sync)
        finally:
            os.close(handle)


class Writer:
    r"""Appends rows to a file; no other process may write to the file.

    Parameters
    ----------
    handle : int
        Descriptor of the open file.
    sync : bool
        Whether every call waits until the rows are on the disk.
    """

    def __init__(self, handle: int, sync: bool) -> None:
        self._handle = handle
        self._sync = sync

    def put(self, rows: Iterable[Row]) -> None:
        """Append rows as whole lines, in as few system calls as possible."""
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        while content:
            content = content[os.write(self._handle, content) :]
        if self._sync:
            os.fsync(self._handle)


def _format_tree(tree: Mapping[str, Any], depth: int = 1) -> str:
    """Format a tree as JSON; each entry of the first two levels has its own line."""
    parts = []
    for name, value in tree.items():
        nested = depth < 2 and isinstance(value, Mapping) and value
        text = _format_tree(value, depth + 1) if nested else json.dumps(value, allow_nan=False)
        parts.append(f"{'  ' * depth}{json.dumps(name)}: {text}")
    body = ",\n".join(parts)
    return f"{{\n{body}\n{'  ' * (depth - 1)}}}" + ("\n" if depth == 1 else "")


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; a line of more than LONGEST bytes is truncated."""
    with open(path, "rb") as file:
        while line := file.readline(LONGEST):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(LONGEST)):
                pass  # skip the rest of the line


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line; None if the line is not a JSON object."""
    try:
        entry = files.parse(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _parse_death(entry: dict[str, Any] | None) -> list[RunId]:
    """Return the runs that a line lists as under way when a worker died; else an empty list."""
    died = (entry or {}).get("died")
    if not isinstance(died, list):
        return []
    for run in died:
        if not (isinstance(run, list) and [type(part) for part in run] == [str, int]):
            return []
    return [(cell, seed) for cell, seed in died]


def _supersedes(row: Row, known: Row) -> bool:
    """Tell whether `row` replaces `known`: `known` failed, and `row` did not fail or is later."""
    if known["status"] != FAILED:
        return False
    return bool(row["status"] != FAILED or row["at"] >= known["at"])


def _parse_row(entry: dict[str, Any] | None) -> Row | None:
    """Return the row of a parsed line; None if the line is not a valid row."""
    if entry is None or not all(type(entry.get(name)) is kind for name, kind in KINDS):
        return None
    # A study may have 10^7 rows. To save memory, the values are dropped, because the cells hold
    # them too, and equal texts are stored once.
    row = {name: entry[name] for name in ("cell", "seed", "at")}
    row["by"], row["status"] = intern(entry["by"]), intern(entry["status"])
    if row["status"] == FAILED:
        error = entry.get("error")
        return {**row, "error": error} if isinstance(error, str) else None
    measures, seconds = entry.get("measures"), entry.get("seconds")
    done = entry.get("round")
    whole = row["status"] in ENDED and type(done) is int and done >= 0
    timed = type(seconds) in (int, float) and is_number(seconds)
    if not (whole and timed and isinstance(measures, dict)):
        return None
    if not all(is_number(value) for value in measures.values()):
        return None
    row |= {"round": done, "seconds": seconds, "measures": measures}
    if "trace" not in entry:
        return row
    return {**row, "trace": entry["trace"]} if _is_trace(entry["trace"]) else None


def _is_trace(trace: Any) -> bool:
    """Tell whether a value is a valid trace: number lists of equal length, rounds ascending."""
    if not (isinstance(trace, dict) and all(isinstance(part, list) for part in trace.values())):
        return False
    rounds = trace.get("round")
    if rounds is None or not all(type(at) is int and 0 <= at < 2**63 for at in rounds):
        return False
    ascends = all(a < b for a, b in pairwise(rounds))
    return ascends and all(
        len(part) == len(rounds) and all(is_number(value) for value in part)
        for part in trace.values()
    )


def is_number(value: object) -> bool:
    """Tell whether a value is in the form in which `encode_number` stores numbers."""
    if type(value) is int:
        return -LARGEST < value < LARGEST
    return (type(value) is float and math.isfinite(value)) or value in (None, "inf", "-inf")
