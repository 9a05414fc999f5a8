r"""Checks of arguments before they reach compiled code.

A check returns the checked value, converted to another type if the docstring of the check says so.
An error message is one sentence that names the argument, what was expected and what was given. A
wrong kind or dtype raises TypeError; a wrong shape, value or memory layout raises ValueError.
"""

from __future__ import annotations

import difflib
import math
import mmap
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._load import core
from . import cpus
from .types import F64

# Hint for a caller who passed the attribute `B` of a result, which is None after a run in
# coordinates.
NO_B = ": a run in coordinates has no B at full size; use full_B() of its result"
LONGEST_RANGE = 10**6  # longest range that is converted to an array
PLAIN = {bool, int, float, complex, str, bytes, type(None)}
"""Types whose values have neither a mask nor a unit."""

# Each set holds synonyms: an argument's name in this package, and its names in other packages.
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
T = TypeVar("T")

# Largest entry of |B^T B - I| that counts as rounding, by the dtype in which the columns of B were
# made orthonormal.
ORTHONORMAL_TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}


def cache_check(check: Callable[..., T]) -> Callable[..., T]:
    """Decorate a check so that it runs only once for arguments that have equal values and types.

    Exceptions are not cached. If an argument has no hash, the check runs at every call.
    """
    cached = lru_cache(maxsize=128, typed=True)(check)

    @wraps(check)
    def call(*arguments: Any, **named: Any) -> T:
        try:
            return cached(*arguments, **named)
        except TypeError:  # raised by the check, or for an argument without a hash
            pass
        return check(*arguments, **named)

    return call


def show(value: object) -> str:
    """Describe the value of a refused argument in a short text."""
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
    """Join quoted names as in a sentence, for example to "'a', 'b' or 'c'"."""
    quoted = [f"{name!r}" for name in names]
    return f" {conjunction} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def near(name: str, accepted: Iterable[str]) -> list[str]:
    """Return the accepted names that a wrong name may mean: its synonyms, or a similar spelling."""
    names = [known for known in accepted if known != name]
    for group in ALIKE:
        if name in group and not group.isdisjoint(names):
            return [known for known in names if known in group]
    return difflib.get_close_matches(name, names, 1)


def meant(name: str, accepted: Iterable[str]) -> str:
    """Return a question that suggests the accepted names near `name`; "" if no name is near."""
    close = near(name, accepted)
    return f"did you mean {words(close)}?" if close else ""


def integer(name: str, value: object, least: int = 0, most: int | None = None) -> int:
    """Check that a value is an integer, not a bool, within bounds; return it as an int."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer; got {show(value)}")
    number = operator.index(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}; got {show(number)}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}; got {show(number)}")
    return number


def real(name: str, value: object, least: float = 0.0, most: float = math.inf) -> float:
    """Check that a value is a finite number, not a bool, within bounds; return it as a float."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a number; got {show(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        open_ended = "finite" if least == -math.inf else f"finite and at least {least:g}"
        bounds = open_ended if most == math.inf else f"between {least:g} and {most:g}"
        raise ValueError(f"{name} must be {bounds}; got {number:g}")
    return number


def positive(name: str, value: object) -> float:
    """Check that a value is a finite number above 0, not a bool; return it as a float."""
    number = real(name, value, -math.inf)
    if number <= 0:
        raise ValueError(f"{name} must be positive; got {number:g}")
    return number


def flag(name: str, value: object) -> bool:
    """Check that a value is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {show(value)}")
    return bool(value)


def choice(name: str, value: object, accepted: Sequence[str]) -> str:
    """Check that a value is one of the accepted words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {words(accepted)}; got {show(value)}")
    if value not in accepted:
        raise ValueError(f"{name} must be {words(accepted)}; got {show(value)}")
    return value


def path(name: str, value: object) -> str:
    """Check a path; return the path as text, with a leading ``~`` replaced by the home folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path; got {show(value)}")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path in text; got {show(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must be text without zero bytes, not empty; got {show(text)}")
    return os.path.expanduser(text)


def threads(value: object) -> int:
    """Check a number of threads; None means the CPUs of this process, at most OpenMP's limit."""
    return cpus.default_threads() if value is None else integer("threads", value, 1, 4096)


