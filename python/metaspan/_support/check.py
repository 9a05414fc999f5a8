r"""Checks of arguments before they cross into compiled code, and what they say when they fail.

Every message is one sentence: the argument, what was expected, what came. Kind and dtype raise
TypeError; shape, value and layout raise ValueError.
"""

from __future__ import annotations

import difflib
import math
import mmap
import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._load import core
from . import cpus
from .types import F64

# What to do where r.B of a run is None.
NO_B = ": a run in coordinates has no B of its own; use full_B() of its result"
LONGEST_RANGE = 10**6  # that stands for an array
PLAIN = {bool, int, float, complex, str, bytes, type(None)}
"""Kinds of items that have neither a mask nor a unit."""

# Names of one meaning, here or elsewhere: arguments of the package, and what they are taken for.
ALIKE = [
    frozenset(group.split())
    for group in (
        "alpha inner_lr inner_step_size",
        "beta lr learning_rate outer_lr meta_lr",
        "inner_steps n_steps num_steps steps adaptation_steps",
        "rounds epochs iterations iters n_iter max_iter n_rounds num_rounds outer_steps",
        "n n_tasks num_tasks tasks_per_round batch_size meta_batch_size",
        "m m_in m_out samples n_samples shots",
        "m_in n_support support_size",
        "m_out n_query query_size",
        "width k rank n_components",
        "trials repeats repetitions n_trials seeds",
        "seed random_state rng",
        "threads n_jobs n_threads num_threads workers",
        "record metrics log",
        "progress verbose",
        "stop tol tolerance",
        "init B0 start",
    )
]

Shape = tuple[int | str, ...]

# Largest entry of |B^T B - I| that rounding explains, for columns made orthonormal in that dtype.
ORTHONORMAL_TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def show(value: object) -> str:
    """A short text for a value that was not accepted."""
    if isinstance(value, np.ndarray):
        if value.ndim == 0 and _hidden(value):
            return "a masked value"
        unit = _unit(value)
        end = "" if unit is None else f" with the unit {str(unit) or repr(unit)}"
        return f"an array of shape {value.shape} and dtype {value.dtype}{end}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of too many digits, or an object that cannot be shown
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def words(names: Iterable[str], conjunction: str = "or") -> str:
    """Quoted names as a list in a sentence."""
    quoted = [f"{name!r}" for name in names]
    return f" {conjunction} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def near(name: str, accepted: Iterable[str]) -> list[str]:
    """Accepted names that a name that is not may stand for: of the same meaning, or spelt alike."""
    names = [known for known in accepted if known != name]
    for group in ALIKE:
        if name in group and not group.isdisjoint(names):
            return [known for known in names if known in group]
    return difflib.get_close_matches(name, names, 1)


def meant(name: str, accepted: Iterable[str]) -> str:
    """Ask whether the accepted names near to a name are meant; empty where none is near."""
    close = near(name, accepted)
    return f"did you mean {words(close)}?" if close else ""


def integer(name: str, value: object, least: int = 0, most: int | None = None) -> int:
    """An int or NumPy integer within bounds; bool is not a number here."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer; got {show(value)}")
    number = operator.index(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}; got {show(number)}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}; got {show(number)}")
    return number


def real(name: str, value: object, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number within bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a number; got {show(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        open_ended = f"finite and at least {least:g}"
        bounds = open_ended if most == math.inf else f"between {least:g} and {most:g}"
        raise ValueError(f"{name} must be {bounds}; got {number:g}")
    return number


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {show(value)}")
    return bool(value)


def choice(name: str, value: object, accepted: Sequence[str]) -> str:
    """One of several names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {words(accepted)}; got {show(value)}")
    if value not in accepted:
        raise ValueError(f"{name} must be {words(accepted)}; got {show(value)}")
    return value


def path(name: str, value: object) -> str:
    """Return the name of a file or a folder as text, a leading ``~`` as the user's home."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path; got {show(value)}")
    found = os.fspath(value)
    if not isinstance(found, str):
        raise TypeError(f"{name} must be a path in text; got {show(value)}")
    if not found or "\0" in found:
        raise ValueError(f"{name} must be text without zero bytes, not empty; got {show(found)}")
    return os.path.expanduser(found)


def threads(value: object) -> int:
    """A number of threads; None means the CPUs that this process may use, within OpenMP's limit."""
    return cpus.default_threads() if value is None else integer("threads", value, 1, 4096)


