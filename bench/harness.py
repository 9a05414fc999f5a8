"""Times calls reliably on a shared machine, and writes figures as JSON lines and as a table."""

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
RETRIES = 3  # at most RETRIES times the wanted number of samples is taken
PATIENCE = 10.0  # seconds of a comparison, after which disturbed samples are not repeated
LONGEST = 1.0  # seconds of a sample, after which the sample makes no more calls
MOST_LONG = 3  # samples of a case whose calls take longer than that
PAUSE = 0.05  # seconds of pause before a sample: idle threads of BLAS or OpenMP spin about as long
SAMPLE = 0.1  # seconds of a sample; a shorter call is repeated within the sample
WARM_BELOW = 0.1  # seconds; a shorter call is also made once, untimed, before every sample


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command line that every bench receives."""

    quick: bool = False  # fewer repeats and shorter runs
    full: bool = False  # also run the peers that take minutes

    @property
    def repeats(self) -> int:
        return 3 if self.quick else REPEATS

    @property
    def long_repeats(self) -> int:
        """Samples of a run that takes many seconds."""
        return 1 if self.quick else MOST_LONG

    def rounds(self, rounds: int) -> int:
        """Return the number of rounds of a timed run: a tenth of `rounds` if `quick` is true."""
        return max(rounds // 10, 1) if self.quick else rounds


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The samples of one callable, in seconds per call."""

    seconds: tuple[float, ...]
    load: float  # load average over a minute, at the end
    others: float  # mean number of cores that other processes used during the samples
    quiet: bool  # False: other processes were busy during some of the samples

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, divided by the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that a bench measured, with the context that is needed to judge the number."""

    bench: str
    case: str
    who: str
    value: float | None  # None: the value was not measured, and the note says why
    unit: str
    more_is_better: bool = False
    target: float | None = None  # in the same unit
    floor: float | None = None  # the best that the machine allows, in the same unit
    ours: float | None = None  # the package's value in the same run, in the same unit
    flops: float | None = None  # arithmetic of one call
    bytes: float | None = None  # bytes of data that one call moves
    spread: float | None = None
    samples: int = 0
    load: float | None = None
    others: float | None = None
    quiet: bool = True
    estimated: bool = False
    note: str = ""

    @property
    def margin(self) -> float | None:
        """Factor by which the value is better than the target; below 1, the target is missed."""
        if self.value is None or self.target is None:
            return None
        return self.value / self.target if self.more_is_better else self.target / self.value

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "margin": self.margin}


class Seconds(float):
    """A time that a call measures and returns, because a clock outside would include more."""


def cpus() -> list[int]:
    """Return the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_elsewhere() -> float:
    r"""Return the CPU seconds that other processes have used, and other guests of the host.

    Only CPUs that this process may use are counted. The result is NaN if the system has no
    /proc/stat.
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
    r"""Time all cases alternately, so that a drift of the machine affects all of them.

    Each case is called once before its first sample, and sampled `repeats` times, or at most
    MOST_LONG times if a call takes longer than LONGEST. A sample during which other processes were
    busy is replaced by a new sample, until a limit of number or time is reached. If too few samples
    were undisturbed by then, all samples count, and the timing is marked as not quiet.
    """
    first, calls, wanted = {}, {}, {}
    for name, case in cases.items():
        case()
        first[name] = _sample(case, 1)
        least = first[name].elapsed
        if first[
            name
        ].is_short:  # the least of a few times: a disturbed call makes samples too short
            least = min(least, *(_sample(case, 1).elapsed for _ in range(3)))
        calls[name] = math.ceil(SAMPLE / least)
        wanted[name] = repeats if least < LONGEST else min(repeats, MOST_LONG)
    quiet: dict[str, list[_Sample]] = {name: [] for name in cases}
    every: dict[str, list[_Sample]] = {name: [] for name in cases}
    began = time.perf_counter()
    for number in range(RETRIES * repeats):
        for name, case in cases.items():
            goes_on = number < wanted[name] or time.perf_counter() - began < PATIENCE
            if len(quiet[name]) == wanted[name] or not goes_on:
                continue
            time.sleep(PAUSE)
            if first[name].is_short:
                case()
            sample = _sample(case, calls[name])
            every[name].append(sample)
            if sample.is_quiet:
                quiet[name].append(sample)
    return {
        name: _timing(samples if len(samples) == wanted[name] else every[name])
        for name, samples in quiet.items()
    }


def long_calls(call: Callable[[], T], repeats: int) -> tuple[list[T], Timing]:
    """Make a call that takes seconds, without warm-up; return its results and their timing."""
    answers: list[T] = []
    samples = [_sample(lambda: answers.append(call()), 1) for _ in range(repeats)]
    return answers, _timing(samples)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """Several calls of a case, one after the other."""

    seconds: float  # seconds of a call
    elapsed: float  # seconds of all calls together, by the clock
    others: float  # CPU seconds of other processes during the calls
    tells: bool  # whether the calls reported their own time

    @property
    def is_short(self) -> bool:
        """Whether a sample needs a warm-up, which a call that reports its own time does not."""
        return self.elapsed < WARM_BELOW and not self.tells

    @property
    def is_quiet(self) -> bool:
        # The constant 0.03 allows for the kernel's ticks of 10 ms on each CPU.
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
    """Make a figure whose value was computed from the median of a timing."""
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
    """Make a row for each peer that is not installed; the row says why."""
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
    """Make a row for each timing, and a row for the time of the fastest peer over the package's."""
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
    """Return the largest difference between a and b, divided by the largest entry of b."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


def show(value: float) -> str:
    """Format a number with three significant digits and with separators of thousands."""
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def power_of_ten(number: int) -> str:
    """Format a number in full, or as 10^p if it is a large power of ten."""
    zeros = len(str(number)) - 1
    return f"10^{zeros}" if zeros > 5 and number == 10**zeros else str(number)


def table(figures: Iterable[Figure]) -> str:
    """Format figures as a table of text, with a heading for each case and numbered notes below."""
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
    """Format value, spread, target, verdict, value over floor and over ours, load, others."""
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
