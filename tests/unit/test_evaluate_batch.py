"""evaluate on the user's own tasks: every learner against NumPy, every storage, and the law."""

import h5py
import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
import reference as ref
from data_runs import Case, build, method_of
from matching import reference_method

LEARNERS = ("adapted", "least_squares", "ridge", "single_task_ridge", "pooled")
ORACLES = ("oracle_least_squares", "oracle_ridge")
EQUAL = Case(13, 3, 2, (6,) * 5, (7,) * 5)
RAGGED = Case(11, 4, 2, (3, 7, 2, 5), (5, 2, 6, 1))
MANY_SAMPLES = Case(4, 2, 2, (9, 8, 9), (12, 7, 2))
CASES = [EQUAL, RAGGED, MANY_SAMPLES]


def ridge(X, y, penalty):
    """(1/2m) ||X v - y||^2 + penalty/2 ||v||^2 by the normal equations."""
    m = len(y)
    return np.linalg.solve(X.T @ X / m + penalty * np.eye(X.shape[1]), X.T @ y / m)


def losses_of(tasks, estimate):
    """The outer loss of every task for an estimate (d,) made from its inner set."""
    return np.array(
        [0.5 * np.mean((out.X @ estimate(inner.X, inner.y) - out.y) ** 2) for inner, out in tasks]
    )


def expected_losses(problem, penalty):
    B, _, tasks, batch = problem
    B_star = batch.B_star
    n = len(tasks)
    pooled_X = np.concatenate([inner.X / np.sqrt(n * len(inner.y)) for inner, _ in tasks])
    pooled_y = np.concatenate([inner.y / np.sqrt(n * len(inner.y)) for inner, _ in tasks])
    theta = ridge(pooled_X, pooled_y, penalty / n / len(pooled_y))
    features = {"": B, "oracle_": B_star}
    by_name = {
        "single_task_ridge": lambda X, y: ridge(X, y, penalty),
        "pooled": lambda X, y: theta,
    }
    for name, columns in features.items():
        by_name[f"{name}least_squares"] = lambda X, y, P=columns: (
            P @ np.linalg.lstsq(X @ P, y, rcond=None)[0]
        )
        by_name[f"{name}ridge"] = lambda X, y, P=columns: P @ ridge(X @ P, y, penalty)
    return {name: losses_of(tasks, estimate) for name, estimate in by_name.items()}


def assert_mean(risk, losses, bound=1e-8):
    """Mean and standard error over tasks."""
    assert not risk.exact
    assert risk.mean == pytest.approx(losses.mean(), rel=bound)
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert risk.standard_error == pytest.approx(error, rel=bound)


@pytest.mark.parametrize("case", CASES)
def test_regressions_are_those_of_numpy(case):
    problem = build(case)
    found = ms.evaluate(problem.B, problem.w, problem.batch, "anil", alpha=0.02, ridge=0.3)
    for name, losses in expected_losses(problem, 0.3).items():
        bound = 1e-5 if name == "pooled" else 1e-8  # conjugate gradients stop at 1e-6
        assert_mean(getattr(found, name), losses, bound)
    n = len(problem.tasks)
    assert found.penalties == {
        **dict.fromkeys(("ridge", "oracle_ridge", "single_task_ridge"), 0.3),
        "pooled": 0.3 / n,
    }
    assert (found.n, found.m, found.held_out) == (n, problem.batch.m_in, True)


@pytest.mark.parametrize("penalty", [0.0, 1e-300, 1e-18])
@pytest.mark.parametrize("case", CASES)
def test_no_penalty_is_least_squares_of_the_least_norm(case, penalty):
    """Also with columns of B that depend on each other, and with more samples than features."""
    B, w, tasks, batch = build(case)
    B = np.concatenate([B[:, :-1], B[:, :1]], axis=1)
    found = ms.evaluate(B, w, batch, "anil", alpha=0.02, ridge=penalty)

    def least_squares(P):
        return losses_of(tasks, lambda X, y: P @ np.linalg.lstsq(X @ P, y, rcond=1e-12)[0])

    assert_mean(found.single_task_ridge, least_squares(np.eye(len(B))))
    assert_mean(found.ridge, least_squares(B))
    assert_mean(found.least_squares, least_squares(B))
    assert_mean(found.oracle_ridge, least_squares(batch.B_star))


@pytest.mark.parametrize("name", ["anil", "maml", "average-risk"])
@pytest.mark.parametrize("case", CASES)
def test_adapted_loss_is_that_of_the_reference(case, name):
    B, w, tasks, batch = build(case)
    method = method_of(name, alpha=0.02, beta=0.1, inner_steps=2)
    found = ms.evaluate(B, w, batch, method).adapted
    plain = reference_method(method)
    assert_mean(found, np.array([out.loss(*ref.adapt(B, w, inner, plain)) for inner, out in tasks]))


def test_attention_predicts_by_both_factors():
    B, _, tasks, batch = build(EQUAL)
    A = B[::-1].copy()
    found = ms.evaluate(A, B, batch, ms.LinearAttention(alpha=0.3, beta=0.1), ridge=0.3)
    losses = losses_of(tasks, lambda X, y: 0.3 * A @ (B.T @ (X.T @ y)) / len(y))
    assert_mean(found.adapted, losses)
    assert_mean(found.ridge, expected_losses(build(EQUAL), 0.3)["ridge"])


