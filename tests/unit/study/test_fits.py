"""Laws fitted to measurements: parameters, comparison of laws, and errors."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize, special

from metaspan.study.laws.fits import fit_laws, fit_powers
from metaspan.study.laws.resampling import student

TRUE = {
    "power": lambda a, b, x: a * x**b,
    "exponential": lambda a, b, x: a * np.exp(b * x),
    "logarithm": lambda a, b, x: a + b * np.log(x),
}
KNOWN = [
    ("power", 0.5, 0.5),
    ("power", 3e8, -2.0),
    ("exponential", 2.0, 3e-4),
    ("exponential", 1e-6, -1e-3),
    ("logarithm", 1.0, 0.3),
    ("logarithm", 40.0, -4.0),
    ("logarithm", -4.6, 1.0),
]
X = np.repeat(np.geomspace(100, 10_000, 8), 4)


def scattered(rng, x=X, scatter=0.1):
    return 0.5 * x**0.5 * np.exp(scatter * rng.standard_normal(x.size))


def logarithm(x, y):
    """Parameters of a + b log x by a general minimizer of the squares of log y."""

    def residuals(p):
        values = p[0] + p[1] * np.log(x)
        return np.log(np.maximum(values, 1e-300)) - np.log(y)

    start = np.polyfit(np.log(x), y, 1, w=1 / y)[::-1]
    if (start[0] + start[1] * np.log(x)).min() <= 0:
        start = np.array([y.mean(), 0.0])
    tight = dict(x_scale=np.abs(start) + 1, xtol=1e-15, ftol=1e-15)
    return optimize.least_squares(residuals, start, **tight).x


def oracle(name, x, y):
    """Return log f(x) of the law as a function of x."""
    if name == "logarithm":
        a, b = logarithm(x, y)
        return lambda at: np.log(a + b * np.log(at))
    of = np.log if name == "power" else np.asarray
    line = np.polyfit(of(x), np.log(y), 1)
    return lambda at: np.polyval(line, of(at))


@pytest.mark.parametrize(("name", "a", "b"), KNOWN)
@pytest.mark.parametrize("rows", [1, 4])
def test_a_law_without_scatter_is_recovered(name, a, b, rows):
    x = np.repeat(np.geomspace(100, 10_000, 8), rows)
    found = fit_laws(x, TRUE[name](a, b, x), resamples=100)
    assert found.best.name == name
    assert found.told_apart
    assert found.support[name] == 1
    np.testing.assert_allclose([found.best.a, found.best.b], [a, b], rtol=1e-8)
    np.testing.assert_allclose(found.best.a_interval, a, rtol=1e-7)
    np.testing.assert_allclose(found.best.b_interval, b, rtol=1e-7)
    assert found.best.held_out < 1e-8
    np.testing.assert_allclose(found.best(x), TRUE[name](a, b, x), rtol=1e-8)


@pytest.mark.parametrize("scatter", [0.01, 0.5])
@pytest.mark.parametrize("name", ["power", "exponential"])
def test_powers_and_exponentials_are_straight_lines_of_logs(rng, name, scatter):
    y = scattered(rng, scatter=scatter)
    b, level = np.polyfit(np.log(X) if name == "power" else X, np.log(y), 1)
    law = fit_laws(X, y, resamples=100)[name]
    np.testing.assert_allclose([law.a, law.b], [np.exp(level), b], rtol=1e-10)


@pytest.mark.parametrize("scatter", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("bent", [0.1, 0.5, -0.3])
def test_a_logarithm_has_the_least_squares_of_logs(rng, bent, scatter):
    """This includes data of a power law, which a logarithm fits badly."""
    y = X**bent * np.exp(scatter * rng.standard_normal(X.size))
    law = fit_laws(X, y, laws="logarithm", resamples=100).best
    np.testing.assert_allclose([law.a, law.b], logarithm(X, y), rtol=1e-5)


@pytest.mark.parametrize("name", list(TRUE))
@pytest.mark.parametrize("distinct", [4, 9, 50])
def test_held_out_errors_are_those_of_fits_to_the_rest(rng, name, distinct):
    x = np.repeat(np.geomspace(100, 400, distinct), np.arange(distinct) % 3 + 1)
    y = scattered(rng, x)
    parts = [p for p in np.array_split(np.unique(x), min(distinct, 20)) if p.size]
    if distinct == 50:
        owner = np.arange(50) * 20 // 50
        parts = [np.unique(x)[owner == i] for i in range(20)]
    errors = []
    for part in parts:
        rest = ~np.isin(x, part)
        predicted = oracle(name, x[rest], y[rest])
        errors += [np.log(y[x == at]).mean() - predicted(at) for at in part]
    found = fit_laws(x, y, resamples=100)[name].held_out
    assert found == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)


def test_a_prediction_that_is_not_positive_is_an_unbounded_error():
    x = np.array([1, 10, 100, 1000, 10_000])
    found = fit_laws(x, 1.0 * x**2, resamples=100)
    assert found["logarithm"].held_out == math.inf
    assert found.best.name == "power"
    assert "unbounded" in str(found)


def test_the_misfit_is_near_one_where_a_law_holds_and_large_where_it_does_not(rng):
    x = np.repeat(np.geomspace(100, 10_000, 20), 20)
    y = scattered(rng, x)
    found = fit_laws(x, y, resamples=100)
    # Squared, an F statistic of 18 and 380 degrees: beyond 2 less than once in 100 times.
    assert 0.25 < found["power"].misfit ** 2 < 2
    assert found["exponential"].misfit > 4
    assert "misses the means" not in str(found)
    logs = np.log(y).reshape(20, 20)
    line = np.polyval(np.polyfit(np.log(x[::20]), logs.mean(axis=1), 1), np.log(x[::20]))
    lack = 20 * ((logs.mean(axis=1) - line) ** 2).sum() / 18
    assert found["power"].misfit == pytest.approx(np.sqrt(lack / logs.var(axis=1, ddof=1).mean()))
    assert "misses the means" in str(fit_laws(x, y, laws="exponential", resamples=100))
    assert math.isnan(fit_laws(x[::20], y[::20], resamples=100).best.misfit)


@pytest.mark.parametrize("rows", [1, 5])
def test_the_order_of_rows_leaves_no_trace(rng, rows):
    x = np.repeat(np.geomspace(100, 10_000, 8), rows)
    y = scattered(rng, x)
    mixed = rng.permutation(x.size)
    # As text: a misfit that does not exist is NaN, which is unlike itself.
    laws = fit_laws(x[mixed], y[mixed], resamples=100)
    assert repr(laws) == repr(fit_laws(x, y, resamples=100))
    n = np.tile([10, 40], x.size // 2)
    powers = fit_powers({"x": x[mixed], "n": n[mixed]}, y[mixed], resamples=100)
    assert repr(powers) == repr(fit_powers({"x": x, "n": n}, y, resamples=100))


@pytest.mark.parametrize("rows", [1, 5])
def test_units_change_nothing_but_units(rng, rows):
    x = np.repeat(np.geomspace(100, 1000, 8), rows)
    y = scattered(rng, x)
    one, two = fit_laws(x, y, resamples=200), fit_laws(3 * x, 7 * y, resamples=200)
    assert [law.name for law in one.laws] == [law.name for law in two.laws]
    assert dict(one.support) == pytest.approx(dict(two.support), abs=0.011)
    for law in one.laws:
        other = two[law.name]
        factor = {"power": 1, "exponential": 1 / 3, "logarithm": 7}[law.name]
        assert other.held_out == pytest.approx(law.held_out, rel=1e-6)
        np.testing.assert_allclose(other.b, factor * law.b, rtol=1e-6)
        np.testing.assert_allclose(other.b_interval, np.multiply(factor, law.b_interval), 1e-5)
        np.testing.assert_allclose(other(3 * x), 7 * law(x), rtol=1e-6)


def test_rows_without_a_value_are_left_out_and_counted(rng):
    y = scattered(rng)
    holes = y.copy()
    holes[[0, 1, 2, 3, 9]] = np.nan
    there = ~np.isnan(holes)
    found, kept = fit_laws(X, holes, resamples=100), fit_laws(X[there], y[there], resamples=100)
    assert (found.left_out, found.rows, found.distinct) == (5, X.size - 5, 7)
    assert dataclasses.replace(found, left_out=0) == kept
    assert "5 rows left out" in str(found)
    powers = fit_powers({"x": X}, holes, resamples=100)
    assert powers.left_out == 5
    assert powers.exponents["x"] == pytest.approx(found["power"].b)


def test_a_seed_gives_one_result(rng):
    y = scattered(rng)
    assert fit_laws(X, y, seed=3) == fit_laws(X, y, seed=3)
    assert fit_laws(X, y, seed=3).best.b_interval != fit_laws(X, y, seed=4).best.b_interval
    powers = [fit_powers({"x": X}, y, seed=seed).intervals for seed in (3, 3, 4)]
    assert powers[0] == powers[1] != powers[2]


def test_too_few_values_of_x_tell_nothing_apart():
    two = fit_laws([1, 2, 2], [3.0, 4.0, 4.1])
    assert not two.told_apart
    assert math.isnan(two.best.held_out)
    assert "2 values of x tell no laws apart: 4 are needed" in str(two)
    three = fit_laws([1, 2, 4], [3.0, 6.0, 12.0])
    assert three.best.name == "power"
    assert three.best.held_out < 1e-9
    assert not three.told_apart
    assert three.rivals == three.laws


def test_no_more_rows_than_parameters_leave_no_intervals():
    found = fit_laws([1, 2], [3.0, 6.0])
    assert found["power"].b == pytest.approx(1)
    assert np.isnan([*found.best.a_interval, *found.best.b_interval]).all()
    assert "[" not in found.best.formula
    powers = fit_powers({"x": [1, 2, 1], "n": [1, 1, 2]}, [3.0, 6.0, 5.0])
    assert np.isnan([*powers.intervals["x"], *powers.factor_interval]).all()


def test_constant_measurements_fit_every_law_alike():
    found = fit_laws([1, 2, 4, 8, 16], [3.0] * 5)
    assert not found.told_apart
    assert list(found.support.values()) == pytest.approx([1 / 3] * 3)
    assert len(found.rivals) == 3
    assert math.isnan(fit_powers({"x": [1, 2, 4, 8, 16]}, [3.0] * 5).r_squared)


def test_a_law_alone_is_not_told_apart_from_anything(rng):
    found = fit_laws(X, scattered(rng), laws=["power"])
    assert not found.told_apart
    assert "cannot tell" not in str(found)
    assert len(found.laws) == 1


def test_the_report_says_what_the_range_cannot_tell(rng):
    x = np.repeat(np.geomspace(100, 200, 8), 10)
    found = fit_laws(x, scattered(rng, x, 0.2), laws=("power", "logarithm"))
    first, second = (law.name for law in found.laws)
    assert f"x = 100 .. 200 cannot tell {first} from {second}: held-out errors " in str(found)
    assert found.rivals == found.laws
    apart = fit_laws(X, scattered(rng, scatter=0.02))
    assert apart.rivals == (apart.best,)
    assert "cannot tell" not in str(apart)


def test_formulas_show_numbers_to_the_width_of_their_intervals():
    law = fit_laws(X, 0.52 * X**0.5).best
    law = dataclasses.replace(law, a=0.52, b=0.50321, b_interval=(0.4939, 0.5121))
    assert law.formula == "y = 0.52 x^0.503 [0.494, 0.512]"
    law = dataclasses.replace(law, name="logarithm", b=-3.14159, b_interval=(-4.5, -2))
    assert law.formula == "y = 0.52 - 3.1 log x [-4.5, -2.0]"
    law = dataclasses.replace(law, name="exponential", b=2e-9, b_interval=(1e-9, 3e-9))
    assert law.formula == "y = 0.52 exp(2.0e-9 x) [1.0e-9, 3.0e-9]"


def test_an_exponential_may_start_anywhere_and_far_from_zero():
    x = np.array([-3.0, 0.0, 1.0, 2.0, 5.0])
    found = fit_laws(x, 2 * np.exp(-x), laws=["exponential"])
    np.testing.assert_allclose([found.best.a, found.best.b], [2, -1])
    far = fit_laws(x + 5000, np.exp(-x), laws=["exponential"]).best
    assert far.a == math.inf
    np.testing.assert_allclose(far(x + 5000), np.exp(-x), rtol=1e-9)


def test_columns_of_a_table_are_accepted():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"d": [10, 100, 1000, 10_000], "dist": [1.0, 10.0, 100.0, 1000.0]})
    mixed = table["d"].astype(object)
    assert fit_laws(mixed, table["dist"]).best.b == pytest.approx(1)
    assert fit_powers({"d": mixed}, table["dist"]).exponents == {"d": pytest.approx(1)}


@pytest.mark.parametrize("rows", [1, 4])
def test_products_of_powers_are_least_squares_of_logs(rng, rows):
    d, n, m = (a.ravel() for a in np.meshgrid([10, 100, 1000], [5, 20, 80], [2, 3]))
    d, n, m = (np.repeat(a, rows) for a in (d, n, m))
    y = 3 * d**0.5 / n * m**0.1 * np.exp(0.2 * rng.standard_normal(d.size))
    design = np.column_stack([np.ones(d.size), np.log(d), np.log(n), np.log(m)])
    solution, (left,), *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    found = fit_powers({"d": d, "n": n, "m": m}, y)
    assert found.factor == pytest.approx(np.exp(solution[0]))
    np.testing.assert_allclose(list(found.exponents.values()), solution[1:], rtol=1e-9)
    assert found.r_squared == pytest.approx(1 - left / (np.log(y).var() * y.size))
    for name, (low, high) in found.intervals.items():
        assert low < found.exponents[name] < high
    assert found.factor_interval[0] < found.factor < found.factor_interval[1]
    assert str(found).startswith(f"y = {found.factor:.3g} d^0.")
    assert "R^2" in str(found)


def test_one_variable_is_a_power_law(rng):
    y = scattered(rng)
    law, found = fit_laws(X, y, laws="power").best, fit_powers({"x": X}, y)
    np.testing.assert_allclose([found.factor, found.exponents["x"]], [law.a, law.b], rtol=1e-10)
    np.testing.assert_allclose(found.intervals["x"], law.b_interval, rtol=1e-9)
    np.testing.assert_allclose(found.factor_interval, law.a_interval, rtol=1e-9)


@pytest.mark.parametrize("freedom", [3, 4, 6, 20, 500])
@pytest.mark.parametrize("band", [0.5, 0.9, 0.95])
def test_quantiles_of_student_are_near_those_of_scipy(freedom, band):
    p = 0.5 + 0.5 * band
    assert student(band, freedom) == pytest.approx(
        special.stdtrit(freedom, p) / special.ndtri(p), rel=0.01
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(y=[1.0, 2.0, 0.0]), ValueError, "y must be positive, .*; got 0"),
        (dict(y=[1.0, 2.0, math.inf]), ValueError, "y must be finite, or NaN .*; got an infinity"),
        (dict(y=[1.0, 2.0]), ValueError, "y must have a row for each of x, 3; got 2"),
        (dict(y=["a", "b", "c"]), TypeError, "y must hold real numbers; got dtype <U1"),
        (dict(y=[[1.0, 2.0, 3.0]]), ValueError, r"y must have shape \(rows,\); got \(1, 3\)"),
        (dict(y=[math.nan] * 3), ValueError, "x must take at least two distinct values .*; got 0"),
        (dict(x=[0, 1, 2]), ValueError, "x must be positive, for laws other .*; got 0"),
        (dict(x=[1, 2, math.nan]), ValueError, "x must be finite; got a NaN or an infinity"),
        (dict(x=[2, 2, 2]), ValueError, "x must take at least two distinct values .*; got 1"),
        (dict(x=[True, False, True]), TypeError, "x must hold real numbers; got dtype bool"),
        (dict(laws=("power", "root")), ValueError, "laws must be 'power', .*; got 'root'"),
        (dict(laws=("power", "power")), ValueError, "laws must name each law once; got"),
        (dict(laws=()), ValueError, r"laws must name each law once; got \(\)"),
        (dict(laws=(1,)), TypeError, "laws must be 'power', .*; got 1"),
        (dict(band=1), ValueError, "band must lie strictly between 0 and 1; got 1"),
        (dict(band="wide"), TypeError, "band must be a number; got 'wide'"),
        (dict(resamples=99), ValueError, "resamples must be at least 100; got 99"),
        (dict(seed=-1), ValueError, "seed must be at least 0; got -1"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    good = dict(x=[1, 2, 4], y=[1.0, 2.0, 3.0])
    with pytest.raises(error, match=message):
        fit_laws(**{**good, **change})


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (dict(d=[1, 2, 4, 8], n=[3, 6, 12, 24]), ValueError, "d and n always move together"),
        (
            dict(d=[1, 2, 1, 2], n=[1, 1, 2, 2], m=[1, 2, 2, 4]),
            ValueError,
            "columns must vary independently; d, n and m always move together: leave one out",
        ),
        (dict(d=[1, 2, 4, 8], k=[5, 5, 5, 5]), ValueError, "got the same k in every row"),
        (dict(d=[1, 2, 4, -8]), ValueError, "d must be positive, for a product .*; got -8"),
        (dict(d=[1, 2, 4]), ValueError, "y must have a row for each of d, 3; got 4"),
        (dict(), ValueError, "columns must name at least one variable; got none"),
        ([1, 2, 4, 8], TypeError, r"columns must map names to values; got \[1, 2, 4, 8\]"),
    ],
)
def test_columns_that_have_no_one_answer_are_refused(columns, error, message):
    with pytest.raises(error, match=message):
        fit_powers(columns, [1.0, 2.0, 3.0, 4.0])


def test_no_value_at_all_is_refused():
    with pytest.raises(ValueError, match="y must hold at least one value; all are NaN"):
        fit_powers({"d": [1, 2]}, [math.nan, math.nan])


def test_unknown_laws_are_not_found(rng):
    with pytest.raises(KeyError, match="name must be 'power'; got 'logarithm'"):
        fit_laws(X, scattered(rng), laws="power", resamples=100)["logarithm"]


def test_a_power_is_not_asked_for_at_zero(rng):
    law = fit_laws(X, scattered(rng), laws="power", resamples=100).best
    with pytest.raises(ValueError, match="x must be positive, for the law is a power; got 0"):
        law([0.0, 1.0])


def test_equal_rows_say_nothing_about_scatter():
    """Seeds that are trials of one call share its time in equal parts."""
    x = np.repeat([10.0, 20.0, 40.0, 80.0, 160.0], 4)
    y = np.repeat(np.exp([0.1, -0.05, 0.2, 0.0, 0.15]) * np.log([10, 20, 40, 80, 160]), 4)
    laws = fit_laws(x, y)
    once = fit_laws(x[::4], y[::4])
    assert not laws.told_apart
    for name in laws.support:
        law, alone = (next(law for law in fit.laws if law.name == name) for fit in (laws, once))
        assert law.b_interval[1] > law.b_interval[0]
        assert law.b == pytest.approx(alone.b, rel=1e-9)
