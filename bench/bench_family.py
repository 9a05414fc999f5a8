"""Times rounds of other methods, compared with rounds of ANIL or MAML on the same data.

A round with a solved head, a learned step size or a co-learner is compared with a round of exact
ANIL, and a round of FedAvg with a round of first-order MAML that has as many inner steps. Before
the timing, every gradient on arrays is compared with NumPy, which solves the normal equations,
takes the local steps or computes the gradient of what is learned, task by task.

Rounds of ANIL are compared with rounds of plain ANIL if they have an outer step with memory,
clipping and noise, or tasks with a spread. Three checks precede the timing: two rounds with
momentum and one round of Adam must agree with their equations, a clipped gradient with the clipped
gradients of single tasks, and the loss of tasks with a spread with its expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

import metaspan as ms
from bench.floors import Size
from bench.harness import Figure, Options, Seconds, cpus, figure, relative, side_by_side
from bench.workloads import Problem, problem

ALPHA, LAM, STEPS = 1e-5, 0.1, 2
SOLVED = {
    "RidgeANIL": ms.RidgeANIL(lam=LAM, beta=1e-3),
    "FO-RidgeANIL": ms.RidgeANIL(lam=LAM, beta=1e-3, first_order=True),
    "FedRep": ms.FedRep(beta=1e-3),
}
ANIL = ms.ANIL(alpha=ALPHA, beta=1e-3)
LEARNED = {
    "Meta-SGD": ms.MetaSGD(alpha=ALPHA, beta=1e-3, beta_alpha=1e-12),
    "co-learner": ms.CoLearner(alpha=ALPHA, beta=1e-3, gamma=0.5),
}
MOMENTUM, CLIP, SPREAD = 0.9, 1e-3, 1.0
STEPPED = {
    "ANIL, momentum": ms.ANIL(alpha=ALPHA, beta=1e-3, step=ms.OuterStep(momentum=MOMENTUM)),
    "ANIL, Adam": ms.ANIL(alpha=ALPHA, beta=1e-3, step=ms.OuterStep(rule="adam")),
    "ANIL, private": ms.ANIL(alpha=ALPHA, beta=1e-3, privacy=ms.UserDP(clip=CLIP, multiplier=0.5)),
}
LOCAL = ms.FedAvg(alpha=ALPHA, local_steps=STEPS)
FO_MAML = ms.MAML(alpha=ALPHA, beta=1e-3, inner_steps=STEPS, first_order=True)
SIZES = (Size(1_000, 10, 100, 100, 100), Size(10_000, 10, 100, 50, 50))
LAWS = ((1_000_000, 10, 100, 25, 25), (10_000, 5, 50, 50, 50))  # d, k, n, m_in, m_out
TARGET_SOLVED, TARGET_LOCAL, TARGET_LEARNED = (
    1.5,
    1.2,
    1.5,
)  # times a round of the method compared with it
ROUNDS = 100

Call = Callable[[], object]
Learned = ms.MetaSGD | ms.CoLearner
Method = ms.ANIL | ms.MAML | ms.RidgeANIL | ms.FedRep | ms.FedAvg | Learned


def run(options: Options) -> list[Figure]:
    """Time gradients on arrays, and rounds on samples in law."""
    figures: list[Figure] = []
    for size in SIZES[: 1 if options.quick else None]:
        inputs = problem(size)
        _check(inputs)
        calls = {
            name: partial(ms.meta_gradient, inputs.B, inputs.w, inputs.batch, method, losses=False)
            for name, method in _methods().items()
        }
        case = f"a gradient on arrays, (d, k, n, m_in, m_out) = {tuple(size)}"
        figures += _rows(calls, case, options.repeats)
    for law in LAWS[: 1 if options.quick else None]:
        calls = {name: partial(_rounds, method, law) for name, method in _methods().items()}
        case = f"a round in law, (d, k, n, m_in, m_out) = {law}"
        figures += _rows(calls, case, options.repeats)
    return figures + _options(options)


def _options(options: Options) -> list[Figure]:
    """Time rounds with an outer step, with privacy and with a spread, and rounds of plain ANIL."""
    figures: list[Figure] = []
    for size in SIZES[: 1 if options.quick else None]:
        inputs = problem(size)
        _check_options(inputs)
        calls = {
            name: partial(_rounds_on_arrays, method, inputs)
            for name, method in {"ANIL": ANIL, **STEPPED}.items()
        }
        case = f"a round with options on arrays, (d, k, n, m_in, m_out) = {tuple(size)}"
        figures += _ratios(calls, case, options.repeats)
    for law in LAWS[: 1 if options.quick else None]:
        _check_spread(law)
        calls = {
            name: partial(_rounds, method, law)
            for name, method in {"ANIL": ANIL, **STEPPED}.items()
            if name != "ANIL, Adam"  # not in the span of the gradients
        }
        calls["ANIL, spread"] = partial(_rounds, ANIL, law, SPREAD)
        case = f"a round with options in law, (d, k, n, m_in, m_out) = {law}"
        figures += _ratios(calls, case, options.repeats)
    return figures


def _methods() -> Mapping[str, Method]:
    return {"ANIL": ANIL, **SOLVED, **LEARNED, "FO-MAML": FO_MAML, "FedAvg": LOCAL}


def _rounds_on_arrays(method: ms.ANIL, inputs: Problem) -> Seconds:
    """Return the seconds of a round on arrays; assert that the run did all rounds."""
    k = inputs.B.shape[1]
    start = (inputs.B, inputs.w)
    r = ms.train(
        inputs.batch, method, rounds=5, width=k, init=start, stop=None, record=(), route="gram"
    )
    assert r.status.round == 5, r.status
    return Seconds(r.timings["run"] / 5)


def _rounds(method: Method, law: tuple[int, int, int, int, int], spread: float = 0.0) -> Seconds:
    """Return the seconds of a round on samples in law; assert that the run did all rounds."""
    d, k, n, m_in, m_out = law
    r = ms.train(
        ms.LinearTasks(d=d, k=k, noise=0.1, spread=spread),
        method,
        rounds=ROUNDS,
        n=n,
        m_in=m_in,
        m_out=m_out,
        init=ms.Init(scale=0.1),
        stop=None,
        record="w_norm",
        record_every=ROUNDS,
    )
    assert r.status.round == ROUNDS, r.status
    return Seconds(r.timings["run"] / ROUNDS)


def _rows(calls: Mapping[str, Call], case: str, repeats: int) -> list[Figure]:
    """Make two rows for each method: the time, and the time over that of its counterpart."""
    timings = side_by_side(calls, repeats)
    about = {"bench": "family", "case": f"{case}, cores: {len(cpus())}"}
    rows = [
        figure(timing, timing.median * 1e3, who=name, unit="ms", **about)
        for name, timing in timings.items()
    ]
    for name in (*SOLVED, *LEARNED, "FedAvg"):
        other, target = ("FO-MAML", TARGET_LOCAL) if name == "FedAvg" else ("ANIL", TARGET_SOLVED)
        target = TARGET_LEARNED if name in LEARNED else target
        ratio = timings[name].median / timings[other].median
        rows.append(
            figure(timings[name], ratio, who=f"{name} / {other}", unit="x", target=target, **about)
        )
    return rows


def _ratios(calls: Mapping[str, Call], case: str, repeats: int) -> list[Figure]:
    """Make a row for plain ANIL, and one for each option with its time divided by that of ANIL."""
    timings = side_by_side(calls, repeats)
    about = {"bench": "family", "case": f"{case}, cores: {len(cpus())}"}
    plain = timings["ANIL"]
    rows = [figure(plain, plain.median * 1e3, who="plain ANIL", unit="ms", **about)]
    for name, timing in timings.items():
        if name != "ANIL":
            ratio = timing.median / plain.median
            rows.append(figure(timing, ratio, who=f"{name} / plain ANIL", unit="x", **about))
    return rows


def _check_options(inputs: Problem) -> None:
    """Compare steps with memory, and a clipped gradient, with results from plain gradients."""
    B, w, batch = inputs.B, inputs.w, inputs.batch
    beta = ANIL.beta

    def end(method: ms.ANIL, rounds: int) -> np.ndarray:
        r = ms.train(batch, method, rounds=rounds, width=B.shape[1], init=(B, w), stop=None)
        assert r.B is not None
        return np.asarray(r.B)

    first = ms.meta_gradient(B, w, batch, ANIL)
    B_1 = B - beta * first.B
    second = ms.meta_gradient(B_1, w - beta * first.w, batch, ANIL)
    expected = B_1 - beta * (MOMENTUM * first.B + second.B)
    assert relative(end(STEPPED["ANIL, momentum"], 2), expected) < 1e-9
    expected = B - beta * first.B / (abs(first.B) + 1e-8)
    assert relative(end(STEPPED["ANIL, Adam"], 1), expected) < 1e-9
    arrays, clipped = inputs.arrays, 0.0
    count = len(arrays.X_in)
    for i in range(count):
        parts = (arrays.X_in, arrays.y_in, arrays.X_out, arrays.y_out)
        task = ms.TaskBatch(*(part[i : i + 1] for part in parts))
        g = ms.meta_gradient(B, w, task, ANIL, losses=False)
        norm = np.sqrt((g.B**2).sum() + (g.w**2).sum())
        clipped = clipped + min(1.0, CLIP / norm) * g.B / count
    found = ms.meta_gradient(B, w, batch, STEPPED["ANIL, private"], losses=False).B
    assert relative(found, np.asarray(clipped)) < 1e-9


def _check_spread(law: tuple[int, int, int, int, int]) -> None:
    """Compare the loss at w = 0 with half the expectation of y^2, k + tau^2 + sigma^2."""
    d, k, n, m_in, m_out = law
    tasks = ms.LinearTasks(d=d, k=k, noise=0.1, spread=SPREAD)
    still = ms.ANIL(alpha=ALPHA, beta=0.0)
    r = ms.train(tasks, still, rounds=100, n=n, m_in=m_in, m_out=m_out, record="loss_in", stop=None)
    expected = (k + SPREAD**2 + 0.1**2) / 2
    assert abs(r.trace["loss_in"].mean() - expected) < 0.05 * expected


def _check(inputs: Problem) -> None:
    """Assert that the gradients equal those that NumPy computes task by task."""
    X, y, B, w = inputs.arrays.X_in, inputs.arrays.y_in, inputs.B, inputs.w
    m, k = X.shape[1], B.shape[1]
    heads = []
    for X_i, y_i in zip(X, y, strict=True):
        Z = X_i @ B
        heads.append(np.linalg.solve(Z.T @ Z / m + LAM * np.eye(k), Z.T @ y_i / m + LAM * w))
    found = ms.adapt(B, w, X, y, SOLVED["RidgeANIL"])
    assert relative(found, np.array(heads)) < 1e-9
    moved = np.zeros_like(B)
    for X_i, y_i in zip(X, y, strict=True):
        B_i, w_i = B.copy(), w.copy()
        for _ in range(STEPS):
            g = X_i.T @ (X_i @ (B_i @ w_i) - y_i) / m
            B_i, w_i = B_i - ALPHA * np.outer(g, w_i), w_i - ALPHA * (B_i.T @ g)
        moved += (B - B_i) / len(X)
    found = ms.meta_gradient(B, w, inputs.batch, LOCAL, losses=False).B
    assert relative(found, moved) < 1e-6
    _check_learned(inputs)


def _check_learned(inputs: Problem) -> None:
    """Compare the gradient of the step size, and that of a co-learner, with those of NumPy."""
    arrays, B, w = inputs.arrays, inputs.B, inputs.w
    m, v = arrays.X_out.shape[1], np.ones(B.shape[1])
    by_alpha, by_v = 0.0, np.zeros(B.shape[1])
    for X, y, X_out, y_out in zip(
        arrays.X_in, arrays.y_in, arrays.X_out, arrays.y_out, strict=True
    ):
        Z, Z_out = X @ B, X_out @ B
        b = Z.T @ (Z @ w - y) / len(y)
        by_alpha -= Z_out.T @ (Z_out @ (w - ALPHA * b) - y_out) @ b / (m * len(arrays.X_in))
        by_v += 0.5 * Z_out.T @ (Z_out @ v - y_out) / (m * len(arrays.X_in))
    g = ms.meta_gradient(B, w, inputs.batch, LEARNED["Meta-SGD"], losses=False)
    assert g.alpha is not None
    assert relative(g.alpha, np.array([by_alpha])) < 1e-9
    g = ms.meta_gradient(B, w, inputs.batch, LEARNED["co-learner"], losses=False, v=v)
    assert g.v is not None
    assert relative(g.v, by_v) < 1e-9
