"""Writes the table of the model in docs/cluster.md: `python -m bench.cluster_model`.

::

    python -m bench.cluster_model            # writes the table
    python -m bench.cluster_model --check    # fails if the table differs

The model has a rank on every node. A sweep takes the bytes of X over the bandwidth of the memory of
all nodes. An exchange takes the latency of its messages, the time of its bytes on the network, and
the time of a call of Python. docs/cluster.md describes the exchanges of a round.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from bench.floors import Size

MEMORY, NETWORK = 200e9, 12.5e9  # bytes per second of a node, in one direction
LATENCY, CALL = 2e-6, 10e-6  # seconds of a message, and of a call of Python
READS = 2  # of X in a round
FEW_NUMBERS = 1024  # sums of more numbers are split among the ranks
FEATURE_ROWS, BLOCK_ROWS = 64, 8  # rows of a set whose sums are exchanged together
RANKS = (1, 64, 1024)
PAGE = Path("docs/cluster.md")
START, END = "<!-- model: written by bench.cluster_model -->", "<!-- end of the model -->"


def sweep(size: Size) -> float:
    """Return the seconds of all sweeps of a round on one node, with float64 arrays."""
    return READS * 8 * size.n * (size.m_in + size.m_out) * size.d / MEMORY


def exchange(numbers: float, ranks: int) -> float:
    """Return the seconds of one sum of `numbers` numbers over all ranks, a power of two of them."""
    if ranks == 1:
        return 0.0
    others, all_bytes = ranks - 1, 8 * numbers * (ranks - 1)
    gathered = CALL + math.log2(ranks) * LATENCY
    if numbers <= FEW_NUMBERS:
        return gathered + all_bytes / NETWORK
    return CALL + others * LATENCY + gathered + 2 * all_bytes / ranks / NETWORK


def gram(size: Size, ranks: int) -> float:
    """Return the seconds of the exchanges of a round of MAML on the Gram route."""
    rows = size.m_in + size.m_out
    return exchange(size.n * rows * (size.k + size.m_in), ranks) + exchange(1, ranks)


def vector(size: Size, ranks: int) -> float:
    """Return the seconds of the exchanges of a round of FO-ANIL on the vector route."""
    blocks = math.ceil(size.m_in / FEATURE_ROWS), math.ceil(size.m_out / BLOCK_ROWS)
    of_Z = blocks[0] * exchange(min(size.m_in, FEATURE_ROWS) * size.k, ranks)
    of_task = of_Z + blocks[1] * exchange(BLOCK_ROWS, ranks) + exchange(size.k, ranks)
    return size.n * of_task + exchange(1, ranks)


def table() -> str:
    """Return the table."""
    lines = [
        "| round | d | ranks | sweeps (s) | exchanges (s) | speed-up |",
        "|---|---|---|---|---|---|",
    ]
    for d in (10**7, 10**8):
        size = Size(d, 10, 20, 50, 50)
        for name, exchanges in (("MAML, Gram route", gram), ("FO-ANIL, vector route", vector)):
            for ranks in RANKS:
                sweeps, sent = sweep(size) / ranks, exchanges(size, ranks)
                speed = sweep(size) / (sweeps + sent)
                cells = [name, f"10^{round(math.log10(d))}", f"{ranks:,}"]
                cells += [f"{sweeps:.2g}", f"{sent:.2g}", f"{speed:.3g}"]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Write the table, or compare it with the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster_model")
    parser.add_argument("--check", action="store_true", help="fail if the table differs")
    check = parser.parse_args().check
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    old, _, after = rest.partition(END)
    new = f"\n{table()}\n"
    if not check:
        PAGE.write_text(f"{before}{START}{new}{END}{after}", encoding="utf-8")
    return int(check and old != new)


if __name__ == "__main__":
    sys.exit(main())
