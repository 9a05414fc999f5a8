r"""Means of a study's rows over seeds, by the values of up to three names."""

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

DECADE = 10.0  # quantities that span more than this are averaged and shown on a log scale


@dataclass(frozen=True, kw_only=True)
class Factor:
    r"""A column as a list of different values and the place of every row in it.

    Parameters
    ----------
    name : str
        Name of the column; empty for a factor of one value that stands for none.
    values : tuple of object
        Different values: ascending where all are numbers, else as they come.
    codes : ndarray of shape (rows,), int64
        Index of each row's value.
    numbers : ndarray of shape (values,) or None
        The values where all of them are finite numbers.
    """

    name: str
    values: tuple[Any, ...]
    codes: I64
    numbers: F64 | None


@dataclass(frozen=True, kw_only=True)
class Points:
    r"""Means of one measure over the rows of equal `col`, `hue` and `x`.

    Parameters
    ----------
    x, hue, col : Factor
        What the means are by; `shape` is (values of col, values of hue, values of x).
    y : ndarray of shape (rows,)
        The measure, row by row; rows that are not finite are in no mean.
    group : ndarray of shape (rows,), int64
        Index of each row's mean in the flattened arrays.
    mean, low, high : ndarray of shape `shape`
        Means and the ends of their Student-t intervals, geometric where `log` is true; NaN where
        no row counts, and ends are NaN where only one does.
    runs, counted, stopped : ndarray of shape `shape`, int64
        Number of rows, of those that count, and of those whose value the stop rule set.
    log : bool
        Whether means were taken of logarithms: all values are positive and span a decade.
    """

    x: Factor
    hue: Factor
    col: Factor
    y: F64
    group: I64
    mean: F64
    low: F64
    high: F64
    runs: I64
    counted: I64
    stopped: I64
    log: bool

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Where every row counts."""
        return np.asarray((self.runs > 0) & (self.counted == self.runs))

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Where every row counts, and none has the value that a stop rule set."""
        return np.asarray(self.whole & (self.stopped == 0))

    @property
    def partial(self) -> NDArray[np.bool_]:
        """Where some rows count and some do not."""
        return np.asarray((self.counted > 0) & (self.counted < self.runs))

    @property
    def nothing(self) -> NDArray[np.bool_]:
        """Where there are rows, none of which counts."""
        return np.asarray((self.runs > 0) & (self.counted == 0))


def stop_note(found: Points, y: str) -> str:
    """Say of how many runs the stop rule set the measure; nothing where it set none."""
    count = int(found.stopped.sum())
    return f"the stop rule set {y} in {count} of {found.runs.sum()} runs" if count else ""


def factor(table: pandas.DataFrame, name: str | None) -> Factor:
    r"""Read a column as a factor.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study.
    name : str or None
        A column; None: a factor of one value.

    Returns
    -------
    Factor
        The column's values and the rows' places among them.
    """
    if name is None:
        codes = np.zeros(len(table), dtype=np.int64)
        return Factor(name="", values=(None,), codes=codes, numbers=None)
    column = np.asarray(table[name])
    if column.dtype.kind in "iuf":
        found, codes = np.unique(column, return_inverse=True)  # NaN comes last, once
        values = tuple(found.tolist())
        numbers = found.astype(np.float64) if np.isfinite(found).all() else None
        return Factor(name=name, values=values, codes=codes.astype(np.int64), numbers=numbers)
    seen: dict[Any, int] = {}
    by_identity: dict[int, int] = {}
    first: list[Any] = []
    codes = np.empty(column.size, dtype=np.int64)
    entries = column.tolist()  # kept alive, so that an identity belongs to one object
    for row, value in enumerate(entries):
        place = by_identity.get(id(value))
        if place is None:
            place = by_identity[id(value)] = seen.setdefault(_key(value), len(seen))
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
    """Whether a value is a finite number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    return number and bool(np.isfinite(float(value)))  # type: ignore[arg-type]


def _key(value: Any) -> Any:
    """What two values share exactly when they are the same value."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, (list, tuple)):
        return (type(value), *(_key(entry) for entry in value))
    if isinstance(value, bool) or (isinstance(value, float) and np.isnan(value)):
        return type(value), repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value), *(_key(getattr(value, field.name)) for field in fields(value)))
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return value


