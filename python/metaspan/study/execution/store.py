r"""The folder of a study: what it is, and a file of rows for every writer.

``study.json`` says what the study is; ``rows/*.jsonl`` hold a line of JSON for every finished run,
and for every death of a worker a line with the runs that were under way.
A line is written whole and at once, at the end of a file that no other writer has: what a kill
leaves of a line that was being written is not a row, and its run is done again.
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
FAILED = "failed"  # the status of a run that could not be done
ENDED = frozenset(status.name.lower() for status in Status) - {"interrupted"}
LONGEST = 2**26  # bytes of a line
LARGEST = 2**1023  # that a number of a row may be
BYTES_READ = 32  # that a byte of JSON may take in memory
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
    def file(self) -> Path:
        """What the study is."""
        return self.folder / "study.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of what long runs need to go on."""
        return self.folder / "checkpoints"

    def specification(self) -> dict[str, Any] | None:
        """What the study is, or None where the folder holds none."""
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
        found: dict[str, Any] = tree
        return found

    def specify(self, tree: Mapping[str, Any]) -> None:
        """Write what the study is, unless that stands there."""
        path = self.file
        content = _lines({"format": KIND, "version": VERSION, **tree}).encode()
        if not (path.exists() and path.read_bytes() == content):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, content)

    def clear(self) -> None:
        """Remove what long runs needed to go on, once the study is complete."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def files(self) -> list[Path]:
        """Files of rows, in the order of their names."""
        return sorted((self.folder / "rows").glob("*.jsonl"))

    def read(self, measures: Collection[str], keep: Collection[str]) -> Found:
        """All rows that hold these measures and records, each run once."""
        kept = {"round", *keep} if keep else set[str]()
        rows: dict[Key, Row] = {}
        suspects: dict[Key, int] = {}
        damaged = 0
        for line in chain.from_iterable(map(_lines_of, self.files())):
            found = _parsed(line)
            row = _row(found)
            if row is not None and row["status"] != FAILED:
                whole = row["measures"].keys() >= {*measures}
                row = row if whole and row.get("trace", {}).keys() >= kept else None
            if row is None:
                died = _died(found)
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
                files.sync_folder(path.parent)  # a new file's name, too
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


def _lines_of(path: Path) -> Iterator[bytes]:
    """Lines of a file; of one that is too long for a row, its beginning."""
    with open(path, "rb") as file:
        while line := file.readline(LONGEST):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(LONGEST)):
                pass  # the rest of a line that is no row


def _parsed(line: bytes) -> dict[str, Any] | None:
    """What a line holds, or None where that is no table."""
    try:
        found = files.parse(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _died(found: dict[str, Any] | None) -> list[Key]:
    """Runs of a line that says which were under way when a worker died."""
    died = (found or {}).get("died")
    if not isinstance(died, list):
        return []
    for run in died:
        if not (isinstance(run, list) and [type(part) for part in run] == [str, int]):
            return []
    return [(cell, seed) for cell, seed in died]


def _supersedes(row: Row, known: Row) -> bool:
    """Whether a row of a run that has one counts: one that was done, or the last that failed."""
    if known["status"] != FAILED:
        return False
    return bool(row["status"] != FAILED or row["at"] >= known["at"])


def _row(found: dict[str, Any] | None) -> Row | None:
    """A row from what a line holds, or None where it is none."""
    if found is None or not all(type(found.get(name)) is kind for name, kind in KINDS):
        return None
    # What the study knows of its cells, and texts that all rows share, need no room of their own.
    row = {name: found[name] for name in ("cell", "seed", "at")}
    row["by"], row["status"] = intern(found["by"]), intern(found["status"])
    if row["status"] == FAILED:
        error = found.get("error")
        return {**row, "error": error} if isinstance(error, str) else None
    measures, seconds = found.get("measures"), found.get("seconds")
    done = found.get("round")
    whole = row["status"] in ENDED and type(done) is int and done >= 0
    timed = type(seconds) in (int, float) and is_number(seconds)
    if not (whole and timed and isinstance(measures, dict)):
        return None
    if not all(is_number(value) for value in measures.values()):
        return None
    row |= {"round": done, "seconds": seconds, "measures": measures}
    if "trace" not in found:
        return row
    return {**row, "trace": found["trace"]} if _is_trace(found["trace"]) else None


def _is_trace(trace: Any) -> bool:
    """Whether it is a table of numbers, with rounds that ascend."""
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
    """Whether a value is what a row holds of a number."""
    if type(value) is int:
        return -LARGEST < value < LARGEST
    return (type(value) is float and math.isfinite(value)) or value in (None, "inf", "-inf")
