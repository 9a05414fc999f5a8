"""Weights of tasks, (47): the weighted mean of NumPy, and integer weights as repeated tasks."""

from itertools import combinations

import h5py
import numpy as np
import pytest

import metaspan as ms
import reference as ref
from data_runs import ROUTES, Case, build, method_of
from matching import reference_method, relative_error
from sparse_data import pair

WEIGHTS = np.array([1.0, 3.0, 2.0, 1.0])
REPEATED = [0, 1, 1, 1, 2, 2, 3]
RAGGED = Case(11, 4, 2, (3, 7, 1, 4), (5, 2, 6, 1))
EQUAL = Case(13, 3, 3, (5,) * 4, (6,) * 4)
METHODS = ["anil", "fo-anil", "maml", "fo-maml", "average-risk", "fedavg", "ridge-anil"]


def arrays_of(batch):
    return batch.X_in, batch.y_in, batch.X_out, batch.y_out


def weighted(batch, weights=WEIGHTS):
    return ms.TaskBatch(*arrays_of(batch), B_star=batch.B_star, heads=batch.heads, weights=weights)


def weighted_mean(case, name, weights):
    """The reference's gradients of single tasks, averaged by NumPy."""
    B, w, tasks, _ = build(case)
    method = reference_method(method_of(name, alpha=0.02, beta=0.03, inner_steps=2))
    by_task = [ref.meta_gradient(B, w, [task], method) for task in tasks]
    return tuple(np.average([g[part] for g in by_task], axis=0, weights=weights) for part in (0, 1))


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("name", ["anil", "fo-anil", "maml", "fo-maml"])
@pytest.mark.parametrize("case", [RAGGED, EQUAL])
def test_gradient_is_the_weighted_mean_of_the_reference(case, name, route):
    B, w, _, batch = build(case)
    method = method_of(name, alpha=0.02, beta=0.03, inner_steps=2)
    g = ms.meta_gradient(B, w, weighted(batch), method, route=route)
    expected = weighted_mean(case, name, WEIGHTS)
    assert relative_error(g.B, expected[0]) < 1e-11
    assert relative_error(g.w, expected[1]) < 1e-11
    plain = ms.meta_gradient(B, w, batch, method, route=route)
    assert relative_error(g.B, plain.B) > 0.01
    np.testing.assert_array_equal(g.loss_out, plain.loss_out)  # losses of tasks have no weights


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", METHODS)
def test_integer_weights_are_repeated_tasks(name, route, dtype):
    B, w, _, batch = build(EQUAL, dtype=dtype)
    steps = {} if name == "average-risk" else {"alpha": 0.02}
    steps = {"lam": 0.1} if name == "ridge-anil" else steps
    options = {
        **{"rounds": 8, "width": 3, "init": (B.astype(dtype), w), "route": route, "beta": 0.03},
        **{"record": ("loss_in", "loss_adapted", "loss_out", "dist"), **steps},
    }
    if name == "fedavg":
        options.pop("beta")
    first = ms.train(weighted(batch), name, **options)
    other = ms.train(batch.take(REPEATED), name, **options)
    bound = 1e-12 if dtype is np.float64 else 1e-5
    assert relative_error(first.B, other.B) < bound
    assert relative_error(first.w, other.w) < bound
    for record in options["record"]:
        assert relative_error(first.trace[record], other.trace[record]) < bound, record
    assert relative_error(ms.train(batch, name, **options).B, other.B) > 1e-3


def test_sums_in_single_precision_are_weighted():
    B, w, _, batch = build(EQUAL, dtype=np.float32)
    call = {"route": "vector", "accumulate": "float32"}
    g = ms.meta_gradient(B, w, weighted(batch), "maml", **call)
    other = ms.meta_gradient(B, w, batch.take(REPEATED), "maml", **call)
    assert relative_error(g.B, other.B) < 1e-5


@pytest.mark.parametrize("route", ROUTES)
def test_sparse_tasks_are_weighted(route):
    B, w, sparse, dense = pair(d=9, k=3)
    options = {"rounds": 5, "width": 3, "init": (B, w), "record": ("loss_out",), "alpha": 0.02}
    first = ms.train(weighted(sparse), "maml", route=route, beta=0.03, **options)
    other = ms.train(dense.take(REPEATED), "maml", route="gram", beta=0.03, **options)
    assert relative_error(first.B, other.B) < 1e-12
    assert relative_error(first.trace["loss_out"], other.trace["loss_out"]) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
