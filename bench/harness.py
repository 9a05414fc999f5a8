"""Timing that holds on a shared machine, and figures: a JSON line each, and a table."""

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
RETRIES = 3  # times REPEATS: how often a sample with busy neighbours is taken again
PATIENCE = 10.0  # seconds; when a comparison has gone on so long, no sample is taken again
LONGEST = 1.0  # seconds; a disturbed sample has no more calls after that
PAUSE = 0.05  # seconds; idle threads of BLAS or OpenMP spin about as long on the next one's core
SAMPLE = 0.1  # seconds; a shorter call is repeated within a sample
WARM_BELOW = 0.1  # seconds; a shorter call runs once untimed before every sample


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks of every bench."""

    quick: bool = False  # fewer repeats and shorter runs
    full: bool = False  # also the peers that take minutes

    @property
    def repeats(self) -> int:
        return 3 if self.quick else REPEATS

    def rounds(self, rounds: int) -> int:
        """The length of a timed run: a tenth when quick."""
        return max(rounds // 10, 1) if self.quick else rounds


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Samples of one callable, in seconds a call."""

    seconds: tuple[float, ...]
    load: float  # load average over a minute, at the end
    others: float  # cores used by other processes, mean over these samples
    quiet: bool  # False: the neighbours were busy in samples that count

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
    """One number of one bench, with what is needed to judge it."""

    bench: str
    case: str
    who: str
    value: float | None  # None: not measured, and the note says why
    unit: str
    more_is_better: bool = False
    target: float | None = None  # in the same unit
    floor: float | None = None  # what the machine allows at best, in the same unit
    ours: float | None = None  # what the package took in the same run, in the same unit
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
        """How many times better than the target; below 1 the figure falls short."""
        if self.value is None or self.target is None:
            return None
        return self.value / self.target if self.more_is_better else self.target / self.value

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "margin": self.margin}


class Seconds(float):
    """What a call says that it took, where the clock would also see what does not count."""


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_elsewhere() -> float:
    """CPU seconds that everybody else, other guests of the host included, has used so far.

    Counted on the CPUs of this process; NaN on a system that does not say.
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
    own = time.process_time() + children.ru_utime + children.ru_stime
    return ticks / os.sysconf("SC_CLK_TCK") - own


def side_by_side(
    cases: Mapping[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, Timing]:
    """Time every case `repeats` times, in turn, so that a drift of the machine meets all of them.

    Every case is called once before the first sample. Samples with busy neighbours are put aside
    and taken again up to limits of number and time; if the neighbours stay, all samples count and
    the timing says that it is not quiet.
    """
    first, calls = {}, {}
    for name, case in cases.items():
        case()
        first[name] = _sample(case, 1)
        least = first[name].elapsed
        if first[name].is_short:  # the least of a few: a disturbed one would ask for too few
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
        name: _timing(found if len(found) == repeats else every[name])
        for name, found in quiet.items()
    }


def long_calls(call: Callable[[], T], repeats: int) -> tuple[list[T], Timing]:
    """Answers and timing of a call that needs no warming up, because it takes seconds."""
    answers: list[T] = []
    samples = [_sample(lambda: answers.append(call()), 1) for _ in range(repeats)]
    return answers, _timing(samples)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """Some calls of a case, one after the other."""

    seconds: float  # a call
    elapsed: float  # of all on the clock
    others: float  # CPU seconds of other processes meanwhile
    tells: bool  # whether the calls said what they took

    @property
    def is_short(self) -> bool:
        """Whether a call before the sample warms it up; one that tells leaves out its start."""
        return self.elapsed < WARM_BELOW and not self.tells

    @property
    def is_quiet(self) -> bool:
        # The kernel counts in ticks of 10 ms on each CPU, hence the constant.
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
    """A figure whose value was derived from the median of a timing."""
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
    """A row for every peer that is not there, with the reason."""
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
    """A row for everybody who was timed, and how much slower the fastest peer is than ours."""
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
    """Largest difference over the largest entry."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


def show(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def power_of_ten(number: int) -> str:
    """10^9 for a number that would otherwise be counted in zeros."""
    zeros = len(str(number)) - 1
    return f"10^{zeros}" if zeros > 5 and number == 10**zeros else str(number)


def table(figures: Iterable[Figure]) -> str:
    """The figures as aligned text, a heading for each case; notes below it, numbered."""
    rows: list[tuple[str, ...]] = [
        ("", "value", "spread", "target", "", "x floor", "x ours", "load", "others", "note")
    ]
    headings: dict[int, str] = {}
    notes: dict[str, int] = {}
    for one in figures:
        heading = f"{one.bench}: {one.case}"
        if heading not in headings.values():
            headings[len(rows)] = heading
        mark = f"[{notes.setdefault(one.note, len(notes) + 1)}]" if one.note else ""
        rows.append((f"  {one.who}", *_cells(one), mark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, (who, *cells) in enumerate(rows):
        if number in headings:
            lines += ["", headings[number]]
        right = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((who.ljust(widths[0]), *right)).rstrip())
    return "\n".join((*lines, "", *(f"[{number}] {note}" for note, number in notes.items())))


def _cells(one: Figure) -> tuple[str, ...]:
    """Value, spread, target, verdict, multiples of floor and of ours, load, others."""
    if one.value is None:
        return ("-", *[""] * 7)
    verdict = ""
    if one.margin is not None:
        verdict = f"{'pass' if one.margin >= 1 else 'SHORT'} {one.margin:.2f}x"
    return (
        f"{'~' if one.estimated else ''}{show(one.value)} {one.unit}",
        "" if one.spread is None else f"{one.spread:.0%}",
        "" if one.target is None else show(one.target),
        verdict,
        "" if one.floor is None else f"{one.value / one.floor:.2f}",
        "" if one.ours is None else f"{one.value / one.ours:.1f}",
        "" if one.load is None else f"{one.load:.1f}",
        "" if one.others is None else f"{one.others:.1f}{'' if one.quiet else '!'}",
    )
