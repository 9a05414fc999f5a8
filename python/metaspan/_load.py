"""Loads the compiled core of the highest instruction-set level that was built and runs here."""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

try:
    from . import _cpu
except ImportError as error:
    raise ImportError(
        "metaspan's compiled modules cannot be loaded: build them with `pip install .` in the "
        f"source folder ({error})"
    ) from error

__all__ = ["BUILT", "core"]

LEVELS = ("baseline", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native")
BUILT = _cpu.LEVELS
VARIABLE = "METASPAN_ISA"


def choose_level(wanted: str | None, built: Sequence[str], supports: Callable[[str], bool]) -> str:
    """Choose the level to load: `wanted`, or the highest level that was built and runs here.

    Parameters
    ----------
    wanted : str or None
        One of `LEVELS`, from the environment. None, empty or "auto": the highest that this CPU
        supports.
    built : sequence of str
        Levels that this installation was built for, lowest first.
    supports : callable
        Says whether this CPU supports a level.

    Returns
    -------
    str
        One of `built`.

    Raises
    ------
    ImportError
        If `wanted` is not a level, was not built or is not supported by this CPU; or, with no level
        wanted, if this CPU supports none of `built`.
    """
    runs = [level for level in built if supports(level)]
    if wanted in (None, "", "auto"):
        if runs:
            return runs[-1]
        raise ImportError(
            f"metaspan was built for {_listed(built)}, which this CPU does not support: build it "
            "on this machine, by `pip install --force-reinstall --no-deps --no-cache-dir .` in "
            "the source folder, or for this and newer machines, by the same command with "
            "METASPAN_ISA='x86-64-v2;x86-64-v3;x86-64-v4' in the environment"
        )
    if wanted not in LEVELS:
        raise ImportError(f"{VARIABLE} must be one of auto, {_listed(LEVELS)}; got {wanted!r}")
    if wanted not in built:
        raise ImportError(
            f"{VARIABLE} must be a level that metaspan was built for, {_listed(built)}; got "
            f"{wanted!r}"
        )
    if wanted not in runs:
        raise ImportError(
            f"{VARIABLE} must be a level that this CPU supports, {_listed(runs) or 'none'} of "
            f"those built; got {wanted!r}"
        )
    return wanted


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


if TYPE_CHECKING:
    from . import _core as core
else:
    # The probe comes before the core: an instruction that the CPU lacks would end the process.
    _level = choose_level(os.environ.get(VARIABLE), BUILT, _cpu.supports)
    try:
        core = import_module(f"._core_{_level.removeprefix('x86-64-')}", __package__)
    except ImportError as error:
        raise ImportError(
            "metaspan's compiled core cannot be loaded: build it with `pip install .` in the "
            f"source folder ({error})"
        ) from error

# Threads do not survive a fork: a child that uses its parent's pool would wait forever.
os.register_at_fork(before=core.pause_threads)
