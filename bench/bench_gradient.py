"""The meta-gradient of the user's own arrays, beside the peers and beside one read of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

import metaspan as ms
from bench import peers
from bench.harness import Figure, Options, absent, cpus, figure, relative, show, side_by_side
from bench.machine import limits

SIZES = (  # d, k, n, m_in, m_out
    (100, 5, 50, 25, 25),
    (1_000, 10, 100, 100, 100),
    (10_000, 10, 100, 50, 50),
    (100_000, 10, 20, 50, 50),
)
METHODS = ("fo-anil", "anil", "fo-maml", "maml")
ALPHA = 0.1
CACHED = 2**24  # bytes: less than this stays in the cache of the machines we measure on


def data(d: int, k: int, n: int, m_in: int, m_out: int) -> tuple[peers.Arrays, np.ndarray]:
    """Linear tasks with a little noise, and B with alpha B^T B = I."""
    rng = np.random.default_rng(7)
    X = [rng.standard_normal((n, m, d)) for m in (m_in, m_out)]
    theta = rng.standard_normal((n, d, 1)) / math.sqrt(d)
    y = [(x @ theta)[:, :, 0] + 0.1 * rng.standard_normal(x.shape[:2]) for x in X]
    B = np.linalg.qr(rng.standard_normal((d, k)))[0] / math.sqrt(ALPHA)
    return peers.Arrays(X_in=X[0], y_in=y[0], X_out=X[1], y_out=y[1]), B


def floors(arrays: peers.Arrays, k: int, machine: dict[str, float]) -> dict[str, float]:
    """Milliseconds: what no route can beat, and what each route cannot."""
    (n, m_in, d), m_out = arrays.X_in.shape, arrays.X_out.shape[1]
    samples = n * (m_in + m_out)
    read = 8 * samples * d / machine["read"] / 1e6
    flops = {"products X B": 2 * samples * d * k, "products X' X^T": 2 * n * m_out * m_in * d}
    return {
        "one read": read,
        "two reads": 2 * read,
        **{name: count / machine["gemm_f64"] / 1e6 for name, count in flops.items()},
    }


def run(options: Options) -> list[Figure]:
    machine = limits(options.repeats)
    there, missing = peers.load()
    figures: list[Figure] = []
    for size in SIZES[:2] if options.quick else SIZES:
        arrays, B = data(*size)
        w = np.random.default_rng(8).standard_normal(len(B.T))
        batch = ms.TaskBatch(arrays.X_in, arrays.y_in, arrays.X_out, arrays.y_out)
        least = floors(arrays, len(w), machine)
        cached = arrays.X_in.nbytes + arrays.X_out.nbytes < CACHED
        for method in METHODS:
            calls: dict[str, Callable[[], object]] = {
                peer.name: peer.gradient(arrays, B, w, peers.RULES[method], ALPHA) for peer in there
            }
            calls["metaspan"] = partial(ms.meta_gradient, B, w, batch, method, alpha=ALPHA)
            _assert_same_gradient(calls, method)
            about = {
                "bench": "gradient",
                "case": f"{method}, (d, k, n, m_in, m_out) = {size}, cores: {len(cpus())}",
                "unit": "ms",
            }
            floor = {
                "floor": None if cached else least["one read"],
                "note": "the data stay in the cache: no floor"
                if cached
                else "floors: "
                + ", ".join(f"{name} {show(least_ms)} ms" for name, least_ms in least.items()),
            }
            for who, timing in side_by_side(calls, options.repeats).items():
                figures.append(figure(timing, timing.median * 1e3, who=who, **about, **floor))
            figures += absent(missing, **about)
    return figures


def _assert_same_gradient(calls: dict[str, Callable[[], object]], method: str) -> None:
    """Everybody finds NumPy's gradient, entry by entry."""
    expected = calls["NumPy"]()
    for who, call in calls.items():
        found = call()
        pair = (found.B, found.w) if isinstance(found, ms.Gradient) else found
        off = [relative(a, b) for a, b in zip(pair, expected, strict=True)]
        assert max(off) < 1e-10, f"{method}: the gradients of {who} and NumPy differ by {off}"
