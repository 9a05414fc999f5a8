"""Bad input raises one sentence: the argument, what was expected, and what came."""

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence

D, K = 8, 2
B = np.eye(D, K)
B_STAR = np.eye(D, K, -1)
W = np.zeros(K)
HEADS = np.ones((3, K))
X = np.ones((3, 6, D))
Y = np.ones((3, 6))
BATCH = ms.TaskBatch.split(X, Y, m_in=2)
TASKS = ms.LinearTasks(d=D, k=K)
EXPLICIT = ms.LinearTasks(d=D, k=K, B_star=B_STAR)
METHOD = ms.ANIL()


def changed(array, place, value):
    """Return a copy of an array with one entry replaced."""
    array = array.copy()
    array[place] = value
    return array


def train(tasks=TASKS, method=METHOD, **settings):
    return ms.train(tasks, method, **{"rounds": 3, "n": 4, **settings})


# What is wrong: (call, kind of error, fragments that the sentence must contain).
SHAPES = {
    "B-columns": (lambda: ms.meta_gradient(np.ones((9, 4)), np.zeros(4), BATCH, METHOD),
                  ValueError, ["B must have shape (8, k)", "got (9, 4)"]),
    "B-vector": (lambda: ms.meta_gradient(np.ones(8), W, BATCH, METHOD),
                 ValueError, ["B must have shape", "got (8,)"]),
    "w": (lambda: ms.meta_gradient(B, np.zeros(3), BATCH, METHOD),
          ValueError, ["w must have shape (2,)", "got (3,)"]),
    "w-matrix": (lambda: ms.population_gradient(B, np.zeros((2, 1)), B_STAR, HEADS, METHOD),
                 ValueError, ["w must have shape (2,)", "got (2, 1)"]),
    "B_star": (lambda: ms.population_gradient(B, W, np.eye(9, 2), HEADS, METHOD),
               ValueError, ["B_star must have shape (8, k_star)", "got (9, 2)"]),
    "heads": (lambda: ms.population_gradient(B, W, B_STAR, np.ones((3, 5)), METHOD),
              ValueError, ["heads must have shape (n, 2)", "got (3, 5)"]),
    "X-axes": (lambda: ms.TaskBatch(X[0], Y, X, Y),
               ValueError, ["X_in must have shape (n, m, d)", "got (6, 8)"]),
    "y-samples": (lambda: ms.TaskBatch(X, Y[:, :5], X, Y),
                  ValueError, ["y_in", "shape (3, 6)", "got (3, 5)"]),
    "y-tasks": (lambda: ms.TaskBatch(X, Y[:2], X, Y), ValueError, ["y_in must hold 3", "got 2"]),
    "X_out-tasks": (lambda: ms.TaskBatch(X, Y, X[:2], Y[:2]),
                    ValueError, ["X_out must hold 3", "got 2"]),
    "X_out-features": (lambda: ms.TaskBatch(X, Y, X[:, :, :7].copy(), Y),
                       ValueError, ["X_out", "8", "got 7"]),
    "ragged-features": (lambda: ms.TaskBatch([X[0], np.ones((6, 7))], [Y[0], Y[1]], X[:2], Y[:2]),
                        ValueError, ["X_in[1] must have shape (m, 8)", "got (6, 7)"]),
    "no-samples": (lambda: ms.TaskBatch(X[:, :0], Y[:, :0], X, Y), ValueError, ["X_in", "(0, 8)"]),
    "no-tasks": (lambda: ms.TaskBatch(X[:0], Y[:0], X[:0], Y[:0]), ValueError, ["X_in", "none"]),
    "m_in-all": (lambda: ms.TaskBatch.split(X, Y, m_in=6), ValueError, ["m_in", "6", "got 6"]),
    "m_in-none": (lambda: ms.TaskBatch.split(X, Y, m_in=0), ValueError, ["m_in", "1", "got 0"]),
    "adapt-y": (lambda: ms.adapt(B, W, X, Y[:, :5], METHOD),
                ValueError, ["y", "(3, 6)", "got (3, 5)"]),
    "fixed-heads": (lambda: ms.LinearTasks(d=D, k=3, heads=HEADS),
                    ValueError, ["heads must have shape (n, 3)", "got (3, 2)"]),
    "tasks-B_star": (lambda: ms.LinearTasks(d=9, k=K, B_star=B_STAR),
                     ValueError, ["B_star must have shape (9, 2)", "got (8, 2)"]),
    "heads-mean": (lambda: ms.LinearTasks(d=D, k=3, heads=ms.GaussianHeads(mean=[1.0, 2.0])),
                   ValueError, ["mean must have shape (3,)", "got (2,)"]),
    "start": (lambda: train(init=(np.ones((7, 2)), W)),
              ValueError, ["B0 must have shape (8, width)", "got (7, 2)"]),
    "start-head": (lambda: train(init=(B, np.zeros(3))),
                   ValueError, ["w0 must have shape (2,)", "got (3,)"]),
    "start-width": (lambda: train(init=(B, W), width=3),
                    ValueError, ["B0 must have shape (8, 3)", "got (8, 2)"]),
    "distance": (lambda: ms.subspace_distance(B, np.eye(9, 2)),
                 ValueError, ["B_star must have shape (8, k_star)", "got (9, 2)"]),
    "diversity": (lambda: ms.diversity(np.ones(3)),
                  ValueError, ["heads must have shape (n, k)", "got (3,)"]),
}  # fmt: skip

