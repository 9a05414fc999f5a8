"""Intervals of fitted laws have their nominal coverage; wrong laws are seldom told apart.

Seeds are fixed. With fresh seeds each comparison of a share with a bound would fail with a
probability of about 10^-3 if the true share were at the bound.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan.study.laws.fits import fit_laws, fit_powers
from metaspan.study.laws.resampling import draw_deviations, group_rows

ERROR_RATE = 1e-3
RUNS = 300
TRUTH = {
    "power": (0.5, 0.5, lambda x: 0.5 * x**0.5),
    "exponential": (3.0, -1 / 3000, lambda x: 3 * np.exp(-x / 3000)),
    "logarithm": (1.0, 0.3, lambda x: 1 + 0.3 * np.log(x)),
}
# distinct x, rows at each, whether the scatter grows tenfold, least coverage, greatest coverage
DESIGNS = {
    "single runs": (4, 1, False, 0.94, 0.97),
    "few seeds": (4, 3, False, 0.94, 0.98),
    "many seeds": (6, 20, False, 0.93, 0.97),
    "uneven scatter": (6, 10, True, 0.92, 0.97),
}


def within(hits, low, high):
    """Tell whether chance allows `hits` of RUNS for a probability between `low` and `high`."""
    least, greatest = (
        stats.binom.ppf(ERROR_RATE / 2, RUNS, low),
        stats.binom.isf(ERROR_RATE / 2, RUNS, high),
    )
    return least <= hits <= greatest


def draws(seed, x, law, scatter):
    """Draw the measurements (RUNS, rows) of RUNS independent studies."""
    noise = np.random.default_rng(seed).standard_normal((RUNS, x.size))
    return TRUTH[law][2](x) * np.exp(scatter * noise)


@pytest.mark.parametrize("law", list(TRUTH))
@pytest.mark.parametrize("design", list(DESIGNS))
def test_intervals_cover_the_truth(design, law):
    distinct, rows, uneven, low, high = DESIGNS[design]
    x = np.repeat(np.geomspace(100, 10_000, distinct), rows)
    scatter = np.repeat(np.geomspace(0.03, 0.3, distinct), rows) if uneven else 0.1
    truth, hits = np.array(TRUTH[law][:2]), np.zeros(2)
    for i, y in enumerate(draws(11, x, law, scatter)):
        found = fit_laws(x, y, laws=law, resamples=200, seed=i).best
        ends = np.array([found.a_interval, found.b_interval])
        hits += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    assert all(within(count, low, high) for count in hits)


def test_chance_moves_means_by_their_standard_errors():
    """Standard errors of rows drawn at each x are unbiased; few rows widen them."""
    logs = np.random.default_rng(17).standard_normal((5, 3)) * [[1], [2], [1], [3], [1]]
    groups = group_rows({"x": np.repeat(np.arange(1, 6), 3)}, np.exp(logs).ravel())
    moved = draw_deviations(groups, logs.ravel(), 2, band=0.95, resamples=20_000, seed=0)
    variance = logs.var(axis=1, ddof=1) / 3
    degrees = variance.sum() ** 2 / (variance**2 / 2).sum()
    widened = stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975)
    # A standard deviation of 20,000 draws scatters by less than 0.6 %; five are compared.
    np.testing.assert_allclose(moved.std(axis=0), widened * np.sqrt(variance), rtol=0.03)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.1)


def test_chance_moves_single_runs_by_the_scatter_about_the_fit():
    x = np.array([1, 1, 2, 3, 4, 5, 6, 7])
    logs = np.random.default_rng(18).standard_normal(8)
    groups = group_rows({"x": x}, np.exp(logs))
    residuals = logs - np.polyval(np.polyfit(x, logs, 1), x)
    moved = draw_deviations(groups, residuals, 2, band=0.95, resamples=20_000, seed=0)
    widened = stats.t.ppf(0.975, 6) / stats.norm.ppf(0.975)
    expected = widened * np.sqrt((residuals**2).sum() / 6 / np.array([2, 1, 1, 1, 1, 1, 1]))
    np.testing.assert_allclose(moved.std(axis=0), expected, rtol=0.03)


def test_narrower_bands_cover_less():
    x = np.repeat(np.geomspace(100, 10_000, 6), 4)
    hits = 0
    for i, y in enumerate(draws(12, x, "power", 0.1)):
        low, high = fit_laws(x, y, laws="power", band=0.5, resamples=200, seed=i).best.b_interval
        hits += low <= 0.5 <= high
    assert within(hits, 0.48, 0.55)


@pytest.mark.parametrize("rows", [1, 4])
def test_intervals_of_products_cover_the_truth(rows):
    d, n = (np.repeat(a.ravel(), rows) for a in np.meshgrid([10, 100, 1000], [5, 20, 80]))
    hits = np.zeros(3)
    noise = np.random.default_rng(13).standard_normal((RUNS, d.size))
    for i, y in enumerate(3 * d**0.5 / n * np.exp(0.1 * noise)):
        found = fit_powers({"d": d, "n": n}, y, resamples=200, seed=i)
        ends = [found.intervals["d"], found.intervals["n"], found.factor_interval]
        hits += [low <= t <= high for (low, high), t in zip(ends, (0.5, -1.0, 3.0), strict=True)]
    assert all(within(count, 0.92, 0.98) for count in hits)


def test_intervals_agree_with_the_normal_theory_of_straight_lines():
    """Many rows at each x: the classical interval of the slope, with its own standard error."""
    x = np.repeat(np.geomspace(100, 10_000, 6), 200)
    y = draws(14, x, "power", 0.1)[0]
    line = stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf(0.975, x.size - 2) * line.stderr
    low, high = fit_laws(x, y, laws="power", resamples=20_000).best.b_interval
    # Widths of 20,000 resamples scatter by 1 %, a standard error of 1200 rows by 2 %.
    np.testing.assert_allclose([low, high], [line.slope - half, line.slope + half], atol=0.1 * half)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_a_power_over_two_decades_is_told_from_a_logarithm(rows):
    x = np.repeat(np.geomspace(100, 10_000, 8), rows)
    for i, y in enumerate(draws(15, x, "power", 0.02)[:40]):
        found = fit_laws(x, y, resamples=200, seed=i)
        assert found.best.name == "power"
        assert found.told_apart


@pytest.mark.parametrize("law", ["power", "logarithm"])
@pytest.mark.parametrize("rows", [1, 3, 10])
def test_a_wrong_law_is_seldom_told_apart_over_a_factor_of_two(rows, law):
    """And neither law often, at a scatter of 20 %: the range does not hold the answer."""
    x = np.repeat(np.geomspace(100, 200, 8), rows)
    wrong = told = 0
    for i, y in enumerate(draws(16, x, law, 0.2)):
        found = fit_laws(x, y, laws=("power", "logarithm"), resamples=200, seed=i)
        told += found.told_apart
        wrong += found.told_apart and found.best.name != law
    assert within(wrong, 0.0, 0.05)
    assert within(told, 0.0, 0.10)