def test_tasks_on_disk_are_weighted(route, tmp_path):
    B, w, _, batch = build(EQUAL)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        inner, outer = (file.create_dataset(n, data=getattr(batch, n)) for n in ("X_in", "X_out"))
        stored = ms.TaskBatch(inner, batch.y_in, outer, batch.y_out, weights=WEIGHTS)
        options = {"rounds": 5, "width": 3, "init": (B, w), "alpha": 0.02, "beta": 0.03}
        first, other = (
            ms.train(data, "maml", route=route, **options) for data in (stored, weighted(batch))
        )
    np.testing.assert_array_equal(first.B, other.B)


@pytest.mark.parametrize("route", ROUTES)
def test_rounds_on_some_tasks_use_their_weights(route):
    """A round on tasks i and j steps along (w_i g_i + w_j g_j) / 2, with weights of mean 1."""
    B, w, _, batch = build(EQUAL)
    method = method_of("anil", alpha=0.02, beta=0.03)
    options = {"rounds": 1, "n": 2, "init": (B, w), "width": 3, "route": route, "seed": 5}
    by_task = [ms.meta_gradient(B, w, batch.take([i]), method).B for i in range(4)]
    plain, other = (ms.train(data, method, **options) for data in (batch, weighted(batch)))
    step, weighted_step = ((B - r.B) / 0.03 for r in (plain, other))
    matches = [
        (i, j)
        for i, j in combinations(range(4), 2)
        if relative_error(step, (by_task[i] + by_task[j]) / 2) < 1e-9
    ]
    ((i, j),) = matches
    shares = WEIGHTS / WEIGHTS.mean()
    expected = (shares[i] * by_task[i] + shares[j] * by_task[j]) / 2
    assert relative_error(weighted_step, expected) < 1e-9


def test_equal_weights_change_no_bit():
    B, w, _, batch = build(RAGGED)
    plain, other = (
        ms.train(data, "maml", rounds=5, width=4, init=(B, w), alpha=0.02, beta=0.03)
        for data in (batch, weighted(batch, [0.1] * 4))
    )
    np.testing.assert_array_equal(plain.B, other.B)


def test_weights_are_divided_by_their_mean():
    batch = build(EQUAL).batch
    np.testing.assert_allclose(weighted(batch).weights, WEIGHTS / WEIGHTS.mean(), rtol=1e-15)
    part = weighted(batch).take([1, 2])
    np.testing.assert_allclose(part.weights, [1.2, 0.8], rtol=1e-15)
    assert np.isfinite(weighted(batch, [1e308] * 3 + [1e307]).weights).all()


def test_a_checkpoint_refuses_other_weights(tmp_path):
    B, w, _, batch = build(EQUAL)
    options = {"width": 3, "init": (B, w), "checkpoint": tmp_path / "run", "alpha": 0.02}
    ms.train(weighted(batch), "anil", rounds=3, **options)
    ms.train(weighted(batch), "anil", rounds=4, **options)
    with pytest.raises(ValueError, match="fingerprint"):
        ms.train(weighted(batch, [1, 1, 1, 2]), "anil", rounds=4, **options)


def test_privacy_refuses_weights():
    B, w, _, batch = build(EQUAL)
    method = ms.ANIL(alpha=0.1, beta=0.1, privacy=ms.UserDP(clip=1.0, multiplier=1.0))
    for call in (
        lambda: ms.train(weighted(batch), method, rounds=1, width=3),
        lambda: ms.meta_gradient(B, w, weighted(batch), method),
    ):
        with pytest.raises(ValueError, match="weights must be None for a method with privacy"):
            call()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 2.0], r"weights must have shape \(4,\)"),
        ([1.0, 2.0, 0.0, 1.0], "weights must be positive; got 0"),
        ([1.0, 2.0, np.nan, 1.0], "weights must be finite"),
    ],
)
def test_bad_weights_raise_one_sentence(weights, words):
    with pytest.raises(ValueError, match=words):
        weighted(build(EQUAL).batch, weights)
