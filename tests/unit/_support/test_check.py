"""Values that the checks of arguments accept and refuse; tests/boundary tests the messages."""

import numpy as np
import pytest

from metaspan._support import check as _check


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.int64(3)])
def test_integers_of_every_kind_become_int(value):
    assert _check.integer("n", value) == 3
    assert type(_check.integer("n", value)) is int


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5)])
def test_numbers_of_every_kind_become_float(value):
    assert type(_check.real("x", value)) is float


@pytest.mark.parametrize("value", [True, np.True_, "3", 3.0, None, np.array(3)])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match="n must be an integer"):
        _check.integer("n", value)


@pytest.mark.parametrize("value", [True, np.False_, "0.1", None, 1j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="x must be a number"):
        _check.real("x", value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-300])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="x must be finite and at least 0"):
        _check.real("x", value)


def test_bounds_are_inclusive():
    assert _check.integer("n", 1, 1, 1) == 1
    assert _check.real("x", 0.0, 0.0, 1.0) == 0.0
    with pytest.raises(ValueError, match="n must be at most 1; got 2"):
        _check.integer("n", 2, 1, 1)
    with pytest.raises(ValueError, match=r"x must be between 0 and 1; got 1\.5"):
        _check.real("x", 1.5, 0.0, 1.0)


def test_shape_shows_vectors_as_python_does():
    with pytest.raises(ValueError, match=r"w must have shape \(3,\); got \(2, 2\)"):
        _check.shape("w", np.ones((2, 2)), (3,))


def test_small_arrays_are_copied_and_converted():
    given = np.arange(3, dtype=np.float32)[::-1]
    found = _check.small("w", given, ("k",))
    assert found.dtype == np.float64
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, given)


def test_large_arrays_are_used_where_they_lie():
    for array in (np.ones((4, 2)), np.ones((4, 2), np.float32), np.ones((1, 5))):
        assert _check.matrix("B", array, ("d", "k")) is array


def test_rows_of_one_feature_have_any_stride():
    X = np.ones((3, 4, 6))[:, :, :1]
    assert _check.per_task("X", X, 3, None) is X


@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype("f4")])
def test_dtypes_in_every_spelling(dtype):
    assert _check.float_dtype("dtype", dtype) in (np.float32, np.float64)


@pytest.mark.parametrize("dtype", ["float16", int, "no such", None, complex])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        _check.float_dtype("dtype", dtype)


def test_orthonormality_allows_for_rounding_in_the_dtype(rng):
    Q = np.linalg.qr(rng.standard_normal((500, 6)))[0]
    _check.orthonormal("B_star", Q, 1)
    _check.orthonormal("B_star", Q.astype(np.float32), 1)
    with pytest.raises(ValueError, match=r"B_star must have orthonormal columns.*1e-08"):
        _check.orthonormal("B_star", Q * (1 + 5e-9), 1)


def test_values_are_shown_on_one_short_line():
    assert _check.show(np.ones((2, 3))) == "an array of shape (2, 3) and dtype float64"
    assert len(_check.show("x" * 1000)) == 60
    assert "\n" not in _check.show([np.ones((2, 2))])
    assert _check.words(["a"]) == "'a'"
    assert _check.words(["a", "b", "c"]) == "'a', 'b' or 'c'"