def leave_one_out(X, y, penalty):
    """Mean squared error on each sample of the ridge regression on all others, by refitting."""
    m, d = X.shape
    errors = []
    for j in range(m):
        rest = np.arange(m) != j
        G = X[rest].T @ X[rest] + m * penalty * np.eye(d)
        errors.append(y[j] - X[j] @ np.linalg.solve(G, X[rest].T @ y[rest]))
    return np.mean(np.square(errors))


@pytest.mark.parametrize("case", CASES)
def test_penalties_have_the_smallest_leave_one_out_error(case):
    B, w, tasks, batch = build(case)
    penalties = ms.evaluate(B, w, batch, "anil").penalties
    designs = {"ridge": B, "oracle_ridge": batch.B_star, "single_task_ridge": np.eye(case.d)}
    steps = 10.0 ** (np.arange(-4, 5) / 2)
    for name, P in designs.items():
        errors = [
            np.mean([leave_one_out(inner.X @ P, inner.y, penalties[name] * step)
                     for inner, _ in tasks])
            for step in steps
        ]  # fmt: skip
        trace = np.mean([np.square(inner.X @ P).sum() / len(inner.y) ** 2 for inner, _ in tasks])
        relative = np.log10(penalties[name] * steps / trace)
        inside = (relative > -6.01) & (relative < 4.01) & (np.array(errors) < np.inf)
        assert errors[4] <= np.min(np.array(errors)[inside]) * (1 + 1e-9), name
    assert penalties["pooled"] == penalties["single_task_ridge"] / len(tasks)


def stores(batch, folder):
    """The same tasks in other storages."""
    names = ("X_in", "y_in", "X_out", "y_out")
    X_in, y_in, X_out, y_out = (getattr(batch, name) for name in names)
    truth = {"B_star": batch.B_star}
    yield "lists", ms.TaskBatch(*map(list, (X_in, y_in, X_out, y_out)), **truth)
    np.save(folder / "X.npy", X_in)
    mapped = np.load(folder / "X.npy", mmap_mode="r")
    yield "mapped", ms.TaskBatch(mapped, y_in, X_out, y_out, **truth)
    file = h5py.File(folder / "X.h5", "w")
    sets = [file.create_dataset(name, data=getattr(batch, name)) for name in names]
    yield "datasets", ms.TaskBatch(*sets, **truth)
    X, y = np.concatenate([X_in, X_out], axis=1), np.concatenate([y_in, y_out], axis=1)
    rows = file.create_dataset("rows", data=X.reshape(-1, X.shape[2]))
    offsets = np.arange(len(X) + 1) * X.shape[1]
    yield "stacked", ms.TaskBatch.stacked(rows, y.ravel(), offsets, X_in.shape[1], **truth)
    csr = [[sparse.csr_matrix(task) for task in side] for side in (X_in, X_out)]
    yield "sparse", ms.TaskBatch(csr[0], list(y_in), csr[1], list(y_out), **truth)


@pytest.mark.parametrize("ridge", [None, 0.2])
def test_storages_agree(ridge, tmp_path):
    B, w, _, batch = build(EQUAL)
    options = {"alpha": 0.02, "ridge": ridge}
    expected = ms.evaluate(B, w, batch, "maml", **options)
    for name, other in stores(batch, tmp_path):
        found = ms.evaluate(B, w, other, "maml", **options)
        for learner in (*LEARNERS, *ORACLES):
            risk, plain = getattr(found, learner), getattr(expected, learner)
            bound = 1e-5 if learner == "pooled" else 1e-9
            assert risk.mean == pytest.approx(plain.mean, rel=bound), (name, learner)
    single = build(EQUAL, dtype=np.float32)
    found = ms.evaluate(single.B.astype(np.float32), w, single.batch, "maml", **options)
    assert found.ridge.mean == pytest.approx(expected.ridge.mean, rel=1e-4)


def test_blocks_of_tasks_change_no_loss(monkeypatch):
    B, w, _, batch = build(RAGGED)
    whole = ms.evaluate(B, w, batch, "maml", alpha=0.02, ridge=0.1)
    monkeypatch.setattr("metaspan.held_out.BLOCK_BYTES", 1)
    parts = ms.evaluate(B, w, batch, "maml", alpha=0.02, ridge=0.1)
    for learner in (*LEARNERS, *ORACLES):
        assert getattr(parts, learner).mean == pytest.approx(getattr(whole, learner).mean, rel=1e-9)


