"""The x at which a fitted law reaches y, intervals of a curve, and advice on misfits."""

import math

import numpy as np
import pytest
from scipy import optimize

from metaspan.study import fit_laws, fit_powers
from metaspan.study.laws.advice import fit_with_floor
from metaspan.study.laws.resampling import group_rows, interval_ends

X = np.repeat(np.geomspace(100, 10_000, 6), 6)
INVERSE = {
    "power": lambda a, b, y: (y / a) ** (1 / b),
    "exponential": lambda a, b, y: math.log(y / a) / b,
    "logarithm": lambda a, b, y: math.exp((y - a) / b),
}


def scattered(rng, x=X, scatter=0.1):
    return 3 * x**-0.5 * np.exp(scatter * rng.standard_normal(x.size))


@pytest.mark.parametrize("name", INVERSE)
@pytest.mark.parametrize("y", [0.2, 0.02])
def test_the_solution_is_the_inverse_of_the_law(rng, name, y):
    law = fit_laws(X, scattered(rng), resamples=100)[name]
    solution = law.solve(y)
    assert float(solution) == pytest.approx(INVERSE[name](law.a, law.b, y))
    assert law(solution.x) == pytest.approx(y)
    low, high = solution.interval
    assert low < solution.x < high
    assert solution.extrapolated == (not 100 <= solution.x <= 10_000)
    assert ("outside the measured x = 100 .. 10,000" in str(solution)) == solution.extrapolated


def test_intervals_of_solutions_and_curves_cover_the_truth():
    rng, hits, misses = np.random.default_rng(1), np.zeros(2), 0
    for _ in range(300):
        law = fit_laws(X, scattered(rng), laws="power", resamples=200).best
        low, high = law.solve(0.003).interval  # truly at x = 10^6, far beyond the measured x
        ends = law.interval([1e6])
        hits += [low <= 1e6 <= high, ends[0][0] <= 0.003 <= ends[1][0]]
        misses += low > 1e6
    # A binomial count of 300 trials at 0.95 is between 268 and 299 but for one case in 10,000.
    assert (hits >= 268).all()
    assert (hits <= 299).all()
    assert misses > 0


@pytest.mark.parametrize("b", [-0.05, 0.05])
@pytest.mark.parametrize("towards", [-0.2, 0.2])
def test_the_interval_of_a_curve_at_an_end_of_a_solution_ends_at_y(b, towards):
    found = 0
    for seed in (1, 25, 36, 37):
        noise = 0.25 * np.random.default_rng(seed).standard_normal(X.size)
        for law in fit_laws(X, 3 * X**b * np.exp(-np.sign(b) * noise)).laws:
            others = np.mean(law.resampled[1] * law.b < 0)  # these have the other sign
            if law.b_interval[0] <= 0 <= law.b_interval[1] or others < 0.01:
                continue
            y = law.center[1] * math.exp(towards)
            for end in law.solve(y).interval:
                if (law.name == "exponential" or end > 0) and math.isfinite(end):
                    ends = np.array(law.interval(end))
                    assert np.abs(np.log(ends[ends > 0] / y)).min() < 0.08  # between resamples
                    found += 1
    assert found > 4


def test_ends_between_infinite_values_are_infinite():
    values = np.r_[np.full(50, -np.inf), np.arange(900.0), np.full(50, np.inf)]
    assert interval_ends(values, 0.95) == (-math.inf, math.inf)
    assert interval_ends(np.full(9, np.inf), 0.95) == (math.inf, math.inf)


def test_the_interval_of_a_curve_is_that_of_the_resampled_parameters(rng):
    for law in fit_laws(X, scattered(rng), resamples=300).laws:
        low, high = law.interval(np.array([[50.0, law.center[0]], [1e3, 1e4]]))
        assert low.shape == high.shape == (2, 2)
        assert (low < law(np.array([[50.0, law.center[0]], [1e3, 1e4]]))).all()
        # Here the curve equals a, whose interval comes from the same resamples. The ends are read
        # off between two resamples, in log y for the curve and in y for a logarithm's a.
        at = 0.0 if law.name == "exponential" else 1.0
        rtol = 0.01 if law.name == "logarithm" else 1e-9
        np.testing.assert_allclose(np.ravel(law.interval(at)), law.a_interval, rtol=rtol)


def test_a_law_that_may_be_level_is_solved_without_a_bound(rng):
    y = np.exp(0.1 * rng.standard_normal(X.size))
    laws = fit_laws(X, y, resamples=100)
    for law in laws.laws:
        assert law.b_interval[0] < 0 < law.b_interval[1]
        low = -math.inf if law.name == "exponential" else 0.0
        assert law.solve(2.0).interval == (low, math.inf)
        assert "unbounded 95 % interval" in str(law.solve(2.0))
    assert laws.solve(2.0) == laws.best.solve(2.0)


def test_two_rows_are_solved_without_an_interval():
    solution = fit_laws([1, 4], [1, 2], laws="power", resamples=100).solve(4)
    assert solution.x == pytest.approx(16)
    assert all(math.isnan(end) for end in solution.interval)
    assert str(solution) == "x = 16 for y = 4, outside the measured x = 1 .. 4"


