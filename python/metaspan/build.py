r"""Describes this installation: versions, instruction sets, and the rates of the machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from ._device import describe_device
from ._load import BUILT, core
from ._support import cpus
from .cost.machine import cost_model


class Configuration(Mapping[str, Any]):
    r"""A mapping that prints as a table.

    Parameters
    ----------
    entries : mapping of str to object
        Names and values.
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        width = max(map(len, self._entries))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self._entries.items())


@cache
def version_and_level() -> str:
    """Return version and instruction-set level, which with the arguments determine a run's bits."""
    build = core.build_info()
    return f"{build['version']} {build['instruction_set']}"


def show_config() -> Configuration:
    r"""Return what a report of a run should quote about this installation and machine.

    Returns
    -------
    Configuration
        A mapping that prints as a table: version, compiler, the instruction-set level that is
        loaded and those that were built, the CUDA device or the reason why there is none, threads,
        libraries, and the rates of the cost model. The first call on a machine measures these
        rates, which takes about a second, and keeps them in a file.

    Examples
    --------
    >>> show_config()["numpy"] == np.__version__
    True
    """
    rates = {name: float(f"{value:.3g}") for name, value in cost_model().items()}
    build = core.build_info()
    return Configuration(
        {
            **build,
            "instruction_sets_built": ", ".join(BUILT),
            "device": describe_device(),
            "threads": cpus.default_threads(),
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "platform": platform.platform(),
            **rates,
        }
    )
