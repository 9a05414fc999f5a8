"""The CPU probe: built for the baseline instruction set, so that it can be imported anywhere."""

from typing import Final

BUILT_FOR: Final[str]
"""Level that the core needs, such as "x86-64-v3"; empty where there is no choice."""

def supports(level: str) -> bool:
    """Whether this CPU and operating system can run code of an x86-64 level."""
