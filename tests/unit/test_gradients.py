"""Calls of gradients: what is remembered between calls, and data that are not finite."""

import copy
import pickle

import numpy as np
import pytest

import metaspan as ms

D, K, N, M = 12, 3, 4, 5
METHODS = {
    "anil": {"alpha": 0.1, "inner_steps": 2},
    "fo-anil": {"alpha": 0.0},
    "maml": {"alpha": 0.1, "inner_steps": 2},
    "fo-maml": {"alpha": 0.1},
    "average-risk": {},
}


def arrays(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((N, M, D), (N, M)) * 2]


def point(seed=1):
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.standard_normal((D, K)))[0], rng.standard_normal(K)


def gradient(batch, method="anil", **rest):
    return ms.meta_gradient(*point(), batch, method, **rest)


@pytest.mark.parametrize("kind", ["stack", "list"])
def test_data_that_were_changed_between_calls_count(kind):
    parts = [part if kind == "stack" else list(part) for part in arrays()]
    batch = ms.TaskBatch(*parts)
    gradient(batch)
    for part, new in zip(parts, arrays(seed=2), strict=True):
        for task, new_task in zip(part, new, strict=True):
            task[...] = new_task
    fresh = gradient(ms.TaskBatch(*arrays(seed=2)))
    np.testing.assert_array_equal(gradient(batch).B, fresh.B)


def test_arrays_of_a_batch_keep_their_memory():
    parts = arrays()
    batch = ms.TaskBatch(*parts)
    gradient(batch)
    with pytest.raises(ValueError, match="cannot resize"):
        parts[0].resize((2 * N, M, D), refcheck=False)


COPIES = [copy.copy, copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_batch_gives_the_same_gradient(copied):
    batch = ms.TaskBatch(*arrays())
    expected = gradient(batch)
    np.testing.assert_array_equal(gradient(copied(batch)).B, expected.B)


def test_arguments_of_equal_values_but_other_types_are_told_apart():
    batch = ms.TaskBatch(*arrays())
    gradient(batch, losses=True, threads=1, alpha=1.0, inner_steps=1)
    for wrong in ({"losses": 1}, {"threads": True}, {"alpha": True}, {"inner_steps": 1.0}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            gradient(batch, **{"threads": 1, "alpha": 1.0, "inner_steps": 1, **wrong})


@pytest.mark.parametrize("method", [["anil"], {"anil"}, None])
def test_a_method_without_a_hash_or_of_a_wrong_kind_is_refused(method):
    with pytest.raises(TypeError, match="method must be an ANIL"):
        gradient(ms.TaskBatch(*arrays()), method)


def test_unknown_keywords_are_refused_every_time():
    batch = ms.TaskBatch(*arrays())
    for _ in range(2):
        with pytest.raises(TypeError, match="did you mean 'losses'"):
            gradient(batch, loses=True)
        with pytest.raises(TypeError, match="unknown keyword 'caller'"):
            gradient(batch, caller=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_is_refused(bad):
    batch = ms.TaskBatch(*arrays())
    for place, name in enumerate("Bw"):
        where = [part.copy() for part in point()]
        where[place][1] = bad
        with pytest.raises(ValueError, match=f"^{name} must be finite"):
            ms.meta_gradient(*where, batch, "anil")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["stack", "float32", "list", "sparse"])
def test_adaptation_finds_data_that_are_not_finite(method, bad, kind):
    """Also where the start, or the rest of a sample, is zero."""
    sparse = pytest.importorskip("scipy.sparse")
    for place, name in enumerate("Xy"):
        for zero in ("nothing", "point", "data"):
            data = arrays(dtype=np.float32 if kind == "float32" else np.float64)[:2]
            if zero == "data":
                data = [np.zeros_like(part) for part in data]
            data[place][2, 3] = 0.0
            data[place][2, 3, ...].reshape(-1)[-1:] = bad
            if kind == "list":
                data = [list(part) for part in data]
            if kind == "sparse":
                data[0] = [sparse.csr_matrix(x) for x in data[0]]
            B, w = point()
            if zero == "point":
                B, w = np.zeros((D, K)), np.zeros(K)
            with pytest.raises(ValueError, match=f"^{name}.* must be finite"):
                ms.adapt(B, w, *data, method, **METHODS[method])
            ms.adapt(B, w, *data, method, **METHODS[method], check_finite=False)


def test_adaptation_that_overflows_is_no_error():
    X, y = arrays()[:2]
    assert not np.isfinite(ms.adapt(*point(), X * 1e200, y, "anil", alpha=1.0)).any()


def test_sizes_beyond_the_integers_of_the_core_are_refused():
    with pytest.raises(ValueError, match=r"heads must have shape \(n, 18446744073709551616\)"):
        ms.theory.second_moment(np.ones((3, 2)), 2**64)