def float_dtype(name: str, value: object) -> np.dtype[Any]:
    """Check that a dtype, a type or a name means float32 or float64; return the dtype."""
    try:
        dtype = np.dtype(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        dtype = None
    if value is None or dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64; got {show(value)}")
    checked: np.dtype[Any] = np.dtype(dtype)
    return checked


def shape(name: str, array: NDArray[Any], expected: Shape) -> None:
    """Check the shape of an array; a letter in the expected shape stands for any size."""
    fits = array.ndim == len(expected) and all(
        isinstance(want, str) or got == want
        for got, want in zip(array.shape, expected, strict=False)
    )
    if not fits:
        sizes = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{name} must have shape ({sizes}); got {array.shape}")


def _sizes(expected: Shape) -> list[int]:
    """Convert an expected shape for the core: a letter, which stands for any size, becomes -1."""
    # Sizes are bounded so that they fit the core's integers; no array has 2^62 rows.
    return [-1 if isinstance(size, str) else min(size, 2**62) for size in expected]


def _unit(value: object) -> object:
    """Return the physical unit of a quantity; None if the value is not a quantity.

    Libraries of quantities are not imported. A value is a quantity if the value, its class or its
    dtype has an attribute `unit` or `units` that is not None; this is so in the libraries Astropy,
    Pint, unyt and quantities. Attributes are looked up only in the class and in the dictionary of
    the value, because the column labels of a table of pandas are attributes of the table too.
    """
    try:
        dtype = getattr(value, "dtype", None)
    except Exception:  # for example, a closed dataset raises an error
        dtype = None
    for owner in (value, dtype):
        for name in ("unit", "units"):
            if hasattr(type(owner), name) or name in getattr(owner, "__dict__", ()):
                return getattr(owner, name, None)
    return None


def _hidden(array: NDArray[Any]) -> int:
    """Count the values that the mask of an array hides; 0 if the array has no mask."""
    mask = getattr(array, "mask", None)
    return int(np.count_nonzero(mask)) if isinstance(mask, (np.ndarray, np.bool_)) else 0


def bare(name: str, value: Any, *, gaps: bool = False) -> Any:
    """Remove a mask that hides no value, without a copy; return a value without a mask unchanged.

    A hidden value is a missing value: it raises ValueError, or becomes NaN if `gaps` is true. A
    quantity with a physical unit raises TypeError.
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
    # The array under a mask may be memory-mapped, or have a unit.
    return bare(name, value.data) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)


def rectangular(name: str, value: ArrayLike, *, gaps: bool = False) -> NDArray[Any]:
    """Convert an array_like to an array of any dtype; if `gaps`, masked values become NaN."""
    if isinstance(value, range) and value[LONGEST_RANGE:]:  # ranges in files may be of any length
        raise ValueError(f"{name} must be an array; got {show(value)}")
    bare_value = bare(name, value, gaps=gaps)
    if isinstance(bare_value, (list, tuple)):
        bare_value = _items(name, bare_value, gaps)
    try:
        array = convert(bare_value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a rectangular array; got {show(value)}") from error
    return np.asarray(bare(name, array, gaps=gaps))


def convert(value: Any) -> NDArray[Any]:
    """Convert a value to an array; the array keeps the mask or the unit of the value."""
    if hasattr(type(value), "__dask_graph__"):  # Dask's own conversion would drop a mask
        value = value.compute()
    return np.asanyarray(value)


def _items(name: str, value: Sequence[Any], gaps: bool) -> Sequence[Any]:
    """Convert the items of a list one by one if NumPy would drop their masks or units."""
    kinds = set(map(type, value))
    if kinds <= PLAIN or all(kind in PLAIN or issubclass(kind, np.generic) for kind in kinds):
        return value
    try:
        return [rectangular(name, item, gaps=gaps) for item in value]
    except RecursionError:
        raise ValueError(f"{name} must be a rectangular array; got {show(value)}") from None


def reals(name: str, value: ArrayLike) -> F64:
    """Copy an array_like of real numbers to a C-contiguous float64 array."""
    array = rectangular(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    return np.array(array, dtype=np.float64, order="C")


def small(name: str, value: ArrayLike, expected: Shape) -> F64:
    """Copy a small array_like of finite real numbers to a float64 array of the expected shape."""
    if core.is_plain_small(value, _sizes(expected)):
        return np.array(value, dtype=np.float64)
    array = reals(name, value)
    shape(name, array, expected)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it holds a NaN or an infinity")
    return array


def floats(name: str, value: object, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Check, without a copy, an aligned array of `dtype`; None stands for float32 or float64."""
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


def in_file(name: str, array: NDArray[Any]) -> bool:
    """Return whether an array is memory-mapped; raise ValueError if its file was truncated.

    To read beyond the end of a truncated file would end the process with a signal.
    """
    owner: Any = array
    while owner is not None and getattr(owner, "_mmap", None) is None:
        owner = getattr(owner, "base", None)
    if owner is None:
        return False
    offset = owner.offset or 0
    needed = offset - offset % mmap.ALLOCATIONGRANULARITY + len(owner._mmap)
    size = owner._mmap.size()  # size of the file, not of the map
    if size < needed:
        raise ValueError(
            f"{name} must lie in a file of at least {needed} bytes as long as it is in use; "
            f"its file has {size} now"
        )
    return True


def matrix(
    name: str, value: object, expected: Shape, dtype: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """Check, without a copy, a large C-contiguous matrix that has one row per feature."""
    if dtype is None and core.is_plain_matrix(value, *_sizes(expected)):
        return value  # type: ignore[return-value]
    array = floats(name, value, dtype)
    shape(name, array, expected)
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous (row after row); got strides {array.strides}: "
            f"use np.ascontiguousarray({name})"
        )
    return array


def finite(name: str, array: NDArray[Any], workers: int, hint: str = "") -> None:
    """Raise ValueError if an array contains NaN or infinity; the array is read once."""
    if not core.all_finite(array, workers):
        raise ValueError(f"{name} must be finite; it holds a NaN or an infinity{hint}")


def orthonormal(name: str, array: NDArray[Any], workers: int) -> None:
    """Raise ValueError unless the columns of an array are orthonormal up to rounding."""
    deviation(name, array.dtype, core.deviation(array, workers))


def deviation(name: str, dtype: np.dtype[Any], largest: float) -> None:
    """Raise ValueError unless the largest entry of |B^T B - I| is one of rounding."""
    if not largest <= ORTHONORMAL_TOLERANCE[dtype]:
        raise ValueError(
            f"{name} must have orthonormal columns; the largest entry of |{name}^T {name} - I| is "
            f"{largest:.2g}: use np.linalg.qr({name})[0]"
        )


def lengths(name: str, coordinates: F64) -> None:
    """Raise ValueError if the coordinates of B overflowed, which entries of B near 1e308 cause."""
    if not np.isfinite(coordinates).all():
        raise ValueError(f"{name} must have columns of lengths that double precision holds")


def full_rank(name: str, coordinates: F64) -> None:
    """Raise ValueError unless B has full column rank; `coordinates` are those of B in a basis.

    First the columns are scaled to equal length, so that a short column counts as much as a long
    column.
    """
    lengths(name, coordinates)
    length = np.abs(coordinates).max(axis=0, initial=0.0)
    values = np.linalg.svd(coordinates / np.where(length > 0.0, length, 1.0), compute_uv=False)
    columns = coordinates.shape[1]
    least = values.max(initial=0.0) * columns * 4 * np.finfo(np.float64).eps
    rank = int((values > least).sum())
    if rank < columns:
        raise ValueError(f"{name} must have full column rank, {columns}; its rank is {rank}")


def rows(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError unless an array is contiguous along its last axis."""
    if array.size and array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
        raise ValueError(
            f"{name} must be contiguous along its last axis; got strides {array.strides}: "
            f"use np.ascontiguousarray({name})"
        )


def per_task(
    name: str, value: object, ndim: int, dtype: np.dtype[Any] | None
) -> NDArray[Any] | tuple[NDArray[Any], ...]:
    """Check an array with an axis of tasks, or a list of arrays of tasks; arrays are not copied."""
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
    """Check, without a copy, the array of one task, which has `ndim` - 1 axes."""
    array = floats(name, value, dtype)
    shape(name, array, ("m", "d")[: ndim - 1])
    rows(name, array)
    return array
