"""A fake library of device arrays, in place of CuPy, PyTorch and JAX."""

import sys
from types import ModuleType

import numpy as np

from metaspan import _device
from metaspan._load import core


class Tensor:
    """An array with the features that arrays of CuPy, PyTorch and JAX have in common."""

    def __init__(self, numbers, *, old=False, read_only=False):
        numbers = np.asarray(numbers)
        self.held = core.DeviceArray.from_numpy(
            _device.open_device(), np.ascontiguousarray(numbers)
        )
        self.old, self.read_only, self.streams = old, read_only, []
        self.device = self.held.__dlpack_device__()

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, **newer):
        self.streams.append(stream)
        if self.old and newer:
            raise TypeError(f"__dlpack__() got an unexpected argument {next(iter(newer))!r}")
        if self.read_only:
            raise BufferError("this array\nmust not be written to")
        return self.held.__dlpack__(stream=stream, **newer)


def install_library(monkeypatch):
    """Register and return a module whose class Array lends, and whose from_dlpack() borrows."""
    module = ModuleType("fake_arrays")

    class Array(Tensor):
        pass

    def from_dlpack(lender):
        array = Array.__new__(Array)
        array.held = core.DeviceArray(_device.open_device(), lender.__dlpack__(stream=1), None)
        array.old, array.read_only, array.streams = False, False, []
        array.device = array.held.__dlpack_device__()
        return array

    Array.__module__, module.from_dlpack, module.Array = "fake_arrays.core", from_dlpack, Array
    monkeypatch.setitem(sys.modules, "fake_arrays", module)
    return module