KINDS = {
    "B-list": (lambda: ms.meta_gradient(B.tolist(), W, BATCH, METHOD), TypeError, ["B must be"]),
    "B-integers": (lambda: ms.meta_gradient(B.astype(int), W, BATCH, METHOD),
                   TypeError, ["B must be float32 or float64", "got int64"]),
    "B-complex": (lambda: ms.subspace_distance(B * 1j, B_STAR), TypeError, ["B", "complex128"]),
    "X-half": (lambda: ms.TaskBatch(X.astype(np.float16), Y, X, Y), TypeError, ["X_in", "float16"]),
    "y-dtype": (lambda: ms.TaskBatch(X, Y.astype(np.float32), X, Y),
                TypeError, ["y_in must be float64", "got float32"]),
    "X_out-dtype": (lambda: ms.TaskBatch(X, Y, X.astype(np.float32), Y.astype(np.float32)),
                    TypeError, ["X_out must be float64", "got float32"]),
    "swapped-bytes": (lambda: ms.TaskBatch(X.astype(">f8"), Y, X, Y), TypeError, ["X_in", ">f8"]),
    "batch": (lambda: ms.meta_gradient(B, W, (X, Y), METHOD), TypeError, ["batch", "TaskBatch"]),
    "method": (lambda: ms.meta_gradient(B, W, BATCH, 3), TypeError, ["method", "got 3"]),
    "w-text": (lambda: ms.meta_gradient(B, ["a", "b"], BATCH, METHOD), TypeError, ["w must hold"]),
    "load": (lambda: ms.load(3), TypeError, ["path must be a path", "got 3"]),
    "plot": (lambda: ms.plot(3), TypeError, ["results must be a Result", "got 3"]),
    "tasks": (lambda: ms.train("tasks", METHOD), TypeError, ["tasks must be", "got 'tasks'"]),
    "d": (lambda: ms.LinearTasks(d=8.0, k=2), TypeError, ["d must be an integer", "got 8.0"]),
    "heads-class": (lambda: ms.LinearTasks(d=D, k=K, heads=ms.SphereHeads),
                    TypeError, ["heads must be an instance", "SphereHeads()"]),
    "rounds": (lambda: train(rounds=1.5), TypeError, ["rounds must be an integer", "got 1.5"]),
    "rounds-true": (lambda: train(rounds=True), TypeError, ["rounds", "got True"]),
    "trials": (lambda: train(trials=[1, 2]), TypeError, ["trials", "got [1, 2]"]),
    "init": (lambda: train(init=3), TypeError, ["init must be", "got 3"]),
    "stop": (lambda: train(stop=1e-3), TypeError, ["stop must be a Stop", "got 0.001"]),
    "checkpoint": (lambda: train(checkpoint=3), TypeError, ["checkpoint must be", "got 3"]),
    "dtype": (lambda: train(dtype="float16"), TypeError, ["dtype must be float32 or float64"]),
    "alpha": (lambda: ms.ANIL(alpha="0.1"), TypeError, ["alpha must be a number", "got '0.1'"]),
    "first_order": (lambda: ms.ANIL(first_order=1), TypeError, ["first_order", "got 1"]),
    "unknown-step": (lambda: train(method="anil", gamma=0.1),
                     TypeError, ["'gamma'", "alpha, beta"]),
    "step-twice": (lambda: train(method=METHOD, alpha=0.1), TypeError, ["'alpha'", "name"]),
    "average-alpha": (lambda: train(method="average-risk", alpha=0.1), TypeError, ["'alpha'"]),
}  # fmt: skip

