r"""Reads the forms in which users pass the rows of tasks."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from .._support import check
from .._support.types import F64
from ..estimators.samples import I64
from .task_rows import TaskRows

LONG, LISTS, COLUMNS = "rows with task labels", "a list of tasks", "columns of y"
PLAIN_KINDS = "biufSUM"  # kinds of dtypes whose arrays hold labels of one kind
MISSING = ("NoneType", "NAType", "NaTType")  # names of the types of missing labels
# Kinds of labels by type; bool is first, since it is an int in Python.
KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "str": (str,),
    "bytes": (bytes,),
    "datetime64": (np.datetime64,),
}


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of all tasks, the labels of the tasks, and the form in which they came."""

    rows: TaskRows
    labels: NDArray[Any]  # (n,)
    form: str  # LONG, LISTS or COLUMNS


def read(estimator: Any, X: Any, y: Any, tasks: Any) -> Table:
    """Read the arguments of `fit`; set ``n_features_in_`` and ``feature_names_in_``.

    Raises TypeError or ValueError, with one sentence, for arguments that do not fit.
    """
    if is_list_of_tasks(X):
        if tasks is not None:
            raise ValueError("tasks must be left out where X is a list with an array for each task")
        return read_lists(estimator, X, y, reset=True)
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    X = read_features(estimator, X, reset=True)
    if count_axes(y) == 2:
        if tasks is not None:
            raise ValueError("tasks must be left out where each column of y is a task")
        return _read_columns(X, y)
    y = read_responses(y, X.shape[0])
    return read_long(X, y, np.zeros(len(y), np.int64) if tasks is None else tasks)


def read_long(X: Any, y: F64, tasks: Any) -> Table:
    """Read the labels of the tasks of checked rows, and sort the rows by task."""
    labels, number = np.unique(read_labels(tasks, len(y)), return_inverse=True)
    return Table(_in_order(X, number.reshape(-1), y, len(labels)), labels, LONG)


def is_list_of_tasks(X: Any) -> bool:
    """Return whether X is a list or tuple with a matrix for each task."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and count_axes(X[0]) == 2


def count_axes(values: Any) -> int:
    """Return the number of axes of an array of any library, or of nested lists."""
    axes = getattr(values, "ndim", None)
    return int(np.asarray(values).ndim if axes is None else axes)


def read_features(estimator: Any, X: Any, *, reset: bool, least: int = 1) -> Any:
    """Check features: a dense C-contiguous array or a CSR matrix, in float32 or float64."""
    if hasattr(X, "columns"):
        names_of_columns(X, "X")
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_min_samples=least,
        order="C",
    )
    if not isinstance(X, np.ndarray):
        X.sum_duplicates()
        X.sort_indices()
    return X


def read_responses(y: Any, rows: int, name: str = "y") -> F64:
    """Check the responses, one for each row, and return them in float64."""
    y = column_or_1d(y)
    if y.dtype.kind not in "biuf":
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
    if len(y) != rows:
        raise ValueError(f"{name} must have {rows} entries, one for each row of X; got {len(y)}")
    y = y.astype(np.float64)
    if not np.isfinite(y).all():
        raise ValueError(
            f"Input {name} contains NaN or infinity; leave out rows without a response, or pass a "
            "column of y for each task, which may contain NaN"
        )
    return np.asarray(y)


def read_labels(tasks: Any, rows: int) -> NDArray[Any]:
    """Check the labels of the tasks, one for each row, which must be of one kind."""
    try:
        labels = np.asarray(tasks)
        shape = f"the shape {labels.shape}"
    except ValueError:  # raised for nested lists
        labels, shape = np.empty((0, 0)), "lists of different lengths"
    if labels.shape != (rows,):
        raise ValueError(f"tasks must have {rows} labels, one for each row of X; got {shape}")
    if not hasattr(tasks, "dtype") or labels.dtype.kind not in PLAIN_KINDS:
        labels = _unify(list(tasks), labels)
    if labels.dtype.kind in "fM" and np.isnan(labels).any():
        missing = labels[np.isnan(labels)][0]
        raise ValueError(f"tasks must have a label for every row; got {missing}")
    return labels


def _unify(values: list[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Return an array of labels that are all strings, or all numbers of one kind, or all dates."""
    for value in values:
        if type(value).__name__ in MISSING or (isinstance(value, float) and np.isnan(value)):
            raise ValueError(f"tasks must have a label for every row; got {value}")
    kinds = sorted({_kind_of(value) for value in values})
    if len(kinds) > 1:
        raise TypeError(f"tasks must have labels of one kind; got {check.words(kinds, 'and')}")
    if kinds[0] not in KINDS:
        raise TypeError(
            f"tasks must have labels that are strings, numbers or datetime64; got {kinds[0]}"
        )
    if kinds[0] == "int":
        with suppress(OverflowError):  # integers that int64 cannot hold stay Python's
            return np.array(values, dtype=np.int64)
        return np.array(values, dtype=object)
    return labels if labels.dtype.kind in PLAIN_KINDS else np.array(values)


