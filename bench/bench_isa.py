"""Compares each instruction-set level with the next lower level, on data that fit the caches.

Work whose limit is arithmetic has a target: sweeps of the Gram route, and rounds on population
losses. The vector route and collapsed rounds have no target. The vector route is limited by
reading, since it reads a number for every two operations. A collapsed round spends its time on
random draws, in which no level may fuse a multiplication with an addition, and on small
decompositions.

The bench needs an installation with several levels, such as a wheel. Since a process loads only one
level, each sample is taken in a new process; samples of the levels alternate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from itertools import pairwise

import metaspan as ms
from bench.harness import Figure, Options, Seconds, cpus, figure, side_by_side
from bench.isa_cases import CASES, SWEEPS

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
TARGETS = {"x86-64-v3": 2.0, "x86-64-v4": 1.2}  # speed as a multiple of the next lower level's


def take(case: str, level: str) -> Seconds:
    """Return the time of a case at an instruction-set level."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.isa_cases", case],
        env={**os.environ, "METASPAN_ISA": level},
        check=True,
        capture_output=True,
        text=True,
    )
    return Seconds(done.stdout)


def runs(level: str) -> bool:
    """Tell whether an instruction-set level was built and runs on this machine."""
    code = "import metaspan"
    environment = {**os.environ, "METASPAN_ISA": level}
    asked = [sys.executable, "-c", code]
    return subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0


def run(options: Options) -> list[Figure]:
    built = ms.show_config()["instruction_sets_built"].split(", ")
    usable = [level for level in LEVELS if level in built and runs(level)]
    if len(usable) < 2:
        raise RuntimeError(f"needs two levels that run here; built: {', '.join(built)}")
    figures = []
    for case in CASES:
        timings = side_by_side(
            {level: partial(take, case, level) for level in usable}, options.repeats
        )
        about = {"bench": "isa", "case": f"{case}, cores: {len(cpus())}"}
        for level, timing in timings.items():
            figures.append(figure(timing, timing.median * 1e3, who=level, unit="ms", **about))
        for below, level in pairwise(usable):
            figures.append(
                figure(
                    timings[level],
                    timings[below].median / timings[level].median,
                    who=f"{level} / {below}",
                    unit="x",
                    more_is_better=True,
                    target=TARGETS[level] if case in SWEEPS else None,
                    **about,
                )
            )
    return figures
