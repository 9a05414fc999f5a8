"""The vector route where it takes the inner loop of ANIL from Z = X B, against the recursion."""

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from data_runs import Case, build, shifted
from matching import gradient_error, reference_method, relative_error
from metaspan._core_types import DataSizes
from metaspan._load import core
from metaspan.methods import core_method

STEPS = 9  # so many that every width below takes features
TASKS = Case(519, 1, 3, (5, 1, 70, 8, 3), (4, 7, 2, 9, 1), shared=(3,))
LONG = Case(33_003, 10, 3, (9, 2, 5), (4, 3, 6))  # pieces of d, and rows longer than 2^18 bytes


def method_of(first_order, steps, d):
    return ms.ANIL(alpha=0.2 / d, inner_steps=steps, first_order=first_order)


def takes_features(case, method, number_bytes=8, **changes):
    """Whether the core counts the features of the inner sets in a round of the vector route."""
    fields = {"d": case.d, "k": case.width, "k_star": 0, "n": 3, "all_tasks": 3}
    fields |= {"m_in": 1000, "m_out": 1, "shared": False, "number_bytes": number_bytes}
    sizes = DataSizes(**(fields | changes))
    features = core.route_costs(core_method(method), sizes, "vector", 1)["round"]
    return any(stage["features"] == 2 * 3000 * case.d * case.width for stage in features)


def gradient_of(given, method, **changes):
    return ms.meta_gradient(given.B, given.w, given.batch, method, route="vector", **changes)


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("width", [*range(1, 17), 31])
def test_every_width_equals_the_recursion(width, first_order):
    case = TASKS._replace(width=width)
    given, method = build(case), method_of(first_order, STEPS, case.d)
    assert takes_features(case, method)
    expected = ref.meta_gradient(given.B, given.w, given.tasks, reference_method(method))
    assert gradient_error(gradient_of(given, method), expected) < 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("first_order", [True, False])
def test_long_rows_equal_the_recursion(first_order, dtype):
    case = LONG if dtype == np.float64 else LONG._replace(d=2 * LONG.d)
    given, method = build(case, dtype=dtype), method_of(first_order, 1, case.d)
    assert takes_features(case, method, np.dtype(dtype).itemsize)
    expected = ref.meta_gradient(given.B, given.w, given.tasks, reference_method(method))
    assert gradient_error(gradient_of(given, method), expected) < 1e-11


@pytest.mark.parametrize("first_order", [True, False])
def test_exact_gradient_is_the_derivative_of_the_losses(first_order):
    """And the losses are those of the adapted heads, with and without features."""
    case = TASKS._replace(width=4)
    given, method = build(case), method_of(first_order, STEPS, case.d)
    found = gradient_of(given, method)
    by_gram = ms.meta_gradient(given.B, given.w, given.batch, method, route="gram")
    for name in ("loss_in", "loss_adapted", "loss_out", "B", "w"):
        assert relative_error(getattr(found, name), getattr(by_gram, name)) < 1e-12


@pytest.mark.parametrize("case", [TASKS._replace(width=7), LONG], ids=["short", "long"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_do_not_change_a_bit(case, dtype):
    given, method = build(case, dtype=dtype), method_of(False, STEPS, case.d)
    one, *others = (gradient_of(given, method, threads=threads) for threads in (1, 2, 4))
    for other in others:
        for name in ("B", "w", "loss_in", "loss_adapted", "loss_out"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


@pytest.mark.parametrize("offset", [8, 24, 56])
def test_the_alignment_of_arrays_does_not_change_a_bit(offset):
    case = TASKS._replace(width=6, shared=())
    given, method = build(case), method_of(False, STEPS, case.d)
    batch = given.batch
    moved = [[shifted(X, offset) for X in sets] for sets in (batch.X_in, batch.X_out)]
    other = ms.TaskBatch(moved[0], list(batch.y_in), moved[1], list(batch.y_out))
    found = gradient_of(given._replace(batch=other), method)
    np.testing.assert_array_equal(found.B, gradient_of(given, method).B)


@pytest.mark.parametrize("first_order", [True, False])
def test_features_of_data_on_disk_have_the_bits_of_those_in_memory(tmp_path, first_order):
    case = TASKS._replace(width=5, m_in=(6,) * 3, m_out=(4,) * 3, shared=())
    given, method = build(case), method_of(first_order, STEPS, case.d)
    X = np.concatenate([given.batch.X_in, given.batch.X_out], axis=1)
    y = np.concatenate([given.batch.y_in, given.batch.y_out], axis=1)
    np.save(tmp_path / "X.npy", X)
    stored = ms.TaskBatch.split(np.load(tmp_path / "X.npy", mmap_mode="r"), y, 6)
    assert stored.on_disk
    found = gradient_of(given._replace(batch=stored), method)
    np.testing.assert_array_equal(found.B, gradient_of(given, method).B)


@pytest.mark.parametrize("first_order", [True, False])
def test_sums_in_single_precision_are_as_close(first_order):
    case = TASKS._replace(width=5)
    given, method = build(case, dtype=np.float32), method_of(first_order, STEPS, case.d)
    single = gradient_of(given, method, accumulate="float32")
    assert relative_error(single.B, gradient_of(given, method).B) < 1e-5


def test_features_are_taken_where_they_pay():
    """Not where B moves, rows are short, B is wide, or X is sparse or generated."""
    wide = TASKS._replace(width=4)
    anil = method_of(True, STEPS, 519)
    assert takes_features(wide, anil)
    assert not takes_features(wide, ms.MAML(inner_steps=STEPS))
    assert not takes_features(wide, method_of(True, 0, 519))
    assert not takes_features(wide, method_of(True, 1, 519))
    assert not takes_features(wide._replace(d=500), anil)
    assert not takes_features(wide._replace(width=100), anil)
    assert not takes_features(wide, anil, entries=50.0)
    assert not takes_features(wide, anil, made=True)
    assert takes_features(LONG, method_of(True, 1, LONG.d))
    middle = LONG._replace(d=10_000)
    assert takes_features(middle, method_of(True, 2, 10_000))
    assert not takes_features(middle, method_of(True, 2, 10_000), number_bytes=4)
    assert not takes_features(LONG, method_of(True, 1, LONG.d), number_bytes=4)
