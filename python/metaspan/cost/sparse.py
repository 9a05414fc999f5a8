r"""The cost model of sweeps over sparse samples: what an entry costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..tasks.sparse import Sparsity

CACHE_BYTES = 2**24  # of a table of d rows, beyond which entries wait for memory
LINE_BYTES = 64  # read beside a row of such a table
VECTOR_BYTES = 2**23  # of two vectors of length d, beyond which entries wait for memory
VECTOR_COLUMNS = 12  # columns of B that take as long as an entry in X u and X^T r
ENTRY_COLUMNS = 8  # columns of B that take as long as the entry itself
LISTED_COLUMNS = 60  # columns of B that take as long as an entry of a list
ENTRY_WORK = 4  # of an entry alone, in columns
ROW_ENTRIES = 4  # entries that take as long as a row of X itself
BLOCK = 256  # rows whose products with others are found together
LISTED_BYTES = 16  # of an entry in a list
FRESH = 10  # reads of memory that take as long as its first use
TERMS = 8  # vectors of length d that are added to the sums at a time


@dataclass(frozen=True, kw_only=True)
class SparseSweeps:
    r"""Seconds of products with sparse samples.

    Parameters
    ----------
    sparsity : Sparsity
        Of the samples.
    d, k : int
        Features, and columns of B.
    flops, read : float
        Flops of `X B`, and bytes from memory, per second of all threads.
    """

    sparsity: Sparsity
    d: int
    k: int
    flops: float
    read: float

    @property
    def columns(self) -> int:
        """Columns of B with those that fill the last register."""
        return 8 * math.ceil(self.k / 8)

    def features(self, samples: float) -> float:
        """Of X B: an entry takes a row of B, at half the rate of a dense product."""
        entries = samples * (self.sparsity.entries + ROW_ENTRIES)
        return max(entries * self._entry, entries * self._waits)

    def passes(self, samples: float) -> float:
        """Of X u and X^T r: an entry takes a number of u, and one of the sums."""
        waits = 3.0 * LINE_BYTES if 16 * self.d > VECTOR_BYTES else 0.0
        entry = max(4.0 * VECTOR_COLUMNS / self.flops, (waits + 12.0) / self.read)
        return samples * (self.sparsity.entries + ROW_ENTRIES) * entry

    def vectors(self, flops: float) -> float:
        """Of products of B with vectors, with so many flops: few of them meet a number of B."""
        return 1.5 * flops / self.flops

    def gradient(self) -> float:
        """Of zeros, sums and a step: d rows, whatever the entries are."""
        return 8.0 * self.d * (3 * self.columns + 5 * self.k) / self.read

    def table(self, numbers: float) -> float:
        """Of filling memory that the system gives afresh: many times its reading."""
        return FRESH * 8.0 * numbers / self.read

    def combined(self, samples: float, m: float, terms: int) -> float:
        """Of X^T C for sets of m samples, with so many terms of C."""
        if self.by_terms(m, terms):
            of_a_set = terms * self._by_terms(m) * 4.0 / self.flops
            return max(samples / m * of_a_set, 12.0 * samples * self.sparsity.entries / self.read)
        entries = samples * (self.sparsity.entries + ROW_ENTRIES)
        return max(1.5 * entries * self._entry, 2 * entries * self._waits)

    def by_terms(self, m: float, terms: int) -> bool:
        """Whether C is short enough for a vector X^T s for each of its terms."""
        rows = (ENTRY_WORK + self.columns) * m * self.sparsity.entries
        return 2 * terms < self.k and terms * self._by_terms(m) < rows

    def _by_terms(self, m: float) -> float:
        return ENTRY_WORK * m * self.sparsity.entries + (self.columns / 2 + 2) * self.d

    def combined_bytes(self, samples: float, m: float, terms: int) -> float:
        """Of C as it is combined."""
        return 8.0 * samples * (terms if self.by_terms(m, terms) else self.columns + terms)

    def products(self, rows: float, others: float) -> float:
        """Of inner products: entries are looked up block by block, and those that meet added."""
        looked_up = rows * self.sparsity.entries * math.ceil(others / BLOCK)
        looked_up += others * self.sparsity.entries * math.ceil(rows / BLOCK)
        met = rows * others * self.sparsity.entries**2 * self.sparsity.meeting
        return (looked_up + met) * 4.0 * LISTED_COLUMNS / self.flops

    def block_bytes(self, threads: int, vectors: bool) -> float:
        """Held for inner products on so many threads, and then for the sums of X^T C."""
        blocks = threads * (4.0 * self.d + LISTED_BYTES * BLOCK * self.sparsity.entries)
        return max(blocks, 8.0 * self.d * (self.columns + TERMS * vectors))

    @property
    def _entry(self) -> float:
        """Seconds of the arithmetic of an entry."""
        return 4.0 * (self.k + ENTRY_COLUMNS) / self.flops

    @property
    def _waits(self) -> float:
        """Seconds of an entry whose row of B comes from memory, where no cache holds B."""
        from_memory = 8.0 * self.k + LINE_BYTES if 8 * self.d * self.k > CACHE_BYTES else 0.0
        return (from_memory + 12.0) / self.read
