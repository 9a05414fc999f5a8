"""Times products with samples in law, (36), and the split spectral estimator in law, (37).

The floor of a product is the time in which all cores read the numbers of the samples once. Products
with all rows are checked by two identities: <C, X B> = <X^T C, B>, and one pass over the rows gives
the same bits as two separate products.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, Seconds, cpus, figure, long_calls, relative, side_by_side
from bench.machine import limits

D, K_STAR, M = 10**12, 10, 25
TASKS, QUICK_TASKS = 800, 200  # of M samples each: 20,000 rows have 1.6 GB
COLUMNS = (1, 10, 30)
SHARE = 0.5  # target for the rate of a product, as a share of the rate of reading
SPLIT_TASKS, QUICK_SPLIT_TASKS = 10_000, 1_000
SPLIT_SECONDS = 10.0  # target for the split spectral estimator of SPLIT_TASKS tasks


def run(options: Options) -> list[Figure]:
    """Time products with the rows, and a whole fit, from drawing the averages to the end."""
    return _products(options) + _split_spectral(options)


def _products(options: Options) -> list[Figure]:
    n = QUICK_TASKS if options.quick else TASKS
    tasks = ms.LinearTasks(d=D, k=K_STAR, noise=1.0)
    kind = import_module("metaspan.estimators.in_law").LawSamples
    samples = kind(tasks, n, M, 0, 0, len(cpus()), K_STAR)
    rows = samples.rows
    gigabytes = rows.bytes(rows.count, K_STAR, float(D)) / 1e9
    floor = gigabytes / limits(options.repeats)["read"] * 1e3
    figures: list[Figure] = []
    for k in COLUMNS[:2] if options.quick else COLUMNS:
        rng = np.random.default_rng(k)
        B, C = rng.standard_normal((samples.dim, k)), rng.standard_normal((rows.count, k))
        _check(samples, B, C)
        calls: dict[str, Callable[[], object]] = {
            "X B": lambda B=B: samples.features(B),
            "X^T C": lambda C=C: samples.combine(C),
            "X^T (X B), one pass": lambda B=B: samples.combine_features(B, lambda Z, _: Z),
        }
        timings = side_by_side(calls, options.repeats)
        case = f"{rows.count} samples in law, d = 10^12, k = {k}, cores: {len(cpus())}"
        for who, timing in timings.items():
            took = timing.median * 1e3
            shared = {"bench": "estimators in law", "case": case}
            figures.append(figure(timing, took, who=who, unit="ms", floor=floor, **shared))
            figures.append(
                figure(
                    timing,
                    gigabytes / timing.median / limits(options.repeats)["read"],
                    who=f"{who}: share of the rate of reading",
                    unit="x",
                    more_is_better=True,
                    target=SHARE,
                    **shared,
                )
            )
    return figures


def _check(samples: Any, B: np.ndarray, C: np.ndarray) -> None:
    """Assert that X^T is the transpose of X, and that one pass gives the bits of two products."""
    Z = samples.features(B)
    assert (
        relative(np.einsum("nk,nk->k", C, Z), np.einsum("dk,dk->k", samples.combine(C), B)) < 1e-9
    )
    assert np.array_equal(samples.combine_features(B, lambda Z, _: Z), samples.combine(Z))


def _split_spectral(options: Options) -> list[Figure]:
    n = QUICK_SPLIT_TASKS if options.quick else SPLIT_TASKS
    tasks = ms.LinearTasks(d=D, k=K_STAR, noise=1.0)

    def fit() -> Seconds:
        r = ms.fit(tasks, "split-spectral", n=n, m=M, engine="law")
        assert r.status == ms.Status.CONVERGED, r.status
        assert 0.99 < r.trace["dist"][-1] <= 1.0  # 10^4 tasks say nothing about 10^12 features
        return Seconds(r.timings["total"])

    _, timing = long_calls(fit, 1 if options.quick else 3)
    return [
        figure(
            timing,
            timing.median,
            who="split-spectral",
            bench="estimators in law",
            case=f"a fit, (d, k, n, m) = (10^12, {K_STAR}, {n}, {M}), cores: {len(cpus())}",
            unit="s",
            target=None if options.quick else SPLIT_SECONDS,
        )
    ]
