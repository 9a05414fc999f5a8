"""Times estimators on arrays: those in one step, and rounds of AltMinGD beside rounds of ANIL.

The peers of estimators in one step are careful programs without the package: they multiply one
array of all samples, and use `scipy.sparse.linalg.eigsh` for the top eigenvectors and
`scipy.sparse.linalg.cg` for the pooled regression. Both sides must find the same subspace. The
floor is the time in which all cores read the samples once; both sides iterate and read the samples
many times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, beside_peers, cpus, figure, side_by_side
from bench.machine import limits

SHAPE, QUICK = (10_000, 10, 1_000, 50), (2_000, 5, 150, 40)  # d, k, n, m
ROUNDS_SHAPE = (1_000, 10, 400, 50)
TARGET = 3.0  # times faster than the peer
ROUNDS_TARGET = 1.5  # the most that an iteration of AltMinGD takes, in rounds of ANIL
TOL = 1e-9  # of the peer's residuals, relative to the eigenvalues
SAME = 1e-5  # largest sine between the subspaces of both sides


def one_step(options: Options) -> list[Figure]:
    """Time the method of moments, the estimator of Duchi et al., and the pooled regression."""
    d, k, n, m = QUICK if options.quick else SHAPE
    rng = np.random.default_rng(20)
    X, heads = rng.standard_normal((n, m, d)), rng.standard_normal((n, k))
    heads += 1.0  # the pooled regression finds the mean
    y = np.einsum("nmk,nk->nm", X[:, :, :k], heads) + 0.1 * rng.standard_normal((n, m))
    batch = ms.TaskBatch(X, y)
    rows, labels = X.reshape(-1, d), y.ravel()
    figures: list[Figure] = []
    peers = {
        "moments": (k, lambda: _top(lambda q: _moments(rows, labels, q), d, k)),
        "duchi": (k, lambda: _top(lambda q: _duchi(rows, labels, m, q), d, k)),
        "pooled": (1, lambda: _pooled(rows, labels)),
    }
    for name, (width, peer) in peers.items():
        figures += _beside(batch, name, width, peer, options)
    return figures


def _beside(
    batch: ms.TaskBatch, name: str, width: int, peer: Callable[[], np.ndarray], options: Options
) -> list[Figure]:
    """Time one estimator beside its peer, after a check that both find the same subspace."""
    d, n = batch.d, batch.n
    count = sum(len(y) for y in batch.y_in)

    def ours() -> np.ndarray:
        r = ms.fit(batch, name, width=width, record=())
        assert r.status == ms.Status.CONVERGED, r.status
        return np.asarray(r.B)

    Q, B = np.linalg.qr(peer())[0], ours()
    sine = np.linalg.norm(Q - B @ (B.T @ Q), 2)
    assert sine < SAME, (name, sine)
    timings = side_by_side({"metaspan": ours, "NumPy and SciPy": peer}, options.long_repeats)
    took = {who: timing.median for who, timing in timings.items()}
    return beside_peers(
        "metaspan",
        timings,
        took,
        missing={},
        floor=8 * d * count / 1e9 / limits(options.repeats)["read"],
        target=TARGET,
        bench="estimators",
        case=f"{name}, (d, k, n) = ({d}, {width}, {n}), cores: {len(cpus())}",
        unit="s",
    )


def rounds(options: Options) -> list[Figure]:
    """Time iterations of AltMinGD beside rounds of ANIL on the same samples.

    Both take a gradient step in B; the heads of AltMinGD are those of least squares, and those of
    ANIL come from one inner step. Before the timing, the loss at the last iterate is compared with
    NumPy's. The cost of starting both is part of the timing.
    """
    d, k, n, m = ROUNDS_SHAPE
    count = 5 if options.quick else 20
    rng = np.random.default_rng(21)
    X, heads = rng.standard_normal((n, m, d)), rng.standard_normal((n, k))
    y = np.einsum("nmk,nk->nm", X[:, :, :k], heads) + rng.standard_normal((n, m))
    batch = ms.TaskBatch.split(X, y, m // 2)
    shared: dict[str, Any] = {"width": k, "rounds": count, "stop": None}

    def altmin_gd() -> ms.Result:
        return ms.fit(batch, "altmin-gd", start="random", step=0.5, record="objective", **shared)

    def anil() -> ms.Result:
        return ms.train(batch, "anil", alpha=0.1, beta=0.1, record="loss_out", **shared)

    r = altmin_gd()
    Z = X @ np.asarray(r.B)
    errors = sum(np.linalg.lstsq(Z[i], y[i], rcond=None)[1][0] for i in range(n))
    assert abs(r.trace["objective"][-1] - errors / (2 * n * m)) < 1e-9 * errors
    timings = side_by_side({"AltMinGD": altmin_gd, "ANIL": anil}, options.repeats)
    about: dict[str, Any] = {"bench": "estimators", "case": _rounds_case()}
    figures = [
        figure(timing, timing.median / count * 1e3, who=who, unit="ms", **about)
        for who, timing in timings.items()
    ]
    ratio = timings["AltMinGD"].median / timings["ANIL"].median
    who = "AltMinGD / ANIL"
    return [
        *figures,
        figure(timings["AltMinGD"], ratio, who=who, unit="x", target=ROUNDS_TARGET, **about),
    ]


def _rounds_case() -> str:
    """Name the case of `rounds` by its sizes and the number of cores."""
    return f"a round, (d, k, n, m) = {ROUNDS_SHAPE}, cores: {len(cpus())}"


def _top(product: Callable[[np.ndarray], np.ndarray], d: int, k: int) -> np.ndarray:
    """Return the top eigenvectors (d, k) by ARPACK."""
    from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: PLC0415

    operator = LinearOperator((d, d), matvec=product, dtype=float)
    return np.asarray(eigsh(operator, k=k, which="LA", v0=np.ones(d), tol=TOL)[1])


def _moments(X: np.ndarray, y: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (y**2 * (X @ q)) @ X / len(y)


def _duchi(X: np.ndarray, y: np.ndarray, m: int, q: np.ndarray) -> np.ndarray:
    terms = (y * (X @ q)).reshape(-1, m)
    rest = terms.sum(axis=1, keepdims=True) - terms
    return (y * rest.ravel()) @ X / (len(y) * (m - 1))


def _pooled(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, cg  # noqa: PLC0415

    d = X.shape[1]
    operator = LinearOperator((d, d), matvec=lambda p: (X @ p) @ X, dtype=float)
    solved, failed = cg(operator, y @ X, rtol=1e-10)
    assert not failed
    return np.asarray(solved)[:, None]