VALUES = {
    "X-nan": (lambda: ms.TaskBatch(X, Y, changed(X, (1, 2, 3), np.nan), Y),
              ValueError, ["X_out must be finite", "NaN"]),
    "y-infinite": (lambda: ms.TaskBatch.split(X, changed(Y, (2, 5), np.inf), m_in=2),
                   ValueError, ["y must be finite"]),
    "X-last-nan": (lambda: ms.adapt(B, W, changed(X, (2, 5, 7), np.nan), Y, METHOD),
                   ValueError, ["X must be finite"]),
    "X-list-nan": (lambda: ms.TaskBatch(list(X), list(Y), [*X[:2], X[2] * np.nan], list(Y)),
                   ValueError, ["X_out[2] must be finite"]),
    "B-nan": (lambda: ms.meta_gradient(changed(B, (3, 1), np.nan), W, BATCH, METHOD),
              ValueError, ["B must be finite"]),
    "w-infinite": (lambda: ms.meta_gradient(B, [0.0, np.inf], BATCH, METHOD),
                   ValueError, ["w must be finite"]),
    "heads-nan": (lambda: ms.population_gradient(B, W, B_STAR, HEADS * np.nan, METHOD),
                  ValueError, ["heads must be finite"]),
    "start-nan": (lambda: train(init=(changed(B, (0, 0), np.nan), W)),
                  ValueError, ["B0 must be finite"]),
    "B_star-nan": (lambda: ms.LinearTasks(d=D, k=K, B_star=B_STAR * np.nan),
                   ValueError, ["B_star", "orthonormal"]),
    "B_star-scaled": (lambda: ms.LinearTasks(d=D, k=K, B_star=2 * B_STAR),
                      ValueError, ["B_star must have orthonormal columns", "3"]),
    "B_star-slanted": (lambda: ms.population_gradient(B, W, B_STAR + 1e-6, HEADS, METHOD),
                       ValueError, ["B_star must have orthonormal columns"]),
    "wide-B": (lambda: ms.meta_gradient(np.ones((D, 9)), np.zeros(9), BATCH, METHOD),
               ValueError, ["B", "d = 8", "got 9"]),
    "wide-learner": (lambda: train(width=9), ValueError, ["width", "d = 8", "got 9"]),
    "k-above-d": (lambda: ms.LinearTasks(d=2, k=3), ValueError, ["k", "d = 2", "got 3"]),
    "no-width": (lambda: train(width=0), ValueError, ["width", "1", "got 0"]),
    "rank-deficient": (lambda: ms.subspace_distance(np.ones((D, 2)), B_STAR),
                       ValueError, ["B must have full column rank", "1"]),
    "n-zero": (lambda: train(n=0), ValueError, ["n must be", "1", "got 0"]),
    "n-negative": (lambda: TASKS.sample(-1, 2, 2), ValueError, ["n must be", "got -1"]),
    "n-none": (lambda: ms.train(TASKS, "meta-sgd", n=None), ValueError,
               ["n must be an integer", "the limit, which covers ANIL", "got MetaSGD"]),
    "n-above-heads": (lambda: train(ms.LinearTasks(d=D, k=K, heads=HEADS), n=4),
                      ValueError, ["n must be at most 3", "got 4"]),
    "no-heads": (lambda: ms.population_gradient(B, W, B_STAR, HEADS[:0], METHOD),
                 ValueError, ["heads", "1", "got 0"]),
    "alpha-negative": (lambda: ms.ANIL(alpha=-0.1), ValueError, ["alpha must be", "got -0.1"]),
    "alpha-nan": (lambda: ms.MAML(alpha=np.nan), ValueError, ["alpha must be finite", "got nan"]),
    "beta-infinite": (lambda: ms.AverageRisk(beta=np.inf), ValueError, ["beta", "got inf"]),
    "steps-negative": (lambda: ms.ANIL(inner_steps=-1), ValueError, ["inner_steps", "got -1"]),
    "spread-negative": (lambda: ms.LinearTasks(d=D, k=K, spread=-1), ValueError,
                        ["spread", "got -1"]),
    "spread-word": (lambda: ms.LinearTasks(d=D, k=K, spread="wide"), TypeError,
                    ["spread must be a number", "wide"]),
    "spread-spectrum": (lambda: train(ms.LinearTasks(d=D, k=K, spread=0.5, spectrum=1.0)),
                        ValueError, ["spread must be 0", "spectrum", "got 0.5"]),
    "spread-pool": (lambda: train(ms.LinearTasks(d=D, k=K, spread=0.5), pool=3, n=2),
                    ValueError, ["spread must be 0", "pool", "got 0.5"]),
    "spread-engine": (lambda: train(ms.LinearTasks(d=D, k=K, spread=0.5), engine="population"),
                      ValueError, ["engine must be 'auto' or 'collapsed'", "got 'population'"]),
    "noise-negative": (lambda: ms.LinearTasks(d=D, k=K, noise=-1), ValueError, ["noise", "got -1"]),
    "cov-asymmetric": (lambda: ms.GaussianHeads(cov=[[1, 2], [0, 1]]),
                       ValueError, ["cov must be symmetric", "2"]),
    "cov-indefinite": (lambda: ms.GaussianHeads(cov=[[1, 2], [2, 1]]),
                       ValueError, ["cov must be positive semi-definite", "-1"]),
    "cov-negative": (lambda: ms.GaussianHeads(cov=[1.0, -1.0]), ValueError, ["cov", "got -1"]),
    "cov-oblong": (lambda: ms.GaussianHeads(cov=np.ones((2, 3))), ValueError, ["cov", "(2, 3)"]),
    "radius": (lambda: ms.SphereHeads(radius=-1), ValueError, ["radius", "got -1"]),
    "seed": (lambda: train(seed=-1), ValueError, ["seed", "got -1"]),
    "trials-zero": (lambda: train(trials=0), ValueError, ["trials", "got 0"]),
    "trials-long": (lambda: train(trials=range(10**18)),
                    ValueError, ["trials", "range(0, 10"]),
    "seed-ground-truth": (lambda: TASKS.ground_truth(seed=-1), ValueError, ["seed", "got -1"]),
    "alpha-beyond-doubles": (lambda: ms.ANIL(alpha=10**400), ValueError, ["alpha must be finite"]),
    "evaluate-no-columns": (lambda: ms.evaluate(np.empty((D, 0)), np.zeros(0), EXPLICIT, METHOD),
                            ValueError, ["the width of B must be at least 1", "got 0"]),
    "evaluate-overflow": (lambda: ms.evaluate(np.full((D, K), 1e308), W, EXPLICIT, METHOD),
                          ValueError, ["B must have columns of lengths"]),
    "trials-empty": (lambda: train(trials=range(3, 3)), ValueError, ["trials", "range(3, 3)"]),
    "threads": (lambda: train(threads=0), ValueError, ["threads", "got 0"]),
    "record_every": (lambda: train(record_every=0), ValueError, ["record_every", "got 0"]),
    "shared-counts": (lambda: train(m_in=25, m_out=24, shared_samples=True),
                      ValueError, ["m_out must equal m_in = 25", "got 24"]),
    "stop-negative": (lambda: ms.Stop(dist=-1), ValueError, ["stop dist", "got -1"]),
    "init-dist": (lambda: ms.Init(dist=1.5), ValueError, ["init dist", "0 and 1", "got 1.5"]),
    "init-scale": (lambda: ms.Init(scale=0), ValueError, ["init scale", "positive", "got 0"]),
    "least-squares": (lambda: train(method="fedrep", n=3, m_in=1, m_out=5, width=2), ValueError,
                      ["m_in", "width = 2", "got 1"]),
    "adapt-least-squares": (lambda: ms.adapt(B, W, X[:, :1], Y[:, :1], "fedrep"), ValueError,
                            ["m_in", "width = 2", "got 1"]),
    "no-penalty": (lambda: train(method="ridge-anil", lam=0, n=3, m_in=1, m_out=5, width=2),
                   ValueError, ["m_in", "width = 2", "set lam"]),
    "init-room": (lambda: train(ms.LinearTasks(d=3, k=2), init="methodical"),
                  ValueError, ["init dist", "2", "leaves 1"]),
}  # fmt: skip

