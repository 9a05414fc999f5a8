"""Laws of the rows of sampled rounds: moments, tails and independence of 10^7 entries each.

Seeds are fixed. With fresh seeds each comparison would fail with a probability of about 10^-6.
`test_entries.py` tests the signs of rademacher entries and the law of uniform ones.
"""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from metaspan._core_types import FeatureLaw
from metaspan._load import core

SIGMAS = 4.9  # two-sided error rate of 1e-6 for a normal statistic
ERROR_RATE = 1e-6
DOF = 9.0
WIDE, NARROW = (10, 1000, 1000), (100, 10_000, 10)  # n, m, d
SHAPES = {
    "gaussian": WIDE,
    "student-t": NARROW,  # whose entries have one radius in a row: many rows
    "sphere": WIDE,
    "uniform": WIDE,
    "rademacher": WIDE,
}
D = WIDE[2]
HALF = np.sqrt(3.0)
ENTRIES = {
    "gaussian": stats.norm(),
    "student-t": stats.t(DOF, scale=np.sqrt((DOF - 2) / DOF)),
    "sphere": stats.beta((D - 1) / 2, (D - 1) / 2, loc=-np.sqrt(D), scale=2 * np.sqrt(D)),
    "uniform": stats.uniform(-HALF, 2 * HALF),
}
BOUNDS = {"uniform": (1.5, 1.7, 1.73)}
CLIP = 5.0


@cache
def kept(law):
    return rows(law)


def rows(law, *, trial=0, round_=0, stream=core.STREAM_FEATURES_IN):
    n, m, d = SHAPES[law]
    of = FeatureLaw(law, DOF if law == "student-t" else 0.0)
    return core.features(of, None, 7, trial, round_, stream, n, m, d, "float64", 2)


def off(values, expected):
    """By how many standard errors the mean is off; rows (..., d) are independent."""
    means = values.mean(axis=-1).ravel()
    return (means.mean() - expected) / (means.std() / np.sqrt(means.size))


@pytest.mark.parametrize("law", ["gaussian", "student-t", "sphere"])
def test_moments_to_the_fourth(law):
    """Entries are clipped, so that no tail governs the errors; the next test counts the tails."""
    X = np.clip(kept(law), -CLIP, CLIP)
    grid = ENTRIES[law].ppf((np.arange(2**16) + 0.5) / 2**16).clip(-CLIP, CLIP)
    powers = np.ones_like(X)
    for power in (1, 2, 3, 4):
        powers *= X
        if law == "sphere" and power == 2:
            continue  # the length of a row: no chance in it
        expected = (grid**power).mean() if power % 2 == 0 else 0.0
        assert abs(off(powers, expected)) < SIGMAS, power


@pytest.mark.parametrize("law", ENTRIES)
def test_tails_have_the_right_weight(law):
    """Counts against their binomial, each side: of columns where rows have a radius.

    On the sphere entries are negatively associated: a count varies less than its binomial.
    """
    X = kept(law)
    columns = np.moveaxis(X, -1, 0) if law == "student-t" else X[None]
    for bound in BOUNDS.get(law, (3.0, 4.0, 5.0)):
        chance = ENTRIES[law].sf(bound)
        for column in columns:
            for seen in ((column > bound).sum(), (column < -bound).sum()):
                found = stats.binomtest(int(seen), column.size, chance)
                assert found.pvalue > ERROR_RATE, (bound, seen, chance * column.size)


def halves(law, X):
    """Where entries are positive; and where they are further from 0 than half of all are."""
    if law == "rademacher":
        return (X > 0,)
    return X > 0, np.abs(X) > ENTRIES[law].ppf(0.75)


@cache
def halves_kept(law):
    return halves(law, kept(law))


def uncorrelated(a, b):
    """Two events of probability 1/2, by how often in a row just one of them happens."""
    ones = np.count_nonzero(a ^ b, axis=-1).ravel()
    return abs(ones.mean() - a.shape[-1] / 2) < SIGMAS * ones.std() / np.sqrt(ones.size)


def independent(one, other, *, sizes=True):
    """Neither signs, nor sizes, nor the signs of one with the sizes of the other are correlated."""
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            if sizes or (i, j) != (1, 1):
                assert uncorrelated(a, b), (i, j)


@pytest.mark.parametrize("law", ENTRIES)
def test_neighbours_in_every_direction_are_independent(law):
    X = halves_kept(law)
    own_sizes = law in ("gaussian", "uniform")  # of the entries of a row: others have one radius
    independent([x[:, :, 1:] for x in X], [x[:, :, :-1] for x in X], sizes=own_sizes)
    independent([x[:, 1:] for x in X], [x[:, :-1] for x in X])
    independent([x[1:] for x in X], [x[:-1] for x in X])


@pytest.mark.parametrize(
    "other",
    [{"round_": 1}, {"stream": core.STREAM_FEATURES_OUT}, {"trial": 1}],
    ids=str,
)
@pytest.mark.parametrize("law", SHAPES)
def test_rounds_sets_and_trials_are_independent(law, other):
    independent(halves_kept(law), halves(law, rows(law, **other)))


def test_lengths_of_student_t_rows_are_independent():
    """Radii are numbers of their own: of neighbours, rounds, sets and trials. By normal scores."""

    def scores(X):
        squares = np.einsum("nmd,nmd->nm", X, X)
        law = stats.f(X.shape[-1], DOF, scale=X.shape[-1] * (DOF - 2) / DOF)
        levels = np.linspace(0.0, 1.0, 2**13)[1:-1]
        return np.interp(squares, law.ppf(levels), stats.norm.ppf(levels))

    one = scores(kept("student-t"))
    changes = ({"round_": 1}, {"stream": core.STREAM_FEATURES_OUT}, {"trial": 1})
    pairs = [(one, scores(rows("student-t", **change))) for change in changes]
    for a, b in (*pairs, (one[:, 1:], one[:, :-1]), (one[1:], one[:-1])):
        assert abs((a * b).mean()) * np.sqrt(a.size) < SIGMAS