def test_m_takes_the_first_samples():
    B, w, _, batch = build(EQUAL)
    options = {"alpha": 0.02, "ridge": 0.2}
    fewer = ms.TaskBatch(batch.X_in[:, :4], batch.y_in[:, :4], batch.X_out, batch.y_out)
    found = ms.evaluate(B, w, batch, "anil", m=4, **options)
    expected = ms.evaluate(B, w, fewer, "anil", **options)
    assert found.adapted == expected.adapted
    assert found.single_task_ridge == expected.single_task_ridge
    shared = ms.TaskBatch(batch.X_in, batch.y_in)
    split = ms.TaskBatch.split(batch.X_in, batch.y_in, 4)
    found = ms.evaluate(B, w, shared, "anil", m=4, **options)
    assert found == ms.evaluate(B, w, split, "anil", **options)
    assert np.isnan(found.oracle_ridge.mean)
    assert "oracle" not in str(found)


def test_weights_of_tasks_count_in_means():
    B, w, _, batch = build(EQUAL)
    arrays = batch.X_in, batch.y_in, batch.X_out, batch.y_out
    options = {"alpha": 0.02, "ridge": 0.2}
    found = ms.evaluate(B, w, ms.TaskBatch(*arrays, weights=[1, 3, 2, 1, 1]), "anil", **options)
    repeated = batch.take([0, 1, 1, 1, 2, 2, 3, 4])
    expected = ms.evaluate(B, w, repeated, "anil", **options)
    for learner in ("adapted", "least_squares", "ridge", "single_task_ridge"):
        risk = getattr(expected, learner)
        assert getattr(found, learner).mean == pytest.approx(risk.mean, rel=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_losses_are_the_excess_risks_of_the_law_plus_the_noise(noise):
    """2000 tasks: a false alarm of 6 z-scores beyond 4.5 has a probability below 1e-4."""
    tasks = ms.LinearTasks(d=20, k=2, noise=noise, B_star=np.eye(20, 2))
    B = np.eye(20, 2) + 0.3 * np.eye(20, 2, -3)
    w = np.array([0.2, 0.1])
    options = {"alpha": 0.4, "ridge": 0.2}
    found = ms.evaluate(B, w, tasks.sample(2000, 8, 30, seed=3), "anil", **options)
    law = ms.evaluate(B, w, tasks, "anil", m=8, n=20_000, **options)
    for learner in ("adapted", "least_squares", "ridge", "single_task_ridge", *ORACLES):
        risk, exact = getattr(found, learner), getattr(law, learner)
        error = np.hypot(risk.standard_error, exact.standard_error) + 1e-12
        assert abs(risk.mean - noise**2 / 2 - exact.mean) < 4.5 * error, learner
    # The heads have mean 0, so the pooled mean is near 0 and its loss near that of zero.
    assert found.pooled.mean == pytest.approx(1.0 + noise**2 / 2, rel=0.1)
    assert found.ridge.mean < found.single_task_ridge.mean < found.pooled.mean


def test_a_shared_mean_is_found_by_the_pooled_regression():
    heads = ms.GaussianHeads(cov=[0.01], mean=[2.0])
    tasks = ms.LinearTasks(d=40, k=1, noise=0.5, heads=heads)
    found = ms.evaluate(np.eye(40, 1), [0.0], tasks.sample(60, 5, 20), "anil")
    assert found.pooled.mean < 0.5 * found.single_task_ridge.mean
    assert found.pooled.mean == pytest.approx(0.5 * (0.5**2 + 0.01), rel=0.35)


def test_an_evaluation_of_a_batch_prints_its_numbers():
    B, w, _, batch = build(RAGGED)
    text = str(ms.evaluate(B, w, batch, "anil", alpha=0.02))
    assert text.startswith("loss on held-out samples with m = 2..7 samples (n = 4 tasks)\n")
    assert "pooled" in text


BAD = {
    "n": ({"n": 5}, ValueError, "n must be None for a batch, all of whose tasks are used; got 5"),
    "m-all": ({"m": 7}, ValueError, "m must be at most 6, the samples of the smallest inner set"),
    "m-zero": ({"m": 0}, ValueError, "m must be at least 1; got 0"),
    "pair": ({"B": (np.eye(2), np.eye(2))}, TypeError, r"B must be an array \(d, k\) for a batch"),
    "shape": ({"B": np.ones((12, 3))}, ValueError, r"B must have shape \(13, k\)"),
    "one-task": ({"tasks": build(EQUAL).batch.take([0])}, ValueError, "at least 2 tasks"),
    "no-m": (
        {"tasks": ms.TaskBatch(build(EQUAL).batch.X_in, build(EQUAL).batch.y_in)},
        ValueError,
        "m must be the number of samples to adapt on",
    ),
    "m-shared": (
        {"tasks": ms.TaskBatch(build(EQUAL).batch.X_in, build(EQUAL).batch.y_in), "m": 6},
        ValueError,
        "m must be less than the 6 samples",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_raises_one_sentence(case):
    changes, kind, words = BAD[case]
    B, w, _, batch = build(EQUAL)
    with pytest.raises(kind, match=words):
        ms.evaluate(**{"B": B, "w": w, "tasks": batch, "method": "anil", **changes})


def test_losses_that_overflow_are_infinite():
    B, w, _, batch = build(EQUAL)
    found = ms.evaluate(B, w, batch, "anil", alpha=1e200, inner_steps=3)
    assert found.adapted.mean == np.inf
    assert np.isfinite(found.ridge.mean)
