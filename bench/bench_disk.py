"""Times gradients on features in a file on disk, compared with a plain read of the file.

Before every call, the file is dropped from the system's page cache, so that the call reads the
whole file from the disk. If a gradient is computed while the file is read, it takes as long as a
plain read. Before the timing, every gradient is compared with the gradient on the same features in
memory. The file is made in the folder of temporary files (TMPDIR).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import metaspan as ms
from bench.floors import Size
from bench.harness import (
    Figure,
    Options,
    Seconds,
    cpus,
    figure,
    power_of_ten,
    relative,
    side_by_side,
)

SIZE = Size(10**5, 10, 48, 25, 25)  # 1.92 GB
QUICK = Size(10**5, 10, 8, 25, 25)
METHODS = {"fo-anil": ms.ANIL(alpha=0.1, first_order=True), "maml": ms.MAML(alpha=0.01)}
SHARE = 0.9  # target for the rate, as a share of the rate of a plain read
AT_ONCE = 2**23  # number of bytes that a plain read fetches at a time
TOLERANCE = 1e-12


def forget(path: Path) -> None:
    """Drop a file from the system's page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def cold(path: Path, call: Callable[[], object]) -> Seconds:
    """Drop a file from the page cache, and then time a call."""
    forget(path)
    start = time.perf_counter()
    call()
    return Seconds(time.perf_counter() - start)


def read(path: Path) -> None:
    """Read all bytes of a file, in order, through one small buffer."""
    room = bytearray(AT_ONCE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(room):
            pass


def write_features(folder: Path, size: Size) -> tuple[dict[str, Path], np.ndarray, np.ndarray]:
    """Write features to .npy and HDF5 files; return the paths, X (n, m, d) and y (n, m)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((size.n, size.m_in + size.m_out, size.d))
    paths = {"npy": folder / "X.npy", "HDF5": folder / "X.h5"}
    np.save(paths["npy"], X)
    with h5py.File(paths["HDF5"], "w") as file:
        file["X"] = X
    return paths, X, rng.standard_normal(X.shape[:2])


def open_features(kind: str, path: Path) -> Any:
    """Open the features in a file without reading them."""
    return np.load(path, mmap_mode="r") if kind == "npy" else h5py.File(path)["X"]


def opener(kind: str, path: Path, y: np.ndarray, m_in: int) -> Callable[[], ms.TaskBatch]:
    """Return a function that makes the batch of tasks for one call.

    An HDF5 dataset stays open between calls. A memory-mapped file is opened anew for each call,
    since the system keeps the pages of an open mapping in its cache.
    """

    def opened() -> ms.TaskBatch:
        return ms.TaskBatch.split(open_features(kind, path), y, m_in, check_finite=False)

    return opened if kind == "npy" else cache(opened)


def gradient(batch_of: Callable[[], ms.TaskBatch], *point: Any) -> ms.Gradient:
    """Compute the gradient for the tasks whose features are in a file."""
    return ms.meta_gradient(*point[:2], batch_of(), point[2])


def run(options: Options) -> list[Figure]:
    """Time gradients of two methods on both files, uncached; plain reads alternate with them."""
    size = QUICK if options.quick else SIZE
    B = np.random.default_rng(1).standard_normal((size.d, size.k)) / np.sqrt(size.d)
    w, rows = np.ones(size.k), []
    with tempfile.TemporaryDirectory() as folder:
        paths, X, y = write_features(Path(folder), size)
        for kind, path in paths.items():
            batch_of = opener(kind, path, y, size.m_in)
            known = ms.TaskBatch.split(X, y, size.m_in, check_finite=False)
            calls: dict[str, Callable[[], object]] = {"a plain read": partial(read, path)}
            for name, method in METHODS.items():
                ours = partial(gradient, batch_of, B, w, method)
                error = relative(ours().B, ms.meta_gradient(B, w, known, method).B)
                assert error < TOLERANCE, error
                calls[f"metaspan, {name}"] = ours
            timings = side_by_side(
                {who: partial(cold, path, call) for who, call in calls.items()}, options.repeats
            )
            rows += compare(kind, size, X.nbytes, timings)
    return rows


def compare(kind: str, size: Size, count: int, timings: dict[str, Any]) -> list[Figure]:
    """Make rows of the rates, and of each rate as a share of the rate of a plain read."""
    shown = ", ".join(map(power_of_ten, size))
    case = f"cold {kind}, (d, k, n, m_in, m_out) = ({shown}), cores: {len(cpus())}"
    about = {"bench": "disk", "case": case, "more_is_better": True}
    plain = timings["a plain read"]
    rows = []
    for who, timing in timings.items():
        rate = count / timing.median / 1e9
        rows.append(figure(timing, rate, who=who, unit="GB/s", bytes=float(count), **about))
        if timing is not plain:
            share = plain.median / timing.median
            rows.append(
                figure(timing, share, who=f"{who} / a plain read", unit="x", target=SHARE, **about)
            )
    return rows
