"""Times rounds on a CUDA card beside PyTorch, JAX and floors: `python -m bench.bench_cuda`.

::

    python -m bench.bench_cuda --json cuda.jsonl --table cuda.txt
    python -m bench.bench_cuda --dry-run   # tiny sizes on the emulated module of the tests

Every result is checked at the size at which its computation is timed: gradients against those of
NumPy, distances of trials against those of the CPU. The floor of a round is the longer of two
times: the bytes of X that its two sweeps read over the measured rate of copies on the card, and its
operations over the card's float64 peak without tensor cores. `bench/cuda.sh` runs this file after
the tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import metaspan as ms
from bench import peers
from bench.floors import Size
from bench.harness import Figure, Options, absent, figure, relative, side_by_side, table
from bench.peers import RULES
from bench.workloads import ALPHA, Problem, assert_call, problem, rounds_of

# One case for each limit: reads of X; products with many columns; Gram matrices.
CASES = (
    ("fo-anil", Size(d=200_000, k=4, n=50, m_in=10, m_out=20)),
    ("anil", Size(d=50_000, k=64, n=50, m_in=30, m_out=30)),
    ("maml", Size(d=50_000, k=10, n=20, m_in=50, m_out=50)),
)
TINY = (("fo-anil", Size(d=70, k=2, n=3, m_in=2, m_out=3)),)
COPIED_BYTES = 2**31  # of an array that fits in no cache of a card
OF_BANDWIDTH, OF_PEAK, OVER_PEERS, OVER_CORE = 0.8, 0.6, 2.0, 50.0  # targets
TRIALS, TRIAL_ROUNDS = 10_000, 200


class Card:
    """The device, with its theoretical peak and its measured rate of copies."""

    def __init__(self, tiny: bool) -> None:
        self.device = import_module("metaspan._device").open_device()
        self.info: dict[str, Any] = self.device.info
        self.flops = float(self.info["flops"])
        self.rate = self._measure_copies(2**20 if tiny else COPIED_BYTES)

    def _measure_copies(self, size: int) -> float:
        """Return the bytes per second that a copy within device memory reads and writes."""
        kind = import_module("metaspan._load").core.DeviceArray
        source, target = (kind.from_numpy(self.device, np.ones(size // 8)) for _ in range(2))
        target.assign(source)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            target.assign(source)
            seconds.append(time.perf_counter() - began)
        return 2 * size / min(seconds)


def work_of(method: str, size: Size, itemsize: int) -> tuple[float, float]:
    """Return the least bytes and operations of a round of the Gram route, without losses."""
    rule = RULES[method]
    inner, outer = size.samples_in * size.d, size.samples_out * size.d
    second = outer + inner * rule.exact
    flops = 2.0 * size.k * (inner + outer + second)
    if rule.adapt_B:
        flops += 2.0 * size.m_in * outer
    return float(itemsize * (inner + outer + second)), flops


def floor_of(method: str, size: Size, card: Card, itemsize: int) -> tuple[float, str, float]:
    """Return the floor in seconds, the limit that sets it, and the target as a share of it."""
    moved, flops = work_of(method, size, itemsize)
    reading, computing = moved / card.rate, flops / card.flops
    if computing > reading:
        return computing, "floor: the float64 peak without tensor cores", OF_PEAK
    return reading, "floor: two sweeps over X at the rate of a copy", OF_BANDWIDTH


def rounds(card: Card, options: Options, cases: tuple[tuple[str, Size], ...]) -> list[Figure]:
    """Time rounds on data that stay on the card, beside the peers on the same card."""
    installed, missing = peers.load_on_card()
    figures = []
    for method, size in cases:
        inputs = problem(size)
        expected = inputs.reference(method)
        calls: dict[str, Callable[[], object]] = {
            "metaspan": rounds_of(inputs, method, device="cuda")
        }
        ours = partial(
            ms.meta_gradient, inputs.B, inputs.w, inputs.batch, method, alpha=ALPHA, device="cuda"
        )
        assert_call(ours, expected, f"{method} on the card")
        for peer in installed:
            call = peer.gradient(inputs.arrays, inputs.B, inputs.w, RULES[method], ALPHA)
            assert_call(partial(_on_host, call), expected, f"{method}, {peer.name}")
            calls[peer.name] = call
        figures += _round_figures(card, options, inputs, method, calls)
        figures += absent(missing, **_about(method, size, "ms"))
    return figures


def _on_host(call: Callable[[], Any]) -> list[np.ndarray]:
    """Return a peer's gradient as arrays of NumPy."""
    return [np.asarray(part.cpu() if hasattr(part, "cpu") else part) for part in call()]


def _about(method: str, size: Size, unit: str) -> dict[str, Any]:
    case = f"{method}, (d, k, n, m_in, m_out) = {tuple(size)}"
    return {"bench": "cuda", "case": case, "unit": unit}


