"""Times the products with all samples that estimators use.

On arrays, it times X B, X^T C and X^T f(X B), each compared with NumPy. NumPy computes the third
product in blocks of tasks that stay in a cache, or in two passes over X, whichever takes less time.
The floor of a product on arrays is the time of one read of X, or of the arithmetic at the rate of
gemm. On generated samples, which are never stored, it times X^T f(X B); the floor is the time in
which all cores draw the normals of the rows once. Before the timing, all products are compared with
those of NumPy. The samples are private objects of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

import metaspan as ms
from bench.draws import normals
from bench.floors import CACHE_BYTES, Work
from bench.harness import (
    Figure,
    Options,
    beside_peers,
    cpus,
    figure,
    power_of_ten,
    relative,
    side_by_side,
)
from bench.machine import limits

SHAPE, QUICK = (10_000, 10, 1_000, 50), (10_000, 10, 200, 50)  # d, k, n, m
MADE, MADE_QUICK = (100_000, 10, 40, 25), (100_000, 10, 12, 25)
BLOCK = 4  # tasks in a block of NumPy, which is multiplied twice while in a cache
TARGETS = {"X B": 1.5, "X^T C": 1.5, "X^T f(X B)": 2.0}  # times faster than NumPy
FLOORS = 1.5  # largest time of a product with generated samples, as a multiple of its floor
TOLERANCE = 1e-11

Product = Callable[[], np.ndarray]


def arrays(options: Options) -> list[Figure]:
    """Time the products with dense samples in memory, beside NumPy."""
    d, k, n, m = shape = QUICK if options.quick else SHAPE
    rng = np.random.default_rng(20)
    X = np.empty((n, m, d))
    X[:] = rng.standard_normal((m, d))
    batch = ms.TaskBatch(X, rng.standard_normal((n, m)), check_finite=False)
    samples = import_module("metaspan.estimators.on_arrays").ArraySamples(batch)
    B, C, rows = rng.standard_normal((d, k)), rng.standard_normal((n * m, k)), X.reshape(n * m, d)
    peers: dict[str, dict[str, Product]] = {
        "X B": {"NumPy": lambda: rows @ B},
        "X^T C": {"NumPy": lambda: rows.T @ C},
        "X^T f(X B)": {
            "NumPy, two passes": lambda: rows.T @ (2.0 * (rows @ B)),
            "NumPy, blocks of tasks": lambda: _in_blocks(rows, B, BLOCK * m),
        },
    }
    ours: dict[str, Product] = {
        "X B": lambda: samples.features(B),
        "X^T C": lambda: samples.combine(C),
        "X^T f(X B)": lambda: samples.combine_features(B, lambda Z, _: 2.0 * Z),
    }
    figures: list[Figure] = []
    for name, product in ours.items():
        error = max(relative(product(), peer()) for peer in peers[name].values())
        assert error < TOLERANCE, (name, error)
        timings = side_by_side({"metaspan": product, **peers[name]}, options.repeats)
        times = 2 if name == "X^T f(X B)" else 1
        work = Work(bytes=X.nbytes, flops=2.0 * times * X.size * k, cached=X.nbytes <= CACHE_BYTES)
        floor, note = work.floor(limits(options.repeats))
        rows_of_figures = beside_peers(
            "metaspan",
            timings,
            {who: timing.median for who, timing in timings.items()},
            floor=floor,
            missing={},
            target=TARGETS[name],
            bench="estimators",
            case=_case(name, shape),
            unit="s",
        )
        figures += [replace(rows_of_figures[0], note=note), *rows_of_figures[1:]]
    return figures


def made(options: Options) -> list[Figure]:
    """Time X^T f(X B) on samples that are generated during the product."""
    d, k, n, m = shape = MADE_QUICK if options.quick else MADE
    law = ms.LinearTasks(d=d, k=k, noise=0.1)
    kind = import_module("metaspan.estimators.sampled").SampledSamples
    B = np.random.default_rng(20).standard_normal((d, k))
    few, batch = kind(law, 2, m), law.sample(2, m, shared_samples=True)
    rows = np.asarray(batch.X_in).reshape(-1, d)
    error = relative(few.combine_features(B, lambda Z, _: 2.0 * Z), rows.T @ (2.0 * (rows @ B)))
    assert error < TOLERANCE, error
    samples = kind(law, n, m)
    timing = side_by_side(
        {"ours": lambda: samples.combine_features(B, lambda Z, _: 2.0 * Z)}, options.repeats
    )["ours"]
    floor = n * m * d / (normals("float64", options.repeats) * len(cpus()))
    about: dict[str, Any] = {"bench": "estimators", "case": _case("generated, X^T f(X B)", shape)}
    return [
        figure(
            timing,
            timing.median,
            who="metaspan",
            unit="s",
            floor=floor,
            target=FLOORS * floor,
            note="floor: the normals of the rows, once",
            **about,
        ),
        figure(
            timing,
            n * m * d / timing.median / 1e6,
            who="rate",
            unit="M normals/s",
            more_is_better=True,
            **about,
        ),
    ]


def _in_blocks(X: np.ndarray, B: np.ndarray, rows: int) -> np.ndarray:
    """Compute X^T 2 X B by blocks of rows, so that X is read from memory once."""
    total = np.zeros(B.shape)
    for first in range(0, len(X), rows):
        block = X[first : first + rows]
        total += block.T @ (2.0 * (block @ B))
    return total


def _case(what: str, shape: tuple[int, ...]) -> str:
    """Name a case by its product, its sizes and the number of cores."""
    sizes = ", ".join(map(power_of_ten, shape))
    return f"{what}, (d, k, n, m) = ({sizes}), cores: {len(cpus())}"
