"""The CPU probe: built for the baseline instruction set, so that it can be imported anywhere."""

from typing import Final

LEVELS: Final[tuple[str, ...]]
"""Levels that the core was built for, lowest first, such as ("x86-64-v2", "x86-64-v3")."""

def supports(level: str, /) -> bool:
    """Whether this CPU and operating system can run code of a level."""
