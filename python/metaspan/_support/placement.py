r"""Moves apart labels that would overlap."""

from __future__ import annotations

from collections.abc import Sequence


def spread(places: Sequence[float], apart: float) -> list[float]:
    r"""Move ascending places as little as possible so that neighbours are `apart` or more.

    Parameters
    ----------
    places : sequence of float
        Wanted places, ascending.
    apart : float
        Least distance between neighbours.

    Returns
    -------
    list of float
        The places that keep the distance `apart` and minimise the sum of squared moves.

    Examples
    --------
    >>> spread([0.0, 1.0, 9.0], apart=2.0)
    [-0.5, 1.5, 9.0]
    """
    # After i * apart is subtracted from place i, the places must not descend. The nearest ascending
    # places by least squares are an isotonic regression, and pooling adjacent violators computes
    # them. A pool is a list of two numbers: the mean of some places, and the number of these
    # places.
    pools: list[list[float]] = []
    for i, place in enumerate(places):
        pools.append([place - i * apart, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            mean_before, count_before = pools[-1]
            total = count_before + count
            pools[-1] = [(mean_before * count_before + mean * count) / total, total]
    level = [mean for mean, count in pools for _ in range(int(count))]
    return [mean + i * apart for i, mean in enumerate(level)]
