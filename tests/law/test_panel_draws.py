"""Normals and chi-squares that the core draws for a panel of tasks side by side.

Seeds are fixed. With fresh seeds each of some 1,500 comparisons would fail with a probability of
2 * 10^-7, and any of them with less than 10^-3.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan._load import core

COUNT = 2_000_000
SIGMAS = 5.2  # two-sided error rate of 2e-7 for a normal statistic
ERROR_RATE = 2e-7
DOFS = [1, 2, 3, 5, 50, 1e6, 1e15]


def draw(dofs, n=COUNT, *, seed=3, trial=0, round=0, set=0, first=0, threads=1):
    return core.panel_draws(seed, trial, round, set, dofs, first, n, threads)


@pytest.fixture(scope="module")
def numbers():
    """Draw two million rows: a normal, a chi-square of each of DOFS, and another normal."""
    return draw([0, *DOFS, 0])


def law_of(dof):
    """The exact law of x and a change of variable that keeps its digits at a huge dof.

    There (x - dof) / sqrt(2 dof) is normal but for a skewness of sqrt(8 / dof), of which the
    Edgeworth expansion takes account.
    """
    if dof < 1e4:
        return lambda x: x, stats.chi2(dof).cdf

    def cdf(z):
        skewness = np.sqrt(8 / dof)
        return stats.norm.cdf(z) - skewness * (z**2 - 1) / 6 * stats.norm.pdf(z)

    return lambda x: (x - dof) / np.sqrt(2 * dof), cdf


def moments_agree(x, dof):
    """Mean, variance and third moment of chi-squares within what chance allows."""
    z = (x - dof) / np.sqrt(2 * dof)
    exact = {1: 0.0, 2: 1.0, 3: np.sqrt(8 / dof)}
    # E z^4 and E z^6, from the cumulants of a gamma law.
    fourth = 3 + 12 / dof
    sixth = 15 + 260 / dof + 480 / dof**2
    spread = {1: 1.0, 2: fourth - 1, 3: sixth - 8 / dof}
    return all(
        abs((z**power).mean() - mean) < SIGMAS * np.sqrt(spread[power] / len(z))
        for power, mean in exact.items()
    )


def distribution_agrees(x, dof):
    change, cdf = law_of(dof)
    return stats.kstest(change(x), cdf).pvalue > ERROR_RATE


@pytest.mark.parametrize("column", [0, len(DOFS) + 1])
def test_panel_normals_are_normal(numbers, column):
    """Detects a scale, a bias or a shape of the normals that is wrong by one per cent."""
    x = numbers[:, column]
    assert stats.kstest(x, "norm").pvalue > ERROR_RATE
    exact = {1: 0, 2: 1, 3: 0, 4: 3, 6: 15}
    spread = {1: 1, 2: 2, 3: 15, 4: 96, 6: 10170}
    for power, mean in exact.items():
        assert abs((x**power).mean() - mean) < SIGMAS * np.sqrt(spread[power] / COUNT), power


@pytest.mark.parametrize("dof", DOFS)
def test_panel_chi_squares_have_their_law(numbers, dof):
    """Detects a wrong law of candidates, or of acceptance, for any number of degrees."""
    x = numbers[:, 1 + DOFS.index(dof)]
    assert (x > 0).all()
    assert moments_agree(x, dof)
    assert distribution_agrees(x, dof)


@pytest.mark.parametrize("dof", [1, 2, 3, 5, 50])
def test_one_degree_of_freedom_too_many_is_caught(numbers, dof):
    """The tests are strong enough: they detect one degree of freedom too many."""
    x = numbers[:, 1 + DOFS.index(dof)]
    assert not moments_agree(x, dof + 1)
    assert not distribution_agrees(x, dof + 1)


@pytest.mark.parametrize("dof", DOFS)
def test_variance_two_percent_too_large_is_caught(numbers, dof):
    """Detects tests too weak for an error of 2 % in the variance, the mean being right."""
    x = numbers[:, 1 + DOFS.index(dof)]
    assert not moments_agree(dof + np.sqrt(1.02) * (x - dof), dof)


def test_normals_with_two_percent_more_variance_are_caught(numbers):
    """Detects tests too weak for an error of 2 % in the variance of normals."""
    assert stats.kstest(np.sqrt(1.02) * numbers[:, 0], "norm").pvalue < ERROR_RATE


def test_panel_columns_and_tasks_are_independent(numbers):
    """Detects numbers used twice: no two columns, nor neighbouring tasks, are correlated.

    Neither are their squares; columns of chi-squares are brought to normals of the same ranks.
    """
    dofs = [0, *DOFS, 0]
    numbers = numbers[: COUNT // 4]
    z = np.empty_like(numbers)
    for column, dof in enumerate(dofs):
        change, cdf = law_of(dof) if dof else (lambda x: x, stats.norm.cdf)
        u = np.clip(cdf(change(numbers[:, column])), 1e-12, 1 - 1e-12)
        z[:, column] = stats.norm.ppf(u)
    squares = (z**2 - 1) / np.sqrt(2)
    for a, b in ((z, z), (squares, squares), (z, squares)):
        between = a.T @ b / np.sqrt(len(z))
        np.fill_diagonal(between, 0)
        assert abs(between).max() < SIGMAS
        for lag in (1, 7, 8, 9):  # neighbours in a panel and between panels
            assert abs(a[lag:].T @ b[:-lag]).max() / np.sqrt(len(z) - lag) < SIGMAS, lag


@pytest.mark.parametrize(
    "other",
    [{"seed": 4}, {"trial": 1}, {"round": 1}, {"set": 1}, {"first": 100_000}],
    ids=str,
)
def test_other_keys_give_other_panels(other):
    """Detects sets, rounds, trials or seeds that share numbers: none, and no correlation."""
    count = 100_000
    dofs = [0, 1, 3, 0]
    mine, theirs = draw(dofs, count), draw(dofs, count, **other)
    assert not np.isin(mine[:, 0], theirs[:, 0]).any()
    for i, j in np.ndindex(4, 4):
        assert abs(stats.spearmanr(mine[:, i], theirs[:, j]).statistic) < SIGMAS / np.sqrt(count)


def test_numbers_of_a_task_do_not_depend_on_its_panel():
    """Detects numbers that follow the place in a panel, or what is drawn beside them."""
    dofs = [0, 1, 50, 0, 2, 0]  # an odd number of chi-squares, so that a pair is cut
    many = draw(dofs, 1000)
    np.testing.assert_array_equal(draw(dofs, 3), many[:3])
    np.testing.assert_array_equal(draw(dofs, 20), many[:20])
    for first in (1, 5, 8, 13):
        np.testing.assert_array_equal(draw(dofs, 20, first=first), many[first : first + 20])
    np.testing.assert_array_equal(draw(dofs[:4], 50), many[:50, :4])


def test_panel_bits_do_not_depend_on_threads():
    """Detects numbers that follow the thread that draws them."""
    dofs = [0, 1, 1e15]
    for threads in (2, 3):
        np.testing.assert_array_equal(draw(dofs, 1000, threads=threads), draw(dofs, 1000))
