"""Timing that is reliable on a shared machine, and figures as JSON lines and as a table."""

from __future__ import annotations

import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

REPEATS = 7
RETRIES = 3  # times REPEATS: largest number of samples if some are disturbed
PATIENCE = 10.0  # seconds of a comparison, after which no sample is taken again
LONGEST = 1.0  # seconds of a sample, after which it makes no more calls
PAUSE = 0.05  # seconds before a sample: idle threads of BLAS or OpenMP spin about as long
SAMPLE = 0.1  # seconds; a shorter call is repeated within a sample
WARM_BELOW = 0.1  # seconds; a shorter call runs once untimed before every sample


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command line, for every bench."""

    quick: bool = False  # fewer repeats and shorter runs
    full: bool = False  # also the peers that take minutes

    @property
    def repeats(self) -> int:
        return 3 if self.quick else REPEATS

    def rounds(self, rounds: int) -> int:
        """Return the length of a timed run: a tenth if quick."""
        return max(rounds // 10, 1) if self.quick else rounds


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Samples of one callable, in seconds a call."""

    seconds: tuple[float, ...]
    load: float  # load average over a minute, at the end
    others: float  # cores used by other processes, mean over these samples
    quiet: bool  # False: other processes were busy during samples that count

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, over the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of one bench, with the context needed to judge it."""

    bench: str
    case: str
    who: str
    value: float | None  # None: not measured, and the note says why
    unit: str
    more_is_better: bool = False
    target: float | None = None  # in the same unit
    floor: float | None = None  # the best that the machine allows, in the same unit
    ours: float | None = None  # the package's value in the same run, in the same unit
    flops: float | None = None  # arithmetic of one call
    bytes: float | None = None  # of data that one call moves
    spread: float | None = None
    samples: int = 0
    load: float | None = None
    others: float | None = None
    quiet: bool = True
    estimated: bool = False
    note: str = ""

    @property
    def margin(self) -> float | None:
        """How many times better than the target the value is; below 1 it misses the target."""
        if self.value is None or self.target is None:
            return None
        return self.value / self.target if self.more_is_better else self.target / self.value

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "margin": self.margin}


class Seconds(float):
    """A time that a call reports itself, because the clock would include more."""


def cpus() -> list[int]:
    """Return the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_elsewhere() -> float:
    r"""Return the CPU seconds that others, including other guests of the host, have used so far.

    They are counted on the CPUs of this process; NaN on a system without /proc/stat.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return float("nan")
    ours = {f"cpu{number}" for number in cpus()}
    ticks = 0
    for line in stat.read_text().splitlines():
        name, *counts = line.split()
        if name in ours:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, counts[:8])
            ticks += user + nice + system + irq + softirq + steal
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours_used = time.process_time() + children.ru_utime + children.ru_stime
    return ticks / os.sysconf("SC_CLK_TCK") - ours_used


def side_by_side(
    cases: Mapping[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, Timing]:
    r"""Time all cases alternately, `repeats` times each: a drift of the machine affects all.

    Every case is called once before its first sample. Samples during which other processes were
    busy are set aside and taken again, up to limits of number and time. If the disturbance lasts,
    all samples count, and the timing is marked as not quiet.
    """
    first, calls = {}, {}
    for name, case in cases.items():
        case()
        first[name] = _sample(case, 1)
        least = first[name].elapsed
        if first[
            name
        ].is_short:  # the least of a few: a disturbed call would make samples too short
            least = min(least, *(_sample(case, 1).elapsed for _ in range(3)))
        calls[name] = math.ceil(SAMPLE / least)
    quiet: dict[str, list[_Sample]] = {name: [] for name in cases}
    every: dict[str, list[_Sample]] = {name: [] for name in cases}
    began = time.perf_counter()
    for number in range(RETRIES * repeats):
        if number >= repeats and time.perf_counter() - began > PATIENCE:
            break
        for name, case in cases.items():
            if len(quiet[name]) == repeats:
                continue
            time.sleep(PAUSE)
            if first[name].is_short:
                case()
            sample = _sample(case, calls[name])
            every[name].append(sample)
            if sample.is_quiet:
                quiet[name].append(sample)
    return {
        name: _timing(samples if len(samples) == repeats else every[name])
        for name, samples in quiet.items()
    }


def long_calls(call: Callable[[], T], repeats: int) -> tuple[list[T], Timing]:
    """Return the answers and the timing of a call that takes seconds, without a warm-up."""
    answers: list[T] = []
    samples = [_sample(lambda: answers.append(call()), 1) for _ in range(repeats)]
    return answers, _timing(samples)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """Some calls of a case, one after the other."""

    seconds: float  # of a call
    elapsed: float  # of all calls, by the clock
    others: float  # CPU seconds of other processes meanwhile
    tells: bool  # whether the calls reported their own time

    @property
    def is_short(self) -> bool:
        """Whether to warm up before a sample; a call that reports its time excludes its start."""
        return self.elapsed < WARM_BELOW and not self.tells

    @property
    def is_quiet(self) -> bool:
        # The constant allows for the kernel's ticks of 10 ms on each CPU.
        return not self.others > 0.03 + 0.1 * self.elapsed


def _sample(call: Callable[[], object], times: int) -> _Sample:
    before, start = busy_elsewhere(), time.perf_counter()
    elapsed = told = 0.0
    calls = 0
    while calls < times and elapsed < LONGEST:
        answer = call()
        calls += 1
        if isinstance(answer, Seconds):
            told += answer
        elapsed = time.perf_counter() - start
    return _Sample(
        seconds=(told or elapsed) / calls,
        elapsed=elapsed,
        others=busy_elsewhere() - before,
        tells=told > 0,
    )


def _timing(samples: list[_Sample]) -> Timing:
    return Timing(
        seconds=tuple(sample.seconds for sample in samples),
        load=os.getloadavg()[0],
        others=max(sum(s.others for s in samples) / sum(s.elapsed for s in samples), 0.0),
        quiet=all(sample.is_quiet for sample in samples),
    )


def figure(timing: Timing, value: float, **rest: Any) -> Figure:
    """Make a figure whose value was derived from the median of a timing."""
    return Figure(
        value=value,
        spread=timing.spread,
        samples=len(timing.seconds),
        load=timing.load,
        others=timing.others,
        quiet=timing.quiet,
        **rest,
    )


def absent(missing: Mapping[str, str], **rest: Any) -> list[Figure]:
    """Make a row for every peer that is not installed, with the reason."""
    return [Figure(who=who, value=None, note=why, **rest) for who, why in missing.items()]


def beside_peers(
    ours: str,
    timings: Mapping[str, Timing],
    took: Mapping[str, float],
    *,
    floor: float,
    missing: Mapping[str, str],
    target: float | None = None,
    **case: Any,
) -> list[Figure]:
    """Make a row for everything that was timed, and the ratio of the fastest peer to ours."""
    rows = [
        figure(
            timing,
            took[who],
            who=who,
            floor=floor if who == ours else None,
            ours=None if who == ours else took[ours],
            **case,
        )
        for who, timing in timings.items()
    ]
    best = min((who for who in took if not who.startswith("metaspan")), key=took.__getitem__)
    ratio = figure(
        timings[best],
        took[best] / took[ours],
        who=f"fastest peer / {ours.removeprefix('metaspan, ')}",
        target=target,
        more_is_better=True,
        note=f"the fastest peer: {best}",
        **{**case, "unit": "x"},
    )
    return [*rows, ratio, *absent(missing, **case)]


def relative(a: Any, b: Any) -> float:
    """Return the largest difference over the largest entry."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


