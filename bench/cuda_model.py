"""Writes the table of floors in docs/cuda.md: `python -m bench.cuda_model`.

::

    python -m bench.cuda_model            # writes the table, from the counts of the emulated module
    python -m bench.cuda_model --check    # fails if the table differs

docs/cuda.md says what the columns are. Tests compare the counts of the device module with the
counters of the emulator.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from bench.bench_cuda import CASES, work_of
from bench.floors import Size

CARDS = {"A100": (2.039e12, 9.7e12), "H100": (3.35e12, 33.5e12)}  # bytes and flops per second
PAGE = Path("docs/cuda.md")
START, END = "<!-- floors: written by bench.cuda_model -->", "<!-- end of floors -->"
FREE = 80e9  # bytes of device memory


def counts(method: str, size: Size) -> dict[str, float]:
    """Return the counts of the device module for a round of the Gram route."""
    types, methods = import_module("metaspan._core_types"), import_module("metaspan.methods")
    sizes = types.DataSizes(
        d=size.d,
        k=size.k,
        k_star=0,
        n=size.n,
        all_tasks=size.n,
        m_in=size.m_in,
        m_out=size.m_out,
        shared=False,
        number_bytes=8,
        B_number_bytes=8,
        stored=False,
        made=False,
        copied=False,
    )
    device = import_module("metaspan._device").open_device()
    numbers = methods.core_method(methods.resolve(method, {}))
    core = import_module("metaspan._load").core
    return dict(core.device_cost(device, "gram", numbers, sizes, 1, True, FREE))


def row(method: str, size: Size) -> str:
    """Return the row of the table for a case."""
    work, (floor_bytes, floor_flops) = counts(method, size), work_of(method, size, 8)
    cells = [f"{method}, {tuple(size)}"]
    cells += [f"{work['bytes'] / 1e9:.3g}", f"{floor_bytes / 1e9:.3g}"]
    cells += [f"{work['flops'] / 1e9:.4g}", f"{floor_flops / 1e9:.4g}"]
    for bandwidth, peak in CARDS.values():
        times = [
            max(moved / bandwidth, done / peak) * 1e3
            for moved, done in ((work["bytes"], work["flops"]), (floor_bytes, floor_flops))
        ]
        cells.append(f"{times[0]:.3g} ({times[1]:.3g})")
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Return the lines between the markers."""
    head = "| round, (d, k, n, m_in, m_out) | GB | floor | GFLOP | floor | " + " | ".join(
        f"{card}: ms (floor)" for card in CARDS
    )
    rule = "|---|" + "---:|" * (4 + len(CARDS))
    return "\n".join([f"{head} |", rule, *(row(method, size) for method, size in CASES)])


def main() -> int:
    """Write the table, or compare it with the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_model")
    parser.add_argument("--check", action="store_true", help="fail if the table differs")
    arguments = parser.parse_args()
    import_module("metaspan._device").use_modules("metaspan._cuda_emulated")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    old, _, after = rest.partition(END)
    new = f"\n{table()}\n"
    if arguments.check:
        if old != new:
            sys.stderr.write(f"{PAGE}: run `python -m bench.cuda_model`, which writes{new}")
        return int(old != new)
    PAGE.write_text(f"{before}{START}{new}{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
