"""Compares estimates of time with runs and fits of every engine; the target is a factor of two.

A run has at least three rounds, and so many that by the estimate it takes a quarter of a second. If
the estimate is wrong, the run is much shorter or longer. The figure is the ratio of the estimated
and the measured time, or its inverse if that is larger. The measured time is the least of the
samples, since other processes can only lengthen a run. Estimates are also wrong if the constants of
the cost model were measured on a busy machine; `metaspan info` shows these constants.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import metaspan as ms
from bench.harness import Figure, Options, Timing, cpus, figure, side_by_side

TARGET = 2.0  # largest factor between estimate and run
SECONDS = 0.25  # expected time of a run
LEAST, MOST = 3, 200_000  # least and largest number of rounds
SMALL_STEPS = {"alpha": 1e-3, "beta": 1e-10}  # small enough that no run diverges
FOUR = ("fo-anil", "anil", "fo-maml", "maml")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call of `train` without its number of rounds."""

    name: str  # begins with the method
    tasks: ms.LinearTasks | ms.TaskBatch
    method: Any
    options: dict[str, Any] = field(default_factory=dict)


def case(name: str, tasks: ms.LinearTasks | ms.TaskBatch, method: str, **options: Any) -> Case:
    """Make a case whose name begins with the method."""
    steps = options.pop("steps", 1)
    kind = ms.MAML if "maml" in method else ms.ANIL
    rule = kind(inner_steps=steps, first_order=method.startswith("fo-"), **SMALL_STEPS)
    about = f"{method}, {name}{f', {steps} inner steps' if steps > 1 else ''}"
    return Case(name=about, tasks=tasks, method=rule, options=options)


def law(d: int, k: int, **rest: Any) -> ms.LinearTasks:
    """Make a distribution of tasks with noise."""
    return ms.LinearTasks(d=d, k=k, noise=0.1, **rest)


def in_coordinates() -> Iterator[Case]:
    """Yield cases of runs on population losses, on infinitely many tasks, and on samples in law."""
    for k, n in ((3, 1000), (3, 3), (10, 100), (20, 8), (20, 1000)):
        for method in FOUR:
            yield case(f"population, k={k} n={n}", law(10**6, k), method, n=n)
        yield case(f"population, k={k} n={n}", law(10**6, k), "maml", n=n, steps=3)
    some = {"n": 100, "record": ("dist", "angles", "loss_out", "mu")}
    yield case("population, four records, k=10 n=100", law(10**6, 10), "anil", **some)
    yield case(
        "population, every 10th, k=10 n=100", law(10**6, 10), "anil", record_every=10, **some
    )
    yield case("population, 8 trials, k=5 n=100", law(10**6, 5), "maml", n=100, trials=8)
    yield case("population, wider, k*=5 k=10 n=100", law(10**6, 5), "maml", n=100, width=10)
    yield case("population, pool, k=5 n=100", law(10**6, 5), "maml", n=100, pool=500)
    yield case("infinite tasks, k=3", law(10**6, 3), "fo-anil", n=None, m_in=10)
    yield case("infinite tasks, k=20", law(10**6, 20), "fo-anil", n=None, m_in=10)
    for k in (3, 20):
        limit = {"n": None, "m_in": 10, "m_out": 10, "d_over_n": 2.0}
        yield case(f"limit, k={k}", law(10**6, k), "anil", **limit)
    for features in ("gaussian", "sphere", "student-t"):
        for k, n, m in ((3, 10, 5), (5, 1000, 20), (20, 100, 20)):
            for method in ("fo-anil", "maml"):
                tasks = law(10**6, k, features=features)
                yield case(f"{features}, k={k} n={n} m={m}", tasks, method, n=n, m_in=m, m_out=m)
    yield case("gaussian, k=5 n=100 m=10", law(10**6, 5), "maml", n=100, m_in=10, m_out=10, steps=3)
    yield case("gaussian, m_out infinite, k=5 n=100", law(10**6, 5), "anil", n=100, m_in=10)
    shared = {"n": 100, "m_in": 10, "shared_samples": True}
    yield case("gaussian, shared, k=5 n=100 m=10", law(10**6, 5), "anil", **shared)


