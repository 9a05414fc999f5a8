r"""Read and write the folder of a study: its description, and files of rows.

``study.json`` describes the study. Each line of JSON in ``rows/*.jsonl`` is the row of a finished
run or the record of a worker's death, which lists the runs that were under way. Every process that
writes has its own file and appends whole lines. A line that was cut short by a kill is not a row,
and its run is done again.
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
LARGEST = 2**1023  # bound of the integers in a row; a float can hold them
BYTES_READ = 32  # most bytes of memory that a byte of JSON takes after parsing
# Entries of every row, with their types.
KINDS = (("cell", str), ("seed", int), ("status", str), ("values", dict), ("by", str), ("at", str))
Row = dict[str, Any]
RunId = tuple[str, int]  # the cell's name and the seed


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    r"""What the files of a study hold.

    Parameters
    ----------
    rows : dict of (str, int) to dict
        One row per cell and seed; the row of a finished run takes precedence over that of a failed
        run.
    damaged : int
        Number of lines that are not valid rows.
    suspects : dict of (str, int) to int
        Runs that an executor had when a worker died, each with the number of workers that died
        while the run was alone.
    """

    rows: dict[RunId, Row]
    damaged: int
    suspects: dict[RunId, int]


class StudyFolder:
    r"""Reads and writes the folder of a study.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder; the first write creates it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def file(self) -> Path:
        """Path of the description."""
        return self.folder / "study.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of long runs."""
        return self.folder / "checkpoints"

    def read_description(self) -> dict[str, Any] | None:
        """Read the description; None if the folder has none."""
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
        """Write the description, unless the file already contains it."""
        path = self.file
        content = _format_tree({"format": KIND, "version": VERSION, **tree}).encode()
        if not (path.exists() and path.read_bytes() == content):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, content)

    def clear(self) -> None:
        """Remove the checkpoints, which a complete study does not need."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def row_files(self) -> list[Path]:
        """List the files of rows in the order of their names."""
        return sorted((self.folder / "rows").glob("*.jsonl"))

    def read(self, measures: Collection[str], keep: Collection[str]) -> StoredRows:
        r"""Read all rows that have the given measures and records; keep one row per run.

        A row that lacks a measure or record counts as damaged, and its run is done again.
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
        """Open a file of rows; if `sync`, every row is written so that it survives a power loss."""
        path = self.folder / "rows" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            # A kill may have cut the last line short. End this line, so that the next row starts a
            # new one.
            if size and os.pread(handle, 1, size - 1) != b"\n":
                os.write(handle, b"\n")
            if sync:
                files.sync_folder(path.parent)  # the file's name then also survives a power loss
            yield Writer(handle, sync)
        finally:
            os.close(handle)


class Writer:
    r"""Appends rows to a file that no other process writes.

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
        """Append rows as whole lines, with as few writes as the system allows."""
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        while content:
            content = content[os.write(self._handle, content) :]
        if self._sync:
            os.fsync(self._handle)


def _format_tree(tree: Mapping[str, Any], depth: int = 1) -> str:
    """Format JSON with a separate line for every entry of the first two levels."""
    parts = []
    for name, value in tree.items():
        nested = depth < 2 and isinstance(value, Mapping) and value
        text = _format_tree(value, depth + 1) if nested else json.dumps(value, allow_nan=False)
        parts.append(f"{'  ' * depth}{json.dumps(name)}: {text}")
    body = ",\n".join(parts)
    return f"{{\n{body}\n{'  ' * (depth - 1)}}}" + ("\n" if depth == 1 else "")


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; a line that is longer than a row may be is truncated."""
    with open(path, "rb") as file:
        while line := file.readline(LONGEST):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(LONGEST)):
                pass  # skip the rest of the line


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line; None if it is not a JSON table."""
    try:
        entry = files.parse(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _parse_death(entry: dict[str, Any] | None) -> list[RunId]:
    """Parse a line that lists the runs under way when a worker died; empty for any other line."""
    died = (entry or {}).get("died")
    if not isinstance(died, list):
        return []
    for run in died:
        if not (isinstance(run, list) and [type(part) for part in run] == [str, int]):
            return []
    return [(cell, seed) for cell, seed in died]


def _supersedes(row: Row, known: Row) -> bool:
    """Tell whether `row` replaces `known`: `known` has failed, and `row` has not or is later."""
    if known["status"] != FAILED:
        return False
    return bool(row["status"] != FAILED or row["at"] >= known["at"])


def _parse_row(entry: dict[str, Any] | None) -> Row | None:
    """Parse a row; None if it is not valid."""
    if entry is None or not all(type(entry.get(name)) is kind for name, kind in KINDS):
        return None
    # A study may have 10^7 rows. Drop the values, which cells also hold; store equal texts once.
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
    """Tell whether a value is a table of numbers with ascending rounds."""
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
    """Tell whether a value is a number as `encode_number` writes it."""
    if type(value) is int:
        return -LARGEST < value < LARGEST
    return (type(value) is float and math.isfinite(value)) or value in (None, "inf", "-inf")