NAMES = {
    "method": (lambda: train(method="mamba"), ValueError,
               ["method must be", "'fo-maml'", "'average-risk'", "got 'mamba'"]),
    "engine": (lambda: train(engine="arrays"), ValueError,
               ["engine must be", "'population'", "got 'arrays'"]),
    "record": (lambda: train(record=("dist", "loss")), ValueError,
               ["record must be", "'loss_out'", "got 'loss'"]),
    "device": (lambda: train(device="gpu"), ValueError, ["'cpu' or 'cuda'", "got 'gpu'"]),
    "init": (lambda: train(init="zeros"), ValueError,
             ["init must be 'random', 'methodical', 'moments'", "got 'zeros'"]),
    "features": (lambda: ms.LinearTasks(d=D, k=K, features="cauchy"), ValueError,
                 ["features must be 'gaussian'", "got 'cauchy'"]),
    "on_failure": (lambda: train(on_failure="ignore"), ValueError,
                   ["on_failure", "'raise'", "got 'ignore'"]),
}  # fmt: skip

LAYOUTS = {
    "B-fortran": (lambda: ms.meta_gradient(np.asfortranarray(B), W, BATCH, METHOD), ValueError,
                  ["B must be C-contiguous", "strides (8, 64)", "np.ascontiguousarray(B)"]),
    "B-strided": (lambda: ms.subspace_distance(np.eye(16, K)[::2], B_STAR), ValueError,
                  ["B must be C-contiguous", "np.ascontiguousarray(B)"]),
    "start-fortran": (lambda: train(init=(np.asfortranarray(B), W)), ValueError,
                      ["B0 must be C-contiguous", "np.ascontiguousarray(B0)"]),
    "X-columns": (lambda: ms.TaskBatch(np.ones((3, 6, 16))[:, :, ::2], Y, X, Y), ValueError,
                  ["X_in must be contiguous along its last axis", "np.ascontiguousarray(X_in)"]),
    "X-fortran": (lambda: ms.TaskBatch.split(np.asfortranarray(X), Y, m_in=2), ValueError,
                  ["X must be contiguous along its last axis", "np.ascontiguousarray(X)"]),
    "y-strided": (lambda: ms.TaskBatch(X, np.ones((3, 12))[:, ::2], X, Y), ValueError,
                  ["y_in must be contiguous", "np.ascontiguousarray(y_in)"]),
    "unaligned": (lambda: ms.TaskBatch(np.frombuffer(bytes(8 * X.size + 1), np.uint8)[1:]
                                       .view(np.float64).reshape(X.shape), Y, X, Y), ValueError,
                  ["X_in must be aligned"]),
}  # fmt: skip

