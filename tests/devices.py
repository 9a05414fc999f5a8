"""The device module of tests marked `cuda`: that of a card, or the emulated one."""

import gc
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec

import pytest

from metaspan import _device

EMULATED = "metaspan._cuda_emulated"


@cache
def select_module():
    """Make `device="cuda"` use a card, or else the emulated module; return whether one is built.

    Scripts that tests run in new processes call it too.
    """
    with suppress(ImportError, RuntimeError):  # no module of nvcc, or no card for it
        _device.open_device()
        return True
    if find_spec(EMULATED):
        _device.use_modules(EMULATED)
        return True
    return False


def emulator():
    """Return the emulated module, which controls and inspects the device; None on a card."""
    assert select_module()
    if EMULATED not in _device.MODULES:
        return None
    from metaspan import _cuda_emulated  # noqa: PLC0415

    return _cuda_emulated


@contextmanager
def limited_memory(total):
    """Give the emulated card `total` bytes of memory in all; skip the test on a card."""
    module = emulator()
    if module is None:
        pytest.skip("the memory of a card cannot be set")
    whole = _device.open_device().info["total_bytes"]
    module.set_total_bytes(total)
    try:
        yield
    finally:
        module.set_total_bytes(whole)


def assert_device_is_free():
    """Assert that the emulated card holds no memory, stream or event.

    Arrays that earlier tests left in reference cycles are collected first.
    """
    gc.collect()
    module = emulator()
    if module is not None:
        assert module.live_bytes() == 0
        assert module.live_pinned_bytes() == 0
        assert module.live_handles() == 0
