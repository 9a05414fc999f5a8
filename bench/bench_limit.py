"""Times rounds of the limit of infinitely many tasks and dimensions, (55).

Before a size is timed, the package must reach the state of the same recursion in NumPy, written
with the general moments (52) of Gaussian heads. Both record `dist` at the end only.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, cpus, figure, relative, side_by_side

ALPHA, BETA, NOISE, M_IN, M_OUT, GAMMA = 0.05, 0.05, 0.3, 200, 50, 2.0
TARGET = 50.0  # us a round at k = 10
SIZES = (2, 5, 10, 20)

Array = np.ndarray
State = tuple[Array, Array]  # C = [M; R], w


def sym(X: Array) -> Array:
    return X + X.T


class Moments:
    """The moments (52) of e = C w - [w_star; 0] for heads N(0, I) and noise."""

    def __init__(self, C: Array, w: Array, k_star: int) -> None:
        D = len(C)
        self.mean = C @ w
        self.A = np.outer(self.mean, self.mean)
        self.A[:k_star, :k_star] += np.eye(k_star)
        self.cov = np.diag(np.arange(D) < k_star).astype(float)

    def q(self, N: Array) -> float:
        return float(np.sum(N * self.A))

    def q1(self, N: Array) -> Array:
        return self.q(N) * self.mean + 2 * self.cov @ (N @ self.mean)

    def q2(self, N: Array) -> Array:
        e = self.mean
        return self.q(N) * self.A + 2 * (self.A @ N @ self.A - (e @ N @ e) * np.outer(e, e))


def first_order_round(C: Array, w: Array, k_star: int) -> tuple[Array, Array, Array]:
    """Compute (53) and (54) for first-order ANIL, term by term."""
    a, i, o, s2 = ALPHA, 1 / M_IN, 1 / M_OUT, NOISE**2
    c1, c2, c3 = 1 + i, 1 + 2 * i, 1 + 3 * i
    e, G, P, I = Moments(C, w, k_star), C.T @ C, C @ C.T, np.eye(len(C))  # noqa: E741
    P2, g2 = P @ P, float(np.sum(G * G))
    in_I, in_P, in_P2 = e.q2(I), e.q2(P), e.q2(P2)
    v = e.q(I) + s2
    v2 = np.trace(in_I) + 2 * s2 * e.q(I) + s2**2
    bv, av = np.trace(in_P) + s2 * e.q(P), np.trace(in_P2) + s2 * e.q(P2)
    Fb, FF = C.T @ e.mean, C.T @ e.A @ C
    vF, vFF = C.T @ (e.q1(I) + s2 * e.mean), C.T @ (in_I + s2 * e.A) @ C
    x1 = c1 * C.T @ e.q1(P) + i * G @ vF
    x2 = c2 * (c1 * C.T @ e.q1(P2) + i * (g2 * vF + 2 * G @ G @ vF))
    X1 = c2 * (c1 * C.T @ in_P @ C + i * (bv * G + sym(G @ vFF)))
    X2 = c1 * C.T @ in_P2 @ C + i * (av * G + g2 * vFF + 2 * sym(G @ G @ vFF))
    X2 = c2 * (c3 * X2 + i**2 * v2 * (g2 * G + 2 * G @ G @ G))
    u2 = c1 * e.q(P2) + i * v * g2
    ww = np.outer(w, w)
    S = v * ww - a * sym(np.outer(w, vF)) + a**2 * (c1 * vFF + i * v2 * G)
    S += -2 * a * (e.q(P) * ww - a * sym(np.outer(w, x1)) + a**2 * X1)
    S += a**2 * (u2 * ww - a * sym(np.outer(w, x2)) + a**2 * X2)
    by_C = np.outer(e.mean - a * C @ Fb, w) - a * e.A @ C + a**2 * C @ (c1 * FF + i * v * G)
    return by_C, C.T @ (e.mean - a * C @ Fb), o * S


def numpy_recursion(start: State, k_star: int, rounds: int) -> State:
    """Take rounds of (55) with NumPy."""
    C, w = start
    for _ in range(rounds):
        by_C, by_w, S = first_order_round(C, w, k_star)
        values, vectors = np.linalg.eigh(S)
        rows = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        C, w = C - BETA * by_C, w - BETA * by_w
        stacked = np.concatenate([C[k_star:], BETA * np.sqrt(GAMMA) * rows])
        C = np.concatenate([C[:k_star], np.linalg.qr(stacked, mode="r")])
    return C, w


def train(B_star: Array, start: State, rounds: int, method: str, **rest: object) -> ms.Result:
    """Run the limit from B = [M; R], whose first rows are the coordinates along B_star."""
    d, k = B_star.shape
    tasks = ms.LinearTasks(d=d, k=k, noise=NOISE, B_star=B_star)
    result = ms.train(
        tasks, method, alpha=ALPHA, beta=BETA, n=None, m_in=M_IN, m_out=M_OUT, d_over_n=GAMMA,
        rounds=rounds, init=start, record_every=rounds, stop=None, threads=1, **rest,
    )  # fmt: skip
    assert result.status == ms.Status.FINISHED, result.status
    return result


def run(options: Options) -> list[Figure]:
    """Time rounds at k = k_star of several sizes, first-order and exact, beside NumPy."""
    figures = []
    for k in SIZES:
        rng = np.random.default_rng(k)
        Q = np.linalg.qr(rng.standard_normal((2 * k, k)))[0]
        start = (Q / np.sqrt(ALPHA), 0.1 * rng.standard_normal(k))
        B_star = np.eye(2 * k, k)
        _assert_same(B_star, start)
        lengths = {"metaspan": options.rounds(4000), "NumPy": options.rounds(200)}
        lengths["metaspan, exact"] = lengths["metaspan"]
        calls = {
            "metaspan": partial(train, B_star, start, lengths["metaspan"], "fo-anil"),
            "metaspan, exact": partial(train, B_star, start, lengths["metaspan"], "anil"),
            "NumPy": partial(numpy_recursion, start, k, lengths["NumPy"]),
        }
        timings = side_by_side(calls, options.repeats)
        took = {who: 1e6 * timings[who].median / lengths[who] for who in calls}
        figures += [
            figure(
                timings[who],
                took[who],
                bench="limit",
                case=f"k=k_star={k}, Gaussian heads, finite sets, gamma={GAMMA:g}, cores: "
                f"{len(cpus())}",
                who=who,
                unit="us/round",
                target=TARGET if k == 10 and who != "NumPy" else None,
                ours=took["metaspan"] if who == "NumPy" else None,
                note="exact ANIL" if who.endswith("exact") else "FO-ANIL",
            )
            for who in calls
        ]
    return figures


def _assert_same(B_star: Array, start: State) -> None:
    """Assert that the package and NumPy reach the same state from the same start."""
    k = B_star.shape[1]
    M, R, w = train(B_star, start, 50, "fo-anil").state
    C, expected_w = numpy_recursion(start, k, 50)
    for found, expected in ((M, C[:k]), (R.T @ R, C[k:].T @ C[k:]), (w, expected_w)):
        assert relative(found, expected) < 1e-9, "the recursions differ"
