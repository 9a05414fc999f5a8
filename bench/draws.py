"""Counts the random numbers of a round on fresh samples, and the least time to draw them.

Rates are measured for the core's loops alone, on one core and in its cache. Only this module,
`bench_calls` and `bench_estimator_sweeps` use more than the public package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import metaspan as ms
from bench.floors import Size
from bench.harness import cpus
from bench.machine import best
from bench.peers import Rule

ROWS, TASKS = 512, 512  # numbers of chi-squares; those of eight tasks are drawn at a time, 32 KiB
MANY = 2**13  # number of normals in a row: 64 KiB
# PANEL tasks share a panel if their vectors have at most SHORT numbers in total, or if B has more
# than LARGE_B numbers.
PANEL, SHORT, LARGE_B = 8, 2**14, 2**19
HELD_BYTES = 2**26  # bytes of the inner sets that are kept, at most, until they are used again
DOF = 40.0  # degrees of freedom of the chi-squares, which do not affect the time


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of random numbers that a round draws for its samples and heads."""

    normals: int
    roots: int  # number of roots of chi-squares

    def seconds(self, repeats: int) -> float:
        """Return the least time in which all CPUs of this process can draw the numbers."""
        normal, root = rates(repeats)
        return (self.normals / normal + self.roots / root) / len(cpus())


def numbers(size: Size, rule: Rule) -> Numbers:
    r"""Count the random numbers of a round with one inner step, k_star = k and very large d.

    The dimension d must be far above the number of samples of a task. A set of m samples is drawn
    as a triangular factor with min(m, columns) rows and as many roots of chi-squares, (19). For
    MAML there are further numbers outside the span, (16): those of a frame of the inner samples,
    which is drawn separately, the coordinates of the outer samples in this frame, and one root for
    the part of the outer samples outside the frame.
    """
    D = 2 * size.k  # rows of [M; R]; a triangular factor also has a column for the noise
    if rule.adapt_B:
        q = size.m_in
        frame, roots = q * (q - 1) // 2, q
        inner = _triangle(size.m_in, D + 1)
        outer = _triangle(size.m_out, D + q + 1)
        total = inner[0] + frame + roots + outer[0] + 1
        roots += inner[1] + outer[1] + 1
    else:
        sets = [_triangle(m, D + 1) for m in (size.m_in, size.m_out)]
        total, roots = (sum(column) for column in zip(*sets, strict=True))
    return Numbers(normals=size.n * (total - roots + size.k), roots=size.n * roots)


def _triangle(m: int, columns: int) -> tuple[int, int]:
    """Return the number of entries, and of diagonal entries, of an upper trapezoidal matrix."""
    rows = min(m, columns)
    return rows * columns - rows * (rows - 1) // 2, rows


@functools.cache
def rates(repeats: int = 7) -> tuple[float, float]:
    """Return how many normals a second one core draws, and how many chi-squares."""
    dofs = ROWS * [DOF]
    roots = best(lambda: ms._core.panel_draws(0, 0, 0, 0, dofs, 0, TASKS, 1), 20 * repeats)
    return normals("float64", repeats), ROWS * TASKS / roots


@functools.cache
def normals(dtype: str, repeats: int = 7) -> float:
    """Return how many normals a second one core draws into an array in its cache."""
    draw = functools.partial(ms._core.normals, 0, 0, 0, 0, 1, 1, MANY, dtype, 1)
    return MANY / best(draw, 20 * repeats)


def rows_made(size: Size, rule: Rule) -> int:
    r"""Count the rows of samples that a round of the sampled engine generates.

    Every row is generated once. For an exact method, the rows of inner sets are generated a second
    time, unless the inner sets of the tasks that share a product with B fit into HELD_BYTES.
    """
    short, long = PANEL * size.d <= SHORT, size.k * size.d > LARGE_B
    tasks = min(PANEL, size.n) if short or long else 1
    again = rule.exact and 8 * size.d * size.m_in * tasks > HELD_BYTES
    return size.samples + (size.samples_in if again else 0)