def float_dtype(name: str, value: object) -> np.dtype[Any]:
    """float32 or float64, as a dtype, a type or a name."""
    try:
        dtype = np.dtype(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        dtype = None
    if value is None or dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64; got {show(value)}")
    found: np.dtype[Any] = np.dtype(dtype)
    return found


def shape(name: str, array: NDArray[Any], expected: Shape) -> None:
    """Compare with the expected shape, in which letters stand for sizes that are free."""
    fits = array.ndim == len(expected) and all(
        isinstance(want, str) or got == want
        for got, want in zip(array.shape, expected, strict=False)
    )
    if not fits:
        sizes = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{name} must have shape ({sizes}); got {array.shape}")


def _unit(value: object) -> object:
    """Return the physical unit of a quantity, None for anything else.

    This is the one rule by which quantities are known, without importing the libraries that define
    them: the object, its class or its dtype has an attribute `unit` or `units` that is not None.
    Astropy, Pint, unyt and quantities all do. Only the class and the object's own dictionary are
    searched, since tables of pandas offer their labels as attributes too.
    """
    try:
        dtype = getattr(value, "dtype", None)
    except Exception:  # a dataset that is closed
        dtype = None
    for owner in (value, dtype):
        for name in ("unit", "units"):
            if hasattr(type(owner), name) or name in getattr(owner, "__dict__", ()):
                return getattr(owner, name, None)
    return None


def _hidden(array: NDArray[Any]) -> int:
    """Count the values that the mask of an array hides, if it has one."""
    mask = getattr(array, "mask", None)
    return int(np.count_nonzero(mask)) if isinstance(mask, (np.ndarray, np.bool_)) else 0


def bare(name: str, value: Any, *, gaps: bool = False) -> Any:
    """Strip an array of a mask that hides nothing, without a copy; return anything else as it is.

    A hidden value is a missing one: it raises ValueError, or becomes NaN where `gaps` may be.
    Raises TypeError for a quantity with a physical unit.
    """
    if type(value) is np.ndarray:
        return value
    unit = _unit(value)
    if unit is not None:
        raise TypeError(
            f"{name} must be plain numbers, without a physical unit; "
            f"got {type(value).__name__} with the unit {str(unit) or repr(unit)}"
        )
    if not isinstance(value, np.ndarray) or not hasattr(value, "mask"):
        return value
    hidden = _hidden(value)
    if hidden and not gaps:
        raise ValueError(
            f"{name} must have no missing values; {hidden} of {value.size} are masked: "
            "fill them in, or leave them out"
        )
    if hidden:
        filled = np.array(value, dtype=np.float64)
        filled[value.mask] = np.nan
        return filled
    # What is under a mask may be memory-mapped, or have a unit.
    return bare(name, value.data) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)


