r"""Claims of the paper and of the theory: the expected and the observed value of a quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .._support.tables import format_csv
from .._support.types import F64

HEADER = ("holds", "panel", "quantity", "expected", "least", "most", "observed", "source")
# Source of numbers that no formula gives: an independent simulation of the same runs, which shares
# no code with this package. The simulation had few seeds, and only one seed for heads with a large
# mean. The exponents of its numbers are therefore accurate only to 20 %.
SIMULATION = "independent simulation, few seeds"
EXPONENT = 0.2


@dataclass(frozen=True, kw_only=True)
class Claim:
    r"""A quantity with its expected value, bounds, and the observed value.

    Parameters
    ----------
    panel : str
        Name of the panel that shows the quantity, or ``"theory"`` if no panel shows the quantity.
    quantity : str
        Name of the quantity.
    expected : float
        Value of the quantity in the paper, in a theorem or in an independent simulation.
    least, most : float
        The bounds between which the observed value must lie.
    source : str
        Origin of the value of `expected`.
    observed : float
        Value that the runs gave.
    """

    panel: str
    quantity: str
    expected: float
    least: float
    most: float
    source: str
    observed: float

    @property
    def holds(self) -> bool:
        """Whether the observed value lies between `least` and `most`; false if it is NaN."""
        return self.least <= self.observed <= self.most


def near(expected: float, relative: float) -> tuple[float, float]:
    r"""Return the interval that a relative error allows for a positive value.

    Parameters
    ----------
    expected, relative : float
        The value, and its relative error.

    Returns
    -------
    (float, float)
        The ends of the interval.
    """
    return expected * (1 - relative), expected * (1 + relative)


def near_on_logarithms(expected: float, error: float = 0.0) -> tuple[float, float]:
    r"""Return the interval for a value of dist whose logarithm is known to 20 %.

    Parameters
    ----------
    expected : float
        The value, in (0, 1]. The error of its logarithm is 20 % of the logarithm, but at least 0.1:
        before dist falls, its logarithm is near zero and depends on the start.
    error : float
        Standard error of the observed logarithm. The half width of the interval, on the logarithmic
        scale, is the root of the sum of two squares: the square of the error of the logarithm of
        `expected`, and the square of three standard errors.

    Returns
    -------
    (float, float)
        The ends of the interval.
    """
    width = math.hypot(max(EXPONENT * abs(math.log(expected)), 0.1), 3 * error)
    return expected * math.exp(-width), min(1.0, expected * math.exp(width))


def claim_floors(
    panel: str, name: str, ratio: F64, n: int, widths: tuple[float, float]
) -> Iterator[Claim]:
    r"""Claim that runs on n tasks in a round end at the floors (59).

    The dist of a run on n tasks exceeds that of the limit by a term of order n^(-1/2).

    Parameters
    ----------
    panel, name : str
        Name of the panel, and of the runs within the panel.
    ratio : ndarray
        Values of dist at the end over their predictions.
    n : int
        Number of tasks in a round.
    widths : (float, float)
        Accepted deviations from 1 of the median, and of the least and the largest ratio, in units
        of n^(-1/2).

    Yields
    ------
    Claim
        Claims of the median, the least and the largest ratio.
    """
    middle, extreme = (width / math.sqrt(n) for width in widths)
    for quantity, observed, width in (
        ("median", np.median(ratio), middle),
        ("least", ratio.min(), extreme),
        ("largest", ratio.max(), extreme),
    ):
        yield Claim(
            panel=panel, quantity=f"{name}: {quantity} of dist at the end over its prediction",
            expected=1.0, least=1 - width, most=1 + width, source="(59)", observed=float(observed),
        )  # fmt: skip


def as_csv(claims: Sequence[Claim]) -> str:
    r"""Write claims as CSV.

    Parameters
    ----------
    claims : sequence of Claim
        The rows.

    Returns
    -------
    str
        The table, with a header.
    """
    return format_csv([HEADER, *(_cells(claim, "{:.9g}") for claim in claims)])


def as_markdown(claims: Sequence[Claim]) -> str:
    r"""Write claims as a table in Markdown.

    Parameters
    ----------
    claims : sequence of Claim
        The rows.

    Returns
    -------
    str
        The table.
    """
    rows = [HEADER, ("---",) * len(HEADER), *(_cells(claim, "{:.4g}") for claim in claims)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def as_text(claims: Sequence[Claim]) -> str:
    r"""Write claims as aligned columns for a terminal; the sources are left out.

    Parameters
    ----------
    claims : sequence of Claim
        The rows.

    Returns
    -------
    str
        The table and, as its last line, the number of claims that hold.
    """
    rows = [HEADER[:-1], *(_cells(claim, "{:.4g}")[:-1] for claim in claims)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    held = sum(claim.holds for claim in claims)
    return "\n".join([*lines, f"{held} of {len(claims)} claims hold"])


def _cells(claim: Claim, number: str) -> tuple[str, ...]:
    """Format the fields of a claim as texts, in the order of the columns of the header."""
    least, most = (
        "" if math.isinf(end) else number.format(end) for end in (claim.least, claim.most)
    )
    return (
        "yes" if claim.holds else "NO",
        claim.panel,
        claim.quantity,
        number.format(claim.expected),
        least,
        most,
        number.format(claim.observed),
        claim.source,
    )