def show(value: float) -> str:
    """Format a number with three significant digits and separated thousands."""
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def power_of_ten(number: int) -> str:
    """Format a large power of ten as such, any other number in full."""
    zeros = len(str(number)) - 1
    return f"10^{zeros}" if zeros > 5 and number == 10**zeros else str(number)


def table(figures: Iterable[Figure]) -> str:
    """Format figures as aligned text, with a heading for each case and numbered notes below."""
    rows: list[tuple[str, ...]] = [
        ("", "value", "spread", "target", "", "x floor", "x ours", "load", "others", "note")
    ]
    headings: dict[int, str] = {}
    notes: dict[str, int] = {}
    for item in figures:
        heading = f"{item.bench}: {item.case}"
        if heading not in headings.values():
            headings[len(rows)] = heading
        mark = f"[{notes.setdefault(item.note, len(notes) + 1)}]" if item.note else ""
        rows.append((f"  {item.who}", *_cells(item), mark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, (who, *cells) in enumerate(rows):
        if number in headings:
            lines += ["", headings[number]]
        right = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((who.ljust(widths[0]), *right)).rstrip())
    return "\n".join((*lines, "", *(f"[{number}] {note}" for note, number in notes.items())))


def _cells(item: Figure) -> tuple[str, ...]:
    """Format value, spread, target, verdict, multiples of floor and of ours, load, others."""
    if item.value is None:
        return ("-", *[""] * 7)
    verdict = ""
    if item.margin is not None:
        verdict = f"{'pass' if item.margin >= 1 else 'SHORT'} {item.margin:.2f}x"
    return (
        f"{'~' if item.estimated else ''}{show(item.value)} {item.unit}",
        "" if item.spread is None else f"{item.spread:.0%}",
        "" if item.target is None else show(item.target),
        verdict,
        "" if item.floor is None else f"{item.value / item.floor:.2f}",
        "" if item.ours is None else f"{item.value / item.ours:.1f}",
        "" if item.load is None else f"{item.load:.1f}",
        "" if item.others is None else f"{item.others:.1f}{'' if item.quiet else '!'}",
    )
