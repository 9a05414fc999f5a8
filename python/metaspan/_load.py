"""Loads the compiled core, or says what to do when that fails."""

import os

try:
    from . import _cpu
except ImportError as error:
    raise ImportError(
        "metaspan's compiled modules cannot be loaded: build them with `pip install .` in the "
        f"source folder ({error})"
    ) from error

# Asked before the core is loaded: an instruction that the CPU lacks would end the process.
if _cpu.BUILT_FOR and not _cpu.supports(_cpu.BUILT_FOR):
    raise ImportError(
        f"metaspan was built for {_cpu.BUILT_FOR}, which this CPU does not support: reinstall with "
        "`METASPAN_ISA=x86-64-v2 pip install --no-binary metaspan --force-reinstall metaspan`"
    )

try:
    from . import _core as core
except ImportError as error:
    raise ImportError(
        "metaspan's compiled core cannot be loaded: build it with `pip install .` in the source "
        f"folder ({error})"
    ) from error

__all__ = ["core"]

# Threads do not survive a fork: a child that found the pool of its parent would wait for ever.
os.register_at_fork(before=core.pause_threads)
