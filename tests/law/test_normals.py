"""The core's normals have the standard normal law.

Seeds are fixed. With fresh seeds each comparison would fail with a probability of 10^-5.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan._load import core

COUNT = 1_000_000
SIGMAS = 4.42  # two-sided error rate of 1e-5 for a normal statistic
ERROR_RATE = 1e-5


def draw(count=COUNT, *, seed=3, trial=0, round_=0, stream=core.STREAM_USER, dtype="float64"):
    return core.normals(seed, trial, round_, stream, 1, 1, count, dtype, 2)[0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_distribution_is_normal(seed, dtype):
    x = draw(seed=seed, dtype=dtype).astype(np.float64)
    assert stats.kstest(x, "norm").pvalue > ERROR_RATE
    for half in (x[::2], x[1::2]):  # cosines and sines
        assert stats.kstest(half, "norm").pvalue > ERROR_RATE


def test_moments_are_those_of_a_normal():
    x = draw()
    exact = {1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15, 8: 105}
    spread = {1: 1, 2: 2, 3: 15, 4: 96, 5: 945, 6: 10170, 8: 2027025 - 105**2}
    for power, mean in exact.items():
        assert abs((x**power).mean() - mean) < SIGMAS * np.sqrt(spread[power] / COUNT), power


def test_tails_have_the_right_weight():
    x = draw(4 * COUNT)
    for bound in (2.0, 3.0, 4.0, 4.5):
        for side in (x, -x):
            seen, chance = int((side > bound).sum()), stats.norm.sf(bound)
            assert stats.binomtest(seen, 4 * COUNT, chance).pvalue > ERROR_RATE, bound


def independent(x, y):
    """Neither they, nor their sizes, nor one with the size of the other are correlated."""
    x, y = (z.ravel() for z in (x, y))
    size_x, size_y = ((z**2 - 1) / np.sqrt(2) for z in (x, y))
    for a, b in ((x, y), (size_x, size_y), (x, size_y), (size_x, y)):
        assert abs((a * b).mean()) * np.sqrt(a.size) < SIGMAS


def test_neighbours_in_every_direction_are_independent():
    x = core.normals(3, 0, 0, core.STREAM_USER, 50, 50, 400, "float64", 2)
    independent(x[:, :, ::2], x[:, :, 1::2])
    independent(x[:, :, 1:-1:2], x[:, :, 2::2])
    independent(x[:, 1:], x[:, :-1])
    independent(x[1:], x[:-1])
    independent(x, x.transpose(1, 0, 2)[::-1])


@pytest.mark.parametrize(
    "other",
    [{"seed": 4}, {"seed": 3 + 2**32}, {"trial": 1}, {"round_": 1}, {"stream": core.STREAM_POOL}],
    ids=str,
)
def test_other_keys_give_independent_numbers(other):
    independent(draw(), draw(**other))


def test_pairs_point_in_every_direction_alike():
    """The angle of (even, odd) is uniform, the square of the radius exponential, independently."""
    x, y = draw().reshape(-1, 2).T
    turn, square = np.arctan2(y, x) / (2 * np.pi) + 0.5, (x**2 + y**2) / 2
    assert stats.kstest(turn, "uniform").pvalue > ERROR_RATE
    assert stats.kstest(square, "expon").pvalue > ERROR_RATE
    counts = np.histogram2d(turn, -np.expm1(-square), bins=32, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(counts.ravel()).pvalue > ERROR_RATE
