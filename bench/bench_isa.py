"""Every instruction-set level compared with the next lower one, on work that fits the caches.

Sweeps whose limit is arithmetic have a target: those of the Gram route and those of population
losses. The vector route is limited by reading: it reads a number for every two operations. A
collapsed round spends its time on draws, which no level may contract into fused operations, and on
small decompositions. The vector route and the collapsed round are shown without a target.

The bench needs an installation with several levels, such as a wheel. A process loads one level, so
each sample is taken in a new process, and the levels alternate.
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
TARGETS = {"x86-64-v3": 2.0, "x86-64-v4": 1.2}  # times the level below


def take(case: str, level: str) -> Seconds:
    """Return the time of a case at a level."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.isa_cases", case],
        env={**os.environ, "METASPAN_ISA": level},
        check=True,
        capture_output=True,
        text=True,
    )
    return Seconds(done.stdout)


def runs(level: str) -> bool:
    """Tell whether a level was built and runs on this machine."""
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
