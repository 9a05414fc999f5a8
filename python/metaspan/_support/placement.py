r"""Where names stand that would overlap."""

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
        The least-squares nearest places that keep the distance.

    Examples
    --------
    >>> spread([0.0, 1.0, 9.0], apart=2.0)
    [-0.5, 1.5, 9.0]
    """
    # With i * apart taken off, the constraint is "not descending": pool adjacent violators.
    groups: list[list[float]] = []
    for i, place in enumerate(places):
        groups.append([place - i * apart, 1.0])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            mean, count = groups.pop()
            before, many = groups[-1]
            groups[-1] = [(before * many + mean * count) / (many + count), many + count]
    level = [mean for mean, count in groups for _ in range(int(count))]
    return [mean + i * apart for i, mean in enumerate(level)]
