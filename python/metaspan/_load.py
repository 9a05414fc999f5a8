"""Loads the compiled core at the highest built instruction-set level that this CPU supports."""

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
    """Choose the level to load: `wanted`, or else the highest built level that this CPU supports.

    Parameters
    ----------
    wanted : str or None
        One of `LEVELS`, from the environment. None, empty or "auto": the highest built level that
        this CPU supports.
    built : sequence of str
        Levels that this installation was built for, lowest first.
    supports : callable
        Function that takes the name of a level and says whether this CPU supports the level.

    Returns
    -------
    str
        One of `built`.

    Raises
    ------
    ImportError
        If `wanted` is not a level, was not built or is not supported by this CPU. Also if `wanted`
        is None, empty or "auto", and this CPU supports none of the levels in `built`.
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
    # The CPU is tested before the core is loaded: an instruction that the CPU lacks would end the
    # process.
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