def _round_figures(
    card: Card,
    options: Options,
    inputs: Problem,
    method: str,
    calls: dict[str, Callable[[], object]],
) -> list[Figure]:
    """Make the rows of a case: times, the share of the floor, and the fastest peer over ours."""
    about = _about(method, inputs.size, "ms")
    floor, note, share = floor_of(method, inputs.size, card, inputs.B.itemsize)
    timings = side_by_side(calls, options.repeats)
    ours = timings["metaspan"].median
    rows = [
        figure(
            timing,
            timing.median * 1e3,
            who=who,
            floor=floor * 1e3 if who == "metaspan" else None,
            target=floor / share * 1e3 if who == "metaspan" else None,
            ours=None if who == "metaspan" else ours * 1e3,
            note=note if who == "metaspan" else "",
            **about,
        )
        for who, timing in timings.items()
    ]
    theirs = {who: timing for who, timing in timings.items() if who != "metaspan"}
    if theirs:
        best = min(theirs, key=lambda who: theirs[who].median)
        rows.append(
            figure(
                theirs[best],
                theirs[best].median / ours,
                who="fastest peer / metaspan",
                target=OVER_PEERS,
                more_is_better=True,
                note=f"the fastest peer: {best}",
                **{**about, "unit": "x"},
            )
        )
    return rows


def streamed(options: Options, cases: tuple[tuple[str, Size], ...]) -> list[Figure]:
    """Time a gradient whose call copies the data to the card."""
    method, size = cases[0]
    inputs = problem(size)
    call = partial(
        ms.meta_gradient, inputs.B, inputs.w, inputs.batch, method, alpha=ALPHA, device="cuda"
    )
    assert_call(call, inputs.reference(method), f"{method}, copied")
    timing = side_by_side({"copied": call}, options.repeats)["copied"]
    rate = inputs.arrays.X_in.nbytes + inputs.arrays.X_out.nbytes
    note = f"{rate / timing.median / 1e9:.3g} GB/s from the host, with the gradient"
    about = _about(method, size, "ms")
    return [
        figure(timing, timing.median * 1e3, who="metaspan, data on the host", note=note, **about)
    ]


def trials(options: Options, count: int, length: int) -> list[Figure]:
    """Time many trials with d = 20 and n = k = 3 on population losses, beside one CPU core."""
    figures = []
    for method in ("fo-anil", "maml"):
        tasks, settings = ms.LinearTasks(d=20, k=3), {"alpha": 0.1, "beta": 0.05, "n": 3}
        run = partial(ms.train, tasks, method, record_every=length, stop=None, **settings)
        few = max(count // 20, 1)
        on_core = partial(run, rounds=length, trials=few, threads=1)
        on_card = partial(run, rounds=length, trials=count, device="cuda")
        ends = [result.trace["dist"][..., -1] for result in (on_card(), on_core())]
        off = relative(np.ravel(ends[0])[:few], np.ravel(ends[1]))
        assert off < 1e-9, f"{method}: distances on the card differ from those of the CPU by {off}"
        timings = side_by_side({"card": on_card, "core": on_core}, options.repeats)
        speeds = {
            "card": count * length / timings["card"].median,
            "core": few * length / timings["core"].median,
        }
        case = f"{method}, (d, k, n) = (20, 3, 3), {count} trials"
        about = {"bench": "cuda", "case": case, "more_is_better": True}
        figures += [
            figure(timings[who], speeds[who], who=who, unit="rounds/s", **about) for who in speeds
        ]
        ratio = speeds["card"] / speeds["core"]
        figures.append(
            figure(timings["card"], ratio, who="card / core", unit="x", target=OVER_CORE, **about)
        )
    return figures


def main() -> int:
    """Run all benches of the card, print a table and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_cuda", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write a line of JSON for each figure")
    parser.add_argument("--table", metavar="FILE", help="write the table")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, emulated")
    arguments = parser.parse_args()
    if arguments.dry_run:
        import_module("metaspan._device").use_modules("metaspan._cuda_emulated")
    options = Options(quick=arguments.quick or arguments.dry_run)
    card = Card(arguments.dry_run)
    cases = TINY if arguments.dry_run else CASES
    size = (40, 3) if arguments.dry_run else (TRIALS, TRIAL_ROUNDS)
    figures = [
        *rounds(card, options, cases),
        *streamed(options, cases),
        *trials(options, *size),
    ]
    about = f"{card.info['name']}: copies {card.rate / 1e9:.4g} GB/s (measured), "
    about += f"float64 {card.flops / 1e12:.3g} TFLOP/s (theoretical)"
    text = f"{about}\n{table(figures)}\n"
    sys.stdout.write(text)
    if arguments.table:
        Path(arguments.table).write_text(text, encoding="utf-8")
    if arguments.json:
        lines = [json.dumps({**item.record(), "card": card.info}, default=str) for item in figures]
        Path(arguments.json).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
