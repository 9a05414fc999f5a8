"""Times estimators in one step on arrays, compared with NumPy and SciPy.

The peers are careful programs without the package: they multiply one array of all samples, and use
`scipy.sparse.linalg.eigsh` for the top eigenvectors and `scipy.sparse.linalg.cg` for the pooled
regression. Both sides must find the same subspace. The floor is the time in which all cores read
the samples once; both sides iterate and read the samples many times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, beside_peers, cpus, side_by_side
from bench.machine import limits

SHAPE, QUICK = (10_000, 10, 1_000, 50), (2_000, 5, 150, 40)  # d, k, n, m
TARGET = 3.0  # times faster than the peer
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
    timings = side_by_side(
        {"metaspan": ours, "NumPy and SciPy": peer}, 1 if options.quick else options.repeats
    )
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