def rectangular(name: str, value: ArrayLike, *, gaps: bool = False) -> NDArray[Any]:
    """An array of whatever dtype, from anything that one can be made of; NaN only for `gaps`."""
    if isinstance(value, range) and value[LONGEST_RANGE:]:  # a file may hold one of any length
        raise ValueError(f"{name} must be an array; got {show(value)}")
    given = bare(name, value, gaps=gaps)
    if isinstance(given, (list, tuple)):
        given = _items(name, given, gaps)
    try:
        array = convert(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a rectangular array; got {show(value)}") from error
    return np.asarray(bare(name, array, gaps=gaps))


def convert(value: Any) -> NDArray[Any]:
    """Make an array of a value, masked or with a unit where that is what the value becomes."""
    if hasattr(type(value), "__dask_graph__"):  # Dask itself drops a mask when it converts
        value = value.compute()
    return np.asanyarray(value)


def _items(name: str, value: Sequence[Any], gaps: bool) -> Sequence[Any]:
    """Convert the items of a list that may have masks or units, which the list would drop."""
    kinds = set(map(type, value))
    if kinds <= PLAIN or all(kind in PLAIN or issubclass(kind, np.generic) for kind in kinds):
        return value
    try:
        return [rectangular(name, item, gaps=gaps) for item in value]
    except RecursionError:
        raise ValueError(f"{name} must be a rectangular array; got {show(value)}") from None


def reals(name: str, value: ArrayLike) -> F64:
    """A copy in float64 of anything that holds real numbers."""
    given = rectangular(name, value)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {given.dtype}")
    return np.array(given, dtype=np.float64, order="C")


def small(name: str, value: ArrayLike, expected: Shape) -> F64:
    """A small array of parameters, from anything that holds real numbers: a finite float64 copy."""
    array = reals(name, value)
    shape(name, array, expected)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it holds a NaN or an infinity")
    return array


def floats(name: str, value: object, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """An aligned NumPy array of float32 or float64, of one dtype where that is given; no copy."""
    value = bare(name, value)
    if not isinstance(value, np.ndarray):
        hint = NO_B if value is None and name in ("B", "B0") else ""
        raise TypeError(
            f"{name} must be a NumPy array of float32 or float64; got {show(value)}{hint}"
        )
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} must be float32 or float64 (of the machine's byte order); got {value.dtype}: "
            f"use {name}.astype(np.float64)"
        )
    if dtype is not None and value.dtype != dtype:
        raise TypeError(
            f"{name} must be {dtype}, as the other arrays are; got {value.dtype}: "
            f"use {name}.astype(np.{dtype})"
        )
    if not value.flags.aligned:
        raise ValueError(f"{name} must be aligned in memory: use {name}.copy()")
    in_file(name, value)
    return value


def in_file(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError if a memory-mapped array is longer than its file is now.

    The system answers a read beyond the end of the file with a fatal signal.
    """
    owner: Any = array
    while owner is not None and getattr(owner, "_mmap", None) is None:
        owner = getattr(owner, "base", None)
    if owner is None:
        return
    offset = owner.offset or 0
    needed = offset - offset % mmap.ALLOCATIONGRANULARITY + len(owner._mmap)
    size = owner._mmap.size()  # of the file, not of the map
    if size < needed:
        raise ValueError(
            f"{name} must lie in a file of at least {needed} bytes as long as it is in use; "
            f"its file has {size} now"
        )


def matrix(
    name: str, value: object, expected: Shape, dtype: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """A large matrix with one row per feature, used where it lies."""
    array = floats(name, value, dtype)
    shape(name, array, expected)
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous (row after row); got strides {array.strides}: "
            f"use np.ascontiguousarray({name})"
        )
    return array


def finite(name: str, array: NDArray[Any], workers: int, hint: str = "") -> None:
    """No NaN and no infinity, at the speed of one read."""
    if not core.all_finite(array, workers):
        raise ValueError(f"{name} must be finite; it holds a NaN or an infinity{hint}")


def orthonormal(name: str, array: NDArray[Any], workers: int) -> None:
    """Orthonormal columns, up to the rounding of the dtype."""
    gram = core.gram(array, workers)
    deviation = float(np.abs(gram - np.eye(gram.shape[0])).max(initial=0.0))
    if not deviation <= ORTHONORMAL_TOLERANCE[array.dtype.name]:
        raise ValueError(
            f"{name} must have orthonormal columns; the largest entry of |{name}^T {name} - I| is "
            f"{deviation:.2g}: use np.linalg.qr({name})[0]"
        )


def lengths(name: str, coordinates: F64) -> None:
    """Columns whose lengths are numbers: coordinates of entries near 1e308 may not be."""
    if not np.isfinite(coordinates).all():
        raise ValueError(f"{name} must have columns of lengths that double precision holds")


def full_rank(name: str, coordinates: F64) -> None:
    """Full column rank, from orthonormal coordinates, with all columns at equal length."""
    lengths(name, coordinates)
    length = np.abs(coordinates).max(axis=0, initial=0.0)
    values = np.linalg.svd(coordinates / np.where(length > 0.0, length, 1.0), compute_uv=False)
    columns = coordinates.shape[1]
    least = values.max(initial=0.0) * columns * 4 * np.finfo(np.float64).eps
    rank = int((values > least).sum())
    if rank < columns:
        raise ValueError(f"{name} must have full column rank, {columns}; its rank is {rank}")


def rows(name: str, array: NDArray[Any]) -> None:
    """Contiguous along the last axis; the strides of the others are free."""
    if array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
        raise ValueError(
            f"{name} must be contiguous along its last axis; got strides {array.strides}: "
            f"use np.ascontiguousarray({name})"
        )


def per_task(
    name: str, value: object, ndim: int, dtype: np.dtype[Any] | None
) -> NDArray[Any] | tuple[NDArray[Any], ...]:
    """Data with a leading axis of tasks: one array, or a list with an array per task; no copy."""
    if not isinstance(value, (list, tuple)):
        array = floats(name, value, dtype)
        shape(name, array, ("n", "m", "d")[:ndim])
        rows(name, array)
        return array
    arrays: list[NDArray[Any]] = []
    for i, item in enumerate(value):
        arrays.append(task(f"{name}[{i}]", item, ndim, arrays[0].dtype if arrays else dtype))
    return tuple(arrays)


def task(name: str, value: object, ndim: int, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """One task's part of data with a leading axis of tasks, of `ndim` axes with it; no copy."""
    array = floats(name, value, dtype)
    shape(name, array, ("m", "d")[: ndim - 1])
    rows(name, array)
    return array
