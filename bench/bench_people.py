"""Times a fit of `SharedRepresentation` beside the same algorithm in careful NumPy and SciPy.

Both sides make the contrasts of every task, start at the estimator of Duchi et al., alternate
least-squares heads with gradient steps for a fixed number of iterations, and must find the same
components. The peer stores the contrasts in an array of their own. The floor is the time in which
all cores read the features once; both sides read them once or twice in each iteration.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, beside_peers, cpus, figure, side_by_side
from bench.machine import limits

SHAPE, QUICK = (10_000, 10, 200, 100), (1_000, 5, 60, 40)  # d, k, n, m
ITERATIONS = 30
TARGET = 3.0  # times faster than the peer
SAME = 1e-6  # largest sine between the components of both sides
DECAY = 0.6  # feature j has the standard deviation j^-DECAY


def fit(options: Options) -> list[Figure]:
    """Time the fit with a fixed rank and number of iterations, heads included."""
    d, k, n, m = QUICK if options.quick else SHAPE
    rng = np.random.default_rng(30)
    X = rng.standard_normal((n * m, d))
    X *= np.arange(1.0, d + 1) ** -DECAY
    B_star, heads = rng.standard_normal((d, k)), rng.standard_normal((n, k))
    tasks = np.repeat(np.arange(n), m)
    y = np.sum((X @ B_star) * heads[tasks], axis=1)
    y += 0.3 * np.std(y) * rng.standard_normal(n * m) + rng.standard_normal(n)[tasks]

    def ours() -> np.ndarray:
        model = ms.SharedRepresentation(rank=k, method=method, rounds=ITERATIONS)
        return np.asarray(model.fit(X, y, tasks=tasks).components_.T)

    method = ms.AltMinGD(tol=0.0)
    before = _peak()
    B = np.linalg.qr(ours())[0]
    grown = _peak() - before
    P = np.linalg.qr(_fit_in_numpy(X, y, m, k))[0]
    sine = np.linalg.norm(P - B @ (B.T @ P), 2)
    assert sine < SAME, sine
    timings = side_by_side(
        {"metaspan": ours, "NumPy and SciPy": lambda: _fit_in_numpy(X, y, m, k)},
        options.long_repeats,
    )
    about: dict[str, Any] = {
        "bench": "people",
        "case": f"fit, (d, k, n, m) = ({d}, {k}, {n}, {m}), cores: {len(cpus())}",
    }
    figures = beside_peers(
        "metaspan",
        timings,
        {who: timing.median for who, timing in timings.items()},
        missing={},
        floor=8 * d * n * m / 1e9 / limits(options.repeats)["read"],
        target=TARGET,
        unit="s",
        **about,
    )
    share = grown / X.nbytes
    return [
        *figures,
        figure(timings["metaspan"], share, who="memory / features", unit="x", **about),
    ]


def _peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _fit_in_numpy(X: np.ndarray, y: np.ndarray, m: int, k: int) -> np.ndarray:
    """Return the components (d, k) of tasks with m rows each, by the algorithm of `AltMinGD`."""
    n, d = len(y) // m, X.shape[1]
    rows = _contrasts(X.reshape(n, m, d)).reshape(-1, d)
    labels = _contrasts(y.reshape(n, m, 1))[:, :, 0]
    B = _duchi(rows, labels, k)
    loss, heads, gradient = _evaluate(rows, labels, B)
    ratio = _curvature(rows, heads, gradient) / np.linalg.norm(heads.T @ heads / n, 2)
    for _ in range(ITERATIONS):
        moment = np.linalg.norm(heads.T @ heads / n, 2)
        while True:
            moved = _evaluate(rows, labels, B - gradient / (ratio * moment))
            if moved[0] <= loss * (1 + 2e-15):
                break
            ratio *= 2
        B, R = np.linalg.qr(B - gradient / (ratio * moment))
        loss, heads, gradient = moved[0], moved[1] @ R.T, moved[2] @ R.T
        ratio *= 0.9
    Z = (rows @ B).reshape(n, m - 1, k)
    A, b = np.einsum("nmi,nmj->nij", Z, Z), np.einsum("nmi,nm->ni", Z, labels)
    np.linalg.solve(A + np.eye(k), b[:, :, None])  # the ridge heads
    return B


def _contrasts(rows: np.ndarray) -> np.ndarray:
    """Return the contrasts (n, m - 1, d) of tasks (n, m, d)."""
    m = rows.shape[1]
    mirror = np.full(m, 1 / np.sqrt(m))
    mirror[0] -= 1
    along = mirror @ rows * (1 / (1 - 1 / np.sqrt(m)))
    return rows[:, 1:] - mirror[1:, None] * along[:, None, :]


def _duchi(rows: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return the top eigenvectors (d, k) of the estimator of Duchi et al. by ARPACK."""
    from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: PLC0415

    d, (n, m) = rows.shape[1], labels.shape

    def product(q: np.ndarray) -> np.ndarray:
        terms = labels * (rows @ q.ravel()).reshape(n, m)
        rest = terms.sum(axis=1, keepdims=True) - terms
        return np.asarray((labels * rest).ravel() @ rows / (n * m * (m - 1)))

    operator = LinearOperator((d, d), matvec=product, dtype=float)
    return np.asarray(eigsh(operator, k=k, which="LA", v0=np.ones(d), tol=1e-8)[1])


def _evaluate(
    rows: np.ndarray, labels: np.ndarray, B: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the loss at the least-squares heads, the heads, and the gradient in B."""
    n, m = labels.shape
    Z = (rows @ B).reshape(n, m, -1)
    A, b = np.matmul(Z.transpose(0, 2, 1), Z), np.matmul(Z.transpose(0, 2, 1), labels[:, :, None])
    heads = np.linalg.solve(A, b)
    residuals = np.matmul(Z, heads)[:, :, 0] - labels
    C = residuals[:, :, None] * heads.transpose(0, 2, 1) / (n * m)
    loss = float(np.sum(residuals**2)) / (2 * n * m)
    return loss, heads[:, :, 0], rows.T @ C.reshape(n * m, -1)


def _curvature(rows: np.ndarray, heads: np.ndarray, start: np.ndarray) -> float:
    """Estimate the largest curvature in B at given heads by eight steps of power iteration."""
    n, P, value = len(heads), start, 0.0
    for _ in range(8):
        Z = (rows @ (P / np.linalg.norm(P))).reshape(n, -1, heads.shape[1])
        products = np.matmul(Z, heads[:, :, None])
        P = rows.T @ (products * heads[:, None, :]).reshape(len(rows), -1) / len(rows)
        value = float(np.linalg.norm(P))
    return value
