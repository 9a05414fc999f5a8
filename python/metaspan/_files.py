r"""Files of the package: npz archives without pickles, with a JSON document inside."""

from __future__ import annotations

import io
import json
import os
import platform
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ._load import core

VERSION = 1
DOCUMENT = "metaspan"


def write(
    path: str | os.PathLike[str],
    kind: str,
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a file beside and rename it, so that `path` is whole or absent at any time."""
    head = {"format": kind, "version": VERSION, "written_by": core.build_info()["version"]}
    text = json.dumps({**head, **document}).encode()
    members: dict[str, Any] = {DOCUMENT: np.frombuffer(text, np.uint8), **arrays}
    with _replacing(Path(path)) as file:
        np.savez(file, **members)


def replace(path: Path, content: bytes) -> None:
    """Write a file beside and rename it."""
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file beside that takes the place of the target once it is whole and on the disk."""
    # Other threads, on other machines too, may be writing the same file.
    thread = f"{platform.node()}.{threading.get_native_id()}"
    beside = target.with_name(f".{target.name}.{thread}.part")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(target.parent)


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the arrays of a file; ValueError names a file that is none of ours."""
    name = os.fspath(path)
    with open(name, "rb") as file:
        content = io.BytesIO(file.read())
    if not zipfile.is_zipfile(content):
        raise ValueError(f"{name!r} is not a {kind}, or it is broken (it is not an archive)")
    try:
        with np.load(content, allow_pickle=False) as members:
            arrays = {member: members[member] for member in members.files}
        document = json.loads(arrays.pop(DOCUMENT).tobytes())
        found, version = document["format"], document["version"]
    except Exception as error:  # damaged archives make the libraries raise whatever comes
        raise ValueError(f"{name!r} is not a {kind}, or it is broken ({error})") from error
    if found != kind:
        raise ValueError(f"{name!r} must be a {kind}; it is a {found}")
    if version != VERSION:
        raise ValueError(f"{name!r} has format version {version}; this release reads {VERSION}")
    return document, arrays


def sync_folder(folder: Path) -> None:
    """Make the renaming last through a crash, where folders can be synchronised."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
