r"""Averages a measure over seeds, for each combination of values of up to three columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._support import check
from ..._support.types import F64, I64
from ...runs.summary import student_quantile
from ..design.stopping import set_by_stop
from .labels import value_labels

if TYPE_CHECKING:
    import pandas

DECADE = 10.0  # if positive values span a larger ratio, means are geometric and scales logarithmic


@dataclass(frozen=True, kw_only=True)
class Factor:
    r"""The distinct values of a column, and for each row of the table the index of its value.

    Parameters
    ----------
    name : str
        Name of the column; empty if there is no column and all rows have one value.
    values : tuple of object
        The distinct values, in ascending order if all of them are numbers, otherwise in the order
        in which they appear.
    codes : ndarray of shape (rows,), int64
        For each row, the index of its value.
    numbers : ndarray of shape (values,) or None
        The distinct values as numbers; None if some value is not a finite number.
    """

    name: str
    values: tuple[Any, ...]
    codes: I64
    numbers: F64 | None


@dataclass(frozen=True, kw_only=True)
class Points:
    r"""Means of one measure over the rows that have equal values of `col`, `hue` and `x`.

    Each mean is a point of a figure. Arrays of points have the shape (values of col, values of hue,
    values of x), which is called `shape` below.

    Parameters
    ----------
    x, hue, col : Factor
        The three columns whose values group the rows.
    y : ndarray of shape (rows,)
        The value of the measure in each row. A row whose value is not finite does not count.
    point : ndarray of shape (rows,), int64
        For each row, the index of its point in an array of points that is flattened.
    mean, low, high : ndarray of shape `shape`
        For each point, the mean and the ends of its Student-t interval; the mean is geometric if
        `log` is true. The mean is NaN if no row of the point counts, and the ends are NaN if fewer
        than two rows count.
    runs, counted, stopped : ndarray of shape `shape`, int64
        For each point, the number of its rows, the number of rows that count, and the number of
        rows whose value the end of the run determined.
    log : bool
        Whether means are geometric and the y axis is logarithmic.
    """

    x: Factor
    hue: Factor
    col: Factor
    y: F64
    point: I64
    mean: F64
    low: F64
    high: F64
    runs: I64
    counted: I64
    stopped: I64
    log: bool

    @property
    def whole(self) -> NDArray[np.bool_]:
        """For each point, whether all its rows count."""
        return np.asarray((self.runs > 0) & (self.counted == self.runs))

    @property
    def settled(self) -> NDArray[np.bool_]:
        """For each point, whether fits use it: all rows count, and no end of a run set a value."""
        return np.asarray(self.whole & (self.stopped == 0))

    @property
    def partial(self) -> NDArray[np.bool_]:
        """For each point, whether some of its rows count and others do not."""
        return np.asarray((self.counted > 0) & (self.counted < self.runs))

    @property
    def nothing(self) -> NDArray[np.bool_]:
        """For each point, whether it has rows of which none counts."""
        return np.asarray((self.runs > 0) & (self.counted == 0))


def stop_note(points: Points, y: str) -> str:
    """Return a note on how many values of `y` the end of the run determined; empty if none."""
    count = int(points.stopped.sum())
    return f"the end of the run set {y} in {count} of {points.runs.sum()} runs" if count else ""


def factor(table: pandas.DataFrame, name: str | None) -> Factor:
    r"""Find the distinct values of a column, and for each row the index of its value.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study.
    name : str or None
        Name of the column. None: all rows have the same value.

    Returns
    -------
    Factor
        The distinct values, and for each row the index of its value.
    """
    if name is None:
        codes = np.zeros(len(table), dtype=np.int64)
        return Factor(name="", values=(None,), codes=codes, numbers=None)
    column = np.asarray(table[name])
    if column.dtype.kind in "iuf":
        distinct, codes = np.unique(column, return_inverse=True)  # NaN comes last, as one value
        values = tuple(distinct.tolist())
        numbers = distinct.astype(np.float64) if np.isfinite(distinct).all() else None
        return Factor(name=name, values=values, codes=codes.astype(np.int64), numbers=numbers)
    # Values may be objects. Equal objects count as one value, even if they cannot be hashed. The
    # object in most rows is also in an earlier row, so a look-up by identity makes most comparisons
    # unnecessary.
    seen: dict[Any, int] = {}
    by_identity: dict[int, int] = {}
    first: list[Any] = []
    codes = np.empty(column.size, dtype=np.int64)
    entries = column.tolist()  # keeps objects alive, so that no id is used twice
    for row, value in enumerate(entries):
        place = by_identity.get(id(value))
        if place is None:
            place = by_identity[id(value)] = seen.setdefault(_hashable(value), len(seen))
            if place == len(first):
                first.append(value)
        codes[row] = place
    if not all(_is_number(value) for value in first):
        return Factor(name=name, values=tuple(first), codes=codes, numbers=None)
    order = np.argsort(np.array(first, dtype=np.float64), kind="stable")
    rank = np.argsort(order)
    values = tuple(first[i] for i in order)
    numbers = np.array(values, dtype=np.float64)
    return Factor(name=name, values=values, codes=rank[codes], numbers=numbers)


def _is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    return number and bool(np.isfinite(float(value)))  # type: ignore[arg-type]


def _hashable(value: Any) -> Any:
    """Return a hashable object for a value; unequal values have unequal hashable objects."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, (list, tuple)):
        return (type(value), *(_hashable(entry) for entry in value))
    if isinstance(value, bool) or (isinstance(value, float) and np.isnan(value)):
        return type(value), repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value), *(_hashable(getattr(value, field.name)) for field in fields(value)))
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return value