def test_what_has_no_solution_is_refused(rng):
    law = fit_laws(X, scattered(rng), laws="power", resamples=100).best
    with pytest.raises(ValueError, match="y must be positive, for the law is a power; got 0"):
        law.solve(0)
    with pytest.raises(TypeError, match="y must be"):
        law.solve("1")
    with pytest.raises(ValueError, match="y must be finite"):
        law.solve(math.inf)
    level = fit_laws([1, 2, 4], [1, 1, 1], laws="power", resamples=100).best
    with pytest.raises(ValueError, match="the law must vary with x to be solved; its b is 0"):
        level.solve(2)


def test_products_are_solved_for_any_variable(rng):
    d, n = (side.ravel() for side in np.meshgrid([100, 1000, 10_000], [10, 40, 160]))
    d, n = np.repeat(d, 4), np.repeat(n, 4)
    y = 0.3 * d**0.5 / n**0.4 * np.exp(0.05 * rng.standard_normal(d.size))
    powers = fit_powers({"d": d, "n": n}, y, resamples=400)
    found = powers.solve(1.0, d=500)
    b = powers.exponents
    assert found.x == pytest.approx((powers.factor * 500 ** b["d"]) ** (-1 / b["n"]))
    assert found.interval[0] < (0.3 * 500**0.5) ** 2.5 < found.interval[1]
    assert (found.name, found.x_range, found.extrapolated) == ("n", (10, 160), False)
    assert str(found).startswith("n = ")
    alone = fit_powers({"x": X}, scattered(rng), resamples=100)
    law = fit_laws(X, scattered(np.random.default_rng(0)), laws="power", resamples=100).best
    assert alone.solve(alone.factor).x == pytest.approx(1.0)
    assert law.solve(law.a).x == pytest.approx(1.0)
    with pytest.raises(ValueError, match="values of all but one of d, n must be given; got none"):
        powers.solve(1.0)
    with pytest.raises(ValueError, match="d must be finite and at least 0; got -1"):
        powers.solve(1.0, d=-1)


def floored(x, rng, scatter=0.002):
    return (0.05 + 3 * x**-0.7) * np.exp(scatter * rng.standard_normal(x.size))


def test_a_floor_is_fitted_by_least_squares_of_logs(rng):
    data = group_rows({"x": X}, y := floored(X, rng))
    found = fit_with_floor("power", data)

    def residuals(p):
        return np.log(p[0] + np.exp(p[1]) * X ** p[2]) - np.log(y)

    best = optimize.least_squares(residuals, [0.04, 1.0, -0.6], x_scale=[0.01, 1, 1], xtol=1e-14)
    assert found.floor == pytest.approx(best.x[0], rel=2e-3)
    assert found.slope == pytest.approx(best.x[2], rel=2e-3)
    pure = ((y.reshape(6, 6) / np.exp(np.log(y.reshape(6, 6)).mean(1))[:, None]).ravel(), 30)
    error = (np.log(pure[0]) ** 2).sum() / pure[1]
    lack = (residuals(best.x) ** 2).sum() - error * 30
    assert found.misfit == pytest.approx(math.sqrt(lack / 3 / error), abs=0.01)


def test_the_note_on_a_misfit_says_what_mends_it(rng):
    laws = fit_laws(X, floored(X, rng), laws="power", resamples=100)
    assert laws.best.misfit > 10
    assert "remedy: add a floor; y = 0.0" in laws.advice
    assert laws.advice in str(laws)
    bent = 3 * X**-0.5 * np.exp(0.01 * rng.standard_normal(X.size)) * np.where(X == 100, 0.8, 1)
    advice = fit_laws(X, bent, laws="power", resamples=100).advice
    assert "the mean at x = 100 by" in advice
    assert "remedy: leave out x below 251.2; the power then misses by" in advice
    waves = 3 * X**-0.5 * np.exp(0.3 * np.sin(9 * np.log(X)) + 0.01 * rng.standard_normal(X.size))
    assert "fit over another x" in fit_laws(X, waves, laws="power", resamples=100).advice
    few = X < 2000
    assert "measure at 5 or more" in fit_laws(X[few], floored(X[few], rng), laws="power").advice
    assert fit_laws(X, scattered(rng), resamples=100).advice == ""


def test_the_largest_x_are_left_out_where_that_helps(rng):
    bent = 3 * X**-0.5 * np.exp(0.01 * rng.standard_normal(X.size)) * np.where(X < 1e4, 1, 0.8)
    advice = fit_laws(X, bent, laws="power", resamples=100).advice
    assert "leave out x above 3,981; the power then misses by" in advice


def test_the_note_on_a_product_names_the_value_to_leave_out(rng):
    d, n = (side.ravel() for side in np.meshgrid([100, 1000, 10_000], [10, 40, 160]))
    d, n = np.repeat(d, 5), np.repeat(n, 5)
    y = d**0.5 / n * np.exp(0.01 * rng.standard_normal(d.size)) * np.where(n == 10, 1.3, 1)
    powers = fit_powers({"d": d, "n": n}, y, resamples=100)
    assert powers.misfit > 5
    assert "remedy: leave out n = 10; the product then misses by" in powers.advice
    assert powers.advice in str(powers)
    waves = y * np.exp(0.2 * np.sin(d + n))
    assert "fit one name at a time" in fit_powers({"d": d, "n": n}, waves, resamples=100).advice
