"""Rows of one table that several tasks share, and contrasts, against explicit matrices."""

import numpy as np
import pytest
import scipy.sparse

from estimator_draws import Rows
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.transforms import Curvature
from metaspan.people.task_rows import Contrasts, SharedRows, TaskRows, multiply
from reference import people

ROWS, D = 11, 5
# Rows of the table that belong to each task: some belong to several, some to none.
TASKS = ([3, 1, 4], [1, 5], [9, 2, 6, 5, 3], [0], [8, 9, 7, 10])
STORAGES = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "csr": scipy.sparse.csr_matrix,
}


def table_of(rng, tasks=TASKS, storage="float64"):
    X = np.where(rng.random((ROWS, D)) < 0.7, rng.standard_normal((ROWS, D)), 0.0)
    X = X.astype(np.float32).astype(float)  # the same numbers in all storages
    order = np.concatenate(tasks)
    offsets = np.cumsum([0, *map(len, tasks)])
    y = rng.standard_normal(len(order))
    return TaskRows(STORAGES[storage](X), order, offsets, y), X


@pytest.fixture(params=STORAGES)
def shared(request, rng):
    """Samples on shared rows, and the rows that each task has."""
    table, X = table_of(rng, storage=request.param)
    samples = table.open(0, 1)
    assert isinstance(samples, SharedRows)
    return samples, [X[rows] for rows in TASKS]


