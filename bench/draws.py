"""Random numbers of a round on fresh samples: how many there are, and the least time to draw them.

The rates are those of the core's own loops with nothing around them, on one core and in its cache.
This is the one place of the benches that reaches behind the public package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import metaspan as ms
from bench.floors import Size
from bench.harness import cpus
from bench.machine import best
from bench.peers import Rule

ROWS, TASKS = 512, 512  # of chi-squares, drawn for eight tasks at a time: 32 KiB
MANY = 2**13  # normals in a row: 64 KiB
PANEL, SHORT, LARGE_B = 8, 2**14, 2**19  # tasks, and numbers of vectors and of a B that share it
HELD_BYTES = 2**26  # of inner sets that stay until they are used again
DOF = 40.0  # of chi-squares; any number of them takes the same time


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a round draws for its samples and heads."""

    normals: int
    roots: int  # of chi-squares

    def seconds(self, repeats: int) -> float:
        """The least time, on all CPUs that this process may use."""
        normal, root = rates(repeats)
        return (self.normals / normal + self.roots / root) / len(cpus())


def numbers(size: Size, rule: Rule) -> Numbers:
    """Of a round with one inner step, k_star = k and d far above the samples of a task.

    A set of m samples is a triangular factor with min(m, columns) rows and as many roots, (19). For
    MAML the columns beside the span's are those of a frame of the inner samples, whose rows are
    kept apart, and of what outer samples have beyond it, (16).
    """
    D = 2 * size.k  # rows of [M; R]; a row of samples has a column of noise as well
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
    """Entries and diagonal of an upper trapezoidal matrix with at most m rows."""
    rows = min(m, columns)
    return rows * columns - rows * (rows - 1) // 2, rows


@functools.cache
def rates(repeats: int = 7) -> tuple[float, float]:
    """Normals and chi-squares a second that one core draws."""
    dofs = ROWS * [DOF]
    roots = best(lambda: ms._core.panel_draws(0, 0, 0, 0, dofs, 0, TASKS, 1), 20 * repeats)
    return normals("float64", repeats), ROWS * TASKS / roots


@functools.cache
def normals(dtype: str, repeats: int = 7) -> float:
    """Normals a second that one core draws, into an array in its cache."""
    draw = functools.partial(ms._core.normals, 0, 0, 0, 0, 1, 1, MANY, dtype, 1)
    return MANY / best(draw, 20 * repeats)


def rows_made(size: Size, rule: Rule) -> int:
    """Rows of samples that a sampled round makes: all once, and the inner ones of an exact method
    again unless those of the tasks that meet B together are held."""
    short, long = PANEL * size.d <= SHORT, size.k * size.d > LARGE_B
    tasks = min(PANEL, size.n) if short or long else 1
    again = rule.exact and 8 * size.d * size.m_in * tasks > HELD_BYTES
    return size.samples + (size.samples_in if again else 0)