def at_full_size() -> Iterator[Case]:
    """Yield cases of runs with spectra, on samples at full dimension, and on pools of tasks."""
    for d, k, n in ((100, 3, 10), (100, 20, 500), (10_000, 5, 100), (100_000, 20, 10)):
        for method in ("fo-anil", "maml"):
            tasks = law(d, k, spectrum=np.linspace(0.5, 1.0, d))
            yield case(f"spectrum, d={d} k={k} n={n}", tasks, method, n=n)
    tasks = law(100, 5, spectrum=np.linspace(0.5, 1.0, 100))
    yield case("spectrum, d=100 k=5 n=100", tasks, "maml", n=100, steps=3)
    for d, k, n, m in ((50, 5, 100, 10), (1000, 10, 50, 10), (30_000, 5, 10, 10)):
        for method in ("fo-anil", "maml"):
            options = {"n": n, "m_in": m, "m_out": m, "engine": "sampled"}
            yield case(f"sampled, d={d} k={k} n={n} m={m}", law(d, k), method, **options)
    for engine in ("collapsed", "arrays"):
        for size, m, n in ((10, 5, 10), (50, 20, 10)):
            options = {"pool": size, "m_in": m, "m_out": m, "n": n, "engine": engine}
            yield case(f"{engine}, pool={size} m={m} n={n}", law(2000, 5), "maml", **options)


def batch(size: tuple[int, ...], dtype: str, density: float = 1.0) -> ms.TaskBatch:
    """Make a batch of size (n, m, d, k), dense or sparse."""
    n, m, d, k = size
    rng = np.random.default_rng(3)
    B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
    heads = rng.standard_normal((n, k))
    sets: list[Any] = []
    for _ in range(2):
        X: Any = rng.standard_normal((n, m, d))
        if density < 1:
            X = [csr_array(x * (rng.random((m, d)) < density)) for x in X]
        y = np.stack([x @ (B_star @ head) for x, head in zip(X, heads, strict=True)])
        sets += [X if density < 1 else X.astype(dtype), y if density < 1 else y.astype(dtype)]
    return ms.TaskBatch(*sets, B_star=B_star.astype(dtype))


# n, m, d and k
SIZES = ((3, 5, 20, 3), (20, 10, 100, 5), (1000, 5, 20, 5), (20, 20, 3000, 10), (4, 20, 50_000, 5))


def on_arrays() -> Iterator[Case]:
    """Yield cases of runs on the user's own data, for every route."""
    for dtype in ("float64", "float32"):
        for n, m, d, k in SIZES:
            data = batch((n, m, d, k), dtype)
            for route in ("gram", "vector", "dual"):
                if route == "dual" and n * m > 1000:
                    continue
                for method in ("fo-anil", "maml"):
                    name = f"{dtype}, {route}, n={n} m={m} d={d} k={k}"
                    yield case(name, data, method, route=route)
        yield case(f"{dtype}, n=10 of 100", batch((100, 10, 100, 5), dtype), "maml", n=10)
        data = batch((20, 10, 100, 5), dtype)
        yield case(f"{dtype}, vector, d=100", data, "maml", route="vector", steps=3)
        yield case(f"{dtype}, gram, d=100", data, "maml", route="gram", steps=3)
    single = {"route": "vector", "accumulate": "float32"}
    yield case("sums in float32", batch((20, 20, 3000, 10), "float32"), "maml", **single)
    for n, m, d, k in ((20, 20, 2000, 5), (4, 50, 50_000, 10)):
        data = batch((n, m, d, k), "float64", density=0.01)
        for route in ("gram", "vector", "dual"):
            yield case(f"sparse, {route}, n={n} d={d}", data, "maml", route=route)


def on_disk(folder: Path) -> Iterator[Case]:
    """Yield cases on features on disk, which the page cache holds after the first round."""
    rng = np.random.default_rng(4)
    n, m, d, k = 20, 20, 20_000, 5
    paths = [folder / f"X_{name}.npy" for name in ("in", "out")]
    for path in paths:
        np.save(path, rng.standard_normal((n, m, d)))
    y = rng.standard_normal((n, m))
    X_in, X_out = (np.load(path, mmap_mode="r") for path in paths)
    data = ms.TaskBatch(X_in, y, X_out, y)
    for route in ("gram", "vector", "dual"):
        yield case(f"on disk, {route}, n={n} m={m} d={d} k={k}", data, "anil", width=k, route=route)


