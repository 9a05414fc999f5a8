"""Times rounds on one and on two ranks of MPI, with one thread each, and without MPI.

Every measurement is a run of its own, and the runs of all ways take turns. The ways with the same d
must end with the same bits. Strong scaling compares one and two ranks at the same d, weak scaling
at the same d on each rank.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.harness import Figure, Options, Seconds, absent, figure, side_by_side

D, QUICK_D = 400_000, 20_000
CASES = {"arrays": ("fo-anil", "maml"), "sampled": ("fo-anil",)}
ROUNDS = {"arrays": 6, "sampled": 1}
WAYS = {"without MPI": (0, 1), "one rank": (1, 1), "two ranks": (2, 1), "one rank, d / 2": (1, 2)}
STRONG_TARGET, OVERHEAD_TARGET = 1.7, 1.03


def run(options: Options) -> list[Figure]:
    """Compare the ways on arrays and on generated samples."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join(folders))
    if mpiexec is None:
        why = dict.fromkeys(WAYS, "mpiexec is not installed")
        return absent(why, bench="mpi", case="rounds", unit="s a round")
    figures: list[Figure] = []
    for source, methods in CASES.items():
        for method in methods:
            figures += compare(mpiexec, source, method, options)
    return figures


def compare(mpiexec: str, source: str, method: str, options: Options) -> list[Figure]:
    """Time the rounds of one method and one source of samples in all ways."""
    d = QUICK_D if options.quick else D
    digests: set[str] = set()

    def way(ranks: int, part: int) -> Seconds:
        sizes = [str(d // part), str(options.rounds(ROUNDS[source]))]
        answer = time_rounds(mpiexec, ranks, [source, method, *sizes], options)
        if part == 1:
            digests.add(answer["digest"])
        return Seconds(answer["seconds"])

    calls: dict[str, Callable[[], object]] = {
        who: partial(way, ranks, part) for who, (ranks, part) in WAYS.items()
    }
    timings = side_by_side(calls, options.long_repeats)
    assert len(digests) == 1, f"the bits differ between the ways: {digests}"
    took = {who: timing.median for who, timing in timings.items()}
    case = f"{source}, {method}, d = {d}, one thread a rank"
    rows = [
        figure(timing, took[who], bench="mpi", case=case, who=who, unit="s a round")
        for who, timing in timings.items()
    ]
    ratios = {
        "strong scaling": (took["one rank"] / took["two ranks"], STRONG_TARGET, True),
        "weak scaling": (took["one rank, d / 2"] / took["two ranks"], None, True),
        "one rank / without MPI": (took["one rank"] / took["without MPI"], OVERHEAD_TARGET, False),
    }
    return rows + [
        figure(
            timings["two ranks"],
            value,
            bench="mpi",
            case=case,
            who=who,
            unit="x",
            target=target,
            more_is_better=more,
        )
        for who, (value, target, more) in ratios.items()
    ]


def time_rounds(
    mpiexec: str, ranks: int, arguments: list[str], options: Options
) -> dict[str, str | float]:
    """Return what `rank_rounds` prints on a number of ranks; 0 is one process without MPI."""
    command = [sys.executable, "-m", "bench.rank_rounds", *arguments]
    command += ["--quick"] * options.quick + ["--plain"] * (ranks == 0)
    if ranks:
        command = [mpiexec, "-n", str(ranks), *command]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, str | float] = json.loads(done.stdout.splitlines()[-1])
    return answer