def points(
    table: pandas.DataFrame,
    x: str,
    y: str,
    *,
    hue: str | None = None,
    col: str | None = None,
    band: float | None = 0.95,
    roles: tuple[str, str, str, str] = ("x", "y", "hue", "col"),
) -> Points:
    r"""Average a measure over seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study, a row per cell and seed.
    x, y : str
        Columns: what the means are by, and what is averaged.
    hue, col : str or None
        Further columns that the means are by.
    band : float or None
        Coverage of the intervals, in (0, 1); None leaves them out.
    roles : tuple of str
        What the four columns are called in errors.

    Returns
    -------
    Points
        A mean for every value of `x`, `hue` and `col`.

    Raises
    ------
    TypeError
        If `y` does not hold numbers.
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
    shape = tuple(len(one.values) for one in by)
    group = np.asarray(np.ravel_multi_index([one.codes for one in by], shape), dtype=np.int64)
    finite = values[np.isfinite(values)]
    log = bool(finite.size and finite.min() > 0 and finite.max() / DECADE > finite.min())
    runs = np.bincount(group, minlength=int(np.prod(shape)))
    mean, low, high, counted = average(values, group, runs.size, band, log)
    stopped = np.bincount(group[set_by_stop(table, y)], minlength=runs.size)
    return Points(
        x=by[2],
        hue=by[1],
        col=by[0],
        y=values,
        group=group,
        mean=mean.reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
        runs=runs.reshape(shape),
        counted=counted.reshape(shape),
        stopped=stopped.reshape(shape),
        log=log,
    )


def average(
    values: F64, group: I64, groups: int, band: float | None, log: bool
) -> tuple[F64, F64, F64, I64]:
    r"""Average values group by group.

    Parameters
    ----------
    values : ndarray of shape (rows,)
        Values; those that are not finite are left out.
    group : ndarray of shape (rows,), int64
        Group of each value, in 0 .. groups - 1.
    groups : int
        Number of groups.
    band : float or None
        Coverage of the Student-t intervals; None: none.
    log : bool
        Whether means are geometric.

    Returns
    -------
    mean, low, high : ndarray of shape (groups,)
        Means and ends of their intervals; NaN where there is none.
    counted : ndarray of shape (groups,), int64
        Values behind each mean.
    """
    there = np.isfinite(values)
    group, values = group[there], values[there]
    values = np.log10(values) if log else values
    counted = np.bincount(group, minlength=groups)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.bincount(group, values, minlength=groups) / counted
        squares = np.bincount(group, (values - mean[group]) ** 2, minlength=groups)
        half = np.full(groups, np.nan)
        if band is not None:
            half = student_quantile(counted, band) * np.sqrt(squares / (counted - 1) / counted)
            half[counted < 2] = np.nan
        ends = (mean, mean - half, mean + half)
        mean, low, high = (10.0**end if log else end for end in ends)
    return mean, low, high, counted


def depends(table: pandas.DataFrame, name: str, on: Sequence[str]) -> bool:
    r"""Tell whether a column is a function of others within a table.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study.
    name : str
        The column.
    on : sequence of str
        The others.

    Returns
    -------
    bool
        Whether rows that agree in `on` agree in `name`; so for none, whether `name` is constant.
    """
    shown = np.zeros(len(table), dtype=np.int64)
    for other in on:
        codes = factor(table, other).codes
        shown = np.unique(shown * (codes.max() + 1) + codes, return_inverse=True)[1]
    own = factor(table, name)
    pairs = np.unique(shown * len(own.values) + own.codes)
    return bool(pairs.size == np.unique(shown).size)


def refuse_hidden(
    table: pandas.DataFrame, shown: Sequence[str | None], names: Sequence[str]
) -> None:
    r"""Refuse to average over a name that varies and is not shown.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study.
    shown : sequence of str or None
        Names that a figure shows.
    names : sequence of str
        Names that the study varies.

    Raises
    ------
    ValueError
        If one of `names` has several values in rows that agree in all of `shown`.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a list of columns; got {check.show(names)}")
    on = [name for name in shown if name is not None]
    for name in names:
        if not isinstance(name, str) or name not in table.columns:
            raise ValueError(f"names must be columns of the table; got {check.show(name)}")
        if name in on or depends(table, name, on):
            continue
        found = factor(table, name).values
        few = ", ".join(value_labels(found[:6], name, math_text=False))
        more = f", ... {len(found)} values" if len(found) > 6 else ""
        one = repr(found[0]) if isinstance(found[0], (int, float, str)) else "..."
        raise ValueError(
            f"{name} varies too ({few}{more}): use it as hue or col, "
            f"or choose one with where=dict({name}={one})"
        )


def refuse_many(role: str, by: Factor, most: int) -> None:
    r"""Refuse what no figure can show legibly.

    Parameters
    ----------
    role : str
        Argument that names the column.
    by : Factor
        The column.
    most : int
        Values that can be shown.

    Raises
    ------
    ValueError
        If the column has more.
    """
    if len(by.values) > most:
        raise ValueError(
            f"{role} must take at most {most} values; {by.name} has {len(by.values)}: "
            f"choose some with where=dict({by.name}=...)"
        )