# Options with which a fit does a known number of passes or iterations. "altmin" is left out: the
# samples determine how many steps of conjugate gradients an iteration takes.
FIXED = {
    "moments": {"tol": 0.0},
    "duchi": {"tol": 0.0},
    "split-spectral": {"tol": 0.0},
    "single-task": {"tol": 0.0, "ridge": 0.1},
    "pooled": {"tol": 0.0},
    "altmin-gd": {"tol": 0.0, "start": "random"},
    "altgdmin": {},
    "burer-monteiro": {"tol": 0.0},
    "meta-sp": {"tol": 0.0},
}
OF_PASSES = ("moments", "duchi", "split-spectral", "single-task", "pooled")
FIT_COUNT = 6  # passes or iterations of a fit: so few that no fit reaches rounding errors


def fits() -> Iterator[Case]:
    """Yield cases of fits on arrays, on samples that are generated, and in law."""
    long, wide = batch((1000, 10, 200, 5), "float64"), batch((100, 3, 20_000, 5), "float64")
    sparse = batch((100, 10, 5000, 5), "float64", density=0.01)
    sources: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("n=1000 m=10 d=200 k=5", long, {}),
        ("n=100 m=3 d=20000 k=5", wide, {}),
        ("sparse, n=100 m=10 d=5000 k=5", sparse, {}),
        ("in law, n=200 m=10 k=5", law(10**6, 5), {"n": 200, "m": 10, "engine": "law"}),
        ("generated, n=100 m=6 d=100000", law(100_000, 5), {"n": 100, "m": 6, "engine": "sampled"}),
    )
    for name, options in FIXED.items():
        count = {"passes" if name in OF_PASSES else "rounds": FIT_COUNT}
        for about, tasks, counts in sources:
            yield Case(
                name=f"fit, {name}, {about}",
                tasks=tasks,
                method=name,
                options={**options, **count, **counts},
            )


def call_fit(of: Case, options: dict[str, Any]) -> ms.Result:
    """Run a fit, and assert that it did not end before its last pass or iteration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ms.NotConvergedWarning)
        result = ms.fit(of.tasks, of.method, **options)
    (outcome,) = result.outcomes
    ended = outcome.round == FIT_COUNT if "rounds" in options else outcome.round == 0
    assert ended, f"{of.name}: {result.status}"
    return result


def measure_fit(of: Case, options: Options) -> Figure:
    """Compare the estimated time of a fit with the time that it took."""
    arguments = {"stop": None, "threads": len(cpus()), **of.options}
    said = ms.estimate(of.tasks, of.method, call="fit", **arguments).seconds
    timing = side_by_side({"fit": partial(call_fit, of, arguments)}, options.repeats)["fit"]
    return compare(of, timing, said)


def cases(folder: Path) -> Iterator[Case]:
    yield from in_coordinates()
    yield from at_full_size()
    yield from on_arrays()
    yield from on_disk(folder)


def call(of: Case, rounds: int) -> ms.Result:
    """Run a case, and assert that the run did all its rounds."""
    result = ms.train(of.tasks, of.method, **_options(of, rounds))
    ended = {outcome.status for outcome in result.outcomes}
    assert ended == {ms.Status.FINISHED}, f"{of.name}: {result.status}"
    return result


def _options(of: Case, rounds: int) -> dict[str, Any]:
    return {"rounds": rounds, "stop": None, "threads": len(cpus()), **of.options}


def measure(of: Case, options: Options) -> Figure:
    """Compare the estimated time of a case with the time of its run."""
    round_estimate = ms.estimate(of.tasks, of.method, **_options(of, 1))
    expected = SECONDS / 3 if options.quick else SECONDS
    rounds = min(max(round(expected / round_estimate.seconds_per_round), LEAST), MOST)
    said = ms.estimate(of.tasks, of.method, **_options(of, rounds)).seconds
    timing = side_by_side({"run": partial(call, of, rounds)}, options.repeats)["run"]
    return compare(of, timing, said)


def compare(of: Case, timing: Timing, said: float) -> Figure:
    """Return the factor between an estimated and a measured time."""
    ran = min(timing.seconds)
    return figure(
        timing,
        max(said / ran, ran / said),
        bench="estimate",
        case=f"{of.name}, cores: {len(cpus())}",
        who="said too much" if said > ran else "said too little",
        unit="x",
        target=TARGET,
        note=f"said {said:.3g} s, ran {ran:.3g} s",
    )


def run(options: Options) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(of, options) for of in cases(Path(folder))]
    return runs + [measure_fit(of, options) for of in fits()]