CASES = {
    f"{family}-{name}": case
    for family, cases in (
        ("shape", SHAPES),
        ("kind", KINDS),
        ("value", VALUES),
        ("name", NAMES),
        ("layout", LAYOUTS),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_sentence_names_argument_expected_and_given(case):
    assert_one_sentence(*case)


def test_data_check_can_be_left_out():
    """Where the caller knows better, a NaN runs through instead: nothing looks for it twice."""
    X_nan = changed(X, (0, 0, 0), np.nan)
    batch = ms.TaskBatch(X_nan, Y, X, Y, check_finite=False)
    assert np.isnan(ms.meta_gradient(B, W, batch, METHOD).B).any()


@pytest.mark.parametrize("order", ["K", "C"])
def test_outer_strides_of_data_are_free(order):
    """Rows must be contiguous; every other task, or samples in reverse, are used where they lie."""
    rng = np.random.default_rng(1)
    wide, y = rng.standard_normal((6, 9, D)), rng.standard_normal((6, 9))
    X_view, y_view = wide[::2, ::-1], y[::2, ::-1].copy()
    given = X_view if order == "K" else np.ascontiguousarray(X_view)
    batch = ms.TaskBatch.split(given, y_view, m_in=4)
    found = ms.meta_gradient(B, W + 1, batch, METHOD)
    plain = ms.TaskBatch.split(X_view.copy(), y_view, m_in=4)
    np.testing.assert_array_equal(found.B, ms.meta_gradient(B, W + 1, plain, METHOD).B)


def test_refused_call_leaves_nothing_behind(tmp_path):
    """No checkpoint of a run that was never accepted, and no part of a file that failed."""
    with pytest.raises(ValueError, match="record"):
        train(checkpoint=tmp_path / "run.npz", record="nothing")
    with pytest.raises(FileNotFoundError):
        train(checkpoint=tmp_path / "missing" / "run.npz")
    with pytest.raises(FileNotFoundError):
        train().save(tmp_path / "missing" / "result.npz")
    assert list(tmp_path.iterdir()) == []


def test_heads_function_is_checked_where_it_is_called():
    tasks = ms.LinearTasks(d=D, k=K, heads=lambda generator, n, k: np.ones((n, k + 1)))
    with pytest.raises(ValueError, match=r"heads\(\).*shape \(4, 2\).*got \(4, 3\)"):
        train(tasks)
    tasks = ms.LinearTasks(d=D, k=K, heads=lambda generator, n, k: np.full((n, k), np.nan))
    with pytest.raises(ValueError, match=r"heads\(\).*finite"):
        train(tasks)
