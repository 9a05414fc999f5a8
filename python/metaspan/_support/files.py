r"""Reads and writes the package's files: npz archives, free of pickles, of JSON and arrays."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .._load import core
from . import memory

VERSION = 1
DOCUMENT = "metaspan"
DTYPES = (np.uint8, np.int64, np.float32, np.float64)  # the dtypes of arrays in files
CHUNK = 2**20  # bytes that are copied at a time
LOCAL_HEADER = 30  # bytes before the name of a member of an archive
LONGEST_NAME = 50  # most letters of the target, and of the machine, in a temporary name


class Streamed(NamedTuple):
    """An array (..., rows, k) whose numbers come in pieces, in C order, while it is written."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Iterable[NDArray[Any]]


class Rows(NamedTuple):
    """The rows `first` to `end` - 1 of the `all` rows of an array (..., rows, k)."""

    first: int
    end: int
    all: int


def write(
    path: str | os.PathLike[str],
    kind: str,
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any] | Streamed],
) -> None:
    """Write a document and arrays to a file; an existing file is replaced atomically."""
    head = {"format": kind, "version": VERSION, "written_by": core.build_info()["version"]}
    text = json.dumps({**head, **document}).encode()
    members = {DOCUMENT: np.frombuffer(text, np.uint8), **arrays}
    with (
        _open_replacement(Path(path)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_array(member, array)


def _write_array(member: IO[bytes], array: NDArray[Any] | Streamed) -> None:
    """Write an array as an npy file, as `numpy.savez` does."""
    if not isinstance(array, Streamed):
        npy.write_array(member, np.asanyarray(array), allow_pickle=False)
        return
    header = {
        "descr": npy.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    npy.write_array_header_1_0(member, header)
    for piece in array.pieces:
        member.write(np.ascontiguousarray(piece).data)


def replace(path: Path, content: bytes) -> None:
    """Write bytes to a file; an existing file is replaced atomically."""
    with _open_replacement(path) as file:
        file.write(content)


@contextmanager
def _open_replacement(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file, which replaces the target once the file is complete and on the disk.

    If the target is a symbolic link, the file that it leads to is replaced. The new file has the
    permissions of the file that it replaces. If the target exists but is not a regular file (a
    pipe, for example), the target itself is opened. If writing fails, an OSError names the target.
    """
    renamed = target.is_file() or not target.exists()
    try:
        with _open_temporary(target) if renamed else target.open("wb") as file:
            yield file
    except OSError as error:  # the error may name the temporary file, or no file
        number = error.errno or errno.EIO
        raise OSError(number, error.strerror or str(error), str(target)) from None


@contextmanager
def _open_temporary(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file in the folder of the target; at the end, rename it to the target."""
    if target.is_symlink():
        target = Path(os.path.realpath(target))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    # The name of the temporary file contains the machine and the thread, because several machines
    # or threads may write to the same target.
    thread = f"{platform.node()[:LONGEST_NAME]}.{threading.get_native_id()}"
    beside = target.with_name(f".{target.name[:LONGEST_NAME]}.{thread}.part")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(target.parent)


def read(
    path: str | os.PathLike[str], kind: str, rows: Mapping[str, Rows] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the document and the arrays of a file; raise ValueError unless the file is a `kind`.

    Only the given rows of the arrays named in `rows` are read. No allocation exceeds the size of
    the file or the available memory, even if the file is damaged.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)  # a device may be endless
        if not (regular and zipfile.is_zipfile(file)):
            raise ValueError(f"{name!r} is not a {kind}, or it is broken (it is not an archive)")
        with name_file_in_errors(f"{name!r} is not a {kind}, or it is broken"):
            size = os.fstat(file.fileno()).st_size
            arrays = _read_members(file, size, rows or {}, name)
            document = parse(arrays.pop(DOCUMENT).tobytes())
            file_kind, version = document["format"], document["version"]
    if file_kind != kind:
        raise ValueError(f"{name!r} must be a {kind}; it is a {shorten(file_kind)}")
    if version != VERSION:
        raise ValueError(
            f"{name!r} has format version {shorten(version)}; this release reads {VERSION}"
        )
    return document, arrays


@contextmanager
def name_file_in_errors(what: str) -> Iterator[None]:
    """Re-raise any error caused by a file's contents as a ValueError prefixed with `what`."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged contents make libraries raise errors of any kind
        raise ValueError(f"{what} ({shorten(error)})") from error


def shorten(value: object) -> str:
    """Describe an error, or a value that was read from a file, in a short text on one line."""
    plain = isinstance(value, (ValueError, OSError, zipfile.BadZipFile))
    text = " ".join((str(value) if plain or isinstance(value, str) else repr(value)).split())
    return text if len(text) <= 150 else f"{text[:147]}..."


def parse(content: str | bytes) -> Any:
    """Parse JSON; raise ValueError if a name is repeated or a number is NaN or infinite."""
    return DECODER.decode(content if isinstance(content, str) else content.decode())


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {shorten(repeated)!r} is repeated")
    return items


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_refuse_repeats, parse_constant=_refuse_constant)


def _read_members(
    file: IO[bytes], size: int, rows: Mapping[str, Rows], path: str
) -> dict[str, NDArray[Any]]:
    """Read the arrays of an archive whose members are uncompressed and do not overlap."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError(f"the member {shorten(info.filename)!r} is compressed")
        if sum(info.file_size for info in infos) > size:
            raise ValueError("its members overlap")
        names = [info.filename.removesuffix(".npy") for info in infos]
        memory.require(repr(path), _bytes_to_read(infos, names, size, rows))
        for name, info in zip(names, infos, strict=True):
            if name in arrays:
                raise ValueError(f"the member {shorten(name)!r} is repeated")
            with archive.open(info) as member:
                if name not in rows:
                    arrays[name] = _read_array(member, info.file_size)
                    continue
                shape, in_columns, dtype = _read_header(member, info.file_size)
                begin = _begin_of(file, info) + member.tell()
            arrays[name] = _read_rows(file, begin, (shape, in_columns, dtype), rows[name])
    return arrays


def _bytes_to_read(
    infos: list[zipfile.ZipInfo], names: list[str], size: int, rows: Mapping[str, Rows]
) -> int:
    """Return the size of a file without the rows that are left out."""
    for name, info in zip(names, infos, strict=True):
        if name in rows:
            part = rows[name]
            size -= info.file_size * (part.all - part.end + part.first) // part.all
    return size


def _begin_of(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return where the content of a member begins in its archive."""
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER:
        raise ValueError("an array ends too early")
    lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + LOCAL_HEADER + sum(lengths)


def _read_rows(
    file: IO[bytes],
    begin: int,
    header: tuple[tuple[int, ...], bool, np.dtype[Any]],
    rows: Rows,
) -> NDArray[Any]:
    """Read some rows of an array (..., rows, k) that begins at a place of a file."""
    shape, in_columns, dtype = header
    if len(shape) < 2 or shape[-2] != rows.all or in_columns:
        raise ValueError(f"an array of shape {shorten(shape)} must have {rows.all} rows, in order")
    array = np.empty((*shape[:-2], rows.end - rows.first, shape[-1]), dtype)
    row_bytes = shape[-1] * dtype.itemsize
    for i, lead in enumerate(np.ndindex(shape[:-2])):
        file.seek(begin + (i * rows.all + rows.first) * row_bytes)
        _fill(array[lead], file)
    return array


def _read_header(member: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, the order and the dtype of an npy file of `size` bytes."""
    version = npy.read_magic(member)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = header(member)
    if dtype not in DTYPES:
        raise ValueError(f"arrays must not be of dtype {shorten(dtype)}")
    count, left = math.prod(shape), size - member.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize != left:
        raise ValueError(f"an array of shape {shorten(shape)} and dtype {dtype} has {left} bytes")
    return shape, in_columns, dtype


def _read_array(member: IO[bytes], size: int) -> NDArray[Any]:
    """Read an array from an npy file of `size` bytes."""
    shape, in_columns, dtype = _read_header(member, size)
    array = np.empty(shape, dtype, order="F" if in_columns else "C")
    _fill(array, member)
    return np.asarray(array, order="C")


def _fill(array: NDArray[Any], source: IO[bytes]) -> None:
    """Read the numbers of a contiguous array, in the order of its memory."""
    content = array.reshape(-1, order="A").view(np.uint8)
    at = 0
    while at < content.size:
        part = source.read(min(CHUNK, content.size - at))
        if not part:
            raise ValueError("an array ends too early")
        content[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk if possible, so that a renaming survives a crash."""
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
