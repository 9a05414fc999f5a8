r"""The devices that compute rounds, and the engines that run on each device."""

from __future__ import annotations

from .._device import open_device
from .._load import core
from .._support import check

DEVICES = ("cpu", "cuda")

# Whether an engine runs on a CUDA device.
ON_CUDA = {
    # Both sweeps read data that are in device memory or are streamed to it.
    "arrays": True,
    # Both sweeps generate the rows that they read.
    "sampled": True,
    # Each thread computes one trial.
    "population": True,
    # Each thread computes one task of a trial.
    "collapsed": True,
    # A round is one small problem, which cannot occupy a device.
    "limit": False,
}


def check_device(device: str, engine: str, has_spectrum: bool = False) -> None:
    """Raise an error if a device cannot run an engine.

    This function does not open the device, so a machine without a device can read results and plan
    studies of runs on one.

    Raises
    ------
    TypeError, ValueError
        If `device` is not one of `DEVICES`, or if the engine does not run on it. Population losses
        of features with a spectrum, which are computed from B at full size, need the CPU.
    """
    check.choice("device", device, DEVICES)
    if device == "cpu":
        return
    if not ON_CUDA[engine]:
        able = [name for name, has_form in ON_CUDA.items() if has_form]
        others = f"; 'cuda' runs the engines {check.words(able)}" if able else ""
        raise ValueError(f"device must be 'cpu' for the engine {engine!r}{others}; got {device!r}")
    if engine == "population" and has_spectrum:
        raise ValueError(
            "device must be 'cpu' for population losses of features with a spectrum; "
            f"got {device!r}"
        )


def core_device(device: str) -> core.Device | None:
    """Return the device for calls of the core; None means the CPU."""
    return None if device == "cpu" else open_device()