def show_label(label: Any) -> str:
    """Return a label as messages show it: a date as text, not as the number that stores it."""
    if isinstance(label, np.datetime64):
        return str(label)
    return check.show(label.item() if isinstance(label, np.generic) else label)


def _kind_of(label: Any) -> str:
    """Return the kind of a label, or the name of its type if it is of no kind of `KINDS`."""
    if isinstance(label, np.timedelta64):  # a subclass of np.integer
        return "timedelta64"
    kinds = (kind for kind, types in KINDS.items() if isinstance(label, types))
    return next(kinds, type(label).__name__)


def _in_order(X: Any, number: I64, y: F64, n: int) -> TaskRows:
    """Sort rows by the numbers of their tasks; the order of rows within a task is kept."""
    order = np.argsort(number, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=n))])
    return TaskRows(X, order, offsets, y[order])


def read_lists(estimator: Any, X: Any, y: Any, *, reset: bool) -> Table:
    """Read lists of features and of responses, an array for each task; copy the features."""
    if not isinstance(y, (list, tuple)) or len(y) != len(X):
        got = len(y) if isinstance(y, (list, tuple)) else check.show(y)
        raise ValueError(f"y must be a list of {len(X)} arrays, one for each task of X; got {got}")
    features, responses = [], []
    for i, (task, values) in enumerate(zip(X, y, strict=True)):
        if not np.shape(task)[0]:
            raise ValueError(f"task {i} must have at least one row; X[{i}] has none")
        features.append(read_features(estimator, task, reset=reset and i == 0))
        responses.append(read_responses(values, features[-1].shape[0], f"y[{i}]"))
    sizes = [task.shape[0] for task in features]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows = TaskRows(stack(features), np.arange(offsets[-1]), offsets, np.concatenate(responses))
    return Table(rows, np.arange(len(X)), LISTS)


def stack(parts: list[Any]) -> Any:
    """Stack matrices of features below one another: sparse if one of them is."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    from scipy.sparse import vstack  # noqa: PLC0415

    return vstack(parts, format="csr")


def names_of_columns(table: Any, name: str = "y") -> NDArray[Any]:
    """Return the names of the columns of a data frame, which must differ, or their numbers."""
    if not hasattr(table, "columns"):
        return np.arange(np.shape(table)[1])
    names = np.asarray(table.columns)
    repeated = [column for column, times in Counter(names.tolist()).items() if times > 1]
    if repeated:
        raise ValueError(
            f"the columns of {name} must have different names; {repeated[0]!r} is repeated"
        )
    return names


def _read_columns(X: Any, Y: Any) -> Table:
    """Read a table of responses whose columns are tasks and whose NaN are missing values."""
    names = names_of_columns(Y)
    Y = check_array(Y, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
    if len(Y) != X.shape[0]:
        raise ValueError(f"y must have {X.shape[0]} rows, as X has; got {len(Y)}")
    measured = ~np.isnan(Y)
    empty = np.flatnonzero(~measured.any(axis=0))
    if len(empty):
        which = "all are" if len(empty) == Y.shape[1] else f"column {names[empty[0]]!s} is"
        raise ValueError(
            f"every column of y must have a value that is not NaN; {which} NaN throughout"
        )
    number, order = np.nonzero(measured.T)
    offsets = np.concatenate([[0], np.cumsum(measured.sum(axis=0))])
    return Table(TaskRows(X, order, offsets, Y[order, number]), names, COLUMNS)