def close(found, expected, atol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def check_operators(samples, X, y, rng):
    """Compare the operators of samples with products of the explicit rows of each task."""
    stacked, total = np.concatenate(X), sum(map(len, y))
    B, C = rng.standard_normal((D, 3)), rng.standard_normal((total, 3))
    assert (samples.n, samples.dim, samples.threads) == (len(X), D, 1)
    np.testing.assert_array_equal(samples.offsets, np.cumsum([0, *map(len, y)]))
    np.testing.assert_array_equal(samples.weights, np.ones(len(X)))
    close(samples.y, np.concatenate(y))
    close(samples.features(B), stacked @ B)
    close(samples.combine(C), stacked.T @ C)
    seen = []

    def transform(Z, tasks):
        rows = slice(samples.offsets[tasks.start], samples.offsets[tasks.stop])
        close(Z, (stacked @ B)[rows])
        seen.extend(tasks)
        return C[rows] * Z

    close(samples.combine_features(B, transform), stacked.T @ (C * (stacked @ B)), 1e-11)
    assert seen == list(range(len(X)))
    for gram, rows in zip(samples.grams(range(1, samples.n)), X[1:], strict=True):
        close(gram, rows @ rows.T)
    averages = samples.averages()
    U, V = [], []
    for rows, values in zip(X, y, strict=True):
        half = len(values) // 2
        U.append(rows[:half].T @ values[:half] / max(half, 1))
        V.append(rows[half:].T @ values[half:] / max(len(values) - half, 1))
    first, second = averages.products(B)
    enough = np.array([len(values) > 1 for values in y])
    close(first[enough], (np.array(U) @ B)[enough])
    close(second[enough], (np.array(V) @ B)[enough])


def test_shared_rows_are_the_rows_of_each_task(shared, rng):
    samples, X = shared
    check_operators(samples, X, people.split(samples.y, samples.offsets), rng)


@pytest.mark.parametrize("storage", STORAGES)
def test_contrasts_are_reflected_rows(rng, storage):
    tasks = [rows for rows in TASKS if len(rows) > 1]
    table, X = table_of(rng, tasks, storage)
    samples = Contrasts(table.open(0, 1))
    mirrors = [people.reflection(len(rows)) for rows in tasks]
    y = people.split(table.y, table.offsets)
    check_operators(
        samples,
        [(H @ X[rows])[1:] for H, rows in zip(mirrors, tasks, strict=True)],
        [(H @ values)[1:] for H, values in zip(mirrors, y, strict=True)],
        rng,
    )


@pytest.mark.parametrize("storage", STORAGES)
def test_contrasts_of_consecutive_rows_are_those_of_shared_rows(rng, storage):
    table, X = table_of(rng, [range(3), range(3, 8), range(8, 11)], storage)
    assert isinstance(table.open(0, 1), ArraySamples)
    mirrors = [people.reflection(m) for m in (3, 5, 3)]
    y = people.split(table.y, table.offsets)
    check_operators(
        Contrasts(table.open(0, 1)),
        [(H @ rows)[1:] for H, rows in zip(mirrors, people.split(X, table.offsets), strict=True)],
        [(H @ values)[1:] for H, values in zip(mirrors, y, strict=True)],
        rng,
    )


@pytest.mark.parametrize("storage", STORAGES)
def test_curvature_of_contrasts_is_that_of_centred_rows(rng, storage):
    tasks = ([0, 1, 2], [3, 4, 5, 6], [7, 8], [9, 10])
    table, X = table_of(rng, tasks, storage)
    samples = Contrasts(table.open(0, 1))
    P, heads = rng.standard_normal((D, 3)), rng.standard_normal((len(tasks), 3))
    shares, expected = rng.uniform(1, 2, len(tasks)), np.zeros((D, 3))
    for rows, v, share in zip(tasks, heads, shares, strict=True):
        off = X[rows] - X[rows].mean(axis=0)
        expected += share * np.outer(off.T @ (off @ P @ v), v)
    close(samples.combine_features(P, Curvature(samples, heads, shares)), expected, 1e-11)


def test_contrasts_ignore_intercepts(rng):
    X, y = rng.standard_normal((3, 6, D)), rng.standard_normal((3, 6))
    plain = Contrasts(Rows(X, y))
    levels = np.array([[5.0], [-7.0], [100.0]])
    moved = Contrasts(Rows(X + 10 * rng.standard_normal((3, 1, D)), y + levels))
    B = rng.standard_normal((D, 2))
    close(moved.y, plain.y)
    close(moved.features(B), plain.features(B))


def test_expanded_contrasts_have_the_same_products(rng):
    X, y = rng.standard_normal((3, 6, D)), rng.standard_normal((3, 6))
    samples = Contrasts(Rows(X, y))
    C = rng.standard_normal((15, 2))
    rows = samples.expand(C)
    close(X.reshape(18, D).T @ rows, samples.combine(C))
    close(np.add.reduceat(rows, [0, 6, 12], axis=0), np.zeros((3, 2)))
    close(samples.expand(C[5:10], range(1, 2)), rows[6:12])


def test_contrasts_need_two_rows_of_each_task(rng):
    with pytest.raises(ValueError, match="at least two rows; task 3 has one"):
        Contrasts(table_of(rng)[0].open(0, 1))


@pytest.mark.parametrize("contrasts", [False, True])
def test_tasks_on_the_same_rows_are_one_task(rng, contrasts):
    same, _ = table_of(rng, [[3, 1, 4]] * 4)
    other, _ = table_of(rng, [[3, 1, 4], [3, 4, 1]])
    for table, found in ((same, True), (other, False)):
        samples = Contrasts(table.open(0, 1)) if contrasts else table.open(0, 1)
        shared = samples.shared()
        assert (shared is not None) == found
        if shared is not None:
            B = rng.standard_normal((D, 2))
            assert shared.n == 1
            close(shared.features(B), samples.features(B)[: len(shared.y)])
            close(shared.y, samples.y[: len(shared.y)])


def test_taken_tasks_have_their_rows_and_responses(rng):
    table, _ = table_of(rng)
    taken = table.take(np.array([0, 2, 4]))
    assert taken.X is table.X
    np.testing.assert_array_equal(taken.order, np.concatenate([TASKS[i] for i in (0, 2, 4)]))
    np.testing.assert_array_equal(taken.offsets, [0, 3, 8, 12])
    y = people.split(table.y, table.offsets)
    np.testing.assert_array_equal(taken.y, np.concatenate([y[0], y[2], y[4]]))


def test_groups_of_few_entries_give_the_same_sums(rng, monkeypatch):
    monkeypatch.setattr("metaspan.people.task_rows._ENTRIES", 4)
    table, X = table_of(rng)
    samples = table.open(0, 1)
    assert len(samples._groups) > 2
    y = people.split(table.y, table.offsets)
    check_operators(samples, [X[rows] for rows in TASKS], y, rng)


def test_responses_of_float32_features_keep_their_digits(rng):
    table, _ = table_of(rng, [range(6), range(6, ROWS)], "float32")
    y = table.y + 1e8
    samples = TaskRows(table.X, table.order, table.offsets, y).open(0, 1)
    assert samples.y.dtype == np.float64
    np.testing.assert_array_equal(samples.y, y)


def test_opened_tables_borrow_the_features(rng):
    """A product sees a change of the user's array, so no copy of it was made."""
    for tasks in (TASKS, [range(6), range(6, ROWS)]):
        table, X = table_of(rng, tasks)
        samples = table.open(0, 1)
        X[:] = 1.0
        close(samples.features(np.ones((D, 1))), np.full((len(table.order), 1), float(D)))


def test_products_of_float32_features_make_no_copy_in_float64(rng, monkeypatch):
    """Blocks of few rows, the last of which is shorter, give the whole product."""
    monkeypatch.setattr("metaspan.people.task_rows._BLOCK", 4 * D)
    X = rng.standard_normal((ROWS, D)).astype(np.float32)
    seen = []

    class Watched(np.ndarray):
        def astype(self, *arguments, **options):
            seen.append(self.shape[0])
            return np.asarray(super().astype(*arguments, **options))

    for B in (rng.standard_normal((D, 2)), rng.standard_normal(D)):
        seen.clear()
        found = multiply(X.view(Watched), B)
        assert seen == [4, 4, 3]
        assert found.dtype == np.float64
        close(found, X.astype(np.float64) @ B)