def make_points(
    table: pandas.DataFrame,
    x: str,
    y: str,
    *,
    hue: str | None = None,
    col: str | None = None,
    band: float | None = 0.95,
    log: bool | None = None,
    roles: tuple[str, str, str, str] = ("x", "y", "hue", "col"),
) -> Points:
    r"""Average a measure over seeds, for each combination of values of `x`, `hue` and `col`.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study, a row per cell and seed.
    x, y : str
        Names of two columns: the values of `x` group the rows, and `y` is the measure.
    hue, col : str or None
        Names of further columns whose values group the rows.
    band : float or None
        Coverage of the intervals, in (0, 1); None: no intervals.
    log : bool or None
        Whether means are geometric. None: means are geometric if all values are positive and span
        more than a decade.
    roles : tuple of str
        Names by which error messages refer to the four arguments.

    Returns
    -------
    Points
        The means, with one point for each combination of values of `x`, `hue` and `col`.

    Raises
    ------
    TypeError
        If `table` is not a DataFrame, or if the column `y` does not hold numbers.
    ValueError
        If a column is missing, the table is empty, or `band` is not a probability.
    """
    if band is not None and not 0.0 < check.real("band", band) < 1.0:
        raise ValueError(f"band must be None or lie between 0 and 1; got {band!r}")
    if not (hasattr(table, "columns") and hasattr(table, "iloc")):
        raise TypeError(f"table must be a pandas.DataFrame; got {check.show(table)}")
    if not len(table):
        raise ValueError("table must hold at least one row; got none")
    for role, name in zip(roles, (x, y, hue, col), strict=True):
        if name is None and role in roles[2:]:
            continue
        if not isinstance(name, str) or name not in table.columns:
            known = ", ".join(str(column) for column in table.columns)
            raise ValueError(f"{role} must be one of the columns ({known}); got {check.show(name)}")
    try:
        values = np.asarray(table[y], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{roles[1]} must be a column of numbers; {y!r} holds others") from error
    by = [factor(table, name) for name in (col, hue, x)]
    shape = tuple(len(column.values) for column in by)
    index = np.ravel_multi_index([column.codes for column in by], shape)
    point = np.asarray(index, dtype=np.int64)
    finite = values[np.isfinite(values)]
    if log is None:
        log = bool(finite.size and finite.min() > 0 and finite.max() / DECADE > finite.min())
    runs = np.bincount(point, minlength=int(np.prod(shape)))
    mean, low, high, counted = average(values, point, runs.size, band, log)
    stopped = np.bincount(point[set_by_stop(table, y)], minlength=runs.size)
    return Points(
        x=by[2],
        hue=by[1],
        col=by[0],
        y=values,
        point=point,
        mean=mean.reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
        runs=runs.reshape(shape),
        counted=counted.reshape(shape),
        stopped=stopped.reshape(shape),
        log=log,
    )


def average(
    values: F64, index: I64, count: int, band: float | None, log: bool
) -> tuple[F64, F64, F64, I64]:
    r"""Average values in groups; an index for each value gives its group.

    Parameters
    ----------
    values : ndarray of shape (rows,)
        Values to average; values that are not finite are left out.
    index : ndarray of shape (rows,), int64
        For each value, the index of its group, in 0 .. count - 1.
    count : int
        Number of groups.
    band : float or None
        Coverage of the Student-t intervals; None: no intervals.
    log : bool
        Whether means are geometric.

    Returns
    -------
    mean, low, high : ndarray of shape (count,)
        Mean of each group, and the ends of the interval of this mean; NaN where undefined.
    counted : ndarray of shape (count,), int64
        Number of values over which the mean of each group is taken.
    """
    finite = np.isfinite(values)
    index, values = index[finite], values[finite]
    values = np.log10(values) if log else values
    counted = np.bincount(index, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.bincount(index, values, minlength=count) / counted
        squares = np.bincount(index, (values - mean[index]) ** 2, minlength=count)
        half = np.full(count, np.nan)
        if band is not None:
            half = student_quantile(counted, band) * np.sqrt(squares / (counted - 1) / counted)
            half[counted < 2] = np.nan
        ends = (mean, mean - half, mean + half)
        mean, low, high = (10.0**end if log else end for end in ends)
    return mean, low, high, counted


def is_function_of(table: pandas.DataFrame, name: str, on: Sequence[str]) -> bool:
    r"""Tell whether the values of other columns determine the value of a column.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study.
    name : str
        Name of the column.
    on : sequence of str
        Names of the other columns.

    Returns
    -------
    bool
        True if any two rows with equal values in all columns `on` have equal values in the column
        `name`. If `on` is empty, true if the column `name` is constant.
    """
    shown = np.zeros(len(table), dtype=np.int64)
    for other in on:
        codes = factor(table, other).codes
        shown = np.unique(shown * (codes.max() + 1) + codes, return_inverse=True)[1]
    column = factor(table, name)
    pairs = np.unique(shown * len(column.values) + column.codes)
    return bool(pairs.size == np.unique(shown).size)


def refuse_hidden(
    table: pandas.DataFrame, shown: Sequence[str | None], names: Sequence[str]
) -> None:
    r"""Raise an error if a figure would average over a name that varies but is not shown.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study.
    shown : sequence of str or None
        Names that a figure shows.
    names : sequence of str
        Names that the study varies.

    Raises
    ------
    TypeError
        If `names` is not a list.
    ValueError
        If one of `names` is not a column, or if rows with equal values of all `shown` names have
        different values of one of `names`.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a list of columns; got {check.show(names)}")
    on = [name for name in shown if name is not None]
    for name in names:
        if not isinstance(name, str) or name not in table.columns:
            raise ValueError(f"names must be columns of the table; got {check.show(name)}")
        if name in on or is_function_of(table, name, on):
            continue
        values = factor(table, name).values
        few = ", ".join(value_labels(values[:6], name, math_text=False))
        more = f", ... {len(values)} values" if len(values) > 6 else ""
        first = repr(values[0]) if isinstance(values[0], (int, float, str)) else "..."
        raise ValueError(
            f"{name} varies too ({few}{more}): use it as hue or col, "
            f"or choose one with where=dict({name}={first})"
        )


def refuse_many(role: str, by: Factor, most: int) -> None:
    r"""Raise ValueError if a column has more values than a figure can show legibly.

    Parameters
    ----------
    role : str
        Name of the argument that gives the column; the error message uses this name.
    by : Factor
        Distinct values of the column.
    most : int
        Largest number of values that can be shown.

    Raises
    ------
    ValueError
        If the column has more than `most` values.
    """
    if len(by.values) > most:
        raise ValueError(
            f"{role} must take at most {most} values; {by.name} has {len(by.values)}: "
            f"choose some with where=dict({by.name}=...)"
        )
