r"""Arrays in the memory of a device, which are borrowed from CuPy, PyTorch or JAX by DLPack."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._device import open_device
from .._load import core
from .._support import check
from .._support.memory import Arena
from .storage import FINITE_HINT, PerTask, TaskArrays

ON_HOST = (1, 3, 11)  # DLPack's types of host memory: plain, pinned for CUDA, pinned for ROCm
DEFAULT_STREAM = 1  # the legacy default stream of CUDA, in the protocol of DLPack
SAMPLED_ROWS = 4  # least rows of a task that a fingerprint reads


def is_device_array(value: object) -> bool:
    """Return whether a value is an array in device memory; arrays of NumPy are not."""
    if isinstance(value, np.ndarray):
        return False
    if isinstance(value, core.DeviceArray):
        return True
    find = getattr(type(value), "__dlpack_device__", None)
    return find is not None and int(find(value)[0]) not in ON_HOST


def holds_device_arrays(value: object) -> bool:
    """Return whether a value is an array in device memory, or a sequence that begins with one."""
    if isinstance(value, (list, tuple)):
        return bool(value) and is_device_array(value[0])
    return is_device_array(value)


def borrow(name: str, value: Any) -> core.DeviceArray:
    """Borrow an array in device memory without a copy, after the lender's work on it is done.

    Raises TypeError for a wrong dtype, and ValueError if the array is on another device or its
    library does not lend it.
    """
    if isinstance(value, core.DeviceArray):
        return value
    if not is_device_array(value):
        raise TypeError(
            f"{name} must be in device memory, as the other arrays are; got {check.show(value)}"
        )
    device = open_device()
    try:
        return core.DeviceArray(device, _capsule(value), _library_of(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} {error}") from None


def to_host(value: Any) -> Any:
    """Copy an array in device memory to NumPy; return any other value unchanged."""
    return borrow("the array", value).to_numpy() if is_device_array(value) else value


def like(array: core.DeviceArray, numbers: NDArray[Any]) -> Any:
    """Copy NumPy numbers to device memory, as an array of the library that lent `array`."""
    device = open_device()
    return as_lent(array, core.DeviceArray.from_numpy(device, np.ascontiguousarray(numbers)))


def as_lent(array: core.DeviceArray, result: core.DeviceArray) -> Any:
    """Convert an array in device memory to an array of the library that lent `array`."""
    return result if array.library is None else array.library(result)


def per_task(
    name: str, value: Any, ndim: int, dtype: np.dtype[Any] | None
) -> core.DeviceArray | tuple[core.DeviceArray, ...]:
    """Check an array with an axis of tasks, or a sequence of arrays of tasks, without a copy."""
    if not isinstance(value, (list, tuple)):
        return _checked(name, value, ("n", "m", "d")[:ndim], dtype)
    arrays: list[core.DeviceArray] = []
    for i, item in enumerate(value):
        expected = arrays[0].dtype if arrays else dtype
        arrays.append(_checked(f"{name}[{i}]", item, ("m", "d")[: ndim - 1], expected))
    return tuple(arrays)


def rows(name: str, value: Any) -> core.DeviceArray:
    """Check one matrix (rows, d), without a copy."""
    return _checked(name, value, ("rows", "d"), None)


def _checked(
    name: str, value: Any, shape: tuple[str, ...], dtype: np.dtype[Any] | None
) -> core.DeviceArray:
    """Borrow an array, and check its dtype, its number of axes and its layout."""
    array = borrow(name, value)
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, as the other arrays are; got {array.dtype}")
    if array.ndim != len(shape):
        raise ValueError(f"{name} must have shape ({', '.join(shape)}); got {array.shape}")
    if not array.has_contiguous_rows:
        raise ValueError(
            f"{name} must be contiguous along its last axis: make a contiguous copy of it first"
        )
    return array


def _capsule(value: Any) -> object:
    """Return the DLPack capsule of an array, ready for use on the legacy default stream."""
    try:
        try:
            return value.__dlpack__(stream=DEFAULT_STREAM, max_version=(1, 0))
        except TypeError:  # the library is older than DLPack 1
            return value.__dlpack__(stream=DEFAULT_STREAM)
    except (BufferError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"must be an array that its library lends; it says: {reason}") from error


def _library_of(value: Any) -> Callable[[Any], Any] | None:
    """Return the function `from_dlpack` of the library of an array; None if it has none."""
    namespace = getattr(value, "__array_namespace__", None)
    if namespace is not None:
        found = getattr(namespace(), "from_dlpack", None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    module = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(module, "from_dlpack", None)


@dataclass(frozen=True, eq=False)
class OnDevice:
    r"""Features in one array in device memory, which is not copied.

    Parameters
    ----------
    array : DeviceArray of shape (n, m, d), or of shape (m, d) for one task
        Features.
    stacked : bool
        Whether the array has a leading axis of tasks.
    """

    array: core.DeviceArray
    stacked: bool

    on_disk: ClassVar[bool] = False
    on_device: ClassVar[bool] = True
    is_sparse: ClassVar[bool] = False

    @property
    def as_passed(self) -> core.DeviceArray:
        """Return the array itself."""
        return self.array

    @property
    def n(self) -> int:
        """Number of tasks."""
        return self.array.shape[0] if self.stacked else 1

    @property
    def d(self) -> int:
        """Number of features."""
        return self.array.shape[-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the numbers."""
        return self.array.dtype

    def lengths(self) -> list[int]:
        """Return the number of samples of every task."""
        return [self.array.shape[int(self.stacked)]] * self.n

    def samples(self, part: slice) -> OnDevice:
        """Return the given range of samples of every task, as a view."""
        index: Any = (slice(None), part) if self.stacked else part
        return OnDevice(self.array[index], self.stacked)

    def rows(self, parts: Sequence[slice]) -> OnDevice | PerTask:
        """Return a range of samples of every task, one slice per task, as views."""
        if all(part == parts[0] for part in parts):
            return self.samples(parts[0])
        return PerTask(
            tuple(task.samples(part) for task, part in zip(self.apart(), parts, strict=True))
        )

    def take(self, tasks: Sequence[int]) -> OnDevice | PerTask:
        """Return the given tasks: one view if the tasks are evenly spaced, or a view per task."""
        if not self.stacked:
            return self
        steps = {after - before for before, after in pairwise(tasks)}
        if len(steps) > 1 or min(steps, default=1) < 1:
            return PerTask(tuple(OnDevice(self.array[i], False) for i in tasks))
        step = min(steps, default=1)
        return OnDevice(self.array[tasks[0] : tasks[-1] + 1 : step], True)

    def apart(self) -> Sequence[OnDevice]:
        """Return a view for every task."""
        if not self.stacked:
            return [self]
        return [OnDevice(self.array[i], False) for i in range(self.n)]

    def is_same(self, other: TaskArrays) -> bool:
        """Whether `other` has views of the same memory, with equal shapes and strides."""
        return isinstance(other, OnDevice) and self.array.is_same_view(other.array)

    def sample(self, step: int | None = None, first: int = 0) -> Iterator[NDArray[Any]]:
        """Yield evenly spaced rows and columns of every task, which are copied to the host."""
        for task in self.apart():
            m, d = task.array.shape
            some_rows = task.array[:: max(1, m // SAMPLED_ROWS)].to_numpy()
            yield some_rows[:, :: max(1, d // 64)]

    def for_core(self) -> core.DeviceArray:
        """Return the array itself."""
        return self.array

    def require_files(self, name: str) -> bool:
        """Return False, since the array is not in a file."""
        return False

    def check_finite(self, name: str) -> None:
        """Raise ValueError if the data contain a NaN or an infinity."""
        if not self.array.is_finite(open_device()):
            raise ValueError(f"{name} must be finite; it holds a NaN or an infinity{FINITE_HINT}")

    def reading_bytes(self, B_bytes: int) -> int:
        """Return 0, since the array is not copied."""
        return 0

    def arena_bytes(self, tasks: list[int], count: int) -> int:
        """Return 0, since the array is not read through an arena."""
        return 0

    def read_tasks(self, tasks: list[int], columns: slice, arena: Arena) -> list[NDArray[Any]]:
        """Raise TypeError: code of the host does not read features in device memory."""
        raise TypeError("features in device memory cannot be read by the host")

    def joined(self, other: TaskArrays | None) -> None:
        """Return None, since arrays in device memory belong to no dataset on disk."""
