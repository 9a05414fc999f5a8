r"""The devices that compute rounds, and which engines have a form for each."""

from __future__ import annotations

from .._device import open_device
from .._load import core
from .._support import check

DEVICES = ("cpu", "cuda")

# Whether an engine has a form for a CUDA device.
ON_CUDA = {
    # Both sweeps on data in device memory, or streamed to it.
    "arrays": True,
    # Both sweeps on rows that the device generates.
    "sampled": True,
    # A thread of the device owns a trial.
    "population": True,
    # A thread of the device owns a column of a trial.
    "collapsed": True,
    # One small problem a round, for which a device is too wide.
    "limit": False,
}


def check_device(device: str, engine: str, has_spectrum: bool = False) -> str:
    """Return the device; raise an error if it cannot run the engine.

    The device is opened when a run begins, and not here: results of a device are read, and its
    studies are planned, on machines without it.

    Raises
    ------
    TypeError, ValueError
        If `device` is not one of `DEVICES`, or if the engine has no form for it. Population losses
        of features with a spectrum, which are computed from B at full size, have none.
    """
    check.choice("device", device, DEVICES)
    if device == "cpu":
        return device
    if not ON_CUDA[engine]:
        able = [name for name, has_form in ON_CUDA.items() if has_form]
        others = f"; on 'cuda' run {check.words(able)}" if able else ""
        raise ValueError(f"device must be 'cpu' for the engine {engine!r}{others}; got {device!r}")
    if engine == "population" and has_spectrum:
        raise ValueError(
            "device must be 'cpu' for population losses of features with a spectrum; "
            f"got {device!r}"
        )
    return device


def core_device(device: str) -> core.Device | None:
    """Return the device of the core; None for the CPU."""
    return None if device == "cpu" else open_device()
